"""The tables of the review queue, and how rows become items."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

import orjson

from proxy.audit.store import in_us
from proxy.review.item import Filter, Flagged, Held, Item, NewItem, State

MIGRATIONS = (
    """
    CREATE TABLE items (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        decision_id TEXT NOT NULL UNIQUE,
        request_id TEXT NOT NULL,
        time_us INTEGER NOT NULL,
        stage TEXT NOT NULL,
        endpoint TEXT NOT NULL,
        route TEXT,
        region TEXT,
        action TEXT NOT NULL,
        flagged TEXT NOT NULL,
        held TEXT,
        held_until_us INTEGER,
        state TEXT NOT NULL DEFAULT 'pending',
        reviewer TEXT,
        note TEXT,
        decided_us INTEGER
    );
    CREATE INDEX items_state ON items (state, id);
    CREATE INDEX items_time ON items (time_us);
    CREATE TABLE item_policies (policy TEXT NOT NULL, item INTEGER NOT NULL, PRIMARY KEY (policy, item)) WITHOUT ROWID;
    CREATE INDEX item_policies_item ON item_policies (item);
    CREATE TABLE content (item INTEGER PRIMARY KEY, content TEXT NOT NULL);
    CREATE TABLE said (
        n INTEGER PRIMARY KEY AUTOINCREMENT,
        item INTEGER NOT NULL,
        time_us INTEGER NOT NULL,
        state TEXT NOT NULL,
        reviewer TEXT NOT NULL,
        note TEXT NOT NULL
    );
    CREATE INDEX said_item ON said (item);
    CREATE TABLE exemptions (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        policy TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        revision TEXT,
        created_us INTEGER NOT NULL,
        expires_us INTEGER NOT NULL,
        "by" TEXT NOT NULL,
        why TEXT NOT NULL,
        item INTEGER,
        revoked_us INTEGER,
        revoked_by TEXT
    );
    CREATE INDEX exemptions_expires ON exemptions (expires_us);
    """,
)
"""What makes version 1 out of nothing, version 2 out of 1, and so on. Entries are added, never changed."""

ITEM = (
    "id, decision_id, request_id, time_us, stage, endpoint, route, region, action, flagged, "
    "EXISTS (SELECT 1 FROM content WHERE content.item = items.id), held, held_until_us, state, reviewer, note, decided_us"
)
EXEMPTION = 'id, policy, fingerprint, revision, created_us, expires_us, "by", why, item, revoked_us, revoked_by'

_ADD = """
INSERT INTO items (decision_id, request_id, time_us, stage, endpoint, route, region, action, flagged, held, held_until_us)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (decision_id) DO UPDATE SET action = excluded.action, flagged = excluded.flagged,
    held = coalesce(excluded.held, held), held_until_us = coalesce(excluded.held_until_us, held_until_us),
    state = 'pending', reviewer = NULL, note = NULL, decided_us = NULL
    WHERE state = 'pending' OR flagged <> excluded.flagged
RETURNING id
"""
"""What somebody has said is about what was flagged by then: when more of the decision is flagged, it waits again."""


def add_item(db: sqlite3.Connection, item: NewItem, now: int) -> int:
    """Write one item; gives its number."""
    flagged = orjson.dumps(item.flagged).decode()
    held = None if item.held is None else item.held.value
    row = (item.decision_id, item.request_id, now, item.stage, item.endpoint, item.route, item.region, item.action)
    found = db.execute(_ADD, (*row, flagged, held, item.held_until_us)).fetchone()
    if found is None:  # somebody has said something about just this
        return int(db.execute("SELECT id FROM items WHERE decision_id = ?", (item.decision_id,)).fetchone()[0])
    id = int(found[0])
    policies = [(f.policy, id) for f in item.flagged]
    db.execute("DELETE FROM item_policies WHERE item = ?", (id,))
    db.executemany("INSERT OR IGNORE INTO item_policies (policy, item) VALUES (?, ?)", policies)
    if item.content is not None:
        content = orjson.dumps(item.content).decode()
        db.execute("INSERT OR REPLACE INTO content (item, content) VALUES (?, ?)", (id, content))
    return id


def item_of(row: Sequence[Any]) -> Item:
    """An item from its `ITEM` columns."""
    *head, flagged, has_content, held, held_until_us, state, reviewer, note, decided_us = row
    those = tuple(Flagged(**one) for one in orjson.loads(flagged))
    kept = None if held is None else Held(held)
    return Item(*(*head, those, bool(has_content), kept, held_until_us, State(state), reviewer, note, decided_us))


def where(wanted: Filter, before: int | None, now_us: int) -> tuple[str, list[Any]]:
    """The condition, and the values for its places."""
    parts: list[tuple[str, list[Any]]] = []
    for name in ("state", "route", "stage"):
        if (value := getattr(wanted, name)) is not None:
            parts.append((f"{name} = ?", [str(value)]))
    if wanted.policy is not None:
        parts.append(("id IN (SELECT item FROM item_policies WHERE policy = ?)", [wanted.policy]))
    if wanted.since is not None:
        parts.append(("time_us >= ?", [in_us(wanted.since)]))
    if wanted.until is not None:
        parts.append(("time_us < ?", [in_us(wanted.until)]))
    if wanted.held:
        parts.append(("held = 'waiting' AND held_until_us > ?", [now_us]))
    if before is not None:
        parts.append(("id < ?", [before]))
    return joined(parts)


def joined(parts: Sequence[tuple[str, list[Any]]]) -> tuple[str, list[Any]]:
    """The condition, and the values for its places."""
    values = [value for _, given in parts for value in given]
    return ("WHERE " + " AND ".join(text for text, _ in parts) if parts else ""), values

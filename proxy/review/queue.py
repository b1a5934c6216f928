"""The review queue in SQLite: the proxy adds to it, people decide, at the same time and from several processes.

Everything here blocks, and may be called by any thread; whoever serves an event loop calls it off that loop
(`proxy.review.review` does). Every write is one transaction, so a process that is killed leaves it whole.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from proxy.audit.store import DAY_US
from proxy.review.item import (
    DECIDED,
    Counts,
    Exemption,
    Filter,
    Flagged,
    Held,
    Item,
    NewItem,
    ReviewConflict,
    ReviewError,
    Said,
    State,
)
from proxy.review.tables import EXEMPTION, ITEM, MIGRATIONS, add_item, item_of, joined, where
from proxy.sqlite_file import BUSY_S, SqliteFile
from proxy.strict_json import check_text

PAGE = 50
EVERYTHING = Filter()
MAX_NOTE_CHARS = 4000
MAX_NAME_CHARS = 200

AT_ONCE = 500
"""So many items are deleted in one step, so that who writes need not wait long for it."""


class ReviewQueue:
    """See the top of the file. Everything raises `ReviewError`, and only that.

    Args:
        path: The database; made, readable by its owner only, when it is first used, unless ``must_exist``.
        clock: Microseconds since 1970.
    """

    def __init__(
        self,
        path: Path,
        *,
        must_exist: bool = False,
        clock: Callable[[], int] = lambda: time.time_ns() // 1000,
        busy_s: float = BUSY_S,
    ) -> None:
        self.path = path
        self.clock = clock
        self._must_exist = must_exist
        self._file = SqliteFile(path, MIGRATIONS, ReviewError, busy_s=busy_s)
        self._lock = threading.RLock()
        self._may_hold_deleted = False

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._file.close()

    # ------------------------------------------------------------------ items

    def add(self, items: Sequence[NewItem]) -> list[int]:
        """Put items into the queue, all or none; gives their numbers.

        An item about a decision that stands there already takes its place and keeps its number. What was said about it is
        kept too, but if something else is flagged now, it waits again: nobody has looked at that.
        """
        now = self.clock()
        with self._writing() as db:
            return [add_item(db, item, now) for item in items]

    def items(self, wanted: Filter = EVERYTHING, *, before: int | None = None, limit: int = PAGE) -> list[Item]:
        """The items that are wanted, the newest first.

        Args:
            wanted: Which.
            before: Only items with a lower number: what the last page ended with.
            limit: How many at most.
        """
        condition, values = where(wanted, before, self.clock())
        with self._reading() as db:
            rows = db.execute(f"SELECT {ITEM} FROM items {condition} ORDER BY id DESC LIMIT ?", (*values, limit))
            return [item_of(row) for row in rows]

    def get(self, id: int | str) -> Item:
        """The item with a number, or about the decision with an id.

        Raises:
            ReviewError: There is none.
        """
        with self._reading() as db:
            return self._item(db, id)

    def _item(self, db: sqlite3.Connection, id: int | str) -> Item:
        name = str(id)
        is_number = name.isascii() and name.isdigit() and len(name) < 19
        column, value = ("id", int(name)) if is_number else ("decision_id", name)
        row = db.execute(f"SELECT {ITEM} FROM items WHERE {column} = ?", (value,)).fetchone()
        if row is None:
            raise ReviewError(f"no item {_shown(name)} is in the queue")
        return item_of(row)

    def content(self, id: int) -> dict[str, Any] | None:
        """The content that was kept with an item; None if none was."""
        with self._reading() as db:
            row = db.execute("SELECT content FROM content WHERE item = ?", (id,)).fetchone()
        return None if row is None else orjson.loads(row[0])

    def decide(
        self,
        id: int | str,
        state: State,
        reviewer: str,
        note: str = "",
        *,
        expected: State | None = None,
        edition: str | None = None,
    ) -> Item:
        """Say what is right about an item; the last word stands, all are kept.

        Args:
            id: Its number, or its decision's id.
            state: Anything but pending.
            reviewer: Who says so.
            note: Why.
            expected: What the reviewer believes that it is now; None: whatever.
            edition: What the reviewer has looked at, see `Item.edition`; None: whatever.

        Raises:
            ReviewConflict: It is not as expected.
            ReviewError: There is no such item.
        """
        if state not in DECIDED:
            raise ReviewError(f"state: must be one of {', '.join(DECIDED)}")
        _check_words("reviewer", reviewer, MAX_NAME_CHARS, needed=True)
        _check_words("note", note, MAX_NOTE_CHARS)
        now = self.clock()
        with self._writing() as db:
            item = self._item(db, id)
            _check_expected(item, expected, edition)
            db.execute(
                "UPDATE items SET state = ?, reviewer = ?, note = ?, decided_us = ? WHERE id = ?",
                (state.value, reviewer, note, now, item.id),
            )
            db.execute(
                "INSERT INTO said (item, time_us, state, reviewer, note) VALUES (?, ?, ?, ?, ?)",
                (item.id, now, state.value, reviewer, note),
            )
            return self._item(db, item.id)

    def history(self, id: int) -> list[Said]:
        """All that was said about an item, the first word first."""
        with self._reading() as db:
            rows = db.execute("SELECT time_us, state, reviewer, note FROM said WHERE item = ? ORDER BY n", (id,))
            return [Said(time_us, State(state), reviewer, note) for time_us, state, reviewer, note in rows]

    def end_hold(self, id: int, held: Held) -> State:
        """Say what became of a request that waited, unless a reviewer was faster; gives what people say about it.

        Whichever comes first stands: a word that comes later finds the item marked, and changes nothing for the request.
        """
        with self._writing() as db:
            state = self._item(db, id).state
            how = held if state is State.PENDING else Held.ANSWERED
            db.execute("UPDATE items SET held = ? WHERE id = ?", (how.value, id))
            return state

    def left(self, decision_id: str) -> None:
        """The client of a request that waited, or was about to, has left."""
        with self._writing() as db:
            db.execute("UPDATE items SET held = ? WHERE decision_id = ?", (Held.LEFT.value, decision_id))

    def states(self, ids: Sequence[int]) -> dict[int, State]:
        """What people say about items, of those that are there."""
        with self._reading() as db:  # as JSON: SQLite takes a limited number of values
            sql = "SELECT id, state FROM items WHERE id IN (SELECT value FROM json_each(?))"
            rows = db.execute(sql, (orjson.dumps(list(ids)).decode(),))
            return {id: State(state) for id, state in rows}

    def counts(self) -> Counts:
        """The queue in numbers."""
        now = self.clock()
        with self._reading() as db:
            found = dict(db.execute("SELECT state, count(*) FROM items GROUP BY state").fetchall())
            oldest = db.execute("SELECT min(id), time_us FROM items WHERE state = 'pending'").fetchone()[1]
            sql = "SELECT count(*) FROM exemptions WHERE revoked_us IS NULL AND expires_us > ?"
            exceptions = int(db.execute(sql, (now,)).fetchone()[0])
        return Counts({state: found.get(state.value, 0) for state in State}, oldest, exceptions)

    def tidy(self, keep_days: int) -> bool:
        """Delete some of what is older than that, whatever became of it; whether there is more. Never takes long."""
        until = self.clock() - keep_days * DAY_US
        with self._writing() as db:
            rows = db.execute(f"SELECT id FROM items WHERE time_us <= ? LIMIT {AT_ONCE}", (until,)).fetchall()
            for table, column in (("content", "item"), ("said", "item"), ("item_policies", "item"), ("items", "id")):
                db.executemany(f"DELETE FROM {table} WHERE {column} = ?", rows)
            n_over = db.execute("DELETE FROM exemptions WHERE expires_us <= ?", (until,)).rowcount
        self._may_hold_deleted |= bool(rows) or n_over > 0
        has_more = len(rows) == AT_ONCE
        if self._may_hold_deleted and not has_more:
            with self._lock:
                self._may_hold_deleted = not self._file.empty_log()
        return has_more

    def version(self) -> int:
        """A number that changes when somebody else has written."""
        with self._reading() as db:
            return int(db.execute("PRAGMA data_version").fetchone()[0])

    # ------------------------------------------------------------------ exceptions

    def add_exception(
        self,
        flagged: Flagged,
        *,
        expires_us: int,
        by: str,
        why: str = "",
        item: int | None = None,
        expected: State | None = None,
        edition: str | None = None,
        any_revision: bool = False,
    ) -> Exemption:
        """Let a policy pass exactly the content that it has flagged.

        Args:
            flagged: The policy, its revision and the fingerprint of what it read.
            expires_us: When it ends, in microseconds since 1970.
            by: Who wants it.
            why: The reason.
            item: The item that it comes from.
            expected: What whoever wants it believes that people say about that item; None: whatever.
            edition: What of that item they have looked at; None: whatever.
            any_revision: Whether it outlives a change of the policy's text.

        Raises:
            ReviewConflict: They say something else.
            ReviewError: It has no fingerprint, or would be over already; or there is no such item.
        """
        _check_words("by", by, MAX_NAME_CHARS, needed=True)
        _check_words("why", why, MAX_NOTE_CHARS)
        now = self.clock()
        if flagged.fingerprint is None:
            raise ReviewError(f"{flagged.policy}: has read nothing by which the content could be known again")
        if not now < expires_us < 1 << 62:
            raise ReviewError("expires: must lie in the future")
        revision = None if any_revision else flagged.revision
        row = (flagged.policy, flagged.fingerprint, revision, now, expires_us, by, why, item)
        with self._writing() as db:
            if item is not None and (expected, edition) != (None, None):
                _check_expected(self._item(db, item), expected, edition)
            sql = (
                'INSERT INTO exemptions (policy, fingerprint, revision, created_us, expires_us, "by", why, item) '
                f"VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING {EXEMPTION}"
            )
            return Exemption(*db.execute(sql, row).fetchone())

    def exceptions(
        self, *, all: bool = False, policy: str | None = None, before: int | None = None, limit: int = PAGE
    ) -> list[Exemption]:
        """Exceptions, the newest first.

        Args:
            all: Those too that have expired or were revoked.
            policy: Only of this policy.
            before: Only those with a lower number.
            limit: How many at most; -1: no limit.
        """
        parts: list[tuple[str, list[Any]]] = []
        if not all:
            parts.append(("revoked_us IS NULL AND expires_us > ?", [self.clock()]))
        if policy is not None:
            parts.append(("policy = ?", [policy]))
        if before is not None:
            parts.append(("id < ?", [before]))
        condition, values = joined(parts)
        with self._reading() as db:
            rows = db.execute(
                f"SELECT {EXEMPTION} FROM exemptions {condition} ORDER BY id DESC LIMIT ?", (*values, limit)
            )
            return [Exemption(*row) for row in rows]

    def revoke(self, id: int, by: str) -> Exemption:
        """Take an exception back; one that was taken back stays as it is.

        Raises:
            ReviewError: There is none.
        """
        _check_words("by", by, MAX_NAME_CHARS, needed=True)
        with self._writing() as db:
            db.execute(
                "UPDATE exemptions SET revoked_us = ?, revoked_by = ? WHERE id = ? AND revoked_us IS NULL",
                (self.clock(), by, id),
            )
            row = db.execute(f"SELECT {EXEMPTION} FROM exemptions WHERE id = ?", (id,)).fetchone()
        if row is None:
            raise ReviewError(f"there is no exception {id}")
        return Exemption(*row)

    def lookup(self, policy: str, revision: str, fingerprint: str) -> Exemption | None:
        """The exception that covers a content, if there is one that applies now."""
        found = self.exceptions(policy=policy, limit=-1)
        return next((e for e in found if e.fingerprint == fingerprint and e.covers(policy, revision)), None)

    # ------------------------------------------------------------------ the file

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._check_place()
            with self._file.transaction() as db:
                yield db

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._check_place()
            with self._file.reading() as db:
                yield db

    def _check_place(self) -> None:
        if self._must_exist and not self.path.is_file():
            raise ReviewError(f"{self.path}: there is no review queue here")


def _check_words(name: str, text: str, most: int, *, needed: bool = False) -> None:
    """What people write: any characters but those that have no safe reading.

    Raises:
        ReviewError: It has such, is too long, or is missing.
    """
    if needed and not text.strip():
        raise ReviewError(f"{name}: is missing")
    if len(text) > most:
        raise ReviewError(f"{name}: is longer than {most} characters")
    if (problem := check_text(text)) is not None:
        raise ReviewError(f"{name}: {problem}")


def _check_expected(item: Item, expected: State | None, edition: str | None) -> None:
    if edition is not None and edition != item.edition:
        raise ReviewConflict(f"item {item.id}: more of it was flagged in the meantime")
    if expected is not None and item.state is not expected:
        by = f" by {_shown(item.reviewer)}" if item.reviewer is not None else ""
        raise ReviewConflict(f"item {item.id}: is {item.state}{by} in the meantime")


def _shown(name: str | None) -> str:
    return ascii((name or "")[:80])

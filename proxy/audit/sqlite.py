"""The audit in SQLite: for searching, for the console, and where content is to be deleted record by record.

One file (`proxy.sqlite_file`), one writer.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson

from proxy.audit.entry import Entry, PolicyText, moment, policies_of
from proxy.audit.store import DAY_US, AuditError, Filter, Folder, Record, Retention, in_us
from proxy.sqlite_file import BUSY_S, SqliteFile, version_of

FILE = "audit.sqlite3"

MIGRATIONS = (
    """
    CREATE TABLE records (
        seq INTEGER PRIMARY KEY,
        decision_id TEXT NOT NULL UNIQUE,
        time TEXT NOT NULL,
        route TEXT,
        stage TEXT NOT NULL,
        action TEXT,
        record TEXT NOT NULL
    );
    CREATE INDEX records_route ON records (route);
    CREATE INDEX records_action ON records (action);
    CREATE TABLE record_policies (policy TEXT NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (policy, seq)) WITHOUT ROWID;
    CREATE INDEX record_policies_seq ON record_policies (seq);
    CREATE TABLE content (seq INTEGER PRIMARY KEY, time TEXT NOT NULL, content TEXT NOT NULL);
    CREATE INDEX content_time ON content (time);
    CREATE TABLE policies (
        name TEXT NOT NULL, revision TEXT NOT NULL, text TEXT NOT NULL, since TEXT NOT NULL, PRIMARY KEY (revision, name)
    ) WITHOUT ROWID;
    """,
)
"""What makes version 1 out of nothing, version 2 out of 1, and so on. Entries are added, never changed."""

AT_ONCE = 500
"""So many rows are deleted in one step, so that records need not wait long for it."""

_ADD = """
INSERT INTO records (seq, decision_id, time, route, stage, action, record) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (decision_id) DO UPDATE SET record = json_patch(record, excluded.record), action = excluded.action
"""
_CHANGE = "UPDATE records SET record = json_patch(record, ?), action = coalesce(?, action) WHERE seq = ?"


class SqliteSink:
    """See the top of the file, and `proxy.audit.store.AuditSink`.

    Args:
        folder: Where it lies.
        sync: Whether a write returns only when the disk has it.
        retention: How long what is kept.
    """

    def __init__(self, folder: Folder, *, sync: bool, retention: Retention) -> None:
        self._folder = folder
        self._file = SqliteFile(folder.path / FILE, MIGRATIONS, AuditError, sync=sync)
        self._retention = retention
        self._may_hold_deleted = False
        """Whether the log may still hold what was deleted."""

    def open(self) -> int:
        """See `AuditSink`."""
        self._folder.take()
        with self._file.reading() as db:
            return int(db.execute("SELECT coalesce(max(seq), 0) FROM records").fetchone()[0])

    def write(self, entries: Sequence[Entry]) -> None:
        """See `AuditSink`."""
        with self._file.transaction() as db:
            for entry in entries:
                _write(db, entry)

    def keep_policies(self, policies: Sequence[PolicyText]) -> None:
        """See `AuditSink`."""
        rows = [(p.name, p.revision, p.text, p.since) for p in policies]
        with self._file.transaction() as db:
            db.executemany("INSERT OR IGNORE INTO policies (name, revision, text, since) VALUES (?, ?, ?, ?)", rows)

    def tidy(self, now_us: int) -> bool:
        """See `AuditSink`."""
        old = moment(now_us - self._retention.content_days * DAY_US)
        n = self._delete("SELECT seq FROM content WHERE time <= ?", old, ("content",))
        n_records = 0
        if self._retention.record_days is not None:  # a record's number is at least its time
            until = now_us - self._retention.record_days * DAY_US
            tables = ("records", "record_policies", "content")
            n_records = self._delete("SELECT seq FROM records WHERE seq <= ?", until, tables)
        self._may_hold_deleted |= n + n_records > 0
        has_more = max(n, n_records) == AT_ONCE
        if self._may_hold_deleted and not has_more:
            self._may_hold_deleted = not self._file.empty_log()
        return has_more

    def _delete(self, which: str, until: str | int, tables: Sequence[str]) -> int:
        """Delete some of what came before a moment; gives how many."""
        with self._file.transaction() as db:
            rows = db.execute(f"{which} ORDER BY seq LIMIT {AT_ONCE}", (until,)).fetchall()
            for table in tables:
                db.executemany(f"DELETE FROM {table} WHERE seq = ?", rows)
        return len(rows)

    def probe(self) -> None:
        """See `AuditSink`."""
        self._file.probe()

    def close(self) -> None:
        """See `AuditSink`."""
        self._file.close()
        self._folder.release()


def _write(db: sqlite3.Connection, entry: Entry) -> None:
    fields = entry.fields
    record, action = entry.data.decode(), fields.get("action")
    if entry.is_first:
        row = (entry.seq, entry.decision_id, fields["time"], fields.get("route"), fields["stage"], action, record)
        db.execute(_ADD, row)
    else:
        db.execute(_CHANGE, (record, action, entry.seq))
    if policies := policies_of(fields):
        db.executemany(
            "INSERT OR IGNORE INTO record_policies (policy, seq) VALUES (?, ?)", [(p, entry.seq) for p in policies]
        )
    if entry.content_data is not None:
        db.execute(
            "INSERT OR REPLACE INTO content (seq, time, content) VALUES (?, ?, ?)",
            (entry.seq, entry.time, entry.content_data.decode()),
        )


class SqliteReader:
    """Reads a store, by a connection of its own for each question; see `proxy.audit.store.AuditReader`."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self.damaged = 0

    def query(self, wanted: Filter, *, before: int | None = None, limit: int | None = None) -> Iterator[Record]:
        """See `AuditReader`."""
        where, values = _where(wanted, before)
        sql = f"SELECT record FROM records {where} ORDER BY seq DESC LIMIT ?"
        with self._connected() as db:
            for (record,) in db.execute(sql, (*values, -1 if limit is None else limit)):
                yield orjson.loads(record)

    def content(self, record: Record) -> dict[str, Any] | None:
        """See `AuditReader`."""
        with self._connected() as db:
            row = db.execute("SELECT content FROM content WHERE seq = ?", (record["seq"],)).fetchone()
        if row is None:
            return None
        content: dict[str, Any] = orjson.loads(row[0])
        content.pop("seq")
        return content

    def policies(self, revision: str) -> list[PolicyText]:
        """See `AuditReader`."""
        sql = "SELECT name, revision, text, since FROM policies WHERE revision = ? ORDER BY name"
        with self._connected() as db:
            return [PolicyText(*row) for row in db.execute(sql, (revision,))]

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        if not self._path.exists():
            raise AuditError(f"{self._path.parent}: there is no audit here")
        try:
            uri = f"file:{quote(str(self._path.absolute()))}?mode=ro"
            with closing(sqlite3.connect(uri, uri=True, timeout=BUSY_S, isolation_level=None)) as db:
                if version_of(db, self._path, MIGRATIONS, AuditError) < len(MIGRATIONS):
                    raise AuditError(f"{self._path}: is of an older version; `safeguard serve` brings it up to date")
                yield db
        except sqlite3.Error as e:
            raise AuditError(f"{self._path}: {e}") from None


def _where(wanted: Filter, before: int | None) -> tuple[str, list[Any]]:
    """The condition, and the values for its places."""
    parts: list[tuple[str, list[Any]]] = []
    for name in ("route", "action", "stage"):
        if (value := getattr(wanted, name)) is not None:
            parts.append((f"{name} = ?", [value]))
    if wanted.region is not None:  # few know more than one, so it has no column
        parts.append(("json_extract(record, '$.region') = ?", [wanted.region]))
    if (ids := wanted.decision_ids) is not None:
        parts.append((f"decision_id IN ({', '.join('?' * len(ids))})", list(ids)))
    if wanted.policy is not None:
        parts.append(("seq IN (SELECT seq FROM record_policies WHERE policy = ?)", [wanted.policy]))
    if wanted.since is not None:
        parts.append(("seq >= ? AND time >= ?", [in_us(wanted.since), wanted.since_text]))
    if wanted.until is not None:
        parts.append(("time < ?", [wanted.until_text]))
    if before is not None:
        parts.append(("seq < ?", [before]))
    values = [value for _, given in parts for value in given]
    return ("WHERE " + " AND ".join(text for text, _ in parts) if parts else ""), values

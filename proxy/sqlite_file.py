"""One SQLite database that a process writes, in WAL mode, so that others read and write it at the same time.

A commit that has returned outlives the process (``synchronous=NORMAL``), with ``sync`` the machine too (``FULL``). What is
deleted is overwritten (``secure_delete``), and the log that may still hold it is emptied. Each of these files has
migrations, the only place that knows how its tables have come about: an older file is brought up to date when it is opened,
one of a newer version is not touched.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

BUSY_S = 5.0
"""How long to wait for who holds the file locked: a backup, an administrator's shell, another process that writes."""


class SqliteFile:
    """See the top of the file. One thread at a time may call it.

    Args:
        path: The file; made, readable by its owner only, with its folder.
        migrations: What makes version 1 out of nothing, version 2 out of 1, and so on.
        error: What is raised, with one line, in place of what SQLite and the operating system raise.
        sync: Whether a commit returns only when the disk has it.
    """

    def __init__(
        self,
        path: Path,
        migrations: Sequence[str],
        error: type[Exception],
        *,
        sync: bool = False,
        busy_s: float = BUSY_S,
    ) -> None:
        self.path = path
        self._migrations = migrations
        self._error = error
        self._sync = sync
        self._busy_s = busy_s
        self._db: sqlite3.Connection | None = None
        self._place: os.stat_result | None = None

    def close(self) -> None:
        """Let go of it; what comes next opens it again."""
        if self._db is not None:
            self._db.close()
            self._db = None

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All that is written within it, or nothing."""
        with self.reading() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The connection, for single statements."""
        try:
            yield self._opened()
        except (sqlite3.Error, OSError) as e:
            raise self._error(f"{self.path}: {getattr(e, 'strerror', None) or e}") from None

    def empty_log(self) -> bool:
        """Give room back, and overwrite the log; False if somebody reads in it: then it is to be tried again."""
        with self.reading() as db:
            db.execute("PRAGMA incremental_vacuum(1000)").fetchall()
            db.execute("PRAGMA busy_timeout = 0")
            is_busy, _, _ = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            db.execute(f"PRAGMA busy_timeout = {int(self._busy_s * 1000)}")
            return not is_busy

    def probe(self) -> None:
        """Find out whether a write would succeed now; changes nothing."""
        with self.transaction() as db:  # still needs room in the log
            db.execute(f"PRAGMA user_version = {len(self._migrations)}")

    def _opened(self) -> sqlite3.Connection:
        """The connection; a new one if the file was moved or deleted, so that what comes is not lost with it."""
        if self._db is not None:
            try:
                if self._place is not None and os.path.samestat(os.stat(self.path), self._place):
                    return self._db
            except FileNotFoundError:
                pass  # made anew below
            self.close()
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))  # SQLite gives its other files the same mode
        db = sqlite3.connect(self.path, timeout=self._busy_s, isolation_level=None, check_same_thread=False)
        try:
            db.execute("PRAGMA auto_vacuum = INCREMENTAL")
            db.execute("PRAGMA journal_mode = WAL")
            db.execute(f"PRAGMA synchronous = {'FULL' if self._sync else 'NORMAL'}")
            db.execute("PRAGMA secure_delete = ON")
            self._migrate(db)
            self._place = os.stat(self.path)
        except BaseException:
            db.close()
            raise
        self._db = db
        return db

    def _migrate(self, db: sqlite3.Connection) -> None:
        """Bring it up to date, if no other process does it at the same moment."""
        if version_of(db, self.path, self._migrations, self._error) == len(self._migrations):
            return
        db.execute("BEGIN IMMEDIATE")
        try:
            version = version_of(db, self.path, self._migrations, self._error)
            for number, script in enumerate(self._migrations[version:], version + 1):
                for statement in statements(script):
                    db.execute(statement)
                db.execute(f"PRAGMA user_version = {number}")
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise


def version_of(db: sqlite3.Connection, path: Path, migrations: Sequence[str], error: type[Exception]) -> int:
    """How many of the migrations a file has gone through.

    Raises:
        Exception: Of the given class: a newer version of this program has written it.
    """
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    if version > len(migrations):
        raise error(f"{path}: was written by a newer version (schema {version}, known here: {len(migrations)})")
    return version


def statements(script: str) -> Iterator[str]:
    """The statements of a script, one by one: ``executescript`` would commit what is under way."""
    statement = ""
    for piece in script.split(";"):
        statement += piece + ";"
        if sqlite3.complete_statement(statement):
            if statement.strip(" \n;"):
                yield statement
            statement = ""

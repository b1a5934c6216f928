"""The seam between the audit and where it is kept: a sink that one thread writes, a reader that anybody may ask.

A store is a folder. What it holds besides the records: ``key`` (of the fingerprints), ``lock`` (one process writes at a time).
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from proxy.audit.entry import Entry, PolicyText, moment, policies_of
from rules.rule import Stage

Record = dict[str, Any]
"""One record as it is read, see docs/audit.md."""

DAY_US = 86_400 * 1_000_000


class AuditError(Exception):
    """The audit cannot be written or read; the message is one line, without content."""


class AuditTimeout(AuditError):
    """The disk has not answered in time."""


@contextmanager
def explained(folder: Path) -> Iterator[None]:
    """Turns what the operating system says of a folder's files into an `AuditError`."""
    try:
        yield
    except OSError as e:
        raise AuditError(f"{folder}: {e.strerror or e}") from None


@dataclass(frozen=True, slots=True)
class Retention:
    """How long what is kept.

    Attributes:
        content_days: Content is deleted at this age.
        record_days: Records are deleted at this age; None: never.
    """

    content_days: int
    record_days: int | None = None


@dataclass(frozen=True, slots=True)
class Filter:
    """Which records are wanted: those to which everything given applies.

    Attributes:
        policy: Asked for something, in shadow too, or could not be judged.
        since: The first moment wanted.
        until: The first moment not wanted any more.
    """

    route: str | None = None
    region: str | None = None
    policy: str | None = None
    action: str | None = None
    stage: str | None = None
    decision_id: str | None = None
    request_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    @property
    def since_text(self) -> str | None:
        """``since`` as records spell times."""
        return None if self.since is None else moment(in_us(self.since))

    @property
    def until_text(self) -> str | None:
        """``until`` as records spell times."""
        return None if self.until is None else moment(in_us(self.until))

    @property
    def decision_ids(self) -> list[str] | None:
        """All decisions that it can be about, by their ids; None: any."""
        if self.request_id is None:
            return None if self.decision_id is None else [self.decision_id]
        of_request = [f"{self.request_id}-{stage}" for stage in Stage]
        return [i for i in of_request if self.decision_id in (None, i)]

    def takes(self, record: Record) -> bool:
        """Whether a record is wanted."""
        exact = ("route", "region", "action", "stage", "decision_id", "request_id")
        if any(getattr(self, name) not in (None, record.get(name)) for name in exact):
            return False
        if self.since is not None and record["time"] < (self.since_text or ""):
            return False
        if self.until is not None and record["time"] >= (self.until_text or ""):
            return False
        return self.policy is None or self.policy in policies_of(record)


class AuditSink(Protocol):
    """A store that is open for writing. After `open` one thread calls it; nothing here may touch an event loop.

    Everything raises `AuditError`, and only that.
    """

    def open(self) -> int:
        """Make what is missing, bring old stores up to date; gives the highest ``seq`` in it, 0 without one."""
        ...

    def write(self, entries: Sequence[Entry]) -> None:
        """Write all entries, or none. When it returns they have reached the kernel, with ``durability: power`` the disk."""
        ...

    def keep_policies(self, policies: Sequence[PolicyText]) -> None:
        """Keep the revisions that are not kept yet, as durably as records."""
        ...

    def tidy(self, now_us: int) -> bool:
        """Delete some of what retention says, rotate what is too old; whether there is more to do. Never takes long."""
        ...

    def probe(self) -> None:
        """Find out whether a write would succeed now."""
        ...

    def close(self) -> None:
        """Let go of everything."""
        ...


class AuditReader(Protocol):
    """A store that is read, also while a process writes it. Blocks; any thread may call it. Raises `AuditError`."""

    damaged: int
    """Lines that could not be read so far."""

    def query(self, wanted: Filter, *, before: int | None = None, limit: int | None = None) -> Iterator[Record]:
        """The records that are wanted, the newest first.

        Args:
            wanted: Which.
            before: Only records with a lower ``seq``: what the last page ended with.
            limit: How many at most.
        """
        ...

    def content(self, record: Record) -> dict[str, Any] | None:
        """The content that was kept with a record; None if none was, or it was deleted since."""
        ...

    def policies(self, revision: str) -> list[PolicyText]:
        """The policies that had this revision; empty if it was never loaded."""
        ...


def in_us(time: datetime) -> int:
    """A moment in microseconds since 1970."""
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    since = time.astimezone(UTC) - epoch
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


class Folder:
    """A store's folder, held by this process alone while it writes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.key = b""
        """Of the fingerprints, once the folder was taken."""
        self._lock: int | None = None

    def take(self) -> None:
        """Make the folder and its key, and lock it.

        Raises:
            AuditError: It cannot be made, or another process writes there.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(self.path / "lock", os.O_CREAT | os.O_RDWR, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.key = read_key(self.path / "key")
        except OSError as e:
            self.release()
            reason = "another process writes its audit there" if isinstance(e, BlockingIOError) else e.strerror or e
            raise AuditError(f"{self.path}: {reason}") from None
        except AuditError:
            self.release()
            raise

    def release(self) -> None:
        """Let another process write."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def read_key(path: Path) -> bytes:
    """The key of an installation's fingerprints; made where there is none.

    Raises:
        AuditError: It is damaged.
        OSError: It cannot be read or made.
    """
    try:
        key = bytes.fromhex(path.read_text(encoding="ascii"))
    except FileNotFoundError:
        return _new_key(path)
    except ValueError:
        key = b""
    if len(key) != 32:
        raise AuditError(f"{path}: must hold 64 hexadecimal digits; without it, fingerprints would begin anew")
    return key


def _new_key(path: Path) -> bytes:
    key = secrets.token_bytes(32)
    new = path.with_name(f"{path.name}.{key.hex()[:8]}.new")
    with open(os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="ascii") as file:
        file.write(key.hex() + "\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(new, path)
    except FileExistsError:  # another process was first, and its key holds
        return read_key(path)
    except OSError:  # a file system without links
        new.rename(path)
    finally:
        new.unlink(missing_ok=True)
    return key

"""The audit as JSON lines, for what collects lines; searching it reads it.

    audit.jsonl                        records that come now
    audit-20261120T101500.123456Z.jsonl  records up to then
    content-2026112010.jsonl           content that was kept in that hour (UTC); deleted as a whole file
    policies.jsonl                     the text of every policy revision

A line is a record (`Entry.fields`), or, with ``"more": true``, fields that are added to an earlier one with the same ``seq``:
what became of a stream that had begun, verdicts of rules in shadow. Records stand in the order of their ``seq``.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import orjson

from proxy.audit.append_file import AppendFile
from proxy.audit.entry import Entry, PolicyText, moment
from proxy.audit.store import DAY_US, Folder, Retention, explained
from proxy.files import sync_folder

CURRENT = "audit.jsonl"
POLICIES = "policies.jsonl"
ROTATED = "audit-*Z.jsonl"
CONTENT = "content-*.jsonl"

TAIL_BYTES = 4 << 20
"""So far from its end a file is read for the number of its last record."""


class JsonLinesSink:
    """See the top of the file, and `proxy.audit.store.AuditSink`.

    Args:
        folder: Where it lies.
        sync: Whether a write returns only when the disk has it.
        rotate_bytes: A larger file is put aside.
        rotate_s: So is one whose first record is older than this.
        retention: How long what is kept.
        clock: Microseconds since 1970.
    """

    def __init__(
        self,
        folder: Folder,
        *,
        sync: bool,
        rotate_bytes: int,
        rotate_s: float,
        retention: Retention,
        clock: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self._folder = folder
        self._sync = sync
        self._rotate_bytes = rotate_bytes
        self._rotate_us = int(rotate_s * 1_000_000)
        self._retention = retention
        self._clock = clock
        self._records = AppendFile(folder.path / CURRENT, sync=sync)
        self._content: AppendFile | None = None
        self._began_us = 0
        """When the current file's first record was made."""

    def open(self) -> int:
        """See `AuditSink`."""
        self._folder.take()
        with explained(self._folder.path):
            self._began_us = _first_seq(self._records.path) or self._clock()
            newest = [self._records.path, *sorted(self._folder.path.glob(ROTATED), reverse=True)[:1]]
            self._records.probe()
            return max(map(_last_seq, newest))

    def write(self, entries: Sequence[Entry]) -> None:
        """See `AuditSink`. Content comes first, so that what a record says was kept is there."""
        with explained(self._folder.path):
            if self._records.size >= self._rotate_bytes or self._is_old():
                self._rotate()
            contents: dict[Path, list[bytes]] = {}
            for entry in entries:
                if entry.content_data is not None:
                    path = content_path(self._folder.path, entry.time)
                    contents.setdefault(path, []).append(entry.content_data + b"\n")
            for path, lines in contents.items():
                self._keep_content(path, b"".join(lines))
            self._records.append(b"".join(map(_line, entries)))

    def keep_policies(self, policies: Sequence[PolicyText]) -> None:
        """See `AuditSink`."""
        path = self._folder.path / POLICIES
        with explained(self._folder.path):
            known = {(p.name, p.revision) for p in read_policies(path)}
            new = [p for p in policies if (p.name, p.revision) not in known]
            if new:
                file = AppendFile(path, sync=self._sync)
                file.append(b"".join(orjson.dumps(p) + b"\n" for p in new))
                file.close()

    def tidy(self, now_us: int) -> bool:
        """See `AuditSink`."""
        with explained(self._folder.path):
            if self._is_old():
                self._rotate()
            for path in self._folder.path.glob(CONTENT):
                if hour_of(path) <= content_hour(moment(now_us - self._retention.content_days * DAY_US)):
                    path.unlink()
            if self._retention.record_days is not None:
                last = rotated_name(now_us - self._retention.record_days * DAY_US)
                for path in self._folder.path.glob(ROTATED):
                    if path.name < last:
                        path.unlink()
        return False

    def probe(self) -> None:
        """See `AuditSink`."""
        with explained(self._folder.path):
            self._records.probe()

    def close(self) -> None:
        """See `AuditSink`."""
        self._records.close()
        if self._content is not None:
            self._content.close()
        self._folder.release()

    def _is_old(self) -> bool:
        return self._records.size > 0 and self._clock() - self._began_us >= self._rotate_us

    def _rotate(self) -> None:
        now_us = self._clock()
        aside = self._folder.path / rotated_name(now_us)
        while aside.exists():  # the clock was set back
            now_us += 1
            aside = self._folder.path / rotated_name(now_us)
        self._records.close()
        self._records.path.rename(aside)
        if self._sync:
            sync_folder(self._folder.path)
        self._began_us = now_us

    def _keep_content(self, path: Path, lines: bytes) -> None:
        if self._content is None or self._content.path != path:
            if self._content is not None:
                self._content.close()
            self._content = AppendFile(path, sync=self._sync)
        self._content.append(lines)


def _line(entry: Entry) -> bytes:
    return entry.data + b"\n" if entry.is_first else entry.data[:-1] + b',"more":true}\n'


def rotated_name(time_us: int) -> str:
    """What a file is called whose records all came before a moment; such names are ordered like the moments."""
    return f"audit-{moment(time_us).replace('-', '').replace(':', '')}.jsonl"


def content_hour(time: str) -> str:
    """The hour of a moment as file names spell it."""
    return time[:13].replace("-", "").replace("T", "")


def content_path(folder: Path, time: str) -> Path:
    """Where content that was kept at a moment lies."""
    return folder / f"content-{content_hour(time)}.jsonl"


def hour_of(path: Path) -> str:
    """The hour of a file with content; the inverse of `content_path`."""
    return path.name.removeprefix("content-").removesuffix(".jsonl")


def read_policies(path: Path) -> list[PolicyText]:
    """All policy revisions that a file holds; a line that cannot be read is left out."""
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    out = []
    for line in lines:
        try:
            out.append(PolicyText(**orjson.loads(line)))
        except (orjson.JSONDecodeError, TypeError):  # the end of a write that was cut off
            continue
    return out


def _first_seq(path: Path) -> int | None:
    try:
        with path.open("rb") as file:
            return _seq(file.readline())
    except FileNotFoundError:
        return None


def _last_seq(path: Path) -> int:
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - TAIL_BYTES))
            return max((_seq(line) or 0 for line in file.read().splitlines()), default=0)
    except FileNotFoundError:
        return 0


def _seq(line: bytes) -> int | None:
    try:
        seq = orjson.loads(line)["seq"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
    return seq if isinstance(seq, int) else None

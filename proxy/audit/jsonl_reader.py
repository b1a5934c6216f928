"""Reads an audit of JSON lines from its end, while another process may write, rotate and delete it.

Read backwards, additions come before the record that they belong to: they wait for it. So records come whole, the newest
first, and memory is needed only for additions whose record was not reached yet (streams that ran at the same time).
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import IO, Any

import orjson

from proxy.audit.entry import PolicyText
from proxy.audit.jsonl import CURRENT, POLICIES, ROTATED, content_path, read_policies, rotated_name
from proxy.audit.store import AuditError, Filter, Record, explained, in_us

BLOCK_BYTES = 256 * 1024

_FILES_KNOWN = 4
_SEQ = re.compile(rb'\{"seq":(\d+)')

_NEEDED = {"decision_id", "time"}
"""What every record has, so that it can be looked for."""


class JsonLinesReader:
    """See the top of the file, and `proxy.audit.store.AuditReader`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.damaged = 0
        self._places: dict[Path, tuple[dict[int, int], int]] = {}
        """By file with content: where what lies, and how far that is known."""

    def query(self, wanted: Filter, *, before: int | None = None, limit: int | None = None) -> Iterator[Record]:
        """See `AuditReader`."""
        found = (r for r in self._records(wanted) if (before is None or r["seq"] < before) and wanted.takes(r))
        yield from islice(found, limit)

    def content(self, record: Record) -> dict[str, Any] | None:
        """See `AuditReader`."""
        kept_at = record.get("kept_at")
        if kept_at is None:
            return None
        path = content_path(self._folder, kept_at)
        # or there is no such file: it was deleted, because it was old
        with explained(self._folder), contextlib.suppress(FileNotFoundError), path.open("rb") as file:
            place = self._place(path, file, record["seq"])
            if place is not None:
                file.seek(place)
                found = _object(file.readline())
                if found is not None and found.pop("seq", None) == record["seq"]:
                    return found
        return None

    def _place(self, path: Path, file: IO[bytes], seq: int) -> int | None:
        """Where a content lies in its file. What was read to find out is remembered: who asks for one asks for more."""
        known, end = self._places.pop(path, ({}, 0))
        if seq not in known:
            file.seek(end)
            for line in file:
                if not line.endswith(b"\n"):
                    break  # is being written
                if (number := _SEQ.match(line)) is not None:
                    known[int(number[1])] = end
                end += len(line)
        self._places[path] = known, end
        while len(self._places) > _FILES_KNOWN:
            self._places.pop(next(iter(self._places)), None)
        return known.get(seq)

    def policies(self, revision: str) -> list[PolicyText]:
        """See `AuditReader`."""
        with explained(self._folder):
            return [p for p in read_policies(self._folder / POLICIES) if p.revision == revision]

    def _records(self, wanted: Filter) -> Iterator[Record]:
        """All records that may be wanted, whole, the newest first."""
        needles = None if wanted.decision_ids is None else [i.encode() for i in wanted.decision_ids]
        later: dict[int, list[Record]] = {}
        last: int | None = None
        for line in self._lines(wanted):
            if needles is not None and not any(needle in line for needle in needles):
                continue
            record = self._parsed(line)
            if record is None:
                continue
            seq = record["seq"]
            if record.pop("more", False):
                later.setdefault(seq, []).append(record)
                continue
            for addition in reversed(later.pop(seq, ())):
                record |= addition
            if seq != last:
                yield record
            last = seq

    def _parsed(self, line: bytes) -> Record | None:
        record = _object(line)
        if record is None or "seq" not in record or not ("more" in record or record.keys() >= _NEEDED):
            self.damaged += bool(line.strip())
            return None
        return record

    def _lines(self, wanted: Filter) -> Iterator[bytes]:
        """The lines of all files that can hold what is wanted, the last line first."""
        with explained(self._folder), ExitStack() as opened:
            for file in self._files(opened, wanted):
                yield from backwards(file)

    def _files(self, opened: ExitStack, wanted: Filter) -> Iterator[IO[bytes]]:
        """The current file, opened before the others are listed: if it is put aside meanwhile, it is not missed."""
        current = None
        try:
            current = opened.enter_context((self._folder / CURRENT).open("rb"))
            yield current
        except FileNotFoundError:
            if not self._folder.is_dir():
                raise AuditError(f"{self._folder}: there is no audit here") from None
        oldest = None if wanted.since is None else rotated_name(in_us(wanted.since))
        for path in sorted(self._folder.glob(ROTATED), reverse=True):
            if oldest is not None and path.name < oldest:
                return
            try:
                with path.open("rb") as file:
                    if current is None or not os.path.sameopenfile(current.fileno(), file.fileno()):
                        yield file
            except FileNotFoundError:  # deleted, because it is old
                continue


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None


def backwards(file: IO[bytes]) -> Iterator[bytes]:
    r"""The lines of a file, the last one first; a piece of a line at the end is being written, or never will be.

    >>> import io
    >>> list(backwards(io.BytesIO(b"one\ntwo\nthr")))
    [b'two', b'one']
    """
    place = file.seek(0, os.SEEK_END)
    rest: list[bytes] = []
    is_end = True
    while place > 0:
        size = min(BLOCK_BYTES, place)
        place -= size
        file.seek(place)
        head, *lines = file.read(size).split(b"\n")
        if not lines:
            rest.append(head)
            continue
        lines[-1] += b"".join(reversed(rest))
        rest = [head]
        for line in reversed(lines):
            if not is_end:
                yield line
            is_end = False
    if not is_end:
        yield b"".join(reversed(rest))

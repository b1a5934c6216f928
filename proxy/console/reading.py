"""Reads the audit for pages: never on the event loop, never more than a page needs, never for long.

Two threads of its own: a page that takes its time must not use up the threads that large requests are parsed in. What waits
for them is bounded too.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Lock
from typing import ParamSpec, TypeVar

from proxy.audit.entry import PolicyText
from proxy.audit.opening import reader_of
from proxy.audit.sqlite import SqliteReader
from proxy.audit.store import AuditReader, Filter, Record
from proxy.console.gate import Refused
from proxy.console.judged import Judged, judged

P = ParamSpec("P")
T = TypeVar("T")

THREADS = 2
MOST_WAITING = 16
"""Pages that wait for a thread; further ones are told to come again."""

PATIENCE_S = 3.0
"""How long records are looked through for one page."""

REST_EVERY = 32
REST_S = 0.0002
"""After so many records a thread rests, so that the event loop, which needs the interpreter too, never waits for long."""

SAMPLE_S = 10.0
"""For how long the last decisions count as the last ones: while a threshold is dragged, they are read once."""


def gently(items: Iterable[T]) -> Iterator[T]:
    """The same items, with rests in between; for threads beside an event loop."""
    for i, item in enumerate(items):
        if i % REST_EVERY == REST_EVERY - 1:
            time.sleep(REST_S)
        yield item


class Threads:
    """Where pages are made."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(THREADS, thread_name_prefix="console")
        self._n = 0

    async def run(self, what: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do it in a thread.

        Raises:
            Refused: 503, too much is being done.
        """
        if self._n >= THREADS + MOST_WAITING:
            raise Refused(503, "Too many pages at once; try again in a moment.")
        self._n += 1
        future = asyncio.get_running_loop().run_in_executor(self._executor, partial(what, *args, **kwargs))
        future.add_done_callback(self._done)
        return await asyncio.shield(future)  # whoever leaves, the thread works on, and counts until it is done

    def _done(self, future: asyncio.Future[T]) -> None:
        self._n -= 1
        if not future.cancelled():
            future.exception()  # whoever waits is told by the shield; if nobody does, it matters to nobody

    def close(self) -> None:
        """Begin nothing more."""
        self._executor.shutdown(wait=False, cancel_futures=True)


@dataclass(frozen=True, slots=True)
class Page:
    """Some records, the newest first.

    Attributes:
        more_before: Older ones have a lower number than this; None: there are none.
        gave_up: Whether there may be more that were not looked at.
    """

    records: list[Record]
    more_before: int | None
    gave_up: bool = False


@dataclass(slots=True)
class Records:
    """The audit in a folder; blocks. Everything raises `AuditError`."""

    folder: Path
    clock: Callable[[], float] = time.monotonic
    _lock: Lock = field(default_factory=Lock, repr=False)
    _sample: tuple[float, int, list[Judged]] | None = field(default=None, repr=False)

    def page(self, wanted: Filter, *, before: int | None, limit: int) -> Page:
        """The newest records that are wanted."""
        reader = reader_of(self.folder)
        searches = isinstance(reader, SqliteReader)  # JSON lines are read one by one: then it is us who look at them
        until = self.clock() + PATIENCE_S
        found: list[Record] = []
        for record in gently(reader.query(wanted if searches else Filter(), before=before)):
            if self.clock() > until:
                return Page(found, record["seq"] + 1, gave_up=True)
            if searches or wanted.takes(record):
                if len(found) == limit:
                    return Page(found, found[-1]["seq"])
                found.append(record)
        return Page(found, None)

    def newer(self, wanted: Filter, after: int, limit: int) -> list[Record]:
        """The newest records that are wanted, of those with a higher number."""
        return [r for r in self.page(wanted, before=None, limit=limit).records if r["seq"] > after]

    def decision(self, decision_id: str) -> tuple[Record | None, list[Record]]:
        """A record by its id, and the others of the same request."""
        reader = reader_of(self.folder)
        record = next(iter(reader.query(Filter(decision_id=decision_id), limit=1)), None)
        if record is None:
            return None, []
        same = reader.query(Filter(request_id=record["request_id"]))
        return record, [r for r in same if r["decision_id"] != decision_id]

    def content(self, record: Record) -> dict[str, object] | None:
        """What was kept with a record."""
        return reader_of(self.folder).content(record)

    def last(self, n: int) -> list[Judged]:
        """The scores of the last decisions, the newest first."""
        with self._lock:
            if (kept := self._sample) is not None:
                at, held, sample = kept
                if held == n and self.clock() - at < SAMPLE_S:
                    return sample
            sample = [judged(record) for record in gently(reader_of(self.folder).query(Filter(), limit=n))]
            self._sample = (self.clock(), n, sample)
            return sample

    def forget(self) -> None:
        """Let go of the last decisions once they are old: the garbage collector would look through them again and again."""
        if (kept := self._sample) is not None and self.clock() - kept[0] >= SAMPLE_S:
            self._sample = None

    def texts(self, revisions: list[str], policy: str) -> list[PolicyText]:
        """A policy's texts in these revisions, the latest first."""
        reader: AuditReader = reader_of(self.folder)
        found = [text for revision in revisions for text in reader.policies(revision) if text.name == policy]
        return sorted(found, key=lambda text: text.since, reverse=True)

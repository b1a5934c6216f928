"""Decisions as they are put on record, for everybody who watches.

One task listens to the audit, however many watch. Four times a second what has changed is drawn, each row once, and handed to
the watchers whose filter takes it. Nobody is waited for: what a watcher does not take in time is counted, and left out.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import orjson

from models import tasks
from proxy.audit.audit import Audit
from proxy.audit.entry import Entry
from proxy.audit.store import Filter, Record
from proxy.console.gate import Refused

TICK_S = 0.25
MOST_WATCHERS = 200
MOST_PER_TICK = 40
"""Rows that are shown of what changes within a tick; nobody reads more."""
MOST_WAITING = 80
"""Rows that wait for a watcher that does not keep up."""
REMEMBERED = 2_000
"""Records that additions can still be added to."""


@dataclass(slots=True, eq=False)
class Watcher:
    """One who watches. Belongs to the event loop."""

    wanted: Filter
    _events: deque[bytes] = field(default_factory=lambda: deque(maxlen=MOST_WAITING), repr=False)
    _missed: int = 0
    _news: asyncio.Event = field(default_factory=asyncio.Event, repr=False)
    is_over: bool = False

    def take(self, events: list[bytes], missed: int) -> None:
        """Take rows to be sent, in place of the oldest where there is no room."""
        self._missed += missed + max(0, len(self._events) + len(events) - MOST_WAITING)
        self._events.extend(events)
        self._news.set()

    def end(self) -> None:
        """There will be no more."""
        self.is_over = True
        self._news.set()

    async def next(self, timeout_s: float) -> bytes:
        """What is to be sent now; a comment if there was nothing for that long."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._news.wait()
        except TimeoutError:
            return b": nothing new\n\n"
        self._news.clear()
        pieces = list(self._events)
        self._events.clear()
        if self._missed:
            pieces.append(b"event: missed\ndata: %d\n\n" % self._missed)
            self._missed = 0
        return b"".join(pieces)


class Live:
    """See the top of the file.

    Args:
        audit: What is watched.
        draw: Draws a record's row.
    """

    def __init__(self, audit: Audit, draw: Callable[[Record], str]) -> None:
        self._audit = audit
        self._draw = draw
        self._watchers: list[Watcher] = []
        self._task: asyncio.Task[None] | None = None
        self._records: OrderedDict[int, Record] = OrderedDict()
        self._changed: dict[int, None] = {}
        self._has_changed = asyncio.Event()
        self._is_closed = False

    @contextmanager
    def watch(self, wanted: Filter) -> Iterator[Watcher]:
        """Watch what a filter takes.

        Raises:
            Refused: 503, too many watch.
        """
        if len(self._watchers) >= MOST_WATCHERS or self._is_closed:
            raise Refused(503, "Too many watch already; close a page.")
        watcher = Watcher(wanted)
        self._watchers.append(watcher)
        if self._task is None or self._task.done():
            self._task = tasks.own(self._run(), name="console")
        try:
            yield watcher
        finally:
            self._watchers.remove(watcher)

    async def close(self) -> None:
        """End all."""
        self._is_closed = True
        for watcher in self._watchers:
            watcher.end()
        await tasks.end(self._task)

    def event(self, record: Record) -> bytes:
        """A row as it is sent."""
        return b"id: %d\ndata: %s\n\n" % (
            record["seq"],
            orjson.dumps({"seq": record["seq"], "row": self._draw(record)}),
        )

    async def _run(self) -> None:
        """Until nobody watches any more."""
        async with asyncio.TaskGroup() as group:
            listening = group.create_task(self._listen())
            while self._watchers:
                await asyncio.sleep(TICK_S)
                self._tell()
            listening.cancel()
            self._records.clear()
            self._changed.clear()
            self._task = None  # whoever comes from here on begins anew

    async def _listen(self) -> None:
        with self._audit.subscribe() as news:
            async for entry in news:
                self._note(entry)

    def _note(self, entry: Entry) -> None:
        if entry.is_first:
            self._records[entry.seq] = dict(entry.fields)
            if len(self._records) > REMEMBERED:
                self._changed.pop(self._records.popitem(last=False)[0], None)
        elif entry.seq in self._records:
            self._records[entry.seq] |= entry.fields
        else:
            return
        self._changed[entry.seq] = None

    def _tell(self) -> None:
        changed = [self._records[seq] for seq in self._changed]
        self._changed.clear()
        events: dict[int, bytes] = {}
        for watcher in self._watchers if changed else ():
            wanted = [record for record in changed if watcher.wanted.takes(record)]
            shown = wanted[-MOST_PER_TICK:]
            for record in shown:
                if record["seq"] not in events:
                    events[record["seq"]] = self.event(record)
            if wanted:
                watcher.take([events[record["seq"]] for record in shown], len(wanted) - len(shown))

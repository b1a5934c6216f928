"""Writes records without the event loop ever waiting for a disk.

The event loop collects entries; one thread writes what has been collected, all of it as one write (group commit), while the
next entries are being collected. Who has to know that his record is there awaits `Audit.write`. All state but the sink
belongs to the event loop, so there are no locks.

A write that fails takes the entries of its batch with it: they are not on record, and who awaits them is told. While writes
fail, the thread looks once a second whether they would succeed again.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import structlog

from proxy.audit.entry import Entry, PolicyText
from proxy.audit.store import AuditError, AuditSink, AuditTimeout, Folder

log = structlog.get_logger()

TIMEOUT_S = 10.0
"""Longest time that a request waits for its record; a disk that takes longer counts as one that fails."""

MAX_WAITING = 20_000
"""More entries than this never wait for the disk; further ones cannot be put on record."""

TIDY_EVERY_S = 60.0
TIDY_AGAIN_S = 0.05
"""The pause if there is more to delete than is deleted at once."""

PROBE_EVERY_S = 1.0

_NO_ANSWER = "the disk does not answer"

QUEUE = 256
"""Entries that wait for a subscriber that does not keep up; then the oldest go."""


@dataclass(slots=True)
class AuditCounts:
    """What the audit has done so far.

    Attributes:
        written: Entries on record.
        failed: Entries that could not be put on record.
        batches: Writes that succeeded.
        write_s: Time that they took.
    """

    written: int = 0
    failed: int = 0
    batches: int = 0
    write_s: float = 0.0


class Subscription:
    """New entries, from the moment it is made; only what is on record comes. Belongs to the event loop.

    Attributes:
        missed: Entries that were left out because nobody took them in time.
    """

    def __init__(self, leave: Callable[[Subscription], None], maxsize: int) -> None:
        self.missed = 0
        self._leave = leave
        self._queue: asyncio.Queue[Entry] = asyncio.Queue(maxsize)

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, *error: object) -> None:
        self._leave(self)

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Entry:
        return await self._queue.get()

    def take(self, entry: Entry) -> None:
        """Take one more entry, in place of the oldest where there is no room."""
        if self._queue.full():
            self._queue.get_nowait()
            self.missed += 1
        self._queue.put_nowait(entry)


@dataclass(frozen=True, slots=True)
class _Waiting:
    entries: Sequence[Entry]
    waiter: asyncio.Future[None] | None


@dataclass(frozen=True, slots=True)
class _Batch:
    waiting: Sequence[_Waiting]
    started: float

    @property
    def entries(self) -> list[Entry]:
        return [entry for waiting in self.waiting for entry in waiting.entries]


@dataclass(frozen=True, slots=True)
class _Job:
    """What the thread does, and who is told on the event loop why it did not work, or None."""

    work: Callable[[], object]
    settled: Callable[[str | None], None]


@dataclass(slots=True, eq=False)
class Audit:
    """An audit that is being written; see the top of the file.

    Attributes:
        sink: The store.
        folder: Where it lies, with the key of the fingerprints.
        must: Whether nothing may leave that is not on record (``on_audit_error: refuse``).
        last_error: Why the last write failed; None if it succeeded.
        is_stuck: Whether a write has not come back for too long.
    """

    sink: AuditSink
    folder: Folder
    must: bool = True
    counts: AuditCounts = field(default_factory=AuditCounts)
    last_error: str | None = None
    is_stuck: bool = False
    clock: Callable[[], int] = lambda: time.time_ns() // 1000
    """Microseconds since 1970."""
    _last_seq: int = 0
    _pending: list[_Waiting] = field(default_factory=list, repr=False)
    _in_flight: _Batch | None = field(default=None, repr=False)
    _is_scheduled: bool = False
    _alarm: asyncio.TimerHandle | None = field(default=None, repr=False)
    _jobs: queue.SimpleQueue[_Job | None] = field(default_factory=queue.SimpleQueue, repr=False)
    _subscriptions: list[Subscription] = field(default_factory=list, repr=False)
    _loop: asyncio.AbstractEventLoop | None = field(default=None, repr=False)
    _thread: threading.Thread | None = field(default=None, repr=False)
    _has_more_to_tidy: bool = False
    _idle: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    async def start(self, policies: Sequence[PolicyText] = ()) -> None:
        """Open the store and keep the policies' texts.

        Raises:
            AuditError: It cannot be written.
        """

        def open_() -> int:
            try:
                last = self.sink.open()
                self.sink.keep_policies(policies)
                self.sink.tidy(self.clock())
            except AuditError:
                self.sink.close()
                raise
            return last

        self._last_seq = await asyncio.to_thread(open_)
        self._loop = asyncio.get_running_loop()
        self._idle.set()
        self._thread = threading.Thread(target=self._work, name="audit", daemon=True)
        self._thread.start()

    async def close(self) -> None:
        """Write what waits, and let go of the store."""
        if self._thread is None:
            return
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await self._idle.wait()
                self._jobs.put(None)
                await asyncio.to_thread(self._thread.join, TIMEOUT_S)
        except TimeoutError:
            log.error("audit_not_written", entries=self.waiting)
        self._thread = None

    async def keep_policies(self, policies: Sequence[PolicyText]) -> None:
        """Keep the texts of the policies of another configuration; to be awaited before it judges.

        Raises:
            AuditError: They cannot be written.
        """
        assert self._loop is not None
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._jobs.put(_Job(partial(self.sink.keep_policies, policies), partial(_settle, waiter)))
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await waiter
        except TimeoutError:
            raise AuditTimeout(_NO_ANSWER) from None

    # ------------------------------------------------------------------ for who writes

    def next_seq(self) -> tuple[int, int]:
        """The number of a new record, and its time in microseconds. Records must be submitted in this order."""
        now = self.clock()
        self._last_seq = max(self._last_seq + 1, now)
        return self._last_seq, now

    async def write(self, entries: Sequence[Entry]) -> None:
        """Put entries on record, and wait until they are.

        Raises:
            AuditError: They are not. After an `AuditTimeout` they still may be, later.
        """
        assert self._loop is not None
        if self.is_stuck:
            self._drop(entries)
            raise AuditError(_NO_ANSWER)
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._submit(entries, waiter)
        await waiter

    def submit(self, entries: Sequence[Entry]) -> None:
        """Put entries on record without waiting; what cannot be written is counted."""
        try:
            self._submit(entries, None)
        except AuditError as e:
            self._note(str(e))

    def _submit(self, entries: Sequence[Entry], waiter: asyncio.Future[None] | None) -> None:
        assert self._loop is not None
        if len(self._pending) >= MAX_WAITING:
            self._drop(entries)
            raise AuditError(f"more than {MAX_WAITING} records wait for the disk")
        self._pending.append(_Waiting(entries, waiter))
        if self._in_flight is None and not self._is_scheduled:
            self._is_scheduled = True  # with what comes in this round of the loop
            self._idle.clear()
            self._loop.call_soon(self._hand_over)

    def _drop(self, entries: Sequence[Entry]) -> None:
        self.counts.failed += len(entries)

    def _hand_over(self) -> None:
        self._is_scheduled = False
        assert self._loop is not None
        batch = self._in_flight = _Batch(self._pending, time.monotonic())
        self._alarm = self._loop.call_later(TIMEOUT_S, self._give_up)
        self._pending = []
        self._jobs.put(_Job(partial(self.sink.write, batch.entries), partial(self._settled, batch)))

    def _give_up(self) -> None:
        """The disk takes too long: who waits, waits no more. What was handed in may come on record yet."""
        assert self._in_flight is not None
        self.is_stuck = True
        self._note(_NO_ANSWER)
        for waiting in (*self._in_flight.waiting, *self._pending):
            if waiting.waiter is not None and not waiting.waiter.done():
                waiting.waiter.set_exception(AuditTimeout(_NO_ANSWER))

    def _settled(self, batch: _Batch, error: str | None) -> None:
        """A batch is on record, or is not."""
        assert self._alarm is not None
        self._alarm.cancel()
        self._in_flight, self.is_stuck = None, False
        n = len(batch.entries)
        if error is None:
            self.counts.written += n
            self.counts.batches += 1
            self.counts.write_s += time.monotonic() - batch.started
        else:
            self.counts.failed += n
        self._note(error)
        for waiting in batch.waiting:
            if waiting.waiter is not None:
                _settle(waiting.waiter, error)
        if error is None and self._subscriptions:
            self._publish(batch.entries)
        if self._pending:
            self._hand_over()
        else:
            self._idle.set()

    def _note(self, error: str | None) -> None:
        if error is not None and error != self.last_error:
            log.error("audit_failed", error=error)
        elif error is None and self.last_error is not None:
            log.info("audit_works_again")
        self.last_error = error

    # ------------------------------------------------------------------ for who watches

    @property
    def healthy(self) -> bool:
        """Whether records can be written, as far as is known."""
        return self.last_error is None

    @property
    def waiting(self) -> int:
        """Entries that are not on record yet."""
        pending = sum(len(w.entries) for w in self._pending)
        return pending + (len(self._in_flight.entries) if self._in_flight is not None else 0)

    def subscribe(self, maxsize: int = QUEUE) -> Subscription:
        """New entries from now on, within a ``with``."""
        subscription = Subscription(self._subscriptions.remove, maxsize)
        self._subscriptions.append(subscription)
        return subscription

    def _publish(self, entries: Sequence[Entry]) -> None:
        for subscription in self._subscriptions:
            for entry in entries:
                subscription.take(entry)

    # ------------------------------------------------------------------ the thread

    def _work(self) -> None:
        due = time.monotonic() + TIDY_EVERY_S
        error: str | None = None
        while True:
            pause = max(0.0, due - time.monotonic()) if error is None else PROBE_EVERY_S
            try:
                job = self._jobs.get(timeout=pause)
            except queue.Empty:
                if error is not None:
                    error = _tried(self.sink.probe)
                    self._tell(self._note, error)
            else:
                if job is None:
                    break
                error = _tried(job.work)
                self._tell(job.settled, error)
            if error is None and time.monotonic() >= due:
                error = _tried(self._tidy)
                due = time.monotonic() + (TIDY_AGAIN_S if self._has_more_to_tidy else TIDY_EVERY_S)
                if error is not None:
                    self._tell(self._note, error)
        self.sink.close()

    def _tidy(self) -> None:
        self._has_more_to_tidy = False
        self._has_more_to_tidy = self.sink.tidy(self.clock())

    def _tell(self, what: Callable[..., None], *args: object) -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(what, *args)
        except RuntimeError:  # the loop ended while the disk did not answer: there is nobody left to tell
            log.error("audit_not_told")


def _settle(waiter: asyncio.Future[None], error: str | None) -> None:
    if waiter.done():  # who waited has left
        return
    if error is None:
        waiter.set_result(None)
    else:
        waiter.set_exception(AuditError(error))


def _tried(what: Callable[[], object]) -> str | None:
    """Do it; gives why it did not work. Nothing ends the thread: what comes next may work, and somebody waits for it."""
    try:
        what()
    except AuditError as e:
        return str(e)
    except Exception as e:  # a mistake of ours; told like a full disk, because the record is missing all the same
        return f"internal error: {type(e).__name__}"
    return None

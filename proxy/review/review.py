"""The review queue as the proxy uses it: one thread talks to SQLite, the event loop never waits for it.

The thread writes items, all that have come meanwhile as one transaction. In between it looks several times a second whether
another process has written: a reviewer's word wakes the request that waits for it, new and revoked exceptions apply. A look
costs microseconds as long as nobody has written (``PRAGMA data_version``).

While the queue cannot be written, nothing that is flagged leaves (``on_review_error: refuse``), and after `STALE_S` nothing is
excepted.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

import structlog

from proxy.audit.store import AuditError, read_key
from proxy.loading.loaded import Loaded
from proxy.review.exemptions import Exemptions
from proxy.review.item import Counts, Held, NewItem, ReviewError, State
from proxy.review.queue import ReviewQueue

log = structlog.get_logger()

TIMEOUT_S = 10.0
"""Longest time that a request waits for its item; a disk that takes longer counts as one that fails."""

MAX_WAITING = 10_000
"""More writes than this never wait for the disk."""

LOOK_S = 0.5
LOOK_WHILE_HELD_S = 0.2
"""How often the thread looks for what others have written; more often while requests wait for a word."""

ANYWAY_S = 5.0
"""At the latest after this time everything is read again, whether or not somebody seems to have written."""

TIDY_EVERY_S = 60.0

_NO_ANSWER = "the disk does not answer"


@dataclass(frozen=True, slots=True)
class _Job:
    """What the thread does, and who is told on the event loop what came of it."""

    work: Callable[[], Any]
    waiter: asyncio.Future[Any] | None
    item: NewItem | None = None
    """What it adds, if that is all it does: such jobs are done together."""


@dataclass(slots=True, eq=False)
class Review:
    """See the top of the file. All state but the queue belongs to the event loop.

    Attributes:
        queue: The store.
        must: Whether nothing flagged may leave that is not in the queue (``on_review_error: refuse``).
        keep_days: At this age items are deleted.
        max_held: So many requests may wait for a reviewer at once.
        exemptions: The exceptions that apply now.
        counts: The queue in numbers, as last read; None before that.
        failed: Items that could not be written.
        last_error: Why the last write or look failed; None if it did not.
    """

    queue: ReviewQueue
    must: bool = True
    keep_days: int = 90
    max_held: int = 100
    exemptions: Exemptions = field(init=False)
    counts: Counts | None = None
    failed: int = 0
    last_error: str | None = None
    _jobs: SimpleQueue[_Job | None] = field(default_factory=SimpleQueue, repr=False)
    _n_waiting: int = 0
    _n_held: int = 0
    _held: dict[int, asyncio.Future[State | None]] = field(default_factory=dict, repr=False)
    _is_ending: bool = False
    _loop: asyncio.AbstractEventLoop | None = field(default=None, repr=False)
    _thread: threading.Thread | None = field(default=None, repr=False)
    _busy_since: float | None = None
    """Of the thread: since when it works at something."""
    _can_look: bool = True
    """Of the thread."""
    _is_dirty: bool = False
    """Whether the thread has to read states and counts at its next look, because this process has written."""

    def __post_init__(self) -> None:
        self.exemptions = Exemptions(self.queue.clock)

    async def start(self) -> None:
        """Open the queue, making what is missing.

        Raises:
            ReviewError: It cannot be used.
        """

        def open_() -> None:
            try:
                self.queue.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self.exemptions.key = read_key(self.queue.path.with_name(self.queue.path.name + ".key"))
                self.queue.tidy(self.keep_days)
                self._look(None)
            except (OSError, AuditError) as e:
                raise ReviewError(str(e)) from None

        self._loop = asyncio.get_running_loop()
        await asyncio.to_thread(open_)
        self._thread = threading.Thread(target=self._work, name="review", daemon=True)
        self._thread.start()

    async def close(self) -> None:
        """Write what waits, and let go of the queue."""
        if self._thread is None:
            return
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join, TIMEOUT_S)
        if self._thread.is_alive():
            log.error("review_not_written", items=self._n_waiting)
        self._thread = None

    def guarded(self, loaded: Loaded) -> Loaded:
        """The configuration with the exceptions that apply to its rules."""
        routes = [
            replace(
                route,
                input=replace(route.input, exceptions=self.exemptions),
                output=replace(route.output, exceptions=self.exemptions),
            )
            for route in loaded.routes
        ]
        return replace(loaded, routes=tuple(routes))

    # ------------------------------------------------------------------ for requests

    async def put(self, item: NewItem) -> int:
        """Put an item into the queue, and wait until it is there; gives its number.

        Raises:
            ReviewError: It is not there; after the disk did not answer it may still come.
        """
        try:
            number: int = await self._do(partial(self._added, item), item)
        except ReviewError as e:
            self.failed += 1
            self._note(str(e))
            raise
        self._note(None)
        return number

    def _added(self, item: NewItem) -> int:
        return self.queue.add([item])[0]

    async def _do(self, work: Callable[[], Any], item: NewItem | None = None) -> Any:
        assert self._loop is not None
        busy_since = self._busy_since
        if busy_since is not None and time.monotonic() - busy_since > TIMEOUT_S:
            raise ReviewError(_NO_ANSWER)
        if self._n_waiting >= MAX_WAITING:
            raise ReviewError(f"more than {MAX_WAITING} items wait for the disk")
        waiter: asyncio.Future[Any] = self._loop.create_future()
        self._n_waiting += 1
        waiter.add_done_callback(self._waited)
        self._jobs.put(_Job(work, waiter, item))
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await waiter
        except TimeoutError:
            raise ReviewError(_NO_ANSWER) from None

    def _waited(self, _: asyncio.Future[Any]) -> None:
        self._n_waiting -= 1

    def _note(self, error: str | None) -> None:
        if error is not None and error != self.last_error:
            log.error("review_failed", error=error)
        elif error is None and self.last_error is not None:
            log.info("review_works_again")
        self.last_error = error

    # ------------------------------------------------------------------ for requests that wait

    @property
    def n_held(self) -> int:
        """Requests that wait for a reviewer."""
        return self._n_held

    @property
    def may_hold(self) -> bool:
        """Whether one more may wait."""
        return self._n_held < self.max_held and not self._is_ending

    async def put_and_wait(self, item: NewItem, hold_s: float) -> State:
        """Put an item into the queue and wait for a reviewer's word; gives it, or that there is none (pending).

        Args:
            item: The item, with how long it waits.
            hold_s: The same in seconds.

        Raises:
            ReviewError: It could not be put there, or read any more.
        """
        assert self._loop is not None
        self._n_held += 1
        number: int | None = None
        try:
            number = await self.put(item)
            word = self._held[number] = self._loop.create_future()
            self._is_dirty = True  # a word may have come before anybody listened
            if self._is_ending:
                word.set_result(None)
            try:
                async with asyncio.timeout(hold_s):
                    await word
                how = Held.CUT
            except TimeoutError:
                how = Held.NOBODY
            state: State = await self._do(partial(self.queue.end_hold, number, how))
            return state
        except asyncio.CancelledError:
            self._jobs.put(_Job(partial(self.queue.left, item.decision_id), None))
            raise
        finally:
            self._n_held -= 1
            if number is not None:
                self._held.pop(number, None)

    def end_holds(self) -> None:
        """Nobody waits any more, and nobody will: the proxy is being stopped."""
        self._is_ending = True
        for word in self._held.values():
            if not word.done():
                word.set_result(None)

    def _seen(self, counts: Counts, states: dict[int, State]) -> None:
        """The queue has been read."""
        self.counts = counts
        for number, state in states.items():
            word = self._held.get(number)
            if word is not None and not word.done() and state is not State.PENDING:
                word.set_result(state)

    # ------------------------------------------------------------------ the thread

    def _work(self) -> None:
        version: int | None = None
        look_at = anyway_at = 0.0
        tidy_at = time.monotonic() + TIDY_EVERY_S
        while True:
            now = time.monotonic()
            if now >= look_at:
                if now >= anyway_at:
                    version, anyway_at = None, now + ANYWAY_S
                version = self._look_if_it_works(version)
                look_at = now + (LOOK_WHILE_HELD_S if self._n_held else LOOK_S)
            if now >= tidy_at:
                more = self._result(partial(self.queue.tidy, self.keep_days))
                tidy_at = now + (LOOK_S if more is True else TIDY_EVERY_S)
                if isinstance(more, ReviewError):
                    self._tell(self._note, str(more))
            try:
                job = self._jobs.get(timeout=max(0.0, look_at - time.monotonic()))
            except Empty:
                continue
            self._busy_since = time.monotonic()
            if self._run(job):
                break
            self._busy_since = None
        self.queue.close()

    def _run(self, job: _Job | None) -> bool:
        """Do a job and all that wait, what adds items together; whether the last one is among them."""
        jobs: list[_Job] = []
        while job is not None:
            jobs.append(job)
            try:
                job = self._jobs.get_nowait()
            except Empty:
                break
        self._add([each for each in jobs if each.item is not None])
        for each in jobs:
            if each.item is None:
                self._settle(each, self._result(each.work))
        return job is None

    def _add(self, jobs: Sequence[_Job]) -> None:
        if not jobs:
            return
        self._is_dirty = True
        try:
            numbers: Sequence[Any] = self.queue.add([job.item for job in jobs if job.item is not None])
        except ReviewError as e:
            numbers = [e] * len(jobs)
        except Exception:  # one of them is to blame, and only that one suffers
            numbers = [self._result(job.work) for job in jobs]
        for job, number in zip(jobs, numbers, strict=True):
            self._settle(job, number)

    def _result(self, work: Callable[[], Any]) -> Any:
        """What comes of it, or the error; nothing ends the thread: somebody waits, and what comes next may work."""
        try:
            return work()
        except ReviewError as e:
            return e
        except Exception as e:  # a mistake of ours
            return ReviewError(f"internal error: {type(e).__name__}")

    def _look_if_it_works(self, version: int | None) -> int | None:
        found = self._result(partial(self._look, version))
        if isinstance(found, ReviewError):
            self._can_look = False
            self._tell(self._note, str(found))
            return None
        if not self._can_look:
            self._can_look = True
            self._tell(self._note, None)
        return int(found)

    def _look(self, version: int | None) -> int:
        """Read what others have written since a version, if anything was; gives the version that was read."""
        found = self.queue.version()
        if found == version:
            self.exemptions.still_fresh()
            if not self._is_dirty:
                return found
        else:
            self.exemptions.take(self.queue.exceptions(limit=-1))
        self._is_dirty = False  # before it is read who waits, because what begins to wait later sets it again
        self._tell(self._seen, self.queue.counts(), self.queue.states(list(self._held)))
        return found

    def _settle(self, job: _Job, result: Any) -> None:
        if job.waiter is not None:
            self._tell(_set, job.waiter, result)
        elif isinstance(result, ReviewError):
            self._tell(self._note, str(result))

    def _tell(self, what: Callable[..., None], *args: object) -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(what, *args)
        except RuntimeError:  # the loop ended while the disk did not answer: there is nobody left to tell
            log.error("review_not_told")


def review_of(loaded: Loaded) -> Review | None:
    """The review queue of a configuration, not started yet; None if it has none."""
    config, path = loaded.config.review, loaded.review_path
    if config is None or path is None:
        return None
    must = config.on_review_error == "refuse"
    return Review(ReviewQueue(path), must=must, keep_days=config.keep_days, max_held=config.max_held)


def _set(waiter: asyncio.Future[Any], result: Any) -> None:
    if waiter.done():  # who waited has left
        return
    if isinstance(result, ReviewError):
        waiter.set_exception(result)
    else:
        waiter.set_result(result)

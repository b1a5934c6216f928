"""Whose turn it is, among calls that are worked on a little at a time. Does no I/O and asks no clock.

Next is the key that had the least time, and of its calls the one that had the least. So a short content does not wait for a
long or hostile one, whoever sent it. Of each key only the first few take turns, which bounds what is half done.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Container, Iterator
from typing import Generic, Protocol, TypeVar

_TAKE_TURNS = 32
"""Calls of a key that take turns; those behind them wait until one is over."""


class Waiting(Protocol):
    """A call.

    Attributes:
        job_id: Its number.
        key: Who is asking.
        had_s: Seconds of its turns.
    """

    job_id: int
    key: str
    had_s: float


W = TypeVar("W", bound=Waiting)


class Turns(Generic[W]):
    """The calls that wait, in a queue for each key."""

    def __init__(self) -> None:
        self._queues: dict[str, deque[W]] = {}
        """None is empty."""
        self._had_s: dict[str, float] = {}

    def __bool__(self) -> bool:
        """Whether any call waits."""
        return bool(self._queues)

    def __iter__(self) -> Iterator[W]:
        """All calls."""
        return itertools.chain.from_iterable(self._queues.values())

    def add(self, call: W) -> None:
        """Take a call."""
        if call.key not in self._queues:
            self._had_s[call.key] = min(self._had_s.values(), default=0.0)  # what was missed while away is lost
            self._queues[call.key] = deque()
        self._queues[call.key].append(call)

    def next(self) -> W:
        """Whose turn it is; of those that had the same time the one that waits for longest.

        Raises:
            ValueError: No call waits.
        """
        queue = self._queues[min(self._queues, key=self._had_s.__getitem__)]
        return min(itertools.islice(queue, _TAKE_TURNS), key=lambda call: call.had_s)

    def had(self, call: W, seconds: float, *, over: bool) -> None:
        """Note a turn.

        Args:
            call: What `next` returned.
            seconds: How long it took.
            over: Whether the call waits no more.
        """
        call.had_s += seconds
        self._had_s[call.key] += seconds
        if over:
            queue = self._queues[call.key]
            queue.remove(call)
            if not queue:
                self._forget(call.key)

    def keep(self, job_ids: Container[int]) -> None:
        """Forget all other calls."""
        for key, queue in list(self._queues.items()):
            self._queues[key] = deque(call for call in queue if call.job_id in job_ids)
            if not self._queues[key]:
                self._forget(key)

    def _forget(self, key: str) -> None:
        del self._queues[key], self._had_s[key]

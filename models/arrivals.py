"""Calls whose content is not tokenised yet, and whose turn it is. Does no I/O and asks no clock.

A hostile content takes seconds to tokenise (`models.llama.vocabulary`), so it is done in turns of a few milliseconds: next is
the key that had the least time, and of its calls the one that had the least. So a short content does not wait for a hostile
one, whoever sent it. Of each key only the first few take turns, which bounds what is half done.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Container, Sequence
from dataclasses import dataclass, field

from models.engine import Passage
from models.gathering import Call
from models.llama.vocabulary import Tokenising

_TAKE_TURNS = 32
"""Calls of a key that are tokenised in turns; those behind them wait until one is over."""


@dataclass(slots=True, eq=False)
class Arrival:
    """A call that came."""

    job_id: int
    key: str
    """Who is asking."""
    passages: Sequence[Passage] = field(repr=False)
    call: Call
    content: Tokenising | None = None
    """None: it had no turn yet."""
    had_s: float = 0.0
    """Seconds of its turns."""


class Arrivals:
    """The calls that wait, in a queue for each key."""

    def __init__(self) -> None:
        self._queues: dict[str, deque[Arrival]] = {}
        """None is empty."""
        self._had_s: dict[str, float] = {}

    def __bool__(self) -> bool:
        """Whether any call waits."""
        return bool(self._queues)

    def add(self, arrival: Arrival) -> None:
        """Take a call."""
        if arrival.key not in self._queues:
            self._had_s[arrival.key] = min(self._had_s.values(), default=0.0)  # what was missed while away is lost
            self._queues[arrival.key] = deque()
        self._queues[arrival.key].append(arrival)

    def next(self) -> Arrival:
        """Whose turn it is; of those that had the same time the one that waits for longest.

        Raises:
            ValueError: No call waits.
        """
        queue = self._queues[min(self._queues, key=self._had_s.__getitem__)]
        return min(itertools.islice(queue, _TAKE_TURNS), key=lambda arrival: arrival.had_s)

    def had(self, arrival: Arrival, seconds: float, *, over: bool) -> None:
        """Note a turn.

        Args:
            arrival: What `next` returned.
            seconds: How long it took.
            over: Whether the call waits no more.
        """
        arrival.had_s += seconds
        self._had_s[arrival.key] += seconds
        if over:
            queue = self._queues[arrival.key]
            queue.remove(arrival)
            if not queue:
                self._forget(arrival.key)

    def keep(self, job_ids: Container[int]) -> None:
        """Forget all other calls."""
        for key, queue in list(self._queues.items()):
            self._queues[key] = deque(arrival for arrival in queue if arrival.job_id in job_ids)
            if not self._queues[key]:
                self._forget(key)

    def _forget(self, key: str) -> None:
        del self._queues[key], self._had_s[key]

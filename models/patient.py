"""Guards for who has time: batches and tests wait where a proxy has to answer.

A full queue, a guard that is being restarted, a deadline that passed because many calls were under way: to a request all of
these are errors. Here they are a reason to wait, and to ask once more about the policies that have no verdict yet. How many
calls are under way at once follows from it, as in TCP: one more after each that went well until the first that did not, then
half as many after each sign of too many, and slowly more again.

Waiting ends. A content that the guard fails at while it judges others has its error after some tries. A guard that judges
nothing at all for `Waits.patience_s` is `PatientEngine.lost`: whoever runs a batch stops it then and goes on another day, for
errors by the thousand are of no use to anybody.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from models.engine import Engine, GuardPolicy, Passage, Score
from models.errors import EngineError, EngineOverloaded, EngineTimeout, EngineUnavailable
from models.wrapper import EngineWrapper

FIRST_AT_ONCE = 4
"""Enough that a guard always has something to do; more are tried at once where that goes well."""


@dataclass(frozen=True, slots=True)
class Waits:
    """Tests shorten them."""

    first_pause_s: float = 0.05
    longest_pause_s: float = 5.0
    n_late: int = 3
    """Tries of one content that takes too long."""
    n_gone: int = 10
    """Tries of one content that finds the guard gone while it judges others; those that find it gone for all do not count."""
    patience_s: float = 600.0
    """A model of 65 GB that has to be loaded again takes minutes."""


class Turns:
    """How many calls may be under way at once: at most ``most``, and fewer where that is too many."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._n_running = 0
        self._free = asyncio.Condition()
        self._cut_at = 0.0
        self._in_a_row = 0
        self._was_cut = False
        self.limit = min(FIRST_AT_ONCE, most)

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """Wait for a turn, and have it."""
        async with self._free:
            await self._free.wait_for(lambda: self._n_running < self.limit)
            self._n_running += 1
        try:
            yield
        finally:
            self._n_running -= 1
            async with self._free:
                self._free.notify(2)  # the limit may have grown by one

    def went_well(self) -> None:
        """A call had its verdicts."""
        self._in_a_row += 1
        if self.limit < self._most and (not self._was_cut or self._in_a_row >= self.limit):
            self.limit += 1
            self._in_a_row = 0

    def too_many(self, began: float) -> None:
        """A call that began then found too many under way. Those that began before the last cut say nothing new."""
        if began < self._cut_at:
            return
        self._cut_at = time.monotonic()
        self._was_cut = True
        self._in_a_row = 0
        self.limit = max(1, self.limit // 2)


class PatientEngine(EngineWrapper[Engine]):
    """An `models.engine.Engine` in front of another one; see above.

    Args:
        inner: Who judges.
        at_once: Calls that may be under way at once, at most.
        waits: How long to wait for what.
    """

    def __init__(self, inner: Engine, *, at_once: int, waits: Waits | None = None) -> None:
        super().__init__(inner)
        self._waits = waits or Waits()
        self.at_once = at_once
        self._turns = Turns(at_once)
        self._last_verdict = 0.0
        self.lost: str | None = None
        """Why the guard was given up, without content; None: it was not."""

    async def judge(
        self, passages: Sequence[Passage], policies: Sequence[GuardPolicy], *, deadline: float
    ) -> list[Score | EngineError]:
        """Score one content against several policies; see `models.engine.Engine.judge`.

        The time until ``deadline`` is what each try has; waiting for a turn and between tries does not count.
        """
        arrived = time.monotonic()
        time_s = deadline - arrived
        entries: list[Score | EngineError] = [EngineError("the guard was not asked")] * len(policies)
        asked = list(range(len(policies)))
        n_late = n_gone = 0
        pause_s = self._waits.first_pause_s
        while True:
            async with self._turns.one():
                if self.lost is not None:
                    return [EngineUnavailable(self.lost)] * len(policies)
                began = time.monotonic()
                alone = self._turns.limit == 1
                answers = await self.inner.judge(passages, [policies[i] for i in asked], deadline=began + time_s)
            if len(answers) != len(asked):
                return answers  # the asker knows what to make of it
            for i, answer in zip(asked, answers, strict=True):
                entries[i] = answer
            self._learn(answers, began)
            if any(isinstance(answer, EngineTimeout) for answer in answers):
                n_late = self._waits.n_late if alone else n_late + 1
            if any(isinstance(answer, EngineUnavailable) for answer in answers):
                n_gone += self._last_verdict >= began
            asked = [i for i in asked if self._is_worth_a_try(entries[i], n_late, n_gone)]
            if not asked:
                return entries
            if time.monotonic() - max(arrived, self._last_verdict) > self._waits.patience_s:
                self.lost = str(entries[asked[0]])
                return entries
            if isinstance(entries[asked[0]], EngineUnavailable):
                await self.inner.wait_ready(self._waits.longest_pause_s)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, self._waits.longest_pause_s)

    def _learn(self, answers: Sequence[Score | EngineError], began: float) -> None:
        if any(isinstance(answer, (EngineOverloaded, EngineTimeout)) for answer in answers):
            self._turns.too_many(began)
        elif any(isinstance(answer, Score) for answer in answers):
            self._turns.went_well()
        if any(isinstance(answer, Score) for answer in answers):
            self._last_verdict = time.monotonic()

    def _is_worth_a_try(self, entry: Score | EngineError, n_late: int, n_gone: int) -> bool:
        match entry:
            case EngineOverloaded():
                return True  # nothing was started, and the queue empties
            case EngineUnavailable():
                return n_gone < self._waits.n_gone
            case EngineTimeout():
                return n_late < self._waits.n_late
            case _:
                return False

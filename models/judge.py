"""The seams inside the guard process: a judge owns a loaded model and lives in one thread.

`models.worker` steps a `SteppedJudge`, which may work on many calls at once (`models.safeguard`). A `LocalJudge` works on each
call alone (`models.encoder`); `InTurns` has its calls take turns.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from models.engine import GuardPolicy, Passage, Score
from models.errors import EngineError, EngineTimeout
from models.turns import Turns
from models.usage import Usage

Answer: TypeAlias = tuple[int, list[Score | EngineError]]
"""A call that is over: its number, and one entry per policy."""
Work: TypeAlias = Generator[None, None, list[Score | EngineError]]


@dataclass(frozen=True, slots=True)
class Stop:
    """Says when to give up: at a deadline, or when the asker has gone. Cheap enough to be asked from an abort callback."""

    deadline: float
    """On ``time.monotonic()``'s clock (the same in both processes of one machine)."""
    cancelled: Callable[[], bool] = lambda: False

    def __call__(self) -> bool:
        """Whether to stop now."""
        return time.monotonic() >= self.deadline or self.cancelled()


def never_due() -> float:
    """Nobody else is waiting."""
    return math.inf


class LocalJudge(Protocol):
    """A loaded model that scores contents, each for itself."""

    @property
    def model(self) -> str:
        """Name and revision of what is loaded, e.g. ``embedded@1b2c3d4e5f60``."""
        ...

    @property
    def usage(self) -> Usage:
        """What was computed so far."""
        ...

    def work(self, passages: Sequence[Passage], policies: Sequence[GuardPolicy], stop: Stop) -> Work:
        """Score one content against several policies: a generator that yields where others may have a turn.

        Never raises for what the content is. Its value: one entry per policy, in order; `EngineTimeout` where ``stop`` said so.
        """
        ...

    def close(self) -> None:
        """Free the model."""
        ...


class SteppedJudge(Protocol):
    """A loaded model that scores many contents at once, a little at each step."""

    @property
    def model(self) -> str:
        """Name and revision of what is loaded."""
        ...

    @property
    def usage(self) -> Usage:
        """What was computed so far."""
        ...

    @property
    def busy(self) -> bool:
        """Whether there is something to do; `step` is pointless otherwise."""
        ...

    def submit(
        self, job_id: int, passages: Sequence[Passage], policies: Sequence[GuardPolicy], stop: Stop, key: str = ""
    ) -> None:
        """Take a call. Cheap: the work is done by `step`, which also says it where the call is refused.

        Args:
            job_id: Not in use.
            passages: The content.
            policies: What to judge it against.
            stop: When to give up.
            key: Who is asking: time is shared fairly between keys.
        """
        ...

    def step(self, due: Callable[[], float] = never_due) -> list[Answer]:
        """Work for a moment; no longer than half a second beyond the earliest deadline, where the model allows it.

        Args:
            due: The earliest deadline of calls that were not submitted yet; cheap enough to be asked while it computes.

        Returns:
            Calls that are over.
        """
        ...

    def close(self) -> None:
        """Free the model."""
        ...


@dataclass(slots=True, eq=False)
class _Call:
    """A call under way."""

    job_id: int
    key: str
    n_policies: int
    stop: Stop
    work: Work
    had_s: float = 0.0


class InTurns:
    """A `LocalJudge` as a `SteppedJudge`: a step is one turn of one call. What the judge raises becomes that call's error."""

    def __init__(self, judge: LocalJudge) -> None:
        self._judge = judge
        self._calls: Turns[_Call] = Turns()

    @property
    def model(self) -> str:
        """See `SteppedJudge.model`."""
        return self._judge.model

    @property
    def usage(self) -> Usage:
        """See `SteppedJudge.usage`."""
        return self._judge.usage

    @property
    def busy(self) -> bool:
        """See `SteppedJudge.busy`."""
        return bool(self._calls)

    def submit(
        self, job_id: int, passages: Sequence[Passage], policies: Sequence[GuardPolicy], stop: Stop, key: str = ""
    ) -> None:
        """See `SteppedJudge.submit`."""
        self._calls.add(_Call(job_id, key, len(policies), stop, self._judge.work(passages, policies, stop)))

    def step(self, due: Callable[[], float] = never_due) -> list[Answer]:
        """See `SteppedJudge.step`; ``due`` changes nothing: a turn is short."""
        if late := [call for call in self._calls if call.stop()]:
            for call in late:
                self._calls.had(call, 0.0, over=True)
                call.work.close()
            error = EngineTimeout("the deadline passed before the verdict")
            return [(call.job_id, [error] * call.n_policies) for call in late]
        call = self._calls.next()
        began = time.monotonic()
        entries = _next_turn(call)
        self._calls.had(call, time.monotonic() - began, over=entries is not None)
        return [] if entries is None else [(call.job_id, entries)]

    def close(self) -> None:
        """See `SteppedJudge.close`."""
        self._judge.close()


def _next_turn(call: _Call) -> list[Score | EngineError] | None:
    """Go on with a call; its entries, if that was its last turn."""
    try:
        next(call.work)
    except StopIteration as end:
        return list(end.value)
    except EngineError as error:
        return [error] * call.n_policies
    except Exception as error:  # named by its type: messages may quote
        return [EngineError(f"the judge failed: {type(error).__name__}")] * call.n_policies
    return None

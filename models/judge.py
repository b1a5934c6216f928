"""The seams inside the guard process: a judge owns a loaded model and lives in one thread.

`models.worker` steps a `SteppedJudge`, which may work on many calls at once (`models.safeguard`). A `LocalJudge` does one
call after the other (`models.encoder`); `OneAtATime` makes it steppable.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from models.engine import GuardPolicy, Passage, Score
from models.errors import EngineError
from models.usage import Usage


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
    """A loaded model that scores contents, one call at a time."""

    @property
    def model(self) -> str:
        """Name and revision of what is loaded, e.g. ``embedded@1b2c3d4e5f60``."""
        ...

    @property
    def usage(self) -> Usage:
        """What was computed so far."""
        ...

    def judge(
        self, passages: Sequence[Passage], policies: Sequence[GuardPolicy], stop: Stop
    ) -> list[Score | EngineError]:
        """Score one content against several policies; one entry per policy, in order.

        Never raises for what the content is. `EngineTimeout` where ``stop`` said so.
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

    def step(self, due: Callable[[], float] = never_due) -> list[tuple[int, list[Score | EngineError]]]:
        """Work for a moment; no longer than half a second beyond the earliest deadline, where the model allows it.

        Args:
            due: The earliest deadline of calls that were not submitted yet; cheap enough to be asked while it computes.

        Returns:
            Calls that are over: the number, and one entry per policy.
        """
        ...

    def close(self) -> None:
        """Free the model."""
        ...


class OneAtATime:
    """A `LocalJudge` as a `SteppedJudge`: a step is a whole call. Whatever the judge raises becomes that call's error."""

    def __init__(self, judge: LocalJudge) -> None:
        self._judge = judge
        self._calls: deque[tuple[int, Sequence[Passage], Sequence[GuardPolicy], Stop]] = deque()

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
        self._calls.append((job_id, passages, policies, stop))

    def step(self, due: Callable[[], float] = never_due) -> list[tuple[int, list[Score | EngineError]]]:
        """See `SteppedJudge.step`; ``due`` changes nothing: a call is over by its own deadline."""
        job_id, passages, policies, stop = self._calls.popleft()
        entries: list[Score | EngineError]
        try:
            entries = list(self._judge.judge(passages, policies, stop))
        except EngineError as error:
            entries = [error] * len(policies)
        except Exception as error:  # named by its type: messages may quote
            entries = [EngineError(f"the judge failed: {type(error).__name__}")] * len(policies)
        return [(job_id, entries)]

    def close(self) -> None:
        """See `SteppedJudge.close`."""
        self._judge.close()

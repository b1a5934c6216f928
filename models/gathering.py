"""Gathers what is found in the windows of one call of the safeguard engine to one entry for each policy."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from models.engine import GuardPolicy, Score, Tier
from models.errors import EngineError, VerdictError
from models.evidence import Evidence
from models.judge import Stop
from models.odds import sigmoid
from models.prompt import SAFE, VIOLATES
from models.trace import read_trace


@dataclass(slots=True)
class Window:
    """One window of a content against one policy: what its readings are made of."""

    part: Part
    key: tuple[str, str]
    """Of the policy."""
    prefix: Sequence[int] = field(repr=False)
    content: Sequence[int] = field(repr=False)
    band: tuple[float, float]
    """A direct score in it is not the last word."""
    thinks: bool
    """Whether the model reasons about it, or did."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The verdict about one window.

    Attributes:
        margin: Log-odds of a violation, as the model gives them.
        thought: Whether the model reasoned.
        trace: Its reasoning.
    """

    margin: float
    thought: bool
    trace: Sequence[int] = field(repr=False)


class Part:
    """One policy of a call: gathers the verdicts of all windows.

    Args:
        index: Which of the call's policies.
        n_windows: How many there are.
        n_read: Tokens of the content that they have together.
    """

    def __init__(self, index: int, n_windows: int, n_read: int) -> None:
        self.index = index
        self.n_read = n_read
        self.best: Finding | None = None
        self._n_left = n_windows
        self._failure: EngineError | None = None

    def note(self, verdict: Finding | EngineError) -> bool:
        """Take the verdict about a window; whether it was the last."""
        self._n_left -= 1
        if isinstance(verdict, EngineError):
            self._failure = verdict
        elif self.best is None or verdict.margin > self.best.margin:
            self.best = verdict
        return self._n_left == 0

    @property
    def failure(self) -> EngineError | None:
        """Why there is no verdict.

        A window without verdict makes the answer "no verdict", unless another window is against the policy anyway: otherwise
        a provoked refusal at the end could hide the violation before it.
        """
        if self.best is None:
            return self._failure or VerdictError("nothing was judged")
        return self._failure if self.best.margin < 0.0 else None


class Call:
    """A call under way."""

    def __init__(self, policies: Sequence[GuardPolicy], stop: Stop) -> None:
        self.policies = policies
        self.stop = stop
        self.started = time.perf_counter()
        self.entries: list[Score | EngineError | None] = [None] * len(policies)
        self.windows: list[Window] = []
        """By index of the reading."""

    @property
    def over(self) -> bool:
        """Whether every policy has its entry."""
        return None not in self.entries

    def answer(self, missing: EngineError) -> list[Score | EngineError]:
        """One entry per policy; ``missing`` where there is none yet."""
        return [missing if entry is None else entry for entry in self.entries]

    def settle(self, part: Part, trace: str) -> None:
        """All windows of a policy were judged; the text of the trace, if the best of them has one."""
        best, failure = part.best, part.failure
        if best is None or failure is not None:
            self.entries[part.index] = failure
            return
        evidence = Evidence(logit=best.margin)
        if best.thought:
            said = read_trace(trace, VIOLATES if best.margin >= 0 else SAFE, n_tokens=len(best.trace))
            evidence = replace(said, logit=best.margin)
        self.entries[part.index] = Score(
            value=sigmoid(best.margin),
            tier=Tier.REASONED if best.thought else Tier.DIRECT,
            calibrated=False,
            rationale=trace if best.thought else None,
            n_tokens=len(best.trace) if best.thought else part.n_read,
            latency_ms=(time.perf_counter() - self.started) * 1000,
            evidence=evidence,
        )

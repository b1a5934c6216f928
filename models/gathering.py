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
from models.trace import prior_score, read_trace


@dataclass(slots=True)
class Window:
    """One window of a content against one policy: what its readings are made of."""

    part: Part
    key: tuple[str, str]
    """Of the policy."""
    prefix: Sequence[int] = field(repr=False)
    content: Sequence[int] = field(repr=False)
    """With the header that it begins with."""
    band: tuple[float, float]
    """A direct score in it is not the last word."""
    thinks: bool
    """Whether the model reasons about it, or did."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The verdict about one window.

    Attributes:
        evidence: What was seen; its logit is the log-odds of a violation, as the model gives them.
        tier: *Reasoned*, if the model reasoned.
        trace: Its reasoning.
    """

    evidence: Evidence
    tier: Tier
    trace: str | None = field(default=None, repr=False)

    @classmethod
    def read(cls, margin: float, trace: str | None, n_tokens: int, *, cut: bool) -> Finding:
        """Make a finding.

        Args:
            margin: Log-odds of a violation.
            trace: What the model thought; None: it didn't.
            n_tokens: Of the trace.
            cut: Whether time ran out before the trace was over.
        """
        if trace is None:
            return cls(Evidence(logit=margin), Tier.DIRECT)
        said = read_trace(trace, VIOLATES if margin >= 0 else SAFE, n_tokens=n_tokens)
        return cls(replace(said, logit=margin, cut=cut), Tier.REASONED, trace)

    @property
    def said(self) -> float:
        """Probability of a violation, as the model gives it."""
        assert self.evidence.logit is not None
        return sigmoid(self.evidence.logit)

    @property
    def counts(self) -> float:
        """The same as it will count where no map was fitted (`models.calibrated`)."""
        return prior_score(self.evidence) if self.tier is Tier.REASONED and self.evidence.n_chars else self.said


class Part:
    """One policy of a call: gathers the verdicts of all windows.

    Args:
        index: Which of the call's policies.
        n_windows: How many there are.
        n_read: Tokens that they have together.
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
        elif self.best is None or (verdict.counts, verdict.said) > (self.best.counts, self.best.said):
            self.best = verdict
        return self._n_left == 0

    def entry(self, latency_ms: float) -> Score | EngineError:
        """What is known once all windows were judged.

        A window without verdict makes the answer "no verdict", unless another window is against the policy anyway: otherwise
        a provoked refusal at the end could hide the violation before it. Such a score says what was not judged.
        """
        best, failure = self.best, self._failure
        if best is None:
            return failure or VerdictError("nothing was judged")
        if failure is not None and best.counts < 0.5:
            return failure
        return Score(
            value=best.said,
            tier=best.tier,
            calibrated=False,
            rationale=best.trace,
            n_tokens=self.n_read if best.trace is None else best.evidence.n_tokens or 0,
            latency_ms=latency_ms,
            evidence=best.evidence,
            unjudged=None if failure is None else failure.code,
        )


class Call:
    """A call under way."""

    def __init__(self, policies: Sequence[GuardPolicy], stop: Stop) -> None:
        self.policies = policies
        self.stop = stop
        self.started = time.perf_counter()
        self.began = time.monotonic()
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

    def settle(self, part: Part) -> None:
        """All windows of a policy were judged."""
        self.entries[part.index] = part.entry((time.perf_counter() - self.started) * 1000)

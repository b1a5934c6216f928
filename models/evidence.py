"""What a guard saw, as numbers: from this a score is made, here or later by `models.calibration`. Holds no content.

Which fields are there depends on the tier::

    encoder    logit                                      of the category's (or the pair's) output
    direct     logit                                      violating label against the other, after a forced final channel
    reasoned   logit and all about the trace              the same after a trace
    remote     logit where the server gave log-probabilities, and all about the trace

A content that is judged in windows has the evidence of the window whose score counted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What an answer is; `models.trace` tells how the kinds are told apart."""

    VERDICT = "verdict"
    REFUSAL = "refusal"
    TASK = "task"
    EMPTY = "empty"
    RUNAWAY = "runaway"
    MALFORMED = "malformed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The raw numbers behind one score.

    Attributes:
        logit: Log-odds of a violation as the model itself gives them, before any map; None where they are not known.
        kind: What the answer is; logits that were read without an answer count as a verdict.
        violates: The verdict; None for every kind but `Kind.VERDICT`, and where no answer was read, only logits.
        n_chars: Length of the trace; 0 where there is none.
        n_tokens: The same in tokens; None where nobody counted them.
        runaway: The trace is over-long or goes round in circles. With a verdict: one that is worth little.
        n_drift_words: How often the trace speaks of OpenAI's policy, of refusing or complying.
        names_label: Whether the trace names one of the labels that it was to choose from.
        cut: Whether time ran out before the trace was over: it would have been longer, and its end does not say what it would
            have said.

    Raises:
        ValueError: A number is negative or not finite.
    """

    logit: float | None = None
    kind: Kind = Kind.VERDICT
    violates: bool | None = None
    n_chars: int = 0
    n_tokens: int | None = None
    runaway: bool = False
    n_drift_words: int = 0
    names_label: bool = False
    cut: bool = False

    def __post_init__(self) -> None:
        if self.logit is not None and not math.isfinite(self.logit):
            raise ValueError("a logit is not a finite number")
        if min(self.n_chars, self.n_tokens or 0, self.n_drift_words) < 0:
            raise ValueError("a count is negative")

    @property
    def leans_to_violation(self) -> bool:
        """Whether the answer speaks for a violation: its verdict, or a refusal or an executed task in place of one."""
        return self.violates is True or self.kind in (Kind.REFUSAL, Kind.TASK)

"""A rule: a policy bound to a stage, a guard, thresholds and a mode."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum, StrEnum
from functools import cached_property

from rules.content import Surface
from rules.policy import DEFAULT_REFUSAL_TEXT, Policy


class Stage(StrEnum):
    """Which way the content goes."""

    INPUT = "input"
    """To the upstream."""
    OUTPUT = "output"
    """Back to the client."""

    @property
    def surface(self) -> Surface:
        """Where a plain text of this stage stands, if nobody says."""
        return Surface.USER if self is Stage.INPUT else Surface.ASSISTANT


class Action(IntEnum):
    """What is done with the content, in order of gravity."""

    FORWARD = 0
    FLAG = 1
    REWRITE = 2
    REFUSE = 3

    @cached_property
    def word(self) -> str:
        """As configuration, headers and records spell it."""
        return self.name.lower()


class Mode(StrEnum):
    """Whether a rule's outcome counts."""

    ENFORCE = "enforce"
    SHADOW = "shadow"
    """Judged and recorded, without any effect on the request."""
    OFF = "off"


class OnError(StrEnum):
    """What a failed verdict counts as."""

    REFUSE = "refuse"
    FLAG = "flag"
    FORWARD = "forward"


class RewriteWith(StrEnum):
    """What a rewrite does."""

    MASK = "mask"
    """What a detector found becomes a placeholder; the only way for detectors, and only for them."""
    SENTENCES = "sentences"
    """The sentences that violate the policy by themselves are dropped."""
    TEXT = "text"
    """The texts that violate the policy by themselves are replaced by the policy's own."""
    ADVISORY = "advisory"
    """``input`` only: the content stays, the upstream is told about the policy in a system message."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of a route's ``input`` or ``output``.

    Attributes:
        policy: What is judged.
        guards: Which guards judge, by name: one, or a cascade whose earlier guards may only pass or escalate. Empty
            for detectors.
        thresholds: The score from which on each action is taken.
        mode: Whether the outcome counts.
        on_error: What a failed verdict counts as.
        scope: Which surfaces are read; None: all.
        rewrite_with: What a rewrite does.
        restore: Whether the values that this rule masked are put back into the answer.
        rewrite_text: What stands in place of a text that is replaced.
        hold_s: How long what it flags waits for a reviewer, in seconds; None: it does not wait.
        pass_below: In a cascade, by earlier guard: the score under which it lets content pass; those that are not named pass
            as `limit_of` says.
        basis: Hash over all that its scores depend on besides the content; empty: not known.
    """

    policy: Policy
    guards: tuple[str, ...]
    thresholds: Mapping[Action, float]
    mode: Mode = Mode.ENFORCE
    on_error: OnError = OnError.REFUSE
    scope: frozenset[Surface] | None = None
    rewrite_with: RewriteWith = RewriteWith.MASK
    restore: bool = False
    rewrite_text: str = DEFAULT_REFUSAL_TEXT
    hold_s: float | None = None
    pass_below: Mapping[str, float] = field(default_factory=dict)
    basis: str = ""
    thresholds_by_word: Mapping[str, float] = field(init=False, compare=False, repr=False)
    """The thresholds as records spell them, the mildest action first."""

    def __post_init__(self) -> None:
        words = {action.word: threshold for action, threshold in sorted(self.thresholds.items())}
        object.__setattr__(self, "thresholds_by_word", words)

    def without_rewrite(self) -> Rule:
        """The rule once its rewrite was carried out in a way that leaves its score as it is."""
        return replace(self, thresholds={a: t for a, t in self.thresholds.items() if a is not Action.REWRITE})

    def action_for(self, score: float) -> Action:
        """The gravest action whose threshold the score reaches."""
        return gravest(score, self.thresholds)

    def limit_of(self, guard: str, measured: float | None) -> float:
        """In a cascade: the score under which an earlier guard lets content pass without asking the next.

        What the rule says; else what was measured for a recall; else half of the lowest threshold. Never above the lowest
        threshold, so that nothing passes that asks for an action: that is for the last guard to say.

        Args:
            guard: One of its guards, but for the last.
            measured: `models.engine.Score.pass_below` of what the guard said.
        """
        lowest = min(self.thresholds.values(), default=0.0)
        own = self.pass_below.get(guard, measured)
        return lowest / 2 if own is None else min(own, lowest)


def gravest(score: float, thresholds: Mapping[Action, float]) -> Action:
    """The gravest action whose threshold a score reaches."""
    found = Action.FORWARD
    for action, threshold in thresholds.items():
        if score >= threshold and action > found:
            found = action
    return found

"""A rule: a policy bound to a stage, a guard, thresholds and a mode."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from functools import cached_property

from rules.content import Surface
from rules.policy import Policy


class Stage(StrEnum):
    """Which way the content goes."""

    INPUT = "input"
    """To the upstream."""
    OUTPUT = "output"
    """Back to the client."""


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
    """

    policy: Policy
    guards: tuple[str, ...]
    thresholds: Mapping[Action, float]
    mode: Mode = Mode.ENFORCE
    on_error: OnError = OnError.REFUSE
    scope: frozenset[Surface] | None = None
    thresholds_by_word: Mapping[str, float] = field(init=False, compare=False, repr=False)
    """The thresholds as records spell them, the mildest action first."""

    def __post_init__(self) -> None:
        words = {action.word: threshold for action, threshold in sorted(self.thresholds.items())}
        object.__setattr__(self, "thresholds_by_word", words)

    def action_for(self, score: float) -> Action:
        """The gravest action whose threshold the score reaches."""
        gravest = Action.FORWARD
        for action, threshold in self.thresholds.items():
            if score >= threshold and action > gravest:
                gravest = action
        return gravest

    @property
    def pass_below(self) -> float:
        """In a cascade: the score under which an earlier guard lets content pass without asking the next.

        Half of the lowest threshold: an earlier guard that is nearly sure ends the matter, every doubt goes on.
        """
        return min(self.thresholds.values(), default=0.0) / 2

"""Verdicts and the decision that follows from them. Pure: no I/O, no clock.

A refusal is a value. Three outcomes of a rule are kept apart: a score, an error (nobody could say), and *skipped*
(another rule had already refused, so nobody was asked, or waited for).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from models.engine import Tier
from rules.content import Path, without_keys
from rules.detectors import Span
from rules.rule import Action, Mode, OnError, Rule, Stage

OPAQUE = "opaque-content"
"""Stands among a decision's policies when content that no guard can read was refused or flagged."""


NOBODY_REVIEWED = "nobody_reviewed"
"""Error of a verdict whose content waited for a reviewer, and nobody said what is right."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A span that a detector found in one leaf."""

    leaf: int
    """Index into the content's leaves."""
    span: Span
    restore: bool = False
    """Whether what stands there may be put back into the answer, once it was masked."""


class Step(StrEnum):
    """What came of an earlier guard of a cascade."""

    PASSED = "passed"
    """It was nearly sure that nothing is wrong: its score is the verdict."""
    ESCALATED = "escalated"
    """It was in doubt: the next guard was asked."""
    FAILED = "failed"
    """It could not judge: the next guard was asked."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """What an earlier guard of a cascade said, which may only pass or escalate.

    Attributes:
        guard: Its name.
        step: What came of it.
        score: What it said; None: it failed.
        pass_below: The limit that was in force; None where there is no score.
        error: Code of the error, where it failed.
        latency_ms: How long it took.
    """

    guard: str
    step: Step
    score: float | None = None
    pass_below: float | None = None
    error: str | None = None
    latency_ms: float = 0.0


class Ruling(StrEnum):
    """What a reviewer says about a content that waited for one."""

    UPHELD = "upheld"
    """It is against the policy: refused."""
    OVERTURNED = "overturned"
    """It is not: it passes."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One rule's outcome: a score, or an error, or neither (skipped); never both.

    Attributes:
        rule: The rule that was applied.
        score: Probability of violation in ``[0, 1]``.
        error: Code of the `models.errors.EngineError` that stood in the way.
        tier: What kind of evidence decided.
        model: What judged: name and revision.
        calibrated: Whether the score went through a fitted map.
        rationale: The model's reasoning; for the audit only.
        findings: What a detector found; what a rewrite masks.
        latency_ms: How long the verdict took.
        earlier: Of a cascade: what the guards said that may only pass or escalate, in order.
        cached: Whether the guard had judged the same content before, or did so for another request.
        fingerprint: Of what the rule has read, where it asks for something and exceptions could be made.
        excepted: Id of the exception by which it counts as forward.
        ruling: What a reviewer said, whom the request waited for; goes before the score.
    """

    rule: Rule
    score: float | None = None
    error: str | None = None
    tier: Tier | None = None
    model: str | None = None
    calibrated: bool = True
    rationale: str | None = field(default=None, repr=False)
    findings: tuple[Finding, ...] = ()
    latency_ms: float = 0.0
    cached: bool = False
    earlier: tuple[Earlier, ...] = ()
    fingerprint: str | None = None
    excepted: str | None = None
    ruling: Ruling | None = None
    action: Action = field(init=False, compare=False)
    """What the rule by itself asks for; an error counts as its rule says."""

    def __post_init__(self) -> None:
        if self.error is not None:
            action = _COUNTS_AS[self.rule.on_error]
        elif self.excepted is not None or self.ruling is Ruling.OVERTURNED:
            action = Action.FORWARD
        elif self.ruling is Ruling.UPHELD:
            action = Action.REFUSE
        else:
            action = Action.FORWARD if self.score is None else self.rule.action_for(self.score)
        object.__setattr__(self, "action", action)

    @property
    def refuses(self) -> bool:
        """Whether its policy refuses, which settles the action; a failure that counts as a refusal is none."""
        return self.action is Action.REFUSE and self.error is None


_COUNTS_AS = {OnError.REFUSE: Action.REFUSE, OnError.FLAG: Action.FLAG, OnError.FORWARD: Action.FORWARD}


class Cause(StrEnum):
    """Why a decision refuses."""

    VIOLATION = "violation"
    """A policy, or unreadable content: the client gets a refusal."""
    UNDECIDED = "undecided"
    """A guard could not decide and its rule says ``on_error: refuse``: the client is told to try again."""


@dataclass(frozen=True, slots=True)
class Decision:
    """One stage's action with all its verdicts and what could not be judged.

    Attributes:
        stage: Which stage was screened.
        action: The gravest action that any enforced rule asked for.
        cause: Why it refuses; None when it does not.
        policies: Names of the policies that asked for ``action``; empty for forward.
        verdicts: One per rule that was screened, in the route's order.
        unjudged: What crosses or was decided without a verdict: places of opaque parts (two may read alike, because keys
            are left out of them), names of failed policies. Empty on a refusal.
        refusal_text: What the deciding policy wants the client to be told; None: the route's text.
    """

    stage: Stage
    action: Action
    cause: Cause | None
    policies: tuple[str, ...]
    verdicts: tuple[Verdict, ...]
    unjudged: tuple[str, ...]
    refusal_text: str | None = None


def opaque_part(path: Path) -> str:
    """An opaque part among what is unjudged; this goes on record, so it holds nothing that a sender chose.

    >>> opaque_part(("input", 0, "what a client made up"))
    'opaque:input.0.*'
    """
    return f"opaque:{'.'.join(map(str, without_keys(path)))}"


def united(*unjudged: Sequence[str]) -> tuple[str, ...]:
    """What several decisions about the same have left unjudged, each part once: as often as any one of them names it."""
    most: Counter[str] = Counter()
    for parts in unjudged:
        most |= Counter(parts)
    return tuple(most.elements())


def decide(
    stage: Stage, verdicts: Sequence[Verdict], opaque: Sequence[Path] = (), on_opaque: OnError = OnError.REFUSE
) -> Decision:
    """Turn a vector of verdicts into one action.

    A violation outranks a guard failure: if one policy refuses, it does not matter that another could not be judged.

    Args:
        stage: The stage that was screened.
        verdicts: One per rule; those of rules in shadow do not count.
        opaque: Paths of the parts that no guard can read.
        on_opaque: What such parts count as.
    """
    counted = [v for v in verdicts if v.rule.mode is Mode.ENFORCE]
    if not opaque and all(v.action is Action.FORWARD and v.error is None for v in counted):
        return Decision(stage, Action.FORWARD, None, (), tuple(verdicts), ())
    asks: list[tuple[Action, bool, str]] = [(v.action, v.error is not None, v.rule.policy.name) for v in counted]
    if opaque:
        asks.append((_COUNTS_AS[on_opaque], False, OPAQUE))
    action = max((a for a, _, _ in asks), default=Action.FORWARD)
    grave = [(failed, name) for a, failed, name in asks if a is action and a is not Action.FORWARD]
    violated = [name for failed, name in grave if not failed]
    cause: Cause | None = None
    if action is Action.REFUSE:
        cause = Cause.VIOLATION if violated else Cause.UNDECIDED
    policies = tuple(dict.fromkeys(violated if violated else [name for _, name in grave]))
    unjudged: tuple[str, ...] = ()
    if action is not Action.REFUSE:
        from_errors = [f"policy:{v.rule.policy.name}" for v in counted if v.error is not None]
        unjudged = (*map(opaque_part, opaque), *from_errors)
    texts = (v.rule.policy.refusal_text for v in counted if v.action is action and v.error is None)
    return Decision(
        stage=stage,
        action=action,
        cause=cause,
        policies=policies,
        verdicts=tuple(verdicts),
        unjudged=unjudged,
        refusal_text=next((t for t in texts if t), None) if cause is Cause.VIOLATION else None,
    )

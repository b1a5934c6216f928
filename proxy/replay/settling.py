"""What a draft makes of a decision: from the scores on record as far as they do, else with some of its rules asked anew. Pure.

A recorded score does for a rule of the draft if it is about the same policy and has the same *basis* (`proxy.basis`): then the
draft's rule would have got it too. So changed thresholds, modes, ``on_error`` and rules that were in shadow are decided
exactly, without guards and without content; a changed policy is the only one that is asked about. A guard's failure on record
stays one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from proxy.records import outcome
from proxy.replay.past import OUTCOMES, Past, PastVerdict, opaque_paths
from rules.decision import Cause, Decision, Verdict, decide
from rules.rule import Action, Mode, Rule
from rules.screen import Screener


class Direction(StrEnum):
    """Which way a change goes."""

    STRICTER = "stricter"
    LOOSER = "looser"
    OTHER = "other"
    """A verdict came or went, which by itself is neither."""


@dataclass(frozen=True, slots=True)
class Open:
    """A decision for which recorded scores do not do.

    Attributes:
        known: Verdicts that are taken from the record, by number of the rule.
        asked: The rules that have to be asked, by number.
    """

    known: Mapping[int, Verdict]
    asked: Mapping[int, Rule]


@dataclass(frozen=True, slots=True)
class PolicyChange:
    """Another outcome of one policy. Outcomes are actions, ``error``, or ``none`` where there is no rule in force."""

    policy: str
    before: str
    after: str
    score_before: float | None
    score_after: float | None

    @property
    def direction(self) -> Direction:
        """An error is neither grave nor mild."""
        if "error" in (self.before, self.after):
            return Direction.OTHER
        return _direction(_GRAVITY[self.before], _GRAVITY[self.after])


@dataclass(frozen=True, slots=True)
class Replayed:
    """What the draft decides, beside what was decided.

    Attributes:
        is_anew: Whether a guard or a detector was asked again.
        is_redacted: Whether it was asked about a text with something masked.
    """

    past: Past
    action: Action
    changes: tuple[PolicyChange, ...] = ()
    is_anew: bool = False
    is_redacted: bool = False

    @property
    def has_changed(self) -> bool:
        """Whether something else would be done."""
        return self.action is not self.past.action

    @property
    def direction(self) -> Direction:
        """Of a change."""
        return _direction(self.past.action, self.action)


_GRAVITY = {"none": Action.FORWARD, **{action.word: action for action in Action}}


def _direction(before: Action, after: Action) -> Direction:
    if after is before:
        return Direction.OTHER
    return Direction.STRICTER if after > before else Direction.LOOSER


def is_untouched(past: Past, policy_set: str, screener: Screener) -> bool:
    """Whether the draft has just the rules that made a decision, so that nothing about it can change."""
    then = {(v.policy, v.basis) for v in past.counted}
    return past.policy_set == policy_set and then == {(r.policy.name, r.basis) for r in enforced(screener)}


def settle(past: Past, screener: Screener, *, rejudge: bool = False) -> Decision | Open:
    """Decide anew from recorded scores, or say what is missing.

    Args:
        past: What was decided.
        screener: The draft's rules.
        rejudge: Whether no recorded score counts.
    """
    rules = enforced(screener)
    known: dict[int, Verdict] = {}
    for i, rule in enumerate(rules):
        if not (rejudge or past.is_failed_rewrite) and (found := _recorded(past.verdicts, rule)) is not None:
            known[i] = _again(found, rule)
    asked = {i: rule for i, rule in enumerate(rules) if i not in known}
    decision = decided(screener, known, opaque_paths(past.n_opaque))
    is_new_rewrite = decision.action is Action.REWRITE and past.action is not Action.REWRITE
    is_settled = not asked and not is_new_rewrite  # whether a rewrite holds, only the content says
    if is_settled or decision.cause is Cause.VIOLATION:  # what else there is to ask cannot make it milder
        return decision
    return Open(known, asked)


def enforced(screener: Screener) -> list[Rule]:
    """The rules that have an effect."""
    return [rule for rule in screener.rules if rule.mode is Mode.ENFORCE]


def decided(screener: Screener, verdicts: Mapping[int, Verdict], opaque: Sequence[tuple[str | int, ...]]) -> Decision:
    """The decision from verdicts by number of the rule; a rule without one counts as skipped."""
    rules = enforced(screener)
    every = [verdicts.get(i) or Verdict(rule) for i, rule in enumerate(rules)]
    return decide(screener.stage, every, opaque, screener.on_opaque)


def _recorded(verdicts: Sequence[PastVerdict], rule: Rule) -> PastVerdict | None:
    """The verdict on record that the rule would have got."""
    for verdict in verdicts:
        if verdict.policy == rule.policy.name and verdict.basis == rule.basis and verdict.is_known:
            return None if any(map(verdict.is_near, rule.thresholds.values())) else verdict
    return None


def _again(found: PastVerdict, rule: Rule) -> Verdict:
    if found.error is not None:
        return Verdict(rule, error=found.error)
    return Verdict(rule, score=found.score)


def changes(past: Past, decision: Decision) -> tuple[PolicyChange, ...]:
    """The policies that have another outcome; those that were skipped, then or now, are not known to."""
    before, after = _outcomes(past.counted), _outcomes([_shown(v) for v in decision.verdicts])
    out = []
    for policy in dict.fromkeys((*before, *after)):
        (was, score_before), (is_, score_after) = before.get(policy, _NONE), after.get(policy, _NONE)
        if "skipped" not in (was, is_) and was != is_ and {was, is_} != {"none", Action.FORWARD.word}:
            out.append(PolicyChange(policy, was, is_, score_before, score_after))
    return tuple(out)


_NONE: tuple[str, float | None] = ("none", None)


def _shown(verdict: Verdict) -> PastVerdict:
    rule = verdict.rule
    return PastVerdict(rule.policy.name, rule.basis, rule.mode, outcome(verdict), verdict.score, verdict.error)


def _outcomes(verdicts: Sequence[PastVerdict]) -> dict[str, tuple[str, float | None]]:
    """By policy, of several rules the gravest."""
    out: dict[str, tuple[str, float | None]] = {}
    for v in sorted(verdicts, key=lambda v: OUTCOMES.index(v.outcome)):
        out[v.policy] = (v.outcome, v.score)
    return out

"""What decisions were made of, as far as it is needed to count scores and to decide again with other thresholds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from proxy.audit.store import Record
from proxy.replay.past import Past, past_of
from rules.rule import Action, Mode, gravest

_ACTIONS = {action.word: action for action in Action}

BINS = 20
"""Bars of a histogram."""


@dataclass(frozen=True, slots=True)
class Given:
    """One verdict of a decision.

    Attributes:
        asks: What it asked for; None: it failed, or was not needed.
        basis: What its score depends on besides the content, see `proxy.basis`; empty: not known.
        earlier: Of a cascade, the guards that may only pass or escalate, and what came of each (`rules.decision.Step`).
    """

    policy: str
    revision: str
    score: float | None
    asks: Action | None
    failed: bool
    is_shadow: bool
    basis: str
    model: str
    calibrated: bool
    earlier: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Judged:
    """One decision.

    Attributes:
        can_be_decided_again: Whether its action follows from its scores alone; not with failed verdicts, opaque parts,
            people's words and exceptions, or where nobody judged.
    """

    decision_id: str
    route: str
    stage: str
    action: Action | None
    verdicts: tuple[Given, ...]
    can_be_decided_again: bool


def judged(record: Record) -> Judged:
    """One record of the audit."""
    verdicts = [_given(v, is_shadow=v.get("mode") == Mode.SHADOW) for v in record.get("verdicts", ())]
    verdicts += [_given(v, is_shadow=True) for v in record.get("shadow", ())]
    action = _ACTIONS.get(record.get("action", ""))
    counted = [v for v in verdicts if not v.is_shadow]
    past = past_of(record)
    follows = (
        isinstance(past, Past)
        and not past.is_failed_rewrite
        and not record.get("unjudged")
        and not any(v.failed for v in counted)
        and action is max((v.asks for v in counted if v.asks is not None), default=Action.FORWARD)
    )
    return Judged(
        record["decision_id"], record.get("route", ""), record.get("stage", ""), action, tuple(verdicts), follows
    )


def _given(verdict: Record, *, is_shadow: bool) -> Given:
    return Given(
        verdict["policy"],
        verdict.get("revision", ""),
        verdict.get("score"),
        _ACTIONS.get(verdict["outcome"]),
        verdict["outcome"] == "error",
        is_shadow,
        verdict.get("basis", ""),
        verdict.get("model") or "",
        verdict.get("calibrated", True),
        tuple((said["guard"], said["outcome"]) for said in verdict.get("cascade", ())),
    )


@dataclass(frozen=True, slots=True)
class Where:
    """A rule, as far as records tell rules apart.

    Attributes:
        basis: What its scores depend on now; those on record that depended on something else are not its own.
    """

    policy: str
    route: str
    stage: str
    is_shadow: bool
    basis: str = ""

    def of(self, decision: Judged) -> list[Given]:
        """Its verdicts in a decision: none, or one, or more where a stage has several rules of one policy."""
        return [v for v in self._all(decision) if self.is_own(v)]

    def earlier(self, decision: Judged) -> int:
        """Verdicts by an earlier policy, model or calibration."""
        return sum(not self.is_own(v) for v in self._all(decision))

    def _all(self, decision: Judged) -> list[Given]:
        if (decision.route, decision.stage) != (self.route, self.stage):
            return []
        return [v for v in decision.verdicts if (v.policy, v.is_shadow) == (self.policy, self.is_shadow)]

    def is_own(self, verdict: Given) -> bool:
        """Whether the rule would give this score now, as far as is known."""
        return not verdict.basis or not self.basis or verdict.basis == self.basis


@dataclass(frozen=True, slots=True)
class Histogram:
    """How scores are spread.

    Attributes:
        counts: From 0 to 1, in bins of the same width; the last one includes 1.
        n: Scores in all.
        failed: Verdicts without a score.
        uncalibrated: Scores that are no probabilities.
        earlier: Verdicts by an earlier policy, model or calibration; they are not counted otherwise.
    """

    counts: Sequence[int]
    n: int
    failed: int
    uncalibrated: int
    earlier: int = 0


def histogram(where: Where, decisions: Iterable[Judged]) -> Histogram:
    """The scores that a rule has given."""
    counts, failed, uncalibrated, earlier = [0] * BINS, 0, 0, 0
    for decision in decisions:
        earlier += where.earlier(decision)
        for verdict in where.of(decision):
            failed += verdict.failed
            if verdict.score is not None:
                counts[min(int(verdict.score * BINS), BINS - 1)] += 1
                uncalibrated += not verdict.calibrated
    return Histogram(counts, sum(counts), failed, uncalibrated, earlier)


@dataclass(frozen=True, slots=True)
class Change:
    """Decisions that would have been another one, with the numbers of their records the newest first.

    Attributes:
        before: What was done; for a rule in shadow, what it asked for.
        after: What would have been.
    """

    before: Action
    after: Action
    decision_ids: Sequence[str]


@dataclass(frozen=True, slots=True)
class WhatIf:
    """What other thresholds would have changed.

    Attributes:
        changes: The gravest first.
        n: Decisions that were decided again.
        left_out: Decisions of the rule whose action does not follow from scores alone.
    """

    changes: Sequence[Change]
    n: int
    left_out: int


def what_if(where: Where, thresholds: Mapping[Action, float], decisions: Iterable[Judged]) -> WhatIf:
    """Decide again with other thresholds of one rule.

    The scores stay what they were. That is right for what is asked of a guard by itself. In a cascade, another threshold may
    have asked a guard that was not asked; that is not known.
    """
    found: dict[tuple[Action, Action], list[str]] = {}
    n = left_out = 0
    for decision in decisions:
        mine = where.of(decision)
        if not mine:
            continue
        if any(v.score is None for v in mine) or not (where.is_shadow or decision.can_be_decided_again):
            left_out += 1
            continue
        n += 1
        others = (
            [] if where.is_shadow else [v for v in decision.verdicts if not v.is_shadow and v.policy != where.policy]
        )
        asked = max((v.asks for v in (*mine, *others) if v.asks is not None), default=Action.FORWARD)
        would = [gravest(v.score, thresholds) for v in mine if v.score is not None]
        asks = max((*would, *(v.asks for v in others if v.asks is not None)), default=Action.FORWARD)
        if asks is not asked:
            found.setdefault((asked, asks), []).append(decision.decision_id)
    changes = [Change(before, after, ids) for (before, after), ids in found.items()]
    return WhatIf(sorted(changes, key=lambda c: (c.after, c.before), reverse=True), n, left_out)

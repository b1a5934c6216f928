"""What earlier guards of cascades said in the decisions on record: how much went on to the next guard, and what came of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from proxy.audit.store import Record
from proxy.console.judged import Judged, Where
from rules.decision import Step
from rules.rule import Action


@dataclass(frozen=True, slots=True)
class StageCount:
    """What came of one earlier guard.

    Attributes:
        guard: Its name.
        passed: Contents that it let pass.
        escalated: Contents that it was in doubt about.
        failed: Contents that it could not judge.
        found: Of those that went on, how many the rule asked something for in the end.
    """

    guard: str
    passed: int
    escalated: int
    failed: int
    found: int

    @property
    def n(self) -> int:
        """All that it was asked about."""
        return self.passed + self.escalated + self.failed

    @property
    def went_on(self) -> int:
        """What the next guard was asked about."""
        return self.escalated + self.failed

    @property
    def share(self) -> str:
        """The share that went on."""
        return f"{self.went_on / self.n:.1%}" if self.n else "–"


def stage_counts(where: Where, guards: Sequence[str], decisions: Iterable[Judged]) -> list[StageCount]:
    """Count what came of the earlier guards of a rule.

    Args:
        where: The rule; what an earlier policy, model or limit led to is not counted.
        guards: Its earlier guards, in order.
        decisions: On record.
    """
    steps: Counter[tuple[str, str]] = Counter()
    found: Counter[str] = Counter()
    for decision in decisions:
        for verdict in where.of(decision):
            asks = verdict.asks is not None and verdict.asks is not Action.FORWARD
            for guard, step in verdict.earlier:
                steps[guard, step] += 1
                found[guard] += asks and step != Step.PASSED
    return [
        StageCount(g, steps[g, Step.PASSED], steps[g, Step.ESCALATED], steps[g, Step.FAILED], found[g]) for g in guards
    ]


def earlier_facts(verdict: Record) -> list[tuple[str, str]]:
    """What each earlier guard said to one content, in words."""
    return [(f"first, {said['guard']}", _in_words(said)) for said in verdict.get("cascade", ())]


def _in_words(said: Record) -> str:
    if said["outcome"] == Step.FAILED:
        return f"no verdict ({said.get('error', '')}), so the next guard was asked"
    score, limit = f"{said['score']:.4g}", f"{said['pass_below']:.4g}"
    if said["outcome"] == Step.PASSED:
        return f"{score} is below {limit}, so it passed"
    return f"{score} is not below {limit}, so the next guard was asked"

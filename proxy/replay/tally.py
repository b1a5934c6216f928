"""What a replay comes to: counts of what stays and what changes, and the changes themselves."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from proxy.replay.past import Past, Unfit
from proxy.replay.settling import Direction, PolicyChange, Replayed


@dataclass(slots=True)
class Tally:
    """Counts of decisions; changed ones are kept.

    Attributes:
        changed: Decisions that the draft makes differently.
        transitions: Changed decisions by action before and after.
        policies: Outcomes of policies that differ, by policy, before and after; in unchanged decisions too.
        routes_gone: Decisions by route that the draft does not have.
        unfit: Decisions that were not replayed, by reason.
    """

    n_unchanged: int = 0
    n_recorded: int = 0
    n_anew: int = 0
    n_redacted: int = 0
    changed: list[Replayed] = field(default_factory=list)
    transitions: Counter[tuple[str, str, Direction]] = field(default_factory=Counter)
    policies: Counter[tuple[str, str, str, Direction]] = field(default_factory=Counter)
    routes_gone: Counter[str] = field(default_factory=Counter)
    unfit: Counter[Unfit] = field(default_factory=Counter)

    @property
    def n_replayed(self) -> int:
        """Decisions that were decided anew."""
        return self.n_unchanged + len(self.changed)

    def add(self, found: Replayed) -> None:
        """Count a decision that was replayed."""
        self.n_anew += found.is_anew
        self.n_recorded += not found.is_anew
        self.n_redacted += found.is_redacted
        for change in found.changes:
            self.policies[change.policy, change.before, change.after, change.direction] += 1
        if found.has_changed:
            self.changed.append(found)
            self.transitions[found.past.action.word, found.action.word, found.direction] += 1
        else:
            self.n_unchanged += 1

    def skip(self, why: Unfit, past: Past | None = None) -> None:
        """Count a decision that was not replayed."""
        self.unfit[why] += 1
        if why is Unfit.ROUTE_GONE and past is not None:
            self.routes_gone[past.route] += 1

    def fails(self, fail_on: str) -> bool:
        """Whether there is a change of the kind that a gate is there for. A route that is gone is a change of any kind only."""
        if fail_on == "any":
            return bool(self.changed or self.routes_gone)
        return any(found.direction.value == fail_on for found in self.changed)


WHAT = {"refuse": "newly refused", "rewrite": "newly rewritten", "flag": "newly flagged"}


def what(after: str, direction: Direction) -> str:
    """A change in two words."""
    return WHAT[after] if direction is Direction.STRICTER else "released" if after == "forward" else "eased"


def report_of(tally: Tally, about: dict[str, Any]) -> dict[str, Any]:
    """All of it, for JSON."""
    return {
        **about,
        "replayed": tally.n_replayed,
        "unchanged": tally.n_unchanged,
        "changed": len(tally.changed),
        "from_recorded_scores": tally.n_recorded,
        "judged_anew": tally.n_anew,
        "on_redacted_content": tally.n_redacted,
        "not_replayed": {why.name.lower(): n for why, n in tally.unfit.items()},
        "routes_gone": dict(tally.routes_gone),
        "decisions": [
            {"before": before, "after": after, "direction": direction.value, "what": what(after, direction), "count": n}
            for (before, after, direction), n in tally.transitions.most_common()
        ],
        "policies": [
            {"policy": policy, "before": before, "after": after, "direction": direction.value, "count": n}
            for (policy, before, after, direction), n in tally.policies.most_common()
        ],
        "changes": [_change(found) for found in tally.changed],
    }


def _change(found: Replayed) -> dict[str, Any]:
    return {
        "id": found.past.id,
        "route": found.past.route,
        "stage": found.past.stage.value,
        "before": found.past.action.word,
        "after": found.action.word,
        "direction": found.direction.value,
        "judged_anew": found.is_anew,
        "on_redacted_content": found.is_redacted,
        "policies": [_policy(change) for change in found.changes],
    }


def _policy(change: PolicyChange) -> dict[str, Any]:
    return {
        "policy": change.policy,
        "before": change.before,
        "after": change.after,
        "score_before": _rounded(change.score_before),
        "score_after": _rounded(change.score_after),
    }


def _rounded(score: float | None) -> float | None:
    return None if score is None else round(score, 6)

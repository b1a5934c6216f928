"""The pages about policies: which there are, their texts, where their scores lie, what other thresholds would have done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from proxy.console.cascades import stage_counts
from proxy.console.gate import Refused
from proxy.console.judged import Judged, WhatIf, Where, histogram, what_if
from proxy.console.reading import Records, gently
from proxy.console.rendering import Pages
from proxy.console.shown import HEIGHT, WIDTH, columns, ticks
from proxy.loading.loaded import Loaded
from rules.rule import Action, Mode, Rule, Stage

SAMPLES = (500, 2_000, 10_000)
"""How many of the last decisions are looked at."""

DEFAULT_SAMPLE = 2_000
MOST_IDS = 20
"""Decisions that are named of those that would have been others."""


@dataclass(frozen=True, slots=True)
class Used:
    """A rule of a policy."""

    where: Where
    rule: Rule

    @property
    def key(self) -> str:
        """Tells it from the policy's other rules, in an address."""
        return f"{self.where.stage}:{self.rule.mode}:{self.where.route}"


def uses(loaded: Loaded, policy: str) -> list[Used]:
    """Where a policy is used; of several rules of it at one place the first stands for all."""
    found: dict[Where, Rule] = {}
    for route in loaded.routes:
        for stage in Stage:
            for rule in route.at(stage).rules:
                if rule.policy.name == policy and rule.mode is not Mode.OFF:
                    where = Where(policy, route.config.name, stage.value, rule.mode is Mode.SHADOW, rule.basis)
                    found.setdefault(where, rule)
    return [Used(where, rule) for where, rule in found.items()]


class Policies:
    """Draws the pages; blocks, any thread may.

    Args:
        records: The audit; None: nothing is on record.
        pages: What draws.
    """

    def __init__(self, records: Records | None, pages: Pages) -> None:
        self._records = records
        self._pages = pages

    def draw_list(self, loaded: Loaded, frame: Mapping[str, Any]) -> str:
        """All policies."""
        policies = [
            {
                "name": name,
                "href": _href(name),
                "kind": "detector" if policy.detector is not None else "text",
                "category": policy.category or "",
                "revision": policy.revision,
                "uses": [_use(used) for used in uses(loaded, name)],
            }
            for name, policy in sorted(loaded.policies.items())
        ]
        return self._pages.draw("policies.html", **frame, policies=policies)

    def draw_one(self, loaded: Loaded, frame: Mapping[str, Any], query: Mapping[str, str]) -> str:
        """One policy."""
        name = query.get("name", "")
        policy = loaded.policies.get(name)
        n = _sample(query)
        decisions = self._decisions(n)
        revisions = {v.revision: None for d in gently(decisions) for v in d.verdicts if v.policy == name}
        earlier = [r for r in revisions if policy is None or r != policy.revision]
        texts = self._records.texts(earlier[:MOST_IDS], name) if self._records is not None and earlier else []
        if policy is None and not texts:
            raise Refused(404, "There is no such policy, neither now nor among the last decisions.")
        return self._pages.draw(
            "policy.html",
            **frame,
            name=name,
            policy=policy,
            is_detector=policy is not None and policy.detector is not None,
            earlier=texts,
            rules=[self._rule(used, decisions, query, n) for used in uses(loaded, name)],
            has_audit=self._records is not None,
            n=n,
            n_found=len(decisions),
            samples=[(size, _href(name, last=size)) for size in SAMPLES],
        )

    def draw_what_if(self, loaded: Loaded, query: Mapping[str, str]) -> str:
        """What other thresholds of one rule would have changed."""
        for used in uses(loaded, query.get("name", "")):
            if used.key == query.get("rule"):
                tried = _tried(used.rule, query)
                return self._pages.draw("what_if.html", found=_found(used, tried, self._decisions(_sample(query))))
        raise Refused(404, "There is no such rule (any more).")

    def _decisions(self, n: int) -> Sequence[Judged]:
        return [] if self._records is None else self._records.last(n)

    def _rule(self, used: Used, decisions: Sequence[Judged], query: Mapping[str, str], n: int) -> dict[str, Any]:
        is_asked = query.get("rule") == used.key
        tried = _tried(used.rule, query) if is_asked else dict(used.rule.thresholds)
        spread = histogram(used.where, gently(decisions))
        return {
            "key": used.key,
            **_use(used),
            "histogram": spread,
            "columns": columns(spread),
            "ticks": ticks(dict(used.rule.thresholds_by_word)),
            "tried": [_handle(action, threshold) for action, threshold in sorted(tried.items())],
            "found": _found(used, tried, decisions),
            "stages": stage_counts(used.where, used.rule.guards[:-1], gently(decisions)),
            "n": n,
            "width": WIDTH,
            "height": HEIGHT,
        }


def _use(used: Used) -> dict[str, Any]:
    return {
        "route": used.where.route,
        "stage": used.where.stage,
        "mode": used.rule.mode.value,
        "guards": " then ".join(used.rule.guards),
        "is_cascade": len(used.rule.guards) > 1,
        "thresholds": [(action, f"{value:g}") for action, value in used.rule.thresholds_by_word.items()],
    }


def _handle(action: Action, threshold: float) -> dict[str, str | float]:
    """What a threshold is dragged by: in steps that it lies on itself."""
    step = next((s for s in ("0.01", "0.001") if round(threshold / float(s), 6).is_integer()), "any")
    return {"action": action.word, "value": f"{threshold:g}", "step": step, "x": round(threshold * WIDTH, 2)}


def _tried(rule: Rule, query: Mapping[str, str]) -> dict[Action, float]:
    """The thresholds that are tried: the rule's, with those of the query in their place.

    Raises:
        Refused: One is no number from 0 to 1.
    """
    tried = dict(rule.thresholds)
    for action in tried:
        text = query.get(action.word, "")
        try:
            value = float(text) if text else tried[action]
        except ValueError:
            value = -1.0
        if not 0 <= value <= 1:
            raise Refused(400, f"{action.word} must be a number from 0 to 1.")
        tried[action] = value
    return tried


def _found(used: Used, tried: Mapping[Action, float], decisions: Sequence[Judged]) -> dict[str, Any]:
    found: WhatIf = what_if(used.where, tried, gently(decisions))
    return {
        "is_same": dict(tried) == dict(used.rule.thresholds),
        "is_shadow": used.where.is_shadow,
        "n": found.n,
        "left_out": found.left_out,
        "changes": [
            {
                "what": _CHANGES.get((c.before, c.after)) or f"{c.after.word} instead of {c.before.word}",
                "after": c.after.word,
                "n": len(c.decision_ids),
                "ids": [(i, "/console/decision?" + urlencode({"id": i})) for i in c.decision_ids[:MOST_IDS]],
                "more": max(0, len(c.decision_ids) - MOST_IDS),
            }
            for c in found.changes
        ],
    }


_CHANGES = {
    (Action.FORWARD, Action.REFUSE): "newly refused",
    (Action.FLAG, Action.REFUSE): "refused instead of flagged",
    (Action.FORWARD, Action.REWRITE): "newly rewritten",
    (Action.FORWARD, Action.FLAG): "newly flagged",
    (Action.REFUSE, Action.FLAG): "flagged instead of refused",
    (Action.REFUSE, Action.FORWARD): "released: refused before",
    (Action.FLAG, Action.FORWARD): "no longer flagged",
    (Action.REWRITE, Action.FORWARD): "no longer rewritten",
}


def _sample(query: Mapping[str, str]) -> int:
    """How many decisions are looked at.

    Raises:
        Refused: No number that is offered.
    """
    text = query.get("last", "") or str(DEFAULT_SAMPLE)
    if text not in map(str, SAMPLES):
        raise Refused(400, f"last must be one of {', '.join(map(str, SAMPLES))}.")
    return int(text)


def _href(name: str, **more: int) -> str:
    return "/console/policy?" + urlencode({"name": name, **more})

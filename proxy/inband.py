"""In-band moderation: a request asks for the scores of its input and output, and gets them in the answer.

Source: OpenAI's ``moderation`` object as of openai-python 3.54 (``types/chat`` and ``types/responses``). Categories are the
names of the route's policies. ``mode: block`` can only add strictness: a rule that only flags refuses from its flag threshold
on; every other rule stays as the route has it. The object is not forwarded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from proxy.categories import categorised
from proxy.loading.loaded import LoadedRoute
from proxy.schema import Choice, Object, Text
from rules.content import Surface
from rules.decision import Decision
from rules.rule import Action, Mode, Rule, Stage
from rules.screen import Screener

_MODE = Object({"mode": Choice(frozenset(("score", "block")), closed=True)}, ("mode",))

MODERATION = Object(
    {"model": Text(Surface.METADATA), "policy": Object({"input": _MODE, "output": _MODE})},
    ("model",),
)
"""The request's ``moderation``."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a request asks for.

    Attributes:
        model: As the client named it; comes back in the results, because a guard's name is not told.
        block: Stages that the client wants to be strict.
    """

    model: str
    block: frozenset[Stage] = frozenset()


def wish_of(body: Mapping[str, Any]) -> Wish | None:
    """What a cleaned request asks for; None if it does not."""
    given = body.get("moderation")
    if given is None:
        return None
    policy = given.get("policy") or {}
    block = (stage for stage in Stage if (policy.get(stage.value) or {}).get("mode") == "block")
    return Wish(given["model"], frozenset(block))


def stricter(route: LoadedRoute, wish: Wish) -> LoadedRoute:
    """The route with the strictness that a request adds to it, and with the patience that its scores need."""
    return replace(route, input=_asked(route.input, wish), output=_asked(route.output, wish))


def _asked(screener: Screener, wish: Wish) -> Screener:
    rules = tuple(map(_strict_rule, screener.rules)) if screener.stage in wish.block else screener.rules
    return replace(screener, rules=rules, waits_for_all=True)


def _strict_rule(rule: Rule) -> Rule:
    if rule.mode is not Mode.ENFORCE or set(rule.thresholds) != {Action.FLAG}:
        return rule
    return replace(rule, thresholds={**rule.thresholds, Action.REFUSE: rule.thresholds[Action.FLAG]})


def outcome(wish: Wish, decisions: Mapping[Stage, Decision], *, as_list: bool) -> dict[str, Any]:
    """The answer's ``moderation``: per stage the results (chat) or the one result (responses), or why there is none."""
    return {stage.value: _result(wish, decisions.get(stage), as_list) for stage in Stage}


def _result(wish: Wish, decision: Decision | None, as_list: bool) -> dict[str, Any]:
    if decision is None:
        return _error("not_judged", "There was nothing to judge: the input was refused.")
    enforced = [v for v in decision.verdicts if v.rule.mode is Mode.ENFORCE]
    if any(v.error is not None for v in enforced):
        return _error("guard_unavailable", "Not all policies could be judged.")
    result = {"type": "moderation_result", "model": wish.model, **categorised(enforced)}
    return {"type": "moderation_results", "model": wish.model, "results": [result]} if as_list else result


def _error(code: str, message: str) -> dict[str, Any]:
    return {"type": "error", "code": code, "message": message}

"""What applies where: the rules of each route as they are once `proxy.inheriting` has put routes together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from proxy.loading.blueprint import Blueprint
from proxy.loading.loaded import Loaded
from rules.rule import Rule, Stage


def rules_of(blueprint: Blueprint, loaded: Loaded) -> list[list[dict[str, Any]]]:
    """The rules of each route, as reports show them; ``from`` names the routes of the file that say so."""
    return [
        [
            {"stage": stage.value, **_shown(rule), "from": blueprint.source.routes_of(("routes", i, stage.value, j))}
            for stage in Stage
            for j, rule in enumerate(route.at(stage).rules)
        ]
        for i, route in enumerate(loaded.routes)
    ]


def settings_of(blueprint: Blueprint) -> list[dict[str, Any]]:
    """What each route does besides its rules."""
    apart = {"name", "match", "base", "extends", "strictest_of", "input", "output"}
    return [route.model_dump(mode="json", exclude=apart) for route in blueprint.config.routes]


def _shown(rule: Rule) -> dict[str, Any]:
    return {
        "policy": rule.policy.name,
        "revision": rule.policy.revision,
        "guards": list(rule.guards),
        **rule.thresholds_by_word,
        **({"pass_below": dict(rule.pass_below)} if rule.pass_below else {}),
        "mode": rule.mode.value,
        **({"hold_s": rule.hold_s} if rule.hold_s is not None else {}),
        "on_error": rule.on_error.value,
        "scope": None if rule.scope is None else sorted(rule.scope),
    }


def table_of(names: Sequence[str], rules: Sequence[Sequence[dict[str, Any]]]) -> Table:
    """The rules as a table; ``from`` says only what is not the route's own."""
    columns = (
        "route",
        "stage",
        "policy",
        "judged by",
        "flag",
        "rewrite",
        "refuse",
        "mode",
        "on_error",
        "scope",
        "from",
    )
    table = Table(*columns)
    for name, those in zip(names, rules, strict=True):
        for rule in those:
            table.add_row(*map(Text, _row(name, rule)))
        table.add_section()
    return table


def _row(name: str, rule: dict[str, Any]) -> list[str]:
    thresholds = [f"{rule[word]:g}" if word in rule else "" for word in ("flag", "rewrite", "refuse")]
    if "hold_s" in rule:
        thresholds[0] += f", held {rule['hold_s']:g} s"
    scope = "all" if rule["scope"] is None else ", ".join(rule["scope"])
    origin = "" if rule["from"] == [name] else ", ".join(rule["from"])
    limits = rule.get("pass_below", {})
    judges = ", ".join(f"{g} (passes below {limits[g]:g})" if g in limits else g for g in rule["guards"]) or "detector"
    return [name, rule["stage"], rule["policy"], judges, *thresholds, rule["mode"], rule["on_error"], scope, origin]

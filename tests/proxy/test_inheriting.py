"""Routes that are made of other routes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.config import Config, Route
from proxy.hold import StreamMode
from proxy.inheriting import RouteError, resolve
from proxy.loading.loaded import LoadedRoute
from rules.decision import Verdict, decide
from rules.rule import Action, Mode, OnError, RewriteWith, Stage
from tests.proxy.configs import complaint, load

HEAD: Mapping[str, Any] = {
    "upstreams": {"default": {"base_url": "demo"}, "other": {"base_url": "demo"}},
    "guards": {
        "embedded": {"engine": "encoder"},
        "last": {"engine": "openai", "base_url": "http://127.0.0.1:9/v1", "model": "last"},
    },
    "policies": {
        "a": {"text": "About a."},
        "b": {"text": "About b."},
        "mark": {"detector": "patterns", "literals": ["MARK"]},
    },
}


def made(*routes: dict[str, Any]) -> dict[str, Route]:
    """Whole routes, by name."""
    return {r.name: r for r in resolve(Config.model_validate({**HEAD, "routes": routes})).config.routes}


def loaded(tmp_path: Path, *routes: dict[str, Any]) -> dict[str, LoadedRoute]:
    text = yaml.safe_dump({**HEAD, "routes": list(routes)})
    return {r.config.name: r for r in load(tmp_path, text).routes}


def thresholds(route: Route, stage: str = "input") -> list[tuple[str, float | None, float | None]]:
    return [(rule.policy, rule.flag, rule.refuse) for rule in getattr(route, stage)]


BASE = {
    "name": "base", "upstream": "default", "on_error": "flag", "stream": "window", "match": {"path": "/base/v1/*"},
    "input": [{"policy": "a", "refuse": 0.9}, {"policy": "b", "flag": 0.5}],
}  # fmt: skip


def test_a_route_that_extends_another_has_its_settings_and_its_rules_and_says_what_differs() -> None:
    eu = made(
        BASE,
        {"name": "eu", "extends": "base", "region": "eu", "stream": "buffer", "output": [{"policy": "a", "flag": 0.1}]},
    )["eu"]
    assert (eu.upstream, eu.on_error, eu.stream, eu.region) == ("default", OnError.FLAG, StreamMode.BUFFER, "eu")
    assert thresholds(eu) == [("a", None, 0.9), ("b", 0.5, None)]
    assert thresholds(eu, "output") == [("a", 0.1, None)]
    assert eu.match.path is None, "where a route is taken is never inherited"


def test_a_rule_takes_the_place_of_what_is_inherited_for_its_policy_at_its_stage_only() -> None:
    eu = made(BASE, {"name": "eu", "extends": "base", "input": [{"policy": "a", "refuse": 0.2}]})["eu"]
    assert thresholds(eu) == [("b", 0.5, None), ("a", None, 0.2)]
    eu = made(BASE, {"name": "eu", "extends": "base", "output": [{"policy": "a", "refuse": 0.2}]})["eu"]
    assert thresholds(eu) == [("a", None, 0.9), ("b", 0.5, None)]


def test_routes_can_be_extended_before_they_stand_in_the_file_and_more_than_once() -> None:
    routes = made(
        {"name": "shop", "extends": "eu", "region": "de"}, {"name": "eu", "extends": "base", "region": "eu"}, BASE
    )
    assert thresholds(routes["shop"]) == thresholds(routes["base"])
    assert routes["shop"].region == "de"


def test_a_base_takes_no_request(tmp_path: Path) -> None:
    base = {k: v for k, v in BASE.items() if k != "match"}
    assert list(loaded(tmp_path, {**base, "base": True}, {"name": "eu", "extends": "base"})) == ["eu"]


TEXT = """\
upstreams: {default: {base_url: demo}}
policies:
  a: {text: About a.}
routes:
  - name: base
    upstream: default
    input: [{policy: a, refuse: 0.9}]
"""


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        pytest.param(
            "  - {name: eu, extends: nothing}\n",
            "8: routes[1].extends: no route is called 'nothing' (known: base, eu)",
            id="unknown",
        ),
        pytest.param(
            "  - {name: eu, extends: us}\n  - {name: us, extends: eu}\n",
            "9: routes[2].extends: routes are made of each other in a circle: eu -> us -> eu",
            id="circle",
        ),
        pytest.param(
            "  - {name: eu, extends: eu}\n",
            "8: routes[1].extends: routes are made of each other in a circle: eu -> eu",
            id="itself",
        ),
        pytest.param(
            "  - {name: eu, strictest_of: [base, eu]}\n",
            "8: routes[1].strictest_of: routes are made of each other in a circle: eu -> eu",
            id="circle-of-the-strictest",
        ),
        pytest.param("  - {name: base, extends: base}\n", "8: routes[1].name: another route is already", id="twice"),
        pytest.param("  - {name: eu}\n", "8: routes[1].upstream: is missing", id="no-upstream"),
        pytest.param(
            "  - {name: eu, strictest_of: [base], on_error: forward}\n",
            "8: routes[1].on_error: does not go together with strictest_of",
            id="a-setting-of-the-strictest",
        ),
        pytest.param(
            "  - {name: eu, strictest_of: [base], input: []}\n",
            "8: routes[1].input: does not go together with strictest_of",
            id="rules-of-the-strictest",
        ),
        pytest.param(
            "  - {name: eu, extends: base, refusal: message}\n  - {name: all, strictest_of: [base, eu]}\n",
            "9: routes[2].refusal: is missing: the routes of strictest_of have another refusal each",
            id="what-is-no-strictness",
        ),
        pytest.param(
            "  - {name: eu, base: true, match: {path: /eu/v1/*}}\n",
            "8: routes[1].match: `base: true` takes no request",
            id="a-base-that-matches",
        ),
        pytest.param(
            "  - {name: eu, extends: base, stream: deliver_first}\n"
            "  - {name: us, extends: eu, output: [{policy: a, rewrite: 0.5}]}\n",
            "9: routes[2].output[0].rewrite: what `stream: deliver_first` has sent cannot be rewritten",
            id="what-does-not-go-together",
        ),
    ],
)
def test_what_is_wrong_names_line_and_key(more: str, expected: str, tmp_path: Path) -> None:
    assert complaint(tmp_path, TEXT + more).startswith(expected)


def test_a_complaint_about_what_is_inherited_points_to_where_it_is_written(tmp_path: Path) -> None:
    text = TEXT.replace("policy: a, refuse", "policy: a, rewrite") + "  - {name: eu, extends: base, overlap: true}\n"
    said = complaint(tmp_path, text)
    assert said.startswith("7: routes[0].input[0].rewrite: with `overlap: true`")
    assert said.endswith("(here because of routes[1])")


# ------------------------------------------------------------------ strictest_of


def test_the_strictest_has_the_lowest_thresholds_and_the_gravest_settings() -> None:
    x = {
        "name": "x", "upstream": "default", "stream": "window", "on_error": "flag", "opaque": "forward", "overlap": True,
        "unknown_fields": "refuse", "server_state": "allow", "passthrough": ["/v1/files*", "/v1/a"], "window_chars": 100,
        "input": [{"policy": "a", "flag": 0.3, "refuse": 0.9}],
    }  # fmt: skip
    y = {
        "name": "y", "upstream": "default", "overlap_chars": 900, "on_error": "forward", "opaque": "flag",
        "passthrough": ["/v1/a"], "max_body_bytes": 5000, "input": [{"policy": "a", "flag": 0.5, "refuse": 0.7}],
        "output": [{"policy": "b", "flag": 0.1}],
    }  # fmt: skip
    z = made(x, y, {"name": "z", "strictest_of": ["x", "y"]})["z"]
    assert thresholds(z) == [("a", 0.3, 0.7)]
    assert thresholds(z, "output") == [("b", 0.1, None)]
    assert (z.stream, z.on_error, z.opaque, z.overlap) == (StreamMode.BUFFER, OnError.FLAG, OnError.FLAG, False)
    assert (z.unknown_fields, z.server_state, z.passthrough) == ("refuse", "refuse", ("/v1/a",))
    assert (z.window_chars, z.overlap_chars, z.max_body_bytes) == (100, 900, 5000)


def test_what_reads_something_else_stays_a_rule_of_its_own() -> None:
    x = {"name": "x", "upstream": "default", "input": [{"policy": "a", "refuse": 0.9, "scope": ["user"]}]}
    y = {"name": "y", "upstream": "default", "input": [{"policy": "a", "refuse": 0.7}]}
    assert thresholds(made(x, y, {"name": "z", "strictest_of": ["x", "y"]})["z"]) == [
        ("a", None, 0.9),
        ("a", None, 0.7),
    ]


def test_a_draft_in_shadow_has_no_say_where_another_route_enforces() -> None:
    def routes(mode: str) -> list[dict[str, Any]]:
        rules = [{"policy": "a", "refuse": 0.1, "mode": mode}, {"policy": "b", "refuse": 0.4, "mode": mode}]
        x = {"name": "x", "upstream": "default", "input": rules}
        y = {"name": "y", "upstream": "default", "input": [{"policy": "a", "refuse": 0.7}]}
        return [x, y, {"name": "z", "strictest_of": ["x", "y"]}]

    z = made(*routes("shadow"))["z"]
    assert [(r.policy, r.refuse, r.mode) for r in z.input] == [("a", 0.7, Mode.ENFORCE), ("b", 0.4, Mode.SHADOW)]
    assert [(r.policy, r.refuse) for r in made(*routes("off"))["z"].input] == [("a", 0.7)]


def test_of_ways_to_rewrite_the_one_that_leaves_least_is_taken_and_nothing_is_put_back_unless_all_do() -> None:
    def rule(**more: Any) -> dict[str, Any]:
        return {"upstream": "default", "input": [{"policy": "a", "rewrite": 0.5, **more}]}

    x, y = {"name": "x", **rule(rewrite_with="advisory")}, {"name": "y", **rule(rewrite_with="text")}
    z = made(x, y, {"name": "w", **rule()}, {"name": "z", "strictest_of": ["w", "x", "y"]})["z"]
    assert z.input[0].rewrite_with is RewriteWith.TEXT
    marks = [{"name": n, "upstream": "default", "input": [{"policy": "mark", "rewrite": 0.5, "restore": r}]} for n, r in (("x", True), ("y", False))]  # fmt: skip
    assert made(*marks, {"name": "z", "strictest_of": ["x", "y"]})["z"].input[0].restore is False
    assert made(marks[0], {"name": "z", "strictest_of": ["x"]})["z"].input[0].restore is True


def test_the_strictest_waits_for_a_reviewer_if_one_of_its_routes_does() -> None:
    def routes(*more: dict[str, Any]) -> list[dict[str, Any]]:
        rules = [{"policy": "a", "flag": 0.5, **m} for m in more]
        named = [{"name": n, "upstream": "default", "input": [r]} for n, r in zip("xy", rules, strict=True)]
        return [*named, {"name": "z", "strictest_of": ["x", "y"]}]

    (rule,) = made(*routes({}, {"hold": True, "hold_s": 5}))["z"].input
    assert (rule.hold, rule.hold_s) == (True, 5)
    with pytest.raises(RouteError, match="differs between routes of a strictest_of"):
        made(*routes({"hold": True}, {"hold": True, "hold_s": 5}))


def test_the_strictest_passes_least_of_what_an_earlier_guard_of_a_cascade_says() -> None:
    def routes(*more: dict[str, Any]) -> list[dict[str, Any]]:
        rules = [{"policy": "a", "guard": ["embedded", "last"], "flag": 0.5, **m} for m in more]
        named = [{"name": n, "upstream": "default", "input": [r]} for n, r in zip("xy", rules, strict=True)]
        return [*named, {"name": "z", "strictest_of": ["x", "y"]}]

    def limit(*more: dict[str, Any]) -> object:
        return made(*routes(*more))["z"].input[0].pass_below

    assert limit({}, {}) is None
    assert limit({"pass_below": 0.3}, {"pass_below": {"embedded": 0.1}}) == {"embedded": 0.1}
    assert limit({"pass_below": 0.3}, {"pass_below": 0.05, "flag": 0.05}) == {"embedded": 0.05}
    assert limit({"pass_below": 0.3}, {"pass_below": 0.4, "flag": 0.9, "refuse": 0.4}) == {"embedded": 0.3}
    with pytest.raises(
        RouteError, match="is said by some routes of a strictest_of only; say it in all or in none"
    ) as caught:
        made(*routes({}, {"pass_below": 0.1}))
    assert caught.value.key == ("routes", 1, "input", 0, "pass_below")


def test_the_strictest_follows_when_somebody_edits_one_of_its_routes() -> None:
    x, y = ({"name": n, "upstream": "default", "input": [{"policy": "a", "refuse": 0.9}]} for n in "xy")
    z = {"name": "z", "strictest_of": ["x", "y"]}
    edited = {**y, "input": [{"policy": "a", "refuse": 0.2}, {"policy": "b", "flag": 0.5}]}
    assert thresholds(made(x, y, z)["z"]) == [("a", None, 0.9)]
    assert thresholds(made(x, edited, z)["z"]) == [("a", None, 0.2), ("b", 0.5, None)]


def test_a_rule_that_cannot_be_chosen_for_is_said_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key of rules that this does not know, as a later version may have one."""
    monkeypatch.setattr("proxy.inheriting._MERGED", {"policy", "guard", "scope", "refuse"})
    x, y = ({"name": n, "upstream": "default", "input": [{"policy": "a", "refuse": 0.9, "flag": f}]} for n, f in (("x", 0.1), ("y", 0.2)))  # fmt: skip
    with pytest.raises(RouteError, match="differs between routes of a strictest_of") as caught:
        made(x, y, {"name": "z", "strictest_of": ["x", "y"]})
    assert caught.value.key == ("routes", 1, "input", 0, "flag")


_SCORE = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0])
_MAYBE = st.none() | _SCORE


@st.composite
def _rule(draw: st.DrawFn) -> dict[str, Any]:
    rule: dict[str, Any] = {
        "policy": draw(st.sampled_from(["a", "b"])),
        "mode": draw(st.sampled_from(["enforce", "enforce", "shadow", "off"])),
        "guard": draw(st.sampled_from(["embedded", ["embedded", "last"]])),
    }
    rule |= {key: t for key in ("flag", "rewrite", "refuse") if (t := draw(_MAYBE)) is not None}
    if not rule.keys() & {"flag", "rewrite", "refuse"}:
        rule["refuse"] = draw(_SCORE)
    if draw(st.booleans()):
        rule["on_error"] = draw(st.sampled_from(["refuse", "flag", "forward"]))
    if draw(st.booleans()):
        rule["scope"] = ["user"]
    return rule


@st.composite
def _members(draw: st.DrawFn) -> list[dict[str, Any]]:
    return [
        {
            "name": f"m{i}",
            "upstream": "default",
            "on_error": draw(st.sampled_from(["refuse", "flag", "forward"])),
            "opaque": draw(st.sampled_from(["refuse", "flag", "forward"])),
            "input": draw(st.lists(_rule(), max_size=4)),
        }
        for i in range(draw(st.integers(1, 3)))
    ]


@settings(max_examples=60)  # each reads a configuration
@given(members=_members(), data=st.data())
def test_for_any_vector_of_scores_the_strictest_is_at_least_as_grave_as_each_of_its_routes(
    members: list[dict[str, Any]], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    names = [member["name"] for member in members]
    routes = loaded(tmp_path_factory.mktemp("r"), *members, {"name": "strictest", "strictest_of": names})
    judged = sorted(
        {(r.policy.name, r.guards, r.scope or frozenset()) for route in routes.values() for r in route.input.rules},
        key=repr,
    )
    says = {key: data.draw(st.sampled_from(["error"]) | _SCORE, label=f"{key}") for key in judged}
    opaque = data.draw(st.sampled_from([(), (("image", 0),)]))

    def action(route: LoadedRoute) -> Action:
        verdicts = []
        for rule in route.input.rules:
            said = says[rule.policy.name, rule.guards, rule.scope or frozenset()]
            verdicts.append(Verdict(rule, error="x") if isinstance(said, str) else Verdict(rule, score=said))
        return decide(Stage.INPUT, verdicts, opaque, route.input.on_opaque).action

    assert action(routes["strictest"]) >= max(action(routes[name]) for name in names)

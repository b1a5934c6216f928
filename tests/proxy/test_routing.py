"""Which route takes a request."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from multidict import CIMultiDict

from proxy.gateway import ENDPOINTS
from proxy.loading.loaded import LoadedRoute
from proxy.routing import ambiguous_header, candidates, may_use, select
from tests.proxy.configs import complaint, load, routes

CHAT = "/v1/chat/completions"


def endpoints(found: Sequence[LoadedRoute], path: str) -> list[tuple[str, str]]:
    return [(c.route.config.name, c.endpoint) for c in candidates(found, path)]


@pytest.mark.parametrize(
    ("pattern", "path", "endpoint"),
    [
        pytest.param(None, CHAT, CHAT, id="no-pattern-takes-everything"),
        pytest.param("/*", CHAT, CHAT, id="star-strips-nothing"),
        pytest.param("/*", f"/eu{CHAT}", f"/eu{CHAT}", id="star-does-not-strip-a-prefix"),
        pytest.param("/v1/*", CHAT, CHAT, id="v1-strips-nothing"),
        pytest.param("/v1/*", f"/eu{CHAT}", None, id="v1-takes-no-prefix"),
        pytest.param("/v1/*", "/v1", None, id="v1-takes-only-what-is-below"),
        pytest.param("/eu/v1/*", f"/eu{CHAT}", CHAT, id="prefix-is-stripped"),
        pytest.param("/eu/v1/*", CHAT, None, id="prefix-must-be-there"),
        pytest.param("/eu/v1/*", f"/EU{CHAT}", None, id="case-matters"),
        pytest.param("/eu/v1/*", f"/us{CHAT}", None, id="another-prefix"),
        pytest.param("/eu/v1/*", f"/eu{CHAT}/", None, id="trailing-slash"),
        pytest.param("/*/v1/*", f"/eu/shop{CHAT}", CHAT, id="glob-in-the-prefix"),
        pytest.param("/eu/*", f"/eu{CHAT}", CHAT, id="pattern-without-v1"),
        pytest.param("/eu/*", "/eu/chat/completions", None, id="path-without-v1"),
        pytest.param("/eu/v1/chat/completions", f"/eu{CHAT}", CHAT, id="exact"),
        pytest.param("/eu/v1/chat/*", "/eu/v1/models", None, id="other-endpoint"),
        pytest.param("/[ab]/v1/*", f"/b{CHAT}", CHAT, id="set-of-characters"),
    ],
)
def test_a_path_pattern_takes_a_path_and_strips_what_stands_before_v1(
    pattern: str | None, path: str, endpoint: str | None, tmp_path: Path
) -> None:
    found = routes(tmp_path, {} if pattern is None else {"match": {"path": pattern}})
    assert endpoints(found, path) == ([] if endpoint is None else [("r0", endpoint)])


@pytest.mark.parametrize(
    "path",
    [
        "//v1/chat/completions",
        "/v1//chat/completions",
        "/v1/chat/completions/",
        "/v1/./chat/completions",
        "/v1/x/../chat/completions",
        "/v1/chat/completions/..",
        "/v1/chat/.",
        "/v1/%2e%2e/v1/chat/completions",
        "/v1/%63hat/completions",
        "/v1/chat%2Fcompletions",
        "/v1/chat/completions;x",
        "/v1/chat/completions#f",
        "\\v1\\chat\\completions",
        "/v1\\chat/completions",
        "/v1/chat/completions%00",
        "/v1/chat/completions\x00",
        "/v1/chat/completions\n",
        "/v1/chat/completions ",
        "http://127.0.0.1/v1/chat/completions",
        "*",
        "/",
        "",
        "v1/chat/completions",
        "/v1/chat/completi\u00f6ns",
        "/v1/chat/completions?x",
    ],
)
@pytest.mark.parametrize("pattern", [None, "/*", "/v1/*"])
def test_an_odd_path_matches_nothing(pattern: str | None, path: str, tmp_path: Path) -> None:
    assert endpoints(routes(tmp_path, {"match": {"path": pattern}} if pattern else {}), path) == []


@pytest.mark.parametrize("path", ["/V1/chat/completions", "/chat/completions", "/v1/engines/m/completions", "/metrics"])
def test_other_spellings_are_no_endpoint(path: str, tmp_path: Path) -> None:
    found = candidates(routes(tmp_path, {}), path)
    assert not ENDPOINTS.keys() & {c.endpoint for c in found}


def chosen(tmp_path: Path, *matches: dict[str, object], model: str | None = "m", **headers: str) -> str | None:
    found = candidates(routes(tmp_path, *(dict[str, object](match=m) for m in matches)), CHAT)
    got = select(found, CIMultiDict({k.replace("_", "-"): v for k, v in headers.items()}), model)
    return None if got is None else got.route.config.name


def test_the_first_route_that_matches_wins(tmp_path: Path) -> None:
    assert chosen(tmp_path, {"models": ["x"]}, {"models": ["m*"]}, {}) == "r1"
    assert chosen(tmp_path, {}, {"models": ["m"]}) == "r0"


def test_no_route_is_no_route(tmp_path: Path) -> None:
    assert chosen(tmp_path, {"models": ["x"]}) is None


def test_everything_that_is_given_must_match(tmp_path: Path) -> None:
    match: dict[str, object] = {"path": "/v1/*", "headers": {"x-region": "eu"}, "models": ["gpt-4o*"]}
    assert chosen(tmp_path, match, model="gpt-4o-mini", x_region="eu") == "r0"
    assert chosen(tmp_path, match, model="gpt-5", x_region="eu") is None
    assert chosen(tmp_path, match, model="gpt-4o-mini", x_region="us") is None
    assert chosen(tmp_path, match, model="gpt-4o-mini") is None


def test_header_names_have_no_case_and_values_are_exact(tmp_path: Path) -> None:
    match: dict[str, object] = {"headers": {"X-Region": "eu"}}
    assert chosen(tmp_path, match, x_region="eu") == "r0"
    assert chosen(tmp_path, match, x_region="EU") is None
    assert chosen(tmp_path, match, x_region="eu ") is None


def test_a_header_that_stands_twice_matches_nothing(tmp_path: Path) -> None:
    found = candidates(routes(tmp_path, {"match": {"headers": {"x-region": "eu"}}}), CHAT)
    assert select(found, CIMultiDict([("x-region", "eu"), ("x-region", "us")]), "m") is None
    assert select(found, CIMultiDict([("x-region", "eu"), ("x-region", "eu")]), "m") is None


@pytest.mark.parametrize("model", ["GPT-4o", " gpt-4o", "gpt-4o\u200b", "gpt-4", "", "gpt-4o "])
def test_another_spelling_of_a_model_is_another_model(model: str, tmp_path: Path) -> None:
    assert chosen(tmp_path, {"models": ["gpt-4o"]}, model=model) is None


def test_a_header_that_stands_twice_is_told_where_a_route_asks_for_it(tmp_path: Path) -> None:
    found = candidates(routes(tmp_path, {"match": {"headers": {"x-region": "eu"}}}, {}), CHAT)
    twice = CIMultiDict([("X-Region", "us"), ("x-region", "eu"), ("accept", "a"), ("accept", "b")])
    assert ambiguous_header(found, twice) == "x-region"
    assert ambiguous_header(found, CIMultiDict({"x-region": "us"})) is None
    assert ambiguous_header(found[1:], twice) is None


def test_a_request_without_a_model_is_routed_by_path_and_headers(tmp_path: Path) -> None:
    assert chosen(tmp_path, {"models": ["x"]}, model=None) == "r0"
    assert chosen(tmp_path, {"models": ["x"], "headers": {"a": "1"}}, {}, model=None) == "r1"


def test_a_route_says_which_models_may_use_it(tmp_path: Path) -> None:
    narrow, wide = routes(tmp_path, {"match": {"models": ["gpt-*", "o3"]}}, {})
    assert [may_use(narrow, m) for m in ("gpt-5", "o3", "o3-mini")] == [True, True, False]
    assert may_use(wide, "anything")


# ------------------------------------------------------------------ by the client's key


def by_key(tmp_path: Path) -> list[LoadedRoute]:
    text = """\
upstreams: {default: {base_url: demo}}
routes:
  - {name: eu, upstream: default, match: {key_env: [EU_ONE, EU_TWO]}}
  - {name: jp, upstream: default, match: {key_env: [JP], headers: {x-shop: a}}}
  - {name: rest, upstream: default}
"""
    return list(load(tmp_path, text, EU_ONE="key-one", EU_TWO="key-two", JP="key-jp").routes)


@pytest.mark.parametrize(
    ("authorization", "name"),
    [
        pytest.param("Bearer key-one", "eu", id="one-of-several"),
        pytest.param("bearer key-two", "eu", id="the-other-and-the-scheme-has-no-case"),
        pytest.param("Bearer key-jp", "jp", id="and-a-header"),
        pytest.param("Bearer key-on", "rest", id="the-beginning-of-a-key"),
        pytest.param("Bearer key-one2", "rest", id="a-longer-key"),
        pytest.param("Bearer KEY-ONE", "rest", id="case-matters"),
        pytest.param("Bearer ", "rest", id="empty"),
        pytest.param("key-one", "rest", id="no-scheme"),
        pytest.param("Basic key-one", "rest", id="another-scheme"),
        pytest.param(None, "rest", id="none"),
    ],
)
def test_a_route_is_chosen_by_the_client_s_key(authorization: str | None, name: str, tmp_path: Path) -> None:
    headers = CIMultiDict({"x-shop": "a"} | ({} if authorization is None else {"Authorization": authorization}))
    found = select(candidates(by_key(tmp_path), CHAT), headers, "m")
    assert found is not None
    assert found.route.config.name == name


def test_two_keys_are_told_where_a_route_asks_for_one(tmp_path: Path) -> None:
    twice = CIMultiDict([("authorization", "Bearer key-one"), ("Authorization", "Bearer x")])
    assert ambiguous_header(candidates(by_key(tmp_path), CHAT), twice) == "Authorization"
    assert ambiguous_header(candidates(routes(tmp_path, {}), CHAT), twice) is None


def test_a_key_is_nowhere_to_be_read(tmp_path: Path) -> None:
    loaded = by_key(tmp_path)
    assert "key-one" not in f"{loaded} {[route.client_keys for route in loaded]}"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        pytest.param("", "environment variable KEY is not set", id="not-set"),
        pytest.param("a b", "environment variable KEY does not hold a key (spaces or non-ASCII)", id="no-key"),
    ],
)
def test_a_key_that_is_not_there_is_an_error(value: str, reason: str, tmp_path: Path) -> None:
    text = (
        "upstreams: {default: {base_url: demo}}\nroutes:\n  - {name: eu, upstream: default, match: {key_env: [KEY]}}\n"
    )
    assert complaint(tmp_path, text, KEY=value) == f"3: routes[0].match.key_env[0]: {reason}"

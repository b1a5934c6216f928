"""Whether a route's path pattern can match anything."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.gateway import ENDPOINTS
from proxy.path_patterns import SERVED, can_match
from proxy.routing import _PATH, _endpoint
from tests.proxy.configs import SMALL, complaint, load

GOOD = [
    "/*", "/v1/*", "/eu/v1/*", "/*/v1/*", "/eu/*", "/e*", "*", "/[ab]/v1/*", "/[!a]/v1/*", "/eu?/v1/*", "/eu/v?/models",
    "/eu/v1/chat/completions", "/v1/models", "/v1/chat/*", "*/completions", "/eu*completions", "/a.b/v1/*", "/v1/[m]odels",
    "/v1*", "/v1/*s", "/?1/models", "/.eu/v1/*", "/.../v1/*", "/v1.1/v1/models", "/v2/v1/models",
]  # fmt: skip
BAD = [
    "/", "/v1", "/v1/", "/eu/v1", "/eu/v1/", "/v1/chat/completions/", "/eu//v1/*", "//v1/*", "/eu%2Fv1/*", "/eu%2fv1/*",
    "/v1/chat/completions?x=1", "/v1/chat/completion", "/eu/v1/*/", "/./v1/*", "/../v1/*",
    "/eu/./v1/models", "/v1/eu/v1/models", "/v1/v1/*", "/beta/litellm_basic_guardrail_api", "/e u/v1/*", "/é/v1/*",
    "/eu/v1/[!a-z]*", "/eu/v1/[]*", "/eu/v1/*#x", "/v1/files*", "/v1/*/x",
]  # fmt: skip


def test_what_is_served_is_what_the_data_port_serves() -> None:
    assert set(SERVED) == {path for path in ENDPOINTS if path.startswith("/v1/")}


@pytest.mark.parametrize("pattern", GOOD)
def test_a_pattern_that_matches_a_path_may_be_given(pattern: str) -> None:
    assert can_match(pattern)


@pytest.mark.parametrize("pattern", BAD)
def test_a_pattern_that_matches_no_path_is_an_error(pattern: str, tmp_path: Path) -> None:
    assert not can_match(pattern)
    said = complaint(tmp_path, SMALL + f"    match: {{path: '{pattern}'}}\n")
    assert said.startswith("10: routes[0].match.path: matches no path that is served: those are /v1/chat/completions, ")


@pytest.mark.parametrize("pattern", ["/v1/files*", "/eu/v1/files", "/v1/*/x", "/eu/v1/a/b/c"])
def test_with_passthrough_every_path_below_v1_is_served(pattern: str, tmp_path: Path) -> None:
    load(tmp_path, SMALL + f"    match: {{path: '{pattern}'}}\n    passthrough: ['/v1/*']\n")
    for bad in ("/v1", "/v1/files/", "/eu//v1/files", "/eu/v1/./x"):
        assert not can_match(bad, anything_below=True)


def test_whether_it_takes_paths_with_a_prefix_is_known() -> None:
    for pattern in (None, "/*", "/v1/*", "/v1/chat/*", "/v1/models"):
        assert can_match(pattern)
        assert not can_match(pattern, behind_prefix=True)
        assert not can_match(pattern, behind_prefix=True, anything_below=True)
    for pattern in ("/eu/v1/*", "/*/v1/*", "*", "/*models", "/v1*"):
        assert can_match(pattern, behind_prefix=True)
    assert can_match("/eu/v1/files", behind_prefix=True, anything_below=True)


_PIECES = st.sampled_from(
    ["/", "v", "v1", "/v1/", "models", "chat/", "completions", "*", "?", "[a-z]", "[!v]", ".", "x", "e", "1", "-"]
)


@given(st.lists(_PIECES, min_size=1, max_size=7).map(lambda pieces: "/" + "".join(pieces)), st.data())
def test_no_pattern_that_takes_a_path_is_refused(pattern: str, data: st.DataObject) -> None:
    prefix = data.draw(st.sampled_from(["", "/x", "/e", "/v", "/v11", "/xv1", "/x/e", "/v1", "/.x", "/.", "/x-"]))
    path = prefix + data.draw(st.sampled_from(SERVED))
    is_taken = _PATH.fullmatch(path) is not None and "/./" not in path and _endpoint(pattern, path) in SERVED
    assert can_match(pattern) or not is_taken


@given(st.sampled_from(SERVED), st.sampled_from(["", "/eu", "/eu/shop"]), st.data())
def test_a_path_with_parts_left_open_can_be_matched(endpoint: str, prefix: str, data: st.DataObject) -> None:
    path = prefix + endpoint
    i, j = sorted((data.draw(st.integers(1, len(path))), data.draw(st.integers(1, len(path)))))
    assert can_match(path[:i] + "*" + path[j:])
    assert can_match(path[: j - 1] + "?" + path[j:])

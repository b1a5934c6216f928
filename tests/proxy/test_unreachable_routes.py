"""Routes that stand behind one that takes everything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from proxy.__main__ import main
from proxy.unreachable_routes import unreachable_routes
from tests.proxy.configs import SMALL, routes


def unreachable(tmp_path: Path, *matches: dict[str, Any] | None) -> list[tuple[str, str]]:
    sections: list[dict[str, object]] = [{} if match is None else {"match": match} for match in matches]
    loaded = routes(tmp_path, *sections)
    return [(found.route, found.behind) for found in unreachable_routes(route.config for route in loaded)]


@pytest.mark.parametrize("first", [None, {}, {"path": "/*"}, {"path": "/v1/*"}], ids=str)
@pytest.mark.parametrize(
    ("second", "is_reached"),
    [
        pytest.param(None, False, id="everything-again"),
        pytest.param({"models": ["gpt-*"]}, False, id="models"),
        pytest.param({"headers": {"x-region": "eu"}}, False, id="headers"),
        pytest.param({"path": "/v1/chat/*"}, False, id="path-without-a-prefix"),
        pytest.param({"path": "/eu/v1/*", "models": ["x"]}, True, id="prefix"),
        pytest.param({"path": "/*/v1/*"}, True, id="any-prefix"),
    ],
)
def test_a_route_behind_one_that_takes_all_of_its_requests_is_told(
    first: dict[str, Any] | None, second: dict[str, Any] | None, is_reached: bool, tmp_path: Path
) -> None:
    assert unreachable(tmp_path, first, second) == ([] if is_reached else [("r1", "r0")])


def test_a_route_that_asks_for_more_than_a_path_takes_not_all(tmp_path: Path) -> None:
    for match in ({"models": ["x"]}, {"headers": {"a": "b"}}, {"path": "/v1/*", "models": ["x"]}, {"path": "/eu/v1/*"}):
        assert unreachable(tmp_path, match, None) == []


def test_the_same_path_stands_for_the_first_route_that_has_it(tmp_path: Path) -> None:
    eu = {"path": "/eu/v1/*"}
    assert unreachable(tmp_path, eu, {**eu, "models": ["x"]}, {"path": "/eu/v1/chat/*"}) == [("r1", "r0")]
    assert unreachable(tmp_path, {**eu, "models": ["x"]}, eu) == []


def test_the_configuration_check_warns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(SMALL + "  - {name: eu, upstream: default, match: {models: [m]}}\n")
    assert main(["config", "check", "--config", str(file), "--json"]) == 0
    (warning,) = json.loads(capsys.readouterr().out)["warnings"]
    assert (warning["route"], warning["behind"], warning["trouble"]) == ("eu", "one", "unreachable")
    assert main(["config", "check", "--config", str(file)]) == 0
    assert capsys.readouterr().err == f"warning: {warning['message']}\n"

"""What the doctor knows beforehand about a route, and what it reads from the metrics."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.client_view import Counted
from proxy.config_error import ConfigError
from proxy.probes import REFUSED, Expectation, count, expectation
from proxy.records import Metrics
from rules.decision import decide
from rules.policy import DEFAULT_REFUSAL_TEXT
from rules.rule import Stage

CONFIG = """
upstreams:
  default: {base_url: "http://127.0.0.1:1/v1", api_key_env: NOT_SET_HERE}
policies:
  numbers: {detector: patterns, patterns: ["[0-9]{4}"]}
  words: {detector: patterns, patterns: ["[a-z]", "MARK-1"], literals: ["MARK-2"], refusal_text: "Not here."}
  hate: {text: "Hate.", refusal_text: "Be kind."}
routes:
  - {name: first, upstream: default, input: [{policy: numbers, refuse: 0.5}, {policy: words, refuse: 0.5}]}
  - name: second
    upstream: default
    refusal: message
    refusal_text: "No."
    input: [{policy: hate, refuse: 0.5}, {policy: words, refuse: 0.5, mode: shadow}, {policy: numbers, flag: 0.5}]
  - {name: third, upstream: default, input: [{policy: words, refuse: 0.5, scope: [system]}]}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("route", "probe", "expected"),
    [
        pytest.param(
            None, None, Expectation("MARK-2", "error", frozenset({"Not here.", DEFAULT_REFUSAL_TEXT}), True),
            id="a plain string of a detector",
        ),
        pytest.param(
            "first", "in 1984", Expectation("in 1984", "error", frozenset({"Not here.", DEFAULT_REFUSAL_TEXT}), True),
            id="a text that a detector finds something in",
        ),
        pytest.param(
            "first", "HELLO", Expectation("HELLO", "error", frozenset({"Not here.", DEFAULT_REFUSAL_TEXT}), False),
            id="a text that no detector finds anything in",
        ),
        pytest.param(
            "second", None, Expectation(REFUSED, "message", frozenset({"Be kind.", "No."}), False),
            id="rules that refuse nothing do not count",
        ),
        pytest.param(
            "third", None, Expectation(REFUSED, "error", frozenset({DEFAULT_REFUSAL_TEXT}), False),
            id="rules that read no user do not count",
        ),
    ],
)  # fmt: skip
def test_what_a_configuration_says(config: Path, route: str | None, probe: str | None, expected: Expectation) -> None:
    assert expectation(config, route, probe) == expected


def test_an_unknown_route_is_named(config: Path) -> None:
    with pytest.raises(ConfigError, match="no route is called 'fourth'"):
        expectation(config, "fourth", None)


def test_the_text_is_in_no_repr(config: Path) -> None:
    assert "MARK" not in repr(expectation(config, None, None))


def test_metrics_are_read_as_they_are_written() -> None:
    from prometheus_client import generate_latest

    metrics = Metrics()
    page = generate_latest(metrics.registry).decode()
    assert count(page) == Counted(judged=0, refused=0)
    metrics.count("r", decide(Stage.INPUT, []), 0.1)
    metrics.count("r", decide(Stage.OUTPUT, []), 0.1)
    metrics.decisions.labels("r", Stage.INPUT, "refuse").inc()
    assert count(generate_latest(metrics.registry).decode()) == Counted(judged=2, refused=1)


@pytest.mark.parametrize("page", ["", "up 1\n", "<html>", "{}"])
def test_foreign_metrics_are_told_apart(page: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whatever the parser says
        count(page)

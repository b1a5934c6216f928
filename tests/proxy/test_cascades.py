"""Cascades as the proxy configures, records and counts them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from models.calibration import PassBelow
from models.errors import EngineTimeout
from proxy.loading.drawing import read_blueprint
from proxy.records import Metrics, decision_record
from proxy.route_table import rules_of, table_of
from rules.rule import Rule, Stage
from rules.screen import Screener
from tests.fakes import FakeEngine, text_rule, user
from tests.models.gguf_fixtures import write_bert
from tests.models.test_calibration import calibration
from tests.proxy.configs import load

CONFIG = """\
upstreams: {default: {base_url: demo}}
guards:
  gate: {engine: encoder, model: gate.gguf}
  last: {engine: openai, base_url: "http://127.0.0.1:9/v1", model: m}
default_guard: last
policies: {fruit: {text: About fruit., calibration: fruit.json}}
routes:
  - name: one
    upstream: default
    input:
      - {policy: fruit, guard: [gate, last], flag: 0.4, refuse: 0.8}
"""
METADATA = {"labels": ["hate", "violence", "pair"], "max_tokens": 64, "stride_tokens": 48}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = write_bert(tmp_path / "gate.gguf")
    path.with_suffix(".json").write_text(json.dumps(METADATA), encoding="utf-8")
    measure(tmp_path, 0.1)
    return tmp_path


def measure(folder: Path, limit: float) -> None:
    """Have the policy's calibration say where the gate passes."""
    fitted = calibration(model="gate@1", pass_below=PassBelow(score=limit, recall=0.98))
    text = json.dumps({"format": 1, "calibrations": [fitted.model_dump(mode="json")]})
    (folder / "fruit.json").write_text(text, encoding="utf-8")


def rule(folder: Path, config: str = CONFIG) -> Rule:
    (found,) = load(folder, config).routes[0].input.rules
    return found


@pytest.mark.parametrize(
    ("said", "limits"),
    [
        ("", {}),
        ("pass_below: 0.1, ", {"gate": 0.1}),
        ("pass_below: {gate: 0.4}, ", {"gate": 0.4}),
        ("pass_below: 0, ", {"gate": 0.0}),
    ],
)
def test_a_rule_says_where_its_earlier_guard_passes(folder: Path, said: str, limits: Mapping[str, float]) -> None:
    config = CONFIG.replace("flag: 0.4", f"{said}flag: 0.4")
    assert rule(folder, config).pass_below == limits
    (shown,) = rules_of(read_blueprint(folder / "c.yaml"), load(folder, config))[0]
    assert shown.get("pass_below", {}) == limits
    judges = f"gate (passes below {limits['gate']:g}), last" if limits else "gate, last"
    assert [str(cell) for cell in table_of(["one"], [[shown]]).columns[3].cells] == [judges]


def test_every_limit_is_in_the_basis_so_that_replay_asks_anew(folder: Path) -> None:
    seen = {rule(folder).basis}

    def changes(config: str = CONFIG) -> bool:
        found = rule(folder, config).basis
        changed = found not in seen
        seen.add(found)
        return changed

    own = CONFIG.replace("flag: 0.4", "pass_below: 0.1, flag: 0.4")
    assert changes(own)
    assert changes(own.replace("0.1", "0.2"))
    assert not changes(own.replace("0.1", "0.2").replace("flag: 0.4", "flag: 0.3")), "its own limit stays where it is"
    assert changes(CONFIG.replace("flag: 0.4", "flag: 0.3")), "it may pass below half of it"
    measure(folder, 0.05)
    assert changes()
    measure(folder, 0.1)
    assert not changes()
    (folder / "gate.json").write_text(json.dumps(METADATA | {"pass_below": {"pair": 0.02}}), encoding="utf-8")
    assert changes(), "what stands beside the classifier"


def test_where_a_guard_passes_as_an_earlier_one_is_nothing_to_a_rule_that_asks_it_alone(folder: Path) -> None:
    alone = CONFIG.replace("[gate, last]", "gate")
    before = rule(folder, alone).basis
    measure(folder, 0.05)
    assert rule(folder, alone).basis == before


def test_another_classifier_of_the_same_file_name_is_another_basis(folder: Path) -> None:
    alone = CONFIG.replace("[gate, last]", "gate")
    before = rule(folder, alone).basis
    (folder / "gate.json").write_text(json.dumps(METADATA | {"sha256": "0" * 64}), encoding="utf-8")
    assert rule(folder, alone).basis != before


async def test_records_and_counters_say_what_earlier_guards_said() -> None:
    rules = [text_rule(name, "gate", "last", refuse=0.6) for name in ("a", "b", "c")]
    engines = {"gate": FakeEngine({"a": 0.1, "b": 0.3, "c": EngineTimeout()}), "last": FakeEngine({"b": 0.9})}
    decision = await Screener(Stage.INPUT, tuple(rules), engines).screen(user("hi"))
    verdicts: list[dict[str, Any]] = decision_record(decision)["verdicts"]
    assert [(v["score"], v["outcome"]) for v in verdicts] == [(0.1, "forward"), (0.9, "refuse"), (0.0, "forward")]
    assert [v["cascade"] for v in verdicts] == [
        [{"guard": "gate", "outcome": "passed", "score": 0.1, "pass_below": 0.3, "latency_ms": 0.0}],
        [{"guard": "gate", "outcome": "escalated", "score": 0.3, "pass_below": 0.3, "latency_ms": 0.0}],
        [{"guard": "gate", "outcome": "failed", "error": "timeout", "latency_ms": 0.0}],
    ]
    metrics = Metrics()
    metrics.count("one", decision, 0.1)
    counted = {
        (sample.labels["policy"], sample.labels["guard"], sample.labels["outcome"]): sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == "safeguard_cascade_total"
    }
    assert counted == {("a", "gate", "passed"): 1, ("b", "gate", "escalated"): 1, ("c", "gate", "failed"): 1}


async def test_a_verdict_of_one_guard_says_nothing_of_cascades() -> None:
    decision = await Screener(Stage.INPUT, (text_rule("a", refuse=0.6),), {"guard": FakeEngine()}).screen(user("hi"))
    assert "cascade" not in decision_record(decision)["verdicts"][0]

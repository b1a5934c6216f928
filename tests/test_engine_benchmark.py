"""The benchmark of the engine measures what it says: its model judges, and arms that do other work fail the run."""

from __future__ import annotations

import importlib
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.engine_model import SHAPES, n_parameters, write
from models.engine import Effort, GuardPolicy, Passage, Score, Tier
from models.judge import Stop
from models.safeguard import SafeguardJudge
from tools.gpt_oss_file import Shape

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SHAPE = Shape(n_vocab=6_600, n_layers=2, n_heads=8)
POLICIES = [
    GuardPolicy(name, name, f"Content about {name} is a violation.") for name in ("ferries", "bread", "weather")
]
CONTENTS = [
    "When does the ferry leave?",
    "Bread needs flour, water and time.",
    "It rained on Tuesday.",
    "My bicycle has two wheels.",
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("generated") / "random.gguf"
    write(path, SHAPE, "test")
    return path


def judged(path: Path, effort: Effort, **more: Any) -> Iterator[Score]:
    judge = SafeguardJudge(path, name="x", effort=effort, n_ctx=1024, n_threads=1, max_content_tokens=200, **more)
    try:
        for content in CONTENTS:
            for entry in judge.judge([Passage("user", content)], POLICIES, Stop(time.monotonic() + 60)):
                assert isinstance(entry, Score), entry  # an error where hardly any probability lies on the labels
                yield entry
    finally:
        judge.close()


def test_the_generated_model_gives_verdicts_that_vary_with_policy_and_content(model: Path) -> None:
    values = [score.value for score in judged(model, Effort.NONE)]
    assert statistics.pstdev(values) > 0.01
    assert len(set(values)) == len(CONTENTS) * len(POLICIES)


def test_traces_of_the_generated_model_are_as_long_as_their_budget(model: Path) -> None:
    scores = list(judged(model, Effort.LOW, reason_tokens=24))
    assert {(score.tier, score.n_tokens) for score in scores} == {(Tier.REASONED, 24)}


def test_the_same_shape_gives_the_same_file(model: Path, tmp_path: Path) -> None:
    write(tmp_path / "again.gguf", SHAPE, "test")
    assert (tmp_path / "again.gguf").read_bytes() == model.read_bytes()
    assert list(tmp_path.iterdir()) == [tmp_path / "again.gguf"]


def test_the_shapes_are_those_of_the_published_models() -> None:
    millions = {name: round(n_parameters(shape) / 1e6) for name, shape in SHAPES.items()}
    assert millions == {
        "small": 242,
        "20b": 20_915,
        "120b": 116_829,
    }  # the latter: 20.9 and 116.8 billion on the model card


@pytest.mark.parametrize(
    ("arm", "n_tokens", "passes"),
    [
        pytest.param("ours", 670, True, id="ours reads contents"),
        pytest.param("ours", 669, False, id="ours leaves something out"),
        pytest.param("ours", 671, False, id="ours reads something twice"),
        pytest.param("naive", 7760, True, id="naive reads everything"),
        pytest.param("naive", 6000, False, id="naive reuses something"),
        pytest.param("server", 7760, False, id="server has lost the policies"),
    ],
)
def test_an_arm_that_does_other_work_than_it_stands_for_fails_the_run(
    arm: str, n_tokens: int, passes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))  # the benchmarks are scripts: they import each other by plain names
    rounds, load = importlib.import_module("engine_rounds"), importlib.import_module("load")
    turn = importlib.import_module("engine_arms").Turn(1.0, n_tokens, 1.0, [[0.5]] * 10)
    if passes:
        rounds._check_work(arm, turn, 709, 67)
    else:
        with pytest.raises(load.BenchError, match=arm):
            rounds._check_work(arm, turn, 709, 67)


@pytest.mark.parametrize("script", sorted(path.stem for path in BENCHMARKS.glob("*.py")))
def test_each_benchmark_finds_what_it_imports(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    importlib.import_module(script)

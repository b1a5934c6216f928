"""How much a guard is given at once, and that it is asked through its calibrations."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from models.calibration import path_beside, write_calibration
from models.engine import Passage, Score
from proxy.config import EncoderGuard, Guard, LlamaGuard, OpenAIGuard
from proxy.offline import most_at_once, patient
from tests.fakes import FakeEngine
from tests.models.test_calibrated import SAID
from tests.models.test_calibration import calibration
from tests.proxy.configs import load

FLEET = {"engine": "openai", "base_url": "http://h/v1", "model": "m"}


@pytest.mark.parametrize(
    ("guard", "n_policies", "most"),
    [
        pytest.param(EncoderGuard(engine="encoder"), 12, 16, id="encoder"),
        pytest.param(EncoderGuard(engine="encoder", max_queue=3), 12, 3, id="a-short-queue"),
        pytest.param(LlamaGuard(engine="llama", model="m"), 3, 16, id="llama"),
        pytest.param(LlamaGuard(engine="llama", model="m", max_policies=32), 3, 64, id="many-streams"),
        pytest.param(LlamaGuard(engine="llama", model="m", max_sequences=64, max_queue=100), 3, 100, id="never-more-than-wait"),
        pytest.param(OpenAIGuard.model_validate(FLEET), 1, 64, id="a-server"),
        pytest.param(OpenAIGuard.model_validate(FLEET), 12, 6, id="a-call-per-policy"),
        pytest.param(OpenAIGuard.model_validate({**FLEET, "max_connections": 2}), 12, 1, id="at-least-one"),
        pytest.param(OpenAIGuard.model_validate(FLEET), 0, 64, id="no-policy"),
    ],
)  # fmt: skip
def test_a_guard_is_kept_busy_and_its_queue_never_full(guard: Guard, n_policies: int, most: int) -> None:
    assert most_at_once(guard, n_policies) == most


async def test_batches_and_tests_ask_through_the_calibrations_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fruit.md").write_text("Content about fruit.")
    text = """\
upstreams: {default: {base_url: demo}}
guards: {embedded: {engine: encoder}}
policies: {fruit: {file: fruit.md}}
routes: [{name: r, upstream: default, input: [{policy: fruit, flag: 0.5}]}]
"""
    policy = load(tmp_path, text).policies["fruit"]
    fitted = calibration(revision=policy.revision, model="embedded")
    write_calibration(path_beside(tmp_path / "fruit.md"), fitted)
    loaded = load(tmp_path, text)
    fake = FakeEngine(answer=lambda *_: [SAID])
    monkeypatch.setattr(type(fake), "model", "embedded")
    monkeypatch.setattr(loaded.judges["embedded"], "inner", fake)
    engine = patient(loaded, ["embedded"])["embedded"]
    (score,) = await engine.judge([Passage("user", "A pear.")], [policy.for_guard()], deadline=time.monotonic() + 5)
    assert isinstance(score, Score)
    assert score.calibrated

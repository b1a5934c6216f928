"""A LoRA adapter over the llama engine: what it changes, what is said of it, and adapters that do not fit."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from models.engine import Effort, GuardPolicy, Passage, Score
from models.errors import ModelLoadError
from models.judge import Stop
from models.loading import display_name, load_judge
from models.safeguard import SafeguardJudge
from models.specs import LocalSpec
from tests.models.gguf_fixtures import write_bert, write_lora, write_turning_lora

TINY = Path(__file__).parents[1] / "data" / "tiny-gpt-oss.gguf"
FRUIT = GuardPolicy("fruit", "r1", "No fruit, please.")


def spec(lora: Path | None = None) -> LocalSpec:
    return LocalSpec(
        "g", "llama", str(TINY), lora=str(lora) if lora else None, effort=Effort.NONE, n_ctx=1024, threads=1
    )


def margin(spec: LocalSpec, text: str) -> float:
    judge = load_judge(spec, TINY)
    assert isinstance(judge, SafeguardJudge)
    try:
        (score,) = judge.judge([Passage("user", text)], [FRUIT], Stop(time.monotonic() + 60))
        assert isinstance(score, Score)
        assert score.evidence is not None
        assert score.evidence.logit is not None
        return score.evidence.logit
    finally:
        judge.close()


@pytest.mark.parametrize("text", ["She likes the banana.", "Someone left a key in the hall."])
def test_an_adapter_changes_what_the_model_says(tmp_path: Path, text: str) -> None:
    turned = write_turning_lora(tmp_path / "turned.gguf", TINY)
    assert margin(spec(turned), text) == pytest.approx(-margin(spec(), text), abs=0.1)


def test_an_adapter_that_adds_nothing_changes_nothing(tmp_path: Path) -> None:
    nothing = {"blk.0.attn_q.weight": (np.zeros((2, 128), np.float32), np.zeros((256, 2), np.float32))}
    adapter = write_lora(tmp_path / "nothing.gguf", nothing)
    assert margin(spec(adapter), "She likes the banana.") == pytest.approx(margin(spec(), "She likes the banana."))


def test_the_record_names_the_adapter_and_its_revision(tmp_path: Path) -> None:
    turned = write_turning_lora(tmp_path / "turned.gguf", TINY)
    name = display_name(spec(turned), TINY)
    assert name.startswith(display_name(spec(), TINY) + "+turned@")
    assert len(name.rpartition("@")[2]) == 12


def _wrong_shape(path: Path) -> Path:
    return write_lora(path, {"blk.0.attn_q.weight": (np.zeros((2, 64), np.float32), np.zeros((256, 2), np.float32))})


def _of_another_model(path: Path) -> Path:
    return write_lora(path, {"blk.99.attn_q.weight": (np.zeros((2, 128), np.float32), np.zeros((256, 2), np.float32))})


def _of_another_architecture(path: Path) -> Path:
    return write_lora(path, {}, architecture="llama")


def _garbage(path: Path) -> Path:
    path.write_bytes(b"GGUF" + bytes(range(256)) * 4)
    return path


@pytest.mark.parametrize("make", [_wrong_shape, _of_another_model, _of_another_architecture, _garbage, write_bert])
def test_a_file_that_is_no_adapter_of_this_model_is_a_load_error_that_names_it(
    tmp_path: Path, make: Callable[[Path], Path]
) -> None:
    path = make(tmp_path / "adapter.gguf")
    with pytest.raises(ModelLoadError, match=r"cannot load the adapter .*adapter\.gguf"):
        load_judge(spec(path), TINY)

"""The card and the comparison, from verdicts that are made up. Needs no torch."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import yaml

from models.encoder_input import Calibration as OutputMap
from models.encoder_input import Metadata
from models.engine import Passage
from models.tuning.records import Epoch, Parity, Rehearsed, Settings, Trained
from proxy.evaluation.columns import Column
from proxy.evaluation.fitting import FitError
from proxy.evaluation.judging import Subject
from proxy.evaluation.rows import Row
from proxy.tuning.card import card, configuration, warnings
from proxy.tuning.measuring import Answer, Comparison, Drift, Judged, Options, compare, drift
from proxy.tuning.outcome import Base, Fit, Tuned
from proxy.tuning.splitting import Content, Contents, Part
from rules.policy import Policy
from rules.rule import Stage

MARKS = Subject(Policy("marks", "r1", text="No marks."), "marks")
OPTIONS = Options(threshold=0.5, n_bootstrap=200, seed=0, timeout_s=1.0)
VIOLATES = np.arange(60) % 2 == 0


def judged(power: float, seed: int, violates: np.ndarray = VIOLATES, first: int = 0) -> Judged:
    """Scores that tell the kinds apart the better, the greater the power."""
    rng = np.random.default_rng(seed)
    logits = power * (2.0 * violates - 1) + rng.normal(size=len(violates))
    scores = 1 / (1 + np.exp(-logits))
    names = [f"r{i}" for i in range(first, first + len(violates))]
    return Judged(Column("g", "marks", names, scores, violates), None, None, ["no rows for a map"])


def test_better_means_that_the_interval_of_the_gain_lies_over_zero() -> None:
    weak, strong, alike = judged(0.3, 1), judged(4.0, 2), judged(0.3, 3)
    assert compare(weak, strong, OPTIONS).answer is Answer.BETTER
    assert compare(strong, weak, OPTIONS).answer is Answer.WORSE
    assert compare(weak, alike, OPTIONS).answer is Answer.UNSURE
    assert compare(strong, strong, OPTIONS).answer is Answer.UNSURE


def test_a_guard_that_ranks_no_better_than_chance_is_not_better_however_bad_the_base() -> None:
    upside_down, chance = judged(-3.0, 1), judged(0.0, 6)
    found = compare(upside_down, chance, OPTIONS)
    assert found.gains["auprc"].low > 0
    assert found.answer is Answer.UNSURE
    assert "its AUROC of 0." in warnings(tuned(found))[0]


def test_only_rows_with_both_verdicts_are_compared() -> None:
    base, tuned = judged(4.0, 1), judged(4.0, 1, VIOLATES[:40], first=20)
    assert set(compare(base, tuned, OPTIONS).gains) == {"auprc", "auroc", "recall_at_1", "recall_at_5"}
    with pytest.raises(FitError, match="all of one kind"):
        compare(base, judged(1.0, 1, VIOLATES, first=100), OPTIONS)


def test_drift_counts_the_outputs_that_were_to_stay_alone() -> None:
    metadata = Metadata(
        labels=("hate", "pair"), max_tokens=64, stride_tokens=32, calibration={"hate": OutputMap(a=1, b=0)}
    )
    rehearsed = [Rehearsed((1, 2), (0,)), Rehearsed((1, 3), (1,))]
    before = np.zeros((2, 2), np.float32)
    after = np.array([[0.0, 9.0], [9.0, 2.0]], np.float32)
    found = drift(rehearsed, before, after, metadata.labels, metadata)
    assert found is not None
    moved = 1 / (1 + math.exp(-2)) - 0.5
    assert (found.n, found.far) == (2, 0.5)
    assert found.most == pytest.approx(moved, abs=1e-6)
    assert found.mean == pytest.approx(moved / 2, abs=1e-6)
    assert drift([], before[:0], after[:0], metadata.labels, metadata) is None


def tuned(comparison: Comparison, other: Drift | None = None, contradicting: tuple[str, ...] = ()) -> Tuned:
    row = Row("a", Stage.INPUT, (Passage("user", "SECRET-TEXT"),), None, {"marks": True}, "k")
    contents = [Content(row, [[1]], {"marks": True})]
    epochs = [Epoch(0, math.nan, 1.5, math.nan), Epoch(1, 0.5, 0.25, math.nan)]
    return Tuned(
        name="shop-1",
        folder=Path("tuned"),
        metadata=Metadata(labels=("pair",), max_tokens=64, stride_tokens=32, sha256="ab" * 32),
        base=Base("embedded", Path("/somewhere/embedded.gguf"), "cd" * 32, 100),
        data=[Path("/somewhere/rows.jsonl")],
        subjects=[MARKS],
        hashes={"marks": "ef" * 32},
        contents=Contents(contents, 3, contradicting, ["long-1"]),
        parts={Part.TRAINING: contents, Part.VALIDATION: [], Part.HELD_OUT: []},
        fit=Fit(Settings(), Trained(epochs, 1), 1, 0, 0, Parity(0.1, 0.01, 9), other, "cpu", "2", 3.0),
        comparisons={"marks": comparison},
        options=OPTIONS,
    )


def test_the_card_tells_data_settings_and_figures_and_no_content() -> None:
    found = card(tuned(compare(judged(0.3, 1), judged(4.0, 2), OPTIONS)))
    for part in ("# Model card: shop-1", "ab" * 32, "cd" * 32, "ef" * 32, "rows.jsonl", "| 1 / 0 | 0 / 0 | 0 / 0 |"):
        assert part in found
    assert "So it is better." in found
    assert "base: could not be calibrated on the validation rows: no rows for a map." in found
    assert "| 1 (kept) | 0.5000 | 0.2500 | – |" in found
    assert "model: tuned/shop-1.gguf" in found
    assert "SECRET-TEXT" not in found
    assert "/somewhere" not in found


def test_a_guard_that_is_not_better_has_a_warning_on_its_card() -> None:
    done = tuned(compare(judged(4.0, 2), judged(0.3, 1), OPTIONS), Drift(10, 0.2, 0.5, 0.3), ("a", "b"))
    found = warnings(done)
    assert "the tuned guard is worse than its base on the held-out rows (AUPRC -" in found[0]
    assert "not calibrated: no rows for a map" in found[1]
    assert "30.0% of the answers about other policies" in found[2]
    assert "2 rows were left out: the same content has both labels" in found[3]
    assert not done.is_better
    assert all(f"**Warning: {warning}.**" in card(done) for warning in found)


def test_a_policy_without_map_is_not_configured_with_one() -> None:
    found = configuration(tuned(compare(judged(0.3, 1), judged(4.0, 2), OPTIONS)))
    assert yaml.safe_load(found) == {"guards": {"shop-1": {"engine": "encoder", "model": "tuned/shop-1.gguf"}}}

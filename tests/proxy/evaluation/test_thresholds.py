"""Thresholds that are proposed do what was wanted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.evaluation import metrics
from proxy.evaluation.thresholds import for_false_alarms, for_precision, for_recall, proposal

SCORES = np.array([0.95, 0.9, 0.7, 0.6, 0.3, 0.1])
VIOLATES = np.array([True, True, False, True, False, False])

_SCORE = st.floats(0, 1)
_ROWS = st.lists(st.tuples(_SCORE, st.booleans()), min_size=1, max_size=30).map(
    lambda rows: (np.array([s for s, _ in rows]), np.array([v for _, v in rows]))
)


def test_the_worked_example() -> None:
    assert for_precision(1.0, SCORES, VIOLATES) == 0.8  # between the second and the third
    assert for_precision(0.7, SCORES, VIOLATES) == 0.45
    assert for_recall(0.6, SCORES, VIOLATES) == 0.8
    assert for_recall(1.0, SCORES, VIOLATES) == 0.45
    assert for_false_alarms(0, SCORES[~VIOLATES]) == 0.85
    assert for_false_alarms(400, SCORES[~VIOLATES]) == 0.5


@given(_ROWS, st.floats(0.01, 1))
def test_a_threshold_for_precision_has_it_and_catches_the_most(
    rows: tuple[metrics.Scores, metrics.Labels], wanted: float
) -> None:
    scores, violates = rows
    found = for_precision(wanted, scores, violates)
    good = [t for t in scores if metrics.precision(scores, violates, t) >= wanted]
    if found is None:
        assert not good
        return
    assert metrics.precision(scores, violates, found) >= wanted
    assert metrics.recall(scores, violates, found) == max(metrics.recall(scores, violates, t) for t in good)


@given(_ROWS, st.floats(0.01, 1))
def test_a_threshold_for_recall_has_it_and_is_the_highest(
    rows: tuple[metrics.Scores, metrics.Labels], wanted: float
) -> None:
    scores, violates = rows
    found = for_recall(wanted, scores, violates)
    if not violates.any():
        assert found is None
        return
    assert found is not None
    assert metrics.recall(scores, violates, found) >= wanted
    for t in scores:
        if metrics.recall(scores, violates, t) >= wanted:
            assert (scores >= t).sum() >= (scores >= found).sum()


@given(st.lists(_SCORE, min_size=1, max_size=30).map(np.array), st.floats(0, 1000))
@example(np.array([0.0]), 1000.0)
@example(np.array([0.0, 1.0]), 999.0)
def test_a_threshold_for_false_alarms_keeps_to_them_and_is_the_lowest(honest: metrics.Scores, per_1000: float) -> None:
    found = for_false_alarms(per_1000, honest)
    if found is None:
        assert honest.max() == 1.0
        return
    assert 0 <= found <= 1  # 0 catches everything: only where every request may be a false alarm
    alarms = (honest >= found).sum()
    assert alarms * 1000 / len(honest) <= per_1000
    for t in honest:
        if (honest >= t).sum() * 1000 / len(honest) <= per_1000:
            assert (honest >= t).sum() <= alarms


def test_a_target_that_no_threshold_reaches_is_said_and_not_rounded() -> None:
    hopeless = np.array([False, True, False])
    assert for_precision(0.9, np.array([0.9, 0.9, 0.1]), hopeless) is None
    said = proposal("precision 0.9", None, SCORES, VIOLATES, SCORES)
    assert said.threshold is None
    assert np.isnan(said.precision.value)


def test_what_a_threshold_does_has_intervals() -> None:
    said = proposal("x", 0.65, SCORES, VIOLATES, np.linspace(0, 0.9, 200))
    assert (said.precision.value, said.recall.value, said.per_1000.value) == pytest.approx((2 / 3, 2 / 3, 280.0))
    assert said.per_1000.low < 280 < said.per_1000.high
    assert said.n_honest == 200

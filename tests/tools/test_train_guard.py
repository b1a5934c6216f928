"""What the training tool finds out on validation rows."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the extra `calibrate` is not installed")

from tools.train_guard.calibrate import PASS_RECALL, pass_below

SCORES = np.array([0.01, 0.02, 0.03, 0.04, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95])


@pytest.mark.parametrize(
    ("recall", "limit"), [(1.0, 0.01), (0.95, 0.01), (0.9, 0.02), (0.8, 0.03), (0.81, 0.02), (0.5, 0.6), (0.0, 0.95)]
)
def test_under_the_limit_lie_at_most_so_many_violations(recall: float, limit: float) -> None:
    found = pass_below(SCORES, np.ones(10), np.ones(10), recall)
    assert found == limit
    assert (found <= SCORES).mean() >= recall


def test_rows_that_violate_nothing_do_not_count() -> None:
    scores, labels = np.append(SCORES, [0.001] * 90), np.append(np.ones(10), np.zeros(90))
    assert pass_below(scores, labels, np.ones(100), 0.9) == 0.02


def test_violations_count_by_their_weight() -> None:
    heavy = np.array([3.0] + [1.0] * 9)
    assert pass_below(SCORES, np.ones(10), heavy, 0.8) == 0.01
    assert pass_below(SCORES, np.ones(10), heavy, 0.75) == 0.02


def test_it_is_rounded_down_so_that_no_violation_slips_under() -> None:
    scores = np.array([0.1234567, 0.9])
    limit = pass_below(scores, np.ones(2), np.ones(2), PASS_RECALL)
    assert limit == 0.123456
    assert scores[0] >= limit


def test_without_violations_nothing_passes() -> None:
    assert pass_below(SCORES, np.zeros(10), np.ones(10)) == 0.0

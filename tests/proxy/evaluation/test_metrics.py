"""Metrics, against examples worked by hand, their definitions by brute force, and scikit-learn where it is installed."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.evaluation import metrics
from proxy.evaluation.metrics import Labels, Scores

SCORES = np.array([0.9, 0.8, 0.8, 0.4, 0.3, 0.1])
VIOLATES = np.array([True, True, False, True, False, False])
# from the top: 1 of 1; 2 of 3 (a tie); 3 of 4; then the others


def labelled(*pairs: tuple[float, bool]) -> tuple[Scores, Labels]:
    return np.array([s for s, _ in pairs], np.float64), np.array([v for _, v in pairs], np.bool_)


def test_the_worked_example() -> None:
    points = metrics.curve(SCORES, VIOLATES)
    assert points.thresholds.tolist() == [0.9, 0.8, 0.4, 0.3, 0.1]
    assert points.true.tolist() == [1, 2, 3, 3, 3]
    assert points.false.tolist() == [0, 1, 1, 2, 3]
    # 9 pairs: 0.9 beats three, 0.8 ties once and beats two, 0.4 beats two
    assert metrics.auroc(SCORES, VIOLATES) == pytest.approx(7.5 / 9)
    assert metrics.auprc(SCORES, VIOLATES) == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)
    assert metrics.precision(SCORES, VIOLATES, 0.5) == pytest.approx(2 / 3)
    assert metrics.recall(SCORES, VIOLATES, 0.5) == pytest.approx(2 / 3)
    assert metrics.false_alarms(SCORES, VIOLATES, 0.5) == pytest.approx(1 / 3)
    assert metrics.f1(SCORES, VIOLATES, 0.5) == pytest.approx(2 / 3)
    assert metrics.best_f1(SCORES, VIOLATES) == pytest.approx((6 / 7, 0.4))
    assert metrics.recall_at(SCORES, VIOLATES, 0.0) == pytest.approx(1 / 3)
    assert metrics.recall_at(SCORES, VIOLATES, 0.34) == 1.0


def test_a_threshold_catches_the_score_that_equals_it() -> None:
    assert metrics.recall(SCORES, VIOLATES, 0.9) == pytest.approx(1 / 3)
    assert metrics.false_alarms(SCORES, VIOLATES, 0.8) == pytest.approx(1 / 3)


def test_calibration_error_is_the_weighted_distance_of_the_bins() -> None:
    scores, violates = labelled((0.05, False), (0.05, True), (0.95, True), (1.0, True))
    bins = metrics.reliability(scores, violates)
    assert [b.n for b in bins] == [2, 2]
    assert [b.score for b in bins] == pytest.approx([0.05, 0.975])
    assert [b.violations for b in bins] == [0.5, 1.0]
    assert metrics.ece(scores, violates) == pytest.approx(0.5 * 0.45 + 0.5 * 0.025)


@pytest.mark.parametrize(
    ("figure", "needs"),
    [
        (metrics.auroc, "both"),
        (metrics.auprc, "violations"),
        (lambda s, v: metrics.recall_at(s, v, 0.01), "both"),
        (lambda s, v: metrics.recall(s, v, 0.5), "violations"),
        (lambda s, v: metrics.f1(s, v, 0.5), "violations"),
        (lambda s, v: metrics.false_alarms(s, v, 0.5), "others"),
        (lambda s, v: metrics.best_f1(s, v)[0], "violations"),
    ],
    ids=["auroc", "auprc", "recall-at", "recall", "f1", "false-alarms", "best-f1"],
)
def test_a_figure_that_nobody_can_know_is_not_a_number(figure: Callable[[Scores, Labels], float], needs: str) -> None:
    scores = np.array([0.2, 0.7])
    only_violations, only_others = np.array([True, True]), np.array([False, False])
    assert math.isnan(figure(scores, only_violations)) == (needs in ("both", "others"))
    assert math.isnan(figure(scores, only_others)) == (needs in ("both", "violations"))


def test_precision_of_nothing_caught_is_not_a_number_and_its_f1_is_zero() -> None:
    assert math.isnan(metrics.precision(SCORES, VIOLATES, 0.99))
    assert metrics.f1(SCORES, VIOLATES, 0.99) == 0.0


_ROWS = st.lists(st.tuples(st.integers(0, 6).map(lambda i: i / 6), st.booleans()), min_size=1, max_size=40)


@given(_ROWS)
def test_figures_are_their_definitions(rows: list[tuple[float, bool]]) -> None:
    scores, violates = labelled(*rows)
    pairs = [(s, t) for s, v in rows for t, w in rows if v and not w]
    if pairs:
        expected = sum((s > t) + 0.5 * (s == t) for s, t in pairs) / len(pairs)
        assert metrics.auroc(scores, violates) == pytest.approx(expected)
    thresholds = sorted({s for s, _ in rows}, reverse=True)
    if violates.any():
        best = max(metrics.f1(scores, violates, t) for t in thresholds)
        assert metrics.best_f1(scores, violates)[0] == pytest.approx(best)
        before, area = 0.0, 0.0
        for t in thresholds:
            recall = metrics.recall(scores, violates, t)
            area += (recall - before) * metrics.precision(scores, violates, t) if recall > before else 0.0
            before = recall
        assert metrics.auprc(scores, violates) == pytest.approx(area)
        if not violates.all():
            for limit in (0.0, 0.05, 0.5):
                allowed = [t for t in thresholds if metrics.false_alarms(scores, violates, t) <= limit]
                expected = max((metrics.recall(scores, violates, t) for t in allowed), default=0.0)
                assert metrics.recall_at(scores, violates, limit) == pytest.approx(expected)


@given(_ROWS, st.integers(0, 100))
def test_the_order_of_rows_does_not_matter(rows: list[tuple[float, bool]], seed: int) -> None:
    scores, violates = labelled(*rows)
    order = np.random.default_rng(seed).permutation(len(rows))
    for figure in (metrics.auroc, metrics.auprc, metrics.ece):
        assert figure(scores, violates) == pytest.approx(figure(scores[order], violates[order]), nan_ok=True)


@given(_ROWS)
def test_figures_are_those_of_scikit_learn(rows: list[tuple[float, bool]]) -> None:
    reference = pytest.importorskip("sklearn.metrics")
    scores, violates = labelled(*rows)
    if not violates.any() or violates.all():
        return
    assert metrics.auroc(scores, violates) == pytest.approx(reference.roc_auc_score(violates, scores))
    assert metrics.auprc(scores, violates) == pytest.approx(reference.average_precision_score(violates, scores))
    assert metrics.f1(scores, violates, 0.5) == pytest.approx(reference.f1_score(violates, scores >= 0.5))
    false, true, _ = reference.roc_curve(violates, scores, drop_intermediate=False)
    assert metrics.curve(scores, violates).recall.tolist() == pytest.approx(true[1:].tolist())
    assert metrics.curve(scores, violates).false_alarms.tolist() == pytest.approx(false[1:].tolist())


def _sample(n: int, seed: int) -> tuple[Scores, Labels]:
    rng = np.random.default_rng(seed)
    violates = rng.random(n) < 0.3
    return np.clip(rng.normal(0.35 + 0.3 * violates, 0.2), 0, 1), violates


def ranked(scores: Scores, violates: Labels) -> dict[str, float]:
    return {"auroc": metrics.auroc(scores, violates), "auprc": metrics.auprc(scores, violates)}


def test_the_same_seed_gives_the_same_intervals_and_they_hold_the_figure() -> None:
    scores, violates = _sample(200, 1)
    one, again = (metrics.bootstrap(ranked, scores, violates, n=200, seed=7) for _ in range(2))
    assert one == again
    assert one != metrics.bootstrap(ranked, scores, violates, n=200, seed=8)
    for interval in one.values():
        assert interval.low < interval.value < interval.high


def test_resampling_keeps_the_number_of_violations() -> None:
    scores, violates = _sample(100, 2)
    seen: set[tuple[int, int]] = set()

    def look(_: Scores, drawn: Labels) -> dict[str, float]:
        seen.add((int(drawn.sum()), len(drawn)))
        return {"look": 0.0}

    metrics.bootstrap(look, scores, violates, n=50)
    assert seen == {(int(violates.sum()), 100)}


def test_more_rows_make_narrower_intervals() -> None:
    few, many = (metrics.bootstrap(ranked, *_sample(n, 3), n=300)["auroc"] for n in (60, 2000))
    assert many.high - many.low < few.high - few.low


def test_without_resamples_there_are_no_intervals() -> None:
    interval = metrics.bootstrap(ranked, SCORES, VIOLATES, n=0)["auroc"]
    assert interval.value == pytest.approx(7.5 / 9)
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [  # R: binom::binom.confint(k, n, method = "wilson")
        (0, 200, 0.0, 0.01885), (1, 200, 0.000883, 0.02776), (5, 10, 0.2366, 0.7634), (10, 10, 0.7225, 1.0),
    ],
)  # fmt: skip
def test_the_interval_of_a_share(k: int, n: int, low: float, high: float) -> None:
    interval = metrics.wilson(k, n)
    assert (interval.value, interval.low, interval.high) == pytest.approx((k / n, low, high), abs=1e-4)


def test_the_share_of_nothing_is_not_a_number() -> None:
    assert math.isnan(metrics.wilson(0, 0).value)

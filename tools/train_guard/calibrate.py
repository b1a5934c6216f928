"""Calibration and thresholds, fitted on validation rows only.

A raw logit says little: the training mix is half violations, traffic is not. Each output gets
``sigmoid(a * logit + b)``, fitted by logistic regression on validation rows whose positives weigh
`BASE_RATE` in total. Thresholds are then set on real benign chat: `refuse` where all blocking categories
together refuse at most a small share of it and validation precision is high, `flag` where they flag a few
percent. `pass_below` is for cascades, where this guard may only let content pass: so low that hardly a violation passes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.linear_model import LogisticRegression

from tools.train_guard.labels import BASE_RATE, BLOCKING, LABELS

Array = np.ndarray

PASS_RECALL = 0.98
"""Of an output's violations, so many must not pass where the guard is an earlier one of a cascade."""


def sigmoid(x: Array) -> Array:
    """Logistic function."""
    return 1 / (1 + np.exp(-np.clip(x, -60, 60)))


def fit(logits: Array, labels: Array, weights: Array, base_rate: float = BASE_RATE) -> dict[str, float]:
    """Fit one output.

    Args:
        logits: Raw logits of the rows with a known label.
        labels: 0 or 1.
        weights: Weight of each row before the classes are brought to the base rate.
        base_rate: Share of violations for which the scores are probabilities.

    Returns:
        ``a`` (positive), ``b``, ``n``, ``positives`` and ``base_rate``.
    """
    scaled = weights.astype(float).copy()
    scaled[labels == 1] *= base_rate / scaled[labels == 1].sum()
    scaled[labels == 0] *= (1 - base_rate) / scaled[labels == 0].sum()
    line = LogisticRegression(C=1e3).fit(logits[:, None], labels, sample_weight=scaled * len(labels))
    return {
        "a": round(max(float(line.coef_[0, 0]), 0.05), 5),
        "b": round(float(line.intercept_[0]), 5),
        "n": len(labels),
        "positives": int(labels.sum()),
        "base_rate": base_rate,
    }


def score(logits: Array, calibration: dict[str, dict[str, float]], names: Sequence[str]) -> Array:
    """Calibrated scores, same shape as the logits, whose columns are the outputs of these names."""
    a = np.array([calibration[name]["a"] for name in names])
    b = np.array([calibration[name]["b"] for name in names])
    return sigmoid(logits * a + b)


def precise_from(scores: Array, labels: Array, weights: Array, precision: float) -> float:
    """The lowest score from which on precision, at the base rate, is at least ``precision``."""
    positive = weights * (labels == 1) * BASE_RATE / max(weights[labels == 1].sum(), 1e-9)
    negative = weights * (labels == 0) * (1 - BASE_RATE) / max(weights[labels == 0].sum(), 1e-9)
    order = np.argsort(-scores)
    hits, misses = np.cumsum(positive[order]), np.cumsum(negative[order])
    good = np.nonzero(hits / (hits + misses + 1e-12) >= precision)[0]
    return float(scores[order][good[-1]]) if len(good) else 1.0


def pass_below(scores: Array, labels: Array, weights: Array, recall: float = PASS_RECALL) -> float:
    """The highest score under which at most a small share of the violations lies, rounded down.

    Args:
        scores: Calibrated scores of the rows with a known label.
        labels: 0 or 1.
        weights: Weight of each row.
        recall: The share of the violations, by weight, that must not lie under it.

    Returns:
        The limit; 0 where there are no violations: nobody knows where it could be, so nothing passes.
    """
    violating = labels == 1
    if not violating.any():
        return 0.0
    order = np.argsort(scores[violating])
    ordered, lost = scores[violating][order], np.cumsum(weights[violating][order])
    # the first violation that may not be lost any more; one part in a billion for sums that are not exact
    at = int(np.searchsorted(lost, (1 - recall) * lost[-1] * (1 + 1e-9), side="right"))
    return float(np.floor(ordered[min(at, len(ordered) - 1)] * 1e6) / 1e6)


def union_thresholds(
    scores: Array,
    start: dict[str, float],
    share: float,
    names: Sequence[str] = BLOCKING,
) -> dict[str, float]:
    """Raise thresholds until all categories together fire on at most ``share`` of benign rows.

    The category with the most false alarms of its own gives way first, by one row at a time.

    Args:
        scores: Calibrated scores of benign rows, all outputs.
        start: Lowest allowed threshold of each category.
        share: Largest share of rows that may fire.
        names: The categories that count.

    Returns:
        Threshold of each category.
    """
    limits = {name: start[name] for name in names}
    columns = {name: scores[:, LABELS.index(name)] for name in names}
    while True:
        fired = {name: columns[name] >= limits[name] for name in names}
        if np.any(list(fired.values()), axis=0).mean() <= share:
            return limits
        worst = max(names, key=lambda name: (fired[name].sum(), -limits[name]))
        limits[worst] = float(columns[worst][fired[worst]].min()) + 1e-6


def raised(threshold: float, margin: float) -> float:
    """A threshold moved up by ``margin`` on the logit scale, rounded, below one."""
    clipped = min(max(threshold, 1e-6), 1 - 1e-6)
    return round(float(sigmoid(np.log(clipped / (1 - clipped)) + margin)), 4)

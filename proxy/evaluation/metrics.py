"""How good scores are, measured against labels. Pure; arrays of shape ``(n_rows,)``, scores in ``[0, 1]`` or any real.

Ties count as what they are: rows of one score are passed or caught together, so nothing here depends on their order.
Where a figure needs rows that are not there (no violation, no honest row) it is NaN, never a number that looks like one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[np.float64]
Labels = npt.NDArray[np.bool_]

_Z = 1.959963984540054
"""Two-sided 95 % of the normal distribution."""


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """What every threshold does, from the highest on: one point per distinct score.

    Attributes:
        thresholds: The distinct scores, falling.
        true: Violations with at least that score.
        false: Other rows with at least that score.
        n_violations: Of all rows.
        n_others: Of all rows.
    """

    thresholds: Scores
    true: npt.NDArray[np.int64]
    false: npt.NDArray[np.int64]
    n_violations: int
    n_others: int

    @property
    def recall(self) -> Scores:
        """Share of the violations that are caught."""
        return _share(self.true, self.n_violations)

    @property
    def false_alarms(self) -> Scores:
        """Share of the other rows that are caught."""
        return _share(self.false, self.n_others)

    @property
    def precision(self) -> Scores:
        """Share of violations in what is caught."""
        return self.true / (self.true + self.false)

    @property
    def auprc(self) -> float:
        """See `auprc`."""
        if not self.n_violations:
            return math.nan
        return float(np.sum(np.diff(self.recall, prepend=0.0) * self.precision))

    @property
    def best_f1(self) -> tuple[float, float]:
        """See `best_f1`."""
        if not self.n_violations:
            return math.nan, math.nan
        values = 2 * self.true / (self.true + self.false + self.n_violations)
        best = int(np.argmax(values))
        return float(values[best]), float(self.thresholds[best])

    def recall_at(self, false_alarms: float) -> float:
        """See `recall_at`."""
        if not self.n_violations or not self.n_others:
            return math.nan
        return float(np.max(self.recall, initial=0.0, where=self.false_alarms <= false_alarms))


def curve(scores: Scores, violates: Labels) -> Curve:
    """What every threshold does."""
    order = np.argsort(-scores, kind="stable")
    falling, hits = scores[order], violates[order]
    ends = np.append(np.flatnonzero(np.diff(falling)), len(falling) - 1) if len(falling) else np.array([], np.int64)
    caught = np.cumsum(hits, dtype=np.int64)[ends]
    n = int(violates.sum())
    return Curve(falling[ends], caught, ends + 1 - caught, n, len(scores) - n)


def auroc(scores: Scores, violates: Labels) -> float:
    """Chance that a violation scores higher than another row, ties counting half (Mann-Whitney)."""
    n = int(violates.sum())
    if n in (0, len(scores)):
        return math.nan
    _, group, sizes = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(sizes) - (sizes - 1) / 2)[group]
    return float((ranks[violates].sum() - n * (n + 1) / 2) / (n * (len(scores) - n)))


def auprc(scores: Scores, violates: Labels) -> float:
    """Average precision: precision at each threshold, weighted by the recall that it adds, without interpolation."""
    return curve(scores, violates).auprc


def recall_at(scores: Scores, violates: Labels, false_alarms: float) -> float:
    """The most violations that a threshold catches with at most this share of false alarms."""
    return curve(scores, violates).recall_at(false_alarms)


def recall(scores: Scores, violates: Labels, threshold: float) -> float:
    """Share of the violations with at least this score."""
    return float(np.mean(scores[violates] >= threshold)) if violates.any() else math.nan


def precision(scores: Scores, violates: Labels, threshold: float) -> float:
    """Share of violations among the rows with at least this score."""
    caught = scores >= threshold
    return float(np.mean(violates[caught])) if caught.any() else math.nan


def false_alarms(scores: Scores, violates: Labels, threshold: float) -> float:
    """Share of the other rows with at least this score (false-positive rate)."""
    return float(np.mean(scores[~violates] >= threshold)) if not violates.all() else math.nan


def f1(scores: Scores, violates: Labels, threshold: float) -> float:
    """Harmonic mean of precision and recall; 0 where nothing is caught."""
    if not violates.any():
        return math.nan
    caught = scores >= threshold
    return float(2 * np.sum(caught & violates) / (np.sum(caught) + np.sum(violates)))


def best_f1(scores: Scores, violates: Labels) -> tuple[float, float]:
    """The highest F1 of any threshold, and that threshold: chosen on these very rows, so better than it will be on others."""
    return curve(scores, violates).best_f1


@dataclass(frozen=True, slots=True)
class Bin:
    """Rows whose scores lie close together."""

    low: float
    high: float
    n: int
    score: float
    """Mean."""
    violations: float
    """Share."""


def reliability(scores: Scores, violates: Labels, n_bins: int = 10) -> list[Bin]:
    """Mean score and share of violations in bins of equal width over ``[0, 1]``; empty bins are left out."""
    index = np.minimum((scores * n_bins).astype(np.int64), n_bins - 1)
    bins = []
    for i in range(n_bins):
        inside = index == i
        if n := int(inside.sum()):
            mean, share = float(scores[inside].mean()), float(violates[inside].mean())
            bins.append(Bin(i / n_bins, (i + 1) / n_bins, n, mean, share))
    return bins


def ece(scores: Scores, violates: Labels, n_bins: int = 10) -> float:
    """Expected calibration error: how far a bin's mean score is from its share of violations, weighted by rows."""
    if not len(scores):
        return math.nan
    return sum(b.n * abs(b.score - b.violations) for b in reliability(scores, violates, n_bins)) / len(scores)


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure and where it would lie in 95 % of repetitions."""

    value: float
    low: float
    high: float

    def record(self) -> dict[str, float | None]:
        """As JSON; what is not known is null."""
        return {"value": known(self.value), "low": known(self.low), "high": known(self.high)}

    def shown(self, digits: int = 3) -> tuple[str, str]:
        """The figure and its interval, for people; ``–`` for what is not known, and no text for its interval."""
        if math.isnan(self.value):
            return "–", ""
        interval = "" if math.isnan(self.low) else f"{self.low:.{digits}f}–{self.high:.{digits}f}"
        return f"{self.value:.{digits}f}", interval


def known(value: float) -> float | None:
    """A number for JSON: null for what is not known."""
    return None if math.isnan(value) else round(value, 6)


Measure = Callable[[Scores, Labels], Mapping[str, float]]
"""Gives all figures by name, the same names for any rows: what several need is computed once."""


def bootstrap(
    measured: Measure, scores: Scores, violates: Labels, *, n: int = 1000, seed: int = 0
) -> dict[str, Interval]:
    """Figures with 95 % intervals: percentiles over resampled rows, violations and others each by themselves (stratified).

    Args:
        measured: What to measure.
        scores: One per row.
        violates: One per row.
        n: Resamples; 0: no intervals (NaN).
        seed: The same seed gives the same intervals.
    """
    rng = np.random.default_rng(seed)
    strata = [np.flatnonzero(violates), np.flatnonzero(~violates)]
    figures = measured(scores, violates)
    drawn: dict[str, list[float]] = {name: [] for name in figures}
    for _ in range(n):
        rows = np.concatenate([rng.choice(stratum, len(stratum)) for stratum in strata if len(stratum)])
        for name, value in measured(scores[rows], violates[rows]).items():
            drawn[name].append(value)
    out = {}
    for name, figure in figures.items():
        values = np.array(drawn[name], np.float64)
        known = values[~np.isnan(values)]
        low, high = np.percentile(known, [2.5, 97.5]) if len(known) else (math.nan, math.nan)
        out[name] = Interval(figure, float(low), float(high))
    return out


def without_interval(value: float) -> Interval:
    """A figure whose interval nobody knows.

    The bootstrap's of the ECE would not hold the figure itself: resampled bins are further from their mean score.
    """
    return Interval(value, math.nan, math.nan)


def wilson(k: int, n: int) -> Interval:
    """A share ``k/n`` with its 95 % interval (Wilson's score interval); right for small numbers and for 0 and 1 too."""
    if n == 0:
        return Interval(math.nan, math.nan, math.nan)
    share = k / n
    centre = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z / (1 + _Z**2 / n) * math.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2))
    return Interval(share, max(0.0, centre - half), min(1.0, centre + half))


def _share(counts: npt.NDArray[np.int64], n: int) -> Scores:
    return counts / n if n else np.full(len(counts), math.nan)

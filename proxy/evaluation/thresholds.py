"""Proposes thresholds for what somebody wants to hold. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from proxy.evaluation import metrics
from proxy.evaluation.metrics import Interval, Labels, Scores


@dataclass(frozen=True, slots=True)
class Proposal:
    """A threshold, and what it does.

    Attributes:
        target: What was wanted.
        threshold: Scores from here on are caught; None: no threshold does what is wanted.
        precision: Share of violations among what it catches, of the labelled rows.
        recall: Share of the violations that it catches.
        per_1000: False alarms among 1,000 honest requests.
        n_honest: From how many honest requests that is known.
    """

    target: str
    threshold: float | None
    precision: Interval
    recall: Interval
    per_1000: Interval
    n_honest: int


def for_precision(wanted: float, scores: Scores, violates: Labels) -> float | None:
    """The threshold with at least this precision that catches the most."""
    points = metrics.curve(scores, violates)
    good = np.flatnonzero(points.precision >= wanted)
    return _at(points, int(good[-1])) if len(good) and points.true[good[-1]] else None


def for_recall(wanted: float, scores: Scores, violates: Labels) -> float | None:
    """The highest threshold that catches at least this share of the violations."""
    points = metrics.curve(scores, violates)
    good = np.flatnonzero(points.recall >= wanted)
    return _at(points, int(good[0])) if len(good) else None


def for_false_alarms(per_1000: float, honest: Scores) -> float | None:
    """The lowest threshold that at most so many of 1,000 honest requests reach."""
    points = metrics.curve(honest, np.zeros(len(honest), np.bool_))
    good = np.flatnonzero(points.false_alarms * 1000 <= per_1000)
    if not len(points.thresholds):
        return None
    if len(good):
        return _at(points, int(good[-1]))
    highest = float(points.thresholds[0])
    return _short(highest, 1.0) if highest < 1.0 else None


def _at(points: metrics.Curve, i: int) -> float:
    """A short number that has the effect of point ``i``."""
    return _short(
        float(points.thresholds[i + 1]) if i + 1 < len(points.thresholds) else 0.0, float(points.thresholds[i])
    )


def _short(low: float, high: float) -> float:
    """A number above ``low`` and not above ``high``: about half way, with as few digits as that allows."""
    middle = (high + low) / 2
    for digits in range(2, 16):
        rounded = round(middle, digits)
        if low < rounded <= high:
            return rounded
    return high


def proposal(target: str, threshold: float | None, scores: Scores, violates: Labels, honest: Scores) -> Proposal:
    """What a threshold does to labelled rows and to honest traffic."""
    if threshold is None:
        nothing = Interval(math.nan, math.nan, math.nan)
        return Proposal(target, None, nothing, nothing, nothing, len(honest))
    caught = scores >= threshold
    true = int((caught & violates).sum())
    alarms = metrics.wilson(int((honest >= threshold).sum()), len(honest))
    return Proposal(
        target,
        threshold,
        metrics.wilson(true, int(caught.sum())),
        metrics.wilson(true, int(violates.sum())),
        Interval(alarms.value * 1000, alarms.low * 1000, alarms.high * 1000),
        len(honest),
    )

"""Fits the maps of `models.calibration` to labelled evidence, and measures them out of fold. Needs the extra ``calibrate``.

A curve of a map is made of *ramps*, one between each two of its knots, that rise from 0 to 1; a map is a logistic regression
on the ramps whose weights may not be negative. Labels are softened as Platt did ("Probabilistic outputs for support vector
machines", 1999: ``(n+1)/(n+2)`` and ``1/(m+2)`` in place of 1 and 0), and a small ridge holds back what few rows ask for, so
that a handful of rows that are perfectly apart do not make certainties. The loss is convex: the fit is the same each time.

What a map is worth is measured on rows that it was not fitted on: the rows are cut into folds, each with its share of
violations, and each is scored by the map that was fitted on the others. Rows with the same content stay in one fold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import accumulate, pairwise

import numpy as np
import numpy.typing as npt

from models.calibration import FEATURES, MAX_LOGIT, FeatureName, Unmappable
from models.engine import Tier
from models.evidence import Evidence
from proxy.evaluation.metrics import Labels, Scores

RIDGE = 1.0
MIN_ROWS = 10
"""Violations and other rows, each, under which nothing is fitted: a figure from fewer means nothing."""

Matrix = npt.NDArray[np.float64]

_BY_TIER: Mapping[Tier, tuple[FeatureName, ...]] = {
    Tier.ENCODER: ("logit", "second_opinion"),
    Tier.DIRECT: ("logit", "second_opinion"),
    Tier.REASONED: ("trace", "logit", "second_opinion"),
    Tier.REMOTE: ("trace", "logit", "second_opinion"),
}
KNOTS: Mapping[FeatureName, tuple[float, ...]] = {
    "logit": (-MAX_LOGIT, MAX_LOGIT),
    "second_opinion": (-MAX_LOGIT, MAX_LOGIT),
    "trace": (0.0, 0.35, 1.0),
}
"""Where curves may bend. Of recorded traces (3 policies, 2,000 rows each) that end in "safe", hardly any was wrong until the
score is about 0.2, and a quarter of those beyond 0.3; from there on it rises slowly. More knots were not better out of fold."""


class FitError(Exception):
    """The rows do not make a map; one line."""


@dataclass(frozen=True, slots=True)
class Map:
    """A fitted map; see `models.calibration.Calibration`."""

    intercept: float
    curves: Mapping[FeatureName, tuple[tuple[float, float], ...]]


Pair = tuple[Evidence, Evidence | None]
"""A guard's own evidence, and a second opinion if there is one."""


def features_of(tier: Tier, evidence: Sequence[Pair]) -> tuple[FeatureName, ...]:
    """What a map of this tier can weigh: what every row has, and what is not the same in all of them.

    Raises:
        FitError: Nothing.
    """
    usable: list[FeatureName] = []
    for name in _BY_TIER.get(tier, ()):
        try:
            values = {FEATURES[name](*pair) for pair in evidence}
        except Unmappable:
            continue
        if len(values) > 1:
            usable.append(name)
    if not usable:
        raise FitError(f"the evidence of tier {tier} is the same for all rows")
    return tuple(usable)


def matrix(names: Sequence[FeatureName], evidence: Sequence[Pair]) -> Matrix:
    """The features of some rows, shape ``(n_rows, n_features)``."""
    return np.array([[FEATURES[name](*pair) for name in names] for pair in evidence], np.float64)


def _ramps(name: FeatureName, values: Scores) -> Matrix:
    """Shape ``(n_rows, n_knots - 1)``."""
    knots = KNOTS[name]
    return np.column_stack([np.clip((values - a) / (b - a), 0.0, 1.0) for a, b in pairwise(knots)])


def fit(names: Sequence[FeatureName], features: Matrix, violates: Labels) -> Map:
    """Fit a map.

    Args:
        names: Of the features.
        features: Shape ``(n_rows, n_features)``.
        violates: One per row; both kinds occur.
    """
    from scipy.optimize import minimize

    ramps = [_ramps(name, features[:, i]) for i, name in enumerate(names)]
    design = np.column_stack([*ramps, np.ones(len(features))])
    spread = design.std(axis=0)
    spread[spread == 0] = 1.0
    design = design / spread
    ridge = np.append(np.full(design.shape[1] - 1, RIDGE), 0.0)
    n = int(violates.sum())
    labels = np.where(violates, (n + 1) / (n + 2), 1 / (len(violates) - n + 2))

    def loss(w: Scores) -> tuple[float, Scores]:
        z = design @ w
        slope = design.T @ (np.exp(-np.logaddexp(0.0, -z)) - labels) + ridge * w
        return float(np.sum(np.logaddexp(0.0, z) - labels * z) + ridge @ w**2 / 2), slope

    bounds = [(0.0, None)] * (design.shape[1] - 1) + [(None, None)]
    found = minimize(loss, np.zeros(design.shape[1]), jac=True, method="L-BFGS-B", bounds=bounds)
    weights = iter(found.x / spread)
    curves = {}
    for name in names:
        rises = [float(next(weights)) for _ in KNOTS[name][1:]]
        curves[name] = tuple(zip(KNOTS[name], accumulate(rises, initial=0.0), strict=True))
    return Map(float(next(weights)), curves)


def out_of_fold(
    names: Sequence[FeatureName], features: Matrix, violates: Labels, groups: Sequence[str], *, n_folds: int, seed: int
) -> Scores:
    """Each row's probability by a map that was fitted without it.

    Args:
        names: Of the features.
        features: Shape ``(n_rows, n_features)``.
        violates: One per row.
        groups: Rows of one group are never on both sides.
        n_folds: How many parts the rows are cut into.
        seed: Of the cut.

    Raises:
        FitError: There are not enough rows of either kind.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    check_numbers(violates)
    out = np.full(len(violates), np.nan)
    folds = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)
    for fitted_on, rest in folds.split(features, violates, groups):
        if len(set(violates[fitted_on])) < 2:
            raise FitError("a fold has violations only, or none: too few different rows")
        found = fit(names, features[fitted_on], violates[fitted_on])
        out[rest] = apply(found, names, features[rest])
    return out


def apply(fitted: Map, names: Sequence[FeatureName], features: Matrix) -> Scores:
    """The probabilities of many rows at once; the same as `Calibration.probability` of each."""
    z = np.full(len(features), fitted.intercept)
    for i, name in enumerate(names):
        x, y = zip(*fitted.curves[name], strict=True)
        z += np.interp(features[:, i], x, y)
    return np.asarray(np.exp(-np.logaddexp(0.0, -z)), np.float64)


def check_numbers(violates: Labels) -> None:
    """See that there is enough to fit on.

    Raises:
        FitError: There are fewer than `MIN_ROWS` of a kind.
    """
    n = int(violates.sum())
    if min(n, len(violates) - n) < MIN_ROWS:
        raise FitError(
            f"needs at least {MIN_ROWS} violations and {MIN_ROWS} other rows; there are {n} and {len(violates) - n}"
        )


def check_installed() -> None:
    """See that the libraries are there.

    Raises:
        FitError: They are not; it says how to get them.
    """
    if find_spec("sklearn") is None:
        raise FitError("needs scikit-learn: pip install -c constraints.txt '.[calibrate]'")

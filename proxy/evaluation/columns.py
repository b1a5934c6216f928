"""What is compared: a column is one way of scoring rows against one policy, with all figures about it. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from models.errors import GuardRanTask, GuardRefused
from proxy.evaluation import metrics
from proxy.evaluation.cascades import Cascade
from proxy.evaluation.metrics import Interval, Labels, Scores, known

LEANING = frozenset({GuardRefused.code, GuardRanTask.code})
"""Errors that lean to violation: a row that ends in one counts as caught, with score 1. Rows that end in another error are
left out of the figures, and counted."""

N_EXAMPLES = 10
AT_FALSE_ALARMS = (0.01, 0.05)


@dataclass(frozen=True, slots=True)
class Cost:
    """What verdicts cost; NaN where nobody measured."""

    tokens: float = math.nan
    """Per row, mean."""
    ms_p50: float = math.nan
    ms_p95: float = math.nan


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """Scores of one guard for one policy on labelled rows.

    Attributes:
        guard: Who scored, as the reader knows it.
        policy: Against what, as the reader knows it.
        ids: Of the rows, in order.
        scores: One per row.
        violates: What is right, one per row.
        benign: Scores of rows that are honest beyond doubt; empty where there are none.
        failed: Rows without a score, by code of the error; not in the arrays, but for those that are `LEANING`.
        about: Whatever else belongs on record: model, revision, which share of the scores is calibrated.
        notes: What a reader must know before believing the figures.
        cascade: What its guards do for each other, where there are several.
    """

    guard: str
    policy: str
    ids: Sequence[str]
    scores: Scores = field(repr=False)
    violates: Labels = field(repr=False)
    benign: Scores = field(default_factory=lambda: np.array([], np.float64), repr=False)
    failed: Mapping[str, int] = field(default_factory=dict)
    cost: Cost = Cost()
    about: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()
    cascade: Cascade | None = None

    @property
    def title(self) -> str:
        """Guard and policy."""
        return f"{self.guard} / {self.policy}"


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """A column with its figures.

    Attributes:
        column: What was measured.
        threshold: From which score on a row counts as caught.
        figures: By name, see `FIGURES`; with ``benign`` if there are such rows.
        best_f1_at: The threshold of the best F1.
        missed: Ids and scores of violations below the threshold, the lowest first.
        false_alarms: Ids and scores of others at or above it, the highest first.
    """

    column: Column
    threshold: float
    figures: Mapping[str, Interval]
    best_f1_at: float
    missed: Sequence[tuple[str, float]]
    false_alarms: Sequence[tuple[str, float]]

    def record(self) -> dict[str, Any]:
        """Everything as JSON; what is not known is null."""
        column = self.column
        return {
            "guard": column.guard,
            "policy": column.policy,
            **column.about,
            "rows": len(column.scores),
            "violations": int(column.violates.sum()),
            "failed": dict(column.failed),
            "threshold": self.threshold,
            "figures": {name: f.record() for name, f in self.figures.items()},
            "best_f1_at": known(self.best_f1_at),
            "benign_rows": len(column.benign),
            "cost": {
                "tokens_per_row": known(column.cost.tokens),
                "ms_p50": known(column.cost.ms_p50),
                "ms_p95": known(column.cost.ms_p95),
            },
            "missed": [{"id": i, "score": round(s, 6)} for i, s in self.missed],
            "false_alarms": [{"id": i, "score": round(s, 6)} for i, s in self.false_alarms],
            "notes": list(column.notes),
            **({} if column.cascade is None else {"cascade": column.cascade.record()}),
        }


FIGURES: Mapping[str, str] = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "f1": "F1",
    "precision": "precision",
    "recall": "recall",
    "false_alarms": "false alarms",
    "best_f1": "best F1 (threshold of these rows)",
    "recall_at_1": "recall at 1 % alarms",
    "recall_at_5": "recall at 5 % alarms",
    "ece": "ECE",
    "benign": "false alarms, benign rows",
}
"""Every figure, in order, and what people call it. All but AUROC, AUPRC and ECE need a threshold."""


def measure(column: Column, *, threshold: float, n_bootstrap: int, seed: int) -> Measured:
    """All figures of a column.

    Args:
        column: What to measure; at least one row.
        threshold: From which score on a row counts as caught.
        n_bootstrap: Resamples for the 95 % intervals; 0: none.
        seed: Of the resampling.
    """
    scores, violates = column.scores, column.violates
    figures = metrics.bootstrap(partial(_figures, threshold=threshold), scores, violates, n=n_bootstrap, seed=seed)
    figures["ece"] = metrics.without_interval(metrics.ece(scores, violates))
    if len(column.benign):
        figures["benign"] = metrics.wilson(int((column.benign >= threshold).sum()), len(column.benign))
    order = np.argsort(scores, kind="stable")
    caught = scores >= threshold
    missed = [i for i in order if violates[i] and not caught[i]]
    alarms = [i for i in order[::-1] if not violates[i] and caught[i]]
    return Measured(
        column,
        threshold,
        figures,
        metrics.best_f1(scores, violates)[1],
        [(column.ids[i], float(scores[i])) for i in missed[:N_EXAMPLES]],
        [(column.ids[i], float(scores[i])) for i in alarms[:N_EXAMPLES]],
    )


def _figures(scores: Scores, violates: Labels, threshold: float) -> dict[str, float]:
    """The figures that get intervals."""
    points = metrics.curve(scores, violates)
    return {
        "auroc": metrics.auroc(scores, violates),
        "auprc": points.auprc,
        "f1": metrics.f1(scores, violates, threshold),
        "precision": metrics.precision(scores, violates, threshold),
        "recall": metrics.recall(scores, violates, threshold),
        "false_alarms": metrics.false_alarms(scores, violates, threshold),
        "best_f1": points.best_f1[0],
        "recall_at_1": points.recall_at(AT_FALSE_ALARMS[0]),
        "recall_at_5": points.recall_at(AT_FALSE_ALARMS[1]),
    }

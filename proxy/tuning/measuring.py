"""Tuned against base: both judge the same held-out rows as they serve, each calibrated on the same validation rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import numpy as np

from models.calibration import Calibration
from models.encoder_input import Metadata
from models.labels import Float32Array
from models.tuning.records import Rehearsed
from proxy.evaluation import metrics
from proxy.evaluation.calibrating import Fitting, Targets, fit_tiers
from proxy.evaluation.columns import Column, Measured, measure
from proxy.evaluation.fitting import FitError
from proxy.evaluation.judging import Judge, Subject, column, judge_rows
from proxy.evaluation.metrics import Interval, Labels, Scores
from proxy.evaluation.results import Results
from proxy.evaluation.rows import Row

BASE, BASE_CALIBRATED, TUNED = "base", "base, calibrated", "tuned"
TARGETS = Targets(precision=(0.9,), per_1000=(10.0, 50.0))
_N_FOLDS = 5


class Answer(StrEnum):
    """Whether tuning helped a policy."""

    BETTER = "better"
    UNSURE = "not clearly better"
    WORSE = "worse"


@dataclass(frozen=True, slots=True)
class Options:
    """How to measure."""

    threshold: float
    n_bootstrap: int
    seed: int
    timeout_s: float


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """What one guard made of a policy's rows.

    Attributes:
        plain: With the calibrations that it had, on the held-out rows.
        calibrated: With a map fitted on the validation rows; None where none could be fitted.
        fitting: That map, and thresholds.
        problems: Why there is none.
    """

    plain: Column
    calibrated: Column | None
    fitting: Fitting | None
    problems: Sequence[str]

    @property
    def calibrations(self) -> Sequence[Calibration]:
        """The map, if there is one."""
        return () if self.fitting is None else self.fitting.calibrations


async def judge_policy(
    judge: Judge, subject: Subject, validation: Sequence[Row], held_out: Sequence[Row], options: Options
) -> Judged:
    """Have a guard judge a policy's rows, fit its scores on some, and put the others together.

    Raises:
        JudgingError: The guard has gone.
    """
    fitting: Fitting | None = None
    problems: list[str] = []
    with Results(None) as results:
        rows = [*validation, *held_out]
        await judge_rows(judge, rows, subject, results, at_once=None, timeout_s=options.timeout_s)
        try:
            fitting = fit_tiers(
                judge, subject, validation, [], results, targets=TARGETS, n_folds=_N_FOLDS, seed=options.seed
            )
            problems += fitting.problems
        except FitError as e:
            problems.append(str(e))
        plain = column(judge, held_out, [], subject, results)
        calibrated = None
        if fitting is not None and fitting.calibrations:
            calibrated = column(
                judge, held_out, [], replace(subject, calibrations=tuple(fitting.calibrations)), results
            )
    return Judged(plain, calibrated, fitting, problems)


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Tuned against base for one policy.

    Attributes:
        measured: The columns with their figures: base, base calibrated (if it could be), tuned.
        gains: Tuned less base, on the same resampled rows.
        answer: Whether the gain in AUPRC lies over zero with its interval (and the tuned AUROC over 0.5), under it, or neither.
        judged: What the tuned guard made of the rows.
    """

    measured: Sequence[Measured] = field(repr=False)
    gains: dict[str, Interval]
    answer: Answer
    judged: Judged

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "answer": self.answer.value,
            "gains": {name: gain.record() for name, gain in self.gains.items()},
            "columns": [m.record() for m in self.measured],
            "not_calibrated": list(self.judged.problems),
        }


def compare(base: Judged, tuned: Judged, options: Options) -> Comparison:
    """Measure both.

    Raises:
        FitError: Hardly a row has both verdicts.
    """
    columns = [replace(base.plain, guard=BASE)]
    if base.calibrated is None:
        why = "; ".join(base.problems)
        columns[0] = replace(
            columns[0], notes=[*base.plain.notes, f"could not be calibrated on the validation rows: {why}"]
        )
    else:
        columns.append(replace(base.calibrated, guard=BASE_CALIBRATED))
    columns.append(replace(tuned.calibrated or tuned.plain, guard=TUNED))
    gains = _gains(columns[0], columns[-1], options)
    measured = [
        measure(c, threshold=options.threshold, n_bootstrap=options.n_bootstrap, seed=options.seed) for c in columns
    ]
    return Comparison(measured, gains, _answer(gains["auprc"], measured[-1].figures["auroc"]), tuned)


def _answer(gain: Interval, auroc: Interval) -> Answer:
    if gain.high < 0:
        return Answer.WORSE
    # beside a base that happens to rank upside down even chance is a gain
    return Answer.BETTER if gain.low > 0 and auroc.low > 0.5 else Answer.UNSURE


def _gains(base: Column, tuned: Column, options: Options) -> dict[str, Interval]:
    """Differences of figures that need no threshold, over rows that both have a score for."""
    theirs = dict(zip(base.ids, base.scores, strict=True))
    both = [i for i, name in enumerate(tuned.ids) if name in theirs]
    violates = tuned.violates[both]
    if not violates.any() or violates.all():
        raise FitError("the held-out rows with a verdict are all of one kind")
    scores = np.column_stack([np.array([theirs[tuned.ids[i]] for i in both]), tuned.scores[both]])

    def differences(scores: Scores, violates: Labels) -> dict[str, float]:
        before, after = (_ranking(np.ascontiguousarray(scores[:, i]), violates) for i in (0, 1))
        return {name: after[name] - before[name] for name in after}

    return metrics.bootstrap(differences, scores, violates, n=options.n_bootstrap, seed=options.seed)


def _ranking(scores: Scores, violates: Labels) -> dict[str, float]:
    points = metrics.curve(scores, violates)
    return {
        "auprc": points.auprc,
        "auroc": metrics.auroc(scores, violates),
        "recall_at_1": points.recall_at(0.01),
        "recall_at_5": points.recall_at(0.05),
    }


@dataclass(frozen=True, slots=True)
class Drift:
    """How far answers about policies that were not trained have gone from the base's, on held-out contents."""

    n: int
    """Answers."""
    mean: float
    """Mean difference of scores."""
    most: float
    far: float
    """Share of the answers that differ by more than 0.1."""

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return {"answers": self.n, "mean": round(self.mean, 5), "most": round(self.most, 4), "far": round(self.far, 5)}


def drift(
    rehearsed: Sequence[Rehearsed],
    base: Float32Array,
    tuned: Float32Array,
    outputs: Sequence[str],
    metadata: Metadata,
) -> Drift | None:
    """Compare answers.

    Args:
        rehearsed: Sequences, and the outputs that count on each.
        base: The base's logits on them, shape ``(n_sequences, n_outputs)``.
        tuned: The tuned network's.
        outputs: Their labels.
        metadata: Maps logits to scores.

    Returns:
        None where there is nothing to compare.
    """
    fitted = [metadata.calibration.get(label) for label in outputs]
    a = np.array([1.0 if c is None else c.a for c in fitted])
    b = np.array([0.0 if c is None else c.b for c in fitted])
    if tuple(outputs) == metadata.labels:
        base, tuned = metadata.joined(base), metadata.joined(tuned)
    before, after = (1 / (1 + np.exp(-(a * said + b))) for said in (base, tuned))
    found = np.concatenate([np.abs(before - after)[i, list(r.outputs)] for i, r in enumerate(rehearsed)] or [[]])
    if not len(found):
        return None
    return Drift(len(found), float(found.mean()), float(found.max()), float(np.mean(found > 0.1)))

"""From the verdicts on labelled rows to maps, figures that were measured out of fold, thresholds and a picture."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from string import ascii_uppercase
from typing import Any

import numpy as np

from models.calibrated import calibrated
from models.calibration import Calibration, Data, PassBelow
from models.engine import Score, Tier
from models.evidence import Evidence
from proxy.evaluation import fitting, metrics, plots
from proxy.evaluation.fitting import FitError
from proxy.evaluation.judging import Judge, Subject, data_hash, second_opinion
from proxy.evaluation.metrics import Interval, Labels, Scores
from proxy.evaluation.results import Results
from proxy.evaluation.rows import Row
from proxy.evaluation.thresholds import Proposal, for_false_alarms, for_precision, for_recall, proposal

N_BOOTSTRAP = 1000


@dataclass(frozen=True, slots=True)
class Targets:
    """What thresholds are proposed for."""

    precision: Sequence[float] = ()
    recall: Sequence[float] = ()
    per_1000: Sequence[float] = ()
    pass_recall: float | None = None
    """The share of the violations that must not pass where it is an earlier guard of a cascade."""


@dataclass(frozen=True, slots=True, eq=False)
class Fitting:
    """What came out.

    Attributes:
        calibrations: One map for each tier that could be fitted.
        problems: Why a tier could not be.
        scores: What the maps say to each row, each fitted without that row; of a tier without map, what the proxy says.
        before: What the proxy says without them.
        violates: What is right.
        honest: What the maps say to honest traffic; the rows that violate nothing, where no traffic was given.
        n_failed: Rows without verdict, left out.
        figures: Of ``scores``, with 95 % intervals.
        figures_before: Of ``before``.
        proposals: Thresholds, measured on ``scores`` and ``honest``.
        passing: Where it passes as an earlier guard of a cascade: what it "catches" goes on to the next one. None: there is no
            map to keep it with, or nobody wants to know.
    """

    calibrations: Sequence[Calibration]
    problems: Sequence[str]
    scores: Scores = field(repr=False)
    before: Scores = field(repr=False)
    violates: Labels = field(repr=False)
    honest: Scores = field(repr=False)
    n_failed: int
    figures: dict[str, Interval]
    figures_before: dict[str, Interval]
    proposals: Sequence[Proposal]
    passing: Proposal | None = None


def _ranked(scores: Scores, violates: Labels) -> dict[str, float]:
    return {"auroc": metrics.auroc(scores, violates), "auprc": metrics.auprc(scores, violates)}


def _figures(scores: Scores, violates: Labels, seed: int) -> dict[str, Interval]:
    ranked = metrics.bootstrap(_ranked, scores, violates, n=N_BOOTSTRAP, seed=seed)
    return {**ranked, "ece": metrics.without_interval(metrics.ece(scores, violates))}


def fit_tiers(
    judge: Judge,
    subject: Subject,
    rows: Sequence[Row],
    honest: Sequence[Row],
    results: Results,
    *,
    targets: Targets,
    n_folds: int,
    seed: int,
) -> Fitting:
    """Fit a map for each tier in which the guard decided, and measure them together, as they will be used.

    Args:
        judge: The guard that judged.
        subject: The policy.
        rows: Labelled rows.
        honest: Honest traffic; may be empty.
        results: With the verdicts on both.
        targets: What to propose thresholds for.
        n_folds: Into how many parts the rows of a tier are cut.
        seed: Of the cut and of the intervals.

    Raises:
        FitError: There are too few rows with a verdict for any figure.
    """
    judged = _judged(judge, subject, rows, results)
    violates = np.array([j.row.violates(subject.label) is True for j in judged], np.bool_)
    fitting.check_numbers(violates)
    before = np.array([calibrated(j.score, None, judge.model).value for j in judged], np.float64)
    scores = before.copy()
    by_tier: dict[Tier, list[int]] = defaultdict(list)
    for i, j in enumerate(judged):
        by_tier[j.score.tier].append(i)
    calibrations: list[Calibration] = []
    problems: list[str] = []
    data = Data(sha256=data_hash(rows, subject), rows=len(judged), violations=int(violates.sum()))
    for tier, members in sorted(by_tier.items()):
        try:
            theirs = [judged[i] for i in members]
            found, fitted = _fit_tier(judge, subject, tier, theirs, violates[members], data, n_folds, seed)
        except FitError as e:
            problems.append(f"tier {tier} ({len(members)} rows): {e}")
            continue
        calibrations.append(found)
        scores[members] = fitted
    traffic = _honest(judge, subject, honest, results, calibrations) if honest else scores[~violates]
    proposals = [
        *(
            proposal(f"precision {p:g}", for_precision(p, scores, violates), scores, violates, traffic)
            for p in targets.precision
        ),
        *(
            proposal(f"recall {r:g}", for_recall(r, scores, violates), scores, violates, traffic)
            for r in targets.recall
        ),
        *(
            proposal(f"{n:g} false alarms per 1,000", for_false_alarms(n, traffic), scores, violates, traffic)
            for n in targets.per_1000
        ),
    ]
    passing = None
    if targets.pass_recall is not None and calibrations:
        name, limit = f"pass recall {targets.pass_recall:g}", for_recall(targets.pass_recall, scores, violates)
        passing = proposal(name, limit, scores, violates, traffic)
        kept = None if limit is None else PassBelow(score=limit, recall=targets.pass_recall)
        calibrations = [c.model_copy(update={"pass_below": kept}) for c in calibrations]
    return Fitting(
        calibrations,
        problems,
        scores,
        before,
        violates,
        traffic,
        len(rows) - len(judged),
        _figures(scores, violates, seed),
        _figures(before, violates, seed),
        proposals,
        passing,
    )


@dataclass(frozen=True, slots=True)
class _Judged:
    """A row with what was said about it."""

    row: Row
    score: Score
    opinion: Evidence | None
    """The second opinion, for a guard that has one weighed."""


def _judged(judge: Judge, subject: Subject, rows: Sequence[Row], results: Results) -> list[_Judged]:
    """The rows with a verdict, and with a second opinion where one is weighed: without it the proxy has no score either."""
    found = []
    for row in rows:
        result = results.by_key.get(judge.key(row, subject))
        second = second_opinion(judge, row, subject, results)
        opinion = None if second is None or second.score is None else second.score.evidence
        if result is not None and result.score is not None and (judge.second is None or opinion is not None):
            found.append(_Judged(row, result.score, opinion))
    return found


def _fit_tier(
    judge: Judge,
    subject: Subject,
    tier: Tier,
    judged: Sequence[_Judged],
    violates: Labels,
    data: Data,
    n_folds: int,
    seed: int,
) -> tuple[Calibration, Scores]:
    """A tier's map, and what it says to each row when it is fitted without it."""
    evidence = [(j.score.evidence, j.opinion) for j in judged if j.score.evidence is not None]
    if len(evidence) < len(judged):
        raise FitError("the guard gives no evidence")
    names = fitting.features_of(tier, evidence)
    features = fitting.matrix(names, evidence)
    groups = [j.row.key for j in judged]
    scores = fitting.out_of_fold(names, features, violates, groups, n_folds=n_folds, seed=seed)
    figures = _figures(scores, violates, seed)
    if not figures["auroc"].low > 0.5:
        raise FitError(
            f"its evidence says nothing about these labels: out-of-fold AUROC {figures['auroc'].value:.3f} "
            f"({figures['auroc'].low:.3f} to {figures['auroc'].high:.3f})"
        )
    found = fitting.fit(names, features, violates)
    calibration = Calibration(
        policy=subject.policy.name,
        revision=subject.policy.revision,
        model=judge.model,
        tier=tier,
        effort=judge.guard.effort if tier is Tier.REASONED else None,
        second_opinion=judge.second.model if judge.second is not None and "second_opinion" in names else None,
        intercept=round(found.intercept, 6),
        curves={name: tuple((x, round(y, 6)) for x, y in curve) for name, curve in found.curves.items()},
        data=data,
        figures={
            "rows": len(judged),
            "violations": int(violates.sum()),
            "folds": n_folds,
            "seed": seed,
            **{name: round(f.value, 4) for name, f in figures.items()},
            **{f"{n}_{end}": round(getattr(figures[n], end), 4) for n in ("auroc", "auprc") for end in ("low", "high")},
        },
    )
    return calibration, scores


def _honest(
    judge: Judge, subject: Subject, rows: Sequence[Row], results: Results, calibrations: Sequence[Calibration]
) -> Scores:
    """What the new maps say to honest traffic, on which they were not fitted."""
    by_tier = {c.tier: c for c in calibrations}
    judged = _judged(judge, subject, rows, results)
    return np.array(
        [calibrated(j.score, by_tier.get(j.score.tier), judge.model, j.opinion).value for j in judged], np.float64
    )


def picture(fitted: Fitting, title: str) -> str:
    """Reliability, scores, ROC and precision over recall, thresholds marked; one SVG."""
    marks: list[tuple[float, str]] = []
    lines: list[str] = []
    for letter, p in zip(ascii_uppercase, (p for p in fitted.proposals if p.threshold is not None), strict=False):
        assert p.threshold is not None
        marks.append((p.threshold, letter))
        lines.append(f"{letter}: {p.threshold:g} for {p.target}")
    after = plots.Scored("calibrated", fitted.scores, fitted.violates, marks)
    before = plots.Scored("before", fitted.before, fitted.violates)
    return plots.figure(
        [
            plots.reliability([plots.Scored("calibrated", fitted.scores, fitted.violates), before]),
            plots.histogram(after, title="Calibrated scores, out of fold"),
            plots.roc([after]),
            plots.precision_recall([after]),
        ],
        heading=title,
        lines=lines,
    )


def record(fitted: Fitting) -> dict[str, Any]:
    """Everything but the rows, as JSON."""
    return {
        "rows": len(fitted.scores),
        "violations": int(fitted.violates.sum()),
        "without_verdict": fitted.n_failed,
        "figures": {name: f.record() for name, f in fitted.figures.items()},
        "figures_before": {name: f.record() for name, f in fitted.figures_before.items()},
        "thresholds": [_proposed(p) for p in fitted.proposals],
        "pass_below": fitted.passing and _passed(fitted.passing),
        "calibrations": [c.model_dump(mode="json") for c in fitted.calibrations],
        "not_fitted": list(fitted.problems),
    }


def _proposed(p: Proposal) -> dict[str, Any]:
    return {
        "target": p.target,
        "threshold": p.threshold,
        "precision": p.precision.record(),
        "recall": p.recall.record(),
        "false_alarms_per_1000": p.per_1000.record(),
        "honest_rows": p.n_honest,
    }


def _passed(p: Proposal) -> dict[str, Any]:
    return {
        "target": p.target,
        "score": p.threshold,
        "violations_that_go_on": p.recall.record(),
        "honest_that_go_on_per_1000": p.per_1000.record(),
        "honest_rows": p.n_honest,
    }

"""A cascade as a column: what its guards have said, each to every row, put together as the proxy would."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.engine import Score
from proxy.evaluation.cascades import Stages, cascade
from proxy.evaluation.columns import LEANING, Column, Cost
from proxy.evaluation.judging import (
    IN_SAMPLE,
    Gathered,
    Judge,
    Subject,
    about,
    failures,
    is_in_sample,
    mapped,
)
from proxy.evaluation.results import Results
from proxy.evaluation.rows import Row
from rules.rule import Action, Rule

Said = tuple[Score | None, str | None]
"""A score, or the code of an error."""


def cascade_column(
    judges: Sequence[Judge],
    rows: Sequence[Row],
    benign: Sequence[Row],
    subject: Subject,
    results: Results,
    *,
    threshold: float,
    pass_below: float | None = None,
) -> Column:
    """The guards of a cascade as one.

    Args:
        judges: At least two; all have judged all rows.
        rows: Labelled for the policy.
        benign: Honest beyond doubt.
        subject: The policy.
        results: With the verdicts.
        threshold: From which score on a row counts as caught, as the lowest threshold of a rule.
        pass_below: A rule's own limit for the earlier guards; None: it has none.
    """
    names = tuple(judge.guard.name for judge in judges)
    own = {} if pass_below is None else dict.fromkeys(names[:-1], pass_below)
    rule = Rule(subject.policy, names, {Action.FLAG: threshold}, pass_below=own)
    said = [_by_row(judge, rows, subject, results) for judge in judges]
    said_to_benign = [_by_row(judge, benign, subject, results) for judge in judges]
    violates = np.array([row.violates(subject.label) is True for row in rows], np.bool_)
    stages = _stages(rule, said, violates)
    honest = _stages(rule, said_to_benign, np.zeros(len(benign), np.bool_))
    gathered, also = _gathered(rows, violates, said, stages), _gathered(benign, honest.violates, said_to_benign, honest)
    name = "by default" if pass_below is None else f"pass_below: {pass_below:g}"
    measured = cascade(stages, honest if benign else None, threshold, name)
    notes = failures(gathered, also)
    for judge, answers in zip(judges, said, strict=True):
        if is_in_sample(judge, subject, [score for score, _ in answers if score is not None], rows):
            notes.append(f"{IN_SAMPLE} ({judge.guard.name})")
    if measured.n_failed:
        notes.append(f"{measured.n_failed} rows went on because an earlier guard could not judge them")
    return Column(
        guard=" then ".join(names),
        policy=subject.policy.name,
        ids=gathered.ids,
        scores=np.array(gathered.scores, np.float64),
        violates=np.array(gathered.labels, np.bool_),
        benign=np.array(also.scores, np.float64),
        failed=dict(gathered.failed),
        cost=_cost(stages),
        about=about(" then ".join(judge.model for judge in judges), subject, gathered),
        notes=notes,
        cascade=measured,
    )


def _by_row(judge: Judge, rows: Sequence[Row], subject: Subject, results: Results) -> list[Said]:
    """What a guard said to each row, in order; what it was not asked counts as a failure."""
    by_key = {row.key: (score, error) for row, score, error in mapped(judge, rows, subject, results)}
    return [by_key.get(row.key, (None, "not_judged")) for row in rows]


def _stages(rule: Rule, said: Sequence[Sequence[Said]], violates: np.typing.NDArray[np.bool_]) -> Stages:
    """What was said, in numbers."""
    earlier = [[np.nan if score is None else score.value for score, _ in answers] for answers in said[:-1]]
    limits = [
        [0.0 if score is None else rule.limit_of(guard, score.pass_below) for score, _ in answers]
        for guard, answers in zip(rule.guards, said[:-1], strict=False)
    ]
    last = [score.value if score is not None else 1.0 if error in LEANING else np.nan for score, error in said[-1]]
    every = [[score for score, _ in answers] for answers in said]
    tokens = [[0 if s is None else s.n_tokens for s in scores] for scores in every]
    ms = [[0.0 if s is None else s.latency_ms for s in scores] for scores in every]
    return Stages(
        rule.guards,
        np.array(earlier, np.float64),
        np.array(limits, np.float64),
        np.array(last, np.float64),
        violates,
        np.array(tokens, np.float64),
        np.array(ms, np.float64),
    )


def _gathered(
    rows: Sequence[Row], violates: np.typing.NDArray[np.bool_], said: Sequence[Sequence[Said]], stages: Stages
) -> Gathered:
    """For each row, what the guard said that had the last word about it."""
    out = Gathered()
    last_asked = stages.asked(stages.limits).sum(axis=0) - 1
    for i, (row, which) in enumerate(zip(rows, last_asked, strict=True)):
        out.take(row, bool(violates[i]), *said[which][i])
    return out


def _cost(stages: Stages) -> Cost:
    """Of all guards that were asked."""
    if not len(stages.last):
        return Cost()
    asked = stages.asked(stages.limits)
    p50, p95 = np.percentile((stages.ms * asked).sum(axis=0), [50, 95])
    return Cost(float((stages.tokens * asked).sum(axis=0).mean()), float(p50), float(p95))

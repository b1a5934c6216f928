"""A guard in front of recorded answers: what a cascade would have saved of them, and what would have been lost."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from models.engine import Score
from proxy.evaluation.cascades import Stages, cascade
from proxy.evaluation.columns import Column
from proxy.evaluation.traces import VERDICT, Opinions, Traced
from rules.policy import Policy
from rules.rule import Action, Rule


def gated_columns(traced: Sequence[Traced], opinions: Opinions, *, threshold: float) -> list[Column]:
    """For each model and policy a cascade: first the guard that was asked for its opinion, then the recorded verdict.

    Args:
        traced: Recorded answers, read with their rows.
        opinions: Of the first guard; a text without one goes on.
        threshold: From which score on a row counts as caught.
    """
    groups: dict[tuple[str, str], list[Traced]] = defaultdict(list)
    for row in traced:
        groups[row.model, row.policy].append(row)
    return [_gated(model, policy, rows, opinions, threshold) for (model, policy), rows in sorted(groups.items())]


def _gated(model: str, policy: str, rows: Sequence[Traced], opinions: Opinions, threshold: float) -> Column:
    guards = (opinions.guard, model)
    rule = Rule(Policy(policy, ""), guards, {Action.FLAG: threshold})
    said = [None if row.row is None else opinions.by_key.get(row.row.key) for row in rows]
    last_tokens = [math.nan if row.evidence.n_tokens is None else row.evidence.n_tokens for row in rows]
    stages = Stages(
        guards,
        np.array([[math.nan if score is None else score.value for score in said]]),
        np.array([[0.0 if s is None else rule.limit_of(opinions.guard, s.pass_below) for s in said]]),
        np.array([float(row.evidence.leans_to_violation) for row in rows]),
        np.array([row.violates for row in rows], np.bool_),
        np.array([[_tokens(score) for score in said], last_tokens]),
        np.full((2, len(rows)), math.nan),
    )
    return Column(
        guard=f"{opinions.guard} then {model} ({VERDICT})",
        policy=policy,
        ids=[row.id for row in rows],
        scores=stages.scores(stages.limits),
        violates=stages.violates,
        about={"model": model, "score": f"{opinions.guard} then {VERDICT}", "calibrated": 0.0},
        cascade=cascade(stages, None, threshold, "by default"),
    )


def _tokens(score: Score | None) -> float:
    return 0.0 if score is None else score.n_tokens

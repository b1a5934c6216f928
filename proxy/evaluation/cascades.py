"""What a cascade costs and saves: how much its earlier guards give to the last one, and what they let pass. Pure.

Every guard is asked about every row, so that it is known what the last one would have said to what an earlier one passes. A row
*passes* if an earlier guard scores it below its limit; else it *goes on*, also where that guard could not judge. What passes
is not caught, so of the violations that the last guard alone catches, those that pass are *lost*.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from proxy.evaluation import metrics
from proxy.evaluation.metrics import Interval, Labels, Scores, known
from proxy.evaluation.thresholds import for_recall

RECALLS = (0.9, 0.95, 0.98, 0.99, 1.0)
"""Of the violations, the share that must go on: limits are tried for each."""

SWEPT = tuple(float(r) for r in np.linspace(0.5, 1.0, 51))
"""The same, to draw a line."""


@dataclass(frozen=True, slots=True, eq=False)
class Stages:
    """What the guards of a cascade say to the same rows.

    Attributes:
        guards: Their names, in order.
        earlier: Scores of all but the last, shape ``(n_guards - 1, n_rows)``; NaN: it could not judge, so the row goes on.
        limits: Where they pass as configured, the same shape: it can depend on how a row was judged.
        last: Scores of the last one, shape ``(n_rows,)``; NaN: no verdict.
        violates: What is right.
        tokens: What each verdict cost, shape ``(n_guards, n_rows)``; NaN: not known.
        ms: The same in milliseconds.
    """

    guards: tuple[str, ...]
    earlier: Scores = field(repr=False)
    limits: Scores = field(repr=False)
    last: Scores = field(repr=False)
    violates: Labels = field(repr=False)
    tokens: Scores = field(repr=False)
    ms: Scores = field(repr=False)

    def only(self, rows: Labels) -> Stages:
        """Some of the rows."""
        return replace(
            self, earlier=self.earlier[:, rows], limits=self.limits[:, rows], last=self.last[rows],
            violates=self.violates[rows], tokens=self.tokens[:, rows], ms=self.ms[:, rows],
        )  # fmt: skip

    def passes(self, limits: Scores) -> Labels:
        """Which guard lets which row pass, shape ``(n_guards - 1, n_rows)``; never by a failure, and never at the limit."""
        return self.earlier < limits

    def asked(self, limits: Scores) -> Labels:
        """Which guard is asked about which row, shape ``(n_guards, n_rows)``: until one passes."""
        passed = np.logical_or.accumulate(self.passes(limits), axis=0)
        return np.vstack([np.ones((1, len(self.last)), np.bool_), ~passed])

    def scores(self, limits: Scores) -> Scores:
        """What the whole says: the score of the guard that passes, else the last one's."""
        which = self.asked(limits).sum(axis=0) - 1
        every = np.vstack([self.earlier, self.last])
        return np.asarray(every[which, np.arange(len(self.last))], np.float64)


@dataclass(frozen=True, slots=True)
class Split:
    """What one choice of limits does.

    Attributes:
        name: What was chosen.
        limits: Under which score each earlier guard passes; lowest and highest, where that depends on the row.
        goes_on: Share of the rows that reach the last guard.
        honest_goes_on: The same of honest rows.
        passed: Share of the violations that pass.
        lost: Share of the violations that pass, of those that the last guard alone catches.
        recall: Of the whole.
        precision: Of the whole.
        false_alarms: Of the whole.
        tokens: Per row, mean, of all guards that were asked.
        ms: The same.
    """

    name: str
    limits: Sequence[tuple[float, float]]
    goes_on: Interval
    honest_goes_on: Interval
    passed: Interval
    lost: Interval
    recall: float
    precision: float
    false_alarms: float
    tokens: float
    ms: float

    def record(self) -> dict[str, Any]:
        """As JSON."""
        shares = {n: getattr(self, n).record() for n in ("goes_on", "honest_goes_on", "passed", "lost")}
        numbers = {n: known(getattr(self, n)) for n in ("recall", "precision", "false_alarms", "tokens", "ms")}
        return {"name": self.name, "pass_below": [list(limit) for limit in self.limits], **shares, **numbers}


@dataclass(frozen=True, slots=True)
class Cascade:
    """A cascade, measured.

    Attributes:
        guards: Their names, in order.
        threshold: From which score on a row counts as caught.
        alone: The last guard alone.
        configured: With the limits as they are configured.
        by_recall: With limits that let a share of these very rows' violations go on.
        swept: Of many such limits: the share of the rows that go on, and that of what the last guard catches and is not lost.
        n_left_out: Rows without a verdict of the last guard.
        n_failed: Rows that went on because an earlier guard could not judge.
    """

    guards: tuple[str, ...]
    threshold: float
    alone: Split
    configured: Split
    by_recall: Sequence[Split]
    swept: Sequence[tuple[float, float]]
    n_left_out: int
    n_failed: int

    @property
    def splits(self) -> Sequence[Split]:
        """All, as they stand in a table."""
        return (self.alone, self.configured, *self.by_recall)

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "guards": list(self.guards),
            "last_alone": self.alone.record(),
            "configured": self.configured.record(),
            "by_recall": [s.record() for s in self.by_recall],
            "left_out": self.n_left_out,
            "earlier_failed": self.n_failed,
        }


def cascade(stages: Stages, honest: Stages | None, threshold: float, name: str) -> Cascade:
    """Measure a cascade.

    Args:
        stages: Labelled rows.
        honest: Rows that violate nothing beyond doubt; None: the labelled rows that do not.
        threshold: From which score on a row counts as caught; the highest limit there can be.
        name: Of the limits that the stages have.
    """
    has_verdict = ~np.isnan(stages.last)
    told = stages.only(has_verdict)
    traffic = told.only(~told.violates) if honest is None else honest
    last_name = stages.guards[-1]
    nothing, all_go = np.zeros_like(told.limits), np.zeros_like(traffic.limits)
    alone = _split(f"none: {last_name} alone", told, nothing, traffic, all_go, threshold)
    alone = replace(alone, limits=(), tokens=_mean(told.tokens[-1]), ms=_mean(told.ms[-1]))

    def for_share(what: str, share: float) -> Split:
        limits = [_limit(scores, told.violates, share, threshold) for scores in told.earlier]
        column = np.array(limits)[:, None]
        return _split(what, told, column + nothing, traffic, column + all_go, threshold)

    swept = [for_share("", share) for share in SWEPT]
    return Cascade(
        stages.guards,
        threshold,
        alone,
        _split(name, told, told.limits, traffic, traffic.limits, threshold),
        [for_share(f"for {recall * 100:g} %", recall) for recall in RECALLS],
        [(s.goes_on.value, 1 - s.lost.value) for s in swept],
        int((~has_verdict).sum()),
        int(np.isnan(told.earlier).any(axis=0).sum()),
    )


def _limit(scores: Scores, violates: Labels, share: float, threshold: float) -> float:
    """The highest limit under which so few violations lie; what could not be judged goes on whatever the limit is."""
    found = for_recall(share, np.where(np.isnan(scores), 1.0, scores), violates)
    return 0.0 if found is None else min(found, threshold)


def _split(name: str, told: Stages, limits: Scores, traffic: Stages, their_limits: Scores, threshold: float) -> Split:
    asked = told.asked(limits)
    goes_on, violates = asked[-1], told.violates
    caught = violates & (told.last >= threshold)
    scores = told.scores(limits)
    their = traffic.asked(their_limits)[-1]
    lost, passed = int((caught & ~goes_on).sum()), int((violates & ~goes_on).sum())
    return Split(
        name,
        [(float(row.min()), float(row.max())) for row in limits if len(row)],
        metrics.wilson(int(goes_on.sum()), len(goes_on)),
        metrics.wilson(int(their.sum()), len(their)),
        metrics.wilson(passed, int(violates.sum())),
        metrics.wilson(lost, int(caught.sum())),
        metrics.recall(scores, violates, threshold),
        metrics.precision(scores, violates, threshold),
        metrics.false_alarms(scores, violates, threshold),
        _mean(np.where(asked, told.tokens, 0.0).sum(axis=0)),
        _mean(np.where(asked, told.ms, 0.0).sum(axis=0)),
    )


def _mean(values: Scores) -> float:
    return float(values.mean()) if len(values) else math.nan

"""Has guards judge labelled rows: many at once, each once, resumable."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from models.calibrated import calibrated, find
from models.calibration import Calibration
from models.engine import Score
from models.errors import EngineOverloaded, EngineUnavailable
from proxy.evaluation.columns import LEANING, Column, Cost
from proxy.evaluation.meter import Meter
from proxy.evaluation.results import Key, Outcome, Results, outcome
from proxy.evaluation.rows import Row
from proxy.loading import LoadedGuard
from rules.policy import Policy, revision_of

READY_TIMEOUT_S = 600.0
"""A 120b model takes minutes to load from a slow disk."""
_WAITS_S = (1.0, 2.0, 5.0, 10.0)
_PASSING = frozenset({EngineUnavailable.code, EngineOverloaded.code})
"""Errors that say nothing about the row and may be over in a moment."""
_GIVE_UP_AFTER = 20


class JudgingError(Exception):
    """The rows could not be judged; what was finished is kept. One line."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A policy that is measured.

    Attributes:
        policy: What guards judge by.
        label: Under which name the rows know what is right.
        calibrations: All maps there are for it.
    """

    policy: Policy
    label: str
    calibrations: tuple[Calibration, ...] = ()


@dataclass(frozen=True, slots=True)
class Judge:
    """A guard that is ready, and what its results are kept under."""

    guard: LoadedGuard
    model: str

    @property
    def identity(self) -> str:
        """Hash of everything that its verdicts depend on besides policy and content."""
        return revision_of(self.model, self.guard.settings)

    def key(self, row: Row, subject: Subject) -> Key:
        """Under which a verdict is kept."""
        policy = subject.policy
        band = "" if policy.reason_band is None else f" {policy.reason_band}"  # changes verdicts, not the policy
        return row.key, self.identity, policy.revision + band


async def start(guard: LoadedGuard) -> Judge:
    """Load a guard.

    Raises:
        JudgingError: It cannot be loaded.
    """
    await guard.engine.start()
    if not await guard.engine.wait_ready(READY_TIMEOUT_S):
        raise JudgingError(f"guard {guard.name} is not ready: {guard.engine.last_error}")
    return Judge(guard, guard.engine.model)


async def judge_rows(
    judge: Judge,
    rows: Sequence[Row],
    subjects: Sequence[Subject],
    results: Results,
    *,
    at_once: int,
    timeout_s: float,
    what: str = "",
) -> None:
    """Judge what is not judged yet. A row is one call with all policies that it lacks.

    Raises:
        JudgingError: The guard has gone, so that nothing more can be judged.
        ResultsError: A result cannot be kept.
    """
    todo: list[tuple[Row, list[Subject]]] = []
    seen: set[Key] = set()
    for row in rows:
        missing = [s for s in subjects if not results.settled(key := judge.key(row, s)) and key not in seen]
        seen.update(judge.key(row, s) for s in missing)
        if missing:
            todo.append((row, missing))
    work = iter(todo)
    misses = 0

    async def worker(meter: Meter) -> None:
        nonlocal misses
        for row, missing in work:
            entries = await _ask(judge, row, missing, timeout_s)
            for subject, entry in zip(missing, entries, strict=True):
                results.add(judge.key(row, subject), entry)
            gone = all(entry.error in _PASSING for entry in entries)
            misses = misses + 1 if gone else 0
            if misses >= _GIVE_UP_AFTER:
                raise JudgingError(
                    f"guard {judge.guard.name} does not answer any more ({judge.guard.engine.last_error}); "
                    f"what was judged is kept, the same command goes on with the rest"
                )
            meter.step()

    with Meter(what or judge.guard.name, len(rows), len(rows) - len(todo)) as meter:
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(at_once):
                    group.create_task(worker(meter))
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None


async def _ask(judge: Judge, row: Row, subjects: Sequence[Subject], timeout_s: float) -> list[Outcome]:
    """Ask, and again where the guard is away for a moment."""
    policies = [subject.policy.for_guard() for subject in subjects]
    waits = iter(_WAITS_S)
    while True:
        entries = await judge.guard.engine.judge(row.passages, policies, deadline=time.monotonic() + timeout_s)
        outcomes = [outcome(entry) for entry in entries]
        wait_s = next(waits, None)
        if wait_s is None or not any(o.error in _PASSING for o in outcomes):
            return outcomes
        await asyncio.sleep(wait_s)
        await judge.guard.engine.wait_ready(timeout_s)


@dataclass(slots=True)
class _Gathered:
    """Scores while they are put together."""

    ids: list[str] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    labels: list[bool] = field(default_factory=list)
    used: list[Score] = field(default_factory=list)
    failed: Counter[str] = field(default_factory=Counter)

    def take(self, row: Row, label: bool, score: Score | None, error: str | None) -> None:
        if score is None:
            self.failed[error or ""] += 1
            if error not in LEANING:
                return
        else:
            self.used.append(score)
        self.ids.append(row.id)
        self.scores.append(1.0 if score is None else score.value)
        self.labels.append(label)


def column(judge: Judge, rows: Sequence[Row], benign: Sequence[Row], subject: Subject, results: Results) -> Column:
    """Put the results of one guard and policy together, calibrated as the proxy would."""
    gathered, honest = _Gathered(), _Gathered()
    for row, score, error in _mapped(judge, rows, subject, results):
        if (label := row.violates(subject.label)) is not None:
            gathered.take(row, label, score, error)
    for row, score, error in _mapped(judge, benign, subject, results):
        honest.take(row, False, score, error)
    n_calibrated = sum(score.calibrated for score in gathered.used)
    notes = []
    if gathered.failed:
        left_out = sum(n for code, n in gathered.failed.items() if code not in LEANING)
        counted = sum(gathered.failed.values()) - left_out
        notes.append(f"{left_out} rows without verdict left out, {counted} refused by the guard and counted as caught")
    if any(c.data.sha256 == data_hash(rows, subject) for c in _holding(judge, subject)):
        notes.append("in-sample: the calibration was fitted on these rows")
    return Column(
        guard=judge.guard.name,
        policy=subject.policy.name,
        ids=gathered.ids,
        scores=np.array(gathered.scores, np.float64),
        violates=np.array(gathered.labels, np.bool_),
        benign=np.array(honest.scores, np.float64),
        failed=dict(gathered.failed),
        cost=_cost(gathered.used),
        about={
            "model": judge.model,
            "revision": subject.policy.revision,
            "label": subject.label,
            "calibrated": bool(gathered.used) and n_calibrated == len(gathered.used),
            "tiers": dict(Counter(score.tier.value for score in gathered.used)),
        },
        notes=notes,
    )


def _holding(judge: Judge, subject: Subject) -> list[Calibration]:
    return [c for c in subject.calibrations if (c.revision, c.model) == (subject.policy.revision, judge.model)]


def _mapped(
    judge: Judge, rows: Sequence[Row], subject: Subject, results: Results
) -> Iterator[tuple[Row, Score | None, str | None]]:
    for row in rows:
        if (result := results.by_key.get(judge.key(row, subject))) is None:
            continue
        score = result.score
        if score is not None:
            fitted = find(subject.calibrations, subject.policy.revision, judge.model, score.tier, judge.guard.effort)
            score = calibrated(score, fitted, judge.model)
        yield row, score, result.error


def _cost(scores: Sequence[Score]) -> Cost:
    if not scores:
        return Cost()
    ms = [score.latency_ms for score in scores]
    p50, p95 = np.percentile(ms, [50, 95])
    return Cost(float(np.mean([score.n_tokens for score in scores])), float(p50), float(p95))


def data_hash(rows: Sequence[Row], subject: Subject) -> str:
    """Hash of rows and their labels for a policy, in no order."""
    lines = sorted(
        f"{row.key} {row.violates(subject.label)}" for row in rows if row.violates(subject.label) is not None
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()

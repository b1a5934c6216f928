"""Has guards judge labelled rows: many at once, each once, resumable."""

from __future__ import annotations

import asyncio
import hashlib
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from models.calibrated import calibrated, find
from models.calibration import Calibration
from models.engine import Score, Tier
from models.errors import EngineError
from models.patient import PatientEngine, Waits
from proxy.evaluation.columns import LEANING, Column, Cost
from proxy.evaluation.results import Key, Outcome, Results, outcome
from proxy.evaluation.rows import Row
from proxy.loading.single_guard import LoadedGuard, load_guard
from proxy.offline import READY_TIMEOUT_S, most_at_once
from proxy.progress import Shown, progress
from rules.policy import Policy, revision_of


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
    """A guard that is ready, and what its results are kept under.

    Attributes:
        guard: The guard.
        model: Name and revision of what it has loaded.
        identity: Hash of everything that its verdicts depend on besides policy and content.
        second: The guard whose opinion it is configured to have weighed.
    """

    guard: LoadedGuard
    model: str
    identity: str
    second: Judge | None = None

    def key(self, row: Row, subject: Subject) -> Key:
        """Under which a verdict is kept."""
        policy = subject.policy
        band = "" if policy.reason_band is None else f" {policy.reason_band}"  # changes verdicts, not the policy
        return row.key, self.identity, policy.revision + band


@asynccontextmanager
async def judging(
    path: Path, name: str | None, n_policies: int, *, weights: Path | None = None
) -> AsyncIterator[Judge]:
    """A guard of a configuration, loaded, with the one whose opinion it has weighed.

    Args:
        path: The configuration.
        name: The guard; None: the one that rules get which name none.
        n_policies: How many policies it will be asked about.
        weights: For an encoder: another file, in place of the one that it has.

    Raises:
        ConfigError: There is no such guard, or it is unusable.
        JudgingError: It cannot be loaded.
    """
    guard = load_guard(path, name, n_policies, weights=weights)
    async with AsyncExitStack() as stack:
        second = None
        if guard.second_opinion is not None:
            second = await stack.enter_async_context(judging(path, guard.second_opinion, n_policies))
        stack.push_async_callback(guard.engine.close)
        yield await start(guard, second)


async def start(guard: LoadedGuard, second: Judge | None = None) -> Judge:
    """Load a guard.

    Raises:
        JudgingError: It cannot be loaded.
    """
    await guard.engine.start()
    if not await guard.engine.wait_ready(READY_TIMEOUT_S):
        raise JudgingError(f"guard {guard.name} is not ready: {guard.engine.last_error}")
    model = guard.engine.model
    return Judge(guard, model, revision_of(model, guard.settings), second)


async def judge_rows(
    judge: Judge,
    rows: Sequence[Row],
    subject: Subject,
    results: Results,
    *,
    at_once: int | None,
    timeout_s: float,
    waits: Waits | None = None,
) -> None:
    """Judge what is not judged yet, by the guard and by whose opinion it has weighed; a guard that is busy is waited for.

    Args:
        judge: The guard.
        rows: What it judges. Rows of the same content are judged once.
        subject: By what.
        results: Where verdicts are, and go.
        at_once: Rows that are judged at once; None: as many as suit the guard.
        timeout_s: Longest time for one row.
        waits: How long the guard is waited for.

    Raises:
        JudgingError: The guard has gone, so that nothing more can be judged.
        ResultsError: A result cannot be kept.
    """
    if judge.second is not None:
        await judge_rows(judge.second, rows, subject, results, at_once=at_once, timeout_s=timeout_s, waits=waits)
    todo = {key: row for row in rows if not results.settled(key := judge.key(row, subject))}
    most = at_once or most_at_once(judge.guard.config, 1)
    engine = PatientEngine(judge.guard.engine, at_once=most, waits=waits)
    policies = [subject.policy.for_guard()]
    work = iter(todo.items())

    async def worker(shown: Shown) -> None:
        for key, row in work:
            (entry,) = await engine.judge(row.passages, policies, deadline=time.monotonic() + timeout_s)
            if engine.lost is not None:
                raise JudgingError(
                    f"guard {judge.guard.name} judges nothing any more ({engine.lost}); what it has judged is kept, and the "
                    "same command goes on from there"
                )
            results.add(key, outcome(entry))
            shown.one_more()

    sys.stderr.write(f"{judge.guard.name}, {subject.policy.name}: {len(todo)} of {len(rows)} rows to judge\n")
    with progress("rows", len(todo)) as shown:
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(most, len(todo))):
                    group.create_task(worker(shown))
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None


@dataclass(slots=True)
class Gathered:
    """Scores while they are put together.

    Attributes:
        used: The scores that guards gave.
        failed: Rows without one, by code of the error; those whose error is `LEANING` have score 1 all the same.
    """

    ids: list[str] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    labels: list[bool] = field(default_factory=list)
    used: list[Score] = field(default_factory=list)
    failed: Counter[str] = field(default_factory=Counter)

    def take(self, row: Row, label: bool, score: Score | None, error: str | None) -> None:
        """Add what was said to a row."""
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
    gathered, honest = Gathered(), Gathered()
    for row, score, error in mapped(judge, rows, subject, results):
        if (label := row.violates(subject.label)) is not None:
            gathered.take(row, label, score, error)
    for row, score, error in mapped(judge, benign, subject, results):
        honest.take(row, False, score, error)
    notes = failures(gathered, honest)
    if is_in_sample(judge, subject, gathered.used, rows):
        notes.append(IN_SAMPLE)
    return Column(
        guard=judge.guard.name,
        policy=subject.policy.name,
        ids=gathered.ids,
        scores=np.array(gathered.scores, np.float64),
        violates=np.array(gathered.labels, np.bool_),
        benign=np.array(honest.scores, np.float64),
        failed=dict(gathered.failed),
        cost=_cost(gathered.used),
        about=about(judge.model, subject, gathered),
        notes=notes,
    )


IN_SAMPLE = "in-sample: the calibration was fitted on these rows"


def about(model: str, subject: Subject, gathered: Gathered) -> dict[str, Any]:
    """What belongs on record beside figures."""
    return {
        "model": model,
        "revision": subject.policy.revision,
        "label": subject.label,
        "calibrated": float(np.mean([score.calibrated for score in gathered.used])) if gathered.used else 0.0,
        "tiers": dict(Counter(score.tier.value for score in gathered.used)),
    }


def failures(gathered: Gathered, honest: Gathered) -> list[str]:
    """What a reader must know about rows without verdict."""
    notes = []
    if gathered.failed:
        left_out = sum(n for code, n in gathered.failed.items() if code not in LEANING)
        counted = sum(gathered.failed.values()) - left_out
        notes.append(f"{left_out} rows without verdict left out, {counted} refused by the guard and counted as caught")
    if honest.failed:
        notes.append(f"{sum(honest.failed.values())} benign rows without verdict")
    return notes


def is_in_sample(judge: Judge, subject: Subject, used: Sequence[Score], rows: Sequence[Row]) -> bool:
    """Whether a map by which scores were calibrated was fitted on the very rows."""
    maps = [_map_for(judge, subject, tier) for tier in sorted({score.tier for score in used})]
    known = data_hash(rows, subject)
    return any(c is not None and c.data.sha256 == known for c in maps)


def _map_for(judge: Judge, subject: Subject, tier: Tier) -> Calibration | None:
    """The map that the proxy would use."""
    second = judge.second.model if judge.second is not None else None
    revision, effort = subject.policy.revision, judge.guard.effort
    return find(subject.calibrations, revision, judge.model, tier, effort, second)


def mapped(
    judge: Judge, rows: Sequence[Row], subject: Subject, results: Results
) -> Iterator[tuple[Row, Score | None, str | None]]:
    """What was said to each row, as the proxy would have it: calibrated, or the code of an error."""
    for row in rows:
        if (result := results.by_key.get(judge.key(row, subject))) is None:
            continue
        score = result.score
        if score is None:
            yield row, None, result.error
            continue
        fitted = _map_for(judge, subject, score.tier)
        opinion = None
        if fitted is not None and fitted.second_opinion is not None:
            said = second_opinion(judge, row, subject, results)
            if said is None or said.score is None:
                yield row, None, EngineError.code if said is None else said.error
                continue
            opinion = said.score.evidence
        yield row, calibrated(score, fitted, judge.model, opinion), None


def second_opinion(judge: Judge, row: Row, subject: Subject, results: Results) -> Outcome | None:
    """What the guard said whose opinion is weighed; None where there is none, or it was not asked."""
    return None if judge.second is None else results.by_key.get(judge.second.key(row, subject))


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

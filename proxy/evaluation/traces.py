"""Recorded answers of a safeguard model, scored without running it.

One row per answer, in the formats of `proxy.evaluation.rows`::

    {"id": "t-1", "model": "gpt-oss-safeguard-20b", "policy": "spam", "trace": "…", "answer": "1", "label": 1}

Each model and policy becomes columns: the verdict alone, the verdict with the length of its trace (the prior of the
family), and a map that is fitted to the labels and measured out of fold; with a second opinion about the same texts another
map that weighs it. A model that has several policies over the same rows gets a column more, the mean of their length scores.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from models.engine import Score, Tier
from models.evidence import Evidence
from models.trace import length_score, read_trace
from proxy.evaluation import fitting
from proxy.evaluation.columns import Column
from proxy.evaluation.metrics import Scores
from proxy.evaluation.rows import Record, Row, RowError, read_records, read_row, truth
from rules.rule import Stage

N_FOLDS = 10
VERDICT, LENGTH, FITTED = "verdict", "length", "fitted"
HOW_FITTED = f"fitted on {N_FOLDS - 1} of {N_FOLDS} parts of the rows and measured on the rest, in turn"


@dataclass(frozen=True, slots=True)
class Traced:
    """One recorded answer.

    Attributes:
        id: Unique within model and policy.
        model: Who answered.
        policy: Against what.
        evidence: What was read from the answer.
        violates: What is right.
        others: Scores of other classifiers that were recorded beside it, by name of the field.
        row: What it answered to, where that was asked for.
    """

    id: str
    model: str
    policy: str
    evidence: Evidence
    violates: bool
    others: Mapping[str, float] = field(default_factory=dict)
    row: Row | None = None


def read_traces(
    paths: Sequence[Path], names: Mapping[str, str], others: Sequence[str] = (), *, with_rows: bool = False
) -> list[Traced]:
    """Read files of recorded answers.

    Args:
        paths: The files.
        names: Field of the file in place of one of ours.
        others: Fields with the score of another classifier.
        with_rows: Whether to read what was answered to; it must be there.

    Raises:
        RowError: A row cannot be used, or there are none.
    """
    traced = []
    seen: dict[tuple[str, str, str], str] = {}
    for path in paths:
        for record in read_records(path, names):
            row = _traced(record, others, with_rows)
            key = (row.model, row.policy, row.id)
            if key in seen:
                raise record.error(f"id: the same model, policy and id as in {seen[key]}")
            seen[key] = record.where
            traced.append(row)
    if not traced:
        raise RowError(f"{', '.join(map(str, paths))}: no rows")
    return traced


def _traced(record: Record, others: Sequence[str], with_rows: bool) -> Traced:
    fields = record.fields
    words = {name: fields.get(name, "") for name in ("trace", "answer", "model", "policy")}
    for name, value in words.items():
        if not isinstance(value, str):
            raise record.error(f"{name}: must be a text")
    if not words["trace"] and not words["answer"]:
        raise record.error("needs trace or answer")
    if fields.get("label") is None:
        raise record.error("label: is missing")
    recorded = {}
    for name in others:
        try:
            recorded[name] = float(fields[name])
        except (KeyError, TypeError, ValueError):
            raise record.error(f"{name}: must be a number") from None
        if not np.isfinite(recorded[name]):
            raise record.error(f"{name}: must be a finite number")
    return Traced(
        id=str(fields.get("id", record.where.rpartition(":")[2])),
        model=words["model"] or "recorded",
        policy=words["policy"] or "recorded",
        evidence=read_trace(words["trace"], words["answer"], cut=fields.get("cut") is True),
        violates=truth(record, "label", fields["label"]),
        others=recorded,
        row=read_row(record, Stage.INPUT) if with_rows else None,
    )


@dataclass(frozen=True, slots=True)
class Opinions:
    """What another guard says to the same contents.

    Attributes:
        guard: Its name.
        by_key: Its scores, with evidence, by key of the row.
    """

    guard: str
    by_key: Mapping[str, Score]


def columns_of(traced: Sequence[Traced], *, seed: int, opinions: Opinions | None = None) -> list[Column]:
    """All columns.

    Args:
        traced: Recorded answers.
        seed: Of the folds.
        opinions: Of a guard that is weighed beside them; for answers that were read with their rows.

    Raises:
        fitting.FitError: scikit-learn is missing.
    """
    fitting.check_installed()
    groups: dict[tuple[str, str], list[Traced]] = defaultdict(list)
    for row in traced:
        groups[row.model, row.policy].append(row)
    columns = []
    for (model, policy), rows in sorted(groups.items()):
        columns += _columns(model, policy, rows, seed, opinions)
    for model in sorted({model for model, _ in groups}):
        columns += _means(model, {policy: rows for (m, policy), rows in groups.items() if m == model})
    columns += _others(traced)
    columns += _second(traced, opinions)
    return columns


def _columns(model: str, policy: str, rows: Sequence[Traced], seed: int, opinions: Opinions | None) -> list[Column]:
    evidence = [row.evidence for row in rows]
    no_verdict = sum(e.violates is None for e in evidence)
    notes = (
        [f"{no_verdict} answers are no verdict; refusals and executed tasks count as violations"] if no_verdict else []
    )
    columns = [
        _column(model, policy, VERDICT, rows, np.array([float(e.leans_to_violation) for e in evidence]), notes),
        _column(
            model,
            policy,
            LENGTH,
            rows,
            np.array([length_score(e.leans_to_violation, e.n_chars) for e in evidence]),
            notes,
        ),
    ]
    second: list[Evidence | None] = [_opinion(row, opinions) for row in rows]
    ways: list[tuple[str, list[fitting.Pair]]] = [(FITTED, [(e, None) for e in evidence])]
    if opinions is not None and None not in second:
        ways.append((f"{FITTED} with {opinions.guard}", list(zip(evidence, second, strict=True))))
    for how, pairs in ways:
        try:
            scores = _out_of_fold(pairs, rows, seed)
        except fitting.FitError as e:
            columns[-1] = replace(columns[-1], notes=[*columns[-1].notes, f"nothing was fitted: {e}"])
            break
        columns.append(_column(model, policy, how, rows, scores, [*notes, HOW_FITTED]))
    return columns


def _opinion(row: Traced, opinions: Opinions | None) -> Evidence | None:
    if opinions is None or row.row is None or (score := opinions.by_key.get(row.row.key)) is None:
        return None
    return score.evidence


def _out_of_fold(pairs: Sequence[fitting.Pair], rows: Sequence[Traced], seed: int) -> Scores:
    names = fitting.features_of(Tier.REASONED, pairs)
    features = fitting.matrix(names, pairs)
    violates = np.array([row.violates for row in rows])
    groups = [row.id if row.row is None else row.row.key for row in rows]
    return fitting.out_of_fold(names, features, violates, groups, n_folds=N_FOLDS, seed=seed)


def _column(
    model: str, policy: str, how: str, rows: Sequence[Traced], scores: Scores, notes: Sequence[str] = ()
) -> Column:
    return Column(
        guard=f"{model} ({how})",
        policy=policy,
        ids=[row.id for row in rows],
        scores=scores,
        violates=np.array([row.violates for row in rows]),
        about={"model": model, "score": how, "calibrated": float(how.startswith(FITTED))},
        notes=notes,
    )


def _means(model: str, by_policy: Mapping[str, Sequence[Traced]]) -> list[Column]:
    """The mean of the length scores of all policies, where all have the same rows with the same labels."""
    labels = [{row.id: row.violates for row in rows} for rows in by_policy.values()]
    if len(labels) < 2 or any(other != labels[0] for other in labels[1:]):
        return []
    scores: dict[str, float] = defaultdict(float)
    for rows in by_policy.values():
        for row in rows:
            scores[row.id] += length_score(row.evidence.leans_to_violation, row.evidence.n_chars) / len(by_policy)
    first = next(iter(by_policy.values()))
    values = np.array([scores[row.id] for row in first])
    return [_column(model, f"mean of {len(labels)} policies", LENGTH, first, values)]


def _others(traced: Sequence[Traced]) -> list[Column]:
    """Scores of other classifiers, once per id."""
    by_id = {row.id: row for row in traced}
    rows = list(by_id.values())
    return [_recorded(name, rows, [row.others[name] for row in rows]) for name in traced[0].others]


def _second(traced: Sequence[Traced], opinions: Opinions | None) -> list[Column]:
    """The guard whose opinion is weighed, by itself."""
    if opinions is None:
        return []
    rows = {row.row.key: row for row in traced if row.row is not None and row.row.key in opinions.by_key}
    return [_recorded(opinions.guard, list(rows.values()), [opinions.by_key[key].value for key in rows])]


def _recorded(guard: str, rows: Sequence[Traced], scores: Sequence[float]) -> Column:
    """Scores as they are."""
    return Column(
        guard=guard,
        policy="recorded",
        ids=[row.id for row in rows],
        scores=np.array(scores),
        violates=np.array([row.violates for row in rows]),
        about={"score": guard, "calibrated": 0.0},
    )

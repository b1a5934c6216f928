"""Recorded answers of a model, scored without it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.engine import Score, Tier
from models.evidence import Evidence, Kind
from proxy.evaluation.columns import Column, measure
from proxy.evaluation.gated import gated_columns
from proxy.evaluation.rows import RowError
from proxy.evaluation.traces import FITTED, LENGTH, VERDICT, Opinions, columns_of, read_traces


def recorded(tmp_path: Path, *rows: dict[str, Any]) -> Path:
    path = tmp_path / "traces.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def answer(i: int, *, violates: bool, wrong: bool, n_chars: int, **more: Any) -> dict[str, Any]:
    said = "1" if violates != wrong else "0"
    return {
        "id": i,
        "model": "m",
        "policy": "p",
        "trace": "x" * n_chars,
        "answer": said,
        "label": int(violates),
        **more,
    }


def many(n: int = 200, **more: Any) -> list[dict[str, Any]]:
    """The longest tenth of the traces is wrong."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(n):
        n_chars = int(rng.integers(80, 2000))
        rows.append(answer(i, violates=bool(i % 3 == 0), wrong=n_chars > 1800, n_chars=n_chars, **more))
    return rows


def test_a_trace_becomes_evidence_and_keeps_no_text(tmp_path: Path) -> None:
    path = recorded(
        tmp_path,
        answer(1, violates=True, wrong=False, n_chars=100),
        {"trace": "openai policy: refuse", "answer": "I'm sorry, but I can't help with that.", "label": 1},
    )
    one, other = read_traces([path], {})
    assert (one.id, one.model, one.policy, one.violates) == ("1", "m", "p", True)
    assert (one.evidence.violates, one.evidence.n_chars) == (True, 100)
    assert (other.id, other.model, other.evidence.kind, other.evidence.n_drift_words) == (
        "2",
        "recorded",
        Kind.REFUSAL,
        2,
    )
    assert "sorry" not in repr(other)


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        pytest.param({"label": 1}, "needs trace or answer", id="no-answer"),
        pytest.param({"answer": "1"}, "label: is missing", id="no-label"),
        pytest.param({"answer": "1", "label": 3}, "label: must be 0 or 1", id="bad-label"),
        pytest.param({"answer": 1, "label": 1}, "answer: must be a text", id="answer-is-a-number"),
        pytest.param({"answer": "1", "label": 1, "other": "x"}, "other: must be a number", id="score-is-a-text"),
        pytest.param({"answer": "1", "label": 1}, "other: must be a number", id="score-is-missing"),
    ],
)
def test_a_bad_row_is_named_by_file_and_line(tmp_path: Path, row: dict[str, Any], complaint: str) -> None:
    path = recorded(tmp_path, answer(1, violates=True, wrong=False, n_chars=9, other=0.5), row)
    others = ["other"] if complaint.startswith("other") else []
    with pytest.raises(RowError, match=f"^{path}:2: {complaint}"):
        read_traces([path], {}, others)


def test_the_same_answer_twice_is_refused(tmp_path: Path) -> None:
    row = answer(1, violates=True, wrong=False, n_chars=9)
    with pytest.raises(RowError, match=":2: id: the same"):
        read_traces([recorded(tmp_path, row, row)], {})


def by_score(columns: list[Column]) -> dict[str, Column]:
    return {str(c.about["score"]): c for c in columns if c.policy in ("p", "recorded")}


def test_length_ranks_better_than_the_verdict_and_the_fitted_map_makes_probabilities(tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="the extra `calibrate` is not installed")
    path = recorded(tmp_path, *many(other=0.5))
    columns = by_score(columns_of(read_traces([path], {}, ["other"]), seed=0))
    assert set(columns) == {VERDICT, LENGTH, FITTED, "other"}
    figures = {name: measure(c, threshold=0.5, n_bootstrap=0, seed=0).figures for name, c in columns.items()}
    assert figures[VERDICT]["auroc"].value < figures[LENGTH]["auroc"].value
    assert figures[FITTED]["ece"].value < figures[LENGTH]["ece"].value
    assert figures["other"]["auroc"].value == 0.5


def test_several_policies_over_the_same_rows_have_a_mean_and_others_have_none(tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="the extra `calibrate` is not installed")
    p, q = many(60), many(60, policy="q")
    same = columns_of(read_traces([recorded(tmp_path, *p, *q)], {}), seed=0)
    (mean,) = [c for c in same if c.policy == "mean of 2 policies"]
    lengths = [c.scores for c in same if c.about["score"] == LENGTH and c.policy in ("p", "q")]
    assert mean.scores.tolist() == pytest.approx(np.mean(lengths, axis=0).tolist())
    fewer = columns_of(read_traces([recorded(tmp_path, *p, *q[1:])], {}), seed=0)
    assert not [c for c in fewer if c.policy.startswith("mean")]


def test_a_second_opinion_is_weighed_beside_the_trace_where_there_is_one_for_every_text(tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="the extra `calibrate` is not installed")
    path = recorded(tmp_path, *({**row, "text": f"Text {row['id']}."} for row in many()))
    traced = read_traces([path], {}, with_rows=True)
    rng = np.random.default_rng(1)
    by_key = {
        t.row.key: Score(
            0.5, Tier.ENCODER, evidence=Evidence(logit=float(rng.normal(2.0 if t.violates else -2.0, 1.5)))
        )
        for t in traced
        if t.row is not None
    }
    columns = by_score(columns_of(traced, seed=0, opinions=Opinions("small", by_key)))
    assert set(columns) == {VERDICT, LENGTH, FITTED, f"{FITTED} with small", "small"}
    auroc = {
        name: measure(c, threshold=0.5, n_bootstrap=0, seed=0).figures["auroc"].value for name, c in columns.items()
    }
    assert auroc[f"{FITTED} with small"] > max(auroc[FITTED], auroc["small"])
    fewer = dict(list(by_key.items())[1:])
    assert f"{FITTED} with small" not in by_score(columns_of(traced, seed=0, opinions=Opinions("small", fewer)))
    with pytest.raises(RowError, match=":1: has none of text"):
        read_traces([recorded(tmp_path, *many(2))], {}, with_rows=True)


def test_too_few_rows_have_no_fitted_column_and_a_note(tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="the extra `calibrate` is not installed")
    columns = columns_of(read_traces([recorded(tmp_path, *many(20))], {}), seed=0)
    assert [c.about["score"] for c in columns] == [VERDICT, LENGTH]
    assert "nothing was fitted: needs at least" in str(columns[1].notes)


def test_a_guard_in_front_of_recorded_answers_is_measured_as_a_cascade(tmp_path: Path) -> None:
    answers = [
        answer(i, violates=v, wrong=False, n_chars=100, text=f"text {i}")
        for i, v in enumerate([True, True, False, False])
    ]
    traced = read_traces([recorded(tmp_path, *answers)], {}, with_rows=True)
    keys = [row.row.key for row in traced if row.row is not None]
    said = [
        Score(0.1, Tier.ENCODER, n_tokens=5), Score(0.3, Tier.ENCODER, n_tokens=5),
        Score(0.1, Tier.ENCODER, n_tokens=5, pass_below=0.1),
    ]  # fmt: skip
    opinions = Opinions("gate", dict(zip(keys, said, strict=False)))
    (column,) = gated_columns(traced, opinions, threshold=0.5)
    assert (column.guard, column.policy) == ("gate then m (verdict)", "p")
    assert column.scores.tolist() == [0.1, 1.0, 0.0, 0.0]
    found = column.cascade
    assert found is not None
    assert found.configured.goes_on.value == 3 / 4, "in doubt, at its limit, and without an opinion"
    assert (found.configured.lost.value, found.n_failed) == (0.5, 1)
    assert np.isnan(found.configured.ms)


# Recorded answers of the real models (ToxicChat, three policies, medium effort): not part of this repository.

RECORDED = os.environ.get("SAFEGUARD_TRACES")
FIELDS = {"trace": "model_reasoning", "answer": "raw_model_response", "label": "toxicity", "id": "conv_id"}


@pytest.mark.skipif(RECORDED is None, reason="SAFEGUARD_TRACES names no file with recorded traces")
def test_the_published_traces_give_the_published_figures() -> None:
    pytest.importorskip("sklearn", reason="the extra `calibrate` is not installed")
    assert RECORDED is not None
    columns = columns_of(read_traces([Path(RECORDED)], FIELDS, ["openai_moderation_max"]), seed=0)
    auroc, ece = {}, {}
    for c in columns:
        figures = measure(c, threshold=0.5, n_bootstrap=0, seed=0).figures
        auroc[c.guard, c.policy], ece[c.guard, c.policy] = figures["auroc"].value, figures["ece"].value
    for policy, by_verdict, by_length in (
        ("toxic_simple", 0.796, 0.984),
        ("toxic_chat_claude_1", 0.695, 0.984),
        ("toxic_known_dataset", 0.851, 0.972),
    ):
        assert auroc["gpt-oss-safeguard-20b (verdict)", policy] == pytest.approx(by_verdict, abs=0.005)
        assert auroc["gpt-oss-safeguard-20b (length)", policy] == pytest.approx(by_length, abs=0.005)
        assert auroc["gpt-oss-safeguard-20b (fitted)", policy] >= by_length - 0.005
        assert (
            ece["gpt-oss-safeguard-20b (fitted)", policy] < 0.015 < 0.1 < ece["gpt-oss-safeguard-20b (length)", policy]
        )
    assert auroc["gpt-oss-safeguard-20b (length)", "mean of 3 policies"] == pytest.approx(0.986, abs=0.005)
    assert auroc["openai_moderation_max", "recorded"] == pytest.approx(0.944, abs=0.005)

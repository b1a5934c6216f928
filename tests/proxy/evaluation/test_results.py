"""The file of results: nothing that was finished is lost, nothing else is taken for a result."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from models.engine import Score, Tier
from models.errors import EngineError, EngineTimeout
from models.evidence import Evidence
from proxy.evaluation.results import Outcome, Results, ResultsError, outcome

KEY = ("row", "judge", "r1")
EVIDENCE = Evidence(logit=-1.25, violates=False, n_chars=40, n_tokens=9, n_drift_words=1)
SCORE = Score(0.25, Tier.REASONED, False, None, 9, 3.5, evidence=EVIDENCE)


def keep(path: Path, *results: tuple[tuple[str, str, str], Outcome]) -> None:
    with Results(path) as file:
        for key, result in results:
            file.add(key, result)


def test_what_was_kept_is_there_again(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    keep(path, (KEY, Outcome(SCORE)), (("other", "judge", "r1"), Outcome(None, "timeout")))
    with Results(path) as again:
        assert again.by_key == {KEY: Outcome(SCORE), ("other", "judge", "r1"): Outcome(None, "timeout")}
        assert (again.settled(KEY), again.settled(("other", "judge", "r1")), again.settled(("new", "", ""))) == (
            True,
            False,
            False,
        )


def test_a_result_is_in_the_file_when_add_returns(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    with Results(path) as file:
        file.add(KEY, Outcome(SCORE))
        assert json.loads(path.read_bytes())["score"] == 0.25


def test_the_later_of_two_results_counts(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    keep(path, (KEY, Outcome(None, "timeout")), (KEY, Outcome(SCORE)))
    with Results(path) as again:
        assert again.by_key == {KEY: Outcome(SCORE)}
    assert len(path.read_bytes().splitlines()) == 2


@pytest.mark.parametrize("cut", [1, 5, 30, -1], ids=lambda n: f"after-{n}")
def test_a_line_that_was_cut_off_is_dropped_and_the_next_one_is_whole(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "r.jsonl"
    keep(path, (KEY, Outcome(SCORE)))
    whole = path.read_bytes()
    path.write_bytes(whole + whole.replace(b'"row":"row"', b'"row":"two"')[:cut])
    keep(path, (("three", "judge", "r1"), Outcome(SCORE)))
    with Results(path) as again:
        assert set(again.by_key) == {KEY, ("three", "judge", "r1")}


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b'{"id": "a", "text": "labelled"}\n', id="rows"),
        pytest.param(b"some text without a line end", id="text"),
        pytest.param(b'{"row":"a","judge":"b","revision":"c"}\n', id="no-outcome"),
        pytest.param(b'{"row":1,"judge":"b","revision":"c","error":"x"}\n', id="key-of-another-type"),
        pytest.param(b'{"row":"a","judge":"b","revision":"c","error":1}\n', id="error-of-another-type"),
        pytest.param(b"\n", id="empty-line"),
    ],
)
def test_a_file_of_something_else_is_refused_and_left_as_it_is(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(data)
    with pytest.raises(ResultsError, match=rf"{path}:1: is not a result"):
        Results(path)
    assert path.read_bytes() == data


@pytest.mark.parametrize("score", ["1.5", "-0.1", "true", '"high"', "null"])
def test_a_score_outside_its_range_is_not_read(tmp_path: Path, score: str) -> None:
    path = tmp_path / "r.jsonl"
    keep(path, (KEY, Outcome(SCORE)))
    path.write_text(path.read_text().replace("0.25", score))
    with pytest.raises(ResultsError):
        Results(path)


def test_two_evaluations_do_not_write_into_one_file(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    with Results(path), pytest.raises(ResultsError, match="another evaluation"):
        Results(path)
    with Results(path):
        pass


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match=r"nowhere.*cannot be opened"):
        Results(tmp_path / "nowhere" / "r.jsonl")


def test_without_a_file_results_are_kept_in_memory() -> None:
    with Results(None) as file:
        file.add(KEY, Outcome(SCORE))
        assert file.settled(KEY)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        pytest.param(EngineTimeout("late"), Outcome(None, "timeout"), id="error"),
        pytest.param(Score(math.nan, Tier.DIRECT), Outcome(None, EngineError.code), id="no-number"),
        pytest.param(Score(1.2, Tier.DIRECT), Outcome(None, EngineError.code), id="no-probability"),
        pytest.param(
            Score(0.25, Tier.REASONED, False, "the model's words", 9, 3.5, evidence=EVIDENCE),
            Outcome(SCORE),
            id="rationale",
        ),
    ],
)
def test_what_is_kept_of_an_answer(entry: Score | EngineError, expected: Outcome) -> None:
    assert outcome(entry) == expected

"""Each content once, no content in two parts, each kind in its share."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from models.errors import ContentTooLong
from proxy.evaluation.rows import Row, RowError, read_rows
from proxy.tuning.splitting import Content, Contents, Part, check_counts, count, split, unique_contents

WORDS: dict[str, int] = {}


def encode(texts: Sequence[str]) -> list[list[int]]:
    """Reads as a tokeniser of an uncased model: case and spaces do not count."""
    if any("TOO LONG" in text for text in texts):
        raise ContentTooLong("too long")
    return [[WORDS.setdefault(word, len(WORDS)) for word in text.casefold().split()] for text in texts]


def rows_of(tmp_path: Path, *rows: Mapping[str, object]) -> list[Row]:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return read_rows([path])


def contents_of(tmp_path: Path, *rows: Mapping[str, object], labels: Sequence[str] = ("marks",)) -> Contents:
    return unique_contents(rows_of(tmp_path, *rows), labels, encode)


def texts(n: int, share: int = 4) -> list[dict[str, object]]:
    return [{"id": str(i), "text": f"row number {i}", "label": int(i % share == 0)} for i in range(n)]


def ids(contents: Sequence[Content]) -> set[str]:
    return {content.row.id for content in contents}


def test_a_content_that_reads_the_same_is_one_and_has_the_labels_of_all_its_rows(tmp_path: Path) -> None:
    found = contents_of(
        tmp_path,
        {"id": "a", "text": "A red  Door", "labels": {"marks": 1}},
        {"id": "b", "text": "a red door", "labels": {"fruit": 0}},
        {"id": "c", "text": "A RED DOOR", "labels": {"marks": 1}},
        {"id": "d", "text": "a blue door", "labels": {"other": 1}},
        labels=("marks", "fruit"),
    )
    (content,) = found.kept
    assert (content.row.id, content.labels, found.n_repeated) == ("a", {"marks": True, "fruit": False}, 2)
    assert (content.row.violates("marks"), content.row.violates("fruit"), content.row.violates("x")) == (
        True,
        False,
        None,
    )


def test_a_content_with_both_labels_is_left_out_and_named(tmp_path: Path) -> None:
    found = contents_of(
        tmp_path,
        {"id": "a", "text": "one", "label": 1},
        {"id": "b", "text": "ONE", "label": 0},
        {"id": "c", "text": "two", "label": 0},
    )
    assert (ids(found.kept), list(found.contradicting), found.n_repeated) == ({"c"}, ["a", "b"], 0)


def test_a_content_that_cannot_be_read_is_left_out_and_named(tmp_path: Path) -> None:
    found = contents_of(tmp_path, {"id": "a", "text": "TOO LONG", "label": 1}, {"id": "b", "text": "x", "label": 1})
    assert (ids(found.kept), list(found.unreadable)) == ({"b"}, ["a"])


def test_what_stands_before_as_context_makes_no_new_content(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "What?"}, {"role": "assistant", "content": "A lamp."}]
    found = contents_of(
        tmp_path,
        {"id": "a", "messages": turns, "stage": "output", "label": 0},
        {"id": "b", "text": "a lamp.", "stage": "output", "label": 0},
    )
    assert (ids(found.kept), found.n_repeated) == ({"a"}, 1)


def test_every_content_is_in_one_part_and_each_kind_in_its_share(tmp_path: Path) -> None:
    found = contents_of(tmp_path, *texts(400)).kept
    parts = split(found, validation=0.2, held_out=0.1, seed=3)
    assert sorted(map(len, parts.values())) == [40, 80, 280]
    assert set.union(*(ids(those) for those in parts.values())) == ids(found)
    assert sum(len(ids(those)) for those in parts.values()) == 400
    assert {part: count(those, "marks")[0] for part, those in parts.items()} == {
        Part.TRAINING: 70,
        Part.VALIDATION: 20,
        Part.HELD_OUT: 10,
    }


def test_the_seed_decides_and_not_the_order_of_the_rows(tmp_path: Path) -> None:
    forward = contents_of(tmp_path, *texts(100)).kept
    backward = contents_of(tmp_path, *reversed(texts(100))).kept

    def held_out(contents: Sequence[Content], seed: int) -> set[str]:
        return ids(split(contents, validation=0.2, held_out=0.2, seed=seed)[Part.HELD_OUT])

    assert held_out(forward, 0) == held_out(backward, 0)
    assert held_out(forward, 0) != held_out(forward, 1)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        pytest.param(texts(60, 2), "30 different contents that violate and 30 that do not", id="too few"),
        pytest.param(texts(1), "1 different contents that violate and 0 that do not", id="one row"),
        pytest.param(texts(300, 301), "1 different contents that violate and 299 that do not", id="one kind"),
    ],
)
def test_too_few_rows_of_a_kind_are_an_error_that_names_file_label_and_number(
    tmp_path: Path, rows: list[dict[str, object]], said: str
) -> None:
    parts = split(contents_of(tmp_path, *rows).kept, validation=0.2, held_out=0.2, seed=0)
    with pytest.raises(RowError) as raised:
        check_counts([Path("mine.jsonl")], ["marks"], parts, validation=0.2, held_out=0.2)
    assert said in str(raised.value)
    assert str(raised.value).startswith("mine.jsonl: label 'marks' has")
    assert "about 50 of each are needed" in str(raised.value)


def test_enough_rows_of_each_kind_are_no_error(tmp_path: Path) -> None:
    parts = split(contents_of(tmp_path, *texts(100, 2)).kept, validation=0.2, held_out=0.2, seed=0)
    check_counts([Path("mine.jsonl")], ["marks"], parts, validation=0.2, held_out=0.2)

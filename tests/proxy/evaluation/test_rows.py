"""Labelled rows: every format, and every complaint with file and line."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from proxy.evaluation.rows import Row, RowError, read_rows
from rules.rule import Stage


def read(tmp_path: Path, name: str, data: str | bytes, **more: object) -> list[Row]:
    path = tmp_path / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return read_rows([path], **more)  # type: ignore[arg-type]  # what a test gives


def texts(row: Row) -> list[tuple[str, str, bool]]:
    return [(p.surface, p.text, p.context) for p in row.passages]


def test_json_lines_with_text_messages_and_labels(tmp_path: Path) -> None:
    rows = read(
        tmp_path,
        "rows.jsonl",
        '{"text": "A pear.", "label": 1}\n\n'
        '{"id": 7, "stage": "output", "labels": {"fruit": 0, "music": true}, "colour": "red", "messages": '
        '[{"role": "user", "content": "What is it?"}, {"role": "assistant", "content": "A lamp."}]}\r\n'
        '{"id": "x", "prompt": "Name one.", "completion": "A fig.", "stage": "output"}',
    )
    assert [(r.id, r.stage, r.label) for r in rows] == [
        ("1", Stage.INPUT, True),
        ("7", Stage.OUTPUT, None),
        ("x", Stage.OUTPUT, None),
    ]
    assert texts(rows[0]) == [("user", "A pear.", False)]
    assert texts(rows[1]) == [("user", "What is it?", True), ("assistant", "A lamp.", False)]
    assert texts(rows[2]) == [("user", "Name one.", True), ("assistant", "A fig.", False)]
    assert [rows[1].violates(name) for name in ("fruit", "music", "other")] == [False, True, None]
    assert [rows[0].violates(name) for name in ("fruit", "music")] == [True, True]


def test_csv_with_line_ends_inside_a_cell_and_a_column_of_labels(tmp_path: Path) -> None:
    rows = read(
        tmp_path,
        "rows.csv",
        '\ufeffid,text,label,labels.fruit,note\na,"Two\nlines",1,,x\nb,"A ""plum""",,false,\n',
    )
    assert [(r.id, texts(r)[0][1], r.label, dict(r.labels)) for r in rows] == [
        ("a", "Two\nlines", True, {}),
        ("b", 'A "plum"', None, {"fruit": False}),
    ]


def test_a_compressed_file_and_fields_of_other_names(tmp_path: Path) -> None:
    line = b'{"conv": 12, "user_input": "Hi", "toxicity": 0}\n'
    rows = read(
        tmp_path, "rows.jsonl.gz", gzip.compress(line), names={"id": "conv", "text": "user_input", "label": "toxicity"}
    )
    assert [(r.id, texts(r), r.label) for r in rows] == [("12", [("user", "Hi", False)], False)]


def test_a_label_for_the_policy_wins_over_the_one_for_all(tmp_path: Path) -> None:
    (row,) = read(tmp_path, "r.jsonl", '{"text": "a", "label": 1, "labels": {"fruit": 0}}')
    assert (row.violates("fruit"), row.violates("music")) == (False, True)


def test_rows_are_the_same_if_and_only_if_content_and_stage_are(tmp_path: Path) -> None:
    rows = read(
        tmp_path,
        "r.jsonl",
        '{"text": "a", "label": 1}\n{"text": "a", "label": 0}\n{"text": "b"}\n{"text": "a", "stage": "output"}\n'
        '{"messages": [{"role": "user", "content": "a"}]}\n{"messages": [{"role": "system", "content": "a"}]}',
    )
    keys = [r.key for r in rows]
    assert keys[0] == keys[1] == keys[4]
    assert len(set(keys)) == 4


def test_the_stage_of_rows_that_do_not_say(tmp_path: Path) -> None:
    (row,) = read(tmp_path, "r.jsonl", '{"text": "a"}', stage=Stage.OUTPUT)
    assert (row.stage, texts(row)) == (Stage.OUTPUT, [("assistant", "a", False)])


@pytest.mark.parametrize(
    ("name", "data", "complaint"),
    [
        pytest.param("r.jsonl", '{"text": "a"}\n{', ":2: not valid JSON", id="no-json"),
        pytest.param("r.jsonl", "[1]", ":1: not a JSON object", id="no-object"),
        pytest.param("r.jsonl", b"\xff", ":1: the line is not UTF-8", id="no-utf-8"),
        pytest.param("r.jsonl", '{"text": "a", "text": "b"}', ":1: ", id="key-twice"),
        pytest.param("r.jsonl", '{"label": 1}', ":1: has none of text", id="nothing-to-judge"),
        pytest.param("r.jsonl", '{"text": "a", "messages": []}', ":1: has text and messages", id="two-forms"),
        pytest.param("r.jsonl", '{"text": 7}', ":1: text: ", id="text-is-a-number"),
        pytest.param("r.jsonl", '{"text": ""}', ":1: there is nothing to judge", id="empty"),
        pytest.param("r.jsonl", '{"text": "a\\ud800"}', ":1: text: ", id="half-a-character"),
        pytest.param("r.jsonl", '{"text": "a", "stage": "middle"}', ":1: stage: must be one of input, output", id="stage"),
        pytest.param("r.jsonl", '{"text": "a", "label": 2}', ":1: label: must be 0 or 1", id="label"),
        pytest.param("r.jsonl", '{"text": "a", "label": 0.5}', ":1: label: must be 0 or 1", id="half-a-label"),
        pytest.param("r.jsonl", '{"text": "a", "labels": {"x": "no"}}', ":1: labels.x: must be 0 or 1", id="label-of-one"),
        pytest.param("r.jsonl", '{"text": "a", "labels": [1]}', ":1: labels: ", id="labels-are-a-list"),
        pytest.param("r.jsonl", '{"text": "a", "id": []}', ":1: id: ", id="id-is-a-list"),
        pytest.param("r.jsonl", '{"text": "a", "id": "a\\nb"}', ":1: id: ", id="id-of-two-lines"),
        pytest.param("r.jsonl", '{"text": "a", "id": 1}\n{"text": "b", "id": "1"}', ":2: id: the same as in ", id="id-twice"),
        pytest.param("r.jsonl", '{"messages": [{"role": "x", "content": "y"}]}', ":1: messages[0].role: ", id="role"),
        pytest.param(
            "r.jsonl", '{"messages": [{"role": "user", "content": "y"}], "stage": "output"}', ":1: messages[0].role: ",
            id="no-answer",
        ),
        pytest.param(
            "r.jsonl",
            '{"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://a/b"}}]}]}',
            ":1: messages[0].content[0]: cannot be read", id="picture",
        ),
        pytest.param("r.csv", "text,label\na\n", ":2: 1 cells, the header has 2", id="csv-short"),
        pytest.param("r.csv", "text,text\na,b\n", ":1: two columns have the same name", id="csv-column-twice"),
        pytest.param("r.csv", 'text\n"a\n', ":2: not CSV", id="csv-open-quote"),
        pytest.param("r.csv", 'text,label\n"a\nb",1\nc,maybe\n', ":4: label: must be 0 or 1", id="csv-line-after-two-line-cell"),
        pytest.param("r.csv", b"text\n\xff\n", ": not UTF-8", id="csv-no-utf-8"),
        pytest.param("r.jsonl", "", ": no rows", id="no-rows"),
        pytest.param("r.csv", "text,label\n", ": no rows", id="header-only"),
        pytest.param("r.jsonl.gz", b"plain", ": cannot be read", id="no-gzip"),
    ],
)  # fmt: skip
def test_a_bad_row_is_named_by_file_and_line(tmp_path: Path, name: str, data: str | bytes, complaint: str) -> None:
    with pytest.raises(RowError) as caught:
        read(tmp_path, name, data)
    assert str(caught.value).startswith(f"{tmp_path / name}{complaint}"), caught.value
    assert len(str(caught.value).splitlines()) == 1


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RowError, match=r"nowhere\.jsonl: cannot be read"):
        read_rows([tmp_path / "nowhere.jsonl"])


def test_a_field_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RowError, match=r":1: user_input: missing"):
        read(tmp_path, "r.jsonl", '{"text": "a"}', names={"text": "user_input"})


def test_complaints_and_reprs_quote_no_content(tmp_path: Path) -> None:
    with pytest.raises(RowError) as caught:
        read(tmp_path, "r.jsonl", '{"text": "ZQ-MARK-7781\\u0000", "label": 1}')
    assert "ZQ-MARK" not in str(caught.value)
    (row,) = read(tmp_path, "r.jsonl", '{"text": "ZQ-MARK-7781", "label": 1}')
    assert "ZQ-MARK" not in repr(row)

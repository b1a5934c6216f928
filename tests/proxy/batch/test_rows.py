"""Rows of JSON lines and CSV, and what is none."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from proxy.batch.rows import Format, InputError, Reading, Row, Source, survey
from rules.rule import Stage

JSONL = Reading(Format.JSONL, Stage.INPUT, max_row_bytes=500)
CSV = Reading(Format.CSV, Stage.INPUT, max_row_bytes=500)


def rows(data: bytes, how: Reading) -> list[Row]:
    return list(Source(io.BytesIO(data), how).rows())


def text_of(row: Row) -> str | None:
    return None if row.sample is None else "|".join(leaf.text for leaf in row.sample.content.leaves)


def seen(data: bytes, how: Reading) -> list[tuple[int, int, object, str | None, str | None]]:
    return [(r.number, r.line, r.id, text_of(r), r.problem) for r in rows(data, how)]


def test_lines_are_rows_and_blank_lines_are_none() -> None:
    data = b'{"id": "a", "text": "one"}\n\n  \r\n{"id": 7, "prompt": "two"}\r\n{"messages": [{"role": "user", "content": "three"}]}'
    assert seen(data, JSONL) == [
        (1, 1, "a", "one", None),
        (2, 4, 7, "two", None),
        (3, 5, None, "three", None),
    ]


def test_line_separators_of_unicode_do_not_end_a_row() -> None:
    assert [text_of(row) for row in rows('{"text": "a\u2028b\x85c"}\n'.encode(), JSONL)] == ["a\u2028b\x85c"]


@pytest.mark.parametrize("how", [JSONL, CSV], ids=["jsonl", "csv"])
def test_a_byte_order_mark_is_not_part_of_the_first_row(how: Reading) -> None:
    data = {Format.JSONL: b'{"text": "x"}', Format.CSV: b"text\nx\n"}[how.format]
    assert [text_of(row) for row in rows(b"\xef\xbb\xbf" + data, how)] == ["x"]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        pytest.param(b"SECRET", "is not JSON: Expecting value (column 1)", id="no-json"),
        pytest.param(b'"SECRET"', "must be a JSON object", id="a-string"),
        pytest.param(b'["SECRET"]', "must be a JSON object", id="a-list"),
        pytest.param(b'{"text": "SECRET", "text": "b"}', "is not JSON: a key stands twice", id="key-twice"),
        pytest.param(b'{"text": "SECRET", "a": {"b": 1, "b": 2}}', "is not JSON: a key stands twice", id="deep-twice"),
        pytest.param(b'{"text": "SECRET", "a": NaN}', "is not JSON: NaN is no number", id="nan"),
        pytest.param(b'{"text": "SECRET", "a": ' + b"1" * 4400 + b"}", "is longer than 500 bytes", id="long"),
        pytest.param(b'{"text": "SECRET\xff"}', "is not UTF-8 (byte 16)", id="not-utf8"),
        pytest.param(b'{"text": "SECRET"} {}', "is not JSON: Extra data (column 20)", id="two-on-a-line"),
        pytest.param(b'{"text": "SECRET', "is not JSON: Unterminated string starting at (column 10)", id="torn"),
        pytest.param(b'{"a": ' + b"[" * 480, "is not JSON: Expecting value (column 487)", id="deep"),
        pytest.param(b'{"text": 5}', "text: must be a string", id="a-number"),
        pytest.param(b'{"other": "SECRET"}', "has none of text, messages, prompt", id="no-form"),
        pytest.param(b'{"text": "a", "prompt": "SECRET"}', "has text and prompt, so it is not clear what to judge", id="two"),
        pytest.param(b'{"text": "\\ud83d SECRET"}', "text: contains an unpaired surrogate", id="half-a-character"),
        pytest.param(b'{"text": "\\u0007 SECRET"}', "text: contains a control character", id="control"),
        pytest.param(b'{"id": 1.5, "text": "SECRET"}', "id: must be a text of at most 200 characters or a whole number", id="id"),
        pytest.param(b'{"id": "\\ud83d", "text": "x"}', "id: must be a text of at most 200 characters or a whole number", id="odd-id"),
    ],
)  # fmt: skip
def test_what_is_no_row_has_a_problem_that_quotes_nothing(line: bytes, problem: str) -> None:
    found = rows(b'{"text": "before"}\n' + line + b'\n{"text": "after"}\n', JSONL)
    assert [(r.line, text_of(r)) for r in found] == [(1, "before"), (2, None), (3, "after")]
    assert found[1].problem == problem
    assert "SECRET" not in repr(found)


def test_nesting_and_numbers_beyond_measure_are_problems_and_no_crash() -> None:
    wide = Reading(Format.JSONL, Stage.INPUT)
    assert rows(b"[" * 200_000, wide)[0].problem == "is nested too deeply"
    assert rows(b'{"a": ' + b"1" * 5000 + b"}", wide)[0].problem == "has a number of too many digits"
    assert rows(b'{"text": "x", "tweet": 1455555555555555555}', wide)[0].problem is None


def test_columns_are_fields() -> None:
    data = b'id,prompt,completion,more\r\n1,"two\r\nlines, and ""quotes""",c,x\r\n\r\n2,p,,y\r\n'
    assert seen(data, CSV) == [
        (1, 2, "1", 'two\r\nlines, and "quotes"', None),
        (2, 5, "2", "p", None),
    ]
    answers = Reading(Format.CSV, Stage.OUTPUT)
    assert [text_of(row) for row in rows(data, answers)] == ["c", ""]


def test_the_field_to_judge_and_the_field_that_names_a_row_can_be_chosen() -> None:
    chosen = Reading(Format.CSV, Stage.INPUT, text_field="body", id_field="key")
    assert seen(b"key,body,text\nk,b,t\n", chosen) == [(1, 2, "k", "b", None)]
    chosen = Reading(Format.JSONL, Stage.INPUT, text_field="body", id_field="key")
    assert seen(b'{"key": "k", "body": "b", "text": "t"}\n{"text": "t"}\n{"body": 1}\n', chosen) == [
        (1, 1, "k", "b", None),
        (2, 2, None, None, "has no field 'body'"),
        (3, 3, None, None, "body: must be a string"),
    ]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        pytest.param(b"id,text\n1,a\n2\n3,b\n", "has 1 columns, the header has 2", id="too-few"),
        pytest.param(b"id,text\n1,a\n2,SECRET,x\n3,b\n", "has 3 columns, the header has 2", id="too-many"),
        pytest.param(b"id,text\n1,a\n2,SECRET\xe9\n3,b\n", "is not UTF-8", id="latin-1"),
        pytest.param(b"id,text\n1,a\n2,SECRET\x07\n3,b\n", "text: contains a control character", id="control"),
    ],
)
def test_a_record_that_is_no_row_has_a_problem(data: bytes, problem: str) -> None:
    found = rows(data, CSV)
    assert [(r.line, r.problem) for r in found] == [(2, None), (3, problem), (4, None)]
    assert "SECRET" not in repr(found)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(b"", "has no header line that names its columns", id="empty"),
        pytest.param(b"\n", "has no header line that names its columns", id="blank"),
        pytest.param(b"id,body\n1,x\n", "has no column 'text' or 'messages' or 'prompt' or 'completion'; --text-field names the one to judge (columns: id, body)", id="no-text"),
        pytest.param(b"id,text,text\n", "column 'text' stands twice", id="twice"),
        pytest.param(b"id,id,text\n", "column 'id' stands twice", id="id-twice"),
        pytest.param("id,text\n".encode("utf-16"), "is not UTF-8", id="utf-16"),
        pytest.param(b'id,text\n1,a\n2,"SECRET\n3,b\n', "line 4: not CSV: unexpected end of data", id="open-quote"),
        pytest.param(b'id,text\n1,"a"SECRET\n', "line 2: not CSV: ',' expected after '\"'", id="odd-quote"),
        pytest.param(b"id,text\n1," + b"x" * 600 + b"\n", "line 2: is longer than 500 bytes", id="long-line"),
        pytest.param(b'id,text\n1,"' + b"xxxx\n" * 200 + b'"\n', "line 102: not CSV: field larger than field limit (500)", id="long-field"),
    ],
)  # fmt: skip
def test_a_csv_file_whose_rows_nobody_can_tell_is_not_read_further(data: bytes, message: str) -> None:
    with pytest.raises(InputError) as caught:
        rows(data, CSV)
    assert str(caught.value) == message


def test_rows_before_the_end_of_what_can_be_read_are_rows() -> None:
    source = Source(io.BytesIO(b'text\na\n"b\n'), CSV).rows()
    assert text_of(next(source)) == "a"
    with pytest.raises(InputError):
        next(source)


def test_a_survey_says_what_an_input_is(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    good, bad = b'{"text": "x"}\n', b"{}\n"
    path.write_bytes(good + bad * 7 + good)
    found = survey(path, JSONL)
    assert (found.n_rows, found.n_bad) == (9, 7)
    assert [line for line, _ in found.bad] == [2, 3, 4, 5, 6]
    with path.open("rb") as file:
        source = Source(file, JSONL)
        assert len(list(source.rows())) == 9
        assert source.sha256 == found.sha256
    path.write_bytes(good + bad * 7 + good + b"\n")
    assert survey(path, JSONL).sha256 != found.sha256


@pytest.mark.parametrize(
    ("data", "how"),
    [
        (b'{"text": "a"}\n\n{"text": 1}\n{\n' + b"x" * 600 + b'\n{"text": "b"}\n', JSONL),
        (b'id,text\n1,a\n\n2,b,c\n3,"two\nlines"\n4,\xff\n5,e\n', CSV),
    ],
    ids=["jsonl", "csv"],
)
def test_the_rows_after_some_are_what_they_are_among_all_and_the_whole_input_is_hashed(
    data: bytes, how: Reading
) -> None:
    whole = Source(io.BytesIO(data), how)
    every = list(whole.rows())
    assert len(every) == 5
    for n in range(len(every) + 2):
        rest = Source(io.BytesIO(data), how)
        assert list(rest.rows(after=n)) == every[n:]
        assert rest.sha256 == whole.sha256


def test_what_was_judged_is_kept_as_it_was_given() -> None:
    given = {"id": "a", "messages": [{"role": "user", "content": "x"}], "other": 1}
    (row,) = rows(json.dumps(given).encode(), JSONL)
    assert row.given == {"messages": given["messages"]}
    assert row.size == 1

"""JSON that means one thing only."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.strict_json import JsonError, check_text, dump_json, parse_json, parse_json_text


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        pytest.param(b'{"messages":[1],"messages":[2]}', "duplicate_key", id="A01-top-level"),
        pytest.param(b'{"a":{"b":[{"c":1,"c":2}]}}', "duplicate_key", id="A01-nested"),
        pytest.param(b'{"content":1,"\\u0063ontent":2}', "duplicate_key", id="A02-escaped"),
        pytest.param(b'{"\xc3\xa9":1,"\\u00e9":2}', "duplicate_key", id="A02-escaped-accent"),
        pytest.param(b'{"":1,"":2}', "duplicate_key", id="A02-empty-key"),
        pytest.param(b'{"a":1}{"a":2}', "invalid_json", id="A04-two-objects"),
        pytest.param(b'{"a":1}\n{"a":2}\n', "invalid_json", id="A04-ndjson"),
        pytest.param(b'{"a":1}\x00', "invalid_json", id="A04-trailing-nul"),
        pytest.param(b'{"a":1}]', "invalid_json", id="A04-trailing-bracket"),
        pytest.param(b'{"a":1}\x1e', "invalid_json", id="A04-record-separator"),
        pytest.param(b'{"a":1}\xc2\xa0', "invalid_json", id="A04-no-break-space"),
        pytest.param('{"a":1}'.encode("utf-16"), "invalid_encoding", id="A05-utf-16-with-mark"),
        pytest.param('{"a":1}'.encode("utf-16-le"), "invalid_json", id="A05-utf-16le"),
        pytest.param('{"a":1}'.encode("utf-32-be"), "invalid_json", id="A05-utf-32be"),
        pytest.param(b'\xef\xbb\xbf{"a":1}', "invalid_encoding", id="A05-byte-order-mark"),
        pytest.param(b'{"a":"\xff"}', "invalid_encoding", id="A13-not-utf-8"),
        pytest.param(b'{"a":"\xed\xa0\x80"}', "invalid_encoding", id="A13-surrogate-as-bytes"),
        pytest.param(b'{"a":"\xc0\xaf"}', "invalid_encoding", id="A13-overlong"),
        pytest.param(b'{"a":NaN}', "invalid_number", id="A12-nan"),
        pytest.param(b'{"a":-Infinity}', "invalid_number", id="A12-infinity"),
        pytest.param(b'{"a":1e400}', "invalid_number", id="A12-overflow"),
        pytest.param(b'{"a":9007199254740993}', "invalid_number", id="A12-beyond-2-to-53"),
        pytest.param(b'{"a":-9007199254740993}', "invalid_number", id="A12-below-minus-2-to-53"),
        pytest.param(b'{"a":' + b"9" * 5000 + b"}", "invalid_number", id="A12-5000-digits"),
        pytest.param(b'{"a":01}', "invalid_json", id="A12-leading-zero"),
        pytest.param(b'{"a":+1}', "invalid_json", id="A12-plus-sign"),
        pytest.param(b'{"a":0x10}', "invalid_json", id="A12-hexadecimal"),
        pytest.param(b'{"a":"\n"}', "invalid_json", id="raw-line-end-in-string"),
        pytest.param(b'{"a":"\x00"}', "invalid_json", id="raw-nul-in-string"),
        pytest.param(b"{'a':1}", "invalid_json", id="single-quotes"),
        pytest.param(b'{"a":1,}', "invalid_json", id="trailing-comma"),
        pytest.param(b'{"a":1/**/}', "invalid_json", id="comment"),
        pytest.param(b"", "invalid_json", id="A18-empty"),
        pytest.param(b"[" * 100_000, "too_deep", id="too-deep"),
        pytest.param(b'{"a":' * 100_000, "too_deep", id="too-deep-objects"),
    ],
)
def test_what_two_parsers_could_read_differently_is_refused(raw: bytes, code: str) -> None:
    with pytest.raises(JsonError) as caught:
        parse_json(raw)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        pytest.param(b' {"a" : [1, -2.5, true, null, "x"]}\r\n', {"a": [1, -2.5, True, None, "x"]}, id="white-space"),
        pytest.param(b'{"a":9007199254740992}', {"a": 2**53}, id="2-to-53"),
        pytest.param(b'{"a":-9007199254740992}', {"a": -(2**53)}, id="minus-2-to-53"),
        pytest.param(b'{"a":1.0}', {"a": 1.0}, id="float"),
        pytest.param(b'{"a":"\\ud83d\\ude00"}', {"a": "\N{GRINNING FACE}"}, id="surrogate-pair"),
        pytest.param(b'{"a":{"b":1},"c":{"b":1}}', {"a": {"b": 1}, "c": {"b": 1}}, id="same-key-in-two-objects"),
        pytest.param(b'{"Messages":1,"messages":2}', {"Messages": 1, "messages": 2}, id="A16-case-matters"),
        pytest.param(b'"bare"', "bare", id="A17-the-caller-checks-the-top"),
    ],
)
def test_json_with_one_meaning_is_read(raw: bytes, value: Any) -> None:
    assert parse_json(raw) == value


def test_a_complaint_never_quotes_content() -> None:
    for raw in (b'{"secret words here":1,"secret words here":2}', b'{"a": secret}', b'{"a": "secret'):
        with pytest.raises(JsonError) as caught:
            parse_json(raw)
        assert "secret" not in str(caught.value)


def test_a_complaint_about_a_duplicate_names_an_ordinary_key() -> None:
    with pytest.raises(JsonError, match="duplicate key 'model'"):
        parse_json(b'{"model":"a","model":"b"}')


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param("a\x00b", "control character", id="nul"),
        pytest.param("a\x1bb", "control character", id="escape"),
        pytest.param("a\ud800b", "unpaired surrogate", id="high-surrogate"),
        pytest.param("\udc00", "unpaired surrogate", id="low-surrogate"),
    ],
)
def test_strings_without_a_safe_reading_are_told(text: str, problem: str) -> None:
    assert problem in (check_text(text) or "")


@pytest.mark.parametrize("text", ["", "plain", "tab\tline\r\n", "é\N{GRINNING FACE}\u200b\u2028\x7f\x85"])
def test_ordinary_strings_have_no_problem(text: str) -> None:
    assert check_text(text) is None


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(_JSON)
def test_what_is_written_reads_as_what_was_judged(value: Any) -> None:
    assert parse_json(dump_json(value)) == value


@given(st.text(max_size=40))
def test_any_text_is_json_or_a_json_error(text: str) -> None:
    with contextlib.suppress(JsonError):
        parse_json_text(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


def outcome(parse: Any, raw: bytes) -> tuple[str, Any]:
    try:
        return "value", repr(parse(raw))
    except JsonError as e:
        return "error", e.code


@given(JSON, st.booleans(), st.data())
def test_the_quick_way_reads_exactly_what_the_strict_one_reads(value: Any, compact: bool, data: st.DataObject) -> None:
    text = json.dumps(value, separators=(",", ":") if compact else None, ensure_ascii=data.draw(st.booleans()))
    raw = bytearray(text.encode("utf-8", "surrogatepass"))
    for _ in range(data.draw(st.integers(0, 2))):  # damage: a byte that JSON cares about, anywhere
        raw.insert(data.draw(st.integers(0, len(raw))), data.draw(st.sampled_from(b'{}[],:"\\0e-. \xc3\xff')))

    def strictly(given: bytes) -> Any:
        return parse_json(b" " + given)  # with a blank before it no text is what we would write for it

    assert outcome(parse_json, bytes(raw)) == outcome(strictly, bytes(raw))

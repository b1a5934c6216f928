"""Escapes, decoded where they stand."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.detectors import escapes
from rules.detectors.escapes import decode_escapes, spells_words
from rules.errors import TooMuchToDecode
from tests.rules.detectors.encodings import ESCAPES


@pytest.mark.parametrize(
    ("text", "decoded"),
    [
        pytest.param("a%20b", "a b", id="percent"),
        pytest.param("%D0%BC%D0%B8%D1%80", "мир", id="percent-utf-8"),
        pytest.param("caf%E9 %F0%9F%98%80", "café 😀", id="percent-latin-1"),
        pytest.param("%u005aQ", "ZQ", id="percent-u"),
        pytest.param("&lt;b&gt; &amp; &eacute;", "<b> & é", id="named-entities"),
        pytest.param("&#90;&#x51;&#0045", "ZQ-", id="numeric-entities"),
        pytest.param(r"\u005aQ \x5A\u{51}", "ZQ ZQ", id="backslash"),
        pytest.param(r"\\u005a", "Z", id="backslash-doubled"),
        pytest.param("".join("\\" * 64 + f"u{ord(c):04x}" for c in "ZQ-M"), "ZQ-M", id="backslash-doubled-six-times"),
        pytest.param(r"\ud83d\ude00 \ud83d", "😀 \ufffd", id="surrogates"),
        pytest.param(r"\x5a\u0051", "ZQ", id="mixed"),
        pytest.param("%25%32%30", "%20", id="one-layer-only"),
        pytest.param("M&#1;K", "MK", id="nothing"),
        pytest.param("&#xFFFFFFFFF;", "\ufffd", id="beyond-unicode"),
    ],
)
def test_escapes_are_decoded_where_they_stand(text: str, decoded: str) -> None:
    view = decode_escapes(text)
    assert view is not None
    assert view.text == decoded
    assert view.raw == text


@pytest.mark.parametrize(
    "text",
    ["100 % sure", "5%", "AT&T & co", "a & b;", r"C:\users\x", "%zz", "&unknown-thing;", "&foobarbaz;", "", "\\" * 50],
)
def test_what_is_no_escape_stays(text: str) -> None:
    assert decode_escapes(text) is None


@pytest.mark.parametrize("encode", ESCAPES.values(), ids=ESCAPES)
@given(
    before=st.text("aé😀 İ\u0301", max_size=5),
    marked=st.text(min_size=1, max_size=8),
    after=st.text("aé😀 -", max_size=5),
)
@settings(max_examples=60)
def test_each_character_maps_to_exactly_its_escape(encode: object, before: str, marked: str, after: str) -> None:
    assert callable(encode)
    marked = "".join(c for c in marked if c.isalnum()) or "x"
    view = decode_escapes(before + encode(marked) + after)
    assert view is not None
    assert view.text == before + marked + after
    for i, char in enumerate(marked):
        start, end = view.to_raw(len(before) + i, len(before) + i + 1)
        assert view.raw[start:end] == encode(char)
    for i in range(len(before)):
        assert view.to_raw(i, i + 1) == (i, i + 1)
    assert view.to_raw(0, len(view.text)) == (0, len(view.raw))


@given(st.text(st.sampled_from("%&#;\\uUx{}0Af5d8D9a t"), max_size=40))
def test_whatever_stands_there_the_map_covers_the_text(text: str) -> None:
    view = decode_escapes(text)
    if view is not None and view.text:
        ranges = [view.to_raw(i, i + 1) for i in range(len(view.text))]
        assert all(0 <= start < end <= len(text) for start, end in ranges)
        assert [start for start, _ in ranges] == sorted(start for start, _ in ranges)
        assert list(view.index) == [start for start, _ in ranges]


def test_more_escapes_than_are_decoded_leave_a_text_undecided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(escapes, "MAX_ESCAPES", 3)
    assert decode_escapes("%20 " * 3) is not None
    with pytest.raises(TooMuchToDecode):
        decode_escapes("%20 " * 4)
    with pytest.raises(TooMuchToDecode):
        decode_escapes("&lt;" * 4)


@pytest.mark.parametrize(
    ("text", "does"),
    [
        pytest.param("a%20b &amp; it&#39;s &eacute;t&eacute; \\u2019", False, id="habits"),
        pytest.param("b%6fm", True, id="percent"),
        pytest.param(r"\u0431", True, id="letters-of-another-script"),
        pytest.param("plain", False, id="plain"),
    ],
)
def test_only_letters_and_digits_are_worth_a_reading(text: str, does: bool) -> None:
    assert spells_words(text) is does

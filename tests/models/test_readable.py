"""What of a text an encoder reads."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.readable import known, readable

UNKNOWN = 9


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("plain words, 100 %", "plain words, 100 %"),
        ("naïve Ümlaut, it’s “so”", "naïve Ümlaut, it’s “so”"),
        ("bomb\U0001f44d now", "bomb  now"),
        ("a\U0001f468\u200d\U0001f469\u200d\U0001f467b", "a b"),
        ("a\u2502b", "a b"),
        ("5\u20ac", "5 "),
        ("bomb\u0628 x", "bomb \u0628 x"),
        ("\u0436bomb", "\u0436 bomb"),
        ("\u041f\u0440\u0438\u0432\u0435\u0442", "\u041f\u0440\u0438\u0432\u0435\u0442"),
    ],
)
def test_symbols_are_blanks_and_scripts_stand_apart(text: str, read: str) -> None:
    assert readable(text) == read


@given(st.text())
def test_no_letter_or_digit_is_lost(text: str) -> None:
    assert [c for c in readable(text) if c.isalnum()] == [c for c in text if c.isalnum() and c in readable(c)]


@given(st.text(alphabet=st.characters(categories=["L", "N", "P", "Z"])))
def test_only_symbols_are_lost(text: str) -> None:
    assert readable(text).replace(" ", "") == text.replace(" ", "")


@pytest.mark.parametrize(
    ("ids", "left"),
    [
        ([], []),
        ([1, 2], [1, 2]),
        ([1, UNKNOWN, 2], [1, 2]),
        ([1, UNKNOWN], [1]),
        ([1, UNKNOWN, UNKNOWN], [1, UNKNOWN, UNKNOWN]),
        ([UNKNOWN], [UNKNOWN]),
    ],
)
def test_unknown_words_are_left_out_while_they_are_not_most_of_a_text(ids: list[int], left: list[int]) -> None:
    assert known(ids, UNKNOWN) == left

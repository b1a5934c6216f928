from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.cutting import MAX_PIECE_CHARS, TextCutter

SPELLINGS = ("<|end|>", "<|endoftext|>", "<|start|>", "<|reserved_1|>", "<|reserved_10|>", "[SEP]", "<<")


def cut(text: str) -> list[str]:
    return list(TextCutter(SPELLINGS).pieces(text))


@given(st.lists(st.sampled_from([*SPELLINGS, "<", "|", "<|", "end|>", "a", " ", "\n"])).map("".join))
def test_pieces_join_to_the_text_and_spell_nothing_special(text: str) -> None:
    pieces = cut(text)
    assert "".join(pieces) == text
    assert all(pieces)
    assert not any(spelling in piece for piece in pieces for spelling in SPELLINGS)


def test_spellings_that_overlap_are_all_cut() -> None:
    assert list(TextCutter(["ab!", "b!c"]).pieces("ab!c")) == ["a", "b", "!c"]


def test_ordinary_text_is_one_piece() -> None:
    assert cut("Just a text with <tags> and |bars|.") == ["Just a text with <tags> and |bars|."]


def test_no_text_is_no_piece() -> None:
    assert cut("") == []


def test_long_text_is_cut_between_words() -> None:
    pieces = cut("some words, and more. " * 500)
    assert all(len(piece) <= MAX_PIECE_CHARS for piece in pieces)
    assert all(piece.startswith(" ") and piece[1].isalpha() for piece in pieces[1:])


@pytest.mark.parametrize("unit", ["a", " ", "\n", "字", "<|", "<|en", "<|end|>", "<|reserved_", "a "])
def test_a_megabyte_of_anything_is_cut_in_a_second(unit: str) -> None:
    text = unit * (1_000_000 // len(unit))
    started = time.process_time()
    pieces = cut(text)
    assert time.process_time() - started < 2.0
    assert "".join(pieces) == text
    assert max(map(len, pieces)) <= MAX_PIECE_CHARS


def test_a_vocabulary_without_special_tokens_cuts_nothing() -> None:
    assert list(TextCutter([]).pieces("<|end|>")) == ["<|end|>"]

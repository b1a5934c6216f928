"""Masked values put back into an answer: whole, in pieces, and in JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.restoring import Restoration
from rules.content import Content, Leaf, LeafKind, Surface
from rules.detectors import Span, apply_edits, merge_spans
from rules.rewrite import Masker
from tests.fakes import WordDetector

TABLE = {"<EMAIL_1>": "a@b.io", "<EMAIL_12>": 'c"\\\n@d.io'}
WORDS = ("ANNA", "BEN", "<X_1>", "A<")


@given(
    st.lists(st.sampled_from([*WORDS, "AN", "NA", "<", "<X_", "1>", "2>", " ", "é"]), max_size=15).map("".join),
    st.lists(st.integers(0, 200), max_size=12),
)
def test_what_was_masked_comes_back_however_the_text_is_cut(text: str, places: list[int]) -> None:
    masker = Masker()
    content = Content((Leaf(("messages", 0, "content"), Surface.USER, text),))
    masker.reserve(content, frozenset({"X"}))
    spans = merge_spans(Span(s.start, s.end, "X") for word in WORDS for s in WordDetector(word).find(text))
    masked = apply_edits(text, masker.edits(text, [], spans))
    restoration = Restoration(masker.originals)
    assert restoration.text(masked) == text
    bounds = [0, *sorted(p % (len(masked) + 1) for p in places), len(masked)]
    pieces = [masked[a:b] for a, b in zip(bounds, bounds[1:], strict=False)]
    assert "".join(restoration.piece("k", p) for p in pieces[:-1]) + restoration.last_piece("k", pieces[-1]) == text


def test_channels_are_put_back_apart() -> None:
    restoration = Restoration(TABLE)
    assert restoration.piece(0, "to <EMA") == "to "
    assert restoration.piece(1, "IL_1>") == "IL_1>"
    assert restoration.piece(0, "IL_1> ") == "a@b.io "
    assert restoration.last_piece(0, "<EMAIL_1") == "<EMAIL_1"
    assert restoration.last_piece(2, "") == ""


def test_without_a_table_nothing_is_held_back() -> None:
    restoration = Restoration()
    assert restoration.piece(0, "<EMAIL_1") == "<EMAIL_1"
    assert restoration.last_piece(0, "<") == "<"
    assert restoration.text("<EMAIL_1>") == restoration.json_text("<EMAIL_1>") == "<EMAIL_1>"


@pytest.mark.parametrize(
    "spelled", ["<EMAIL_12>", "\\u003cEMAIL_12\\u003e", "\\u003CEMAIL_12\\u003E"], ids=["plain", "escaped", "capitals"]
)
def test_json_stays_json_and_says_the_value(spelled: str) -> None:
    restored = Restoration(TABLE).json_text(f'{{"to": "{spelled}", "<EMAIL_1>": [1.50]}}')
    assert json.loads(restored) == {"to": TABLE["<EMAIL_12>"], "a@b.io": [1.5]}
    assert "1.50" in restored


def test_json_that_was_cut_off_takes_json_spellings_and_free_text_none() -> None:
    restoration = Restoration(TABLE)
    assert restoration.json_text('{"a": "<EMAIL_12>') == '{"a": "c\\"\\\\\\n@d.io'
    assert restoration.json_text("mail <EMAIL_12>") == "mail " + TABLE["<EMAIL_12>"]


def test_only_texts_of_the_answer_are_put_back() -> None:
    word = "<EMAIL_1>"
    body: dict[str, Any] = {"model": word, "choices": [{"a": word, word: word, "args": f'["{word}"]', "sent": word}]}
    leaves = (
        Leaf(("model",), Surface.METADATA, word),
        Leaf(("choices", 0, "a"), Surface.ASSISTANT, word),
        Leaf(("choices", 0, word), Surface.ASSISTANT, word, LeafKind.KEY),
        Leaf(("choices", 0, "args"), Surface.TOOL_CALL, f'["{word}"]', is_json=True),
        Leaf(("choices", 0, "args"), Surface.TOOL_CALL, word, LeafKind.DERIVED),
        Leaf(("choices", 0, "sent"), Surface.ASSISTANT, word),
    )
    assert Restoration(TABLE).into_answer(body, Content(leaves), [("choices", 0, "sent")])
    assert body == {"model": word, "choices": [{"a": "a@b.io", word: word, "args": '["a@b.io"]', "sent": word}]}
    assert not Restoration(TABLE).into_answer(body, Content(leaves[:1]))
    assert not Restoration().into_answer(body, Content(leaves))


def test_nothing_of_the_values_is_shown() -> None:
    restoration = Restoration({"<X_1>": "secret"})
    restoration.piece(0, "<X")
    assert "secret" not in repr(restoration)


def test_thousands_of_json_texts_share_one_table() -> None:
    """Each made its own of all values: hours."""
    restoration = Restoration({f"<EMAIL_{i}>": f"{i}@b.io" for i in range(20_000)})
    texts = [restoration.json_text(f'["\\u003cEMAIL_{i}\\u003e"]') for i in range(5_000)]
    assert texts == [f'["{i}@b.io"]' for i in range(5_000)]


def test_what_is_left_out_later_stays_a_placeholder_also_where_it_was_held_back() -> None:
    both = '["<EMAIL_1>", "\\u003cEMAIL_1\\u003e", "<X_1>"]'
    for first in (both, "[]"):  # the table for JSON is there already, or not yet
        restoration = Restoration({"<EMAIL_1>": "a@b.io", "<X_1>": "x"})
        restoration.json_text(first)
        assert restoration.piece(0, "to <EMAIL_") == "to "
        restoration.narrow({"<X_1>": "x", "<X_2>": "from elsewhere"})
        assert restoration.piece(0, "1> and <X_1> ") == "<EMAIL_1> and x "
        assert restoration.text("<EMAIL_1><X_1><X_2>") == "<EMAIL_1>x<X_2>"
        assert json.loads(restoration.json_text(both)) == ["<EMAIL_1>", "<EMAIL_1>", "x"]
        restoration.narrow({})
        assert restoration.text("<X_1>") == restoration.last_piece(1, "<X_1>") == "<X_1>"
        assert json.loads(restoration.json_text('["<X_1>"]')) == ["<X_1>"]

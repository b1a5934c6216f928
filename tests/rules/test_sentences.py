"""Where sentences end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.sentences import sentences


def cut(text: str) -> list[str]:
    return [text[a:b] for a, b in sentences(text)]


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param(["One. ", "Two! ", "Three? ", "Four"], id="marks"),
        pytest.param(["One...  ", "Two?! ", "Three\u2026 ", "Four."], id="runs-of-marks"),
        pytest.param(["One\n", "Two\n\n ", "Three\r\n", "Four"], id="lines"),
        pytest.param(['He said "no." ', "(She did.) ", "\u201eGut.\u201c ", "So"], id="closing-quotes"),
        pytest.param(["\u4f60\u597d\u3002", "\u4e16\u754c\uff01", "\u300c\u662f\u3002\u300d", "\u597d"], id="chinese"),
        pytest.param(["\u0645\u0631\u062d\u0628\u0627\u061f ", "\u0928\u092e\u0938\u094d\u0924\u0947\u0964 ", "x"], id="arabic-and-hindi"),
        pytest.param(["It costs 3.50 at a.example.com/x?y=1 today. ", "Fine."], id="dots-inside"),
        pytest.param(["Dr. Who met Mrs. J. Smith of ACME Inc. Then, e.g. in the U.S. Army, he left. ", "Bye."], id="abbreviations"),
        pytest.param(["So did I. ", "You too."], id="a-word-of-one-letter"),
        pytest.param(["  One. ", "Two.  "], id="white-space-around"),
        pytest.param(["no end at all"], id="one"),
        pytest.param([" \n "], id="blank"),
        pytest.param([], id="empty"),
    ],
)  # fmt: skip
def test_a_text_is_cut_behind_its_sentences(parts: list[str]) -> None:
    assert cut("".join(parts)) == parts


@given(st.text(st.sampled_from("aA .!?\n\r\"')3\u3002\u300d\u2026"), max_size=60))
def test_sentences_lie_side_by_side_and_none_is_empty(text: str) -> None:
    parts = cut(text)
    assert "".join(parts) == text
    assert all(parts)
    assert all(part.strip() for part in parts) or len(parts) == 1


@pytest.mark.parametrize(
    "text",
    ["." * 300_000 + "x", "\n " * 150_000, "e.g. \r " * 50_000, ".)" * 150_000, "a." * 150_000],
    ids=["dots", "blank-lines", "abbreviations", "closing", "words"],
)
def test_a_hostile_text_is_cut_in_linear_time(text: str) -> None:
    assert sum(b - a for a, b in sentences(text)) == len(text)

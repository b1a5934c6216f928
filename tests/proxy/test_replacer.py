"""Words replaced in a text that comes in pieces."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from proxy.replacer import Replacer, replaced

TABLE = {"<EMAIL_1>": "a@b.io", "<EMAIL_12>": "c@d.io", "aab": "X"}


def cut(text: str, places: list[int]) -> list[str]:
    bounds = [0, *sorted(p % (len(text) + 1) for p in places), len(text)]
    return [text[a:b] for a, b in zip(bounds, bounds[1:], strict=False)]


@given(
    st.lists(st.sampled_from([*TABLE, "<EMAIL_", "1", "2>", ">", "<", "a", "b", "é", " "]), max_size=12).map("".join),
    st.lists(st.integers(0, 200), max_size=12),
)
def test_the_result_does_not_depend_on_how_the_text_is_cut(text: str, places: list[int]) -> None:
    replacer = Replacer(TABLE)
    out = "".join(replacer.feed(piece) for piece in cut(text, places)) + replacer.flush()
    assert (
        out
        == replaced(text, TABLE)
        == re.sub("|".join(sorted(map(re.escape, TABLE), key=len, reverse=True)), lambda m: TABLE[m.group()], text)
    )


def test_only_an_end_that_can_become_a_word_is_held_back() -> None:
    replacer = Replacer(TABLE)
    assert [replacer.feed(piece) for piece in ("to <", "EMA", "IL_1", "> and <x", "> or <EMAIL_3", "!")] == [
        "to ", "", "", "a@b.io and <x", "> or <EMAIL_3", "!",
    ]  # fmt: skip
    assert replacer.flush() == ""


def test_what_is_held_back_at_the_end_leaves_as_it_is() -> None:
    replacer = Replacer(TABLE)
    assert (replacer.feed("x <EMAIL_1"), replacer.flush()) == ("x ", "<EMAIL_1")


def test_a_replacer_shows_no_text() -> None:
    replacer = Replacer({"secret": "word"})
    replacer.feed("sec")
    assert "sec" not in repr(replacer)


def test_nothing_to_replace_changes_nothing() -> None:
    assert replaced("abc", {}) == "abc"

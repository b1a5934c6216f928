"""Words replaced in a text that comes in pieces."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from proxy.replacer import Replacer, Replacers, Words

TABLE = {"<EMAIL_1>": "a@b.io", "<EMAIL_12>": "c@d.io", "aab": "X", "aabbé": "Y"}
WORDS = Words(TABLE)


def cut(text: str, places: list[int]) -> list[str]:
    bounds = [0, *sorted(p % (len(text) + 1) for p in places), len(text)]
    return [text[a:b] for a, b in zip(bounds, bounds[1:], strict=False)]


@given(
    st.lists(st.sampled_from([*TABLE, "<EMAIL_", "1", "2>", ">", "<", "a", "b", "é", " "]), max_size=12).map("".join),
    st.lists(st.integers(0, 200), max_size=12),
)
def test_the_result_does_not_depend_on_how_the_text_is_cut(text: str, places: list[int]) -> None:
    replacer = Replacer(WORDS)
    out = "".join(replacer.feed(piece) for piece in cut(text, places)) + replacer.flush()
    assert (
        out
        == WORDS.replaced(text)
        == re.sub("|".join(sorted(map(re.escape, TABLE), key=len, reverse=True)), lambda m: TABLE[m.group()], text)
    )


def test_only_an_end_that_can_become_a_word_is_held_back() -> None:
    replacer = Replacer(WORDS)
    assert [replacer.feed(piece) for piece in ("to <", "EMA", "IL_1", "> and <x", "> or <EMAIL_3", "!")] == [
        "to ", "", "", "a@b.io and <x", "> or <EMAIL_3", "!",
    ]  # fmt: skip
    assert replacer.flush() == ""


def test_what_is_held_back_at_the_end_leaves_as_it_is() -> None:
    replacer = Replacer(WORDS)
    assert (replacer.feed("x <EMAIL_1"), replacer.flush()) == ("x ", "<EMAIL_1")


def test_a_replacer_shows_no_text() -> None:
    replacer = Replacer(Words({"secret": "word"}))
    replacer.feed("sec")
    assert "sec" not in repr(replacer)


def test_nothing_to_replace_changes_nothing() -> None:
    assert Words({}).replaced("abc") == "abc"
    assert Replacers[int](Words({})).feed(0, "abc") == "abc"


def test_one_letter_words_are_words() -> None:
    assert Words({"a": "b", "b": "a"}).replaced("abba") == "baab"


def test_words_that_begin_in_many_ways_are_found() -> None:
    table = {f"{chr(0x4E00 + i)}.{i}": str(i) for i in range(100)}
    assert Words(table).replaced(" ".join(table)) == " ".join(table.values())


class Counted(str):
    """A word that counts how often a text is held against it."""

    calls = 0

    def startswith(self, *args: Any) -> bool:
        Counted.calls += 1
        return super().startswith(*args)


def test_thousands_of_words_cost_a_piece_no_more_than_one() -> None:
    """Every piece was held against every word, for each of the places near its end."""
    table: dict[str, str] = {Counted(f"<EMAIL_{i}>"): "x" for i in range(5_000)}
    replacer = Replacer(Words(table))
    pieces = [piece for word in table for piece in (word[:-1], word[-1], " < and ")]
    Counted.calls = 0
    out = "".join(map(replacer.feed, pieces)) + replacer.flush()
    assert out == "x < and " * len(table)
    assert Counted.calls <= 2 * len(pieces)


def test_a_text_with_thousands_of_words_is_read_once() -> None:
    """For each word that stands in it all that follows was copied, and every word tried: most of an hour."""
    table = {f"<EMAIL_{i}>": "x" for i in range(1_000_000)}
    assert Words(table).replaced(" ".join(table)) == " ".join("x" * len(table))

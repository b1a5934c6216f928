"""The held stream as lists: pieces in, what is to be judged, what leaves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.hold import MAX_FACTOR, MAX_UNJUDGED_WINDOWS, MAX_WORD_CHARS, MIN_FACTOR, Hold, StreamMode, TooLate
from rules.content import Leaf, Surface
from rules.decision import Verdict, decide
from rules.detectors import Edit, apply_edits, mask_edits
from rules.detectors.patterns import PatternDetector
from rules.rule import Stage
from tests.fakes import text_rule

MARK = "ZQ-MARK-7781"


def hold(window: int = 10, overlap: int = 4, mode: StreamMode = StreamMode.WINDOW) -> Hold:
    return Hold(mode, window, overlap)


def add(held: Hold, text: str, key: str = "a", surface: Surface = Surface.ASSISTANT) -> None:
    held.add(key, ("choices", key), surface, text)


def judged(held: Hold) -> list[str]:
    """The texts that a check shows, its loose ones last."""
    return [leaf.text for leaf in held.check().content.leaves]


def passes(held: Hold, edits: dict[int, Sequence[Edit]] | None = None) -> list[tuple[object, str]]:
    return list(held.passed(held.check(), edits or {}))


# ---------------------------------------------------------------------- window


def test_nothing_asks_for_a_verdict_before_a_window_is_full() -> None:
    held = hold(window=10)
    add(held, "123456789")
    assert not held.wants_verdict
    add(held, "0")
    assert held.wants_verdict


def test_all_but_the_overlap_leaves_after_a_verdict() -> None:
    held = hold(window=10, overlap=4)
    add(held, "0123456789")
    assert judged(held) == ["0123456789"]
    assert passes(held) == [("a", "012345")]
    assert not held.wants_verdict


def test_the_next_check_shows_what_is_held_and_as_much_of_what_has_left() -> None:
    held = hold(window=10, overlap=4)
    add(held, "0 2345678 ")
    passes(held)
    add(held, "abcdefghij")
    assert judged(held) == ["2345678 abcdefghij"]
    assert [leaf.before for leaf in held.check().content.leaves] == ["0 "]
    assert passes(held) == [("a", "678 abcdef")]


@pytest.mark.parametrize("before_chars", [None, 0, 25])
def test_a_check_shows_as_much_of_what_stands_before_it_as_guards_read(before_chars: int | None) -> None:
    held = Hold(StreamMode.WINDOW, 10, 4, before_chars)
    text = "".join(f"word{number:03} " for number in range(100))
    for i in range(0, len(text), 16):
        add(held, text[i : i + 16])
        (leaf,) = held.check().content.leaves
        stands_before = text[: i + 16].removesuffix(leaf.text)
        assert leaf.before == (
            stands_before if before_chars is None else stands_before[-before_chars:] * bool(before_chars)
        )
        passes(held)


def test_a_check_begins_and_ends_between_words() -> None:
    held = hold(window=10, overlap=4)
    add(held, "some words and ha")
    assert judged(held) == ["some words and "]
    assert passes(held) == [("a", "some words ")]
    add(held, "lf a word")
    assert judged(held) == ["words and half a "]


def test_a_check_takes_a_word_that_has_no_end() -> None:
    held = hold(window=100, overlap=4)
    add(held, "words " + "x" * (MAX_WORD_CHARS + 1))
    assert judged(held) == ["words " + "x" * (MAX_WORD_CHARS + 1)]


@settings(max_examples=200)
@given(st.text("ab ", max_size=300), st.integers(1, 40), st.integers(0, 40), st.integers(1, 30))
def test_every_check_gets_on_and_shows_no_half_word_that_has_left(
    text: str, window: int, overlap: int, size: int
) -> None:
    held = hold(window, overlap)
    for i in range(0, len(text), size):
        add(held, text[i : i + size])
        while held.wants_verdict:
            before = held.unjudged
            [(_, start, _)] = held.check().channels
            assert start == 0 or text[start - 1] == " " or " " not in text[start - MAX_WORD_CHARS : start]
            passes(held)
            assert held.unjudged < before


def test_text_that_came_after_a_check_does_not_leave_with_it() -> None:
    held = hold(window=10, overlap=0)
    add(held, "0123456789")
    check = held.check()
    add(held, "abc")
    assert held.passed(check, {}) == [("a", "0123456789")]
    assert held.unjudged == 3


def test_one_channel_fills_a_window_and_all_are_judged_and_leave_apart() -> None:
    held = hold(window=10, overlap=2)
    add(held, "01234", "a", Surface.REASONING)
    add(held, "abcde", "b")
    assert not held.wants_verdict
    add(held, "fghij", "b")
    assert held.wants_verdict
    assert [(leaf.surface, leaf.text) for leaf in held.check().content.leaves] == [
        ("reasoning", "01234"),
        ("assistant", "abcdefghij"),
    ]
    assert passes(held) == [("a", "012"), ("b", "abcdefgh")]


def test_a_guard_reads_little_more_than_the_text_however_many_choices_there_are() -> None:
    held = hold(window=400, overlap=200)
    shown = 0
    for i in range(40_000):
        add(held, "word ", str(i % 100))
        if held.wants_verdict:
            shown += sum(map(len, judged(held)))
            passes(held)
    assert shown < 3 * 40_000 * len("word ")


def test_loose_strings_are_judged_once() -> None:
    held = hold()
    held.add_loose([Leaf(("model",), Surface.METADATA, "m"), Leaf(("model",), Surface.METADATA, "m")])
    add(held, "0123456789")
    assert judged(held) == ["0123456789", "m"]
    passes(held)
    add(held, "0123456789")
    assert "m" not in judged(held)


def test_in_a_buffer_nothing_leaves_and_nothing_is_asked() -> None:
    held = hold(mode=StreamMode.BUFFER)
    add(held, "x" * 1000)
    assert not held.wants_verdict
    assert held.at_once() == []


# ---------------------------------------------------------------------- edits


def test_an_edit_leaves_in_place_of_what_it_masks() -> None:
    held = hold(window=10, overlap=2)
    add(held, "to a@b.c now!! ")
    assert passes(held, {0: [Edit(3, 8, "<EMAIL_1>")]}) == [("a", "to <EMAIL_1> now!")]
    add(held, "0123456789")
    assert judged(held) == ["now!! 0123456789"]
    assert held.channels["a"].whole() == "to <EMAIL_1> now!! 0123456789"


def test_what_an_edit_begins_in_is_held_as_a_whole() -> None:
    held = hold(window=10, overlap=2)
    add(held, "to 4111 1111 ")
    assert passes(held, {0: [Edit(3, 12, "<CARD_1>")]}) == [("a", "to ")]
    add(held, "1111 ok  ")
    assert judged(held) == ["to 4111 1111 1111 ok  "]
    assert passes(held, {0: [Edit(3, 17, "<CARD_1>")]}) == [("a", "<CARD_1> ok")]


def test_an_edit_of_what_has_left_is_too_late() -> None:
    held = hold(window=10, overlap=2)
    add(held, "0123456789")
    passes(held)
    add(held, "0123456789")
    with pytest.raises(TooLate):
        passes(held, {0: [Edit(1, 4, "x")]})


def test_an_edit_of_a_loose_string_is_too_late() -> None:
    held = hold()
    held.add_loose([Leaf(("model",), Surface.METADATA, "m")])
    add(held, "0123456789")
    with pytest.raises(TooLate):
        passes(held, {1: [Edit(0, 1, "x")]})


# ---------------------------------------------------------------------- deliver_first


def test_in_deliver_first_everything_leaves_at_once_and_is_judged_afterwards() -> None:
    held = hold(window=10, overlap=3, mode=StreamMode.DELIVER_FIRST)
    add(held, "0123456")
    assert held.at_once() == [("a", "0123456")]
    assert held.at_once() == []
    add(held, "789")
    assert held.at_once() == [("a", "789")]
    assert held.wants_verdict
    assert judged(held) == ["0123456789"]
    assert passes(held) == []
    add(held, " bc")
    held.at_once()
    assert judged(held) == ["0123456789 "]


def test_in_deliver_first_reading_waits_once_too_much_is_unjudged() -> None:
    held = hold(window=10, mode=StreamMode.DELIVER_FIRST)
    add(held, "x" * (10 * MAX_UNJUDGED_WINDOWS - 1))
    assert not held.must_wait
    add(held, "x")
    assert held.must_wait


def test_what_has_left_cannot_be_edited_in_deliver_first() -> None:
    held = hold(window=4, mode=StreamMode.DELIVER_FIRST)
    add(held, "0123")
    held.at_once()
    with pytest.raises(TooLate):
        passes(held, {0: [Edit(1, 2, "x")]})


# ---------------------------------------------------------------------- the window follows the score


@dataclass
class Scores:
    held: Hold = field(default_factory=lambda: hold(window=100, overlap=10))

    def __call__(self, score: float, refuse: float | None = None, flag: float | None = None) -> float:
        self.held.adapt(decide(Stage.OUTPUT, [Verdict(text_rule("p", refuse=refuse, flag=flag), score)]))
        return self.held.factor


def test_the_window_grows_near_a_threshold_and_shrinks_far_below() -> None:
    after = Scores()
    assert after(0.7, refuse=0.9) == 2.0
    assert after(0.4, refuse=0.9) == 2.0
    assert after(0.1, refuse=0.9) == 1.0
    assert [after(0.0, refuse=0.9) for _ in range(5)][-1] == MIN_FACTOR
    assert [after(0.89, refuse=0.9) for _ in range(9)][-1] == MAX_FACTOR


def test_a_score_that_only_flags_does_not_move_the_window() -> None:
    after = Scores()
    assert after(0.7, flag=0.7) == 0.5


def test_near_a_threshold_more_text_is_held_back() -> None:
    after = Scores()
    add(after.held, "x" * 100)
    after(0.8, refuse=0.9)
    assert passes(after.held) == [("a", "x" * 80)]


# ---------------------------------------------------------------------- the promise


PIECES = st.lists(
    st.sampled_from(["ZQ", "-", "MARK", "77", "81", "Z", "Q", "M", " ", "word ", MARK, MARK[:7], MARK[7:], "é"]),
    max_size=30,
)


@settings(max_examples=300)
@given(PIECES, st.integers(1, 30), st.integers(len(MARK), 40), st.booleans())
def test_no_part_of_a_match_leaves_and_what_leaves_is_the_masked_text(
    pieces: list[str], window: int, overlap: int, one_by_one: bool
) -> None:
    text = "".join(pieces)
    detector = PatternDetector(patterns=[MARK])
    held = hold(window, overlap)
    numbers: dict[tuple[str, str], int] = {}
    out = ""

    def check() -> str:
        now = held.check()
        found = {
            i: mask_edits(leaf.text, detector.find(leaf.text), numbers) for i, leaf in enumerate(now.content.leaves)
        }
        return "".join(piece for _, piece in held.passed(now, {i: e for i, e in found.items() if e}))

    for piece in text if one_by_one else pieces:
        add(held, piece)
        if held.wants_verdict:
            out += check()
            assert MARK not in out
    # the end of the stream: what is held leaves after the last verdict
    if "a" in held.channels:
        channel = held.channels["a"]
        whole = channel.whole()
        out += apply_edits(whole, mask_edits(whole, detector.find(whole), numbers))[channel.sent :]
    assert out == text.replace(MARK, "<PATTERN_1>")


def test_a_long_text_in_small_pieces_is_not_copied_over_and_over() -> None:
    held = hold(window=400, overlap=200, mode=StreamMode.BUFFER)
    for _ in range(200_000):
        add(held, "abcde")
    assert held.channels["a"].end == 1_000_000
    assert held.channels["a"].whole() == "abcde" * 200_000


def test_a_hold_shows_no_text() -> None:
    held = hold()
    add(held, "secret words")
    held.add_loose([Leaf(("model",), Surface.METADATA, "secret model")])
    assert "secret" not in repr(held)
    assert "secret" not in repr(held.check())

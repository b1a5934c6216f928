from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.detectors import KINDS, Span, apply_edits, build_detector, mask_edits, merge_spans
from rules.errors import PolicyError


def mask(text: str, spans: list[Span], numbers: dict[tuple[str, str], int]) -> str:
    return apply_edits(text, mask_edits(text, spans, numbers))


SPANS = st.lists(
    st.builds(
        lambda a, b, label: Span(min(a, b), max(a, b), label),
        st.integers(0, 40),
        st.integers(0, 40),
        st.sampled_from("AB"),
    )
)


@given(SPANS)
def test_merged_spans_are_sorted_apart_and_cover_the_same_characters(spans: list[Span]) -> None:
    merged = merge_spans(spans)
    assert all(a.end <= b.start for a, b in itertools.pairwise(merged))
    covered = {i for s in spans for i in range(s.start, s.end)}
    assert {i for s in merged for i in range(s.start, s.end)} == covered


def test_the_longest_of_overlapping_spans_gives_the_label() -> None:
    assert merge_spans([Span(0, 3, "A"), Span(2, 9, "B"), Span(8, 10, "C")]) == [Span(0, 10, "B")]


def test_spans_that_touch_stay_apart() -> None:
    assert merge_spans([Span(3, 6, "A"), Span(0, 3, "A")]) == [Span(0, 3, "A"), Span(3, 6, "A")]


def test_the_same_value_keeps_its_placeholder_across_texts() -> None:
    numbers: dict[tuple[str, str], int] = {}
    assert mask("ann, bob", [Span(0, 3, "NAME"), Span(5, 8, "NAME")], numbers) == "<NAME_1>, <NAME_2>"
    assert mask("bob!", [Span(0, 3, "NAME")], numbers) == "<NAME_2>!"
    assert mask("bob!", [Span(0, 3, "NICK")], numbers) == "<NICK_1>!"


@given(st.text(max_size=40), SPANS)
def test_mask_keeps_everything_outside_of_the_spans(text: str, spans: list[Span]) -> None:
    inside = [Span(min(s.start, len(text)), min(s.end, len(text)), "X") for s in spans]
    out = mask(text, inside, {})
    merged = merge_spans(inside)
    kept = [
        text[a:b] for a, b in zip([0, *(s.end for s in merged)], [*(s.start for s in merged), len(text)], strict=True)
    ]
    at = 0
    for part in kept:
        found = out.find(part, at)
        assert found >= 0
        at = found + len(part)


def test_mask_refuses_a_span_beyond_the_text() -> None:
    with pytest.raises(ValueError, match=r"2:9 lies outside"):
        mask("abc", [Span(2, 9, "X")], {})


def test_a_span_does_not_show_what_it_found() -> None:
    assert repr(Span(1, 4, "EMAIL")) == "Span(start=1, end=4, label='EMAIL')"


def test_every_kind_can_be_built() -> None:
    options = {"patterns": {"literals": ["x1"]}}
    assert [build_detector(kind, options.get(kind)).find("") for kind in KINDS] == [[], [], []]


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        pytest.param("regex", {}, "unknown detector 'regex'", id="kind"),
        pytest.param("secrets", {"kinds": ["JWT"]}, "no option 'kinds'", id="option"),
        pytest.param("pii", {"kinds": ["NAME"]}, "unknown kind 'NAME'", id="pii kind"),
        pytest.param("pii", {"kinds": []}, "kinds is empty", id="no pii kind"),
        pytest.param("pii", {"region": "Utopia"}, "unknown region", id="region"),
    ],
)
def test_what_cannot_be_built_says_why(kind: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        build_detector(kind, options)

"""Content, leaf by leaf: how guards read it, and how detectors read it joined."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.content import Content, Leaf, LeafKind, Path, Surface, join_parts, joined_readings, show_path, shown
from tests.fakes import leaf, user

USER, ASSISTANT, METADATA = Surface.USER, Surface.ASSISTANT, Surface.METADATA


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ((), ""),
        (("model",), "model"),
        (("messages", 0, "content"), "messages[0].content"),
        (("messages", 0, "content", 1, "text"), "messages[0].content[1].text"),
        ((0, "a"), "[0].a"),
    ],
)
def test_a_path_is_shown_as_people_write_it(path: Path, text: str) -> None:
    assert show_path(path) == text


@pytest.mark.parametrize(
    ("path", "text"),
    [
        pytest.param(("messages", 3, "content", 0, "text"), "messages[3].content[0].text", id="words and numbers"),
        pytest.param(("metadata", "my number is 555"), "metadata.*", id="a key of metadata"),
        pytest.param(("Zoe Miller", "x"), "*.*", id="an unknown field"),
        pytest.param(
            ("tools", 0, "function", "parameters", "properties", "Zoe", "description"),
            "tools[0].function.parameters.properties.*.description",
            id="a parameter's name",
        ),
    ],
)
def test_a_place_is_shown_without_what_its_sender_chose(path: Path, text: str) -> None:
    assert shown(path) == text


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        pytest.param(["a"], "a", id="one"),
        pytest.param(["One.", "Two."], "One.\nTwo.", id="sentences-get-a-line-each"),
        pytest.param(["ZQ-MA", "RK"], "ZQ-MARK", id="a-cut-word-is-whole"),
        pytest.param(["a ", "b"], "a \nb", id="a-space-is-kept"),
        pytest.param(["", "b"], "\nb", id="an-empty-part"),
        pytest.param(["7", "7"], "77", id="digits"),
    ],
)
def test_parts_of_one_message_are_one_text(parts: list[str], text: str) -> None:
    assert join_parts(parts) == text


def surfaces(content: Content) -> list[tuple[str, str]]:
    return [(p.surface, p.text) for p in content.passages()]


def test_leaves_of_one_message_and_surface_are_one_passage() -> None:
    content = Content(
        (
            leaf("One.", "messages", 0, "content", 0, "text"),
            leaf("Two.", "messages", 0, "content", 1, "text"),
            leaf("Three.", "messages", 1, "content"),
            leaf("call", "messages", 1, "tool_calls", 0, surface=Surface.TOOL_CALL),
        )
    )
    assert surfaces(content) == [("user", "One.\nTwo."), ("user", "Three."), ("tool_call", "call")]


def test_names_and_keys_come_last_as_one_passage() -> None:
    content = Content(
        (
            leaf("m", "model", surface=METADATA),
            leaf("hi"),
            leaf("k", "metadata", "k", surface=METADATA, kind=LeafKind.KEY),
        )
    )
    assert surfaces(content) == [("user", "hi"), ("metadata", "m\nk")]


def test_keys_of_a_tool_are_read_with_it() -> None:
    tool = Surface.TOOL_DEFINITION
    content = Content((leaf("name", "tools", 0, "name", surface=tool, kind=LeafKind.KEY), leaf("f", "tools", 0, "name", surface=tool)))  # fmt: skip
    assert surfaces(content) == [("tool_definition", "namef")]


def test_decoded_readings_and_empty_texts_are_left_out() -> None:
    content = Content((leaf(""), leaf("decoded", kind=LeafKind.DERIVED)))
    assert content.passages() == []


def test_a_passage_that_says_something_else_decoded_is_followed_by_that() -> None:
    tool = Surface.TOOL_RESULT
    content = Content(
        (leaf("WlEtTUFS", "messages", 0, "content", 0, "text"), leaf("Sy03Nzgx", "messages", 0, "content", 1, "text"), leaf("b&#111;mb", "messages", 1, "content", surface=tool), leaf("it&#39;s", "messages", 2, "content"))
    )  # fmt: skip
    assert surfaces(content) == [
        ("user", "WlEtTUFSSy03Nzgx"), ("user", "ZQ-MARK-7781"), ("tool_result", "b&#111;mb"), ("tool_result", "bomb"),
        ("user", "it&#39;s"),
    ]  # fmt: skip
    assert len(content.passages(context=True)) == 3


def test_context_says_that_it_is_context() -> None:
    assert [p.context for p in user("a", "b").passages(context=True)] == [True, True]
    assert [p.context for p in user("a").passages()] == [False]


def test_a_scope_keeps_its_surfaces_and_all_that_is_opaque() -> None:
    content = Content((leaf("a"), leaf("b", surface=ASSISTANT)), (("messages", 0, "content", 1),))
    assert [x.text for x in content.within(frozenset({USER})).leaves] == ["a"]
    assert content.within(frozenset({USER})).opaque == content.opaque
    assert content.within(None) is content


def readings(*leaves: Leaf) -> list[str]:
    return [joined.text for joined in joined_readings(leaves)]


def test_texts_are_read_in_order_without_what_is_between_them_and_by_surface() -> None:
    found = readings(leaf("a"), leaf("N", surface=METADATA), leaf("b", surface=ASSISTANT), leaf("c"))
    assert found == ["aNbc", "abc", "ac"]


def test_one_leaf_has_no_joined_reading() -> None:
    assert readings(leaf("a")) == []
    assert readings() == []


def test_keys_decoded_readings_and_empty_texts_are_in_no_joined_reading() -> None:
    found = readings(leaf("a"), leaf("K", kind=LeafKind.KEY), leaf("D", kind=LeafKind.DERIVED), leaf(""), leaf("b"))
    assert found == ["ab"]


def test_equal_readings_are_given_once() -> None:
    assert readings(leaf("a"), leaf("b")) == ["ab"]
    assert readings(leaf("a"), leaf("N", surface=METADATA), leaf("b")) == ["aNb", "ab"]


_LEAVES = st.lists(
    st.builds(
        lambda text, surface, kind: Leaf(("messages", 0), surface, text, kind),
        st.text("abc", max_size=4),
        st.sampled_from([USER, ASSISTANT, METADATA]),
        st.sampled_from(LeafKind),
    ),
    max_size=8,
)


@given(_LEAVES, st.data())
def test_a_span_of_a_joined_text_is_found_again_in_its_leaves(leaves: list[Leaf], draw: st.DataObject) -> None:
    for joined in joined_readings(leaves):
        start = draw.draw(st.integers(0, len(joined.text)))
        end = draw.draw(st.integers(start, len(joined.text)))
        pieces = list(joined.locate(start, end))
        assert "".join(leaves[i].text[lo:hi] for i, lo, hi in pieces) == joined.text[start:end]
        assert all(lo < hi for _, lo, hi in pieces)


def test_content_shows_no_text() -> None:
    content = user("secret words", "more secret words")
    shown = repr(content) + repr(content.passages()) + repr(joined_readings(content.leaves))
    assert "secret" not in shown


def test_spans_are_located_in_linear_time_among_many_leaves() -> None:
    leaves = [leaf("ab")] * 100_000
    (joined,) = joined_readings(leaves)
    # one after the other, it would take half an hour
    found = [list(joined.locate(2 * i + 1, 2 * i + 3)) for i in range(99_999)]
    assert found[-1] == [(99_998, 1, 2), (99_999, 0, 1)]

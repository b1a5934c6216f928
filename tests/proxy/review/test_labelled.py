"""From an item to an example or a row."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.evaluation.rows import Record, read_row
from proxy.review.item import Flagged, Held, Item, ReviewError, State
from proxy.review.labelled import flagged_by, form_of, row_of, violates
from rules.rule import Stage
from tests.proxy.review.things import START_US, flagged


def item(*policies: Flagged, state: State = State.UPHELD, stage: str = "input") -> Item:
    those = policies or (flagged(),)
    return Item(
        5, "a-input", "a", START_US, stage, "/v1/chat/completions", "shop", None, "flag", those, True, None, None,
        state, "kim", "", START_US,
    )  # fmt: skip


def text(said: str | None, *path: str | int, surface: str = "user", kind: str = "text", **more: Any) -> dict[str, Any]:
    return {"path": list(path or ("messages", 0, "content")), "surface": surface, "kind": kind, "text": said, **more}


def content(*texts: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"keep": "full", "texts": list(texts), **more}


def test_one_text_is_a_text() -> None:
    kept = content(text("An apple."), text("gpt", "model", surface="metadata"), text("k", kind="key"))
    assert form_of(item(), kept, flagged()) == {"text": "An apple."}


def test_parts_of_a_message_are_one_text_as_guards_read_it() -> None:
    kept = content(
        text("An ap", "messages", 0, "content", 0, "text"), text("ple.", "messages", 0, "content", 1, "text")
    )
    assert form_of(item(), kept, flagged()) == {"text": "An apple."}


def test_a_conversation_is_a_chat() -> None:
    kept = content(
        text("Be kind.", "messages", 0, "content", surface="system"),
        text("Fruit?", "messages", 1, "content"),
        text("Pears.", "messages", 2, "content", surface="assistant"),
        text("More!", "messages", 3, "content"),
    )
    assert form_of(item(), kept, flagged())["messages"] == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Fruit?"},
        {"role": "assistant", "content": "Pears."},
        {"role": "user", "content": "More!"},
    ]


def test_paths_that_were_kept_as_words_group_alike() -> None:
    kept = content(
        {**text("An ap"), "path": "messages[0].content[0].text"},
        {**text("ple."), "path": "messages[0].content[1].text"},
        {**text("Two."), "path": "messages[1].content"},
    )
    assert [m["content"] for m in form_of(item(), kept, flagged())["messages"]] == ["An apple.", "Two."]


def test_what_the_rule_does_not_read_is_left_out() -> None:
    kept = content(text("Be kind.", surface="system"), text("An apple.", "messages", 1, "content"))
    assert form_of(item(), kept, flagged(reads=["user"])) == {"text": "An apple."}


def test_an_answer_stands_behind_what_it_answers() -> None:
    kept = content(
        text("Pears.", "choices", 0, "message", "content", surface="assistant"),
        text("They like fruit.", "choices", 0, "message", "reasoning_content", surface="reasoning"),
        asked=[text("Fruit?"), text("{}", "messages", 1, "content", surface="tool_result")],
    )
    assert form_of(item(stage="output"), kept, flagged())["messages"] == [
        {"role": "user", "content": "Fruit?"},
        {"role": "assistant", "content": "Pears.", "reasoning_content": "They like fruit."},
    ]


@pytest.mark.parametrize(
    ("kept", "stage", "reason"),
    [
        pytest.param(None, "input", r"its content was not kept \(review\.content\)", id="none"),
        pytest.param(content(text(None)), "input", "could not be masked", id="masked"),
        pytest.param(content(text("{}", surface="tool_call")), "input", "holds a tool_call", id="tool"),
        pytest.param(content(text("m", surface="metadata")), "input", "no text of a chat", id="names"),
        pytest.param(
            content(*(text("x", "choices", i, "message", "content", surface="assistant") for i in range(2))),
            "output",
            "several answers",
            id="choices",
        ),
    ],
)
def test_what_cannot_be_told_is_an_error(kept: dict[str, Any] | None, stage: str, reason: str) -> None:
    with pytest.raises(ReviewError, match=rf"item 5: .*{reason}"):
        form_of(item(stage=stage), kept, flagged())


@pytest.mark.parametrize("state", [State.PENDING, State.UNSURE], ids=str)
def test_what_nobody_has_decided_is_no_label(state: State) -> None:
    with pytest.raises(ReviewError, match=f"item 5: is {state}: decide it first"):
        violates(item(state=state))


def test_of_several_policies_one_must_be_named() -> None:
    both = item(flagged("fruit"), flagged("music"))
    with pytest.raises(ReviewError, match="several policies flagged: name one of fruit, music"):
        flagged_by(both, None)
    with pytest.raises(ReviewError, match="'hats' has not flagged it"):
        flagged_by(both, "hats")
    assert flagged_by(both, "music").policy == "music"


def test_a_row_is_one_that_calibration_reads() -> None:
    row = row_of(item(), content(text("An apple.")))
    read = read_row(Record("rows:1", row), Stage.OUTPUT)
    assert (read.id, read.stage, read.violates("fruit"), read.violates("music")) == (
        "review-5",
        Stage.INPUT,
        True,
        None,
    )


def test_what_was_overturned_violates_none_of_its_policies() -> None:
    those = (flagged("fruit", reads=["user"]), flagged("music", reads=["user"]))
    assert row_of(item(*those, state=State.OVERTURNED), content(text("An apple.")))["labels"] == {
        "fruit": 0,
        "music": 0,
    }
    with pytest.raises(ReviewError, match="several policies flagged"):
        row_of(item(*those), content(text("An apple.")))
    assert row_of(item(*those), content(text("An apple.")), "music")["labels"] == {"music": 1}


def test_held_words_are_stable() -> None:
    assert [held.value for held in Held] == ["waiting", "answered", "nobody", "left", "cut"]

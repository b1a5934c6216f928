"""Contents that come by themselves: what is judged of them, and what is only shown."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.samples import read_sample
from proxy.schema import Misfit
from rules.content import show_path
from rules.rule import Stage

CHAT = [
    {"role": "system", "content": "S"},
    {
        "role": "user",
        "content": [{"type": "text", "text": "U"}, {"type": "image_url", "image_url": {"url": "http://x"}}],
    },
    {
        "role": "assistant",
        "content": "A",
        "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
    },
]


def seen(given: dict[str, Any], stage: Stage) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """What is judged, and what is shown: surfaces and texts."""
    sample = read_sample(given, stage)
    return (
        [(leaf.surface.value, leaf.text) for leaf in sample.content.leaves],
        [(passage.surface, passage.text) for passage in sample.context],
    )


@pytest.mark.parametrize(
    ("given", "stage", "judged", "shown"),
    [
        pytest.param({"text": "T"}, Stage.INPUT, [("user", "T")], [], id="text-in"),
        pytest.param({"text": "T"}, Stage.OUTPUT, [("assistant", "T")], [], id="text-out"),
        pytest.param({"text": "T", "messages": None, "score": 1}, Stage.INPUT, [("user", "T")], [], id="null-and-more"),
        pytest.param({"prompt": "P"}, Stage.INPUT, [("user", "P")], [], id="prompt"),
        pytest.param({"prompt": "P", "completion": "C"}, Stage.INPUT, [("user", "P")], [], id="pair-in"),
        pytest.param({"prompt": "P", "completion": "C"}, Stage.OUTPUT, [("assistant", "C")], [("user", "P")], id="pair-out"),
        pytest.param({"completion": "C"}, Stage.OUTPUT, [("assistant", "C")], [], id="completion"),
        pytest.param(
            {"prompt": CHAT[:1], "completion": [{"role": "assistant", "content": "C"}]},
            Stage.OUTPUT,
            [("assistant", "C")],
            [("system", "S")],
            id="pair-of-chats",
        ),
        pytest.param(
            {"messages": CHAT[:2]},
            Stage.INPUT,
            [("system", "S"), ("user", "U"), ("metadata", "url"), ("metadata", "http://x"), ("metadata", "type"), ("metadata", "image_url"), ("metadata", "image_url")],
            [],
            id="chat-in",
        ),
        pytest.param(
            {"messages": CHAT},
            Stage.OUTPUT,
            [("assistant", "A"), ("metadata", "1"), ("tool_call", "f"), ("tool_call", "{}")],
            [("system", "S"), ("user", "U")],
            id="chat-out",
        ),
    ],
)  # fmt: skip
def test_each_form_says_what_is_judged_and_what_is_shown(
    given: dict[str, Any], stage: Stage, judged: list[tuple[str, str]], shown: list[tuple[str, str]]
) -> None:
    got_judged, got_shown = seen(given, stage)
    assert sorted(got_judged) == sorted(judged)
    assert got_shown == shown


def test_a_picture_counts_where_it_is_judged() -> None:
    assert [show_path(p) for p in read_sample({"messages": CHAT[:2]}, Stage.INPUT).content.opaque] == [
        "messages[1].content[1]"
    ]
    assert read_sample({"messages": CHAT}, Stage.OUTPUT).content.opaque == ()


@pytest.mark.parametrize(
    ("given", "stage", "said"),
    [
        pytest.param({}, Stage.INPUT, ": has none of text, messages, prompt", id="nothing"),
        pytest.param({"text": None}, Stage.INPUT, ": has none of text, messages, prompt", id="null"),
        pytest.param({"text": "SECRET", "prompt": "SECRET"}, Stage.INPUT, ": has text and prompt, so", id="two-forms"),
        pytest.param({"text": 7}, Stage.INPUT, "text: must be a string", id="number"),
        pytest.param({"text": "SECRET\x1b"}, Stage.INPUT, "text: contains a control character", id="control"),
        pytest.param({"text": "SECRET\ud800"}, Stage.INPUT, "text: contains an unpaired surrogate", id="surrogate"),
        pytest.param({"messages": "SECRET"}, Stage.INPUT, "messages: must be a list", id="not-a-list"),
        pytest.param({"messages": []}, Stage.INPUT, "messages: must have at least 1 items", id="empty-chat"),
        pytest.param({"messages": [{"role": "SECRET", "content": "x"}]}, Stage.INPUT, "messages[0].role: must be one of", id="role"),
        pytest.param({"messages": [{"role": "user"}]}, Stage.INPUT, "messages[0].content: is missing", id="no-content"),
        pytest.param({"messages": CHAT[:2]}, Stage.OUTPUT, "messages[1].role: must be assistant", id="ends-with-user"),
        pytest.param({"prompt": "SECRET"}, Stage.OUTPUT, "completion: is missing", id="no-completion"),
        pytest.param({"completion": "SECRET"}, Stage.INPUT, "prompt: is missing", id="no-prompt"),
        pytest.param({"prompt": {"a": "SECRET"}}, Stage.INPUT, "prompt: must be a string", id="object"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_named_and_not_quoted(given: dict[str, Any], stage: Stage, said: str) -> None:
    with pytest.raises(Misfit) as caught:
        read_sample(given, stage)
    message = f"{show_path(caught.value.path)}: {caught.value}"
    assert message.startswith(said)
    assert "SECRET" not in message


def test_unknown_fields_of_messages_are_judged_or_do_not_fit() -> None:
    given = {"messages": [{"role": "user", "content": "U", "mood": "M"}]}
    assert "M" in [leaf.text for leaf in read_sample(given, Stage.INPUT).content.leaves]
    with pytest.raises(Misfit, match="is not a known field"):
        read_sample(given, Stage.INPUT, screen_unknown=False)

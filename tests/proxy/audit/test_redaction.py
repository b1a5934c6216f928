"""What is kept of content is what the configuration says, and what a detector finds is not in it."""

from __future__ import annotations

import orjson
import pytest

from proxy.audit.entry import Keep
from proxy.audit.redaction import kept
from rules.content import Content, LeafKind, Surface
from rules.decision import Verdict
from tests.fakes import leaf, text_rule, user, word_rule

KEY = "AKIA" + "QYLPMN5HFIQR7XYA"
MAIL = "zoe.miller@example.com"


def texts(content: Content, keep: Keep = Keep.REDACTED, **how: object) -> list[str | None]:
    found = kept(content, (), keep, **how)  # type: ignore[arg-type]  # `rules` only
    return [t["text"] for t in found["texts"]]


def test_full_content_is_what_was_judged() -> None:
    content = Content(
        (
            leaf(f"Write to {MAIL}."),
            leaf('{"to": 1}', "messages", 1, "tool_calls", 0, "function", "arguments", surface=Surface.TOOL_CALL),
            leaf("to", "messages", 1, "made up", surface=Surface.METADATA, kind=LeafKind.KEY),
        )
    )
    assert kept(content, (), Keep.FULL) == {
        "keep": "full",
        "texts": [
            {"path": ["messages", 0, "content"], "surface": "user", "kind": "text", "text": f"Write to {MAIL}."},
            {
                "path": ["messages", 1, "tool_calls", 0, "function", "arguments"],
                "surface": "tool_call",
                "kind": "text",
                "text": '{"to": 1}',
            },
            {"path": ["messages", 1, "made up"], "surface": "metadata", "kind": "key", "text": "to"},
        ],
    }


def test_what_detectors_find_is_masked_the_same_everywhere() -> None:
    content = user(f"I am {MAIL}.", f"{MAIL} and {KEY}, and ZQ-MARK-7781.")
    rule = word_rule("marker", "ZQ-MARK-7781", flag=0.5, label="MARK")
    assert texts(content, rules=[rule]) == [
        "I am <EMAIL_1>.",
        "<EMAIL_1> and <AWS_ACCESS_KEY_1>, and <MARK_1>.",
    ]


def test_a_rule_that_reads_little_still_masks_everywhere() -> None:
    rule = word_rule("marker", "Zoe", flag=0.5, scope=frozenset({Surface.SYSTEM}), label="NAME")
    assert texts(user("Ask Zoe."), rules=[rule]) == ["Ask <NAME_1>."]


def test_what_is_cut_in_two_is_masked_in_both() -> None:
    assert texts(user("zoe.miller@exa", "mple.com"), rules=[word_rule("m", "zoe.miller@example.com", flag=0.5)]) == [
        "<WORD_1>",
        "<WORD_2>",
    ]


@pytest.mark.parametrize("kind", [LeafKind.KEY, LeafKind.TEXT])
def test_keys_and_places_are_masked_too(kind: LeafKind) -> None:
    content = Content((leaf(MAIL, "metadata", MAIL, surface=Surface.METADATA, kind=kind),))
    found = kept(content, (), Keep.REDACTED)
    assert found["texts"][0]["text"] == "<EMAIL_1>"
    assert MAIL.encode() not in orjson.dumps(found)


def test_a_text_whose_other_reading_holds_something_is_left_out() -> None:
    raw = leaf("a text that a detector does not see through", "choices", 0)
    content = Content((raw, leaf("Zoe", "choices", 0, "x", kind=LeafKind.DERIVED), leaf("Fine.", "choices", 1)))
    assert texts(content, rules=[word_rule("names", "Zoe", flag=0.5)]) == [None, "<WORD_1>", "Fine."]


def test_where_a_detector_fails_no_text_is_kept() -> None:
    assert texts(user("Ask Zoe.", "Hello."), rules=[word_rule("names", "Zoe", flag=0.5, broken=True)]) == [None, None]


def test_reasoning_is_kept_and_masked_like_content() -> None:
    verdicts = [
        Verdict(text_rule("spam", refuse=0.5), score=0.9, rationale=f"They name {MAIL}."),
        Verdict(text_rule("x")),
    ]
    full = kept(user("Hi"), verdicts, Keep.FULL)
    redacted = kept(user("Hi"), verdicts, Keep.REDACTED)
    assert full["rationales"] == {"spam": f"They name {MAIL}."}
    assert redacted["rationales"] == {"spam": "They name <EMAIL_1>."}


def test_reasoning_that_cannot_be_read_is_left_out() -> None:
    verdicts = [Verdict(text_rule("spam", refuse=0.5), score=0.9, rationale="They name Zoe.")]
    broken = word_rule("names", "Zoe", flag=0.5, broken=True)
    assert kept(user("Hi"), verdicts, Keep.REDACTED, [broken])["rationales"] == {"spam": None}

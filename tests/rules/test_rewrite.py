"""Rewriting content by masking what detectors found."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.content import Content, LeafKind, Path
from rules.decision import Finding, Verdict
from rules.detectors import Span, apply_edits
from rules.rewrite import Masker, edited_texts, findings_to_mask, mask_findings
from rules.rule import Mode, OnError, Rule
from rules.screen import detect
from tests.fakes import WordDetector, leaf, text_rule, user, word_rule

CONTENT = ("messages", 0, "content")


def found(leaf_index: int, start: int, end: int, label: str = "WORD") -> Finding:
    return Finding(leaf_index, Span(start, end, label))


def masked(masker: Masker, text: str, spans: list[Span]) -> str:
    return apply_edits(text, masker.edits(text, spans))


def masked_texts(content: Content, findings: Iterable[Finding], masker: Masker) -> dict[Path, str] | None:
    edits = mask_findings(content, findings, masker)
    return None if edits is None else edited_texts(content, edits)


def test_the_same_value_keeps_its_placeholder_over_a_whole_exchange() -> None:
    masker = Masker()
    assert masked(masker, "a b a", [Span(0, 1, "X"), Span(2, 3, "X"), Span(4, 5, "X")]) == "<X_1> <X_2> <X_1>"
    assert masked(masker, "b c", [Span(0, 1, "X"), Span(2, 3, "Y")]) == "<X_2> <Y_1>"


def test_another_exchange_begins_anew() -> None:
    assert masked(Masker(), "b", [Span(0, 1, "X")]) == masked(Masker(), "c", [Span(0, 1, "X")]) == "<X_1>"


def test_a_masker_shows_nothing_of_what_it_masked() -> None:
    masker = Masker()
    masker.edits("secret", [Span(0, 6, "X")])
    assert "secret" not in repr(masker)


def test_new_texts_come_by_path() -> None:
    content = user("a MARK", "nothing", "MARK and MARK")
    verdict = detect(word_rule("w", "MARK", rewrite=0.5), content)
    texts = masked_texts(content, verdict.findings, Masker())
    assert texts == {
        ("messages", 0, "content"): "a <WORD_1>",
        ("messages", 2, "content"): "<WORD_1> and <WORD_1>",
    }


def test_a_value_split_over_two_messages_is_masked_in_both() -> None:
    content = user("x MA", "RK y")
    texts = masked_texts(content, detect(word_rule("w", "MARK", rewrite=0.5), content).findings, Masker())
    assert texts == {("messages", 0, "content"): "x <WORD_1>", ("messages", 1, "content"): "<WORD_2> y"}


def test_overlapping_findings_leave_no_half_of_a_value() -> None:
    texts = masked_texts(user("abcdef"), [found(0, 0, 4, "A"), found(0, 2, 6, "B")], Masker())
    assert texts is not None
    assert texts[CONTENT] == "<A_1>"


def test_a_key_cannot_be_replaced() -> None:
    content = Content((leaf("MARK", kind=LeafKind.KEY), leaf("MARK")))
    assert masked_texts(content, [found(0, 0, 4), found(1, 0, 4)], Masker()) is None


def test_a_value_that_only_exists_decoded_cannot_be_replaced() -> None:
    content = Content((leaf("M\\u0041RK"), leaf("MARK", kind=LeafKind.DERIVED)))
    assert masked_texts(content, [found(1, 0, 4)], Masker()) is None


def test_a_value_that_stands_raw_and_decoded_is_replaced_where_it_stands() -> None:
    content = Content((leaf("a MARK"), leaf("MARK", kind=LeafKind.DERIVED)))
    assert masked_texts(content, [found(0, 2, 6), found(1, 0, 4)], Masker()) == {CONTENT: "a <WORD_1>"}


def test_nothing_found_is_nothing_to_replace() -> None:
    assert masked_texts(user("a"), [], Masker()) is None


def test_only_enforced_rules_that_asked_for_a_rewrite_or_more_mask() -> None:
    content = user("MARK")

    def masks(rule: Rule) -> bool:
        return bool(findings_to_mask([detect(rule, content)]))

    assert masks(word_rule("w", "MARK", rewrite=0.5))
    assert masks(word_rule("w", "MARK", refuse=0.5))
    assert not masks(word_rule("w", "MARK", flag=0.5))
    assert not masks(word_rule("w", "MARK", rewrite=0.5, mode=Mode.SHADOW))
    assert not masks(word_rule("w", "else", rewrite=0.5))


def test_failed_and_model_verdicts_mask_nothing() -> None:
    failed = Verdict(word_rule("w", "x", rewrite=0.5, on_error=OnError.REFUSE), error="detector_RuntimeError")
    assert findings_to_mask([failed, Verdict(text_rule("a", refuse=0.5), 1.0)]) == []


def test_a_draft_uses_up_only_the_numbers_that_are_kept() -> None:
    masker = Masker()
    draft = masker.draft()
    assert masked(draft, "ANNA BE", [Span(0, 4, "X"), Span(5, 7, "X")]) == "<X_1> <X_2>"
    masker.keep(draft, ["<X_1> "])
    assert masked(masker, "BEN ANNA", [Span(0, 3, "X"), Span(4, 8, "X")]) == "<X_2> <X_1>"


# ---------------------------------------------------------------------- what may be put back


def originals(content: Content, *rules: Rule) -> dict[str, str]:
    masker = Masker()
    findings = findings_to_mask(detect(rule, content) for rule in rules)
    assert mask_findings(content, findings, masker) is not None
    return masker.originals


def test_only_what_a_restoring_rule_masked_may_be_put_back() -> None:
    content = user("ANNA and MARK")
    restored = word_rule("names", "ANNA", rewrite=0.5, label="NAME", restore=True)
    kept = word_rule("w", "MARK", rewrite=0.5)
    assert originals(content, restored, kept) == {"<NAME_1>": "ANNA"}


@pytest.mark.parametrize(
    ("text", "restored", "kept"),
    [
        pytest.param("ANNA", "ANNA", "ANNA", id="the-same-place"),
        pytest.param("ANNA", "ANNA", "NN", id="inside"),
        pytest.param("ANNA", "NN", "ANNA", id="around"),
        pytest.param("xANNA", "ANNA", "xA", id="the-beginning"),
        pytest.param("ANNAx", "ANNA", "Ax", id="the-end"),
    ],
)
def test_what_another_rule_masks_for_good_is_never_put_back(text: str, restored: str, kept: str) -> None:
    rules = (
        word_rule("a", restored, rewrite=0.5, restore=True),
        word_rule("b", kept, rewrite=0.5),
    )
    assert originals(user(text), *rules) == {}


def test_a_value_that_is_masked_for_good_anywhere_is_not_put_back_elsewhere() -> None:
    content = user("ANNA", "ANNA")
    masker = Masker()
    mask_findings(content, [Finding(0, Span(0, 4, "X"), restore=True), found(1, 0, 4, "X")], masker)
    assert masker.originals == {}
    masker, side_by_side = Masker(), user("ANNAMARK")
    mask_findings(side_by_side, [Finding(0, Span(0, 4, "Y"), restore=True), found(0, 4, 8, "Y")], masker)
    assert masker.originals == {"<Y_1>": "ANNA"}


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(user("<NAME_1> ANNA <NAME_3>", "BEN <NAME_x> <OTHER_2>"), id="texts"),
        pytest.param(user("<NAME_", "1> ANNA", "BEN <NAME_3>"), id="split-over-messages"),
        pytest.param(
            Content((leaf("<NAME_1>", kind=LeafKind.KEY), leaf("<NAME_3>", kind=LeafKind.DERIVED), leaf("ANNA BEN"))),
            id="key-and-decoded",
        ),
    ],
)
def test_a_placeholder_that_the_client_wrote_is_not_given_out(content: Content) -> None:
    rules = [word_rule(w, w, rewrite=0.5, label="NAME", restore=True) for w in ("ANNA", "BEN")]
    assert originals(content, *rules) == {"<NAME_2>": "ANNA", "<NAME_4>": "BEN"}


def test_without_restore_a_placeholder_of_an_earlier_turn_stays_the_same_value() -> None:
    """The client sends back what it was answered: there the placeholder means what it meant."""
    content = user("I am ANNA", "Hello <WORD_1>", "ANNA again")
    texts = masked_texts(content, detect(word_rule("w", "ANNA", rewrite=0.5), content).findings, Masker())
    assert texts is not None
    assert list(texts.values()) == ["I am <WORD_1>", "<WORD_1> again"]


@given(st.lists(st.text("ab @", max_size=12), min_size=1, max_size=5), st.data())
def test_numbers_stay_when_a_conversation_is_sent_again_with_more_turns(turns: list[str], data: st.DataObject) -> None:
    def masks(texts: list[str]) -> list[str]:
        content = user(*texts)
        found = [
            Finding(i, s, restore=True)
            for i, t in enumerate(texts)
            for w in ("a", "b", "@")
            for s in WordDetector(w * 2).find(t)
        ]
        new = masked_texts(content, found, Masker()) or {}
        return [new.get(item.path, item.text) for item in content.leaves]

    n = data.draw(st.integers(1, len(turns)))
    assert masks(turns)[:n] == masks(turns[:n])


def test_the_value_behind_a_placeholder_in_json_is_what_the_json_says() -> None:
    text = '{"a": "x \\"caf\\u00e9\\" y"}'
    at = text.index('\\"'), text.index(" y")
    masker = Masker()
    masker.edits(text, [], [Span(*at, "X")], is_json=True)
    assert masker.originals == {"<X_1>": '"caf\u00e9"'}


@pytest.mark.parametrize("value", ["\\", "\\ud83d", "\\x", 'a" : "\\n'])
def test_what_is_no_piece_of_a_json_string_is_put_back_as_it_stood(value: str) -> None:
    masker = Masker()
    masker.edits(value, [], [Span(0, len(value), "X")], is_json=True)
    assert masker.originals == {"<X_1>": value}


@pytest.mark.parametrize("label", ["EMAIL", "WORD"], ids=["same", "another"])
def test_what_the_answer_was_masked_for_is_not_put_back_whatever_its_label(label: str) -> None:
    masker = Masker()
    masker.edits("ANNA and BEN", [], [Span(0, 4, "EMAIL"), Span(9, 12, "EMAIL")])
    assert masker.originals == {"<EMAIL_1>": "ANNA", "<EMAIL_2>": "BEN"}
    masker.edits('{"a": "\\u0041NNA"}', [Span(7, 16, label)], is_json=True)
    assert masker.originals == {"<EMAIL_2>": "BEN"}


def test_a_draft_keeps_only_those_values_that_it_has_masked_in_what_leaves() -> None:
    masker = Masker()
    masker.edits("ANNA and BEN", [], [Span(0, 4, "EMAIL"), Span(9, 12, "EMAIL")])
    draft = masker.draft()
    draft.edits("ANNA and BEN", [Span(0, 4, "EMAIL"), Span(9, 12, "EMAIL")])
    masker.keep(draft, ["it is <EMAIL_2>"])
    assert masker.originals == {"<EMAIL_1>": "ANNA"}

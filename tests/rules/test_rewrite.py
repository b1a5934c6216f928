"""Rewriting content by masking what detectors found."""

from __future__ import annotations

from collections.abc import Iterable

from rules.content import Content, LeafKind, Path
from rules.decision import Finding, Verdict
from rules.detectors import Span, apply_edits
from rules.rewrite import Masker, edited_texts, findings_to_mask, mask_findings
from rules.rule import Mode, OnError, Rule
from rules.screen import detect
from tests.fakes import leaf, text_rule, user, word_rule

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

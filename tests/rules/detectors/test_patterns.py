from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.detectors import apply_edits, mask_edits
from rules.detectors.linear import MAX_MATCHES
from rules.detectors.patterns import PatternDetector
from rules.errors import PolicyError

MARK = "ZQ-MARK-7781"


def found(detector: PatternDetector, text: str) -> list[str]:
    return [text[s.start : s.end] for s in detector.find(text)]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("ZQ-MARK-7781", id="plain"),
        pytest.param("zq-mark-7781", id="case"),
        pytest.param("Z Q - M A R K - 7 7 8 1", id="spaced"),
        pytest.param("Z\nQ\n-\nM\nA\nR\nK\n-\n7\n7\n8\n1", id="newline per letter"),
        pytest.param("Z | Q | - | M | A | R | K | - | 7 | 7 | 8 | 1", id="table cells"),
        pytest.param("ZQ-MA RK-7781", id="broken by a space"),
        pytest.param("ZQMARK7781", id="without its separators"),
        pytest.param("Z\u200bQ-M\u2060ARK\u00ad-7781", id="invisible"),
        pytest.param("ＺＱ－ＭＡＲＫ－７７８１", id="fullwidth"),
        pytest.param("ZQ-МАRК-7781", id="cyrillic"),
        pytest.param("Z\u0301Q\u0301-M\u0301A\u0301R\u0301K\u0301-7\u03017\u03018\u03011\u0301", id="marks"),
        pytest.param("ＺＱ － Ｍ Ａ Ｒ Ｋ － ７ ７ ８ １", id="fullwidth and spaced"),
        pytest.param("".join(chr(0xE0000 + ord(c)) for c in MARK), id="tag characters"),
        pytest.param("".join(chr(0xE0100 + ord(c) - 16) for c in MARK), id="variation selectors"),
        pytest.param(MARK[::-1], id="turned around"),
    ],
)
@pytest.mark.parametrize(("before", "after"), [("", ""), ("See 👨‍👩‍👧 İ: ", " é end.")], ids=["alone", "within"])
def test_a_disguised_literal_is_found_at_its_raw_place(text: str, before: str, after: str) -> None:
    override, pop = ("\u202e", "\u202c") if text == MARK[::-1] else ("", "")
    detector = PatternDetector(literals=[MARK], ignore_case=True)
    assert found(detector, f"{before}{override}{text}{pop}{after}") == [text]


@pytest.mark.parametrize(
    ("literal", "text"),
    [
        pytest.param("cat", "magic at noon", id="across two words"),
        pytest.param("cat", "magic a trick", id="spelled inside of words"),
        pytest.param("the rapist", "my therapist", id="own separator vanished"),
        pytest.param("together", "to get her", id="broken by white space alone"),
        pytest.param("acme", "a c m", id="incomplete"),
        pytest.param("①", "é 1", id="symbol is not its compatibility form"),
        pytest.param("ab", "a b", id="too short to spell"),
    ],
)
def test_prose_that_only_resembles_a_literal_is_left_alone(literal: str, text: str) -> None:
    assert found(PatternDetector(literals=[literal]), text) == []


@pytest.mark.parametrize(
    ("literal", "text", "hits"),
    [
        pytest.param("competitor", "a com-pet*itor!", ["com-pet*itor"], id="word broken by marks"),
        pytest.param("cat", "xc a t c a t", ["c a t"], id="after a rejected overlap"),
        pytest.param("不可说", "这是不 可 说的", ["不 可 说"], id="script without spaces"),
        pytest.param("foo", "foobar", ["foo"], id="substring"),
        pytest.param("a+b", "aab a+b", ["a+b"], id="not an expression"),
        pytest.param("мир", "весь мир", ["мир"], id="cyrillic literal"),
        pytest.param("ÉTÉ", "l'ÉTÉ, l'E\u0301TE\u0301", ["ÉTÉ", "E\u0301TE\u0301"], id="both normal forms"),
    ],
)
def test_literals(literal: str, text: str, hits: list[str]) -> None:
    assert found(PatternDetector(literals=[literal]), text) == hits


def test_of_two_literals_the_longer_one_is_masked_whole() -> None:
    assert found(PatternDetector(literals=["foo", "foobar"]), "a foobar b") == ["foobar"]
    assert found(PatternDetector(literals=["cat", "category"]), "c a t egory") == ["c a t"]


def test_patterns_are_matched_on_raw_and_folded_text() -> None:
    detector = PatternDetector([r"proj-\d{3}", r"geheim(nis)?"])
    assert found(detector, "proj-１２３ und Gehe\u200bimnis, geheimnis") == ["proj-１２３", "geheimnis"]
    assert found(PatternDetector([r"proj-\d{3}"], ignore_case=True), "PROJ-123") == ["PROJ-123"]
    assert found(PatternDetector([r"\p{Cyrillic}+"]), "это x") == ["это"]


def test_a_pattern_with_an_open_quotation_does_not_swallow_the_next_one() -> None:
    detector = PatternDetector([r"\Qa.b", r"(?P<n>x)y", r"(?P<n>z)y"])
    assert found(detector, "a.b xy zy azb") == ["a.b", "xy", "zy"]


def test_half_of_a_character_counts_as_the_whole() -> None:
    assert found(PatternDetector([r"\C!"]), "é!") == ["é!"]


@pytest.mark.parametrize(
    ("patterns", "literals", "message"),
    [
        pytest.param(["ok", "(a"], [], r"patterns\[1\].*missing \)", id="syntax"),
        pytest.param(["(?=x)"], [], r"patterns\[0\].*RE2", id="look-ahead"),
        pytest.param([r"(a)\1"], [], r"patterns\[0\].*RE2", id="back reference"),
        pytest.param(["x", "a*"], [], r"patterns\[1\] matches the empty string", id="empty match"),
        pytest.param([r"\b"], [], r"patterns\[0\] matches the empty string", id="boundary"),
        pytest.param(["(?m)$"], [], r"patterns\[0\] matches the empty string", id="end of line"),
        pytest.param(["\ud800"], [], r"patterns\[0\].*surrogate", id="surrogate"),
        pytest.param([], ["ok", " "], r"literals\[1\] is empty", id="empty literal"),
        pytest.param([], [], "needs patterns or literals", id="nothing"),
    ],
)
def test_an_unusable_pattern_is_named(patterns: list[str], literals: list[str], message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        PatternDetector(patterns, literals)


def test_a_pattern_that_explodes_elsewhere_takes_linear_time() -> None:
    detector = PatternDetector([r"(a+)+$", r"(x|xx|xxx)*y"])
    started = time.process_time()
    assert detector.find("a" * 20_000 + "!" + "x" * 20_000) == []
    assert time.process_time() - started < 5


def test_long_lists_of_literals_compile() -> None:
    literals = [f"product-{i:05d}-é" for i in range(3000)]
    detector = PatternDetector(literals=literals, ignore_case=True)
    assert found(detector, "see PRODUCT-01234-É") == ["PRODUCT-01234-É"]
    assert found(detector, "see product-99999-é") == []


@pytest.mark.parametrize("literals", [[], ["abc"]], ids=["patterns", "literals"])
def test_more_matches_than_are_told_apart_stretch_to_the_end(literals: list[str]) -> None:
    text = "abc " * (MAX_MATCHES + 10) + "end"
    spans = PatternDetector([] if literals else ["ab."], literals).find(text)
    assert len(spans) == MAX_MATCHES + 1
    assert spans[-1].end == len(text)


def test_an_unpaired_surrogate_in_the_text_does_no_harm() -> None:
    assert found(PatternDetector(["end"], ["zq mark"]), "\ud800 zq mark \udfffend") == ["zq mark", "end"]


@given(st.text(max_size=30), st.text(max_size=30))
def test_masking_takes_out_the_literal_whatever_stands_around_it(before: str, after: str) -> None:
    text = f"{before} {MARK} {after}"
    masked = apply_edits(text, mask_edits(text, PatternDetector(literals=[MARK]).find(text), {}))
    assert MARK not in masked
    assert masked.count("<PATTERN_1>") == 1

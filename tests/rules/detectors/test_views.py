"""All readings of a text, and that a mask takes out what they show."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.detectors import apply_edits, mask_edits
from rules.detectors import views as views_module
from rules.detectors.patterns import PatternDetector
from rules.detectors.pii import PiiDetector
from rules.detectors.secrets import SecretDetector
from rules.detectors.views import may_be_encoded, views
from rules.errors import TooMuchToDecode
from tests.rules.detectors.encodings import ESCAPES, LAYERED, RUNS
from tests.rules.detectors.test_runs import BENIGN

MARK = "ZQ-MARK-7781"
EVERY = {**ESCAPES, **RUNS, **LAYERED}
PLAIN = st.text(st.one_of(st.sampled_from("aB9 .,:;\n\t='\"(é😀İ\u0301漢"), st.characters(codec="utf-8")), max_size=25)


@pytest.mark.parametrize("encode", EVERY.values(), ids=EVERY)
@given(before=PLAIN, after=PLAIN)
@settings(max_examples=40)
def test_masking_takes_an_encoded_literal_out_of_every_reading(encode: object, before: str, after: str) -> None:
    assert callable(encode)
    detector = PatternDetector(literals=[MARK])
    text = f"{before}|{encode(MARK)}|{after}"  # pairs of digits may go on after a space
    spans = detector.find(text)
    assert len(spans) == 1
    (span,) = spans
    masked = apply_edits(text, mask_edits(text, spans, {}))
    assert not any(MARK in view.text for view in views(masked))
    assert detector.find(masked) == []
    assert masked.startswith(text[: span.start])
    assert masked.endswith(text[span.end :])
    assert span.start > len(before)  # what stood around it is untouched
    assert text[span.end :].endswith(f"|{after}")


@pytest.mark.parametrize("encode", ESCAPES.values(), ids=ESCAPES)
@given(before=PLAIN, after=PLAIN, start=st.integers(0, len(MARK) - 1), length=st.integers(1, len(MARK)))
@settings(max_examples=40)
def test_a_literal_half_plain_and_half_encoded_is_masked_and_no_more(
    encode: object, before: str, after: str, start: int, length: int
) -> None:
    assert callable(encode)
    end = min(len(MARK), start + length)
    if MARK[end : end + 1].isalnum() and encode is ESCAPES["entities-without-end"]:
        end = len(MARK)  # an entity without its end would take the next digit in
    hidden = MARK[:start] + encode(MARK[start:end]) + MARK[end:]
    text = f"{before}|{hidden}|{after}"
    found = [text[s.start : s.end] for s in PatternDetector(literals=[MARK]).find(text)]
    assert found == [hidden]


@given(
    st.text(
        st.one_of(st.sampled_from("%41&#90;\\u005aWlEt5a51 =\n-é😀\u200b\u0301\U000e0041\u202e"), st.characters()),
        max_size=60,
    )
)
def test_every_place_of_a_view_leads_to_a_valid_raw_range(text: str) -> None:
    for view in views(text):
        assert view.raw == text
        assert len(view.index) == len(view.text)
        for start in range(len(view.text)):
            first, last = view.to_raw(start, start + 1)
            assert 0 <= first < last <= len(text)


def test_a_word_beside_a_run_says_what_it_holds() -> None:
    value = "k7Jd92mQx0LzP4vT8sWn"
    text = f'api_key = "{base64.b64encode(value.encode()).decode()}"'
    assert [(s.label, text[s.start : s.end]) for s in SecretDetector().find(text)] == [("SECRET", text[11:-1])]


@pytest.mark.parametrize("encode", [*RUNS.values(), *ESCAPES.values()], ids=[*RUNS, *ESCAPES])
def test_personal_data_and_secrets_are_found_encoded(encode: object) -> None:
    assert callable(encode)
    mail = encode("ann.lee@mail.test.org")
    token = encode("gh" + "p_" + "7abcDEF" * 6)
    assert [s.label for s in PiiDetector(["EMAIL"]).find(f"to: {mail}, é")] == ["EMAIL"]
    assert [s.label for s in SecretDetector().find(f"is {token} !")] == ["GITHUB_TOKEN"]


def test_a_hit_over_two_runs_covers_both_and_what_is_between() -> None:
    one, two = (base64.b64encode(part.encode()).decode() for part in ("it begins ZQ", "MARK and it ends"))
    text = f"a {one} b {two} c"
    found = [text[s.start : s.end] for s in PatternDetector([r"ZQ\sMARK"]).find(text)]
    assert found == [f"{one} b {two}"]


def test_a_third_layer_is_not_decoded() -> None:
    text = MARK
    for _ in range(3):
        text = base64.b64encode(text.encode()).decode()
    assert PatternDetector(literals=[MARK]).find(text) == []


@pytest.mark.parametrize("text", BENIGN.values(), ids=BENIGN)
def test_ids_hashes_code_and_words_have_one_reading(text: str) -> None:
    assert [view.text for view in views(text)] == [text]


def test_clean_text_is_known_by_one_search() -> None:
    assert not may_be_encoded("Plain prose, with (100 %) punctuation & a 12-digit number 123456789012.")
    assert may_be_encoded("a%20b")


def test_readings_that_are_too_long_together_leave_a_text_undecided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views_module, "MAX_READ_CHARS", 10)
    assert len(views("a%20b")) == 2
    with pytest.raises(TooMuchToDecode):
        views("a%20b and some more")

from __future__ import annotations

import time
from typing import Any

import phonenumbers
import pytest

from rules.detectors.linear import MAX_MATCHES
from rules.detectors.pii import MAX_PHONE_CHECKS, PII_KINDS, PiiDetector
from rules.policy import Policy
from rules.rule import Action, Rule
from rules.screen import detect
from tests.fakes import user

DETECTOR = PiiDetector()


def found(text: str, detector: PiiDetector = DETECTOR) -> list[tuple[str, str]]:
    return [(s.label, text[s.start : s.end]) for s in detector.find(text)]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        pytest.param("EMAIL", "ann.lee+shop@mail.test.org", id="email"),
        pytest.param("EMAIL", "joe@firma.rs", id="email with a short domain"),
        pytest.param("PHONE", "+1 415 555 2671", id="phone us"),
        pytest.param("PHONE", "+44 (0)20 7946 0958", id="phone uk"),
        pytest.param("PHONE", "+4915123456789", id="phone in one piece"),
        pytest.param("CARD", "4111111111111111", id="card"),
        pytest.param("CARD", "4111 1111 1111 1111", id="card in groups"),
        pytest.param("CARD", "4111-1111-1111-1111", id="card with dashes"),
        pytest.param("CARD", "3782 822463 10005", id="card 4-6-5"),
        pytest.param("CARD", "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", id="card digit by digit"),
        pytest.param("IBAN", "GB82 WEST 1234 5698 7654 32", id="iban"),
        pytest.param("IBAN", "de89370400440532013000", id="iban in lower case"),
        pytest.param("US_SSN", "536-90-4399", id="ssn"),
        pytest.param("IP_ADDRESS", "84.23.11.9", id="ipv4"),
        pytest.param("IP_ADDRESS", "2001:db8::8a2e:370:7334", id="ipv6"),
        pytest.param("ES_DNI", "54362315K", id="dni"),
        pytest.param("ES_DNI", "X-2482300-W", id="nie"),
        pytest.param("FR_NIR", "2 95 10 99 126 111 93", id="nir"),
        pytest.param("IT_FISCAL_CODE", "RCCMNL83S18D969H", id="codice fiscale"),
        pytest.param("BR_CPF", "390.533.447-05", id="cpf"),
    ],
)
@pytest.mark.parametrize(
    "around", ["{}", "My data: {}.", "x, {}, y", "(é {})"], ids=["alone", "sentence", "list", "unicode"]
)
def test_personal_data_is_found_whole(kind: str, value: str, around: str) -> None:
    assert found(around.format(value)) == [(kind, value)]


@pytest.mark.parametrize(
    ("kind", "context", "value"),
    [
        pytest.param("US_SSN", "social security number ", "536904399", id="ssn"),
        pytest.param("UK_NHS", "NHS number ", "943 476 5870", id="nhs"),
        pytest.param("DE_IDNR", "Steuer-ID ", "36 574 261 809", id="idnr"),
        pytest.param("JP_MY_NUMBER", "マイナンバーは", "1234 5678 9018", id="my number"),
        pytest.param("IN_AADHAAR", "Aadhaar: ", "2341 2341 2346", id="aadhaar"),
    ],
)
def test_common_looking_numbers_need_a_word_that_says_what_they_are(kind: str, context: str, value: str) -> None:
    assert found(context + value) == [(kind, value)]
    assert found("Order " + value) == []


@pytest.mark.parametrize(
    "text",
    [
        "No personal data here.",
        "In 2024 we sold 1,234,567 units for 89.90 each.",
        "4111111111111112",  # fails the check digit
        "0000 0000 0000 0000",
        "id 94111111111111111111111",
        "0.4111111111111111",
        "1700000000000",  # a time in milliseconds
        "GB83 WEST 1234 5698 7654 32",
        "536904399",
        "000-12-3456 and 666-12-3456",
        "1.2.3.4.5, v1.2.3.4, version 10.0.0.1, 999.1.1.1, 127.0.0.1, 0.0.0.0, 255.255.255.0",
        "std::vector<int> a::b, 12:30:45, 00:1a:2b:3c:4d:5e, ::1",
        "icon@2x.png, git@github.com:a/b.git, a@b, @user, left-pad@1.3.0",
        "+12 and +1 234, 5+4915123456789",
        "54362315A",
        "57 68 61 74 20 69 73 20 61 20",  # bytes
        "call 415 555 2671",  # national form, and no region configured
    ],
)
def test_look_alikes_are_left_alone(text: str) -> None:
    assert found(text) == []


def test_national_phone_numbers_are_found_where_the_region_is_configured() -> None:
    detector = PiiDetector(["PHONE"], region="US")
    assert found("call (415) 555-2671 now", detector) == [("PHONE", "(415) 555-2671")]
    assert found("in 2024 and 2025", detector) == []


def test_a_number_right_before_a_card_does_not_hide_it() -> None:
    assert found("order 12 4111 1111 1111 1111 123") == [("CARD", "4111 1111 1111 1111")]
    assert found("2024 4111 1111 1111 1111") == [("CARD", "4111 1111 1111 1111")]


def test_every_kind_can_be_chosen_alone() -> None:
    assert all(PiiDetector([kind]).find("ann@mail.test.org 1") is not None for kind in PII_KINDS)
    assert found("ann@mail.test.org", PiiDetector([k for k in PII_KINDS if k != "EMAIL"])) == []


def test_more_matches_than_are_told_apart_stretch_to_the_end() -> None:
    text = "a@b.com " * (MAX_MATCHES + 10) + "end"
    spans = DETECTOR.find(text)
    assert len(spans) == MAX_MATCHES + 1
    assert spans[-1].end == len(text)


def test_disguised_digits_are_found() -> None:
    assert found("４１１１ １１１１ １１１１ １１１１") == [("CARD", "４１１１ １１１１ １１１１ １１１１")]
    assert found("ann\u200b@mail.test.org") == [("EMAIL", "ann\u200b@mail.test.org")]
    assert found("jörg@mail.test.org") == [("EMAIL", "jörg@mail.test.org")]


def test_only_the_chosen_kinds_are_found() -> None:
    text = "ann@mail.test.org 4111111111111111"
    assert found(text, PiiDetector(["CARD"])) == [("CARD", "4111111111111111")]
    assert set(PII_KINDS) >= {"EMAIL", "PHONE", "CARD", "IBAN", "US_SSN", "IP_ADDRESS"}


def test_beyond_the_budget_candidates_count_by_their_shape() -> None:
    text = " ".join(f"+99{i:09d}" for i in range(MAX_PHONE_CHECKS + 5))  # no country has these numbers
    assert len(found(text, PiiDetector(["PHONE"]))) == 5


def test_the_budget_is_that_of_a_content_not_of_each_of_its_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[str] = []
    matcher = phonenumbers.PhoneNumberMatcher

    def counted(text: str, region: str | None) -> Any:
        checked.append(text)
        return matcher(text, region)

    monkeypatch.setattr(phonenumbers, "PhoneNumberMatcher", counted)
    rule = Rule(Policy("p", "rev", detector=PiiDetector(["PHONE"])), (), {Action.FLAG: 0.5})
    texts = [" ".join(f"+99{i:03d}{j:06d}." for j in range(100)) for i in range(10)]  # no country has these numbers
    verdict = detect(rule, user(*texts))
    assert len(checked) == MAX_PHONE_CHECKS
    assert {f.leaf for f in verdict.findings} == set(range(3, 10))  # by their shape
    assert detect(rule, user(*texts[:3])).findings == ()  # another content has a budget of its own


def test_a_number_that_is_read_again_is_not_checked_again() -> None:
    content = user(*(f"{text} " for text in [" ".join(f"+99{i:09d}" for i in range(MAX_PHONE_CHECKS))] * 3))
    rule = Rule(Policy("p", "rev", detector=PiiDetector(["PHONE"])), (), {Action.FLAG: 0.5})
    assert detect(rule, content).findings == ()
    real = user("call +1 415 555 2671 ext. 5", "or +1 415 555 2671 ext. 5", "or +1 415 555 2671 today")
    pieces = [real.leaves[f.leaf].text[f.span.start : f.span.end] for f in detect(rule, real).findings]
    assert pieces == ["+1 415 555 2671 ext. 5"] * 2 + ["+1 415 555 2671"]


@pytest.mark.parametrize(
    "text",
    ["1 " * 50_000, "4111 " * 20_000, "a." * 50_000 + "@x.png", "AB12 " * 20_000, "a@b." * 20_000, "1:" * 50_000],
    ids=["digits", "groups", "email", "iban", "domains", "colons"],
)
def test_hostile_repetition_takes_bounded_time(text: str) -> None:
    started = time.process_time()
    DETECTOR.find(text)
    assert time.process_time() - started < 10

"""The doctor's judgement: what was seen, and what follows from it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from proxy.client_view import ClientView, Counted, ErrorSeen, Kind, StreamSeen
from proxy.doctor import Check, Outcome, RefusalMode, Report, Visit, examine

WHOLE = StreamSeen(first_has_choice=True, first_has_role=True, has_done=True)
OURS: Any = {"decision": "forward", "has_decision_id": True, "policy_set": "a"}
PLAIN = ClientView(200, finish_reasons=("stop",), text="Paris.", **OURS)
STREAM = ClientView(200, Kind.SSE, finish_reasons=("stop",), text="Paris.", stream=WHOLE, **OURS)

REFUSED: Any = {**OURS, "decision": "refuse"}
ERROR = ErrorSeen("content_filter", "invalid_request_error", "content_policy_violation", "No.")
ERROR_VIEW = ClientView(400, error=ERROR, should_retry="false", **REFUSED)
MESSAGE_VIEW = ClientView(200, finish_reasons=("content_filter",), text="No.", **REFUSED)
MESSAGE_STREAM = replace(MESSAGE_VIEW, kind=Kind.SSE, stream=WHOLE)

ANSWER = ClientView(200, finish_reasons=("stop",), text="Sure!")
ANSWER_STREAM = replace(ANSWER, kind=Kind.SSE, stream=WHOLE)
ONCE = Counted(judged=1, refused=1)


def errors(plain: ClientView = ERROR_VIEW, stream: ClientView = ERROR_VIEW, **more: Any) -> Visit:
    return Visit(PLAIN, STREAM, plain, stream, **more)


def messages(plain: ClientView = MESSAGE_VIEW, stream: ClientView = MESSAGE_STREAM, **more: Any) -> Visit:
    return Visit(PLAIN, STREAM, plain, stream, **more)


def codes(report: Report, check: Check) -> list[str]:
    return [f.code for f in report.findings if f.check is check]


def bad(report: Report) -> set[tuple[Check, str]]:
    return {(f.check, f.code) for f in report.findings if f.outcome is Outcome.PROBLEM}


@pytest.mark.parametrize("configured", [None, "error"])
def test_errors_that_survive(configured: RefusalMode | None) -> None:
    report = examine(errors(configured=configured, refusal_texts=frozenset({"No."})))
    assert (report.exit_code, report.mode, report.advice, bad(report)) == (0, "error", "error", set())


@pytest.mark.parametrize("configured", [None, "message"])
def test_messages_that_survive(configured: RefusalMode | None) -> None:
    report = examine(messages(configured=configured, refusal_texts=frozenset({"No."})))
    assert (report.exit_code, report.mode, report.advice, bad(report)) == (0, "message", "message", set())


def test_what_cannot_be_seen_from_outside_is_said() -> None:
    report = examine(errors())
    unchecked = {f.check for f in report.findings if f.outcome is Outcome.NOT_CHECKED}
    assert unchecked == {Check.RETRIES, Check.OUTAGE}


@pytest.mark.parametrize(
    ("view", "code"),
    [
        (replace(ERROR_VIEW, kind=Kind.SSE, stream=StreamSeen()), "error_as_stream"),
        (replace(ERROR_VIEW, status=500), "status_changed"),
        (replace(ERROR_VIEW, status=500, error=None), "status_changed"),
        (replace(ERROR_VIEW, status=403), "status_changed"),
        (replace(ERROR_VIEW, status=302, error=None), "status_changed"),
        (replace(ERROR_VIEW, error=replace(ERROR, code="400")), "code_changed"),
        (replace(ERROR_VIEW, error=replace(ERROR, code=None)), "code_changed"),
        (replace(ERROR_VIEW, kind=Kind.OTHER, error=None), "body_changed"),
        (replace(ERROR_VIEW, status=200), "error_in_success"),
        (replace(ERROR_VIEW, fault="the connection broke off"), "broken_off"),
        (replace(ANSWER, decision="refuse"), "finish_reason_changed"),
    ],
    ids=lambda v: v if isinstance(v, str) else f"{v.status} {v.kind} {v.error and v.error.code}",
)
@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "stream"])
def test_an_error_that_was_changed(view: ClientView, code: str, streamed: bool) -> None:
    visit = errors(stream=view) if streamed else errors(plain=view)
    report = examine(visit)
    assert bad(report) == {(Check.REFUSED_STREAM if streamed else Check.REFUSED_PLAIN, code)}
    assert (report.exit_code, report.mode, report.advice) == (1, "error", "message")


@pytest.mark.parametrize(
    ("plain", "stream", "code"),
    [
        (MESSAGE_VIEW, replace(MESSAGE_STREAM, finish_reasons=("stop",)), "finish_reason_changed"),
        (MESSAGE_VIEW, replace(MESSAGE_STREAM, stream=replace(WHOLE, has_done=False)), "no_done"),
        (MESSAGE_VIEW, MESSAGE_VIEW, "not_a_stream"),
        (MESSAGE_STREAM, MESSAGE_STREAM, "not_a_completion"),
        (MESSAGE_VIEW, replace(MESSAGE_STREAM, text="No"), "text_changed"),
        (MESSAGE_VIEW, replace(ERROR_VIEW, status=500), "became_error"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_a_message_that_was_changed(plain: ClientView, stream: ClientView, code: str) -> None:
    report = examine(messages(plain, stream))
    assert {c for _, c in bad(report)} == {code}
    assert (report.exit_code, report.mode, report.advice) == (1, "message", None)


def test_the_configuration_decides_about_the_mode() -> None:
    report = examine(messages(configured="error"))
    assert {c for _, c in bad(report)} == {"became_message"}
    report = examine(errors(configured="message"))
    assert {c for _, c in bad(report)} == {"became_error"}


@pytest.mark.parametrize(
    ("view", "more", "code", "exit_code"),
    [
        pytest.param(replace(ANSWER, counted=ONCE), {}, "bypassed", 1, id="the metrics count a refusal"),
        pytest.param(replace(ANSWER, counted=Counted(0, 0)), {}, "bypassed", 1, id="safeguard was not asked"),
        pytest.param(replace(ANSWER, counted=Counted(1, 0)), {}, "not_refused", 2, id="safeguard let it pass"),
        pytest.param(replace(ANSWER, **OURS), {}, "not_refused", 2, id="safeguard says that it let it pass"),
        pytest.param(replace(ANSWER, **OURS | {"policy_set": "b"}), {}, "bypassed", 1, id="another route"),
        pytest.param(ANSWER, {}, "bypassed", 1, id="only the harmless answer is ours"),
        pytest.param(ANSWER, {"plain": replace(PLAIN, decision=None)}, "answered", 1, id="no trace at all"),
        pytest.param(
            ANSWER, {"plain": replace(PLAIN, decision=None), "must_refuse": True}, "bypassed", 1, id="surely refused"
        ),
        pytest.param(
            replace(ANSWER, text="No."),
            {"refusal_texts": frozenset({"No."})},
            "finish_reason_changed",
            1,
            id="our text",
        ),
    ],
)
def test_an_answer_in_place_of_a_refusal(view: ClientView, more: dict[str, Any], code: str, exit_code: int) -> None:
    visit = replace(errors(view, replace(view, kind=Kind.SSE, stream=WHOLE)), **more)
    report = examine(visit)
    assert (codes(report, Check.REFUSED_PLAIN), codes(report, Check.REFUSED_STREAM)) == ([code], [code])
    assert report.exit_code == exit_code
    assert report.advice == ("message" if code == "bypassed" else None)


@pytest.mark.parametrize("answered", [ANSWER_STREAM, replace(ANSWER_STREAM, **OURS)], ids=["foreign", "ours"])
def test_a_text_that_is_refused_in_one_form_must_be_in_the_other(answered: ClientView) -> None:
    report = examine(errors(stream=answered))
    assert bad(report) == {(Check.REFUSED_STREAM, "bypassed")}
    assert (report.exit_code, report.advice) == (1, "message")


def test_a_bypass_of_messages_has_no_mode_that_helps() -> None:
    report = examine(messages(ANSWER, ANSWER_STREAM, configured="message"))
    assert (report.exit_code, report.advice) == (1, None)


def test_a_guard_that_cannot_judge_hides_no_bypass() -> None:
    down = replace(ERROR_VIEW, status=503, error=ErrorSeen("guard_unavailable", "server_error"))
    assert examine(errors(down, down)).exit_code == 2
    report = examine(errors(down, replace(ANSWER_STREAM, counted=ONCE)))
    assert (report.exit_code, report.advice) == (1, "message")


@pytest.mark.parametrize(
    ("counts", "code", "outcome"),
    [
        ((1, 1), "ok", Outcome.OK),
        ((1, 4), "retried", Outcome.PROBLEM),
        ((0, 1), "not_counted", Outcome.WARNING),
    ],
)
def test_retries_are_counted(counts: tuple[int, int], code: str, outcome: Outcome) -> None:
    plain, stream = (replace(ERROR_VIEW, counted=Counted(n, n)) for n in counts)
    report = examine(errors(plain, stream))
    [finding] = [f for f in report.findings if f.check is Check.RETRIES]
    assert (finding.code, finding.outcome) == (code, outcome)
    assert report.advice == ("message" if outcome is Outcome.PROBLEM else "error")


@pytest.mark.parametrize(
    ("view", "code", "outcome"),
    [
        (replace(STREAM, status=500, kind=Kind.JSON), "stream_failed", Outcome.PROBLEM),
        (PLAIN, "not_a_stream", Outcome.PROBLEM),
        (replace(STREAM, error=ERROR), "error_in_stream", Outcome.PROBLEM),
        (replace(STREAM, stream=replace(WHOLE, has_named_events=True)), "named_events", Outcome.PROBLEM),
        (replace(STREAM, stream=replace(WHOLE, has_unreadable=True)), "unreadable_events", Outcome.PROBLEM),
        (replace(STREAM, stream=replace(WHOLE, has_done=False)), "no_done", Outcome.PROBLEM),
        (replace(STREAM, stream=replace(WHOLE, has_data_after_done=True)), "after_done", Outcome.WARNING),
        (replace(STREAM, finish_reasons=()), "no_finish_reason", Outcome.PROBLEM),
        (replace(STREAM, stream=StreamSeen(has_done=True)), "empty_first_chunk", Outcome.PROBLEM),
        (replace(STREAM, stream=replace(WHOLE, first_has_role=False)), "no_role", Outcome.WARNING),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_a_stream_that_was_changed(view: ClientView, code: str, outcome: Outcome) -> None:
    report = examine(replace(errors(), stream=view))
    [finding] = [f for f in report.findings if f.check is Check.STREAM]
    assert (finding.code, finding.outcome) == (code, outcome)
    assert report.exit_code == (outcome is Outcome.PROBLEM)
    assert report.advice == "error", "an error before the first byte needs no stream"


@pytest.mark.parametrize(
    "plain",
    [
        replace(PLAIN, status=401, finish_reasons=(), error=ErrorSeen("invalid_api_key")),
        replace(PLAIN, kind=Kind.OTHER, finish_reasons=()),
        ERROR_VIEW,
        MESSAGE_VIEW,
        replace(PLAIN, fault="no whole answer in time"),
    ],
    ids=["401", "a web page", "refused by error", "refused by message", "cut"],
)
def test_without_a_harmless_answer_nothing_is_concluded(plain: ClientView) -> None:
    report = examine(Visit(plain))
    assert (codes(report, Check.PLAIN), report.exit_code, report.advice) == (["unusable"], 2, None)


def test_lost_headers_are_warnings() -> None:
    lost: Any = {"decision": None, "has_decision_id": False, "policy_set": None}
    stripped: Any = lost | {"should_retry": None}
    report = examine(
        Visit(
            replace(PLAIN, **lost),
            replace(STREAM, **lost),
            replace(ERROR_VIEW, **stripped),
            replace(ERROR_VIEW, **stripped),
        )
    )
    assert codes(report, Check.HEADERS) == ["headers_lost", "retry_header_lost"]
    assert (report.exit_code, report.advice) == (0, "error")
    renamed = replace(errors(), plain=replace(PLAIN, has_renamed_headers=True))
    assert codes(examine(renamed), Check.HEADERS) == ["headers_renamed"]


def test_what_is_lost_of_an_error_without_harm_is_a_warning() -> None:
    view = replace(ERROR_VIEW, error=replace(ERROR, inner_code=None, message="Error: No."))
    report = examine(errors(view, view, refusal_texts=frozenset({"No."})))
    assert codes(report, Check.REFUSED_PLAIN) == ["details_lost", "text_changed"]
    assert report.exit_code == 0


def test_a_report_is_json_without_content() -> None:
    visit = errors(ANSWER, ANSWER_STREAM, refusal_texts=frozenset({"No."}))
    printed = json.dumps([examine(visit).record(), visit.record()])
    assert "Sure!" not in printed
    assert "No." not in printed.replace("No recommendation", "")


def test_the_page_names_every_code() -> None:
    root = Path(__file__).parents[2]
    source = (root / "proxy/doctor.py").read_text(encoding="utf-8")
    codes = set(re.findall(r'(?:_problem\(|_warning\(|NOT_CHECKED,)\s*"(\w+)"', source))
    page = (root / "docs/doctor.md").read_text(encoding="utf-8")
    assert len(codes) > 20
    assert codes == set(re.findall(r"`(\w+)`", page.partition("## Findings")[2].partition("## How")[0])) - {
        "innererror"
    }

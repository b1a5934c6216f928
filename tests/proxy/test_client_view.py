"""What is read from an answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxy import refusals
from proxy.api import Asked
from proxy.client_view import ErrorSeen, Kind, StreamSeen, view_answer
from tests.end_to_end.servers import DONE, chunk, completion, event, text_stream

SSE = {"content-type": "text/event-stream; charset=utf-8"}
JSON = {"content-type": "application/json"}
WHOLE = StreamSeen(first_has_choice=True, first_has_role=True, has_done=True)


def encoded(value: Any) -> bytes:
    return json.dumps(value).encode()


def test_a_completion() -> None:
    view = view_answer(200, JSON, encoded(completion("Paris.")))
    assert (view.kind, view.text, view.finish_reasons, view.error) == (Kind.JSON, "Paris.", ("stop",), None)


def test_a_refusal_as_an_error() -> None:
    headers = {
        **JSON,
        "x-safeguard-decision": "refuse",
        "x-safeguard-decision-id": "abc-input",
        "x-safeguard-policy-set": "0123",
        "x-should-retry": "false",
    }
    view = view_answer(400, headers, encoded(refusals.error_body("No.", ["hate"], "abc-input")))
    assert view.error == ErrorSeen("content_filter", "invalid_request_error", "content_policy_violation", "No.")
    assert (view.decision, view.has_decision_id, view.policy_set) == ("refuse", True, "0123")
    assert (view.should_retry, view.has_renamed_headers) == ("false", False)


def test_headers_under_the_names_that_litellm_gives_them() -> None:
    headers = {"llm_provider-x-safeguard-decision": "forward", "llm_provider-x-safeguard-decision-id": "a"}
    view = view_answer(200, headers, b"")
    assert (view.decision, view.has_decision_id, view.has_renamed_headers) == ("forward", True, True)


def test_a_refusal_as_a_stream() -> None:
    body = refusals.message_stream("No.", Asked("c", "m"), None)
    view = view_answer(200, SSE, body)
    assert (view.kind, view.text, view.finish_reasons, view.stream) == (Kind.SSE, "No.", ("content_filter",), WHOLE)


HELLO = text_stream("Hello")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(b"".join(HELLO), WHOLE, id="whole"),
        pytest.param(b": hm\n\n" + b"".join(HELLO), WHOLE, id="comments"),
        pytest.param(b"event: message\n" + b"".join(HELLO), WHOLE, id="the name that every event has"),
        pytest.param(b"".join(HELLO).replace(b"\n", b"\r\n"), WHOLE, id="CRLF"),
        pytest.param(b"".join(HELLO[:-1]), StreamSeen(True, True), id="no DONE"),
        pytest.param(b"".join([*HELLO, HELLO[0]]), StreamSeen(True, True, True, True), id="data after DONE"),
        pytest.param(b"event: ping\n" + b"".join(HELLO), StreamSeen(True, True, True, False, True), id="named"),
        pytest.param(b"event: ping\ndata: {}\n\n" + DONE, StreamSeen(has_done=True, has_named_events=True), id="named first"),
        pytest.param(b"data: hello\n\n" + b"".join(HELLO), StreamSeen(True, True, True, has_unreadable=True), id="not JSON"),
        pytest.param(b"".join(HELLO)[:-1], StreamSeen(True, True, has_done=False, has_unreadable=True), id="cut in an event"),
        pytest.param(chunk() + b"".join(HELLO), StreamSeen(has_done=True), id="no choice first"),
        pytest.param(chunk({"content": "x"}) + DONE, StreamSeen(first_has_choice=True, has_done=True), id="no role"),
        pytest.param(b"", StreamSeen(), id="empty"),
    ],
)  # fmt: skip
def test_what_a_stream_has(body: bytes, expected: StreamSeen) -> None:
    assert view_answer(200, SSE, body).stream == expected


@pytest.mark.parametrize(
    ("content_type", "body", "kind"),
    [
        ("text/html", b"<html>", Kind.OTHER),
        ("application/json", b"<html>", Kind.OTHER),
        ("application/json", b"[1]", Kind.OTHER),
        ("application/json", b"[" * 100_000, Kind.OTHER),
        ("", b"{}", Kind.OTHER),
    ],
)
def test_bodies_that_no_client_reads(content_type: str, body: bytes, kind: Kind) -> None:
    assert view_answer(200, {"content-type": content_type}, body).kind is kind


@pytest.mark.parametrize(
    "body",
    [
        {"choices": None},
        {"choices": "x"},
        {"choices": [1, {"message": 1, "finish_reason": {}}]},
        {"error": "text"},
        {"error": {"code": 400, "innererror": "x", "message": {}}},
    ],
)
def test_odd_bodies_are_read_without_failing(body: Any) -> None:
    view_answer(400, JSON, encoded(body)).record()
    view_answer(400, SSE, event(body)).record()


def test_no_content_is_printed() -> None:
    secret = "what a user wrote"
    error = {"error": {"code": secret, "type": secret, "message": secret, "innererror": {"code": secret}}}
    for view in (
        view_answer(200, JSON, encoded(completion(secret))),
        view_answer(400, {**JSON, "x-safeguard-decision": secret}, encoded(error)),
    ):
        assert secret not in repr(view)
        assert secret not in json.dumps(view.record())

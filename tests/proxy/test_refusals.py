"""The exact shapes of a refusal."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxy import refusals
from proxy.api import Asked
from proxy.sse import DONE, EventDecoder

USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}


def chunks(stream: bytes) -> list[Any]:
    """The events of a stream; ``[DONE]`` stays a word."""
    events = list(EventDecoder(1 << 20).feed(stream))
    return [e if e == DONE else json.loads(e) for e in events]


def stream(n: int = 1, *, include_usage: bool = False, usage: dict[str, Any] | None = None) -> list[Any]:
    return chunks(refusals.message_stream("No.", Asked("chatcmpl-1", "m", n, True, include_usage), usage))


def test_an_error_refusal_is_what_openai_and_azure_clients_know() -> None:
    assert refusals.error_body("No.", ("hate", "secrets"), "abc-input") == {
        "error": {
            "message": "No.",
            "type": "invalid_request_error",
            "param": "messages",
            "code": "content_filter",
            "innererror": {
                "code": "content_policy_violation",
                "policies": ["hate", "secrets"],
                "decision_id": "abc-input",
            },
        }
    }
    assert refusals.NO_RETRY == {"x-should-retry": "false"}


@pytest.mark.parametrize("n", [1, 3])
def test_a_message_refusal_is_a_completion_with_one_choice_per_requested_one(n: int) -> None:
    body = refusals.message_body("No.", Asked("chatcmpl-1", "m", n), None)
    assert isinstance(body.pop("created"), int)
    assert body == {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "m",
        "choices": [
            {
                "index": i,
                "message": {"role": "assistant", "content": "No.", "refusal": None},
                "logprobs": None,
                "finish_reason": "content_filter",
            }
            for i in range(n)
        ],
        "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
    }


def test_a_refused_answer_keeps_what_the_upstream_has_counted() -> None:
    body = refusals.message_body("No.", Asked("c", "m"), USAGE)
    assert body["usage"] == USAGE


@pytest.mark.parametrize("n", [1, 2])
def test_a_streamed_refusal_is_text_then_one_closing_chunk_per_choice_then_done(n: int) -> None:
    events = stream(n)
    assert events[-1] == DONE
    assert all(e["id"] == "chatcmpl-1" and e["object"] == "chat.completion.chunk" for e in events[:-1])
    opening, closing = events[:n], events[n:-1]
    assert [e["choices"] for e in opening] == [
        [{"index": i, "delta": {"role": "assistant", "content": "No."}, "finish_reason": None}] for i in range(n)
    ]
    assert [e["choices"] for e in closing] == [
        [{"index": i, "delta": {}, "finish_reason": "content_filter"}] for i in range(n)
    ]
    assert not any("usage" in e for e in events[:-1])


def test_a_usage_chunk_comes_last_and_only_if_it_was_asked_for() -> None:
    *_, last, done = stream(include_usage=True, usage=USAGE)
    assert done == DONE
    assert (last["choices"], last["usage"]) == ([], USAGE)
    assert stream(include_usage=True)[-2]["usage"] == refusals.empty_usage()
    assert "usage" not in stream(usage=USAGE)[-2]


def test_a_streamed_refusal_has_no_named_events_and_nothing_after_done() -> None:
    wire = refusals.message_stream("No.", Asked("c", "m", 2, True, True), None)
    assert b"event:" not in wire
    assert wire.endswith(b"data: [DONE]\n\n")
    assert wire.count(b"[DONE]") == 1


def test_no_refusal_text_can_leave_its_event() -> None:
    text = 'a\n\ndata: [DONE]\n\ndata: {"x":1}\r\u2028'
    wire = refusals.message_stream(text, Asked("c", "m"), None)
    assert chunks(wire)[0]["choices"][0]["delta"]["content"] == text
    assert len(chunks(wire)) == 3


def test_a_stream_that_cannot_be_finished_ends_in_an_error_and_done() -> None:
    assert chunks(refusals.error_stream({"error": {"code": "x"}})) == [{"error": {"code": "x"}}, DONE]

"""What a client gets when content is refused: the shapes of ``refusal: error`` and ``refusal: message``.

Sources: OpenAI's and Azure's error shapes. ``code`` is Azure's; ``innererror.code`` made LiteLLM 1.106 raise
ContentPolicyViolationError, 1.108 raises BadRequestError and keeps both codes. What clients make of all this is held by
``tests/conformance``.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from proxy import sse
from proxy.api import Asked
from proxy.strict_json import dump_json

NO_RETRY = {"x-should-retry": "false"}
"""openai-python and openai-node obey it: the same content would be refused again."""


def error_body(text: str, policies: Sequence[str], decision_id: str, param: str | None = "messages") -> dict[str, Any]:
    """``refusal: error``: the body of the 400; ``param`` is the request's field with the content, if it has one."""
    return {
        "error": {
            "message": text,
            "type": "invalid_request_error",
            "param": param,
            "code": "content_filter",
            "innererror": {
                "code": "content_policy_violation",
                "policies": list(policies),
                "decision_id": decision_id,
            },
        }
    }


def empty_usage() -> dict[str, int]:
    """Usage of a completion that no model was asked for."""
    return {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


def message_body(text: str, asked: Asked, usage: Mapping[str, Any] | None) -> dict[str, Any]:
    """``refusal: message``: a completion whose text is the refusal, one choice per requested one."""
    return {
        "id": asked.answer_id,
        "object": "chat.completion",
        "created": int(time.time()),
        "model": asked.model,
        "choices": [
            {
                "index": i,
                "message": {"role": "assistant", "content": text, "refusal": None},
                "logprobs": None,
                "finish_reason": "content_filter",
            }
            for i in range(asked.n)
        ],
        "usage": usage or empty_usage(),
        **asked.notes,
    }


def message_stream(text: str, asked: Asked, usage: Mapping[str, Any] | None) -> bytes:
    """A stream whose content is the refusal: deltas, one closing chunk per choice, usage if asked for, ``[DONE]``."""
    base = {
        "id": asked.answer_id,
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": asked.model,
    }

    def chunk(choices: list[dict[str, Any]], **more: Any) -> bytes:
        return sse.encode_event(dump_json({**base, "choices": choices, **more}))

    deltas = [
        chunk([{"index": i, "delta": {"role": "assistant", "content": text}, "finish_reason": None}])
        for i in range(asked.n)
    ]
    closing = [chunk([{"index": i, "delta": {}, "finish_reason": "content_filter"}]) for i in range(asked.n)]
    more = {**({"usage": usage or empty_usage()} if asked.include_usage else {}), **asked.notes}
    last = [chunk([], **more)] if more else []
    return b"".join((*deltas, *closing, *last, sse.DONE_EVENT))


def error_stream(body: Mapping[str, Any]) -> bytes:
    """The end of a stream that could not be finished: one error event and ``[DONE]``."""
    return sse.encode_event(dump_json(body)) + sse.DONE_EVENT

"""``/v1/completions`` as `proxy.api.Api`: the shapes of `proxy.completion_api` and `proxy.completion_stream`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from proxy import refusals, sse
from proxy.api import Asked
from proxy.chat import number_apart
from proxy.completion_api import COMPLETION_REQUEST, COMPLETION_RESPONSE, MAX_CHOICES
from proxy.completion_stream import CompletionStream
from proxy.hold import Hold
from proxy.schema import Collection, Misfit
from proxy.strict_json import dump_json
from proxy.text_input import count


class CompletionsApi:
    """Legacy text completions; see `proxy.api.Api`."""

    path = "/completions"
    content_field = "prompt"
    speaks = True
    lists_moderation = True

    def read_request(self, raw: Any, into: Collection) -> dict[str, Any]:
        """See `proxy.api.Api`."""
        body: dict[str, Any] = COMPLETION_REQUEST.clean(raw, (), into)
        if _n_choices(body) > MAX_CHOICES:
            raise Misfit(("n",), f"asks for more than {MAX_CHOICES} choices over all prompts")
        return body

    def asked(self, body: Mapping[str, Any], request_id: str) -> Asked:
        """See `proxy.api.Api`."""
        return Asked(
            answer_id=f"cmpl-{request_id}",
            model=body["model"],
            n=_n_choices(body),
            stream=body.get("stream") is True,
            include_usage=bool((body.get("stream_options") or {}).get("include_usage")),
        )

    def advise(self, body: dict[str, Any], text: str) -> bool:
        """See `proxy.api.Api`: a prompt is one text, the operator has no place in it."""
        return False

    def read_answer(self, raw: Any, into: Collection, asked: Asked) -> dict[str, Any]:
        """See `proxy.api.Api`."""
        completion = COMPLETION_RESPONSE.clean(raw, (), into)
        choices = completion.get("choices") if isinstance(completion, dict) else None
        if not choices or not all(isinstance(c.get("text"), str) for c in choices):
            raise Misfit(("choices",), "must be texts", "missing_field")
        if not all(_logprobs_match(c) for c in choices):
            self.without_details(completion)
        number_apart(choices)
        return {"id": asked.answer_id, "object": "text_completion", **completion}

    def without_details(self, answer: dict[str, Any]) -> None:
        """See `proxy.api.Api`."""
        for choice in answer["choices"]:
            choice["logprobs"] = None

    def refusal(self, asked: Asked, text: str, usage: Mapping[str, Any] | None) -> dict[str, Any]:
        """See `proxy.api.Api`: one choice for every one that was asked for, of every prompt."""
        choices = [_choice(i, text, "content_filter") for i in range(asked.n)]
        return {**_base(asked), "choices": choices, "usage": usage or refusals.empty_usage()}

    def refusal_stream(self, asked: Asked, text: str, usage: Mapping[str, Any] | None) -> bytes:
        """See `proxy.api.Api`."""
        base = _base(asked)
        texts = [_event(base, [_choice(i, text, None)]) for i in range(asked.n)]
        closing = [_event(base, [_choice(i, "", "content_filter")]) for i in range(asked.n)]
        last = [_event(base, [], usage=usage or refusals.empty_usage())] if asked.include_usage else []
        return b"".join((*texts, *closing, *last, sse.DONE_EVENT))

    def error_stream(self, body: Mapping[str, Any]) -> bytes:
        """See `proxy.api.Api`."""
        return refusals.error_stream(body)

    def as_stream(self, asked: Asked, answer: dict[str, Any]) -> bytes:
        """See `proxy.api.Api`: one chunk per choice."""
        base = {k: answer.get(k) for k in ("id", "object", "created", "model")}
        out = [
            _event(base, [{"index": 0, **choice, "finish_reason": choice.get("finish_reason") or "stop"}])
            for choice in answer["choices"]
        ]
        last = [_event(base, [], usage=answer["usage"])] if asked.include_usage and answer.get("usage") else []
        return b"".join((*out, *last, sse.DONE_EVENT))

    def new_stream(self, asked: Asked, hold: Hold, max_bytes: int, hidden: str | None) -> CompletionStream:
        """See `proxy.api.Api`."""
        return CompletionStream(asked, hold, max_bytes, hidden)


def _n_choices(body: Mapping[str, Any]) -> int:
    return (body.get("n") or 1) * count(body["prompt"])


def _logprobs_match(choice: Mapping[str, Any]) -> bool:
    """Whether a choice's tokens spell exactly its text: only then do they carry nothing unjudged."""
    logprobs = choice.get("logprobs")
    return not logprobs or "".join(logprobs["tokens"]) == choice["text"]


def _base(asked: Asked) -> dict[str, Any]:
    return {
        "id": asked.answer_id,
        "object": "text_completion",
        "created": int(time.time()),
        "model": asked.model,
    }


def _choice(index: int, text: str, finish: str | None) -> dict[str, Any]:
    return {"index": index, "text": text, "logprobs": None, "finish_reason": finish}


def _event(base: Mapping[str, Any], choices: list[dict[str, Any]], **more: Any) -> bytes:
    return sse.encode_event(dump_json({**base, "choices": choices, **more}))

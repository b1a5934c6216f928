"""``/v1/chat/completions`` as `proxy.api.Api`: the shapes of `proxy.chat_api`, `proxy.chat_stream` and `proxy.refusals`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from proxy import refusals, sse
from proxy.api import Asked
from proxy.chat_api import CHAT_REQUEST, CHAT_RESPONSE
from proxy.chat_stream import ChatStream
from proxy.hold import Hold
from proxy.schema import Collection, Misfit
from proxy.strict_json import dump_json

_LEADING = ("system", "developer")


class ChatApi:
    """Chat completions; see `proxy.api.Api`."""

    path = "/chat/completions"
    content_field = "messages"
    speaks = True
    lists_moderation = True

    def read_request(self, raw: Any, into: Collection) -> dict[str, Any]:
        """See `proxy.api.Api`."""
        body: dict[str, Any] = CHAT_REQUEST.clean(raw, (), into)
        return body

    def asked(self, body: Mapping[str, Any], request_id: str) -> Asked:
        """See `proxy.api.Api`."""
        return Asked(
            answer_id=f"chatcmpl-{request_id}",
            model=body["model"],
            n=body.get("n") or 1,
            stream=body.get("stream") is True,
            include_usage=bool((body.get("stream_options") or {}).get("include_usage")),
        )

    def advise(self, body: dict[str, Any], text: str) -> bool:
        """See `proxy.api.Api`: a message behind the system and developer messages that lead the conversation."""
        messages: list[dict[str, Any]] = body["messages"]
        at = next((i for i, m in enumerate(messages) if m["role"] not in _LEADING), len(messages))
        # models that know `developer` do not take both roles in one conversation
        role = messages[at - 1]["role"] if at else "system"
        messages.insert(at, {"role": role, "content": text})
        return True

    def read_answer(self, raw: Any, into: Collection, asked: Asked) -> dict[str, Any]:
        """See `proxy.api.Api`."""
        completion = CHAT_RESPONSE.clean(raw, (), into)
        choices = completion.get("choices") if isinstance(completion, dict) else None
        if not choices or not all(isinstance(c.get("message"), dict) for c in choices):
            raise Misfit(("choices",), "must be messages", "missing_field")
        if not logprobs_match(completion):
            self.without_details(completion)
        number_apart(choices)
        return {"id": asked.answer_id, "object": "chat.completion", **completion}

    def without_details(self, answer: dict[str, Any]) -> None:
        """See `proxy.api.Api`."""
        for choice in answer["choices"]:
            choice["logprobs"] = None

    def refusal(self, asked: Asked, text: str, usage: Mapping[str, Any] | None) -> dict[str, Any]:
        """See `proxy.api.Api`."""
        return refusals.message_body(text, asked, usage)

    def refusal_stream(self, asked: Asked, text: str, usage: Mapping[str, Any] | None) -> bytes:
        """See `proxy.api.Api`."""
        return refusals.message_stream(text, asked, usage)

    def error_stream(self, body: Mapping[str, Any]) -> bytes:
        """See `proxy.api.Api`."""
        return refusals.error_stream(body)

    def as_stream(self, asked: Asked, answer: dict[str, Any]) -> bytes:
        """See `proxy.api.Api`: per choice one chunk with everything and one that closes it."""
        base = {k: answer.get(k) for k in ("id", "created", "model")} | {"object": "chat.completion.chunk"}
        out: list[bytes] = []
        for choice in answer["choices"]:
            message = choice.get("message") or {}
            delta = {"role": "assistant"} | {k: v for k, v in message.items() if v is not None or k == "content"}
            if delta.get("tool_calls"):
                delta["tool_calls"] = [{**call, "index": i} for i, call in enumerate(delta["tool_calls"])]
            logprobs = choice.get("logprobs")
            for part, reason in ((delta, None), ({}, choice.get("finish_reason") or "stop")):
                entry = {"index": choice.get("index") or 0, "delta": part, "finish_reason": reason}
                if part and logprobs:
                    entry["logprobs"] = logprobs
                out.append(sse.encode_event(dump_json({**base, "choices": [entry]})))
        more = {"usage": answer["usage"]} if asked.include_usage and answer.get("usage") else {}
        if more := {**more, **asked.notes}:
            out.append(sse.encode_event(dump_json({**base, "choices": [], **more})))
        return b"".join((*out, sse.DONE_EVENT))

    def new_stream(self, asked: Asked, hold: Hold, max_bytes: int, hidden: str | None) -> ChatStream:
        """See `proxy.api.Api`."""
        return ChatStream(asked, hold, max_bytes, hidden)


def number_apart(choices: Sequence[dict[str, Any]]) -> None:
    """Number choices anew that share a number: a client that gets them as a stream would join what was judged apart."""
    if len({choice.get("index") or 0 for choice in choices}) < len(choices):
        for index, choice in enumerate(choices):
            choice["index"] = index


def logprobs_match(completion: dict[str, Any]) -> bool:
    """Whether every choice's logprob tokens spell exactly its text: only then do they carry nothing unjudged."""
    for choice in completion.get("choices") or ():
        message = choice.get("message") or {}
        for channel, entries in (choice.get("logprobs") or {}).items():
            if "".join(e["token"] for e in entries) != (message.get(channel) or ""):
                return False
    return True

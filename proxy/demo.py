"""The built-in upstream (``base_url: demo``): a server that repeats what it was told, without a network."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import struct
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from proxy import demo_responses, sse
from proxy.strict_json import dump_json
from proxy.upstream import Answer

MODEL = "demo"


class DemoCaller:
    """Answers every chat with an echo of its last message, prompts likewise; see `proxy.upstream.Caller`."""

    @asynccontextmanager
    async def call(
        self,
        method: str,
        path: str,
        body: bytes | None,
        headers: Mapping[str, str],
        *,
        content_type: str = "application/json",
        query: str = "",
    ) -> AsyncIterator[Answer]:
        """See `proxy.upstream.Caller`."""
        if (method, path) == ("GET", "/models"):
            listing = {
                "object": "list",
                "data": [{"id": MODEL, "object": "model", "created": 0, "owned_by": "safeguard"}],
            }
            yield Answer(200, "application/json", {}, _once(dump_json(listing)))
        elif (method, path) == ("POST", "/chat/completions") and body is not None:
            request = json.loads(body)
            if request.get("stream"):
                yield Answer(200, "text/event-stream", {}, _stream(request))
            else:
                yield Answer(200, "application/json", {}, _once(dump_json(_completion(request))))
        elif (method, path) == ("POST", "/completions") and body is not None:
            request = json.loads(body)
            if request.get("stream"):
                yield Answer(200, "text/event-stream", {}, _text_stream(request))
            else:
                yield Answer(200, "application/json", {}, _once(dump_json(_text_completion(request))))
        elif (method, path) == ("POST", "/embeddings") and body is not None:
            yield Answer(200, "application/json", {}, _once(dump_json(_embeddings(json.loads(body)))))
        elif (method, path) == ("POST", "/responses") and body is not None:
            request = json.loads(body)
            if request.get("stream"):
                yield Answer(200, "text/event-stream", {}, _once(demo_responses.stream(request)))
            else:
                yield Answer(200, "application/json", {}, _once(dump_json(demo_responses.response(request))))
        else:
            error = {"error": {"message": "The demo upstream has no such endpoint.", "type": "invalid_request_error"}}
            yield Answer(404, "application/json", {}, _once(dump_json(error)))

    async def close(self) -> None:
        """Nothing is open."""


def echo(request: Mapping[str, Any]) -> str:
    """What the demo upstream says to a request."""
    content = request["messages"][-1].get("content") or ""
    if isinstance(content, list):
        content = " ".join(part["text"] for part in content if part.get("type") == "text")
    return f"You said: {content}"


def _usage(request: Mapping[str, Any], answer: str) -> dict[str, int]:
    asked = sum(len(str(m.get("content") or "").split()) for m in request["messages"])
    said = len(answer.split())
    return {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said}


def _completion(request: Mapping[str, Any]) -> dict[str, Any]:
    answer = echo(request)
    return {
        "id": "demo",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": request["model"],
        "choices": [
            {"index": i, "message": {"role": "assistant", "content": answer}, "finish_reason": "stop"}
            for i in range(request.get("n") or 1)
        ],
        "usage": _usage(request, answer),
    }


async def _stream(request: Mapping[str, Any]) -> AsyncIterator[bytes]:
    answer = echo(request)
    base = {"id": "demo", "object": "chat.completion.chunk", "created": int(time.time()), "model": request["model"]}
    n = request.get("n") or 1

    def chunk(choices: list[dict[str, Any]], **more: Any) -> bytes:
        return sse.encode_event(dump_json({**base, "choices": choices, **more}))

    for piece in ("", *re.findall(r"\s*\S+|\s+$", answer)):
        for i in range(n):
            delta = {"content": piece} if piece else {"role": "assistant", "content": ""}
            yield chunk([{"index": i, "delta": delta, "finish_reason": None}])
    for i in range(n):
        yield chunk([{"index": i, "delta": {}, "finish_reason": "stop"}])
    if (request.get("stream_options") or {}).get("include_usage"):
        yield chunk([], usage=_usage(request, answer))
    yield sse.DONE_EVENT


def _texts(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def _text_choices(request: Mapping[str, Any]) -> list[str]:
    """The text of every choice, ``n`` for every prompt."""
    answers = [f"You said: {prompt}" for prompt in _texts(request["prompt"])]
    return [answer for answer in answers for _ in range(request.get("n") or 1)]


def _text_usage(request: Mapping[str, Any]) -> dict[str, int]:
    asked = sum(len(prompt.split()) for prompt in _texts(request["prompt"]))
    said = sum(len(text.split()) for text in _text_choices(request))
    return {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said}


def _text_completion(request: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": "demo",
        "object": "text_completion",
        "created": int(time.time()),
        "model": request["model"],
        "choices": [
            {"index": i, "text": text, "logprobs": None, "finish_reason": "stop"}
            for i, text in enumerate(_text_choices(request))
        ],
        "usage": _text_usage(request),
    }


async def _text_stream(request: Mapping[str, Any]) -> AsyncIterator[bytes]:
    base = {"id": "demo", "object": "text_completion", "created": int(time.time()), "model": request["model"]}
    for i, text in enumerate(_text_choices(request)):
        for piece in (*re.findall(r"\s*\S+|\s+$", text), ""):
            choice = {"index": i, "text": piece, "finish_reason": None if piece else "stop"}
            yield sse.encode_event(dump_json({**base, "choices": [choice]}))
    if (request.get("stream_options") or {}).get("include_usage"):
        yield sse.encode_event(dump_json({**base, "choices": [], "usage": _text_usage(request)}))
    yield sse.DONE_EVENT


DIMENSIONS = 8
"""Numbers of a demo embedding, unless the request says how many."""


def _embeddings(request: Mapping[str, Any]) -> dict[str, Any]:
    """Vectors that depend on the text and on nothing else, and mean nothing."""
    texts = _texts(request["input"])
    n_tokens = sum(len(text.split()) for text in texts)
    data = []
    for i, text in enumerate(texts):
        digest = hashlib.shake_128(text.encode()).digest(request.get("dimensions") or DIMENSIONS)
        vector: Any = [byte / 127.5 - 1 for byte in digest]
        if request.get("encoding_format") == "base64":
            vector = base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
        data.append({"object": "embedding", "index": i, "embedding": vector})
    usage = {"prompt_tokens": n_tokens, "total_tokens": n_tokens}
    return {"object": "list", "data": data, "model": request["model"], "usage": usage}


async def _once(body: bytes) -> AsyncIterator[bytes]:
    yield body

"""The built-in upstream (``base_url: demo``): a chat server that repeats what it was told, without a network."""

from __future__ import annotations

import json
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from proxy import demo_responses, sse
from proxy.strict_json import dump_json
from proxy.upstream import Answer

MODEL = "demo"


class DemoCaller:
    """Answers every chat with an echo of its last message; see `proxy.upstream.Caller`."""

    @asynccontextmanager
    async def call(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
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


async def _once(body: bytes) -> AsyncIterator[bytes]:
    yield body

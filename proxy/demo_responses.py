"""The demo upstream's half of ``/v1/responses``; see `proxy.demo`."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any

from proxy.api import Asked
from proxy.responses_events import TEXT, Events, Item, response_body


def echo(request: Mapping[str, Any]) -> str:
    """What the demo upstream says to a request: its last message, again."""
    said = request["input"]
    if isinstance(said, list):
        messages = [item for item in said if item.get("type", "message") == "message"]
        said = messages[-1]["content"] if messages else ""
    if isinstance(said, list):
        said = " ".join(part["text"] for part in said if isinstance(part.get("text"), str))
    return f"You said: {said}"


def response(request: Mapping[str, Any]) -> dict[str, Any]:
    """The answer in one piece."""
    answer = echo(request)
    n_asked, n_said = len(str(request["input"]).split()), len(answer.split())
    usage = {
        "input_tokens": n_asked,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": n_said,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": n_asked + n_said,
    }
    message = {**_HEAD, "status": "completed", "content": [TEXT.part(answer)]}
    return response_body(_asked(request), created_at=int(time.time()), output=[message], usage=usage)


def stream(request: Mapping[str, Any]) -> bytes:
    """The answer word by word."""
    events = Events(_asked(request), items=[Item(_HEAD, {"content": [TEXT]})])
    pieces = re.findall(r"\s*\S+|\s+$", echo(request))
    return b"".join(events.delta((0, "content", 0), piece) for piece in pieces) + events.finish(response(request), {})


_HEAD = {"type": "message", "id": "msg_demo", "role": "assistant"}


def _asked(request: Mapping[str, Any]) -> Asked:
    return Asked("resp_demo", request["model"], request=request)

"""``/v1/responses`` as `proxy.api.Api`: the shapes of `proxy.responses_api`, `…_events` and `…_stream`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from proxy.api import Asked
from proxy.hold import Hold
from proxy.responses_api import REQUEST, keeps_encrypted, keeps_ids, response_schema
from proxy.responses_events import (
    LISTS,
    PIECES,
    Events,
    item_id,
    message_item,
    refused_body,
    response_body,
    whole_items,
    whole_texts,
)
from proxy.responses_stream import ResponsesStream
from proxy.schema import Collection, Misfit

_LEADING = ("system", "developer")
_STATE = ("prompt", "previous_response_id", "conversation")
"""Requests with one of them need no ``input``."""


class ResponsesApi:
    """OpenAI's Responses API, as far as it is one request and its answer; see `proxy.api.Api`."""

    path = "/responses"
    content_field = "input"
    speaks = True
    lists_moderation = False

    def read_request(self, raw: Any, into: Collection) -> dict[str, Any]:
        """See `proxy.api.Api`."""
        if isinstance(raw, dict) and "instructions" in raw:
            raw = {"instructions": raw["instructions"], **raw}  # judged in the order in which the upstream reads them
        body: dict[str, Any] = REQUEST.clean(raw, (), into)
        if body.get("input") is None and not any(body.get(name) for name in _STATE):
            raise Misfit(("input",), "is missing", "missing_field")
        if not into.allows_state:
            body["store"] = False  # left out, it would mean true
        return body

    def asked(self, body: Mapping[str, Any], request_id: str) -> Asked:
        """See `proxy.api.Api`."""
        return Asked(f"resp_{request_id}", body["model"], stream=body.get("stream") is True, request=body)

    def advise(self, body: dict[str, Any], text: str) -> bool:
        """See `proxy.api.Api`: a message behind those of the system and the developer that lead the input.

        Not in the instructions: the answer repeats them.
        """
        given = body.get("input")
        if isinstance(given, str):
            given = [{"role": "user", "content": given}]
        if given is None:
            return False
        at = next((i for i, item in enumerate(given) if item.get("role") not in _LEADING), len(given))
        role = given[at - 1]["role"] if at else "system"
        body["input"] = [*given[:at], {"role": role, "content": text}, *given[at:]]
        return True

    def read_answer(self, raw: Any, into: Collection, asked: Asked) -> dict[str, Any]:
        """See `proxy.api.Api`."""
        schema = response_schema(ids=keeps_ids(asked.request), encrypted=keeps_encrypted(asked.request))
        answer = schema.clean(raw, (), into)
        if not isinstance(answer, dict) or not isinstance(answer.get("output"), list):
            raise Misfit(("output",), "must be a list", "missing_field")
        for index, item in enumerate(answer["output"]):
            _fill(item, item_id(asked, item["type"], index))
        for part in _texts(answer):
            if "".join(entry["token"] for entry in part["logprobs"]) != part["text"]:
                part["logprobs"] = []
        return response_body(asked, **answer)

    def without_details(self, answer: dict[str, Any]) -> None:
        """See `proxy.api.Api`."""
        for part in _texts(answer):
            part["logprobs"] = []

    def refusal(self, asked: Asked, text: str, usage: Mapping[str, Any] | None) -> dict[str, Any]:
        """See `proxy.api.Api`."""
        return refused_body(asked, [message_item(asked, 0, text)], usage)

    def refusal_stream(self, asked: Asked, text: str, usage: Mapping[str, Any] | None) -> bytes:
        """See `proxy.api.Api`."""
        return Events(asked).refuse(text, usage)

    def as_stream(self, asked: Asked, answer: dict[str, Any]) -> bytes:
        """See `proxy.api.Api`."""
        head = {name: answer[name] for name in ("created_at", "model", "service_tier") if answer.get(name) is not None}
        events = Events(asked, head, whole_items(answer["output"]))
        return events.finish(answer, whole_texts(answer["output"]))

    def error_stream(self, body: Mapping[str, Any]) -> bytes:
        """See `proxy.api.Api`."""
        return Events(Asked("", "")).error(body)

    def new_stream(self, asked: Asked, hold: Hold, max_bytes: int, hidden: str | None) -> ResponsesStream:
        """See `proxy.api.Api`."""
        return ResponsesStream(asked, hold, max_bytes, hidden)


def _fill(item: dict[str, Any], own_id: str) -> None:
    """What clients count on in an item, where the upstream left it out."""
    kind = item["type"]
    if not item.get("id"):
        item["id"] = own_id
    if kind == "message":
        item |= {"role": "assistant", "status": item.get("status") or "completed", "content": item.get("content") or []}
    elif kind == "reasoning":
        item["summary"] = item.get("summary") or []
    elif kind in PIECES:
        for name in ("call_id", "name", PIECES[kind][0]):
            item[name] = item.get(name) or ""
        item["status"] = item.get("status") or "completed"
    for name in LISTS.get(kind, ()):
        for part in item.get(name) or ():
            text = "refusal" if part["type"] == "refusal" else "text"
            part[text] = part.get(text) or ""
            if part["type"] == "output_text":
                part |= {"annotations": part.get("annotations") or [], "logprobs": part.get("logprobs") or []}


def _texts(answer: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for item in answer["output"]:
        for part in item.get("content") or () if item["type"] == "message" else ():
            if part["type"] == "output_text":
                yield part

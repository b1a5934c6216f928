"""The events of a streamed response as a client of ``/v1/responses`` gets them. No I/O.

Theory. Clients build the response up from its events: an item is opened (``output_item.added``), then its parts
(``content_part.added``, ``reasoning_summary_part.added``), text comes as deltas, and everything is closed in turn. Both of
OpenAI's clients find an item and a part by its index in a list that grows with every opening, so before one is opened all
that stand before it are. Every event carries a number, which counts from 0, and its name twice: in the SSE field
``event`` and as ``type``.

Calls of tools leave whole, with the last verdict. Where text behind one leaves sooner, the call is opened with what its
first event says (ids and name, no arguments).

Source: ``types/responses/*_event.py`` and ``lib/streaming/responses`` of openai-python 3.54; a failure is told in both of
the shapes that OpenAI documents and sends: the fields beside ``type``, and the same within ``error``, which makes the
clients raise.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from proxy import sse
from proxy.api import Asked
from proxy.strict_json import dump_json
from rules.content import Surface

Place = tuple[int, str, int]
"""A text of the answer: number of the item, name of the list in it, number of the part."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of part that is text.

    Attributes:
        type: Of the part.
        item: Type of the items that have such parts.
        list: Where in the item.
        field: Of the part that holds the text.
        event: Between ``response.`` and ``.delta``.
        opening: The events that open and close a part: between ``response.`` and ``.added``.
        index: How an event calls the number of the part.
        surface: As what it is judged.
    """

    type: str
    item: str
    list: str
    field: str
    event: str
    opening: str
    index: str
    surface: Surface

    def part(self, text: str) -> dict[str, Any]:
        """A part with nothing but text."""
        more: dict[str, Any] = {"annotations": [], "logprobs": []} if self.type == "output_text" else {}
        return {"type": self.type, self.field: text, **more}


_PART, _SUMMARY = ("content_part", "content_index"), ("reasoning_summary_part", "summary_index")
TEXT = Kind("output_text", "message", "content", "text", "output_text", *_PART, Surface.ASSISTANT)
KINDS = {
    kind.type: kind
    for kind in (
        TEXT,
        Kind("refusal", "message", "content", "refusal", "refusal", *_PART, Surface.ASSISTANT),
        Kind("reasoning_text", "reasoning", "content", "text", "reasoning_text", *_PART, Surface.REASONING),
        Kind("summary_text", "reasoning", "summary", "text", "reasoning_summary_text", *_SUMMARY, Surface.REASONING),
    )
}
"""By type of the part."""

LISTS = {"message": ("content",), "reasoning": ("summary", "content")}
"""The lists of parts of an item, by its type; other items leave whole."""

PIECES = {
    "function_call": ("arguments", "function_call_arguments"),
    "custom_tool_call": ("input", "custom_tool_call_input"),
}
"""Calls whose text a client expects in deltas: its field, and the name of the events."""

_FINAL = ("completed", "incomplete", "failed")

ECHOED: Mapping[str, Any] = {
    "background": False,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": None,
    "safety_identifier": None,
    "store": None,
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": None,
    "top_p": None,
    "truncation": "disabled",
    "user": None,
}
"""Fields of a request that its answer repeats, and what stands there if they were left out."""

_SECRETS = ("authorization", "headers")
"""Of a tool (an MCP server): sent to the upstream, not repeated."""


def empty_usage() -> dict[str, Any]:
    """Usage of an answer that no model was asked for."""
    return {
        "input_tokens": 0,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 0,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 0,
    }


def item_id(asked: Asked, kind: str, index: int) -> str:
    """Our id of an item: an upstream's can spell anything."""
    prefix = {"message": "msg", "reasoning": "rs", "function_call": "fc", "custom_tool_call": "ctc"}.get(kind, "item")
    return f"{prefix}_{asked.answer_id.partition('_')[2]}{index:04x}"


def response_body(asked: Asked, **fields: Any) -> dict[str, Any]:
    """A response; what it repeats of the request is what was judged there, not what the upstream says."""
    given = asked.request
    echo = {name: default if given.get(name) is None else given[name] for name, default in ECHOED.items()}
    echo["tools"] = [{k: v for k, v in tool.items() if k not in _SECRETS} for tool in echo["tools"]]
    return {
        "id": asked.answer_id,
        "object": "response",
        "created_at": int(time.time()),
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "model": asked.model,
        "output": [],
        "usage": None,
        **echo,
        **{name: value for name, value in fields.items() if value is not None},
    }


def message_item(asked: Asked, index: int, text: str) -> dict[str, Any]:
    """A message that says a refusal."""
    item = {"id": item_id(asked, "message", index), "type": "message", "status": "incomplete", "role": "assistant"}
    return {**item, "content": [TEXT.part(text)]}


def refused_body(asked: Asked, output: list[Any], usage: Mapping[str, Any] | None, **fields: Any) -> dict[str, Any]:
    """A response that was refused."""
    details = {"reason": "content_filter"}
    usage = usage or empty_usage()
    fields |= {"status": "incomplete", "incomplete_details": details, "output": output, "usage": usage}
    return {**response_body(asked, **fields), **asked.notes}


@dataclass(slots=True)
class Item:
    """An item of the output as far as a client may know it.

    Attributes:
        head: Its type, its id, and what else its first event says.
        parts: The kinds of its parts, by list, in order.
        opened: How many parts of a list the client has heard of.
        sent: What has left of each part.
        is_open: Whether the client has heard of it.
    """

    head: dict[str, Any] = field(repr=False)
    parts: dict[str, list[Kind]] = field(default_factory=dict)
    opened: dict[str, int] = field(default_factory=dict)
    sent: dict[tuple[str, int], list[str]] = field(default_factory=dict, repr=False)
    is_open: bool = False

    @property
    def type(self) -> str:
        """Its type."""
        return str(self.head["type"])

    def begun(self) -> dict[str, Any]:
        """What its first event says."""
        empty: dict[str, Any] = {
            name: [] for name in LISTS.get(self.type, ()) if name != "content" or self.type == "message"
        }
        if self.type in PIECES:
            empty[PIECES[self.type][0]] = ""
        return {**self.head, "status": "in_progress", **empty}

    def as_sent(self) -> dict[str, Any]:
        """It as far as it has left."""
        said = {
            name: [kinds[i].part("".join(self.sent.get((name, i), ()))) for i in range(self.opened.get(name, 0))]
            for name, kinds in self.parts.items()
        }
        return {**self.begun(), "status": "incomplete", **{name: parts for name, parts in said.items() if parts}}


@dataclass(slots=True)
class Events:
    """The events of one response, in their order; each method gives what to send next.

    Attributes:
        asked: What the client asked for.
        head: ``created_at``, ``model`` and ``service_tier`` of the response, as far as known.
        items: Its items so far; more may be added at the end.
    """

    asked: Asked
    head: dict[str, Any] = field(default_factory=dict, repr=False)
    items: list[Item] = field(default_factory=list, repr=False)
    _number: int = 0
    _begun: bool = False

    def delta(self, place: Place, text: str) -> bytes:
        """More text."""
        return b"".join((*self._begin(), *self._delta(place, text)))

    def finish(self, answer: Mapping[str, Any], rest: Mapping[Any, str]) -> bytes:
        """All that has not left of an answer, and its end.

        Args:
            answer: Cleaned and judged; its items are those of `items`.
            rest: What is still to be sent of each text.
        """
        out = [*self._begin()]
        for index, item in enumerate(answer["output"]):
            out += self._finish_item(index, item, rest)
        status = answer.get("status")
        out.append(
            self._event(
                f"response.{status if status in _FINAL else 'completed'}", response={**answer, **self.asked.notes}
            )
        )
        return b"".join(out)

    def refuse(self, text: str, usage: Mapping[str, Any] | None) -> bytes:
        """The refusal as the last text, and the end."""
        out = [*self._begin()]
        opened = [item for item in self.items if item.is_open]  # the first ones: see the top of the file
        part = opened[-1].opened.get("content", 0) - 1 if opened and opened[-1].type == "message" else -1
        if part < 0 or opened[-1].parts["content"][part] is not TEXT:
            head = {"type": "message", "id": item_id(self.asked, "message", len(opened)), "role": "assistant"}
            opened.append(Item(head, {"content": [TEXT]}))
            part = 0
        self.items = opened
        out += self._delta((len(opened) - 1, "content", part), text)
        output: list[dict[str, Any]] = []
        for index, item in enumerate(opened):
            if item.type not in LISTS:
                continue  # a call that was opened and never left
            whole = item.as_sent()
            for name in LISTS[item.type]:
                for i in range(item.opened.get(name, 0)):
                    out += self._close_part((index, name, i), whole[name][i])
            out.append(self._event("response.output_item.done", output_index=index, item=whole))
            output.append(whole)
        body = refused_body(self.asked, output, usage, **self.head)
        return b"".join((*out, self._event("response.incomplete", response=body)))

    def error(self, body: Mapping[str, Any]) -> bytes:
        """The end of a stream that could not be finished."""
        error = body["error"]
        said = {name: error.get(name) for name in ("code", "message", "param")}
        return self._event("error", **said, error=error)

    # ------------------------------------------------------------------ one event, one item

    def _event(self, kind: str, **fields: Any) -> bytes:
        data = {"type": kind, "sequence_number": self._number, **fields}
        self._number += 1
        return sse.encode_event(dump_json(data), kind)

    def _begin(self) -> Iterator[bytes]:
        if self._begun:
            return
        self._begun = True
        self.head.setdefault("created_at", int(time.time()))
        body = response_body(self.asked, **self.head, status="in_progress")
        yield self._event("response.created", response=body)
        yield self._event("response.in_progress", response=body)

    def _open_item(self, index: int) -> Iterator[bytes]:
        for i, item in enumerate(self.items[: index + 1]):
            if not item.is_open:
                item.is_open = True
                yield self._event("response.output_item.added", output_index=i, item=item.begun())

    def _where(self, place: Place, kind: Kind) -> dict[str, Any]:
        index, _, part = place
        return {"item_id": self.items[index].head["id"], "output_index": index, kind.index: part}

    def _open_part(self, place: Place) -> Iterator[bytes]:
        index, name, part = place
        yield from self._open_item(index)
        item = self.items[index]
        for i in range(item.opened.get(name, 0), part + 1):
            item.opened[name] = i + 1
            kind = item.parts[name][i]
            where = self._where((index, name, i), kind)
            yield self._event(f"response.{kind.opening}.added", **where, part=kind.part(""))

    def _delta(self, place: Place, text: str) -> Iterator[bytes]:
        yield from self._open_part(place)
        index, name, part = place
        if not text:
            return
        item = self.items[index]
        item.sent.setdefault((name, part), []).append(text)
        kind = item.parts[name][part]
        more: dict[str, Any] = {"logprobs": []} if kind is TEXT else {}
        yield self._event(f"response.{kind.event}.delta", **self._where(place, kind), delta=text, **more)

    def _close_part(self, place: Place, part: Mapping[str, Any]) -> Iterator[bytes]:
        kind = KINDS[part["type"]]
        where = self._where(place, kind)
        for i, annotation in enumerate(part.get("annotations") or ()):
            yield self._event(
                "response.output_text.annotation.added", **where, annotation_index=i, annotation=annotation
            )
        more: dict[str, Any] = {"logprobs": part.get("logprobs") or []} if kind is TEXT else {}
        yield self._event(f"response.{kind.event}.done", **where, **{kind.field: part[kind.field]}, **more)
        yield self._event(f"response.{kind.opening}.done", **where, part=part)

    def _settle(self, place: Place, part: dict[str, Any]) -> None:
        """A part that is done says what has left, letter by letter; log-probabilities of another text are dropped."""
        index, name, i = place
        kind = KINDS[part["type"]]
        text = part[kind.field] = "".join(self.items[index].sent.get((name, i), ()))
        if kind is TEXT:
            entries = part.get("logprobs")
            is_same = isinstance(entries, list) and "".join(entry["token"] for entry in entries) == text
            part["logprobs"] = entries if is_same else []

    def _finish_item(self, index: int, item: Mapping[str, Any], rest: Mapping[Any, str]) -> Iterator[bytes]:
        yield from self._open_item(index)
        for name in LISTS.get(item["type"], ()):
            for i, part in enumerate(item.get(name) or ()):
                place = (index, name, i)
                yield from self._delta(place, rest.get(place, ""))
                self._settle(place, part)
                yield from self._close_part(place, part)
        if item["type"] in PIECES:
            name, event = PIECES[item["type"]]
            where = {"item_id": item["id"], "output_index": index}
            if item[name]:
                yield self._event(f"response.{event}.delta", **where, delta=item[name])
            more = {"name": item["name"]} if item["type"] == "function_call" else {}
            yield self._event(f"response.{event}.done", **where, **{name: item[name]}, **more)
        yield self._event("response.output_item.done", output_index=index, item=item)


def whole_items(output: Sequence[Mapping[str, Any]]) -> list[Item]:
    """The items of an answer that was not streamed."""
    return [
        Item(
            {
                name: item[name]
                for name in ("type", "id", "role", "phase", "call_id", "name", "namespace")
                if name in item
            },
            {name: [KINDS[part["type"]] for part in item.get(name) or ()] for name in LISTS.get(item["type"], ())},
        )
        for item in output
    ]


def whole_texts(output: Sequence[Mapping[str, Any]]) -> dict[Place, str]:
    """The texts of an answer that was not streamed."""
    return {
        (index, name, i): part[KINDS[part["type"]].field]
        for index, item in enumerate(output)
        for name in LISTS.get(item["type"], ())
        for i, part in enumerate(item.get(name) or ())
    }

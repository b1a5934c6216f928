"""A streamed completion that is held until it is judged: chunks in, one completion out. No I/O.

Theory. Text that crosses in pieces is judged assembled: every channel of every choice (content, refusal, reasoning, each
tool call's id, name and arguments) is one text. `assembled` gives the completion in the shape of an answer that was not
streamed, so that one schema (`chat_api.CHAT_RESPONSE`) decides what is judged in both. Strings that stand in the chunks
besides (model, finish reasons) are collected as they come and judged too.

What is released is either the chunks as they were cleaned, or, when something was rewritten, chunks made anew from the
rewritten completion.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from proxy import sse
from proxy.chat_api import CHAT_CHUNK
from proxy.schema import Collection, Misfit
from proxy.strict_json import JsonError, dump_json, parse_json_text
from rules.content import Leaf

_TEXT_CHANNELS = ("content", "refusal", "reasoning", "reasoning_content")


class StreamFault(ValueError):
    """The upstream's stream cannot be read or is not whole; the message is for the log."""


@dataclass(slots=True)
class _Choice:
    texts: dict[str, list[str]] = field(default_factory=dict)
    calls: dict[int, dict[str, Any]] = field(default_factory=dict)
    function_call: dict[str, list[str]] = field(default_factory=dict)
    logprobs: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    annotations: list[Any] = field(default_factory=list)
    finish_reason: str | None = None


@dataclass(slots=True)
class HeldStream:
    """Takes the data of an upstream's events until ``[DONE]``."""

    completion_id: str
    max_bytes: int
    hidden: str | None = field(default=None, repr=False)
    """See `proxy.schema.Collection.hidden`."""
    chunks: list[dict[str, Any]] = field(default_factory=list, repr=False)
    usage: dict[str, Any] | None = None
    done: bool = False
    _choices: dict[int, _Choice] = field(default_factory=dict, repr=False)
    _loose: dict[tuple[str, str], Leaf] = field(default_factory=dict, repr=False)
    _bytes: int = 0

    def event(self, data: str) -> None:
        """Take one event.

        Raises:
            StreamFault: It is not a chunk of a completion, or too much was held.
        """
        if data == sse.DONE:
            self.done = True
            return
        self._bytes += len(data)
        if self._bytes > self.max_bytes:
            raise StreamFault("the completion is larger than max_body_bytes")
        try:
            raw = parse_json_text(data)
        except JsonError as e:
            raise StreamFault(f"an event is not JSON: {e.code}") from None
        if isinstance(raw, dict) and raw.get("error") is not None:
            raise StreamFault("an event is an error")
        if not isinstance(raw, dict) or not isinstance(raw.get("choices"), list):
            raise StreamFault("an event is no chunk")
        into = Collection(strict=False, hidden=self.hidden)
        try:
            chunk = CHAT_CHUNK.clean(raw, (), into)
        except Misfit as e:
            raise StreamFault(f"an event is not a chunk: {e.code}") from None
        chunk["id"] = self.completion_id
        for leaf in into.leaves:
            self._loose.setdefault((leaf.surface, leaf.text), leaf)
        self.usage = chunk.get("usage") or self.usage
        for choice in chunk["choices"]:
            self._take(choice)
        self.chunks.append(chunk)

    def _take(self, choice: dict[str, Any]) -> None:
        # What is judged together must carry one number: for a client, no index and index 0 would be two texts.
        choice["index"] = choice.get("index") or 0
        state = self._choices.setdefault(choice["index"], _Choice())
        delta = choice["delta"] = choice.get("delta") or {}  # clients rely on it
        for channel in _TEXT_CHANNELS:
            if delta.get(channel):
                state.texts.setdefault(channel, []).append(delta[channel])
        for call in delta.get("tool_calls") or ():
            call["index"] = call.get("index") or 0
            held = state.calls.setdefault(call["index"], {"type": "function"})
            held["type"] = call.get("type") or held["type"]
            if call.get("id"):
                held.setdefault("id", []).append(call["id"])
            for kind in ("function", "custom"):
                for name, piece in (call.get(kind) or {}).items():
                    if piece:
                        held.setdefault(kind, {}).setdefault(name, []).append(piece)
        for name, piece in (delta.get("function_call") or {}).items():
            if piece:
                state.function_call.setdefault(name, []).append(piece)
        for channel, entries in (choice.get("logprobs") or {}).items():
            state.logprobs.setdefault(channel, []).extend(entries)
        state.annotations.extend(delta.get("annotations") or ())
        state.finish_reason = choice.get("finish_reason") or state.finish_reason

    @property
    def is_whole(self) -> bool:
        """Whether the stream came to its own end: ``[DONE]``, or a finish reason for every choice."""
        return self.done or (bool(self._choices) and all(c.finish_reason for c in self._choices.values()))

    @property
    def loose_leaves(self) -> list[Leaf]:
        """Strings of the chunks that are part of no channel."""
        return list(self._loose.values())

    def assembled(self) -> dict[str, Any]:
        """The completion as if it had not been streamed."""
        first = self.chunks[0] if self.chunks else {}
        return {
            "object": "chat.completion",
            "created": first.get("created"),
            "model": first.get("model"),
            "choices": [self._assembled_choice(i, self._choices[i]) for i in sorted(self._choices)],
            "usage": self.usage,
        }

    def _assembled_choice(self, index: int, state: _Choice) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": None}
        message |= {channel: "".join(pieces) for channel, pieces in state.texts.items()}
        if state.calls:
            message["tool_calls"] = [_assembled_call(state.calls[i]) for i in sorted(state.calls)]
        if state.function_call:
            message["function_call"] = {name: "".join(p) for name, p in state.function_call.items()}
        if state.annotations:
            message["annotations"] = state.annotations
        return {
            "index": index,
            "message": message,
            "finish_reason": state.finish_reason,
            "logprobs": state.logprobs or None,
        }

    def released(self, *, without_logprobs: bool = False) -> Iterator[bytes]:
        """The chunks as they were cleaned, and ``[DONE]``."""
        for chunk in self.chunks:
            if without_logprobs:
                for choice in chunk["choices"]:
                    choice.pop("logprobs", None)
            yield sse.encode_event(dump_json(chunk))
        yield sse.DONE_EVENT


def _assembled_call(held: dict[str, Any]) -> dict[str, Any]:
    call: dict[str, Any] = {"id": "".join(held.get("id", ())), "type": held["type"]}
    for kind in ("function", "custom"):
        if kind in held:
            call[kind] = {name: "".join(pieces) for name, pieces in held[kind].items()}
    return call


def stream_of(completion: dict[str, Any], *, include_usage: bool) -> Iterator[bytes]:
    """A completion as a stream: per choice one chunk with everything and one that closes it."""
    base = {k: completion.get(k) for k in ("id", "created", "model")} | {"object": "chat.completion.chunk"}
    for choice in completion["choices"]:
        message = choice.get("message") or {}
        delta = {k: v for k, v in message.items() if v is not None or k == "content"}
        if delta.get("tool_calls"):
            delta["tool_calls"] = [{**call, "index": i} for i, call in enumerate(delta["tool_calls"])]
        for part, reason in ((delta, None), ({}, choice.get("finish_reason") or "stop")):
            entry = {"index": choice.get("index", 0), "delta": part, "finish_reason": reason}
            yield sse.encode_event(dump_json({**base, "choices": [entry]}))
    if include_usage and completion.get("usage"):
        yield sse.encode_event(dump_json({**base, "choices": [], "usage": completion["usage"]}))
    yield sse.DONE_EVENT


def logprobs_match(completion: dict[str, Any]) -> bool:
    """Whether every choice's logprob tokens spell exactly its text: only then do they carry nothing unjudged."""
    for choice in completion.get("choices") or ():
        message = choice.get("message") or {}
        for channel, entries in (choice.get("logprobs") or {}).items():
            if "".join(e["token"] for e in entries) != (message.get(channel) or ""):
                return False
    return True

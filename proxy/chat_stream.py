"""A streamed chat completion: chunks of the upstream in, chunks for the client out. No I/O.

Theory. Text that crosses in pieces is judged assembled: every text of every choice (content, refusal, reasoning) is a
channel of the hold. What is not plain text (tool calls, annotations, and log-probabilities, whose alternatives are text
too) is put together here and leaves whole, after the last verdict. `ChatStream.answer` gives the completion in the shape
of one that was not streamed, so that one schema (`chat_api.CHAT_RESPONSE`) decides what is judged in both. Strings that
stand in the chunks besides (model, finish reasons) are collected as they come and judged too.

What leaves is encoded anew: chunks carry the text that a verdict let go, not the upstream's pieces.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

<<<<<<< HEAD
from proxy import refusals, sse
from proxy.api import Asked, StreamFault
from proxy.chat_api import CHAT_CHUNK, TEXT_CHANNELS, whole_characters
from proxy.hold import Hold
from proxy.replacer import Replacer
from proxy.schema import HIDDEN, MIN_KEY_CHARS, Collection, Misfit
from proxy.strict_json import JsonError, dump_json, parse_json_text
=======
from proxy.chat_api import CHAT_CHUNK, TEXT_CHANNELS
from proxy.chunk_stream import ChunkStream, Key, spelled_tokens
>>>>>>> main
from rules.content import Path


@dataclass(slots=True)
class _Choice:
    calls: dict[int, dict[str, Any]] = field(default_factory=dict)
    function_call: dict[str, list[str]] = field(default_factory=dict)
    logprobs: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    annotations: list[Any] = field(default_factory=list)
    finish_reason: str | None = None
    begun: bool = False
    """The client has heard of it."""


@dataclass(slots=True)
class ChatStream(ChunkStream):
    """See the top of the file, and `proxy.api.AnswerStream`."""

<<<<<<< HEAD
    asked: Asked
    hold: Hold
    max_bytes: int
    hidden: str | None = field(default=None, repr=False)
    done: bool = False
    usage: dict[str, Any] | None = None
    _first: dict[str, Any] | None = field(default=None, repr=False)
    """What all chunks repeat: of the first one only, because the first verdict covers it."""
    _frames: dict[int, tuple[tuple[Any, ...], int]] = field(default_factory=dict, repr=False)
    """By the number that a choice was given: its last chunk that brought only text, without that, and its real number."""
=======
    SCHEMA = CHAT_CHUNK
    OBJECT = "chat.completion.chunk"
    SURFACES = TEXT_CHANNELS

>>>>>>> main
    _choices: dict[int, _Choice] = field(default_factory=dict, repr=False)

<<<<<<< HEAD
    def event(self, data: str) -> None:
        """See `proxy.api.AnswerStream`."""
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
        given, piece, frame = _content_only(raw)
        known = self._frames.get(given) if piece is not None else None
        if piece is not None and known is not None and frame == known[0]:
            self._add((known[1], "content"), piece)
            return
        into = Collection(strict=False, hidden=self.hidden)
        try:
            chunk = CHAT_CHUNK.clean(raw, (), into)
        except Misfit as e:
            raise StreamFault(f"an event is not a chunk: {e.code}") from None
        if into.leaves:
            # an echo of the model's name is what the input stage has judged
            self.hold.add_loose([leaf for leaf in into.leaves if leaf.text != self.asked.model])
        if self._first is None:
            self._first = {k: chunk.get(k) for k in ("created", "model", "service_tier") if chunk.get(k) is not None}
        self.usage = chunk.get("usage") or self.usage
        for choice in chunk["choices"]:
            self._take(choice)
        if piece is not None:
            self._frames[given] = frame, chunk["choices"][0].get("index") or 0

    def _take(self, choice: dict[str, Any]) -> None:
        # What is judged together must carry one number: for a client, no index and index 0 would be two texts.
        index = choice.get("index") or 0
=======
    def _take(self, index: int, choice: dict[str, Any]) -> None:
>>>>>>> main
        state = self._choices.setdefault(index, _Choice())
        delta = choice.get("delta") or {}
        for channel in TEXT_CHANNELS:
            if piece := delta.get(channel):
                self._add((index, channel), piece)
        for call in delta.get("tool_calls") or ():
            held = state.calls.setdefault(call.get("index") or 0, {"type": "function"})
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

    def answer(self) -> dict[str, Any]:
        """See `proxy.api.AnswerStream`."""
        self._flush()
        return {
            **(self._first or {}),
            "choices": [self._assembled(i, self._choices[i]) for i in sorted(self._choices)],
            "usage": self.usage,
        }

    def _assembled(self, index: int, state: _Choice) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": None}
        for name in TEXT_CHANNELS:
            if (channel := self.hold.channels.get((index, name))) is not None:
                message[name] = channel.whole()
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

    def channel_paths(self) -> Mapping[Path, Hashable]:
        """See `proxy.api.AnswerStream`."""
        at = {index: i for i, index in enumerate(sorted(self._choices))}
        return {("choices", at[index], "message", name): (index, name) for index, name in self._keys()}

    def _keys(self) -> Iterator[Key]:
        for key in self.hold.channels:
            assert isinstance(key, tuple)
            yield key

    # ------------------------------------------------------------------ what leaves

    def text(self, key: Hashable, text: str) -> bytes:
        """See `proxy.api.AnswerStream`."""
        assert isinstance(key, tuple)
        index, name = key
<<<<<<< HEAD
        return self._chunk(index, {name: text})
=======
        return self._chunk(index, {name: text}, self._logprobs(index, name, text))

    def _logprobs(self, index: int, name: str, text: str) -> dict[str, Any] | None:
        """The log-probabilities of the tokens that this text completes; none any more once they spell something else."""
        state = self._choices.get(index)
        entries = state.logprobs.get(name) if state is not None else None
        if state is None or not entries:
            return None
        spelled = state.spelled.get(name, "") + text
        n, at, is_same = spelled_tokens([entry["token"] for entry in entries], spelled)
        state.spelled[name] = spelled[at:]
        state.logprobs[name] = entries[n:] if is_same else []
        return {name: entries[:n]} if n else None
>>>>>>> main

    def ending(self, answer: dict[str, Any], rest: Mapping[Hashable, str]) -> bytes:
        """See `proxy.api.AnswerStream`."""
        out: list[bytes] = []
        for choice in answer["choices"]:
            index = choice["index"]
            message = choice["message"]
            delta: dict[str, Any] = {name: rest[index, name] for name in TEXT_CHANNELS if rest.get((index, name))}
            if message.get("tool_calls"):
                delta["tool_calls"] = [{"index": i, **call} for i, call in enumerate(message["tool_calls"])]
            for name in ("function_call", "annotations"):
                if message.get(name):
                    delta[name] = message[name]
            logprobs = choice.get("logprobs")
            if delta or logprobs or not self._choices[index].begun:
                out.append(self._chunk(index, delta or {"content": ""}, logprobs))
            out.append(self._chunk(index, {}, None, choice.get("finish_reason") or "stop"))
        return b"".join((*out, self._last()))

    def refusal(self, text: str) -> bytes:
        """See `proxy.api.AnswerStream`."""
        indices = sorted({*range(self.asked.n), *self._choices})
        deltas = [self._chunk(i, {"content": text}) for i in indices]
        closing = [self._chunk(i, {}, None, "content_filter") for i in indices]
        return b"".join((*deltas, *closing, self._last(refused=True)))

    def _chunk(
        self, index: int, delta: dict[str, Any], logprobs: dict[str, Any] | None = None, finish: str | None = None
    ) -> bytes:
        state = self._choices.setdefault(index, _Choice())
        if not state.begun:
            state.begun = True
            delta = {"role": "assistant", **delta}
        entry: dict[str, Any] = {"index": index, "delta": delta, "finish_reason": finish}
        if logprobs:
            entry["logprobs"] = logprobs
<<<<<<< HEAD
        return sse.encode_event(dump_json({**self._base(), "choices": [entry]}))

    def _base(self) -> dict[str, Any]:
        first = self._first or {}
        return {
            "id": self.asked.answer_id,
            "object": "chat.completion.chunk",
            "created": first.get("created") or 0,
            "model": first.get("model") or self.asked.model,
            **({"service_tier": first["service_tier"]} if "service_tier" in first else {}),
        }

    def _usage(self, *, refused: bool = False) -> bytes:
        if not self.asked.include_usage or not (self.usage or refused):
            return b""
        usage = self.usage or refusals.empty_usage()
        return sse.encode_event(dump_json({**self._base(), "choices": [], "usage": usage}))
=======
        return self._event([entry])
>>>>>>> main


_FRAME = ("created", "model", "service_tier")
"""What the schema lets through of a chunk, besides what it brings."""


def _content_only(raw: dict[str, Any]) -> tuple[int, str | None, tuple[Any, ...]]:
    """Of a chunk that brings nothing but content, as most do: the number of its choice, the piece, what else matters.

    A chunk that differs from one before in its piece only need not be cleaned again.
    """
    choices = raw["choices"]
    choice = choices[0] if len(choices) == 1 else None
    delta = choice.get("delta") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(delta, dict) or len(delta) != 1:
        return 0, None, ()
    piece, index = delta.get("content"), choice.get("index")
    if type(index) is not int or not isinstance(piece, str):  # true and 1.0 equal 1, and are no index
        return 0, None, ()
    if choice.get("finish_reason") or choice.get("logprobs") or raw.get("usage"):
        return 0, None, ()
    return index, whole_characters(piece), tuple(map(raw.get, _FRAME))


def _assembled_call(held: dict[str, Any]) -> dict[str, Any]:
    call: dict[str, Any] = {"id": "".join(held.get("id", ())), "type": held["type"]}
    for kind in ("function", "custom"):
        if kind in held:
            call[kind] = {name: "".join(pieces) for name, pieces in held[kind].items()}
    return call

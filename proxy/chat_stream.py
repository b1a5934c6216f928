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

from proxy.chat_api import CHAT_CHUNK, TEXT_CHANNELS, whole_characters
from proxy.chunk_stream import ChunkStream, Key, TextOnly
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
class ChatStream(ChunkStream[_Choice]):
    """See the top of the file, and `proxy.api.AnswerStream`."""

    SCHEMA = CHAT_CHUNK
    OBJECT = "chat.completion.chunk"
    SURFACES = TEXT_CHANNELS

    def _text_only(self, raw: dict[str, Any]) -> TextOnly | None:
        choices = raw["choices"]
        choice = choices[0] if len(choices) == 1 else None
        delta = choice.get("delta") if isinstance(choice, dict) else None
        if not isinstance(choice, dict) or not isinstance(delta, dict) or len(delta) != 1:
            return None
        piece, index = delta.get("content"), choice.get("index")
        if type(index) is not int or not isinstance(piece, str):  # true and 1.0 equal 1, and are no index
            return None
        if choice.get("finish_reason") or choice.get("logprobs"):
            return None
        return index, "content", whole_characters(piece)

    def _take(self, index: int, choice: dict[str, Any]) -> None:
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
        return self._chunk(index, {name: text})

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
        return self._event([entry])


def _assembled_call(held: dict[str, Any]) -> dict[str, Any]:
    call: dict[str, Any] = {"id": "".join(held.get("id", ())), "type": held["type"]}
    for kind in ("function", "custom"):
        if kind in held:
            call[kind] = {name: "".join(pieces) for name, pieces in held[kind].items()}
    return call

"""A streamed text completion: chunks of the upstream in, chunks for the client out. No I/O.

As `proxy.chat_stream`, with one text per choice; log-probabilities leave at the end. `CompletionStream.answer` gives the
completion in the shape of one that was not streamed, so that `completion_api.COMPLETION_RESPONSE` decides what is judged in
both.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from proxy.chunk_stream import ChunkStream
from proxy.completion_api import COMPLETION_CHUNK
from rules.content import Path, Surface

SURFACES: Mapping[str, Surface] = {"text": Surface.ASSISTANT}

LISTS = ("tokens", "token_logprobs", "text_offset", "top_logprobs")
"""The parallel lists of a choice's ``logprobs``."""


@dataclass(slots=True)
class _Choice:
    finish_reason: str | None = None
    logprobs: dict[str, list[Any]] | None = None


@dataclass(slots=True)
class CompletionStream(ChunkStream[_Choice]):
    """See the top of the file, and `proxy.api.AnswerStream`."""

    SCHEMA = COMPLETION_CHUNK
    OBJECT = "text_completion"
    SURFACES = SURFACES

    def _take(self, index: int, choice: dict[str, Any]) -> None:
        state = self._choices.setdefault(index, _Choice())
        if piece := choice.get("text"):
            self._add((index, "text"), piece)
        if logprobs := choice.get("logprobs"):
            held = state.logprobs = state.logprobs or {name: [] for name in LISTS}
            for name in LISTS:
                held[name] += logprobs[name] or [None] * len(logprobs["tokens"])
        state.finish_reason = choice.get("finish_reason") or state.finish_reason

    def _assembled(self, index: int, state: _Choice) -> dict[str, Any]:
        channel = self.hold.channels.get((index, "text"))
        lists = (state.logprobs or {}).items()
        return {
            "index": index,
            "text": "" if channel is None else channel.whole(),
            "finish_reason": state.finish_reason,
            "logprobs": {k: v if any(item is not None for item in v) else None for k, v in lists} or None,
        }

    def channel_paths(self) -> Mapping[Path, Hashable]:
        """See `proxy.api.AnswerStream`."""
        channels = self.hold.channels
        return {
            ("choices", at, "text"): (i, "text")
            for at, i in enumerate(sorted(self._choices))
            if (i, "text") in channels
        }

    # ------------------------------------------------------------------ what leaves

    def text(self, key: Hashable, text: str) -> bytes:
        """See `proxy.api.AnswerStream`."""
        assert isinstance(key, tuple)
        index: int = key[0]
        return self._chunk(index, text)

    def ending(self, answer: dict[str, Any], rest: Mapping[Hashable, str]) -> bytes:
        """See `proxy.api.AnswerStream`."""
        out: list[bytes] = []
        for choice in answer["choices"]:
            index = choice["index"]
            text = rest.get((index, "text"), "")
            out.append(self._chunk(index, text, choice["logprobs"], choice.get("finish_reason") or "stop"))
        return b"".join((*out, self._last()))

    def refusal(self, text: str) -> bytes:
        """See `proxy.api.AnswerStream`."""
        indices = sorted({*range(self.asked.n), *self._choices})
        texts = [self._chunk(i, text) for i in indices]
        closing = [self._chunk(i, "", finish="content_filter") for i in indices]
        return b"".join((*texts, *closing, self._last(refused=True)))

    def _chunk(self, index: int, text: str, logprobs: dict[str, Any] | None = None, finish: str | None = None) -> bytes:
        return self._event([{"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish}])

"""What the streams of both completion endpoints share: events made of chunks, each with its choices, ended by ``[DONE]``.

An endpoint says what a chunk looks like (its schema), what becomes of a choice in it, and how one is written. No I/O.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from proxy import refusals, sse
from proxy.api import Asked, StreamFault
from proxy.hold import Hold
from proxy.replacer import Replacers, Words
from proxy.schema import Collection, Misfit, Spec, hiding
from proxy.strict_json import JsonError, dump_json, parse_json_text
from rules.content import Surface

Key = tuple[int, str]
"""A channel: number of the choice, name of the field."""

TextOnly = tuple[int, str, str]
"""The number that a choice was given, the name of its field, and the piece of text."""

_REPEATED = ("created", "model", "service_tier")
"""What the schemas let through of a chunk, besides its choices and the usage."""


class Ended(Protocol):
    """What an endpoint keeps of one choice."""

    finish_reason: str | None


C = TypeVar("C", bound=Ended)


@dataclass(slots=True)
class ChunkStream(Generic[C]):
    """A stream of chunks under way; see `proxy.api.AnswerStream`.

    Attributes:
        asked: What the client asked for.
        hold: Takes the texts.
        max_bytes: More is a `StreamFault`.
        hidden: See `proxy.schema.Collection.hidden`.
        usage: What the upstream said last.
    """

    SCHEMA: ClassVar[Spec]
    """Of one chunk."""
    OBJECT: ClassVar[str]
    """What a chunk calls itself."""
    SURFACES: ClassVar[Mapping[str, Surface]]
    """The fields that are text in pieces, in the order in which they are sent on."""

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
    _choices: dict[int, C] = field(default_factory=dict, repr=False)
    _hider: Replacers[Key] = field(init=False, repr=False)
    _bytes: int = 0

    def __post_init__(self) -> None:
        self._hider = Replacers(Words(hiding(self.hidden)))

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
        only = self._text_only(raw) if not raw.get("usage") else None
        frame = tuple(map(raw.get, _REPEATED))
        known = self._frames.get(only[0]) if only is not None else None
        if only is not None and known is not None and frame == known[0]:
            self._add((known[1], only[1]), only[2])  # all else is as in a chunk that was cleaned
            return
        into = Collection(strict=False, hidden=self.hidden)
        try:
            chunk = self.SCHEMA.clean(raw, (), into)
        except Misfit as e:
            raise StreamFault(f"an event is not a chunk: {e.code}") from None
        if into.leaves:
            # an echo of the model's name is what the input stage has judged
            self.hold.add_loose([leaf for leaf in into.leaves if leaf.text != self.asked.model])
        if self._first is None:
            self._first = {k: chunk.get(k) for k in _REPEATED if chunk.get(k) is not None}
        self.usage = chunk.get("usage") or self.usage
        for choice in chunk["choices"]:
            # What is judged together must carry one number: for a client, no index and index 0 would be two texts.
            self._take(choice.get("index") or 0, choice)
        if only is not None:
            self._frames[only[0]] = frame, chunk["choices"][0].get("index") or 0

    def _text_only(self, raw: dict[str, Any]) -> TextOnly | None:
        """The text of a chunk that brings nothing else, as most do: such a one that is like one before is not cleaned."""
        return None

    def _take(self, index: int, choice: dict[str, Any]) -> None:
        """Take what a chunk says about one choice."""
        raise NotImplementedError

    def _add(self, key: Key, piece: str) -> None:
        """Put a piece of a text into its channel, the upstream's key masked."""
        if piece := self._hider.feed(key, piece):
            self.hold.add(key, ("choices", *key), self.SURFACES[key[1]], piece)

    @property
    def is_whole(self) -> bool:
        """Whether the stream came to its own end: ``[DONE]``, or a finish reason for every choice."""
        return self.done or (bool(self._choices) and all(c.finish_reason for c in self._choices.values()))

    def answer(self) -> dict[str, Any]:
        """See `proxy.api.AnswerStream`."""
        for key, rest in self._hider.flush_all():  # what could have begun the upstream's key was only text
            self.hold.add(key, ("choices", *key), self.SURFACES[key[1]], rest)
        return {
            **(self._first or {}),
            "choices": [self._assembled(i, self._choices[i]) for i in sorted(self._choices)],
            "usage": self.usage,
        }

    def _assembled(self, index: int, state: C) -> dict[str, Any]:
        """One choice of the answer."""
        raise NotImplementedError

    def _event(self, choices: Sequence[dict[str, Any]], **more: Any) -> bytes:
        """One chunk for the client."""
        first = self._first or {}
        base = {
            "id": self.asked.answer_id,
            "object": self.OBJECT,
            "created": first.get("created") or 0,
            "model": first.get("model") or self.asked.model,
            **({"service_tier": first["service_tier"]} if "service_tier" in first else {}),
        }
        return sse.encode_event(dump_json({**base, "choices": choices, **more}))

    def error_stream(self, body: Mapping[str, Any]) -> bytes:
        """See `proxy.api.AnswerStream`."""
        return refusals.error_stream(body)

    def _last(self, *, refused: bool = False) -> bytes:
        """The end of every stream: usage if it was asked for, what this proxy adds to the answer, ``[DONE]``."""
        more = dict(self.asked.notes)
        if self.asked.include_usage and (self.usage or refused):
            more = {"usage": self.usage or refusals.empty_usage(), **more}
        return (self._event([], **more) if more else b"") + sse.DONE_EVENT

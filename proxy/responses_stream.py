"""A streamed response: events of the upstream in, events for the client out. No I/O.

Theory. Text that crosses in pieces is judged assembled: every text part of every item (what is said, refused, thought and
summarised) is a channel of the hold. Everything else, calls of tools, annotations, log-probabilities, is put together here
and leaves with the last verdict. `ResponsesStream.answer` gives the response in the shape of one that was not streamed, so
that one schema decides what is judged in both. What a client is told sooner about an item (an id that is kept, the name
of a call) is collected as it comes and judged with the text that follows.

An upstream says most things several times: in deltas, when a part is done, when its item is done, and when the response
is. Of a text the deltas count, because they may have left; of everything else what was said last. What leaves is counted
and numbered by us (`proxy.responses_events`): places in the upstream's lists are mapped to places among what crosses, in
the order in which they were first heard of.

Source: ``types/responses/*_event.py`` of openai-python 3.54.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

from proxy import sse
from proxy.api import Asked, StreamFault
from proxy.hold import Hold
from proxy.replacer import Replacers, Words
from proxy.responses_api import HEAD, ITEM_HEAD, OUTPUT_TYPES, keeps_encrypted, keeps_ids
from proxy.responses_events import KINDS, LISTS, PIECES, TEXT, Events, Item, Kind, Place, item_id
from proxy.schema import Collection, Misfit, hiding
from proxy.strict_json import JsonError, parse_json_text
from rules.content import Path

_DELTAS = {f"response.{kind.event}.delta": kind for kind in KINDS.values()}
_DONES = {f"response.{kind.event}.done": kind for kind in KINDS.values()}
_PIECE_EVENTS = {
    f"response.{event}.{end}": (item, name, end) for item, (name, event) in PIECES.items() for end in ("delta", "done")
}
_PARTS = {
    f"response.{opening}.{end}" for opening in ("content_part", "reasoning_summary_part") for end in ("added", "done")
}
_ITEMS = ("response.output_item.added", "response.output_item.done")
_BEGINNINGS = ("response.created", "response.in_progress", "response.queued")
_ENDINGS = ("response.completed", "response.incomplete")
_HEAD = ("created_at", "model", "service_tier")

_OF_LISTS = ("id", "status", "phase", "encrypted_content")
"""What is kept of an item besides its parts."""

MAX_INDEX = 4095
PLACE_BYTES = 256
"""What an item or a part costs at least, so that empty ones are counted, too."""


@dataclass(slots=True)
class _State:
    """An item under way; ``item`` is what the client may know of it."""

    index: int
    item: Item
    added: dict[str, Any] = field(default_factory=dict, repr=False)
    final: dict[str, Any] | None = field(default=None, repr=False)
    places: dict[tuple[str, int], Place] = field(default_factory=dict)
    pieces: list[str] = field(default_factory=list, repr=False)
    annotations: dict[Place, list[Any]] = field(default_factory=dict, repr=False)
    logprobs: dict[Place, list[Any]] = field(default_factory=dict, repr=False)


@dataclass(slots=True)
class ResponsesStream:
    """See the top of the file, and `proxy.api.AnswerStream`."""

    asked: Asked
    hold: Hold
    max_bytes: int
    hidden: str | None = field(default=None, repr=False)
    done: bool = False
    is_whole: bool = False
    _events: Events = field(init=False, repr=False)
    _end: dict[str, Any] = field(default_factory=dict, repr=False)
    _items: dict[int, _State | None] = field(default_factory=dict, repr=False)
    """By the upstream's number; None for an item that does not cross."""
    _order: list[_State] = field(default_factory=list, repr=False)
    _hider: Replacers[Place] = field(init=False, repr=False)
    _bytes: int = 0

    def __post_init__(self) -> None:
        self._events = Events(self.asked)
        self._hider = Replacers(Words(hiding(self.hidden)))

    def event(self, data: str) -> None:
        """See `proxy.api.AnswerStream`."""
        if data == sse.DONE:  # not of OpenAI; some servers end every stream with it
            self.done = True
            return
        try:
            raw = parse_json_text(data)
        except JsonError as e:
            raise StreamFault(f"an event is not JSON: {e.code}") from None
        kind = raw.get("type") if isinstance(raw, dict) else None
        if not isinstance(kind, str):
            raise StreamFault("an event has no type")
        if kind in ("error", "response.failed") or raw.get("error") is not None:
            raise StreamFault("an event is an error")
        try:
            self._take(kind, raw, len(data))
        except Misfit as e:
            raise StreamFault(f"an event does not fit: {e.code}") from None

    def _take(self, kind: str, raw: dict[str, Any], size: int) -> None:
        if kind in _DELTAS:
            self._delta(_DELTAS[kind], raw, size)
        elif kind in _DONES:
            text = _DONES[kind]
            part = {"type": text.type, **{k: raw.get(k) for k in (text.field, "logprobs")}}
            self._part(self._state(raw, text.item), text.list, raw.get(text.index), part, size)
        elif kind in _PARTS:
            self._part_event(raw, size)
        elif kind in _ITEMS:
            self._item(_index(raw.get("output_index")), raw.get("item"), size, is_done=kind == _ITEMS[1])
        elif kind in _PIECE_EVENTS:
            self._piece(*_PIECE_EVENTS[kind], raw)
        elif kind == "response.output_text.annotation.added":
            self._annotation(raw, size)
        elif kind in _BEGINNINGS or kind in _ENDINGS:
            self._lifecycle(kind, raw.get("response"), size)
        elif not kind.startswith("response.") and kind != "keepalive":
            raise StreamFault("an event is of another API")

    # ------------------------------------------------------------------ the response and its items

    def _lifecycle(self, kind: str, response: Any, size: int) -> None:
        if not isinstance(response, dict):
            raise StreamFault("an event has no response")
        head = self._clean(HEAD, response)
        if not self._items:  # later, text that was judged before may leave: what it is sent with was judged with it
            self._events.head |= {name: head[name] for name in _HEAD if head.get(name) is not None}
        if kind not in _ENDINGS:
            return
        output = response.get("output")
        for index, item in enumerate(output if isinstance(output, list) else ()):
            known = self._items.get(index)
            if index not in self._items or (known is not None and known.final is None):
                self._item(index, item, size, is_done=True)
        self._end = {**head, "status": kind.removeprefix("response.")}
        self.done = self.is_whole = True

    def _clean(self, spec: Any, value: dict[str, Any]) -> dict[str, Any]:
        """What a client may be told at once; its strings are judged with the text that follows."""
        into = Collection(strict=False, hidden=self.hidden)
        out: dict[str, Any] = spec.clean(value, (), into)
        # an echo of the model's name is what the input stage has judged
        self.hold.add_loose([leaf for leaf in into.leaves if leaf.text != self.asked.model])
        return out

    def _item(self, number: int, raw: Any, size: int, *, is_done: bool) -> None:
        kind = raw.get("type") if isinstance(raw, dict) else None
        if not isinstance(kind, str):
            raise StreamFault("an item has no type")
        if number not in self._items:
            self._new(number, kind, raw)
        state = self._items[number]
        if state is None:
            return
        if state.item.type != kind:
            raise StreamFault("an item changes its type")
        kept = {name: raw[name] for name in _OF_LISTS if name in raw} if kind in LISTS else raw
        self._count(sum(len(str(value)) for value in kept.values()) if kind in LISTS else size)
        if is_done:
            state.final = kept
        else:
            state.added = state.added or kept
        for name in LISTS.get(kind, ()):
            parts = raw.get(name)
            for i, part in enumerate(parts if isinstance(parts, list) else ()):
                self._part(state, name, i, part, size)

    def _new(self, number: int, kind: str, raw: dict[str, Any]) -> None:
        self._count(PLACE_BYTES)
        if kind not in OUTPUT_TYPES:
            self._items[number] = None
            return
        index = len(self._order)
        request = self.asked.request
        head = {name: value for name, value in self._clean(ITEM_HEAD, raw).items() if value is not None}
        is_ours = kind in LISTS or kind in PIECES
        if is_ours and not keeps_ids(request) and not (kind == "reasoning" and keeps_encrypted(request)):
            head.pop("id", None)
        more = {"role": "assistant"} if kind == "message" else {}
        if kind in PIECES:
            more = {"call_id": "", "name": ""}
        item = Item({"type": kind, "id": item_id(self.asked, kind, index), **more, **head})
        item.parts = {name: [] for name in LISTS.get(kind, ())}
        state = self._items[number] = _State(index, item)
        self._order.append(state)
        self._events.items.append(item)

    def _state(self, raw: dict[str, Any], kind: str) -> _State | None:
        """The item that an event speaks of; it begins with the event if nobody has said so."""
        number = _index(raw.get("output_index"))
        if number not in self._items:
            self._new(number, kind, {"type": kind})
        state = self._items[number]
        if state is not None and state.item.type != kind:
            raise StreamFault("an event does not fit its item")
        return state

    # ------------------------------------------------------------------ parts and pieces

    def _place(self, state: _State, kind: Kind, index: Any) -> Place:
        key = (kind.type, _index(index))
        place = state.places.get(key)
        if place is None:
            self._count(PLACE_BYTES)
            kinds = state.item.parts[kind.list]
            place = state.places[key] = (state.index, kind.list, len(kinds))
            kinds.append(kind)
        return place

    def _part_event(self, raw: dict[str, Any], size: int) -> None:
        part = raw.get("part")
        kind = KINDS.get(part["type"]) if isinstance(part, dict) and isinstance(part.get("type"), str) else None
        if kind is not None:
            self._part(self._state(raw, kind.item), kind.list, raw.get(kind.index), part, size)

    def _part(self, state: _State | None, name: str, index: Any, part: Any, size: int) -> None:
        """A part as a whole: counts where nothing was said in pieces."""
        kind = KINDS.get(part["type"]) if isinstance(part, dict) and isinstance(part.get("type"), str) else None
        if state is None or kind is None or kind.list != name or kind.item != state.item.type:
            return
        place = self._place(state, kind, index)
        if place not in self.hold.channels and place not in self._hider:
            self._add(place, kind, part.get(kind.field))
        if kind is not TEXT:
            return
        for field_, kept in (("annotations", state.annotations), ("logprobs", state.logprobs)):
            given = part.get(field_)
            if isinstance(given, list) and given and place not in kept:
                self._count(size)
                kept[place] = given

    def _delta(self, kind: Kind, raw: dict[str, Any], size: int) -> None:
        state = self._state(raw, kind.item)
        if state is None:
            return
        place = self._place(state, kind, raw.get(kind.index))
        self._add(place, kind, raw.get("delta"))
        logprobs = raw.get("logprobs")
        if kind is TEXT and isinstance(logprobs, list) and logprobs:
            self._count(size)
            state.logprobs.setdefault(place, []).extend(logprobs)

    def _annotation(self, raw: dict[str, Any], size: int) -> None:
        state = self._state(raw, "message")
        if state is not None and raw.get("annotation") is not None:
            self._count(size)
            place = self._place(state, TEXT, raw.get("content_index"))
            state.annotations.setdefault(place, []).append(raw["annotation"])

    def _piece(self, item: str, name: str, end: str, raw: dict[str, Any]) -> None:
        state = self._state(raw, item)
        piece = raw.get("delta" if end == "delta" else name)
        if state is not None and isinstance(piece, str) and piece and (end == "delta" or not state.pieces):
            self._count(len(piece))
            state.pieces.append(piece)

    def _add(self, place: Place, kind: Kind, piece: Any) -> None:
        if not isinstance(piece, str) or not piece:
            return
        self._count(len(piece))
        piece = piece.encode("utf-8", "replace").decode("utf-8")  # half an emoji cannot be sent on
        if piece := self._hider.feed(place, piece):
            self._hold(place, kind, piece)

    def _hold(self, place: Place, kind: Kind, piece: str) -> None:
        self.hold.add(place, ("output", *place), kind.surface, piece)

    def _count(self, size: int) -> None:
        self._bytes += size
        if self._bytes > self.max_bytes:
            raise StreamFault("the response is larger than max_body_bytes")

    # ------------------------------------------------------------------ the whole of it

    def answer(self) -> dict[str, Any]:
        """See `proxy.api.AnswerStream`."""
        for place, rest in self._hider.flush_all():
            self._hold(place, self._order[place[0]].item.parts[place[1]][place[2]], rest)
        self._events.head.setdefault("created_at", int(time.time()))
        return {**self._events.head, **self._end, "output": [self._assembled(state) for state in self._order]}

    def _assembled(self, state: _State) -> dict[str, Any]:
        item = state.item
        begun = {name: value for name, value in state.added.items() if name != "status"}
        # what its first event has said about an item stays so
        out: dict[str, Any] = {**begun, **(state.final or {}), **item.head}
        for name, kinds in item.parts.items():
            out[name] = [self._assembled_part(state, (state.index, name, i), kind) for i, kind in enumerate(kinds)]
        if item.type == "reasoning" and not out["content"]:
            del out["content"]
        if item.type in PIECES and state.pieces:
            out[PIECES[item.type][0]] = "".join(state.pieces)
        return out

    def _assembled_part(self, state: _State, place: Place, kind: Kind) -> dict[str, Any]:
        channel = self.hold.channels.get(place)
        part = kind.part("" if channel is None else channel.whole())
        if kind is TEXT:
            part |= {"annotations": state.annotations.get(place, []), "logprobs": state.logprobs.get(place, [])}
        return part

    def channel_paths(self) -> Mapping[Path, Hashable]:
        """See `proxy.api.AnswerStream`."""
        out: dict[Path, Hashable] = {}
        for key in self.hold.channels:
            index, name, part = _as_place(key)
            out["output", index, name, part, self._order[index].item.parts[name][part].field] = key
        return out

    # ------------------------------------------------------------------ what leaves

    def text(self, key: Hashable, text: str) -> bytes:
        """See `proxy.api.AnswerStream`."""
        return self._events.delta(_as_place(key), text)

    def ending(self, answer: dict[str, Any], rest: Mapping[Hashable, str]) -> bytes:
        """See `proxy.api.AnswerStream`."""
        return self._events.finish(answer, rest)

    def refusal(self, text: str) -> bytes:
        """See `proxy.api.AnswerStream`."""
        return self._events.refuse(text, self._end.get("usage"))

    def error_stream(self, body: Mapping[str, Any]) -> bytes:
        """See `proxy.api.AnswerStream`."""
        return self._events.error(body)


def _as_place(key: Hashable) -> Place:
    assert isinstance(key, tuple)
    index, name, part = key
    return index, name, part


def _index(value: Any) -> int:
    """A place in one of the upstream's lists; one that is left out is the first."""
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_INDEX:
        raise StreamFault("an index is out of range")
    return value

"""The seam between an endpoint's wire shapes and what is done with them (`proxy.relay`, `proxy.stream_relay`).

One module per endpoint implements `Api`: what may cross and as what it is judged, how refusals look, how its streams are
taken apart and put together. No I/O.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from proxy.hold import Hold
from proxy.schema import Collection
from rules.content import Path


class StreamFault(ValueError):
    """The upstream's stream cannot be read or is not whole; the message is for the log."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a client asked for, as far as it shapes the answer.

    Attributes:
        answer_id: The answer's id: ours, because an upstream's can spell anything.
        model: As the client named it.
        n: How many choices.
        stream: Whether it wants a stream.
        include_usage: Whether it wants a usage chunk.
        notes: Fields that this proxy itself adds to the answer (``moderation``); complete before an answer's end, which
            for a stream is its last chunk, is put together.
        request: The cleaned request, of which some answers repeat parts.
    """

    answer_id: str
    model: str
    n: int = 1
    stream: bool = False
    include_usage: bool = False
    notes: dict[str, Any] = field(default_factory=dict)
    request: Mapping[str, Any] = field(default_factory=dict, repr=False)


class AnswerStream(Protocol):
    """A streamed answer under way: events of the upstream in, events for the client out."""

    @property
    def hold(self) -> Hold:
        """The answer's texts."""
        ...

    @property
    def done(self) -> bool:
        """Whether the stream has said that it is over; nothing behind that is read."""
        ...

    @property
    def is_whole(self) -> bool:
        """Whether the stream came to its own end."""
        ...

    def event(self, data: str) -> None:
        """Take the data of one event.

        Raises:
            StreamFault: It is no event of such a stream, or too much was held.
        """
        ...

    def answer(self) -> dict[str, Any]:
        """The answer as if it had not been streamed, uncleaned; what has left stands in it as it left."""
        ...

    def channel_paths(self) -> Mapping[Path, Hashable]:
        """Where the texts of the channels stand in `answer`."""
        ...

    def text(self, key: Hashable, text: str) -> bytes:
        """Events that carry more text of a channel."""
        ...

    def ending(self, answer: dict[str, Any], rest: Mapping[Hashable, str]) -> bytes:
        """Events that carry what has not left of an answer that may pass, and its end.

        Args:
            answer: Cleaned and judged.
            rest: What is still to be sent of each channel.
        """
        ...

    def refusal(self, text: str) -> bytes:
        """Events that end a stream that was refused midway."""
        ...

    def error_stream(self, body: Mapping[str, Any]) -> bytes:
        """Events that end a stream that could not be finished."""
        ...


class Api(Protocol):
    """One judged endpoint."""

    path: str
    """Below the upstream's base URL, e.g. ``/chat/completions``."""
    content_field: str
    """The request's field with the content; a refusal names it as ``param``."""
    speaks: bool
    """Whether answers carry text. If not, there is no output stage, and a refusal is always an error."""
    lists_moderation: bool
    """Whether an answer's ``moderation`` holds a list of results per stage (chat) or the one result (responses)."""

    def read_request(self, raw: Any, into: Collection) -> dict[str, Any]:
        """The request as it may cross; its texts go into the collection.

        Raises:
            Misfit: It does not fit; names the place.
        """
        ...

    def asked(self, body: Mapping[str, Any], request_id: str) -> Asked:
        """What matters of a cleaned request."""
        ...

    def advise(self, body: dict[str, Any], text: str) -> bool:
        """Put an advisory of the operator into a cleaned request; whether this endpoint has a place for one."""
        ...

    def read_answer(self, raw: Any, into: Collection, asked: Asked) -> dict[str, Any]:
        """The upstream's answer as it may cross; its texts go into the collection.

        Raises:
            Misfit: It is no such answer.
        """
        ...

    def refusal(self, asked: Asked, text: str, usage: Mapping[str, Any] | None) -> dict[str, Any]:
        """``refusal: message``: an answer whose text is the refusal."""
        ...

    def refusal_stream(self, asked: Asked, text: str, usage: Mapping[str, Any] | None) -> bytes:
        """The same as a whole stream."""
        ...

    def as_stream(self, asked: Asked, answer: dict[str, Any]) -> bytes:
        """A judged answer that was not streamed, as a whole stream."""
        ...

    def error_stream(self, body: Mapping[str, Any]) -> bytes:
        """The end of a stream of which nothing was sent yet and that cannot be finished."""
        ...

    def new_stream(self, asked: Asked, hold: Hold, max_bytes: int, hidden: str | None) -> AnswerStream:
        """A stream of this endpoint.

        Args:
            asked: What the client asked for.
            hold: Takes its texts.
            max_bytes: More is a `StreamFault`.
            hidden: See `proxy.schema.Collection.hidden`.
        """
        ...

    def without_details(self, answer: dict[str, Any]) -> None:
        """Take out what spells the text a second time (log-probabilities): the text was changed."""
        ...

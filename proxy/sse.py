"""Server-sent events, bytes to events and back, without I/O.

Theory (WHATWG HTML, section 9.2.6): lines end in LF, CR or CRLF, also when a segment ends between CR and LF; the value of
every ``data`` line is collected and joined by LF; a blank line dispatches; one space after the colon is not part of the
value; a comment begins with a colon; an event without its blank line at the end of the stream is discarded. Bytes are
split at line ends before they are decoded, so a character cut in two by a segment is whole again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

DONE = "[DONE]"
DONE_EVENT = b"data: [DONE]\n\n"
KEEP_ALIVE = b": keep-alive\n\n"
"""A comment: every client ignores it (WHATWG), no client parses it as a chunk."""

HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",
}
"""Of an answer that is a stream; the last one keeps nginx from holding it back."""

_BOM = b"\xef\xbb\xbf"


class EventTooLarge(ValueError):
    """One event has more bytes than allowed."""


def encode_event(data: bytes, name: str = "") -> bytes:
    """One event with ``data``, which must hold no line end (compact JSON does not), and a name where its API gives one."""
    head = f"event: {name}\n".encode() if name else b""
    return head + b"data: " + data + b"\n\n"


@dataclass(slots=True)
class EventDecoder:
    """Turns segments of a stream into the data of its events; the result does not depend on how the stream was cut.

    What counts towards an event's limit is all that came since the one before: no comment and no blank line is free.
    """

    max_event_bytes: int
    _buffer: bytearray = field(default_factory=bytearray, repr=False)
    _data: list[bytes] = field(default_factory=list, repr=False)
    _n_read: int = 0
    """Bytes since the last event, without those in the buffer."""
    _skip_lf: bool = False
    _scanned: int = 0
    """Bytes of the buffer that are known to hold no line end."""
    _at_start: bool = True

    def feed(self, segment: bytes) -> Iterator[str]:
        """Take the next bytes; gives the data of every event that they complete.

        Raises:
            EventTooLarge: The event under way exceeds ``max_event_bytes``.
        """
        self._buffer += segment
        for line in self._lines():
            if line:
                name, _, value = line.partition(b":")
                if name == b"data":
                    self._data.append(value.removeprefix(b" "))
            elif self._data:
                data = b"\n".join(self._data)
                self._data, self._n_read = [], 0
                yield data.decode("utf-8", "replace")
        if self._n_read + len(self._buffer) > self.max_event_bytes:
            raise EventTooLarge

    @property
    def has_unfinished(self) -> bool:
        """Whether the stream so far ends within an event."""
        return bool(self._data) or bool(self._buffer.strip())

    def _lines(self) -> Iterator[bytes]:
        buffer = self._buffer
        start = counted = 0
        if self._at_start:
            if len(buffer) < 3 and _BOM.startswith(buffer):
                return  # the rest of a byte-order mark may follow
            if buffer.startswith(_BOM):
                start = 3
            self._at_start = False
        lf = -1  # the next one; looked for only once it is behind, so lines that end in CR cost no search each
        while True:
            if self._skip_lf and start < len(buffer):
                if buffer[start] == 0x0A:
                    start += 1
                self._skip_lf = False
            seen = max(start, self._scanned)
            if lf < seen and (lf := buffer.find(b"\n", seen)) < 0:
                lf = len(buffer)
            cr = buffer.find(b"\r", seen, lf)
            end = cr if cr >= 0 else lf
            if end == len(buffer):
                break
            line = bytes(buffer[start:end])
            start = end + 1
            self._skip_lf = end == cr
            self._n_read += start - counted
            counted = start
            if self._n_read > self.max_event_bytes:
                raise EventTooLarge
            yield line
        self._n_read += start - counted
        del buffer[:start]
        self._scanned = len(buffer)

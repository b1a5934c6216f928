"""Views that differ from a text in places: where something was decoded, with the way back.

A decoding maps as a whole: a match that touches any of its characters covers everything it was decoded from, because half
a base64 run would be garbage. Everything between decodings maps character by character.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable

from rules.detectors.fold import View


class Decodings:
    """Places of a view and what they come from, in order."""

    __slots__ = ("_ends", "_sources", "_sources_ends", "_starts")

    def __init__(self, decodings: Iterable[tuple[int, int, int, int]]) -> None:
        """From (start, end) in the view and (start, end) in its source; arrays, because there can be a million."""
        self._starts, self._ends, self._sources, self._sources_ends = (array("q") for _ in range(4))
        for start, end, source, source_end in decodings:
            self._starts.append(start)
            self._ends.append(end)
            self._sources.append(source)
            self._sources_ends.append(source_end)

    def source(self, place: int) -> tuple[int, int]:
        """The range of the source that one character of the view comes from."""
        i = bisect_right(self._starts, place) - 1
        if i < 0:
            return place, place + 1
        if place < self._ends[i]:
            return self._sources[i], self._sources_ends[i]
        start = self._sources_ends[i] + place - self._ends[i]
        return start, start + 1


class DecodedView(View):
    """A text with some of its parts replaced."""

    __slots__ = ("_decodings", "_make_decodings")

    def __init__(self, raw: str, text: str, make_decodings: Callable[[], Decodings]) -> None:
        """The decodings are asked for on the first match only."""
        super().__init__(raw, text, lambda: [self.to_raw(i, i + 1)[0] for i in range(len(text))])
        self._make_decodings = make_decodings
        self._decodings: Decodings | None = None

    def to_raw(self, start: int, end: int) -> tuple[int, int]:
        """See `View.to_raw`."""
        if self._decodings is None:
            self._decodings = self._make_decodings()
        return self._decodings.source(start)[0], self._decodings.source(end - 1)[1]


class StackedView(View):
    """A view of a view's text, as a view of what lies under both."""

    __slots__ = ("_over", "_under")

    def __init__(self, under: View, over: View) -> None:
        super().__init__(under.raw, over.text, lambda: [self.to_raw(i, i + 1)[0] for i in range(len(over.text))])
        self._under = under
        self._over = over

    def to_raw(self, start: int, end: int) -> tuple[int, int]:
        """See `View.to_raw`."""
        return self._under.to_raw(*self._over.to_raw(start, end))

"""Spans: where a detector found something, how spans are merged, and how they are masked."""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Span:
    """A place in a text, and what kind of thing stands there; never the thing itself.

    Attributes:
        start: First code point.
        end: One past the last code point.
        label: Kind of the finding in capitals: ``EMAIL``, ``CARD``, ``PATTERN``.
    """

    start: int
    end: int
    label: str


class Detector(Protocol):
    """Finds spans in a text. Holds no state between calls, so one instance serves all requests."""

    def find(self, text: str) -> list[Span]:
        """Everything found in the text: in order, not empty, without overlaps."""
        ...


def merge_spans(spans: Iterable[Span]) -> list[Span]:
    """Sort spans and unite those that overlap; the longest of them gives the label.

    Spans that only touch stay apart: two values side by side are two values.

    >>> merge_spans([Span(4, 9, "EMAIL"), Span(0, 6, "TOKEN"), Span(9, 10, "PATTERN")])
    [Span(start=0, end=9, label='TOKEN'), Span(start=9, end=10, label='PATTERN')]
    """
    out: list[Span] = []
    longest = 0
    for span in sorted(spans, key=lambda s: (s.start, -s.end, s.label)):
        if span.start >= span.end:
            continue
        if not out or span.start >= out[-1].end:
            out.append(span)
            longest = span.end - span.start
            continue
        last = out[-1]
        label = span.label if span.end - span.start > longest else last.label
        longest = max(longest, span.end - span.start)
        out[-1] = Span(last.start, max(last.end, span.end), label)
    return out


def mask(text: str, spans: Iterable[Span], numbers: MutableMapping[tuple[str, str], int]) -> str:
    """Replace every span by a placeholder such as ``<EMAIL_1>``.

    Args:
        text: The text that the spans were found in.
        spans: May overlap and be in any order.
        numbers: Number of every (label, value) seen so far; is added to. Pass the same mapping for all texts of an
            exchange and the same value keeps its placeholder. It holds what was masked: never log it.

    Raises:
        ValueError: A span reaches beyond the text.

    >>> mask("a@b.io or c@d.io or a@b.io", [Span(0, 6, "EMAIL"), Span(10, 16, "EMAIL"), Span(20, 26, "EMAIL")], {})
    '<EMAIL_1> or <EMAIL_2> or <EMAIL_1>'
    """
    parts: list[str] = []
    at = 0
    for span in merge_spans(spans):
        if span.start < 0 or span.end > len(text):
            raise ValueError(f"span {span.start}:{span.end} lies outside a text of {len(text)} characters")
        key = (span.label, text[span.start : span.end])
        if key not in numbers:
            numbers[key] = numbers[span.label, ""] = numbers.get((span.label, ""), 0) + 1  # "" holds the count
        parts += (text[at : span.start], f"<{span.label}_{numbers[key]}>")
        at = span.end
    parts.append(text[at:])
    return "".join(parts)

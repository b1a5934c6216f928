"""Spans: where a detector found something, how spans are merged, and the edits that mask them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, MutableMapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable


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


@runtime_checkable
class Bounded(Detector, Protocol):
    """A detector that checks some things only so often in one content, so each content is read with one of its own."""

    def for_content(self) -> Detector:
        """One to read all texts of one content with."""
        ...


def for_content(detector: Detector) -> Detector:
    """What to read all texts of one content with."""
    return detector.for_content() if isinstance(detector, Bounded) else detector


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


@dataclass(frozen=True, slots=True)
class Edit:
    """One change to a text.

    Attributes:
        start: First code point that is replaced.
        end: One past the last.
        text: What stands there instead.
    """

    start: int
    end: int
    text: str = field(repr=False)


def apply_edits(text: str, edits: Iterable[Edit]) -> str:
    """The text with edits made that are in order and do not overlap.

    >>> apply_edits("a bb c", [Edit(0, 1, "x"), Edit(2, 4, "")])
    'x  c'
    """
    parts: list[str] = []
    at = 0
    for edit in edits:
        parts += (text[at : edit.start], edit.text)
        at = edit.end
    parts.append(text[at:])
    return "".join(parts)


def mask_edits(
    text: str, spans: Iterable[Span], numbers: MutableMapping[tuple[str, str], int], taken: Collection[str] = ()
) -> list[Edit]:
    """The edits that put a placeholder such as ``<EMAIL_1>`` in place of every span: in order, without overlaps.

    Args:
        text: The text that the spans were found in.
        spans: May overlap and be in any order.
        numbers: Number of every (label, value) seen so far; is added to. Pass the same mapping for all texts of an
            exchange and the same value keeps its placeholder. It holds what was masked: never log it.
        taken: Placeholders that stand for something else and are not given out.

    Raises:
        ValueError: A span reaches beyond the text.

    >>> apply_edits("a@b.io or a@b.io", mask_edits("a@b.io or a@b.io", [Span(0, 6, "EMAIL"), Span(10, 16, "EMAIL")], {}))
    '<EMAIL_1> or <EMAIL_1>'
    """
    edits: list[Edit] = []
    for span in merge_spans(spans):
        if span.start < 0 or span.end > len(text):
            raise ValueError(f"span {span.start}:{span.end} lies outside a text of {len(text)} characters")
        key = (span.label, text[span.start : span.end])
        if key not in numbers:
            number = numbers.get((span.label, ""), 0) + 1  # "" holds the count
            while f"<{span.label}_{number}>" in taken:
                number += 1
            numbers[key] = numbers[span.label, ""] = number
        edits.append(Edit(span.start, span.end, f"<{span.label}_{numbers[key]}>"))
    return edits

"""Detector ``patterns``: regular expressions and plain strings that an operator lists.

Every expression reads all views of a text (`rules.detectors.views`). Plain strings (*literals*) are also sought where
separators were put between their letters, in the squeezed view, under rules that keep ordinary prose out:

* *spelled out* (from 3 letters on): something stands between any two letters, and the whole stands alone:
  ``Z Q - M A R K``, one letter per line, one per table cell. ``magic at`` does not spell ``cat``.
* *broken code*: a literal with a digit and at least 6 letters and digits may be broken anywhere: ``ZQ-MA RK 77 81``.
* *broken word*: a literal of at least 8 letters without digits may be broken, but not by white space alone, and its
  own separators must not vanish: ``com-pet*itor``, but not ``to get her`` for *together*.
"""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Iterator, Sequence

from rules.detectors.fold import View, fold, folded_views, squeeze, squeeze_ascii
from rules.detectors.linear import MAX_MATCHES, Regex, compile_any, compile_pattern, encode, find_all, matches_empty
from rules.detectors.spans import Span, merge_spans
from rules.detectors.views import HINTS, decoded_views
from rules.errors import PolicyError

LABEL = "PATTERN"

SPELLED_MIN_CHARS = 3
BROKEN_CODE_MIN_CHARS = 6
BROKEN_WORD_MIN_CHARS = 8

MAX_SQUEEZED = 100_000
"""Places of one text that are held against these rules; prose meets short literals by chance, so they are many."""


class PatternDetector:
    """Finds what any of the patterns or literals matches."""

    def __init__(
        self, patterns: Sequence[str] = (), literals: Sequence[str] = (), *, ignore_case: bool = False
    ) -> None:
        """Compile everything.

        Args:
            patterns: Expressions in RE2 syntax.
            literals: Plain strings.
            ignore_case: Match both without regard to case.

        Raises:
            PolicyError: Nothing is given, a pattern cannot be compiled or matches the empty string, or a literal is
                empty. Names the index.
        """
        if not patterns and not literals:
            raise PolicyError("patterns detector: needs patterns or literals")
        self._regexes = [_checked(i, pattern, ignore_case) for i, pattern in enumerate(patterns)]
        raw = _longest_first(literals)
        for i, literal in enumerate(literals):
            if not literal.strip():
                raise PolicyError(f"literals[{i}] is empty: it would match every text")
        folded = _longest_first([_fold_literal(literal) for literal in literals])
        escaped, escaped_folded = list(map(_escape, raw)), list(map(_escape, folded))
        self._literals = compile_any(escaped, ignore_case=ignore_case) if raw else None
        self._literals_folded = self._literals
        if folded and folded != raw:
            self._literals_folded = compile_any(escaped_folded, ignore_case=ignore_case)
        self._any = compile_any([*patterns, *escaped], ignore_case=ignore_case)
        self._any_or_encoded = compile_any([*patterns, *escaped, HINTS], ignore_case=ignore_case)
        self._any_folded = self._any
        if folded != raw:
            self._any_folded = compile_any([*patterns, *escaped_folded], ignore_case=ignore_case)
        self._squeezed = _Squeezed(folded, ignore_case) if folded else None

    def find(self, text: str) -> list[Span]:
        """See `rules.detectors.Detector`."""
        if text.isascii() and not self._may_occur(text.encode()):
            return []
        spans: list[Span] = []
        folded = folded_views(text)
        decoded = decoded_views(folded)
        for view in (*folded, *decoded):
            spans.extend(Span(*view.to_raw(start, end), LABEL) for start, end in self._matches(view))
        if self._squeezed is not None:
            for view in (*(folded[1:] or folded), *decoded):  # the second of the folded views covers the raw one
                spans.extend(Span(*view.to_raw(start, end), LABEL) for start, end in self._squeezed.matches(view))
        return merge_spans(spans) if spans else spans

    def _may_occur(self, data: bytes) -> bool:
        """Whether anything matches an ASCII text, or could once decoded: asks what `find` asks, without the places."""
        if self._any_or_encoded.search(data) is not None:
            return True
        return self._squeezed is not None and self._squeezed.occurs(squeeze_ascii(data))

    def _matches(self, view: View) -> Iterator[tuple[int, int]]:
        is_raw = view.text is view.raw
        data = encode(view.text)
        if (self._any if is_raw else self._any_folded).search(data) is None:
            return
        literals = self._literals if is_raw else self._literals_folded
        for regex in (*self._regexes, *([] if literals is None else [literals])):
            for n, (start, end) in enumerate(find_all(regex, view.text, data)):
                if n == MAX_MATCHES:
                    yield start, len(view.text)
                    break
                yield start, end


def _checked(index: int, pattern: str, ignore_case: bool) -> Regex:
    try:
        regex = compile_pattern(pattern, ignore_case=ignore_case)
    except PolicyError as e:
        raise PolicyError(f"patterns[{index}] is not an expression of the linear-time engine (RE2): {e}") from None
    if matches_empty(regex):
        raise PolicyError(f"patterns[{index}] matches the empty string, so it would match every text")
    return regex


def _fold_literal(literal: str) -> str:
    """The literal as it reads in folded views; one with symbols stays raw: a circled 1 must not seek every 1."""
    if any(unicodedata.category(c) in ("So", "Sk", "Sm", "No") and not c.isascii() for c in literal):
        return literal
    return fold(literal)


def _longest_first(literals: Sequence[str]) -> list[str]:
    """Where one literal begins another, the longer one must be tried first."""
    return sorted({literal for literal in literals if literal}, key=lambda s: (-len(s), s))


def _escape(literal: str) -> str:
    """The literal as an expression: letters and digits as they are, everything else by its code point."""
    return "".join(c if c.isalnum() else f"\\x{{{ord(c):x}}}" for c in literal)


class _Squeezed:
    """The literals without separators, and the rules for accepting them where they were squeezed out of a text."""

    def __init__(self, literals: Sequence[str], ignore_case: bool) -> None:
        self._ignore_case = ignore_case
        self._forms: dict[str, list[_Form]] = {}
        squeezed: set[str] = set()
        for literal in literals:
            form = _Form(literal)
            if len(form.chars) >= SPELLED_MIN_CHARS:
                squeezed.add(form.chars)
                self._forms.setdefault(self._key(form.chars), []).append(form)
        self._lengths = sorted({len(s) for s in squeezed}, reverse=True)
        escaped = [_escape(s) for s in _longest_first(list(squeezed))]
        self._regex = compile_any(escaped, ignore_case=ignore_case) if escaped else None

    def _key(self, chars: str) -> str:
        return chars.casefold() if self._ignore_case else chars

    def occurs(self, squeezed: bytes) -> bool:
        """Whether any literal, squeezed, stands in a squeezed text."""
        return self._regex is not None and self._regex.search(squeezed) is not None

    def matches(self, view: View) -> Iterator[tuple[int, int]]:
        """Spans in the view's text."""
        squeezed = squeeze(view)
        if not self.occurs(encode(squeezed.text)):
            return
        index = squeezed.index
        for n, start in enumerate(self._starts(squeezed.text)):
            if n == MAX_SQUEEZED:
                yield index[start], len(view.text)
                return
            for length in self._lengths:
                forms = self._forms.get(self._key(squeezed.text[start : start + length]), ())
                places = index[start : start + length]
                if any(form.accepts(view.text, places) for form in forms):
                    yield places[0], places[-1] + 1
                    break

    def _starts(self, text: str) -> Iterator[int]:
        """Every position where some literal begins, overlapping ones too: the rules may reject the first of them."""
        assert self._regex is not None
        if not text.isascii():
            yield from _overlapping(self._regex, text)
            return
        data = encode(text)
        match = self._regex.search(data)
        while match is not None:
            yield match.start()
            match = self._regex.search(data, match.start() + 1)


def _overlapping(regex: Regex, text: str) -> Iterator[int]:
    """Starts of overlapping matches in a text whose bytes and code points differ."""
    data = encode(text)
    at = chars = 0
    match = regex.search(data)
    while match is not None:
        chars += len(data[at : match.start()].decode("utf-8", "surrogatepass"))
        at = match.start()
        yield chars
        step = at + 1
        while step < len(data) and data[step] & 0xC0 == 0x80:
            step += 1
        match = regex.search(data, step)


class _Form:
    """One literal, squeezed."""

    __slots__ = ("_breaks", "_is_code", "chars")

    def __init__(self, literal: str) -> None:
        places = [i for i, c in enumerate(literal) if c.isalnum()]
        self.chars = "".join(literal[i] for i in places)
        self._breaks = [b - a > 1 for a, b in itertools.pairwise(places)]
        self._is_code = any(c.isdigit() for c in self.chars)

    def accepts(self, text: str, places: Sequence[int]) -> bool:
        """Whether the letters at these places of the text are the literal, spelled out or broken."""
        gaps = [text[a + 1 : b] for a, b in itertools.pairwise(places)]
        if all(gaps) and not _joined(text, places[0], -1) and not _joined(text, places[-1], 1):
            return True
        if self._is_code:
            return len(self.chars) >= BROKEN_CODE_MIN_CHARS
        if len(self.chars) < BROKEN_WORD_MIN_CHARS:
            return False
        return all(
            bool(gap) if own_break else not gap or not gap.isspace()
            for gap, own_break in zip(gaps, self._breaks, strict=True)
        )


def _joined(text: str, place: int, step: int) -> bool:
    """Whether the letter's neighbour continues its word, in a script that puts spaces between words."""
    neighbour = place + step
    if not 0 <= neighbour < len(text):
        return False
    char = text[neighbour]
    return char.isalnum() and not _is_ideographic(char)


def _is_ideographic(char: str) -> bool:
    """Han, kana, Thai and their like (category Lo outside of Hebrew, Arabic and Hangul) run on without spaces."""
    code = ord(char)
    return 0x0E00 <= code < 0x1000 or 0x3040 <= code < 0xA000 or 0xF900 <= code < 0xFB00 or 0x20000 <= code < 0x32000

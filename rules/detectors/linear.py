"""RE2 with offsets in code points: regular expressions in time linear in the text, whatever the pattern.

RE2 reads UTF-8 and counts bytes. Its own ``str`` interface converts every offset, also when nothing is found; here the
text is encoded once, and offsets are converted for matches only. `re2.Set` is not used: when its DFA runs out of memory
it reports no match, while a plain alternation falls back to the slower automaton.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import re2

from rules.errors import PolicyError

Regex: TypeAlias = "re2._Regexp"

MAX_PROGRAM_BYTES = 32 << 20
"""Memory that one compiled expression may take; RE2's default of 8 MiB is too small for long lists of literals."""

MAX_MATCHES = 10_000
"""Matches of one expression in one text that are told apart. The next one stretches to the end of the text: megabytes of
matches then cost no seconds, and too much is masked, never too little."""

_EMPTY_PROBES = ("", "a", "a a", "\n", "0", "é")


def encode(text: str) -> bytes:
    """The text as RE2 reads it; unpaired surrogates, which JSON can smuggle in, keep three bytes each."""
    return text.encode("utf-8", "surrogatepass")


def compile_pattern(pattern: str, *, ignore_case: bool = False, captures: bool = False) -> Regex:
    """Compile one expression.

    Args:
        pattern: RE2 syntax: no look-around, no back references.
        ignore_case: Match without regard to case.
        captures: Whether groups can be asked for.

    Raises:
        PolicyError: It is not an expression that RE2 understands, or too large.
    """
    options = re2.Options()
    options.case_sensitive = not ignore_case
    options.never_capture = not captures
    options.log_errors = False
    options.max_mem = MAX_PROGRAM_BYTES
    try:
        return re2.compile(pattern, options)
    except re2.error as e:
        reason = e.args[0] if e.args else "unknown"
        raise PolicyError(reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)) from None
    except UnicodeEncodeError:
        raise PolicyError("has an unpaired surrogate") from None


def compile_any(patterns: Sequence[str], *, ignore_case: bool = False) -> Regex:
    """One expression that matches wherever any of the given ones does; for the question "is there anything?".

    Raises:
        PolicyError: One of them cannot be compiled, or they are too large together.
    """
    return compile_pattern("|".join(map(_grouped, patterns)), ignore_case=ignore_case)


def _grouped(pattern: str) -> str:
    r"""The pattern as one alternative; an unclosed ``\Q`` would swallow the bracket, so it is closed."""
    try:
        compile_pattern(f"(?:{pattern})")
    except PolicyError:
        return f"(?:{pattern}\\E)"
    return f"(?:{pattern})"


def matches_empty(regex: Regex) -> bool:
    r"""Whether the expression matches the empty string somewhere: ``a*``, ``^``, ``\b``. It would match every text."""
    return any(m.start() == m.end() for probe in _EMPTY_PROBES for m in regex.finditer(encode(probe)))


def find_all(regex: Regex, text: str, data: bytes | None = None, group: int = 0) -> Iterator[tuple[int, int]]:
    """All matches that do not overlap, as code-point offsets; empty ones are left out.

    Args:
        regex: Compiled by `compile_pattern`.
        text: What to search.
        data: The same text encoded, if it is at hand.
        group: Which group's place is wanted; a match in which it took no part is left out.

    One search is linear; all matches together can cost more if a pattern must read far ahead before it settles for a
    short match (``a.*b|a``).
    """
    data = encode(text) if data is None else data
    offsets = Offsets(data)
    for match in regex.finditer(data):
        start, end = match.span(group)
        if start < end:
            yield offsets.chars(start, end)


class Offsets:
    """Turns byte offsets of one UTF-8 text into code-point offsets, cheaply when asked in ascending order."""

    __slots__ = ("_ascii", "_byte", "_char", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._ascii = data.isascii()
        self._byte = 0
        self._char = 0

    def chars(self, start: int, end: int) -> tuple[int, int]:
        r"""The code points that the bytes touch (``\C`` in a pattern can match a part of one)."""
        if self._ascii:
            return start, end
        data = self._data
        while data[start] & 0xC0 == 0x80:
            start -= 1
        while end < len(data) and data[end] & 0xC0 == 0x80:
            end += 1
        if start < self._byte:
            self._byte = self._char = 0
        self._char += _length(data[self._byte : start])
        self._byte = start
        return self._char, self._char + _length(data[start:end])


def _length(data: bytes) -> int:
    return len(data.decode("utf-8", "surrogatepass"))

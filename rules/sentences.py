"""Cuts a text into sentences, keeping their places. Small on purpose: a cut too few only makes a rewrite drop more."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

_END = re.compile(
    r"""
      (?<![.!?…؟۔।]) (?P<mark>[.!?…؟۔।]++) [)\]"'“”’»›]*+ (?=\s|$)  # closing quotes and brackets belong to it
    | [。！？｡]++ [」』”’）】]*+                                       # no space follows these
    | [\n\u2028\u2029\x0b\x0c\r]++
    """,
    re.VERBOSE,
)
_WORD_BEFORE = re.compile(r"[^\W\d_](?:[^\W\d_]|\.)*$")
_WORD_CHARS = 24
"""So far back a word that ends in a full stop is looked for."""
_SPACE: Any = re.compile(r"\s*")  # always matches

_ABBREVIATIONS = re.compile(
    r"(?:mr|mrs|etc|ms|dr|prof|st|sr|jr|vs|vol|fig|eq|pp|ca|cf|al|approx|dept|est|inc|ltd|co|corp|gen|col|sgt|rev|hon"
    r"|bzw|usw|ggf|vgl|evtl|inkl|zzgl|nr|abs|art|bd|str|tel|hr|fr|mme|mlle|jan|feb|mar|apr|jun|jul|aug|sep|sept|oct|nov|dec)"
)


def sentences(text: str) -> Iterator[tuple[int, int]]:
    r"""Where the sentences of a text lie: in order, side by side, together the whole text.

    White space behind a sentence belongs to it, so that dropping one leaves no gap.

    >>> [text[a:b] for text in ["Ask Dr. No. He has 3.5 l!\nReally? "] for a, b in sentences(text)]
    ['Ask Dr. No. ', 'He has 3.5 l!\n', 'Really? ']
    """
    start = 0
    for match in _END.finditer(text, _SPACE.match(text, 0).end()):
        if match.start() < start:  # within the white space behind a sentence
            continue
        end = _SPACE.match(text, match.end()).end()
        if not _goes_on(text, match, end):
            yield start, end
            start = end
    if start < len(text):
        yield start, len(text)


def _goes_on(text: str, match: re.Match[str], after: int) -> bool:
    """Whether a full stop ends no sentence: it stands behind an abbreviation or an initial."""
    if match["mark"] != "." or "\n" in text[match.end() : after]:
        return False
    word = _WORD_BEFORE.search(text[max(0, match.start() - _WORD_CHARS) : match.start()])
    if word is None or match.end() - match.start() > 1:  # a quotation that ends in an abbreviation has ended
        return False
    parts = word[0].casefold().split(".")
    is_short = len(parts) > 1 and all(len(p) <= 1 for p in parts)  # e.g. i.e. z.B. U.S.
    is_initial = len(word[0]) == 1 and word[0].isupper() and word[0] != "I"
    return is_short or is_initial or _ABBREVIATIONS.fullmatch(word[0].casefold()) is not None

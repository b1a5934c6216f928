r"""Cuts text into pieces that a tokeniser of llama.cpp can take without harm.

Two harms, both reproduced with llama.cpp of 2026-10 and harmony's vocabulary:

* **Forged control tokens.** ``parse_special=False`` is not enough: some control tokens of gpt-oss (``<|start|>``,
  ``<|end|>``, ``<|message|>``, …) are marked as user-defined, and those are matched in any text. The answer is to cut
  after the first character of every place where a special token is spelled, and to tokenise the pieces apart: no piece
  holds a whole spelling, and the text stays what it was.
* **A dead process.** The split into words is done by a recursive ``std::regex``: a run of about 20,000 letters,
  blanks or other characters of one kind overflows an 8 MiB stack and ends the process. So no piece is longer than
  `MAX_PIECE_CHARS`, which needs less than 1 MiB of stack. Cuts are made between two words, where the tokeniser cuts
  anyway; only inside a run without such a place do they change how the text is tokenised, never what it says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import groupby

MAX_PIECE_CHARS = 2048
_BOUNDARY_TRIES = 16


class TextCutter:
    """Cuts texts for one vocabulary. Linear in the text, whatever it spells.

    Args:
        spellings: Every special token of the vocabulary, as it is spelled.
    """

    def __init__(self, spellings: Sequence[str]) -> None:
        words = sorted({spelling for spelling in spellings if spelling})
        # A lookahead, so that spellings that overlap are all found; a trie, so that a text of a million "<|" is not
        # compared with a thousand alternatives each time.
        self._special = re.compile(f"(?={_trie(words)})") if words else None

    def pieces(self, text: str) -> Iterator[str]:
        """The pieces of a text, in order; joined they are the text. None is empty."""
        start = 0
        if self._special is not None:
            for match in self._special.finditer(text):
                cut = match.start() + 1
                yield from _chunks(text, start, cut)
                start = cut
        yield from _chunks(text, start, len(text))


def _trie(words: Sequence[str], depth: int = 0) -> str:
    """A regular expression for sorted words of which each character is looked at once."""
    branches = []
    for letter, group in groupby((word for word in words if len(word) > depth), key=lambda word: word[depth]):
        members = list(group)
        if any(len(word) == depth + 1 for word in members):
            branches.append(re.escape(letter))  # the shortest spelling is enough to cut
        elif len(members) == 1:
            branches.append(re.escape(members[0][depth:]))
        else:
            branches.append(re.escape(letter) + _trie(members, depth + 1))
    return branches[0] if len(branches) == 1 else f"(?:{'|'.join(branches)})"


def _chunks(text: str, start: int, end: int) -> Iterator[str]:
    while end - start > MAX_PIECE_CHARS:
        cut = _boundary(text, start, start + MAX_PIECE_CHARS)
        yield text[start:cut]
        start = cut
    if start < end:
        yield text[start:end]


def _boundary(text: str, start: int, limit: int) -> int:
    """The last place in a range where a blank stands between two words, or else its end."""
    at = limit
    for _ in range(_BOUNDARY_TRIES):
        at = text.rfind(" ", start + 1, at)
        if at < 0:
            break
        if text[at - 1].isalnum() and text[at + 1 : at + 2].isalpha():
            return at
    return limit

"""Replaces words in a text that comes in pieces, holding back only an end that can still become one of them. No I/O.

Two uses: the upstream's key is masked where a stream spells it, and placeholders are turned back into what they stand for.

There can be thousands of placeholders, and as many places where one stands. So a text is never held against each word: one
expression finds where any of them may begin, a mapping says which one it is, and what an end can become is looked up in the
sorted words, where those that begin with it stand right behind it.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

_MAX_HEADS, _MAX_HEAD_CHARS = 16, 16
"""Bounds of the expression that finds where words may begin: its size must not depend on how many there are."""


class Words:
    """What to replace by what; for any number of texts.

    Where one word begins another, the longer one is meant.
    """

    def __init__(self, table: Mapping[str, str]) -> None:
        """Take the words, which must not be empty, with what stands for each."""
        self._table = dict(table)
        self._sorted = sorted(self._table)
        self._lengths = sorted({len(word) for word in self._table}, reverse=True)
        self._first = {word[0] for word in self._table}
        self._head = re.compile("|".join(sorted(map(re.escape, _heads(self._table)))))

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._table)

    def spare(self, word: str) -> None:
        """From now on a word stays as it is."""
        self._table[word] = word

    def matches(self, text: str) -> Iterator[tuple[int, int, str]]:
        """Where words stand: start, end, and what to put there; in order, without overlaps."""
        head = self._head.search(text) if self._table else None
        while head is not None:
            start = after = head.start()
            for length in self._lengths:
                word = text[start : start + length]
                if (instead := self._table.get(word)) is not None:
                    after += len(word)
                    yield start, after, instead
                    break
            head = self._head.search(text, max(after, start + 1))

    def begins(self, text: str, start: int) -> bool:
        """Whether a text ends, from a place on, as a longer word begins."""
        if len(text) - start >= self.longest or text[start] not in self._first:
            return False
        end = text[start:]
        at = bisect_right(self._sorted, end)
        return at < len(self._sorted) and self._sorted[at].startswith(end)

    @property
    def longest(self) -> int:
        """Characters of the longest word."""
        return self._lengths[0] if self._lengths else 0

    def replaced(self, text: str) -> str:
        """A whole text with every word replaced."""
        out: list[str] = []
        at = 0
        for start, end, instead in self.matches(text):
            out += (text[at:start], instead)
            at = end
        return "".join((*out, text[at:])) if out else text


def _heads(words: Iterable[str]) -> set[str]:
    """Beginnings of the words, as long as they can be while they are few."""
    heads = {word[:1] for word in words}
    for n in range(2, min(_MAX_HEAD_CHARS, *map(len, words)) + 1 if heads else 0):
        longer = {word[:n] for word in words}
        if len(longer) > _MAX_HEADS:
            break
        heads = longer
    return heads


@dataclass(slots=True)
class Replacer:
    """One text's replacements.

    Attributes:
        words: What to replace by what.
    """

    words: Words = field(repr=False)
    _held: str = field(default="", repr=False)

    def feed(self, piece: str) -> str:
        """Take the next piece; gives what can no longer be part of a word that is not yet whole."""
        text = self._held + piece
        words = self.words
        out: list[str] = []
        at = 0
        for start, end, instead in words.matches(text):
            if words.begins(text, start):
                break
            out += (text[at:start], instead)
            at = end
        ends = range(max(at, len(text) - words.longest + 1), len(text))
        stays = next((i for i in ends if words.begins(text, i)), len(text))
        out.append(text[at:stays])
        self._held = text[stays:]
        return "".join(out)

    def flush(self) -> str:
        """The text is over; gives what was held back."""
        text, self._held = self._held, ""
        return self.words.replaced(text)


@dataclass(slots=True)
class Replacers(Generic[K]):
    """The same replacements in several texts that come side by side.

    Attributes:
        words: See `Replacer`; none: every text stays as it is.
    """

    words: Words = field(repr=False)
    _texts: dict[K, Replacer] = field(default_factory=dict, repr=False)

    def __contains__(self, key: Hashable) -> bool:
        """Whether a piece of this text has come, where there is something to replace."""
        return key in self._texts

    def feed(self, key: K, piece: str) -> str:
        """See `Replacer.feed`."""
        if not self.words:
            return piece
        text = self._texts.get(key)
        if text is None:
            text = self._texts[key] = Replacer(self.words)
        return text.feed(piece)

    def flush(self, key: K) -> str:
        """See `Replacer.flush`."""
        text = self._texts.get(key)
        return text.flush() if text is not None else ""

    def flush_all(self) -> Iterator[tuple[K, str]]:
        """All texts are over; gives what was held back of them."""
        for key, text in self._texts.items():
            if rest := text.flush():
                yield key, rest

"""Replaces words in a text that comes in pieces, holding back only an end that can still become one of them. No I/O.

Two uses: the upstream's key is masked where a stream spells it, and placeholders are turned back into what they stand for.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


@dataclass(slots=True)
class Replacer:
    """One text's replacements.

    Attributes:
        table: What to replace by what; the words must not be empty.
    """

    table: Mapping[str, str] = field(repr=False)
    _held: str = field(default="", repr=False)
    _any: re.Pattern[str] = field(init=False, repr=False)
    _longest: int = field(init=False)

    def __post_init__(self) -> None:
        # The longest first: where one word begins another, the longer one is meant.
        words = sorted(self.table, key=len, reverse=True)
        self._any = re.compile("|".join(map(re.escape, words)))
        self._longest = len(words[0])

    def feed(self, piece: str) -> str:
        """Take the next piece; gives what can no longer be part of a word that is not yet whole."""
        text = self._held + piece
        self._held = ""
        out: list[str] = []
        at = 0
        for match in self._any.finditer(text):
            if self._can_grow(text[match.start() :]):
                break
            out += (text[at : match.start()], self.table[match.group()])
            at = match.end()
        stays = next(
            (i for i in range(max(at, len(text) - self._longest + 1), len(text)) if self._can_grow(text[i:])), len(text)
        )
        out.append(text[at:stays])
        self._held = text[stays:]
        return "".join(out)

    def _can_grow(self, end: str) -> bool:
        """Whether the end of the text begins a longer word."""
        return len(end) < self._longest and any(len(w) > len(end) and w.startswith(end) for w in self.table)

    def flush(self) -> str:
        """The text is over; gives what was held back."""
        text, self._held = self._held, ""
        return self._any.sub(lambda match: self.table[match.group()], text)


@dataclass(slots=True)
class Replacers(Generic[K]):
    """The same replacements in several texts that come side by side.

    Attributes:
        table: See `Replacer`; empty: every text stays as it is.
    """

    table: Mapping[str, str] = field(default_factory=dict, repr=False)
    _texts: dict[K, Replacer] = field(default_factory=dict, repr=False)

    def __contains__(self, key: Hashable) -> bool:
        """Whether a piece of this text has come, where there is something to replace."""
        return key in self._texts

    def feed(self, key: K, piece: str) -> str:
        """See `Replacer.feed`."""
        if not self.table:
            return piece
        text = self._texts.get(key)
        if text is None:
            text = self._texts[key] = Replacer(self.table)
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


def replaced(text: str, table: Mapping[str, str]) -> str:
    """A whole text with every word of the table replaced."""
    if not table:
        return text
    replacer = Replacer(table)
    return replacer.feed(text) + replacer.flush()

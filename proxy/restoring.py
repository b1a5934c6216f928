"""Puts masked values back into an answer (``restore: true``), after the output stage has judged it. No I/O.

Only this exchange's own values, and only those that its request was masked with, are put back; none that the output stage
has masked as well. In a stream the end of a
text that can still become a placeholder waits for what follows; in tool-call arguments a value is spelled as JSON wants.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

from proxy.replacer import Replacers, Words
from proxy.strict_json import JsonError, parse_json_text
from rules.content import Content, LeafKind, Path, Surface


@dataclass(slots=True)
class Restoration:
    """What is put back into one answer.

    Attributes:
        table: The original values by placeholder; empty: nothing is done.
    """

    table: Mapping[str, str] = field(default_factory=dict, repr=False)
    _words: Words = field(init=False, repr=False)
    _json_words: Words | None = field(default=None, init=False, repr=False)
    """Made when the first text wants them."""
    _spared: set[str] = field(default_factory=set, init=False, repr=False)
    _channels: Replacers[Hashable] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._words = Words(self.table)
        self._channels = Replacers(self._words)

    def narrow(self, still: Mapping[str, str]) -> None:
        """Leave out what is no longer to be put back, because a rule of the output stage has masked it.

        Args:
            still: What is, by placeholder.
        """
        spared = self.table.keys() - still.keys() - self._spared
        self._spared |= spared
        for placeholder in spared:
            self._words.spare(placeholder)
            if self._json_words is not None:
                for spelling in _json_spellings(placeholder):
                    self._json_words.spare(spelling)

    def text(self, text: str) -> str:
        """A whole text."""
        return self._words.replaced(text)

    def json_text(self, text: str) -> str:
        """A whole text that holds JSON; one that does not (custom tools, arguments cut off) too."""
        if not self.table or not _looks_like_json(text):
            return self.text(text)
        if self._json_words is None:
            put_back = {p: value for p, value in self.table.items() if p not in self._spared}
            spelled = {p: json.dumps(value, ensure_ascii=False)[1:-1] for p, value in put_back.items()}
            self._json_words = Words({s: value for p, value in spelled.items() for s in _json_spellings(p)})
        return self._json_words.replaced(text)

    def piece(self, key: Hashable, text: str) -> str:
        """More of a channel's text; gives what may leave."""
        return self._channels.feed(key, text)

    def last_piece(self, key: Hashable, text: str) -> str:
        """The end of a channel's text, with what was held back of it."""
        return self._channels.feed(key, text) + self._channels.flush(key)

    def into_answer(self, body: dict[str, Any], content: Content, without: Collection[Path] = ()) -> bool:
        """Put values back into a judged answer; whether that changed anything.

        Args:
            body: The answer.
            content: Where its texts stand.
            without: Places of texts that are sent on as channels.
        """
        changed = False
        for leaf in content.leaves if self.table else ():
            if leaf.kind is not LeafKind.TEXT or leaf.surface is Surface.METADATA or leaf.path in without:
                continue
            place: Any = body
            for step in leaf.path[:-1]:
                place = place[step]
            text = place[leaf.path[-1]]
            restored = self.json_text(text) if leaf.is_json else self.text(text)
            if restored != text:
                place[leaf.path[-1]] = restored
                changed = True
        return changed


def _json_spellings(placeholder: str) -> tuple[str, ...]:
    inner = placeholder[1:-1]
    return placeholder, f"\\u003c{inner}\\u003e", f"\\u003C{inner}\\u003E"


def _looks_like_json(text: str) -> bool:
    if text.lstrip()[:1] in ("{", "["):  # also when it was cut off
        return True
    try:
        parse_json_text(text)
    except JsonError:
        return False
    return True

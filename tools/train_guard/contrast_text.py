"""The small grammar of the contrast generators, and the spelling noise that both sides of a contrast share.

A template holds ``{name}`` (a draw from a table) and ``[a|b|]`` (a draw from the alternatives); both nest.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence

Tables = Mapping[str, Sequence[str]]

_PLACE = re.compile(r"\{(\w+)\}")
_CHOICE = re.compile(r"\[([^\[\]]*\|[^\[\]]*)\]")
_ARTICLE = re.compile(r"\b([Aa]) (?=(?!uni|us[ei]|euro|one)[aeiou])", re.IGNORECASE)
_START = re.compile(r"(^|[.?!] +)([a-z])")
_LEET = {"a": "4", "e": "3", "i": "1", "o": "0", "s": "5"}


def expand(template: str, rng: random.Random, tables: Tables, bound: Mapping[str, str] | None = None) -> str:
    """Fill a template.

    Args:
        template: Text with ``{name}`` and ``[a|b]``.
        rng: Source of randomness; each place gets its own draw.
        tables: Name to options; options may be templates.
        bound: Names that have one value in the whole template.

    Returns:
        A text with sentence capitals and matching articles.

    Raises:
        KeyError: A name is in neither table.
    """
    known = bound or {}

    def draw(match: re.Match[str]) -> str:
        return known[match[1]] if match[1] in known else rng.choice(tables[match[1]])

    before = ""
    while template != before:
        before = template
        template = _CHOICE.sub(lambda match: rng.choice(match[1].split("|")), template)
        template = _PLACE.sub(draw, template)
    template = re.sub(r" {2,}", " ", template).strip()
    template = _ARTICLE.sub(r"\1n ", template)
    return _START.sub(lambda match: match[1] + match[2].upper(), template)


def spell(text: str, rng: random.Random) -> str:
    """Write one to three words of a text as people do who dodge a filter: swaps, spaces, dots, digits, lost spaces."""
    words = text.split(" ")
    long = [at for at, word in enumerate(words) if len(word.strip(".,!?'\"")) > 3]
    for at in rng.sample(long, min(len(long), rng.randint(1, 3))):
        word, kind = words[at], rng.randrange(8)
        if not word:  # the word before took it in
            continue
        inner = rng.randrange(1, len(word) - 2)
        if kind == 0:
            word = word[:inner] + word[inner + 1] + word[inner] + word[inner + 2 :]
        elif kind == 1:
            word = word[:inner] + word[inner + 1 :]
        elif kind == 2:
            word = "".join(_LEET.get(letter.lower(), letter) for letter in word)
        elif kind == 3:
            word = rng.choice((".", "-", "*", "_")).join(word)
        elif kind == 4:
            word = " ".join(word)
        elif kind == 5:
            word = f"{word[:inner]} {word[inner:]}"
        elif kind == 6:
            word = word[:inner] + word[inner] * rng.randint(2, 4) + word[inner + 1 :]
        elif at + 1 < len(words):
            word, words[at + 1] = word + words[at + 1], ""
        words[at] = word
    return " ".join(word for word in words if word)


def vary(text: str, rng: random.Random) -> str:
    """Write a text as people type; every generator of contrasts uses it at the same rates."""
    draw = rng.random()
    if draw < 0.16:
        return text.lower()
    if draw < 0.24:
        return text.rstrip(".?!")
    if draw < 0.26:
        return text.upper()
    if draw < 0.30:
        return text.replace(".", "!!").replace("'", "")
    if draw < 0.42:
        return spell(text, rng)
    return text

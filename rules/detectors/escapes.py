r"""Escapes: percent-encoding, HTML entities, ``\uXXXX`` and ``\xXX``, decoded where they stand in a text.

Each decoded character maps to exactly the escapes it comes from, so that a mask takes out no more. Bytes that are not
UTF-8 are read as Latin-1, which is what old URLs mean by them. A backslash may be doubled any number of times: JSON in JSON.
"""

from __future__ import annotations

import functools
import html
import re
from collections.abc import Iterator
from html.entities import html5

from rules.detectors.decodings import DecodedView, Decodings
from rules.detectors.linear import compile_pattern, encode
from rules.errors import TooMuchToDecode

MAX_ESCAPES = 1_500_000
"""Entities, and runs of other escapes, that are decoded in one text: so many fill the largest body accepted by default."""

_HEX = "[0-9A-Fa-f]"
_BACKSLASHED = rf"(?<!\\)\\+(?:u{_HEX}{{4}}|u\{{{_HEX}{{1,6}}\}}|U{_HEX}{{8}}|x{_HEX}{{2}})"
"""The look-behind keeps a long row of backslashes from being read again from each of them."""
_ENTITY = rf"&(?:#[0-9]{{1,30}};?|#[xX]{_HEX}{{1,30}};?|[A-Za-z][A-Za-z0-9]{{1,31}};)"
"""Numbers may have leading zeros, but int() must not be made to read a megabyte of them."""
_RUN = re.compile(
    rf"%(?:u{_HEX}{{4}}|{_HEX}{{2}})(?:%(?:u{_HEX}{{4}}|{_HEX}{{2}}))*"
    rf"|{_BACKSLASHED}(?:{_BACKSLASHED})*"
    rf"|{_ENTITY}(?:{_ENTITY})*"
)
_UNIT = re.compile(
    rf"(?:%|\\+x)(?P<byte>{_HEX}{{2}})|(?:%|\\+)[uU]\{{?(?P<code>{_HEX}{{1,8}})\}}?"
)  # only ever matched within a run
_ENTITIES = re.compile(_ENTITY)
_NAMED = re.compile("&[A-Za-z]")

HINTS = r"%(?:[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4})|&(?:#[0-9xX]|[A-Za-z][A-Za-z0-9]{1,31};)|\\(?:[uUx][0-9A-Fa-f]|u\{)"
"""RE2: stands in every text that has an escape."""

_HINTS = compile_pattern(HINTS)


def decode_escapes(text: str) -> DecodedView | None:
    """The text with its escapes decoded; None if there are none.

    Raises:
        TooMuchToDecode: There are more than `MAX_ESCAPES` of them.

    >>> decode_escapes("M%41R&#75;").text
    'MARK'
    """
    if _HINTS.search(encode(text)) is None:  # ten times faster than to look for the runs
        return None
    parts: list[str] = []
    at = n = 0
    for match in _RUN.finditer(text):
        run = match.group()
        n += run.count("&") or 1
        if n > MAX_ESCAPES:
            raise TooMuchToDecode(f"more than {MAX_ESCAPES} escapes in one text")
        parts += (text[at : match.start()], _decoded(run))
        at = match.end()
    if not parts:
        return None
    parts.append(text[at:])
    decoded = "".join(parts)
    return None if decoded == text else DecodedView(text, decoded, lambda: Decodings(_decodings(text)))


def spells_words(text: str) -> bool:
    """Whether escapes stand for letters or digits; spaces, punctuation and named entities are every writer's habit."""
    if _HINTS.search(encode(text)) is None:
        return False
    runs = (match.group() for match in _RUN.finditer(text))
    return any(_NAMED.match(run) is None and any(map(str.isalnum, _decoded(run))) for run in runs)


def _decoded(run: str) -> str:
    return _plain(run) or "".join(char for _, char in _characters(run))


def _plain(run: str) -> str | None:
    """Two forms by a faster way: a body can be nothing but these."""
    try:
        if run[0] == "%" and len(run) == 3 * run.count("%"):
            return bytes.fromhex(run.replace("%", "")).decode()
        if len(run) == 6 * run.count("\\u"):
            return bytes.fromhex(run.replace("\\u", "")).decode("utf-16-be")
    except ValueError:
        pass
    return None


def _decodings(text: str) -> Iterator[tuple[int, int, int, int]]:
    out = at = 0
    for match in _RUN.finditer(text):
        out += match.start() - at
        at = match.start()
        for width, chars in _characters(match.group()):
            yield out, out + len(chars), at, at + width
            out += len(chars)
            at += width


def _characters(run: str) -> Iterator[tuple[int, str]]:
    """Each decoded character with the length of what it was decoded from."""
    if run[0] == "&":
        for entity in _ENTITIES.findall(run):
            yield len(entity), _character(entity)
        return
    waiting: list[tuple[int, int]] = []  # (width, value) of bytes, or of a high surrogate
    of_bytes = True
    for match in _UNIT.finditer(run):
        is_byte = match["byte"] is not None
        if waiting and is_byte is not of_bytes:
            yield from _flush(waiting, of_bytes)
            waiting = []
        of_bytes = is_byte
        waiting.append((len(match.group()), int(match["byte"] or match["code"], 16)))
    yield from _flush(waiting, of_bytes)


@functools.lru_cache(maxsize=4096)
def _character(entity: str) -> str:
    return html5.get(entity[1:]) or html.unescape(entity)


def _flush(units: list[tuple[int, int]], of_bytes: bool) -> Iterator[tuple[int, str]]:
    if of_bytes:
        at = 0
        for char in bytes(value for _, value in units).decode("utf-8", "surrogateescape"):
            n = 1 if "\udc80" <= char <= "\udcff" else len(char.encode())
            latin = chr(units[at][1]) if "\udc80" <= char <= "\udcff" else char
            yield sum(width for width, _ in units[at : at + n]), latin
            at += n
        return
    at = 0
    while at < len(units):
        width, value = units[at]
        at += 1
        if 0xD800 <= value < 0xDC00 and at < len(units) and 0xDC00 <= units[at][1] < 0xE000:
            low_width, low = units[at]
            at += 1
            yield width + low_width, chr(0x10000 + ((value - 0xD800) << 10) + (low - 0xDC00))
        else:  # half a pair, or beyond Unicode: unreadable
            yield width, "\ufffd" if value > 0x10FFFF or 0xD800 <= value < 0xE000 else chr(value)

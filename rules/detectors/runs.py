"""Runs: base64 (both alphabets, padded or not, wrapped at lines) and hexadecimal digits that decode to text.

Almost every long word is made of base64 characters, so what is tried at all is decided by a linear-time expression that
looks for the *traces of text*: bits that are the same in the code of every readable character. Six consecutive bytes of
ASCII leave them, or about three letters of another script; one random run of 20 characters in fifty does, one English
word in thousands. What was decoded then counts only if it is readable: a few random bytes are all readable by chance,
many hardly ever, so short results must be flawless and of long ones 70 % suffice. Ids, hashes and signatures fail that.

A run may have other characters glued to it (a path, a word), which shifts its groups of four: all four readings are
tried, and in short runs the longest flawless stretch counts by itself.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from rules.detectors.linear import Offsets, compile_pattern, encode
from rules.errors import TooMuchToDecode

MIN_BYTES = 9
"""Shorter results do not count: every word has a few readable bytes."""

MAX_RUNS = 100_000
"""Runs with traces of text that are decoded in one text; the largest body of random ids has a fifth of that."""

_MIN_STRETCH = 12
_MAX_STRETCHED = 4096
"""Longest run in which a flawless stretch counts: in megabytes of random bytes there are some by chance."""

_SAMPLED = 16_384
_SAMPLES = 16

_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_TO_STANDARD = bytes.maketrans(b"-_", b"+/")
_ANY = "[A-Za-z0-9+/_-]"
_HEX = "[0-9A-Fa-f]"


def _chars(test: Callable[[int], bool]) -> str:
    """The base64 characters whose six bits pass the test, in both alphabets."""
    chosen = "".join(char for i, char in enumerate(_ALPHABET) if test(i))
    return f"[{chosen}{'_' if '/' in chosen else ''}{'-' if '+' in chosen else ''}]"


def _traces_in_base64() -> str:
    """Two groups of four that hold readable bytes: ASCII, or leads (L) and continuations (C) of UTF-8."""
    even, odd = f"{_chars(lambda v: v % 4 == 0)}{_chars(lambda v: v >= 32)}", f"{_chars(lambda v: v % 4 == 1)}{_ANY}"
    ascii_ = f"{_chars(lambda v: 8 <= v < 32)}{_chars(lambda v: 2 <= v % 16 < 8)}(?:{even}|{odd})"
    to_c, to_l = _chars(lambda v: v % 4 == 2) + _ANY, _chars(lambda v: v % 4 == 3) + _ANY
    c_first, c_second = _chars(lambda v: 32 <= v < 48), _chars(lambda v: 8 <= v % 16 < 12)
    lcl = _chars(lambda v: 48 <= v < 56) + c_second + to_l
    clc = c_first + _chars(lambda v: 12 <= v % 16 < 14) + to_c
    three = (
        _chars(lambda v: 56 <= v < 60) + c_second + to_c,
        c_first + c_second + to_l,
        c_first + _chars(lambda v: v % 16 == 14) + to_c,
    )
    return "|".join([ascii_ * 2, lcl + clc, clc + lcl, *(group * 2 for group in three)])


_BETWEEN = r"(?:[:-]|,?(?:[ \t]|\r?\n)?(?:0[xX])?)"
"""What may stand between two pairs of hexadecimal digits; may be nothing."""


def _traces_in_hex() -> str:
    """Six pairs that are readable ASCII, or three letters of two or three bytes."""
    cont = f"[89abAB]{_HEX}"
    two, three = [f"[cdCD]{_HEX}", cont] * 3, [f"[eE]{_HEX}", cont, cont] * 2
    return "|".join(_BETWEEN.join(pairs) for pairs in ([f"[2-7]{_HEX}"] * 6, two, three))


HINTS = f"{_traces_in_base64()}|{_traces_in_hex()}"
"""RE2: stands in every text with a run that would be decoded."""

_BASE64_RUN = compile_pattern(f"{_ANY}*(?:{_traces_in_base64()}){_ANY}*={{0,2}}")
_HEX_RUN = compile_pattern(f"(?:{_HEX}{{2}}{_BETWEEN})*(?:{_traces_in_hex()})(?:{_BETWEEN}{_HEX}{{2}})*")
_NEXT_LINE = re.compile(rb"[ \t]*\r?\n[ \t>]*([A-Za-z0-9+/_-]+={0,2})(?![^\s\"'`,;.)\]}<])")
_MIN_LINE = 16
_NOT_BASE64 = bytes(set(range(256)) - set(_ALPHABET.encode()) - set(b"-_"))
_NOT_HEX = re.compile(rb"0[xX]|[^0-9A-Fa-f]")
_UNREADABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffd]")
_READABLE_STRETCH = re.compile(f"[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffd]{{{_MIN_STRETCH},}}")


@dataclass(frozen=True, slots=True)
class Run:
    """An encoded run of a text, and what it says."""

    start: int
    end: int
    decoded: str = field(repr=False)


def find_runs(text: str) -> list[Run]:
    """The runs that decode to text, in order, without overlaps.

    Raises:
        TooMuchToDecode: More than `MAX_RUNS` have traces of text.
    """
    data = encode(text)
    found = [*_found(data, _hex_runs(data)), *_found(data, _base64_runs(data))]
    offsets = Offsets(data)
    runs: list[Run] = []
    for start, end, decoded in sorted(found):
        start, end = offsets.chars(start, end)
        if not runs or start >= runs[-1].end:
            runs.append(Run(start, end, decoded))
    return runs


_Candidate = tuple[int, int, Callable[[bytes], str | None]]


def _found(data: bytes, candidates: Iterator[_Candidate]) -> Iterator[tuple[int, int, str]]:
    """Candidates that decode to text. Of several that begin alike the first that does is taken."""
    taken = 0
    for n, (start, end, decode) in enumerate(candidates):
        if n == MAX_RUNS:
            raise TooMuchToDecode(f"more than {MAX_RUNS} runs in one text look encoded")
        if start >= taken and (decoded := decode(data[start:end])) is not None:
            yield start, end, decoded
            taken = end


def _hex_runs(data: bytes) -> Iterator[_Candidate]:
    for match in _HEX_RUN.finditer(data):
        yield match.start(), match.end(), _from_hex


def _base64_runs(data: bytes) -> Iterator[_Candidate]:
    block_end = 0
    for match in _BASE64_RUN.finditer(data):
        start, end = match.span()
        if end > block_end:  # lines of a block that was tried as a whole are not tried as the first of a block again
            block_end = _end_of_block(data, start, end)
            if block_end > end:
                yield start, block_end, _from_block
        yield start, end, _from_base64


def _end_of_block(data: bytes, start: int, end: int) -> int:
    """Where the last line of a wrapped run ends: all lines but the last are long, or whole groups."""
    length = end - start
    while length >= _MIN_LINE or length % 4 == 0:
        line = _NEXT_LINE.match(data, end)
        if line is None:
            break
        length = line.end(1) - line.start(1)
        end = line.end(1)
    return end


def _from_block(run: bytes) -> str | None:
    """Several lines: not by a stretch, the next line may be a word that has nothing to do with the run."""
    return _from_base64(run, stretches=False)


def _from_base64(run: bytes, *, stretches: bool = True) -> str | None:
    chars = run.translate(_TO_STANDARD, _NOT_BASE64)
    readings = []
    for shift in range(4):
        part = chars[shift:]
        part = part[:-1] if len(part) % 4 == 1 else part
        readings.append(binascii.a2b_base64(part + b"=" * (-len(part) % 4)))
        if (decoded := _readable(readings[-1], MIN_BYTES if shift == 0 else _MIN_STRETCH)) is not None:
            return decoded
    return _longest_stretch(readings) if stretches and len(chars) <= _MAX_STRETCHED else None


def _from_hex(run: bytes) -> str | None:
    digits = _NOT_HEX.sub(b"", run)
    if digits.isdigit():  # a number: text has letters among its digits
        return None
    decoded = bytes.fromhex(digits[: len(digits) // 2 * 2].decode())
    readable = _readable(decoded, MIN_BYTES)
    return _longest_stretch([decoded]) if readable is None and len(digits) <= _MAX_STRETCHED else readable


def _readable(data: bytes, least: int) -> str | None:
    """The bytes as text if they are mostly readable."""
    n = len(data)
    if n < least:
        return None
    if n > _SAMPLED:
        step = n // _SAMPLES
        if not _is_readable(
            b"".join(data[i : i + _SAMPLED // _SAMPLES] for i in range(0, n, step)).decode("utf-8", "replace")
        ):
            return None
    text = data.decode("utf-8", "replace")
    return text if _is_readable(text) else None


def _is_readable(text: str) -> bool:
    good = len(text) - len(_UNREADABLE.findall(text))
    return good >= min(len(text), 0.7 * len(text) + 3)


def _longest_stretch(readings: list[bytes]) -> str | None:
    stretches = (s for data in readings for s in _READABLE_STRETCH.findall(data.decode("utf-8", "replace")))
    return max(stretches, key=len, default=None)

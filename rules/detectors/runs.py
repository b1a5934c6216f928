"""Runs: base64 (both alphabets, padded or not, wrapped at lines) and hexadecimal digits that decode to text.

Almost every long word is made of base64 characters, so what is tried at all is decided by a linear-time expression that
looks for the *traces of text*: bits that are the same in the code of every readable character. Eight consecutive
bytes leave them, whatever the script; one random run of 20 characters in ten does, and one English word in thousands.
What was decoded then counts only if it is readable: a few random bytes are all readable by chance,
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

_MAX_BINARY = 0.15
"""Share of unreadable characters from which on a file is no text."""

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


def _group(kinds: str) -> str:
    """A group of four whose three bytes are of these kinds: ASCII (A), lead (L) or continuation (C) in UTF-8."""
    first = {"A": lambda v: 8 <= v < 32, "C": lambda v: 32 <= v < 48, "L": lambda v: 48 <= v < 62}
    second = {"A": lambda v: 2 <= v % 16 < 8, "C": lambda v: 8 <= v % 16 < 12, "L": lambda v: 12 <= v % 16 < 15}
    controls_excluded = f"{_chars(lambda v: v % 4 == 0)}{_chars(lambda v: v >= 32)}"
    third = {
        "A": f"(?:{controls_excluded}|{_chars(lambda v: v % 4 == 1)}{_ANY})",
        "C": _chars(lambda v: v % 4 == 2) + _ANY,
        "L": _chars(lambda v: v % 4 == 3) + _ANY,
    }
    return _chars(first[kinds[0]]) + _chars(second[kinds[1]]) + third[kinds[2]]


def _traces_in_base64() -> str:
    """Two groups of four that hold readable bytes, and U+2000 to U+207F, which break words up invisibly."""
    pairs = [
        *("AAA AAA", "LCL CLC", "CLC LCL", "LCC LCC", "CCL CCL", "CLC CLC"),  # one script
        *("ALC ALC", "LCA LCA", "CAL CAL"),  # every letter with a mark, every second one of another script
        *("AAA ALC", "AAA LCA", "AAA LCC", "AAA LCL", "ALC AAA", "LCA AAA", "LCC AAA", "CCA AAA"),
    ]
    within = [f"4o[CG]{_ANY}", f"{_chars(lambda v: v % 16 == 14)}K[AB]", f"{_chars(lambda v: v % 4 == 3)}ig[IJKL]"]
    return "|".join([*("".join(map(_group, pair.split())) for pair in pairs), *within])


_BETWEEN = r"(?:[:-]|,?(?:[ \t]|\r?\n)?(?:0[xX])?)"
"""What may stand between two pairs of hexadecimal digits; may be nothing."""


def _traces_in_hex() -> str:
    """Six pairs that are readable ASCII, or three letters of two or three bytes."""
    cont = f"[89abAB]{_HEX}"
    two, three = [f"[cdCD]{_HEX}", cont] * 3, [f"[eE]{_HEX}", cont, cont] * 2
    return "|".join(_BETWEEN.join(pairs) for pairs in ([f"[2-7]{_HEX}"] * 6, two, three))


HINTS = f"{_traces_in_base64()}|{_traces_in_hex()}"
"""RE2: stands in every text with a run that would be decoded."""

_IN_BASE64 = compile_pattern(_traces_in_base64())
_REST = re.compile(rb"[A-Za-z0-9+/_-]*={0,2}")
_BASE64 = _ALPHABET.encode() + b"-_"
_HEX_RUN = compile_pattern(f"(?:{_HEX}{{2}}{_BETWEEN})*(?:{_traces_in_hex()})(?:{_BETWEEN}{_HEX}{{2}})*")
_NEXT_LINE = re.compile(rb"[ \t]*\r?\n[ \t>]*([A-Za-z0-9+/_-]+={0,2})")
_MIN_LINE = 16
_NOT_BASE64 = bytes(set(range(256)) - set(_BASE64))
_HEX_AND_HYPHEN = b"0123456789abcdefABCDEF-"
"""Hashes, UUIDs, numbers."""
_NAME = b"abcdefghijklmnopqrstuvwxyz_-/"
"""Words, paths, names in code."""
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


def says_text(run: str) -> bool:
    """Whether all of a text is one base64 run that decodes to text, which detectors then read and guards are shown.

    >>> says_text("d2hhdCBkb2VzIHRoaXMgc2F5Pw==")
    True
    """
    if len(run) > _SAMPLED:
        step = len(run) // _SAMPLES // 4 * 4  # whole groups of four
        run = "".join(run[i : i + _SAMPLED // _SAMPLES] for i in range(0, len(run), step))
    decoded = _from_base64(run.encode(), shifts=1, stretches=False)
    return decoded is not None and len(_UNREADABLE.findall(decoded)) <= _MAX_BINARY * len(decoded)


_JOINED_WORDS = compile_pattern("(?:[A-Za-z]{1,15}[+/_-]){8}")
"""Eight words with one of the alphabet's signs behind each; base64 has such a sign only every 32 characters."""
_MIN_WORDS = 4
"""Of eight, different ones: data that repeats has fewer."""
_KINDS = (b"abcdefghijklmnopqrstuvwxyz", b"ABCDEFGHIJKLMNOPQRSTUVWXYZ", b"0123456789")
_MAX_OF_A_KIND = 0.6
"""Share of small letters, capitals or digits. In encrypted data they are 0.41, 0.41 and 0.16; 0.6 is six deviations off."""
_WINDOW = 256
_MIN_DISTINCT = 8
"""Different characters of what is written; data that repeats has fewer."""


def joins_words(run: str) -> bool:
    """Whether base64 characters are words with signs for blanks, at least in part.

    >>> joins_words("this-is-what-nobody_should-read-at-all-")
    True
    """
    found = (match.group() for match in _JOINED_WORDS.finditer(run.encode()))
    return any(len(set(re.split(rb"[+/_-]", words)[:-1])) >= _MIN_WORDS for words in found)


def is_written(run: str) -> bool:
    """Whether base64 characters that should be encrypted data are, at least in part, what somebody has written.

    >>> is_written("whatnobodyshouldread" * 20)
    True
    """
    data = run.encode()
    starts = (*range(0, len(data) - _WINDOW, _WINDOW), max(0, len(data) - _WINDOW))
    return joins_words(run) or any(_is_lopsided(data[start : start + _WINDOW]) for start in starts)


def _is_lopsided(window: bytes) -> bool:
    n_others = min(len(window.translate(None, kind)) for kind in _KINDS)
    return n_others < (1 - _MAX_OF_A_KIND) * len(window) and len(set(window)) >= _MIN_DISTINCT


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
    for start, end in _traced(data):
        if end > block_end:  # lines of a block that was tried as a whole are not tried as the first of a block again
            *before, block_end = _ends_of_lines(data, start, end)
            if before:
                yield start, block_end, _flawless
                yield start, before[-1], _flawless  # the last line may be a word that has nothing to do with it
                yield start, block_end, _whole
            yield start, end, _from_base64
        else:
            yield start, end, _line


def _traced(data: bytes) -> Iterator[tuple[int, int]]:
    """The runs with traces of text; an expression for whole runs would be far slower."""
    at = 0
    trace = _IN_BASE64.search(data)
    while trace is not None:
        rest = _REST.match(data, trace.end())
        end = trace.end() if rest is None else rest.end()
        start = at + len(data[at : trace.start()].rstrip(_BASE64))
        run = data[start:end]
        if run.translate(None, _HEX_AND_HYPHEN) and run.translate(None, _NAME):  # text has both, and capitals or digits
            yield start, end
        at = end
        trace = _IN_BASE64.search(data, at)


def _ends_of_lines(data: bytes, start: int, end: int) -> list[int]:
    """Where the last two lines of a wrapped run end, or its only one: all but the last are long, or whole groups."""
    ends = [end]
    length = end - start
    while length >= _MIN_LINE or length % 4 == 0:
        line = _NEXT_LINE.match(data, ends[-1])
        if line is None:
            break
        length = line.end(1) - line.start(1)
        ends = [ends[-1], line.end(1)]
    return ends


def _line(run: bytes) -> str | None:
    """A line of a block that says nothing as a whole: megabytes of binary data are made of these, so one try is all."""
    return _from_base64(run, shifts=1, stretches=False)


def _flawless(run: bytes) -> str | None:
    decoded = _whole(run)
    return None if decoded is None or _UNREADABLE.search(decoded) else decoded


def _whole(run: bytes) -> str | None:
    return _from_base64(run, stretches=False)


def _from_base64(run: bytes, *, shifts: int = 4, stretches: bool = True) -> str | None:
    chars = run.translate(_TO_STANDARD, _NOT_BASE64)
    readings = []
    for shift in range(shifts):
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

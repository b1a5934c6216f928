"""All readings of a text that detectors look in: raw, folded, and decoded up to two layers deep.

Escapes are decoded within their text, so that a word half plain and half encoded is found. Runs of base64 and hexadecimal
digits are read twice: by themselves, one a line, and put into their text, where a word beside them says what they are.
Every decoded reading is folded in its turn. Each view maps to the raw text, through as many steps as it took.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate

from rules.detectors import escapes, runs
from rules.detectors.decodings import DecodedView, Decodings, StackedView
from rules.detectors.fold import View, folded_views
from rules.detectors.linear import compile_pattern, encode
from rules.errors import TooMuchToDecode

MAX_LAYERS = 2

MAX_GROWTH = 10
_SMALL = 100_000
MAX_READ_CHARS = 100_000_000
"""All decoded readings of a text together: so many times the text, and never more than that many characters."""

HINTS = f"(?-i:{escapes.HINTS}|{runs.HINTS})"
"""RE2, whatever the case of the rest: stands in every text that has a decoded reading."""

_HINTS = compile_pattern(HINTS)


def views(text: str) -> list[View]:
    """The raw text first, then every other reading that differs from it.

    Raises:
        TooMuchToDecode: The text holds more encoded runs than are decoded.
    """
    folded = folded_views(text)
    return [*folded, *decoded_views(folded)]


def may_be_encoded(text: str) -> bool:
    """Whether a text could have decoded readings: one linear search."""
    return _HINTS.search(encode(text)) is not None


def decoded_views(bases: Sequence[View]) -> list[View]:
    """The decoded readings of a text, given its raw and folded views.

    Raises:
        TooMuchToDecode: See `views`.
    """
    out: list[View] = []
    seen = {view.text for view in bases}
    room = min(MAX_READ_CHARS, MAX_GROWTH * len(bases[0].raw) + _SMALL)
    for base in bases:
        layer = [base]
        for _ in range(MAX_LAYERS):
            deeper: list[View] = []
            for view in layer:
                for reading, leads_on in _readings(view.text) if may_be_encoded(view.text) else ():
                    for folded in folded_views(reading.text):
                        if folded.text in seen:
                            continue
                        room -= len(folded.text)
                        if room < 0:
                            raise TooMuchToDecode("the decoded readings of one text are too long together")
                        seen.add(folded.text)
                        stacked = _stack(view, _stack(reading, folded))
                        out.append(stacked)
                        if leads_on:
                            deeper.append(stacked)
            layer = deeper
    return out


def _stack(under: View, over: View) -> View:
    if over.text is under.text:
        return under
    return over if under.text is under.raw else StackedView(under, over)


def _readings(text: str) -> Iterator[tuple[View, bool]]:
    """One layer decoded, and whether the next one is to be sought in it."""
    unescaped = escapes.decode_escapes(text)
    if unescaped is not None:
        yield unescaped, True
    found = runs.find_runs(text)
    if found:
        yield _by_themselves(text, found), True
        yield put_in(text, found), False


def _by_themselves(text: str, found: Sequence[runs.Run]) -> View:
    starts = accumulate((len(run.decoded) + 1 for run in found), initial=0)
    places = [(at, at + len(run.decoded), run.start, run.end) for at, run in zip(starts, found, strict=False)]
    return DecodedView(text, "\n".join(run.decoded for run in found), lambda: Decodings(places))


def put_in(text: str, found: Sequence[runs.Run]) -> View:
    """The text with runs replaced by what they say."""
    parts: list[str] = []
    places: list[tuple[int, int, int, int]] = []
    at = out = 0
    for run in found:
        parts += (text[at : run.start], run.decoded)
        out += run.start - at
        places.append((out, out + len(run.decoded), run.start, run.end))
        out += len(run.decoded)
        at = run.end
    parts.append(text[at:])
    return DecodedView(text, "".join(parts), lambda: Decodings(places))

"""Views: the readings of a text in which a detector also looks, each with its way back to the raw text; and folding.

Obfuscated text looks the same to a person or a model and has other code points. Detectors therefore match the raw text
and its *folded* view: compatibility forms (NFKC), without combining marks, without invisible characters, look-alike
letters as Latin ones, all digits as ASCII digits. Case is kept; that is the matcher's affair. Three more views exist
only where their carrier occurs: text hidden in tag characters, bytes hidden in variation selectors, and runs that a
right-to-left override turns around.

Every character of a view comes from one raw character, so a view carries a list of raw indices. It is computed on the
first match only: clean text costs one pass of table look-ups, pure ASCII text (whose folded view is itself) nothing.

The price of look-alikes: a Russian word made of such letters alone reads as Latin too, so short Latin literals can
meet it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence

_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Blank or invisible without being of category Cf."""

_RANGES_OF_LETTERS = ((0x1F130, 26), (0x1F150, 26), (0x1F170, 26), (0x1F1E6, 26))
"""Squared, negative circled, negative squared and regional-indicator letters without a compatibility form."""

LOOKALIKES: dict[str, str] = {
    # Cyrillic; both cases map to the same letter so that ignoring case still works
    **dict(zip("АВЕІЈКМНОРЅСТУХЬҮԚԜӏӀԌҺԀ", "ABEIJKMHOPSCTYXbYQWllGHD", strict=True)),
    **dict(zip("авеіјкмнорѕстухьўүԛԝԍһԁєї", "abeijkmhopsctyxbyyqwghdei", strict=True)),
    # Greek
    **dict(zip("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧϹͿ", "ABEZHIKMNOPTYXCJ", strict=True)),
    **dict(zip("αβγεηικνορτυχωϲϳ", "abyenikvoptuxwcj", strict=True)),
    # Armenian
    **dict(zip("օոսհցյզՕՏԼՍ", "onuhgjqOSLU", strict=True)),
    # Cherokee
    **dict(zip("ᎪᏴᏟᎠᎬᏀᎻᎫᏦᏞᎷᏢᏒᏚᎢᏙᏔᏃᎥ", "ABCDEGHJKLMPRSTVWZi", strict=True)),
    # Latin letters with strokes, without dots, small capitals, phonetic letters
    **dict(zip("øđłħŧƀɨʉıȷɑɡɩſØĐŁĦŦ", "odlhtbiuijagisODLHT", strict=True)),
    **dict(zip("ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘꞯʀꜱᴛᴜᴠᴡʏᴢ", "abcdefghijklmnopqrstuvwyz", strict=True)),
    # punctuation
    **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u2043\u02d7", "-"),
    **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u02b9\u02bc", "'"),
    **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033", '"'),
    **dict.fromkeys("\u2028\u2029\x85", "\n"),
    "\u2024": ".",
    "\u2044": "/",
    "\u2215": "/",
    "\u3002": ".",
    **{chr(first + i): chr(0x41 + i) for first, n in _RANGES_OF_LETTERS for i in range(n)},
}

_VOICED_MARKS = frozenset("\u3099\u309a")
"""Kana keep these marks: without them they are other letters, not disguised ones."""

_JOINING = re.compile("[\u1161-\u1175\u11a8-\u11c2\u3099\u309a\u314f-\u3163\uff9e\uff9f\uffc2-\uffdc\u3131-\u314e]")
"""What may unite with the character before it: vowels and finals of Hangul, voiced marks of kana."""

_NON_ASCII = re.compile("[^\x00-\x7f]+")
_TAGS = re.compile("[\U000e0020-\U000e007e]+")
_SELECTORS = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]{2,}")
_OVERRIDDEN = re.compile("\u202e([^\u202c\n\r\u2028\u2029]+)")
_CARRIERS = re.compile("[\U000e0020-\U000e007e\ufe00-\ufe0f\U000e0100-\U000e01ef\u202e]")
_ASCII_BYTES = bytes(range(128))
_SEPARATOR_BYTES = bytes(c for c in range(128) if not chr(c).isalnum())

_TABLE_LIMIT = 20_000
"""Code points whose folding is remembered; content cannot make the table grow beyond."""


class _Table(dict[str, str]):
    """Folding of single characters, filled as they occur."""

    def __missing__(self, char: str) -> str:
        folded = _fold_char(char)
        if len(self) < _TABLE_LIMIT:
            self[char] = folded
        return folded


def _fold_char(char: str) -> str:
    if char.isascii():
        return char
    out: list[str] = []
    for c in unicodedata.normalize("NFKD", LOOKALIKES.get(char, char)):
        category = unicodedata.category(c)
        if c in _INVISIBLE or category == "Cf" or (category in ("Mn", "Me") and c not in _VOICED_MARKS):
            continue
        if category == "Nd":
            out.append(str(unicodedata.decimal(c)))
        else:
            out.append(LOOKALIKES.get(c, c))
    return unicodedata.normalize("NFC", "".join(out))


_TABLE = _Table()


class View:
    """One reading of a raw text.

    Attributes:
        text: What to search.
        raw: The text it is a reading of.
    """

    __slots__ = ("_index", "_make_index", "raw", "text")

    def __init__(self, raw: str, text: str, make_index: Callable[[], Sequence[int]] | None) -> None:
        """A view whose character i comes from raw character ``make_index()[i]``; None: from raw character i."""
        self.raw = raw
        self.text = text
        self._make_index = make_index
        self._index: Sequence[int] | None = None

    @property
    def index(self) -> Sequence[int]:
        """For every character of the view, the raw character that it comes from."""
        if self._index is None:
            self._index = range(len(self.raw)) if self._make_index is None else self._make_index()
        return self._index

    def to_raw(self, start: int, end: int) -> tuple[int, int]:
        """The smallest raw range that holds the span, with the combining marks that sit on its last character."""
        if self._make_index is None:
            return start, end
        places = self.index[start:end]
        first, last = min(places), max(places) + 1
        while last < len(self.raw) and _sits_on_the_one_before(self.raw[last]):
            last += 1
        return first, last


def _sits_on_the_one_before(char: str) -> bool:
    return not char.isascii() and (unicodedata.category(char)[0] == "M" or char in "\uff9e\uff9f")


def fold(text: str) -> str:
    """The folded form of a text.

    >>> fold("Ｚ\u200bQ-ＭАRК")
    'ZQ-MARK'
    """
    return text if text.isascii() else _fold(text, _strange(text))


def _strange(text: str) -> str:
    """The characters of the text that are not ASCII, in order: for questions that need not read all of it."""
    data = text.encode("utf-8", "surrogatepass")
    return data.translate(None, _ASCII_BYTES).decode("utf-8", "surrogatepass")


_FEW = 4


def _fold(text: str, strange: str) -> str:
    """Fold by the way that is fastest for this mixture of characters; all ways agree."""
    changed = {c: folded for c in set(strange) if (folded := _TABLE[c]) != c}
    if _JOINING.search(strange) is None:
        if not changed:
            return text
        if len(changed) <= _FEW and all(folded.isascii() for folded in changed.values()):
            for char, folded in changed.items():
                text = text.replace(char, folded)
            return text
    if len(strange) > len(text) / 8:
        return "".join(_pieces(text))
    return _NON_ASCII.sub(_fold_run, text)


def _fold_run(match: re.Match[str]) -> str:
    return "".join(_pieces(match.group()))


def _pieces(text: str) -> list[str]:
    """What each character folds to; a character that unites with the one before it folds to nothing."""
    pieces = list(map(_TABLE.__getitem__, text))
    if text.isascii() or _JOINING.search(text) is None:
        return pieces
    before = -1
    for i, piece in enumerate(pieces):
        if not piece:
            continue
        if before >= 0 and _JOINING.match(text[i]):
            united = unicodedata.normalize("NFC", pieces[before][-1] + piece)
            if len(united) == 1:
                pieces[before] = pieces[before][:-1] + united
                pieces[i] = ""
                continue
        if piece in _VOICED_MARKS:
            pieces[i] = ""
            continue
        before = i
    return pieces


def _folded_index(text: str) -> list[int]:
    return [i for i, piece in enumerate(_pieces(text)) for _ in piece]


def folded_views(text: str) -> list[View]:
    """The raw text first, then every reading of it that differs without anything being decoded."""
    out = [View(text, text, None)]
    if text.isascii():
        return out
    strange = _strange(text)
    folded = _fold(text, strange)
    if folded != text:
        out.append(View(text, folded, lambda: _folded_index(text)))
        if _CARRIERS.search(strange):
            out.extend(_hidden(text))
    return out


def _hidden(text: str) -> Iterator[View]:
    """Text in tag characters, in variation selectors, and turned around by an override."""
    if _TAGS.search(text):
        index = [i for m in _TAGS.finditer(text) for i in range(*m.span())]
        yield _fixed(text, "".join(chr(ord(text[i]) - 0xE0000) for i in index), index)
    if _SELECTORS.search(text):
        yield _from_selectors(text)
    if _OVERRIDDEN.search(text):
        order: list[int] = []
        at = 0
        for match in _OVERRIDDEN.finditer(text):
            order += range(at, match.start(1))
            order += range(match.end(1) - 1, match.start(1) - 1, -1)
            at = match.end(1)
        order += range(at, len(text))
        pieces = [_TABLE[text[i]] for i in order]
        yield _fixed(text, "".join(pieces), [i for i, piece in zip(order, pieces, strict=True) for _ in piece])


def _from_selectors(text: str) -> View:
    """There are 256 variation selectors, so a run of them can carry bytes behind an emoji."""
    chars: list[str] = []
    index: list[int] = []
    for match in _SELECTORS.finditer(text):
        codes = map(ord, match.group())
        data = bytes(c - 0xFE00 if c < 0xFE10 else c - 0xE0100 + 16 for c in codes)
        try:
            decoded, widths = data.decode(), True
        except UnicodeDecodeError:
            decoded, widths = data.decode("latin-1"), False
        at = match.start()
        for char in decoded:
            chars.append(char)
            index.append(at)
            at += len(char.encode()) if widths else 1
        chars.append("\n")
        index.append(match.end() - 1)
    return _fixed(text, "".join(chars), index)


def _fixed(raw: str, text: str, index: Sequence[int]) -> View:
    return View(raw, text, lambda: index)


def squeeze_ascii(data: bytes) -> bytes:
    """What `squeeze` leaves of an ASCII text."""
    return data.translate(None, _SEPARATOR_BYTES)


def squeeze(view: View) -> View:
    """The view without everything that is not a letter or a digit; its index points into ``view.text``, not further.

    >>> squeeze(folded_views("Z Q - M A / R K")[0]).text
    'ZQMARK'
    """
    text = view.text
    is_ascii = text.isascii()
    squeezed = squeeze_ascii(text.encode()).decode() if is_ascii else "".join(filter(str.isalnum, text))
    return View(text, squeezed, lambda: [i for i, char in enumerate(text) if char.isalnum()])

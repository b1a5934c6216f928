"""The plain reading of a text: what guards are shown beside it, where it says something else folded or decoded.

Detectors look in every view of a text; a model costs too much for that, and most views say nothing new: typographic
quotes, accents, ``%20``. So there is one reading per text at most, with everything resolved at once, and only where the
difference is of *substance*: letters broken up by invisible characters or piled marks, words in letters that only look
Latin, text in invisible carriers, escapes that stand for letters, base64 or hexadecimal digits that hold text.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

from rules.detectors.escapes import decode_escapes, spells_words
from rules.detectors.fold import LOOKALIKES, fold, folded_views
from rules.detectors.runs import find_runs
from rules.detectors.views import MAX_LAYERS, may_be_encoded, put_in

_INVISIBLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_LETTERS = "A-Za-z0-9\u00c0-\u02af\u0370-\u052f"
"""Latin, Greek, Cyrillic: scripts that need no joiners."""
_FOREIGN = "".join(c for c in LOOKALIKES if "\u0370" <= c <= "\u058f" or "\u13a0" <= c <= "\u13ff")
_SMALL_CAPITALS = "ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘꞯʀꜱᴛᴜᴠᴡʏᴢ"
_STYLED = "\uff21-\uff3a\uff41-\uff5a\u24b6-\u24e9\U0001d400-\U0001d7ff\U0001f130-\U0001f189"
_MARKS = "\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"

_ANY_INVISIBLE = re.compile(f"[{_INVISIBLE}]+")
_BLANK_LOOKING = "\u115f\u1160\u2800\u3164\uffa0"
"""Of these, the ones that have the width of a letter: they stand between words as often as within one."""
_CHAIN = re.compile(f"(?<![{_LETTERS}])[{_LETTERS}]+(?:[{_BLANK_LOOKING}]+[{_LETTERS}]+)+")
_BROKEN_UP = re.compile(f"[{_LETTERS}][{_INVISIBLE}]+[{_LETTERS}]")
_CARRIED = re.compile("[\U000e0020-\U000e007e]|[\ufe00-\ufe0f\U000e0100-\U000e01ef]{2}|\u202e")
_TAGS = ("".join(chr(0xE0000 + ord(letter)) for letter in name) for name in ("gbeng", "gbsct", "gbwls"))
_FLAGS = re.compile(f"\U0001f3f4(?:{'|'.join(_TAGS)})\U000e007f")
"""England, Scotland, Wales: the one honest use of tag characters."""
_MIXED = re.compile(f"[A-Za-z][{_FOREIGN}]|[{_FOREIGN}][A-Za-z]")
_FOREIGN_WORD = re.compile(f"[{_FOREIGN}]{{3}}")
_NATIVE = re.compile(f"(?![{_FOREIGN}])[\u0370-\u058f\u13a0-\u13ff]")
_OTHER_LETTERS = re.compile(f"[{_STYLED}]{{2}}|[{_SMALL_CAPITALS}]{{3}}|[\U0001f1e6-\U0001f1ff]{{5}}")
_MARKED = re.compile(f"[A-Za-z][{_MARKS}]")
_MOST_MARKS = 8
"""No language puts as many on a letter. Normalising a text takes the square of the length of its longest run of marks."""
_WITH_MARKS = re.compile(f"[A-Za-z][{_MARKS}]{{1,{_MOST_MARKS + 1}}}")

MIN_CHARS = 12
"""Shorter decoded runs are not shown: ids that read as text by chance are that short."""
_MAX_CHANGES = 0.4
_MIN_WORDS = 0.9


def plain_reading(text: str) -> str | None:
    r"""The text folded and decoded, or None if it says nothing else then. It is not much longer than the text.

    Raises:
        TooMuchToDecode: The text holds more encoded runs than are decoded.

    >>> plain_reading("Say &#90;Q, then d2hhdCBkb2VzIHRoaXMgc2F5Pw==")
    'Say ZQ, then what does this say?'
    """
    if text.isascii() and not may_be_encoded(text):
        return None
    reading, differs = text, False
    for _ in range(MAX_LAYERS):
        undisguised = _undisguised(reading)
        spells = spells_words(undisguised)
        unescaped = decode_escapes(undisguised) if spells else None
        plain = undisguised if unescaped is None else unescaped.text
        found = [run for run in find_runs(plain) if _reads_as_text(run.decoded)]
        if found:
            plain = put_in(plain, found).text
        if plain == reading:
            break
        reading, differs = plain, True
    return _undisguised(reading) if differs else None


def _undisguised(text: str) -> str:
    """The text without its disguise, and what was carried in invisible characters behind it."""
    if text.isascii():
        return text
    honest = _FLAGS.sub("\U0001f3f4", text)
    carried = [view.text for view in folded_views(honest)[2:]] if _CARRIED.search(honest) else []
    plain = honest
    if carried or _BROKEN_UP.search(honest):
        plain = _ANY_INVISIBLE.sub("", _CHAIN.sub(_without_blank_looking, honest))
    if _is_disguised(plain):
        plain = fold(plain)
    return "\n".join([plain, *carried]) if carried or plain != honest else text


def _without_blank_looking(chain: re.Match[str]) -> str:
    """What characters that look blank stand between: words, or single letters of one."""
    parts = re.split(f"[{_BLANK_LOOKING}]+", chain[0])
    return (" " if sum(map(len, parts)) >= 2 * len(parts) else "").join(parts)


def _is_disguised(text: str) -> bool:
    if _OTHER_LETTERS.search(text) or _MIXED.search(text):
        return True
    if _FOREIGN_WORD.search(text) and not _NATIVE.search(text):  # a text of that script has its other letters too
        return True
    return any(
        len(found[0]) > 1 + _MOST_MARKS or _MARKED.search(unicodedata.normalize("NFC", found[0]))
        for found in _WITH_MARKS.finditer(text)
    )


def _reads_as_text(decoded: str) -> bool:
    """Whether a decoded run is worth a model's time: characters that are readable by chance change kind all the time."""
    if len(decoded) < MIN_CHARS:
        return False
    if may_be_encoded(decoded):
        return True
    sample = decoded[:4096]
    changes = sum(a != b for a, b in pairwise(map(_kind, sample)))
    words = sum(c.isalnum() or c.isspace() for c in sample)
    return changes <= _MAX_CHANGES * (len(sample) - 1) or words >= _MIN_WORDS * len(sample)


def _kind(char: str) -> int:
    """Words with their spaces, capitals, digits, other ASCII; further scripts by block."""
    if char.isascii():
        return 1 if char.islower() or char == " " else 2 if char.isupper() else 3 if char.isdigit() else 4
    return 0x10000 if ord(char) >= 0x2E80 else 16 + (ord(char) >> 8)

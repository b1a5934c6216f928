"""Makes of a text what a BERT tokeniser can read of it.

llama.cpp's word pieces end a word at a blank, at punctuation and at ASCII symbols, but at no other symbol, nor where the
script changes: ``bomb`` with an emoji or an Arabic letter glued to it is one unknown word. So symbols are taken out and scripts
are put apart before a text is tokenised, and what is unknown all the same is left out afterwards, while most of the text is
known.
"""

from __future__ import annotations

import functools
import re
import unicodedata

_CATEGORIES = ("So", "Sk", "Sm", "Sc", "Cn", "Co")
"""Unicode's symbols, and what has no meaning yet or a private one."""
_JOINERS = "\u200d\u20e3\ufe0e\ufe0f\U000e0020-\U000e007f"
"""What ties emoji together, or says how they look."""
_SCANNED = 0x32000
"""Beyond are planes without letters; all of them count as symbols."""


_LATIN = "A-Za-z\u00c0-\u024f\u1e00-\u1eff"
_OTHER = r"[^\W_\x00-\u024f\u1e00-\u1eff]"
_BORDER = re.compile(f"(?<=[{_LATIN}])(?={_OTHER})|(?<={_OTHER})(?=[{_LATIN}])")
"""Between letters or digits of different scripts, one of which is Latin."""
_MOST_UNKNOWN = 0.5
"""Where more of a text is unknown it stays as it is: what cannot be read must not look like what little can."""


def readable(text: str) -> str:
    """A text in which runs of symbols beyond ASCII are one blank each, and Latin letters stand apart from others.

    >>> readable("how\U0001f44d\ufe0f to\u2502make\u0628 one")
    'how  to make \u0628 one'
    """
    return text if text.isascii() else _BORDER.sub(" ", _symbols().sub(" ", text))


def known(ids: list[int], unknown: int) -> list[int]:
    """The ids of a text without those of unknown words, unless these are most of them.

    Args:
        ids: Of a text.
        unknown: The id of an unknown word.
    """
    n_unknown = ids.count(unknown)
    if not n_unknown or n_unknown > _MOST_UNKNOWN * len(ids):
        return ids
    return [token for token in ids if token != unknown]


@functools.cache
def _symbols() -> re.Pattern[str]:
    spans: list[list[int]] = []
    for code in range(0x80, _SCANNED):
        if unicodedata.category(chr(code)) in _CATEGORIES:
            if spans and spans[-1][1] == code - 1:
                spans[-1][1] = code
            else:
                spans.append([code, code])
    symbols = "".join(f"{re.escape(chr(first))}-{re.escape(chr(last))}" for first, last in spans)
    symbols += f"{chr(_SCANNED)}-\U000dffff\U000e1000-\U0010ffff"
    return re.compile(f"[{symbols}][{symbols}{_JOINERS}]*")

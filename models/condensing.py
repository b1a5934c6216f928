"""What a small encoder reads of a policy: what violates it, in a few sentences.

A policy for a safeguard model has some hundred words: instructions, definitions, what violates, what is safe, examples, the
format of the answer. An encoder has room for a fraction, and has to spend it on what violates.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_SENTENCE_END = re.compile(r"(?<=[.!?;])\s+|\s*\n\s*")
_HEADING = re.compile(
    r"^\s*#+\s*(?P<marked>.+?)\s*#*$|^\s*\**(?P<short>[^\s*](?:\S* ){0,5}\S*?):\**\s*$|^(?P<capitals>[A-Z][A-Z /()&-]{3,50})$"
)
_LEAD_IN = re.compile(r"^[^\s*#-](?:\S* ){6,14}\S*:\s*$")
"""A sentence before a list: like a heading, if it says that the list violates or is safe."""
_MARKS = re.compile(r"^\s*(?:[-*+•>]|\d+[.)])\s+|\*\*|__|`|^\s*\|?[-|: ]+\|\s*$")
_BESIDE_THE_POINT = re.compile(
    r"\b(instruct\w*|defin\w*|goals?|purpose|overview|background|introduction|interpret\w*|terms|formats?|outputs?|examples?"
    r"|labels?(?! \d)|ambigu\w*|escalat\w*|precedence|notes?|answers?|rationale)\b",
    re.IGNORECASE,
)
_SAFE = re.compile(
    r"\b(?:(?:do(?:es)? not|don'?t|not|non|never|no)\W+(?:a\W+)?(?:flag|violat\w*|block|refuse)"
    r"|(?<!not )(?<!n't )(?:allow\w*|permi\w*|accept\w*)|safe|exclu\w*|except\w*)\b",
    re.IGNORECASE,
)
_VIOLATES = re.compile(r"\b(?:violat\w*|flag|block|refuse|remove|forbid\w*|prohibit\w*|disallow\w*)\b", re.IGNORECASE)
_BUT_VIOLATES = re.compile(r"\b(unsafe|(?:not|never|dis)\W*(?:allow\w*|permi\w*|accept\w*)|must not)\b", re.IGNORECASE)


def condense(policy: str, room: int, encode: Callable[[str], list[int]]) -> list[int]:
    """The token ids of what a policy forbids, and, where room is left, of what it allows.

    Sections whose heading promises definitions, examples and the like are left out. Those on what violates are taken first,
    from the start of the policy; the ones on what is safe come after them. A policy without headings is taken as it is, and so
    is one of which nothing would be left.

    Args:
        policy: The text, Markdown or plain.
        room: Most tokens.
        encode: Tokenizer without control tokens.

    Returns:
        At most ``room`` ids.
    """
    forbidding, allowing = _sections(policy)
    sentences = (
        [*forbidding, *allowing] if forbidding else [part for line in policy.splitlines() for part in _sentences(line)]
    )
    ids: list[int] = []
    for sentence in sentences:
        ids += encode(sentence)
        if len(ids) >= room:
            break
    return ids[:room]


def _sections(policy: str) -> tuple[list[str], list[str]]:
    """The sentences on what violates, with those that stand under no heading, and the ones on what is safe."""
    forbidding: list[str] = []
    allowing: list[str] = []
    takes: list[str] | None = forbidding
    for number, line in enumerate(policy.strip().splitlines()):
        heading = _HEADING.match(line)
        if heading is None and not _LEAD_IN.match(line):
            if takes is not None:
                takes += _sentences(line)
            continue
        title = line.strip() if heading is None else next(text for text in heading.groups() if text is not None)
        if _SAFE.search(title) and not _BUT_VIOLATES.search(title):
            takes = allowing
        elif heading is None:
            takes = forbidding if _VIOLATES.search(title) or _BUT_VIOLATES.search(title) else takes
        else:
            takes = None if number and _BESIDE_THE_POINT.search(title) else forbidding
        if takes is not None:
            takes += _sentences(title if heading is None else title + ".")
    return forbidding, allowing


def _sentences(line: str) -> list[str]:
    return [part for part in _SENTENCE_END.split(_MARKS.sub("", line).strip()) if any(c.isalnum() for c in part)]

"""What a small encoder reads of a policy: what violates it, in a few sentences.

A policy for a safeguard model has some hundred words: instructions, definitions, what violates, what is safe, examples, the
format of the answer. An encoder has room for a fraction, and has to spend it on what violates.

A line is a heading by its form (Markdown, bold, underlined, a colon at its end, capitals, a tag) or because it says just
this: what stands below violates, or is safe. Headings nest by their form; one that says neither belongs to the one above it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from typing import NamedTuple

from models.readable import readable

_SENTENCE_END = re.compile(r"(?<=[.!?;])\s+|\s*\n\s*")
_MARKS = re.compile(r"^\s*(?:[-*+•>]|\d+[.)])\s+|\*\*|__|`|^\s*\|?[-|: ]+\|\s*$")
_LIST_MARK = re.compile(r"^\s*(?:[-*+•]|\d+[.)])\s+")
_TAG = re.compile(r"^\s*<(?P<end>/?)(?P<name>[A-Za-z][\w-]*)[^<>]*>\s*$")
_TAGS = re.compile(r"</?[A-Za-z][^<>]*>")
_FORMS = (
    re.compile(r"^\s*(?P<level>#+)\s*(?P<title>.+?)\s*#*$"),
    re.compile(r"^\s*(?:\d+[.)]\s*)?\*\*(?P<title>[^*]+)\*\*:?\s*$"),
    re.compile(r"^\s*\[(?P<title>[^\[\]]{1,60})\]:?\s*$"),
    re.compile(r"^(?:\d+[.)]\s+)?(?P<title>[A-Z][A-Z /()&'-]{2,50})$"),
)
"""Of headings; the further down, the deeper they nest: Markdown's by its marks, then each of the others."""
_COLON = re.compile(r"^\s*(?:[-*+•]\s+)?(?P<title>[^\s*](?:\S* ){0,14}\S*?):(?:\s*[|>])?\s*$")
_UNDERLINE = re.compile(r"^\s*(?:={3,}|-{3,})\s*$")
_MARKDOWN_LEVELS, _SHORT_WORDS, _BARE_WORDS, _SIGNED_WORDS = 6, 6, 5, 12
_DEEPEST = _MARKDOWN_LEVELS + len(_FORMS)
"""The level of a line that only its colon makes a heading."""
_INLINE = re.compile(r"^(?P<title>[A-Za-z][A-Za-z' ]{1,30})(?:: +(?=\S)|\.$)")
"""``Allowed: pears.`` or a sentence that is only ``Allowed.``"""
_NUMBERED_LABEL = re.compile(r"\blabel\W*\d", re.IGNORECASE)

_BESIDE_THE_POINT = re.compile(
    r"(?:instruct\w*|defin\w*|goals?|purpose|overview|background|introduction|interpret\w*|terms?|key|formats?|outputs?|examples?"
    r"|labels?|ambigu\w*|escalat\w*|precedence|notes?|answers?|rationale|guidance|terminology|scope|reminders?|languages?|principles?|guiding|edge|cases?|task|role)",
    re.IGNORECASE,
)
_FILLERS = frozenset(
    ("a", "an", "and", "any", "are", "content", "how", "in", "is", "it", "label", "of",
     "on", "our", "policy", "section", "that", "the", "these", "this", "to", "we", "what", "with", "your")
)  # fmt: skip
"""Words that say nothing about what a heading is for."""
_JUDGED = r"(?:flag|violat|block|refus|remov|prohibit|forbid|disallow|stop)\w*"
_ADMITTED = r"(?:allow\w*|permi\w*|accept\w*)"
_NOT = r"(?:not|never|no|non|\w+n't)\W+"
_NOT_JUDGED = re.compile(rf"\b(?:must |should |may |can )?{_NOT}(?:be\W+|an?\W+|any\W+)?{_JUDGED}", re.IGNORECASE)
_NOT_ADMITTED = re.compile(
    rf"\b(?:{_NOT}(?:be\W+)?(?:{_ADMITTED}|safe|fine|okay|ok|compliant)\b|dis{_ADMITTED}|un(?:safe|{_ADMITTED})"
    r"|banned|(?:should|must|can) ?not|can't)",
    re.IGNORECASE,
)
_VIOLATES = re.compile(rf"\b{_JUDGED}", re.IGNORECASE)
_SAFE = re.compile(
    rf"\b(?:{_ADMITTED}|safe|exclu\w*|except\w*|(?:should|may|can|will) (?:pass|stay|remain))\b", re.IGNORECASE
)
_SAFE_ALONE = re.compile(
    r"^\W*(?:(?:what|this|that) (?:is|can) )?(?:fine|ok|okay|can|pass|compliant)\W*$", re.IGNORECASE
)
"""Words that say so only where there are no others."""
_EXAMPLES = re.compile(r"^\W*examples?\b|\bexamples?\W*$", re.IGNORECASE)
"""They are contents, not words about contents."""
_SPARED = re.compile(r"^\W*(?:except|exclu|exempt)|\bnot\W+(?:includ|cover)", re.IGNORECASE)
_INCLUDED = re.compile(
    r"^\W*(?:(?:what|this|the|label|policy|content|it|is) )*(?:includ\w*|covers|covered)\W*$", re.IGNORECASE
)
"""The counterpart of ``Excludes``, of a section; above a list it may stand in any section."""
_SIGN = re.compile(
    r"^[\s#*•+-]*(?:(?P<good>[\u2705\u2714\u2611\U0001f44d\U0001f7e2])|[\u274c\u2716\U0001f6ab\u26d4\u2757\U0001f6d1\U0001f44e\U0001f534])"
)
"""Ticks, crosses, stop signs and the like at the start of a line."""
_ASIDE = re.compile(r"\s*\([^()\n]{12,}\)")
"""Examples and remarks in brackets; a short one is the name of a section."""
_LEAST_TOKENS = 12
"""Of a sentence that is cut; fewer say nothing."""
_ALLOWED_SHARE = 0.25


class _Part(Enum):
    """What a section is for."""

    FORBIDS = 0
    ALLOWS = 1
    BESIDE = 2


class _Heading(NamedTuple):
    title: str
    level: int
    """1 is a Markdown title; the larger, the deeper."""


def condense(policy: str, room: int, encode: Callable[[str], list[int]]) -> list[int]:
    """The token ids of what a policy forbids, and then of what it allows.

    Sections whose heading promises definitions, examples and the like are left out. A policy without headings is taken as it
    is, and so is one of which nothing would be left. What is too long loses what stands in brackets, then the ends of its long
    sentences, so that of each item there is something; at most a quarter is then left to what is allowed.

    Args:
        policy: The text, Markdown or plain.
        room: Most tokens.
        encode: Tokenizer without control tokens.

    Returns:
        At most ``room`` ids.
    """
    forbidden, allowed = _read(policy, encode)
    if _length(forbidden) + _length(allowed) > room:
        forbidden, allowed = _read(_ASIDE.sub("", policy), encode)
    for_allowed = min(_length(allowed), max(int(room * _ALLOWED_SHARE), room - _length(forbidden)))
    return [*_cut(forbidden, room - for_allowed), *_cut(allowed, for_allowed)]


def _read(policy: str, encode: Callable[[str], list[int]]) -> tuple[list[list[int]], list[list[int]]]:
    """The sentences on what violates, and those on what is safe, as ids."""
    forbidden, allowed = _wanted(policy)
    return list(map(encode, forbidden)), list(map(encode, allowed))


def _length(sentences: Sequence[list[int]]) -> int:
    return sum(map(len, sentences))


def _cut(sentences: Sequence[list[int]], room: int) -> list[int]:
    """As much of each sentence as there is room for; the first ones, where there are too many."""
    most = max(map(len, sentences), default=0)
    while most > _LEAST_TOKENS and sum(min(len(ids), most) for ids in sentences) > room:
        most -= 1
    return [i for ids in sentences for i in ids[:most]][:room]


def _wanted(policy: str) -> tuple[list[str], list[str]]:
    """The sentences on what violates, and those on what is safe."""
    found: dict[_Part, list[str]] = {part: [] for part in _Part}
    has_content = False
    for part, sentence, is_title in _sentences_of(policy):
        found[part].append(sentence)
        has_content |= part is _Part.FORBIDS and not is_title
    if has_content:
        return found[_Part.FORBIDS], found[_Part.ALLOWS]
    # what violates stands where nobody looked for it
    return found[_Part.FORBIDS], [*found[_Part.ALLOWS], *found[_Part.BESIDE]]


def _sentences_of(policy: str) -> Iterator[tuple[_Part, str, bool]]:
    """The sentences of a policy, what each is for, and whether it is a heading."""
    given = policy.strip().replace("\u2019", "'").splitlines()
    lines = [readable(line) for line in given]
    open_: list[tuple[int, _Part]] = []
    for number, line in enumerate(lines):
        signed = _signed(given[number])
        if (heading := _heading(line, lines[number + 1] if number + 1 < len(lines) else "", signed)) is not None:
            while open_ and open_[-1][0] >= heading.level:
                open_.pop()
            above = open_[-1][1] if open_ else _Part.FORBIDS
            part = _part_of(heading.title) or signed or above
            if above is not _Part.ALLOWS and heading.level < _DEEPEST and _INCLUDED.match(heading.title):
                part = _Part.FORBIDS
            if not number and heading.level == 1 and part is _Part.BESIDE:  # the title, whatever it says
                part = _Part.FORBIDS
            open_.append((heading.level, part))
            for sentence in _sentences(heading.title + ("" if heading.title.endswith(":") else ".")):
                yield part, sentence, True
            continue
        here = signed or (open_[-1][1] if open_ else _Part.FORBIDS)
        if line.strip().startswith("|"):
            yield from _row(line, here)
            continue
        for sentence in _sentences(line):
            inline = _INLINE.match(sentence)
            if inline and _is_nothing_else(inline["title"]):
                here = _verdict_of(inline["title"]) or here
            yield here, sentence, False


def _row(line: str, here: _Part) -> Iterator[tuple[_Part, str, bool]]:
    """A row of a table; a short cell that says so decides what it is for."""
    cells = [cell for cell in line.strip().strip("|").split("|") if cell.strip()]
    said = [_verdict_of(cell) for cell in cells if len(cell.split()) <= 2]
    part = next((verdict for verdict in reversed(said) if verdict is not None), here)
    for sentence in _sentences(line):
        yield part, sentence, False


def _signed(line: str) -> _Part | None:
    """What a sign at the start of a line says of it."""
    match = _SIGN.match(line)
    return None if match is None else _Part.ALLOWS if match["good"] else _Part.FORBIDS


def _heading(line: str, below: str, signed: _Part | None) -> _Heading | None:
    """A line as a heading; None: it is none."""
    if tag := _TAG.match(line):
        return _Heading("" if tag["end"] else tag["name"].replace("_", " ").replace("-", " "), _MARKDOWN_LEVELS + 1)
    line = _TAGS.sub(" ", line)
    for number, form in enumerate(_FORMS):
        if match := form.match(line):
            level = len(match["level"]) if number == 0 else _MARKDOWN_LEVELS + number
            return _Heading(_MARKS.sub("", match["title"]).strip(" :"), min(level, _MARKDOWN_LEVELS + number))
    if _UNDERLINE.match(below) and 0 < len(line.split()) <= _SHORT_WORDS and not _LIST_MARK.match(line):
        return _Heading(line.strip(), 1 if below.strip().startswith("=") else 2)
    bare = _LIST_MARK.sub("", line).strip()
    if signed and bare == line.strip() and len(bare.split()) <= _SIGNED_WORDS and bare[-1:] not in ".!?;,":
        return _Heading(bare, _MARKDOWN_LEVELS + 1)
    if match := _COLON.match(line):
        title = match["title"].strip("* ")
        is_short = len(title.split()) <= _SHORT_WORDS and not line.lstrip().startswith(("-", "+", "•", "* "))
        if is_short or _verdict_of(title) is not None:
            return _Heading(title if is_short else title + ":", _DEEPEST)
        return None
    is_bare = 0 < len(bare.split()) <= _BARE_WORDS and bare[-1] not in ".!?;,"
    if is_bare and _verdict_of(bare) is not None and _is_nothing_else(bare):
        return _Heading(bare, _DEEPEST)
    return None


def _part_of(title: str) -> _Part | None:
    """What a section with this heading is for; None: the heading does not say."""
    if (verdict := _verdict_of(title)) is not None and not _EXAMPLES.search(title):
        return verdict
    words = [word for word in re.findall(r"[A-Za-z]+", title) if word.lower() not in _FILLERS - {"label"}]
    if _NUMBERED_LABEL.search(title):
        return None
    is_beside = bool(words) and all(_BESIDE_THE_POINT.fullmatch(word) for word in words)
    return _Part.BESIDE if is_beside or _EXAMPLES.search(title) else None


def _verdict_of(title: str) -> _Part | None:
    """Whether words say that what they introduce violates or is safe."""
    if _SPARED.search(title):
        return _Part.ALLOWS
    rest, n_negated = _NOT_JUDGED.subn("", title)
    if _NOT_ADMITTED.search(rest) or _VIOLATES.search(rest):
        return _Part.FORBIDS
    return _Part.ALLOWS if n_negated or _SAFE.search(rest) or _SAFE_ALONE.search(rest) else None


def _is_nothing_else(title: str) -> bool:
    """Whether a line without a heading's form is all verdict: ``What is not allowed``, ``Prohibited content``."""
    for said in (_NOT_JUDGED, _NOT_ADMITTED, _VIOLATES, _SAFE, _SAFE_ALONE):
        title = said.sub("", title)
    return all(word.lower() in _FILLERS for word in re.findall(r"[A-Za-z]+", title))


def _sentences(line: str) -> list[str]:
    return [
        part
        for part in _SENTENCE_END.split(_MARKS.sub("", _TAGS.sub(" ", line)).strip())
        if any(c.isalnum() for c in part)
    ]

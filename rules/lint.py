"""What in a policy's text gets in the way of the model that reads it.

The verdict's form belongs to the product: its own section comes last (`models.prompt.OUTPUT_SECTION`) and asks for one
character, 1 for a violation and 0 for none. A policy that asks for another form fights with it. Measured on public runs of
gpt-oss-safeguard-20b: a policy whose examples say ``Output: VALID/INVALID`` under a harness that asks for 0 or 1 made 29 of
129 answers empty. The rest is what the gpt-oss-safeguard guide warns of (placeholders, hedges, length).

Nothing here is certain, so all of it is a warning. Only the policy is quoted, never content.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

LONGEST_TOKENS = 10_000
"""Where the gpt-oss-safeguard guide sees reasonable output end; it calls 400 to 600 tokens the best."""
BYTES_PER_TOKEN = 4
"""Of English text, in the o200k_harmony vocabulary; other scripts have fewer letters per token, and more bytes per letter."""

_SHOWN_CHARS = 40
_SHOWN_LINES = 5


class Trouble(StrEnum):
    """What a policy's text collides with."""

    REVERSED_LABELS = "reversed-labels"
    OTHER_LABELS = "other-labels"
    OUTPUT_SECTION = "output-section"
    ANSWER_FORMAT = "answer-format"
    JSON = "json"
    PLACEHOLDER = "placeholder"
    TOO_LONG = "too-long"
    HEDGE = "hedge"


@dataclass(frozen=True, slots=True)
class Complaint:
    """One trouble of one text.

    Attributes:
        trouble: What kind it is.
        line: Where it stands first; the first line is 1.
        message: What stands there, where else, and what would be right, in one line.
    """

    trouble: Trouble
    line: int
    message: str


_LABEL = (
    r"(?:(?:IN)?VALID|(?:UN)?SAFE|ALLOW(?:ED)?|BLOCK(?:ED)?|PASS|FAIL|YES|NO|TRUE|FALSE|ACCEPT|REJECT|VIOLATION|VIOLATING|"
    r"NON[_ -]?(?:VIOLATION|VIOLATING)|SPAM|HAM)"
)
_QUOTED = rf"[\"'`*]{{1,3}}{_LABEL}[\"'`*]{{1,3}}"
_VIOLATING = r"(?<!non)(?<!non[ -])(?<!not )(?<!un)(?:violat(?:es|ing|ions?)|invalid|unsafe|harmful)\b"
_HARMLESS = r"(?:non[ -]?violat(?:ing|ions?)|not violating|(?<!un)safe|(?<!in)valid|harmless)\b"
_IS = r"[\"'`*)]{0,3}\s*(?:\(|=|:|→|->)\s*[\"'`]?"
_ALONE = r"\b(?!\s*(?:/|or\b|[.,-]?\d))"
"""A number by itself, not "0 or 1", "0.5", "0-3"."""

_PATTERNS: tuple[tuple[Trouble, re.Pattern[str]], ...] = (
    (
        Trouble.REVERSED_LABELS,
        re.compile(
            rf"\b{_VIOLATING}{_IS}0{_ALONE}|\b{_HARMLESS}{_IS}1{_ALONE}"
            rf"|\b0\s*(?:=|:|means)\s*(?:\w+ ){{0,3}}{_VIOLATING}|\b1\s*(?:=|:|means)\s*(?:\w+ ){{0,3}}{_HARMLESS}",
            re.IGNORECASE,
        ),
    ),
    (
        Trouble.OUTPUT_SECTION,
        re.compile(
            r"^[^\w\n]*(?:\d+\W{1,3})?(?:output|answer|response|verdict|classification|return)"
            r"(?: (?:format|section|schema|labels?|instructions?))?[\s*_`]*(?::|$)"
            r"|^\W*#.*\b(?:output|response|answer) (?:format|schema)\b",
            re.IGNORECASE,
        ),
    ),
    (
        Trouble.JSON,
        re.compile(
            r"\b(?:return|output|respond|reply|answer|format)\b[^.\n]{0,40}\bjson\b|\bjson\b[^.\n]{0,20}\b(?:object|schema|only|format)\b"
            r"|```json|[{,]\s*\"[a-z_]{2,30}\"\s*:|\b(?:policy_category|rule_ids)\b",
            re.IGNORECASE,
        ),
    ),
    (
        Trouble.ANSWER_FORMAT,
        re.compile(
            r"(?i:\b(?:return|output|print|emit|answer|respond|reply)\b[^.\n]{0,25}\b(?:exactly|only|just)\b[^.\n]{0,15}"
            r"(?:\b(?:one|a single)\b|\b[01]\b|\b(?:word|character|token|label|letter|digit)s?\b))"
            r"|(?i:\b(?:return|output|print|answer|respond with|reply with|answer with))\s+(?i:only |either |just )?"
            rf"(?:[\"'`]?[01]\b|{_QUOTED}|{_LABEL}\b)"
            rf"|(?i:\b(?:return|output|print|emit|answer|respond|reply|classify|label|mark))\b[^.\n]{{0,40}}?{_LABEL}\s*(?:/|,|or|and)\s*{_LABEL}\b"
            r"|\(\s*0\s*(?:/|or)\s*1\s*\)|\(\s*1\s*(?:/|or)\s*0\s*\)"
            r"|(?i:\b(?:explain|justify) your (?:answer|verdict|decision|reasoning|choice|classification)\b)",
        ),
    ),
    (
        Trouble.OTHER_LABELS,
        re.compile(
            rf"\b{_LABEL}\s*(?:/|\bor\b)\s*{_LABEL}\b|{_QUOTED}|(?:→|->|=>)\s*{_LABEL}\b|\b(?:labels?|as)\s+(?:(?:IN)?VALID|UNSAFE)\b"
        ),
    ),
    (
        Trouble.PLACEHOLDER,
        re.compile(
            r"\[\s*(?:INPUT|CONTENT|TEXT|USER[ _]INPUT|PROMPT|MESSAGE|INSERT [A-Z ]{1,20})\s*\]"
            r"|\{\{?\s*(?:input|content|text|user_?input|prompt|message)\s*\}?\}"
            r"|<\s*(?:INPUT|CONTENT|TEXT|USER_?INPUT)\s*>",
        ),
    ),
    (
        Trouble.HEDGE,
        re.compile(r"\b(?:generally|usually|typically|normally|in most cases)\b", re.IGNORECASE),
    ),
)

_ADVICE = {
    Trouble.REVERSED_LABELS: "is the other way round than the answer that is asked for: 1 is a violation, 0 is none",
    Trouble.OUTPUT_SECTION: "looks like a section about the answer's form, which is asked for behind the policy; leave it out",
    Trouble.JSON: "looks like JSON as the answer, which is one character; leave it out",
    Trouble.ANSWER_FORMAT: "asks for a form of answer, which is asked for behind the policy; leave it out",
    Trouble.OTHER_LABELS: "are other labels than the answer's, 1 for a violation and 0 for none; use these or none",
    Trouble.PLACEHOLDER: "is a placeholder that nothing fills: the content comes in a message of its own; leave it out",
    Trouble.HEDGE: "leaves open when it holds; say in which cases",
}


def lint(text: str) -> list[Complaint]:
    """What is wrong with a policy's text, in the order of its lines; each kind of trouble once, with its other lines."""
    found: dict[Trouble, list[tuple[int, str]]] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        for trouble, match in _troubles(line):
            found.setdefault(trouble, []).append((number, _shown(match)))
    complaints = [_complaint(trouble, places) for trouble, places in found.items()]
    if (n_tokens := estimate_tokens(text)) > LONGEST_TOKENS:
        complaints.append(
            Complaint(
                Trouble.TOO_LONG,
                1,
                f"about {n_tokens:,} tokens: up to {LONGEST_TOKENS:,} are said to work, 400 to 600 to be best; split it, or "
                "measure that it is worth its length",
            )
        )
    return sorted(complaints, key=lambda c: (c.line, c.trouble))


def estimate_tokens(text: str) -> int:
    """About how many tokens a text has."""
    return len(text.encode("utf-8", "replace")) // BYTES_PER_TOKEN


def _troubles(line: str) -> Iterator[tuple[Trouble, str]]:
    """The troubles of one line. Of those about the answer's form only the first is named: they are one sentence."""
    about_form = False
    for trouble, pattern in _PATTERNS:
        is_form = trouble not in (Trouble.PLACEHOLDER, Trouble.HEDGE)
        if (about_form and is_form) or (match := pattern.search(line)) is None:
            continue
        about_form = about_form or is_form
        yield trouble, match[0]


def _complaint(trouble: Trouble, places: list[tuple[int, str]]) -> Complaint:
    line, quoted = places[0]
    others = [str(number) for number, _ in places[1:]]
    more = ""
    if others:
        rest = f" and {len(others) - _SHOWN_LINES} more" if len(others) > _SHOWN_LINES else ""
        more = f" (also on line{'s' * (len(others) > 1)} {', '.join(others[:_SHOWN_LINES])}{rest})"
    return Complaint(trouble, line, f"{quoted!r} {_ADVICE[trouble]}{more}")


def _shown(match: str) -> str:
    words = " ".join(match.split())
    return words if len(words) <= _SHOWN_CHARS else words[: _SHOWN_CHARS - 1] + "…"

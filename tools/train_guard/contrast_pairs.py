"""Pairs of a policy and a content whose label only the policy decides.

Each content meets several policies: wide and narrow ones of its axis, ones with an exception, ones that allow a
single subject, policies on other subjects, and ones on the form of the text.
"""

from __future__ import annotations

import random
import re

from tools.train_guard import contrast_policy_phrases as p
from tools.train_guard.contrast_policy_phrases import AXES, Axis
from tools.train_guard.contrast_text import expand, vary

Pair = tuple[str, str, int]

KINDS = ("mild", "grave", "excepted")
_NUMBERS = re.compile(
    r"\d|\b(one|two|three|four|five|six|nine|ten|twenty|forty|fourteen|fifteen|thirteen|hundred)\b", re.I
)
_COURTESY = re.compile(r"\b(please|thanks?|thank you)\b", re.IGNORECASE)
# Axes whose subjects overlap: a content of one is not surely off the subject of the other.
_OVERLAP = (
    {"alcohol", "age-restricted goods", "drugs", "food", "medical advice", "body ideals"},
    {
        "drugs",
        "crime",
        "weapons",
        "violent role play",
        "legal advice",
        "spam and scams",
        "personal data",
        "criticism of us",
    },
    {
        "criticism of us",
        "competitors",
        "advertising",
        "food",
        "medical advice",
        "rumours",
        "spam and scams",
        "gambling",
        "money tips",
        "profanity",
        "violent role play",
    },
    {"politics", "rumours", "legal advice", "religion", "groups of people", "profanity", "personal data", "history"},
    {"adult content", "romantic role play", "body ideals", "medical advice", "personal data"},
    {"animals", "food", "travel", "violent role play", "religion", "crime", "rumours"},
    {"medical advice", "rumours", "drugs", "alcohol", "age-restricted goods", "dangerous challenges", "animals"},
    {"romantic role play", "AI instructions", "homework", "travel", "religion"},
    {"rumours", "travel", "crime", "weapons", "spam and scams", "alcohol", "dangerous challenges", "gambling"},
    {"crime", "profanity", "animals", "medical advice", "travel"},
)


def apart(first: Axis, second: Axis) -> bool:
    """Whether a content of one axis surely has nothing to do with the other."""
    if first is second or second.name[0] == "personal data":  # names of people stand in the contents of all axes
        return False
    return not any(first.name[0] in group and second.name[0] in group for group in _OVERLAP)


def _policy(template: str, axis: Axis, forbidden: str, rng: random.Random, allowed: str = "") -> str:
    """Fill a policy: t and T the name, w and W what is forbidden, e the exception, a and A what is allowed."""
    name = rng.choice(axis.name)
    bound = {"t": name, "w": forbidden, "e": rng.choice(axis.exception), "a": allowed}
    for small, capital in (("t", "T"), ("w", "W"), ("a", "A")):
        bound[capital] = bound[small][:1].upper() + bound[small][1:]
    return expand(template.replace("No {w}", "No {w0}"), rng, p.TABLES, bound | {"w0": forbidden.removeprefix("any ")})


def wide(axis: Axis, rng: random.Random) -> tuple[str, dict[str, int]]:
    """A strict policy: each kind of content of the axis violates."""
    template = rng.choice(p.FORBID if rng.random() < 0.6 else p.STRICT)
    return _policy(template, axis, rng.choice(axis.wide), rng), {"mild": 1, "grave": 1, "excepted": 1, "other": 0}


def narrow(axis: Axis, rng: random.Random) -> tuple[str, dict[str, int]]:
    """A lenient policy: only grave content violates."""
    draw = rng.random()
    labels = {"mild": 0, "grave": 1, "excepted": 0, "other": 0}
    if draw < 0.4:
        allowed = rng.choice(
            (*axis.exception, f"ordinary talk about {rng.choice(axis.name)} and {rng.choice(axis.exception)}")
        )
        return _policy(rng.choice(p.LONG), axis, rng.choice(axis.narrow), rng, allowed), labels
    template = rng.choice(p.FORBID if draw < 0.65 else p.LENIENT)
    return _policy(template, axis, rng.choice(axis.narrow), rng), labels


def excepting(axis: Axis, rng: random.Random) -> tuple[str, dict[str, int]]:
    """A wide policy with an exception, short or with headings."""
    labels = {"mild": 1, "excepted": 0, "other": 0}
    forbidden = rng.choice(axis.wide)
    if rng.random() < 0.35:
        return _policy(rng.choice(p.LONG), axis, forbidden, rng, rng.choice(axis.exception)), labels
    return _policy(rng.choice(p.EXCEPT), axis, forbidden, rng), labels


def only(axis: Axis, rng: random.Random) -> tuple[str, dict[str, int]]:
    """An inverted policy: everything but the axis violates."""
    return _policy(rng.choice(p.ONLY), axis, "", rng), {"mild": 0, "grave": 0, "excepted": 0, "other": 1}


def has_form(form: str, text: str) -> bool:
    """Whether a text has a form, by its letters alone."""
    if form == "number":
        return bool(_NUMBERS.search(text))
    if form == "polite":
        return bool(_COURTESY.search(text))
    if form == "capitals":
        return text.isupper()
    marks = {"question": "?", "exclaim": "!", "quote": "'"}
    return marks[form] in text


def content(axis: Axis, kind: str, rng: random.Random) -> str:
    """A text of an axis and a kind."""
    text = rng.choice(getattr(axis, kind))
    text += "" if text.endswith("?") else rng.choice((".", ".", "", "!"))
    text = rng.choice(p.LEADS) + text + (rng.choice(p.TAILS) if text.endswith((".", "?", "!")) else "")
    return expand(text, rng, p.TABLES)


def _formal(text: str, rng: random.Random) -> list[Pair]:
    """Pairs of a text, changed in form or not, with a policy on the form and its inversion."""
    form, forbid, demand = rng.choice(p.FORMS)
    if form == "quote":
        if "'" in text:
            return []
        if rng.random() < 0.5:
            words = text.split()
            at = rng.randrange(len(words))
            words[at] = f"'{words[at].strip('.,!?')}'"
            text = " ".join(words)
    elif form == "polite" and rng.random() < 0.5:
        text = expand(rng.choice(p.COURTESY).replace("{c}", text), rng, {})
    elif form == "capitals" and rng.random() < 0.5:
        text = text.upper()
    elif form == "exclaim" and rng.random() < 0.5:
        text = text.rstrip(".?!") + "!"
    found = int(has_form(form, text))
    return [(rng.choice(forbid), text, found), (rng.choice(demand), text, 1 - found)]


def about(axis: Axis, kind: str, rng: random.Random) -> list[Pair]:
    """All pairs of one drawn content; both labels occur."""
    plain = content(axis, kind, rng)
    text = vary(plain, rng)
    pairs: list[Pair] = []
    for make in (wide, narrow, excepting, only):
        policy, labels = make(axis, rng)
        if kind in labels:
            pairs.append((policy, text, labels[kind]))
    others = [other for other in AXES if apart(axis, other)]
    for make in (rng.choice((wide, narrow, excepting)), only):
        policy, labels = make(rng.choice(others), rng)
        pairs.append((policy, text, labels["other"]))
    if rng.random() < 0.4:
        pairs += _formal(plain, rng)  # spelling noise would change the form
    return pairs


def make_pairs(rng: random.Random, count: int) -> list[Pair]:
    """Draw distinct pairs.

    Args:
        rng: Source of randomness.
        count: Number of pairs.

    Returns:
        Policy, content, label (one: the content violates the policy).
    """
    pairs: dict[tuple[str, str], int] = {}
    while len(pairs) < count:
        for policy, text, label in about(rng.choice(AXES), rng.choice(KINDS), rng):
            pairs.setdefault((policy, text), label)
    return [(policy, text, label) for (policy, text), label in pairs.items()][:count]

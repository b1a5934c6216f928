"""Pairs of a policy and a content whose label only the policy decides.

Each content meets several policies: wide and narrow ones of its axis, ones with an exception, ones that allow a
single subject, policies on other subjects, and ones on the form of the text.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from tools.train_guard import contrast_policy_phrases as p
from tools.train_guard import contrast_policy_wordings as words
from tools.train_guard.contrast_policy_axes import MORE_AXES
from tools.train_guard.contrast_policy_phrases import Axis
from tools.train_guard.contrast_text import expand, vary

Pair = tuple[str, str, int]

AXES = (*p.AXES, *MORE_AXES)
KINDS = ("mild", "grave", "excepted")
_NUMBERS = re.compile(
    r"\d|\b(one|two|three|four|five|six|nine|ten|twenty|forty|fifty|sixty|fourteen|fifteen|thirteen|hundred|thousand|million)\b",
    re.I,
)
_COURTESY = re.compile(r"\b(please|thanks?|thank you)\b", re.IGNORECASE)
# People and "my son" stand in the contents of all axes.
_EVERYWHERE = ("personal data", "children online")
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
    # Law, violence and danger.
    {
        "extremism",
        "threats",
        "crime",
        "weapons",
        "violent role play",
        "politics",
        "religion",
        "rumours",
        "groups of people",
        "conspiracies",
        "voting",
        "accidents",
        "legal advice",
        "school life",
        "criticism of us",
        "profanity",
        "self-harm",
    },
    # Body and health.
    {
        "self-harm",
        "eating habits",
        "body ideals",
        "medical advice",
        "health myths",
        "drugs",
        "alcohol",
        "age-restricted goods",
        "food",
        "tattoos",
        "accidents",
        "dangerous challenges",
        "animals",
        "rumours",
    },
    # Love, bodies and young people.
    {
        "nudity",
        "adult content",
        "romantic role play",
        "dating",
        "children online",
        "school life",
        "tattoos",
        "body ideals",
        "age-restricted goods",
        "homework",
        "exams",
        "threats",
        "impersonation",
        "personal data",
        "medical advice",
        "eating habits",
        "travel",
    },
    # Deceit, money and computers.
    {
        "hacking",
        "impersonation",
        "mass marketing",
        "money schemes",
        "money tips",
        "spam and scams",
        "advertising",
        "competitors",
        "gambling",
        "crime",
        "exams",
        "health myths",
        "children online",
        "criticism of us",
        "personal data",
        "AI instructions",
        "food",
        "drugs",
        "legal advice",
        "politics",
        "tattoos",
        "medical advice",
        "surveillance",
        "passwords",
        "refunds",
        "spy services",
    },
    # School and work.
    {
        "exams",
        "homework",
        "school life",
        "criticism of work",
        "criticism of us",
        "profanity",
        "children online",
        "rumours",
        "spam and scams",
        "AI instructions",
        "legal advice",
        "body ideals",
        "groups of people",
    },
    # Claims about the world.
    {"conspiracies", "voting", "politics", "rumours", "health myths", "groups of people", "legal advice", "religion"},
    # Roads, houses and the outdoors.
    {
        "driving",
        "accidents",
        "travel",
        "alcohol",
        "crime",
        "dangerous challenges",
        "home repairs",
        "hunting and fishing",
        "animals",
        "weapons",
        "legal advice",
        "rumours",
        "food",
        "violent role play",
        "competitors",
        "nudity",
        "extremism",
        "school life",
    },
    {
        "crime",
        "dating",
        "children online",
        "impersonation",
        "nudity",
        "tattoos",
        "threats",
        "school life",
        "adult content",
        "age-restricted goods",
        "surveillance",
        "spy services",
        "poisons",
    },
    {"rumours", "hacking", "health myths", "money schemes", "spy services", "surveillance"},
    {"school life", "drugs", "alcohol", "religion", "money tips", "violent role play", "accidents", "animals"},
    {"surveillance", "dating", "nudity", "hacking", "threats", "travel", "spy services", "politics", "weapons"},
    {
        "poisons",
        "drugs",
        "food",
        "animals",
        "medical advice",
        "health myths",
        "alcohol",
        "home repairs",
        "conspiracies",
    },
    {"poisons", "threats", "self-harm", "violent role play", "school life", "accidents", "weapons", "travel"},
    {"refunds", "travel", "driving"},
    {"threats", "food", "hacking", "AI instructions"},
    {"extremism", "spy services", "conspiracies", "politics", "legal advice"},
)


def apart(first: Axis, second: Axis) -> bool:
    """Whether a content of one axis surely has nothing to do with the other."""
    if first is second or second.name[0] in _EVERYWHERE:
        return False
    return not any(first.name[0] in group and second.name[0] in group for group in _OVERLAP)


def _policy(template: str, axis: Axis, forbidden: str, rng: random.Random, allowed: str = "") -> str:
    """A policy on an axis, from a template."""
    name, exception = rng.choice(axis.name), rng.choice(axis.exception)
    return words.fill(template, rng, p.TABLES, w=forbidden, t=name, e=exception, a=allowed)


def wide(axis: Axis, rng: random.Random) -> tuple[str, dict[str, int]]:
    """A strict policy: each kind of content of the axis violates."""
    template = rng.choice(words.FORBID if rng.random() < 0.6 else words.STRICT)
    return _policy(template, axis, rng.choice(axis.wide), rng), {"mild": 1, "grave": 1, "excepted": 1, "other": 0}


def narrow(axis: Axis, rng: random.Random) -> tuple[str, dict[str, int]]:
    """A lenient policy: only grave content violates."""
    draw = rng.random()
    labels = {"mild": 0, "grave": 1, "excepted": 0, "other": 0}
    if draw < 0.4:
        allowed = rng.choice(
            (*axis.exception, f"ordinary talk about {rng.choice(axis.name)} and {rng.choice(axis.exception)}")
        )
        return _policy(rng.choice(words.LONG), axis, rng.choice(axis.narrow), rng, allowed), labels
    template = rng.choice(words.FORBID if draw < 0.65 else words.LENIENT)
    return _policy(template, axis, rng.choice(axis.narrow), rng), labels


def excepting(axis: Axis, rng: random.Random) -> tuple[str, dict[str, int]]:
    """A wide policy with an exception, short or with headings."""
    labels = {"mild": 1, "excepted": 0, "other": 0}
    forbidden = rng.choice(axis.wide)
    if rng.random() < 0.35:
        return _policy(rng.choice(words.LONG), axis, forbidden, rng, rng.choice(axis.exception)), labels
    return _policy(rng.choice(words.EXCEPT), axis, forbidden, rng), labels


def only(axis: Axis, rng: random.Random) -> tuple[str, dict[str, int]]:
    """An inverted policy: everything but the axis violates."""
    return _policy(rng.choice(words.ONLY), axis, "", rng), {"mild": 0, "grave": 0, "excepted": 0, "other": 1}


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
    form, forbid, demand = rng.choice(words.FORMS)
    if form == "quote":
        if "'" in text:
            return []
        if rng.random() < 0.5:
            parts = text.split()
            at = rng.randrange(len(parts))
            parts[at] = f"'{parts[at].strip('.,!?')}'"
            text = " ".join(parts)
    elif form == "polite" and rng.random() < 0.5:
        text = expand(rng.choice(p.COURTESY).replace("{c}", text), rng, {})
    elif form == "capitals" and rng.random() < 0.5:
        text = text.upper()
    elif form == "exclaim" and rng.random() < 0.5:
        text = text.rstrip(".?!") + "!"
    found = int(has_form(form, text))
    return [(rng.choice(forbid), text, found), (rng.choice(demand), text, 1 - found)]


def about(axis: Axis, kind: str, axes: Sequence[Axis], rng: random.Random) -> list[Pair]:
    """All pairs of one drawn content with policies of its axis and of others; both labels occur."""
    plain = content(axis, kind, rng)
    text = vary(plain, rng)
    pairs: list[Pair] = []
    for make in (wide, narrow, excepting, only):
        policy, labels = make(axis, rng)
        if kind in labels:
            pairs.append((policy, text, labels[kind]))
    others = [other for other in axes if apart(axis, other)]
    for make in (rng.choice((wide, narrow, excepting)), only):
        if others:
            policy, labels = make(rng.choice(others), rng)
            pairs.append((policy, text, labels["other"]))
    if rng.random() < 0.4:
        pairs += _formal(plain, rng)  # spelling noise would change the form
    return pairs


def make_pairs(rng: random.Random, count: int, axes: Sequence[Axis] = AXES) -> list[Pair]:
    """Draw distinct pairs.

    Args:
        rng: Source of randomness.
        count: Number of pairs.
        axes: Subjects of policies and contents.

    Returns:
        Policy, content, label (one: the content violates the policy).
    """
    pairs: dict[tuple[str, str], int] = {}
    while len(pairs) < count:
        for policy, text, label in about(rng.choice(axes), rng.choice(KINDS), axes, rng):
            pairs.setdefault((policy, text), label)
    return [(policy, text, label) for (policy, text), label in pairs.items()][:count]

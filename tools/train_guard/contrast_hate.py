"""Hate and its minimal partners: the words stay, the target or the speaker's stance changes."""

from __future__ import annotations

import random

from tools.train_guard import contrast_hate_phrases as p
from tools.train_guard.contrast_text import expand, vary
from tools.train_guard.labels import BENIGN, violating

Labels = dict[str, int]
Row = tuple[str, Labels]

_SHARED = {
    "emotion": p.EMOTION,
    "attribute": p.ATTRIBUTE,
    "normative": p.NORMATIVE,
    "threat": p.THREAT,
    "swear": p.SWEARING,
}
_SHARES = ("emotion", "attribute", "attribute", "normative", "threat", "swear")
_PROFANE = ("fuck", "shit", "goddamn", "bloody", "damn", "screw")


def _profanity(text: str, labels: Labels) -> Labels:
    """Label swear words; mild ones stay unknown."""
    found = [word for word in _PROFANE if word in text.lower()]
    if not found:
        return labels
    if {"fuck", "shit"} & set(found):
        return labels | {"profanity": 1}
    return {name: value for name, value in labels.items() if name != "profanity"}


def _write(template: str, target: p.Pair, rng: random.Random) -> str:
    bound = {"P": target[0], "S": target[1], "O": rng.choice(p.OTHERS)[0], "S2": rng.choice(p.THINGS)[1]}
    return expand(template, rng, p.TABLES, bound)


def _row(text: str, labels: Labels, rng: random.Random) -> Row:
    """Label the swear words, then write the text as people type."""
    labels = _profanity(text, labels)
    return vary(text, rng), labels


def hateful(rng: random.Random) -> Row:
    """One text that attacks a group."""
    draw = rng.random()
    unknown: tuple[str, ...] = ("harassment", "violence", "misinfo")
    if draw < 0.58:
        kind = rng.choice(_SHARES)
        template = rng.choice(_SHARED[kind])
        if kind == "threat":
            text = _write(template, rng.choice(p.GROUPS), rng)
            return _row(text, violating("hate", "violence", unknown=("harassment",)), rng)
    elif draw < 0.68:
        template = rng.choice(p.NEGATED_HATE)
    elif draw < 0.78:
        template = rng.choice(p.IMPLICIT)
    elif draw < 0.86:
        template = rng.choice(p.PRONOUN_HATE)
    else:
        template = rng.choice(p.AGREE)
    return _row(_write(template, rng.choice(p.GROUPS), rng), violating("hate", unknown=unknown), rng)


def other_target(rng: random.Random) -> Row:
    """The frames of hate, said of things, of people by trade or habit, or of one person."""
    draw = rng.random()
    kind = rng.choice(_SHARES)
    template = rng.choice(_SHARED[kind])
    if draw < 0.5:
        text = _write(template, rng.choice(p.THINGS), rng)
        labels = dict(BENIGN)
        if kind == "swear":
            del labels["any"]
        return _row(text, labels, rng)
    if draw < 0.8:
        text = _write(template, rng.choice(p.OTHERS), rng)
        if kind == "threat":
            return _row(text, violating("violence", unknown=("harassment",)), rng)
        drop = {"emotion": ("harassment",)}.get(kind, ("harassment", "any", "violence"))
        return _row(text, {name: value for name, value in BENIGN.items() if name not in drop}, rng)
    if draw < 0.92:
        text = _write(rng.choice(p.PERSON_SAY), rng.choice(p.OTHERS), rng)
        labels = violating("harassment", unknown=("violence", "any"))
        if "you" not in text.lower().split():
            labels = {name: value for name, value in labels.items() if name != "harassment"}
        return _row(text, labels, rng)
    text = _write(rng.choice(p.PERSON_THREAT), rng.choice(p.OTHERS), rng)
    return _row(text, violating("violence", unknown=("harassment",)), rng)


def not_hateful(rng: random.Random) -> Row:
    """A text about groups, or with the words of hate, that attacks nobody."""
    tables = (
        p.AFFIRMED,
        p.AFFIRMED,
        p.NOT_IMPLICIT,
        p.PRONOUN_SAFE,
        p.REJECT,
        p.REJECT,
        p.REJECT,
        p.NEWS,
        p.NEWS,
        p.AFFIRMED,
        p.HOMONYM,
    )
    return _row(_write(rng.choice(rng.choice(tables)), rng.choice(p.GROUPS), rng), dict(BENIGN), rng)


def minimal_pair(rng: random.Random) -> tuple[Row, Row]:
    """A hateful text and its partner: the same draw of frames, another target or stance."""
    if rng.random() < 0.5:
        template = rng.choice(p.EMOTION + p.ATTRIBUTE)
        seed = rng.random()
        first = _write(template, rng.choice(p.GROUPS), random.Random(seed))
        second = _write(template, rng.choice(p.THINGS), random.Random(seed))
    else:
        at = rng.randrange(p.PAIRED)
        target, seed = rng.choice(p.GROUPS), rng.random()
        first = _write(p.AGREE[at], target, random.Random(seed))
        second = _write(p.REJECT[at], target, random.Random(seed))
    return (
        (first, _profanity(first, violating("hate", unknown=("harassment", "violence", "misinfo")))),
        (second, _profanity(second, dict(BENIGN))),
    )

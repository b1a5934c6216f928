"""Pairs of a short policy on an everyday subject and a text: on it, close beside it, or far from it.

A short policy says what it forbids in a few words, and a network that saw only distant texts beside it takes
anything for a violation. So most texts that do not violate here are of a sibling in the subject's family (of cheese,
where the policy is on nuts), or share a word with the subject. A policy may also name several subjects, a whole family,
an exception, or the one subject that is allowed.

The same text comes with policies that it violates and with ones that it does not; so no text tells its label.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from string import capwords
from typing import NamedTuple

from tools.train_guard import short_topics_phrases as p
from tools.train_guard.contrast_text import expand, vary
from tools.train_guard.short_topics_home import HOME
from tools.train_guard.short_topics_life import LIFE
from tools.train_guard.short_topics_overlap import ALSO, CLOSE, EMPTY, OVERLAP
from tools.train_guard.short_topics_phrases import Family, Subject
from tools.train_guard.short_topics_world import WORLD
from tools.train_guard.topics import TOPIC_WORDINGS

Pair = tuple[str, str, int]

FAMILIES: tuple[Family, ...] = (*HOME, *LIFE, *WORLD)
SUBJECTS = tuple(subject for family in FAMILIES for subject in family.subjects)
VALIDATION = frozenset((
    "fruit", "cheese", "nuts", "alcoholic drinks", "vacuum cleaners", "beds", "horses", "insects", "perfume", "tattoos", "golf",
    "swimming", "pensions", "crypto coins", "chess", "knitting", "dance", "photography", "printers", "cameras", "spreadsheets",
    "backups", "bosses", "layoffs", "gift cards", "sizes", "volcanoes", "earthquakes",
))  # fmt: skip
"""Subjects that are for validation alone, some of them siblings: no policy on them and none of their texts is trained on."""
KINDS = ("forbid", "compound", "wide", "except", "only")
"""Forms of policies: a subject, several, a family, a family with an exception, all but a subject."""
_SHARES = {1: (58, 14, 8, 12, 8), 0: (50, 13, 7, 11, 19)}
"""How often a form is drawn, by label. Rude texts and ones with a shared word violate `only` alone, hence its small share."""

_FAMILY_OF = {subject.names[0]: family for family in FAMILIES for subject in family.subjects}
_ASKS = re.compile(r"question|\bask", re.IGNORECASE)
_MENTION = re.compile(r"\bmention", re.IGNORECASE)
_WORDINGS = (*(wording for wording in TOPIC_WORDINGS if not _ASKS.search(wording)), *p.FORBID)
_ASKING = (*(wording for wording in TOPIC_WORDINGS if _ASKS.search(wording)), *p.ASKING)


class Text(NamedTuple):
    """A text to be judged."""

    words: str
    """Without the spelling that `vary` may give it."""
    asks: bool
    """Whether it holds a question."""
    subject: Subject | None
    """What it is on; None: on none of the subjects."""
    near: Subject | None = None
    """A subject that it only shares a word with; of the others nothing is known then."""


class Row(NamedTuple):
    """One pair, with the form of its policy."""

    kind: str
    policy: str
    text: str
    label: int


def split(*, validation: bool) -> tuple[Subject, ...]:
    """The subjects of training or those of validation."""
    return tuple(subject for subject in SUBJECTS if (subject.names[0] in VALIDATION) is validation)


def apart(first: Subject, second: Subject) -> bool:
    """Whether a text on one subject is surely not on the other."""
    return first is not second and frozenset((first.names[0], second.names[0])) not in OVERLAP


def distant(first: Family, second: Family) -> bool:
    """Whether a text of one family is surely not under the name of the other."""
    return first is not second and frozenset((first.name, second.name)) not in CLOSE


def _pattern(names: Sequence[str], also: str) -> re.Pattern[str]:
    """What finds a word of some names in a text, in singular or plural, or another word that makes it doubtful."""
    stems = set()
    for word in re.findall(r"[a-z]+", " ".join(names).lower()):
        if word not in EMPTY and len(word) > 1:
            stems.add(word[:-3] if word.endswith("ies") else word.removesuffix("s") if len(word) > 3 else word)
    found = [rf"\b{stem}" + ("" if len(stem) > 4 else r"(?:e?s)?\b") for stem in sorted(stems)]
    return re.compile("|".join([*found, *([also] if also else [])]), re.IGNORECASE)


_NAMED = {subject.names[0]: _pattern(subject.names, ALSO.get(subject.names[0], "")) for subject in SUBJECTS}
_UMBRELLA_NAMED = {
    family.name: _pattern(family.umbrella, ALSO.get(family.name, "")) for family in FAMILIES if family.umbrella
}


@lru_cache(maxsize=64)
def _off(text: Text) -> frozenset[str]:
    """Keys of the subjects that a text is surely not on."""
    if text.near is not None:
        return frozenset({text.near.names[0]})
    apart_from = [subject for subject in SUBJECTS if text.subject is None or apart(text.subject, subject)]
    return frozenset(s.names[0] for s in apart_from if not _NAMED[s.names[0]].search(text.words))


def off(text: Text, subject: Subject) -> bool:
    """Whether a text is surely not on a subject: theirs are apart, and it holds no word of the subject's names."""
    return subject.names[0] in _off(text)


def off_family(text: Text, family: Family) -> bool:
    """Whether a text surely does not fall under the name of a family."""
    own = _FAMILY_OF[text.subject.names[0]] if text.subject else None
    if text.near is not None or (own is not None and not distant(own, family)):
        return False
    return all(off(text, subject) for subject in family.subjects) and not _UMBRELLA_NAMED[family.name].search(
        text.words
    )


def _framed(core: str, rng: random.Random) -> str:
    """A text as it comes in: with a greeting, with a rude opening, or bare."""
    lead = rng.choice(p.HARSH) if rng.random() < 0.06 else rng.choice(p.LEADS)
    return expand(lead + core + (rng.choice(p.TAILS) if core.endswith((".", "!", "?")) else ""), rng, p.TABLES)


def on(subject: Subject, rng: random.Random) -> Text:
    """A text on a subject, now and then of two or three of its contents."""
    core = " ".join(rng.sample(subject.contents, rng.choices((1, 2, 3), (70, 18, 12))[0]))
    return Text(_framed(core, rng), "?" in core, subject)


def beside(subject: Subject, rng: random.Random) -> Text:
    """A text that shares a word with a subject and is not on it."""
    core = rng.choice(subject.near)
    return Text(_framed(core, rng), "?" in core, None, subject)


def rude(rng: random.Random) -> Text:
    """A rude or unsafe text on no subject."""
    core = " ".join(rng.sample(p.RUDE, 2 if rng.random() < 0.4 else 1))
    return Text(_framed(core, rng), "?" in core, None)


def _written(wording: str, topic: str, rng: random.Random, exception: str = "") -> str:
    """A policy from a wording, as people write it: capitals and final stops vary."""
    text = wording.format(t=topic, e=exception)
    draw = rng.random()
    if draw < 0.14:
        return text.lower().rstrip(".")
    if draw < 0.16:
        return text.upper()
    if draw < 0.20:
        return capwords(text) if len(text) < 40 else text
    text = text[0].upper() + text[1:]
    return text.rstrip(".") if draw < 0.28 else text


def _forbidding(topic: str, text: Text, rng: random.Random) -> str:
    """A policy that forbids a topic; one on questions only if the text is one."""
    if text.asks and rng.random() < 0.25:
        return _written(rng.choice(_ASKING), topic, rng)
    wordings = [w for w in _WORDINGS if not _MENTION.search(w)] if text.near else _WORDINGS
    policy, more = _written(rng.choice(wordings), topic, rng), rng.choice(p.MORE)
    return policy + (more if not more or policy.endswith((".", "!", "?")) else f".{more}")


def _joined(subjects: Sequence[Subject], rng: random.Random) -> str:
    """Two or three subjects in one phrase."""
    names = [subject.names[0] if len(subject.names[0]) < 24 else rng.choice(subject.names) for subject in subjects]
    if len(names) == 2:
        return rng.choice(p.JOIN_TWO).format(a=names[0], b=names[1])
    return rng.choice(p.JOIN_THREE).format(a=names[0], b=names[1], c=names[2])


class Drawer:
    """Draws policies for texts from some of the subjects.

    Args:
        rng: Source of randomness.
        subjects: What policies and texts are on.
    """

    def __init__(self, rng: random.Random, subjects: Sequence[Subject]) -> None:
        self._rng = rng
        self._subjects = subjects
        self._make: dict[str, Callable[[Text, int], str | None]] = {
            "forbid": self.forbid,
            "compound": self.compound,
            "wide": self.wide,
            "except": self.excepting,
            "only": self.only,
        }

    def _others(self, text: Text, count: int) -> list[Subject]:
        """Subjects that a text is off, mostly siblings of its own; fewer if there are not as many."""
        others = [subject for subject in self._subjects if off(text, subject)]
        if text.subject is not None and self._rng.random() < 0.7:
            family = _FAMILY_OF[text.subject.names[0]]
            siblings = [subject for subject in others if subject in family.subjects]
            if len(siblings) >= count:
                others = siblings
        return self._rng.sample(others, min(count, len(others)))

    def forbid(self, text: Text, label: int) -> str | None:
        """A policy that forbids one subject."""
        found = [text.subject] if label else self._others(text, 1)
        return _forbidding(self._rng.choice(found[0].names), text, self._rng) if found and found[0] else None

    def only(self, text: Text, label: int) -> str | None:
        """A policy that allows one subject, or two, and nothing else."""
        double = text.near is None and self._rng.random() < 0.15
        if label:
            allowed = self._others(text, 1 + double)
        else:
            allowed = [*([text.subject] if text.subject else []), *(self._others(text, 1) if double else [])]
            self._rng.shuffle(allowed)
        if not allowed or (not label and text.subject is None):
            return None
        topic = _joined(allowed, self._rng) if len(allowed) > 1 else self._rng.choice(allowed[0].names)
        asking = text.asks and self._rng.random() < 0.25
        return _written(self._rng.choice(p.ONLY_ASKING if asking else p.ONLY), topic, self._rng)

    def compound(self, text: Text, label: int) -> str | None:
        """A policy that forbids two or three subjects."""
        if text.near is not None:
            return None
        count = self._rng.choice((2, 3))
        if label:
            named = [*([text.subject] if text.subject else []), *self._others(text, count - 1)]
            self._rng.shuffle(named)
        else:
            named = self._others(text, count)
        if len(named) < 2 or (label and text.subject is None):
            return None
        return _forbidding(_joined(named, self._rng), text, self._rng)

    def _umbrella(self, text: Text, label: int) -> Family | None:
        """A family that a text falls under or, by label, does not."""
        own = _FAMILY_OF[text.subject.names[0]] if text.subject else None
        if label:
            return own if own and own.umbrella else None
        known = {_FAMILY_OF[subject.names[0]].name for subject in self._subjects}
        found = [family for family in FAMILIES if family.umbrella and family.name in known and off_family(text, family)]
        return self._rng.choice(found) if found else None

    def wide(self, text: Text, label: int) -> str | None:
        """A policy that forbids a whole family."""
        family = self._umbrella(text, label)
        return _forbidding(self._rng.choice(family.umbrella), text, self._rng) if family else None

    def excepting(self, text: Text, label: int) -> str | None:
        """A policy that forbids a family except for one of its subjects: for the text's own, by label, or for another."""
        own = _FAMILY_OF[text.subject.names[0]] if text.subject else None
        spared = not label and own is not None and self._rng.random() < 0.65
        family = own if spared else self._umbrella(text, label)
        if family is None or not family.umbrella:
            return None
        inside = [subject for subject in self._subjects if subject in family.subjects]
        exceptions = [text.subject] if spared and text.subject else [s for s in inside if off(text, s)]
        if not exceptions:
            return None
        exception = self._rng.choice(self._rng.choice(exceptions).names)
        return _written(self._rng.choice(p.EXCEPT), self._rng.choice(family.umbrella), self._rng, exception)

    def rows(self, text: Text, labels: Sequence[int]) -> list[Row]:
        """Pairs of a text, one for each label wanted; none for a label that no policy of the drawn form gives."""
        found, written = [], vary(text.words, self._rng)
        for label in labels:
            kind = self._rng.choices(KINDS, _SHARES[label])[0]
            if text.subject is None:
                kind = "only" if label else "forbid" if text.near else self._rng.choice(KINDS[:4])
            policy = self._make[kind](text, label)
            if policy is not None:
                found.append(Row(kind, policy, written, label))
        return found

    def drawn(self) -> list[Row]:
        """Pairs of one text with a policy that it violates and one or two that it does not."""
        draw, subject = self._rng.random(), self._rng.choice(self._subjects)
        if draw < 0.12 and subject.near:
            return self.rows(beside(subject, self._rng), (1, 0))
        if draw > 0.93:
            return self.rows(rude(self._rng), (1, 0))
        return self.rows(on(subject, self._rng), (1, 0) if self._rng.random() < 0.5 else (1, 0, 0))


def rows(rng: random.Random, count: int, subjects: Sequence[Subject]) -> list[Row]:
    """Draw distinct pairs with the forms of their policies; about two of five violate.

    Args:
        rng: Source of randomness.
        count: Number of pairs.
        subjects: What policies and texts are on; some should be siblings.
    """
    drawer = Drawer(rng, subjects)
    found: dict[tuple[str, str], Row] = {}
    while len(found) < count:
        for row in drawer.drawn():
            found.setdefault((row.policy, row.text), row)
    return list(found.values())[:count]


def make_pairs(rng: random.Random, count: int, subjects: Sequence[Subject]) -> list[Pair]:
    """Draw distinct pairs.

    Args:
        rng: Source of randomness.
        count: Number of pairs.
        subjects: What policies and texts are on; some should be siblings.

    Returns:
        Policy, content, label (one: the content violates the policy).
    """
    return [(row.policy, row.text, row.label) for row in rows(rng, count, subjects)]

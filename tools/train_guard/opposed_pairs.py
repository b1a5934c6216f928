# ruff: noqa: E501 - tables of phrases read better as rows
"""Pairs in which a policy takes a side: one protects a subject and forbids what is said against it, one the other way round.

A model that matches words takes both for policies about the subject. Each text - for it, against it, a neutral question, something
else - meets both. For everyday subjects all texts are templates; for categories the texts *for* it are those of public
sources with that label.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from tools.train_guard.category_pairs import Content
from tools.train_guard.contrast_text import expand, vary
from tools.train_guard.opposed_phrases import (
    AGAINST,
    CATEGORY_AGAINST,
    CATEGORY_SUBJECTS,
    ELSE,
    FOR,
    KEPT_SUBJECTS,
    NEUTRAL,
    NO_AGAINST,
    NO_FOR,
    NO_IT,
    SECTIONS,
    SUBJECTS,
    TABLES,
    Section,
)

Pair = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class Side:
    """What a policy forbids of a subject, and what it allows."""

    short: tuple[str, ...]
    long: Section


FORBIDS_AGAINST = Side(NO_AGAINST, SECTIONS["against"])
FORBIDS_FOR = Side(NO_FOR, SECTIONS["for"])
FORBIDS_IT = Side(NO_IT, SECTIONS["it"])
"""Of categories: their texts are more often instances than praise."""


def policy(side: Side, bound: dict[str, str], rng: random.Random) -> str:
    """A policy that takes a side: one sentence, or sections with items.

    Args:
        side: What it forbids.
        bound: ``t``: the subject; ``d``: doing it.
        rng: Source of randomness.
    """
    bound = bound | {"T": bound["t"][0].upper() + bound["t"][1:]}

    def fill(template: str) -> str:
        return expand(template, rng, TABLES, bound)

    if rng.random() < 0.4:
        return fill(rng.choice(side.short))
    section = side.long
    bullet = rng.choice(("- ", "* ", "• "))

    def items(heads: Sequence[str], lines: Sequence[str], least: int) -> str:
        drawn = rng.sample(lines, rng.randint(least, len(lines)))
        return "\n".join([rng.choice(heads), *(bullet + fill(line) for line in drawn)])

    parts = [fill(rng.choice(section.heads))]
    if rng.random() < 0.6:
        parts.append(fill(rng.choice(section.aims)))
    parts.append(
        items(("## Violates", "Flag content that:", "Not allowed:", "### Disallowed", "VIOLATES"), section.violates, 3)
    )
    if rng.random() < 0.85:
        parts.append(items(("## Allowed", "Do not flag:", "Allowed:", "### Permitted", "SAFE"), section.allowed, 2))
    return "\n\n".join(parts)


def _meets(
    text: str, kind: str, sides: tuple[Side, Side], bound: dict[str, str], other: dict[str, str], rng: random.Random
) -> list[Pair]:
    """A text with both policies on its subject, and at times with one on another subject."""
    against, in_favour = sides
    pairs = [
        (policy(against, bound, rng), text, int(kind == "against")),
        (policy(in_favour, bound, rng), text, int(kind == "for")),
    ]
    if rng.random() < 0.3:
        pairs.append((policy(rng.choice((FORBIDS_AGAINST, FORBIDS_FOR)), other, rng), text, 0))
    return pairs


def everyday(rng: random.Random, subjects: Sequence[tuple[str, str]]) -> list[Pair]:
    """Pairs of one text that a template makes.

    Args:
        rng: Source of randomness.
        subjects: At least two: the subject and doing it.
    """
    (t, d), (other_t, other_d) = rng.sample(subjects, 2)
    who = rng.choice(TABLES["who"])
    bound = {"t": t, "d": d} | {"T": t[0].upper() + t[1:], "D": d[0].upper() + d[1:], "Who": who[0].upper() + who[1:]}
    kind = rng.choices(("for", "against", "neutral", "else"), (32, 38, 18, 12))[0]
    templates = {"for": FOR, "against": AGAINST, "neutral": NEUTRAL, "else": ELSE}[kind]
    text = vary(expand(rng.choice(templates), rng, TABLES, bound), rng)
    return _meets(text, kind, (FORBIDS_AGAINST, FORBIDS_FOR), bound, {"t": other_t, "d": other_d}, rng)


def of_category(name: str, holding: Sequence[Content], harmless: Sequence[Content], rng: random.Random) -> list[Pair]:
    """Pairs of one text with policies that protect a category and that forbid it.

    Args:
        name: The category.
        holding: Texts that it applies to.
        harmless: Texts that violate nothing, nor fall under the category.
        rng: Source of randomness.
    """
    kind = rng.choices(("for", "against", "else"), (42, 42, 16))[0]
    if kind == "against":
        text = vary(expand(rng.choice(CATEGORY_AGAINST[name]), rng, TABLES), rng)
    else:
        text = rng.choice(holding if kind == "for" else harmless)[0]
    t, d = rng.choice(CATEGORY_SUBJECTS[name])
    other = rng.choice(SUBJECTS)
    bound, about_other = {"t": t, "d": d}, {"t": other[0], "d": other[1]}
    return _meets(text, kind, (FORBIDS_AGAINST, FORBIDS_IT), bound, about_other, rng)


def make_pairs(contents: Sequence[Content], rng: random.Random, count: int, *, validation: bool) -> list[Pair]:
    """Draw pairs, half of them on categories.

    Args:
        contents: Texts of public sources with category labels.
        rng: Source of randomness.
        count: Number of pairs.
        validation: Whether the everyday subjects are those that are kept for validation.

    Returns:
        Policy, content, label (one: the content violates the policy).
    """
    holding = {name: [row for row in contents if row[1].get(name) == 1] for name in CATEGORY_AGAINST}
    harmless = {
        name: [row for row in contents if row[1].get("any") == 0 and row[1].get(name) != 1] for name in CATEGORY_AGAINST
    }
    names = [name for name in CATEGORY_AGAINST if holding[name] and harmless[name]]
    pairs: list[Pair] = []
    while len(pairs) < count:
        if names and rng.random() < 0.5:
            name = rng.choice(names)
            pairs += of_category(name, holding[name], harmless[name], rng)
        else:
            pairs += everyday(rng, KEPT_SUBJECTS if validation else SUBJECTS)
    return pairs[:count]

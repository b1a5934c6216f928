# ruff: noqa: E501 - tables of phrases read better as rows
"""Pairs of a policy on categories and a text of a public source: alone, two at once, with an exception, inverted, off the subject.

Policies are short ones, templates with one item, and sections with many (`category_sections`).
The contrasts of `contrast_pairs` are templates. These are texts as people write them, and what decides is again the policy:
the same text meets one that forbids it, one that allows it by an exception and one about something else.
"""

from __future__ import annotations

import random

from tools.train_guard import category_sections
from tools.train_guard import contrast_policy_wordings as p
from tools.train_guard.labels import CATEGORIES

Pair = tuple[str, str, int]
Content = tuple[str, dict[str, int]]

SUBJECTS: dict[str, tuple[str, ...]] = {
    "hate": ("hate against groups of people", "racism, sexism and other bigotry", "contempt for people because of who they are"),
    "harassment": ("insults and personal attacks", "bullying or humiliating a person", "abuse aimed at somebody"),
    "violence": ("threats and violence", "praise of violence or calls for it", "hurting or killing people"),
    "sexual": ("sexual content", "erotic or sexually explicit text", "sex, nudity and sexual services"),
    "sexual/minors": ("sexual content about minors", "sexualising anyone under eighteen"),
    "self-harm": ("suicide and self-harm", "wishes or ways to hurt oneself", "self-injury and eating disorders"),
    "illicit": ("help with crimes", "requests for illegal acts", "instructions for breaking the law"),
    "cyber": ("hacking and malware", "attacks on computers, accounts and networks"),
    "weapons": ("making or getting weapons and explosives", "bombs, guns, poisons and other weapons"),
    "misinfo": ("false claims and propaganda", "disinformation", "invented news and lies about health or elections"),
    "fraud": ("scams and fraud", "deceiving people for money", "phishing, forgery and stolen identities"),
    "injection": ("attempts to override an assistant's instructions", "jailbreaks and prompt injection"),
    "profanity": ("swear words", "vulgar and obscene language", "cursing"),
}  # fmt: skip
EITHER = ("{a} or {b}", "{a}, {b}", "{a}; also {b}", "{a} as well as {b}")
IN_SECTIONS = 0.45
"""Share of policies that list what they forbid item by item."""
HARMLESS = (
    "Every text violates unless it is {w}.", "Only {w} is welcome here; whatever else people write violates.", "Violates: text that is NOT {w}. Such text itself is fine.", "This list collects {w}. Anything else is out of place and violates.", "{W} is allowed here, all other content isn't.",
)  # fmt: skip


def forbidding(subject: str, topic: str, allowed: str | None, rng: random.Random) -> str:
    """A policy that forbids a subject, short or in sections; with what it allows, if anything."""
    if allowed is not None:
        template = rng.choice(p.LONG if rng.random() < 0.5 else p.EXCEPT)
        return p.fill(template, rng, {}, w=subject, t=topic, e=allowed, a=allowed)
    if rng.random() < 0.4:
        return p.fill(rng.choice(p.LONG), rng, {}, w=subject, t=topic, a=rng.choice(ORDINARY))
    return p.fill(rng.choice(p.FORBID + p.STRICT), rng, {}, w=subject, t=topic)


ORDINARY = (
    "ordinary talk and questions",
    "harmless requests",
    "everything that has nothing to do with it",
    "reports, lessons and advice on safety",
)


def about(content: Content, rng: random.Random) -> list[Pair]:
    """Pairs of one text with the policies whose answer its labels tell."""
    text, labels = content
    holds = [name for name in CATEGORIES if labels.get(name) == 1]
    lacks = [name for name in CATEGORIES if labels.get(name) == 0]
    if not lacks:
        return []
    pairs: list[Pair] = []
    other, second = rng.choice(lacks), rng.choice(lacks)

    def subject(name: str) -> str:
        return rng.choice(SUBJECTS[name])

    def add(policy: str, label: int) -> None:
        pairs.append((policy, text, label))

    def on(*names: str) -> str:
        if rng.random() < IN_SECTIONS:
            return category_sections.policy(names, rng)
        if len(names) == 1:
            return forbidding(subject(names[0]), names[0], None, rng)
        first, last = rng.sample(names, 2)
        return forbidding(rng.choice(EITHER).format(a=subject(first), b=subject(last)), "harm", None, rng)

    def all_but(name: str) -> str:
        if rng.random() < IN_SECTIONS:
            return category_sections.policy([name], rng, inverted=True)
        return p.fill(rng.choice(HARMLESS), rng, {}, w=subject(name))

    add(on(other), 0)
    add(all_but(other), 1)
    if not holds:
        add(on(*dict.fromkeys((other, second))), 0)
        return pairs
    held = rng.choice(holds)
    add(on(held), 1)
    add(all_but(held), 0)
    add(on(held, other), 1)
    if len(holds) == 1:
        harm = rng.choice(("harmful or offensive content", "anything that a moderator would remove", "unsafe content"))
        add(forbidding(harm, "harm", subject(held), rng), 0)
        if labels.get("any") == 1:
            add(forbidding(harm, "harm", subject(other), rng), 1)
    return pairs


def make_pairs(contents: list[Content], rng: random.Random, count: int) -> list[Pair]:
    """Draw pairs, as many of violating texts as of harmless ones, each category alike often.

    Args:
        contents: Texts with category labels.
        rng: Source of randomness.
        count: Number of pairs.

    Returns:
        Policy, content, label (one: the content violates the policy).
    """
    pools = [[row for row in contents if row[1].get(name) == 1] for name in CATEGORIES]
    pools = [pool for pool in pools if pool]
    harmless = [row for row in contents if row[1].get("any") == 0]
    pairs: list[Pair] = []
    while len(pairs) < count:
        pairs += about(rng.choice(rng.choice(pools) if rng.random() < 0.5 else harmless), rng)
    return pairs[:count]

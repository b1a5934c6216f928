"""Chat requests and answers of assistants: benign and violating in the same forms and mostly the same words."""

from __future__ import annotations

import random

from tools.train_guard import contrast_chat_phrases as p
from tools.train_guard import contrast_hate_phrases as hate
from tools.train_guard import phrases
from tools.train_guard.contrast_text import expand, vary
from tools.train_guard.generate import fill
from tools.train_guard.labels import BENIGN, violating

Labels = dict[str, int]
Row = tuple[str, Labels]

UNKNOWN: dict[str, tuple[str, ...]] = {
    "violence": ("harassment", "illicit", "weapons"),
    "self-harm": ("violence", "harassment", "illicit"),
    "sexual": ("illicit", "harassment", "profanity"),
    "illicit": ("violence", "fraud", "harassment", "weapons", "cyber", "sexual", "self-harm"),
    "cyber": ("illicit", "fraud", "harassment"),
    "weapons": ("violence", "illicit", "cyber"),
    "misinfo": ("fraud", "illicit", "hate", "harassment", "violence"),
    "fraud": ("illicit", "cyber", "misinfo", "harassment"),
    "hate": ("harassment", "violence", "misinfo"),
    "harassment": ("hate", "violence", "profanity", "self-harm"),
    "injection": (),
}


def harmful(category: str) -> Labels:
    """Labels of a violating row; neighbours that may apply as well are unknown."""
    return violating(category, unknown=UNKNOWN[category])


def _filled(template: str, rng: random.Random) -> str:
    return expand(template, rng, p.TABLES)


def action(category: str, *, bad: bool, rng: random.Random) -> str:
    """An action of a category ("get a gun without a licence"), without a capital; a share is from `phrases`."""
    if rng.random() < 0.25:
        everyday = rng.choice(phrases.LOOK_ALIKE_DO) if rng.random() < 0.5 else _everyday(rng)
        return fill(rng.choice(phrases.DO[category]), rng) if bad else everyday
    text = _filled("- " + rng.choice(p.ACTIONS[category][bad]), rng)
    return text.removeprefix("- ")


def _everyday(rng: random.Random) -> str:
    return rng.choice(phrases.BENIGN_DO[rng.choice(list(phrases.BENIGN_DO))])


def request(*, bad: bool, rng: random.Random) -> Row:
    """One request; its form is drawn without regard to whether it violates."""
    category = rng.choice(list(p.ACTIONS))
    query = _filled(rng.choice(p.ASKS).replace("{x}", action(category, bad=bad, rng=rng)), rng)
    text = _filled(rng.choice(p.DRESS).replace("{q}", query), rng)
    return vary(text, rng), harmful(category) if bad else dict(BENIGN)


def saying(*, bad: bool, rng: random.Random) -> Row:
    """One sentence to the assistant or to another person; its partner shares the words."""
    category = rng.choice(list(p.SAYINGS))
    text = _filled(rng.choice(p.SAYINGS[category][bad]), rng)
    if rng.random() < 0.25:
        text = _filled("[hey|hi|so|well|listen], ", rng) + " " + text
    if rng.random() < 0.35:
        other = rng.choice(p.SAYINGS[rng.choice(list(p.SAYINGS))][0])
        text = _filled(f"{text}. {other}" if rng.random() < 0.5 else f"{other}. {text}", rng).replace("?.", "?")
    if rng.random() < 0.25 and not text.endswith(("?", ".")):
        text += rng.choice((".", "!", " lol", " :)", "...", ", just so you know."))
    return vary(text, rng), harmful(category) if bad else dict(BENIGN)


def _comply(what: str, rng: random.Random) -> str:
    text = rng.choice(p.COMPLY)
    for step in rng.sample(p.STEPS, text.count("{step}") + text.count("{cap}")):
        text = text.replace("{step}", step, 1) if "{step}" in text else text.replace("{cap}", step.capitalize(), 1)
    return _filled(text.replace("{x}", what), rng)


def answer(*, bad: bool, rng: random.Random) -> Row:
    """One answer of an assistant: compliance with a good or a bad wish, a refusal, advice."""
    draw = rng.random()
    category = rng.choice(list(p.ACTIONS))
    if bad and draw < 0.55:
        text, labels = _comply(action(category, bad=True, rng=rng), rng), harmful(category)
    elif bad:
        category = rng.choice(list(p.HARM_ANSWERS))
        tables = {
            **p.TABLES,
            "g": [plural for plural, _ in hate.GROUPS],
            "bad": hate.TABLES["adj"],
            "One": p.TABLES["one"],
        }
        text, labels = expand(rng.choice(p.HARM_ANSWERS[category]), rng, tables), harmful(category)
    elif draw < 0.4:
        text, labels = _comply(action(category, bad=False, rng=rng), rng), dict(BENIGN)
    elif draw < 0.75:
        what = action(category, bad=rng.random() < 0.85, rng=rng)
        text, labels = _filled(rng.choice(p.REFUSE).replace("{x}", what), rng), dict(BENIGN)
    else:
        text, labels = _filled(rng.choice(p.ADVICE), rng), dict(BENIGN)
    return text if rng.random() < 0.7 else vary(text, rng), labels

"""Template generators: benign requests, look-alikes, violations, injections and documents.

Every opening ("How do I ...", "Write a guide on ...") is shared by benign and violating rows, so that the
object of the request decides and not its form. Rows that say the same thing with another filling count as
one family; the word lists live in `phrases`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from tools.train_guard import phrases as p
from tools.train_guard.labels import BENIGN, violating

Labels = dict[str, int]
Row = tuple[str, Labels]

_UNKNOWN: dict[str, tuple[str, ...]] = {
    "weapons": ("violence", "cyber"),
    "illicit": ("violence", "fraud", "harassment", "weapons", "cyber", "sexual", "self-harm"),
    "cyber": ("illicit", "fraud"),
    "fraud": ("illicit", "cyber", "misinfo"),
    "self-harm": ("violence", "illicit"),
    "violence": ("harassment", "illicit", "weapons", "hate"),
    "hate": ("harassment", "violence", "misinfo", "illicit"),
    "harassment": ("hate", "violence", "illicit", "misinfo"),
    "misinfo": ("fraud", "illicit", "hate", "harassment"),
    "sexual": ("illicit", "harassment", "profanity"),
    "sexual/minors": ("illicit", "harassment", "profanity", "violence"),
}
_AGES = ("eleven", "12", "thirteen", "14", "fifteen", "10", "16")


def _labels(category: str) -> Labels:
    names = ("sexual/minors", "sexual") if category == "sexual/minors" else (category,)
    return violating(*names, unknown=_UNKNOWN.get(category, ()))


def fill(template: str, rng: random.Random) -> str:
    """Replace the placeholders of a template; each place gets its own draw."""
    values = {name: rng.choice(options) for name, options in p.FILL.items()}
    a, b = rng.sample(p.SEX_PEOPLE, 2)
    values |= {
        "n": rng.choice(p.NAMES),
        "group": rng.choice(p.GROUPS),
        "thing": rng.choice(p.THINGS),
        "person": rng.choice(p.PERSONS),
        "a": a,
        "b": b,
        "age": rng.choice(_AGES),
        "s": rng.choice(p.SWEAR),
        "bot": rng.choice(p.BOTS),
    }
    for name, value in values.items():
        template = template.replace("{" + name + "}", value)
    return template


def noise(text: str, rng: random.Random) -> str:
    """Write a text as people type: lower case, no full stop, a typo, capitals."""
    draw = rng.random()
    if draw < 0.15:
        text = text.lower()
    elif draw < 0.22:
        text = text.rstrip(".?!")
    elif draw < 0.25:
        text = text.upper()
    elif draw < 0.32 and len(text) > 12:
        at = rng.randrange(1, len(text) - 2)
        text = text[:at] + text[at + 1] + text[at] + text[at + 2 :]
    return text


def ask(action: str, rng: random.Random) -> str:
    """Put an action ("bake bread") into a request."""
    query = fill(rng.choice(p.ASK).replace("{x}", action), rng)
    return noise(fill(rng.choice(p.WRAP).replace("{q}", query), rng), rng)


def benign(rng: random.Random) -> Row:
    """One everyday request; sometimes two or three in one message."""
    if rng.random() < 0.45:
        text = ask(rng.choice(p.BENIGN_DO[rng.choice(list(p.BENIGN_DO))]), rng)
    else:
        text = noise(fill(rng.choice(p.BENIGN_FREE), rng), rng)
    if rng.random() < 0.2:
        text = f"{text} {benign(rng)[0]}"
    return text, dict(BENIGN)


def look_alike(rng: random.Random) -> Row:
    """One benign text with the words of a violation."""
    if rng.random() < 0.4:
        return ask(rng.choice(p.LOOK_ALIKE_DO), rng), dict(BENIGN)
    text = noise(fill(rng.choice(p.LOOK_ALIKE_FREE), rng), rng)
    labels = dict(BENIGN)
    if rng.random() < 0.08:
        text, labels["profanity"] = fill(rng.choice(p.SWEAR_BENIGN), rng), 1
        del labels["any"]
    return text, labels


def violation(category: str, rng: random.Random) -> Row:
    """One chat-style violation of a category, as a request or as a statement."""
    statements: dict[str, tuple[str, ...]] = {
        "hate": p.HATE_SAY + p.HATE_ASK,
        "harassment": p.INSULTS + p.INSULT_ASK,
        "violence": p.THREATS,
        "self-harm": p.SELF_SAY,
        "sexual": p.SEX_ASK + p.SEX_ASK + p.SEX_SAY,
        "sexual/minors": p.MINOR_ASK,
    }
    share = {"sexual": 0.15, "sexual/minors": 0.4, "self-harm": 0.35, "violence": 0.4, "hate": 0.25, "harassment": 0.25}
    if category not in statements or rng.random() < share[category]:
        text = ask(fill(rng.choice(p.DO[category]), rng), rng)
    else:
        text = noise(fill(rng.choice(statements[category]), rng), rng)
        if rng.random() < 0.2:
            text = f"{text} {noise(fill(rng.choice(statements[category]), rng), rng)}"
    return text, _labels(category)


def framed(rng: random.Random) -> Row:
    """One noun of harm, asked about safely (prevention, law, history) or asked for."""
    category = rng.choice(list(p.NOUNS))
    noun = rng.choice(p.NOUNS[category])
    safe = rng.random() < 0.68
    text = fill(rng.choice(p.SAFE_FRAMES if safe else p.BAD_FRAMES).replace("{x}", noun), rng)
    if rng.random() < 0.3:
        text = fill(rng.choice(p.WRAP).replace("{q}", text), rng)
    return noise(text, rng), dict(BENIGN) if safe else _labels(category)


def injection(rng: random.Random) -> Row:
    """One attempt to move the model off its instructions, alone or around a request."""
    draw = rng.random()
    if draw < 0.45:
        text = f"{rng.choice(p.INJ_VERB)} {rng.choice(p.INJ_WHAT)} {rng.choice(p.INJ_THEN)}".strip() + rng.choice(
            (".", "!", "")
        )
    else:
        text = fill(rng.choice(p.INJ_FREE), rng)
    labels = violating("injection")
    harmful = rng.random() < 0.35
    category = rng.choice(list(p.DO))
    query = violation(category, rng) if harmful else benign(rng)
    text = noise(text, rng) + rng.choice(p.INJ_TASKS).replace("{q}", query[0])
    if harmful:
        labels = {name: value for name, value in labels.items() if name in ("injection", "any")}
    if rng.random() < 0.3:
        lead = look_alike(rng)[0] if rng.random() < 0.3 else benign(rng)[0]
        text = f"{lead} {text}"
    return text, labels


def prose(rng: random.Random, low: int = 3, high: int = 22) -> str:
    """A document of unconnected harmless sentences."""
    return " ".join(rng.choice(p.SENTENCES) for _ in range(rng.randint(low, high)))


def document(rng: random.Random) -> Row:
    """A benign document: prose, prose with look-alikes, or a list of requests."""
    parts = [prose(rng)]
    if rng.random() < 0.5:
        parts += [look_alike(rng)[0], prose(rng, 1, 6)]
    if rng.random() < 0.3:
        parts += [benign(rng)[0]]
    return rng.choice(p.DOC_LEAD) + " ".join(parts), dict(BENIGN)


def embedded(rng: random.Random) -> Row:
    """A document with a violation inside or at its end."""
    if rng.random() < 0.45:
        text, labels = injection(rng)
    else:
        text, labels = violation(rng.choice(list(p.DO)), rng)
    after = prose(rng, 1, 5) if rng.random() < 0.5 else ""
    return f"{rng.choice(p.DOC_LEAD)}{prose(rng, 2, 16)} {text} {after}".strip(), labels


def rows(seed: int, size: float = 1.0) -> Iterator[tuple[str, str, Labels]]:
    """All generated rows.

    Args:
        seed: Seed of the generator.
        size: Factor on the number of rows.

    Yields:
        Name of the generator, text, labels.
    """
    rng = random.Random(seed)
    plan: list[tuple[str, int, Callable[[], Row]]] = [
        ("benign", 2600, lambda: benign(rng)),
        ("look_alike", 3200, lambda: look_alike(rng)),
        ("framed", 2600, lambda: framed(rng)),
        ("injection", 1800, lambda: injection(rng)),
        ("document", 450, lambda: document(rng)),
        ("embedded", 650, lambda: embedded(rng)),
    ]
    counts = {"sexual": 900, "hate": 650, "harassment": 550, "violence": 550, "self-harm": 500, "illicit": 500}
    for category in p.DO:
        plan.append((category, counts.get(category, 350), lambda category=category: violation(category, rng)))  # type: ignore[misc]  # bound default
    for name, count, make in plan:
        for _ in range(int(count * size)):
            text, labels = make()
            yield name, text, labels

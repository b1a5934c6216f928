"""Long prose of 80 to 220 words: harmless, harmless with hard words, or with one or two violating sentences."""

from __future__ import annotations

import random

from tools.train_guard import contrast_chat as chat
from tools.train_guard import contrast_hate as hate
from tools.train_guard import contrast_prose_phrases as p
from tools.train_guard.contrast_text import expand

Labels = dict[str, int]
Row = tuple[str, Labels]


def sentences(rng: random.Random, words: int) -> list[str]:
    """Distinct sentences on one to three subjects, together at least so many words."""
    subjects = rng.sample(list(p.SUBJECTS), rng.choice((1, 2, 2, 3)))
    pool = [sentence for subject in subjects for sentence in p.SUBJECTS[subject]]
    rng.shuffle(pool)
    pool += rng.sample([s for group in p.SUBJECTS.values() for s in group if s not in pool], 12)
    names = {"n": rng.choice(p.TABLES["n"]), "t": rng.choice(p.TABLES["t"])}
    found: list[str] = []
    while pool and sum(len(sentence.split()) for sentence in found) < words:
        found.append(expand(pool.pop(0), rng, p.TABLES, names if rng.random() < 0.6 else None))
    return found


def _inserted(rng: random.Random, *, bad: bool) -> Row:
    """A row of the other groups that goes into the prose."""
    draw = rng.random()
    if draw < 0.5:
        text, labels = hate.hateful(rng) if bad else hate.not_hateful(rng)
    elif draw < 0.85:
        text, labels = chat.saying(bad=bad, rng=rng)
    else:
        text, labels = chat.request(bad=bad, rng=rng)
    return text if text.endswith((".", "!", "?")) else text + ".", labels


def prose(rng: random.Random, *, bad: bool) -> Row:
    """One text; half of the harmless ones hold a harmless sentence with hard words where others hold a violation."""
    parts = sentences(rng, rng.randint(80, 180))
    text, labels = _inserted(rng, bad=bad)
    if bad or rng.random() < 0.6:
        parts.insert(rng.choice((len(parts), rng.randrange(len(parts) // 2, len(parts)))), text)
    else:
        labels = {**labels, **dict.fromkeys(labels, 0)}
    gap = rng.randrange(3, len(parts)) if rng.random() < 0.4 else len(parts)
    body = " ".join(parts[:gap]) + ("\n\n" + " ".join(parts[gap:]) if gap < len(parts) else "")
    lead = rng.choice(p.LEADS)
    return expand(lead, rng, p.TABLES) + lead[len(lead.rstrip()) :] + body, labels

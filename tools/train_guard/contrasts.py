"""Contrasts: rows that share their words and differ in meaning, for what a classifier by keywords gets wrong."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from tools.train_guard import contrast_chat as chat
from tools.train_guard import contrast_hate as hate
from tools.train_guard import contrast_prose as prose

Labels = dict[str, int]
Row = tuple[str, Labels]


def rows(seed: int, size: float = 1.0) -> Iterator[tuple[str, str, Labels]]:
    """All rows of contrasts.

    Args:
        seed: Seed of the generators.
        size: Factor on the number of rows.

    Yields:
        Name of the generator (``contrast_…``), text, labels.
    """
    rng = random.Random(seed)
    plan: list[tuple[str, int, Callable[[random.Random], Row]]] = [
        ("contrast_hate", 2600, hate.hateful),
        ("contrast_hate_target", 1700, hate.other_target),
        ("contrast_hate_safe", 2900, hate.not_hateful),
        ("contrast_ask", 1500, lambda rng: chat.request(bad=True, rng=rng)),
        ("contrast_ask_safe", 1900, lambda rng: chat.request(bad=False, rng=rng)),
        ("contrast_say", 600, lambda rng: chat.saying(bad=True, rng=rng)),
        ("contrast_say_safe", 700, lambda rng: chat.saying(bad=False, rng=rng)),
        ("contrast_answer", 700, lambda rng: chat.answer(bad=True, rng=rng)),
        ("contrast_answer_safe", 1000, lambda rng: chat.answer(bad=False, rng=rng)),
        ("contrast_prose", 700, lambda rng: prose.prose(rng, bad=True)),
        ("contrast_prose_safe", 900, lambda rng: prose.prose(rng, bad=False)),
    ]
    for name, count, make in plan:
        for _ in range(int(count * size)):
            text, labels = make(rng)
            yield name, text, labels
    for _ in range(int(300 * size)):
        for text, labels in hate.minimal_pair(rng):
            yield "contrast_hate_pair", text, labels

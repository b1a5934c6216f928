"""Contrasts: rows that share their words and differ in meaning, for what a classifier by keywords gets wrong."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from tools.train_guard import contrast_hate as hate

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
        ("contrast_hate_safe", 2400, hate.not_hateful),
    ]
    for name, count, make in plan:
        for _ in range(int(count * size)):
            text, labels = make(rng)
            yield name, text, labels
    for _ in range(int(300 * size)):
        for text, labels in hate.minimal_pair(rng):
            yield "contrast_hate_pair", text, labels

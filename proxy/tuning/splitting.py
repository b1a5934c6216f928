"""Labelled rows, each content once, cut into parts for training, for validation, and to be held out. Pure.

Contents are the same where the encoder reads the same tokens: other letter case, spaces or line ends make no new content. What
was trained on must not come up again in the figures, so it is contents that are dealt out, not rows, and each kind (violations
and others, of every policy) in its share.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

import numpy as np

from models.errors import EngineError
from proxy.evaluation.fitting import MIN_ROWS
from proxy.evaluation.rows import Row, RowError


class Part(StrEnum):
    """What a content is for."""

    TRAINING = "training"
    VALIDATION = "validation"
    HELD_OUT = "held out"


@dataclass(frozen=True, slots=True)
class Content:
    """What some rows say.

    Attributes:
        row: The first of them, with the labels of all.
        texts: Token ids of its passages, context left out.
        labels: What is right, by name of the label; unknown ones are missing.
    """

    row: Row
    texts: Sequence[list[int]] = field(repr=False)
    labels: Mapping[str, bool]


@dataclass(frozen=True, slots=True)
class Contents:
    """The contents of all rows, and what was left out."""

    kept: Sequence[Content] = field(repr=False)
    n_repeated: int
    """Rows that say what another one says."""
    contradicting: Sequence[str]
    """Ids of rows whose content has both labels for a policy."""
    unreadable: Sequence[str]
    """Ids of rows that the guard cannot read, e.g. because they are too long."""


Encode = Callable[[Sequence[str]], list[list[int]]]


def unique_contents(rows: Sequence[Row], labels: Sequence[str], encode: Encode) -> Contents:
    """Put rows of the same content together.

    Args:
        rows: Labelled rows; those without any of the labels are left out.
        labels: The names that count.
        encode: Tokenises passages; raises `EngineError`.
    """
    first: dict[str, tuple[Row, list[list[int]]]] = {}
    ids: dict[str, list[str]] = {}
    known: dict[str, dict[str, set[bool]]] = {}
    unreadable: list[str] = []
    for row in rows:
        own = {label: v for label in labels if (v := row.violates(label)) is not None}
        if not own:
            continue
        try:
            texts = encode([passage.text for passage in row.passages if not passage.context])
        except EngineError:
            unreadable.append(row.id)
            continue
        key = _key(texts)
        first.setdefault(key, (row, texts))
        ids.setdefault(key, []).append(row.id)
        for label, violates in own.items():
            known.setdefault(key, {}).setdefault(label, set()).add(violates)
    kept, contradicting, n_repeated = [], [], 0
    for key, (row, texts) in first.items():
        if any(len(values) > 1 for values in known[key].values()):
            contradicting += ids[key]
            continue
        n_repeated += len(ids[key]) - 1
        right = {label: next(iter(values)) for label, values in known[key].items()}
        kept.append(Content(replace(row, label=None, labels=right), texts, right))
    return Contents(kept, n_repeated, contradicting, unreadable)


def _key(texts: Sequence[Sequence[int]]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for text in texts:
        digest.update(np.array([*text, -1], np.int32).tobytes())
    return digest.hexdigest()


def split(
    contents: Sequence[Content], *, validation: float, held_out: float, seed: int
) -> Mapping[Part, Sequence[Content]]:
    """Deal contents out, each combination of labels in its share.

    Args:
        contents: Each once.
        validation: Share for validation.
        held_out: Share that is held out.
        seed: The same seed and contents make the same parts, whatever the order of the rows.
    """
    rng = random.Random(seed)
    dealt = sorted(contents, key=lambda c: _key(c.texts))
    rng.shuffle(dealt)
    dealt.sort(key=lambda c: sorted(c.labels.items()))
    out, rest = _take(dealt, held_out)
    validating, training = _take(rest, validation / (1 - held_out))
    return {Part.TRAINING: training, Part.VALIDATION: validating, Part.HELD_OUT: out}


def _take(dealt: Sequence[Content], share: float) -> tuple[list[Content], list[Content]]:
    """A share of every stretch of a list, and the rest."""
    taken: list[Content] = []
    rest: list[Content] = []
    for i, content in enumerate(dealt):
        (taken if int((i + 1) * share + 0.5) > int(i * share + 0.5) else rest).append(content)
    return taken, rest


def count(contents: Sequence[Content], label: str) -> tuple[int, int]:
    """Violations and others among them."""
    values = [content.labels[label] for content in contents if label in content.labels]
    return sum(values), len(values) - sum(values)


def check_counts(
    data: Sequence[Path],
    labels: Sequence[str],
    parts: Mapping[Part, Sequence[Content]],
    *,
    validation: float,
    held_out: float,
) -> None:
    """See that each part has enough of each kind for every policy.

    Args:
        data: Where the rows came from, for messages.
        labels: One for each policy.
        parts: What `split` made.
        validation: As it was told.
        held_out: As it was told.

    Raises:
        RowError: One has not; the message says how many there are and how many are needed.
    """
    needed = math.ceil(MIN_ROWS / min(validation, held_out, 1 - validation - held_out))
    for label in labels:
        counts = {part: count(those, label) for part, those in parts.items()}
        n, others = (sum(c[kind] for c in counts.values()) for kind in (0, 1))
        if min(min(c) for c in counts.values()) >= MIN_ROWS:
            continue
        raise RowError(
            f"{', '.join(map(str, data))}: label {label!r} has {n} different contents that violate and {others} that do not; "
            f"about {needed} of each are needed, so that every part has at least {MIN_ROWS} of each"
        )

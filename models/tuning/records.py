"""What training is told and what it tells, in plain values: without torch, so that reports need none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from models.encoder_input import Window

MAX_SEQUENCES = 16
"""Of a row that is trained on: of a longer one nobody knows which part makes it a violation."""
MOST = 0.5
MEAN = 0.03
"""Differences between logits that are put up with, where these are spread by one or less; more where they are spread wider.
llama.cpp rounds what goes into a Q8_0 matrix to 8 bits too: of the shipped guard's first file they were up to 0.12 and 0.006 on
average (60 texts, logits from -5.8 to 4.4), of its second 0.54 and 0.031 (300 pairs, standard deviation 4.1)."""


@dataclass(frozen=True, slots=True)
class Example:
    """A row.

    Attributes:
        sequences: All that is read of it.
        output: Index of the output that judges it.
        violates: What is right.
        group: Examples of one group (a policy) are weighed so that both kinds count alike.
    """

    sequences: Sequence[Window] = field(repr=False)
    output: int
    violates: bool
    group: str


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """A sequence, and the outputs that shall stay as they are on it."""

    sequence: Window = field(repr=False)
    outputs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Settings:
    """How to train."""

    epochs: int = 8
    """At most."""
    patience: int = 2
    """Epochs without a better validation loss, after which training ends."""
    rate: float = 1e-4
    """Highest learning rate of the body."""
    batch: int = 16
    """Rows of a step."""
    rehearsal: float = 1.0
    """Weight of the rehearsal beside the loss; 0: none."""
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Epoch:
    """What an epoch came to; number 0 is the base."""

    number: int
    training_loss: float
    """Mean over its steps; NaN for the base."""
    validation_loss: float
    rehearsal_loss: float
    """Mean over its steps; NaN for the base, and where there is none."""


@dataclass(frozen=True, slots=True)
class Trained:
    """What came out."""

    epochs: Sequence[Epoch]
    best: int
    """Number of the epoch whose weights the network has."""


@dataclass(frozen=True, slots=True)
class Parity:
    """Differences between logits.

    Attributes:
        most: The largest.
        mean: Their mean.
        n_sequences: How many sequences were read.
        spread: Standard deviation of the logits, at least 1.
    """

    most: float
    mean: float
    n_sequences: int
    spread: float = 1.0

    @property
    def holds(self) -> bool:
        """Whether they are no more than rounding."""
        return self.most <= MOST * self.spread and self.mean <= MEAN * self.spread  # false for NaN

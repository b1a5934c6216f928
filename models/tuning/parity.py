"""Whether llama.cpp computes from a written file what torch computes from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.encoder_input import Window
from models.llama import Classifier, Model
from models.tuning.network import logits
from models.tuning.weights import load_network

MOST = 0.5
MEAN = 0.03
"""Differences between logits that are put up with. llama.cpp rounds what goes into a Q8_0 matrix to 8 bits too: of the shipped
encoder they were up to 0.12 and 0.006 on average (60 texts, 15 outputs, logits from -5.8 to 4.4)."""


@dataclass(frozen=True, slots=True)
class Parity:
    """Differences between logits."""

    most: float
    mean: float
    n_sequences: int

    @property
    def holds(self) -> bool:
        """Whether they are no more than rounding."""
        return self.most <= MOST and self.mean <= MEAN  # false for NaN


def compare(path: Path, sequences: Sequence[Window]) -> Parity:
    """Compute the same sequences both ways.

    Args:
        path: The GGUF.
        sequences: At least one, of token ids.

    Raises:
        ModelLoadError: The file cannot be loaded.
    """
    ours = logits(load_network(path), sequences)
    model = Model(path, 0)
    try:
        classifier = Classifier(model, n_tokens=max(map(len, sequences)), n_threads=1)
        try:
            native = np.array([classifier.logits(sequence) for sequence in sequences])
        finally:
            classifier.close()
    finally:
        model.close()
    differences = np.abs(ours - native)
    return Parity(float(differences.max()), float(differences.mean()), len(sequences))

"""Whether llama.cpp computes from a written file what torch computes from it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from models.encoder_input import Window
from models.llama.classifier import Classifier
from models.llama.model import Model
from models.tuning.network import logits
from models.tuning.records import Parity
from models.tuning.weights import load_network


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
    spread = max(1.0, float(native.std()))
    return Parity(float(differences.max()), float(differences.mean()), len(sequences), spread)

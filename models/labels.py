"""From the logits of a safeguard model to a score: pure functions.

A verdict is one of two labels, ``1`` (violates) and ``0`` (see `models.prompt`). Read from the logits of the answer's
first token it is a probability; for answers that are text see `models.trace`.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from models.errors import VerdictError
from models.odds import sigmoid

Float32Array = npt.NDArray[np.float32]

MIN_LABEL_MASS = 0.05
"""Below this share of the probability on both labels together, the model was about to say something else (a refusal,
the answer to the content's task), and the ratio of the labels means nothing. Chosen, not fitted."""

_FAR = 16.0
"""In logits; so far below the top even a whole vocabulary weighs little (200,000 * exp(-16) = 0.02)."""


class LabelError(VerdictError):
    """The logits cannot be read: a label lies outside the vocabulary, or a number is not finite."""


class NoLabel(VerdictError):
    """The model was about to say something else."""


def violation_score(logits: Float32Array, violating: int, safe: int) -> float:
    """Compare the two label logits of one sequence.

    Args:
        logits: Raw logits of the answer position, shape ``(n_vocab,)``.
        violating: Token id of the label that means "against the policy".
        safe: Token id of the other label.

    Returns:
        Probability of *violating* among the two, in ``[0, 1]``.

    Raises:
        LabelError: An id lies outside the vocabulary, or a logit is not finite.
    """
    _check(logits, violating, safe)
    return sigmoid(float(logits[violating]) - float(logits[safe]))


def label_mass(logits: Float32Array, violating: int, safe: int) -> float:
    """How much of the probability lies on the two labels together, in ``[0, 1]``; arguments as `violation_score`."""
    top = _check(logits, violating, safe)
    weights = np.exp(logits - top)
    return float((weights[violating] + weights[safe]) / weights.sum())


def read_margin(logits: Float32Array, violating: int, safe: int) -> float:
    """Log-odds of *violating* against *safe*, if the model was about to answer with a label at all.

    Raises:
        LabelError: As `violation_score`.
        NoLabel: Less than `MIN_LABEL_MASS` lies on the two labels.
    """
    top = _check(logits, violating, safe)
    # Python's floats: numpy's scalars are slow to work with
    unsafe, harmless = logits.item(violating), logits.item(safe)
    labels = math.exp(unsafe - top) + math.exp(harmless - top)
    # No less than the sum over the vocabulary: a weight is at most 1, and `_FAR` below the top at most exp(-_FAR). Mostly
    # that is enough, and it takes no exponential for each of 200,000 tokens.
    most = int(np.count_nonzero(logits > top - _FAR)) + len(logits) * math.exp(-_FAR)
    if labels / most < MIN_LABEL_MASS and label_mass(logits, violating, safe) < MIN_LABEL_MASS:
        raise NoLabel("the model was about to answer with something else than a verdict")
    return unsafe - harmless


def _check(logits: Float32Array, violating: int, safe: int) -> float:
    """The largest logit.

    Raises:
        LabelError: An id lies outside the vocabulary, or a logit is not finite.
    """
    if logits.ndim != 1 or violating == safe or min(violating, safe) < 0 or max(violating, safe) >= len(logits):
        raise LabelError(f"labels {violating} and {safe} are not two of {len(logits)} logits")
    lowest, top = float(logits.min()), float(logits.max())
    if not math.isfinite(lowest) or not math.isfinite(top):  # a NaN anywhere is both
        raise LabelError("the model's logits are not finite numbers")
    return top

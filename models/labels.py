"""From what a safeguard model says to a score: pure functions over logits and answers.

A verdict is one of two labels, ``1`` (violates) and ``0`` (see `models.prompt`). Two ways to read it: from the logits
of the answer's first token, which gives a probability, or from the text of an answer, which gives only the label.
An answer that is neither label is never read as "safe": it is a `VerdictError`.
"""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

from models.errors import VerdictError
from models.prompt import SAFE, VIOLATES

Float32Array = npt.NDArray[np.float32]

MIN_LABEL_MASS = 0.05
"""Below this share of the probability on both labels together, the model was about to say something else (a refusal,
the answer to the content's task), and the ratio of the labels means nothing. Chosen, not fitted."""

_REFUSAL = re.compile(
    r"^\W*(?:(?:i\s*['’]?\s*a?m|we\s*['’]?\s*a?re)\s+(?:very\s+|so\s+|really\s+)?(?:sorry|unable|not\s+able)\b"
    r"|sorry\b|(?:i|we)\s+(?:can\s*not|can\s*['’]?\s*t|won\s*['’]?\s*t|will\s+not|must\s+decline|decline)\b"
    r"|unfortunately,?\s+(?:i|we)\b|as\s+an\s+ai\b)",
    re.IGNORECASE,
)


class LabelError(VerdictError):
    """The logits cannot be read: a label lies outside the vocabulary, or a number is not finite."""


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
    _check(logits, violating, safe)
    finite = logits.astype(np.float64)
    highest = finite.max()
    weights = np.exp(finite - highest)
    return float((weights[violating] + weights[safe]) / weights.sum())


def read_score(logits: Float32Array, violating: int, safe: int) -> float:
    """`violation_score`, if the model was about to answer with a label at all.

    Raises:
        LabelError: As `violation_score`.
        VerdictError: Less than `MIN_LABEL_MASS` lies on the two labels.
    """
    if label_mass(logits, violating, safe) < MIN_LABEL_MASS:
        raise VerdictError("the model was about to answer with something else than a verdict")
    return violation_score(logits, violating, safe)


def sigmoid(x: float) -> float:
    """The logistic function, without overflow at either end."""
    if x >= 0:
        return float(1.0 / (1.0 + np.exp(-x)))
    power = float(np.exp(x))
    return power / (1.0 + power)


def parse_verdict(text: str) -> bool:
    """Read the whole answer of a model that was asked for one character.

    Returns:
        Whether the content violates the policy.

    Raises:
        VerdictError: The answer is not exactly one label after trimming. The message says what kind of answer it is,
            never what it says: answers quote the content.
    """
    match text.strip():
        case verdict if verdict == VIOLATES:
            return True
        case verdict if verdict == SAFE:
            return False
        case "":
            raise VerdictError("the model's answer is empty")
        case answer if is_refusal(answer):
            raise VerdictError("the model refused instead of giving a verdict")
        case answer:
            raise VerdictError(f"the model's answer is not a verdict ({len(answer)} characters)")


def is_refusal(text: str) -> bool:
    """Whether an answer begins like a refusal ("I'm sorry, but …").

    For the record only: in public traces of gpt-oss-safeguard 55-100 % of the refused contents were violations, so a
    refusal is an error that leans to violation.
    """
    return _REFUSAL.match(text[:200]) is not None


def _check(logits: Float32Array, violating: int, safe: int) -> None:
    if logits.ndim != 1 or violating == safe or min(violating, safe) < 0 or max(violating, safe) >= len(logits):
        raise LabelError(f"labels {violating} and {safe} are not two of {len(logits)} logits")
    if not np.isfinite(logits).all():
        raise LabelError("the model's logits are not finite numbers")

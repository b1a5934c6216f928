"""Probabilities and log-odds of plain numbers. Without NumPy, which the proxy's process has no other use for."""

from __future__ import annotations

import math

MAX_LOG_ODDS = 36.0
"""From here on `sigmoid` is 1 to the precision of a float."""


def sigmoid(x: float) -> float:
    """The logistic function, without overflow at either end."""
    if x >= 0:
        return 1.0 / (1.0 + math.exp(-x))
    power = math.exp(x)
    return power / (1.0 + power)


def log_odds(probability: float) -> float:
    """The inverse of `sigmoid`; finite: within `MAX_LOG_ODDS` of zero, which is all that a probability can tell.

    Raises:
        ValueError: It is not in ``[0, 1]``.
    """
    if not 0.0 <= probability <= 1.0:
        raise ValueError("not a probability")
    if probability in (0.0, 1.0):
        return MAX_LOG_ODDS if probability else -MAX_LOG_ODDS
    odds = math.log(probability) - math.log1p(-probability)
    return min(MAX_LOG_ODDS, max(-MAX_LOG_ODDS, odds))

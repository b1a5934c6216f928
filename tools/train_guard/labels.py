"""The outputs of the head while it is trained, in their order.

The first fourteen read the content alone (``[CLS] content [SEP]``) and go to the guard's file; the last one reads a policy and
a content (``[CLS] policy [SEP] content [SEP]``, token types all zero) and goes to the second file.
"""

from __future__ import annotations

CATEGORIES: tuple[str, ...] = (
    "hate",
    "harassment",
    "violence",
    "sexual",
    "sexual/minors",
    "self-harm",
    "illicit",
    "cyber",
    "weapons",
    "misinfo",
    "fraud",
    "injection",
    "profanity",
)
LABELS: tuple[str, ...] = (*CATEGORIES, "any", "pair")
CONTENT_LABELS: tuple[str, ...] = LABELS[:14]
BLOCKING: tuple[str, ...] = tuple(name for name in CATEGORIES if name != "profanity")
"""The categories whose maximum is the content's score; profanity alone is no violation."""
UNIONS: dict[str, tuple[str, ...]] = {"any": BLOCKING}
"""What `any` stands for; see `models.encoder_input.Metadata.joined`."""

MAX_TOKENS = 256
STRIDE_TOKENS = 192
BASE_RATE = 0.05
PAIR_BASE_RATE = 0.5
"""Of policies of one's own nobody knows how often they are violated: above 0.5, a violation is likelier than not."""

BENIGN: dict[str, int] = dict.fromkeys(CONTENT_LABELS, 0)


def violating(*names: str, unknown: tuple[str, ...] = ()) -> dict[str, int]:
    """Labels of a generated violation.

    Args:
        names: Categories that the text violates.
        unknown: Categories left without a label (no loss).

    Returns:
        One for ``names`` and ``any``, zero for the rest, ``unknown`` left out.
    """
    labels = dict(BENIGN) | dict.fromkeys(names, 1) | {"any": 1}
    return {name: value for name, value in labels.items() if name not in unknown}


REFUSING = ("hate", "harassment", "violence", "sexual", "sexual/minors", "illicit", "weapons", "injection")
"""Categories that the example configuration lets refuse; the other blocking ones only flag. A person who speaks of
self-harm needs an answer; cyber, fraud and misinfo take too many honest questions for the real thing."""

"""Detectors: what can be found without a model, in microseconds, with the place where it stands.

The seam is one method, `Detector.find`. A detector's score is 1 if it found anything and 0 otherwise; that is the
caller's affair, like what is done with the spans.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rules.detectors.patterns import PatternDetector
from rules.detectors.pii import PiiDetector
from rules.detectors.secrets import SecretDetector
from rules.detectors.spans import Detector, Edit, Span, apply_edits, for_content, mask_edits, merge_spans
from rules.errors import PolicyError

__all__ = [
    "KINDS",
    "Detector",
    "Edit",
    "Span",
    "apply_edits",
    "build_detector",
    "for_content",
    "mask_edits",
    "merge_spans",
]

_BUILDERS: dict[str, tuple[Callable[..., Detector], frozenset[str]]] = {
    "patterns": (PatternDetector, frozenset({"patterns", "literals", "ignore_case"})),
    "secrets": (SecretDetector, frozenset()),
    "pii": (PiiDetector, frozenset({"kinds", "region"})),
}

KINDS: tuple[str, ...] = tuple(_BUILDERS)
"""Names of the detectors, as a policy's ``detector`` spells them."""


def build_detector(kind: str, options: Mapping[str, Any] | None = None) -> Detector:
    """Build a detector from what the configuration says.

    Args:
        kind: One of `KINDS`.
        options: For ``patterns``: ``patterns``, ``literals``, ``ignore_case``. For ``pii``: ``kinds`` (None: all),
            ``region`` (two letters; where national phone numbers are at home). For ``secrets``: none.

    Raises:
        PolicyError: No such detector or option, or an option's value is unusable.
    """
    if kind not in _BUILDERS:
        raise PolicyError(f"unknown detector {kind!r}: use one of {', '.join(KINDS)}")
    builder, known = _BUILDERS[kind]
    given = dict(options or {})
    unknown = sorted(set(given) - known)
    if unknown:
        raise PolicyError(f"detector {kind!r} has no option {unknown[0]!r} (has: {', '.join(sorted(known)) or 'none'})")
    return builder(**given)

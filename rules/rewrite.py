"""Rewriting content by masking what detectors found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from rules.content import Content, LeafKind, Path
from rules.decision import Finding, Verdict
from rules.detectors import Span, mask
from rules.rule import Action, Mode


@dataclass(slots=True)
class Masker:
    """Replaces spans by stable placeholders; one per exchange, so that the same value keeps its placeholder."""

    _numbers: dict[tuple[str, str], int] = field(default_factory=dict, repr=False)

    def mask(self, text: str, spans: Iterable[Span]) -> str:
        """The text with every span replaced by ``<LABEL_n>``."""
        return mask(text, list(spans), self._numbers)


def findings_to_mask(verdicts: Iterable[Verdict]) -> list[Finding]:
    """What the enforced rules that asked for a rewrite, or more, have found."""
    return [
        finding
        for verdict in verdicts
        if verdict.rule.mode is Mode.ENFORCE and verdict.action >= Action.REWRITE
        for finding in verdict.findings
    ]


def masked_texts(content: Content, findings: Iterable[Finding], masker: Masker) -> dict[Path, str] | None:
    """New texts by path for the leaves that have findings.

    Returns:
        The texts; None if a finding lies where nothing can be replaced (an object key, a value that only exists after
        decoding and does not stand in the raw text either): the caller must refuse.
    """
    by_leaf: dict[int, list[Span]] = {}
    for finding in findings:
        by_leaf.setdefault(finding.leaf, []).append(finding.span)
    texts: dict[Path, str] = {}
    for index in sorted(by_leaf):
        leaf = content.leaves[index]
        if leaf.kind is LeafKind.KEY:
            return None
        if leaf.kind is LeafKind.TEXT:
            texts[leaf.path] = masker.mask(leaf.text, by_leaf[index])
    return texts or None

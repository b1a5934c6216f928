"""Rewriting content by masking what detectors found.

A rewrite is a set of edits per leaf, not a new text: the held stream must know where an edit lies to let what stands
before it go.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from rules.content import Content, LeafKind, Path
from rules.decision import Finding, Verdict
from rules.detectors import Edit, Span, apply_edits, mask_edits
from rules.rule import Action, Mode

LeafEdits = Mapping[int, Sequence[Edit]]
"""Edits by index of the leaf; per leaf in order and without overlaps."""


@dataclass(slots=True)
class Masker:
    """Replaces spans by stable placeholders; one per exchange, so that the same value keeps its placeholder."""

    _numbers: dict[tuple[str, str], int] = field(default_factory=dict, repr=False)

    def edits(self, text: str, spans: Iterable[Span]) -> list[Edit]:
        """Every span replaced by ``<LABEL_n>``."""
        return mask_edits(text, spans, self._numbers)


def findings_to_mask(verdicts: Iterable[Verdict]) -> list[Finding]:
    """What the enforced rules that asked for a rewrite, or more, have found."""
    return [
        finding
        for verdict in verdicts
        if verdict.rule.mode is Mode.ENFORCE and verdict.action >= Action.REWRITE
        for finding in verdict.findings
    ]


def mask_findings(content: Content, findings: Iterable[Finding], masker: Masker) -> LeafEdits | None:
    """The edits that mask findings.

    Returns:
        Edits by leaf; None if a finding lies where nothing can be replaced (an object key, a value that only exists
        after decoding and does not stand in the raw text either): the caller must refuse.
    """
    by_leaf: dict[int, list[Span]] = {}
    for finding in findings:
        by_leaf.setdefault(finding.leaf, []).append(finding.span)
    edits: dict[int, list[Edit]] = {}
    for index in sorted(by_leaf):
        leaf = content.leaves[index]
        if leaf.kind is LeafKind.KEY:
            return None
        if leaf.kind is LeafKind.TEXT:
            edits[index] = masker.edits(leaf.text, by_leaf[index])
    return edits or None


def edited_texts(content: Content, edits: LeafEdits) -> dict[Path, str]:
    """New texts by path for the leaves that are edited."""
    return {content.leaves[i].path: apply_edits(content.leaves[i].text, changes) for i, changes in edits.items()}

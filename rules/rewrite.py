"""Rewriting content by edits: placeholders for what detectors found, and how edits of several rules come together.

A rewrite is a set of edits per leaf, not a new text: the held stream must know where an edit lies to let what stands
before it go.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from rules.content import Content, LeafKind, Path, joined_readings
from rules.decision import Finding, Verdict
from rules.detectors import Edit, Span, apply_edits, mask_edits, merge_spans
from rules.rule import Action, Mode

LeafEdits = Mapping[int, Sequence[Edit]]
"""Edits by index of the leaf; per leaf in order and without overlaps."""

_PLACEHOLDER = re.compile(r"<([A-Z][A-Z0-9_]*)_[0-9]+>")


@dataclass(slots=True)
class Masker:
    """Replaces spans by stable placeholders; one per exchange, so that the same value keeps its placeholder.

    Numbers follow the order of first appearance, so they also stay when a conversation is sent again with more turns.

    Which values may be put back is noted here too. Their placeholders must stand for nothing else: what already stands
    in the content as ``<EMAIL_1>`` is never given out (`reserve`), and a value that a rule without ``restore`` masked
    as well, also in the answer, is not put back.
    """

    _numbers: dict[tuple[str, str], int] = field(default_factory=dict, repr=False)
    _taken: set[str] = field(default_factory=set, repr=False)
    _originals: dict[str, str] = field(default_factory=dict, repr=False)
    _kept: dict[str, str] = field(default_factory=dict, repr=False)
    """What was masked for good, by placeholder."""

    @property
    def originals(self) -> dict[str, str]:
        """What is to be put back, by placeholder."""
        kept = set(self._kept.values())
        return {p: value for p, value in self._originals.items() if p not in self._kept and value not in kept}

    def draft(self) -> Masker:
        """A copy for edits of which not all will be made; see `keep`."""
        return Masker(dict(self._numbers), set(self._taken), dict(self._originals), dict(self._kept))

    def keep(self, draft: Masker, texts: Iterable[str]) -> None:
        """Take over from a draft the placeholders that stand in these texts; the others' numbers are free again.

        A window of a stream can end within a value. Its beginning is masked for the verdict but does not leave, so it
        must not use up a number.
        """
        used = {match[0] for text in texts for match in _PLACEHOLDER.finditer(text)}
        for (label, value), number in draft._numbers.items():
            if value and f"<{label}_{number}>" in used:
                self._numbers[label, value] = number
                self._numbers[label, ""] = max(number, self._numbers.get((label, ""), 0))
        self._kept.update((placeholder, value) for placeholder, value in draft._kept.items() if placeholder in used)

    def reserve(self, content: Content, labels: frozenset[str]) -> None:
        """Never give out placeholders with these labels that already stand in the content, also where texts meet."""
        texts = (*(leaf.text for leaf in content.leaves), *(joined.text for joined in joined_readings(content.leaves)))
        for text in texts:
            self._taken.update(match[0] for match in _PLACEHOLDER.finditer(text) if match[1] in labels)

    def edits(
        self, text: str, spans: Iterable[Span], restored: Iterable[Span] = (), *, is_json: bool = False
    ) -> list[Edit]:
        """Every span replaced by ``<LABEL_n>``.

        Args:
            text: The text that the spans were found in.
            spans: What is masked for good.
            restored: What is masked on the way to the upstream only.
            is_json: The text is JSON, so what stands there spells the value with JSON's escapes.
        """
        for_good, for_now = list(spans), list(restored)
        edits = mask_edits(text, (*for_good, *for_now), self._numbers, self._taken)
        blocked = merge_spans(for_good)
        starts = [span.start for span in blocked]
        for edit in edits:
            value = text[edit.start : edit.end]
            if is_json:
                value = _unescaped(value)
            last = bisect_right(starts, edit.end - 1) - 1  # the last one that begins before the edit ends
            if last >= 0 and blocked[last].end > edit.start:
                self._kept[edit.text] = value
            else:
                self._originals.setdefault(edit.text, value)
        return edits


def _unescaped(value: str) -> str:
    """What a piece of a JSON string says; the piece itself if it is none."""
    if "\\" not in value:
        return value
    try:
        said = json.loads(f'"{value}"')
        said.encode()
    except (ValueError, AttributeError):  # also half an emoji, which is a UnicodeEncodeError
        return value
    return str(said)


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
    by_leaf: dict[int, list[Finding]] = {}
    for finding in findings:
        by_leaf.setdefault(finding.leaf, []).append(finding)
    labels = frozenset(f.span.label for found in by_leaf.values() for f in found if f.restore)
    if labels:
        masker.reserve(content, labels)
    edits: dict[int, list[Edit]] = {}
    for index in sorted(by_leaf):
        leaf = content.leaves[index]
        if leaf.kind is LeafKind.KEY:
            return None
        if leaf.kind is LeafKind.TEXT:
            found = by_leaf[index]
            for_good, for_now = ([f.span for f in found if f.restore is kind] for kind in (False, True))
            edits[index] = masker.edits(leaf.text, for_good, for_now, is_json=leaf.is_json)
    return edits or None


def merge_edits(edits: Iterable[Edit]) -> list[Edit]:
    """Edits of several rules to one text, in order and without overlaps.

    Where edits overlap, everything that any of them takes away goes, and the longest of them says what stands there: a
    sentence that is dropped takes its masks with it.

    >>> merge_edits([Edit(4, 6, "<X_1>"), Edit(0, 9, ""), Edit(9, 10, "y")])
    [Edit(start=0, end=9), Edit(start=9, end=10)]
    """
    out: list[Edit] = []
    longest = 0
    for edit in sorted(edits, key=lambda e: (e.start, -e.end, e.text)):
        if not out or edit.start >= out[-1].end:
            out.append(edit)
            longest = edit.end - edit.start
            continue
        last = out[-1]
        wins = edit.end - edit.start > longest
        longest = max(longest, edit.end - edit.start)
        out[-1] = Edit(last.start, max(last.end, edit.end), edit.text if wins else last.text)
    return out


def edited_texts(content: Content, edits: LeafEdits) -> dict[Path, str]:
    """New texts by path for the leaves that are edited."""
    return {content.leaves[i].path: apply_edits(content.leaves[i].text, changes) for i, changes in edits.items()}

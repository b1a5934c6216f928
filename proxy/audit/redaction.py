"""Content as it is kept, where the configuration says so: as it was, or with what detectors find in it masked.

What is masked does not depend on what the route's rules are about: besides their detectors the shipped ones for secrets and
personal data read everything. Where a detector cannot say (it failed, or the text holds more encoded runs than are decoded),
no text is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from proxy.audit.entry import Keep
from rules.content import Content, Leaf, LeafKind, Surface, shown
from rules.decision import Verdict
from rules.detectors import Span, apply_edits, build_detector
from rules.policy import Policy
from rules.rewrite import Masker
from rules.rule import Rule
from rules.screen import detect


@cache
def _shipped() -> tuple[Rule, ...]:
    return tuple(
        Rule(Policy(kind, kind, detector=build_detector(kind), joins=kind != "pii"), (), {})
        for kind in ("secrets", "pii")
    )


def kept(content: Content, verdicts: Sequence[Verdict], keep: Keep, rules: Iterable[Rule] = ()) -> dict[str, Any]:
    """What is kept of a content that was judged.

    Args:
        content: What was judged.
        verdicts: About it; guards' reasoning is kept too, because it quotes.
        keep: How.
        rules: The stage's: their detectors say what to mask.
    """
    rationales: dict[str, str | None] = {v.rule.policy.name: v.rationale for v in verdicts if v.rationale}
    if keep is Keep.FULL:
        texts = [leaf.text for leaf in content.leaves]
        return _shape(content, texts, rationales, keep)
    detectors = [*_shipped(), *(_everywhere(rule) for rule in rules if rule.policy.detector is not None)]
    masker = Masker()
    reasons = Content(tuple(Leaf((name,), Surface.REASONING, text or "") for name, text in rationales.items()))
    masked = _masked(reasons, detectors, masker)
    return _shape(content, _masked(content, detectors, masker), dict(zip(rationales, masked, strict=True)), keep)


def _everywhere(rule: Rule) -> Rule:
    """The rule's detector, reading every surface."""
    return Rule(rule.policy, (), {})


def _masked(content: Content, rules: Sequence[Rule], masker: Masker) -> list[str | None]:
    """Every text with placeholders in place of what was found; None where it is not known what to mask."""
    found = [detect(rule, content) for rule in rules]
    if any(verdict.error is not None for verdict in found):
        return [None] * len(content.leaves)
    spans: dict[int, list[Span]] = {}
    for verdict in found:
        for finding in verdict.findings:
            spans.setdefault(finding.leaf, []).append(finding.span)
    texts = [
        apply_edits(leaf.text, masker.edits(leaf.text, spans[i], is_json=leaf.is_json)) if i in spans else leaf.text
        for i, leaf in enumerate(content.leaves)
    ]
    hidden = [content.leaves[i].path for i in spans if content.leaves[i].kind is LeafKind.DERIVED]
    return [
        # another reading of it holds what this one does not show
        None if i not in spans and any(path[: len(leaf.path)] == leaf.path for path in hidden) else text
        for i, (leaf, text) in enumerate(zip(content.leaves, texts, strict=True))
    ]


def _shape(
    content: Content, texts: Sequence[str | None], rationales: dict[str, str | None], keep: Keep
) -> dict[str, Any]:
    leaves = [
        {
            "path": list(leaf.path) if keep is Keep.FULL else shown(leaf.path),
            "surface": leaf.surface.value,
            "kind": leaf.kind.value,
            "text": text,
            **({"is_json": True} if leaf.is_json else {}),
            **({"is_unknown": True} if leaf.is_unknown else {}),
            **({"before_chars": len(leaf.before)} if leaf.before else {}),  # a piece of a stream, not its beginning
        }
        for leaf, text in zip(content.leaves, texts, strict=True)
    ]
    return {"keep": keep.value, "texts": leaves, **({"rationales": rationales} if rationales else {})}

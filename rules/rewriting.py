"""From a decision to the rewrite that it asks for: what every rule changes, and how that comes together.

Masks come from spans that a detector has found. A guard only says *that* a content is against a policy, so for its rules
the offending texts are looked for by asking again about ever smaller parts: messages, then the texts of those that offend
by themselves, then (for ``sentences``) the sentences of these. A part that is the only one of its kind is not asked
about again. Nothing here decides that a rewritten content may pass: everything is judged again afterwards.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from models.engine import Passage
from rules.content import Content, Leaf, LeafKind, Path, Surface
from rules.decision import Cause, Decision, Verdict, decide
from rules.detectors import Edit
from rules.rewrite import LeafEdits, Masker, findings_to_mask, mask_findings, merge_edits
from rules.rule import Action, Mode, RewriteWith, Rule
from rules.screen import GUARD_TIMEOUT_S, Screener
from rules.sentences import sentences

MAX_PARTS = 64
"""At most so many messages, texts of one message or sentences of one text are asked about; more is not rewritten."""

MAX_CALLS = 3 * MAX_PARTS
"""At most so many parts are asked about for one rewrite, whatever they are and however many rules ask for it."""

_AT_ONCE = 8
"""So many of them wait for one guard at a time, so that one rewrite does not fill its queue."""


@dataclass(frozen=True, slots=True)
class Rewrite:
    """What a stage's rules change.

    Attributes:
        edits: By leaf.
        advisories: What the upstream is told besides, in order.
        advised: Indices of the verdicts whose rules are satisfied by an advisory.
    """

    edits: LeafEdits = field(default_factory=dict, repr=False)
    advisories: tuple[str, ...] = ()
    advised: frozenset[int] = frozenset()

    def judged_again(self, screener: Screener, second: Decision, content: Content) -> Decision:
        """The decision about the rewritten content, once what an advisory has settled is left out of it."""
        if not self.advised:
            return second
        verdicts = [
            replace(v, rule=v.rule.without_rewrite()) if i in self.advised else v for i, v in enumerate(second.verdicts)
        ]
        return decide(screener.stage, verdicts, content.opaque, screener.on_opaque)


class _CannotRewrite(Exception):
    def __init__(self, cause: Cause) -> None:
        self.cause = cause


async def find_rewrite(
    screener: Screener, content: Content, decision: Decision, context: Sequence[Passage], masker: Masker
) -> Rewrite | Cause:
    """What must be changed in a content for its rules to be content with it.

    Args:
        screener: Gave the decision.
        content: What was judged.
        decision: Asks for a rewrite.
        context: As it was judged with.
        masker: The exchange's.

    Returns:
        The rewrite, or why there is none: the caller must refuse.
    """
    asking = {
        i: v for i, v in enumerate(decision.verdicts) if v.rule.mode is Mode.ENFORCE and v.action is Action.REWRITE
    }
    edits: dict[int, list[Edit]] = {}
    masking = [v for v in asking.values() if v.rule.rewrite_with is RewriteWith.MASK]
    if masking:
        masks = mask_findings(content, findings_to_mask(masking), masker)
        if masks is None:
            return Cause.VIOLATION
        edits = {leaf: list(changes) for leaf, changes in masks.items()}
    deadline = time.monotonic() + GUARD_TIMEOUT_S
    budget = _Budget()
    advised = {i: v for i, v in asking.items() if v.rule.rewrite_with is RewriteWith.ADVISORY}
    try:
        for verdict in asking.values():
            if verdict.rule.rewrite_with in (RewriteWith.SENTENCES, RewriteWith.TEXT):
                found = await _Search(screener, verdict.rule, content, context, deadline, budget).edits()
                for leaf, changes in found.items():
                    edits.setdefault(leaf, []).extend(changes)
    except _CannotRewrite as e:
        return e.cause
    texts = dict.fromkeys(v.rule.policy.advisory for v in advised.values())
    return Rewrite({i: merge_edits(changes) for i, changes in edits.items()}, tuple(texts), frozenset(advised))


@dataclass(frozen=True, slots=True)
class _Part:
    """Something to ask about: leaves of one message, or a piece of one leaf."""

    leaf: int
    content: Content = field(repr=False)
    start: int = 0
    end: int = 0


@dataclass(slots=True)
class _Budget:
    """What one rewrite may still ask about."""

    calls: int = MAX_CALLS

    def spend(self, n: int) -> None:
        """Take so many calls.

        Raises:
            _CannotRewrite: There are not so many left.
        """
        if n > min(MAX_PARTS, self.calls):
            raise _CannotRewrite(Cause.VIOLATION)
        self.calls -= n


@dataclass(frozen=True, slots=True)
class _Search:
    """Looks for what of a content is against one policy."""

    screener: Screener
    rule: Rule
    content: Content
    context: Sequence[Passage] = field(repr=False)
    deadline: float
    budget: _Budget

    async def edits(self) -> Mapping[int, list[Edit]]:
        """The edits that take away what offends.

        Raises:
            _CannotRewrite: Nothing offends by itself, what does cannot be changed, there are too many parts, or the
                guard could not say.
        """
        found: dict[int, list[Edit]] = {}
        for index in await self._offending_leaves():
            leaf = self.content.leaves[index]
            if leaf.is_json:  # a sentence less, or another text, would be another call
                raise _CannotRewrite(Cause.VIOLATION)
            whole = [Edit(0, len(leaf.text), self.rule.rewrite_text)]
            found[index] = whole if self.rule.rewrite_with is RewriteWith.TEXT else await self._dropped(index) or whole
        return found

    async def _offending_leaves(self) -> list[int]:
        scope = self.rule.scope
        messages: dict[Path, list[int]] = {}
        for i, leaf in enumerate(self.content.leaves):
            is_text = leaf.kind is LeafKind.TEXT and leaf.surface is not Surface.METADATA and leaf.text.strip()
            if is_text and leaf.is_within(scope):
                messages.setdefault(leaf.message, []).append(i)
        parts = [_Part(group[0], self._content(group)) for group in messages.values()]
        offending = parts if len(parts) == 1 else await self._those_that_offend(parts)
        leaves: list[_Part] = []
        for part in offending:
            group = messages[self.content.leaves[part.leaf].message]
            single = [_Part(i, self._content([i])) for i in group]
            leaves += single if len(single) == 1 else await self._those_that_offend(single)
        if not leaves:
            raise _CannotRewrite(Cause.VIOLATION)
        return [part.leaf for part in leaves]

    async def _dropped(self, index: int) -> list[Edit]:
        """The edits that drop a text's offending sentences; empty if nothing would be left of it."""
        leaf = self.content.leaves[index]
        places = list(islice(sentences(leaf.text), MAX_PARTS + 1))
        if len(places) == 1:
            return []
        parts = [_Part(index, self._piece(leaf, a, b), a, b) for a, b in places]
        offending = await self._those_that_offend(parts)
        if not offending:
            raise _CannotRewrite(Cause.VIOLATION)
        return [] if len(offending) == len(parts) else [Edit(part.start, part.end, "") for part in offending]

    def _content(self, leaves: Sequence[int]) -> Content:
        return Content(tuple(self.content.leaves[i] for i in leaves))

    def _piece(self, leaf: Leaf, start: int, end: int) -> Content:
        return Content((Leaf(leaf.path, leaf.surface, leaf.text[start:end].strip()),))

    async def _those_that_offend(self, parts: Sequence[_Part]) -> list[_Part]:
        self.budget.spend(len(parts))
        turns = asyncio.Semaphore(_AT_ONCE)

        async def ask(part: _Part) -> Verdict:
            async with turns:
                return await self.screener.judge_part(self.rule, part.content, self.context, self.deadline)

        verdicts = await asyncio.gather(*(ask(part) for part in parts))
        if any(verdict.error is not None for verdict in verdicts):
            raise _CannotRewrite(Cause.UNDECIDED)
        limit = self.rule.thresholds[Action.REWRITE]
        return [p for p, v in zip(parts, verdicts, strict=True) if v.score is not None and v.score >= limit]

"""Decisions for which recorded scores do not do: their content is judged again, by the draft's guards.

Many at once, as guards take them; each content is read when its turn comes, so memory does not grow with their number.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from models.patient import PatientEngine
from proxy.audit.store import AuditReader, Record
from proxy.exchange import context_of, judge
from proxy.gateway import JUDGED
from proxy.progress import Shown
from proxy.replay.past import Material, Past, Unfit, material_of, opaque_paths
from proxy.replay.settling import Open, Replayed, changes, decided
from proxy.replay.tally import Tally
from rules.decision import Cause, Decision
from rules.rewrite import Masker
from rules.rule import Action, RewriteWith, Stage
from rules.screen import Screener


class GuardLost(Exception):
    """A guard judges nothing any more: nothing else will be judged either."""


@dataclass(frozen=True, slots=True)
class Case:
    """A decision that is still open.

    Attributes:
        past: What was decided.
        open: What is missing.
        screener: The draft's rules.
    """

    past: Past
    open: Open
    screener: Screener = field(repr=False)

    @property
    def asks_guards(self) -> bool:
        """Whether something is missing that a guard says."""
        return any(rule.guards for rule in self.open.asked.values())


@dataclass(frozen=True, slots=True)
class Judging:
    """Judges cases.

    Attributes:
        reader: Has the contents; None where the cases bring theirs.
        engines: The draft's guards.
        requests: Records of requests, by request id: what answers are shown with.
    """

    engines: Mapping[str, PatientEngine] = field(repr=False)
    reader: AuditReader | None = None
    requests: Mapping[str, Record] = field(default_factory=dict, repr=False)

    async def run(self, cases: Sequence[Case], tally: Tally, shown: Shown, *, at_once: int) -> None:
        """Judge all cases.

        Raises:
            GuardLost: A guard has judged nothing for so long that its errors mean nothing.
        """
        room = asyncio.Semaphore(at_once)

        async def one(case: Case) -> None:
            try:
                found = await self._replay(case)
                tally.add(found) if isinstance(found, Replayed) else tally.skip(found)
                shown.one_more()
            finally:
                room.release()

        try:
            async with asyncio.TaskGroup() as group:
                for case in cases:
                    await room.acquire()
                    group.create_task(one(case))
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def _replay(self, case: Case) -> Replayed | Unfit:
        past = case.past
        material: Material | Unfit
        material = await asyncio.to_thread(self._material, case) if past.sample is None else past.sample
        if isinstance(material, Unfit):
            return material if case.open.asked else from_record(case)
        decision = await self._decision(case, material)
        for name, engine in self.engines.items():
            if engine.lost is not None:
                raise GuardLost(f"guards.{name}: {engine.lost}")
        if decision is None:
            return Unfit.FAILED
        is_redacted = material.is_redacted and bool(case.open.asked)
        return Replayed(past, decision.action, changes(past, decision), True, is_redacted)

    async def _decision(self, case: Case, material: Material) -> Decision | None:
        """What the draft decides; None if a guard cannot say."""
        content, context = material.content, material.context
        asked = case.open.asked
        answers = await replace(case.screener, rules=tuple(asked.values())).scores(content, context)
        decision = decided(case.screener, {**case.open.known, **dict(zip(asked, answers, strict=True))}, content.opaque)
        if any(v.error is not None for v in answers) and decision.cause is not Cause.VIOLATION:
            return None
        if decision.action is Action.REWRITE and not material.is_redacted and not _advises(decision):
            whole = (await judge(case.screener, content, context, Masker())).decision
            if whole.cause is Cause.UNDECIDED:
                return None
            if whole.action is Action.REFUSE:  # the rewrite does not hold
                return replace(decision, action=Action.REFUSE, cause=whole.cause)
        return decision

    def _material(self, case: Case) -> Material | Unfit:
        """What was kept of a decision on record, and of what its guards were shown besides."""
        past = case.past
        kept = self._kept(past.record)
        if kept is None:
            return Unfit.NO_CONTENT
        material = material_of(kept, past.n_opaque)
        assert past.record is not None
        if isinstance(material, Unfit) or past.is_failed_rewrite:
            return Unfit.REWRITTEN if past.is_failed_rewrite else material
        if not case.asks_guards:
            return material
        if material.is_window:
            return Unfit.WINDOW
        if past.stage is Stage.INPUT or past.record.get("endpoint") not in JUDGED:
            return material
        request = self._kept(self.requests.get(past.record["request_id"]))
        asked = None if request is None else material_of(request, 0)
        if asked is None or isinstance(asked, Unfit):
            return Unfit.NO_REQUEST
        is_redacted = material.is_redacted or asked.is_redacted
        return replace(material, context=tuple(context_of(asked.content)), is_redacted=is_redacted)

    def _kept(self, record: Record | None) -> dict[str, object] | None:
        return None if record is None or self.reader is None else self.reader.content(record)


def from_record(case: Case) -> Replayed:
    """A case in which nothing is asked, without its content: whether a rewrite holds stays open, and counts as it does."""
    decision = decided(case.screener, case.open.known, opaque_paths(case.past.n_opaque))
    return Replayed(case.past, decision.action, changes(case.past, decision))


def _advises(decision: Decision) -> bool:
    """Whether a rewrite leaves the content as it is and tells the upstream: that always holds."""
    rewriting = (v.rule.rewrite_with for v in decision.verdicts if v.action is Action.REWRITE)
    return RewriteWith.ADVISORY in rewriting

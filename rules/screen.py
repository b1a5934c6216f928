"""To screen: run a stage's rules over content.

Detectors come first, they cost microseconds; if one of them refuses, no guard is asked. Guards are asked together, one
call per guard and scope, because that is the unit at which an engine saves work. Once an enforced policy refuses, the
stage's action is known: the calls that are still under way are cancelled, their rules skipped. A *failure* that counts as
a refusal ends nothing, because another guard may find the violation that the client has to be told about. Rules in shadow
are never waited for: `Screener.shadow` is a second, independent pass. A verdict about a content that is excepted for its
policy asks for nothing (`rules.exceptions`), so the others are asked as if it had none.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import structlog

from models.engine import Engine, Passage, Score, Tier
from models.errors import EngineError
from rules.content import CONTEXT_CHARS, Content, Surface, joined_readings
from rules.decision import Decision, Earlier, Finding, Step, Verdict, decide
from rules.detectors import Span, for_content
from rules.errors import TooMuchToDecode
from rules.exceptions import Exceptions, fingerprint_of
from rules.off_loop import OutOfPatience, Patience, by_size
from rules.rule import Action, Mode, OnError, Rule, Stage

log = structlog.get_logger()

GUARD_TIMEOUT_S = 60.0
"""Longest time that a stage waits for its guards; each guard has its own, sooner limit."""

DETECT_TIMEOUT_S = 30.0
"""Longest time that the detectors of a stage read one content, asked between its texts; what is not done then has failed."""

DETECTOR_TIMEOUT = "detector_timeout"
"""Error of a verdict where a detector did not come to the end of the content in time."""

TOO_MUCH_TO_DECODE = "too_much_to_decode"
"""Error of a verdict where nobody could read all that the content says."""


@dataclass(frozen=True, slots=True)
class Screener:
    """The rules of one stage of one route with the guards that judge them."""

    stage: Stage
    rules: tuple[Rule, ...]
    engines: Mapping[str, Engine] = field(repr=False)
    on_opaque: OnError = OnError.REFUSE
    waits_for_all: bool = False
    """Whether guards that were asked are waited for although one refuses: somebody wants to see the scores."""
    exceptions: Exceptions | None = field(default=None, repr=False)
    guards: frozenset[str] = field(init=False)
    """Names of the guards that rules ask; they need to be shown the context."""
    has_shadow: bool = field(init=False)
    """Whether any rule is in shadow."""
    _enforced: tuple[Rule, ...] = field(init=False, repr=False)
    _shadowed: tuple[Rule, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        shadowed = tuple(rule for rule in self.rules if rule.mode is Mode.SHADOW)
        enforced = tuple(rule for rule in self.rules if rule.mode is Mode.ENFORCE)
        object.__setattr__(self, "guards", frozenset(g for rule in (*enforced, *shadowed) for g in rule.guards))
        object.__setattr__(self, "has_shadow", bool(shadowed))
        object.__setattr__(self, "_enforced", enforced)
        object.__setattr__(self, "_shadowed", shadowed)

    @property
    def before_chars(self) -> int | None:
        """How much of what stands before a leaf in the same text its guards read; None: all of it."""
        if any(self.engines[guard].is_incremental for guard in self.guards):
            return None
        return CONTEXT_CHARS if self.guards else 0

    async def screen(self, content: Content, context: Sequence[Passage] = ()) -> Decision:
        """Judge one content by every enforced rule.

        Args:
            content: What is under judgement.
            context: What the guards are shown so that they understand it: the conversation before a completion.

        Returns:
            The decision. Never raises for a guard that fails: that is a verdict with an error.
        """
        verdicts = await self._verdicts(self._enforced, content, context)
        return decide(self.stage, verdicts, content.opaque, self.on_opaque)

    async def scores(self, content: Content, context: Sequence[Passage] = ()) -> list[Verdict]:
        """Judge one content by every enforced rule, also where one of them would refuse already: for scores alone."""
        return await self._verdicts(self._enforced, content, context, every=True)

    async def shadow(self, content: Content, context: Sequence[Passage] = ()) -> list[Verdict]:
        """Judge one content by the rules in shadow; for the record only."""
        return await self._verdicts(self._shadowed, content, context)

    async def _verdicts(
        self, rules: Sequence[Rule], content: Content, context: Sequence[Passage], *, every: bool = False
    ) -> list[Verdict]:
        verdicts: dict[int, Verdict] = {}
        patience = Patience(time.monotonic() + DETECT_TIMEOUT_S)
        for i, rule in enumerate(rules):
            if rule.policy.detector is not None:
                found = await _detect(rule, content, patience)
                (verdicts[i],) = await self._excepted([found], content, ())
        asked = [i for i in range(len(rules)) if i not in verdicts]
        if asked and (every or not any(v.refuses for v in verdicts.values())):
            groups: dict[tuple[tuple[str, ...], frozenset[Surface] | None], list[int]] = {}
            for i in asked:
                groups.setdefault((rules[i].guards, rules[i].scope), []).append(i)
            together = [[rules[i] for i in group] for group in groups.values()]
            answers = await self._ask_together(together, content, context, to_the_end=every or self.waits_for_all)
            for group, answer in zip(groups.values(), answers, strict=True):
                verdicts.update(zip(group, answer, strict=True))
        return [verdicts.get(i) or Verdict(rule) for i, rule in enumerate(rules)]

    async def _ask_together(
        self, groups: Sequence[Sequence[Rule]], content: Content, context: Sequence[Passage], *, to_the_end: bool
    ) -> list[list[Verdict]]:
        """Ask the guards of several groups at once; unless ``to_the_end``, only until an enforced policy refuses."""
        refused = False
        async with asyncio.TaskGroup() as owner:
            calls = [owner.create_task(self._answers(rules, content, context)) for rules in groups]
            waiting = set(calls)
            while waiting and not refused:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                refused = not to_the_end and any(_settles(call) for call in done)
            for call in waiting:
                call.cancel()
        return [
            [_unanswered(rule, skipped=refused) for rule in rules] if call.cancelled() else call.result()
            for rules, call in zip(groups, calls, strict=True)
        ]

    async def _answers(self, rules: Sequence[Rule], content: Content, context: Sequence[Passage]) -> list[Verdict]:
        return await self._excepted(await self._ask(rules, content, context), content, context)

    async def _excepted(self, verdicts: list[Verdict], content: Content, context: Sequence[Passage]) -> list[Verdict]:
        """Verdicts of rules that read the same, those that ask for something with what exceptions say about it.

        A failure is no verdict about the content, so no exception helps it.
        """
        exceptions = self.exceptions
        if exceptions is None or not any(map(_asks, verdicts)):
            return verdicts
        what = (verdicts[0].rule, self.stage, content, context, exceptions.key)
        fingerprint = await by_size(content.n_chars, fingerprint_of, *what)
        return [
            replace(v, fingerprint=fingerprint, excepted=exceptions.find(v.rule.policy, fingerprint)) if _asks(v) else v
            for v in verdicts
        ]

    async def judge_part(self, rule: Rule, part: Content, context: Sequence[Passage], deadline: float) -> Verdict:
        """Judge a part of a content by one rule that has guards, to find out what of it to rewrite.

        Args:
            rule: One of the screener's.
            part: Some of the content's texts.
            context: As for `screen`.
            deadline: On ``time.monotonic()``'s clock.
        """
        return (await self._ask([rule], part, context, deadline))[0]

    async def _ask(
        self, rules: Sequence[Rule], content: Content, context: Sequence[Passage], deadline: float | None = None
    ) -> list[Verdict]:
        """Ask the guards of rules that share guards and scope: each guard in turn, those that escalate go on."""
        read = content.within(rules[0].scope)
        guards = rules[0].guards
        try:
            goes_on = any(leaf.before for leaf in read.leaves)
            by_manner = {
                manner: await _passages(read, from_start=manner)
                for manner in {goes_on and self.engines[guard].is_incremental for guard in guards}
            }
        except TooMuchToDecode:
            return [Verdict(rule, error=TOO_MUCH_TO_DECODE) for rule in rules]
        if not any(not passage.context for passages in by_manner.values() for passage in passages):
            return [Verdict(rule, score=0.0, calibrated=True) for rule in rules]
        deadline = time.monotonic() + GUARD_TIMEOUT_S if deadline is None else deadline
        verdicts: list[Verdict | None] = [None] * len(rules)
        earlier: list[tuple[Earlier, ...]] = [()] * len(rules)
        for step, guard in enumerate(guards):
            open_ = [i for i, v in enumerate(verdicts) if v is None]
            if not open_:
                break
            engine = self.engines[guard]
            try:
                passages = [*context, *by_manner[goes_on and engine.is_incremental]]
                scores = await engine.judge(passages, [rules[i].policy.for_guard() for i in open_], deadline=deadline)
            except Exception as error:  # an engine that breaks its promise not to raise has not judged either
                log.exception("guard_broke", guard=guard, error=type(error).__name__)
                scores = []
            if len(scores) != len(open_):
                scores = [EngineError("the guard answered for another number of policies")] * len(open_)
            last = step == len(guards) - 1
            for i, score in zip(open_, scores, strict=True):
                verdict = _verdict(rules[i], engine, score)
                if not last:
                    earlier[i] += (_earlier(guard, verdict, score),)
                if last or earlier[i][-1].step is Step.PASSED:
                    verdicts[i] = replace(verdict, earlier=earlier[i])
        return [
            v if v is not None else Verdict(r, error=EngineError.code) for v, r in zip(verdicts, rules, strict=True)
        ]


async def _passages(content: Content, *, from_start: bool) -> list[Passage]:
    """What a guard reads, worked out in a thread where it is much."""
    n_chars = sum(len(leaf.text) + len(leaf.before) * from_start for leaf in content.leaves)
    return await by_size(n_chars, content.passages, from_start=from_start)


def _settles(call: asyncio.Task[list[Verdict]]) -> bool:
    """Whether a call that is over leaves nothing to find out: an enforced policy refuses."""
    if call.cancelled() or call.exception() is not None:  # of a failure the owner of the call takes care
        return False
    return any(v.refuses and v.rule.mode is Mode.ENFORCE for v in call.result())


def _unanswered(rule: Rule, *, skipped: bool) -> Verdict:
    """The verdict of a cancelled call. Where no refusal has cancelled it, nobody knows: that is a failure, not a pass."""
    return Verdict(rule) if skipped else Verdict(rule, error=EngineError.code)


def _asks(verdict: Verdict) -> bool:
    """Whether a verdict about the content wants something done."""
    return verdict.error is None and verdict.action is not Action.FORWARD


def _verdict(rule: Rule, engine: Engine, score: Score | EngineError) -> Verdict:
    if isinstance(score, EngineError):
        return Verdict(rule, error=score.code, model=engine.model, calibrated=False)
    if not 0.0 <= score.value <= 1.0:  # also catches NaN: a broken model must not pass by failing every comparison
        return Verdict(rule, error=EngineError.code, model=engine.model, calibrated=False)
    verdict = Verdict(
        rule,
        score=score.value,
        tier=score.tier,
        model=engine.model,
        calibrated=score.calibrated,
        rationale=score.rationale,
        latency_ms=score.latency_ms,
        cached=score.cached,
    )
    if score.unjudged is None:
        return verdict
    failed = Verdict(rule, error=score.unjudged, model=engine.model, calibrated=False)
    return verdict if verdict.refuses or verdict.action > failed.action else failed


def _earlier(guard: str, verdict: Verdict, said: Score | EngineError) -> Earlier:
    """What comes of an earlier guard of a cascade: only a score below the limit passes, every doubt and failure goes on."""
    if verdict.score is None or isinstance(said, EngineError):
        return Earlier(guard, Step.FAILED, error=verdict.error)
    limit = verdict.rule.limit_of(guard, said.pass_below)
    step = Step.PASSED if verdict.score < limit else Step.ESCALATED
    return Earlier(guard, step, verdict.score, limit, latency_ms=verdict.latency_ms)


async def _detect(rule: Rule, content: Content, patience: Patience) -> Verdict:
    """See `detect`; off the loop where it is much, and no further than to the next text once nobody waits any more."""
    try:
        return await by_size(content.n_chars, detect, rule, content, patience)
    except asyncio.CancelledError:
        patience.is_over = True
        raise


def detect(rule: Rule, content: Content, patience: Patience | None = None) -> Verdict:
    """Run a rule's detector over every leaf it reads, and over the leaves joined.

    A detector that raises, or that is not done when ``patience`` ends, is a verdict with an error, like any guard that
    could not decide.
    """
    if rule.policy.detector is None:
        raise TypeError(f"policy {rule.policy.name!r} has no detector")
    detector = for_content(rule.policy.detector)
    patience = patience or Patience()
    started = time.perf_counter()
    scope = rule.scope
    leaves = content.leaves
    read = [i for i, leaf in enumerate(leaves) if leaf.text and leaf.is_within(scope)]
    findings: list[Finding] = []
    error: str | None = None
    try:
        for i in read:
            patience.check()
            for span in detector.find(leaves[i].text):
                findings.append(Finding(i, span, rule.restore))
        if rule.policy.joins and len(read) > 1:
            chosen = [leaves[i] for i in read]
            for joined in joined_readings(chosen):
                patience.check()
                for span in detector.find(joined.text):
                    pieces = list(joined.locate(span.start, span.end))
                    if len(pieces) > 1:  # within one leaf it was found above, or is part of something longer
                        findings.extend(
                            Finding(read[j], Span(lo, hi, span.label), rule.restore) for j, lo, hi in pieces
                        )
    except OutOfPatience:
        error = DETECTOR_TIMEOUT
    except TooMuchToDecode:
        error = TOO_MUCH_TO_DECODE
    except Exception as e:  # whatever a detector dies of, the content stays unjudged and its rule decides
        error = f"detector_{type(e).__name__}"
    verdict = Verdict(
        rule,
        score=1.0 if findings else 0.0,
        tier=Tier.DETECTOR,
        model="detector",
        findings=tuple(findings),
        latency_ms=(time.perf_counter() - started) * 1000,
    )
    if error is None or verdict.refuses:  # nothing that was not read could make it graver
        return verdict
    return Verdict(rule, error=error, tier=Tier.DETECTOR, model="detector")

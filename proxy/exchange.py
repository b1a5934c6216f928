"""One exchange: what a request has become so far, and what its answer must say about it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from secrets import token_hex
from typing import Any

from models.engine import Passage
from proxy import records
from proxy.audit.trail import Trail
from proxy.loading.loaded import LoadedRoute
from proxy.review.reviewing import Reviewing
from proxy.schema import Collection, read_decoded
from proxy.strict_json import JsonError, parse_json_text
from rules.content import Content, LeafKind, Path, Surface, show_path
from rules.decision import Cause, Decision, Verdict, united
from rules.policy import DEFAULT_REFUSAL_TEXT
from rules.rewrite import LeafEdits, Masker, edited_texts
from rules.rewriting import Rewrite, find_rewrite
from rules.rule import Action, Stage
from rules.screen import Screener


@dataclass(slots=True)
class Exchange:
    """The state of one request on its way through the proxy; everything that its record will say.

    Attributes:
        request_id: In ``x-request-id``, and the trunk of the decision ids.
        endpoint: The API path, for records.
        route: None until one was found.
        decisions: Per stage, as they are made.
    """

    endpoint: str
    metrics: records.Metrics = field(repr=False)
    request_id: str = field(default_factory=lambda: token_hex(16))
    fallback_policy_set: str = ""
    route: LoadedRoute | None = None
    decisions: dict[Stage, Decision] = field(default_factory=dict)
    masker: Masker = field(default_factory=Masker)
    started: float = field(default_factory=time.monotonic)
    unseen: tuple[Path, ...] = ()
    """Where the request refers to text on the upstream's side; see ``server_state``."""
    refused_locally: bool = False
    """The proxy itself answered with an error, nothing was decided by policy."""
    fault: str | None = None
    """Code of the error that ended a stream; the status says nothing about it."""
    trail: Trail | None = None
    """What of it is on record; None: nothing is to be."""
    reviewing: Reviewing | None = None
    """What of it is in the review queue; None: there is none."""
    made_stricter: frozenset[Stage] = frozenset()
    """Stages that the client wants to be stricter than the route is; see `proxy.inband`."""
    settled: set[Stage] = field(default_factory=set)
    """Stages whose decision is the last one."""
    contents: dict[Stage, Content] = field(default_factory=dict, repr=False)
    """What the decisions are about, as far as it is to be on record."""
    _shown: dict[Stage, tuple[Decision, dict[str, Any]]] = field(default_factory=dict, repr=False)
    _seconds: dict[Stage, float] = field(default_factory=dict)

    @property
    def region(self) -> str | None:
        """Where the request comes from, for the record, if the configuration tells regions apart."""
        return None if self.route is None else self.route.config.region

    def decision_id(self, stage: Stage | None = None) -> str:
        """Id of a stage's decision; without a stage, of the one that decided the answer."""
        return f"{self.request_id}-{stage or self.deciding}"

    @property
    def deciding(self) -> Stage:
        """The stage that decided the answer: its id is what the client is told."""
        given, back = self.decisions.get(Stage.INPUT), self.decisions.get(Stage.OUTPUT)
        return Stage.OUTPUT if back is not None and (given is None or back.action >= given.action) else Stage.INPUT

    @property
    def action(self) -> Action:
        """The gravest action so far; what was never judged counts as refused."""
        if self.refused_locally or not self.decisions:
            return Action.REFUSE
        return max([d.action for d in self.decisions.values()])

    def headers(self) -> dict[str, str]:
        """The headers that every answer of the data port carries."""
        action = self.action
        unjudged = 0
        if action is not Action.REFUSE:
            unjudged = len(self.unseen)
            for decision in self.decisions.values():
                unjudged += len(decision.unjudged)
        return {
            "x-request-id": self.request_id,
            "x-safeguard-decision": action.word,
            "x-safeguard-decision-id": self.decision_id(),
            "x-safeguard-policy-set": self.route.policy_set if self.route is not None else self.fallback_policy_set,
            "x-safeguard-unjudged": str(unjudged),
        }

    def refusal_text(self, decision: Decision) -> str:
        """What the client is told."""
        of_route = self.route.config.refusal_text if self.route is not None else None
        return decision.refusal_text or of_route or DEFAULT_REFUSAL_TEXT

    def noted(self, decision: Decision, seconds: float, content: Content | None = None) -> None:
        """Remember a decision about a part of a stage: the gravest stands for all, of equals the last one.

        Args:
            decision: The decision.
            seconds: How long it took.
            content: What its verdicts are about.
        """
        stage = decision.stage
        self._seconds[stage] = self._seconds.get(stage, 0.0) + seconds
        before = self.decisions.get(stage)
        stands = before is None or decision.action >= before.action
        if stands and content is not None and (self.trail is not None or self.reviewing is not None):
            self.contents[stage] = content
        if before is None:
            self.decisions[stage] = decision
            return
        gravest = decision if stands else before
        unjudged = () if gravest.action is Action.REFUSE else united(before.unjudged, decision.unjudged)
        self.decisions[stage] = replace(gravest, unjudged=unjudged)

    def decided(self, stage: Stage, decision: Decision, seconds: float, content: Content | None = None) -> None:
        """Note a stage's last, or only, decision."""
        self.noted(decision, seconds, content)
        self.settled.add(stage)
        if self.route is not None:
            self.metrics.count(self.route.config.name, self.decisions[stage], self._seconds[stage])

    async def releases(self, stage: Stage) -> None:
        """Await this before anything leaves that a stage judges; see `proxy.audit.trail` and `proxy.review.reviewing`.

        Raises:
            HttpError: 503, it cannot be put on record, so it must not leave.
        """
        await self.flagged(stage)
        if self.trail is not None:
            await self.trail.releases(self, stage)

    async def answers(self, status: int, error: str | None = None) -> None:
        """Await this before an answer, or the last piece of one, leaves.

        Raises:
            HttpError: 503, it cannot be put on record, so it must not leave.
        """
        for stage in Stage:
            await self.flagged(stage)
        if self.trail is not None:
            await self.trail.answers(self, status, error)

    async def flagged(self, stage: Stage) -> None:
        """Await this before more leaves of what a stage judges, once something has left.

        Raises:
            HttpError: 503, it is flagged and cannot be put up for review, so it must not leave.
        """
        if self.reviewing is not None and not self.refused_locally:  # an error of the proxy holds no judged content
            await self.reviewing.flagged(self, stage)

    async def held(self, judged: Judged, screener: Screener) -> Judged:
        """Await this before a stage is decided: what a reviewer says may change what is judged.

        Raises:
            HttpError: 503, it cannot be put up for review, so it must not leave.
        """
        return judged if self.reviewing is None else await self.reviewing.held(self, judged, screener)

    def decision_record(self, stage: Stage) -> dict[str, Any]:
        """A stage's decision as it stands in the log and in the audit; made once."""
        decision = self.decisions[stage]
        shown = self._shown.get(stage)
        if shown is None or shown[0] is not decision:
            shown = self._shown[stage] = (decision, records.decision_record(decision))
        return shown[1]

    def screen_ms(self, stage: Stage) -> float:
        """How long a stage has been judged so far."""
        return round(self._seconds.get(stage, 0.0) * 1000, 3)

    def write_record(self, status: int, **more: Any) -> None:
        """The canonical line of this request."""
        name = self.route.config.name if self.route is not None else None
        self.metrics.count_request(name or "", self.endpoint, status)
        records.log.info(
            "request",
            request_id=self.request_id,
            endpoint=self.endpoint,
            route=name,
            **({"region": self.region} if self.region is not None else {}),
            status=status,
            action=self.action.word,
            policy_set=self.route.policy_set if self.route is not None else None,
            **records.listed("unseen", map(show_path, self.unseen)),
            **{s.value: {"id": self.decision_id(s), **self.decision_record(s)} for s in self.decisions},
            latency_ms=round((time.monotonic() - self.started) * 1000, 3),
            **{**({"error": self.fault} if self.fault is not None else {}), **more},
        )


@dataclass(frozen=True, slots=True)
class Judged:
    """What a stage's rules say about a content, and how it must be changed to cross.

    Attributes:
        decision: After a rewrite: the first decision, or the refusal that the second pass asked for.
        content: What the decision's verdicts are about: what came, or what the rewrite has made of it.
        edits: What the rewrite changes; empty unless ``decision`` is a rewrite.
        seconds: How long it took.
        advisories: What the upstream is told besides.
    """

    decision: Decision
    content: Content = field(repr=False)
    edits: LeafEdits = field(default_factory=dict, repr=False)
    seconds: float = 0.0
    advisories: tuple[str, ...] = ()


Advise = Callable[[Mapping[Path, str], Sequence[str]], Content | None]
"""Gives what is to be judged of a body once it has these texts by path and these advisories; None: it cannot have them."""


async def judge(
    screener: Screener,
    content: Content,
    context: Sequence[Passage],
    masker: Masker,
    advise: Advise | None = None,
) -> Judged:
    """Judge a content, and find out how to rewrite it if that is what its rules ask for.

    After a rewrite everything is judged again; what still asks for a rewrite then is refused, because the rewrite has
    not removed it (it lies in a key, or only shows once decoded). An advisory removes nothing: it settles what its own
    rule asked to rewrite, and nothing else.
    """
    started = time.monotonic()
    decision = await screener.screen(content, context)
    rewrite, about = Rewrite(), content
    if decision.action is Action.REWRITE:
        found = await find_rewrite(screener, content, decision, context, masker)
        if isinstance(found, Cause):
            decision = refused(decision, found)
        elif (new := _rewritten(content, found, advise)) is None:
            decision = refused(decision)
        else:
            second = found.judged_again(screener, await screener.screen(new, context), new)
            if second.action >= Action.REWRITE:
                decision, about = refused(second, second.cause or Cause.VIOLATION), new
            else:
                rewrite = found
                decision = replace(
                    decision,
                    verdicts=_with_flags(decision.verdicts, second.verdicts),
                    unjudged=united(decision.unjudged, second.unjudged),
                )
    return Judged(decision, about, rewrite.edits, time.monotonic() - started, rewrite.advisories)


def _with_flags(first: Sequence[Verdict], second: Sequence[Verdict]) -> tuple[Verdict, ...]:
    """The verdicts before a rewrite; of a rule that flags only what the rewrite has left, the one after it.

    Without its findings: they are places in the rewritten texts, and what is on record are those that came.
    """
    return tuple(
        replace(after, findings=()) if before.action < Action.FLAG and after.action is Action.FLAG else before
        for before, after in zip(first, second, strict=True)
    )


def _rewritten(content: Content, rewrite: Rewrite, advise: Advise | None) -> Content | None:
    """What is to be judged once a rewrite is carried out; None if it cannot be."""
    texts = edited_texts(content, rewrite.edits)
    changed = _with_texts(content, texts)
    if changed is None or not rewrite.advisories:
        return changed
    return advise(texts, rewrite.advisories) if advise is not None else None


def refused(decision: Decision, cause: Cause = Cause.VIOLATION) -> Decision:
    """The refusal in place of a decision whose rewrite cannot be carried out."""
    return Decision(
        decision.stage, Action.REFUSE, cause, decision.policies, decision.verdicts, (), decision.refusal_text
    )


@dataclass(slots=True)
class Screened:
    """A cleaned wire object that its stage has judged.

    Attributes:
        body: The object; with what was rewritten put in.
        decision: The stage's decision, see `Judged`.
        rewritten: Whether ``body`` differs from what came.
    """

    body: dict[str, Any] = field(repr=False)
    decision: Decision
    rewritten: bool = False


async def screen_object(
    exchange: Exchange,
    screener: Screener,
    body: dict[str, Any],
    content: Content,
    context: Sequence[Passage],
    read: Callable[[dict[str, Any], Sequence[str]], Content | None] | None = None,
) -> Screened:
    """Judge a cleaned object, carry out a rewrite, and put the decision on record.

    Args:
        exchange: What it belongs to.
        screener: The stage's.
        body: The object.
        content: What is judged of it.
        context: What guards are shown besides.
        read: Puts advisories into a body and reads what is to be judged of it then; None if it has no place for them.
    """

    def advise(texts: Mapping[Path, str], advisories: Sequence[str]) -> Content | None:
        assert read is not None
        copy = deepcopy(body)
        put_texts(copy, texts)
        return read(copy, advisories)

    judged = await judge(screener, content, context, exchange.masker, None if read is None else advise)
    judged = await exchange.held(judged, screener)
    exchange.decided(screener.stage, judged.decision, judged.seconds, judged.content)
    put_texts(body, edited_texts(content, judged.edits))
    if read is not None and judged.advisories:
        read(body, judged.advisories)
    return Screened(body, judged.decision, bool(judged.edits or judged.advisories))


def _with_texts(content: Content, texts: Mapping[Path, str]) -> Content | None:
    """The content with new texts, its decoded readings made anew; None if that breaks a JSON text."""
    into = Collection(strict=False)
    for leaf in content.leaves:
        text = texts.get(leaf.path)
        if text is None or leaf.kind is LeafKind.KEY:
            into.leaves.append(leaf)
        elif leaf.kind is LeafKind.TEXT:
            into.leaves.append(replace(leaf, text=text))
            if leaf.is_json:
                if _is_json(leaf.text) and not _is_json(text):
                    return None
                read_decoded(text, leaf.path, leaf.surface, into)
    return Content(tuple(into.leaves), content.opaque)


def _is_json(text: str) -> bool:
    try:
        parse_json_text(text)
    except JsonError:
        return False
    return True


def put_texts(body: Any, texts: Mapping[Path, str]) -> None:
    """Put new texts where their paths point to."""
    for path, text in texts.items():
        place = body
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = text


def context_of(content: Content) -> list[Passage]:
    """The conversation as the guards of the output stage are shown it: without ids and names."""
    return Content(tuple(leaf for leaf in content.leaves if leaf.surface is not Surface.METADATA)).passages(
        context=True
    )

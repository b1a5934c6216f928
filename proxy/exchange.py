"""One exchange: what a request has become so far, and what its answer must say about it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from secrets import token_hex
from typing import Any

from models.engine import Passage
from proxy import records
from proxy.loading import LoadedRoute
from proxy.schema import Collection, read_decoded
from proxy.strict_json import JsonError, parse_json_text
from rules.content import Content, Leaf, LeafKind, Path, Surface
from rules.decision import Cause, Decision
from rules.policy import DEFAULT_REFUSAL_TEXT
from rules.rewrite import Masker, findings_to_mask, masked_texts
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
    refused_locally: bool = False
    """The proxy itself answered with an error, nothing was decided by policy."""

    def decision_id(self, stage: Stage | None = None) -> str:
        """Id of a stage's decision; without a stage, of the one that decided the answer."""
        return f"{self.request_id}-{stage or self._deciding()}"

    def _deciding(self) -> Stage:
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

    def decided(self, screener: Screener, decision: Decision, seconds: float) -> None:
        """Put a decision on record."""
        self.decisions[screener.stage] = decision
        if self.route is not None:
            self.metrics.count(self.route.config.name, decision, seconds)

    def write_record(self, status: int, **more: Any) -> None:
        """The canonical line of this request."""
        name = self.route.config.name if self.route is not None else None
        self.metrics.count_request(name or "", self.endpoint, status)
        records.log.info(
            "request",
            request_id=self.request_id,
            endpoint=self.endpoint,
            route=name,
            status=status,
            action=self.action.word,
            policy_set=self.route.policy_set if self.route is not None else None,
            **{str(s): records.decision_record(d, self.decision_id(s)) for s, d in self.decisions.items()},
            latency_ms=round((time.monotonic() - self.started) * 1000, 3),
            **more,
        )


@dataclass(slots=True)
class Screened:
    """A cleaned wire object that its stage has judged.

    Attributes:
        body: The object; with what was rewritten put in.
        decision: The stage's decision. After a rewrite: the first one, or the refusal that the second pass asked for.
        rewritten: Whether ``body`` differs from what came.
    """

    body: dict[str, Any] = field(repr=False)
    decision: Decision
    rewritten: bool = False


async def screen_object(
    exchange: Exchange, screener: Screener, body: dict[str, Any], content: Content, context: list[Passage]
) -> Screened:
    """Judge a cleaned object, and carry out a rewrite if that is what its rules ask for.

    After a rewrite everything is judged again; what still asks for a rewrite then is refused, because masking has not
    removed it (it lies in a key, or only shows once decoded).
    """
    started = time.monotonic()
    decision = await screener.screen(content, context)
    screened = Screened(body, decision)
    if decision.action is Action.REWRITE:
        texts = masked_texts(content, findings_to_mask(decision.verdicts), exchange.masker)
        masked = None if texts is None else _masked(content, texts)
        second = None if masked is None else await screener.screen(masked, context)
        if second is None or second.action >= Action.REWRITE:
            cause = second.cause if second is not None and second.cause is not None else Cause.VIOLATION
            screened.decision = _refused(decision if second is None else second, cause)
        else:
            for path, text in (texts or {}).items():
                _put(body, path, text)
            screened.rewritten = True
    exchange.decided(screener, screened.decision, time.monotonic() - started)
    return screened


def _refused(decision: Decision, cause: Cause) -> Decision:
    return Decision(
        decision.stage, Action.REFUSE, cause, decision.policies, decision.verdicts, (), decision.refusal_text
    )


def _masked(content: Content, texts: dict[Path, str]) -> Content | None:
    """The content with new texts, its decoded readings made anew; None if a mask broke a JSON text."""
    into = Collection(strict=False)
    for leaf in content.leaves:
        text = texts.get(leaf.path)
        if text is None or leaf.kind is LeafKind.KEY:
            into.leaves.append(leaf)
        elif leaf.kind is LeafKind.TEXT:
            into.leaves.append(Leaf(leaf.path, leaf.surface, text, leaf.kind, leaf.is_json))
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


def _put(body: Any, path: Path, text: str) -> None:
    for step in path[:-1]:
        body = body[step]
    body[path[-1]] = text


def context_of(content: Content) -> list[Passage]:
    """The conversation as the guards of the output stage are shown it: without ids and names."""
    return Content(tuple(leaf for leaf in content.leaves if leaf.surface is not Surface.METADATA)).passages(
        context=True
    )

"""What must be in the review queue of one exchange, and when.

A flagged decision is in the queue before anything leaves that it lets go, and before its id does. Where a rule says ``hold``,
its request waits there for a reviewer before its stage is decided; nobody's word is no word: the rule's ``on_error`` holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from proxy.audit.entry import Keep, findings
from proxy.audit.redaction import kept
from proxy.errors import review_unavailable
from proxy.records import verdict_record
from proxy.review.item import Flagged, Held, NewItem, ReviewError, State
from proxy.review.review import Review
from rules.content import Content
from rules.decision import NOBODY_REVIEWED, OPAQUE, Decision, Ruling, Verdict, decide, united
from rules.off_loop import by_size
from rules.rule import Action, Mode, Stage
from rules.screen import Screener

if TYPE_CHECKING:
    from proxy.exchange import Exchange, Judged

_RULINGS = {State.UPHELD: Ruling.UPHELD, State.OVERTURNED: Ruling.OVERTURNED}
_TOLD = ("outcome", "score", "thresholds", "tier", "model", "calibrated", "cached", "error")
"""What of a verdict as it is on record an item repeats."""


@dataclass(slots=True)
class Reviewing:
    """The items of one exchange; see the top of the file."""

    review: Review
    keep: Keep
    """What is kept of the content."""
    _queued: dict[Stage, tuple[Verdict, ...]] = field(default_factory=dict)
    """Verdicts of the decisions that are in the queue, or were settled there."""

    async def flagged(self, exchange: Exchange, stage: Stage) -> None:
        """Something of what a stage judges is about to leave: if it was flagged, it must be in the queue.

        Raises:
            HttpError: 503, it must not leave.
        """
        decision = exchange.decisions.get(stage)
        if decision is None or self._queued.get(stage) is decision.verdicts or not any(_flagged(decision)):
            return
        try:
            await self.review.put(await self._item(exchange, decision, exchange.contents.get(stage)))
        except ReviewError:
            if self.review.must:
                raise review_unavailable() from None
        self._queued[stage] = decision.verdicts

    async def held(self, exchange: Exchange, judged: Judged, screener: Screener) -> Judged:
        """Wait for a reviewer, if a rule that flags wants it; gives what is judged then.

        Raises:
            HttpError: 503, it cannot be put into the queue, so it must not leave.
        """
        decision = judged.decision
        waits = [v.rule.hold_s for v in decision.verdicts if _wants_hold(v) and v.rule.hold_s is not None]
        if decision.action is Action.REFUSE or not waits:
            return judged
        word = await self._word(exchange, judged, min(waits))
        verdicts = tuple(_ruled(v, word) if _wants_hold(v) else v for v in decision.verdicts)
        after = decide(decision.stage, verdicts, judged.content.opaque, screener.on_opaque)
        if after.action is not Action.REFUSE:
            after = replace(after, unjudged=united(decision.unjudged, after.unjudged))
        self._queued[decision.stage] = after.verdicts
        return replace(judged, decision=after)

    async def _word(self, exchange: Exchange, judged: Judged, hold_s: float) -> State:
        review = self.review
        may_hold = review.may_hold
        item = await self._item(exchange, judged.decision, judged.content, Held.WAITING if may_hold else Held.CUT)
        try:
            if may_hold:
                until_us = review.queue.clock() + int(hold_s * 1_000_000)
                return await review.put_and_wait(replace(item, held_until_us=until_us), hold_s)
            await review.put(item)
        except ReviewError:
            if review.must:
                raise review_unavailable() from None
        return State.PENDING

    async def _item(
        self, exchange: Exchange, decision: Decision, content: Content | None, held: Held | None = None
    ) -> NewItem:
        route = exchange.route
        return NewItem(
            decision_id=exchange.decision_id(decision.stage),
            request_id=exchange.request_id,
            stage=decision.stage.value,
            endpoint=exchange.endpoint,
            route=route.config.name if route is not None else None,
            region=exchange.region,
            action=decision.action.word,
            flagged=tuple(_flagged(decision)),
            content=await self._content(exchange, decision, content),
            held=held,
        )

    async def _content(self, exchange: Exchange, decision: Decision, content: Content | None) -> dict[str, Any] | None:
        """What reviewers see; with an answer, the request too."""
        if content is None or self.keep is Keep.NONE:
            return None
        asked = exchange.contents.get(Stage.INPUT) if decision.stage is Stage.OUTPUT else None

        def keep() -> dict[str, Any]:
            route = exchange.route
            rules = (*route.input.rules, *route.output.rules) if route is not None else ()
            found = kept(content, decision.verdicts, self.keep, rules)
            if self.keep is Keep.FULL:  # what is masked has other offsets
                found |= findings(content, decision.verdicts)
            if asked is not None:
                found["asked"] = kept(asked, (), self.keep, rules)["texts"]
            return found

        return await by_size(content.n_chars + (asked.n_chars if asked is not None else 0), keep)


def _flagged(decision: Decision) -> Iterator[Flagged]:
    """The policies because of which a decision belongs in the queue; none if it does not."""
    if decision.action not in (Action.FLAG, Action.REWRITE):
        return
    is_flag = decision.action is Action.FLAG
    for verdict in decision.verdicts:
        # a moderation flags by the policies that would refuse; nothing is refused there
        asks = verdict.action is Action.FLAG or (is_flag and verdict.rule.policy.name in decision.policies)
        if verdict.rule.mode is Mode.ENFORCE and asks:
            record = verdict_record(verdict)
            yield Flagged(
                policy=verdict.rule.policy.name,
                revision=verdict.rule.policy.revision,
                fingerprint=verdict.fingerprint,
                about={name: record[name] for name in _TOLD if record.get(name) is not None},
                reads=None if verdict.rule.scope is None else sorted(s.value for s in verdict.rule.scope),
            )
    if is_flag and OPAQUE in decision.policies:
        yield Flagged(OPAQUE, "")


def _wants_hold(verdict: Verdict) -> bool:
    rule = verdict.rule
    is_flag = rule.mode is Mode.ENFORCE and verdict.error is None and verdict.action is Action.FLAG
    return is_flag and rule.hold_s is not None


def _ruled(verdict: Verdict, word: State) -> Verdict:
    """A verdict after the wait."""
    ruling = _RULINGS.get(word)
    if ruling is None:
        return replace(verdict, score=None, error=NOBODY_REVIEWED)
    return replace(verdict, ruling=ruling)

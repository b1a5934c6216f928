"""What must be on record of one exchange, and when.

A decision is on record before anything leaves that it lets go, and before its id does:

* the input stage's, before the first byte of the request goes to the upstream;
* the output stage's, before the first byte of the answer goes to the client;
* also where nobody judged: an error of the proxy itself carries a decision id, so it is a record with cause ``fault``.

Where something leaves before its stage has decided (a stream in windows, a request with ``overlap``, a comment that begins an
answer), the record is *begun* before that, and completed before the last piece leaves. A record that stays begun says: the
process died while a stream was under way, at most what verdicts had let go by then has left.

What nobody's release waits for is added without waiting: the status where the record was there before the answer, verdicts of
rules in shadow, how a stream ended that its client left.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from proxy.audit.audit import Audit
from proxy.audit.entry import Entry, Keep, findings, measures, moment
from proxy.audit.redaction import kept
from proxy.audit.store import AuditError, AuditTimeout
from proxy.errors import audit_unavailable
from proxy.records import listed
from rules.content import show_path
from rules.off_loop import by_size
from rules.rule import Action, Stage

if TYPE_CHECKING:
    from proxy.exchange import Exchange


_NOT_JUDGED = {"action": Action.REFUSE.word, "cause": "fault"}
"""On record where nobody judged: the proxy answered with an error."""


class State(StrEnum):
    """How far a record is."""

    BEGUN = "begun"
    """Something may have left, and nothing is decided yet."""
    DECIDED = "decided"
    CUT = "cut"
    """It ended before it was decided; ``error`` says how."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """A record that was handed to the audit."""

    seq: int
    state: State
    has_status: bool = False


@dataclass(slots=True)
class Trail:
    """The records of one exchange; see the top of the file."""

    audit: Audit
    configuration: str
    """Revision of the configuration that judges."""
    _kept: dict[Stage, _Kept] = field(default_factory=dict)
    _shadow: dict[Stage, list[dict[str, Any]]] = field(default_factory=dict)
    """Verdicts in shadow that came before their record."""

    async def releases(self, exchange: Exchange, stage: Stage) -> None:
        """Something of what a stage judges is about to leave: its decision must be on record, or that it is begun.

        Raises:
            HttpError: 503, it must not leave.
        """
        if stage in exchange.settled:
            await self._decided(exchange, stage, {})
        elif stage not in self._kept:
            await self._put(stage, self._entry(exchange, stage, State.BEGUN))

    async def answers(self, exchange: Exchange, status: int, error: str | None = None) -> None:
        """The answer, or its last piece, is about to leave: all decisions must be on record, and the id that it carries.

        Args:
            exchange: The exchange.
            status: The answer's.
            error: Its code, if it is an error.

        Raises:
            HttpError: 503, it must not leave.
        """
        answer = _answer(status, error)
        told = exchange.deciding
        for stage in Stage:
            if stage in exchange.settled or (stage is told and stage not in self._kept):
                await self._decided(exchange, stage, answer if stage is told else {})
        self._add_answer(exchange, answer)

    async def _decided(self, exchange: Exchange, stage: Stage, answer: dict[str, Any]) -> None:
        if self._is_over(stage):
            return
        more, content = await self._content(exchange, stage)
        is_cut = stage in exchange.decisions and stage not in exchange.settled
        state = State.CUT if is_cut else State.DECIDED
        await self._put(stage, self._entry(exchange, stage, state, {**more, **answer}, content))

    def close(self, exchange: Exchange, status: int, error: str | None = None) -> None:
        """The exchange is over: complete what is not complete. Nothing waits for it, and no content is kept any more."""
        answer = _answer(status, error)
        for stage in Stage:
            is_settled = stage in exchange.settled
            if self._is_over(stage) or not (is_settled or stage in self._kept):
                continue
            state = State.DECIDED if is_settled else State.CUT
            entry = self._entry(exchange, stage, state, {**_measured(exchange, stage, self.audit.folder.key), **answer})
            self._kept[stage] = _Kept(entry.seq, state, has_status=True)
            self.audit.submit([entry])
        self._add_answer(exchange, answer)

    def shadow(self, exchange: Exchange, stage: Stage, shown: list[dict[str, Any]]) -> None:
        """Add the verdicts of rules in shadow, as `proxy.records.verdict_record` shows them, to a stage's record."""
        if stage in self._kept:
            self._add(exchange, stage, {"shadow": shown})
        else:
            self._shadow[stage] = shown

    # ------------------------------------------------------------------ entries

    def _is_over(self, stage: Stage) -> bool:
        return stage in self._kept and self._kept[stage].state is not State.BEGUN

    def _entry(
        self,
        exchange: Exchange,
        stage: Stage,
        state: State,
        more: Mapping[str, Any] = MappingProxyType({}),
        content: dict[str, Any] | None = None,
    ) -> Entry:
        """A stage's record as it is now; an addition to it, if it was begun."""
        begun = self._kept.get(stage)
        seq, now_us = self.audit.next_seq() if begun is None else (begun.seq, self.audit.clock())
        now = moment(now_us)
        fields: dict[str, Any] = {"seq": seq, "decision_id": exchange.decision_id(stage)}
        if begun is None:
            fields |= {"request_id": exchange.request_id, "time": now, "stage": stage.value}
            fields |= {"endpoint": exchange.endpoint, "configuration": self.configuration}
            if exchange.route is not None:
                fields |= {"route": exchange.route.config.name, "policy_set": exchange.route.policy_set}
            if exchange.region is not None:
                fields["region"] = exchange.region
            if stage in exchange.made_stricter:
                fields["stricter"] = True
            if stage is Stage.INPUT:
                fields |= listed("unseen", map(show_path, exchange.unseen))
        fields |= {"state": state.value, "at_ms": round((time.monotonic() - exchange.started) * 1000, 3)}
        if state is not State.BEGUN:
            fields |= _decision(exchange, stage) or ({} if state is State.CUT else _NOT_JUDGED)
        if stage in self._shadow:
            fields["shadow"] = self._shadow.pop(stage)
        if content is not None:
            fields |= {"kept": content["keep"], "kept_at": now}
        return Entry(seq, exchange.decision_id(stage), begun is None, now, {**fields, **more}, content)

    async def _content(self, exchange: Exchange, stage: Stage) -> tuple[dict[str, Any], dict[str, Any] | None]:
        """What a record says about the content that was judged, and what is kept of it."""
        content = exchange.contents.get(stage)
        if content is None:
            return {}, None
        n_chars = content.n_chars
        measured = await by_size(n_chars, _measured, exchange, stage, self.audit.folder.key)
        keep = exchange.route.keep if exchange.route is not None else Keep.NONE
        if keep is Keep.NONE:
            return measured, None
        assert exchange.route is not None
        rules = exchange.route.at(stage).rules
        return measured, await by_size(n_chars, kept, content, exchange.decisions[stage].verdicts, keep, rules)

    async def _put(self, stage: Stage, entry: Entry) -> None:
        """Put an entry on record and wait until it is there; if it cannot be, it is as if nobody had tried."""
        before = self._kept.get(stage)
        self._kept[stage] = _Kept(entry.seq, State(entry.fields["state"]), "status" in entry.fields)
        try:
            await self.audit.write([entry])
        except AuditError as e:
            if not isinstance(e, AuditTimeout):  # after which it may come on record yet, before what is added to it
                self._kept.pop(stage)
                self._kept |= {stage: before} if before is not None else {}
            if self.audit.must:
                raise audit_unavailable() from None

    def _add_answer(self, exchange: Exchange, answer: dict[str, Any]) -> None:
        stage = exchange.deciding
        if stage in self._kept and not self._kept[stage].has_status:
            self._kept[stage] = replace(self._kept[stage], has_status=True)
            self._add(exchange, stage, answer)

    def _add(self, exchange: Exchange, stage: Stage, fields: dict[str, Any]) -> None:
        """Add fields to a record, without waiting."""
        seq = self._kept[stage].seq
        decision_id = exchange.decision_id(stage)
        now = moment(self.audit.clock())
        self.audit.submit([Entry(seq, decision_id, False, now, {"seq": seq, "decision_id": decision_id, **fields})])


def _decision(exchange: Exchange, stage: Stage) -> dict[str, Any]:
    """The decision as it is now; empty if nothing has been judged."""
    if stage not in exchange.decisions:
        return {}
    return {**exchange.decision_record(stage), "screen_ms": exchange.screen_ms(stage)}


def _answer(status: int, error: str | None) -> dict[str, Any]:
    return {"status": status, **({"error": error} if error is not None else {})}


def _measured(exchange: Exchange, stage: Stage, key: bytes) -> dict[str, Any]:
    content = exchange.contents.get(stage)
    if content is None:
        return {}
    return {"content": measures(content, key), **findings(content, exchange.decisions[stage].verdicts)}

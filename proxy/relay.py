"""What every judged endpoint does: judge the request, ask the upstream, judge the answer, send what was decided.

The shapes are the endpoint's (`proxy.api.Api`); the order of things is here. Streams that come from the upstream go through
`proxy.stream_relay`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from models import tasks
from models.engine import Passage
from models.errors import ContentTooLong
from proxy import inband, records, refusals, sse
from proxy.api import Api, Asked, StreamFault
from proxy.bodies import Body, worked_on
from proxy.early_call import EarlyCall
from proxy.errors import HttpError, bad_request, bad_upstream, guard_unavailable, too_long_to_judge
from proxy.exchange import Exchange, Screened, context_of, screen_object
from proxy.hold import Hold, StreamMode
from proxy.loading.loaded import LoadedRoute
from proxy.restoring import Restoration
from proxy.schema import Collection, Misfit
from proxy.server import Request
from proxy.stream_relay import StreamRelay, read_to_end
from proxy.strict_json import JsonError, dump_json, parse_json
from proxy.upstream import Answer, Caller, forwarded_query, spoken_headers
from proxy.upstream_errors import upstream_error
from rules.content import Content, Leaf, LeafKind, Surface, show_path
from rules.decision import Cause, Decision
from rules.rule import Action, Stage
from rules.screen import Screener


@dataclass(slots=True)
class Relay:
    """One request that has been read and routed.

    Attributes:
        api: The endpoint's shapes.
        exchange: What goes on record.
        request: The client's request.
        route: Where it goes.
        caller: The route's upstream.
        background: Owner of what may outlive the answer (rules in shadow).
    """

    api: Api
    exchange: Exchange
    request: Request
    route: LoadedRoute
    caller: Caller
    background: set[asyncio.Task[None]] = field(repr=False)
    body: dict[str, Any] = field(default_factory=dict, repr=False)
    context: Sequence[Passage] = field(default=(), repr=False)
    asked: Asked = field(default=Asked("", ""))
    wish: inband.Wish | None = None
    restoration: Restoration = field(default_factory=Restoration, repr=False)

    async def answer(self, body: Body) -> web.StreamResponse:
        """Carry the request through both stages.

        Args:
            body: The client's.

        Raises:
            HttpError: Whatever is not an answer of the upstream or a refusal.
        """
        config = self.route.config
        allows_state = config.server_state == "allow"
        into = Collection(strict=True, screen_unknown=config.unknown_fields == "screen", allows_state=allows_state)
        try:
            self.body = await body.read(lambda raw: self.api.read_request(raw, into))
        except Misfit as e:
            raise bad_request(e.code, e.said("The body"), show_path(e.path) or None) from None
        self.exchange.unseen = tuple(into.unseen)
        self.asked = self.api.asked(self.body, self.exchange.request_id)
        self.wish = inband.wish_of(self.body)
        if self.wish is not None:
            self.exchange.made_stricter = self.wish.block
            self.route = inband.stricter(self.route, self.wish)
        content = Content((*into.leaves, *header_leaves(self.request)), tuple(into.opaque))
        async with AsyncExitStack() as calls:
            early: EarlyCall | None = None
            if self._may_overlap(into):
                await self.exchange.releases(Stage.INPUT)
                early = await calls.enter_async_context(self._early_call())
            given = await screen_object(self.exchange, self.route.input, self.body, content, (), self._advised)
            self.shadow(self.route.input, content, ())
            if early is not None and given.decision.action is Action.REFUSE:
                self.exchange.metrics.count_wasted(config.name)
            if (refusal := self.refusal(given.decision)) is not None:
                return refusal
            if given.rewritten:
                content = await worked_on(body.n_bytes, lambda: self._read(self.body))
                self.restoration = Restoration(self.exchange.masker.originals)
            if self.route.output.guards:
                self.context = context_of(content)
            await self.exchange.releases(Stage.INPUT)
            answer = await (early.answer() if early is not None else calls.enter_async_context(self._call()))
            if answer.status != 200:
                raise await self._upstream_error(answer)
            if answer.content_type == "text/event-stream":
                return await self._from_stream(answer)
            return await self._from_json(answer)

    def _call(self) -> AbstractAsyncContextManager[Answer]:
        # `moderation` is judged like every field, because the results repeat it, but not forwarded
        sent = {k: v for k, v in self.body.items() if k != "moderation"} if self.wish is not None else self.body
        query = forwarded_query(self.request.target)
        return self.caller.call("POST", self.api.path, dump_json(sent), self.request.headers, query=query)

    def _early_call(self) -> EarlyCall:
        return EarlyCall(self._call())

    def _may_overlap(self, read: Collection) -> bool:
        """Whether the upstream may be asked before the request is judged: it must not be able to do more than answer."""
        return self.route.config.overlap and not read.may_act and not read.allows_state

    def _read(self, body: dict[str, Any]) -> Content:
        into = Collection(strict=True, allows_state=self.route.config.server_state == "allow")
        self.api.read_request(body, into)
        return Content((*into.leaves, *header_leaves(self.request)), tuple(into.opaque))

    def _advised(self, body: dict[str, Any], advisories: Sequence[str]) -> Content | None:
        """Put advisories into a body; gives what is to be judged of it then, None if it has no place for them."""
        if not all(self.api.advise(body, text) for text in advisories):
            return None
        try:
            return self._read(body)
        except Misfit:  # one message too many
            return None

    # ------------------------------------------------------------------ the answer of the upstream

    async def _from_json(self, answer: Answer) -> web.StreamResponse:
        if self.asked.stream:
            return await StreamRelay(self, answer).run_whole()
        screened = await self.read_whole(answer)
        if (refusal := self.refusal(screened.decision, screened.body.get("usage"))) is not None:
            return refusal
        return self.json(200, {**screened.body, **self.notes()}, answer.headers)

    async def _from_stream(self, answer: Answer) -> web.StreamResponse:
        config = self.route.config
        mode = StreamMode(config.stream) if self.asked.stream else StreamMode.BUFFER
        hold = Hold(mode, config.window_chars, config.overlap_chars, self.route.output.before_chars)
        stream = self.api.new_stream(self.asked, hold, config.max_body_bytes, self.route.upstream_key)
        if self.asked.stream:
            return await StreamRelay(self, answer).run(stream)
        try:
            await read_to_end(stream, answer, config.max_event_bytes)
        except StreamFault:
            raise bad_upstream() from None
        screened = await self.judge_answer(stream.answer(), hold.unjudged_loose)
        if (refusal := self.refusal(screened.decision, screened.body.get("usage"))) is not None:
            return refusal
        return self.json(200, {**screened.body, **self.notes()}, answer.headers)

    async def read_whole(self, answer: Answer) -> Screened:
        """Read and judge an answer that is not streamed.

        Raises:
            HttpError: 502 if it cannot be read.
        """
        body = await answer.read(self.route.config.max_body_bytes)
        try:
            raw = parse_json(body)
        except JsonError:
            raise bad_upstream() from None
        return await self.judge_answer(raw)

    def clean_answer(self, raw: Any, loose: Sequence[Leaf] = ()) -> tuple[dict[str, Any], Content, bool]:
        """An answer as it may cross, what is to be judged of it, and whether the upstream's key was masked in it.

        Raises:
            HttpError: 502 if it is no such answer.
        """
        into = Collection(strict=False, hidden=self.route.upstream_key)
        try:
            body = self.api.read_answer(raw, into, self.asked)
        except Misfit:
            raise bad_upstream() from None
        # an echo of the model's name is what the input stage has judged
        leaves = [leaf for leaf in into.leaves if leaf.path != ("model",) or leaf.text != self.asked.model]
        known = {leaf.text for leaf in leaves}
        leaves += [leaf for leaf in loose if leaf.text not in known]
        if into.has_hidden:
            self.api.without_details(body)
        return body, Content(tuple(leaves), tuple(into.opaque)), into.has_hidden

    async def judge_answer(self, raw: Any, loose: Sequence[Leaf] = ()) -> Screened:
        """Clean and judge a whole answer.

        Raises:
            HttpError: 502 if it is no such answer.
        """
        body, content, has_hidden = self.clean_answer(raw, loose)
        if not self.api.speaks and not content.leaves:
            return Screened(body, Decision(Stage.OUTPUT, Action.FORWARD, None, (), (), ()))
        screened = await screen_object(self.exchange, self.route.output, body, content, self.context)
        self.shadow(self.route.output, content, self.context)
        self.restoration.narrow(self.exchange.masker.originals)
        is_restored = screened.decision.action is not Action.REFUSE and self.restoration.into_answer(body, content)
        if screened.rewritten or is_restored:
            self.api.without_details(body)
        screened.rewritten |= has_hidden
        return screened

    async def _upstream_error(self, answer: Answer) -> HttpError:
        """An upstream's error, with the values put back that were masked on the way there."""
        error = await upstream_error(self.exchange, self.route, answer, self.context)
        self.restoration.narrow(self.exchange.masker.originals)
        error.message = self.restoration.text(error.message)
        return error

    # ------------------------------------------------------------------ what the client gets

    def refusal(self, decision: Decision, usage: Mapping[str, Any] | None = None) -> web.Response | None:
        """The answer if a decision refuses and nothing was sent yet; None if it does not refuse.

        Raises:
            HttpError: 503 when nobody could judge, 413 when a request is too long for that.
        """
        if decision.action is not Action.REFUSE:
            return None
        if decision.cause is Cause.UNDECIDED:
            raise too_long_to_judge() if _is_too_long(decision) else guard_unavailable()
        text = self.exchange.refusal_text(decision)
        if self.route.config.refusal == "error" or not self.api.speaks:
            body = refusals.error_body(text, decision.policies, self.exchange.decision_id(), self.api.content_field)
            return self.json(400, body, refusals.NO_RETRY)
        self.notes()
        if self.asked.stream:
            return web.Response(
                body=self.api.refusal_stream(self.asked, text, usage),
                headers={**self.exchange.headers(), **sse.HEADERS},
            )
        return self.json(200, self.api.refusal(self.asked, text, usage))

    def notes(self) -> dict[str, Any]:
        """What the proxy itself adds to the answer, as far as it is known now; see `proxy.api.Asked.notes`."""
        if self.wish is not None:
            self.asked.notes["moderation"] = inband.outcome(
                self.wish, self.exchange.decisions, as_list=self.api.lists_moderation
            )
        return self.asked.notes

    def json(self, status: int, body: dict[str, Any], headers: Mapping[str, str] | None = None) -> web.Response:
        """A JSON answer with the headers that every answer carries."""
        return web.Response(
            status=status,
            body=dump_json(body),
            content_type="application/json",
            headers={**(headers or {}), **self.exchange.headers()},
        )

    def shadow(self, screener: Screener, content: Content, context: Sequence[Passage]) -> None:
        """Judge by the rules in shadow, without anybody waiting for it."""
        run_shadow(self.background, self.exchange, self.route.config.name, screener, content, context)


def header_leaves(request: Request) -> list[Leaf]:
    """What is to be judged of a request's headers: the values that reach the upstream and can spell anything."""
    headers = spoken_headers(request.headers)
    return [Leaf(("header", name), Surface.METADATA, value, LeafKind.KEY) for name, value in headers.items()]


def run_shadow(
    background: set[asyncio.Task[None]],
    exchange: Exchange,
    route: str,
    screener: Screener,
    content: Content,
    context: Sequence[Passage],
) -> None:
    """Judge by the rules in shadow in a task that ``background`` owns."""
    if not screener.has_shadow:
        return

    async def run() -> None:
        verdicts = [records.verdict_record(v) for v in await screener.shadow(content, context)]
        records.log_shadow(route, exchange.decision_id(screener.stage), verdicts)
        if exchange.trail is not None:
            exchange.trail.shadow(exchange, screener.stage, verdicts)

    task = tasks.own(run(), name="shadow")
    background.add(task)
    task.add_done_callback(background.discard)


def _is_too_long(decision: Decision) -> bool:
    failed = {v.error for v in decision.verdicts if v.error is not None and v.action is Action.REFUSE}
    return decision.stage is Stage.INPUT and failed == {ContentTooLong.code}

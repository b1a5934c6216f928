"""``POST /v1/chat/completions``: judge the request, ask the upstream, judge the answer, send what was decided.

The steps are the same whether the answer is streamed or not; only `_stream` knows about time: while a completion is held
until it is judged, the client hears comments.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from models import tasks
from models.engine import Passage
from models.errors import ContentTooLong
from proxy import refusals, sse
from proxy.chat_api import CHAT_REQUEST, CHAT_RESPONSE, ERROR_BODY
from proxy.errors import HttpError, bad_request, bad_upstream, guard_unavailable, too_long_to_judge, upstream_failure
from proxy.exchange import Exchange, Screened, context_of, screen_object
from proxy.held_stream import HeldStream, StreamFault, logprobs_match, stream_of
from proxy.loading import LoadedRoute
from proxy.schema import Collection, Misfit
from proxy.server import Request
from proxy.strict_json import JsonError, dump_json, parse_json
from proxy.upstream import Answer, Caller, spoken_headers
from rules.content import Content, Leaf, LeafKind, Surface, show_path
from rules.decision import Cause, Decision
from rules.rule import Action, Stage

KEEP_ALIVE_S = 1.0
"""While a completion is held, the client hears a comment this often; the first one begins the answer."""

WRITE_TIMEOUT_S = 60.0
"""A client that does not read for this long is cut off."""


@dataclass(slots=True)
class Chat:
    """One chat request that has been read and routed.

    Attributes:
        exchange: What goes on record.
        request: The client's request.
        route: Where it goes.
        caller: The route's upstream.
        background: Owner of what may outlive the answer (rules in shadow).
    """

    exchange: Exchange
    request: Request
    route: LoadedRoute
    caller: Caller
    background: set[asyncio.Task[None]] = field(repr=False)
    body: dict[str, Any] = field(default_factory=dict, repr=False)
    context: list[Passage] = field(default_factory=list, repr=False)

    @property
    def wants_stream(self) -> bool:
        """Whether the client asked for a stream."""
        return self.body.get("stream") is True

    @property
    def n(self) -> int:
        """How many choices the client asked for."""
        return self.body.get("n") or 1

    @property
    def include_usage(self) -> bool:
        """Whether the client asked for a usage chunk."""
        return bool((self.body.get("stream_options") or {}).get("include_usage"))

    @property
    def completion_id(self) -> str:
        """The completion's id: ours, because an upstream's can spell anything."""
        return f"chatcmpl-{self.exchange.request_id}"

    async def answer(self, raw: dict[str, Any]) -> web.StreamResponse:
        """Carry the request through both stages.

        Args:
            raw: The parsed body.

        Raises:
            HttpError: Whatever is not an answer of the upstream or a refusal.
        """
        config = self.route.config
        into = Collection(strict=True, screen_unknown=config.unknown_fields == "screen")
        try:
            self.body = CHAT_REQUEST.clean(raw, (), into)
        except Misfit as e:
            where = show_path(e.path)
            raise bad_request(e.code, f"{where or 'The body'}: {e}", where or None) from None
        for name, value in spoken_headers(self.request.headers).items():
            into.leaves.append(Leaf(("header", name), Surface.METADATA, value, LeafKind.KEY))
        content = Content(tuple(into.leaves), tuple(into.opaque))
        given = await screen_object(self.exchange, self.route.input, self.body, content, [])
        self._shadow(self.route.input, content, [])
        if (refusal := self._refusal(given.decision)) is not None:
            return refusal
        if given.rewritten:
            content = _read_again(self.body)
        if self.route.output.asks_guards:
            self.context = context_of(content)
        async with self.caller.call("POST", "/chat/completions", dump_json(self.body), self.request.headers) as answer:
            if answer.status != 200:
                raise await self._upstream_error(answer)
            if answer.content_type == "text/event-stream":
                return await self._from_stream(answer)
            return await self._from_json(answer)

    # ------------------------------------------------------------------ the answer of the upstream

    async def _from_json(self, answer: Answer) -> web.StreamResponse:
        async def held() -> tuple[dict[str, Any], Screened]:
            body = await answer.read(self.route.config.max_body_bytes)
            return await self._judge_completion(_parse_completion(body), [])

        if self.wants_stream:
            return await self._stream(answer, held())
        completion, screened = await held()
        if (refusal := self._refusal(screened.decision, completion.get("usage"))) is not None:
            return refusal
        return self._json(200, screened.body, answer.headers)

    async def _from_stream(self, answer: Answer) -> web.StreamResponse:
        config = self.route.config
        held = HeldStream(self.completion_id, config.max_body_bytes, self.route.upstream_key)

        async def collect() -> tuple[dict[str, Any], Screened]:
            decoder = sse.EventDecoder(config.max_event_bytes)
            try:
                await _collect(answer.segments, decoder, held)
            except sse.EventTooLarge:
                raise StreamFault("an event is larger than max_event_bytes") from None
            if not held.is_whole:
                raise StreamFault("the stream ended without its end")
            completion, screened = await self._judge_completion(held.assembled(), held.loose_leaves)
            return completion, screened

        if self.wants_stream:
            return await self._stream(answer, collect(), held)
        try:
            completion, screened = await collect()
        except StreamFault:
            raise bad_upstream() from None
        if (refusal := self._refusal(screened.decision, completion.get("usage"))) is not None:
            return refusal
        return self._json(200, screened.body, answer.headers)

    async def _judge_completion(self, raw: dict[str, Any], more: list[Leaf]) -> tuple[dict[str, Any], Screened]:
        into = Collection(strict=False, hidden=self.route.upstream_key)
        try:
            completion: dict[str, Any] = CHAT_RESPONSE.clean(raw, (), into)
        except Misfit:
            raise bad_upstream() from None
        if not completion["choices"] or not all(isinstance(c.get("message"), dict) for c in completion["choices"]):
            raise bad_upstream()
        completion = {"id": self.completion_id, **completion}
        if completion.get("model") == self.body["model"]:  # an echo of what the input stage has judged
            into.leaves = [leaf for leaf in into.leaves if leaf.path != ("model",)]
        if not logprobs_match(completion):
            for choice in completion["choices"]:
                choice["logprobs"] = None
        known = {leaf.text for leaf in into.leaves} | {self.body["model"]}
        into.leaves += [
            Leaf(leaf.path, leaf.surface, leaf.text, LeafKind.KEY) for leaf in more if leaf.text not in known
        ]
        content = Content(tuple(into.leaves))
        screened = await screen_object(self.exchange, self.route.output, completion, content, self.context)
        self._shadow(self.route.output, content, self.context)
        screened.rewritten |= into.has_hidden
        if screened.rewritten:
            for choice in completion["choices"]:
                choice["logprobs"] = None
        return completion, screened

    async def _upstream_error(self, answer: Answer) -> HttpError:
        """An upstream's error: 4xx keep type and code, and their message if the output rules let it pass."""
        if answer.status == 429 or 500 <= answer.status < 600:
            return upstream_failure(answer.status, answer.headers)
        if not 400 <= answer.status < 500:
            return bad_upstream(f"The upstream answered with status {answer.status}.")
        fixed = HttpError(
            answer.status, "upstream_error", "The upstream refused the request.", headers=answer.headers, relayed=True
        )
        try:
            raw = parse_json(await answer.read(64 * 1024))
            into = Collection(strict=False, hidden=self.route.upstream_key)
            body = ERROR_BODY.clean(raw, (), into)
        except (JsonError, HttpError, Misfit):
            return fixed
        error = body.get("error") if isinstance(body, dict) else None
        if not isinstance(error, dict) or not isinstance(error.get("message"), str):
            return fixed
        screened = await screen_object(
            self.exchange, self.route.output, body, Content(tuple(into.leaves)), self.context
        )
        if screened.decision.action is Action.REFUSE:
            return fixed
        error = screened.body["error"]
        return HttpError(
            answer.status,
            error.get("code") or fixed.code,
            error["message"],
            error.get("param"),
            type=error.get("type") or "",
            headers=answer.headers,
            relayed=True,
        )

    # ------------------------------------------------------------------ what the client gets

    def _refusal(self, decision: Decision, usage: dict[str, Any] | None = None) -> web.StreamResponse | None:
        """The answer if a decision refuses; None if it does not.

        Raises:
            HttpError: 503 when nobody could judge, 413 when a request is too long for that.
        """
        if decision.action is not Action.REFUSE:
            return None
        if decision.cause is Cause.UNDECIDED:
            raise too_long_to_judge() if _is_too_long(decision) else guard_unavailable()
        text = self.exchange.refusal_text(decision)
        if self.route.config.refusal == "error":
            body = refusals.error_body(text, decision.policies, self.exchange.decision_id())
            return self._json(400, body, refusals.NO_RETRY)
        if self.wants_stream:
            return web.Response(
                body=self._refusal_stream(text, usage),
                headers={**self.exchange.headers(), **_STREAM_HEADERS},
            )
        body = refusals.message_body(
            text, completion_id=self.completion_id, model=self.body["model"], n=self.n, usage=usage
        )
        return self._json(200, body)

    def _refusal_stream(self, text: str, usage: dict[str, Any] | None) -> bytes:
        return refusals.message_stream(
            text,
            completion_id=self.completion_id,
            model=self.body["model"],
            n=self.n,
            usage=usage,
            include_usage=self.include_usage,
        )

    def _json(self, status: int, body: dict[str, Any], headers: Any = None) -> web.Response:
        return web.Response(
            status=status,
            body=dump_json(body),
            content_type="application/json",
            headers={**(headers or {}), **self.exchange.headers()},
        )

    async def _stream(
        self,
        answer: Answer,
        held: Awaitable[tuple[dict[str, Any], Screened]],
        stream: HeldStream | None = None,
    ) -> web.StreamResponse:
        """Answer as a stream with what ``held`` gives once it is judged; comments meanwhile."""
        response = web.StreamResponse()
        work = asyncio.ensure_future(held)  # noqa: TID251 - owned here: awaited or cancelled below
        try:
            while not (await asyncio.wait({work}, timeout=KEEP_ALIVE_S))[0]:
                if not response.prepared:
                    await self._begin(response, answer)
                await _write(response, sse.KEEP_ALIVE)
            try:
                completion, screened = work.result()
                if not response.prepared and (early := self._refusal(screened.decision, completion.get("usage"))):
                    return early
                out = self._released(completion, screened, stream)
            except StreamFault:
                out = self._fault(bad_upstream())
            except HttpError as e:
                if not response.prepared and (stream is None or e.code == "guard_unavailable"):
                    raise
                out = self._fault(e)
        finally:
            if not work.done():
                work.cancel()
                await asyncio.wait({work})
        if not response.prepared:
            await self._begin(response, answer)
        await _write(response, out)
        await response.write_eof()
        return response

    def _fault(self, error: HttpError) -> bytes:
        self.exchange.refused_locally = True
        return refusals.error_stream(error.body())

    def _released(self, completion: dict[str, Any], screened: Screened, stream: HeldStream | None) -> bytes:
        decision = screened.decision
        if decision.action is Action.REFUSE:
            if decision.cause is Cause.UNDECIDED:
                return refusals.error_stream(guard_unavailable().body())
            return self._refusal_stream(self.exchange.refusal_text(decision), completion.get("usage"))
        if stream is None or screened.rewritten:
            return b"".join(stream_of(screened.body, include_usage=self.include_usage))
        kept = all((c.get("logprobs") is None) for c in completion["choices"])
        return b"".join(stream.released(without_logprobs=kept))

    async def _begin(self, response: web.StreamResponse, answer: Answer) -> None:
        response.headers.update({**answer.headers, **self.exchange.headers(), **_STREAM_HEADERS})
        await response.prepare(self.request)

    def _shadow(self, screener: Any, content: Content, context: list[Passage]) -> None:
        if not screener.has_shadow:
            return

        async def run() -> None:
            verdicts = await screener.shadow(content, context)
            from proxy.records import log_shadow

            log_shadow(self.route.config.name, self.exchange.decision_id(screener.stage), verdicts)

        task = tasks.own(run(), name="shadow")
        self.background.add(task)
        task.add_done_callback(self.background.discard)


_STREAM_HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",
}


async def _collect(segments: AsyncIterator[bytes], decoder: sse.EventDecoder, held: HeldStream) -> None:
    """Feed a stream into ``held`` until ``[DONE]``; nothing after it is read."""
    async for segment in segments:
        for data in decoder.feed(segment):
            held.event(data)
            if held.done:
                return


def _is_too_long(decision: Decision) -> bool:
    failed = {v.error for v in decision.verdicts if v.error is not None and v.action is Action.REFUSE}
    return decision.stage is Stage.INPUT and failed == {ContentTooLong.code}


async def _write(response: web.StreamResponse, data: bytes) -> None:
    try:
        async with asyncio.timeout(WRITE_TIMEOUT_S):
            await response.write(data)
    except TimeoutError:
        raise ConnectionResetError("the client does not read") from None


def _parse_completion(body: bytes) -> dict[str, Any]:
    try:
        raw = parse_json(body)
    except JsonError:
        raise bad_upstream() from None
    if not isinstance(raw, dict) or not isinstance(raw.get("choices"), list) or not raw["choices"]:
        raise bad_upstream()
    return raw


def _read_again(body: dict[str, Any]) -> Content:
    into = Collection(strict=True)
    CHAT_REQUEST.clean(body, (), into)
    return Content(tuple(into.leaves), tuple(into.opaque))

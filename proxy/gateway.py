"""The data port: reads a request, finds its route, hands it on, and puts what happened on record.

Everything that is not one of `ENDPOINTS` is 404 from here; the upstream sees nothing of it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from aiohttp import web
from aiohttp.http import HttpVersion10, HttpVersion11

from proxy import litellm_guardrail, moderations, passthrough, records, refusals
from proxy.api import Api
from proxy.audit.audit import Audit
from proxy.audit.trail import Trail
from proxy.bodies import Body, worked_on
from proxy.chat import ChatApi
from proxy.chat_api import MODEL_LIST
from proxy.completions import CompletionsApi
from proxy.config import Upstream
from proxy.demo import DemoCaller
from proxy.embeddings import EmbeddingsApi
from proxy.errors import (
    HttpError,
    bad_request,
    bad_upstream,
    guard_unavailable,
    no_route,
    not_found,
    too_large,
)
from proxy.exchange import Exchange, screen_object
from proxy.loading.loaded import Loaded, LoadedRoute
from proxy.relay import Relay, header_leaves, run_shadow
from proxy.responses import ResponsesApi
from proxy.review.review import Review
from proxy.review.reviewing import Reviewing
from proxy.routing import Candidate, ambiguous_header, candidates, may_use, select
from proxy.schema import Collection, Misfit
from proxy.server import Request
from proxy.strict_json import JsonError, dump_json, parse_json
from proxy.upstream import Caller, HttpCaller, forwarded_query
from proxy.upstream_errors import upstream_error
from rules.content import Content
from rules.decision import Cause, Decision
from rules.rule import Action, Stage

BODY_TIMEOUT_S = 60.0
"""Longest time that a client may take to send its body."""

_APIS: tuple[Api, ...] = (ChatApi(), CompletionsApi(), ResponsesApi(), EmbeddingsApi())
JUDGED: Mapping[str, Api] = {f"/v1{api.path}": api for api in _APIS}
"""The endpoints that go to an upstream and are judged, by path."""

ENDPOINTS: Mapping[str, str] = {
    **dict.fromkeys(JUDGED, "POST"),
    "/v1/models": "GET",
    moderations.PATH: "POST",
    litellm_guardrail.PATH: "POST",
}
"""All that is served, with its method."""

_CHAT = f"/v1{ChatApi.path}"
_JSON_TYPE = re.compile(r"^application/json\s*(;\s*charset\s*=\s*\"?utf-8\"?\s*)?$", re.IGNORECASE)


class Gateway:
    """Answers the data port by one loaded configuration."""

    def __init__(
        self, loaded: Loaded, metrics: records.Metrics, audit: Audit | None = None, review: Review | None = None
    ) -> None:
        self._loaded = loaded if review is None else review.guarded(loaded)
        self._metrics = metrics
        self._audit = audit
        self._review = review
        self._callers: dict[str, Caller] = {}
        for route in loaded.routes:
            self._callers.setdefault(route.config.upstream, _caller(route.upstream, route.upstream_key))
        self._background: set[asyncio.Task[None]] = set()
        self._n_under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def finish(self) -> None:
        """Wait until the last request and what runs in the background have ended, then close the connections.

        To be called when no request comes any more.
        """
        await self._idle.wait()
        while self._background:
            await asyncio.wait(self._background)
        await self.close()

    async def close(self) -> None:
        """Close all upstream connections and end what runs in the background."""
        for task in list(self._background):
            task.cancel()
        if self._background:
            await asyncio.wait(self._background)
        for caller in self._callers.values():
            await caller.close()

    async def handle(self, request: Request) -> web.StreamResponse:
        """Answer one request; never raises anything but cancellation and a broken connection."""
        self._n_under_way += 1
        self._idle.clear()
        try:
            return await self._handle(request)
        finally:
            self._n_under_way -= 1
            if not self._n_under_way:
                self._idle.set()

    async def _handle(self, request: Request) -> web.StreamResponse:
        exchange = self._exchange()
        status = 499  # the client left before there was an answer
        error: str | None = None
        try:
            try:
                response = await self._answer(request, exchange)
                if not response.prepared:
                    await exchange.answers(response.status)
            except HttpError as e:
                error = _code(e)
                response = await self._error(e, exchange)
            except ConnectionError:
                raise
            except Exception as e:  # whatever went wrong, the content must not pass and the client gets an answer
                records.log.exception("internal_error", request_id=exchange.request_id, error=type(e).__name__)
                failure = HttpError(500, "internal_error", "The proxy failed; nothing was passed on.")
                error = "internal"
                response = await self._error(failure, exchange)
            status = response.status
            return response
        except (asyncio.CancelledError, ConnectionError):
            error = "client_closed"
            raise
        finally:
            self._close(exchange, status, error)

    async def malformed(self) -> dict[str, str]:
        """Put a request that was not HTTP on record; gives the headers of its answer."""
        exchange = self._exchange()
        exchange.refused_locally = True
        with suppress(HttpError):  # what follows refuses anyway
            await exchange.answers(400, "bad_http")
        self._close(exchange, 400, "bad_http")
        return exchange.headers()

    def _exchange(self) -> Exchange:
        trail = Trail(self._audit, self._loaded.configuration) if self._audit is not None else None
        config = self._loaded.config.review
        review = Reviewing(self._review, config.content) if self._review is not None and config is not None else None
        fallback = self._loaded.revision
        return Exchange(endpoint="", metrics=self._metrics, fallback_policy_set=fallback, trail=trail, reviewing=review)

    async def _error(self, error: HttpError, exchange: Exchange) -> web.Response:
        """An answer that is an error; on record like every other, as far as that works."""
        exchange.refused_locally = not error.relayed
        try:
            await exchange.answers(error.status, _code(error))
        except HttpError as e:
            exchange.refused_locally = True
            error = e
        return _error_response(error, exchange)

    def _close(self, exchange: Exchange, status: int, error: str | None) -> None:
        """The exchange is over."""
        exchange.write_record(status, **({"error": error} if error is not None else {}))
        if exchange.trail is not None:
            exchange.trail.close(exchange, status, error or exchange.fault)

    async def _answer(self, request: Request, exchange: Exchange) -> web.StreamResponse:
        _check_http(request)
        path = request.target.partition("?")[0]
        is_mount = path.endswith(litellm_guardrail.PATH)  # takes the route that a chat would take
        asked = path.removesuffix(litellm_guardrail.PATH) + _CHAT if is_mount else path
        matching = candidates(self._loaded.routes, asked)
        if (twice := ambiguous_header(matching, request.headers)) is not None:
            raise HttpError(400, "duplicate_header", f"{twice}: stands there more than once", close=True)
        found = [c for c in matching if c.endpoint in ENDPOINTS]
        if not found:
            return await self._pass_through(request, exchange, matching)
        exchange.endpoint = litellm_guardrail.PATH if is_mount else found[0].endpoint
        wanted = ENDPOINTS[exchange.endpoint]
        if request.method != wanted:
            raise HttpError(405, "method_not_allowed", f"Use {wanted} here.", headers={"Allow": wanted}, close=True)
        if exchange.endpoint == "/v1/models":
            return await self._models(request, exchange, found)
        if exchange.endpoint == moderations.PATH:
            return await self._moderations(request, exchange, found)
        if is_mount:
            return await self._mount(request, exchange, found)
        return await self._judged(request, exchange, found)

    async def _pass_through(
        self, request: Request, exchange: Exchange, matching: list[Candidate]
    ) -> web.StreamResponse:
        """What nobody here reads: 404, unless the route that takes it lists the path."""
        chosen = select(matching, request.headers, None)
        if chosen is None or not passthrough.is_listed(chosen, JUDGED):
            raise not_found(request.method, request.target.partition("?")[0])
        exchange.endpoint, exchange.route = "passthrough", chosen.route
        if request.method not in passthrough.METHODS:
            allowed = ", ".join(passthrough.METHODS)
            raise HttpError(405, "method_not_allowed", f"Use {allowed}.", headers={"Allow": allowed}, close=True)
        body = await _read_body(request, chosen.route.config.max_body_bytes) if request.body_exists else b""
        caller = self._callers[chosen.route.config.upstream]
        return await passthrough.pass_through(request, exchange, chosen.route, caller, chosen.endpoint, body)

    async def _judged(self, request: Request, exchange: Exchange, found: list[Candidate]) -> web.StreamResponse:
        body = await _read_json(request, max(c.route.config.max_body_bytes for c in found))
        model = body.data.get("model")
        if not isinstance(model, str) or not model:
            raise bad_request("missing_field", "model: must be the name of a model", "model")
        chosen = _routed(request, exchange, found, model)
        caller = self._callers[chosen.route.config.upstream]
        api = JUDGED[chosen.endpoint]
        return await Relay(api, exchange, request, chosen.route, caller, self._background).answer(body)

    async def _moderations(self, request: Request, exchange: Exchange, found: list[Candidate]) -> web.Response:
        body = await _read_json(request, max(c.route.config.max_body_bytes for c in found))
        route = _routed(request, exchange, found, moderations.route_model(body.data)).route
        return _answered(exchange, await moderations.moderate(exchange, route, body))

    async def _mount(self, request: Request, exchange: Exchange, found: list[Candidate]) -> web.Response:
        body = await _read_json(request, max(c.route.config.max_body_bytes for c in found))
        raw = body.data
        stage = litellm_guardrail.stage_of(raw)
        route = _routed(request, exchange, found, litellm_guardrail.model_of(raw)).route
        screener = route.at(stage)
        try:
            content = await body.read(lambda raw: litellm_guardrail.read(raw, stage))
        except Misfit:
            exchange.refused_locally = True
            return _answered(exchange, litellm_guardrail.blocked(litellm_guardrail.UNREADABLE))
        run_shadow(self._background, exchange, route.config.name, screener, content, ())
        return _answered(exchange, await litellm_guardrail.apply(exchange, screener, raw, content))

    async def _models(self, request: Request, exchange: Exchange, found: list[Candidate]) -> web.StreamResponse:
        if request.body_exists:
            raise HttpError(400, "unexpected_body", "GET takes no body.", close=True)
        chosen = select(found, request.headers, None)
        if chosen is None:
            raise no_route()
        route = exchange.route = chosen.route
        if (refusal := await self._refused_headers(request, exchange, route)) is not None:
            return refusal
        caller, query = self._callers[route.config.upstream], forwarded_query(request.target)
        async with caller.call("GET", "/models", None, request.headers, query=query) as answer:
            if answer.status != 200:
                raise await upstream_error(exchange, route, answer)
            return await self._listing(exchange, route, await answer.read(route.config.max_body_bytes))

    async def _refused_headers(
        self, request: Request, exchange: Exchange, route: LoadedRoute
    ) -> web.StreamResponse | None:
        """The refusal of a request that has no body, but headers that reach the upstream; None if it may go on."""
        leaves = header_leaves(request)
        if not leaves:
            return None
        content = Content(tuple(leaves))
        given = (await screen_object(exchange, route.input, {}, content, [])).decision
        run_shadow(self._background, exchange, route.config.name, route.input, content, ())
        if given.action is not Action.REFUSE:
            await exchange.releases(Stage.INPUT)
            return None
        return _refused(exchange, given, "headers")

    async def _listing(self, exchange: Exchange, route: LoadedRoute, raw: bytes) -> web.StreamResponse:
        into = Collection(strict=False, hidden=route.upstream_key)
        try:
            body = MODEL_LIST.clean(parse_json(raw), (), into)
        except (JsonError, Misfit):
            raise bad_upstream() from None
        if not isinstance(body, dict) or not isinstance(body.get("data"), list):
            raise bad_upstream()
        screened = await screen_object(exchange, route.output, body, Content(tuple(into.leaves)), [])
        if screened.decision.action is Action.REFUSE:
            return _refused(exchange, screened.decision, None)
        body["data"] = [entry for entry in screened.body["data"] if may_use(route, entry["id"])]
        return _answered(exchange, body)


def _routed(request: Request, exchange: Exchange, found: list[Candidate], model: str | None) -> Candidate:
    """The route that takes a request; it goes on record.

    Raises:
        HttpError: 404 if there is none, 413 if the body is larger than it allows.
    """
    chosen = select(found, request.headers, model)
    if chosen is None:
        raise no_route()
    exchange.route = chosen.route
    limit = chosen.route.config.max_body_bytes
    if (request.content_length or 0) > limit:
        raise too_large(limit)
    return chosen


def _answered(exchange: Exchange, body: dict[str, Any], status: int = 200) -> web.Response:
    return web.Response(
        status=status, body=dump_json(body), content_type="application/json", headers=exchange.headers()
    )


def _refused(exchange: Exchange, decision: Decision, param: str | None) -> web.Response:
    """The refusal where no completion could say it.

    Raises:
        HttpError: 503 when nobody could judge.
    """
    if decision.cause is Cause.UNDECIDED:
        raise guard_unavailable()
    body = refusals.error_body(exchange.refusal_text(decision), decision.policies, exchange.decision_id(), param)
    refusal = _answered(exchange, body, 400)
    refusal.headers.update(refusals.NO_RETRY)
    return refusal


def _caller(config: Upstream, key: str | None) -> Caller:
    return DemoCaller() if config.base_url == "demo" else HttpCaller(config, key)


def _code(error: HttpError) -> str:
    """An error as records name it: an upstream's own code can be content."""
    return "upstream_error" if error.relayed else error.code


def _error_response(error: HttpError, exchange: Exchange) -> web.Response:
    response = web.Response(
        status=error.status,
        body=dump_json(error.body()),
        content_type="application/json",
        headers={**error.headers, **exchange.headers()},
    )
    if error.close:
        response.force_close()
    return response


def _check_http(request: Request) -> None:
    """What aiohttp's parser lets through although two servers could read it differently."""
    if request.version not in (HttpVersion10, HttpVersion11):
        raise HttpError(505, "http_version", "Only HTTP/1.0 and HTTP/1.1 are spoken here.", close=True)
    headers = request.headers
    coding = headers.getall("Transfer-Encoding", ())
    if coding and (list(coding) != ["chunked"] or request.version == HttpVersion10):
        raise HttpError(400, "transfer_encoding", "Transfer-Encoding must be absent or chunked.", close=True)
    encodings = headers.getall("Content-Encoding", ())
    if encodings and any(coding.lower() != "identity" for coding in encodings):
        raise HttpError(415, "content_encoding", "Send the body uncompressed, without Content-Encoding.", close=True)


async def _read_json(request: Request, limit: int) -> Body:
    """The body as one JSON object.

    Raises:
        HttpError: 400, 408, 413, 415 or 417, naming what is wrong.
    """
    types = request.headers.getall("Content-Type", ())
    if len(types) != 1 or not _JSON_TYPE.match(types[0]):
        raise HttpError(415, "content_type", "Content-Type must be application/json (UTF-8).", close=True)
    body = await _read_body(request, limit)
    if not body:
        raise bad_request("empty_body", "The body is empty; send a JSON object.")
    try:
        parsed = await worked_on(len(body), lambda: parse_json(body))
    except JsonError as e:
        raise bad_request(e.code, f"The body cannot be read: {e}") from None
    if not isinstance(parsed, dict):
        raise bad_request("invalid_type", "The body must be a JSON object.")
    return Body(parsed, len(body))


async def _read_body(request: Request, limit: int) -> bytes:
    """The body.

    Raises:
        HttpError: 400, 408, 413 or 417, naming what is wrong.
    """
    if (request.content_length or 0) > limit:
        raise too_large(limit)
    expect = request.headers.get("Expect")
    if expect is not None:
        if expect.lower() != "100-continue":
            raise HttpError(417, "expectation_failed", "Only Expect: 100-continue is known here.", close=True)
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the interim answer is not part of the answer
    body = bytearray()
    try:
        if request.content.is_eof():  # it came with the headers
            body += request.content.read_nowait()
            if len(body) > limit:
                raise too_large(limit)
        else:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                while chunk := await request.content.readany():
                    body += chunk
                    if len(body) > limit:
                        raise too_large(limit)
    except TimeoutError:
        raise HttpError(408, "request_timeout", "The body did not arrive in time.", close=True) from None
    except (web.RequestPayloadError, web.HTTPException):
        raise HttpError(400, "bad_body", "The body is not well-formed HTTP.", close=True) from None
    return bytes(body)

"""Paths that a route lists under ``passthrough``: they reach the upstream unread, and every answer says so.

Nothing is parsed, judged or masked; what crosses is counted as unjudged. Headers go by the same allowlists as everywhere,
besides ``Content-Type``; of the query go the parameters of OpenAI's lists (`QUERY`), which pages hang on, with plain values.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase

from aiohttp import web

from proxy.errors import HttpError, bad_upstream
from proxy.exchange import Exchange
from proxy.loading.loaded import LoadedRoute
from proxy.routing import Candidate
from proxy.server import Request, write
from proxy.upstream import API_QUERY, Caller, forwarded_query
from rules.decision import Decision
from rules.rule import Action, Stage

METHODS = ("GET", "POST", "DELETE")

_PLAIN = re.compile(r"[A-Za-z0-9_.:-]{1,128}", re.ASCII)

QUERY = {
    **dict.fromkeys(("limit", "after", "before", "order", "purpose", "include", "include[]"), _PLAIN),
    **API_QUERY,
}
"""Parameters of a query that cross, with the values that they may have."""

_CONTENT_TYPE = re.compile(r"[A-Za-z0-9.+-]{1,64}/[A-Za-z0-9.+*-]{1,80}(\s*;[ -~]{0,120})?")


def is_listed(candidate: Candidate, judged: Iterable[str]) -> bool:
    """Whether a route lets a path through unread.

    Never one that an upstream could take for an endpoint that is judged here: another spelling of it, one below it, or
    the same behind something else (``/v1/v1/…``, ``/v1/engines/…/completions``, ``/v1/…/deployments/…/embeddings``).
    """
    path = candidate.endpoint.lower()
    if any(path.startswith(known) or f"{known.removeprefix('/v1')}/" in f"{path}/" for known in judged):
        return False
    return any(fnmatchcase(candidate.endpoint, glob) for glob in candidate.route.config.passthrough)


async def pass_through(
    request: Request, exchange: Exchange, route: LoadedRoute, caller: Caller, path: str, body: bytes
) -> web.StreamResponse:
    """Relay a request and its answer.

    Args:
        request: The client's.
        exchange: What goes on record.
        route: Lists the path.
        caller: The route's upstream.
        path: As the route lists it, from ``/v1`` on.
        body: The request's body; empty if it has none.

    Raises:
        HttpError: There is no answer.
    """
    query = forwarded_query(request.target, QUERY)
    crossed = ("passthrough:request", "passthrough:response") if body or query else ("passthrough:response",)
    exchange.decided(Stage.INPUT, Decision(Stage.INPUT, Action.FORWARD, None, (), (), crossed), 0.0)
    given = request.headers.get("Content-Type", "application/octet-stream")
    if body and not _CONTENT_TYPE.fullmatch(given):
        raise HttpError(415, "content_type", "Content-Type cannot be read.", close=True)
    await exchange.releases(Stage.INPUT)
    below = path.removeprefix("/v1")
    async with caller.call(
        request.method, below, body or None, request.headers, content_type=given, query=query
    ) as answer:
        if not (200 <= answer.status < 300 or 400 <= answer.status < 600):
            raise bad_upstream(f"The upstream answered with status {answer.status}.")
        content_type = (
            answer.content_type if _CONTENT_TYPE.fullmatch(answer.content_type) else "application/octet-stream"
        )
        headers = {
            **answer.headers,
            **exchange.headers(),
            "Content-Type": content_type,
            "X-Content-Type-Options": "nosniff",
        }
        response = web.StreamResponse(status=answer.status, headers=headers)
        await response.prepare(request)
        try:
            async for segment in answer.segments:
                await write(response, segment)
        except HttpError:  # the rest of it will not come; a cut connection is the only way to say so
            raise ConnectionResetError("the answer was cut off") from None
        await response.write_eof()
        return response

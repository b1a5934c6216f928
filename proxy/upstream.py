"""Calls to an upstream: one attempt, no redirects, headers and query by allowlist, bounded in bytes and time."""

from __future__ import annotations

import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol
from urllib.parse import parse_qsl, urlencode

import aiohttp
from yarl import URL

from proxy.config import Upstream
from proxy.errors import bad_upstream, upstream_timeout, upstream_unreachable

FORWARDED_REQUEST_HEADERS = ("OpenAI-Organization", "OpenAI-Project", "OpenAI-Beta", "traceparent", "tracestate")
"""Client headers that reach the upstream, besides ``Authorization`` where the route has no key of its own."""

API_QUERY: Mapping[str, re.Pattern[str]] = {
    "api-version": re.compile(r"v[0-9]|[0-9]{4}-[0-9]{2}-[0-9]{2}(?:-preview)?|preview|latest", re.ASCII)
}
"""Parameters of a query that reach the upstream everywhere, with the values that they may have: nobody judges them, so they are
dates and fixed words."""

_MAX_URLS = 100
"""Few paths are ever asked for, unless a route passes others through."""

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")

_KINDS = "limit|remaining|reset|used|requests?|req|tokens?|input|output|prompt|completion|images?|policy|window|after"
_TIMES = "second|minute|hour|day|week|month|query"
_RETURNED = re.compile(rf"retry-after(?:-ms)?|x-ratelimit(?:-(?:{_KINDS}|{_TIMES})){{1,6}}")
"""Built of known words, because a name can spell anything as well as a value."""

_AMOUNT = r"-?[0-9]{1,15}(?:\.[0-9]{1,9})?"
_CLOCK = "[0-9]{2}:[0-9]{2}:[0-9]{2}"
_PLAIN_VALUE = re.compile(
    rf"{_AMOUNT}|(?:{_AMOUNT}(?:ms|us|ns|[smhd])){{1,5}}"  # numbers, and durations as Go writes them: 6m0.5s
    rf"|[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}T{_CLOCK}(?:\.[0-9]{{1,9}})?(?:Z|[+-][0-9]{{2}}:[0-9]{{2}})"
    rf"|(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), [0-9]{{2}} "
    rf"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [0-9]{{4}} {_CLOCK} GMT",
    re.ASCII,
)
"""An amount, a duration or a time (RFC 9110, section 5.6.7; RFC 3339): nobody judges what these headers say."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An upstream's answer whose body has not been read.

    Attributes:
        status: HTTP status.
        content_type: Media type without parameters, lower case.
        headers: What may be passed on to the client.
        segments: The body as it arrives. Raises `HttpError` when it breaks off.
    """

    status: int
    content_type: str
    headers: Mapping[str, str]
    segments: AsyncIterator[bytes] = field(repr=False)

    async def read(self, limit: int) -> bytes:
        """The whole body.

        Raises:
            HttpError: 502 for more than ``limit`` bytes or a body that broke off.
        """
        body = bytearray()
        async for segment in self.segments:
            body += segment
            if len(body) > limit:
                raise bad_upstream("The upstream's answer is too large to be judged.")
        return bytes(body)


class Caller(Protocol):
    """Something that answers like an OpenAI-compatible server."""

    def call(
        self,
        method: str,
        path: str,
        body: bytes | None,
        headers: Mapping[str, str],
        *,
        content_type: str = "application/json",
        query: str = "",
    ) -> AbstractAsyncContextManager[Answer]:
        """One call; leaving the context closes what is still open.

        Args:
            method: HTTP method.
            path: Below the base URL, e.g. ``/chat/completions``.
            body: What is sent, or None.
            headers: The client's, of which only allowed ones are sent.
            content_type: Of the body.
            query: As `forwarded_query` gives it.

        Raises:
            HttpError: 502 or 504 when there is no answer.
        """
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...


def forwarded_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """What of a client's headers reaches an upstream, ``Authorization`` apart."""
    found = {}
    for name in FORWARDED_REQUEST_HEADERS:
        value = headers.get(name)
        if value is None or not value.isascii() or not value.isprintable():
            continue
        if name != "traceparent" or _TRACEPARENT.fullmatch(value):
            found[name] = value
    return found


def forwarded_query(target: str, allowed: Mapping[str, re.Pattern[str]] = API_QUERY) -> str:
    """What of a client's query reaches an upstream.

    Args:
        target: The request target.
        allowed: Parameters by name, each with the values that it may have; the others are dropped.
    """
    given = parse_qsl(target.partition("?")[2], keep_blank_values=True)
    return urlencode([(k, v) for k, v in given if k in allowed and allowed[k].fullmatch(v)], safe=":")


def spoken_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Those of `forwarded_headers` whose values can spell anything, and so are judged."""
    return {name: value for name, value in forwarded_headers(headers).items() if name != "traceparent"}


def returned_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Response headers that a client may see: rate limits and when to try again, if they look like that."""
    found = {}
    for name, value in headers.items():
        name = name.lower()
        if _RETURNED.fullmatch(name) and _PLAIN_VALUE.fullmatch(value):
            found[name] = value
    return found


class HttpCaller:
    """An upstream over HTTP, with its own pool of connections so that a slow one starves no other."""

    def __init__(self, config: Upstream, key: str | None) -> None:
        base = config.base_url
        self._base_url = base if URL(base).path not in ("", "/") else f"{base}/v1"
        self._urls: dict[str, URL] = {}
        self._key = key
        self._config = config
        self._session: aiohttp.ClientSession | None = None
        self._open: set[aiohttp.ClientResponse] = set()

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            c = self._config
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=c.max_connections),
                timeout=aiohttp.ClientTimeout(total=c.timeout_s, connect=c.connect_timeout_s),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                auto_decompress=False,
                skip_auto_headers=("User-Agent",),
            )
        return self._session

    def call(
        self,
        method: str,
        path: str,
        body: bytes | None,
        headers: Mapping[str, str],
        *,
        content_type: str = "application/json",
        query: str = "",
    ) -> AbstractAsyncContextManager[Answer]:
        """See `Caller`."""
        return _Call(partial(self._send, method, path, body, headers, content_type, query), self._open)

    async def _send(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], content_type: str, query: str
    ) -> aiohttp.ClientResponse:
        sent = forwarded_headers(headers)
        sent["Accept-Encoding"] = "identity"
        if self._key is not None:
            sent["Authorization"] = f"Bearer {self._key}"
        elif "Authorization" in headers:
            sent["Authorization"] = headers["Authorization"]
        if body is not None:
            sent["Content-Type"] = content_type
        url = self._urls.get(path)
        if url is None:
            url = URL(self._base_url + path)
            if len(self._urls) < _MAX_URLS:  # reading a URL costs as much as sending the request
                self._urls[path] = url
        if query:
            url = URL(f"{url}?{query}", encoded=True)
        try:
            return await self._client().request(method, url, data=body, headers=sent, allow_redirects=False)
        except TimeoutError:
            raise upstream_timeout() from None
        except (aiohttp.ClientConnectorError, ssl.SSLError):
            raise upstream_unreachable() from None
        except (aiohttp.ClientError, OSError, ValueError, RuntimeError):  # RuntimeError: the service is being stopped
            # never shown: their texts hold URLs and headers with keys
            raise bad_upstream(
                "The upstream closed the connection or answered with something that is not HTTP."
            ) from None

    async def close(self) -> None:
        """See `Caller`. Who reads an answer then finds it broken off; closing the session alone would not tell them."""
        for response in list(self._open):
            response.close()
        if self._session is not None:
            await self._session.close()


class _Call:
    """The time from a request until its answer has been used up.

    A class, because a generator made into a context manager costs as much as sending the headers.
    """

    __slots__ = ("_open", "_response", "_sending")

    def __init__(
        self, sending: Callable[[], Awaitable[aiohttp.ClientResponse]], open_: set[aiohttp.ClientResponse]
    ) -> None:
        self._sending = sending
        self._open = open_

    async def __aenter__(self) -> Answer:
        response = self._response = await self._sending()
        self._open.add(response)
        try:
            headers = response.headers
            if any(coding.lower() != "identity" for coding in headers.getall("Content-Encoding", ())):
                raise bad_upstream("The upstream sent a compressed answer that was not asked for.")
            return Answer(
                response.status, response.content_type.lower(), returned_headers(headers), _segments(response)
            )
        except BaseException:
            self._open.discard(response)
            response.close()
            raise

    async def __aexit__(self, *_: object) -> None:
        response = self._response
        self._open.discard(response)
        response.close() if not response.content.at_eof() else response.release()


async def _segments(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    try:
        async for segment in response.content.iter_any():
            yield segment
    except TimeoutError:
        raise upstream_timeout() from None
    except (aiohttp.ClientError, OSError, ValueError):
        raise bad_upstream("The upstream's answer broke off.") from None

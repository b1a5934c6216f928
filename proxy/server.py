"""aiohttp's low-level server, with what its defaults give away or leave open taken care of.

* Its page for malformed requests quotes the header block, keys included: ours is constant, and nothing of it is logged.
* It has no limit on how long a client may take to send its headers: ours is `HEADERS_TIMEOUT_S`.
* It waits for ever for a client that does not read its answer: ours is cut off after `READ_TIMEOUT_S` without progress.
* It names itself in ``Server``: that header is taken away.
* Handlers are cancelled when their client leaves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import RequestHandler

HEADERS_TIMEOUT_S = 10.0
KEEP_ALIVE_S = 75.0
READ_TIMEOUT_S = 60.0
"""Longest time that a client may take nothing of what waits for it."""

_BAD_REQUEST = (
    '{"error":{"message":"The request is not well-formed HTTP.","type":"invalid_request_error",'
    '"param":null,"code":"bad_http"}}'
)


WRITE_TIMEOUT_S = 60.0
"""Longest time that one piece of an answer may take to be written."""


async def write(response: web.StreamResponse, data: bytes) -> None:
    """Write a piece of an answer that is sent as it comes.

    Raises:
        ConnectionResetError: The client does not read.
    """
    try:
        async with asyncio.timeout(WRITE_TIMEOUT_S):
            await response.write(data)
    except TimeoutError:
        raise ConnectionResetError("the client does not read") from None


class Request(web.BaseRequest):
    """A request whose answer never names the server's software."""

    async def _prepare_hook(self, response: web.StreamResponse) -> None:
        response.headers.popall("Server", None)

    @property
    def target(self) -> str:
        """The request target exactly as it was sent."""
        return self._message.path


class _Malformed(web.Response):
    """The answer to what is no request. Its headers name a decision that must be on record before, which takes a while."""

    more_headers: Callable[[], Awaitable[Mapping[str, str]]] | None = None

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        if self.more_headers is not None and not self.prepared:
            self.headers.update(await self.more_headers())
        return await super().prepare(request)


class _Protocol(RequestHandler):
    __slots__ = ("_headers_deadline", "_read_deadline")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._headers_deadline = asyncio.get_running_loop().call_later(HEADERS_TIMEOUT_S, self._no_request_yet)
        self._read_deadline: asyncio.TimerHandle | None = None

    def connection_lost(self, exc: BaseException | None) -> None:
        self._headers_deadline.cancel()
        self._stop_watching()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_reader(0)

    def resume_writing(self) -> None:
        self._stop_watching()
        super().resume_writing()

    def _watch_reader(self, before: int) -> None:
        """Cut the connection off unless less waits for the client than ``before`` (bytes; 0: the first look)."""
        transport = self.transport
        if transport is None:
            return
        waiting = transport.get_write_buffer_size()
        if before and waiting >= before:
            transport.abort()  # not `close`, which waits until all is sent
            return
        self._read_deadline = asyncio.get_running_loop().call_later(READ_TIMEOUT_S, self._watch_reader, waiting)

    def _stop_watching(self) -> None:
        if self._read_deadline is not None:
            self._read_deadline.cancel()
            self._read_deadline = None

    def _no_request_yet(self) -> None:
        if self._manager is not None and self._current_request is None and not self._request_seen:
            self.force_close()

    @property
    def _request_seen(self) -> bool:
        return bool(self._messages) or self._request_in_progress or self._request_count > 0

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """Answer what the parser refused, in constant words."""
        if request.writer.output_size > 0:
            raise ConnectionError("an answer is under way; the connection is closed")
        response = _Malformed(status=status, text=_BAD_REQUEST, content_type="application/json")
        if isinstance(self._manager, Server):
            response.more_headers = self._manager.malformed
        response.force_close()
        return response

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Say nothing: aiohttp would log the request's raw bytes; the gateway logs what it knows itself."""


class Server(web.Server):
    """A server of one handler; see the top of the file."""

    def __init__(
        self,
        handler: Callable[[Request], Awaitable[web.StreamResponse]],
        malformed: Callable[[], Awaitable[Mapping[str, str]]] | None = None,
    ) -> None:
        """Make a server.

        Args:
            handler: Answers requests.
            malformed: Awaited when something came that is no request; gives the headers of the answer.
        """
        self.malformed = malformed
        super().__init__(
            handler,  # type: ignore[arg-type]  # the request factory below makes them all `Request`s
            request_factory=self._request,
            handler_cancellation=True,
            access_log=None,
            keepalive_timeout=KEEP_ALIVE_S,
            auto_decompress=False,
        )

    def _request(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: RequestHandler,
        writer: AbstractStreamWriter,
        task: asyncio.Task[None],
    ) -> Request:
        return Request(message, payload, protocol, writer, task, self._loop)

    def __call__(self) -> RequestHandler:  # noqa: D102 - one protocol per connection, as in the base class
        return _Protocol(self, loop=self._loop, **self._kwargs)

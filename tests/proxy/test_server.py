"""The server beneath both ports: what aiohttp's defaults leave open."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web

from proxy import server
from proxy.server import Request, Server

Handler = Callable[[Request], Awaitable[web.StreamResponse]]


@contextlib.asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[int]:
    """A server on a port of its own."""
    runner = web.ServerRunner(Server(handler), shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


def client(port: int) -> socket.socket:
    """A connection with a small window that has asked for something."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", port))
    connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    return connection


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_a_client_that_does_not_read_is_cut_off(streamed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "READ_TIMEOUT_S", 0.05)
    answering: asyncio.Future[asyncio.Task[None]] = asyncio.get_running_loop().create_future()

    async def answers(request: Request) -> web.StreamResponse:
        answering.set_result(request.task)
        if not streamed:
            return web.Response(body=bytes(16 << 20))
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(bytes(1 << 16))

    async with serving(answers) as port:
        connection = await asyncio.to_thread(client, port)
        with connection:
            connection_task = await answering
            done, _ = await asyncio.wait({connection_task}, timeout=10)
            assert done, "the connection is still there"


async def test_a_client_that_reads_slowly_gets_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "READ_TIMEOUT_S", 0.05)
    size = 16 << 20

    async def answers(request: Request) -> web.StreamResponse:
        return web.Response(body=bytes(size))

    def read(connection: socket.socket) -> int:
        received = 0
        while received < size and (data := connection.recv(1 << 16)):
            received += len(data)
        return received

    async with serving(answers) as port:
        with await asyncio.to_thread(client, port) as connection:
            received = await asyncio.to_thread(read, connection)
    assert received >= size

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


async def test_a_client_that_takes_something_between_two_looks_gets_everything() -> None:
    size = 16 << 20
    answering: asyncio.Future[server._Protocol] = asyncio.get_running_loop().create_future()

    async def answers(request: Request) -> web.StreamResponse:
        assert isinstance(request.protocol, server._Protocol)
        answering.set_result(request.protocol)
        return web.Response(body=bytes(size))

    received = n_looks = 0

    async def read() -> None:
        nonlocal received
        data = await asyncio.get_running_loop().sock_recv(connection, 1 << 16)
        assert data, "the connection was cut off"
        received += len(data)

    async with serving(answers) as port:
        with await asyncio.to_thread(client, port) as connection:
            connection.setblocking(False)
            protocol = await answering
            while received < size:
                await read()
                assert protocol.transport is not None
                before = waiting = protocol.transport.get_write_buffer_size()
                while waiting and waiting >= before:
                    await read()
                    waiting = protocol.transport.get_write_buffer_size()
                if waiting:  # the timer's turn, as soon as something was taken and no sooner
                    protocol._stop_watching()
                    protocol._watch_reader(before)
                    n_looks += 1
    assert n_looks > 1  # the kernel takes megabytes at a time

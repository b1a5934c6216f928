"""Fixtures of the end-to-end tests: one upstream, guard and proxy per module, scripts reset for every test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest

from tests.end_to_end.servers import (
    LoopThread,
    Proxy,
    ScriptedServer,
    answers_chat,
    judges_mark,
    nobody,
    running,
)


@pytest.fixture(scope="session")
def loop_thread() -> Iterator[LoopThread]:
    thread = LoopThread()
    yield thread
    thread.close()


@pytest.fixture(scope="session")
def upstream_server(loop_thread: LoopThread) -> Iterator[ScriptedServer]:
    server = ScriptedServer(loop_thread, answers_chat)
    yield server
    server.close()


@pytest.fixture(scope="session")
def guard_server(loop_thread: LoopThread) -> Iterator[ScriptedServer]:
    server = ScriptedServer(loop_thread, judges_mark)
    yield server
    server.close()


@pytest.fixture
def upstream(upstream_server: ScriptedServer) -> ScriptedServer:
    """The upstream, with nothing received and its default behaviour."""
    upstream_server.reset()
    return upstream_server


@pytest.fixture
def guard(guard_server: ScriptedServer) -> ScriptedServer:
    """The remote guard, with nothing received and its default behaviour."""
    guard_server.reset()
    return guard_server


@pytest.fixture(scope="session")
def backends(upstream_server: ScriptedServer, guard_server: ScriptedServer) -> Iterator[dict[str, str]]:
    """What a configuration may name as ``${…}``."""
    with nobody() as down_url:
        yield {"UPSTREAM_URL": upstream_server.url, "GUARD_URL": guard_server.url, "DOWN_URL": down_url}


@pytest.fixture(scope="module")
def proxy(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, backends: dict[str, str]
) -> Iterator[Proxy]:
    """The proxy with the module's ``CONFIG``."""
    folder = tmp_path_factory.mktemp(request.module.__name__.rpartition(".")[2])
    with running(request.module.CONFIG, folder, backends) as proxy:
        yield proxy


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """A plain HTTP client."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30), auto_decompress=False) as session:
        yield session

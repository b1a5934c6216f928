"""Configurations that follow each other: each ends with its last request, and a guard with the last that uses it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from proxy.gateway import Gateway
from proxy.generations import Generations
from proxy.loading.loaded import Loaded
from proxy.records import Metrics
from proxy.server import Request
from tests.end_to_end.servers import http_request, parse_http, raw
from tests.fakes import FakeEngine
from tests.proxy.configs import SMALL, load
from tests.proxy.test_reloading import until
from tests.proxy.test_server import serving


class SlowGateway(Gateway):
    """Answers with its name, once it may."""

    def __init__(self, loaded: Loaded, name: str) -> None:
        super().__init__(loaded, Metrics())
        self.name = name
        self.arrived, self.may_end = asyncio.Event(), asyncio.Event()
        self.is_closed = False

    async def _handle(self, request: Request) -> web.StreamResponse:
        self.arrived.set()
        await self.may_end.wait()
        return web.Response(text=self.name)

    async def close(self) -> None:
        self.is_closed = True
        await super().close()


@pytest.fixture
def small(tmp_path: Path) -> Loaded:
    return load(tmp_path, SMALL + "guards: {}\n")


async def ask(port: int) -> str:
    [reply] = parse_http(await raw(port, http_request({})))
    return reply.body.decode()


async def test_a_request_keeps_its_configuration_which_ends_with_it(small: Loaded) -> None:
    shared, own = FakeEngine(), FakeEngine()
    old = SlowGateway(replace(small, engines={"a": shared, "b": own}), "old")
    new = SlowGateway(replace(small, engines={"a": shared}), "new")
    new.may_end.set()
    generations = Generations(old._loaded, old)
    async with serving(generations.handle) as port, asyncio.TaskGroup() as group:
        early = group.create_task(ask(port))
        await old.arrived.wait()
        generations.follow(new._loaded, new)
        assert await ask(port) == "new"
        assert (generations.n_ending, old.is_closed, own.ready) == (1, False, True)
        old.may_end.set()
        assert await early == "old"
        await until(lambda: not generations._tasks)
    assert (generations.n_ending, old.is_closed, new.is_closed) == (0, True, False)
    assert (own.ready, shared.ready) == (False, True)
    await generations.close()
    assert not shared.ready


async def test_a_guard_that_the_current_configuration_gave_up_lives_as_long_as_an_earlier_one(small: Loaded) -> None:
    guard = FakeEngine()
    with_guard = replace(small, engines={"a": guard})
    first, second, third = SlowGateway(with_guard, "1"), SlowGateway(with_guard, "2"), SlowGateway(small, "3")
    generations = Generations(with_guard, first)
    async with serving(generations.handle) as port, asyncio.TaskGroup() as group:
        group.create_task(ask(port))
        await first.arrived.wait()
        generations.follow(with_guard, second)
        generations.follow(small, third)
        await until(lambda: second.is_closed and len(generations._tasks) == 1)
        assert guard.ready
        first.may_end.set()
        await until(lambda: not generations._tasks)
    assert not guard.ready
    await generations.close()


async def test_a_stop_ends_earlier_configurations_too(small: Loaded) -> None:
    guard = FakeEngine()
    old, new = SlowGateway(replace(small, engines={"a": guard}), "old"), SlowGateway(small, "new")
    generations = Generations(old._loaded, old)
    async with serving(generations.handle) as port, asyncio.TaskGroup() as group:
        group.create_task(ask(port))
        await old.arrived.wait()
        generations.follow(small, new)
        await generations.close()
        assert (old.is_closed, new.is_closed, guard.ready) == (True, True, False)
        old.may_end.set()


async def test_what_runs_in_the_background_ends_before_its_configuration(small: Loaded) -> None:
    gateway = Gateway(small, Metrics())
    may_end, seen = asyncio.Event(), []

    async def shadow() -> None:
        await may_end.wait()
        seen.append("judged")

    async with asyncio.TaskGroup() as group:
        task = group.create_task(shadow())
        gateway._background.add(task)
        task.add_done_callback(gateway._background.discard)
        finished = group.create_task(gateway.finish())
        for _ in range(5):
            await asyncio.sleep(0)
        assert not finished.done()
        may_end.set()
    assert seen == ["judged"]

"""Decisions as they come: to everybody who watches, by their filter, and without waiting for who does not read."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson
import pytest

from proxy.audit.store import Filter
from proxy.console import live
from tests.proxy.console.conftest import TOKEN, Shop
from tests.proxy.console.shop import entry, later, record
from tests.proxy.console.test_access import ask, cookie, form_token, origin

LIVE = "/api/decisions/live"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "TICK_S", 0.01)


@asynccontextmanager
async def watching(shop: Shop, query: str = "", **headers: str) -> AsyncIterator[aiohttp.StreamReader]:
    """A stream that has begun."""
    async with shop.client.get(f"{shop.url}{LIVE}{query}", headers=headers) as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert await answer.content.readuntil(b"\n\n") == b": here\n\n"
        yield answer.content


async def event(stream: aiohttp.StreamReader) -> dict[str, Any]:
    """The next row."""
    while True:
        block = await stream.readuntil(b"\n\n")
        if block.startswith(b"id: "):
            found: dict[str, Any] = orjson.loads(block.partition(b"data: ")[2])
            return found


def seq(n: int) -> int:
    return int(record(n)["seq"])


async def test_what_comes_on_record_comes_to_who_watches(shop: Shop) -> None:
    async with watching(shop) as one, watching(shop) as two:
        await shop.keep(entry(record(1, action="flag", policies=["rival-fruit"])))
        for stream in (one, two):
            got = await event(stream)
            assert got["seq"] == seq(1)
            assert '<span class="action flag">flag</span>' in got["row"]


async def test_a_record_that_is_added_to_comes_again_whole(shop: Shop) -> None:
    begun = entry(record(1, state="begun"))
    async with watching(shop) as stream:
        await shop.keep(begun)
        assert "begun" in (await event(stream))["row"]
        await shop.keep(later(begun, state="decided", action="refuse"))
        row = (await event(stream))["row"]
        assert "begun" not in row
        assert "fruit-shop" in row
        assert "refuse" in row


async def test_the_filter_is_that_of_the_page(shop: Shop) -> None:
    async with watching(shop, "?action=refuse&policy=rival-fruit") as stream:
        await shop.keep(entry(record(1)), entry(record(2, action="refuse", policies=["secrets"])))
        await shop.keep(entry(record(3, action="refuse", policies=["rival-fruit"])))
        assert (await event(stream))["seq"] == seq(3)


async def test_nothing_is_missed_between_the_page_and_the_stream_nor_when_it_breaks(shop: Shop) -> None:
    await shop.keep(*(entry(record(n)) for n in (1, 2, 3)))
    async with watching(shop, f"?after={seq(1)}") as stream:
        assert [(await event(stream))["seq"] for _ in range(2)] == [seq(2), seq(3)]
    async with watching(shop, f"?after={seq(1)}", **{"Last-Event-ID": str(seq(2))}) as stream:
        assert (await event(stream))["seq"] == seq(3)


async def test_hostile_words_stay_words_in_a_row(shop: Shop) -> None:
    async with watching(shop) as stream:
        await shop.keep(entry(record(1, route='<script>\n\n"data: x\u202e', policies=["</tr><img src=x>"])))
        row = (await event(stream))["row"]
        assert "<script" not in row
        assert "<img" not in row
        assert "⟨U+202E⟩" in row


async def test_a_hundred_watch_and_one_more_than_allowed_is_told_so(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "MOST_WATCHERS", 100)
    connector = aiohttp.TCPConnector(limit=0)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with aiohttp.ClientSession(connector=connector, headers=headers) as client:
        answers = await asyncio.gather(*(client.get(shop.url + LIVE) for _ in range(100)))
        assert {a.status for a in answers} == {200}
        async with client.get(shop.url + LIVE) as refused:
            assert refused.status == 503
        await asyncio.gather(*(a.content.readuntil(b"\n\n") for a in answers))
        await shop.keep(entry(record(1)))
        assert {(await event(a.content))["seq"] for a in answers} == {seq(1)}
        for answer in answers:
            answer.close()


async def test_who_does_not_read_holds_nobody_up_and_little_memory(shop: Shop) -> None:
    with socket.socket() as silent:
        silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        silent.connect(("127.0.0.1", shop.port))
        head = f"GET {LIVE} HTTP/1.1\r\nHost: 127.0.0.1:{shop.port}\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
        silent.sendall(head.encode())
        async with watching(shop) as stream:
            for n in range(1, 400):
                await shop.keep(entry(record(n, route="r" * 4_000)))
                if n % 10 == 0:
                    await event(stream)
            watchers = shop.admin._console._views._live._watchers  # type: ignore[union-attr]
            assert len(watchers) == 2
            assert all(len(w._events) <= live.MOST_WAITING for w in watchers)


def test_what_a_watcher_does_not_take_in_time_is_left_out_and_counted() -> None:
    async def told() -> bytes:
        watcher = live.Watcher(Filter())
        watcher.take([b"%d\n\n" % n for n in range(live.MOST_WAITING)], 2)
        watcher.take([b"new\n\n"], 0)
        return await watcher.next(1.0)

    sent = asyncio.run(told())
    assert not sent.startswith(b"0\n\n")
    assert sent.endswith(b"new\n\nevent: missed\ndata: 3\n\n")


async def test_of_a_flood_the_last_are_drawn_and_the_others_counted(shop: Shop) -> None:
    async with watching(shop) as stream:
        await shop.keep(*(entry(record(n)) for n in range(200)))
        blocks = [await stream.readuntil(b"\n\n") for _ in range(live.MOST_PER_TICK + 1)]
        assert blocks[-1] == b"event: missed\ndata: %d\n\n" % (200 - live.MOST_PER_TICK)
        assert blocks[-2].startswith(b"id: %d\n" % seq(199))


async def test_when_nothing_happens_the_stream_says_so(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.console.views.KEEP_ALIVE_S", 0.01)
    async with watching(shop) as stream:
        while await stream.readuntil(b"\n\n") != b": nothing new\n\n":
            pass


async def test_a_stream_ends_with_its_session(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.console.views.KEEP_ALIVE_S", 0.01)
    mine = await cookie(shop)
    token = form_token(await ask(shop, "/console", mine))
    headers = {"Cookie": mine.removeprefix("Cookie: ")}
    async with aiohttp.ClientSession(headers=headers) as client, client.get(shop.url + LIVE) as answer:
        await answer.content.readuntil(b"\n\n")
        await ask(shop, "/console/logout", mine, origin(shop), method="POST", form={"form_token": token})
        await answer.content.read()
        assert answer.content.at_eof()


async def test_streams_end_when_the_service_does_and_none_begins_then(shop: Shop) -> None:
    async with watching(shop) as stream:
        await shop.admin.close()
        await stream.read()
    await shop.page(LIVE, status=503)


async def test_nobody_listens_once_nobody_watches_and_somebody_does_again(shop: Shop) -> None:
    assert shop.audit is not None
    for n in (1, 2):
        async with watching(shop) as stream:
            await shop.keep(entry(record(n)))
            await event(stream)
            assert len(shop.audit._subscriptions) == 1
        view = shop.admin._console._views._live
        assert view is not None
        task = view._task
        if task is not None:
            await asyncio.wait({task})
        assert shop.audit._subscriptions == []

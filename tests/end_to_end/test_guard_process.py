"""A guard process that dies or hangs takes one verdict with it and nothing else; SIGTERM drains."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.end_to_end.servers import (
    DONE,
    Proxy,
    ScriptedServer,
    answers_chat,
    chat_body,
    chunk,
    post,
    running,
    text_stream,
)

CONFIG = """
upstreams:
  default: {base_url: "${UPSTREAM_URL}"}
guards:
  embedded: {engine: encoder, model: embedded, threads: 1, timeout_s: 60, max_content_tokens: 1000000}
  short:    {engine: encoder, model: embedded, threads: 1, timeout_s: 60, max_content_tokens: 64}
  hasty:    {engine: encoder, model: embedded, threads: 1, timeout_s: 1, max_content_tokens: 1000000}
default_guard: embedded
policies:
  hate: {file: rules/policies/hate.md}
routes:
  - {name: flag, match: {path: /flag/v1/*}, upstream: default, on_error: flag, input: [{policy: hate, flag: 1.0}]}
  - {name: hasty, match: {path: /hasty/v1/*}, upstream: default, input: [{policy: hate, guard: hasty, flag: 1.0}]}
  - {name: short, match: {path: /short/v1/*}, upstream: default, input: [{policy: hate, guard: short, flag: 1.0}]}
  - {name: default, upstream: default, input: [{policy: hate, flag: 1.0}]}
"""

WEIGHTS = Path(__file__).parents[2] / "models" / "weights" / "embedded.gguf"
pytestmark = pytest.mark.skipif(not WEIGHTS.is_file(), reason="models/weights/embedded.gguf is not here")

LONG = " ".join(
    f"On day {i} the weather was fine and {i * 7919 % 10007} people went out to see it." for i in range(6_000)
)
"""Takes a guard more than thirty seconds of computing."""
QUICKLY_S = 10
"""Much less than that, also on a busy machine."""


async def until(condition: Callable[[], Awaitable[Any]], timeout_s: float = 30.0) -> Any:
    """Poll."""
    async with asyncio.timeout(timeout_s):
        while not (found := await condition()):  # noqa: ASYNC110 - another process cannot set an event
            await asyncio.sleep(0.01)
        return found


async def guards_of(proxy: Proxy, session: aiohttp.ClientSession) -> dict[str, Any]:
    async with session.get(f"{proxy.admin_url}/readyz") as response:
        body = await response.json()
        assert body["ready"] is (response.status == 200)
        guards: dict[str, Any] = body["guards"]
        return guards


async def ready_pid(proxy: Proxy, session: aiohttp.ClientSession, guard: str, not_pid: int = 0) -> int:
    async def pid() -> int:
        found = (await guards_of(proxy, session))[guard]
        return int(found["pid"]) if found["ready"] and found["pid"] != not_pid else 0

    return int(await until(pid))


def cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


async def busy(pid: int) -> None:
    """Wait until a process has computed for a tenth of a second more."""
    start = cpu_ticks(pid)

    async def worked() -> bool:
        return cpu_ticks(pid) > start + 10

    await until(worked)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("route", ["", "/flag"])
async def test_a_killed_guard_takes_one_verdict_along(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession, route: str
) -> None:
    pid = await ready_pid(proxy, session, "embedded")
    url = proxy.url(route) + "/chat/completions"
    doomed = asyncio.ensure_future(post(session, url, chat_body(LONG + route)))  # noqa: TID251 - awaited below
    await busy(pid)
    for i in range(3):  # a long content holds up nobody
        other = await post(session, url, chat_body(f"Hi {i}{route}"))
        assert (other.status, other.headers["x-safeguard-unjudged"]) == (200, "0")
    assert not doomed.done()
    started = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    reply = await doomed
    assert time.monotonic() - started < QUICKLY_S
    if route:
        assert (reply.status, reply.decision, reply.headers["x-safeguard-unjudged"]) == (200, "flag", "1")
    else:
        assert (reply.status, reply.error["code"]) == (503, "guard_unavailable")
        assert int(reply.headers["retry-after"]) > 0
    again = await ready_pid(proxy, session, "embedded", pid)
    assert again != pid
    reply = await post(session, url, chat_body("Hi"))
    assert (reply.status, reply.decision) == (200, "forward")
    assert proxy.process.poll() is None
    assert len(upstream.received) == (5 if route else 4)


async def test_a_stopped_guard_is_replaced(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    pid = await ready_pid(proxy, session, "hasty")
    url = proxy.url("/hasty") + "/chat/completions"
    assert (await post(session, url, chat_body("Hi"))).status == 200
    os.kill(pid, signal.SIGSTOP)
    started = time.monotonic()
    reply = await post(session, url, chat_body("Hello"))
    assert (reply.status, reply.error["code"]) == (503, "guard_unavailable")
    assert 0.9 < time.monotonic() - started < QUICKLY_S
    await ready_pid(proxy, session, "hasty", pid)
    assert not alive(pid)
    assert (await post(session, url, chat_body("Hi"))).status == 200
    other = await post(session, proxy.url() + "/chat/completions", chat_body("Hi"))  # the other guard never noticed
    assert other.status == 200


async def test_a_verdict_past_its_deadline_is_given_up(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    pid = await ready_pid(proxy, session, "hasty")
    url = proxy.url("/hasty") + "/chat/completions"
    started = time.monotonic()
    reply = await post(session, url, chat_body(LONG))
    assert (reply.status, reply.error["code"]) == (503, "guard_unavailable")
    assert time.monotonic() - started < QUICKLY_S
    assert (await post(session, url, chat_body("Hi"))).status == 200
    assert await ready_pid(proxy, session, "hasty") == pid  # it noticed by itself: no need to end it
    assert upstream.wait_received(1)


async def test_a_request_too_long_to_be_judged_is_told_so_and_not_to_try_again(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    await ready_pid(proxy, session, "short")
    url = proxy.url("/short") + "/chat/completions"
    reply = await post(session, url, chat_body("word " * 100))
    assert (reply.status, reply.error["code"]) == (413, "content_too_long")
    assert "retry-after" not in reply.headers
    assert (await post(session, url, chat_body("word"))).status == 200


async def test_a_client_that_leaves_frees_the_guard(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    pid = await ready_pid(proxy, session, "embedded")
    url = proxy.url() + "/chat/completions"
    leaving = asyncio.ensure_future(post(session, url, chat_body(LONG + "x")))  # noqa: TID251 - cancelled below
    await busy(pid)
    leaving.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await leaving
    started = time.monotonic()
    assert (await post(session, url, chat_body("Hi"))).status == 200
    assert time.monotonic() - started < QUICKLY_S
    assert await ready_pid(proxy, session, "embedded") == pid


SMALL = """
upstreams:
  default: {base_url: "${UPSTREAM_URL}"}
guards:
  embedded: {engine: encoder, model: embedded, threads: 1}
policies:
  hate: {file: rules/policies/hate.md}
routes:
  - {name: judged, match: {path: /judged/v1/*}, upstream: default, input: [{policy: hate, flag: 1.0}]}
  - {name: default, upstream: default}
"""


async def test_sigterm_lets_answers_finish(
    upstream: ScriptedServer, backends: dict[str, str], session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    go_on = asyncio.Event()  # of the upstream's loop

    async def slowly(request: Any, received: Any) -> Any:
        if not received.json.get("stream"):
            await go_on.wait()
            return await answers_chat(request, received)
        response = aiohttp.web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(chunk({"role": "assistant", "content": "Hel"}))
        await go_on.wait()
        await response.write(b"".join(text_stream("lo")) + DONE)
        await response.write_eof()
        return response

    upstream.script = slowly
    with running(SMALL, tmp_path, backends) as proxy:
        pid = await ready_pid(proxy, session, "embedded")
        url = proxy.url() + "/chat/completions"
        waiting = [asyncio.ensure_future(post(session, url, chat_body(stream=s))) for s in (False, True)]  # noqa: TID251 - awaited below
        await asyncio.to_thread(upstream.wait_received, 2)
        proxy.signal(signal.SIGTERM)
        await asyncio.to_thread(proxy.wait_log, lambda line: line.get("event") == "stopping")

        async def refused() -> bool:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
            except ConnectionRefusedError:
                return True
            except ConnectionResetError:  # it came while the listener was being closed
                return False
            writer.close()
            return False

        await until(refused)
        async with session.get(f"{proxy.admin_url}/readyz") as response:
            assert response.status == 503
        upstream.loop.call_soon_threadsafe(go_on.set)
        plain, streamed = await asyncio.gather(*waiting)
        assert plain.json["choices"][0]["message"]["content"] == "Hello there."
        assert streamed.text == "Hello"
        assert streamed.events[-1] is None
        await asyncio.to_thread(proxy.ended)
    assert not alive(pid)


async def test_a_killed_proxy_leaves_no_guard_behind(
    backends: dict[str, str], upstream: ScriptedServer, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    with running(SMALL, tmp_path, backends) as proxy:
        pid = await ready_pid(proxy, session, "embedded")
        answer = await post(session, proxy.url("/judged") + "/chat/completions", chat_body("Hi"))
        assert answer.status == 200
        await asyncio.to_thread(proxy.kill)

        async def gone() -> bool:
            return not alive(pid)

        await until(gone, 5)

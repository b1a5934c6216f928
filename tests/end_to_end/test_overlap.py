"""``overlap: true``: the upstream is asked while the request is judged, and nothing comes back before the verdict."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from tests.end_to_end.servers import (
    MARK,
    Proxy,
    Received,
    Script,
    ScriptedServer,
    answers_chat,
    chat_body,
    hangs,
    post,
    replies,
    running,
    verdict,
)

CONFIG = """
admin: {}
upstreams:
  default: {base_url: "${UPSTREAM_URL}"}
guards:
  fleet: {engine: openai, base_url: "${GUARD_URL}", model: m, timeout_s: 10, cache_entries: 0}
policies:
  model: {text: "Content that holds the mark."}
routes:
  - {name: default, upstream: default, overlap: true, input: [{policy: model, refuse: 0.5}]}
"""

TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}


@pytest.fixture(scope="module")
def proxy(backends: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    with running(CONFIG, Path(tmp_path_factory.mktemp("overlap")), backends) as it:
        yield it


@pytest.fixture
def url(proxy: Proxy) -> str:
    return proxy.url() + "/chat/completions"


def once(event: asyncio.Event, script: Script) -> Script:
    """A guard that answers when it is told to."""

    async def waits(request: web.BaseRequest, received: Received) -> web.StreamResponse:
        await event.wait()
        return await script(request, received)

    return waits


async def test_the_upstream_is_asked_before_the_verdict_is_there(
    url: str, upstream: ScriptedServer, guard: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    released = asyncio.Event()
    guard.script = once(released, replies(verdict("0")))
    asked = asyncio.ensure_future(post(session, url, chat_body()))  # noqa: TID251 - awaited below
    await asyncio.to_thread(upstream.wait_received)
    assert not (await asyncio.wait({asked}, timeout=0.2))[0], "an answer came before the verdict"
    guard.loop.call_soon_threadsafe(released.set)
    reply = await asked
    assert (reply.status, reply.decision) == (200, "forward")


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("answers", [hangs, answers_chat], ids=["slow-upstream", "quick-upstream"])
async def test_a_refused_request_gets_nothing_of_the_answer_and_its_call_is_closed(
    url: str,
    proxy: Proxy,
    upstream: ScriptedServer,
    guard: ScriptedServer,
    session: aiohttp.ClientSession,
    stream: bool,
    answers: Script,
) -> None:
    released = asyncio.Event()
    guard.script = once(released, replies(verdict("1")))
    upstream.script = answers
    before = await wasted(proxy, session)
    asked = asyncio.ensure_future(post(session, url, chat_body(MARK, stream=stream)))  # noqa: TID251 - awaited below
    [received] = await asyncio.to_thread(upstream.wait_received)
    guard.loop.call_soon_threadsafe(released.set)
    reply = await asked
    assert (reply.status, reply.error["code"]) == (400, "content_filter")
    assert await wasted(proxy, session) == before + 1
    if answers is hangs:
        assert await asyncio.to_thread(received.gone.wait, 5)


async def wasted(proxy: Proxy, session: aiohttp.ClientSession) -> float:
    async with session.get(f"{proxy.admin_url}/metrics") as response:
        lines = (await response.text()).splitlines()
    found = [line for line in lines if line.startswith("safeguard_wasted_calls_total{")]
    return float(found[0].rsplit(" ", 1)[1]) if found else 0.0


@pytest.mark.parametrize(
    "more",
    [
        pytest.param({"tools": [TOOL]}, id="tools"),
        pytest.param({"functions": [{"name": "f"}]}, id="functions"),
        pytest.param({"web_search_options": {"search_context_size": "low"}}, id="web-search"),
        pytest.param({"web_search_options": {}}, id="web-search-as-it-comes"),
        pytest.param({"search_parameters": {"mode": "on"}}, id="a-field-nobody-knows"),
        pytest.param({"service_tier": "with a tool"}, id="a-word-nobody-knows"),
    ],
)
async def test_what_lets_an_upstream_act_is_judged_first(
    url: str,
    upstream: ScriptedServer,
    guard: ScriptedServer,
    session: aiohttp.ClientSession,
    more: dict[str, object],
) -> None:
    reply = await post(session, url, chat_body(MARK, **more))
    assert (reply.status, upstream.received) == (400, [])


async def test_a_tool_among_the_items_of_a_response_is_judged_first(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    mcp = {"type": "mcp", "server_label": "s", "server_url": "https://example.test/", "require_approval": "never"}
    tools = {"type": "additional_tools", "role": "developer", "tools": [mcp]}
    body = {"model": "m", "input": [tools, {"role": "user", "content": MARK}]}
    reply = await post(session, proxy.url() + "/responses", body)
    assert (reply.status, upstream.received) == (400, [])


async def test_a_guard_that_cannot_decide_does_not_let_the_answer_out(
    url: str, guard: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    guard.script = replies({"no": "verdict"})
    reply = await post(session, url, chat_body())
    assert (reply.status, reply.error["code"]) == (503, "guard_unavailable")


async def test_an_upstream_that_fails_early_is_reported_after_the_verdict(
    url: str, upstream: ScriptedServer, guard: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    upstream.script = replies({}, status=500)
    assert (await post(session, url, chat_body())).status == 500
    assert (await post(session, url, chat_body(MARK))).status == 400

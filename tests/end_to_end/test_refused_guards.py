"""Once one guard's policy refuses, the others are told to stop: a guard process computes no further, a server is left."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.end_to_end.servers import (
    Proxy,
    Received,
    Reply,
    Script,
    ScriptedServer,
    chat_body,
    hangs,
    post,
    replies,
    verdict,
)
from tests.end_to_end.test_guard_process import LONG, WEIGHTS, busy, cpu_ticks, ready_pid

CONFIG = """
upstreams:
  default: {base_url: "${UPSTREAM_URL}"}
guards:
  local: {engine: encoder, model: embedded, threads: 1, timeout_s: 100, max_content_tokens: 1000000}
  fleet: {engine: openai, base_url: "${GUARD_URL}", model: m, timeout_s: 100}
policies:
  hate: {file: rules/policies/hate.md}
  any: {file: rules/policies/hate.md}
  model: {text: "Content that holds the mark."}
routes:
  - name: both
    match: {path: /both/v1/*}
    upstream: default
    input: [{policy: hate, guard: local, flag: 1.0}, {policy: model, guard: fleet, refuse: 0.5}]
  - name: any
    match: {path: /any/v1/*}
    upstream: default
    input: [{policy: model, guard: fleet, flag: 0.5}, {policy: any, guard: local, refuse: 0.0}]
  - {name: local, upstream: default, input: [{policy: hate, guard: local, flag: 1.0}]}
"""
pytestmark = pytest.mark.skipif(not WEIGHTS.is_file(), reason="models/weights/embedded.gguf is not here")

MOST_TICKS = 1000
"""Ten seconds of computing; the whole content takes more than thirty."""


def outcomes(proxy: Proxy, reply: Reply) -> dict[str, str]:
    """By policy, as they stand in the request's record."""
    request_id = reply.headers["x-request-id"]
    line = proxy.wait_log(lambda line: line.get("event") == "request" and line.get("request_id") == request_id)
    return {v["policy"]: v["outcome"] for v in line["input"]["verdicts"]}


def after(released: asyncio.Event, script: Script) -> Script:
    async def waits(request: web.BaseRequest, received: Received) -> web.StreamResponse:
        await released.wait()
        return await script(request, received)

    return waits


async def test_a_guard_process_stops_computing_for_a_request_that_another_guard_refused(
    proxy: Proxy, upstream: ScriptedServer, guard: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    released = asyncio.Event()
    guard.script = after(released, replies(verdict("1")))
    pid = await ready_pid(proxy, session, "local")
    asked = asyncio.ensure_future(post(session, proxy.url("/both") + "/chat/completions", chat_body(LONG[:300_000])))  # noqa: TID251 - awaited below
    await busy(pid)
    before = cpu_ticks(pid)
    guard.loop.call_soon_threadsafe(released.set)
    async with asyncio.timeout(25):
        reply = await asked
    assert (reply.status, reply.error["code"]) == (400, "content_filter")
    assert reply.error["innererror"]["policies"] == ["model"]
    assert outcomes(proxy, reply) == {"hate": "skipped", "model": "refuse"}
    # what waits behind it is judged at once, by the same process
    assert (await post(session, proxy.url() + "/chat/completions", chat_body("Hi"))).status == 200
    assert (cpu_ticks(pid) - before) < MOST_TICKS
    assert await ready_pid(proxy, session, "local") == pid
    assert len(upstream.received) == 1


async def test_a_server_is_left_when_a_guard_process_refused(
    proxy: Proxy, upstream: ScriptedServer, guard: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    guard.script = hangs
    await ready_pid(proxy, session, "local")
    reply = await post(session, proxy.url("/any") + "/chat/completions", chat_body("Good day"))
    assert (reply.status, reply.error["code"]) == (400, "content_filter")
    assert outcomes(proxy, reply) == {"model": "skipped", "any": "refuse"}
    [received] = await asyncio.to_thread(guard.wait_received)
    assert await asyncio.to_thread(received.gone.wait, 10)
    assert upstream.received == []


async def test_a_guard_that_fails_ends_no_other_call(
    proxy: Proxy, upstream: ScriptedServer, guard: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    guard.script = replies({"error": "no"}, status=422)
    pid = await ready_pid(proxy, session, "local")
    body: Any = chat_body("word " * 400)
    reply = await post(session, proxy.url("/both") + "/chat/completions", body)
    assert (reply.status, reply.error["code"]) == (503, "guard_unavailable")
    assert outcomes(proxy, reply) == {"hate": "forward", "model": "error"}
    assert await ready_pid(proxy, session, "local") == pid

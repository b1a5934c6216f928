"""What a llama guard computes for streams and conversations that go on, through the whole proxy, by its own metrics."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Sequence
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from tests.end_to_end.servers import (
    DONE,
    Proxy,
    Received,
    Script,
    ScriptedServer,
    chat_body,
    chunk,
    completion,
    post,
    replies,
)

TINY = Path(__file__).parents[1] / "data" / "tiny-gpt-oss.gguf"
CONFIG = f"""
listen: {{host: 127.0.0.1, port: 0}}
admin: {{host: 127.0.0.1, port: 0}}
upstreams: {{default: {{base_url: "${{UPSTREAM_URL}}/v1"}}}}
guards:
  tiny: {{engine: llama, model: {TINY}, effort: none, n_ctx: 4096, canaries: false, cache_entries: 0}}
  forgets: {{engine: llama, model: {TINY}, effort: none, n_ctx: 4096, canaries: false, cache_entries: 0, max_kept: 0}}
policies: {{fruit: {{text: Content about fruit is a violation.}}}}
routes:
  - name: reads-on
    match: {{path: /on/v1/*}}
    upstream: default
    stream: window
    window_chars: 200
    overlap_chars: 50
    input: [{{policy: fruit, guard: tiny, flag: 1.0}}]
    output: [{{policy: fruit, guard: tiny, flag: 1.0}}]
  - name: reads-again
    match: {{path: /again/v1/*}}
    upstream: default
    stream: window
    window_chars: 200
    overlap_chars: 50
    input: [{{policy: fruit, guard: forgets, flag: 1.0}}]
    output: [{{policy: fruit, guard: forgets, flag: 1.0}}]
"""
SENTENCE = "We walk along the river, past the old mill, until the bell of the village rings {n}. "


async def n_tokens(session: aiohttp.ClientSession, proxy: Proxy, guard: str) -> int:
    async with session.get(f"{proxy.admin_url}/metrics") as answer:
        found = re.search(rf'^safeguard_guard_tokens_total{{guard="{guard}"}} (\S+)$', await answer.text(), re.M)
    assert found is not None
    return int(float(found[1]))


@pytest.fixture
async def ready(proxy: Proxy, session: aiohttp.ClientSession, upstream: ScriptedServer) -> None:
    """Both guards have read their policy."""
    for prefix in ("/on", "/again"):
        assert (await post(session, proxy.url(prefix) + "/chat/completions", chat_body("Hello."))).status == 200


def window_by_window(pieces: Sequence[str], heard: threading.Semaphore) -> Script:
    """An upstream that goes on once the client has heard more, so that each window is judged by itself."""

    async def script(request: web.BaseRequest, received: Received) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for i in range(0, len(pieces), 4):
            for piece in pieces[i : i + 4]:
                await response.write(chunk({"content": piece}))
            assert await asyncio.to_thread(heard.acquire, timeout=30)
        await response.write(chunk({}, finish="stop") + DONE)
        await response.write_eof()
        return response

    return script


@pytest.mark.usefixtures("ready")
async def test_an_answer_in_windows_is_read_once(
    proxy: Proxy, session: aiohttp.ClientSession, upstream: ScriptedServer
) -> None:
    costs = {}
    pieces = [SENTENCE.format(n=n) for n in range(40)]
    for prefix, guard in (("/on", "tiny"), ("/again", "forgets")):
        heard = threading.Semaphore(0)
        upstream.script = window_by_window(pieces, heard)
        before = await n_tokens(session, proxy, guard)
        text = ""
        body = chat_body("Tell me.", stream=True)
        async with session.post(proxy.url(prefix) + "/chat/completions", json=body) as response:
            async for line in response.content:
                if b'"content":"' in line:
                    text += json.loads(line.removeprefix(b"data: "))["choices"][0]["delta"]["content"]
                    heard.release()
        assert text == "".join(pieces)
        costs[guard] = await n_tokens(session, proxy, guard) - before
    n_whole = costs["forgets"]
    assert costs["tiny"] < 0.25 * n_whole, "windows overlap, and at the end the whole is judged once more"


@pytest.mark.usefixtures("ready")
async def test_a_conversation_that_clients_send_whole_costs_its_new_messages(
    proxy: Proxy, session: aiohttp.ClientSession, upstream: ScriptedServer
) -> None:
    costs = {}
    for prefix, guard in (("/on", "tiny"), ("/again", "forgets")):
        before = await n_tokens(session, proxy, guard)
        messages = []
        for n in range(12):
            upstream.script = replies(completion(SENTENCE.format(n=f"and {n}")))
            messages.append({"role": "user", "content": SENTENCE.format(n=n)})
            reply = await post(session, proxy.url(prefix) + "/chat/completions", {"model": "m", "messages": messages})
            assert reply.status == 200
            messages.append({"role": "assistant", "content": SENTENCE.format(n=f"and {n}")})
        costs[guard] = await n_tokens(session, proxy, guard) - before
    assert costs["tiny"] < 0.35 * costs["forgets"]

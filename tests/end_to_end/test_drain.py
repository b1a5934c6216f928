"""What is still under way when the time to finish is over ends with an error, not in the middle of nowhere."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import aiohttp
import pytest

from proxy import app
from proxy.app import build_app
from tests.end_to_end.servers import (
    Reply,
    ScriptedServer,
    chat_body,
    chunk,
    hangs,
    post,
    read_events,
    read_until,
    streams,
)
from tests.proxy.configs import load

CONFIG = """
upstreams:
  default: {base_url: "${UPSTREAM_URL}"}
guards:
  fleet: {engine: openai, base_url: "${GUARD_URL}", model: m, timeout_s: 60}
policies:
  model: {text: "Content that holds the mark."}
routes:
  - {name: judged, match: {path: /judged/v1/*}, upstream: default, input: [{policy: model, refuse: 0.5}]}
  - {name: live, match: {path: /live/v1/*}, upstream: default, stream: deliver_first}
  - {name: default, upstream: default}
"""


async def test_answers_that_do_not_end_in_time_end_with_an_error(
    upstream: ScriptedServer,
    guard: ScriptedServer,
    backends: dict[str, str],
    session: aiohttp.ClientSession,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(app, "DRAIN_S", 0.3)
    guard.script = hangs
    service = build_app(load(tmp_path, "listen: {port: 0}\ndefault_guard: fleet\n" + CONFIG, **backends))
    await service.start()
    url = f"http://127.0.0.1:{service.port}"
    try:
        upstream.script = hangs
        async with asyncio.TaskGroup() as group:
            plain = group.create_task(post(session, f"{url}/v1/chat/completions", chat_body()))
            await asyncio.to_thread(upstream.wait_received, 1)
            judged = group.create_task(post(session, f"{url}/judged/v1/chat/completions", chat_body()))
            await asyncio.to_thread(guard.wait_received, 1)
            upstream.script = streams(chunk({"role": "assistant", "content": "Hello"}), then="hang")
            body = chat_body(stream=True)
            async with session.post(f"{url}/live/v1/chat/completions", json=body) as response:
                begun = await read_until(response, "Hello")
                started = time.monotonic()
                closing = group.create_task(service.close())
                rest = await response.read()
            await closing
            assert time.monotonic() - started < 5
    finally:
        await service.close()
    events = read_events(begun + rest)
    assert events[-1] is None
    assert "error" in events[-2]
    assert _outcome(plain.result()) == (502, "bad_upstream_response")
    assert _outcome(judged.result()) == (503, "guard_unavailable")


def _outcome(reply: Reply) -> tuple[int, str]:
    return reply.status, reply.error["code"]

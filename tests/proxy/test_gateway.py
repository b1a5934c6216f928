"""The data port, as far as it can be told without a process of its own."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from proxy import litellm_guardrail, moderations, strict_json
from proxy.bodies import IN_THREAD_BYTES
from proxy.chat import ChatApi
from proxy.gateway import Gateway
from proxy.records import Metrics
from proxy.server import Server
from tests.proxy.configs import SMALL, load

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
MOUNT = {"input_type": "request", "texts": ["hi"]}


@pytest.mark.parametrize("pad", [0, IN_THREAD_BYTES], ids=["small", "large"])
@pytest.mark.parametrize(
    ("path", "body", "owner", "reader"),
    [
        pytest.param("/v1/chat/completions", CHAT, ChatApi, "read_request", id="chat"),
        pytest.param("/v1/moderations", {"input": "hi"}, moderations, "read", id="moderations"),
        pytest.param(litellm_guardrail.PATH, MOUNT, litellm_guardrail, "read", id="litellm"),
    ],
)
async def test_large_bodies_are_parsed_and_read_off_the_event_loop(
    path: str, body: dict[str, Any], owner: Any, reader: str, pad: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[threading.Thread] = []

    def seen(function: Any) -> Any:
        def call(*args: Any, **more: Any) -> Any:
            threads.append(threading.current_thread())
            return function(*args, **more)

        return call

    monkeypatch.setattr(owner, reader, seen(getattr(owner, reader)))
    monkeypatch.setattr("proxy.gateway.parse_json", seen(strict_json.parse_json))
    gateway = Gateway(load(tmp_path, SMALL), Metrics())
    runner = web.ServerRunner(Server(gateway.handle), shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}{path}"
        data = json.dumps({**body, "metadata": {"k": "x" * pad}})
        headers = {"Content-Type": "application/json"}
        async with aiohttp.ClientSession() as session, session.post(url, data=data, headers=headers) as answer:
            assert answer.status == 200, await answer.text()
    finally:
        await runner.cleanup()
        await gateway.close()
    assert len(threads) == 2
    assert {thread is threading.main_thread() for thread in threads} == {pad == 0}

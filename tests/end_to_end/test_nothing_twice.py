"""A guard in front of which verdicts are remembered, and a guard that has to pass its canaries; both as served."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.end_to_end.servers import (
    MARK,
    Proxy,
    Received,
    Reply,
    ScriptedServer,
    chat_body,
    judges_mark,
    post,
    replies,
    running,
    verdict,
)

CONFIG = """
listen: {port: 0}
admin: {port: 0}
upstreams:
  default: {base_url: "${UPSTREAM_URL}"}
guards:
  fleet: {engine: openai, base_url: "${GUARD_URL}", model: m, timeout_s: 30, cache_entries: 100}
policies:
  one: {text: "Content that holds the mark."}
  two: {file: two.md}
routes:
  - {name: both, match: {path: /both/v1/*}, upstream: default, input: [{policy: one, refuse: 0.5}, {policy: two, flag: 0.5}]}
  - {name: one, match: {path: /one/v1/*}, upstream: default, input: [{policy: one, refuse: 0.5}]}
"""
EXAMPLES = f"""
- {{text: "Here is {MARK}.", stage: input, violates: true}}
- {{text: "Here is nothing.", stage: input, violates: false}}
"""
N_CANARIES = 2


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "two.md").write_text("Content that holds the mark, too.", encoding="utf-8")
    (tmp_path / "two.examples.yaml").write_text(EXAMPLES, encoding="utf-8")
    return tmp_path


@pytest.fixture
def served(
    folder: Path, backends: dict[str, str], guard: ScriptedServer, upstream: ScriptedServer
) -> Iterator[Callable[[], Proxy]]:
    """Starts the proxy once the test has told the guard what to do."""
    managers = []

    def start() -> Proxy:
        manager = running(CONFIG, folder, backends)
        managers.append(manager)
        return manager.__enter__()

    yield start
    for manager in managers:
        manager.__exit__(None, None, None)


async def ask(session: aiohttp.ClientSession, proxy: Proxy, route: str, text: str) -> Reply:
    return await post(session, f"{proxy.url(f'/{route}')}/chat/completions", chat_body(text))


def line_of(proxy: Proxy, reply: Reply) -> list[dict[str, Any]]:
    """The verdicts of a request's log line."""
    request_id = reply.headers["x-request-id"]
    line = proxy.wait_log(lambda line: line.get("event") == "request" and line.get("request_id") == request_id)
    verdicts: list[dict[str, Any]] = line["input"]["verdicts"]
    return verdicts


async def counters(session: aiohttp.ClientSession, proxy: Proxy) -> dict[str, int]:
    async with session.get(f"{proxy.admin_url}/metrics") as response:
        page = await response.text()
    found = re.findall(r'^safeguard_verdict_cache_(\w+)\{guard="fleet"\} (\d+)', page, re.MULTILINE)
    return {name: int(value) for name, value in found}


async def readiness(session: aiohttp.ClientSession, proxy: Proxy) -> tuple[int, dict[str, Any]]:
    async with session.get(f"{proxy.admin_url}/readyz") as response:
        fleet: dict[str, Any] = (await response.json())["guards"]["fleet"]
        return response.status, fleet


async def test_the_same_content_is_judged_once_and_the_record_says_so(
    served: Callable[[], Proxy], guard: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    proxy = served()
    first = await ask(session, proxy, "one", f"Say {MARK}")
    assert [v["cached"] for v in line_of(proxy, first)] == [False]
    again = await ask(session, proxy, "both", f"Say {MARK}")
    assert (first.status, again.status) == (400, 400)
    (one, two) = line_of(proxy, again)
    assert (one["policy"], one["cached"], one["latency_ms"]) == ("one", True, 0)
    assert (two["policy"], two["cached"]) == ("two", False)
    assert len(guard.received) == N_CANARIES + 2
    assert await counters(session, proxy) == {"hits_total": 1, "misses_total": 2, "joins_total": 0, "entries": 2}


async def test_two_clients_with_the_same_question_at_the_same_time_share_one_verdict(
    served: Callable[[], Proxy], guard: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    release = asyncio.Event()

    async def waits(request: web.BaseRequest, received: Received) -> web.StreamResponse:
        if "At once" in received.json["messages"][-1]["content"]:
            await release.wait()
        return await judges_mark(request, received)

    guard.script = waits
    proxy = served()
    both = asyncio.gather(*(ask(session, proxy, "one", f"At once: {MARK}") for _ in range(2)))
    async with asyncio.timeout(10):
        while (await counters(session, proxy))["joins_total"] < 1:  # noqa: ASYNC110 - of another process
            await asyncio.sleep(0.01)
    guard.loop.call_soon_threadsafe(release.set)
    answers = await both
    assert [reply.status for reply in answers] == [400, 400]
    assert len(guard.received) == N_CANARIES + 1
    assert sorted(line_of(proxy, reply)[0]["cached"] for reply in answers) == [False, True]


async def test_a_failed_verdict_is_asked_for_again(
    served: Callable[[], Proxy], guard: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    proxy = served()
    await ask(session, proxy, "one", "Hello")
    guard.script = replies({"error": "no"}, status=422)
    assert (await ask(session, proxy, "one", "Good day")).status == 503
    guard.script = judges_mark
    assert (await ask(session, proxy, "one", "Good day")).status == 200


async def test_a_guard_that_fails_its_canaries_is_not_ready_says_why_and_heals(
    served: Callable[[], Proxy], guard: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    guard.script = replies(verdict("1"))
    proxy = served()
    refused = await ask(session, proxy, "one", "Hello")
    assert (refused.status, refused.error["code"]) == (503, "guard_unavailable")
    status, fleet = await readiness(session, proxy)
    assert (status, fleet["ready"]) == (503, False)
    assert fleet["last_error"].startswith(
        "guard fleet failed its canaries: policy two: its violating canary scored 0.99"
    )
    assert not any("Hello" in received.body.decode() for received in guard.received)
    failed = proxy.wait_log(lambda line: line.get("event") == "canaries_failed")
    assert (failed["guard"], len(failed["complaints"])) == ("fleet", 1)
    guard.script = judges_mark
    await asyncio.to_thread(proxy.wait_log, lambda line: line.get("event") == "canaries_passed")
    assert (await readiness(session, proxy)) == (200, {"ready": True, "model": "m"})
    assert (await ask(session, proxy, "one", "Hello")).status == 200
    assert "Here is" not in proxy.log


def test_a_check_by_hand_is_judged_anew_and_asks_for_no_canaries(
    folder: Path, backends: dict[str, str], guard: ScriptedServer
) -> None:
    file = folder / "config.yaml"
    file.write_text(CONFIG, encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "proxy",
        "check",
        "--config",
        str(file),
        "--json",
        "--route",
        "both",
        f"Say {MARK}",
    ]
    done = subprocess.run(command, env={**os.environ, **backends}, capture_output=True, timeout=60, check=False)
    assert done.returncode == 1, done.stderr
    verdicts = json.loads(done.stdout)["verdicts"]
    assert [(v["policy"], v["outcome"], v["cached"]) for v in verdicts] == [
        ("one", "refuse", False),
        ("two", "flag", False),
    ]
    assert len(guard.received) == 2

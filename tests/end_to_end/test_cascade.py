"""A cascade of two remote guards in the real proxy: what passes, what goes on, and what happens when one of them is gone."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.end_to_end.servers import (
    MARK,
    Proxy,
    Received,
    Reply,
    Script,
    ScriptedServer,
    chat_body,
    post,
    replies,
    verdict,
)

CONFIG = """
admin: {}
upstreams:
  default: {base_url: "${UPSTREAM_URL}"}
guards:
  gate: {engine: openai, api: moderations, base_url: "${GUARD_URL}", model: gate}
  last: {engine: openai, base_url: "${GUARD_URL}", model: last}
  gate-gone: {engine: openai, api: moderations, base_url: "${DOWN_URL}", model: gate}
  last-gone: {engine: openai, base_url: "${DOWN_URL}", model: last}
policies:
  marker: {text: What holds the marker., category: any}
routes:
  - name: last-gone
    match: {path: /last-gone/v1/*}
    upstream: default
    input: [{policy: marker, guard: [gate, last-gone], refuse: 0.5, pass_below: 0.1}]
  - name: first-gone
    match: {path: /first-gone/v1/*}
    upstream: default
    input: [{policy: marker, guard: [gate-gone, last], refuse: 0.5, pass_below: 0.1}]
  - name: both-gone
    match: {path: /both-gone/v1/*}
    upstream: default
    input: [{policy: marker, guard: [gate-gone, last-gone], refuse: 0.5, pass_below: 0.1}]
  - name: default
    upstream: default
    input: [{policy: marker, guard: [gate, last], refuse: 0.5, pass_below: 0.1}]
"""


def gate_says(score: Any, status: int = 200) -> Script:
    """A first guard that says the same to everything; the last one takes the mark for a violation."""

    async def script(request: web.BaseRequest, received: Received) -> web.StreamResponse:
        if received.target.endswith("/moderations"):
            result = {"flagged": False, "category_scores": {"marked": score}}
            return await replies({"results": [result]}, status=status)(request, received)
        holds = MARK in received.json["messages"][-1]["content"]
        return await replies(verdict("1" if holds else "0"))(request, received)

    return script


async def ask(proxy: Proxy, session: aiohttp.ClientSession, text: str, route: str = "") -> Reply:
    return await post(session, proxy.url(route) + "/chat/completions", chat_body(text))


def asked(guard: ScriptedServer) -> list[str]:
    """Which guards were asked, in order."""
    return [received.json["model"] for received in guard.received]


async def test_what_the_first_guard_passes_nobody_else_is_asked_about(
    proxy: Proxy, session: aiohttp.ClientSession, upstream: ScriptedServer, guard: ScriptedServer
) -> None:
    guard.script = gate_says(0.099)
    reply = await ask(proxy, session, f"Hello {MARK}.")
    assert (reply.status, reply.decision, asked(guard)) == (200, "forward", ["gate"])
    assert len(upstream.received) == 1


@pytest.mark.parametrize("score", [0.1, 0.3, 1.0], ids=["at-the-limit", "in-doubt", "sure"])
@pytest.mark.parametrize(("text", "status"), [("Hello.", 200), (f"Hello {MARK}.", 400)], ids=["honest", "violating"])
async def test_what_it_is_in_doubt_about_the_last_guard_decides(
    proxy: Proxy, session: aiohttp.ClientSession, upstream: ScriptedServer, guard: ScriptedServer,
    score: float, text: str, status: int,
) -> None:  # fmt: skip
    guard.script = gate_says(score)
    reply = await ask(proxy, session, text)
    assert (reply.status, asked(guard)) == (status, ["gate", "last"])
    assert len(upstream.received) == (status == 200)
    if status == 400:
        assert reply.error["code"] == "content_filter"
        assert b"gate" not in reply.body


@pytest.mark.parametrize(
    ("score", "answer"),
    [(0.0, 500), ("low", 200), (-1.0, 200), (None, 200), (7, 200)],
    ids=["an-error", "a-word", "below-0", "nothing", "above-1"],
)
@pytest.mark.parametrize(("text", "status"), [("Hello.", 200), (f"Hello {MARK}.", 400)], ids=["honest", "violating"])
async def test_a_first_guard_that_fails_passes_nothing(
    proxy: Proxy, session: aiohttp.ClientSession, upstream: ScriptedServer, guard: ScriptedServer,
    score: Any, answer: int, text: str, status: int,
) -> None:  # fmt: skip
    guard.script = gate_says(score, answer)
    reply = await ask(proxy, session, text)
    assert reply.status == status
    assert asked(guard)[-1] == "last"
    assert len(upstream.received) == (status == 200)


@pytest.mark.parametrize(("text", "status"), [("Hello.", 200), (f"Hello {MARK}.", 400)], ids=["honest", "violating"])
async def test_a_first_guard_that_is_gone_passes_nothing(
    proxy: Proxy, session: aiohttp.ClientSession, upstream: ScriptedServer, guard: ScriptedServer, text: str, status: int
) -> None:  # fmt: skip
    reply = await ask(proxy, session, text, "/first-gone")
    assert (reply.status, asked(guard)) == (status, ["last"])
    assert len(upstream.received) == (status == 200)


async def test_when_the_last_guard_is_gone_what_goes_on_is_closed_and_the_rest_passes(
    proxy: Proxy, session: aiohttp.ClientSession, upstream: ScriptedServer, guard: ScriptedServer
) -> None:
    guard.script = gate_says(0.1)
    reply = await ask(proxy, session, "Hello.", "/last-gone")
    assert (reply.status, reply.error["code"]) == (503, "guard_unavailable")
    assert upstream.received == []
    guard.script = gate_says(0.0)
    assert (await ask(proxy, session, "Hello.", "/last-gone")).status == 200


async def test_when_both_are_gone_nothing_crosses(
    proxy: Proxy, session: aiohttp.ClientSession, upstream: ScriptedServer, guard: ScriptedServer
) -> None:
    reply = await ask(proxy, session, "Hello.", "/both-gone")
    assert (reply.status, reply.error["code"], upstream.received) == (503, "guard_unavailable", [])


def _is_of(request_id: str, line: dict[str, Any]) -> bool:
    return line.get("request_id") == request_id and "input" in line


async def test_log_and_metrics_say_what_the_first_guard_said(
    proxy: Proxy, session: aiohttp.ClientSession, upstream: ScriptedServer, guard: ScriptedServer
) -> None:
    async def counted() -> dict[str, float]:
        async with session.get(f"{proxy.admin_url}/metrics") as response:
            text = await response.text()
        found = re.findall(
            r'^safeguard_cascade_total\{guard="gate",outcome="(\w+)",policy="marker",route="default"\} (\S+)$',
            text,
            re.M,
        )
        return {outcome: float(n) for outcome, n in found}

    before = await counted()
    ids = []
    for score in (0.05, 0.3):
        guard.script = gate_says(score)
        ids.append((await ask(proxy, session, "Hello.")).headers["x-request-id"])
    after = await counted()
    assert {o: after[o] - before.get(o, 0) for o in ("passed", "escalated")} == {"passed": 1, "escalated": 1}
    steps = []
    for request_id in ids:
        line = proxy.wait_log(partial(_is_of, request_id))
        (said,) = line["input"]["verdicts"][0]["cascade"]
        steps.append((said["guard"], said["outcome"], said["score"], said["pass_below"]))
    assert steps == [("gate", "passed", 0.05, 0.1), ("gate", "escalated", 0.3, 0.1)]

"""Replay: decisions of the real proxy, on record with their content, under drafts of its configuration."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.end_to_end.servers import (
    MARK,
    Proxy,
    Received,
    ScriptedServer,
    chat_body,
    judges_mark,
    post,
    replies,
    running,
    verdict,
)

CONFIG = """
upstreams: {{default: {{base_url: demo}}}}
audit: {{store: {store}, path: audit, content: full}}
guards:
  fleet: {{engine: openai, base_url: "${{GUARD_URL}}", model: m, canaries: false}}
policies:
  marker: {{detector: patterns, literals: ["ZQ-MARK-7781"]}}
  fruit: {{text: "About fruit."}}
routes:
  - {{name: quiet, match: {{path: /quiet/v1/*}}, upstream: default, audit_content: none, input: [{{policy: fruit, flag: 0.5}}]}}
  - name: shop
    upstream: default
    input: [{{policy: fruit, flag: 0.5}}, {{policy: marker, flag: 0.5}}]
    output: [{{policy: fruit, flag: 0.5}}]
"""


async def judges_fruit(request: web.BaseRequest, received: Received) -> web.StreamResponse:
    """A guard that takes a policy about apples to be about apples, and any other to be about the mark."""
    policy, shown = (received.json["messages"][i]["content"] for i in (0, -1))
    if "apples" in policy:
        return await replies(verdict("1" if "apples" in shown else "0"))(request, received)
    return await judges_mark(request, received)


@dataclass(slots=True)
class Recorded:
    folder: Path
    environ: dict[str, str]
    ids: dict[str, str]
    """Request ids, by what was asked."""

    def replay(self, *changes: tuple[str, str], args: tuple[str, ...] = ()) -> dict[str, Any]:
        text = (self.folder / "config.yaml").read_text()
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new)
        (self.folder / "draft.yaml").write_text(text)
        command = [sys.executable, "-m", "proxy", "replay", "--json", "--config", str(self.folder / "config.yaml")]
        done = subprocess.run(
            [*command, "--against", str(self.folder / "draft.yaml"), *args],
            cwd=Path(__file__).parents[2],
            env=self.environ,
            capture_output=True,
            timeout=120,
        )
        assert done.returncode in (0, 1), done.stderr.decode()
        found: dict[str, Any] = json.loads(done.stdout)
        return {**found, "code": done.returncode}

    def changes(self, found: dict[str, Any]) -> set[tuple[str, str, str, str]]:
        names = {request_id: name for name, request_id in self.ids.items()}
        return {(names[c["id"].rpartition("-")[0]], c["stage"], c["before"], c["after"]) for c in found["changes"]}


@pytest.fixture(params=["sqlite", "jsonl"])
def recorded(
    request: pytest.FixtureRequest, tmp_path: Path, backends: dict[str, str], guard: ScriptedServer
) -> Recorded:
    guard.script = judges_fruit
    ids: dict[str, str] = {}

    async def ask(proxy: Proxy) -> None:
        async with aiohttp.ClientSession() as session:
            for name, path in (("pears", ""), ("apples", ""), (f"mark {MARK}", ""), ("quiet apples", "/quiet")):
                url = f"http://127.0.0.1:{proxy.port}{path}/v1/chat/completions"
                reply = await post(session, url, chat_body(name))
                ids[name.split()[0]] = reply.headers["x-request-id"]

    with running(CONFIG.format(store=request.param), tmp_path, backends) as proxy:
        asyncio.run(ask(proxy))
    guard.received.clear()
    return Recorded(tmp_path, {**os.environ, **backends}, ids)


def test_replay_says_what_a_draft_would_have_changed_and_nothing_else(
    recorded: Recorded, guard: ScriptedServer
) -> None:
    # a threshold: from recorded scores, without the guard, also for what has no content
    found = recorded.replay(("{policy: marker, flag: 0.5}", "{policy: marker, refuse: 0.5}"))
    assert recorded.changes(found) == {("mark", "input", "flag", "refuse")}
    assert (found["code"], found["judged_anew"], found["replayed"]) == (1, 0, 8)
    assert guard.received == []

    # nothing
    found = recorded.replay()
    assert (found["code"], found["changes"], found["unchanged"]) == (0, [], 8)

    # a policy's text: asked anew where content is kept; the demo upstream repeats what it was told
    found = recorded.replay(("About fruit.", "About apples."))
    assert recorded.changes(found) == {
        ("apples", "input", "forward", "flag"),
        ("apples", "output", "forward", "flag"),
        ("mark", "output", "flag", "forward"),
    }
    assert found["not_replayed"] == {"no_content": 1}
    assert {(p["policy"], p["before"], p["after"]) for p in found["policies"]} == {
        ("fruit", "forward", "flag"),
        ("fruit", "flag", "forward"),
    }
    assert guard.received

    # a route of another name
    found = recorded.replay(("name: shop", "name: store"))
    assert (found["code"], found["routes_gone"]) == (1, {"shop": 6})
    found = recorded.replay(("name: shop", "name: store"), args=("--fail-on", "looser"))
    assert found["code"] == 0


async def test_what_a_client_has_made_stricter_is_not_taken_for_the_route_s_own_decision(
    tmp_path: Path, backends: dict[str, str], guard: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    with running(CONFIG.format(store="sqlite"), tmp_path, backends) as proxy:
        wish = {"model": "any", "policy": {"input": {"mode": "block"}, "output": {"mode": "score"}}}
        body = {**chat_body(f"pears {MARK}"), "moderation": wish}
        reply = await post(session, f"http://127.0.0.1:{proxy.port}/v1/chat/completions", body)
        assert reply.status == 400
        assert (
            await post(session, f"http://127.0.0.1:{proxy.port}/v1/chat/completions", chat_body("pears"))
        ).status == 200
    recorded = Recorded(tmp_path, {**os.environ, **backends}, {})
    found = await asyncio.to_thread(recorded.replay)
    assert (found["changes"], found["replayed"], found["not_replayed"]) == ([], 2, {"stricter": 1})

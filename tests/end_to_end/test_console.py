"""The console of the real proxy: a refused prompt is seen as it is refused, without its words, and nobody who watches holds up the end."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import aiohttp
import pytest

from tests.end_to_end.servers import MARK, ScriptedServer, chat_body, post, running

CONFIG = """
admin: {port: 0, token_env: ADMIN_TOKEN}
upstreams:
  default: {base_url: "${UPSTREAM_URL}"}
audit: {path: audit, content: full}
policies:
  marker: {detector: patterns, literals: ["ZQ-MARK-7781"]}
routes:
  - name: default
    upstream: default
    input: [{policy: marker, refuse: 0.5}]
    output: [{policy: marker, refuse: 0.5}]
"""


@pytest.mark.parametrize("store", ["sqlite", "jsonl"])
async def test_what_is_refused_is_seen_at_once_and_its_words_on_a_click_only(
    tmp_path: Path, backends: dict[str, str], upstream: ScriptedServer, session: aiohttp.ClientSession, store: str
) -> None:
    environ = {**backends, "ADMIN_TOKEN": "sesame"}
    with running(CONFIG.replace("audit: {", f"audit: {{store: {store}, "), tmp_path, environ) as proxy:
        headers = {"Authorization": "Bearer sesame"}
        async with (
            aiohttp.ClientSession(proxy.admin_url, headers=headers) as operator,
            operator.get("/api/decisions/live") as stream,
        ):
            await stream.content.readuntil(b"\n\n")
            refused = await post(session, f"{proxy.url()}/chat/completions", chat_body(f"Hello {MARK}"))
            assert refused.status == 400
            decision_id = refused.headers["x-safeguard-decision-id"]
            row = await stream.content.readuntil(b"\n\n")
            assert decision_id.encode() in row
            assert b"refuse" in row
            async with operator.get(f"/console/decision?id={decision_id}") as answer:
                page = await answer.text()
            assert MARK not in page
            assert "Score 1.000; refuse from 0.5" in page
            async with operator.get(f"/console/decision?id={decision_id}&content=shown") as answer:
                assert MARK in await answer.text()
            async with operator.get("/console/policy?name=marker") as answer:
                assert re.search(r"<title>0.95 to 1.00: 1</title>", await answer.text())
            log = proxy.stop()  # within its time, although somebody watches
            assert MARK not in log
            assert "content_shown" in log
            assert "drain_over" not in log


HOLDS = """
admin: {port: 0}
upstreams:
  default: {base_url: "${UPSTREAM_URL}"}
review: {content: full}
policies:
  marker: {detector: patterns, literals: ["ZQ-MARK-7781"]}
routes:
  - name: default
    upstream: default
    input: [{policy: marker, flag: 0.5, hold: true}]
"""


@pytest.mark.parametrize(("word", "status"), [("overturned", 200), ("upheld", 400)])
async def test_a_request_waits_for_what_a_reviewer_says_in_the_console(
    tmp_path: Path,
    backends: dict[str, str],
    upstream: ScriptedServer,
    session: aiohttp.ClientSession,
    word: str,
    status: int,
) -> None:
    with running(HOLDS, tmp_path, backends) as proxy:
        async with asyncio.TaskGroup() as group:
            answer = group.create_task(post(session, f"{proxy.url()}/chat/completions", chat_body(f"Hello {MARK}")))
            page = ""
            while "The client waits for an answer" not in page:
                async with session.get(f"{proxy.admin_url}/console/review?content=shown") as shown:
                    page = await shown.text()
            assert MARK in page
            fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page))
            form = {**fields, "word": word, "reviewer": "Ana", "note": ""}
            headers = {"Origin": proxy.admin_url}
            async with session.post(f"{proxy.admin_url}/console/review", data=form, headers=headers) as said:
                assert said.status == 200, await said.text()
            assert (await answer).status == status
        assert len(upstream.received) == (status == 200)
        assert MARK not in proxy.stop()

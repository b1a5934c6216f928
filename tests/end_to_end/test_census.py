"""Every path of the data port: judged, answered here, or not there. Nobody else's path reaches the upstream (B19)."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from proxy.gateway import ENDPOINTS, JUDGED
from tests.end_to_end.servers import MARK, Proxy, ScriptedServer, chat_body, post

CONFIG = """
upstreams:
  default: {base_url: "${UPSTREAM_URL}"}
policies:
  marker: {detector: patterns, patterns: ["ZQ-MARK-7781"]}
routes:
  - {name: all, upstream: default, input: [{policy: marker, refuse: 0.5}], output: [{policy: marker, refuse: 0.5}]}
"""

MOUNT = "/beta/litellm_basic_guardrail_api"
REQUESTS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": chat_body(MARK),
    "/v1/completions": {"model": "m", "prompt": MARK},
    "/v1/responses": {"model": "m", "input": MARK},
    "/v1/embeddings": {"model": "m", "input": MARK},
}
"""One request to be refused for every endpoint that goes upstream with text."""

EXEMPT = {
    "/v1/models": "has no body; the list is judged by the output rules",
    "/v1/moderations": "answered here",
    MOUNT: "answered here",
}

NOT_SERVED = [
    "/v1/images/generations", "/v1/images/edits", "/v1/audio/speech", "/v1/audio/transcriptions", "/v1/rerank", "/v2/embed",
    "/v1/messages", "/v1/messages/count_tokens", "/v1/responses/x", "/v1/responses/x/cancel", "/responses", "/chat/completions", "/completions", "/embeddings", "/moderations",
    "/completion", "/embedding", "/infill", "/apply-template", "/tokenize", "/detokenize", "/invocations", "/pooling", "/score",
    "/v1/score", "/v1/completions/render", "/v1/completions/x", "/v1/embeddings/x", "/v1/moderations/x", "/slots", "/lora-adapters",
    "/metrics", "/docs", "/v1/chat/completions/x", "/v1/files", "/v1/batches", "/v1/realtime", "/v1/engines/m/completions",
    "/v1/engines/m/embeddings", "/v1/models/m", "/v1/beta/litellm_basic_guardrail_api", "/beta", "/beta/x",
    "/beta/litellm_basic_guardrail_api/x", "/v1/beta", "/litellm_basic_guardrail_api",
]  # fmt: skip


def test_every_endpoint_is_judged_or_exempt_for_a_reason() -> None:
    assert set(REQUESTS) == set(JUDGED)
    assert set(ENDPOINTS) == {*JUDGED, *EXEMPT}


@pytest.mark.parametrize("path", REQUESTS)
async def test_what_goes_upstream_is_judged(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession, path: str
) -> None:
    reply = await post(session, f"http://127.0.0.1:{proxy.port}{path}", REQUESTS[path])
    assert (reply.status, reply.error["code"]) == (400, "content_filter")
    assert upstream.received == []


@pytest.mark.parametrize("path", ["/v1/moderations", MOUNT])
@pytest.mark.parametrize("text", ["Hi", MARK])
async def test_what_is_answered_here_does_not_reach_the_upstream(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession, path: str, text: str
) -> None:
    body = {"input": text, "input_type": "request", "texts": [text]}
    reply = await post(session, f"http://127.0.0.1:{proxy.port}{path}", body)
    assert reply.status == 200
    assert upstream.received == []


@pytest.mark.parametrize("path", NOT_SERVED)
async def test_nothing_else_is_there(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession, path: str
) -> None:
    reply = await post(
        session, f"http://127.0.0.1:{proxy.port}{path}", {**chat_body(MARK), "prompt": "x", "input": "x"}
    )
    assert (reply.status, reply.error["code"]) == (404, "not_found")
    assert upstream.received == []


@pytest.mark.parametrize("path", [p for p, method in ENDPOINTS.items() if method == "POST"])
async def test_other_methods_are_refused(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession, path: str
) -> None:
    for method in ("GET", "PUT", "DELETE", "PATCH"):
        async with session.request(method, f"http://127.0.0.1:{proxy.port}{path}") as response:
            assert (response.status, response.headers["Allow"]) == (405, "POST")
    assert upstream.received == []

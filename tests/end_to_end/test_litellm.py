"""LiteLLM's guardrail protocol: scripted calls that always run, and a real LiteLLM proxy where there is one.

The real one is looked for as ``$LITELLM`` or ``litellm`` on the path (``pip install 'litellm[proxy]'`` in an environment of its
own), and needs no network.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from secrets import token_hex
from typing import Any

import aiohttp
import openai
import pytest

from tests.end_to_end.servers import (
    MARK,
    Proxy,
    ScriptedServer,
    completion,
    post,
    replies,
)

CONFIG = """
upstreams:
  default: {base_url: "${UPSTREAM_URL}"}
guards:
  fleet: {engine: openai, base_url: "${GUARD_URL}", model: gpt-oss-safeguard-20b, cache_entries: 0}
  down: {engine: openai, base_url: "${DOWN_URL}", model: m}
default_guard: fleet
policies:
  marker: {detector: patterns, literals: ["ZQ-MARK-7781"], refusal_text: "We do not talk about markers."}
  mask: {detector: patterns, literals: ["ZQ-MASK"]}
  model: {text: "Content that holds the mark."}
routes:
  - name: tenant
    match: {headers: {x-tenant: strict}}
    upstream: default
    input: [{policy: mask, refuse: 0.5}]
  - name: mini
    match: {path: /mini/v1/*, models: ["gpt-4o-mini"]}
    upstream: default
  - {name: down, match: {path: /down/v1/*}, upstream: default, input: [{policy: model, guard: down, refuse: 0.5}]}
  - {name: guard, match: {path: /guard/v1/*}, upstream: default, input: [{policy: model, refuse: 0.5}]}
  - name: all
    match: {path: /v1/*}
    upstream: default
    opaque: flag
    input: [{policy: marker, refuse: 0.5}, {policy: mask, rewrite: 0.5}, {policy: model, flag: 0.2, mode: shadow}]
    output: [{policy: marker, refuse: 0.5, scope: [assistant, tool_call]}, {policy: mask, rewrite: 0.5}]
"""

MOUNT = "/beta/litellm_basic_guardrail_api"
TEXT = "We do not talk about markers."


def mount(proxy: Proxy, prefix: str = "") -> str:
    return f"http://127.0.0.1:{proxy.port}{prefix}{MOUNT}"


def call(*texts: str, kind: str = "request", **more: Any) -> dict[str, Any]:
    """What LiteLLM 1.108 sends."""
    return {
        "input_type": kind,
        "litellm_call_id": "c",
        "litellm_trace_id": None,
        "structured_messages": None,
        "images": None,
        "tools": None,
        "texts": list(texts),
        "request_data": {"user_api_key_hash": None},
        "request_headers": {"host": "localhost", "authorization": "[present]"},
        "litellm_version": "1.108.7",
        "additional_provider_specific_params": {},
        "tool_calls": None,
        "model": "gpt-4o",
        **more,
    }


# ------------------------------------------------------------------ the protocol


@pytest.mark.parametrize("kind", ["request", "response"])
async def test_the_three_answers(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession, kind: str
) -> None:
    reply = await post(session, mount(proxy), call("fine", kind=kind))
    assert (reply.status, reply.json, reply.decision) == (200, {"action": "NONE"}, "forward")
    reply = await post(session, mount(proxy), call("fine", f"I say {MARK}", kind=kind))
    assert (reply.status, reply.decision) == (200, "refuse")
    assert reply.json == {"action": "BLOCKED", "blocked_reason": TEXT}
    stage = "input" if kind == "request" else "output"
    assert reply.headers["x-safeguard-decision-id"].endswith(stage)
    reply = await post(session, mount(proxy), call("fine", "I am ZQ-MASK", kind=kind))
    assert (reply.status, reply.decision) == (200, "rewrite")
    assert reply.json == {"action": "GUARDRAIL_INTERVENED", "texts": ["fine", "I am <PATTERN_1>"]}
    assert upstream.received == []


async def test_the_route_is_that_of_a_chat_with_the_same_path_headers_and_model(
    proxy: Proxy, session: aiohttp.ClientSession
) -> None:
    strict = {"x-tenant": "strict"}
    assert (await post(session, mount(proxy), call("ZQ-MASK"), strict)).json["action"] == "BLOCKED"
    assert (await post(session, mount(proxy), call(MARK), strict)).json["action"] == "NONE"
    assert (await post(session, mount(proxy, "/mini"), call(MARK, model="gpt-4o-mini"))).json["action"] == "NONE"
    assert (await post(session, mount(proxy, "/mini"), call(MARK, model=None))).json["action"] == "NONE"
    reply = await post(session, mount(proxy, "/mini"), call(MARK, model="gpt-4o"))
    assert (reply.status, reply.error["code"]) == (404, "no_route")
    reply = await post(session, mount(proxy, "/nowhere"), call(MARK))
    assert (reply.status, reply.error["code"]) == (404, "not_found")


async def test_a_guard_failure_blocks_with_an_answer_that_no_fallback_opens(
    proxy: Proxy, session: aiohttp.ClientSession
) -> None:
    reply = await post(session, mount(proxy, "/down"), call("fine"))
    assert (reply.status, reply.json["action"], reply.decision) == (200, "BLOCKED", "refuse")
    assert "could not be judged" in reply.json["blocked_reason"]


async def test_content_that_cannot_be_read_blocks(proxy: Proxy, session: aiohttp.ClientSession) -> None:
    reply = await post(session, mount(proxy), call("a\x00b"))
    assert (reply.status, reply.json["action"], reply.decision) == (200, "BLOCKED", "refuse")


async def test_images_are_opaque_per_route(proxy: Proxy, session: aiohttp.ClientSession) -> None:
    images = ["https://example.test/a.png", "A" * 400]
    reply = await post(session, mount(proxy), call("fine", images=images))
    assert (reply.json, reply.decision, reply.headers["x-safeguard-unjudged"]) == ({"action": "NONE"}, "flag", "2")
    assert (await post(session, mount(proxy, "/guard"), call("fine", images=images))).json["action"] == "BLOCKED"


async def test_what_is_no_request_of_the_protocol_is_an_error(proxy: Proxy, session: aiohttp.ClientSession) -> None:
    for body, param in (({"texts": ["a"]}, "input_type"), (call(5), "texts"), ({**call(), "model": 5}, "model")):  # type: ignore[arg-type]  # wrong on purpose
        reply = await post(session, mount(proxy), body)
        assert (reply.status, reply.error["param"]) == (400, param)
    assert (await post(session, mount(proxy), b"{")).status == 400


async def test_rules_in_shadow_are_recorded(
    proxy: Proxy, guard: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    reply = await post(session, mount(proxy), call("shadowed"))
    assert reply.json == {"action": "NONE"}
    decision_id = reply.headers["x-safeguard-decision-id"]
    line = proxy.wait_log(lambda line: line.get("event") == "shadow" and line["decision_id"] == decision_id)
    assert line["verdicts"][0]["policy"] == "model"


# ------------------------------------------------------------------ the real one

START_TIMEOUT_S = 120.0
GATEWAY_KEY = f"sk-{token_hex(32)}"
"""Of the one LiteLLM that these tests start; it does not start without a strong one."""


@pytest.fixture(scope="module")
def litellm(proxy: Proxy, tmp_path_factory: pytest.TempPathFactory, backends: dict[str, str]) -> Iterator[str]:
    """A LiteLLM proxy in front of the scripted upstream, with this proxy as its guardrail; its base URL."""
    command = os.environ.get("LITELLM") or shutil.which("litellm")
    if not command:
        pytest.skip("no LiteLLM here: set LITELLM to its command, see the top of the file")
    folder = tmp_path_factory.mktemp("litellm")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    guards = "".join(
        f"""
  - guardrail_name: {name}
    litellm_params:
      guardrail: generic_guardrail_api
      mode: [pre_call, post_call]
      api_base: http://127.0.0.1:{proxy.port}{path}
      unreachable_fallback: fail_open
      default_on: {default}"""
        for name, path, default in (("everywhere", "", "true"), ("down", "/down", "false"))
    )
    (folder / "config.yaml").write_text(
        f"""
model_list:
  - model_name: gpt-4o
    litellm_params: {{model: openai/gpt-4o, api_base: "{backends["UPSTREAM_URL"]}", api_key: sk-none}}
guardrails:{guards}
""",
        encoding="utf-8",
    )
    log = folder / "litellm.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [command, "--config", str(folder / "config.yaml"), "--host", "127.0.0.1", "--port", str(port)],
            cwd=folder,
            env={
                **{k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))},
                "LITELLM_MASTER_KEY": GATEWAY_KEY,
                "LITELLM_LOCAL_MODEL_COST_MAP": "True",
                "LITELLM_TELEMETRY": "False",
                "NO_PROXY": "127.0.0.1",
            },
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_until_up(url, process, log)
        yield url
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)  # it starts workers, and its own shutdown takes long
        process.wait(30)


def _wait_until_up(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with opener.open(f"{url}/health/liveliness", timeout=5) as response:
                if response.status == 200:
                    return
        except OSError:
            time.sleep(0.2)  # nothing announces that another program listens
    raise AssertionError(f"LiteLLM did not start:\n{log.read_text()[-3000:]}")


@pytest.fixture
def gateway(litellm: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{litellm}/v1", api_key=GATEWAY_KEY, max_retries=0) as client:
        yield client


def say(gateway: openai.OpenAI, text: str, **more: Any) -> Any:
    return gateway.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": text}], **more)


@pytest.mark.timeout(180)
def test_a_real_litellm_passes_what_may_pass(gateway: openai.OpenAI, upstream: ScriptedServer) -> None:
    assert say(gateway, "Hi").choices[0].message.content == "Hello there."
    assert len(upstream.received) == 1


def test_a_real_litellm_blocks_a_prompt(gateway: openai.OpenAI, upstream: ScriptedServer) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        say(gateway, f"Say {MARK}")
    assert TEXT in caught.value.response.text
    assert upstream.received == []


def test_a_real_litellm_blocks_an_answer(gateway: openai.OpenAI, upstream: ScriptedServer) -> None:
    upstream.script = replies(completion(f"I say {MARK}"))
    with pytest.raises(openai.APIStatusError) as caught:
        say(gateway, "Hi")
    assert TEXT in caught.value.response.text
    assert MARK not in caught.value.response.text


def test_a_real_litellm_blocks_a_tool_call(gateway: openai.OpenAI, upstream: ScriptedServer) -> None:
    calls = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": f'{{"a": "{MARK}"}}'}}]
    upstream.script = replies(completion("Calling.", tool_calls=calls))
    with pytest.raises(openai.APIStatusError):
        say(gateway, "Hi")


def test_a_real_litellm_masks_on_both_ways(gateway: openai.OpenAI, upstream: ScriptedServer) -> None:
    upstream.script = replies(completion("You are ZQ-MASK."))
    answer = say(gateway, "I am ZQ-MASK.")
    assert upstream.received[0].json["messages"] == [{"role": "user", "content": "I am <PATTERN_1>."}]
    assert answer.choices[0].message.content == "You are <PATTERN_1>."


def test_a_real_litellm_that_fails_open_is_closed_when_our_guard_fails(
    gateway: openai.OpenAI, upstream: ScriptedServer
) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        say(gateway, "Hi", extra_body={"guardrails": ["down"]})
    assert "could not be judged" in caught.value.response.text
    assert upstream.received == []

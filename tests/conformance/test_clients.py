"""Real clients before the real proxy: what an application sees of every way in which an answer can end.

The clients live in environments of their own, which ``make conformance`` creates; without them these tests are skipped.
openai-python is among the ordinary tests (``tests/end_to_end/test_openai_client.py``).
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.end_to_end.servers import (
    MARK,
    LoopThread,
    Proxy,
    Received,
    Script,
    ScriptedServer,
    answers_chat,
    chunk,
    completion,
    judges_mark,
    nobody,
    replies,
    running,
    streams,
    text_stream,
)

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PYTHON = ROOT / ".venv-clients" / "bin" / "python"
TEXT = "We do not talk about markers."
LONG = "Tides come and go, and nobody minds. " * 30
MIDWAY = "broken midway"

CONFIG = """
upstreams:
  default: {base_url: "${UPSTREAM_URL}"}
  unreachable: {base_url: "${DOWN_URL}"}
guards:
  fleet: {engine: openai, base_url: "${GUARD_URL}", model: m}
  down:  {engine: openai, base_url: "${DOWN_URL}", model: m}
default_guard: fleet
policies:
  marker: {detector: patterns, literals: ["ZQ-MARK-7781"], refusal_text: "We do not talk about markers."}
  model:  {text: "Content that holds the mark."}
routes:
  - {name: error, match: {path: /error/v1/*}, upstream: default, stream: window,
     input: [{policy: marker, refuse: 0.5}], output: [{policy: marker, refuse: 0.5}]}
  - {name: message, match: {path: /message/v1/*}, upstream: default, refusal: message, stream: window,
     input: [{policy: marker, refuse: 0.5}], output: [{policy: marker, refuse: 0.5}]}
  - {name: down, match: {path: /down/v1/*}, upstream: default, input: [{policy: model, guard: down, refuse: 0.5}]}
  - {name: judged, match: {path: /judged/v1/*}, upstream: default, stream: window, output: [{policy: model, refuse: 0.5}]}
  - {name: nobody, match: {path: /nobody/v1/*}, upstream: unreachable}
"""


async def upstream_script(request: web.BaseRequest, received: Received) -> web.StreamResponse:
    """What the prompt asks for."""
    asked = received.json
    prompt = asked["messages"][-1]["content"]
    if "fail" in prompt:
        return await replies({"error": {"message": "no"}}, status=500)(request, received)
    text = {"leak": MARK, "leak late": LONG + MARK, MIDWAY: LONG}.get(prompt)
    if text is None:
        return await answers_chat(request, received)
    if not asked.get("stream"):
        return await replies(completion(text))(request, received)
    if prompt == MIDWAY:
        return await streams(chunk({"role": "assistant", "content": text}), then="abort")(request, received)
    pieces = text_stream(*re.findall(r"\S+\s*", text))
    if prompt == "leak late":  # a pause before the mark, in which what stands before it is judged and leaves
        return await paused(pieces, before=3)(request, received)
    return await streams(*pieces)(request, received)


def paused(pieces: list[bytes], before: int) -> Script:
    """A stream that rests for a moment before its last pieces."""

    async def script(request: web.BaseRequest, received: Received) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"".join(pieces[:-before]))
        await asyncio.sleep(0.3)
        await response.write(b"".join(pieces[-before:]))
        return response

    return script


@pytest.fixture(scope="module")
def servers(loop_thread: LoopThread) -> Iterator[dict[str, ScriptedServer]]:
    made = {
        "upstream": ScriptedServer(loop_thread, upstream_script),
        "guard": ScriptedServer(loop_thread, fails_late),
        "unguarded": ScriptedServer(loop_thread, replies(completion("unguarded"))),
    }
    yield made
    for server in made.values():
        server.close()


async def fails_late(request: web.BaseRequest, received: Received) -> web.StreamResponse:
    """A guard that judges the first windows of a stream, then fails."""
    shown = received.json["messages"][-1]["content"]
    if len(shown) > 700:
        return await replies({"no": "verdict"}, status=500)(request, received)
    return await judges_mark(request, received)


@pytest.fixture(scope="module")
def proxy(servers: dict[str, ScriptedServer], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    with nobody() as down_url:
        urls = {"UPSTREAM_URL": servers["upstream"].url, "GUARD_URL": servers["guard"].url, "DOWN_URL": down_url}
        with running(CONFIG, tmp_path_factory.mktemp("conformance"), urls) as it:
            yield it


CLIENTS = {
    "openai-node": ("node", "ask_node.mjs"),
    "langchain": (str(PYTHON), "ask_langchain.py"),
    "litellm": (str(PYTHON), "ask_litellm.py"),
}

Seen = dict[str, Any]


def ask(client: str, questions: list[dict[str, Any]]) -> list[Seen]:
    """Let a client ask everything in one process."""
    command, script = CLIENTS[client]
    folder = HERE / "clients"
    if not shutil.which(command) or (client == "openai-node" and not (folder / "node_modules").is_dir()):
        pytest.skip(f"{client} is not installed: make conformance")
    done = subprocess.run(
        [command, str(folder / script)],
        cwd=folder,
        input=json.dumps(questions),
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
        env={k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "OPENAI_API_KEY")},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    seen: list[Seen] = json.loads(done.stdout.splitlines()[-1])
    return seen


QUESTIONS: dict[str, tuple[str, str, bool]] = {
    "forwarded": ("error", "hello", False),
    "forwarded, streamed": ("error", "hello", True),
    "refused": ("error", MARK, False),
    "refused, streamed": ("error", MARK, True),
    "refused as a message": ("message", MARK, False),
    "refused as a message, streamed": ("message", MARK, True),
    "answer refused": ("error", "leak", False),
    "answer refused, streamed": ("error", "leak", True),
    "answer refused as a message": ("message", "leak", False),
    "answer refused as a message, streamed": ("message", "leak", True),
    "cut midway": ("error", "leak late", True),
    "cut midway as a message": ("message", "leak late", True),
    "guard down": ("down", "hello", False),
    "guard down, streamed": ("down", "hello", True),
    "guard down midway": ("judged", "leak late", True),
    "upstream failed": ("error", "fail", False),
    "upstream failed, streamed": ("error", "fail", True),
    "upstream unreachable": ("nobody", "hello", False),
    "upstream broken midway": ("error", MIDWAY, True),
}


@pytest.fixture(scope="module", params=list(CLIENTS))
def client(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def seen(client: str, proxy: Proxy) -> dict[str, Seen]:
    """What a client's application sees of every question."""
    questions = [
        {"base_url": proxy.url(f"/{route}"), "content": content, "stream": stream}
        for route, content, stream in QUESTIONS.values()
    ]
    return dict(zip(QUESTIONS, ask(client, questions), strict=True))


def test_no_client_ever_sees_the_mark(seen: dict[str, Seen]) -> None:
    assert MARK not in json.dumps(seen)
    assert MARK[:6] not in json.dumps(seen)


@pytest.mark.parametrize("case", ["forwarded", "forwarded, streamed"])
def test_what_passes_arrives(seen: dict[str, Seen], case: str) -> None:
    assert seen[case] == {"text": "Hello there.", "finish": "stop", "error": None}


@pytest.mark.parametrize("case", ["refused", "refused, streamed", "answer refused", "answer refused, streamed"])
def test_a_refusal_is_a_client_error_that_says_what_it_is(client: str, seen: dict[str, Seen], case: str) -> None:
    error = seen[case]["error"]
    assert (seen[case]["text"], error["status"], error["code"]) == ("", 400, "content_filter")
    # LangChain's is a subclass of openai-python's BadRequestError
    kind = {"langchain": "OpenAIInvalidRequestError"}.get(client, "BadRequestError")
    assert error["kind"] == kind


@pytest.mark.parametrize(
    "case",
    [
        "refused as a message",
        "refused as a message, streamed",
        "answer refused as a message",
        "answer refused as a message, streamed",
    ],
)
def test_a_refusal_as_a_message_is_an_answer(seen: dict[str, Seen], case: str) -> None:
    assert seen[case] == {"text": TEXT, "finish": "content_filter", "error": None}


@pytest.mark.parametrize("case", ["cut midway", "cut midway as a message"])
def test_a_stream_that_is_cut_ends_cleanly_with_the_refusal(seen: dict[str, Seen], case: str) -> None:
    got = seen[case]
    assert (got["finish"], got["error"]) == ("content_filter", None)
    begun = got["text"].removesuffix(TEXT)
    assert got["text"].endswith(TEXT)
    assert begun
    assert LONG.startswith(begun)


@pytest.mark.parametrize("case", ["guard down", "guard down, streamed"])
def test_a_guard_outage_is_a_server_error(seen: dict[str, Seen], case: str) -> None:
    assert seen[case]["error"]["status"] == 503


@pytest.mark.parametrize("case", ["guard down midway", "upstream broken midway"])
def test_a_fault_midway_is_never_a_clean_end(seen: dict[str, Seen], case: str) -> None:
    assert seen[case]["error"] is not None


@pytest.mark.parametrize(
    ("case", "status"),
    [("upstream failed", 500), ("upstream failed, streamed", 500), ("upstream unreachable", 502)],
)
def test_an_upstream_outage_keeps_its_class(seen: dict[str, Seen], case: str, status: int) -> None:
    assert seen[case]["error"]["status"] in (status, 500)


def test_a_refusal_as_a_message_survives_a_router_that_falls_back(
    proxy: Proxy, servers: dict[str, ScriptedServer]
) -> None:
    fallback = servers["unguarded"].url
    questions = [
        {"base_url": proxy.url(f"/{route}"), "fallback": fallback, "content": MARK, "stream": False}
        for route in ("message", "error")
    ]
    message, error = ask("litellm", questions)
    assert message == {"text": TEXT, "finish": "content_filter", "error": None}
    # Why `refusal: message` exists: the router takes an error as a reason to ask the model without a guard.
    assert error["text"] == "unguarded"

"""The audit of the real proxy: killed, with a full disk, searched while it is written, and without a word of content."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import io
import json
import os
import random
import resource
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from proxy.audit.opening import reader_of
from proxy.audit.store import Filter, Record
from tests.end_to_end.servers import (
    CLIENT_KEY,
    MARK,
    Proxy,
    Received,
    ScriptedServer,
    chat_body,
    completion,
    post,
    replies,
    running,
    text_stream,
)

ENDLESS = "tag-endless-"
"""What asks the upstream for a stream that does not end."""

KILLS = int(os.environ.get("SAFEGUARD_KILLS", "5"))
"""How often the proxy is killed, per kind of store; ``SAFEGUARD_KILLS=25`` is fifty kills, which take some minutes."""

CONFIG = """
upstreams:
  default: {{base_url: "${{UPSTREAM_URL}}"}}
audit: {{store: {store}, path: audit, content: {content}{more}}}
policies:
  marker: {{detector: patterns, literals: ["ZQ-MARK-7781"]}}
routes:
  - name: window
    match: {{path: /window/v1/*}}
    upstream: default
    stream: window
    window_chars: 10
    overlap_chars: 2
    input: [{{policy: marker, refuse: 0.5}}]
    output: [{{policy: marker, refuse: 0.5}}]
  - name: default
    upstream: default
    input: [{{policy: marker, refuse: 0.5}}]
    output: [{{policy: marker, refuse: 0.5}}]
"""


def config(store: str, *, content: str = "none", more: str = "") -> str:
    return CONFIG.format(store=store, content=content, more=more)


@pytest.fixture(params=["jsonl", "sqlite"])
def store(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def environ(backends: dict[str, str], upstream: ScriptedServer) -> dict[str, str]:
    return backends


def records(folder: Path, **wanted: Any) -> list[Record]:
    reader = reader_of(folder / "audit")
    found = list(reader.query(Filter(**wanted)))
    assert reader.damaged == 0
    return found


# ------------------------------------------------------------------ kill -9


@dataclass(slots=True)
class Ledger:
    """What clients and the upstream have seen."""

    told: set[str] = field(default_factory=set)
    """Decision ids in headers that arrived."""
    heard: set[str] = field(default_factory=set)
    """Requests of whose answer some text arrived."""
    finished: set[str] = field(default_factory=set)
    """Requests whose streamed answer arrived to its end."""
    reached: set[str] = field(default_factory=set)
    """Tags of requests that the upstream was sent."""


async def drips(request: web.BaseRequest, received: Received) -> web.StreamResponse:
    """An upstream that writes its streams as slowly as a fast model."""
    if not received.json.get("stream"):
        return await replies(completion("Hello there."))(request, received)
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    has_no_end = received.json["messages"][0]["content"].startswith(ENDLESS)
    for piece in text_stream(*(f"Piece {i} of it. " for i in range(20))):
        if has_no_end and b"Piece 10" in piece:
            await asyncio.Event().wait()  # until the proxy is gone
        await response.write(piece)
        await asyncio.sleep(0.002)
    await response.write_eof()
    return response


async def hears(session: aiohttp.ClientSession, url: str, ledger: Ledger, heard: asyncio.Event) -> None:
    """One client whose stream is under way when the proxy is killed, however fast the others are."""
    body = chat_body(f"{ENDLESS}{len(ledger.heard)}", stream=True)
    async with session.post(f"{url}/window/v1/chat/completions", json=body) as response:
        ledger.told.add(response.headers["x-safeguard-decision-id"])
        async for piece in response.content.iter_any():
            if b'"content":"' in piece:
                ledger.heard.add(response.headers["x-request-id"])
                heard.set()


async def asks(session: aiohttp.ClientSession, url: str, ledger: Ledger, chance: random.Random) -> None:
    """One client: all kinds of requests, one after the other, until the proxy is gone."""
    while True:
        tag = f"tag-{chance.getrandbits(64):016x}"
        path, body = chance.choice(
            [
                ("/v1/chat/completions", chat_body(tag)),
                ("/window/v1/chat/completions", chat_body(tag, stream=True)),
                ("/v1/chat/completions", chat_body(f"{tag} {MARK}")),
                ("/v1/chat/completions", {"model": "m"}),
                ("/nowhere", {}),
            ]
        )
        async with session.post(url + path, json=body) as response:
            request = response.headers["x-request-id"]
            ledger.told.add(response.headers["x-safeguard-decision-id"])
            data = b""
            async for piece in response.content.iter_any():
                data += piece
                if b'"content":"' in data:
                    ledger.heard.add(request)
            if b"[DONE]" in data:
                ledger.finished.add(request)


@pytest.mark.timeout(600)
async def test_no_kill_loses_a_decision_that_anybody_has_seen(
    store: str, tmp_path: Path, environ: dict[str, str], upstream: ScriptedServer
) -> None:
    ledger = Ledger()
    chance = random.Random(20)
    upstream.script = drips
    found: dict[str, Record] = {}
    for _ in range(KILLS):
        with running(config(store, content="full"), tmp_path, environ) as proxy:
            timeout = aiohttp.ClientTimeout(total=30)
            async with aiohttp.ClientSession(timeout=timeout) as session, asyncio.TaskGroup() as group:
                url, heard = f"http://127.0.0.1:{proxy.port}", asyncio.Event()
                clients = [asks(session, url, ledger, chance) for _ in range(8)]
                tasks = [
                    group.create_task(_until_it_is_gone(c)) for c in (*clients, hears(session, url, ledger, heard))
                ]
                await asyncio.wait_for(heard.wait(), 30)
                await asyncio.wait(tasks, timeout=chance.uniform(0.02, 0.4))
                proxy.process.kill()
            await asyncio.to_thread(proxy.kill)
        found = {r["decision_id"]: r for r in records(tmp_path)}
        assert ledger.told <= found.keys()
    outputs = {r["request_id"]: r for r in found.values() if r["stage"] == "output"}
    assert ledger.heard <= outputs.keys()
    assert {outputs[request]["state"] for request in ledger.finished} <= {"decided"}
    reader = reader_of(tmp_path / "audit")
    kept = [reader.content(r) for r in found.values() if r["stage"] == "input" and "kept" in r]
    seen = {word for c in kept if c is not None for t in c["texts"] for word in t["text"].split() if word[:4] == "tag-"}
    reached = {r.json["messages"][0]["content"] for r in upstream.received}
    assert reached <= seen
    assert min(len(ledger.told), len(reached)) > KILLS, "too little has happened to say anything"
    assert sum(r["state"] == "begun" for r in found.values()) >= KILLS, "streams were not cut by a kill"


async def _until_it_is_gone(work: Any) -> None:
    with contextlib.suppress(aiohttp.ClientError, ConnectionError, asyncio.TimeoutError):
        await work


# ------------------------------------------------------------------ a full disk


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="limits of another process can be set on Linux only")
async def test_a_full_disk_refuses_until_there_is_room_again(
    store: str, tmp_path: Path, environ: dict[str, str], upstream: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    admin = "admin: {port: 0}\n"
    with running(admin + config(store), tmp_path, environ) as proxy:
        assert (await post(session, f"{proxy.url()}/chat/completions", chat_body())).status == 200
        before = records(tmp_path)
        upstream.reset()
        resource.prlimit(proxy.process.pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
        for _ in range(3):
            reply = await post(session, f"{proxy.url()}/chat/completions", chat_body())
            assert (reply.status, reply.error["code"]) == (503, "audit_unavailable")
        assert upstream.received == []
        async with session.get(f"{proxy.admin_url}/readyz") as answer:
            ready = await answer.json()
        assert (answer.status, ready["ready"], ready["audit"]["healthy"]) == (503, False, False)
        assert records(tmp_path) == before
        resource.prlimit(proxy.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        proxy.wait_log(lambda line: line.get("event") == "audit_works_again")
        reply = await post(session, f"{proxy.url()}/chat/completions", chat_body())
        assert reply.status == 200
        async with session.get(f"{proxy.admin_url}/readyz") as answer:
            assert answer.status == 200
        recorded = records(tmp_path, request_id=reply.headers["x-request-id"])
        assert [r["stage"] for r in recorded] == ["output", "input"]
        others = [r for r in records(tmp_path) if r not in (*before, *recorded)]
        # what was refused can still come on record once there is room
        assert {r["error"] for r in others} <= {"audit_unavailable"}


# ------------------------------------------------------------------ no content


def odd_requests() -> Iterator[Any]:
    """Requests with the mark, and a made-up key, wherever something may stand."""
    key = f"key-{MARK}"
    yield chat_body(MARK)
    yield chat_body("Hi", metadata={key: "x"})
    yield chat_body("Hi", **{key: {key: [key]}})
    yield chat_body([{"type": "text", "text": MARK}, {"type": "text", "text": "Hi"}])
    yield chat_body("Hi", user=MARK)
    yield chat_body("Hi", stop=[MARK])
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {key: {}}}}}
    yield chat_body("Hi", tools=[tool])
    yield {"model": MARK, "messages": [{"role": "user", "content": "Hi"}]}
    yield {"model": "m", "messages": [{"role": MARK, "content": "Hi"}]}
    yield {MARK: MARK}
    yield MARK.encode()


async def test_no_content_is_on_disk_unless_it_was_asked_for(
    store: str, tmp_path: Path, environ: dict[str, str], upstream: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    flags = config(store).replace("refuse: 0.5", "flag: 0.5")
    upstream.script = replies(completion(f"You said {MARK}."))
    with running(flags, tmp_path, environ) as proxy:
        for body in odd_requests():
            await post(session, f"{proxy.url()}/chat/completions", body, {"Authorization": f"Bearer {CLIENT_KEY}"})
        async with session.post(f"http://127.0.0.1:{proxy.port}/{MARK}?{MARK}", headers={MARK: MARK}) as answer:
            assert answer.status == 404
    found = records(tmp_path)
    assert sum(len(r.get("findings", ())) for r in found) > 10
    policies = tmp_path / "audit" / "policies.jsonl"
    for file in (tmp_path / "audit").iterdir():
        data = file.read_bytes()
        if file != policies:  # the policy itself names it, and SQLite keeps policies in the same file
            data = data.replace(b'\n    "' + MARK.encode(), b"")
        assert file == policies or MARK.encode() not in data, file.name
        assert CLIENT_KEY.encode() not in data


async def test_content_is_kept_where_it_was_asked_for(
    store: str, tmp_path: Path, environ: dict[str, str], upstream: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    kept = config(store, content="redacted").replace("name: window", "name: window\n    audit_content: none")
    upstream.script = replies(completion("Write to zoe.miller@example.com."))
    with running(kept, tmp_path, environ) as proxy:
        for prefix in ("", "/window"):
            await post(session, f"{proxy.url(prefix)}/chat/completions", chat_body(f"Say {MARK} to a@b.example."))
            await post(session, f"{proxy.url(prefix)}/chat/completions", chat_body("Hello."))
    reader = reader_of(tmp_path / "audit")
    found = list(reader.query(Filter()))
    texts = {(r["route"], t["text"]) for r in found for t in (reader.content(r) or {"texts": ()})["texts"]}
    assert {text for route, text in texts if route == "default"} >= {
        "Say <PATTERN_1> to <EMAIL_1>.",
        "Hello.",
        "Write to <EMAIL_1>.",
    }
    assert not [text for route, text in texts if route == "window"]


# ------------------------------------------------------------------ the command


def audit_command(folder: Path, *args: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "proxy", "audit", "--folder", str(folder / "audit"), *args]
    return subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, timeout=60, check=False)


async def test_the_command_finds_what_clients_were_told_while_the_proxy_writes(
    store: str, tmp_path: Path, environ: dict[str, str], upstream: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    more = ", rotate_mb: 1" if store == "jsonl" else ""
    with running(config(store, more=more), tmp_path, environ) as proxy:
        url = f"{proxy.url()}/chat/completions"
        refused = await post(session, url, chat_body(MARK))
        stop = asyncio.Event()

        async def load() -> None:
            while not stop.is_set():
                await post(session, url, chat_body())

        async with asyncio.TaskGroup() as group:
            group.create_task(load())

            def ask(*args: str) -> Any:
                done = audit_command(tmp_path, *args)
                assert (done.returncode, done.stderr) == (0, b""), done.stderr
                return done.stdout

            by_id = json.loads(
                await asyncio.to_thread(ask, "--json", "--decision", refused.headers["x-safeguard-decision-id"])
            )
            table = (await asyncio.to_thread(ask, "--limit", "3")).decode()
            as_csv = (await asyncio.to_thread(ask, "--csv", "--action", "refuse", "--since", "1h")).decode()
            policy = (await asyncio.to_thread(ask, "policy", by_id[0]["verdicts"][0]["revision"])).decode()
            stop.set()
    (record,) = by_id
    assert (record["action"], record["policies"], record["status"]) == ("refuse", ["marker"], 400)
    assert "older ones: --before" in table
    rows = list(csv.DictReader(io.StringIO(as_csv, newline="")))
    assert [row["decision_id"] for row in rows] == [record["decision_id"]]
    assert rows[0]["scores"] == "marker=1.0"
    assert MARK in policy


async def test_old_policies_stay_readable_after_they_were_changed(
    store: str, tmp_path: Path, environ: dict[str, str], upstream: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    first = config(store)
    for text in (first, first.replace(MARK, "ZQ-MARK-9999")):
        with running(text, tmp_path, environ) as proxy:
            await post(session, f"{proxy.url()}/chat/completions", chat_body())
    found = records(tmp_path, stage="input")
    revisions = [r["verdicts"][0]["revision"] for r in found]
    assert len(set(revisions)) == len({r["configuration"] for r in found}) == 2
    texts = [audit_command(tmp_path, "policy", revision).stdout.decode() for revision in revisions]
    assert ["ZQ-MARK-9999" in text for text in texts] == [True, False]
    assert [MARK in text for text in texts] == [False, True]


def test_a_second_proxy_does_not_write_to_the_same_audit(store: str, tmp_path: Path, environ: dict[str, str]) -> None:
    with running(config(store), tmp_path, environ) as proxy:
        done = _serve_in_vain(tmp_path, environ)
        assert b"another process writes its audit there" in done.stderr
        assert proxy.process.poll() is None


def test_an_audit_that_cannot_be_written_is_one_clear_line(store: str, tmp_path: Path, environ: dict[str, str]) -> None:
    (tmp_path / "audit").write_text("a file in the way")
    (tmp_path / "config.yaml").write_text(config(store))
    done = _serve_in_vain(tmp_path, environ)
    assert done.stderr.decode() == f"{tmp_path}/config.yaml: audit: {tmp_path}/audit: File exists\n"


def _serve_in_vain(folder: Path, environ: dict[str, str]) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "proxy", "serve", "--config", str(folder / "config.yaml"), "--port", "0"]
    root = Path(__file__).parents[2]
    done = subprocess.run(
        command, cwd=root, env={**os.environ, **environ}, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 2
    return done


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        pytest.param(
            ["--config", "missing.yaml"], "missing.yaml: cannot read the configuration", id="no configuration"
        ),
        pytest.param(["--folder", "nowhere"], "audit: nowhere: there is no audit here", id="no audit"),
        pytest.param(["--since", "yesterday"], "must be a time such as", id="no time"),
        pytest.param(["--limit", "0"], "must be a whole number above 0", id="no number"),
        pytest.param(["--csv", "--json", "--folder", "x"], "one of --csv and --json", id="two forms"),
        pytest.param(["--content", "--folder", "x"], "--content belongs to --json", id="content without JSON"),
        pytest.param(["--config", "none.yaml"], "none.yaml: audit: is missing: no records are kept", id="none kept"),
    ],
)
def test_what_cannot_be_asked_is_said_in_one_line(tmp_path: Path, args: list[str], complaint: str) -> None:
    (tmp_path / "none.yaml").write_text(
        "upstreams: {default: {base_url: demo}}\nroutes: [{name: a, upstream: default}]\n"
    )
    command = [sys.executable, "-m", "proxy", "audit", *args]
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, timeout=60, check=False, text=True)
    assert done.returncode == 2
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr


def test_a_stopped_proxy_has_written_everything(
    store: str, tmp_path: Path, environ: dict[str, str], upstream: ScriptedServer
) -> None:
    with running(config(store), tmp_path, environ) as proxy:
        told = asyncio.run(_some_requests(proxy))
    found = {r["decision_id"]: r for r in records(tmp_path)}
    assert told <= found.keys()
    assert all(r["state"] == "decided" for r in found.values())


async def _some_requests(proxy: Proxy) -> set[str]:
    async with aiohttp.ClientSession() as session:
        bodies = [chat_body(stream=i % 2 == 0) for i in range(20)]
        replies = await asyncio.gather(*(post(session, f"{proxy.url()}/chat/completions", body) for body in bodies))
    return {reply.headers["x-safeguard-decision-id"] for reply in replies}

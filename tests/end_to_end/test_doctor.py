"""`safeguard doctor` through gateways that do to refusals what real ones were seen to do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import aiohttp
import pytest
from aiohttp import web

from proxy.doctor import examine
from proxy.probes import Target, expectation, visit
from tests.end_to_end.servers import (
    CLIENT_KEY,
    MARK,
    UPSTREAM_KEY,
    LoopThread,
    Proxy,
    Received,
    Script,
    ScriptedServer,
    completion,
    replies,
    streams,
    text_stream,
)

CONFIG = """
admin: {port: 0, token_env: UPSTREAM_KEY}
upstreams:
  default: {base_url: demo}
policies:
  marker: {detector: patterns, patterns: ["ZQ-MARK-7781"], refusal_text: "We do not talk about markers."}
routes:
  - {name: error, match: {path: /error/v1/*}, upstream: default, input: [{policy: marker, refuse: 0.5}]}
  - name: message
    match: {path: /message/v1/*}
    upstream: default
    refusal: message
    input: [{policy: marker, refuse: 0.5}]
  - {name: open, match: {path: /open/v1/*}, upstream: default}
"""
ROOT = Path(__file__).parents[2]
NOT_CHECKED = {"guard outage": ["outage_not_checked"]}


@pytest.fixture(scope="module")
def gateway_server(loop_thread: LoopThread) -> Iterator[ScriptedServer]:
    server = ScriptedServer(loop_thread, replies({}))
    yield server
    server.close()


@dataclass(slots=True)
class Hop:
    """What safeguard answered to a gateway; the gateway may change it before its client sees it."""

    status: int
    headers: dict[str, str]
    body: bytes = field(repr=False)

    @property
    def is_stream(self) -> bool:
        return self.headers["content-type"].startswith("text/event-stream")

    async def send(self, request: web.BaseRequest, received: Received) -> web.StreamResponse:
        kept = {k: v for k, v in self.headers.items() if k == "content-type" or k.startswith("x-")}
        return web.Response(status=self.status, headers=kept, body=self.body)


Ask: TypeAlias = Callable[[], Awaitable[Hop]]
Gateway: TypeAlias = Callable[[Ask, web.BaseRequest, Received], Awaitable[web.StreamResponse]]


def in_front_of(base_url: str, gateway: Gateway) -> Script:
    async def script(request: web.BaseRequest, received: Received) -> web.StreamResponse:
        async def ask() -> Hop:
            url = base_url + received.target.removeprefix("/v1")
            async with (
                aiohttp.ClientSession() as session,
                session.post(url, data=received.body, headers={"content-type": "application/json"}) as answer,
            ):
                return Hop(answer.status, {k.lower(): v for k, v in answer.headers.items()}, await answer.read())

        return await gateway(ask, request, received)

    return script


async def unguarded(request: web.BaseRequest, received: Received) -> web.StreamResponse:
    """A model that answers everything."""
    if received.json.get("stream"):
        return await streams(*text_stream("Sure, ", "here it is."))(request, received)
    return await replies(completion("Sure, here it is."))(request, received)


async def passes_through(ask: Ask, request: web.BaseRequest, received: Received) -> web.StreamResponse:
    return await (await ask()).send(request, received)


async def falls_back(ask: Ask, request: web.BaseRequest, received: Received) -> web.StreamResponse:
    hop = await ask()
    return await (unguarded if hop.status >= 400 else hop.send)(request, received)


async def falls_back_for_streams(ask: Ask, request: web.BaseRequest, received: Received) -> web.StreamResponse:
    hop = await ask()
    return await (unguarded if hop.status >= 400 and received.json["stream"] else hop.send)(request, received)


async def retries(ask: Ask, request: web.BaseRequest, received: Received) -> web.StreamResponse:
    hop = await ask()
    for _ in range(2):
        if hop.status >= 400:
            hop = await ask()
    return await hop.send(request, received)


async def drops_done(ask: Ask, request: web.BaseRequest, received: Received) -> web.StreamResponse:
    hop = await ask()
    hop.body = hop.body.replace(b"data: [DONE]\n\n", b"")
    return await hop.send(request, received)


async def adds_event_names(ask: Ask, request: web.BaseRequest, received: Received) -> web.StreamResponse:
    hop = await ask()
    if hop.is_stream:
        hop.body = b"event: start\ndata: {}\n\n" + hop.body
    return await hop.send(request, received)


async def says_stop(ask: Ask, request: web.BaseRequest, received: Received) -> web.StreamResponse:
    hop = await ask()
    hop.body = hop.body.replace(b'"content_filter"', b'"stop"')
    return await hop.send(request, received)


async def strips_headers(ask: Ask, request: web.BaseRequest, received: Received) -> web.StreamResponse:
    hop = await ask()
    hop.headers = {"content-type": hop.headers["content-type"]}
    return await hop.send(request, received)


async def makes_faults(ask: Ask, request: web.BaseRequest, received: Received) -> web.StreamResponse:
    hop = await ask()
    hop.status = 500 if hop.status >= 400 else hop.status
    return await hop.send(request, received)


async def streams_errors(ask: Ask, request: web.BaseRequest, received: Received) -> web.StreamResponse:
    hop = await ask()
    if hop.status >= 400 and received.json["stream"]:
        hop.headers["content-type"] = "text/event-stream"
        hop.body = b"data: " + hop.body + b"\n\n"
    return await hop.send(request, received)


async def hides_code(ask: Ask, request: web.BaseRequest, received: Received) -> web.StreamResponse:
    hop = await ask()
    hop.body = hop.body.replace(b'"code":"content_filter"', b'"code":"400"')
    return await hop.send(request, received)


async def breaks_off(ask: Ask, request: web.BaseRequest, received: Received) -> web.StreamResponse:
    hop = await ask()
    if hop.status >= 400:
        assert request.transport is not None
        request.transport.close()
        raise ConnectionResetError
    return await hop.send(request, received)


async def bypasses_safeguard(ask: Ask, request: web.BaseRequest, received: Received) -> web.StreamResponse:
    return await unguarded(request, received)


def doctor(*options: str, code: int, environ: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "proxy", "doctor", "--model", "demo", *options],
        cwd=ROOT,
        env={**os.environ, "CLIENT_KEY": CLIENT_KEY, **(environ or {})},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    for unsaid in (CLIENT_KEY, MARK, "Sure", "Traceback"):
        assert unsaid not in done.stdout + done.stderr
    return done


@dataclass(frozen=True, slots=True)
class Case:
    gateway: Gateway
    route: str
    code: int
    advice: str | None
    findings: dict[str, list[str]]
    """What is not well, by check."""


BOTH = ("plain refusal", "streamed refusal")
CASES = {
    "passes through, error": Case(passes_through, "error", 0, "error", {}),
    "passes through, message": Case(passes_through, "message", 0, "message", {}),
    "falls back": Case(falls_back, "error", 1, "message", {c: ["bypassed"] for c in BOTH}),
    "falls back, but not on messages": Case(falls_back, "message", 0, "message", {}),
    "falls back for streams": Case(falls_back_for_streams, "error", 1, "message", {"streamed refusal": ["bypassed"]}),
    "retries": Case(retries, "error", 1, "message", {"retries": ["retried"]}),
    "does not retry messages": Case(retries, "message", 0, "message", {}),
    "drops [DONE], error": Case(drops_done, "error", 1, "error", {"streamed answer": ["no_done"]}),
    "drops [DONE], message": Case(
        drops_done, "message", 1, None, {"streamed answer": ["no_done"], "streamed refusal": ["no_done"]}
    ),
    "adds event names": Case(
        adds_event_names,
        "message",
        1,
        None,
        {c: ["named_events", "empty_first_chunk"] for c in ("streamed answer", "streamed refusal")},
    ),
    "says stop": Case(says_stop, "message", 1, None, {c: ["finish_reason_changed"] for c in BOTH}),
    "strips headers": Case(strips_headers, "error", 0, "error", {"headers": ["headers_lost", "retry_header_lost"]}),
    "makes faults": Case(makes_faults, "error", 1, "message", {c: ["status_changed"] for c in BOTH}),
    "streams errors": Case(streams_errors, "error", 1, "message", {"streamed refusal": ["error_as_stream"]}),
    "hides the code": Case(hides_code, "error", 1, "message", {c: ["code_changed"] for c in BOTH}),
    "breaks off": Case(breaks_off, "error", 1, "message", {c: ["broken_off"] for c in BOTH}),
    "never asks safeguard": Case(
        bypasses_safeguard,
        "error",
        1,
        "message",
        {"headers": ["headers_lost"], "retries": ["not_counted"], **{c: ["bypassed"] for c in BOTH}},
    ),
}


def not_well(report: dict[str, Any]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for finding in report["findings"]:
        if finding["outcome"] != "ok":
            found.setdefault(finding["check"], []).append(finding["code"])
    return found


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
async def test_what_a_gateway_does_is_found(
    case: Case, proxy: Proxy, gateway_server: ScriptedServer, tmp_path: Path
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG, encoding="utf-8")
    gateway_server.reset()
    gateway_server.script = in_front_of(proxy.url(f"/{case.route}"), case.gateway)
    target = Target(gateway_server.url, "demo", CLIENT_KEY, proxy.admin_url, UPSTREAM_KEY, timeout_s=20)
    report = examine(await visit(target, expectation(config, case.route, None)))
    assert not_well(report.record()) == NOT_CHECKED | case.findings
    assert (report.exit_code, report.advice) == (case.code, case.advice)
    assert {r.header("Authorization") for r in gateway_server.received} == {f"Bearer {CLIENT_KEY}"}


def test_all_options_together(proxy: Proxy, gateway_server: ScriptedServer, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG, encoding="utf-8")
    gateway_server.reset()
    gateway_server.script = in_front_of(proxy.url("/error"), falls_back)
    done = doctor(
        *("--via", gateway_server.url, "--config", str(config), "--route", "error", "--api-key-env", "CLIENT_KEY"),
        *("--admin", proxy.admin_url, "--admin-token-env", "TOKEN", "--timeout-s", "20", "--json"),
        code=1,
        environ={"TOKEN": UPSTREAM_KEY},
    )
    report = json.loads(done.stdout)
    assert not_well(report) == NOT_CHECKED | CASES["falls back"].findings
    assert (report["refusal"], report["recommendation"]["refusal"]) == ("error", "message")
    assert report["seen"]["refused_plain"] | {"first_byte_ms": 0, "total_ms": 0} == {
        "status": 200, "body": "json", "decision": None, "code": None, "innererror_code": None,
        "finish_reasons": ["stop"], "judged": 1, "refused": 1, "first_byte_ms": 0, "total_ms": 0,
    }  # fmt: skip


def via(proxy: Proxy, route: str) -> tuple[str, ...]:
    return "--via", proxy.url(f"/{route}"), "--probe", MARK


def test_without_configuration_and_metrics(proxy: Proxy) -> None:
    printed = doctor(*via(proxy, "message"), code=0).stdout
    assert "refusal mode: message (as it looks)" in printed
    assert "Keep `refusal: message`" in printed
    assert "give --admin" in printed
    assert "[DONE]" not in printed


def test_the_words_of_a_finding_are_no_markup(proxy: Proxy, gateway_server: ScriptedServer) -> None:
    gateway_server.reset()
    gateway_server.script = in_front_of(proxy.url("/error"), drops_done)
    printed = doctor("--via", gateway_server.url, "--probe", MARK, code=1).stdout
    assert "does not end with [DONE]" in printed


async def leaves_no_trace(ask: Ask, request: web.BaseRequest, received: Received) -> web.StreamResponse:
    hop = await ask()
    return await unguarded(request, received) if hop.status >= 400 else await strips_headers(ask, request, received)


def test_an_answer_without_a_trace_is_a_problem_until_explained(proxy: Proxy, gateway_server: ScriptedServer) -> None:
    gateway_server.reset()
    gateway_server.script = in_front_of(proxy.url("/error"), leaves_no_trace)
    report = json.loads(doctor("--via", gateway_server.url, "--probe", MARK, "--json", code=1).stdout)
    assert {c: not_well(report)[c] for c in BOTH} == {c: ["answered"] for c in BOTH}
    assert report["recommendation"]["refusal"] is None


def test_a_text_that_the_route_lets_pass_is_no_test(proxy: Proxy) -> None:
    report = json.loads(doctor(*via(proxy, "open"), "--json", code=2).stdout)
    assert not_well(report)["plain refusal"] == ["not_refused"]
    assert report["recommendation"]["refusal"] is None


def test_a_harmless_request_that_is_not_answered_ends_it(proxy: Proxy, gateway_server: ScriptedServer) -> None:
    gateway_server.reset()
    gateway_server.script = replies({"error": {"message": "No such key.", "code": "invalid_api_key"}}, 401)
    report = json.loads(doctor("--via", gateway_server.url, "--json", code=2).stdout)
    assert not_well(report) == NOT_CHECKED | {"plain answer": ["unusable"]}
    assert len(gateway_server.received) == 1


NOBODY = "http://127.0.0.1:nobody/v1"
"""Stands for a base URL where nobody answers."""


@pytest.mark.parametrize(
    ("options", "said"),
    [
        pytest.param(("--via", NOBODY), "cannot connect", id="nobody there"),
        pytest.param(("--via", "127.0.0.1:8080/v1"), "--via: must be http(s)://", id="no scheme"),
        pytest.param(("--via", f"http://user:{CLIENT_KEY}@h/v1"), "--via: must be http(s)://", id="a password in it"),
        pytest.param(("--via", NOBODY, "--api-key-env", CLIENT_KEY), "--api-key-env: no environment", id="the key itself"),
        pytest.param(("--via", NOBODY, "--route", "error"), "--route names a route of --config", id="route alone"),
        pytest.param(("--via", NOBODY, "--config", "nowhere.yaml"), "nowhere.yaml: cannot read", id="no such file"),
        pytest.param(("--via", NOBODY, "--timeout-s", "0"), "--timeout-s: must be a number", id="no time"),
    ],
)  # fmt: skip
def test_wrong_usage_is_one_line(options: tuple[str, ...], said: str, backends: dict[str, str]) -> None:
    lines = doctor(*(backends["DOWN_URL"] if o == NOBODY else o for o in options), code=2).stderr.strip().splitlines()
    assert said in lines[-1]
    assert CLIENT_KEY not in "".join(lines)


@pytest.mark.parametrize(
    ("path", "environ", "said"),
    [
        ("", {}, "HTTP 401"),
        ("/v1", {"TOKEN": UPSTREAM_KEY}, "HTTP 404"),
    ],
    ids=["wrong token", "not the admin port"],
)
def test_metrics_that_cannot_be_read(proxy: Proxy, path: str, environ: dict[str, str], said: str) -> None:
    options = ("--admin", proxy.admin_url + path, "--admin-token-env", "TOKEN")
    done = doctor(*via(proxy, "error"), *options, code=2, environ={"TOKEN": "wrong"} | environ)
    assert said in done.stderr
    assert UPSTREAM_KEY not in done.stderr

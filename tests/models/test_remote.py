"""The remote guard against a scripted server."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from models.breaker import Breaker
from models.canaries import CanaryFailed
from models.engine import Canary, GuardPolicy, Passage, Score, Tier
from models.errors import ContentTooLong, EngineError, EngineOverloaded, EngineTimeout, EngineUnavailable, VerdictError
from models.evidence import Evidence, Kind
from models.prompt import OUTPUT_SECTION
from models.remote import MAX_ANSWER_BYTES, RemoteEngine, Waits
from models.remote_answer import read_answer
from models.specs import GuardPlan, RemoteSpec

KEY = "sk-guard-secret"
POLICIES = [GuardPolicy("a", "r1", "No spam.\n"), GuardPolicy("b", "r2", "No hate.")]

QUICK = Waits(first_back_off_s=0.02, longest_back_off_s=0.05)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def answer(content: Any = "1", **changes: Any) -> dict[str, Any]:
    """A chat completion; ``changes`` go into the choice, ``message_…`` into its message."""
    message = {"role": "assistant", "content": content}
    message |= {key.removeprefix("message_"): value for key, value in changes.items() if key.startswith("message_")}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    choice |= {key: value for key, value in changes.items() if not key.startswith("message_")}
    return {"id": "x", "object": "chat.completion", "choices": [choice], "usage": {"completion_tokens": 7}}


def token(text: str, logprob: float, **alternatives: float) -> dict[str, Any]:
    top = [{"token": name.strip("_"), "logprob": value} for name, value in alternatives.items()]
    return {"token": text, "logprob": logprob, "top_logprobs": top}


def raw(body: dict[str, Any]) -> bytes:
    return json.dumps(body).encode()


class Server:
    """Answers what it is told to, and remembers what it was asked."""

    def __init__(self) -> None:
        self.requests: list[tuple[dict[str, str], dict[str, Any]]] = []
        self.handler: Handler | None = None
        self.url = ""
        self.connections = 0

    def says(self, body: dict[str, Any] | bytes, status: int = 200, **headers: str) -> None:
        async def handle(request: web.Request) -> web.Response:
            data = body if isinstance(body, bytes) else raw(body)
            fields = {"Content-Type": "application/json"} | {k.replace("_", "-"): v for k, v in headers.items()}
            return web.Response(status=status, body=data, headers=fields)

        self.handler = handle

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((dict(request.headers), await request.json()))
        assert self.handler is not None
        return await self.handler(request)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    server.url = f"http://{host}:{port}/v1"
    yield server
    await runner.cleanup()


Make = Callable[..., Awaitable[RemoteEngine]]


@pytest.fixture
async def make(server: Server) -> AsyncIterator[Make]:
    engines = []

    async def make_engine(
        url: str | None = None, breaker: Breaker | None = None, canaries: Sequence[Canary] = (), **changes: Any
    ) -> RemoteEngine:
        fields = {"base_url": url or server.url, "model": "openai/gpt-oss-safeguard-20b", "api_key": KEY} | changes
        engine = RemoteEngine(RemoteSpec("fleet", **fields), canaries=canaries, breaker=breaker, waits=QUICK)
        engines.append(engine)
        await engine.start()
        return engine

    yield make_engine
    for engine in engines:
        await engine.close()


async def judge(
    engine: RemoteEngine, text: str = "hello", timeout_s: float = 5.0, policies: list[GuardPolicy] | None = None
) -> list[Score | EngineError]:
    deadline = time.monotonic() + timeout_s
    return await engine.judge([Passage("user", text)], policies or POLICIES[:1], deadline=deadline)


async def failure(engine: RemoteEngine, **arguments: Any) -> EngineError:
    (entry,) = await judge(engine, **arguments)
    assert isinstance(entry, EngineError)
    assert KEY not in repr(entry) + str(entry) + str(engine.last_error)
    assert "127.0.0.1" not in str(entry)
    return entry


async def test_each_policy_is_one_request_made_of_constants(server: Server, make: Make) -> None:
    server.says(answer("0"))
    engine = await make(server.url + "/")
    entries = await judge(engine, "buy now", policies=POLICIES)
    assert [entry.value for entry in entries if isinstance(entry, Score)] == [0.0, 0.0]
    assert len(server.requests) == 2
    headers, body = next(request for request in server.requests if "spam" in str(request[1]))
    assert body == {
        "model": "openai/gpt-oss-safeguard-20b",
        "messages": [
            {"role": "system", "content": f"No spam.\n\n{OUTPUT_SECTION}"},
            {"role": "user", "content": "buy now"},
        ],
        "temperature": 0,
        "logprobs": True,
        "top_logprobs": 5,
        "max_tokens": 4096,
        "stream": False,
    }
    assert headers["Authorization"] == f"Bearer {KEY}"
    assert headers["Accept-Encoding"] == "identity"
    assert "User-Agent" not in headers


async def test_without_a_key_there_is_no_authorization(server: Server, make: Make) -> None:
    server.says(answer())
    await judge(await make(api_key=None))
    assert "Authorization" not in server.requests[0][0]


async def test_policies_are_asked_at_the_same_time(server: Server, make: Make) -> None:
    barrier = asyncio.Barrier(3)

    async def handle(request: web.Request) -> web.Response:
        await barrier.wait()
        return web.json_response(answer("1"))

    server.handler = handle
    entries = await judge(await make(), policies=[*POLICIES, GuardPolicy("c", "r3", "No lies.")])
    assert [entry.value for entry in entries if isinstance(entry, Score)] == [1.0] * 3


async def test_one_failing_policy_leaves_the_others_their_scores(server: Server, make: Make) -> None:
    async def handle(request: web.Request) -> web.Response:
        spam = "spam" in await request.text()
        return web.json_response(answer("sorry" if spam else "1"))

    server.handler = handle
    first, second = await judge(await make(), policies=POLICIES)
    assert isinstance(first, VerdictError)
    assert isinstance(second, Score)


def test_the_score_is_the_probability_of_one_label_among_the_two() -> None:
    top = token("1", -0.2, _1=-0.2, _0=-1.5, yes=-4.0)
    score = read_answer(raw(answer(" 1\n", logprobs={"content": [top]}, message_reasoning="trace")), 12.5)
    expected = math.exp(-0.2) / (math.exp(-0.2) + math.exp(-1.5))
    assert score.value == pytest.approx(expected)
    assert (score.tier, score.calibrated, score.rationale) == (Tier.REMOTE, False, "trace")
    assert (score.n_tokens, score.latency_ms) == (7, 12.5)
    evidence = score.evidence
    assert evidence is not None
    assert evidence.logit == pytest.approx(1.3)
    assert (evidence.kind, evidence.violates, evidence.n_chars) == (Kind.VERDICT, True, len("trace"))


def test_spellings_of_a_label_with_spaces_are_summed() -> None:
    top = {
        "token": " 0",
        "logprob": -0.5,
        "top_logprobs": [
            {"token": " 0", "logprob": math.log(0.5)},
            {"token": "0", "logprob": math.log(0.2)},
            {"token": "1", "logprob": math.log(0.2)},
            {"token": " 1", "logprob": math.log(0.1)},
        ],
    }
    assert read_answer(raw(answer("0", logprobs={"content": [top]})), 0).value == pytest.approx(0.3)


def test_digits_in_the_trace_are_not_the_verdict() -> None:
    trace = token("0", -0.1, _0=-0.1, _1=-9.0)
    verdict = token("1", -0.1, _1=math.log(0.9), _0=math.log(0.1))
    score = read_answer(raw(answer("1", logprobs={"content": [trace, token("x", 0.0), verdict, token("", 0.0)]})), 0)
    assert score.value == pytest.approx(0.9)


@pytest.mark.parametrize(
    "logprobs",
    [
        pytest.param(None, id="none"),
        pytest.param([], id="a-list"),
        pytest.param({"content": None}, id="no-tokens"),
        pytest.param({"content": []}, id="empty"),
        pytest.param({"content": ["1", 1, None, {"token": 1}]}, id="not-tokens"),
        pytest.param({"content": [{"token": "1", "logprob": -1}]}, id="no-alternatives"),
        pytest.param({"content": [token("1", -0.1, _1=-0.1, yes=-3.0)]}, id="one-label-only"),
        pytest.param({"content": [token("0", -0.1, _1=-5.0, _0=-0.1)]}, id="of-another-answer"),
        pytest.param({"content": [{"token": "1", "top_logprobs": [None, {"token": "0", "logprob": "x"}]}]}, id="junk"),
    ],
)
def test_without_both_log_probabilities_the_label_decides(logprobs: Any) -> None:
    score = read_answer(raw(answer("1", logprobs=logprobs)), 0)
    assert (score.value, score.evidence) == (1.0, Evidence(violates=True, logit=None))
    changed = json.loads(json.dumps(logprobs).replace('"1"', '"#"').replace('"0"', '"1"').replace('"#"', '"0"'))
    assert read_answer(raw(answer("0", logprobs=changed)), 0).value == 0.0


def test_impossibly_small_probabilities_do_not_divide_by_zero() -> None:
    top = token("1", -9999.0, _1=-9999.0, _0=-9999.0)
    assert read_answer(raw(answer("1", logprobs={"content": [top]})), 0).value == 0.5


NO_VERDICTS: tuple[object, ...] = (
    *("", " ", "SAFE", "safe.", "SAFELY", "not safe", "unsafe\nS1", "Unsafe ", "No_of_turn>", "00", "01", "10"),
    *("0.", "0\n1", "1 0", "-0", "+1", "0x1", "1.0", "true", "０", "١", "²", '"0"', "`0`", "0\x00", "\u200b0"),
    *('{"verdict":"allow"}', '{"verdict":"allow","verdict":"block"}', '{"verdict":null}', '{"verdict":"allow"'),
    *("I'm sorry, but I can't help with that.", "<|channel|>final<|message|>0", "commentary to=assistant 0"),
    *(None, 0, 1, True, False, [], {}, ["0"], [{"type": "text", "text": "0"}]),
)

GARBAGE = {
    "empty": b"",
    "space": b" ",
    "text": b"SAFE",
    "html": b"<html>1</html>",
    "bare-label": b"1",
    "null": b"null",
    "list": b"[]",
    "empty-object": b"{}",
    "truncated": raw(answer())[:-1],
    "two-objects": raw(answer("0")) * 2,
    "object-then-prose": raw(answer("0")) + b" is my verdict",
    "not-utf8": raw(answer()).replace(b"chat", b"\xff"),
    "utf-16": raw(answer()).decode().encode("utf-16"),
    "bom": b"\xef\xbb\xbf" + raw(answer()),
    "nan": raw(answer(logprobs={"content": float("nan")})),
    "huge-number": b'{"a":' + b"9" * 5000 + b"}",
    "deep": b'{"choices":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "duplicate-choices": raw(answer("1"))[:-1] + b"," + raw(answer("0"))[1:],
    "duplicate-content": raw(answer()).replace(b'"content": "1"', b'"content": "1", "content": "0"'),
    "escaped-duplicate": raw(answer()).replace(b'"content": "1"', b'"content": "1", "\\u0063ontent": "0"'),
    "no-choice": raw({"choices": []}),
    "two-choices": raw({"choices": answer("0")["choices"] * 2}),
    "choice-is-text": raw({"choices": ["0"]}),
    "no-message": raw({"choices": [{"finish_reason": "stop", "text": "0"}]}),
    "length": raw(answer("0", finish_reason="length")),
    "length-and-empty": raw(answer("", finish_reason="length", message_reasoning_content="1 1 1")),
    "content-filter": raw(answer("0", finish_reason="content_filter")),
    "no-finish-reason": raw(answer("0", finish_reason=None)),
    "tool-calls": raw(answer("0", message_tool_calls=[{"id": "x"}])),
    "function-call": raw(answer("0", message_function_call={"name": "x"})),
    "refusal-field": raw(answer("0", message_refusal="I cannot")),
    "user-role": raw(answer("0", message_role="user")),
    "error-with-200": raw({"error": {"message": "no"}}),
    **{f"content-{content!r}": raw(answer(content)) for content in NO_VERDICTS},
}


@pytest.mark.parametrize("body", [pytest.param(body, id=name) for name, body in GARBAGE.items()])
def test_anything_but_one_clear_label_is_no_verdict(body: bytes) -> None:
    with pytest.raises(VerdictError) as caught:
        read_answer(body, 0)
    assert "sorry" not in str(caught.value)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        pytest.param(answer("I'm sorry, but I can't help with that."), "guard_refused", id="refusal"),
        pytest.param(answer("0", message_refusal="I cannot"), "guard_refused", id="refusal-field"),
        pytest.param(answer("0", finish_reason="content_filter"), "guard_refused", id="the-server's-filter"),
        pytest.param(answer("I'm sorry, but", finish_reason="length"), "guard_refused", id="refusal-cut"),
        pytest.param(answer("Once upon a time a baker sold bread."), "guard_ran_task", id="story"),
        pytest.param(answer('{"items": [1, 0]}'), "guard_ran_task", id="json"),
        pytest.param(answer(None, message_tool_calls=[{"id": "x"}]), "guard_ran_task", id="tool-call"),
        pytest.param(answer("0", message_function_call={"name": "x"}), "guard_ran_task", id="function-call"),
        pytest.param(answer(""), "guard_empty", id="empty"),
        pytest.param(answer(None, message_reasoning="It is bread."), "guard_empty", id="no-content"),
        pytest.param(answer(None, finish_reason="length"), "guard_runaway", id="cut-in-the-trace"),
        pytest.param(answer("0", finish_reason="length"), "guard_runaway", id="cut-after-a-label"),
        pytest.param(answer("", message_reasoning="Is it bread? " * 400), "guard_runaway", id="in-circles"),
        pytest.param(answer("unsafe\nS1"), "no_verdict", id="another-form"),
        pytest.param(answer("0", finish_reason="tool_calls"), "no_verdict", id="another-end"),
        pytest.param(answer([{"type": "text", "text": "0"}]), "no_verdict", id="not-a-text"),
    ],
)
async def test_the_error_says_what_kind_of_answer_it_was(
    server: Server, make: Make, body: dict[str, Any], code: str
) -> None:
    server.says(body)
    engine = await make()
    for _ in range(6):
        error = await failure(engine)
        assert (error.code, isinstance(error, VerdictError)) == (code, True)
    assert engine.ready, "a content that provokes such answers must not close the guard to others"


@pytest.mark.parametrize("name", ["empty", "text", "duplicate-content", "length", "deep", "content-'SAFE'"])
async def test_garbage_from_a_server_is_an_entry_not_an_exception(server: Server, make: Make, name: str) -> None:
    server.says(GARBAGE[name])
    assert isinstance(await failure(await make()), VerdictError)


async def test_a_long_answer_is_read_all_the_same(server: Server, make: Make) -> None:
    server.says(answer("1", message_reasoning_content="why " * 100_000))
    (entry,) = await judge(await make())
    assert isinstance(entry, Score)
    assert len(entry.rationale or "") == 20_000


@pytest.mark.parametrize("status", [201, 204, 301, 307, 401, 403, 404, 408, 429, 500, 502, 503])
async def test_a_status_that_is_not_200_is_unavailable(server: Server, make: Make, status: int) -> None:
    server.says(raw(answer("0")) if status != 204 else b"", status, Location=server.url + "/elsewhere")
    error = await failure(await make())
    assert isinstance(error, EngineUnavailable)
    assert str(status) in str(error)
    assert len(server.requests) == 1, "no second attempt, no redirect"


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_a_request_that_the_server_refuses_does_not_open_the_circuit(
    server: Server, make: Make, status: int
) -> None:
    server.says({"error": {"message": "hello is too long"}}, status)
    engine = await make()
    for _ in range(8):
        error = await failure(engine)
        assert isinstance(error, VerdictError)
        assert "hello" not in str(error)
    assert engine.ready


@pytest.mark.parametrize("content_type", ["text/html", "text/plain", "text/event-stream", "application/octet-stream"])
async def test_an_answer_of_another_type_is_no_verdict(server: Server, make: Make, content_type: str) -> None:
    server.says(raw(answer("0")), Content_Type=content_type)
    assert isinstance(await failure(await make()), VerdictError)


async def test_a_compressed_answer_is_no_verdict(server: Server, make: Make) -> None:
    server.says(b"\x1f\x8b", Content_Encoding="gzip")
    assert isinstance(await failure(await make()), VerdictError)


async def test_an_endless_answer_is_cut_off(server: Server, make: Make) -> None:
    sent = 0

    async def handle(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        while sent < 10 * MAX_ANSWER_BYTES:
            await response.write(b" " * 1_000_000)
            sent += 1_000_000
        return response

    server.handler = handle
    assert isinstance(await failure(await make()), VerdictError)
    assert sent < 10 * MAX_ANSWER_BYTES


@pytest.mark.parametrize("how", ["half-body", "reset", "not-http"])
async def test_a_broken_connection_is_unavailable(make: Make, how: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if how == "half-body":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{}")
        elif how == "not-http":
            writer.write(b"hello\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        assert isinstance(await failure(await make(f"http://127.0.0.1:{port}/v1")), EngineUnavailable)


async def test_a_refused_connection_is_unavailable(make: Make) -> None:
    assert isinstance(await failure(await make("http://127.0.0.1:1/v1")), EngineUnavailable)


async def test_a_name_that_does_not_resolve_is_unavailable(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*arguments: Any, **options: Any) -> None:
        raise OSError("no such name")

    monkeypatch.setattr(aiohttp.resolver.DefaultResolver, "resolve", fail)
    assert isinstance(await failure(await make("http://guard.invalid/v1")), EngineUnavailable)


async def test_a_key_that_is_no_header_value_is_an_error_that_does_not_show_it(server: Server, make: Make) -> None:
    server.says(answer("0"))
    await failure(await make(api_key=KEY + "\r\nX: y"))
    assert server.requests == []


async def test_a_silent_server_is_a_timeout(server: Server, make: Make) -> None:
    left = asyncio.Event()

    async def handle(request: web.Request) -> web.Response:
        await left.wait()
        return web.json_response(answer("0"))

    server.handler = handle
    engine = await make(timeout_s=0.1)
    began = time.monotonic()
    assert isinstance(await failure(engine), EngineTimeout)
    assert isinstance(await failure(engine, timeout_s=0.05), EngineTimeout)
    assert time.monotonic() - began < 5
    left.set()


async def test_a_deadline_that_has_passed_asks_nobody(server: Server, make: Make) -> None:
    assert isinstance(await failure(await make(), timeout_s=-1), EngineTimeout)
    assert server.requests == []


async def test_a_caller_that_leaves_closes_the_request(server: Server, make: Make) -> None:
    arrived, closed = asyncio.Event(), asyncio.Event()

    async def handle(request: web.Request) -> web.Response:
        arrived.set()
        while request.transport is not None and not request.transport.is_closing():  # noqa: ASYNC110 - no event for it
            await asyncio.sleep(0.005)
        closed.set()
        return web.Response()

    server.handler = handle
    engine = await make()
    async with asyncio.TaskGroup() as group:
        call = group.create_task(judge(engine, policies=POLICIES))
        await arrived.wait()
        call.cancel()
    async with asyncio.timeout(10):
        await closed.wait()
    assert engine.ready


async def test_a_content_over_the_limit_is_not_sent(server: Server, make: Make) -> None:
    engine = await make(max_content_chars=10)
    assert isinstance(await failure(engine, text="x" * 11), ContentTooLong)
    assert server.requests == []
    server.says(answer("0"))
    assert isinstance((await judge(engine, "x" * 10))[0], Score)


async def test_text_that_is_not_unicode_is_no_verdict(server: Server, make: Make) -> None:
    assert type(await failure(await make(), text="\ud800")) is EngineError
    assert server.requests == []


async def test_cookies_are_not_sent_back(server: Server, make: Make) -> None:
    server.says(raw(answer("0")), Set_Cookie="tenant=a")
    engine = await make(server.url.replace("127.0.0.1", "localhost"))
    await judge(engine)
    await judge(engine)
    assert all("Cookie" not in headers for headers, _ in server.requests)


async def test_the_environments_proxy_is_not_used(server: Server, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "")
    server.says(answer("0"))
    assert isinstance((await judge(await make()))[0], Score)


async def test_an_engine_that_is_not_started_or_is_closed_asks_nobody(server: Server) -> None:
    engine = RemoteEngine(RemoteSpec("fleet", server.url, "m"))
    assert (engine.ready, engine.last_error) == (False, "not started")
    assert isinstance((await judge(engine))[0], EngineUnavailable)
    await engine.start()
    assert (await engine.wait_ready(1), engine.last_error, engine.model) == (True, None, "m")
    await engine.close()
    assert isinstance((await judge(engine))[0], EngineUnavailable)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


async def test_a_server_that_keeps_failing_is_left_alone_and_then_probed_once(server: Server, make: Make) -> None:
    clock = Clock()
    engine = await make(breaker=Breaker(clock=clock))
    server.says(b"", 500)
    for _ in range(5):
        assert engine.ready
        await failure(engine)
    assert not engine.ready
    assert "500" in str(engine.last_error)
    await failure(engine)
    assert len(server.requests) == 5
    clock.now += 5
    assert engine.ready
    await failure(engine)
    assert not engine.ready
    assert len(server.requests) == 6
    clock.now += 5
    server.says(answer("0"))
    assert isinstance((await judge(engine))[0], Score)
    assert (engine.ready, engine.last_error) == (True, None)


def test_a_probe_keeps_others_out_until_it_is_over() -> None:
    clock = Clock()
    breaker = Breaker(failures=1, open_s=5, clock=clock)
    breaker.failed()
    assert not breaker.allow()
    clock.now += 5
    assert breaker.allow()
    assert not breaker.allow()
    breaker.undecided()
    assert breaker.allow()
    breaker.succeeded()
    assert breaker.allow()
    assert breaker.allow()


CANARIES = [Canary(policy, Passage("user", "a BAD one"), Passage("assistant", "a good one")) for policy in POLICIES]


class Fleet:
    """A server that is down, wrong, or right."""

    def __init__(self, server: Server, state: str) -> None:
        self.state = state
        self.asked: list[str] = []
        server.handler = self.handle

    async def handle(self, request: web.Request) -> web.Response:
        content = (await request.json())["messages"][1]["content"]
        self.asked.append(content)
        if self.state == "down":
            return web.Response(status=503)
        return web.json_response(answer("1" if ("BAD" in content) is (self.state == "right") else "0"))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what is waited for is a server
            await asyncio.sleep(0.005)


async def test_a_server_that_judges_the_canaries_right_makes_the_guard_ready(server: Server, make: Make) -> None:
    fleet = Fleet(server, "right")
    engine = await make(canaries=CANARIES)
    assert not engine.ready
    (entry,) = await judge(engine, "BAD")
    assert isinstance(entry, Score)
    assert entry.value == 1.0
    assert engine.ready
    assert engine.last_error is None
    assert len(fleet.asked) == 5


@pytest.mark.parametrize(
    ("state", "said"),
    [
        pytest.param("wrong", "policy a: its violating canary scored 0, its safe canary 1", id="wrong"),
        pytest.param("down", "its violating canary was not judged (unavailable: the guard server answered with status 503)", id="down"),
    ],
)  # fmt: skip
async def test_until_the_canaries_are_right_nothing_is_judged_and_then_it_heals(
    server: Server, make: Make, state: str, said: str
) -> None:
    fleet = Fleet(server, state)
    engine = await make(canaries=CANARIES)
    assert not await engine.wait_ready(5)
    assert str(engine.last_error).startswith("guard fleet failed its canaries: ")
    assert said in str(engine.last_error)
    assert "one" not in str(engine.last_error)
    assert isinstance(await failure(engine, text="hello"), EngineUnavailable)
    assert not any("hello" in content for content in fleet.asked)
    fleet.state = "right"
    await until(lambda: engine.ready)
    assert engine.last_error is None
    assert isinstance((await judge(engine))[0], Score)


async def test_a_server_that_nobody_can_reach_does_not_hold_up_the_start(make: Make) -> None:
    async with asyncio.timeout(5):
        engine = await make(url="http://127.0.0.1:1/v1", canaries=CANARIES)
    assert not engine.ready
    assert not await engine.wait_ready(5)
    assert "cannot be reached" in str(engine.last_error)


async def test_after_an_outage_the_canaries_are_judged_again(server: Server, make: Make) -> None:
    fleet = Fleet(server, "right")
    engine = await make(canaries=CANARIES, breaker=Breaker(failures=2, open_s=0.01))
    assert await engine.wait_ready(5)
    before = engine.settings
    fleet.state = "down"
    for _ in range(2):
        assert isinstance(await failure(engine), EngineUnavailable)
    assert not engine.ready
    assert "failed repeatedly" in str(engine.last_error)
    fleet.state = "wrong"
    await until(lambda: "failed its canaries" in str(engine.last_error))
    assert isinstance(await failure(engine, text="hello"), EngineUnavailable)
    fleet.state = "right"
    await until(lambda: engine.ready)
    assert engine.settings != before, "what was remembered is not asked of another model"


async def test_a_running_guard_is_asked_about_new_canaries_and_examined_by_them_after_an_outage(
    server: Server, make: Make
) -> None:
    fleet = Fleet(server, "right")
    engine = await make(breaker=Breaker(failures=2, open_s=0.01))
    plan = GuardPlan(engine._spec, tuple(CANARIES))
    await engine.prepare(plan)
    assert len(fleet.asked) == 4
    engine.adopt(plan)
    await engine.prepare(plan)
    assert engine.ready
    assert len(fleet.asked) == 4
    fleet.state = "down"
    for _ in range(2):
        assert isinstance(await failure(engine), EngineUnavailable)
    fleet.state = "wrong"
    await until(lambda: "failed its canaries" in str(engine.last_error))
    with pytest.raises(CanaryFailed):
        await engine.prepare(replace(plan, canaries=(replace(CANARIES[0], safe=Passage("user", "another one")),)))
    fleet.state = "right"
    await until(lambda: engine.ready)


async def test_closing_ends_the_examination(server: Server, make: Make) -> None:
    server.handler = lambda request: asyncio.Event().wait()  # type: ignore[assignment,return-value]  # never answers
    engine = await make(canaries=CANARIES)
    await until(lambda: bool(server.requests))
    async with asyncio.timeout(10):
        await engine.close()
    assert (engine.ready, engine.last_error) == (False, "closed")


async def test_more_calls_than_may_wait_are_refused_at_once(server: Server) -> None:
    go_on = asyncio.Event()

    async def waits(request: web.Request) -> web.StreamResponse:
        await go_on.wait()
        return web.json_response(answer("0"))

    server.handler = waits
    content = [Passage("user", "Hi")]
    engine = RemoteEngine(RemoteSpec("g", server.url, "m", max_connections=1, max_queue=2))
    await engine.start()
    try:
        deadline = time.monotonic() + 10
        async with asyncio.TaskGroup() as group:
            calls = [group.create_task(engine.judge(content, POLICIES[:1], deadline=deadline)) for _ in range(4)]
            done, _ = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
            assert [type(task.result()[0]) for task in done] == [EngineOverloaded]
            go_on.set()
        assert [type(call.result()[0]) for call in calls] == [Score, Score, Score, EngineOverloaded]
        assert type((await engine.judge(content, POLICIES[:1], deadline=deadline))[0]) is Score
    finally:
        await engine.close()

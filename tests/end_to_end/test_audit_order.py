"""Nothing leaves before its record: the service with a store whose writes a test lets through one by one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from proxy.app import App, build_app
from proxy.audit.store import Record
from tests.end_to_end.servers import (
    MARK,
    Received,
    Reply,
    Script,
    ScriptedServer,
    chat_body,
    checked,
    chunk,
    completion,
    hangs,
    post,
    read_events,
    read_until,
    replies,
    streams,
    text_stream,
)
from tests.proxy.audit.sinks import ScriptedSink
from tests.proxy.configs import load

CONFIG = """
listen: {port: 0}
admin: {port: 0}
audit: {path: audit}
upstreams:
  default: {base_url: "${UPSTREAM_URL}"}
guards:
  fleet: {engine: openai, base_url: "${GUARD_URL}", model: m, timeout_s: 60}
default_guard: fleet
policies:
  marker: {detector: patterns, literals: ["ZQ-MARK-7781"]}
  draft: {text: "Content that holds the mark."}
routes:
  - name: window
    match: {path: /window/v1/*}
    upstream: default
    stream: window
    window_chars: 10
    overlap_chars: 2
    output: [{policy: marker, refuse: 0.5}]
  - {name: overlap, match: {path: /overlap/v1/*}, upstream: default, overlap: true, input: [{policy: marker, refuse: 0.5}]}
  - {name: live, match: {path: /live/v1/*}, upstream: default, stream: deliver_first, output: [{policy: marker, refuse: 0.5}]}
  - {name: shadow, match: {path: /shadow/v1/*}, upstream: default, input: [{policy: draft, refuse: 0.5, mode: shadow}]}
  - {name: raw, match: {path: /raw/v1/*}, upstream: default, passthrough: ["/v1/files*"]}
  - {name: mask, match: {path: /mask/v1/*}, upstream: default, input: [{policy: marker, rewrite: 0.5}]}
  - name: default
    upstream: default
    input: [{policy: marker, refuse: 0.5}]
    output: [{policy: marker, refuse: 0.5}]
"""


class Service:
    """The service under test and what it has put on record."""

    def __init__(self, app: App, sink: ScriptedSink, session: aiohttp.ClientSession, upstream: ScriptedServer) -> None:
        self.app = app
        self.sink = sink
        self.session = session
        self.upstream = upstream

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.app.port}{path}"

    def post(self, path: str, body: Any) -> Coroutine[Any, Any, Reply]:
        return post(self.session, self.url(path), body)

    async def at_the_gate(self) -> None:
        """Wait until a write waits; what could leave without it has had time to."""
        assert await asyncio.to_thread(self.sink.gate.arrived.acquire, timeout=10), "nothing is put on record"
        for _ in range(100):
            await asyncio.sleep(0)

    async def readyz(self) -> tuple[int, Any]:
        async with self.session.get(f"http://127.0.0.1:{self.app.admin_port}/readyz") as answer:
            return answer.status, await answer.json()

    async def metric(self, name: str) -> float:
        async with self.session.get(f"http://127.0.0.1:{self.app.admin_port}/metrics") as answer:
            lines = (await answer.text()).splitlines()
        return float(next(line.rsplit(" ", 1)[1] for line in lines if line.startswith(f"{name} ")))

    @property
    def records(self) -> list[Record]:
        return list(self.sink.records.values())


@asynccontextmanager
async def serving(
    tmp_path: Path, backends: dict[str, str], session: aiohttp.ClientSession, upstream: ScriptedServer, config: str
) -> AsyncIterator[Service]:
    app = build_app(load(tmp_path, config, **backends))
    sink = ScriptedSink()
    assert app.audit is not None
    app.audit.sink = sink
    await app.start()
    try:
        yield Service(app, sink, session, upstream)
    finally:
        sink.gate.set()
        await app.close()


@pytest.fixture
async def service(
    tmp_path: Path,
    backends: dict[str, str],
    session: aiohttp.ClientSession,
    upstream: ScriptedServer,
    guard: ScriptedServer,
) -> AsyncIterator[Service]:
    async with serving(tmp_path, backends, session, upstream, CONFIG) as service:
        yield service


@pytest.fixture
async def recorded(service: Service) -> Service:
    """The service with a store that keeps nobody waiting."""
    service.sink.gate.set()
    return service


# ------------------------------------------------------------------ the order


async def test_a_request_goes_to_the_upstream_after_its_record_and_the_answer_to_the_client_after_its_own(
    service: Service,
) -> None:
    async with asyncio.TaskGroup() as group:
        answer = group.create_task(service.post("/v1/chat/completions", chat_body()))
        await service.at_the_gate()
        assert service.upstream.received == []
        service.sink.gate.let_one()
        await service.at_the_gate()
        assert len(service.upstream.received) == 1
        assert not answer.done()
        assert [r["stage"] for r in service.records] == ["input"]
        service.sink.gate.let_one()
        assert (await answer).status == 200
    assert [(r["stage"], r["action"], r["state"], r.get("status")) for r in service.records] == [
        ("input", "forward", "decided", None),
        ("output", "forward", "decided", 200),
    ]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        pytest.param("/v1/chat/completions", chat_body(MARK), 400, id="a refusal"),
        pytest.param("/v1/chat/completions", {"model": "m", "messages": 1}, 400, id="a malformed request"),
        pytest.param("/v1/nowhere", {}, 404, id="a path that is not served"),
        pytest.param("/v1/moderations", {"input": "Hi"}, 200, id="a moderation"),
        pytest.param(
            "/beta/litellm_basic_guardrail_api", {"input_type": "request", "texts": ["Hi"]}, 200, id="a guardrail call"
        ),
    ],
)
async def test_no_answer_leaves_before_the_decision_that_it_names_is_on_record(
    service: Service, path: str, body: Any, status: int
) -> None:
    async with asyncio.TaskGroup() as group:
        answer = group.create_task(service.post(path, body))
        await service.at_the_gate()
        assert not answer.done()
        service.sink.gate.let_one()
        reply = await answer
    (record,) = service.records
    assert reply.status == record["status"] == status
    assert reply.headers["x-safeguard-decision-id"] == record["decision_id"]
    assert service.upstream.received == []


async def test_what_is_not_http_is_on_record_before_its_answer(service: Service) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", service.app.port)
    writer.write(b"GET / HTTP/1.1\r\nbad header\r\n\r\n")
    async with asyncio.TaskGroup() as group:
        answer = group.create_task(reader.read())
        await service.at_the_gate()
        assert not answer.done()
        service.sink.gate.let_one()
        data = await answer
    writer.close()
    (record,) = service.records
    assert record["error"] == "bad_http"
    assert f"x-safeguard-decision-id: {record['decision_id']}".encode() in data


async def test_a_path_that_nobody_reads_is_on_record_before_it_goes_up(service: Service) -> None:
    service.upstream.script = replies({"data": []})
    async with asyncio.TaskGroup() as group:
        answer = group.create_task(service.post("/raw/v1/files", {"a": 1}))
        await service.at_the_gate()
        assert service.upstream.received == []
        service.sink.gate.set()
        assert (await answer).status == 200
    await settled(service)
    (record,) = service.records
    assert record["unjudged"] == ["passthrough:request", "passthrough:response"]
    assert record["status"] == 200


async def test_a_call_that_begins_early_is_begun_on_record_before(service: Service) -> None:
    async with asyncio.TaskGroup() as group:
        answer = group.create_task(service.post("/overlap/v1/chat/completions", chat_body(MARK)))
        await service.at_the_gate()
        assert service.upstream.received == []
        service.sink.gate.let_one()
        await service.at_the_gate()
        (begun,) = service.records
        assert begun["state"] == "begun"
        assert "action" not in begun
        service.sink.gate.let_one()
        assert (await answer).status == 400
    (record,) = service.records
    assert (record["state"], record["action"], record["status"]) == ("decided", "refuse", 400)


@pytest.mark.parametrize("route", ["window", "live"])
async def test_a_stream_is_begun_on_record_before_its_first_piece_and_decided_before_its_last(
    service: Service, route: str
) -> None:
    go_on = threading.Event()
    service.upstream.script = in_two(["Hello there, ", "all of you, "], ["who listen."], go_on)
    async with asyncio.TaskGroup() as group:
        asked = group.create_task(
            service.session.post(service.url(f"/{route}/v1/chat/completions"), json=chat_body(stream=True))
        )
        await service.at_the_gate()
        service.sink.gate.let_one()  # the input's
        await service.at_the_gate()
        assert not asked.done()
        service.sink.gate.let_one()  # the output's, begun
        response = await asked
        (_, begun) = service.records
        assert (begun["stage"], begun["state"]) == ("output", "begun")
        data = bytearray(await read_until(response, "Hello"))
        rest = group.create_task(response.read())
        go_on.set()
        await service.at_the_gate()
        assert not rest.done()
        service.sink.gate.let_one()
        data += await rest
    assert read_events(bytes(data))[-1] is None
    (_, record) = service.records
    assert (record["state"], record["action"]) == ("decided", "forward")


def in_two(before: list[str], after: list[str], go_on: threading.Event) -> Script:
    """A streamed answer whose second half comes when the test says so."""
    whole = text_stream(*before, *after)
    cut = 1 + len(before)

    async def script(request: web.BaseRequest, received: Received) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"".join(whole[:cut]))
        assert await asyncio.to_thread(go_on.wait, 10)
        await response.write(b"".join(whole[cut:]))
        await response.write_eof()
        return response

    return script


async def settled(service: Service) -> None:
    """Wait until what is added without waiting is on record."""
    assert service.app.audit is not None
    async with asyncio.timeout(10):
        await service.app.audit._idle.wait()


# ------------------------------------------------------------------ what cannot be recorded


async def test_what_cannot_be_recorded_does_not_reach_the_upstream(recorded: Service) -> None:
    recorded.sink.error = "/audit: No space left on device"
    reply = await recorded.post("/v1/chat/completions", chat_body())
    assert (reply.status, reply.error["code"]) == (503, "audit_unavailable")
    assert reply.headers["retry-after"] == "5"
    assert reply.decision == "refuse"
    assert recorded.upstream.received == []
    # it is tried before the upstream is asked, before the answer leaves, and behind it
    async with asyncio.timeout(10):
        while await recorded.metric('safeguard_audit_entries_total{outcome="failed"}') < 3:  # noqa: ASYNC110 - none says so
            await asyncio.sleep(0.001)
    status, ready = await recorded.readyz()
    assert (status, ready["audit"]["healthy"], ready["audit"]["last_error"]) == (503, False, recorded.sink.error)
    recorded.sink.error = None
    assert (await recorded.post("/v1/chat/completions", chat_body())).status == 200
    assert (await recorded.readyz())[0] == 200
    assert all(r["request_id"] != reply.headers["x-request-id"] for r in recorded.records)


async def test_an_answer_that_cannot_be_recorded_does_not_reach_the_client(recorded: Service) -> None:
    async def answers(request: Any, received: Any) -> Any:
        recorded.sink.error = "full"
        return await replies(completion("The secret answer."))(request, received)

    recorded.upstream.script = answers
    reply = await recorded.post("/v1/chat/completions", chat_body())
    assert (reply.status, reply.error["code"]) == (503, "audit_unavailable")
    assert b"secret" not in reply.body


@pytest.mark.parametrize("path", ["/v1/moderations", "/v1/chat/completions", "/v1/nowhere", "/raw/v1/files"])
async def test_every_endpoint_says_that_it_cannot_record(recorded: Service, path: str) -> None:
    recorded.sink.error = "full"
    body = {"input": "Hi"} if "moderations" in path else chat_body(MARK)
    reply = await recorded.post(path, body)
    assert (reply.status, reply.error["code"]) == (503, "audit_unavailable")
    assert recorded.upstream.received == []


@pytest.mark.parametrize("route", ["window", "live", "default"])
async def test_a_stream_that_cannot_be_recorded_is_an_error_before_its_first_piece(
    recorded: Service, route: str
) -> None:
    async def answers(request: Any, received: Any) -> Any:
        recorded.sink.error = "full"
        return await streams(*text_stream("The secret answer, ", "which is long."))(request, received)

    recorded.upstream.script = answers
    path = "/v1/chat/completions" if route == "default" else f"/{route}/v1/chat/completions"
    reply = await recorded.post(path, chat_body(stream=True))
    assert (reply.status, reply.error["code"]) == (503, "audit_unavailable")
    assert b"secret" not in reply.body


async def test_a_stream_that_cannot_be_recorded_midway_ends_with_an_error(recorded: Service) -> None:
    go_on = threading.Event()
    recorded.upstream.script = in_two(["Hello there, all of you."], ["The end."], go_on)
    async with recorded.session.post(
        recorded.url("/live/v1/chat/completions"), json=chat_body(stream=True)
    ) as response:
        data = bytearray(await read_until(response, "Hello"))
        recorded.sink.error = "full"
        go_on.set()
        data += await response.read()
    events = read_events(bytes(data))
    assert events[-1] is None
    assert events[-2]["error"]["code"] == "audit_unavailable"


async def test_if_the_configuration_says_so_what_cannot_be_recorded_goes_on_and_is_counted(
    tmp_path: Path,
    backends: dict[str, str],
    session: aiohttp.ClientSession,
    upstream: ScriptedServer,
    guard: ScriptedServer,
) -> None:
    config = CONFIG.replace("{path: audit}", "{path: audit, on_audit_error: forward}")
    async with serving(tmp_path, backends, session, upstream, config) as service:
        service.sink.gate.set()
        service.sink.error = "full"
        for stream in (False, True):
            reply = await service.post("/v1/chat/completions", chat_body(stream=stream))
            assert reply.status == 200
        assert (await service.post("/v1/chat/completions", chat_body(MARK))).status == 400
        assert await service.metric('safeguard_audit_entries_total{outcome="failed"}') >= 5
        status, ready = await service.readyz()
        assert (status, ready["audit"]["healthy"]) == (200, False)
        service.sink.error = None
        reply = await service.post("/v1/chat/completions", chat_body())
        await settled(service)
        stages = {r["stage"] for r in service.records if r["request_id"] == reply.headers["x-request-id"]}
        assert stages == {"input", "output"}


# ------------------------------------------------------------------ what stands in a record


async def test_a_client_that_leaves_a_stream_leaves_a_record_of_what_was_judged(recorded: Service) -> None:
    recorded.upstream.script = streams(
        chunk({"role": "assistant", "content": "Hello there, all of you who listen."}), then="hang"
    )
    async with recorded.session.post(
        recorded.url("/window/v1/chat/completions"), json=chat_body(stream=True)
    ) as response:
        await read_until(response, "Hello")
    await asyncio.to_thread(recorded.upstream.received[0].gone.wait, 10)
    async with asyncio.timeout(10):
        while recorded.records[-1]["state"] == "begun":  # noqa: ASYNC110 - another thread writes
            await asyncio.sleep(0.001)
    record = recorded.records[-1]
    assert (record["stage"], record["state"], record["error"]) == ("output", "cut", "client_closed")
    assert record["action"] == "forward"
    assert record["verdicts"][0]["outcome"] == "forward"


async def test_a_client_that_leaves_before_the_answer_is_on_record(recorded: Service) -> None:
    recorded.upstream.script = hangs
    asking = asyncio.get_running_loop().create_task(recorded.post("/v1/chat/completions", chat_body()))
    await asyncio.to_thread(recorded.upstream.wait_received)
    asking.cancel()
    await asyncio.wait({asking})
    async with asyncio.timeout(10):
        while "status" not in recorded.records[0]:  # noqa: ASYNC110 - another thread writes
            await asyncio.sleep(0.001)
    (record,) = recorded.records
    assert (record["action"], record["status"], record["error"]) == ("forward", 499, "client_closed")


async def test_a_stream_that_breaks_off_is_on_record_as_cut(recorded: Service) -> None:
    recorded.upstream.script = streams(
        chunk({"role": "assistant", "content": "Hello there, all of you who listen."}), then="abort"
    )
    reply = await recorded.post("/window/v1/chat/completions", chat_body(stream=True))
    assert reply.events[-2]["error"]["code"] == "bad_upstream_response"
    await settled(recorded)
    record = recorded.records[-1]
    assert (record["stage"], record["state"], record["error"]) == ("output", "cut", "bad_upstream_response")


async def test_a_stream_that_is_refused_midway_is_on_record_as_refused(recorded: Service) -> None:
    go_on = threading.Event()
    recorded.upstream.script = in_two(["Hello there, all of you. "], [f"Now {MARK} for you.", " The end."], go_on)
    async with recorded.session.post(
        recorded.url("/window/v1/chat/completions"), json=chat_body(stream=True)
    ) as response:
        data = await read_until(response, "Hello")
        go_on.set()
        reply = Reply(response.status, {}, data + await response.read())
    assert reply.finish_reasons == ["content_filter"]
    record = recorded.records[-1]
    assert (record["stage"], record["state"], record["action"]) == ("output", "decided", "refuse")
    assert record["policies"] == ["marker"]
    assert record["findings"][0]["path"] == "choices[0].message.content"
    assert record["content"]["chars"] >= len(MARK)


@pytest.mark.parametrize(
    ("script", "status", "error"),
    [
        pytest.param(replies({"error": {"message": "No."}}, 400), 400, "upstream_error", id="an upstream's refusal"),
        pytest.param(replies(b"no JSON"), 502, "bad_upstream_response", id="an answer that cannot be read"),
        pytest.param(replies({}, 500), 500, "upstream_error", id="an upstream that fails"),
    ],
)
async def test_the_record_that_an_error_names_says_what_the_error_was(
    recorded: Service, script: Any, status: int, error: str
) -> None:
    recorded.upstream.script = script
    reply = await recorded.post("/v1/chat/completions", chat_body())
    await settled(recorded)
    record = recorded.sink.records[reply.headers["x-safeguard-decision-id"]]
    assert (reply.status, record["status"], record["error"]) == (status, status, error)
    assert record["action"] == "forward"


async def test_a_fault_without_a_decision_is_on_record_as_one(recorded: Service) -> None:
    reply = await recorded.post("/v1/chat/completions", {"model": "m", "messages": 1})
    (record,) = recorded.records
    assert record["decision_id"] == reply.headers["x-safeguard-decision-id"]
    assert (record["action"], record["cause"], record["error"], record["status"]) == (
        "refuse",
        "fault",
        "invalid_type",
        400,
    )
    assert "verdicts" not in record


async def test_verdicts_in_shadow_are_added(recorded: Service, guard: ScriptedServer) -> None:
    reply = await recorded.post("/shadow/v1/chat/completions", chat_body(MARK))
    assert reply.status == 200
    async with asyncio.timeout(10):
        while "shadow" not in recorded.records[0]:  # noqa: ASYNC110 - another thread writes
            await asyncio.sleep(0.001)
    record = recorded.records[0]
    assert [(v["policy"], v["mode"], v["outcome"]) for v in record["shadow"]] == [("draft", "shadow", "refuse")]
    assert record["action"] == "forward"


async def test_a_record_says_all_that_a_decision_follows_from(recorded: Service) -> None:
    reply = await recorded.post("/mask/v1/chat/completions", chat_body(f"Say {MARK} twice: {MARK}."))
    record = recorded.sink.records[f"{reply.headers['x-request-id']}-input"]
    (verdict,) = record["verdicts"]
    loaded = recorded.app.loaded
    (route,) = [r for r in loaded.routes if r.config.name == "mask"]
    assert record["configuration"] == loaded.configuration
    assert record["policy_set"] == route.policy_set == reply.headers["x-safeguard-policy-set"]
    assert (record["route"], record["endpoint"]) == ("mask", "/v1/chat/completions")
    assert verdict["revision"] == loaded.policies["marker"].revision
    assert (verdict["score"], verdict["thresholds"], verdict["tier"], verdict["model"]) == (
        1.0,
        {"rewrite": 0.5},
        "detector",
        "detector",
    )
    assert [(f["start"], f["end"]) for f in record["findings"]] == [(4, 16), (24, 36)]
    assert record["at_ms"] >= record["screen_ms"] > 0
    assert record["seq"] > 0
    assert [p.name for p in recorded.sink.policies] == ["marker", "draft"]


async def test_every_answer_of_the_data_port_names_a_record(recorded: Service) -> None:
    paths = [
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/responses",
        "/v1/embeddings",
        "/v1/moderations",
        "/x",
        "/v1/files",
    ]
    bodies: list[Any] = [
        chat_body(),
        {"model": "m", "prompt": "Hi"},
        {"model": "m", "input": "Hi"},
        b"no JSON",
        [],
        b"",
    ]
    told = []
    for path in paths:
        for body in bodies:
            told.append(await recorded.post(path, body))
    async with recorded.session.get(recorded.url("/v1/models")) as answer:
        headers = {k.lower(): v for k, v in answer.headers.items()}
        told.append(checked(Reply(answer.status, headers, await answer.read())))
    async with recorded.session.put(recorded.url("/v1/models")) as answer:
        headers = {k.lower(): v for k, v in answer.headers.items()}
        told.append(checked(Reply(answer.status, headers, await answer.read())))
    await settled(recorded)
    for reply in told:
        record = recorded.sink.records[reply.headers["x-safeguard-decision-id"]]
        assert record["status"] == reply.status
        assert record["request_id"] == reply.headers["x-request-id"]
    assert all(r["state"] == "decided" for r in recorded.records)

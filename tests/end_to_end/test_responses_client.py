"""``/v1/responses`` through the official client, unchanged but for its ``base_url``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import openai
import orjson
import pytest
from aiohttp import web
from openai.types.responses import ResponseStreamEvent
from pydantic import BaseModel

from proxy.records import MAX_LISTED
from rules.policy import DEFAULT_REFUSAL_TEXT
from tests.end_to_end.servers import (
    ANSWER_HEADERS,
    CLIENT_KEY,
    MARK,
    UPSTREAM_KEY,
    Proxy,
    Received,
    Script,
    ScriptedServer,
    checked,
    hangs,
    judges_mark,
    post,
    replies,
    streams,
    verdict,
)
from tests.proxy.responses_examples import EVENTS, of_call, of_message, of_response

CONFIG = """
upstreams:
  default: {base_url: "${UPSTREAM_URL}"}
  keyed: {base_url: "${UPSTREAM_URL}", api_key_env: UPSTREAM_KEY}
  demo: {base_url: demo}
guards:
  fleet: {engine: openai, base_url: "${GUARD_URL}", model: gpt-oss-safeguard-20b, timeout_s: 5, cache_entries: 0}
  down1: {engine: openai, base_url: "${DOWN_URL}", model: m}
  down2: {engine: openai, base_url: "${DOWN_URL}", model: m}
default_guard: fleet
policies:
  marker: {detector: patterns, literals: ["ZQ-MARK-7781"], refusal_text: "We do not talk about markers."}
  mask:   {detector: patterns, literals: ["secret-word"]}
  model:  {text: "Content that holds the mark."}
  careful: {text: "Content that holds the mark.", advisory: "Be careful."}
routes:
  - &error
    name: error
    match: {path: /error/v1/*}
    upstream: default
    input: [{policy: marker, refuse: 0.5}]
    output: [{policy: marker, refuse: 0.5}]
  - {<<: *error, name: message, match: {path: /message/v1/*}, refusal: message}
  - {<<: *error, name: window, match: {path: /window/v1/*}, stream: window, window_chars: 40, overlap_chars: 20}
  - {<<: *error, name: window-message, match: {path: /window-message/v1/*}, stream: window, window_chars: 40, overlap_chars: 20, refusal: message}
  - {<<: *error, name: first, match: {path: /first/v1/*}, stream: deliver_first, window_chars: 40, overlap_chars: 20}
  - {<<: *error, name: state, match: {path: /state/v1/*}, server_state: allow}
  - {<<: *error, name: opaque, match: {path: /opaque/v1/*}, opaque: forward, upstream: keyed}
  - {<<: *error, name: demo, match: {path: /demo/v1/*}, upstream: demo}
  - name: masked
    match: {path: /masked/v1/*}
    upstream: default
    stream: window
    window_chars: 40
    overlap_chars: 20
    input: [{policy: mask, rewrite: 0.5}]
    output: [{policy: mask, rewrite: 0.5}]
  - {name: restored, match: {path: /restored/v1/*}, upstream: default, stream: window, window_chars: 40, overlap_chars: 20,
     input: [{policy: mask, rewrite: 0.5, restore: true}]}
  - {name: advised, match: {path: /advised/v1/*}, upstream: default, input: [{policy: careful, rewrite: 0.5, rewrite_with: advisory}]}
  - name: judged
    match: {path: /judged/v1/*}
    upstream: default
    stream: window
    window_chars: 40
    overlap_chars: 20
    input: [{policy: model, refuse: 0.9}]
    output: [{policy: model, refuse: 0.9}]
  - {name: down, match: {path: /down/v1/*}, upstream: default, input: [{policy: model, guard: down1, refuse: 0.5}]}
  - {name: down-out, match: {path: /down-out/v1/*}, upstream: default, output: [{policy: model, guard: down2, refuse: 0.5}]}
"""

TEXT = "We do not talk about markers."
FINE = "This is a long and friendly sentence that nobody minds at all. "
WEATHER: Any = {
    "type": "function",
    "name": "weather",
    "description": "The weather.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
    "strict": True,
}
CALL = {"type": "function_call", "id": "fc_up", "call_id": "call_1", "name": "weather", "arguments": ""}


def wire(events: list[dict[str, Any]]) -> list[bytes]:
    """Events as OpenAI sends them."""
    return [b"event: %s\ndata: %s\n\n" % (e["type"].encode(), orjson.dumps(e)) for e in events]


def spoken(*pieces: str) -> list[bytes]:
    return wire(of_response(of_message(0, "".join(pieces), list(pieces))))


def whole(text: str = "Hello there.", **more: Any) -> dict[str, Any]:
    """A response that is not streamed."""
    response: dict[str, Any] = of_response()[-1]["response"]
    return {**response, "output": [of_message(0, text)[-1]["item"]], **more}


def called(*pieces: str) -> list[dict[str, Any]]:
    return of_call(0, CALL, "function_call_arguments", "arguments", list(pieces))


async def answers(request: web.BaseRequest, received: Received) -> web.StreamResponse:
    """The default upstream."""
    said = spoken("Hello", " there.") if received.json.get("stream") else None
    return await (streams(*said) if said else replies(whole()))(request, received)


class InTwo:
    """An upstream that sends the second half of its events only when it is told to."""

    def __init__(self, upstream: ScriptedServer, first: list[bytes], second: list[bytes]) -> None:
        self._go = asyncio.Event()
        self._loop = upstream.loop
        self._halves = first, second
        upstream.script = self._answer

    async def _answer(self, request: web.BaseRequest, received: Received) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        first, second = self._halves
        await response.write(b"".join(first))
        await self._go.wait()
        await response.write(b"".join(second))
        await response.write_eof()
        return response

    def go_on(self, event: ResponseStreamEvent) -> ResponseStreamEvent:
        """Let it go on once the client has heard some text."""
        if event.type == "response.output_text.delta":
            self._loop.call_soon_threadsafe(self._go.set)
        return event


@pytest.fixture(autouse=True)
def _answering(upstream: ScriptedServer, guard: ScriptedServer) -> None:
    upstream.script = answers


@pytest.fixture
def client(proxy: Proxy) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=proxy.url("/error"), api_key=CLIENT_KEY, max_retries=0) as client:
        yield client


@pytest.fixture
async def async_client(proxy: Proxy) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=proxy.url("/error"), api_key=CLIENT_KEY, max_retries=0) as client:
        yield client


def on(client: openai.OpenAI, proxy: Proxy, route: str) -> openai.OpenAI:
    return client.with_options(base_url=proxy.url(f"/{route}"))


def said(events: list[ResponseStreamEvent]) -> str:
    return "".join(e.delta for e in events if e.type == "response.output_text.delta")


def last(events: list[ResponseStreamEvent]) -> Any:
    """The last event, which carries the response; nothing comes after it, and the numbers leave nothing out."""
    assert [e.sequence_number for e in events] == list(range(len(events)))
    assert events[0].type == "response.created"
    return events[-1]


# ------------------------------------------------------------------ forwarded


def test_a_plain_request_is_answered(client: openai.OpenAI, upstream: ScriptedServer) -> None:
    raw = client.responses.with_raw_response.create(
        model="gpt-4o", input="Hi", instructions="Be brief.", tools=[WEATHER], metadata={"k": "v"}, temperature=0.2
    )
    answer = raw.parse()
    assert answer.output_text == "Hello there."
    assert (answer.status, answer.model, answer.instructions) == ("completed", "gpt-4o-2024", "Be brief.")
    assert answer.tools[0].to_dict() == WEATHER
    assert (answer.tool_choice, answer.parallel_tool_calls, answer.metadata) == ("auto", True, {"k": "v"})
    assert answer.usage is not None
    assert answer.usage.total_tokens == 3
    assert answer.id == f"resp_{raw.headers['x-request-id']}"
    assert raw.headers["x-safeguard-decision"] == "forward"
    assert raw.headers["x-safeguard-unjudged"] == "0"
    [sent] = upstream.received
    assert sent.json == {
        "model": "gpt-4o", "input": "Hi", "instructions": "Be brief.", "tools": [WEATHER], "metadata": {"k": "v"},
        "temperature": 0.2, "store": False,
    }  # fmt: skip
    assert sent.target == "/v1/responses"


@pytest.mark.parametrize("route", ["error", "window", "first", "judged"])
def test_a_stream_is_answered(client: openai.OpenAI, proxy: Proxy, upstream: ScriptedServer, route: str) -> None:
    upstream.script = streams(*spoken("Hello", " there. ", FINE, FINE))
    events = list(on(client, proxy, route).responses.create(model="gpt-4o", input="Hi", stream=True))
    assert said(events) == "Hello there. " + FINE * 2
    end = last(events)
    assert end.type == "response.completed"
    assert end.response.output_text == "Hello there. " + FINE * 2
    assert len({e.response.id for e in events if hasattr(e, "response")}) == 1


def test_an_answer_is_converted_when_the_upstream_does_not_do_as_asked(
    client: openai.OpenAI, upstream: ScriptedServer
) -> None:
    upstream.script = replies(whole())
    events = list(client.responses.create(model="gpt-4o", input="Hi", stream=True))
    assert said(events) == last(events).response.output_text == "Hello there."
    upstream.script = streams(*spoken("Hello", " there."))
    assert client.responses.create(model="gpt-4o", input="Hi").output_text == "Hello there."


class Answer(BaseModel):
    city: str


def test_the_stream_and_parse_helpers(client: openai.OpenAI, proxy: Proxy, upstream: ScriptedServer) -> None:
    for route in ("error", "window", "first"):
        upstream.script = streams(*spoken('{"city":', ' "Wien"}'))
        with on(client, proxy, route).responses.stream(model="gpt-4o", input="Hi", text_format=Answer) as stream:
            kinds = {event.type for event in stream}
            final = stream.get_final_response()
        assert final.output_parsed == Answer(city="Wien")
        assert {"response.output_text.delta", "response.output_text.done", "response.completed"} <= kinds
    upstream.script = replies(whole('{"city": "Wien"}'))
    assert client.responses.parse(model="gpt-4o", input="Hi", text_format=Answer).output_parsed == Answer(city="Wien")
    assert upstream.received[-1].json["text"]["format"]["type"] == "json_schema"


@pytest.mark.parametrize("route", ["error", "window", "first"])
def test_calls_of_functions_and_their_results(
    client: openai.OpenAI, proxy: Proxy, upstream: ScriptedServer, route: str
) -> None:
    client = on(client, proxy, route)
    upstream.script = streams(*wire(of_response(called('{"city"', ': "Wien"}'), of_message(1, FINE * 3))))
    with client.responses.stream(model="gpt-4o", input="Hi", tools=[WEATHER]) as stream:
        final = stream.get_final_response()
    call: Any = final.output[0]
    assert (call.type, call.call_id, call.name, call.arguments) == (
        "function_call",
        "call_1",
        "weather",
        '{"city": "Wien"}',
    )
    assert final.output_text == FINE * 3
    upstream.script = answers
    history: Any = [
        {"role": "user", "content": "Hi"},
        call.to_dict(),
        {"type": "function_call_output", "call_id": "call_1", "output": "sunny"},
    ]
    history[1].pop("parsed_arguments", None)
    client.responses.create(model="gpt-4o", input=history, tools=[WEATHER])
    assert upstream.received[-1].json["input"] == history
    history[2]["output"] = MARK
    with pytest.raises(openai.BadRequestError):
        client.responses.create(model="gpt-4o", input=history, tools=[WEATHER])
    assert len(upstream.received) == 2


def test_a_whole_conversation_goes_back_in(client: openai.OpenAI, proxy: Proxy, upstream: ScriptedServer) -> None:
    client = on(client, proxy, "opaque")
    upstream.script = streams(*wire(EVENTS))
    with client.responses.stream(model="gpt-4o", input="Hi", include=["reasoning.encrypted_content"]) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()
    assert kinds.count("response.output_item.done") == len(final.output) > 20
    upstream.script = answers
    items: Any = [item.to_dict() for item in final.output if item.type != "function_call_output"]
    for item in items:
        item.pop("parsed_arguments", None)
        for part in item.get("content") or ():
            part.pop("parsed", None)
    again = client.responses.with_raw_response.create(model="gpt-4o", input=items)
    assert again.parse().output_text == "Hello there."
    assert int(again.headers["x-safeguard-unjudged"]) >= 2  # the image and the encrypted reasoning


async def test_the_async_client(async_client: openai.AsyncOpenAI, proxy: Proxy, upstream: ScriptedServer) -> None:
    assert (await async_client.responses.create(model="gpt-4o", input="Hi")).output_text == "Hello there."
    events = [e async for e in await async_client.responses.create(model="gpt-4o", input="Hi", stream=True)]
    assert said(events) == "Hello there."
    async with async_client.responses.stream(model="gpt-4o", input="Hi") as stream:
        assert (await stream.get_final_response()).output_text == "Hello there."
    with pytest.raises(openai.BadRequestError) as refused:
        await async_client.responses.create(model="gpt-4o", input=f"Say {MARK}", stream=True)
    assert refused.value.code == "content_filter"
    halves = spoken(FINE, FINE, f"I say {MARK}.", FINE)
    server = InTwo(upstream, halves[:6], halves[6:])
    windowed = async_client.with_options(base_url=proxy.url("/window"))
    events = [server.go_on(e) async for e in await windowed.responses.create(model="gpt-4o", input="Hi", stream=True)]
    assert last(events).type == "response.incomplete"
    assert said(events).endswith(TEXT)


def test_the_demo_upstream_answers(client: openai.OpenAI, proxy: Proxy) -> None:
    client = on(client, proxy, "demo")
    assert client.responses.create(model="demo", input="Good morning").output_text == "You said: Good morning"
    parts: Any = [{"role": "user", "content": [{"type": "input_text", "text": "Good night"}]}]
    with client.responses.stream(model="demo", input=parts) as stream:
        assert stream.get_final_response().output_text == "You said: Good night"


# ------------------------------------------------------------------ refused


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("stage", ["input", "output"])
def test_refused_as_an_error(client: openai.OpenAI, upstream: ScriptedServer, stage: str, stream: bool) -> None:
    if stage == "output":
        upstream.script = streams(*spoken("I say ZQ-", "MARK-77", "81.")) if stream else replies(whole(MARK))
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model="gpt-4o", input=f"Say {MARK}" if stage == "input" else "Hi", stream=stream)
    e = caught.value
    assert (e.code, e.type, e.param) == ("content_filter", "invalid_request_error", "input")
    body: Any = e.body
    assert body["message"] == TEXT
    assert body["innererror"]["policies"] == ["marker"]
    assert e.response.headers["content-type"].startswith("application/json")
    assert e.response.headers["x-should-retry"] == "false"
    assert e.response.headers["x-safeguard-decision"] == "refuse"
    assert MARK not in e.response.text
    assert len(upstream.received) == (0 if stage == "input" else 1)


@pytest.mark.parametrize("stage", ["input", "output"])
def test_refused_as_a_message(client: openai.OpenAI, proxy: Proxy, upstream: ScriptedServer, stage: str) -> None:
    client = on(client, proxy, "message")
    asked = f"Say {MARK}" if stage == "input" else "Hi"
    if stage == "output":
        upstream.script = replies(whole(MARK))
    answer = client.responses.create(model="gpt-4o", input=asked)
    if stage == "output":
        upstream.script = streams(*spoken("fine so far ", "ZQ-MARK", "-7781"))
    events = list(client.responses.create(model="gpt-4o", input=asked, stream=True))
    assert said(events) == TEXT
    assert [e.type.removeprefix("response.") for e in events] == [
        "created", "in_progress", "output_item.added", "content_part.added", "output_text.delta", "output_text.done",
        "content_part.done", "output_item.done", "incomplete",
    ]  # fmt: skip
    for response in (answer, last(events).response):
        assert response.status == "incomplete"
        assert response.incomplete_details is not None
        assert response.incomplete_details.reason == "content_filter"
        assert response.output_text == TEXT
        assert response.model == "gpt-4o" if stage == "input" else True
        assert response.usage is not None
        assert response.usage.total_tokens == (3 if stage == "output" else 0)


@pytest.mark.parametrize("route", ["window", "window-message", "judged", "first"])
def test_refused_midway(
    client: openai.OpenAI, proxy: Proxy, upstream: ScriptedServer, guard: ScriptedServer, route: str
) -> None:
    thought = [
        {"type": "response.reasoning_summary_text.delta", "output_index": 0, "summary_index": 0, "delta": FINE * 2}
    ]
    text = of_message(1, "", [FINE, FINE, FINE, "I say ZQ-M", "ARK-7781. ", FINE, FINE])[:-3]
    halves = wire(of_response(thought, text))
    server = InTwo(upstream, halves[:9], halves[9:])
    stream = on(client, proxy, route).responses.create(model="gpt-4o", input="Hi", stream=True)
    events = [server.go_on(event) for event in stream]
    end = last(events)
    assert end.type == "response.incomplete"
    assert end.response.incomplete_details.reason == "content_filter"
    assert end.response.output_text == said(events)
    opened = [e.output_index for e in events if e.type == "response.output_item.added"]
    assert opened == [e.output_index for e in events if e.type == "response.output_item.done"]
    assert said(events).endswith(TEXT if route != "judged" else DEFAULT_REFUSAL_TEXT)
    if route != "first":  # what is delivered first is out before anybody has judged it
        assert said(events).startswith("This is a long")
        assert "ZQ-M" not in repr(events)


def test_refused_calls_never_leave(client: openai.OpenAI, proxy: Proxy, upstream: ScriptedServer) -> None:
    halves = wire(of_response(called('{"city"', ': "ZQ-M\\u00', '41RK-7781"}'), of_message(1, FINE * 3)))
    upstream.script = streams(*halves)
    with pytest.raises(openai.BadRequestError):
        client.responses.create(model="gpt-4o", input="Hi", tools=[WEATHER], stream=True)
    for route in ("window", "first"):
        server = InTwo(upstream, halves[:-3], halves[-3:])
        stream = on(client, proxy, route).responses.create(model="gpt-4o", input="Hi", stream=True)
        events = [server.go_on(event) for event in stream]
        assert last(events).type == "response.incomplete"
        assert not [e for e in events if e.type.startswith("response.function_call_arguments")]
        assert {item.type for item in last(events).response.output} == {"message"}


def test_a_rewrite_masks_what_goes_and_what_comes(
    client: openai.OpenAI, proxy: Proxy, upstream: ScriptedServer
) -> None:
    client = on(client, proxy, "masked")
    upstream.script = streams(*spoken(FINE, "It is secret-", "word, ", FINE, FINE))
    raw = client.responses.with_raw_response.create(model="gpt-4o", input="It is secret-word.", stream=True)
    events = list(raw.parse())
    assert "secret-word" not in repr(events)
    assert said(events) == last(events).response.output_text
    assert said(events).startswith(FINE + "It is <")
    assert "secret-word" not in repr(upstream.received[0].json)


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_masked_values_are_put_back_everywhere_in_an_answer(
    client: openai.OpenAI, proxy: Proxy, upstream: ScriptedServer, stream: bool
) -> None:
    async def echoes(request: web.BaseRequest, received: Received) -> web.StreamResponse:
        masked = received.json["input"].removeprefix("It is ").removesuffix(".")
        call = called(f'{{"word": "{masked}"}}')
        said = of_message(1, "", [FINE, "Then it is ", masked[:3], masked[3:], ". ", FINE])[:-3]
        return await streams(*wire(of_response(call, said)))(request, received)

    upstream.script = echoes
    client = on(client, proxy, "restored")
    if stream:
        events = list(client.responses.create(model="gpt-4o", input="It is secret-word.", stream=True))
        answer = last(events).response
        assert said(events) == answer.output_text
        assert [e.text for e in events if e.type == "response.output_text.done"] == [answer.output_text]
    else:
        answer = client.responses.create(model="gpt-4o", input="It is secret-word.")
    assert answer.output_text == f"{FINE}Then it is secret-word. {FINE}"
    assert answer.output[0].arguments == '{"word": "secret-word"}'
    assert "secret-word" not in repr(upstream.received[0].json)


def test_an_advisory_goes_to_the_upstream_as_a_message(
    client: openai.OpenAI, proxy: Proxy, upstream: ScriptedServer, guard: ScriptedServer
) -> None:
    client = on(client, proxy, "advised")
    items: Any = [{"role": "developer", "content": "d"}, {"role": "user", "content": f"Say {MARK}"}]
    for asked in (f"Say {MARK}", items):
        answer = client.responses.create(model="gpt-4o", input=asked, instructions="Be brief.")
        assert answer.instructions == "Be brief."
    sent = [received.json["input"] for received in upstream.received]
    assert sent[0] == [{"role": "system", "content": "Be careful."}, {"role": "user", "content": f"Say {MARK}"}]
    assert sent[1] == [items[0], {"role": "developer", "content": "Be careful."}, items[1]]


# ------------------------------------------------------------------ state on the server


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"background": True}, "background"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0]"),
    ],
)
def test_state_on_the_server_is_refused_or_counted(
    client: openai.OpenAI, proxy: Proxy, upstream: ScriptedServer, fields: Any, name: str
) -> None:
    asked: Any = {"model": "gpt-4o", "input": "Hi", **fields}
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(**asked)
    assert (caught.value.code, caught.value.param) == ("unsupported_field", name)
    assert upstream.received == []
    raw = on(client, proxy, "state").responses.with_raw_response.create(**asked)
    assert raw.headers["x-safeguard-unjudged"] == "1"
    assert raw.parse().id == "resp_up"  # so that the next request can refer to it
    assert upstream.received[0].json == asked
    proxy.wait_log(lambda line: line.get("unseen") == [name])


def test_nothing_is_kept_on_the_server(client: openai.OpenAI, proxy: Proxy, upstream: ScriptedServer) -> None:
    client.responses.create(model="gpt-4o", input="Hi", store=True)
    on(client, proxy, "state").responses.create(model="gpt-4o", input="Hi", store=True)
    assert [r.json["store"] for r in upstream.received] == [False, True]
    for call in (client.responses.retrieve, client.responses.delete, client.responses.cancel):
        with pytest.raises(openai.NotFoundError):
            call("resp_1")


# ------------------------------------------------------------------ nobody could judge, nobody answered


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("route", ["down", "down-out"])
def test_a_guard_that_is_down_is_no_refusal(
    client: openai.OpenAI, proxy: Proxy, upstream: ScriptedServer, route: str, stream: bool
) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        on(client, proxy, route).responses.create(model="gpt-4o", input="Hi", stream=stream)
    assert (caught.value.status_code, caught.value.code) == (503, "guard_unavailable")
    assert len(upstream.received) == (1 if route == "down-out" else 0)


def failing_after(n: int) -> Script:
    """A guard that fails from its ``n``-th answer on."""
    calls = iter(range(1000))

    async def script(request: web.BaseRequest, received: Received) -> web.StreamResponse:
        return await (judges_mark if next(calls) < n else replies(verdict("?")))(request, received)

    return script


def test_a_guard_that_fails_midway_ends_the_stream_with_an_error(
    client: openai.OpenAI, proxy: Proxy, upstream: ScriptedServer, guard: ScriptedServer
) -> None:
    halves = spoken(*[FINE] * 10)
    server = InTwo(upstream, halves[:8], halves[8:])
    guard.script = failing_after(2)
    stream = on(client, proxy, "judged").responses.create(model="gpt-4o", input="Hi", stream=True)
    heard: list[str] = []
    with pytest.raises(openai.APIError) as caught:
        heard.extend(server.go_on(event).type for event in stream)
    body: Any = caught.value.body
    assert body["code"] == "guard_unavailable"
    assert heard[-1] == "response.output_text.delta"


@pytest.mark.parametrize("route", ["error", "window", "first"])
@pytest.mark.parametrize(
    "script",
    [
        pytest.param(streams(*spoken(*[FINE] * 4)[:-4]), id="no-end"),
        pytest.param(streams(*spoken(*[FINE] * 4)[:-4], then="abort"), id="broken-off"),
        pytest.param(streams(*spoken(*[FINE] * 4)[:-4], *wire([{"type": "error", "code": "x", "message": MARK}])), id="error"),
        pytest.param(streams(*spoken(*[FINE] * 4)[:-4], *wire(of_response(end="failed", error={"message": MARK})[-1:])), id="failed"),
        pytest.param(streams(*spoken(*[FINE] * 4)[:-4], b"data: nonsense " + MARK.encode() + b"\n\n"), id="nonsense"),
    ],
)  # fmt: skip
async def test_an_upstream_that_fails_midway_ends_the_stream_with_an_error(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession, route: str, script: Script
) -> None:
    upstream.script = script
    body = {"model": "gpt-4o", "input": "Hi", "stream": True}
    reply = await post(session, proxy.url(f"/{route}") + "/responses", body)
    assert reply.status == 200
    names = [line for line in reply.body.decode().split("\n") if line.startswith("event: ")]
    assert names[-1] == "event: error"
    assert not {"event: response.completed", "event: response.incomplete"} & set(names)
    data = orjson.loads(reply.body.decode().strip().rpartition("data: ")[2])
    assert data["code"] == data["error"]["code"] == "bad_upstream_response"
    assert data["sequence_number"] == len(names) - 1
    assert MARK not in reply.body.decode()


def test_an_upstreams_failure_keeps_its_class(client: openai.OpenAI, upstream: ScriptedServer) -> None:
    upstream.script = replies({"error": {"message": f"boom {MARK}"}}, 500)
    with pytest.raises(openai.InternalServerError) as failed:
        client.responses.create(model="gpt-4o", input="Hi")
    assert MARK not in failed.value.response.text
    upstream.script = replies({"error": {"message": "slow down"}}, 429, {"Retry-After": "7"})
    with pytest.raises(openai.RateLimitError) as limited:
        client.responses.create(model="gpt-4o", input="Hi", stream=True)
    assert limited.value.response.headers["retry-after"] == "7"
    upstream.script = replies({"error": {"message": "No such model.", "type": "t", "code": "model_not_found"}}, 404)
    with pytest.raises(openai.NotFoundError) as missing:
        client.responses.create(model="gpt-4o", input="Hi")
    assert missing.value.code == "model_not_found"
    for nonsense in (b"{", b"[]", b"{}", orjson.dumps({"choices": []})):
        upstream.script = replies(nonsense)
        with pytest.raises(openai.InternalServerError) as bad:
            client.responses.create(model="gpt-4o", input="Hi")
        assert bad.value.code == "bad_upstream_response"


# ------------------------------------------------------------------ the bytes


def segmented(events: list[bytes], how: str) -> Script:
    data = b"".join(events)
    if how == "bytes":
        return streams(*(data[i : i + 1] for i in range(len(data))))
    return streams(*events) if how == "events" else streams(data)


async def test_the_answer_does_not_depend_on_how_the_stream_was_cut(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    body = {"model": "gpt-4o", "input": "Hi", "stream": True}
    events = wire(of_response(called('{"a":', " 1}"), of_message(1, "", ["Grüß ", "Gott 👋", "."])[:-3]))
    bad = spoken("I say ZQ-", "MARK-", "7781")
    for script, status in ((events, 200), (bad, 400)):
        got = set()
        for how in ("whole", "events", "bytes"):
            upstream.script = segmented(script, how)
            reply = await post(session, proxy.url("/error") + "/responses", body)
            assert reply.status == status
            ours = reply.headers["x-request-id"]
            got.add(reply.body.replace(ours.encode(), b"ID").replace(b": keep-alive\n\n", b""))
        assert len(got) == 1


async def test_the_client_hears_comments_while_the_stream_is_held(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    body = {"model": "gpt-4o", "input": "Hi", "stream": True}

    async def hesitates(request: web.BaseRequest, received: Received) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await asyncio.sleep(1.3)
        for event in spoken("Hello"):
            await response.write(event)
        return response

    upstream.script = hesitates
    reply = await post(session, proxy.url("/error") + "/responses", body)
    assert reply.body.startswith(b": keep-alive\n\n")
    assert b"[DONE]" not in reply.body
    assert reply.body.rstrip().rpartition(b"event: ")[2].startswith(b"response.completed")


async def test_keys_of_unreadable_parts_stay_out_of_the_log_which_does_not_grow_with_them(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    def item(who: str, n: int) -> dict[str, Any]:
        pictures = {f"{who} {i}": "A" * 256 for i in range(n)}
        return {"type": "image_generation_call", "id": "ig", "status": "completed", "result": "A" * 400, **pictures}

    upstream.script = replies(whole(output=[item("Jane Roe", 9)]))
    reply = await post(
        session, proxy.url("/opaque") + "/responses", {"model": "gpt-4o", "input": [item("John Roe", 300)]}
    )
    assert (reply.status, reply.headers["x-safeguard-unjudged"]) == (200, "311")
    line = proxy.wait_log(lambda line: line.get("request_id") == reply.headers["x-request-id"])
    assert "Roe" not in proxy.log
    given, back = line["input"], line["output"]
    assert set(given["unjudged"]) == {"opaque:input.0.*", "opaque:input.0.result"}
    assert (len(given["unjudged"]), given["unjudged_left_out"]) == (MAX_LISTED, 301 - MAX_LISTED)
    assert sorted(set(back["unjudged"])) == ["opaque:output.0.*", "opaque:output.0.result"]
    assert "unjudged_left_out" not in back


@pytest.mark.parametrize(
    ("tool", "allowed_by", "code"),
    [
        ({"type": "image_generation", "input_image_mask": {"file_id": "file-1"}}, "opaque", "content_filter"),
        ({"type": "code_interpreter", "container": {"type": "auto", "file_ids": ["file-1"]}}, "opaque", "content_filter"),
        ({"type": "code_interpreter", "container": "cntr_1"}, "state", "unsupported_field"),
        ({"type": "file_search", "vector_store_ids": ["vs_1"]}, "state", "unsupported_field"),
    ],
    ids=["mask", "files", "container", "store"],
)  # fmt: skip
async def test_what_tools_refer_to_stays_here_unless_the_route_lets_it_cross(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession, tool: Any, allowed_by: str, code: str
) -> None:
    asked = {"model": "gpt-4o", "input": "Hi", "tools": [tool]}
    for route in {"error", "opaque", "state"} - {allowed_by}:
        reply = await post(session, proxy.url(f"/{route}") + "/responses", asked)
        assert (reply.status, reply.error["code"], upstream.received) == (400, code, [])
    reply = await post(session, proxy.url(f"/{allowed_by}") + "/responses", asked)
    assert (reply.status, reply.headers["x-safeguard-unjudged"]) == (200, "1")
    assert upstream.received[0].json["tools"] == [tool]


async def test_references_to_the_upstreams_side_are_counted_where_they_are_many(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    asked = {"model": "gpt-4o", "input": [{"type": "item_reference", "id": f"msg_{i}"} for i in range(MAX_LISTED + 5)]}
    reply = await post(session, proxy.url("/state") + "/responses", asked)
    assert reply.headers["x-safeguard-unjudged"] == str(MAX_LISTED + 5)
    line = proxy.wait_log(lambda line: line.get("request_id") == reply.headers["x-request-id"])
    assert (len(line["unseen"]), line["unseen_left_out"]) == (MAX_LISTED, 5)


async def test_the_upstreams_key_is_masked_and_headers_are_on_every_answer(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    url = proxy.url("/opaque") + "/responses"
    upstream.script = streams(*spoken("It is sk-upstream-0123", "456789abcdefKEY."))
    reply = checked(await post(session, url, {"model": "gpt-4o", "input": "Hi", "stream": True}))
    assert UPSTREAM_KEY.encode() not in reply.body
    assert b"It is <HIDDEN>." in reply.body
    assert (await post(session, url, {"model": "gpt-4o"})).error["param"] == "input"
    assert (await post(session, url, {"model": "gpt-4o", "input": "Hi", "stream": "true"})).error["param"] == "stream"
    async with session.get(url) as response:
        assert response.status == 405
        assert all(name in response.headers for name in ANSWER_HEADERS)


async def test_a_client_that_leaves_closes_its_upstream_call(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    upstream.script = hangs
    url = proxy.url("/error") + "/responses"
    task = asyncio.ensure_future(post(session, url, {"model": "gpt-4o", "input": "Hi", "stream": True}))  # noqa: TID251 - awaited below
    received = await asyncio.to_thread(lambda: upstream.wait_received()[0])
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(received.gone.wait, 5)


def test_what_nobody_can_read_in_an_answer_is_refused_or_counted(
    client: openai.OpenAI, proxy: Proxy, upstream: ScriptedServer
) -> None:
    image = {"type": "image_generation_call", "id": "ig", "status": "completed", "result": "A" * 400}
    item = {"type": "response.output_item.done", "output_index": 0, "item": image}
    for stream, script in ((False, replies(whole(output=[image]))), (True, streams(*wire(of_response([item]))))):
        upstream.script = script
        with pytest.raises(openai.BadRequestError) as caught:
            client.responses.create(model="gpt-4o", input="Hi", stream=stream)
        body: Any = caught.value.body
        assert body["innererror"]["policies"] == ["opaque-content"]
    raw = on(client, proxy, "opaque").responses.with_raw_response.create(model="gpt-4o", input="Hi")
    assert raw.headers["x-safeguard-unjudged"] == "1"

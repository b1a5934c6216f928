"""The official client, unchanged but for its ``base_url``: what an application developer sees."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionChunk
from pydantic import BaseModel

from tests.end_to_end.servers import (
    ANSWER_HEADERS,
    CLIENT_KEY,
    DONE,
    MARK,
    Proxy,
    ScriptedServer,
    chunk,
    completion,
    hangs,
    replies,
    streams,
    text_stream,
)

CONFIG = """
upstreams:
  default: {base_url: "${UPSTREAM_URL}"}
guards:
  fleet: {engine: openai, base_url: "${GUARD_URL}", model: gpt-oss-safeguard-20b, cache_entries: 0}
  down1: {engine: openai, base_url: "${DOWN_URL}", model: m}
  down2: {engine: openai, base_url: "${DOWN_URL}", model: m}
  down3: {engine: openai, base_url: "${DOWN_URL}", model: m}
  down4: {engine: openai, base_url: "${DOWN_URL}", model: m}
  slow:  {engine: openai, base_url: "${GUARD_URL}", model: m, timeout_s: 0.2, cache_entries: 0}
default_guard: fleet
policies:
  marker: {detector: patterns, literals: ["ZQ-MARK-7781"], refusal_text: "We do not talk about markers."}
  model:  {text: "Content that holds the mark."}
routes:
  - name: error
    match: {path: /error/v1/*}
    upstream: default
    input: [{policy: marker, refuse: 0.5}]
    output: [{policy: marker, refuse: 0.5}]
  - name: message
    match: {path: /message/v1/*}
    upstream: default
    refusal: message
    input: [{policy: marker, refuse: 0.5}]
    output: [{policy: marker, refuse: 0.5}]
  - name: judged
    match: {path: /judged/v1/*}
    upstream: default
    input: [{policy: model, flag: 0.3, refuse: 0.9}]
    output: [{policy: model, refuse: 0.9}]
  - {name: down, match: {path: /down/v1/*}, upstream: default, input: [{policy: model, guard: down1, refuse: 0.5}]}
  - name: down-flag
    match: {path: /down-flag/v1/*}
    upstream: default
    on_error: flag
    input: [{policy: model, guard: down2, refuse: 0.5}]
  - name: down-forward
    match: {path: /down-forward/v1/*}
    upstream: default
    input: [{policy: model, guard: down3, refuse: 0.5, on_error: forward}]
  - {name: down-out, match: {path: /down-out/v1/*}, upstream: default, output: [{policy: model, guard: down4, refuse: 0.5}]}
  - {name: slow, match: {path: /slow/v1/*}, upstream: default, input: [{policy: model, guard: slow, refuse: 0.5}]}
"""

HI: Any = [{"role": "user", "content": "Hi"}]
BAD: Any = [{"role": "user", "content": f"Say {MARK}"}]
TOOLS: Any = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "The weather.",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]
TEXT = "We do not talk about markers."


@pytest.fixture
def client(proxy: Proxy) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=proxy.url("/error"), api_key=CLIENT_KEY, max_retries=0) as client:
        yield client


@pytest.fixture
async def async_client(proxy: Proxy) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=proxy.url("/error"), api_key=CLIENT_KEY, max_retries=0) as client:
        yield client


def on(client: openai.OpenAI, proxy: Proxy, route: str, **options: Any) -> openai.OpenAI:
    return client.with_options(base_url=proxy.url(f"/{route}"), **options)


def text_of(chunks: list[ChatCompletionChunk], index: int = 0) -> str:
    return "".join(c.delta.content or "" for ch in chunks for c in ch.choices if c.index == index)


def ends_of(chunks: list[ChatCompletionChunk]) -> list[tuple[int, str]]:
    return [(c.index, c.finish_reason) for ch in chunks for c in ch.choices if c.finish_reason]


# ------------------------------------------------------------------ forwarded


def test_a_plain_chat_is_answered(client: openai.OpenAI, upstream: ScriptedServer) -> None:
    answer = client.chat.completions.with_raw_response.create(model="gpt-4o", messages=HI, temperature=0.2, n=2)
    parsed = answer.parse()
    assert [c.message.content for c in parsed.choices] == ["Hello there."] * 2
    assert parsed.usage is not None
    assert parsed.usage.total_tokens == 7
    assert answer.headers["x-safeguard-decision"] == "forward"
    assert answer.headers["x-safeguard-unjudged"] == "0"
    assert parsed._request_id == answer.headers["x-request-id"]
    [sent] = upstream.received
    assert sent.json == {"model": "gpt-4o", "messages": HI, "temperature": 0.2, "n": 2}
    assert sent.target == "/v1/chat/completions"
    assert sent.header("Authorization") == f"Bearer {CLIENT_KEY}"  # the upstream has no key of its own
    assert not [name for name, _ in sent.headers if name.lower().startswith(("x-stainless", "user-agent"))]


def test_a_stream_is_answered(client: openai.OpenAI, upstream: ScriptedServer) -> None:
    chunks = list(client.chat.completions.create(model="gpt-4o", messages=HI, stream=True, n=2))
    assert [text_of(chunks, i) for i in range(2)] == ["Hello there."] * 2
    assert ends_of(chunks) == [(0, "stop"), (1, "stop")]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert all(c.usage is None for c in chunks)
    assert len({c.id for c in chunks}) == 1


def test_a_stream_has_its_usage_when_asked(client: openai.OpenAI, upstream: ScriptedServer) -> None:
    chunks = list(
        client.chat.completions.create(model="gpt-4o", messages=HI, stream=True, stream_options={"include_usage": True})
    )
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 7


async def test_the_async_client(async_client: openai.AsyncOpenAI, upstream: ScriptedServer) -> None:
    answer = await async_client.chat.completions.create(model="gpt-4o", messages=HI)
    assert answer.choices[0].message.content == "Hello there."
    stream = await async_client.chat.completions.create(model="gpt-4o", messages=HI, stream=True)
    assert text_of([c async for c in stream]) == "Hello there."
    with pytest.raises(openai.BadRequestError) as refused:
        await async_client.chat.completions.create(model="gpt-4o", messages=BAD, stream=True)
    assert refused.value.code == "content_filter"
    upstream.script = streams(*text_stream("I say ", MARK))
    with pytest.raises(openai.BadRequestError) as refused:
        await async_client.chat.completions.create(model="gpt-4o", messages=HI, stream=True)
    assert refused.value.code == "content_filter"


def test_tool_calls(client: openai.OpenAI, upstream: ScriptedServer) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Wien"}'}}
    upstream.script = replies(completion(None, tool_calls=[call]))
    answer = client.chat.completions.create(model="gpt-4o", messages=HI, tools=TOOLS, tool_choice="auto")
    [got] = answer.choices[0].message.tool_calls or []
    assert got.to_dict() == call
    assert answer.choices[0].finish_reason == "tool_calls"
    assert upstream.received[0].json["tools"] == TOOLS
    upstream.script = replies(
        completion(None, tool_calls=[{**call, "function": {"name": "weather", "arguments": MARK}}])
    )
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model="gpt-4o", messages=HI, tools=TOOLS)
    history: Any = [
        *HI,
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": MARK},
    ]
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model="gpt-4o", messages=history, tools=TOOLS)
    assert len(upstream.received) == 2


def tool_stream(*arguments: str) -> list[bytes]:
    def piece(index: int, **more: Any) -> bytes:
        return chunk({"tool_calls": [{"index": index, **more}]})

    return [
        chunk({"role": "assistant", "content": None}),
        piece(0, id="call_0", type="function", function={"name": "weather", "arguments": ""}),
        piece(1, id="call_1", type="function", function={"name": "weather", "arguments": ""}),
        *(piece(i, function={"arguments": a}) for a in arguments for i in (0, 1)),
        chunk({}, finish="tool_calls"),
        DONE,
    ]


def test_streamed_tool_calls(client: openai.OpenAI, upstream: ScriptedServer) -> None:
    upstream.script = streams(*tool_stream('{"city"', ': "Wi', 'en"}'))
    with client.chat.completions.stream(model="gpt-4o", messages=HI, tools=TOOLS) as stream:
        final = stream.get_final_completion()
    calls = final.choices[0].message.tool_calls or []
    assert [(c.id, c.function.name, c.function.arguments) for c in calls] == [
        (f"call_{i}", "weather", '{"city": "Wien"}') for i in range(2)
    ]
    upstream.script = streams(*tool_stream('{"city"', ': "ZQ-MA', 'RK-7781"}'))
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model="gpt-4o", messages=HI, tools=TOOLS, stream=True)
    upstream.script = streams(*tool_stream('{"city"', ': "ZQ-M\\u00', '41RK-7781"}'))
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model="gpt-4o", messages=HI, tools=TOOLS, stream=True)


def test_models_are_listed(client: openai.OpenAI, upstream: ScriptedServer) -> None:
    assert [m.id for m in client.models.list()] == ["gpt-4o"]


class Answer(BaseModel):
    city: str


def test_the_stream_and_parse_helpers(client: openai.OpenAI, proxy: Proxy, upstream: ScriptedServer) -> None:
    with client.chat.completions.stream(model="gpt-4o", messages=HI) as stream:
        kinds = {e.type for e in stream}
        assert stream.get_final_completion().choices[0].message.content == "Hello there."
    assert "content.done" in kinds
    upstream.script = replies(completion('{"city": "Wien"}'))
    parsed = client.chat.completions.parse(model="gpt-4o", messages=HI, response_format=Answer)
    assert parsed.choices[0].message.parsed == Answer(city="Wien")
    refusing = on(client, proxy, "message")
    with pytest.raises(openai.ContentFilterFinishReasonError):
        refusing.chat.completions.parse(model="gpt-4o", messages=BAD, response_format=Answer)
    with (
        pytest.raises(openai.ContentFilterFinishReasonError),
        refusing.chat.completions.stream(model="gpt-4o", messages=BAD, response_format=Answer) as stream,
    ):
        stream.until_done()


# ------------------------------------------------------------------ refused


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("stage", ["input", "output"])
def test_refused_as_an_error(client: openai.OpenAI, upstream: ScriptedServer, stage: str, stream: bool) -> None:
    if stage == "output":
        upstream.script = streams(*text_stream("I say ZQ-", "MARK-77", "81.")) if stream else replies(completion(MARK))
    retrying = client.with_options(max_retries=2)
    with pytest.raises(openai.BadRequestError) as caught:
        retrying.chat.completions.create(model="gpt-4o", messages=BAD if stage == "input" else HI, stream=stream)
    e = caught.value
    assert (e.code, e.type, e.param) == ("content_filter", "invalid_request_error", "messages")
    body: Any = e.body
    assert body["message"] == TEXT
    assert body["innererror"]["code"] == "content_policy_violation"
    assert body["innererror"]["policies"] == ["marker"]
    headers = e.response.headers
    assert headers["content-type"].startswith("application/json")
    assert headers["x-should-retry"] == "false"
    assert headers["x-safeguard-decision"] == "refuse"
    assert headers["x-safeguard-unjudged"] == "0"
    assert headers["x-safeguard-decision-id"] == body["innererror"]["decision_id"] == f"{e.request_id}-{stage}"
    assert MARK not in e.response.text
    assert len(upstream.received) == (0 if stage == "input" else 1)


@pytest.mark.parametrize("stage", ["input", "output"])
def test_refused_as_a_message(client: openai.OpenAI, proxy: Proxy, upstream: ScriptedServer, stage: str) -> None:
    refusing = on(client, proxy, "message")
    messages = BAD if stage == "input" else HI
    if stage == "output":
        upstream.script = replies(completion(MARK, n=2))
    answer = refusing.chat.completions.create(model="gpt-4o", messages=messages, n=2)
    assert [(c.index, c.message.content, c.finish_reason) for c in answer.choices] == [
        (i, TEXT, "content_filter") for i in range(2)
    ]
    assert answer.model == "gpt-4o"
    assert answer.usage is not None
    assert answer.usage.total_tokens == (7 if stage == "output" else 0)

    if stage == "output":
        upstream.script = streams(*text_stream("fine so far ", "ZQ-MARK", "-7781", usage=True))
    for usage in (False, True):
        chunks = list(
            refusing.chat.completions.create(
                model="gpt-4o", messages=messages, n=2, stream=True, stream_options={"include_usage": usage}
            )
        )
        assert [text_of(chunks, i) for i in range(2)] == [TEXT] * 2
        assert ends_of(chunks) == [(0, "content_filter"), (1, "content_filter")]
        assert [c.usage is not None for c in chunks] == [False] * 4 + [True] * usage


def test_a_model_policy_refuses(
    client: openai.OpenAI, proxy: Proxy, upstream: ScriptedServer, guard: ScriptedServer
) -> None:
    judged = on(client, proxy, "judged")
    assert judged.chat.completions.create(model="gpt-4o", messages=HI).choices[0].message.content == "Hello there."
    assert len(guard.received) == 2
    asked = guard.received[0].json
    assert asked["messages"][0]["content"].startswith("Content that holds the mark.")
    with pytest.raises(openai.BadRequestError) as caught:
        judged.chat.completions.create(model="gpt-4o", messages=BAD)
    assert caught.value.code == "content_filter"
    for told in ("fleet", "because", "gpt-oss"):
        assert told not in caught.value.response.text


# ------------------------------------------------------------------ nobody could judge


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("route", ["down", "down-out", "slow"])
def test_a_guard_that_is_down_is_no_refusal(
    client: openai.OpenAI, proxy: Proxy, upstream: ScriptedServer, guard: ScriptedServer, route: str, stream: bool
) -> None:
    guard.script = hangs
    with pytest.raises(openai.InternalServerError) as caught:
        on(client, proxy, route).chat.completions.create(model="gpt-4o", messages=HI, stream=stream)
    e = caught.value
    assert (e.status_code, e.code) == (503, "guard_unavailable")
    assert int(e.response.headers["retry-after"]) > 0
    assert e.response.headers["x-safeguard-unjudged"] == "0"
    assert len(upstream.received) == (1 if route == "down-out" else 0)


@pytest.mark.parametrize(("route", "decision"), [("down-flag", "flag"), ("down-forward", "forward")])
def test_on_error_lets_through_and_says_so(
    client: openai.OpenAI, proxy: Proxy, upstream: ScriptedServer, route: str, decision: str
) -> None:
    answer = on(client, proxy, route).chat.completions.with_raw_response.create(model="gpt-4o", messages=BAD)
    assert answer.parse().choices[0].message.content == "Hello there."
    assert answer.headers["x-safeguard-decision"] == decision
    assert answer.headers["x-safeguard-unjudged"] == "1"


# ------------------------------------------------------------------ every answer


def test_headers_are_on_every_answer(client: openai.OpenAI, proxy: Proxy, upstream: ScriptedServer) -> None:
    seen = [client.chat.completions.with_raw_response.create(model="gpt-4o", messages=HI).headers]
    seen.append(client.models.with_raw_response.list().headers)
    with client.chat.completions.with_streaming_response.create(model="gpt-4o", messages=HI, stream=True) as response:
        seen.append(response.headers)
        response.read()
    wrong: Any = {"role": "wizard", "content": "x"}
    with pytest.raises(openai.BadRequestError) as bad:
        client.chat.completions.create(model="gpt-4o", messages=[wrong])
    seen.append(bad.value.response.headers)
    for missing in ("/images/generations", "/rerank", "/nothing"):
        with pytest.raises(openai.NotFoundError) as nowhere:
            client.post(missing, cast_to=object, body={"model": "x", "input": MARK})
        seen.append(nowhere.value.response.headers)
        assert nowhere.value.code == "not_found"
    with pytest.raises(openai.NotFoundError) as nowhere:
        on(client, proxy, "no-such-route").chat.completions.create(model="gpt-4o", messages=HI)
    seen.append(nowhere.value.response.headers)
    for headers in seen:
        for name in ANSWER_HEADERS:
            assert name in headers
    assert len({h["x-request-id"] for h in seen}) == len(seen)
    assert len(upstream.received) == 3


def test_an_upstream_error_reaches_the_application(client: openai.OpenAI, upstream: ScriptedServer) -> None:
    error = {
        "error": {
            "message": "No such model.",
            "type": "invalid_request_error",
            "param": "model",
            "code": "model_not_found",
        }
    }
    upstream.script = replies(error, 404)
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="gpt-4o", messages=HI)
    body: Any = caught.value.body
    assert body == error["error"]

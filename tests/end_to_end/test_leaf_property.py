"""The one property worth more than every case: a forbidden text at *any* string or key is refused or does not cross.

The mark is put at every string leaf and every object key of a request, a response and a stream's chunk that have every
field this proxy knows, and some that it does not.
"""

from __future__ import annotations

import asyncio
import base64
import copy
from collections.abc import Iterator, Mapping
from typing import Any

import aiohttp
import orjson
import pytest

from proxy.chat_api import CHAT_CHUNK, CHAT_REQUEST, CHAT_RESPONSE, REINTERPRETS
from proxy.schema import Array, Object, Refused, Spec
from tests.end_to_end.servers import (
    DONE,
    MARK,
    Proxy,
    Reply,
    Script,
    ScriptedServer,
    chat_body,
    completion,
    event,
    http_request,
    parse_http,
    post,
    raw,
    replies,
    streams,
)

CONFIG = """
upstreams:
  default: {base_url: "${UPSTREAM_URL}"}
guards:
  fleet: {engine: openai, base_url: "${GUARD_URL}", model: m, timeout_s: 30, cache_entries: 0}
policies:
  marker: {detector: patterns, patterns: ["ZQ-MARK-7781"]}
  model: {text: "Content that holds the mark."}
routes:
  - name: patterns
    match: {path: /patterns/v1/*}
    upstream: default
    opaque: forward
    input: [{policy: marker, refuse: 0.5}]
    output: [{policy: marker, refuse: 0.5}]
  - name: scoped
    match: {path: /scoped/v1/*}
    upstream: default
    output: [{policy: marker, refuse: 0.5, scope: [assistant]}]
  - name: region
    match: {path: /region/v1/*, headers: {x-region: eu}}
    upstream: default
    input: [{policy: marker, refuse: 0.5}]
  - {name: elsewhere, match: {path: /region/v1/*}, upstream: default}
  - name: state
    match: {path: /state/v1/*}
    upstream: default
    server_state: allow
    input: [{policy: marker, refuse: 0.5, scope: [user]}]
  - name: guard
    match: {path: /guard/v1/*}
    upstream: default
    opaque: forward
    input: [{policy: model, refuse: 0.5}]
    output: [{policy: model, refuse: 0.5}]
"""

AT_ONCE = 12
Place = tuple[tuple[str | int, ...], str]
"""Where the mark is put: a path, and what becomes of it: ``text``, ``key`` (renamed) or ``new`` (added beside)."""

_IMAGE = "data:image/png;base64," + "A" * 400
_SCHEMA = {
    "$comment": "c", "title": "t", "type": "object", "description": "d", "required": ["city"],
    "properties": {
        "city": {"type": "string", "description": "d", "enum": ["a"], "pattern": "p", "default": "x", "examples": ["e"]},
        "deep": {"type": "object", "properties": {"n": {"const": "k"}}},
    },
}  # fmt: skip
_CALLS = [
    {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Wien"}'}},
    {"id": "c2", "type": "custom", "custom": {"name": "shell", "input": "ls"}},
]

REQUEST: dict[str, Any] = {
    "model": "gpt-4o",
    "messages": [
        {"role": "system", "content": "s", "name": "n"},
        {"role": "developer", "content": [{"type": "text", "text": "d"}], "name": "n"},
        {"role": "user", "content": "first", "name": "n"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "t"},
                {"type": "image_url", "image_url": {"url": "https://example.test/a.png", "detail": "low"}},
                {"type": "image_url", "image_url": {"url": _IMAGE}},
                {"type": "input_audio", "input_audio": {"data": "B" * 400, "format": "wav"}},
                {"type": "file", "file": {"file_id": "f", "filename": "f.pdf", "file_data": _IMAGE}},
                {"type": "video_url", "video_url": {"url": "https://example.test/a.mp4"}},
                {"type": "audio_url", "audio_url": {"url": "https://example.test/a.mp3"}},
            ],
        },
        {
            "role": "assistant", "content": "a", "name": "n", "refusal": "r", "reasoning": "r", "reasoning_content": "r",
            "tool_calls": _CALLS, "annotations": [{"type": "url_citation", "url_citation": {"url": "u", "title": "t"}}],
        },
        {"role": "assistant", "content": [{"type": "text", "text": "a"}, {"type": "refusal", "refusal": "r"}]},
        {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}, "unknown": {"a": ["b"]}},
        {"role": "tool", "content": "result", "tool_call_id": "c1"},
        {"role": "tool", "content": [{"type": "text", "text": "result", "unknown": "x"}], "tool_call_id": "c2"},
        {"role": "function", "content": "result", "name": "f"},
    ],
    "modalities": ["text"],
    "frequency_penalty": 0.1, "presence_penalty": 0.1, "repetition_penalty": 1.1, "temperature": 1, "top_p": 0.9,
    "top_k": 5, "min_p": 0.1, "min_tokens": 1, "ignore_eos": False, "function_call": {"name": "f"},
    "functions": [{"name": "f", "description": "d", "parameters": _SCHEMA}],
    "logit_bias": {"50256": -100}, "logprobs": True, "top_logprobs": 2, "max_completion_tokens": 10, "max_tokens": 10,
    "moderation": {"model": "m", "policy": {"input": {"mode": "score"}, "output": {"mode": "block"}}},
    "metadata": {"k": "v"}, "n": 1, "parallel_tool_calls": True,
    "prediction": {"type": "content", "content": [{"type": "text", "text": "p"}]},
    "prompt_cache_key": "k", "prompt_cache_retention": "24h", "reasoning_effort": "low",
    "response_format": {"type": "json_schema", "json_schema": {"name": "n", "strict": True, "schema": _SCHEMA}},
    "safety_identifier": "s", "seed": 1, "service_tier": "auto", "stop": ["x", "y"], "store": True, "stream": False,
    "stream_options": {"include_usage": True, "include_obfuscation": False, "continuous_usage_stats": False},
    "tool_choice": {"type": "function", "function": {"name": "weather"}},
    "tools": [
        {"type": "function", "function": {"name": "weather", "description": "d", "parameters": _SCHEMA, "strict": True}},
        {"type": "custom", "custom": {"name": "shell", "format": {"type": "grammar", "grammar": {"definition": "g", "syntax": "lark"}}}},
    ],
    "user": "u", "verbosity": "low",
    "web_search_options": {"user_location": {"type": "approximate", "approximate": {"city": "Wien"}}},
    "unknown": {"deep": [{"x": "y"}, "z", 1, None, True]},
}  # fmt: skip

VARIANTS: list[dict[str, Any]] = [
    {"stop": "x"}, {"tool_choice": "auto"}, {"function_call": "auto"}, {"prediction": {"type": "content", "content": "p"}},
]  # fmt: skip
"""Fields that come in a second type."""

_LOGPROBS = {
    "content": [
        {"token": t, "logprob": -0.1, "bytes": list(t.encode()), "top_logprobs": [{"token": "alt", "logprob": -1, "bytes": [1]}]}
        for t in ("Hello", " there")
    ],
    "refusal": None,
}  # fmt: skip
_USAGE = {
    "prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3,
    "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 1, "unknown": "x"},
}  # fmt: skip
_FILTERS = {"hate": {"filtered": False, "severity": "safe"}}
_HEAD = {
    "id": "chatcmpl-1", "created": 1, "model": "gpt-4o-2024", "service_tier": "default", "system_fingerprint": "fp",
    "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": _FILTERS}], "unknown": {"a": "b"},
    "moderation": {"input": {"type": "moderation_results"}}, "provider_specific_fields": {"x": "y"},
}  # fmt: skip
_SAID = {
    "role": "assistant", "refusal": "r", "reasoning": "r", "reasoning_content": "r", "reasoning_details": [{"text": "t"}],
    "annotations": [{"type": "url_citation", "url_citation": {"url": "u", "title": "t"}}],
    "audio": {"id": "a", "data": "d", "transcript": "t"}, "images": [{"image_url": {"url": "u"}}], "unknown": {"a": "b"},
    "function_call": {"name": "f", "arguments": "{}"},
}  # fmt: skip
_CHOICE = {
    "index": 0, "finish_reason": "stop", "content_filter_results": _FILTERS, "stop_reason": "x", "token_ids": [1],
    "text": "t",
}  # fmt: skip

RESPONSE: dict[str, Any] = {
    **_HEAD,
    "object": "chat.completion",
    "choices": [
        {**_CHOICE, "logprobs": _LOGPROBS, "message": {**_SAID, "content": "Hello there", "tool_calls": _CALLS}},
        {**_CHOICE, "index": 1, "message": {"role": "assistant", "content": [{"type": "text", "text": "x"}, {"type": "refusal", "refusal": "x"}]}},
    ],
    "usage": _USAGE,
}  # fmt: skip

CHUNK: dict[str, Any] = {
    **_HEAD,
    "object": "chat.completion.chunk",
    "choices": [
        {
            **_CHOICE,
            "logprobs": _LOGPROBS,
            "delta": {
                **_SAID,
                "content": "Hello there",
                "tool_calls": [{"index": i, **call, "unknown": "x"} for i, call in enumerate(_CALLS)]
                + [{"index": 2, "id": "c3", "type": "function", "function": {"name": "f", "arguments": "{}"}, "custom": {"name": "n", "input": "i"}}],
            },
            "message": {"content": "x"},
        },
        {**_CHOICE, "index": 1, "delta": {"role": "assistant", "content": [{"type": "text", "text": "x"}]}},
    ],
    "usage": _USAGE,
}  # fmt: skip

CHANNELS: dict[str, Any] = {
    "content": lambda p: {"content": p},
    "content-parts": lambda p: {"content": [{"type": "text", "text": p}]},
    "refusal": lambda p: {"refusal": p},
    "reasoning": lambda p: {"reasoning": p},
    "reasoning_content": lambda p: {"reasoning_content": p},
    "function_call.name": lambda p: {"function_call": {"name": p}},
    "function_call.arguments": lambda p: {"function_call": {"arguments": p}},
    "tool_calls.id": lambda p: {"tool_calls": [{"index": 0, "id": p}]},
    "tool_calls.name": lambda p: {"tool_calls": [{"index": 1, "function": {"name": p}}]},
    "tool_calls.arguments": lambda p: {"tool_calls": [{"index": 1, "function": {"arguments": p}}]},
    "tool_calls.no-index": lambda p: {"tool_calls": [{"function": {"arguments": p}}, {"index": 0, "function": {"arguments": " "}}]},
    "tool_calls.custom.name": lambda p: {"tool_calls": [{"index": 0, "type": "custom", "custom": {"name": p}}]},
    "tool_calls.custom.input": lambda p: {"tool_calls": [{"index": 0, "custom": {"input": p}}]},
}  # fmt: skip


def places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[Place]:
    """Every place of an object that could hold the mark."""
    if isinstance(value, str):
        yield path, "text"
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from places(item, (*path, i))
    elif isinstance(value, dict):
        yield path, "new"
        for key, item in value.items():
            yield (*path, key), "key"
            yield from places(item, (*path, key))


def marked(value: Any, place: Place) -> Any:
    """The object with the mark at a place."""
    path, kind = place
    out = copy.deepcopy(value)
    if kind == "new":
        at = out
        for step in path:
            at = at[step]
        at[MARK] = "x"
        return out
    at = out
    for step in path[:-1]:
        at = at[step]
    if kind == "text":
        at[path[-1]] = MARK
    else:
        at[MARK] = at.pop(path[-1])
    return out


def show(place: Place) -> str:
    return f"{'.'.join(map(str, place[0]))} ({place[1]})"


async def gathered(work: list[Any]) -> list[Any]:
    """Await all, a few at once."""
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(task: Any) -> Any:
        async with limit:
            return await task

    return await asyncio.gather(*map(one, work))


# ------------------------------------------------------------------ requests


def test_the_superset_names_every_field_that_crosses() -> None:
    """A field that is added to the schema must be added here."""
    closed = {name for name, spec in CHAT_REQUEST.fields.items() if isinstance(spec, Refused)}
    assert set(CHAT_REQUEST.fields) - closed <= set(REQUEST)
    for schema, example in ((CHAT_RESPONSE, RESPONSE), (CHAT_CHUNK, CHUNK)):
        assert set(schema.fields) <= set(example)
        choice = inner(schema.fields["choices"])
        assert set(choice) <= set(example["choices"][0])
        for name in ("message", "delta"):
            if name in choice:
                assert set(inner(choice[name])) <= set(example["choices"][0][name])


def inner(spec: Spec) -> Mapping[str, Spec]:
    spec = spec.item if isinstance(spec, Array) else spec
    assert isinstance(spec, Object)
    return spec.fields


@pytest.mark.parametrize("route", ["patterns", "guard"])
async def test_no_place_of_a_request_carries_the_mark(
    proxy: Proxy, upstream: ScriptedServer, guard: ScriptedServer, session: aiohttp.ClientSession, route: str
) -> None:
    url = proxy.url(f"/{route}") + "/chat/completions"
    plain = await post(session, url, REQUEST)
    assert plain.status == 200, plain.body  # without the mark everything is accepted
    assert plain.headers["x-safeguard-unjudged"] == "6"
    for variant in VARIANTS:
        assert (await post(session, url, {**REQUEST, **variant})).status == 200
    cases = [(REQUEST, place) for place in places(REQUEST)]
    cases += [({**REQUEST, **v}, place) for v in VARIANTS for place in places(v) if place[1] == "text"]
    upstream.received.clear()
    got = await gathered([post(session, url, marked(base, place)) for base, place in cases])
    crossed = [r for r in upstream.received if MARK.encode() in r.body]
    assert not crossed, crossed[0].body
    assert len(cases) > 350
    for (_, place), reply in zip(cases, got, strict=True):
        assert reply.status == 400, show(place)  # nothing of a request is dropped in silence
        assert MARK not in reply.body.decode(), show(place)


@pytest.mark.parametrize("name", sorted(REINTERPRETS))
async def test_fields_that_reinterpret_are_refused(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession, name: str
) -> None:
    values: list[Any] = [MARK, [], {}, False, True, {"a": "b"}]
    for value in values:
        reply = await post(session, proxy.url("/patterns") + "/chat/completions", chat_body(**{name: value}))
        assert (reply.status, reply.error["code"], reply.error["param"]) == (400, "unsupported_field", name)
    assert upstream.received == []
    assert (await post(session, proxy.url("/patterns") + "/chat/completions", chat_body(**{name: None}))).status == 200
    assert name not in upstream.received[0].json


@pytest.mark.parametrize("name", ["prompt", "previous_response_id", "conversation"])
async def test_state_on_the_server_that_a_chat_names_is_read_by_every_rule(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession, name: str
) -> None:
    for value in (MARK, {"id": MARK}, {MARK: 1}):
        reply = await post(session, proxy.url("/state") + "/chat/completions", chat_body(**{name: value}))
        assert (reply.status, reply.error["code"]) == (400, "content_filter")
    assert upstream.received == []


SPLIT: dict[str, Any] = {
    "parts": [{"role": "user", "content": [{"type": "text", "text": "ZQ-MA"}, {"type": "text", "text": "RK-7781"}]}],
    "turns": [{"role": "user", "content": "ZQ-MA"}, {"role": "user", "content": "RK-7781"}],
    "turns-of-one-role": [
        {"role": "user", "content": "ZQ-MA"}, {"role": "assistant", "content": "ok"}, {"role": "user", "content": "RK-7781"},
    ],
    "zero-width": [{"role": "user", "content": "ZQ-\u200bMA\u2060RK-7781"}],
    "fullwidth": [{"role": "user", "content": "ＺＱ-ＭＡＲＫ-７７８１"}],
    "five-turns-back": [{"role": "user", "content": MARK}, *[{"role": "user", "content": "x"}] * 5],
    "json-escape": [
        {"role": "assistant", "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"a":"ZQ-M\\u0041RK-7781"}'}}]},
        {"role": "tool", "tool_call_id": "a", "content": "x"},
    ],
    "json-escaped-key": [
        {"role": "assistant", "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"ZQ-M\\u0041RK-7781":1}'}}]},
    ],
    "json-in-json": [
        {"role": "assistant", "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"a":"{\\"b\\":\\"ZQ-M\\\\u0041RK-7781\\"}"}'}}]},
    ],
    "broken-json-escape": [
        {"role": "assistant", "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"a":"ZQ-M\\u0041RK-7781"'}}]},
    ],
}  # fmt: skip


@pytest.mark.parametrize("case", SPLIT)
async def test_other_spellings_of_the_mark(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession, case: str
) -> None:
    url = proxy.url("/patterns") + "/chat/completions"
    reply = await post(session, url, {"model": "gpt-4o", "messages": SPLIT[case]})
    assert (reply.status, reply.error["code"]) == (400, "content_filter")
    assert upstream.received == []


async def test_headers_that_cross_are_judged(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    url = proxy.url("/patterns") + "/chat/completions"
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    fine = {
        "OpenAI-Organization": "org-1",
        "OpenAI-Project": "p",
        "OpenAI-Beta": "a=v2",
        "tracestate": "a=b",
        "traceparent": trace,
    }
    assert (await post(session, url, chat_body(), fine)).status == 200
    assert all(upstream.received[0].header(name) == value for name, value in fine.items())
    upstream.received.clear()
    for name in (*fine, "x-anything", "User-Agent", "Cookie", "Accept", "Accept-Language", "Idempotency-Key"):
        reply = await post(session, url, chat_body(), {name: MARK})
        assert reply.status == 400 or MARK not in str(upstream.received[-1].headers), name
    assert (await post(session, url + f"?a={MARK}", chat_body())).status == 200
    assert not [r for r in upstream.received if MARK in f"{r.headers}{r.target}"]


@pytest.mark.parametrize("name", ["OpenAI-Organization", "OpenAI-Project", "OpenAI-Beta", "tracestate"])
@pytest.mark.parametrize("route", ["patterns", "guard"])
async def test_headers_that_cross_are_judged_also_where_there_is_no_body(
    proxy: Proxy,
    upstream: ScriptedServer,
    guard: ScriptedServer,
    session: aiohttp.ClientSession,
    route: str,
    name: str,
) -> None:
    url = proxy.url(f"/{route}") + "/models"
    for value, status in (("a=b", 200), (MARK, 400)):
        async with session.get(url, headers={name: value}) as response:
            assert response.status == status
            body = await response.text()
            assert MARK not in body
            assert response.headers["x-safeguard-decision"] == ("forward" if status == 200 else "refuse")
    assert [r.header(name) for r in upstream.received] == ["a=b"]


async def test_a_second_header_does_not_lead_to_another_route(proxy: Proxy, upstream: ScriptedServer) -> None:
    headers = ["x-region: us", "x-region: eu"]
    for target in ("/region/v1/chat/completions", "/region/beta/litellm_basic_guardrail_api"):
        [reply] = parse_http(await raw(proxy.port, http_request(chat_body(MARK), target=target, headers=headers)))
        assert (reply.status, reply.error["code"]) == (400, "duplicate_header")
    [reply] = parse_http(
        await raw(proxy.port, http_request(chat_body(MARK), target="/region/v1/chat/completions", headers=headers[1:]))
    )
    assert reply.error["code"] == "content_filter"
    assert upstream.received == []


# ------------------------------------------------------------------ answers


def by_user(upstream: ScriptedServer, scripts: list[Script]) -> None:
    """Let the request's ``user`` pick the script, so that many can run at once."""

    async def script(request: Any, received: Any) -> Any:
        return await scripts[int(received.json["user"])](request, received)

    upstream.script = script


async def ask_all(proxy: Proxy, session: aiohttp.ClientSession, route: str, n: int, **more: Any) -> list[Reply]:
    url = proxy.url(f"/{route}") + "/chat/completions"
    return await gathered([post(session, url, chat_body(user=str(i), **more)) for i in range(n)])


CROSSING = ("content", "refusal", "reasoning", "reasoning_content", "tool_calls", "function_call", "annotations")
"""Fields of a message that cross: the mark in one of their texts is refused, not dropped."""


def is_refused(reply: Reply) -> bool:
    if reply.status != 200:
        return bool(reply.error["code"] == "content_filter")
    return b'"finish_reason":"content_filter"' in reply.body


def check_answers(cases: list[Place], got: list[Reply], field: str = "delta") -> None:
    for place, reply in zip(cases, got, strict=True):
        assert MARK not in reply.body.decode(), show(place)
        assert MARK not in str(reply.headers), show(place)
        assert is_refused(reply) or reply.status in (200, 502), show(place)
        path, kind = place
        said = len(path) > 3 and path[2] == field and path[3] in CROSSING
        crosses = path[:1] == ("model",) or (said and path[-1] not in ("type", "unknown"))
        if crosses and kind == "text":
            assert is_refused(reply), show(place)


@pytest.mark.parametrize("route", ["patterns", "guard"])
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_no_place_of_a_response_carries_the_mark(
    proxy: Proxy,
    upstream: ScriptedServer,
    guard: ScriptedServer,
    session: aiohttp.ClientSession,
    route: str,
    stream: bool,
) -> None:
    cases = list(places(RESPONSE))
    by_user(upstream, [replies(RESPONSE), *(replies(marked(RESPONSE, place)) for place in cases)])
    [plain, *got] = await ask_all(proxy, session, route, len(cases) + 1, stream=stream)
    assert plain.status == 200, plain.body
    if not stream:
        assert plain.json["choices"][0]["logprobs"]["content"][0]["token"] == "Hello"
    check_answers(cases, got, "message")


@pytest.mark.parametrize("route", ["patterns", "guard"])
async def test_the_mark_does_not_cross_in_a_text_file(
    proxy: Proxy, upstream: ScriptedServer, guard: ScriptedServer, session: aiohttp.ClientSession, route: str
) -> None:
    data = base64.b64encode(f"A file of words. {MARK}. {'And more of them. ' * 20}".encode()).decode()
    parts: list[dict[str, Any]] = [
        {"type": "file", "file": {"filename": "a.txt", "file_data": f"data:text/plain;base64,{data}"}},
        {"type": "image_url", "image_url": {"url": f"data:image/svg+xml;base64,{data}"}},
        {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}},
    ]
    for part in parts:
        reply = await post(session, proxy.url(f"/{route}") + "/chat/completions", chat_body([part]))
        assert (reply.status, reply.error["code"]) == (400, "content_filter")
    items: list[dict[str, Any]] = [
        {"role": "user", "content": [{"type": "input_file", "file_data": f"data:text/plain;base64,{data}"}]},
        {"type": "mcp_call", "name": "n", "server_label": "s", "output": data},
    ]
    for item in items:
        reply = await post(session, proxy.url(f"/{route}") + "/responses", {"model": "m", "input": [item]})
        assert (reply.status, reply.error["code"]) == (400, "content_filter")
    assert upstream.received == []


@pytest.mark.parametrize("depth", range(9))
@pytest.mark.parametrize("route", ["patterns", "guard"])
async def test_json_within_json_hides_nothing_however_deep(
    proxy: Proxy,
    upstream: ScriptedServer,
    guard: ScriptedServer,
    session: aiohttp.ClientSession,
    route: str,
    depth: int,
) -> None:
    text = '{"k":"' + "".join(f"\\u{ord(char):04x}" for char in MARK) + '"}'
    for _ in range(depth):
        text = orjson.dumps({"k": text}).decode()
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": text}}
    url = proxy.url(f"/{route}") + "/chat/completions"
    for message in (
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "content": text, "tool_call_id": "a"},
    ):
        reply = await post(session, url, {"model": "m", "messages": [message]})
        assert (reply.status, reply.error["code"]) == (400, "content_filter")
    upstream.script = replies(completion(None, tool_calls=[call]))
    for stream in (False, True):
        reply = await post(session, url, chat_body(stream=stream))
        assert (reply.status, reply.error["code"]) == (400, "content_filter")


@pytest.mark.parametrize(
    "alternatives",
    [
        pytest.param([[MARK], ["x"]], id="one token"),
        pytest.param([["ZQ-MA", "RK-7781"], ["x"]], id="one place"),
        pytest.param([["Hello", "ZQ-MA"], [" there", "RK-7781"]], id="one rank"),
    ],
)
@pytest.mark.parametrize("endpoint", ["chat/completions", "completions", "responses"])
@pytest.mark.parametrize("route", ["patterns", "scoped"])
async def test_the_mark_does_not_cross_in_what_a_model_nearly_said(
    proxy: Proxy,
    upstream: ScriptedServer,
    session: aiohttp.ClientSession,
    alternatives: list[list[str]],
    endpoint: str,
    route: str,
) -> None:
    tokens = ["Hello", " there"]
    entries = [
        {"token": t, "logprob": -0.1, "bytes": None, "top_logprobs": [{"token": a, "logprob": -1.0} for a in others]}
        for t, others in zip(tokens, alternatives, strict=True)
    ]
    part = {"type": "output_text", "text": "Hello there", "annotations": [], "logprobs": entries}
    answers: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "chat/completions": (
            chat_body(),
            {"choices": [{"message": {"content": "Hello there"}, "logprobs": {"content": entries}}]},
        ),
        "completions": (
            {"model": "m", "prompt": "x"},
            {"choices": [{"text": "Hello there", "logprobs": {"tokens": tokens, "top_logprobs": [dict.fromkeys(a, -1.0) for a in alternatives]}}]},
        ),
        "responses": (
            {"model": "m", "input": "x"},
            {"output": [{"type": "message", "content": [part]}]},
        ),
    }  # fmt: skip
    body, answer = answers[endpoint]
    upstream.script = replies(answer)
    for stream in (False, True):
        reply = await post(session, f"{proxy.url(f'/{route}')}/{endpoint}", {**body, "stream": stream})
        assert (reply.status, reply.json["error"]["code"]) == (400, "content_filter")


@pytest.mark.parametrize("indices", [(0, 0), (None, None), (None, 0), (3, 3)])
async def test_choices_that_share_a_number_are_not_joined_in_a_stream(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession, indices: tuple[int | None, int | None]
) -> None:
    said: list[dict[str, Any]] = [{"content": "ZQ-MA", "refusal": "-"}, {"content": "RK-7781"}]
    choices = [{"index": i, "message": m, "text": m["content"]} for i, m in zip(indices, said, strict=True)]
    upstream.script = replies({"choices": choices})
    reply = await post(session, proxy.url("/patterns") + "/chat/completions", chat_body(stream=True))
    assert (reply.status, reply.text) == (200, "ZQ-MA")
    # here the texts stand side by side, so that the joined reading is the mark
    body = {"model": "m", "prompt": "x", "stream": True}
    assert (await post(session, proxy.url("/patterns") + "/completions", body)).status == 400


@pytest.mark.parametrize("field", ["message", "type", "code", "param"])
@pytest.mark.parametrize("route", ["patterns", "scoped", "guard"])
async def test_no_word_of_an_upstreams_error_carries_the_mark(
    proxy: Proxy,
    upstream: ScriptedServer,
    guard: ScriptedServer,
    session: aiohttp.ClientSession,
    route: str,
    field: str,
) -> None:
    upstream.script = replies({"error": {"message": "m", field: MARK}}, 400)
    reply = await post(session, proxy.url(f"/{route}") + "/chat/completions", chat_body())
    assert (reply.status, reply.error["message"]) == (400, "The upstream refused the request.")
    assert MARK not in reply.body.decode()


async def test_the_code_of_an_upstreams_error_is_not_in_the_log(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    upstream.script = replies({"error": {"message": "m", "code": "words_of_the_upstream"}}, 404)
    reply = await post(session, proxy.url("/patterns") + "/chat/completions", chat_body())
    assert reply.error["code"] == "words_of_the_upstream"
    request_id = reply.headers["x-request-id"]
    assert proxy.wait_log(lambda line: line.get("request_id") == request_id)["error"] == "upstream_error"


def segmented(whole: bytes, how: str) -> Script:
    if how == "bytes":
        return streams(*(whole[i : i + 1] for i in range(len(whole))))
    if how == "events":
        return streams(*(block + b"\n\n" for block in whole.split(b"\n\n")[:-1]))
    return streams(whole)


def outcome(reply: Reply) -> list[Any] | str:
    """What the client learns, whatever time it took: after a second a refusal comes within the stream."""
    if is_refused(reply):
        return "refused"
    if reply.status != 200:
        return str(reply.error["code"])
    events = [event for event in reply.events if event is not None]
    return (
        [{**event, "id": None} for event in events] if "error" not in events[-1] else str(events[-1]["error"]["code"])
    )


async def test_no_place_of_a_chunk_carries_the_mark_however_it_is_cut(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    cases = list(places(CHUNK))
    wholes = [event(CHUNK) + DONE, *(event(marked(CHUNK, place)) + DONE for place in cases)]
    results: dict[str, list[Any]] = {}
    for how, step in (("whole", 1), ("events", 1), ("bytes", 5)):  # byte by byte takes time: every fifth
        by_user(upstream, [segmented(whole, how) for whole in wholes[::step]])
        got = await ask_all(proxy, session, "patterns", len(wholes[::step]), stream=True)
        assert got[0].status == 200, got[0].body
        assert got[0].text == "Hello there"
        check_answers(cases[step - 1 :: step], got[1:])
        results[how] = list(map(outcome, got))
    assert results["whole"] == results["events"]
    assert results["whole"][::5] == results["bytes"]
    by_user(upstream, [segmented(whole, "whole") for whole in wholes])
    [plain, *got] = await ask_all(proxy, session, "patterns", len(wholes))  # the same as one completion
    assert plain.status == 200
    check_answers(cases, got)


async def test_no_place_of_a_chunk_carries_the_mark_past_a_guard(
    proxy: Proxy, upstream: ScriptedServer, guard: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    cases = list(places(CHUNK))
    by_user(upstream, [streams(event(marked(CHUNK, place)), DONE) for place in cases])
    got = await ask_all(proxy, session, "guard", len(cases), stream=True)
    check_answers(cases, got)


@pytest.mark.parametrize("route", ["patterns", "guard"])
@pytest.mark.parametrize("n", [1, 5], ids=["letter-by-letter", "fives"])
async def test_the_mark_split_over_chunks_is_seen_in_every_channel(
    proxy: Proxy, upstream: ScriptedServer, guard: ScriptedServer, session: aiohttp.ClientSession, n: int, route: str
) -> None:
    scripts = []
    for index in (0, 3):
        for delta in CHANNELS.values():
            pieces = [MARK[i : i + n] for i in range(0, len(MARK), n)]
            events = [
                event({"choices": [{"index": index, "delta": delta(p)}, {"index": 1, "delta": {"content": "-"}}]})
                for p in pieces
            ]
            closing = event({"choices": [{"index": i, "delta": {}, "finish_reason": "stop"} for i in {index, 1}]})
            scripts.append(streams(*events, closing, DONE))
    by_user(upstream, scripts)
    for stream in (True, False):
        got = await ask_all(proxy, session, route, len(scripts), stream=stream)
        for name, reply in zip([*CHANNELS, *CHANNELS], got, strict=True):
            if name != "tool_calls.no-index":  # what belongs together there, nobody knows: see the next assertion
                assert (reply.status, reply.error["code"]) == (400, "content_filter"), name
            else:
                said = orjson.dumps(reply.json if reply.status != 200 or not stream else reply.events)
                assert MARK.encode() not in said
                assert reply.status == 400 or b'"index":null' not in said

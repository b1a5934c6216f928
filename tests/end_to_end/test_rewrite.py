"""``rewrite``: what detectors find is masked, wherever it stands, and what carries the mask stays what it was."""

from __future__ import annotations

from typing import Any

import aiohttp
import orjson
import pytest

from tests.end_to_end.servers import (
    DONE,
    MARK,
    Proxy,
    Reply,
    ScriptedServer,
    chat_body,
    chunk,
    completion,
    event,
    post,
    replies,
    streams,
    text_stream,
)

CONFIG = """
upstreams:
  default: {base_url: "${UPSTREAM_URL}"}
guards:
  fleet: {engine: openai, base_url: "${GUARD_URL}", model: m, timeout_s: 30, cache_entries: 0}
policies:
  marker: {detector: patterns, literals: ["ZQ-MARK-7781"]}
  quote: {detector: patterns, patterns: ['"broken']}
  never: {detector: patterns, literals: ["never-ever"]}
  secrets: {detector: secrets}
  personal: {detector: pii, kinds: [EMAIL, CARD]}
  model: {text: "Content that holds the mark."}
routes:
  - name: message
    match: {path: /message/v1/*}
    upstream: default
    refusal: message
    output: [{policy: marker, rewrite: 0.5}]
  - name: judged
    match: {path: /judged/v1/*}
    upstream: default
    input: [{policy: marker, rewrite: 0.5}, {policy: model, refuse: 0.5}]
  - name: default
    upstream: default
    input: &rules
      - {policy: marker, rewrite: 0.5}
      - {policy: quote, rewrite: 0.5}
      - {policy: never, refuse: 0.5}
      - {policy: secrets, rewrite: 0.5}
      - {policy: personal, rewrite: 0.5}
    output: *rules
"""

TOKEN = "ghp_" + "a8Kd02LmQp93XzVb71TnRs45YwEc60HgJf2U"
EMAIL = "anna.k@firma.org"
OTHER = "ben@firma.org"
CARD = "4111 1111 1111 1111"
VALUES = (TOKEN, EMAIL, OTHER, CARD, MARK)


@pytest.fixture
def url(proxy: Proxy) -> str:
    return proxy.url() + "/chat/completions"


def check_clean(data: bytes) -> None:
    for value in VALUES:
        assert value.encode() not in data


def is_masked(reply: Reply) -> bool:
    check_clean(reply.body)
    return reply.status == 200 and reply.decision == "rewrite"


# ------------------------------------------------------------------ requests


async def test_a_request_is_masked_everywhere(
    url: str, upstream: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    call = {
        "id": "c1",
        "type": "function",
        "function": {"name": "f", "arguments": f'{{"to": "{EMAIL}", "{OTHER}": 1}}'},
    }
    body = {
        "model": "gpt-4o",
        "messages": [
            {"role": "system", "content": f"Keep {TOKEN} safe"},
            {"role": "user", "content": [{"type": "text", "text": f"I am {EMAIL},"}, {"type": "text", "text": f"pay {CARD}"}]},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": f"{OTHER} and {EMAIL} and {MARK}"},
        ],
        "metadata": {"who": EMAIL},
        "user": OTHER,
        "stop": [EMAIL],
        "tools": [{"type": "function", "function": {"name": "f", "description": f"mails {EMAIL}"}}],
        "unknown": {"a": [EMAIL]},
    }  # fmt: skip
    reply = await post(session, url, body)
    assert (reply.status, reply.decision) == (200, "rewrite")
    assert reply.headers["x-safeguard-unjudged"] == "0"
    [sent] = upstream.received
    check_clean(sent.body)
    messages = sent.json["messages"]
    text: Any = messages[1]["content"][0]["text"]
    mask = text.removeprefix("I am ").removesuffix(",")
    assert mask.startswith("<EMAIL_")
    assert messages[1]["content"][1]["text"] == "pay <CARD_1>"
    arguments = orjson.loads(messages[2]["tool_calls"][0]["function"]["arguments"])
    assert arguments["to"] == mask
    assert set(arguments) == {"to", sent.json["user"]}
    assert messages[3]["content"] == f"{sent.json['user']} and {mask} and <PATTERN_1>"
    assert sent.json["metadata"] == {"who": mask}
    assert sent.json["stop"] == [mask]
    assert sent.json["unknown"] == {"a": [mask]}
    assert sent.json["tools"][0]["function"]["description"] == f"mails {mask}"


async def test_what_is_split_over_parts_is_masked(
    url: str, upstream: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    parts = [{"type": "text", "text": "about ZQ-MA"}, {"type": "text", "text": "RK-7781 too"}]
    reply = await post(session, url, chat_body(parts))
    assert reply.decision == "rewrite"
    texts = [p["text"] for p in upstream.received[0].json["messages"][0]["content"]]
    assert texts[0].startswith("about <PATTERN_")
    assert texts[1].endswith("> too")
    assert "ZQ-MARK-7781" not in "".join(texts)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        pytest.param('{"to": "anna.k\\u0040firma.org"}', '{"to": "<EMAIL_1>"}', id="escaped-in-arguments"),
        pytest.param('{"anna.k\\u0040firma.org": 1}', '{"<EMAIL_1>": 1}', id="escaped-key-in-arguments"),
        pytest.param('{"to": "YW5uYS5rQGZpcm1hLm9yZw=="}', '{"to": "<EMAIL_1>"}', id="base64"),
    ],
)
async def test_what_is_encoded_is_masked_with_its_code(
    url: str, upstream: ScriptedServer, session: aiohttp.ClientSession, text: str, masked: str
) -> None:
    assert is_masked(await post(session, url, {**chat_body(), **arguments_of(text)}))
    [call] = upstream.received[0].json["messages"][0]["tool_calls"]
    assert call["function"]["arguments"] == masked


def arguments_of(text: str) -> dict[str, Any]:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": text}}
    return {"messages": [{"role": "assistant", "content": None, "tool_calls": [call]}, {"role": "tool", "tool_call_id": "c1", "content": "x"}]}  # fmt: skip


CANNOT_BE_MASKED: dict[str, dict[str, Any]] = {
    "object-key": {"metadata": {EMAIL: "x"}},
    "unknown-key": {EMAIL: "x"},
    "schema-key": {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"properties": {EMAIL: {}}}}}]},
    "mask-would-break-json": arguments_of('{"a": "broken"}'),
    "refuse-outranks-rewrite": {"user": EMAIL, "metadata": {"a": "never-ever"}},
}  # fmt: skip


@pytest.mark.parametrize("case", CANNOT_BE_MASKED)
async def test_what_cannot_be_masked_is_refused(
    url: str, upstream: ScriptedServer, session: aiohttp.ClientSession, case: str
) -> None:
    reply = await post(session, url, {**chat_body(), **CANNOT_BE_MASKED[case]})
    assert (reply.status, reply.error["code"], reply.decision) == (400, "content_filter", "refuse")
    check_clean(reply.body)
    assert upstream.received == []


async def test_nothing_to_mask_changes_nothing(
    url: str, upstream: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    body = {**chat_body("<b>\u00e9 & \\n</b>"), **arguments_of('{ "a" : 1.50 }')}
    assert (await post(session, url, body)).decision == "forward"
    assert upstream.received[0].json == body


async def test_guards_judge_what_is_left(
    proxy: Proxy, upstream: ScriptedServer, guard: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    async def never(request: Any, received: Any) -> Any:
        shown = received.json["messages"][-1]["content"]
        label = "1" if "poison" in shown else "0"
        return await replies({"choices": [{"message": {"content": label}, "finish_reason": "stop"}]})(request, received)

    guard.script = never
    url = proxy.url("/judged") + "/chat/completions"
    assert (await post(session, url, chat_body(f"{MARK} hello"))).decision == "rewrite"
    assert MARK not in guard.received[-1].json["messages"][-1]["content"]
    assert upstream.received[0].json["messages"][0]["content"] == "<PATTERN_1> hello"
    assert (await post(session, url, chat_body(f"{MARK} poison"))).status == 400
    assert len(upstream.received) == 1


# ------------------------------------------------------------------ answers


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_a_completion_is_masked(
    url: str, upstream: ScriptedServer, session: aiohttp.ClientSession, stream: bool
) -> None:
    text = f"Write to {EMAIL} or {OTHER}, not to {EMAIL}; {TOKEN}"
    upstream.script = streams(*text_stream(*text, usage=True)) if stream else replies(completion(text))
    reply = await post(
        session, url, chat_body(stream=stream, stream_options={"include_usage": True} if stream else None)
    )
    assert is_masked(reply)
    got = reply.text if stream else reply.json["choices"][0]["message"]["content"]
    assert got.startswith("Write to <EMAIL_1> or <EMAIL_2>, not to <EMAIL_1>; <")
    if stream:
        assert reply.finish_reasons == ["stop"]
        assert reply.events[-2]["usage"]["total_tokens"] == 7
        assert reply.events[-1] is None
    else:
        assert reply.json["usage"]["total_tokens"] == 7


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_tool_call_arguments_stay_json(
    url: str, upstream: ScriptedServer, session: aiohttp.ClientSession, stream: bool
) -> None:
    arguments = f'{{"to": ["{EMAIL}"], "body": "caf\\u00e9 {OTHER}"}}'
    call = {"id": "c1", "type": "function", "function": {"name": "mail", "arguments": arguments}}
    if stream:
        pieces = [chunk({"tool_calls": [{"index": 0, "function": {"arguments": a}}]}) for a in arguments]
        first = chunk({"tool_calls": [{"index": 0, "id": "c1", "type": "function", "function": {"name": "mail", "arguments": ""}}]})  # fmt: skip
        upstream.script = streams(first, *pieces, chunk({}, finish="tool_calls"), DONE)
    else:
        upstream.script = replies(completion(None, tool_calls=[call]))
    reply = await post(session, url, chat_body(stream=stream))
    assert is_masked(reply)
    if stream:
        calls = [c for e in reply.events if e for ch in e["choices"] for c in ch["delta"].get("tool_calls") or ()]
        assert {c["index"] for c in calls} == {0}
        assert [c["id"] for c in calls if "id" in c] == ["c1"]
        got = "".join(c["function"]["arguments"] for c in calls)
        assert reply.finish_reasons == ["tool_calls"]
    else:
        got = reply.json["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"]
    assert orjson.loads(got) == {"to": ["<EMAIL_1>"], "body": "café <EMAIL_2>"}


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize(
    "message",
    [
        {"annotations": [{EMAIL: "x"}]},
        {"tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a":"broken"}'}}]},
    ],
    ids=["key", "breaks-json"],
)  # fmt: skip
async def test_an_answer_that_cannot_be_masked_is_refused(
    url: str, upstream: ScriptedServer, session: aiohttp.ClientSession, message: dict[str, Any], stream: bool
) -> None:
    upstream.script = (
        streams(chunk({"content": "x", **message}, finish="stop"), DONE) if stream else replies(completion(**message))
    )
    reply = await post(session, url, chat_body(stream=stream))
    assert (reply.status, reply.error["code"]) == (400, "content_filter")
    check_clean(reply.body)


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_an_escaped_value_in_an_answer_is_masked(
    url: str, upstream: ScriptedServer, session: aiohttp.ClientSession, stream: bool
) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a":"anna.k\\u0040firma.org"}'}}
    delta = {"tool_calls": [{"index": 0, **call}]}
    upstream.script = (
        streams(chunk(delta, finish="tool_calls"), DONE) if stream else replies(completion(None, tool_calls=[call]))
    )
    reply = await post(session, url, chat_body(stream=stream))
    assert is_masked(reply)
    assert b"firma.org" not in reply.body
    assert b"<EMAIL_1>" in reply.body


async def test_choices_keep_their_own_texts(url: str, upstream: ScriptedServer, session: aiohttp.ClientSession) -> None:
    """Also behind an item that is dropped, and in a second choice."""
    body = completion("fine", n=3)
    body["choices"][1]["message"]["content"] = f"{EMAIL}!"
    body["choices"][2]["message"]["content"] = [{"type": "x"}, {"type": "text", "text": f"{OTHER}?"}]
    body["choices"].insert(0, "junk")
    body["choices"][1]["message"]["annotations"] = [{"a": [1, None, EMAIL]}]
    upstream.script = replies(body)
    reply = await post(session, url, chat_body())
    assert is_masked(reply)
    first, second, third = (c["message"] for c in reply.json["choices"])
    assert first["content"] == "fine"
    assert first["annotations"] == [{"a": [1, None, "<EMAIL_1>"]}]
    assert second["content"] == "<EMAIL_1>!"
    assert third["content"] == [{"type": "text", "text": "<EMAIL_2>?"}]
    streamed = await post(session, url, chat_body(stream=True))
    assert is_masked(streamed)


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_log_probabilities_do_not_spell_what_was_masked(
    url: str, upstream: ScriptedServer, session: aiohttp.ClientSession, stream: bool
) -> None:
    entries = [{"token": c, "logprob": -0.1, "bytes": [ord(c)], "top_logprobs": []} for c in EMAIL]
    body = completion(EMAIL)
    body["choices"][0]["logprobs"] = {"content": entries}
    events = [
        event({"choices": [{"index": 0, "delta": {"content": e["token"]}, "logprobs": {"content": [e]}}]})
        for e in entries
    ]
    upstream.script = streams(*events, chunk({}, finish="stop"), DONE) if stream else replies(body)
    reply = await post(session, url, chat_body(stream=stream))
    assert is_masked(reply)
    assert b'"token"' not in reply.body


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_the_other_shape_of_refusal(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession, stream: bool
) -> None:
    upstream.script = replies(completion("x", annotations=[{MARK: 1}]))
    reply = await post(session, proxy.url("/message") + "/chat/completions", chat_body(stream=stream))
    assert (reply.status, reply.decision) == (200, "refuse")
    assert "usage policy" in (reply.text if stream else reply.json["choices"][0]["message"]["content"])
    check_clean(reply.body)


async def test_an_upstreams_error_message_is_masked(
    url: str, upstream: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    upstream.script = replies({"error": {"message": f"No account {EMAIL}", "type": "t", "code": "c"}}, 404)
    reply = await post(session, url, chat_body())
    assert reply.json == {"error": {"message": "No account <EMAIL_1>", "type": "t", "param": None, "code": "c"}}
    check_clean(reply.body)

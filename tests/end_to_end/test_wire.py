"""The wire, byte by byte: what malformed requests and faulty upstreams become.

Letters and numbers in ids are those of the list of attacks (groups A, E, F, G, H, J, K).
"""

from __future__ import annotations

import asyncio
import gzip
import time
from collections.abc import Callable
from typing import Any

import aiohttp
import orjson
import pytest

from tests.end_to_end.servers import (
    ANSWER_HEADERS,
    CLIENT_KEY,
    DONE,
    MARK,
    UPSTREAM_KEY,
    Proxy,
    Reply,
    Script,
    ScriptedServer,
    after,
    answers_chat,
    chat_body,
    checked,
    chunk,
    completion,
    event,
    hangs,
    http_request,
    parse_http,
    post,
    raw,
    raw_answer,
    replies,
    streams,
    text_stream,
)

CONFIG = """
upstreams:
  default: {base_url: "${UPSTREAM_URL}"}
  keyed: {base_url: "${UPSTREAM_URL}", api_key_env: UPSTREAM_KEY}
  short: {base_url: "${UPSTREAM_URL}", timeout_s: 0.3}
  nobody: {base_url: "${DOWN_URL}"}
guards:
  fleet: {engine: openai, base_url: "${GUARD_URL}", model: m, timeout_s: 30, cache_entries: 0}
policies:
  marker: {detector: patterns, literals: ["ZQ-MARK-7781"]}
  model: {text: "Content that holds the mark."}
routes:
  - {name: short, match: {path: /short/v1/*}, upstream: short}
  - {name: nobody, match: {path: /nobody/v1/*}, upstream: nobody}
  - {name: keyed, match: {path: /keyed/v1/*}, upstream: keyed, output: [{policy: marker, refuse: 0.5}]}
  - {name: keyed-plain, match: {path: /keyed-plain/v1/*}, upstream: keyed}
  - {name: judged, match: {path: /judged/v1/*}, upstream: default, output: [{policy: model, refuse: 0.5}]}
  - {name: seen, match: {path: /seen/v1/*}, upstream: default, opaque: forward}
  - name: message
    match: {path: /message/v1/*}
    upstream: default
    refusal: message
    output: [{policy: marker, refuse: 0.5}]
  - {name: closed, match: {path: /closed/v1/*}, upstream: default, unknown_fields: refuse}
  - name: small
    match: {path: /small/v1/*}
    upstream: default
    max_body_bytes: 2048
    max_event_bytes: 1024
  - name: default
    match: {models: ["gpt-4o*"]}
    upstream: default
    input: [{policy: marker, refuse: 0.5}]
    output: [{policy: marker, refuse: 0.5}]
"""


def chat(proxy: Proxy, prefix: str = "") -> str:
    return proxy.url(prefix) + "/chat/completions"


# ------------------------------------------------------------------ A: request bytes

_M = b'"messages":[{"role":"user","content":"Hi"}]'
_SPLIT = b'{"model":"gpt-4o",' + _M + b',"messages":[{"role":"user","content":"ZQ-MARK-7781"}]}'


def message(**fields: Any) -> bytes:
    return orjson.dumps({"model": "gpt-4o", "messages": [fields]})


BAD_BODIES: dict[str, tuple[bytes, str]] = {
    "A01-duplicate-key": (_SPLIT, "duplicate_key"),
    "A02-duplicate-escaped": (
        b'{"model":"gpt-4o","messages":[{"role":"user","content":"Hi","\\u0063ontent":"ZQ-MARK-7781"}]}',
        "duplicate_key",
    ),
    "A02-duplicate-in-tools": (
        b'{"model":"gpt-4o",' + _M + b',"tools":[{"type":"function","function":{"name":"a","name":"ZQ-MARK-7781"}}]}',
        "duplicate_key",
    ),
    "A04-trailing-object": (b'{"model":"gpt-4o",' + _M + b"}" + _SPLIT, "invalid_json"),
    "A04-trailing-nul": (b'{"model":"gpt-4o",' + _M + b"}\x00", "invalid_json"),
    "A04-trailing-bracket": (b'{"model":"gpt-4o",' + _M + b"}]", "invalid_json"),
    "A05-utf-16": (orjson.dumps(chat_body(MARK)).decode().encode("utf-16-le"), "invalid_json"),
    "A05-utf-32-bom": (orjson.dumps(chat_body(MARK)).decode().encode("utf-32"), "invalid_encoding"),
    "A05-bom": (b"\xef\xbb\xbf" + orjson.dumps(chat_body()), "invalid_encoding"),
    "A12-nan": (b'{"model":"gpt-4o",' + _M + b',"temperature":NaN}', "invalid_number"),
    "A12-infinity": (b'{"model":"gpt-4o",' + _M + b',"temperature":1e400}', "invalid_number"),
    "A12-huge-int": (b'{"model":"gpt-4o",' + _M + b',"seed":' + b"9" * 5000 + b"}", "invalid_number"),
    "A12-float-for-int": (b'{"model":"gpt-4o",' + _M + b',"n":1.0}', "invalid_type"),
    "A13-surrogate": (b'{"model":"gpt-4o","messages":[{"role":"user","content":"\\ud800"}]}', "invalid_string"),
    "A13-surrogate-bytes": (
        b'{"model":"gpt-4o","messages":[{"role":"user","content":"\xed\xa0\x80"}]}',
        "invalid_encoding",
    ),
    "A13-surrogate-key": (b'{"model":"gpt-4o",' + _M + b',"\\ud800":1}', "invalid_string"),
    "A13-nul": (b'{"model":"gpt-4o","messages":[{"role":"user","content":"a\\u0000b"}]}', "invalid_string"),
    "A13-bad-utf-8": (b'{"model":"gpt-4o","messages":[{"role":"user","content":"\xff"}]}', "invalid_encoding"),
    "A14-stream-string": (orjson.dumps(chat_body(stream="true")), "invalid_type"),
    "A14-stream-one": (orjson.dumps(chat_body(stream=1)), "invalid_type"),
    "A16-role-case": (message(role="User", content="Hi"), "invalid_value"),
    "A16-role-unknown": (message(role="wizard", content=MARK), "invalid_value"),
    "A16-role-null": (message(role=None, content="Hi"), "invalid_value"),
    "A16-role-missing": (message(content="Hi"), "invalid_value"),
    "A17-array": (b"[" + orjson.dumps(chat_body(MARK)) + b"]", "invalid_type"),
    "A17-string": (b'"ZQ-MARK-7781"', "invalid_type"),
    "A17-null": (b"null", "invalid_type"),
    "A18-empty": (b"", "empty_body"),
    "A-deep": (b'{"model":"gpt-4o","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "too_deep"),
    "A-deep-70": (b'{"model":"gpt-4o",' + _M + b',"x":' + b"[" * 70 + b"]" * 70 + b"}", "too_deep"),
    "B03-part-unknown": (message(role="user", content=[{"type": "input_text", "text": MARK}]), "invalid_value"),
    "B03-part-string": (message(role="user", content=["Hi"]), "invalid_type"),
    "B03-part-null": (message(role="user", content=[None]), "invalid_type"),
    "B03-content-object": (message(role="user", content={"type": "text", "text": "Hi"}), "invalid_type"),
    "B03-message-null": (orjson.dumps({"model": "gpt-4o", "messages": [None]}), "invalid_type"),
    "B15-chat-template": (orjson.dumps(chat_body(chat_template=MARK)), "unsupported_field"),
    "B17-guardrails": (orjson.dumps(chat_body(guardrails=[])), "unsupported_field"),
    "B22-previous-response": (orjson.dumps(chat_body(previous_response_id="x")), "unsupported_field"),
    "B22-audio-id": (
        orjson.dumps({"model": "gpt-4o", "messages": [{"role": "assistant", "audio": {"id": "a"}}]}),
        "unsupported_field",
    ),
    "B25-many-messages": (
        orjson.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "a"}] * 5000}),
        "invalid_length",
    ),
    "B26-model-null": (orjson.dumps({**chat_body(), "model": None}), "missing_field"),
    "B26-model-empty": (orjson.dumps({**chat_body(), "model": ""}), "missing_field"),
    "B26-model-list": (orjson.dumps({**chat_body(), "model": ["gpt-4o"]}), "missing_field"),
    "messages-missing": (b'{"model":"gpt-4o"}', "missing_field"),
    "messages-empty": (b'{"model":"gpt-4o","messages":[]}', "invalid_length"),
}


@pytest.mark.parametrize("case", BAD_BODIES)
async def test_malformed_bodies_are_named(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession, case: str
) -> None:
    body, code = BAD_BODIES[case]
    reply = await post(session, chat(proxy), body)
    assert (reply.status, reply.error["code"]) == (400, code), reply.body
    assert reply.error["type"] == "invalid_request_error"
    assert MARK not in reply.body.decode()
    assert reply.decision == "refuse"
    assert upstream.received == []


@pytest.mark.parametrize(
    ("model", "status"), [("GPT-4o", 404), (" gpt-4o", 404), ("gpt-4o\u200b", 200), ("claude", 404)], ids=repr
)
async def test_models_are_matched_exactly(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession, model: str, status: int
) -> None:
    reply = await post(session, chat(proxy) + "?model=gpt-4o", {**chat_body(), "model": model}, {"x-model": "gpt-4o"})
    assert reply.status == status
    if status == 404:
        assert reply.error["code"] == "no_route"


@pytest.mark.parametrize(
    "kind",
    [
        "application/json; charset=utf-7", "application/json; charset=unicode_escape", "application/json; charset=cp037",
        "application/json; charset=nope", "text/plain", "application/x-www-form-urlencoded", "application/json, text/plain",
        "application/json;charset=utf-8;charset=utf-7", "multipart/form-data; boundary=x", "",
    ],
)  # fmt: skip
async def test_A06_other_content_types(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession, kind: str
) -> None:
    reply = await post(session, chat(proxy), chat_body(), {"Content-Type": kind})
    assert (reply.status, reply.error["code"]) == (415, "content_type")
    assert upstream.received == []


@pytest.mark.parametrize(
    "kind", ["application/json", "application/json; charset=UTF-8", 'application/json;charset="utf-8"']
)
async def test_A06_json_content_types(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession, kind: str
) -> None:
    assert (await post(session, chat(proxy), chat_body(), {"Content-Type": kind})).status == 200


@pytest.mark.parametrize(
    "coding",
    [["gzip"], ["x-gzip"], ["gzip, gzip"], ["deflate"], ["br"], ["identity, gzip"], ["identity", "gzip"], ["GZIP"]],
)
async def test_A08_compressed_bodies(proxy: Proxy, upstream: ScriptedServer, coding: list[str]) -> None:
    body = gzip.compress(orjson.dumps(chat_body(MARK)))
    headers = [f"Content-Encoding: {c}" for c in coding]
    [reply] = parse_http(await raw(proxy.port, http_request(body, headers=headers, close=False)))
    checked(reply)
    assert (reply.status, reply.error["code"]) == (415, "content_encoding")
    assert upstream.received == []


async def test_what_is_forwarded_is_written_anew(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    body = b' {"model" : "gpt-4o", "messages":[{"role":"user","content":"\\u0048i \\u00e9 \\ud83d\\ude00"}], "store":true}\r\n'
    assert (await post(session, chat(proxy) + "?a=b", body, {"Cookie": "a=b", "x-guard": "off"})).status == 200
    [sent] = upstream.received
    assert sent.body == '{"model":"gpt-4o","messages":[{"role":"user","content":"Hi é 😀"}],"store":false}'.encode()
    assert sent.target == "/v1/chat/completions"
    names = {name.lower() for name, _ in sent.headers}
    assert names == {"host", "accept", "accept-encoding", "content-type", "content-length"}
    assert sent.header("Accept-Encoding") == "identity"


async def test_unknown_fields_can_be_refused(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    reply = await post(session, chat(proxy, "/closed"), chat_body(min_p2=1))
    assert (reply.status, reply.error["code"], reply.error["param"]) == (400, "unknown_field", "min_p2")
    reply = await post(session, chat(proxy), chat_body(min_p2={"a": [1, MARK]}))
    assert (reply.status, reply.error["code"]) == (400, "content_filter")
    assert upstream.received == []
    assert (await post(session, chat(proxy), chat_body(min_p2={"a": [1, None]}))).status == 200
    assert upstream.received[0].json["min_p2"] == {"a": [1, None]}


_IMAGE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
_IMAGE_URL = f"data:image/png;base64,{_IMAGE}"


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        ("/chat/completions", message(role="user", content="Hi", images=[_IMAGE])),
        ("/chat/completions", message(role="user", content="Hi", image=_IMAGE_URL)),
        ("/chat/completions", message(role="user", content=[{"type": "text", "text": "Hi", "image_url": _IMAGE_URL}])),
        ("/embeddings", orjson.dumps({"model": "gpt-4o", "input": [_IMAGE_URL]})),
    ],
    ids=["images", "image", "part", "embeddings"],
)
async def test_an_image_in_place_of_text_is_refused_like_any_other(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession, endpoint: str, body: bytes
) -> None:
    reply = await post(session, proxy.url() + endpoint, body)
    assert (reply.status, reply.error["code"], upstream.received) == (400, "content_filter", [])
    assert reply.error["innererror"]["policies"] == ["opaque-content"]
    upstream.script = replies({**completion(), "data": [{"embedding": [0.5]}]})
    reply = await post(session, proxy.url("/seen") + endpoint, body)
    assert (len(upstream.received), reply.headers["x-safeguard-unjudged"]) == (1, "1")


# ------------------------------------------------------------------ H: HTTP

BAD_TARGETS = [
    "//v1/chat/completions", "/v1//chat/completions", "/v1/chat/completions/", "/v1/./chat/completions",
    "/v1/x/../chat/completions", "/v1/%2e%2e/v1/chat/completions", "/v1/%63hat/completions", "/v1/chat%2Fcompletions",
    "/v1/chat/completions;x", "/v1/chat/completions%00", "/V1/chat/completions", "/v1/chat\\completions",
    "/v1/chat/completions%0a", "/chat/completions", "/v1/chat/completions/x", "/v1/engines/gpt-4o/completions",
    "/openai/deployments/gpt-4o/chat/completions", "http://proxy/v1/chat/completions", "http://evil.test/v1/chat/completions",
    "/v1/responses/compact", "/v1/responses/x", "/v1/files", "/v1/messages", "/v1/rerank", "/v1/audio/speech",
    "/tokenize", "/metrics", "/readyz", "/healthz", "/console", "/docs", "/", "/v1",
]  # fmt: skip


@pytest.mark.parametrize("target", BAD_TARGETS)
async def test_H01_other_paths_are_not_here(proxy: Proxy, upstream: ScriptedServer, target: str) -> None:
    [reply] = parse_http(await raw(proxy.port, http_request(chat_body(), target=target)))
    if reply.error["code"] != "bad_http":
        assert (reply.status, reply.error["code"]) == (404, "not_found")
    checked(reply)
    assert upstream.received == []


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "TRACE", "HEAD", "GET", "OPTIONS", "FOO", "CONNECT"])
async def test_H02_other_methods(proxy: Proxy, upstream: ScriptedServer, method: str) -> None:
    data = await raw(proxy.port, http_request(method=method, headers=["X-HTTP-Method-Override: POST"]))
    if method == "HEAD":
        data, _, _ = data.partition(b"\r\n\r\n")
        assert data.startswith(b"HTTP/1.1 405")
        return
    [reply] = parse_http(data)
    checked(reply)
    assert reply.status in ((400,) if method == "FOO" else (405,))  # the parser knows no FOO
    assert upstream.received == []


async def test_H02_options_star_and_post_to_models(proxy: Proxy, upstream: ScriptedServer) -> None:
    [reply] = parse_http(await raw(proxy.port, http_request(method="OPTIONS", target="*")))
    assert reply.status in (400, 404)
    [reply] = parse_http(await raw(proxy.port, http_request(chat_body(), target="/v1/models")))
    assert checked(reply).status == 405
    assert reply.headers["allow"] == "GET"
    [reply] = parse_http(await raw(proxy.port, http_request(chat_body(), method="GET", target="/v1/models")))
    assert checked(reply).status == 400
    assert upstream.received == []


BAD_HTTP: dict[str, bytes] = {
    "nul-in-key": http_request(chat_body(), headers=[f"Authorization: Bearer {CLIENT_KEY}\x00"]),
    "long-key": http_request(chat_body(), headers=[f"Authorization: Bearer {CLIENT_KEY}{'x' * 9000}"]),
    "bare-lf": http_request(chat_body(), headers=[f"Authorization: Bearer {CLIENT_KEY}"]).replace(b"\r\n", b"\n"),
    "space-before-colon": http_request(chat_body(), headers=[f"Authorization : Bearer {CLIENT_KEY}"]),
    "obs-fold": http_request(chat_body(), headers=[f"Authorization: Bearer\r\n {CLIENT_KEY}"]),
    "two-lengths": http_request(chat_body(), headers=["Content-Length: 3", f"X-Key: {CLIENT_KEY}"]),
    "odd-length": http_request(chat_body(), headers=["Content-Length: +7", f"X-Key: {CLIENT_KEY}"], length=False),
    "length-and-chunked": http_request(b"0\r\n\r\n", headers=["Transfer-Encoding: chunked", f"X-Key: {CLIENT_KEY}"]),
    "te-gzip": http_request(b"0\r\n\r\n", headers=["Transfer-Encoding: gzip, chunked"], length=False),
    "te-unknown": http_request(b"0\r\n\r\n", headers=["Transfer-Encoding: xchunked"], length=False),
    "bad-chunk": http_request(b"zz\r\n{}\r\n0\r\n\r\n", headers=["Transfer-Encoding: chunked"], length=False),
    "http-2": http_request(chat_body()).replace(b"HTTP/1.1", b"HTTP/2.0"),
    "http-0.9": b"GET /v1/models\r\n\r\n",
    "chunked-1.0": http_request(b"0\r\n\r\n", headers=["Transfer-Encoding: chunked"], length=False).replace(
        b"HTTP/1.1", b"HTTP/1.0"
    ),
    "no-http": f"{CLIENT_KEY}\r\n\r\n".encode(),
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}


@pytest.mark.parametrize("case", BAD_HTTP)
async def test_H04_malformed_http_gets_constant_words(proxy: Proxy, upstream: ScriptedServer, case: str) -> None:
    data = await raw(proxy.port, BAD_HTTP[case])
    assert CLIENT_KEY.encode() not in data
    [reply] = parse_http(data)
    checked(reply)
    assert reply.status in (400, 505)
    assert b"aiohttp" not in data.lower()
    assert b"python" not in data.lower()
    assert upstream.received == []


async def test_H05_a_pipelined_request_after_a_413_never_runs(proxy: Proxy, upstream: ScriptedServer) -> None:
    inner = http_request(chat_body(), target="/small/v1/chat/completions")
    outer = http_request(
        inner.ljust(5000), target="/small/v1/chat/completions", headers=["Content-Type: application/json"], close=False
    )
    answers = parse_http(await raw(proxy.port, outer + inner))
    assert [a.status for a in answers] == [413]
    assert checked(answers[0]).error["code"] == "request_too_large"
    assert upstream.received == []


async def test_pipelined_requests_are_answered_in_order(proxy: Proxy, upstream: ScriptedServer) -> None:
    first = http_request(chat_body(MARK), close=False)
    answers = parse_http(await raw(proxy.port, first + http_request(chat_body())))
    assert [a.status for a in answers] == [400, 200]
    assert len(upstream.received) == 1


async def test_H06_hop_by_hop_headers(proxy: Proxy, upstream: ScriptedServer) -> None:
    request = http_request(
        chat_body(),
        headers=[f"Authorization: Bearer {CLIENT_KEY}", "Connection: Authorization, X-Guard, close", "TE: trailers",
                 "Proxy-Authorization: Basic x", "Upgrade: websocket", "X-Forwarded-For: 1.2.3.4", "OpenAI-Project: p1"],
        close=False,
    )  # fmt: skip
    [reply] = parse_http(await raw(proxy.port, request))
    assert reply.status == 200
    names = {name.lower() for name, _ in upstream.received[0].headers}
    assert names == {
        "host", "accept", "accept-encoding", "content-type", "content-length", "authorization", "openai-project",
    }  # fmt: skip


async def test_H10_the_routes_key_replaces_the_clients(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    await post(session, chat(proxy, "/keyed"), chat_body(), {"Authorization": f"Bearer {CLIENT_KEY}"})
    [sent] = upstream.received
    assert [v for k, v in sent.headers if k.lower() == "authorization"] == [f"Bearer {UPSTREAM_KEY}"]
    assert CLIENT_KEY not in str(sent.headers)


async def test_H12_expect(proxy: Proxy, upstream: ScriptedServer) -> None:
    [reply] = parse_http(await raw(proxy.port, http_request(chat_body(), headers=["Expect: 100-continue"])))
    assert checked(reply).status == 200
    data = await raw(proxy.port, http_request(chat_body(), headers=["Expect: 100-continue"]))
    assert data.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 ")
    data = await raw(
        proxy.port, http_request(chat_body(), headers=["Expect: 100-continue", "Content-Type: text/plain"])
    )
    assert data.startswith(b"HTTP/1.1 415 ")
    [reply] = parse_http(await raw(proxy.port, http_request(chat_body(), headers=["Expect: foo"])))
    assert checked(reply).status == 417
    big = http_request(b" " * 3000, target="/small/v1/chat/completions", headers=["Expect: 100-continue"])
    data = await raw(proxy.port, big)
    assert data.startswith(b"HTTP/1.1 413 ")


async def test_K10_body_caps(proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession) -> None:
    frame = orjson.dumps(chat_body(""))
    for size, status in ((2047, 200), (2048, 200), (2049, 413)):
        body = orjson.dumps(chat_body("a" * (size - len(frame))))
        assert len(body) == size
        assert (await post(session, chat(proxy, "/small"), body)).status == status
        pieces = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in (body[:1000], body[1000:])) + b"0\r\n\r\n"
        chunked = http_request(
            pieces, target="/small/v1/chat/completions", headers=["Transfer-Encoding: chunked"], length=False
        )
        [reply] = parse_http(await raw(proxy.port, chunked))
        assert checked(reply).status == status
    assert len(upstream.received) == 4


async def test_K02_half_a_body_is_no_request(proxy: Proxy, upstream: ScriptedServer) -> None:
    whole = http_request(chat_body())
    await raw(proxy.port, whole[:-5], half_close=True)
    assert upstream.received == []
    [reply] = parse_http(await raw(proxy.port, whole))
    assert reply.status == 200


# ------------------------------------------------------------------ J: upstream errors


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (429, "rate_limit_exceeded", "rate_limit_error"),
        (500, "upstream_error", "server_error"),
        (502, "upstream_error", "server_error"),
        (503, "upstream_error", "server_error"),
        (504, "upstream_error", "server_error"),
        (529, "upstream_error", "server_error"),
    ],
)
async def test_J01_J02_upstream_failures(
    proxy: Proxy,
    upstream: ScriptedServer,
    session: aiohttp.ClientSession,
    status: int,
    code: str,
    kind: str,
    stream: bool,
) -> None:
    headers = {"Retry-After": "7", "x-ratelimit-remaining-tokens": "12", "x-prompt": MARK, "Set-Cookie": "a=b"}
    upstream.script = replies({"error": {"message": f"{MARK} {UPSTREAM_KEY}"}}, status, headers)
    reply = await post(session, chat(proxy), chat_body(stream=stream))
    assert (reply.status, reply.error["code"], reply.error["type"]) == (status, code, kind)
    assert reply.headers["retry-after"] == "7"
    assert reply.headers["x-ratelimit-remaining-tokens"] == "12"
    assert MARK not in str(reply)
    assert len(upstream.received) == 1  # one attempt


async def test_J01_retry_after_as_a_date(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    date = "Wed, 21 Oct 2026 07:28:00 GMT"
    upstream.script = replies({}, 429, {"Retry-After": date})
    assert (await post(session, chat(proxy), chat_body())).headers["retry-after"] == date


async def test_E09_error_messages_cross_only_if_the_rules_let_them(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    error = {
        "message": "Too long.",
        "type": "invalid_request_error",
        "param": "messages",
        "code": "context_length_exceeded",
    }
    for stream in (False, True):
        upstream.script = replies({"error": {**error, "debug": MARK}, "x": MARK}, 400)
        reply = await post(session, chat(proxy), chat_body(stream=stream))
        assert (reply.status, reply.json) == (400, {"error": error})
        for place in error:  # words that are known cross all the same
            upstream.script = replies({"error": {**error, place: f"about {MARK}"}}, 400)
            reply = await post(session, chat(proxy), chat_body(stream=stream))
            fixed = {"type": "invalid_request_error", "param": None, "code": "upstream_error"}
            expected = {
                **error,
                "message": "The upstream refused the request.",
                **{k: fixed[k] for k in fixed if k == place},
            }
            assert (reply.status, reply.json) == (400, {"error": expected})
    for body in (b"<html>ZQ-MARK-7781", b"", b'{"error":"ZQ-MARK-7781"}', b"[]", b'{"error":{"message":5}}'):
        upstream.script = replies(body, 403)
        reply = await post(session, chat(proxy), chat_body())
        assert (reply.status, reply.error["message"]) == (403, "The upstream refused the request.")
    upstream.script = replies({"error": {"message": f"Bad key {UPSTREAM_KEY}."}}, 401)
    reply = await post(session, chat(proxy, "/keyed"), chat_body())
    assert reply.status == 401
    assert UPSTREAM_KEY not in reply.body.decode()


@pytest.mark.parametrize("prefix", ["", "/judged"], ids=["judged", "nobody-could-judge"])
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_J01_E09_a_quota_that_is_used_up_is_told_from_a_rate(
    proxy: Proxy,
    upstream: ScriptedServer,
    guard: ScriptedServer,
    session: aiohttp.ClientSession,
    prefix: str,
    stream: bool,
) -> None:
    error = {"message": "Spent.", "type": "insufficient_quota", "param": None, "code": "insufficient_quota"}
    upstream.script = replies({"error": error}, 429, {"Retry-After": "7"})
    guard.script = replies({}, 500)
    reply = await post(session, chat(proxy, prefix), chat_body(stream=stream))
    message = "The upstream is receiving too many requests." if prefix else "Spent."
    assert (reply.status, reply.headers["retry-after"]) == (429, "7")
    assert reply.json == {"error": {**error, "message": message}}


@pytest.mark.parametrize(
    ("body", "message", "kind", "code"),
    [
        ({"error": {"message": "No.", "code": 400}}, "No.", "invalid_request_error", "400"),
        ({"message": "No.", "type": "BadRequestError", "code": 400}, "No.", "BadRequestError", "400"),
        ({"detail": "No."}, "No.", "invalid_request_error", "upstream_error"),
        ({"error": "No."}, "No.", "invalid_request_error", "upstream_error"),
        ({"detail": [{"loc": ["body"], "msg": "No."}]}, "body: No.", "invalid_request_error", "upstream_error"),
    ],
)
async def test_E09_errors_of_other_servers(
    proxy: Proxy,
    upstream: ScriptedServer,
    session: aiohttp.ClientSession,
    body: dict[str, Any],
    message: str,
    kind: str,
    code: str,
) -> None:
    upstream.script = replies(body, 422)
    reply = await post(session, chat(proxy), chat_body())
    assert (reply.status, reply.json) == (
        422,
        {"error": {"message": message, "type": kind, "param": None, "code": code}},
    )
    upstream.script = replies(orjson.loads(orjson.dumps(body).replace(b"No.", MARK.encode())), 422)
    reply = await post(session, chat(proxy), chat_body())
    assert reply.json == {
        "error": {"message": "The upstream refused the request.", "type": kind, "param": None, "code": code}
    }
    async with session.get(proxy.url() + "/models") as response:
        assert (response.status, (await response.json())["error"]["code"]) == (422, code)


def http_answer(head: bytes, body: bytes = b"") -> Script:
    return raw_answer(b"HTTP/1.1 " + head.replace(b"\n", b"\r\n") + b"\r\n\r\n" + body)


_OK_JSON = b"200 OK\nContent-Type: application/json\n"
_GOOD = orjson.dumps(completion(MARK))
BAD_UPSTREAMS: dict[str, Script] = {
    "redirect": replies(completion(MARK), 302, {"Location": "http://evil.test/"}),
    "301": replies(b"", 301, {"Location": "/v1/models"}),
    "204": replies(b"", 204),
    "201": replies(completion(MARK), 201),
    "E08-html": replies(b"<html>ZQ-MARK-7781</html>", content_type="text/html"),
    "E08-garbage": replies(b"ZQ-MARK-7781"),
    "E08-empty": replies(b""),
    "E08-truncated": replies(_GOOD[:-10]),
    "E08-array": replies([completion(MARK)]),
    "E08-no-choices": replies({"object": "chat.completion", "x": MARK}),
    "E08-empty-choices": replies({**completion(MARK), "choices": []}),
    "E08-junk-choices": replies({**completion(MARK), "choices": [MARK, None, 5]}),
    "E08-choice-without-message": replies({**completion(MARK), "choices": [{"index": 0, "text": MARK}]}),
    "E08-message-no-object": replies({**completion(MARK), "choices": [{"index": 0, "message": MARK}]}),
    "E08-many-choices": replies({**completion(MARK), "choices": completion(MARK)["choices"] * 200}),
    "E10-duplicate": replies(_GOOD[:-1] + b',"choices":[{"message":{"content":"x"}}]}'),
    "E08-nan": replies(_GOOD[:-1] + b',"x":NaN}'),
    "E11-gzip": replies(gzip.compress(_GOOD), headers={"Content-Encoding": "gzip"}),
    "E11-br": replies(_GOOD, headers={"Content-Encoding": "br"}),
    "J05-short-body": http_answer(_OK_JSON + b"Content-Length: 9000", _GOOD),
    "J05-no-last-chunk": http_answer(_OK_JSON + b"Transfer-Encoding: chunked", b'5\r\n{"a":\r\n'),
    "J05-no-answer": raw_answer(b""),
    "J10-not-http": raw_answer(b"ZQ-MARK-7781\r\n\r\n"),
    "J10-nul-in-header": http_answer(_OK_JSON + b"X: \x00\nContent-Length: 2", b"{}"),
    "J10-status-999": http_answer(b"999 Odd\nConnection: close\nContent-Length: 0"),
    "E17-switching": http_answer(b"101 Switching Protocols\nUpgrade: x\nConnection: upgrade"),
    "E12-anthropic": streams(b'event: content_block_delta\ndata: {"delta":{"text":"ZQ-MARK-7781"}}\n\n'),
    "F10-broken-event": streams(chunk({"content": "Hi"}), b"data: {broken ZQ-MARK-7781\n\n", DONE),
    "F10-text-event": streams(b"data: ZQ-MARK-7781\n\n", DONE),
    "F11-error-event": streams(chunk({"content": "Hi"}), event({"error": {"message": MARK}}), DONE),
    "F11-error-and-choices": streams(event({"choices": [], "error": {"message": MARK}}), DONE),
    "F06-no-blank-line": streams(chunk({"content": "Hi"}), chunk({"content": MARK}, finish="stop")[:-1]),
    "F17-duplicates": streams(
        b'data: {"choices":[{"index":0,"delta":{"content":"a","content":"ZQ-MARK-7781"}}]}\n\n', DONE
    ),
    "G10-no-end": streams(chunk({"content": "Hi"}), chunk({"content": " there"})),
    "G10-one-choice-open": streams(
        chunk({"content": "Hi"}, index=0), chunk({"content": "Hi"}, index=1), chunk({}, index=0, finish="stop")
    ),
    "J05-abort": streams(chunk({"content": "Hi"}), then="abort"),
    "stream-empty": streams(),
    "stream-only-done": streams(DONE),
    "stream-comments": streams(b": hi\n\n", b": hi\n\n"),
    "stream-many-choices": streams(event({"choices": [{"index": i, "delta": {}} for i in range(200)]}), DONE),
    "stream-gzip": replies(
        gzip.compress(b"".join(text_stream(MARK))), 200, {"Content-Encoding": "gzip"}, "text/event-stream"
    ),
}


@pytest.mark.parametrize("case", BAD_UPSTREAMS)
async def test_unreadable_answers_are_502(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession, case: str
) -> None:
    upstream.script = BAD_UPSTREAMS[case]
    reply = await post(
        session, chat(proxy, "/keyed-plain"), chat_body()
    )  # no rules: readable or not is all that counts
    assert (reply.status, reply.error["code"]) == (502, "bad_upstream_response"), reply.body
    assert MARK not in reply.body.decode()
    reply = await post(session, chat(proxy, "/keyed-plain"), chat_body(stream=True))
    assert MARK not in reply.body.decode()
    if reply.status == 200:
        assert reply.events[-1] is None
        assert reply.events[-2]["error"]["code"] == "bad_upstream_response"
        assert reply.finish_reasons == []
        assert reply.text == ""
    else:
        assert (reply.status, reply.error["code"]) == (502, "bad_upstream_response")
    assert len(upstream.received) == 2


async def test_junk_in_chunks_is_dropped(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    upstream.script = streams(
        event({"choices": [None, MARK, {"index": 0, "delta": MARK}]}),
        event({"choices": [{"index": 0, "delta": {"content": 5, "tool_calls": [None]}}]}),
        event({"choices": [{"index": 0, "delta": {"content": "Hi", "tool_calls": MARK}, "logprobs": MARK}], "x": MARK}),
        event({"choices": [{"index": 0, "delta": None, "finish_reason": "stop"}], "error": None, "usage": MARK}),
        DONE,
    )  # fmt: skip
    for stream in (True, False):
        reply = await post(session, chat(proxy, "/keyed-plain"), chat_body(stream=stream))
        assert reply.status == 200
        assert MARK not in reply.body.decode()
        assert (reply.text if stream else reply.json["choices"][0]["message"]["content"]) == "Hi"


async def test_half_an_emoji_does_not_break_a_stream(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    pieces = [chunk({"content": "XX"}).replace(b"XX", half) for half in (b"\\ud83d", b"\\ude00")]
    upstream.script = streams(*pieces, chunk({"content": "é😀"}), chunk({}, finish="stop"), DONE)
    for stream in (True, False):
        reply = await post(session, chat(proxy), chat_body(stream=stream))
        assert reply.status == 200
        assert (reply.text if stream else reply.json["choices"][0]["message"]["content"]).endswith("é😀")


async def test_E12_the_kinds_may_differ(proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession) -> None:
    upstream.script = streams(*text_stream("Hello", " there.", usage=True))
    reply = await post(session, chat(proxy), chat_body())
    assert reply.json["choices"][0] | {"message": None} == {
        "index": 0, "message": None, "finish_reason": "stop", "logprobs": None,
    }  # fmt: skip
    assert reply.json["choices"][0]["message"]["content"] == "Hello there."
    assert reply.json["usage"]["total_tokens"] == 7
    upstream.script = replies(completion("Hello there.", n=2))
    reply = await post(session, chat(proxy), chat_body(stream=True, n=2))
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert (reply.text, reply.finish_reasons, reply.events[-1]) == ("Hello there.", ["stop"] * 2, None)
    upstream.script = streams(*text_stream("ZQ-MA", "RK-7781"))
    assert (await post(session, chat(proxy), chat_body())).error["code"] == "content_filter"
    upstream.script = replies(completion(MARK))
    assert (await post(session, chat(proxy), chat_body(stream=True))).error["code"] == "content_filter"


async def test_F09_nothing_after_done(proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession) -> None:
    upstream.script = streams(*text_stream("Hi"), chunk({"content": MARK}), then="hang")
    reply = await post(session, chat(proxy), chat_body(stream=True))
    assert reply.text == "Hi"
    assert upstream.received[0].gone.wait(2)


async def test_F15_text_cannot_open_an_event(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    text = '\n\ndata: {"choices":[]}\n\n\r\rdata: [DONE]\r\n\r\n\u2028'
    upstream.script = streams(*text_stream(text))
    reply = await post(session, chat(proxy), chat_body(stream=True))
    assert reply.text == text
    assert reply.body.count(DONE) == 1


async def test_E13_response_headers(proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession) -> None:
    given = {
        "Set-Cookie": "sid=1", "Location": "/x", "X-Accel-Redirect": "/x", "X-Prompt": MARK, "openai-organization": "o",
        "x-ratelimit-limit-requests": "5", "x-ratelimit-reset-tokens": MARK + "\u00e9", "x-request-id": "theirs",
    }  # fmt: skip
    for script in (
        replies(completion(), headers=given),
        replies(b"".join(text_stream("Hi")), 200, given, "text/event-stream"),
    ):
        upstream.script = script
        reply = await post(session, chat(proxy), chat_body(stream=True))
        assert set(reply.headers) - set(ANSWER_HEADERS) <= {
            "content-type", "content-length", "transfer-encoding", "date", "x-ratelimit-limit-requests",
            "cache-control", "x-accel-buffering",
        }  # fmt: skip
        assert reply.headers["x-ratelimit-limit-requests"] == "5"
        assert reply.headers["x-request-id"] != "theirs"
    await post(session, chat(proxy), chat_body())
    assert all(r.header("Cookie") is None for r in upstream.received)


@pytest.mark.parametrize("name", ["Retry-After", "retry-after-ms", "x-ratelimit-limit-requests", "x-ratelimit-zqmark"])
@pytest.mark.parametrize("status", [200, 400, 429, 503])
async def test_E13_a_header_that_crosses_has_no_room_for_words(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession, name: str, status: int
) -> None:
    for value in (MARK, "mark", "Wed, 21 Mark 2026 07:28:00 GMT", "1 mark 2", "5mark"):
        upstream.script = replies(completion(), status, {name: value})
        reply = await post(session, chat(proxy), chat_body())
        assert name.lower() not in reply.headers


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("retry-after", "7"), ("retry-after", "0.5"), ("retry-after", "Wed, 21 Oct 2026 07:28:00 GMT"),
        ("retry-after-ms", "250"), ("x-ratelimit-limit-requests", "60"), ("x-ratelimit-remaining-tokens", "149984"),
        ("x-ratelimit-reset-requests", "1s"), ("x-ratelimit-reset-tokens", "6m0s"), ("x-ratelimit-reset-tokens", "8.64s"),
        ("x-ratelimit-reset-tokens", "120ms"), ("x-ratelimit-reset", "1741305600000"), ("x-ratelimit-remaining", "-1"),
        ("x-ratelimit-limit-req-minute", "60"), ("x-ratelimit-reset-requests", "2026-01-27T12:00:05Z"),
    ],
)  # fmt: skip
async def test_E13_what_clients_wait_by_crosses(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession, name: str, value: str
) -> None:
    upstream.script = replies({}, 429, {name: value})
    assert (await post(session, chat(proxy), chat_body())).headers[name] == value


async def test_E15_caps_on_answers(proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession) -> None:
    big = "a" * 3000
    for script in (
        replies(completion(big)),
        streams(*text_stream(*["a" * 300] * 10)),
        streams(*text_stream("a" * 1500)),
        streams(b"data: " + b"a" * 1500),
        streams(b": " + b"a" * 1500),
    ):
        upstream.script = script
        assert (await post(session, chat(proxy, "/small"), chat_body())).error["code"] == "bad_upstream_response"
        reply = await post(session, chat(proxy, "/small"), chat_body(stream=True))
        assert b"aaa" not in reply.body
    upstream.script = streams(*text_stream("a" * 600_000))  # F13: under the default cap
    assert len((await post(session, chat(proxy), chat_body(stream=True))).text) == 600_000


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_the_upstreams_key_is_masked(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession, stream: bool
) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": f'{{"key": "{UPSTREAM_KEY}"}}'}}
    for prefix in ("/keyed", "/keyed-plain"):
        for script in (
            replies(completion(f"It is {UPSTREAM_KEY}!", tool_calls=[call], reasoning=UPSTREAM_KEY)),
            replies({**completion("It is it!"), "model": UPSTREAM_KEY}),
            replies(completion("It is it!", annotations=[{UPSTREAM_KEY: UPSTREAM_KEY}])),
            streams(*text_stream("It is ", *UPSTREAM_KEY, "!")),
            streams(chunk({"content": "It is it!"}, model=UPSTREAM_KEY, finish="stop"), DONE),
            streams(chunk({"content": "It is it!", "annotations": [{"a": UPSTREAM_KEY}]}, finish="stop"), DONE),
        ):
            upstream.script = script
            reply = await post(session, chat(proxy, prefix), chat_body(stream=stream))  # checks that no key is in it
            assert reply.status == 200, reply.body
            text = reply.text if stream else reply.json["choices"][0]["message"]["content"]
            assert text.startswith("It is ")
            assert text.endswith("!")


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_J03_J04_no_upstream_and_a_silent_one(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession, stream: bool
) -> None:
    reply = await post(session, chat(proxy, "/nobody"), chat_body(stream=stream))
    assert (reply.status, reply.error["code"]) == (502, "upstream_unreachable")
    upstream.script = hangs
    reply = await post(session, chat(proxy, "/short"), chat_body(stream=stream))
    assert (reply.status, reply.error["code"]) == (504, "upstream_timeout")
    upstream.script = streams(chunk({"content": "Hi"}), then="hang")
    reply = await post(session, chat(proxy, "/short"), chat_body(stream=stream))
    if stream and reply.status == 200:
        assert reply.events[-2:] == [reply.events[-2], None]
        assert reply.events[-2]["error"]["code"] == "upstream_timeout"
    else:
        assert (reply.status, reply.error["code"]) == (504, "upstream_timeout")


async def test_models_from_a_faulty_upstream(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    async def listing(prefix: str = "") -> Reply:
        async with session.get(proxy.url(prefix) + "/models") as response:
            headers = {k.lower(): v for k, v in response.headers.items()}
            return checked(Reply(response.status, headers, await response.read()))

    def model(name: Any) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": 1, "owned_by": "o", "x": MARK}

    upstream.script = replies(
        {"object": "list", "data": [None, "x", model(None), {"x": 1}, model("gpt-4o"), model("other")]}
    )
    assert [m["id"] for m in (await listing()).json["data"]] == ["gpt-4o"]
    upstream.script = replies({"object": "list", "data": [model(MARK)]})
    for prefix in ("", "/message"):
        reply = await listing(prefix)
        assert (reply.status, reply.error["code"], reply.error["param"]) == (400, "content_filter", None)
        assert reply.error["innererror"]["policies"] == ["marker"]
        assert reply.error["innererror"]["decision_id"] == reply.headers["x-safeguard-decision-id"]
        assert (reply.decision, reply.headers["x-should-retry"]) == ("refuse", "false")
    upstream.script = replies({"object": "list", "data": [model(UPSTREAM_KEY), model("a")]})
    assert "a" in [m["id"] for m in (await listing("/keyed")).json["data"]]
    for script, status in ((replies([]), 502), (replies(b"x"), 502), (replies({}, 429), 429), (replies({}, 401), 401),
                           (replies({}, 500), 500), (replies({}, 302), 502)):  # fmt: skip
        upstream.script = script
        assert (await listing()).status == status


# ------------------------------------------------------------------ time


async def test_a_slow_upstream_is_bridged_by_comments(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    """The answer begins with comments; a refusal, a fault and the end of the stream then come within it."""
    scripts: dict[str, Script] = {
        "fine": slow_stream(*text_stream("Hello", " there.", usage=True)),
        "refused": slow_stream(*text_stream("Hello ", MARK, usage=True)),
        "broken": slow_stream(chunk({"content": "Hello"})),
        "json": slow_stream(orjson.dumps(completion("Hello there.")), content_type="application/json"),
    }

    async def by_user(request: Any, received: Any) -> Any:
        return await scripts[received.json["user"]](request, received)

    upstream.script = by_user
    bodies = {name: chat_body(user=name, stream=True, stream_options={"include_usage": True}) for name in scripts}
    got = dict(
        zip(bodies, await asyncio.gather(*(post(session, chat(proxy), b) for b in bodies.values())), strict=True)
    )
    for reply in got.values():
        assert reply.status == 200
        assert reply.body.startswith(b": keep-alive\n\n")
        assert reply.events[-1] is None
        assert reply.body.count(DONE) == 1
        assert MARK not in reply.body.decode()
    for name in ("fine", "json"):
        assert got[name].text == "Hello there."
        assert got[name].finish_reasons == ["stop"]
        assert got[name].events[-2]["usage"]["total_tokens"] == 7
    assert got["refused"].finish_reasons == ["content_filter"]
    assert "usage policy" in got["refused"].text
    assert got["refused"].events[0]["choices"][0]["delta"]["role"] == "assistant"
    assert got["refused"].events[-2]["usage"]["total_tokens"] == 7
    assert got["broken"].events[-2]["error"]["code"] == "bad_upstream_response"
    assert len(got["broken"].events) == 2


def slow_stream(*segments: bytes, content_type: str = "text/event-stream") -> Script:
    """Headers and nothing else for longer than the first comment takes, then all at once."""

    async def script(request: Any, received: Any) -> Any:
        from aiohttp import web

        response = web.StreamResponse(headers={"Content-Type": content_type})
        await response.prepare(request)
        await asyncio.sleep(1.3)
        for segment in segments:
            await response.write(segment)
        await response.write_eof()
        return response

    return script


async def test_a_guard_that_fails_late_ends_the_stream_with_an_error(
    proxy: Proxy, upstream: ScriptedServer, guard: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    guard.script = after(1.3, replies({}, 500))
    upstream.script = streams(*text_stream("Hello"))
    reply = await post(session, chat(proxy, "/judged"), chat_body(stream=True))
    assert reply.status == 200
    assert [e and e["error"]["code"] for e in reply.events] == ["guard_unavailable", None]


async def leaves(proxy: Proxy, request: bytes, arrived: Callable[[], Any]) -> float:
    """Send a request, wait until it has ``arrived`` somewhere, close the connection; when that was."""
    _, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(request)
    await writer.drain()
    await asyncio.to_thread(arrived)
    writer.transport.abort()
    return time.monotonic()


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("where", ["headers", "body", "verdict"])
async def test_K04_a_client_that_leaves_takes_its_calls_along(
    proxy: Proxy, upstream: ScriptedServer, guard: ScriptedServer, stream: bool, where: str
) -> None:
    guard.script = hangs
    upstream.script = {"headers": hangs, "body": streams(chunk({"content": "Hi"}), then="hang")}.get(
        where, answers_chat
    )
    server = guard if where == "verdict" else upstream
    request = http_request(chat_body(stream=stream), target="/judged/v1/chat/completions", close=False)
    took = []
    for i in range(3):  # on a busy machine one of three must be in time
        left_at = await leaves(proxy, request, lambda n=i + 1: server.wait_received(n))  # type: ignore[misc]  # a default in a lambda
        received = server.received[i]
        assert await asyncio.to_thread(received.gone.wait, 5)
        took.append(received.gone_at - left_at)
    assert min(took) < 0.2
    proxy.wait_log(lambda line: line.get("error") == "client_closed" and line.get("status") == 499)


async def test_K03_a_slow_reader_gets_everything(proxy: Proxy, upstream: ScriptedServer) -> None:
    text = "0123456789" * 300_000
    upstream.script = streams(*text_stream(*[text[i : i + 100_000] for i in range(0, len(text), 100_000)]))
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port, limit=4096)
    writer.write(http_request(chat_body(stream=True), headers=["Content-Type: application/json"]))
    out = bytearray()
    while piece := await reader.read(1 << 16):
        out += piece
        await asyncio.sleep(0)
    writer.close()
    await writer.wait_closed()
    assert out.count(b"0123456789") == 300_000
    assert b"data: [DONE]" in out


async def test_K06_many_at_once(proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession) -> None:
    bodies = [chat_body(MARK if i % 3 == 0 else f"number {i}", stream=i % 2 == 0) for i in range(90)]
    got = await asyncio.gather(*(post(session, chat(proxy), body) for body in bodies))
    assert [r.status for r in got] == [400 if i % 3 == 0 else 200 for i in range(90)]
    assert len(upstream.received) == 60

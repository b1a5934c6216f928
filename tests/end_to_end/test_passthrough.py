"""Paths that a route lets through unread: only those that it lists, and every answer says that nobody judged it."""

from __future__ import annotations

import aiohttp
import pytest

from tests.end_to_end.servers import (
    CLIENT_KEY,
    MARK,
    Proxy,
    ScriptedServer,
    chat_body,
    checked,
    http_request,
    parse_http,
    post,
    raw,
    raw_answer,
    replies,
)

CONFIG = """
upstreams:
  default: {base_url: "${UPSTREAM_URL}"}
policies:
  marker: {detector: patterns, literals: ["ZQ-MARK-7781"]}
routes:
  - {name: closed, match: {path: /closed/v1/*}, upstream: default}
  - {name: all, match: {path: /all/v1/*}, upstream: default, passthrough: ["/v1/*"]}
  - name: open
    upstream: default
    max_body_bytes: 2048
    passthrough: [/v1/files*, "/v1/*/open"]
    input: [{policy: marker, refuse: 0.5}]
  - {name: after, upstream: default, passthrough: [/v1/later]}
"""


async def test_a_listed_path_crosses_as_it_is_and_says_so(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    upstream.script = replies(
        b"\x00\xff" + MARK.encode(), content_type="application/pdf", headers={"Set-Cookie": "a=b"}
    )
    headers = {"Content-Type": "multipart/form-data; boundary=x", "Authorization": f"Bearer {CLIENT_KEY}", "X-Odd": "1"}
    reply = await post(session, proxy.url() + "/files?purpose=x", b"--x " + MARK.encode(), headers)
    assert (reply.status, reply.body) == (200, b"\x00\xff" + MARK.encode())
    assert reply.headers["content-type"] == "application/pdf"
    assert (reply.decision, reply.headers["x-safeguard-unjudged"]) == ("forward", "2")
    [received] = upstream.received
    assert (received.method, received.target, received.body) == ("POST", "/v1/files?purpose=x", b"--x " + MARK.encode())
    sent = {k.lower(): v for k, v in received.headers}
    assert (sent["content-type"], "x-odd" in sent) == ("multipart/form-data; boundary=x", False)
    proxy.wait_log(lambda line: line.get("endpoint") == "passthrough" and line["route"] == "open")


@pytest.mark.parametrize(
    ("method", "target"), [("GET", "/v1/files/f-1"), ("DELETE", "/v1/files/f-1"), ("GET", "/v1/x/open")]
)
async def test_other_methods_and_globs(proxy: Proxy, upstream: ScriptedServer, method: str, target: str) -> None:
    upstream.script = replies({"deleted": True}, status=404)
    [reply] = parse_http(await raw(proxy.port, http_request(method=method, target=target, length=False)))
    assert (reply.status, reply.headers["x-safeguard-unjudged"]) == (404, "1")
    assert b'{"deleted":true}' in reply.body
    assert [(r.method, r.target) for r in upstream.received] == [(method, target)]


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        pytest.param("limit=2&after=file_9", "limit=2&after=file_9", id="a page"),
        pytest.param(
            "include[]=a.b&include%5B%5D=c:d&order=desc", "include%5B%5D=a.b&include%5B%5D=c:d&order=desc", id="a list"
        ),
        pytest.param("after=%66ile-9&api-version=2024-10-21", "after=file-9&api-version=2024-10-21", id="escaped"),
        pytest.param(f"metadata[a]=b&q={MARK}&Limit=2&key=x&limit", "", id="others"),
        pytest.param("after=a%20b&before=a/b&order=a+b&limit=&include=%C3%A9", "", id="other values"),
        pytest.param(f"after={'x' * 128}&before={'x' * 129}", f"after={'x' * 128}", id="long values"),
        pytest.param("after=a%0d%0ax&limit=2%26q=5", "", id="smuggled"),
        pytest.param("api-version=some-words", "", id="no version"),
    ],
)
async def test_the_parameters_of_lists_cross(proxy: Proxy, upstream: ScriptedServer, given: str, sent: str) -> None:
    upstream.script = replies({"data": []})
    request = http_request(method="GET", target=f"/v1/files?{given}", length=False)
    [reply] = parse_http(await raw(proxy.port, request))
    assert (reply.status, reply.headers["x-safeguard-unjudged"]) == (200, "2" if sent else "1")
    assert [r.target for r in upstream.received] == [f"/v1/files?{sent}" if sent else "/v1/files"]


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("api-version=2025-04-01-preview", "?api-version=2025-04-01-preview"),
        ("api-version=preview&limit=2", "?api-version=preview"),
        (f"api-version={MARK}&after=x&q=y", ""),
    ],
)
async def test_of_what_is_judged_only_the_version_crosses(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession, given: str, sent: str
) -> None:
    await post(session, f"{proxy.url()}/chat/completions?{given}", chat_body())
    await raw(proxy.port, http_request(method="GET", target=f"/v1/models?{given}", length=False))
    assert [r.target for r in upstream.received] == [f"/v1/chat/completions{sent}", f"/v1/models{sent}"]


@pytest.mark.parametrize(
    "target",
    [
        pytest.param("/v1/other", id="not listed"),
        pytest.param("/closed/v1/files", id="another route"),
        pytest.param("/v1/later", id="listed by a route that does not take it"),
        pytest.param("/v1/chat/completions/open", id="below a judged endpoint"),
        pytest.param("/v1/Responses/open", id="below another spelling of one"),
        pytest.param("/all/v1/v1/chat/completions", id="one behind a second prefix"),
        pytest.param("/all/v1/engines/m/completions", id="an older address of one"),
        pytest.param("/all/v1/openai/deployments/m/embeddings", id="another gateway's address of one"),
        pytest.param("/all/v1/x/V1/Responses/r-1", id="below one behind something else"),
        pytest.param("/all/v1/beta/litellm_basic_guardrail_api", id="the mount behind a second prefix"),
        pytest.param("/v1/files/../chat/completions", id="dots"),
        pytest.param("/v1/files%2f..%2fchat/completions", id="escapes"),
        pytest.param("/v1/files//x", id="empty segment"),
    ],
)
async def test_everything_else_stays_closed(proxy: Proxy, upstream: ScriptedServer, target: str) -> None:
    for method in ("GET", "POST"):
        [reply] = parse_http(await raw(proxy.port, http_request(b"{}", method=method, target=target)))
        assert (checked(reply).status, upstream.received) == (404, [])


async def test_judged_endpoints_are_judged_all_the_same(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    reply = await post(session, proxy.url() + "/chat/completions", chat_body(MARK))
    assert (reply.status, upstream.received) == (400, [])


async def test_limits_and_methods(proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession) -> None:
    assert (await post(session, proxy.url() + "/files", b"x" * 2049)).status == 413
    assert (await post(session, proxy.url() + "/files", b"x", {"Content-Type": "é"})).status in (400, 415)
    [reply] = parse_http(await raw(proxy.port, http_request(b"{}", method="PATCH", target="/v1/files")))
    assert (reply.status, reply.headers["allow"]) == (405, "GET, POST, DELETE")
    assert upstream.received == []


async def test_an_answer_that_breaks_off_is_no_whole_answer(proxy: Proxy, upstream: ScriptedServer) -> None:
    upstream.script = raw_answer(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\nContent-Type: text/plain\r\n\r\nhalf")
    got = await raw(proxy.port, http_request(method="GET", target="/v1/files", length=False))
    assert b"200 OK" in got
    assert not got.endswith(b"0\r\n\r\n"), "the last chunk of a chunked body says that it is whole"


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"HTTP/1.1 999 Odd\r\n", id="status that HTTP does not know"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Encoding: identity\r\nContent-Encoding: gzip\r\n", id="compressed twice"
        ),
    ],
)
async def test_odd_heads_do_not_cross(proxy: Proxy, upstream: ScriptedServer, head: bytes) -> None:
    upstream.script = raw_answer(head + b"Content-Length: 1\r\n\r\nx")
    [reply] = parse_http(await raw(proxy.port, http_request(method="GET", target="/v1/files", length=False)))
    assert checked(reply).status == 502


async def test_redirects_do_not_cross(proxy: Proxy, upstream: ScriptedServer) -> None:
    upstream.script = replies(b"", status=302, headers={"Location": "http://evil.test/"})
    [reply] = parse_http(await raw(proxy.port, http_request(method="GET", target="/v1/files", length=False)))
    assert (reply.status, "location" in reply.headers) == (502, False)

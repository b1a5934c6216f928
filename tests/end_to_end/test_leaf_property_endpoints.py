"""The leaf property for the smaller endpoints: the mark at any string or key is refused or does not cross.

See `tests.end_to_end.test_leaf_property` for chat completions.
"""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from proxy.chat_api import REINTERPRETS
from proxy.completion_api import COMPLETION_CHUNK, COMPLETION_REQUEST, COMPLETION_RESPONSE
from proxy.embeddings import EMBEDDING_REQUEST, EMBEDDING_RESPONSE
from proxy.schema import Object, Refused
from tests.end_to_end import test_leaf_property
from tests.end_to_end.servers import DONE, MARK, Proxy, Reply, ScriptedServer, event, post, replies, streams
from tests.end_to_end.test_leaf_property import by_user, gathered, inner, is_refused, marked, places, show
from tests.proxy import endpoint_examples as examples

CONFIG = (
    test_leaf_property.CONFIG
    + """
  - name: window
    match: {path: /window/v1/*}
    upstream: default
    stream: window
    window_chars: 5
    overlap_chars: 12
    output: [{policy: marker, refuse: 0.5}]
"""
)

REQUESTS = {"/completions": examples.COMPLETION_REQUEST, "/embeddings": examples.EMBEDDING_REQUEST}
ANSWERS = {"/completions": examples.COMPLETION_RESPONSE, "/embeddings": examples.EMBEDDING_RESPONSE}
SMALL: dict[str, dict[str, Any]] = {
    "/completions": {"model": "gpt-4o", "prompt": "Hi"},
    "/embeddings": {"model": "gpt-4o", "input": "Hi"},
}


@pytest.mark.parametrize(
    ("schema", "example"),
    [
        (COMPLETION_REQUEST, examples.COMPLETION_REQUEST),
        (COMPLETION_RESPONSE, examples.COMPLETION_RESPONSE),
        (COMPLETION_CHUNK, examples.COMPLETION_RESPONSE),
        (EMBEDDING_REQUEST, examples.EMBEDDING_REQUEST),
        (EMBEDDING_RESPONSE, examples.EMBEDDING_RESPONSE),
    ],
    ids=["completion-request", "completion", "completion-chunk", "embedding-request", "embedding"],
)
def test_the_superset_names_every_field_that_crosses(schema: Object, example: dict[str, Any]) -> None:
    closed = {name for name, spec in schema.fields.items() if isinstance(spec, Refused)}
    assert set(schema.fields) - closed <= set(example)
    for name in ("choices", "data"):
        if name in schema.fields:
            assert set(inner(schema.fields[name])) <= set(example[name][0])


@pytest.mark.parametrize("route", ["patterns", "guard"])
@pytest.mark.parametrize("path", REQUESTS)
async def test_no_place_of_a_request_carries_the_mark(
    proxy: Proxy, upstream: ScriptedServer, guard: ScriptedServer, session: aiohttp.ClientSession, path: str, route: str
) -> None:
    url = proxy.url(f"/{route}") + path
    upstream.script = replies(ANSWERS[path])
    assert (await post(session, url, REQUESTS[path])).status == 200  # without the mark everything is accepted
    upstream.received.clear()
    cases = list(places(REQUESTS[path]))
    got = await gathered([post(session, url, marked(REQUESTS[path], place)) for place in cases])
    crossed = [r for r in upstream.received if MARK.encode() in r.body]
    assert not crossed, crossed[0].body
    for place, reply in zip(cases, got, strict=True):
        assert reply.status == 400, show(place)  # nothing of a request is dropped in silence
        assert MARK not in reply.body.decode(), show(place)


@pytest.mark.parametrize("path", REQUESTS)
async def test_fields_that_reinterpret_are_refused(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession, path: str
) -> None:
    for name in sorted({*REINTERPRETS, "messages"} - ({"prompt", "echo"} if path == "/completions" else set())):
        reply = await post(session, proxy.url("/patterns") + path, {**SMALL[path], name: MARK})
        assert (reply.status, reply.error["code"], reply.error["param"]) == (400, "unsupported_field", name)
    assert upstream.received == []


async def ask_all(
    proxy: Proxy, session: aiohttp.ClientSession, route: str, path: str, n: int, **more: Any
) -> list[Reply]:
    url = proxy.url(f"/{route}") + path
    return await gathered([post(session, url, {**SMALL[path], "user": str(i), **more}) for i in range(n)])


def check(places_: list[Any], got: list[Reply]) -> int:
    """No answer holds the mark; gives how many were refused."""
    for place, reply in zip(places_, got, strict=True):
        assert MARK not in reply.body.decode(), show(place)
        assert MARK not in str(reply.headers), show(place)
        assert is_refused(reply) or reply.status in (200, 502), show(place)
        path, kind = place
        if kind == "text" and (path == ("model",) or path[-1] in ("text", "finish_reason")):
            assert is_refused(reply), show(place)
    return sum(map(is_refused, got))


@pytest.mark.parametrize("route", ["patterns", "guard", "window"])
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_no_place_of_a_completion_carries_the_mark(
    proxy: Proxy,
    upstream: ScriptedServer,
    guard: ScriptedServer,
    session: aiohttp.ClientSession,
    route: str,
    stream: bool,
) -> None:
    example = examples.COMPLETION_RESPONSE
    cases = list(places(example))
    by_user(upstream, [replies(example), *(replies(marked(example, place)) for place in cases)])
    [plain, *got] = await ask_all(proxy, session, route, "/completions", len(cases) + 1, stream=stream)
    assert plain.status == 200, plain.body
    if not stream:
        assert plain.json["choices"][0]["logprobs"]["tokens"] == ["Hello", " there"]
    assert check(cases, got) > 5


@pytest.mark.parametrize("route", ["patterns", "guard", "window"])
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_no_place_of_a_chunk_carries_the_mark(
    proxy: Proxy,
    upstream: ScriptedServer,
    guard: ScriptedServer,
    session: aiohttp.ClientSession,
    route: str,
    stream: bool,
) -> None:
    example = examples.COMPLETION_RESPONSE
    cases = list(places(example))
    by_user(
        upstream,
        [streams(event(example), DONE), *(streams(event(marked(example, place)), DONE) for place in cases)],
    )
    [plain, *got] = await ask_all(proxy, session, route, "/completions", len(cases) + 1, stream=stream)
    assert plain.status == 200, plain.body
    assert check(cases, got) > 5


@pytest.mark.parametrize("route", ["patterns", "guard", "window"])
async def test_the_mark_split_over_chunks_is_seen(
    proxy: Proxy, upstream: ScriptedServer, guard: ScriptedServer, session: aiohttp.ClientSession, route: str
) -> None:
    scripts = []
    for n in (1, 5):
        for index in (0, 3, None):
            pieces = [MARK[i : i + n] for i in range(0, len(MARK), n)]
            where = {} if index is None else {"index": index}
            events = [event({"choices": [{**where, "text": p}, {"index": 1, "text": "-"}]}) for p in pieces]
            scripts.append(streams(*events, DONE))
    by_user(upstream, scripts)
    for stream in (True, False):
        for reply in await ask_all(proxy, session, route, "/completions", len(scripts), stream=stream):
            assert is_refused(reply)
            said = "".join(
                c["text"] for e in (reply.events if reply.status == 200 else ()) if e for c in e.get("choices", ())
            )
            assert "ZQ" not in said


async def test_no_place_of_an_embedding_carries_the_mark(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    example = examples.EMBEDDING_RESPONSE
    cases = list(places(example))
    by_user(upstream, [replies(example), *(replies(marked(example, place)) for place in cases)])
    [plain, *got] = await ask_all(proxy, session, "patterns", "/embeddings", len(cases) + 1)
    assert plain.status == 200, plain.body
    for place, reply in zip(cases, got, strict=True):
        assert MARK not in reply.body.decode(), show(place)
        assert reply.status in (200, 502), show(place)


@pytest.mark.parametrize("route", ["patterns", "guard"])
@pytest.mark.parametrize("kind", ["request", "response"])
async def test_no_place_of_a_mounted_request_passes_with_the_mark(
    proxy: Proxy, upstream: ScriptedServer, guard: ScriptedServer, session: aiohttp.ClientSession, route: str, kind: str
) -> None:
    url = f"http://127.0.0.1:{proxy.port}/{route}/beta/litellm_basic_guardrail_api"
    example = {**examples.LITELLM_REQUEST, "input_type": kind}
    assert (await post(session, url, example)).json == {"action": "NONE"}
    content = ("texts", "images", "structured_messages", "tools", "tool_calls")
    cases = [place for place in places(example) if len(place[0]) > 1 and place[0][0] in content]
    got = await gathered([post(session, url, marked(example, place)) for place in cases])
    for place, reply in zip(cases, got, strict=True):
        assert (reply.status, reply.json["action"]) == (200, "BLOCKED"), show(place)
        assert MARK not in reply.body.decode()
    assert len(cases) > 80
    assert upstream.received == []

"""The one property, for ``/v1/responses``: a forbidden text at *any* string or key is refused or does not cross."""

from __future__ import annotations

from typing import Any

import aiohttp
import orjson
import pytest

from tests.end_to_end import test_leaf_property
from tests.end_to_end.servers import MARK, Proxy, Reply, Script, ScriptedServer, post, replies, streams
from tests.end_to_end.test_leaf_property import Place, by_user, gathered, marked, places, show
from tests.proxy.responses_examples import (
    EVENTS,
    N_OPAQUE,
    REQUEST,
    RESPONSE,
    VARIANTS,
    of_call,
    of_message,
    of_response,
)

CONFIG = test_leaf_property.CONFIG
FINE = {**RESPONSE, "error": None, "incomplete_details": None}


def wire(events: list[dict[str, Any]]) -> bytes:
    return b"".join(b"event: x\ndata: " + orjson.dumps(event) + b"\n\n" for event in events)


async def ask_all(proxy: Proxy, session: aiohttp.ClientSession, route: str, n: int, **more: Any) -> list[Reply]:
    url = proxy.url(f"/{route}") + "/responses"
    return await gathered([post(session, url, {"model": "m", "input": "Hi", "user": str(i), **more}) for i in range(n)])


def is_refused(reply: Reply) -> bool:
    if reply.status != 200:
        return bool(reply.error["code"] == "content_filter")
    return b"event: response.incomplete" in reply.body


@pytest.mark.parametrize(("route", "step"), [("patterns", 1), ("guard", 5)])
async def test_no_place_of_a_request_carries_the_mark(
    proxy: Proxy, upstream: ScriptedServer, guard: ScriptedServer, session: aiohttp.ClientSession, route: str, step: int
) -> None:
    upstream.script = replies(FINE)
    url = proxy.url(f"/{route}") + "/responses"
    plain = await post(session, url, REQUEST)
    assert plain.status == 200, plain.body  # without the mark everything is accepted
    assert int(plain.headers["x-safeguard-unjudged"]) == N_OPAQUE + 2  # and of the answer an image, encrypted reasoning
    cases = [(REQUEST, place) for place in places(REQUEST)]
    cases += [({**REQUEST, **v}, place) for v in VARIANTS for place in places(v) if place[1] == "text"]
    cases = cases[::step]
    upstream.received.clear()
    got = await gathered([post(session, url, marked(base, place)) for base, place in cases])
    crossed = [r for r in upstream.received if MARK.encode() in r.body]
    assert not crossed, crossed[0].body
    assert len(cases) > 500 // step
    for (_, place), reply in zip(cases, got, strict=True):
        if place == (("store",), "key"):
            continue
        assert reply.status == 400, show(place)  # nothing of a request is dropped in silence
        assert MARK not in reply.body.decode(), show(place)


@pytest.mark.parametrize(("route", "step"), [("patterns", 1), ("guard", 5)])
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_no_place_of_an_answer_carries_the_mark(
    proxy: Proxy,
    upstream: ScriptedServer,
    guard: ScriptedServer,
    session: aiohttp.ClientSession,
    route: str,
    step: int,
    stream: bool,
) -> None:
    cases = list(places(RESPONSE))[::step]
    by_user(upstream, [replies(RESPONSE), *(replies(marked(RESPONSE, place)) for place in cases)])
    [plain, *got] = await ask_all(proxy, session, route, len(cases) + 1, stream=stream)
    assert plain.status == 200, plain.body
    check(cases, got)
    assert sum(map(is_refused, got)) > len(cases) // 3


def check(cases: list[Place], got: list[Reply]) -> None:
    for place, reply in zip(cases, got, strict=True):
        assert MARK not in reply.body.decode(), show(place)
        assert MARK not in str(reply.headers), show(place)
        assert is_refused(reply) or reply.status in (200, 502), show(place)


def segments(data: bytes, how: str) -> Script:
    if how == "events":
        return streams(*(block + b"\n\n" for block in data.split(b"\n\n")[:-1]))
    return streams(data)


@pytest.mark.parametrize("how", ["whole", "events"])
async def test_no_place_of_an_event_carries_the_mark(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession, how: str
) -> None:
    cases: list[Place] = []
    scripts: list[Script] = []
    for i, event in enumerate(EVENTS[:-1] if how == "whole" else EVENTS[:25]):
        around = [e for e in EVENTS[1:-1] if e.get("output_index") == event.get("output_index")] if i else []
        for place in places(event):
            marked_event = marked(event, place)
            others = [marked_event if e is event else e for e in around] or [marked_event]
            scripts.append(segments(wire([EVENTS[0], *others, of_response()[-1]]), how))
            cases.append(place)
    by_user(upstream, scripts)
    got = await ask_all(proxy, session, "patterns", len(scripts), stream=True)
    check(cases, got)
    assert sum(map(is_refused, got)) > (100 if how == "whole" else 30)
    assert len(cases) > 200


@pytest.mark.parametrize("n", [1, 5], ids=["letter-by-letter", "fives"])
@pytest.mark.parametrize("route", ["patterns", "guard"])
async def test_the_mark_split_over_events_is_seen_in_every_channel(
    proxy: Proxy, upstream: ScriptedServer, guard: ScriptedServer, session: aiohttp.ClientSession, route: str, n: int
) -> None:
    pieces = [MARK[i : i + n] for i in range(0, len(MARK), n)]
    item: dict[str, Any] = {"id": "x", "call_id": "c", "name": "f"}
    scripts = [
        streams(wire(of_response(of_message(0, MARK, pieces)))),
        streams(wire(of_response(of_message(0, "ok", ["ok"]), of_message(1, "", pieces)))),
        *(
            streams(wire(of_response(of_call(0, {**item, "type": kind}, event, name, pieces))))
            for kind, event, name in (
                ("function_call", "function_call_arguments", "arguments"),
                ("custom_tool_call", "custom_tool_call_input", "input"),
            )
        ),
        *(
            streams(
                wire(of_response([{"type": f"response.{name}.delta", "output_index": 0, "delta": p} for p in pieces]))
            )
            for name in ("refusal", "reasoning_text", "reasoning_summary_text")
        ),
    ]
    by_user(upstream, scripts)
    for stream in (True, False):
        for reply in await ask_all(proxy, session, route, len(scripts), stream=stream):
            assert (reply.status, reply.error["code"], reply.error["param"]) == (400, "content_filter", "input")

"""Streamed chat completions in the three modes, between a scripted upstream, a scripted guard and a client that waits.

Letters and numbers in names are those of the list of attacks (groups E, F, G, K). What passes must be the same however
the upstream's bytes are cut; what is refused must not leave, however much of the rest has left by then.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web

from rules.policy import DEFAULT_REFUSAL_TEXT
from tests.end_to_end.servers import (
    DONE,
    MARK,
    USAGE_CHUNK,
    Proxy,
    Received,
    Reply,
    Script,
    ScriptedServer,
    chat_body,
    checked,
    chunk,
    completion,
    event,
    hangs,
    http_request,
    judges_mark,
    post,
    read_events,
    replies,
    streams,
    text_stream,
)

CONFIG = """
upstreams:
  default: {base_url: "${UPSTREAM_URL}"}
guards:
  fleet: {engine: openai, base_url: "${GUARD_URL}", model: m, timeout_s: 1.5, cache_entries: 0}
  patient: {engine: openai, base_url: "${GUARD_URL}", model: m, timeout_s: 60, cache_entries: 0}
default_guard: fleet
policies:
  marker: {detector: patterns, literals: ["ZQ-MARK-7781"]}
  word: {detector: patterns, patterns: ['\\bcat\\b']}
  doubt: {detector: patterns, literals: ["doubtful"]}
  personal: {detector: pii, kinds: [EMAIL, CARD]}
  model: {text: "Content that holds the mark."}
routes:
"""
MODES = ("buffer", "window", "deliver_first")
WINDOW, OVERLAP = 60, 20
for _mode in MODES:
    _shared = f"upstream: default, stream: {_mode}, window_chars: {WINDOW}, overlap_chars: {OVERLAP}"
    for _name, _rest in {
        "": "output: [{policy: marker, refuse: 0.5}]",
        "-message": "refusal: message, output: [{policy: marker, refuse: 0.5}]",
        "-scoped": "output: [{policy: marker, refuse: 0.5, scope: [assistant]}]",
        "-mask": "output: [{policy: marker, rewrite: 0.5}, {policy: personal, rewrite: 0.5}]",
        "-all": "output: [{policy: marker, refuse: 0.5}, {policy: word, refuse: 0.5}, {policy: personal, rewrite: 0.5},"
        " {policy: doubt, flag: 0.5}]",
        "-guard": "max_body_bytes: 100000000, output: [{policy: model, refuse: 0.5}]",
        "-patient": "max_body_bytes: 100000000, output: [{policy: model, guard: patient, refuse: 0.5}]",
        "-flag": "on_error: flag, output: [{policy: model, refuse: 0.5}]",
        "-forward": "on_error: forward, output: [{policy: model, refuse: 0.5}]",
    }.items():
        if _mode == "deliver_first":  # what has left cannot be rewritten
            _rest = _rest.replace("rewrite:", "flag:")
        CONFIG += f"  - {{name: {_mode}{_name}, match: {{path: /{_mode}{_name}/v1/*}}, {_shared}, {_rest}}}\n"
    CONFIG += (
        f"  - {{name: {_mode}-large, match: {{path: /{_mode}-large/v1/*}}, upstream: default, stream: {_mode}, "
        "max_body_bytes: 100000000, output: [{policy: marker, refuse: 0.5}]}\n"
    )
CUTS = ("bytes", "events", "whole")
BENIGN = "the tide turns twice a day because the earth rotates under two bulges of water. " * 26
"""2 KB in which no letter of `MARK` stands."""
USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}


def url(proxy: Proxy, route: str) -> str:
    return proxy.url(f"/{route}") + "/chat/completions"


def cut(events: Sequence[bytes], how: str) -> list[bytes]:
    """The same stream in segments of one byte, of one event, or at once."""
    data = b"".join(events)
    return {"bytes": [data[i : i + 1] for i in range(len(data))], "events": list(events), "whole": [data]}[how]


def pieces(text: str, size: int = 50) -> list[str]:
    return [text[i : i + size] for i in range(0, len(text), size)]


def asked(**more: Any) -> dict[str, Any]:
    return chat_body(stream=True, stream_options={"include_usage": True}, **more)


@dataclass(slots=True)
class Choice:
    """What a client has put together of one choice."""

    texts: dict[str, str] = field(default_factory=dict)
    calls: dict[int, dict[str, str]] = field(default_factory=dict)
    finished: list[str] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)

    @property
    def content(self) -> str:
        return self.texts.get("content", "")


@dataclass(slots=True)
class Seen:
    """What a client has put together of a stream, after checking that it is a well-formed one."""

    choices: dict[int, Choice] = field(default_factory=dict)
    usage: dict[str, Any] | None = None
    error: str | None = None

    @property
    def finished(self) -> list[list[str]]:
        return [self.choices[i].finished for i in sorted(self.choices)]


def seen(reply: Reply) -> Seen:
    """Read a stream: our id on every chunk, a role first, nothing of a choice behind its end, one ``[DONE]``, at the end."""
    assert reply.status == 200
    assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
    *events, last = reply.events
    assert last is None
    out = Seen()
    for e in events:
        assert e is not None
        assert out.error is None
        assert out.usage is None
        if "error" in e:
            assert set(e) == {"error"}
            out.error = e["error"]["code"]
            continue
        assert e["id"] == f"chatcmpl-{reply.headers['x-request-id']}"
        assert e["object"] == "chat.completion.chunk"
        assert set(e) <= {"id", "object", "created", "model", "service_tier", "choices", "usage"}
        if not e["choices"]:
            out.usage = e["usage"]
        for c in e["choices"]:
            assert set(c) <= {"index", "delta", "finish_reason", "logprobs"}
            is_new = c["index"] not in out.choices
            choice = out.choices.setdefault(c["index"], Choice())
            assert choice.finished == []
            delta = c["delta"]
            assert delta.pop("role", None) == ("assistant" if is_new else None)
            for call in delta.pop("tool_calls", ()):
                assert call["index"] not in choice.calls, "a call leaves whole"
                choice.calls[call["index"]] = {"id": call["id"], **call["function"]}
            for name, text in delta.items():
                assert isinstance(text, str)
                choice.texts[name] = choice.texts.get(name, "") + text
            choice.tokens += [t["token"] for t in (c.get("logprobs") or {}).get("content") or ()]
            if c["finish_reason"] is not None:
                choice.finished.append(c["finish_reason"])
    return out


# ------------------------------------------------------------------ upstreams and clients that wait for each other


class Gate:
    """Opened by the client, waited for by the upstream or the guard."""

    def __init__(self, server: ScriptedServer) -> None:
        self._loop = server.loop
        self._event = asyncio.Event()

    def open(self) -> None:
        self._loop.call_soon_threadsafe(self._event.set)

    async def wait(self) -> None:
        await self._event.wait()


def gated(first: Sequence[bytes], gate: Gate, then: Sequence[bytes], *, end: str = "end") -> Script:
    """A stream that goes on once the gate is open."""

    async def script(request: web.BaseRequest, received: Received) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for segment in first:
            await response.write(segment)
        await gate.wait()
        for segment in then:
            await response.write(segment)
            await asyncio.sleep(0)
        if end == "hang":
            await asyncio.Event().wait()
        if end == "abort":
            assert request.transport is not None
            request.transport.close()
            raise ConnectionResetError
        await response.write_eof()
        return response

    return script


async def ask(
    session: aiohttp.ClientSession,
    to: str,
    body: Any,
    gate: Gate,
    until: bytes = b'"content":"the',
    said: tuple[int, int] = (0, 0),
) -> Reply:
    """Ask for a stream and open a gate once the client has seen something of it: ``said`` names a choice and how much."""
    out = bytearray()
    headers = {"Content-Type": "application/json"}
    async with session.post(to, data=orjson.dumps(body), headers=headers) as response:
        async for piece in response.content.iter_any():
            out += piece
            whole_events = bytes(out[: out.rfind(b"\n\n") + 2]) if b"\n\n" in out else b""
            if until in out and (not said[1] or len(said_by(whole_events, said[0])) > said[1]):
                gate.open()
        assert until in out, bytes(out[:500])
        return checked(Reply(response.status, {k.lower(): v for k, v in response.headers.items()}, bytes(out)))


def said_by(wire: bytes, index: int) -> str:
    """The content of one choice so far."""
    chunks = [e for e in read_events(wire) if e is not None] if wire else []
    return "".join(c["delta"].get("content") or "" for e in chunks for c in e["choices"] if c["index"] == index)


def record(proxy: Proxy, reply: Reply) -> dict[str, Any]:
    """The line of a request."""
    request_id = reply.headers["x-request-id"]
    return proxy.wait_log(lambda line: line.get("request_id") == request_id and line["event"] == "request")


def check_cut(got: Seen, n: int = 1) -> list[str]:
    """A stream that was refused midway: the refusal and one closing chunk per choice, usage; what had left before."""
    assert got.error is None
    assert sorted(got.choices) == list(range(n))
    assert got.finished == [["content_filter"]] * n
    assert got.usage is not None
    before = []
    for choice in got.choices.values():
        assert choice.content.endswith(DEFAULT_REFUSAL_TEXT)
        assert choice.calls == {}
        before.append(choice.content.removesuffix(DEFAULT_REFUSAL_TEXT))
    return before


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# ------------------------------------------------------------------ what passes


def rich_stream() -> list[bytes]:
    """Two choices, all channels, interleaved calls, log-probabilities, usage, and chunks that say nothing."""

    def logprobs(text: str) -> dict[str, Any]:
        other = {"token": "other", "logprob": -2.0, "bytes": None}
        return {"content": [{"token": text, "logprob": -0.1, "bytes": None, "top_logprobs": [other]}]}

    def spoken(text: str) -> bytes:
        choice = {"index": 0, "delta": {"content": text}, "logprobs": logprobs(text), "finish_reason": None}
        return event({"id": "x", "object": "chat.completion.chunk", "model": "gpt-4o", "choices": [choice]})

    def call(i: int, text: str, **more: Any) -> bytes:
        return chunk({"tool_calls": [{"index": i, **more, "function": {"arguments": text}}]}, index=1)

    return [
        event({"choices": [], "prompt_filter_results": [{"x": MARK}]}),
        chunk({"role": "assistant", "content": ""}),
        *(chunk({"reasoning_content": p}) for p in pieces("Let us think. " * 20)),
        b": comment\n\n",
        *(spoken(p) for p in pieces("Él dijo: 😀 así. " * 20, 7)),
        chunk({"reasoning": "Why? "}, index=1),
        call(0, '{"city": "Par', id="call_0", type="function") + call(1, '{"n": ', id="call_1", type="function"),
        call(0, 'is"}') + call(1, "5}"),
        chunk({"refusal": "No."}, index=1),
        chunk({}, index=1, finish="tool_calls"),
        chunk({}, finish="stop"),
        USAGE_CHUNK,
        DONE,
    ]


@pytest.mark.parametrize("how", CUTS)
async def test_F14_a_stream_that_passes_is_the_same_in_every_mode_however_it_is_cut(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession, mode: str, how: str
) -> None:
    upstream.script = streams(*cut(rich_stream(), how))
    got = seen(await post(session, url(proxy, mode), asked(n=2)))
    text = "Él dijo: 😀 así. " * 20
    assert got.choices[0] == Choice(
        {"reasoning_content": "Let us think. " * 20, "content": text}, {}, ["stop"], pieces(text, 7)
    )
    assert got.choices[1].texts == {"reasoning": "Why? ", "refusal": "No."}
    assert got.choices[1].finished == ["tool_calls"]
    assert got.choices[1].calls == {
        0: {"id": "call_0", "arguments": '{"city": "Paris"}'},
        1: {"id": "call_1", "arguments": '{"n": 5}'},
    }
    assert got.usage == USAGE


async def test_choices_that_end_at_different_times_pass_whole(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession, mode: str
) -> None:
    upstream.script = streams(
        *(chunk({"content": p}, index=i) for p in pieces(BENIGN) for i in (2, 0)), chunk({}, index=2, finish="length"),
        *(chunk({"content": p}, index=i) for p in pieces(BENIGN) for i in (0, 1)), chunk({}, index=0, finish="stop"),
        chunk({}, index=1, finish="stop"), DONE,
    )  # fmt: skip
    got = seen(await post(session, url(proxy, mode), asked(n=3)))
    assert [got.choices[i].content for i in range(3)] == [BENIGN * 2, BENIGN, BENIGN]
    assert got.finished == [["stop"], ["stop"], ["length"]]
    assert got.usage is None  # the upstream has told none


@pytest.mark.parametrize("name", ["window", "deliver_first"])
async def test_text_leaves_while_the_upstream_is_still_talking(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession, name: str
) -> None:
    gate = Gate(upstream)
    upstream.script = gated([chunk({"content": p}) for p in pieces(BENIGN)], gate, text_stream("end."))
    reply = await ask(session, url(proxy, name), asked(), gate)
    assert seen(reply).choices[0].content == BENIGN + "end."


async def test_an_idle_upstream_has_what_is_held_judged_and_all_but_the_overlap_leaves(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    gate = Gate(upstream)
    short = BENIGN[: WINDOW // 2 - 2]
    upstream.script = gated([chunk({"content": short})], gate, text_stream("", "x."))
    reply = await ask(session, url(proxy, "window"), asked(), gate)
    first = next(e for e in reply.events if e is not None)
    assert first["choices"][0]["delta"]["content"] in short[: -OVERLAP + 6]
    assert seen(reply).choices[0].content == short + "x."


async def test_comments_of_the_upstream_are_answered_by_our_own(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession, mode: str
) -> None:
    gate = Gate(upstream)
    upstream.script = gated([b": ping\n\n"] * 20, gate, text_stream("Hello."))
    reply = await ask(session, url(proxy, mode), asked(), gate, until=b": keep-alive\n\n")
    assert b"ping" not in reply.body
    assert seen(reply).choices[0].content == "Hello."


async def test_headers_and_record_of_a_stream(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession, mode: str
) -> None:
    upstream.script = streams(*text_stream(*pieces(BENIGN)))
    plain = await post(session, url(proxy, mode), chat_body())
    reply = await post(session, url(proxy, mode), asked())
    assert reply.headers["x-safeguard-decision"] == "forward"
    assert reply.headers["x-safeguard-unjudged"] == "0"
    assert reply.headers["x-safeguard-policy-set"] == plain.headers["x-safeguard-policy-set"]
    line = record(proxy, reply)
    assert (line["route"], line["status"], line["action"]) == (mode, 200, "forward")
    assert [v["policy"] for v in line["output"]["verdicts"]] == ["marker"]


async def test_a_windowed_stream_has_one_line_with_the_gravest_decision(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession, mode: str
) -> None:
    upstream.script = streams(*text_stream("it is doubtful. ", *pieces(BENIGN)))
    reply = await post(session, url(proxy, f"{mode}-all"), asked())
    assert seen(reply).choices[0].content == "it is doubtful. " + BENIGN
    line = record(proxy, reply)
    assert line["output"]["action"] == "flag"
    assert line["output"]["policies"] == ["doubt"]
    assert proxy.log.count(f'"request_id":"{reply.headers["x-request-id"]}"') == 1


# ------------------------------------------------------------------ what is refused


def with_call(arguments: str, name: str = "f") -> list[bytes]:
    def call(i: int, **function: str) -> bytes:
        return chunk({"tool_calls": [{"index": i, "id": f"c{i}", "type": "function", "function": function}]})

    parts = [call(1, arguments=c) for c in arguments]
    others = [call(0, arguments=c) for c in "{}".ljust(len(parts))]
    between = [p for pair in zip(parts, others, strict=True) for p in pair]
    return [call(0, name="g"), call(1, name=name), *between, chunk({}, finish="tool_calls"), DONE]


def with_logprobs() -> list[bytes]:
    def spoken(other: str) -> bytes:
        entry = {"token": "a", "logprob": -1.0, "bytes": None, "top_logprobs": [{"token": other, "logprob": -2.0}]}
        choice = {"index": 0, "delta": {"content": "a"}, "logprobs": {"content": [entry]}, "finish_reason": None}
        return event({"object": "chat.completion.chunk", "choices": [choice]})

    return [*map(spoken, MARK), *text_stream(*pieces("a" * 200))]


def closing(n: int = 1) -> list[bytes]:
    return [*(chunk({}, index=i, finish="stop") for i in range(n)), USAGE_CHUNK, DONE]


MARKED: dict[str, list[bytes]] = {
    "G01-one-char-per-delta": text_stream(*MARK),
    "G02-after-benign-text": text_stream(*pieces(BENIGN), *MARK),
    "whole-in-one-delta": text_stream(MARK),
    "G05-reasoning-content": [*(chunk({"reasoning_content": c}) for c in MARK), *text_stream("Hi.")],
    "E03-reasoning": [*(chunk({"reasoning": c}) for c in MARK), *text_stream("Hi.")],
    "E05-refusal": [*(chunk({"refusal": c}) for c in MARK), *text_stream("Hi.")],
    "E05-annotations": [chunk({"annotations": [{"url_citation": {"title": MARK}}]}), *text_stream("Hi.")],
    "E01-second-of-two": [*(chunk({"content": c}, index=1) for c in MARK), chunk({"content": "Hi."}), *closing(2)],
    "E01-third-of-three": [
        *(chunk({"content": p}, index=i) for p in pieces(BENIGN[:400]) for i in range(3)),
        *(chunk({"content": c}, index=2) for c in MARK), *closing(3),
    ],
    "E04-arguments": with_call(f'{{"a": "{MARK}"}}'),
    "E04-arguments-escaped": with_call('{"a": "ZQ-\\u004dARK-\\u0037781"}'),
    "E04-name": with_call("{}", MARK),
    "E04-function-call": [*(chunk({"function_call": {"arguments": c}}) for c in MARK), *text_stream("Hi.")],
    "G06-alternatives": with_logprobs(),
    "G08-parts": [
        *text_stream(*pieces(BENIGN))[:-2], *(chunk({"content": [{"type": "text", "text": c}]}) for c in MARK), *closing(),
    ],
    "E07-finish-reason": [chunk({"content": "Hi."}), chunk({}, finish=MARK), DONE],
    "F02-several-data-lines": [b'data: {"choices":[{"index":0,"delta":\ndata: {"content":"ZQ-MARK-7781"}}]}\n\n', DONE],
    "G-two-channels-meet": [chunk({"content": MARK[:6]}), chunk({"refusal": MARK[6:]}), *closing()],
}  # fmt: skip


@pytest.mark.parametrize("how", CUTS)
@pytest.mark.parametrize("case", MARKED)
async def test_a_mark_is_refused_wherever_it_stands_and_however_it_is_cut(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession, mode: str, case: str, how: str
) -> None:
    upstream.script = streams(*cut(MARKED[case], how))
    n = {"E01-second-of-two": 2, "E01-third-of-three": 3}.get(case, 1)
    reply = await post(session, url(proxy, mode), asked(n=n))
    assert record(proxy, reply)["output"]["action"] == "refuse"
    if mode != "deliver_first":
        assert MARK not in reply.body.decode()
    if reply.status == 400:
        assert reply.error["code"] == "content_filter"
        return
    before = check_cut(seen(reply), n)
    if mode == "buffer":  # a comment bridged the wait
        assert before == [""] * n
    if mode == "window":
        harmless = {"G06-alternatives": "a" * 300}.get(case, BENIGN)
        assert all(text == harmless[: len(text)] for text in before)


async def test_refused_before_the_first_byte_is_json_or_a_message(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession, mode: str
) -> None:
    upstream.script = streams(*with_call(f'{{"a": "{MARK}"}}')[:-1], USAGE_CHUNK, DONE)
    reply = await post(session, url(proxy, mode), asked())
    assert (reply.status, reply.error["code"], reply.decision) == (400, "content_filter", "refuse")
    assert reply.headers["x-should-retry"] == "false"
    upstream.script = streams(*with_call(f'{{"a": "{MARK}"}}')[:-1], USAGE_CHUNK, DONE)
    reply = await post(session, url(proxy, f"{mode}-message"), asked(n=2))
    got = seen(reply)
    assert check_cut(got, 2) == ["", ""]
    assert got.usage == USAGE


@pytest.mark.parametrize("usage", [True, False], ids=["usage", "no-usage"])
@pytest.mark.parametrize("n", [1, 2, 3])
async def test_G02_no_character_of_a_mark_leaves_a_window(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession, n: int, usage: bool
) -> None:
    gate = Gate(upstream)
    first = [chunk({"content": p}, index=i) for p in pieces(BENIGN) for i in range(n)]
    second = [chunk({"content": c}, index=n - 1) for c in MARK]
    # what comes after the mark fills the window, so that it is refused while the upstream goes on
    second += [chunk({"content": " and more. " * 10}, index=n - 1)]
    upstream.script = gated(first, gate, second, end="hang")
    body = asked(n=n) if usage else chat_body(stream=True, n=n)
    reply = await ask(session, url(proxy, "window"), body, gate, said=(n - 1, len(BENIGN) - 2 * WINDOW))
    got = seen(reply)
    if usage:
        assert got.usage == {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    else:
        assert got.usage is None
        got.usage = USAGE
    texts = check_cut(got, n)
    assert all(text == BENIGN[: len(text)] for text in texts)
    assert len(texts[-1]) > len(BENIGN) - 2 * WINDOW
    assert reply.headers["x-safeguard-decision"] == "forward"  # when the first byte left
    assert await asyncio.to_thread(upstream.received[0].gone.wait, 5)
    assert record(proxy, reply)["output"]["policies"] == ["marker"]


async def test_deliver_first_is_cut_when_it_is_refused(
    proxy: Proxy, upstream: ScriptedServer, guard: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    gate = Gate(upstream)
    more = [chunk({"content": p}) for p in [*MARK, *pieces(BENIGN)]]
    upstream.script = gated([chunk({"content": "the tide"})], gate, more, end="hang")
    reply = await ask(session, url(proxy, "deliver_first-guard"), asked(), gate)
    [before] = check_cut(seen(reply))
    assert before.startswith("the tide" + MARK[:1])
    assert len(before) <= len("the tide") + len(MARK) + len(BENIGN)
    assert await asyncio.to_thread(upstream.received[0].gone.wait, 5)


async def test_unknown_words_beside_the_text_are_read_by_rules_of_any_scope(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    gate = Gate(upstream)
    first = [chunk({"content": p}, service_tier=MARK) for p in pieces(BENIGN)]
    upstream.script = streams(*first, *closing())
    reply = await post(session, url(proxy, "window-scoped"), asked())
    assert (reply.status, reply.error["code"]) == (400, "content_filter")
    gate.open()


# ------------------------------------------------------------------ rewrites


@pytest.mark.parametrize("how", CUTS)
@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_G17_masks_are_whole_and_in_place_across_windows(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession, how: str, size: int
) -> None:
    line = f"İ😀é write to anna.k@firma.org, then 👩‍👩‍👧 to ben@firma.org, by {MARK}; "
    text = "".join(f"{i} {line}" for i in range(3 if how == "bytes" else 8))
    upstream.script = streams(*cut(text_stream(*pieces(text, size)), how))
    expected = text.replace("anna.k@firma.org", "<EMAIL_1>").replace("ben@firma.org", "<EMAIL_2>")
    expected = expected.replace(MARK, "<PATTERN_1>")
    for name in ("buffer", "window"):
        reply = await post(session, url(proxy, f"{name}-mask"), asked())
        assert seen(reply).choices[0].content == expected
        assert record(proxy, reply)["output"]["action"] == "rewrite"


async def test_masks_of_several_choices_and_channels_in_one_check(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    text = f"write to anna.k@firma.org by {MARK} or ben@firma.org. "
    parts = [chunk({name: c}, index=i) for c in text * 3 for i in range(2) for name in ("reasoning", "content")]
    upstream.script = streams(b"".join(parts), *closing(2))
    got = seen(await post(session, url(proxy, "window-mask"), asked(n=2)))
    masked = "write to <EMAIL_1> by <PATTERN_1> or <EMAIL_2>. " * 3
    assert [c.texts for c in got.choices.values()] == [{"reasoning": masked, "content": masked}] * 2


# ------------------------------------------------------------------ guards that fail


def fails_at(word: str, how: Script) -> Script:
    """A guard that does something else as soon as it is shown a word."""

    async def script(request: web.BaseRequest, received: Received) -> web.StreamResponse:
        shown = received.json["messages"][-1]["content"]
        return await (how if word in shown else judges_mark)(request, received)

    return script


GUARD_FAULTS: dict[str, Script] = {
    "G12-hangs": hangs,
    "500": replies({}, 500),
    "talks": replies(completion("I cannot say.")),
}


@pytest.mark.parametrize("case", GUARD_FAULTS)
async def test_a_guard_that_fails_at_a_later_window_ends_the_stream_with_an_error(
    proxy: Proxy, upstream: ScriptedServer, guard: ScriptedServer, session: aiohttp.ClientSession, case: str
) -> None:
    guard.script = fails_at("secondly", GUARD_FAULTS[case])
    gate = Gate(upstream)
    second = [chunk({"content": "secondly, "}), *(chunk({"content": p}) for p in pieces(BENIGN, 300))]
    upstream.script = gated([chunk({"content": p}) for p in pieces(BENIGN)], gate, second, end="hang")
    reply = await ask(session, url(proxy, "window-guard"), asked(), gate)
    got = seen(reply)
    assert got.error == "guard_unavailable"
    assert got.finished == [[]]
    assert got.usage is None
    text = got.choices[0].content
    assert text == BENIGN[: len(text)]
    line = record(proxy, reply)
    assert (line["status"], line["action"], line["error"]) == (200, "refuse", "guard_unavailable")
    assert line["output"]["cause"] == "undecided"
    assert await asyncio.to_thread(upstream.received[0].gone.wait, 5)


@pytest.mark.parametrize("case", ["500", "talks"])
@pytest.mark.parametrize("on_error", ["flag", "forward"])
async def test_what_passes_in_spite_of_a_guard_is_counted(
    proxy: Proxy,
    upstream: ScriptedServer,
    guard: ScriptedServer,
    session: aiohttp.ClientSession,
    mode: str,
    on_error: str,
    case: str,
) -> None:
    guard.script = fails_at("secondly", GUARD_FAULTS[case])
    text = BENIGN[:400] + "secondly, " + BENIGN[:400]
    upstream.script = streams(*text_stream(*pieces(text, 20)))
    reply = await post(session, url(proxy, f"{mode}-{on_error}"), asked())
    got = seen(reply)
    assert (got.choices[0].content, got.finished) == (text, [["stop"]])
    line = record(proxy, reply)
    assert line["action"] == on_error
    assert line["output"]["unjudged"] == ["policy:model"]
    if mode == "buffer":
        assert reply.headers["x-safeguard-unjudged"] == "1"


async def test_a_guard_that_is_down_before_the_first_byte_is_503(
    proxy: Proxy, upstream: ScriptedServer, guard: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    guard.script = replies({}, 500)
    upstream.script = streams(*text_stream(*pieces(BENIGN)))
    for name in ("buffer", "window"):
        reply = await post(session, url(proxy, f"{name}-guard"), asked())
        assert (reply.status, reply.error["code"]) == (503, "guard_unavailable")
        assert "retry-after" in reply.headers


async def test_G14_guard_calls_are_bounded_by_the_text_not_by_the_deltas(
    proxy: Proxy, upstream: ScriptedServer, guard: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    upstream.script = streams(*text_stream(*BENIGN))
    got = seen(await post(session, url(proxy, "window-guard"), asked()))
    assert got.choices[0].content == BENIGN
    assert len(guard.received) <= len(BENIGN) / (WINDOW / 2) * 2 + 1


# ------------------------------------------------------------------ upstreams that fail


@pytest.mark.parametrize("how", ["no-end", "abort", "error-event", "foreign-event", "no-blank-line"])
@pytest.mark.parametrize("name", ["window", "deliver_first"])
async def test_G10_a_stream_without_its_end_is_an_error_and_what_is_held_stays(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession, name: str, how: str
) -> None:
    gate = Gate(upstream)
    second = {
        "error-event": [event({"error": {"message": MARK}}), DONE],
        "foreign-event": [b"event: content_block_delta\ndata: {}\n\n", DONE],
        "no-blank-line": [chunk({"content": "x"}, finish="stop")[:-1]],
    }.get(how, [])
    upstream.script = gated(
        [chunk({"content": p}) for p in pieces(BENIGN)], gate, second, end="abort" if how == "abort" else "end"
    )
    reply = await ask(session, url(proxy, name), asked(), gate)
    got = seen(reply)
    assert got.error == "bad_upstream_response"
    assert got.finished == [[]]
    text = got.choices[0].content
    assert text == BENIGN[: len(text)]
    if name == "window":
        assert len(text) <= len(BENIGN) - OVERLAP
    line = record(proxy, reply)
    assert (line["status"], line["action"], line["error"]) == (200, "refuse", "bad_upstream_response")


# ------------------------------------------------------------------ pressure, and clients that leave


@dataclass(slots=True)
class Torrent:
    """An upstream that sends as much as it can."""

    total: int = 200_000_000
    sent: int = 0
    stalled: threading.Event = field(default_factory=threading.Event)
    """Set once nothing could be sent for a while."""

    async def __call__(self, request: web.BaseRequest, received: Received) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        data = chunk({"content": BENIGN})
        alarm: asyncio.TimerHandle | None = None
        while self.sent < self.total:
            alarm = asyncio.get_running_loop().call_later(0.4, self.stalled.set)
            try:
                await response.write(data)
            finally:
                alarm.cancel()
            self.sent += len(BENIGN)
        await response.write(chunk({}, finish="stop") + DONE)
        await response.write_eof()
        return response


def resident_bytes(proxy: Proxy) -> int:
    """Memory of the proxy's process, without what the kernel keeps in socket buffers."""
    return int(Path(f"/proc/{proxy.process.pid}/statm").read_text().split()[1]) * 4096


@pytest.mark.parametrize("name", ["window", "deliver_first"])
async def test_while_a_verdict_is_awaited_the_upstream_is_not_read(
    proxy: Proxy, upstream: ScriptedServer, guard: ScriptedServer, session: aiohttp.ClientSession, name: str
) -> None:
    torrent = upstream.script = Torrent()
    heard = Gate(guard)

    async def fails_in_the_end(request: web.BaseRequest, received: Received) -> web.StreamResponse:
        assert await asyncio.to_thread(torrent.stalled.wait, 30)
        await heard.wait()
        return await replies({}, 500)(request, received)

    guard.script = fails_in_the_end
    before = resident_bytes(proxy)
    until = b": keep-alive" if name == "window" else b'"content":"the'
    reply = await ask(session, url(proxy, f"{name}-patient"), asked(), heard, until)
    got = seen(reply)
    assert got.error == "guard_unavailable"
    if name == "window":
        assert got.choices == {}
    assert torrent.stalled.is_set()
    assert torrent.sent < torrent.total
    assert len(reply.body) < 1_000_000
    assert resident_bytes(proxy) - before < 16_000_000


@pytest.mark.parametrize("name", ["window", "deliver_first"])
async def test_K03_a_client_that_does_not_read_stops_the_upstream_and_then_gets_everything(
    proxy: Proxy, upstream: ScriptedServer, name: str
) -> None:
    torrent = upstream.script = Torrent()
    before = resident_bytes(proxy)
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port, limit=65536)
    with contextlib.closing(writer):
        writer.write(http_request(asked(), target=f"/{name}-large/v1/chat/completions"))
        assert await asyncio.to_thread(torrent.stalled.wait, 30)
        assert torrent.sent < torrent.total
        assert resident_bytes(proxy) - before < 16_000_000
        torrent.total = torrent.sent + 1  # this much is on its way, and one piece more
        got = bytearray()
        while piece := await reader.read(1 << 18):
            got += piece
    text = b"".join(got.split(b"\r\n\r\n", 1)[1].split(b"\r\n")[1::2])
    assert text.endswith(DONE)
    sent = "".join(c["delta"].get("content", "") for e in read_events(text) if e is not None for c in e["choices"])
    assert sent == BENIGN * (torrent.sent // len(BENIGN))


@pytest.mark.parametrize("where", ["upstream", "verdict"])
async def test_K04_a_client_that_leaves_a_stream_takes_its_calls_along(
    proxy: Proxy, upstream: ScriptedServer, guard: ScriptedServer, mode: str, where: str
) -> None:
    took = []
    for i in range(3):  # on a busy machine one of three must be in time
        upstream.reset()
        guard.reset()
        guard.script = hangs if where == "verdict" else judges_mark
        rest = [] if mode != "buffer" or where == "upstream" else text_stream("end.")
        upstream.script = streams(*(chunk({"content": p}) for p in pieces(BENIGN)), *rest, then="hang")
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(http_request(asked(), target=f"/{mode}-guard/v1/chat/completions", close=False))
        if where == "verdict" or mode != "buffer":
            await asyncio.to_thread(guard.wait_received)
        if where == "upstream":
            await asyncio.to_thread(upstream.wait_received)
            if mode != "buffer":
                await reader.readuntil(b'"content"')
        writer.transport.abort()
        left_at = time.monotonic()
        for server in (upstream, guard) if where == "verdict" else (upstream,):
            gone = server.received[-1] if server is guard else server.received[0]
            if server is guard and mode == "buffer" and where != "verdict":
                continue
            assert await asyncio.to_thread(gone.gone.wait, 5), (i, server)
            took.append((i, gone.gone_at - left_at))
    slowest = [max(t for j, t in took if j == i) for i in range(3)]
    assert min(slowest) < 0.2
    proxy.wait_log(lambda line: line.get("error") == "client_closed" and line.get("route") == f"{mode}-guard")


# ------------------------------------------------------------------ odd settings, long answers


async def test_many_small_deltas_and_large_answers_go_through(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession, mode: str
) -> None:
    text = BENIGN * 10
    upstream.script = streams(b"".join(text_stream(*text)))
    assert seen(await post(session, url(proxy, f"{mode}-large"), asked())).choices[0].content == text
    text = BENIGN * 450  # just below the largest event
    upstream.script = streams(*text_stream(text, text))
    assert seen(await post(session, url(proxy, f"{mode}-large"), asked())).choices[0].content == text * 2


# ------------------------------------------------------------------ plain and streamed agree

CORPUS = [
    "", "Hello there.", MARK, MARK.lower(), f"so {MARK} so", MARK[:-1], MARK[1:], f"{MARK[:6]} {MARK[6:]}", MARK * 3,
    f"{MARK[:5]}\u200b{MARK[5:]}", f"{MARK[:5]}\n{MARK[5:]}", "ＺＱ-ＭＡＲＫ-７７８１", f"{BENIGN}{MARK}", f"{MARK}{BENIGN}",
    BENIGN, f"{BENIGN[:WINDOW - 6]}{MARK}", f"{BENIGN[:WINDOW // 2 - 6]}{MARK}{BENIGN[:90]}",
    "a cat sat", "concatenate a category: cats, wildcat, scatter. " * 20, f"{'concat ' * 60}cat", f"{'educate ' * 60}cat",
    "cat-" * 50, "scat" * 100, "it is doubtful, really", f"{BENIGN}doubtful", f"doubtful{BENIGN}doubtfu",
    "mail anna.k@firma.org", f"{BENIGN}anna.k@firma.org", f"{BENIGN}anna.k@firma", "card 4111 1111 1111 1111 ok",
    f"{BENIGN[:50]}4111 1111 1111 1112 {BENIGN}", "x" * 500, "😀İ" * 100, f"{'😀İ' * 100}{MARK}", "data: [DONE]\n\n" * 9,
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(CORPUS)), ids=lambda i: f"text-{i}")
async def test_plain_and_streamed_come_to_the_same_decision(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession, number: int
) -> None:
    text = CORPUS[number]
    upstream.script = replies(completion(text))
    plain = await post(session, url(proxy, "buffer-all"), chat_body())
    action = record(proxy, plain)["output"]["action"]
    assert plain.status == (400 if action == "refuse" else 200)
    for name in MODES:
        for size in (1, 9, 10_000):
            upstream.script = streams(*text_stream(*pieces(text, size)))
            reply = await post(session, url(proxy, f"{name}-all"), asked())
            line = record(proxy, reply)
            if name == "deliver_first" and action == "rewrite":  # the route flags instead
                assert line["output"]["action"] == "flag"
                continue
            assert line["output"]["action"] == action, (name, size, line["output"])
            if action != "refuse":
                assert seen(reply).choices[0].content == plain.json["choices"][0]["message"]["content"]


async def test_a_client_hears_something_while_the_upstream_sends_only_comments(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession, mode: str
) -> None:
    heard, heard_in_time = threading.Event(), threading.Event()
    enough = 15  # comments, in three seconds: a client must hear one each second

    async def comments(request: web.BaseRequest, received: Received) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for _ in range(enough):
            await response.write(b": working\n\n")
            await asyncio.sleep(0.2)
            if heard.is_set():
                heard_in_time.set()
                break
        await response.write(b"".join(text_stream("Hello")))
        return response

    upstream.script = comments
    async with session.post(f"{proxy.url('/' + mode)}/chat/completions", json=chat_body(stream=True)) as response:
        await response.content.readany()
        heard.set()
        await response.read()
    assert heard_in_time.is_set(), "nothing was heard before the answer"

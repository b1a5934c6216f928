"""``rewrite_with`` for policies that a guard judges: sentences dropped, texts replaced, an advisory given."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.end_to_end.servers import (
    DONE,
    MARK,
    Proxy,
    Received,
    Reply,
    Script,
    ScriptedServer,
    chat_body,
    chunk,
    completion,
    event,
    post,
    read_until,
    replies,
    streams,
    text_stream,
    verdict,
)

CONFIG = """
upstreams:
  default: {base_url: "${UPSTREAM_URL}"}
guards:
  fleet: {engine: openai, base_url: "${GUARD_URL}", model: m, timeout_s: 30, cache_entries: 0}
policies:
  model: {text: "Content that holds the mark.", advisory: "Mind the mark.", rewrite_text: "Taken out."}
  bare: {text: "Content that holds the mark.", refusal_text: "Not here."}
  personal: {detector: pii, kinds: [EMAIL]}
  never: {detector: patterns, literals: ["never-ever"]}
routes:
  - name: sentences
    match: {path: /sentences/v1/*}
    upstream: default
    input: &rules [{policy: model, rewrite: 0.5}, {policy: personal, rewrite: 0.5}]
    output: *rules
  - name: windows
    match: {path: /windows/v1/*}
    upstream: default
    stream: window
    window_chars: 60
    overlap_chars: 60
    output: *rules
  - name: texts
    match: {path: /texts/v1/*}
    upstream: default
    input: [{policy: model, rewrite: 0.5, rewrite_with: text}]
    output: [{policy: bare, rewrite: 0.5, rewrite_with: text}]
  - name: advisory
    match: {path: /advisory/v1/*}
    upstream: default
    input:
      - {policy: model, rewrite: 0.5, refuse: 0.9999, rewrite_with: advisory}
      - {policy: personal, rewrite: 0.5}
      - {policy: never, refuse: 0.5}
"""


@pytest.fixture(autouse=True)
def judging(guard: ScriptedServer) -> None:
    """Every test begins with the guard that judges the mark."""


def chat(proxy: Proxy, route: str) -> str:
    return proxy.url("/" + route) + "/chat/completions"


def answers(text: str, *, stream: bool) -> Script:
    return streams(*text_stream(*text)) if stream else replies(completion(text))


def said(reply: Reply, *, stream: bool) -> Any:
    return reply.text if stream else reply.json["choices"][0]["message"]["content"]


# ------------------------------------------------------------------ requests


async def test_offending_sentences_of_a_request_do_not_reach_the_upstream(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": f"Hello. Now {MARK}! I am anna@firma.org."}]},
        {"role": "assistant", "content": f"{MARK}"},
        {"role": "user", "content": f"And then?\n{MARK} for ben@firma.org\nThanks, anna@firma.org"},
    ]
    reply = await post(session, chat(proxy, "sentences"), chat_body() | {"messages": messages})
    assert (reply.status, reply.decision, reply.headers["x-safeguard-unjudged"]) == (200, "rewrite", "0")
    sent = upstream.received[0].json["messages"]
    assert sent[0] == messages[0]
    assert sent[1]["content"][0]["text"] == "Hello. I am <EMAIL_1>."
    assert sent[2]["content"] == "Taken out."
    assert sent[3]["content"] == "And then?\nThanks, <EMAIL_1>"


async def test_offending_texts_of_a_request_are_replaced(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    messages = [{"role": "user", "content": "Fine."}, {"role": "user", "content": f"Hello. Now {MARK}!"}]
    reply = await post(session, chat(proxy, "texts"), chat_body() | {"messages": messages})
    assert (reply.status, reply.decision) == (200, "rewrite")
    assert [m["content"] for m in upstream.received[0].json["messages"]] == ["Fine.", "Taken out."]


@pytest.mark.parametrize("route", ["sentences", "texts"])
@pytest.mark.parametrize(
    "more",
    [
        pytest.param({"user": MARK}, id="metadata"),
        pytest.param({"metadata": {MARK: "x"}}, id="key"),
        pytest.param({"messages": [{"role": "assistant", "content": None, "tool_calls": [
            {"id": "c", "type": "function", "function": {"name": "f", "arguments": f'{{"a": "{MARK}"}}'}}]},
            {"role": "tool", "tool_call_id": "c", "content": "x"}]}, id="arguments"),
        pytest.param({"messages": [{"role": "user", "content": f"{MARK}. x"}] * 65}, id="too-many"),
    ],
)  # fmt: skip
async def test_what_cannot_be_rewritten_is_refused(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession, route: str, more: dict[str, Any]
) -> None:
    reply = await post(session, chat(proxy, route), chat_body("Fine. Good.") | more)
    assert (reply.status, reply.error["code"], reply.decision) == (400, "content_filter", "refuse")
    assert upstream.received == []


async def test_a_guard_that_fails_while_sentences_are_judged_is_no_refusal(
    proxy: Proxy, upstream: ScriptedServer, guard: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    async def fails_on_the_sentence(request: Any, received: Any) -> Any:
        shown = received.json["messages"][-1]["content"]
        is_alone = MARK in shown and "Fine" not in shown
        return await replies({"choices": []} if is_alone else verdict("1" if MARK in shown else "0"))(request, received)

    guard.script = fails_on_the_sentence
    reply = await post(session, chat(proxy, "sentences"), chat_body(f"Fine. {MARK}."))
    assert (reply.status, reply.error["code"]) == (503, "guard_unavailable")
    assert reply.headers["retry-after"]
    assert upstream.received == []


async def test_a_guard_that_still_minds_the_rest_refuses_it(
    proxy: Proxy, upstream: ScriptedServer, guard: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    async def minds_the_rest(request: Any, received: Any) -> Any:
        shown = received.json["messages"][-1]["content"]
        return await replies(verdict("1" if MARK in shown or "One. Two." in shown else "0"))(request, received)

    guard.script = minds_the_rest
    reply = await post(session, chat(proxy, "sentences"), chat_body(f"One. {MARK}. Two."))
    assert (reply.status, reply.decision) == (400, "refuse")
    assert upstream.received == []


# ------------------------------------------------------------------ advisories

USER = {"role": "user", "content": f"About {MARK}."}
SYSTEM = {"role": "system", "content": "Be brief."}
DEVELOPER = {"role": "developer", "content": "Be kind."}


@pytest.mark.parametrize(
    ("before", "at", "role"),
    [
        pytest.param([], 0, "system", id="first"),
        pytest.param([SYSTEM], 1, "system", id="behind-the-system-message"),
        pytest.param([SYSTEM, DEVELOPER], 2, "developer", id="behind-the-developer-message"),
        pytest.param(
            [DEVELOPER, {"role": "user", "content": "x"}, SYSTEM], 1, "developer", id="behind-those-that-lead"
        ),
    ],
)
async def test_the_upstream_is_told_about_the_policy(
    proxy: Proxy,
    upstream: ScriptedServer,
    guard: ScriptedServer,
    session: aiohttp.ClientSession,
    before: list[dict[str, Any]],
    at: int,
    role: str,
) -> None:
    messages = [*before, USER]
    reply = await post(session, chat(proxy, "advisory"), chat_body() | {"messages": messages})
    assert (reply.status, reply.decision) == (200, "rewrite")
    assert "Mind the mark" not in reply.body.decode()
    messages.insert(at, {"role": role, "content": "Mind the mark."})
    assert upstream.received[0].json["messages"] == messages
    assert "Mind the mark." in guard.received[-1].json["messages"][-1]["content"]  # judged again, all of it


async def test_an_advisory_and_a_mask_come_together(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    reply = await post(session, chat(proxy, "advisory"), chat_body(f"{MARK} of anna@firma.org"))
    assert reply.decision == "rewrite"
    assert [m["content"] for m in upstream.received[0].json["messages"]] == ["Mind the mark.", f"{MARK} of <EMAIL_1>"]


async def test_nothing_is_told_about_content_that_no_policy_minds(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    assert (await post(session, chat(proxy, "advisory"), chat_body("Fine."))).decision == "forward"
    assert upstream.received[0].json == chat_body("Fine.")


async def test_an_advisory_that_is_one_message_too_many_refuses(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    reply = await post(session, chat(proxy, "advisory"), chat_body() | {"messages": [USER] * 4096})
    assert (reply.status, reply.decision) == (400, "refuse")
    assert upstream.received == []


@pytest.mark.parametrize("first", ["refuse", "later"])
async def test_the_refuse_threshold_counts_in_both_passes(
    proxy: Proxy, upstream: ScriptedServer, guard: ScriptedServer, session: aiohttp.ClientSession, first: str
) -> None:
    sure = {
        "content": [
            {
                "token": "1",
                "logprob": 0.0,
                "top_logprobs": [{"token": "1", "logprob": 0.0}, {"token": "0", "logprob": -20.0}],
            }
        ]
    }

    async def surer(request: Any, received: Any) -> Any:
        told = "Mind the mark." in received.json["messages"][-1]["content"]
        more = {"logprobs": sure} if told or first == "refuse" else {}
        return await replies(verdict("1", **more))(request, received)

    guard.script = surer
    reply = await post(session, chat(proxy, "advisory"), chat_body("x"))
    assert (reply.status, reply.decision) == (400, "refuse")
    assert len(guard.received) == (1 if first == "refuse" else 2)
    assert upstream.received == []


# ------------------------------------------------------------------ answers


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_offending_sentences_of_an_answer_are_dropped(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession, stream: bool
) -> None:
    upstream.script = answers(f"Sure. Take {MARK}. Ask anna@firma.org. Bye.", stream=stream)
    reply = await post(session, chat(proxy, "sentences"), chat_body(stream=stream))
    assert (reply.status, reply.decision) == (200, "rewrite")
    assert said(reply, stream=stream) == "Sure. Ask <EMAIL_1>. Bye."


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_an_offending_answer_is_replaced(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession, stream: bool
) -> None:
    """By what the client would be told, where the policy has no text of its own."""
    upstream.script = answers(f"Sure. Take {MARK}.", stream=stream)
    reply = await post(session, chat(proxy, "texts"), chat_body(stream=stream))
    assert (reply.status, reply.decision) == (200, "rewrite")
    assert said(reply, stream=stream) == "Not here."


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_log_probabilities_do_not_spell_what_was_dropped(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession, stream: bool
) -> None:
    text = f"{MARK}. Fine."
    entries = [{"token": c, "logprob": -0.1, "bytes": [ord(c)], "top_logprobs": []} for c in text]
    body = completion(text)
    body["choices"][0]["logprobs"] = {"content": entries}
    pieces = [
        event({"choices": [{"index": 0, "delta": {"content": e["token"]}, "logprobs": {"content": [e]}}]})
        for e in entries
    ]
    upstream.script = streams(*pieces, chunk({}, finish="stop"), DONE) if stream else replies(body)
    reply = await post(session, chat(proxy, "sentences"), chat_body(stream=stream))
    assert said(reply, stream=stream) == "Fine."
    assert b'"token"' not in reply.body


LONG = "".join(f"Sentence number {i} says so. " for i in range(12))


@pytest.mark.parametrize("cut", ["bytes", "events", "one"])
@pytest.mark.parametrize("route", ["sentences", "windows"])
@pytest.mark.parametrize("place", [0, 100, len(LONG)], ids=["first", "between", "last"])
async def test_a_streamed_answer_is_rewritten_the_same_way_however_it_comes(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession, route: str, cut: str, place: int
) -> None:
    at = LONG.rfind(". ", 0, place) + 2 if place else 0
    text = f"{LONG[:at]}Now {MARK} it is. Mail anna@firma.org. {LONG[at:]}"
    whole = b"".join(text_stream(*(text[i : i + 7] for i in range(0, len(text), 7))))
    segments = {
        "bytes": [bytes([b]) for b in whole],
        "events": [e + b"\n\n" for e in whole.split(b"\n\n")[:-1]],
        "one": [whole],
    }
    upstream.script = streams(*segments[cut])
    reply = await post(session, chat(proxy, route), chat_body(stream=True))
    assert reply.status == 200
    assert reply.text == f"{LONG[:at]}Mail <EMAIL_1>. {LONG[at:]}"
    assert reply.finish_reasons == ["stop"]
    assert MARK.encode() not in reply.body


async def test_a_sentence_whose_beginning_has_left_ends_the_stream(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    first, last = text_stream("this goes on and on " * 30, f"to {MARK}.")[1:3]
    has_left = asyncio.Event()

    async def script(request: web.BaseRequest, received: Received) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(first)
        await has_left.wait()
        await response.write(last + chunk({}, finish="stop") + DONE)
        await response.write_eof()
        return response

    upstream.script = script
    async with session.post(chat(proxy, "windows"), json=chat_body(stream=True)) as response:
        body = await read_until(response, "this goes on")
        upstream.loop.call_soon_threadsafe(has_left.set)
        body += await response.content.read()
    reply = Reply(response.status, {}, body)
    assert reply.finish_reasons == ["content_filter"]
    assert reply.text.endswith("against the usage policy of this service.")
    assert MARK.encode() not in body

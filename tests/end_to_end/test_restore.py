"""``restore: true``: the upstream sees placeholders, the client its own values again, in every shape of answer."""

from __future__ import annotations

import re
from collections.abc import Sequence
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
    read_until,
    replies,
    streams,
    text_stream,
)

CONFIG = """
upstreams:
  default: {base_url: "${UPSTREAM_URL}"}
policies:
  marker: {detector: patterns, literals: ["ZQ-MARK-7781"]}
  quoted: {detector: patterns, patterns: ['Mr "[a-z]+"']}
  personal: {detector: pii, kinds: [EMAIL, CARD]}
  secrets: {detector: secrets}
routes:
  - {name: window, match: {path: /window/v1/*}, upstream: default, stream: window, window_chars: 20, overlap_chars: 20, input: &in [
      {policy: personal, rewrite: 0.5, restore: true}, {policy: secrets, rewrite: 0.5}, {policy: quoted, rewrite: 0.5, restore: true}],
      output: &out [{policy: marker, refuse: 0.5}, {policy: personal, rewrite: 0.5}]}
  - {name: deliver, match: {path: /deliver/v1/*}, upstream: default, stream: deliver_first, window_chars: 20, input: *in,
     output: [{policy: marker, refuse: 0.5}]}
  - {name: kept, match: {path: /kept/v1/*}, upstream: default, input: [{policy: personal, rewrite: 0.5}]}
  - {name: buffer, upstream: default, input: *in, output: *out}
"""

ANNA, BEN = "anna.k@firma.org", "ben@firma.org"
TOKEN = "ghp_" + "a8Kd02LmQp93XzVb71TnRs45YwEc60HgJf2U"
PROMPT = f"I am {ANNA}, {TOKEN}, not {BEN}"


@pytest.fixture
def url(proxy: Proxy) -> str:
    return proxy.url() + "/chat/completions"


def sent(upstream: ScriptedServer) -> list[Any]:
    return [m["content"] for m in upstream.received[-1].json["messages"]]


def tool_arguments(reply: Reply, *, stream: bool) -> str:
    if not stream:
        text: str = reply.json["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"]
        return text
    calls = [c for e in reply.events if e for ch in e["choices"] for c in ch["delta"].get("tool_calls") or ()]
    return "".join(c["function"]["arguments"] for c in calls)


ANSWER = "To <EMAIL_1>: <EMAIL_2> <EMAIL_3> <EMAIL_ 1> <CARD_1> <EMAIL_1"
RESTORED = f"To {ANNA}: {BEN} <EMAIL_3> <EMAIL_ 1> <CARD_1> <EMAIL_1"


async def test_values_are_masked_for_the_upstream_and_restored_for_the_client(
    url: str, upstream: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    message: dict[str, Any] = {
        "content": ANSWER,
        "refusal": "<EMAIL_1>!",
        "reasoning_content": "about <EMAIL_2>",
        "annotations": [{"note": "<EMAIL_1>"}],
    }
    upstream.script = replies(completion(**message))
    reply = await post(session, url, chat_body(PROMPT))
    assert (reply.status, reply.decision) == (200, "rewrite")
    [masked] = sent(upstream)
    assert re.fullmatch("I am <EMAIL_1>, <[A-Z_]+_1>, not <EMAIL_2>", masked)
    for value in (ANNA, BEN, TOKEN):
        assert value.encode() not in upstream.received[0].body
    got = reply.json["choices"][0]["message"]
    assert got["content"] == RESTORED
    assert got["refusal"] == f"{ANNA}!"
    assert got["reasoning_content"] == f"about {BEN}"
    assert got["annotations"] == [{"note": ANNA}]


async def test_what_was_masked_for_good_stays_masked(
    url: str, upstream: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    async def echoes(request: Any, received: Any) -> Any:
        return await replies(completion(received.json["messages"][0]["content"]))(request, received)

    upstream.script = echoes
    reply = await post(session, url, chat_body(PROMPT))
    text = reply.json["choices"][0]["message"]["content"]
    assert text.startswith(f"I am {ANNA}, <")
    assert text.endswith(f">, not {BEN}")
    assert TOKEN not in text


@pytest.mark.parametrize("route", ["", "/window", "/deliver"])
@pytest.mark.parametrize("cut", ["characters", "bytes", "events", "one", "not-streamed"])
async def test_a_stream_restores_the_same_however_it_comes(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession, route: str, cut: str
) -> None:
    text = f"{ANSWER} and so on, {ANSWER}"
    pieces = list(text) if cut == "characters" else [text[i : i + 5] for i in range(0, len(text), 5)]
    events = text_stream(*pieces, usage=True)
    whole = b"".join(events)
    segments: dict[str, Sequence[bytes]] = {"characters": events, "bytes": [bytes([b]) for b in whole], "events": events, "one": [whole]}  # fmt: skip
    upstream.script = replies(completion(text)) if cut == "not-streamed" else streams(*segments[cut])
    body = chat_body(PROMPT, stream=True, stream_options={"include_usage": True})
    reply = await post(session, proxy.url(route) + "/chat/completions", body)
    assert reply.text == f"{RESTORED} and so on, {RESTORED}"
    assert reply.finish_reasons == ["stop"]
    assert reply.events[-2]["usage"]["total_tokens"] == 7


async def test_only_the_end_that_can_become_a_placeholder_waits(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    """`deliver_first`: what stands before it has left although the upstream sends nothing more."""
    upstream.script = streams(chunk({"content": "Dear <EMAIL_1>, all of this, and <EMA"}), then="hang")
    async with session.post(
        proxy.url("/deliver") + "/chat/completions", json=chat_body(PROMPT, stream=True)
    ) as response:
        body = await read_until(response, f"Dear {ANNA}, all of this, and ")
    assert b"<EMA" not in body


async def test_a_stream_that_is_refused_midway_drops_what_waits(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    upstream.script = streams(chunk({"content": f"{MARK} and more, <EMAIL_1"}), then="hang")
    reply = await post(session, proxy.url("/deliver") + "/chat/completions", chat_body(PROMPT, stream=True))
    assert reply.finish_reasons == ["content_filter"]
    assert reply.text.startswith(f"{MARK} and more, This request")


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize(
    "spelled", ["<EMAIL_1> <PATTERN_1>", "\\u003cEMAIL_1\\u003e \\u003CPATTERN_1\\u003E"], ids=["plain", "escaped"]
)
async def test_tool_call_arguments_stay_json_and_say_the_values(
    url: str, upstream: ScriptedServer, session: aiohttp.ClientSession, spelled: str, stream: bool
) -> None:
    arguments = f'{{"to": "{spelled}"}}'
    call = {"id": "c1", "type": "function", "function": {"name": "mail", "arguments": arguments}}
    if stream:
        first = chunk({"tool_calls": [{**call, "index": 0, "function": {"name": "mail", "arguments": ""}}]})
        pieces = [chunk({"tool_calls": [{"index": 0, "function": {"arguments": a}}]}) for a in arguments]
        upstream.script = streams(first, *pieces, chunk({}, finish="tool_calls"), DONE)
    else:
        upstream.script = replies(completion(None, tool_calls=[call]))
    reply = await post(session, url, chat_body(f'{ANNA} for Mr "smith"', stream=stream))
    assert sent(upstream) == ["<EMAIL_1> for <PATTERN_1>"]
    assert orjson.loads(tool_arguments(reply, stream=stream)) == {"to": f'{ANNA} Mr "smith"'}


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_log_probabilities_do_not_spell_placeholders(
    url: str, upstream: ScriptedServer, session: aiohttp.ClientSession, stream: bool
) -> None:
    tokens = ["To ", "<EMAIL", "_1", ">", "!"]
    entries: list[dict[str, Any]] = [{"token": t, "logprob": -0.1, "bytes": None, "top_logprobs": []} for t in tokens]
    body = completion("".join(tokens))
    body["choices"][0]["logprobs"] = {"content": entries}
    events = [
        event({"choices": [{"index": 0, "delta": {"content": e["token"]}, "logprobs": {"content": [e]}}]})
        for e in entries
    ]
    upstream.script = streams(*events, chunk({}, finish="stop"), DONE) if stream else replies(body)
    reply = await post(session, url, chat_body(PROMPT, stream=stream))
    assert ANNA.encode() in reply.body
    assert b"EMAIL" not in reply.body


async def test_placeholders_that_the_client_wrote_are_not_touched(
    url: str, upstream: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    parts = [
        {"type": "text", "text": f"<EMAIL_1> is a tag, {ANNA} is me, <EMA"},
        {"type": "text", "text": f"IL_3> and {BEN}"},
    ]
    upstream.script = replies(completion("<EMAIL_1> <EMAIL_2> <EMAIL_3> <EMAIL_4>"))
    reply = await post(session, url, chat_body(parts))
    assert [p["text"] for p in sent(upstream)[0]] == [
        "<EMAIL_1> is a tag, <EMAIL_2> is me, <EMA",
        "IL_3> and <EMAIL_4>",
    ]
    assert reply.json["choices"][0]["message"]["content"] == f"<EMAIL_1> {ANNA} <EMAIL_3> {BEN}"


async def test_nothing_is_restored_from_another_exchange(
    url: str, upstream: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    upstream.script = replies(completion("<EMAIL_1>"))
    assert ANNA.encode() in (await post(session, url, chat_body(PROMPT))).body
    reply = await post(session, url, chat_body("nothing to mask"))
    assert (reply.decision, reply.json["choices"][0]["message"]["content"]) == ("forward", "<EMAIL_1>")


async def test_a_value_that_only_the_upstream_knows_stays_masked(
    url: str, upstream: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    upstream.script = replies(completion("ask carl@firma.org, not <EMAIL_1>"))
    reply = await post(session, url, chat_body(f"I am {ANNA}"))
    assert reply.json["choices"][0]["message"]["content"] == f"ask <EMAIL_2>, not {ANNA}"


@pytest.mark.parametrize("route", ["", "/window"])
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_a_value_that_an_output_rule_masks_is_not_put_back(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession, route: str, stream: bool
) -> None:
    text = f"so {ANNA} is whom we shall write to, as <EMAIL_1> said, and to <EMAIL_2>"
    upstream.script = streams(*text_stream(*text)) if stream else replies(completion(text))
    reply = await post(session, proxy.url(route) + "/chat/completions", chat_body(PROMPT, stream=stream))
    got = reply.text if stream else reply.json["choices"][0]["message"]["content"]
    assert got == f"so <EMAIL_1> is whom we shall write to, as <EMAIL_1> said, and to {BEN}"


async def test_a_window_that_is_masked_does_not_wait_for_the_end_to_stay_so(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    text = f"so {ANNA} is whom we shall write to, and to <EMAIL_2>, as long as it takes" + ", and so on" * 40
    upstream.script = streams(*text_stream(*text)[:-2], then="hang")
    url = proxy.url("/window") + "/chat/completions"
    async with session.post(url, json=chat_body(PROMPT, stream=True)) as response:
        body = await read_until(response, "long")
    text = Reply(response.status, {}, body).text
    assert text.startswith(f"so <EMAIL_1> is whom we shall write to, and to {BEN}, as long")


async def test_without_restore_the_client_gets_the_placeholders(
    proxy: Proxy, upstream: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    upstream.script = replies(completion("<EMAIL_1>"))
    reply = await post(session, proxy.url("/kept") + "/chat/completions", chat_body(PROMPT))
    assert reply.json["choices"][0]["message"]["content"] == "<EMAIL_1>"


async def test_an_upstreams_error_message_is_restored(
    url: str, upstream: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    upstream.script = replies({"error": {"message": "No account <EMAIL_1>", "type": "t", "code": "c"}}, 404)
    assert (await post(session, url, chat_body(PROMPT))).error["message"] == f"No account {ANNA}"


async def test_what_an_output_rule_masks_in_an_upstreams_error_is_not_put_back(
    url: str, upstream: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    upstream.script = replies({"error": {"message": f"{ANNA} <EMAIL_2>", "type": "t", "code": "c"}}, 404)
    assert (await post(session, url, chat_body(PROMPT))).error["message"] == f"<EMAIL_1> {BEN}"


async def test_placeholders_stay_over_the_turns_of_a_conversation(
    url: str, upstream: ScriptedServer, session: aiohttp.ClientSession
) -> None:
    upstream.script = replies(completion("Noted, <EMAIL_1>."))
    messages = [{"role": "system", "content": f"Mails go to {BEN}."}, {"role": "user", "content": f"I am {ANNA}."}]
    texts: list[Any] = []
    for turn in (f"And carl@firma.org, not {ANNA}", "dora@firma.org", ""):
        reply = await post(session, url, chat_body() | {"messages": messages})
        now = sent(upstream)
        assert now[: len(texts)] == texts
        texts = now
        messages = [*messages, reply.json["choices"][0]["message"], {"role": "user", "content": turn}]
        messages[-2].pop("refusal", None)
    assert texts == [
        "Mails go to <EMAIL_1>.", "I am <EMAIL_2>.", "Noted, <EMAIL_1>.", "And <EMAIL_3>, not <EMAIL_2>",
        "Noted, <EMAIL_1>.", "<EMAIL_4>",
    ]  # fmt: skip

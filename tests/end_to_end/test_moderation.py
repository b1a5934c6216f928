"""Moderation through the official client: the endpoint that is answered here, and the object in a chat."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import openai
import pytest

from tests.end_to_end.servers import (
    CLIENT_KEY,
    MARK,
    Proxy,
    ScriptedServer,
    completion,
    hangs,
    replies,
    streams,
    text_stream,
    verdict,
)

CONFIG = """
upstreams:
  default: {base_url: "${UPSTREAM_URL}"}
guards:
  fleet: {engine: openai, base_url: "${GUARD_URL}", model: gpt-oss-safeguard-20b, cache_entries: 0}
  down1: {engine: openai, base_url: "${DOWN_URL}", model: m}
  down2: {engine: openai, base_url: "${DOWN_URL}", model: m}
default_guard: fleet
policies:
  acme/marker: {detector: patterns, literals: ["ZQ-MARK-7781"]}
  mask: {detector: patterns, literals: ["ZQ-MASK"]}
  hate: {text: "Content that holds the mark."}
routes:
  - name: scores
    match: {path: /scores/v1/*}
    upstream: default
    input: [{policy: hate, flag: 0.3, refuse: 0.9}, {policy: acme/marker, flag: 0.5}]
    output: [{policy: hate, flag: 0.5}, {policy: acme/marker, flag: 0.5}]
  - name: refuses
    match: {path: /refuses/v1/*, models: ["gpt-4o*"]}
    upstream: default
    refusal: message
    input: [{policy: acme/marker, refuse: 0.5}]
    output: [{policy: acme/marker, refuse: 0.5}]
  - name: masks
    match: {path: /masks/v1/*}
    upstream: default
    input: [{policy: mask, rewrite: 0.5}, {policy: acme/marker, flag: 0.5}]
    output: [{policy: mask, rewrite: 0.5}]
  - {name: down, match: {path: /down/v1/*}, upstream: default, input: [{policy: hate, guard: down1, refuse: 0.5}]}
  - name: down-flag
    match: {path: /down-flag/v1/*}
    upstream: default
    on_error: flag
    input: [{policy: hate, guard: down2, refuse: 0.5}, {policy: acme/marker, refuse: 0.5}]
    output: [{policy: acme/marker, flag: 0.5}]
  - name: down-forward
    match: {path: /down-forward/v1/*}
    upstream: default
    on_error: forward
    input: [{policy: hate, guard: down2, refuse: 0.5}, {policy: acme/marker, refuse: 0.5}]
  - name: window
    match: {path: /window/v1/*}
    upstream: default
    stream: window
    window_chars: 20
    overlap_chars: 15
    output: [{policy: acme/marker, flag: 0.5}]
"""

HI: Any = [{"role": "user", "content": "Hi"}]
BAD: Any = [{"role": "user", "content": f"Say {MARK}"}]
MODERATION: Any = {"model": "omni-moderation-latest"}


@pytest.fixture
def client(proxy: Proxy) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=proxy.url("/scores"), api_key=CLIENT_KEY, max_retries=0) as client:
        yield client


@pytest.fixture
async def async_client(proxy: Proxy) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=proxy.url("/scores"), api_key=CLIENT_KEY, max_retries=0) as client:
        yield client


def on(client: openai.OpenAI, proxy: Proxy, route: str) -> openai.OpenAI:
    return client.with_options(base_url=proxy.url(f"/{route}"))


def blocking(**stages: str) -> Any:
    return {**MODERATION, "policy": {stage: {"mode": mode} for stage, mode in stages.items()}}


# ------------------------------------------------------------------ the endpoint


def test_a_text_is_scored_by_the_routes_policies(
    client: openai.OpenAI, upstream: ScriptedServer, guard: ScriptedServer
) -> None:
    raw = client.moderations.with_raw_response.create(input=f"Say {MARK}", model="omni-moderation-latest")
    answer = raw.parse()
    assert answer.id.startswith("modr-")
    assert answer.model == "omni-moderation-latest"
    [result] = answer.results
    assert result.flagged is True
    assert result.categories.hate is True
    assert result.category_scores.hate > 0.9
    assert result.categories.violence is None  # no such policy here
    extra = result.categories.model_extra
    assert extra == {"acme/marker": True}
    assert result.category_applied_input_types.hate == ["text"]
    assert raw.headers["x-safeguard-decision"] == "flag"
    assert raw.headers["x-safeguard-unjudged"] == "0"
    for told in ("fleet", "gpt-oss", "because"):
        assert told not in raw.text
    assert upstream.received == []
    assert len(guard.received) == 1


async def test_the_async_client_and_a_list(
    async_client: openai.AsyncOpenAI, upstream: ScriptedServer, guard: ScriptedServer
) -> None:
    answer = await async_client.moderations.create(input=["fine", MARK, "fine"])
    assert [r.flagged for r in answer.results] == [False, True, False]
    assert answer.model == "safeguard"
    assert upstream.received == []


def test_parts_are_one_result_and_images_are_opaque(client: openai.OpenAI, upstream: ScriptedServer) -> None:
    image: Any = {"type": "image_url", "image_url": {"url": "https://example.test/a.png"}}
    raw = client.moderations.with_raw_response.create(input=[{"type": "text", "text": "fine"}, image])
    [result] = raw.parse().results
    assert result.flagged is True
    assert result.categories.model_extra == {"acme/marker": False, "opaque-content": True}
    assert raw.headers["x-safeguard-unjudged"] == "1"


def test_a_middle_score_flags_only_a_rule_that_only_flags(
    client: openai.OpenAI, upstream: ScriptedServer, guard: ScriptedServer
) -> None:
    even = verdict("0")
    even["choices"][0]["logprobs"]["content"][0]["top_logprobs"] = [
        {"token": "1", "logprob": -0.7},
        {"token": "0", "logprob": -0.7},
    ]
    guard.script = replies(even)
    [result] = client.moderations.create(input="so so").results
    assert result.category_scores.hate == pytest.approx(0.5)
    assert (result.flagged, result.categories.hate) == (False, False)


def test_a_guard_that_is_down_is_not_safe(client: openai.OpenAI, proxy: Proxy, upstream: ScriptedServer) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        on(client, proxy, "down").moderations.create(input=["fine", "fine"])
    assert (caught.value.status_code, caught.value.code) == (503, "guard_unavailable")
    assert caught.value.response.headers["x-safeguard-decision"] == "refuse"
    raw = on(client, proxy, "down-forward").moderations.with_raw_response.create(input=["fine", MARK])
    assert [r.flagged for r in raw.parse().results] == [False, True]
    assert [r.categories.hate for r in raw.parse().results] == [None, None]
    assert raw.headers["x-safeguard-unjudged"] == "2"


@pytest.mark.parametrize("on_error", ["flag", "forward"])
def test_a_failed_verdict_counts_as_what_on_error_says(
    client: openai.OpenAI, proxy: Proxy, upstream: ScriptedServer, on_error: str
) -> None:
    raw = on(client, proxy, f"down-{on_error}").moderations.with_raw_response.create(input="fine")
    [result] = raw.parse().results
    assert result.flagged is (on_error == "flag")
    assert result.categories.model_extra == {"acme/marker": False}
    assert result.categories.hate is None
    assert (raw.headers["x-safeguard-decision"], raw.headers["x-safeguard-unjudged"]) == (on_error, "1")


def test_the_route_is_found_with_or_without_a_model(client: openai.OpenAI, proxy: Proxy) -> None:
    refuses = on(client, proxy, "refuses")
    for model in (openai.omit, "gpt-4o-mini", "omni-moderation-latest"):
        assert refuses.moderations.create(input=MARK, model=model).results[0].flagged is True
    with pytest.raises(openai.NotFoundError) as caught:
        refuses.moderations.create(input=MARK, model="other")
    assert caught.value.code == "no_route"


def test_malformed_moderations_are_named(client: openai.OpenAI) -> None:
    for bad in ([1, 2], [], [{"type": "audio"}], {"a": "b"}):
        with pytest.raises(openai.BadRequestError) as caught:
            client.post("/moderations", cast_to=object, body={"input": bad})
        assert str(caught.value.param).startswith("input")


# ------------------------------------------------------------------ in band


def test_an_answer_carries_the_scores_that_were_asked_for(
    client: openai.OpenAI, upstream: ScriptedServer, guard: ScriptedServer
) -> None:
    upstream.script = replies(completion(f"I say {MARK}"))
    raw = client.chat.completions.with_raw_response.create(model="gpt-4o", messages=HI, moderation=MODERATION)
    answer = raw.parse()
    assert answer.choices[0].message.content == f"I say {MARK}"  # scores only: this route flags
    assert answer.moderation is not None
    given, back = answer.moderation.input, answer.moderation.output
    assert given.type == back.type == "moderation_results"
    assert given.model == back.model == "omni-moderation-latest"
    assert (given.results[0].flagged, back.results[0].flagged) == (False, True)
    assert given.results[0].categories == {"hate": False, "acme/marker": False}
    assert back.results[0].categories == {"hate": True, "acme/marker": True}
    assert back.results[0].category_applied_input_types == {"hate": ["text"], "acme/marker": ["text"]}
    assert "moderation" not in upstream.received[0].json
    for told in ("fleet", "gpt-oss", "because"):
        assert told not in raw.text


def test_who_does_not_ask_gets_no_scores(client: openai.OpenAI, upstream: ScriptedServer) -> None:
    assert client.chat.completions.create(model="gpt-4o", messages=HI).moderation is None


@pytest.mark.parametrize("route", ["scores", "window"])
@pytest.mark.parametrize("usage", [False, True])
@pytest.mark.parametrize("streamed", [False, True], ids=["upstream-plain", "upstream-stream"])
def test_a_stream_ends_with_the_scores(
    client: openai.OpenAI, proxy: Proxy, upstream: ScriptedServer, route: str, usage: bool, streamed: bool
) -> None:
    upstream.script = (
        streams(*text_stream("I say ", MARK, usage=True)) if streamed else replies(completion(f"I say {MARK}"))
    )
    chunks = list(
        on(client, proxy, route).chat.completions.create(
            model="gpt-4o",
            messages=HI,
            stream=True,
            moderation=MODERATION,
            stream_options={"include_usage": usage},
        )
    )
    *others, last = chunks
    assert all(c.moderation is None and c.choices for c in others)
    assert last.choices == []
    assert (last.usage is not None) is usage
    assert last.moderation is not None
    assert last.moderation.output.type == "moderation_results"
    assert last.moderation.output.results[0].flagged is True


@pytest.mark.parametrize("route", ["scores", "window", "refuses"])
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_a_response_carries_the_scores_too(
    client: openai.OpenAI, proxy: Proxy, upstream: ScriptedServer, route: str, stream: bool
) -> None:
    message = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": f"I say {MARK}"}]}
    upstream.script = replies({"id": "resp_1", "object": "response", "status": "completed", "output": [message]})
    asked: Any = {"model": "gpt-4o", "input": "Hi", "moderation": MODERATION, "stream": stream}
    got = on(client, proxy, route).responses.create(**asked)
    answer = list(got)[-1].response if stream else got
    assert (answer.moderation.input.type, answer.moderation.input.flagged) == ("moderation_result", False)
    assert (answer.moderation.output.type, answer.moderation.output.flagged) == ("moderation_result", True)
    assert "moderation" not in upstream.received[0].json


@pytest.mark.parametrize("stage", ["input", "output"])
@pytest.mark.parametrize("mode", ["score", "block"])
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_block_makes_a_flag_a_refusal_at_its_stage_only(
    client: openai.OpenAI, upstream: ScriptedServer, stage: str, mode: str, stream: bool
) -> None:
    def ask(asked_at: str) -> None:
        upstream.script = streams(*text_stream("I say ", MARK)) if stage == "output" else replies(completion("Fine."))
        messages = HI
        if stage == "input":
            guard_passes = "ZQ-\u200bMARK-7781"  # for the detector only
            messages = [{"role": "user", "content": guard_passes}]
        answer = client.chat.completions.create(
            model="gpt-4o", messages=messages, stream=stream, moderation=blocking(**{asked_at: mode})
        )
        if stream:
            assert list(answer)

    if mode == "block":
        with pytest.raises(openai.BadRequestError) as caught:
            ask(stage)
        assert caught.value.code == "content_filter"
    else:
        ask(stage)
    ask({"input": "output", "output": "input"}[stage])


@pytest.mark.parametrize("mode", ["score", "block"])
def test_no_mode_removes_strictness(client: openai.OpenAI, proxy: Proxy, upstream: ScriptedServer, mode: str) -> None:
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model="gpt-4o", messages=BAD, moderation=blocking(input=mode, output=mode))
    assert upstream.received == []


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("stage", ["input", "output"])
def test_a_refusal_as_a_message_carries_the_scores_too(
    client: openai.OpenAI, proxy: Proxy, upstream: ScriptedServer, stage: str, stream: bool
) -> None:
    upstream.script = streams(*text_stream("I say ", MARK)) if stream else replies(completion(MARK))
    answer: Any = on(client, proxy, "refuses").chat.completions.create(
        model="gpt-4o", messages=BAD if stage == "input" else HI, moderation=MODERATION, stream=stream
    )
    moderation = list(answer)[-1].moderation if stream else answer.moderation
    assert moderation.input.results[0].flagged is (stage == "input")
    if stage == "input":
        assert (moderation.output.type, moderation.output.code) == ("error", "not_judged")
    else:
        assert moderation.output.results[0].flagged is True


def test_a_failed_verdict_is_an_error_in_its_stage(
    client: openai.OpenAI, proxy: Proxy, upstream: ScriptedServer, guard: ScriptedServer
) -> None:
    guard.script = hangs
    answer = on(client, proxy, "down-flag").chat.completions.create(model="gpt-4o", messages=HI, moderation=MODERATION)
    assert answer.moderation is not None
    assert answer.moderation.input.type == "error"
    assert answer.moderation.input.code == "guard_unavailable"
    assert answer.moderation.output.type == "moderation_results"


def test_a_rewrite_leaves_the_object_alone(client: openai.OpenAI, proxy: Proxy, upstream: ScriptedServer) -> None:
    answer = on(client, proxy, "masks").chat.completions.create(
        model="gpt-4o", messages=[{"role": "user", "content": "I am ZQ-MASK"}], moderation={"model": "ZQ-MASK"}
    )
    assert upstream.received[0].json == {
        "model": "gpt-4o",
        "messages": [{"role": "user", "content": "I am <PATTERN_1>"}],
    }
    assert answer.moderation is not None
    assert answer.moderation.input.type == "moderation_results"
    assert answer.moderation.input.results[0].categories == {"mask": True, "acme/marker": False}


@pytest.mark.parametrize(
    ("value", "param"),
    [
        ("x", "moderation"), ({}, "moderation.model"), ({"model": "m", "policy": {"input": {"mode": "off"}}}, "moderation.policy.input.mode"),
        ({"model": "m", "policy": {"input": "block"}}, "moderation.policy.input"),
    ],
)  # fmt: skip
def test_a_malformed_object_is_named(client: openai.OpenAI, upstream: ScriptedServer, value: Any, param: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="gpt-4o", messages=HI, moderation=value)
    assert caught.value.param == param
    assert upstream.received == []

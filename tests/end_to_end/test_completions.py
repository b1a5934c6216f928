"""``/v1/completions`` and ``/v1/embeddings`` through the official client."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from aiohttp import web

from tests.end_to_end.servers import (
    CLIENT_KEY,
    DONE,
    MARK,
    UPSTREAM_KEY,
    Proxy,
    Received,
    ScriptedServer,
    event,
    replies,
    streams,
)

CONFIG = """
upstreams:
  default: {base_url: "${UPSTREAM_URL}"}
  keyed: {base_url: "${UPSTREAM_URL}", api_key_env: UPSTREAM_KEY}
  demo: {base_url: demo}
guards:
  fleet: {engine: openai, base_url: "${GUARD_URL}", model: gpt-oss-safeguard-20b, cache_entries: 0}
  down: {engine: openai, base_url: "${DOWN_URL}", model: m}
default_guard: fleet
policies:
  marker: {detector: patterns, literals: ["ZQ-MARK-7781"], refusal_text: "We do not talk about markers."}
  mask: {detector: patterns, literals: ["ZQ-MARK-7781"]}
  model: {text: "Content that holds the mark."}
routes:
  - name: error
    match: {path: /error/v1/*}
    upstream: keyed
    input: [{policy: marker, refuse: 0.5}]
    output: [{policy: marker, refuse: 0.5}]
  - name: message
    match: {path: /message/v1/*}
    upstream: default
    refusal: message
    input: [{policy: marker, refuse: 0.5}]
    output: [{policy: marker, refuse: 0.5}]
  - name: window
    match: {path: /window/v1/*}
    upstream: default
    stream: window
    window_chars: 20
    overlap_chars: 12
    output: [{policy: marker, refuse: 0.5}]
  - name: first
    match: {path: /first/v1/*}
    upstream: default
    stream: deliver_first
    window_chars: 20
    output: [{policy: marker, refuse: 0.5}]
  - name: masks
    match: {path: /masks/v1/*}
    upstream: default
    input: [{policy: mask, rewrite: 0.5}]
    output: [{policy: mask, rewrite: 0.5}]
  - name: judged
    match: {path: /judged/v1/*}
    upstream: default
    input: [{policy: model, refuse: 0.9}]
    output: [{policy: model, refuse: 0.9}]
  - {name: down, match: {path: /down/v1/*}, upstream: default, output: [{policy: model, guard: down, refuse: 0.5}]}
  - {name: demo, match: {path: /demo/v1/*}, upstream: demo}
"""

TEXT = "We do not talk about markers."


def texts(*said: str, **more: Any) -> dict[str, Any]:
    """A text completion as OpenAI answers."""
    return {
        "id": "cmpl-up",
        "object": "text_completion",
        "created": 1700000000,
        "model": "gpt-3.5-turbo-instruct",
        "choices": [
            {"index": i, "text": text, "logprobs": None, "finish_reason": "stop", **more} for i, text in enumerate(said)
        ],
        "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
    }


def chunk(text: str, index: int = 0, finish: str | None = None) -> bytes:
    choices = [{"index": index, "text": text, "logprobs": None, "finish_reason": finish}]
    return event({"id": "up", "object": "text_completion", "created": 1, "model": "gpt-x", "choices": choices})


def stream_of(*pieces: str) -> list[bytes]:
    usage = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    return [*map(chunk, pieces), chunk("", 0, "stop"), event({"choices": [], "usage": usage}), DONE]


def text_of(chunks: Any, index: int = 0) -> str:
    return "".join(c.text for ch in chunks for c in ch.choices if c.index == index)


def ends_of(chunks: Any) -> list[tuple[int, str]]:
    return [(c.index, c.finish_reason) for ch in chunks for c in ch.choices if c.finish_reason]


@pytest.fixture
def client(proxy: Proxy) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=proxy.url("/error"), api_key=CLIENT_KEY, max_retries=0) as client:
        yield client


def on(client: openai.OpenAI, proxy: Proxy, route: str) -> openai.OpenAI:
    return client.with_options(base_url=proxy.url(f"/{route}"))


# ------------------------------------------------------------------ completions


def test_a_plain_completion_is_answered(client: openai.OpenAI, upstream: ScriptedServer) -> None:
    logprobs = {"tokens": ["Hi", " you"], "token_logprobs": [-0.1, -0.2], "text_offset": [0, 2], "top_logprobs": None}
    upstream.script = replies(texts("Hi you", logprobs=logprobs))
    raw = client.completions.with_raw_response.create(model="m", prompt="Say hi", suffix="!", logprobs=1, echo=False)
    answer = raw.parse()
    assert (answer.choices[0].text, answer.object) == ("Hi you", "text_completion")
    assert answer.choices[0].logprobs is not None
    assert answer.choices[0].logprobs.tokens == ["Hi", " you"]
    assert answer.usage is not None
    assert answer.usage.total_tokens == 7
    assert raw.headers["x-safeguard-decision"] == "forward"
    [sent] = upstream.received
    assert sent.target == "/v1/completions"
    assert sent.json == {"model": "m", "prompt": "Say hi", "suffix": "!", "logprobs": 1, "echo": False}
    assert sent.header("Authorization") == f"Bearer {UPSTREAM_KEY}"


@pytest.mark.parametrize("route", ["error", "window", "first", "judged"])
def test_a_stream_is_answered_in_every_mode(
    client: openai.OpenAI, proxy: Proxy, upstream: ScriptedServer, guard: ScriptedServer, route: str
) -> None:
    pieces = [f"word number {i}, " for i in range(20)]
    upstream.script = streams(*stream_of(*pieces))
    chunks = list(
        on(client, proxy, route).completions.create(
            model="m", prompt="Hi", stream=True, stream_options={"include_usage": True}
        )
    )
    assert text_of(chunks) == "".join(pieces)
    assert ends_of(chunks) == [(0, "stop")]
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert len({c.id for c in chunks}) == 1


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("stage", ["input", "output", "echo"])
def test_refused_as_an_error(client: openai.OpenAI, upstream: ScriptedServer, stage: str, stream: bool) -> None:
    upstream.script = streams(*stream_of("I say ZQ-MA", "RK-7781")) if stream else replies(texts("fine", MARK))
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(
            model="m", prompt=["fine", MARK if stage == "input" else "Hi"], stream=stream, echo=stage == "echo"
        )
    e = caught.value
    assert (e.code, e.type, e.param) == ("content_filter", "invalid_request_error", "prompt")
    assert MARK not in e.response.text
    assert len(upstream.received) == (0 if stage == "input" else 1)


@pytest.mark.parametrize("stage", ["input", "output"])
def test_refused_as_a_message_with_one_choice_per_prompt_and_n(
    client: openai.OpenAI, proxy: Proxy, upstream: ScriptedServer, stage: str
) -> None:
    refusing = on(client, proxy, "message")
    prompt = ["fine", MARK if stage == "input" else "Hi"]
    expected = [(i, TEXT, "content_filter") for i in range(4)]
    upstream.script = replies(texts("a", "b", "c", MARK))
    answer = refusing.completions.create(model="m", prompt=prompt, n=2)
    assert [(c.index, c.text, c.finish_reason) for c in answer.choices] == expected
    assert answer.object == "text_completion"
    upstream.script = streams(*stream_of("fine so far ", "ZQ-MARK", "-7781"))
    chunks = list(refusing.completions.create(model="m", prompt=prompt, n=2, stream=True))
    assert [(i, text_of(chunks, i), reason) for i, reason in ends_of(chunks)] == expected


@pytest.mark.parametrize("route", ["window", "first"])
def test_a_stream_is_cut_where_the_mark_comes(
    client: openai.OpenAI, proxy: Proxy, upstream: ScriptedServer, route: str
) -> None:
    begun = asyncio.Event()

    async def script(request: web.BaseRequest, received: Received) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"".join(map(chunk, ["quite fine text, "] * 4)))
        await begun.wait()
        await response.write(b"".join(stream_of("ZQ-MA", "RK-7781", *[" and more"] * 8)))
        return response

    upstream.script = script
    coming = iter(on(client, proxy, route).completions.create(model="m", prompt="Hi", stream=True))
    chunks = [next(coming)]
    upstream.loop.call_soon_threadsafe(begun.set)
    chunks += coming
    said = text_of(chunks)
    assert said.startswith("quite fine text, quite fine")
    assert said.endswith(TEXT)
    assert route == "first" or "ZQ-MA" not in said
    assert ends_of(chunks) == [(0, "content_filter")]


def test_the_mark_is_masked_on_both_ways(client: openai.OpenAI, proxy: Proxy, upstream: ScriptedServer) -> None:
    masks = on(client, proxy, "masks")
    logprobs = {"tokens": ["It is ", MARK], "token_logprobs": [-0.1, -0.2]}
    upstream.script = replies(texts(f"It is {MARK}", logprobs=logprobs))
    answer = masks.completions.create(model="m", prompt=["fine", f"I am {MARK}"])
    assert upstream.received[0].json["prompt"] == ["fine", "I am <PATTERN_1>"]
    assert (answer.choices[0].text, answer.choices[0].logprobs) == ("It is <PATTERN_1>", None)
    upstream.script = streams(*stream_of("It is ZQ-M", "ARK-7781."))
    assert text_of(list(masks.completions.create(model="m", prompt="Hi", stream=True))) == "It is <PATTERN_1>."


def test_a_guard_is_shown_the_prompt_and_the_text(
    client: openai.OpenAI, proxy: Proxy, upstream: ScriptedServer, guard: ScriptedServer
) -> None:
    upstream.script = replies(texts("An answer."))
    judged = on(client, proxy, "judged")
    judged.completions.create(model="m", prompt="A question.")
    shown = [r.json["messages"][-1]["content"] for r in guard.received]
    assert "A question." in shown[0]
    assert "An answer." in shown[1]
    with pytest.raises(openai.BadRequestError):
        judged.completions.create(model="m", prompt=MARK)


def test_what_does_not_fit_is_named(client: openai.OpenAI, upstream: ScriptedServer) -> None:
    prompts: list[Any] = [[1, 2, 3], [[1], [2]], ["a", 1]]
    for prompt in prompts:
        with pytest.raises(openai.BadRequestError, match="token ids cannot be judged") as caught:
            client.completions.create(model="m", prompt=prompt)
        assert caught.value.param == "prompt"
    assert upstream.received == []


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_the_kinds_may_differ(client: openai.OpenAI, upstream: ScriptedServer, stream: bool) -> None:
    upstream.script = replies(texts("Hello.")) if stream else streams(*stream_of("Hel", "lo."))
    if stream:
        assert text_of(list(client.completions.create(model="m", prompt="Hi", stream=True))) == "Hello."
    else:
        assert client.completions.create(model="m", prompt="Hi").choices[0].text == "Hello."


def test_an_answer_of_another_shape_is_a_fault(client: openai.OpenAI, upstream: ScriptedServer) -> None:
    shapes: list[Any] = [{"choices": [{"message": {"content": "Hi"}}]}, {"choices": []}, []]
    for raw in shapes:
        upstream.script = replies(raw)
        with pytest.raises(openai.InternalServerError) as caught:
            client.completions.create(model="m", prompt="Hi")
        assert (caught.value.status_code, caught.value.code) == (502, "bad_upstream_response")


# ------------------------------------------------------------------ embeddings

VECTORS = {
    "object": "list",
    "model": "up",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.25, -0.5]}],
    "usage": {"prompt_tokens": 1, "total_tokens": 1},
}


@pytest.mark.parametrize("route", ["error", "judged", "down"])
def test_embeddings_have_an_input_stage_only(
    client: openai.OpenAI, proxy: Proxy, upstream: ScriptedServer, guard: ScriptedServer, route: str
) -> None:
    upstream.script = replies(VECTORS)
    raw: Any = on(client, proxy, route).embeddings.with_raw_response.create(
        model="m", input="Hi", encoding_format="float"
    )
    answer = raw.parse()
    assert answer.data[0].embedding == [0.25, -0.5]
    assert (answer.model, answer.usage.total_tokens) == ("m", 1)
    assert raw.headers["x-safeguard-decision"] == "forward"
    assert raw.headers["x-safeguard-decision-id"].endswith("-input")
    assert upstream.received[0].json == {"model": "m", "input": "Hi", "encoding_format": "float"}
    assert len(guard.received) == (1 if route == "judged" else 0)


@pytest.mark.parametrize("route", ["error", "message"])
def test_refused_embeddings_are_an_error_on_every_route(
    client: openai.OpenAI, proxy: Proxy, upstream: ScriptedServer, route: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        on(client, proxy, route).embeddings.create(model="m", input=["fine", MARK])
    assert (caught.value.code, caught.value.param) == ("content_filter", "input")
    assert upstream.received == []


def test_masked_embeddings(client: openai.OpenAI, proxy: Proxy, upstream: ScriptedServer) -> None:
    upstream.script = replies(VECTORS)
    on(client, proxy, "masks").embeddings.create(model="m", input=["fine", MARK], encoding_format="float")
    assert upstream.received[0].json["input"] == ["fine", "<PATTERN_1>"]


def test_token_ids_cannot_be_embedded(client: openai.OpenAI, upstream: ScriptedServer) -> None:
    with pytest.raises(openai.BadRequestError, match="token ids cannot be judged") as caught:
        client.embeddings.create(model="m", input=[1, 2, 3])
    assert caught.value.param == "input"
    assert upstream.received == []


def test_an_embedding_that_is_a_text_is_a_fault(client: openai.OpenAI, upstream: ScriptedServer) -> None:
    for value in ("Hello there", [MARK], None, "SGVsbG8gdGhlcmUsIHRoaXMgaXMgdGV4dA=="):
        upstream.script = replies({**VECTORS, "data": [{"index": 0, "embedding": value}]})
        with pytest.raises(openai.InternalServerError) as caught:
            client.embeddings.create(model="m", input="Hi")
        assert caught.value.status_code == 502
    upstream.script = streams(event(VECTORS), DONE)
    with pytest.raises(openai.InternalServerError):
        client.embeddings.create(model="m", input="Hi")


# ------------------------------------------------------------------ the built-in upstream


def test_the_demo_upstream_answers_both(client: openai.OpenAI, proxy: Proxy) -> None:
    demo = on(client, proxy, "demo")
    answer = demo.completions.create(model="demo", prompt=["one", "two"], n=2)
    assert [c.text for c in answer.choices] == ["You said: one"] * 2 + ["You said: two"] * 2
    assert text_of(list(demo.completions.create(model="demo", prompt="one", stream=True))) == "You said: one"
    plain = demo.embeddings.create(model="demo", input=["one", "two"], encoding_format="float")
    again = demo.embeddings.create(model="demo", input="one")  # the client asks for base64 by itself
    assert again.data[0].embedding == pytest.approx(plain.data[0].embedding, abs=1e-6)
    assert plain.data[0].embedding != plain.data[1].embedding

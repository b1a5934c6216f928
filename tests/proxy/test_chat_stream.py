"""A streamed chat completion, taken apart and put together again."""

from __future__ import annotations

import copy
import json
from collections.abc import Hashable
from typing import Any

import pytest

from proxy.api import Asked, StreamFault
from proxy.chat import ChatApi
from proxy.chat_stream import ChatStream
from proxy.hold import Hold, StreamMode
from proxy.schema import HIDDEN, Collection
from proxy.sse import DONE, EventDecoder
from rules.content import LeafKind, joined_readings
from rules.detectors import Edit
from tests.proxy.examples import CHUNK, marked, strings

MARK = "ZQ-MARK-7781"
API = ChatApi()
ASKED = Asked("chatcmpl-ours", "asked", include_usage=True)


def held(*chunks: Any, done: bool = True, max_bytes: int = 1 << 20, hidden: str | None = None) -> ChatStream:
    stream = API.new_stream(ASKED, Hold(StreamMode.BUFFER, 400, 200), max_bytes, hidden)
    for chunk in chunks:
        stream.event(chunk if isinstance(chunk, str) else json.dumps(chunk))
    if done:
        stream.event(DONE)
    return stream


def delta(index: int = 0, finish: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"id": "up", "model": "m", "choices": [{"index": index, "delta": fields, "finish_reason": finish}]}


def judged(stream: ChatStream) -> tuple[dict[str, Any], set[str]]:
    """The completion, cleaned as `proxy.relay` does it, and every text that is judged."""
    into = Collection(strict=False)
    completion = API.read_answer(stream.answer(), into, ASKED)
    return completion, {leaf.text for leaf in (*into.leaves, *stream.hold.unjudged_loose)}


def released(stream: ChatStream) -> list[Any]:
    """What the client would get of an answer that may pass."""
    completion, _ = judged(stream)
    rest: dict[Hashable, str] = {key: channel.whole() for key, channel in stream.hold.channels.items()}
    return parsed(stream.ending(completion, rest))


def parsed(wire: bytes) -> list[Any]:
    return [e if e == DONE else json.loads(e) for e in EventDecoder(1 << 20).feed(wire)]


def deltas(events: list[Any], name: str = "content") -> list[Any]:
    """One field of all deltas that have it."""
    found = [c["delta"].get(name) for e in events if e != DONE for c in e["choices"]]
    return [value for value in found if value is not None]


# ---------------------------------------------------------------------- the one property


def test_a_mark_anywhere_in_a_chunk_is_absent_or_judged() -> None:
    met = {"absent": 0, "judged": 0}
    for path, what, chunk in marked(CHUNK, MARK):
        try:
            stream = held(delta(0, role="assistant"), chunk, delta(0, "stop"), delta(1, "stop"))
        except StreamFault:
            met["absent"] += 1
            continue
        _, texts = judged(stream)
        crossing = [s for s in strings(released(stream)) if MARK in s]
        for text in crossing:
            assert any(text in t for t in texts), (path, what)
        met["judged" if crossing else "absent"] += 1
    assert min(met.values()) > 10


def test_a_mark_spelled_over_many_chunks_is_judged_whole_in_every_channel() -> None:
    channels: list[Any] = [
        lambda c: {"content": c},
        lambda c: {"content": [{"type": "text", "text": c}]},
        lambda c: {"refusal": c},
        lambda c: {"reasoning": c},
        lambda c: {"reasoning_content": c},
        lambda c: {"tool_calls": [{"index": 1, "function": {"arguments": c}}]},
        lambda c: {"tool_calls": [{"index": 1, "function": {"name": c}}]},
        lambda c: {"tool_calls": [{"index": 1, "id": c}]},
        lambda c: {"tool_calls": [{"index": 1, "type": "custom", "custom": {"input": c}}]},
        lambda c: {"tool_calls": [{"index": 1, "type": "function", "custom": {"input": c}}]},
        lambda c: {"function_call": {"arguments": c}},
    ]
    for channel in channels:
        stream = held(*(delta(**channel(c)) for c in MARK))
        assert any(MARK in t for t in judged(stream)[1]), channel("c")


def test_fragments_of_parallel_calls_are_kept_apart() -> None:
    def call(i: int, arguments: str, **more: Any) -> dict[str, Any]:
        return delta(tool_calls=[{"index": i, "function": {"arguments": arguments}, **more}])

    stream = held(
        call(0, '{"a":', id="c0", type="function"), call(1, '{"b": "ZQ-M', id="c1"),
        call(0, "1}"), call(1, '\\u0041RK-7781"}'), delta(0, "tool_calls"),
    )  # fmt: skip
    calls = stream.answer()["choices"][0]["message"]["tool_calls"]
    assert [c["function"]["arguments"] for c in calls] == ['{"a":1}', '{"b": "ZQ-M\\u0041RK-7781"}']
    assert [c["id"] for c in calls] == ["c0", "c1"]
    assert MARK in judged(stream)[1]


def test_choices_are_kept_apart() -> None:
    stream = held(delta(1, content="x"), delta(0, content="a"), delta(1, content="y"), delta(0, content="b"))
    completion = stream.answer()
    assert [(c["index"], c["message"]["content"]) for c in completion["choices"]] == [(0, "ab"), (1, "xy")]


@pytest.mark.parametrize("between", CHUNK["choices"][0]["delta"], ids=str)
def test_a_chunk_like_the_one_before_is_read_as_if_it_came_alone(between: str) -> None:
    odd = copy.deepcopy(CHUNK)
    odd["choices"] = [{"index": 0, "delta": {between: CHUNK["choices"][0]["delta"][between]}}]
    alike = [delta(i, content=c) for i in (0, 1, 0) for c in "ab"]
    alike += [{**delta(content="c"), "choices": [{"index": index, "delta": {"content": "c"}}]} for index in ("x", "x", -1, -1, True, 1, None, 500, 500)]  # fmt: skip
    plain = held(*alike[:6], odd, *alike[6:], delta(0, "stop"), delta(1, "length"))
    apart: list[Any] = []
    for chunk in (*alike[:6], odd, *alike[6:]):
        apart += [chunk, {"choices": [], "created": len(apart)}]
    assert held(*apart, delta(0, "stop"), delta(1, "length")).answer()["choices"] == plain.answer()["choices"]


def test_what_a_like_chunk_has_besides_its_text_is_not_overlooked() -> None:
    for place in ("model", "service_tier"):
        stream = held(delta(content="a"), delta(content="b"), {**delta(content="c"), place: MARK})
        assert MARK in judged(stream)[1]
    stream = held(delta(content="a"), delta(content="b"), delta(0, MARK, content="c"))
    assert MARK in judged(stream)[1]


# ---------------------------------------------------------------------- what is released


def test_what_leaves_carries_our_id_and_nothing_that_nobody_knows() -> None:
    first, second = delta(content="a", role="assistant"), delta(0, "stop", content="b")
    base = {"id": "chatcmpl-ours", "object": "chat.completion.chunk", "created": 0, "model": "m"}
    assert released(held({**first, "x": MARK, "system_fingerprint": "fp"}, second)) == [
        {**base, "choices": [{"index": 0, "delta": {"role": "assistant", "content": "ab"}, "finish_reason": None}]},
        {**base, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        DONE,
    ]


def test_a_choice_names_its_role_once_however_its_text_leaves() -> None:
    stream = held(delta(content="a"), delta(0, "stop", content="b"))
    completion, _ = judged(stream)
    events = parsed(stream.text((0, "content"), "a") + stream.ending(completion, {(0, "content"): "b"}))
    assert deltas(events, "role") == ["assistant"]
    assert deltas(events) == ["a", "b"]
    assert events[0]["choices"][0]["delta"]["role"] == "assistant"


def test_a_stream_cut_midway_ends_with_the_refusal_in_every_choice() -> None:
    stream = held(delta(0, content="a"), delta(1, content="b"), done=False)
    events = parsed(stream.text((0, "content"), "a") + stream.refusal("No."))
    assert deltas(events) == ["a", "No.", "No."]
    assert [c["finish_reason"] for e in events[-4:-2] for c in e["choices"]] == ["content_filter"] * 2
    assert events[-2]["usage"] == {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    assert events[-1] == DONE


def test_the_upstreams_key_is_masked_however_it_is_cut() -> None:
    key = "sk-upstream-0000000000"
    for n in range(1, len(key)):
        stream = held(delta(content=f"It is {key[:n]}"), delta(0, "stop", content=f"{key[n:]}."), hidden=key)
        assert judged(stream)[0]["choices"][0]["message"]["content"] == f"It is {HIDDEN}."


def test_only_numbers_of_a_usage_chunk_survive() -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    stream = held(delta(0, "stop", content="a"), {"choices": [], "usage": {**usage, "note": MARK}, "prompt_filter_results": [MARK]})  # fmt: skip
    assert stream.usage == usage
    *_, last, done = released(stream)
    assert (last["choices"], last["usage"], done) == ([], usage, DONE)
    assert MARK not in json.dumps(released(stream))


def test_logprobs_that_spell_something_else_are_not_released() -> None:
    chunk = delta(0, "stop", content="Hi")
    chunk["choices"][0]["logprobs"] = {"content": [{"token": MARK, "logprob": -1.0, "bytes": None, "top_logprobs": []}]}
    assert MARK not in json.dumps(released(held(chunk)))


def test_logprobs_that_spell_the_text_are_released() -> None:
    chunk = delta(0, "stop", content="Hi")
    chunk["choices"][0]["logprobs"] = {"content": [{"token": "Hi", "logprob": -1.0, "bytes": None, "top_logprobs": []}]}
    assert released(held(chunk))[0]["choices"][0]["logprobs"] == chunk["choices"][0]["logprobs"]


def test_halves_of_an_emoji_in_two_chunks_can_be_released() -> None:
    stream = held('{"choices":[{"delta":{"content":"a\\ud83d"}}]}', '{"choices":[{"delta":{"content":"\\ude00b"}}]}')
    completion, texts = judged(stream)
    crossed = "".join(deltas(released(stream)))
    assert completion["choices"][0]["message"]["content"] == crossed
    assert crossed in texts


def test_other_shapes_of_text_are_dropped() -> None:
    chunk = {"choices": [{"index": 0, "message": {"content": MARK}, "text": MARK, "delta": {}}], "output_text": MARK}
    assert MARK not in json.dumps(released(held(chunk)))


# ---------------------------------------------------------------------- faults and ends


@pytest.mark.parametrize(
    "data",
    [
        pytest.param("{broken MARK", id="F10-not-json"),
        pytest.param("MARK", id="F10-words"),
        pytest.param('{"type":"content_block_delta","delta":{"text":"MARK"}}', id="F10-anthropic"),
        pytest.param('{"type":"response.output_text.delta","delta":"MARK"}', id="F10-responses"),
        pytest.param('"[DONE]"', id="F09-quoted-done"),
        pytest.param("[DONE] ", id="F09-done-and-a-space"),
        pytest.param(" [DONE]", id="F09-space-and-done"),
        pytest.param('{"error":{"message":"MARK"}}', id="F11-error"),
        pytest.param('{"choices":[],"error":{"message":"MARK"}}', id="F11-error-with-choices"),
        pytest.param('{"choices":[{"delta":{"content":"a","content":"MARK"}}]}', id="F17-duplicate-key"),
        pytest.param('{"choices":{"0":{}}}', id="choices-is-an-object"),
        pytest.param('{"choices":null}', id="choices-is-null"),
        pytest.param("[]", id="list"),
        pytest.param("null", id="null"),
        pytest.param("", id="empty"),
        pytest.param('{"choices":[{"index":NaN}]}', id="nan"),
        pytest.param(json.dumps({"choices": [{}] * 1000}), id="too-many-choices"),
        pytest.param('{"choices":[{"delta":{"annotations":' + "[" * 90 + "]" * 90 + "}}]}", id="too-deep"),
    ],
)
def test_an_event_that_is_no_chunk_is_a_fault_that_names_no_content(data: str) -> None:
    with pytest.raises(StreamFault) as caught:
        held(data)
    assert "MARK" not in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [
        '{"choices":[null]}',
        '{"choices":[5,"x"]}',
        '{"choices":[{"index":null,"delta":null,"logprobs":null}]}',
        '{"choices":[{"index":"x","delta":"y","logprobs":"z","finish_reason":5}]}',
        '{"choices":[{"delta":{"tool_calls":[null,5,{"function":null,"index":null},{"function":5,"index":-1}]}}]}',
        '{"choices":[{"delta":{"function_call":{"name":null,"arguments":5},"role":"user","content":{"a":1}}}]}',
        '{"choices":[{"delta":{"content":[null,5,{"text":5}],"annotations":null}}],"usage":[]}',
        '{"choices":[],"error":null}',
    ],
)
def test_an_odd_chunk_is_cleaned_without_a_fault(data: str) -> None:
    stream = held(data, delta(0, "stop", content="a"))
    assert released(stream)[-1] == DONE
    assert API.as_stream(ASKED, judged(stream)[0]).endswith(b"data: [DONE]\n\n")


def test_more_than_the_limit_is_a_fault() -> None:
    with pytest.raises(StreamFault, match="max_body_bytes"):
        held(*[delta(content="x" * 50)] * 100, max_bytes=1000)


@pytest.mark.parametrize(
    ("stream", "whole"),
    [
        pytest.param(held(done=False), False, id="nothing"),
        pytest.param(held(delta(content="a"), done=False), False, id="G10-neither-reason-nor-done"),
        pytest.param(held(delta(content="a"), done=True), True, id="done"),
        pytest.param(held(delta(0, "stop"), done=False), True, id="reason-without-done"),
        pytest.param(held(delta(0, "stop"), delta(1, content="a"), done=False), False, id="one-choice-open"),
        pytest.param(held(delta(0, "stop"), delta(1, "length"), done=False), True, id="all-choices-closed"),
    ],
)
def test_a_stream_is_whole_when_it_came_to_its_own_end(stream: ChatStream, whole: bool) -> None:
    assert stream.is_whole is whole


def test_a_held_stream_shows_no_text() -> None:
    assert "secret" not in repr(held(delta(content="secret words")))


def test_loose_strings_are_kept_once_and_cannot_be_rewritten() -> None:
    stream = held(*[delta(content="a")] * 50)
    assert [leaf.text for leaf in stream.hold.unjudged_loose] == ["m"]
    assert all(leaf.kind is LeafKind.KEY for leaf in stream.hold.unjudged_loose)


# ---------------------------------------------------------------------- log-probabilities


def logprobs(*tokens: str) -> dict[str, Any]:
    return {"content": [{"token": t, "logprob": -1.0, "bytes": None, "top_logprobs": []} for t in tokens]}


def with_logprobs(text: str, *tokens: str) -> dict[str, Any]:
    chunk = delta(content=text)
    chunk["choices"][0]["logprobs"] = logprobs(*tokens)
    return chunk


def left_logprobs(stream: ChatStream, *gone: str) -> list[str]:
    """The tokens whose log-probabilities leave, after pieces that left before the end."""
    wire = b""
    channel = stream.hold.channels[0, "content"]
    for text in gone:
        wire += stream.text((0, "content"), text)
    completion, _ = judged(stream)
    events = parsed(wire + stream.ending(completion, {(0, "content"): channel.whole()[len("".join(gone)) :]}))
    assert all("logprobs" not in e["choices"][0] for e in events[: len(gone)])
    return [
        t["token"] for e in events if e != DONE for c in e["choices"] for t in c.get("logprobs", {}).get("content", ())
    ]


def test_log_probabilities_leave_at_the_end_if_they_spell_the_text() -> None:
    stream = held(with_logprobs("one ", "one", " "), with_logprobs("two", "two"), delta(0, "stop"))
    assert left_logprobs(stream, "one tw") == ["one", " ", "two"]
    assert left_logprobs(held(with_logprobs("one", "one"), delta(0, "stop")), "one") == ["one"]


def test_log_probabilities_of_changed_text_never_leave() -> None:
    stream = held(with_logprobs("my secret", "my", " ", "secret"), with_logprobs(" is", " is"), delta(0, "stop"))
    channel = stream.hold.channels[0, "content"]
    channel.release(9, [Edit(3, 9, "<SECRET_1>")])
    assert left_logprobs(stream, "my <SECRET_1>") == []


def test_alternatives_that_spell_a_mark_over_many_chunks_are_judged_whole() -> None:
    chunks = [with_logprobs("a", "a") for _ in MARK]
    for chunk, letter in zip(chunks, MARK, strict=True):
        [entry] = chunk["choices"][0]["logprobs"]["content"]
        entry["top_logprobs"] = [{"token": letter, "logprob": -2.0, "bytes": None}]
    _, texts = judged(held(*chunks, delta(0, "stop")))
    assert MARK in texts


def test_alternatives_that_spell_the_upstreams_key_take_all_log_probabilities_along() -> None:
    key = "sk-upstream-0000000000"
    chunk = with_logprobs("a", "a")
    chunk["choices"][0]["logprobs"]["content"][0]["top_logprobs"] = [{"token": key, "logprob": -2.0, "bytes": None}]
    stream = held(chunk, delta(0, "stop"), hidden=key)
    into = Collection(strict=False, hidden=key)
    API.read_answer(stream.answer(), into, ASKED)
    assert into.has_hidden  # upon which `proxy.relay` leaves them out


# ---------------------------------------------------------------------- what stands besides the texts


def test_what_all_chunks_repeat_is_of_the_first_one_which_the_first_verdict_covers() -> None:
    stream = held(
        {"choices": [{"index": 0, "delta": {"content": "a"}}]}, {**delta(content="b"), "model": MARK}, done=False
    )
    assert MARK not in stream.text((0, "content"), "a").decode()


def test_an_unknown_word_beside_the_text_is_read_by_every_rule() -> None:
    stream = held({**delta(content="a"), "service_tier": MARK}, done=False)
    [model, tier] = stream.hold.check().content.leaves[1:]
    assert (model.text, model.is_unknown) == ("m", False)
    assert (tier.text, tier.is_unknown) == (MARK, True)


# ---------------------------------------------------------------------- a completion as a stream


def test_a_completion_becomes_a_stream_of_the_same_text() -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    completion = {
        "id": "x", "created": 1, "model": "m", "usage": usage,
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "a", "refusal": None}, "finish_reason": "stop"},
            {"index": 1, "message": {"role": "assistant", "content": None, "tool_calls": [call]}, "finish_reason": "tool_calls"},
        ],
    }  # fmt: skip
    before = copy.deepcopy(completion)
    events = parsed(API.as_stream(ASKED, completion))
    assert completion == before
    assert events[-1] == DONE
    again = held(*events[:-1])
    assert again.usage == usage
    assembled = again.answer()
    assert [c["message"]["content"] for c in assembled["choices"]] == ["a", None]
    assert [c["finish_reason"] for c in assembled["choices"]] == ["stop", "tool_calls"]
    assert assembled["choices"][1]["message"]["tool_calls"] == [call]


def test_a_usage_chunk_is_sent_only_if_it_was_asked_for() -> None:
    completion = {"id": "x", "choices": [], "usage": {"total_tokens": 1}}
    assert parsed(API.as_stream(Asked("x", "m"), completion)) == [DONE]


def nearly_said(token: str, alternative: str) -> dict[str, Any]:
    entry = {"token": token, "logprob": -1.0, "top_logprobs": [{"token": alternative, "logprob": -2.0}]}
    choice = {"index": 0, "delta": {"content": token}, "logprobs": {"content": [entry]}}
    return {"model": "m", "choices": [choice]}


def test_alternatives_that_spell_something_over_two_windows_do_not_both_leave() -> None:
    stream = API.new_stream(ASKED, Hold(StreamMode.WINDOW, 10, 20), 1 << 20, None)
    wire = b""
    for alternative in ("ZQ-MA", "RK-7781", *["x"] * 6):
        stream.event(json.dumps(nearly_said("word and word ", alternative)))
        check = stream.hold.check()
        leaves = check.content.leaves
        if any(MARK in text for text in (*(leaf.text for leaf in leaves), *(j.text for j in joined_readings(leaves)))):
            return  # a rule has read it
        wire += b"".join(stream.text(key, text) for key, text in stream.hold.passed(check, {}))
    assert not (b"ZQ-MA" in wire and b"RK-7781" in wire)


def test_what_every_rule_reads_of_a_whole_answer_every_rule_reads_of_a_window() -> None:
    stream = API.new_stream(ASKED, Hold(StreamMode.WINDOW, 10, 20), 1 << 20, None)
    stream.event(json.dumps({**delta(content="word"), "service_tier": MARK}))
    assert [leaf.is_unknown for leaf in stream.hold.check().content.leaves if leaf.text == MARK] == [True]

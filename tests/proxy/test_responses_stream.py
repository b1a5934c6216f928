"""A streamed response, taken apart and put together again."""

from __future__ import annotations

import json
import random
from collections.abc import Hashable, Iterator
from typing import Any

import pytest

from proxy.api import Asked, StreamFault
from proxy.errors import bad_upstream
from proxy.hold import Hold, StreamMode
from proxy.responses import ResponsesApi
from proxy.responses_stream import ResponsesStream
from proxy.schema import HIDDEN, Collection, Misfit
from proxy.sse import EventDecoder
from rules.content import LeafKind
from tests.proxy.examples import marked, strings
from tests.proxy.responses_examples import EVENTS, HOSTED, RESPONSE, of_call, of_message, of_response

MARK = "ZQ-MARK-7781"
API = ResponsesApi()
ASKED = Asked(f"resp_{'f' * 8}", "asked", stream=True, request={"store": False})
ENCRYPTED = Asked(ASKED.answer_id, "asked", request={"store": False, "include": ["reasoning.encrypted_content"]})
CALL = {"type": "function_call", "id": "fc_up", "call_id": "c1", "name": "weather", "arguments": ""}


def held(
    *events: Any, asked: Asked = ASKED, max_bytes: int = 1 << 20, hidden: str | None = None, mode: str = "buffer"
) -> ResponsesStream:
    stream = API.new_stream(asked, Hold(StreamMode(mode), 400, 200), max_bytes, hidden)
    for event in events:
        if not stream.done:
            stream.event(event if isinstance(event, str) else json.dumps(event))
    return stream


def judged(stream: ResponsesStream) -> tuple[dict[str, Any], Collection]:
    """The response, cleaned as `proxy.relay` does it, and everything that is judged."""
    into = Collection(strict=False)
    answer = API.read_answer(stream.answer(), into, stream.asked)
    into.leaves += stream.hold.unjudged_loose
    return answer, into


def released(stream: ResponsesStream) -> list[dict[str, Any]]:
    """What the client would get of an answer that may pass."""
    answer, _ = judged(stream)
    rest: dict[Hashable, str] = {key: channel.whole() for key, channel in stream.hold.channels.items()}
    return parsed(stream.ending(answer, rest))


def parsed(wire: bytes) -> list[dict[str, Any]]:
    """The events, each checked to be named by its type."""
    blocks = wire.decode().split("\n\n")
    assert blocks.pop() == ""
    names = [block.partition("\n")[0] for block in blocks]
    events = [json.loads(data) for data in EventDecoder(1 << 22).feed(wire)]
    assert names == [f"event: {event['type']}" for event in events]
    return events


def types(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


def deltas(events: list[dict[str, Any]], name: str = "output_text") -> list[str]:
    return [event["delta"] for event in events if event["type"] == f"response.{name}.delta"]


# ---------------------------------------------------------------------- the one property


def around(index: int) -> Iterator[dict[str, Any]]:
    """The events that one event of `EVENTS` needs to be understood, with it among them."""
    event = EVENTS[index]
    yield EVENTS[0]
    for i, other in enumerate(EVENTS[1:-1], 1):
        same = "output_index" in event and other.get("output_index") == event["output_index"]
        if i == index or same:
            yield other
    yield from () if index == len(EVENTS) - 1 else of_response()[-1:]


@pytest.mark.parametrize("asked", [ASKED, ENCRYPTED], ids=["plain", "encrypted"])
def test_a_mark_anywhere_in_an_event_is_absent_or_judged(asked: Asked) -> None:
    met = {"absent": 0, "judged": 0, "fault": 0}
    for index, event in enumerate(EVENTS):
        others = [e for e in around(index) if e is not event]
        at = [e is event for e in around(index)].index(True) if index < len(EVENTS) - 1 else len(others)
        for path, what, body in marked(event, MARK):
            if what == "within":
                continue
            try:
                stream = held(*others[:at], body, *others[at:], asked=asked)
            except StreamFault:
                met["fault"] += 1
                continue
            answer, into = judged(stream)
            texts = [leaf.text for leaf in into.leaves]
            places = dict(stream.hold.channels)
            sent = b"".join(stream.text(key, channel.whole()) for key, channel in places.items())
            events = parsed(sent + stream.ending(answer, {}))
            for text in strings(events):
                if MARK in text:
                    assert any(text in t for t in texts) or "A" * 300 in text, (event["type"], path, what)
                    met["judged"] += 1
            met["absent"] += not any(MARK in text for text in strings(events))
    assert min(met.values()) > 100


def test_a_mark_spelled_over_many_events_is_judged_whole_in_every_channel() -> None:
    def where(piece: str, event: str, **more: Any) -> dict[str, Any]:
        return {"type": f"response.{event}.delta", "output_index": 0, "delta": piece, **more}

    channels: dict[str, Any] = {
        "output_text": {"content_index": 2},
        "refusal": {"content_index": 0},
        "reasoning_text": {"content_index": 1},
        "reasoning_summary_text": {"summary_index": 1},
        "function_call_arguments": {},
        "custom_tool_call_input": {},
    }
    for name, more in channels.items():
        stream = held(*(where(c, name, **more) for c in MARK), *of_response())
        assert any(MARK in leaf.text for leaf in judged(stream)[1].leaves), name
        assert MARK in {s for event in released(stream) for s in strings(event)}, name


def test_texts_side_by_side_are_kept_apart() -> None:
    def delta(index: int, part: int, piece: str) -> dict[str, Any]:
        return {"type": "response.output_text.delta", "output_index": index, "content_index": part, "delta": piece}

    stream = held(
        *(of_response()[:2]), delta(3, 1, "x"), delta(0, 0, "a"), delta(3, 0, "p"), delta(3, 1, "y"), delta(0, 0, "b"),
        of_response()[-1],
    )  # fmt: skip
    answer, _ = judged(stream)
    said = [[part["text"] for part in item["content"]] for item in answer["output"]]
    assert said == [["xy", "p"], ["ab"]]  # numbered by us, in the order in which they were heard of


def test_calls_side_by_side_are_kept_apart_and_leave_whole() -> None:
    calls = [{**CALL, "id": f"fc{i}", "call_id": f"c{i}"} for i in range(2)]
    first, second = (
        of_call(i, call, "function_call_arguments", "arguments", ['{"a":', ' "ZQ-M', '\\u0041RK-7781"}'])
        for i, call in enumerate(calls)
    )
    mixed = [event for pair in zip(first, second, strict=True) for event in pair]
    stream = held(*of_response(mixed))
    answer, into = judged(stream)
    assert MARK in {leaf.text for leaf in into.leaves}
    assert [(c["call_id"], c["arguments"]) for c in answer["output"]] == [
        (f"c{i}", '{"a": "ZQ-M\\u0041RK-7781"}') for i in range(2)
    ]
    assert len(deltas(released(stream), "function_call_arguments")) == 2


# ---------------------------------------------------------------------- what is released


def test_what_leaves_is_numbered_and_named_by_us() -> None:
    events = released(held(*of_response(of_message(0, "Hello there.", ["Hello", " there."]))))
    assert types(events) == [
        "created", "in_progress", "output_item.added", "content_part.added", "output_text.delta", "output_text.done",
        "content_part.done", "output_item.done", "completed",
    ]  # fmt: skip
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert deltas(events) == ["Hello there."]
    item = {"type": "message", "id": "msg_ffffffff0000", "role": "assistant"}
    assert events[2]["item"] == {**item, "status": "in_progress", "content": []}
    part = {"type": "output_text", "text": "Hello there.", "annotations": [], "logprobs": []}
    assert events[-2]["item"] == {**item, "status": "completed", "content": [part]}
    whole = events[-1]["response"]
    assert (whole["id"], whole["status"], whole["model"]) == ("resp_ffffffff", "completed", "gpt-4o-2024")
    assert whole["output"] == [events[-2]["item"]]
    assert whole["usage"]["total_tokens"] == 3
    assert not {s for event in events for s in strings(event)} & {"resp_up", "msg_up"}


def test_every_event_of_the_example_is_answered() -> None:
    stream = held(*EVENTS, asked=ENCRYPTED)
    assert stream.is_whole
    events = released(stream)
    items = events[-1]["response"]["output"]
    assert [item["type"] for item in items] == [
        "reasoning", "message", "function_call", "custom_tool_call", *(item["type"] for item in HOSTED), "message", "message",
    ]  # fmt: skip
    assert items[0]["encrypted_content"] == "e"
    assert items[1]["content"][0]["annotations"] == RESPONSE["output"][1]["content"][0]["annotations"]
    assert [entry["token"] for entry in items[1]["content"][0]["logprobs"]] == ["Hello", " there"]
    assert [items[i]["content"][0]["text"] for i in (-2, -1)] == ["late", "last"]
    opened = [event["output_index"] for event in events if event["type"] == "response.output_item.added"]
    closed = {e["output_index"]: e["item"] for e in events if e["type"] == "response.output_item.done"}
    assert opened == list(range(len(items)))
    assert [closed[i] for i in opened] == items


def test_items_and_parts_are_opened_in_their_order_however_their_texts_leave() -> None:
    late = of_message(1, "b")
    call = of_call(0, CALL, "function_call_arguments", "arguments", ["{}"])
    second = [{**e, "content_index": 1} for e in late[1:5]]
    stream = held(*of_response(call[:1], late[:5], second, call[1:], late[5:]), mode="window")
    events = parsed(stream.text((1, "content", 1), "b"))
    assert types(events) == [
        "created", "in_progress", "output_item.added", "output_item.added", "content_part.added", "content_part.added",
        "output_text.delta",
    ]  # fmt: skip
    # a call is opened with what is judged by then, without its arguments
    opened = {"type": "function_call", "id": "fc_ffffffff0000", "call_id": "c1", "name": "weather", "arguments": ""}
    assert events[2]["item"] == {**opened, "status": "in_progress"}
    loose = {leaf.text for leaf in stream.hold.unjudged_loose}
    assert {"c1", "weather"} <= loose
    assert all(leaf.kind is LeafKind.KEY for leaf in stream.hold.unjudged_loose)
    answer, _ = judged(stream)
    rest = parsed(stream.ending(answer, {(1, "content", 0): "b"}))
    assert rest[0]["sequence_number"] == len(events)
    assert "output_item.added" not in types(rest)


def test_what_is_said_late_about_the_response_does_not_leave_with_text_that_was_judged_before() -> None:
    stream = held({"type": "response.output_text.delta", "output_index": 0, "delta": "a"}, mode="window")
    check = stream.hold.check()
    late = {"model": MARK, "service_tier": MARK, "output": []}
    for kind in ("created", "in_progress", "completed"):
        stream.event(json.dumps({"type": f"response.{kind}", "response": late}))
    stream.hold.passed(check, {})
    assert MARK not in repr(parsed(stream.text((0, "content", 0), "a")))
    assert MARK in {leaf.text for leaf in judged(stream)[1].leaves}


@pytest.mark.parametrize("end", ["completed", "incomplete"])
def test_the_end_says_how_the_response_ended(end: str) -> None:
    more = {"incomplete_details": {"reason": "max_output_tokens"}} if end == "incomplete" else {}
    events = released(held(*of_response(of_message(0, "a"), end=end, **more)))
    assert events[-1]["type"] == f"response.{end}"
    assert events[-1]["response"]["status"] == end
    assert events[-1]["response"]["incomplete_details"] == more.get("incomplete_details")


def test_the_upstreams_key_is_masked_however_it_is_cut() -> None:
    key = "sk-upstream-0000000000"
    for n in range(1, len(key)):
        events = of_response(of_message(0, "", [f"It is {key[:n]}", f"{key[n:]}."])[:4])
        stream = held(*events, hidden=key)
        assert judged(stream)[0]["output"][0]["content"][0]["text"] == f"It is {HIDDEN}."
        assert key not in repr(released(stream))


def test_text_that_was_changed_has_no_log_probabilities() -> None:
    stream = held(*EVENTS)
    answer, _ = judged(stream)
    part = answer["output"][1]["content"][0]
    assert part["logprobs"]
    API.without_details(answer)
    assert "Hello" not in repr([e["logprobs"] for e in parsed(stream.ending(answer, {})) if "logprobs" in e])


# ---------------------------------------------------------------------- refused midway


def test_a_stream_cut_midway_goes_on_with_the_refusal_and_closes_what_is_open() -> None:
    thought = {"type": "response.reasoning_summary_text.delta", "output_index": 0, "summary_index": 0, "delta": "t"}
    stream = held(*of_response([thought], of_message(1, "so far"))[:-2], mode="window")
    wire = stream.text((0, "summary", 0), "t") + stream.text((1, "content", 0), "so ") + stream.refusal("No.")
    events = parsed(wire)
    assert deltas(events) == ["so ", "No."]
    assert types(events)[-7:] == [
        "reasoning_summary_text.done", "reasoning_summary_part.done", "output_item.done",
        "output_text.done", "content_part.done", "output_item.done", "incomplete",
    ]  # fmt: skip
    last = events[-1]["response"]
    assert last["status"] == "incomplete"
    assert last["incomplete_details"] == {"reason": "content_filter"}
    assert [item["status"] for item in last["output"]] == ["incomplete", "incomplete"]
    assert last["output"][1]["content"][0]["text"] == "so No."
    assert last["output"][0]["summary"][0]["text"] == "t"
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert "far" not in wire.decode()


def test_the_refusal_gets_a_message_of_its_own_where_none_is_open() -> None:
    thought = {"type": "response.reasoning_text.delta", "output_index": 0, "content_index": 0, "delta": "t"}
    refusal = {"type": "response.refusal.delta", "output_index": 1, "content_index": 0, "delta": "r"}
    for places in ([], [(0, "content", 0)], [(0, "content", 0), (1, "content", 0)]):
        stream = held(thought, refusal, mode="window")
        events = parsed(b"".join(stream.text(place, "x") for place in places) + stream.refusal("No."))
        assert deltas(events) == ["No."]
        kinds = [item["type"] for item in events[-1]["response"]["output"]]
        assert kinds == [*["reasoning", "message"][: len(places)], "message"]
        assert events[-1]["response"]["output"][-1]["content"][0]["text"] == "No."


def test_a_call_that_was_opened_is_not_answered_with_when_the_stream_is_refused() -> None:
    call = of_call(0, CALL, "function_call_arguments", "arguments", ["{}"])
    stream = held(*of_response(call, of_message(1, "a")), mode="window")
    events = parsed(stream.text((1, "content", 0), "a") + stream.refusal("No."))
    assert [item["type"] for item in events[-1]["response"]["output"]] == ["message"]
    assert [e["output_index"] for e in events if e["type"] == "response.output_item.done"] == [1]
    assert deltas(events, "function_call_arguments") == []


def test_a_refused_stream_says_what_it_has_cost() -> None:
    assert parsed(held(*of_response()).refusal("No."))[-1]["response"]["usage"]["total_tokens"] == 3
    assert parsed(held().refusal("No."))[-1]["response"]["usage"]["total_tokens"] == 0


def test_a_fault_is_told_in_both_shapes_and_numbered() -> None:
    body = bad_upstream().body()
    for stream, number in ((held(), 0), (held(*of_response(of_message(0, "a"))[:-1]), 5)):
        sent = stream.text((0, "content", 0), "a") if number else b""
        event = parsed(sent + stream.error_stream(body))[-1]
        error = body["error"]
        assert event == {
            "type": "error", "sequence_number": number, "code": error["code"], "message": error["message"], "param": None,
            "error": error,
        }  # fmt: skip
    assert parsed(API.error_stream(body)) == parsed(held().error_stream(body))


# ---------------------------------------------------------------------- what cannot be read


@pytest.mark.parametrize(
    "data",
    [
        pytest.param("not json", id="no-json"),
        pytest.param("[]", id="list"),
        pytest.param('"x"', id="string"),
        pytest.param("{}", id="no-type"),
        pytest.param('{"type":5}', id="type-is-a-number"),
        pytest.param('{"choices":[{"delta":{"content":"ZQ-MARK-7781"}}]}', id="chat"),
        pytest.param('{"type":"content_block_delta","delta":{"text":"ZQ-MARK-7781"}}', id="another-api"),
        pytest.param('{"type":"error","message":"ZQ-MARK-7781"}', id="error"),
        pytest.param('{"type":"response.in_progress","error":{"message":"ZQ-MARK-7781"}}', id="error-beside"),
        pytest.param('{"type":"response.failed","response":{"error":{"message":"ZQ-MARK-7781"}}}', id="failed"),
        pytest.param('{"type":"response.completed"}', id="no-response"),
        pytest.param('{"type":"response.output_item.added","output_index":0}', id="no-item"),
        pytest.param('{"type":"response.output_item.added","output_index":0,"item":{}}', id="item-without-type"),
        pytest.param('{"type":"response.output_text.delta","output_index":-1,"delta":"x"}', id="negative"),
        pytest.param('{"type":"response.output_text.delta","output_index":5000,"delta":"x"}', id="far"),
        pytest.param('{"type":"response.output_text.delta","output_index":true,"delta":"x"}', id="bool"),
        pytest.param('{"type":"response.output_text.delta","content_index":"0","delta":"x"}', id="part-index"),
        pytest.param('{"type":"response.completed","response":{"output":[5]}}', id="odd-output"),
    ],
)  # fmt: skip
def test_an_event_that_cannot_be_read_is_a_fault_that_names_no_content(data: str) -> None:
    with pytest.raises(StreamFault) as caught:
        held(data)
    assert "MARK" not in str(caught.value)


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ({"type": "message"}, {"type": "response.function_call_arguments.delta", "delta": "x"}),
        ({"type": "function_call"}, {"type": "response.output_text.delta", "delta": "x"}),
        ({"type": "reasoning"}, {"type": "response.output_text.delta", "delta": "x"}),
        ({"type": "message"}, {"type": "response.output_item.done", "item": {"type": "reasoning"}}),
    ],
)
def test_an_item_does_not_change_what_it_is(first: Any, then: Any) -> None:
    with pytest.raises(StreamFault):
        held({"type": "response.output_item.added", "output_index": 0, "item": first}, {**then, "output_index": 0})


@pytest.mark.parametrize(
    "event",
    [
        {"type": "keepalive"},
        {"type": "response.web_search_call.searching", "output_index": 5},
        {"type": "response.something.new", "delta": MARK, "output_index": "x"},
        {"type": "response.output_text.delta"},
        {"type": "response.output_text.delta", "delta": 5, "logprobs": "x"},
        {"type": "response.output_text.delta", "delta": None, "output_index": None, "content_index": None},
        {"type": "response.content_part.added", "part": None},
        {"type": "response.content_part.done", "part": {"type": "mystery", "text": MARK}},
        {"type": "response.content_part.done", "part": {"type": "output_text", "text": 5, "annotations": 5, "logprobs": 5}},
        {"type": "response.output_text.done", "text": None},
        {"type": "response.output_text.annotation.added", "annotation": None},
        {"type": "response.output_item.added", "item": {"type": "message", "content": 5, "id": 5, "phase": [], "status": {}}},
        {"type": "response.output_item.done", "item": {"type": "message", "content": [None, 5, {}, {"type": 5}]}},
        {"type": "response.output_item.done", "item": {"type": "reasoning", "summary": {}, "encrypted_content": 5}},
        {"type": "response.output_item.done", "item": {"type": "function_call", "arguments": 5, "call_id": None}},
        {"type": "response.output_item.done", "item": {"type": "web_search_call", "action": None, "id": None}},
        {"type": "response.created", "response": {"model": 5, "created_at": "x", "usage": []}},
    ],
)  # fmt: skip
def test_an_odd_event_is_cleaned_without_a_fault(event: dict[str, Any]) -> None:
    stream = held(event, *of_response())
    events = released(stream)
    assert events[-1]["type"] == "response.completed"
    assert MARK not in repr(events)
    assert parsed(API.as_stream(ASKED, judged(stream)[0]))[-1]["type"] == "response.completed"


@pytest.mark.parametrize(
    "event",
    [
        pytest.param({"type": "response.output_text.delta", "delta": "x" * 50}, id="text"),
        pytest.param({"type": "response.output_text.annotation.added", "annotation": {"title": "x" * 50}}, id="annotations"),
        pytest.param({"type": "response.output_text.delta", "delta": "", "logprobs": [{"token": "x" * 50}]}, id="logprobs"),
        pytest.param({"type": "response.function_call_arguments.delta", "delta": "x" * 50}, id="arguments"),
        pytest.param({"type": "response.output_item.done", "item": {"type": "web_search_call", "x": "x" * 50}}, id="items"),
    ],
)  # fmt: skip
def test_more_than_the_limit_is_a_fault(event: Any) -> None:
    with pytest.raises(StreamFault, match="max_body_bytes"):
        held(*[event] * 100, max_bytes=2000)


def test_empty_items_and_parts_are_counted_too() -> None:
    def added(i: int, kind: str) -> dict[str, Any]:
        return {"type": "response.output_item.added", "output_index": i, "item": {"type": kind}}

    for kind in ("message", "mystery"):
        with pytest.raises(StreamFault, match="max_body_bytes"):
            held(*(added(i, kind) for i in range(100)), max_bytes=10_000)
    with pytest.raises(StreamFault, match="max_body_bytes"):
        held(*({"type": "response.output_text.delta", "content_index": i} for i in range(100)), max_bytes=10_000)


@pytest.mark.parametrize(
    ("events", "whole"),
    [
        pytest.param([], False, id="nothing"),
        pytest.param(of_response(of_message(0, "a"))[:-1], False, id="no-end"),
        pytest.param([*of_response(of_message(0, "a"))[:-1], "[DONE]"], False, id="done-is-no-end"),
        pytest.param(of_response(of_message(0, "a")), True, id="completed"),
        pytest.param(of_response(of_message(0, "a"), end="incomplete"), True, id="incomplete"),
    ],
)
def test_a_stream_is_whole_when_it_came_to_its_own_end(events: list[Any], whole: bool) -> None:
    assert held(*events).is_whole is whole


def test_a_held_stream_shows_no_text() -> None:
    asked = Asked("resp_x", "m", request={"instructions": "secret words"})
    assert "secret" not in repr(held(*of_response(of_message(0, "secret words")), asked=asked))


# ---------------------------------------------------------------------- a response as a stream


def test_a_response_becomes_a_stream_of_the_same_response() -> None:
    into = Collection(strict=False)
    answer = API.read_answer(json.loads(json.dumps(RESPONSE)), into, ASKED)
    before = json.dumps(answer)
    events = parsed(API.as_stream(ASKED, answer))
    assert json.dumps(answer) == before
    assert events[-1]["response"] == answer
    again = held(*events)
    assert again.is_whole
    assert judged(again)[0] == answer


def test_a_failed_response_becomes_a_failed_stream() -> None:
    body = {"status": "failed", "error": {"code": "server_error", "message": "m"}, "output": []}
    answer = API.read_answer(body, Collection(strict=False), ASKED)
    assert parsed(API.as_stream(ASKED, answer))[-1]["type"] == "response.failed"


# ---------------------------------------------------------------------- streams that make no sense

ODD: list[Any] = [None, 5, -1, True, "", [], {}, [None], {"type": 5}, MARK, {"type": "output_text", "text": MARK}, "reasoning", "\x00"]  # fmt: skip


def garbled(seed: int) -> list[dict[str, Any]]:
    """Some events of the example, out of order, with odd values in odd places, and an end."""
    chance = random.Random(seed)
    events: list[Any] = json.loads(json.dumps(chance.sample(EVENTS[:-1], chance.randint(1, 25))))
    for _ in range(chance.randint(0, 4)):
        at: Any = chance.choice(events)
        while True:
            keys = [k for k in at if k != "type"] if isinstance(at, dict) else range(len(at))
            if not keys:
                break
            key: Any = chance.choice(list(keys))
            if not isinstance(at[key], (dict, list)) or chance.random() < 0.5:
                at[key] = chance.choice(ODD)
                break
            at = at[key]
    return [*events, chance.choice((EVENTS[-1], of_response()[-1]))]


def test_a_garbled_stream_is_a_fault_or_a_whole_one_and_judged() -> None:
    n_whole = 0
    for seed in range(300):
        stream = held(mode="window")
        stream.hold.window_chars, stream.hold.overlap_chars = 5, 2
        wire, texts = b"", set()
        try:
            for i, event in enumerate(garbled(seed)):
                stream.event(json.dumps(event))
                if (seed + i) % 2 and stream.hold.channels:
                    check = stream.hold.check()
                    texts |= {leaf.text for leaf in check.content.leaves}
                    wire += b"".join(stream.text(key, text) for key, text in stream.hold.passed(check, {}))
            answer, into = judged(stream)
        except (StreamFault, Misfit):
            continue
        texts |= {leaf.text for leaf in into.leaves}
        rest: dict[Hashable, str] = {}
        for path, key in stream.channel_paths().items():
            text: Any = answer
            for step in path:
                text = text[step]
            rest[key] = text[stream.hold.channels[key].sent :]
        events = parsed(wire + stream.ending(answer, rest))
        n_whole += 1
        assert [event["sequence_number"] for event in events] == list(range(len(events)))
        opened = [event["output_index"] for event in events if event["type"] == "response.output_item.added"]
        assert opened == list(range(len(events[-1]["response"]["output"])))
        for text in strings(events):
            assert MARK not in text or any(text in judged_text for judged_text in texts), seed
    assert n_whole > 100

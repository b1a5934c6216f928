"""Text completions: what may cross, and their streams."""

from __future__ import annotations

import json
from collections.abc import Hashable
from typing import Any

import pytest

from proxy.api import Asked, StreamFault
from proxy.chat_api import REINTERPRETS
from proxy.completion_stream import CompletionStream
from proxy.completions import CompletionsApi
from proxy.hold import Hold, StreamMode
from proxy.schema import HIDDEN, Collection, Misfit
from proxy.sse import DONE, EventDecoder
from rules.content import LeafKind, Surface, show_path
from rules.detectors import Edit
from tests.proxy.endpoint_examples import COMPLETION_REQUEST, COMPLETION_RESPONSE
from tests.proxy.examples import marked, strings

MARK = "ZQ-MARK-7781"
API = CompletionsApi()
ASKED = Asked("cmpl-ours", "asked", n=2, include_usage=True)


def clean(body: dict[str, Any], *, screen: bool = True) -> tuple[dict[str, Any], Collection]:
    into = Collection(strict=True, screen_unknown=screen)
    return API.read_request(body, into), into


def request(prompt: Any = "Hi", **fields: Any) -> dict[str, Any]:
    return {"model": "m", "prompt": prompt, **fields}


def refused(body: dict[str, Any]) -> tuple[str, str]:
    with pytest.raises(Misfit) as caught:
        clean(body)
    return show_path(caught.value.path), caught.value.code


# ---------------------------------------------------------------------- requests


@pytest.mark.parametrize("screen", [True, False])
def test_a_mark_anywhere_in_a_request_is_refused_or_absent_or_judged(screen: bool) -> None:
    met = {"refused": 0, "judged": 0}
    for path, what, body in marked(COMPLETION_REQUEST, MARK):
        try:
            out, into = clean(body, screen=screen)
        except Misfit:
            met["refused"] += 1
            continue
        crossing = {s for s in strings(out) if MARK in s}
        assert crossing <= {leaf.text for leaf in into.leaves}, (show_path(path), what)
        met["judged"] += bool(crossing)
    assert met["judged"] > 10 or not screen
    assert met["refused"]


@pytest.mark.parametrize(
    ("prompt", "where"),
    [
        ([1, 2], "prompt"), ([[1, 2], [3]], "prompt"), (["a", 1], "prompt"), (["a", [1]], "prompt"), ([True], "prompt"),
        (5, "prompt"), ({"prompt_string": "a"}, "prompt"), (["a", None], "prompt[1]"), ([{"a": "b"}], "prompt[0]"), ([], "prompt"),
        (None, "prompt"),
    ],
)  # fmt: skip
def test_a_prompt_that_is_not_text_is_refused(prompt: Any, where: str) -> None:
    assert refused(request(prompt))[0] == where


def test_token_ids_are_refused_with_the_reason() -> None:
    with pytest.raises(Misfit, match="token ids cannot be judged"):
        clean(request([1, 2]))
    assert refused(request([1, 2])) == ("prompt", "token_ids")


@pytest.mark.parametrize("name", sorted({*REINTERPRETS, "messages", "moderation"} - {"prompt", "echo"}))
def test_a_field_that_changes_what_is_judged_is_refused(name: str) -> None:
    assert refused(request(**{name: "x"})) == (name, "unsupported_field")


def test_prompt_and_suffix_are_what_the_user_says() -> None:
    _, into = clean(request(["one", "two"], suffix="three"))
    assert [leaf.text for leaf in into.leaves if leaf.surface is Surface.USER] == ["one", "two", "three"]


def test_as_many_choices_are_expected_as_n_and_prompts_make() -> None:
    assert API.asked(request(["a", "b", "c"], n=2), "id").n == 6
    assert API.asked(request("a"), "id").n == 1
    assert refused(request(["a"] * 100, n=100))[0] == "n"


# ---------------------------------------------------------------------- answers


def read(raw: Any, hidden: str | None = None) -> tuple[dict[str, Any], Collection]:
    into = Collection(strict=False, hidden=hidden)
    return API.read_answer(raw, into, ASKED), into


def test_a_mark_anywhere_in_an_answer_is_absent_or_judged() -> None:
    met = {"absent": 0, "judged": 0}
    for path, what, body in marked(COMPLETION_RESPONSE, MARK):
        try:
            out, into = read(body)
        except Misfit:
            met["absent"] += 1
            continue
        crossing = [s for s in strings(out) if MARK in s]
        judged = "\n".join(leaf.text for leaf in into.leaves)
        assert all(s in judged for s in crossing), (show_path(path), what)
        met["judged" if crossing else "absent"] += 1
    assert min(met.values()) > 3


def test_log_probabilities_cross_only_with_the_text_that_they_spell() -> None:
    out, into = read(COMPLETION_RESPONSE)
    assert out["choices"][0]["logprobs"] == {
        k: v for k, v in COMPLETION_RESPONSE["choices"][0]["logprobs"].items() if k != "note"
    }
    assert " there you" in [leaf.text for leaf in into.leaves]  # the alternatives, joined
    other = json.loads(json.dumps(COMPLETION_RESPONSE))
    other["choices"][0]["text"] = "Hello others"
    assert [c["logprobs"] for c in read(other)[0]["choices"]] == [None, None]


@pytest.mark.parametrize("logprobs", [[], "x", {"tokens": ["Hello there", 1]}, {"tokens": "Hello there"}, {}])
def test_log_probabilities_of_another_shape_are_dropped(logprobs: Any) -> None:
    raw = {"choices": [{"index": 0, "text": "Hello there", "logprobs": logprobs}]}
    assert read(raw)[0]["choices"][0].get("logprobs") is None


@pytest.mark.parametrize(
    "raw", [{}, {"choices": []}, {"choices": [{"index": 0}]}, {"choices": [{"text": None}]}, {"choices": [{"text": 5}]}, [], "x"]
)  # fmt: skip
def test_what_is_no_completion_cannot_be_read(raw: Any) -> None:
    with pytest.raises(Misfit):
        read(raw)


# ---------------------------------------------------------------------- streams


def chunk(text: Any = "", index: int = 0, finish: str | None = None, **more: Any) -> dict[str, Any]:
    return {
        "id": "up",
        "created": 5,
        "model": "m",
        "choices": [{"index": index, "text": text, "finish_reason": finish, **more}],
    }


def held(*chunks: Any, mode: StreamMode = StreamMode.BUFFER, hidden: str | None = None) -> CompletionStream:
    stream = API.new_stream(ASKED, Hold(mode, 8, 4), 1 << 20, hidden)
    for one in chunks:
        stream.event(one if isinstance(one, str) else json.dumps(one))
    return stream


def parsed(wire: bytes) -> list[Any]:
    return [e if e == DONE else json.loads(e) for e in EventDecoder(1 << 20).feed(wire)]


def released(stream: CompletionStream) -> list[Any]:
    completion, _ = read(stream.answer())
    rest: dict[Hashable, str] = {key: c.whole()[c.sent :] for key, c in stream.hold.channels.items()}
    return parsed(stream.ending(completion, rest))


def test_a_mark_anywhere_in_a_chunk_is_absent_or_judged() -> None:
    met = {"absent": 0, "judged": 0}
    for path, what, one in marked(COMPLETION_RESPONSE, MARK):
        try:
            stream = held(one, DONE)
        except StreamFault:
            met["absent"] += 1
            continue
        completion, into = read(stream.answer())
        texts = {leaf.text for leaf in (*into.leaves, *stream.hold.unjudged_loose)}
        rest: dict[Hashable, str] = {key: c.whole() for key, c in stream.hold.channels.items()}
        for text in strings(parsed(stream.ending(completion, rest))):
            assert MARK not in text or any(text in t for t in texts), (path, what)
            met["judged"] += MARK in text
        met["absent"] += 1
    assert min(met.values()) > 3


def test_a_stream_is_put_together_and_sent_on() -> None:
    stream = held(
        chunk("Hel"), chunk("Bye", 1), chunk("lo"), chunk("", 1, "length"), chunk("", 0, "stop"),
        {"choices": [], "usage": {"prompt_tokens": 1}}, DONE,
    )  # fmt: skip
    assert stream.is_whole
    *events, last, done = released(stream)
    assert [(c["index"], c["text"], c["finish_reason"]) for e in events for c in e["choices"]] == [
        (0, "Hello", "stop"),
        (1, "Bye", "length"),
    ]
    assert {(e["id"], e["object"], e["model"], e["created"]) for e in events} == {
        ("cmpl-ours", "text_completion", "m", 5)
    }
    assert (last["choices"], last["usage"], done) == ([], {"prompt_tokens": 1}, DONE)


def test_a_refusal_closes_every_choice_that_was_asked_for() -> None:
    *events, usage, done = parsed(held(chunk("Hello", 3)).refusal("No."))
    assert [(c["index"], c["text"], c["finish_reason"]) for e in events for c in e["choices"]] == [
        *((i, "No.", None) for i in (0, 1, 3)),
        *((i, "", "content_filter") for i in (0, 1, 3)),
    ]
    assert usage["usage"]["total_tokens"] == 0
    assert done == DONE


def test_log_probabilities_leave_at_the_end_if_they_spell_the_text() -> None:
    def tokens(*words: str) -> dict[str, Any]:
        return {"logprobs": {"tokens": list(words), "token_logprobs": [-1.0] * len(words), "top_logprobs": None}}

    stream = held(chunk("one two", **tokens("one", " two")), chunk(" three", 0, "stop", **tokens(" three")), DONE)
    channel = stream.hold.channels[0, "text"]
    [first] = parsed(stream.text((0, "text"), channel.release(5)))
    assert first["choices"][0]["logprobs"] is None
    [second, *_] = released(stream)
    assert second["choices"][0]["text"] == "wo three"
    assert second["choices"][0]["logprobs"] == {
        "tokens": ["one", " two", " three"], "token_logprobs": [-1.0] * 3, "text_offset": None, "top_logprobs": None,
    }  # fmt: skip


def test_log_probabilities_of_changed_text_never_leave() -> None:
    stream = held(chunk("one two", 0, "stop", logprobs={"tokens": ["one", " two"]}), DONE)
    stream.hold.channels[0, "text"].release(3, [Edit(0, 3, "<X_1>")])
    [last, *_] = released(stream)
    assert last["choices"][0]["logprobs"] is None


def test_alternatives_that_arrive_while_a_window_is_judged_do_not_leave_with_it() -> None:
    stream = held(chunk("one"))
    stream.event(json.dumps(chunk("", logprobs={"tokens": ["one"], "top_logprobs": [{MARK: -1.0}]})))
    assert MARK.encode() not in stream.text((0, "text"), "one")


def test_the_upstreams_key_is_masked_although_it_comes_in_pieces() -> None:
    key = "sk-0123456789abcdef"
    stream = held(chunk(key[:7]), chunk(key[7:] + " is it", 0, "stop"), DONE, hidden=key)
    assert released(stream)[0]["choices"][0]["text"] == f"{HIDDEN} is it"


@pytest.mark.parametrize(
    "bad", ["{", "[]", '{"choices": 1}', '{"error": {"message": "x"}}', '{"choices": [{"index": true}]}x']
)
def test_what_is_no_chunk_ends_the_stream(bad: str) -> None:
    with pytest.raises(StreamFault):
        held(bad)


def test_keys_and_metadata_of_the_answer_are_no_texts_that_a_rewrite_could_hit_elsewhere() -> None:
    out, into = read(COMPLETION_RESPONSE)
    for leaf in into.leaves:
        if leaf.kind is LeafKind.TEXT and "logprobs" not in leaf.path:
            place: Any = out
            for step in leaf.path:
                place = place[step]
            assert place == leaf.text

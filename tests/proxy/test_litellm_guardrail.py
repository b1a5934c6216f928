"""LiteLLM's guardrail protocol: what is judged of its requests, and what is answered."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from models.errors import EngineUnavailable
from proxy import litellm_guardrail as mount
from proxy.errors import HttpError
from proxy.exchange import Exchange
from proxy.records import Metrics
from proxy.schema import Misfit
from rules.content import LeafKind, Surface
from rules.rule import OnError, Rule, Stage
from rules.screen import Screener
from tests.fakes import FakeEngine, text_rule, word_rule
from tests.proxy.endpoint_examples import LITELLM_FACTS, LITELLM_REQUEST
from tests.proxy.examples import marked

MARK = "ZQ-MARK-7781"
CONTENT = ("texts", "images", "structured_messages", "tools", "tool_calls")


async def ask(raw: dict[str, Any], *rules: Rule, opaque: OnError = OnError.FORWARD, **script: Any) -> dict[str, Any]:
    stage = mount.stage_of(raw)
    screener = Screener(stage, rules, {"guard": FakeEngine(script)}, opaque)
    return await mount.apply(Exchange("", Metrics()), screener, raw, mount.read(raw, stage))


def request(*texts: str, **more: Any) -> dict[str, Any]:
    return {"input_type": "request", "texts": list(texts), **more}


def surfaces(raw: dict[str, Any], text: str) -> set[Surface]:
    return {leaf.surface for leaf in mount.read(raw, mount.stage_of(raw)).leaves if leaf.text == text}


@pytest.mark.parametrize("stage", [Stage.INPUT, Stage.OUTPUT])
def test_a_mark_anywhere_in_the_content_is_judged_or_blocked(stage: Stage) -> None:
    example = {name: LITELLM_REQUEST[name] for name in CONTENT}
    n_judged = 0
    for path, what, raw in marked(example, MARK):
        try:
            content = mount.read(raw, stage)
        except Misfit:
            continue
        assert any(MARK in leaf.text for leaf in content.leaves), (path, what)
        n_judged += 1
    assert n_judged > 50


@pytest.mark.parametrize("name", [*LITELLM_FACTS, "litellm_call_id", "litellm_trace_id", "litellm_version"])
def test_facts_about_the_call_are_no_content(name: str) -> None:
    content = mount.read({**LITELLM_REQUEST, name: {"a": MARK}}, Stage.INPUT)
    assert not [leaf for leaf in content.leaves if MARK in leaf.text]


@pytest.mark.parametrize("role", ["user", "of another API"])
def test_the_strings_of_all_messages_count_towards_one_limit(role: str) -> None:
    message = {"role": role, "content": "hi", "unheard_of": {f"k{i}": 1 for i in range(5000)}}
    with pytest.raises(Misfit) as caught:
        mount.read(request(structured_messages=[message] * 11), Stage.INPUT)
    assert caught.value.code == "too_many_strings"


def test_a_message_that_does_not_fit_is_read_once() -> None:
    message = {"role": "user", "name": "bob", "content": [{"type": "text", "text": "hi"}, {"type": "of another API"}]}
    content = mount.read(request(structured_messages=[message]), Stage.INPUT)
    assert [leaf.text for leaf in content.leaves].count("bob") == 1


def test_texts_have_the_surface_of_their_message() -> None:
    assert surfaces(LITELLM_REQUEST, "Be brief.") == {Surface.SYSTEM}
    assert surfaces(LITELLM_REQUEST, "Hello") == {Surface.USER}
    assert surfaces(LITELLM_REQUEST, "result") == {Surface.TOOL_RESULT}
    assert surfaces(request("x"), "x") == {Surface.USER}
    assert surfaces({**request("x"), "input_type": "response"}, "x") == {Surface.ASSISTANT}


def test_a_text_that_two_roles_say_is_judged_as_both() -> None:
    messages = [{"role": role, "content": "same"} for role in ("system", "user")]
    assert surfaces(request("same", "same", structured_messages=messages), "same") == {Surface.SYSTEM, Surface.USER}


@pytest.mark.parametrize("role", ["system", "user", "tool"])
def test_a_text_of_an_answer_is_the_assistants_also_if_the_conversation_says_the_same(role: str) -> None:
    messages = [{"role": role, "content": MARK, "tool_call_id": "c"}]
    raw = {**request(MARK, structured_messages=messages), "input_type": "response"}
    assert Surface.ASSISTANT in surfaces(raw, MARK)


def test_a_text_in_a_message_of_an_unknown_shape_is_read_by_every_rule() -> None:
    raw = request("same", structured_messages=[{"role": "wizard", "content": "same"}])
    [leaf] = [leaf for leaf in mount.read(raw, Stage.INPUT).leaves if leaf.text == "same"]
    assert (leaf.kind, leaf.is_unknown) == (LeafKind.TEXT, True)


def test_a_field_that_nobody_knows_is_judged() -> None:
    for more in ({"documents": [{"text": MARK}]}, {MARK: 1}):
        content = mount.read(request("x", **more), Stage.INPUT)
        assert all(leaf.is_unknown for leaf in content.leaves if MARK in leaf.text)
        assert any(MARK in leaf.text for leaf in content.leaves)


def test_a_text_is_not_judged_twice() -> None:
    leaves = mount.read(LITELLM_REQUEST, Stage.INPUT).leaves
    assert [leaf.text for leaf in leaves].count("Hello") == 1
    assert [leaf.path for leaf in leaves if leaf.kind is LeafKind.TEXT] == [("texts", 0), ("texts", 1)]


def test_images_are_opaque_and_counted_once() -> None:
    assert len(mount.read(LITELLM_REQUEST, Stage.INPUT).opaque) == 1
    assert len(mount.read(request(images=["a", "b"]), Stage.INPUT).opaque) == 2


def test_escapes_in_the_arguments_of_a_call_are_undone() -> None:
    for call in (
        {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": "ZQ-M\\u0041RK-7781"}'}},
        {"kind": "other", "payload": '{"a": "ZQ-M\\u0041RK-7781"}'},
    ):
        content = mount.read(request(tool_calls=[call]), Stage.INPUT)
        assert any(leaf.text == MARK for leaf in content.leaves)


@pytest.mark.parametrize("raw", [{}, {"input_type": "both"}, {"input_type": None}, {"input_type": ["request"]}])
def test_a_request_without_its_stage_is_malformed(raw: dict[str, Any]) -> None:
    with pytest.raises(HttpError) as caught:
        mount.stage_of(raw)
    assert (caught.value.status, caught.value.param) == (400, "input_type")


@pytest.mark.parametrize("name", CONTENT)
@pytest.mark.parametrize("value", ["x", {}, [5], [None], 1])
def test_a_list_of_something_else_is_malformed(name: str, value: Any) -> None:
    with pytest.raises(HttpError) as caught:
        mount.stage_of({"input_type": "request", name: value})
    assert (caught.value.status, caught.value.param) == (400, name)


@pytest.mark.parametrize(
    "raw",
    [
        request("a\x00b"), request("\ud800"), request(tools=[{"\x00": 1}]),
        request(structured_messages=[{"role": "assistant", "audio": {"id": "elsewhere"}}]),
        request(*["x"] * 50_001),
    ],
    ids=["control", "surrogate", "key", "audio", "many"],
)  # fmt: skip
def test_content_that_cannot_be_read_is_told_from_a_malformed_request(raw: dict[str, Any]) -> None:
    with pytest.raises(Misfit):
        mount.read(raw, mount.stage_of(raw))


# ---------------------------------------------------------------------- answers


async def test_what_may_pass_is_none() -> None:
    assert await ask(LITELLM_REQUEST, word_rule("w", "bad", refuse=0.5)) == {"action": "NONE"}
    assert await ask({"input_type": "response"}, word_rule("w", "bad", refuse=0.5)) == {"action": "NONE"}


async def test_a_refusal_blocks_with_the_text_for_the_client() -> None:
    answer = await ask(request("fine", "bad"), word_rule("w", "bad", refuse=0.5))
    assert answer["action"] == "BLOCKED"
    assert "usage policy" in answer["blocked_reason"]
    assert set(answer) == {"action", "blocked_reason"}


async def test_a_rewrite_gives_all_texts_back() -> None:
    raw = request("fine", "a bad one", structured_messages=[{"role": "user", "content": "a bad one"}])
    answer = await ask(copy.deepcopy(raw), word_rule("w", "bad", rewrite=0.5))
    assert answer == {"action": "GUARDRAIL_INTERVENED", "texts": ["fine", "a <WORD_1> one"]}


@pytest.mark.parametrize(
    "more",
    [
        {"structured_messages": [{"role": "tool", "content": "bad", "tool_call_id": "c"}]},
        {"tools": [{"type": "function", "function": {"name": "bad"}}]},
        {"tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": "bad"}'}}]},
        {"images": ["https://example.test/bad.png"]},
    ],
    ids=["message", "tool", "call", "image"],
)
async def test_what_cannot_be_rewritten_there_is_blocked(more: dict[str, Any]) -> None:
    assert (await ask(request("fine", **more), word_rule("w", "bad", rewrite=0.5)))["action"] == "BLOCKED"


async def test_a_guard_that_cannot_decide_blocks() -> None:
    answer = await ask(request("fine"), text_rule("m", refuse=0.5), m=EngineUnavailable("gone"))
    assert answer["action"] == "BLOCKED"
    assert "could not be judged" in answer["blocked_reason"]


async def test_a_guard_that_cannot_decide_lets_through_what_its_rule_says() -> None:
    rule = text_rule("m", refuse=0.5, on_error=OnError.FORWARD)
    assert await ask(request("fine"), rule, m=EngineUnavailable("gone")) == {"action": "NONE"}


@pytest.mark.parametrize(("opaque", "action"), [(OnError.REFUSE, "BLOCKED"), (OnError.FLAG, "NONE")])
async def test_images_are_what_the_route_says(opaque: OnError, action: str) -> None:
    answer = await ask(request("fine", images=["https://example.test/a.png"]), opaque=opaque)
    assert answer["action"] == action

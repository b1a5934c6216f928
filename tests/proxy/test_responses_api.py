"""The wire shapes of ``/v1/responses``."""

from __future__ import annotations

import base64
import copy
import json
import random
from typing import Any

import pytest
from openai.types.responses import Response
from openai.types.responses.response_create_params import ResponseCreateParamsBase
from openai.types.responses.response_input_item_param import ResponseInputItemParam
from openai.types.responses.response_output_item import ResponseOutputItem
from openai.types.responses.tool_param import ToolParam
from pydantic import BaseModel
from typing_extensions import get_type_hints

from proxy.chat_api import CHAT_REQUEST, REINTERPRETS
from proxy.responses import ResponsesApi
from proxy.responses_api import HOSTED_CALLS, HOSTED_RESULTS, OUTPUT_TYPES, REQUEST
from proxy.responses_events import ECHOED
from proxy.schema import Collection, Misfit
from rules.content import LeafKind, Surface, joined_readings, show_path
from tests.proxy import responses_examples as examples
from tests.proxy.examples import marked, strings

MARK = "ZQ-MARK-7781"
API = ResponsesApi()
ENCRYPTED_DATA = base64.urlsafe_b64encode(random.Random(7).randbytes(6000)).decode()
HOSTED_ITEMS = (*HOSTED_CALLS, *HOSTED_RESULTS, "compaction", "additional_tools", "configuration_update")


def request(said: Any = "hi", **fields: Any) -> dict[str, Any]:
    return {"model": "m", "input": said, **fields}


def clean(body: Any, *, screen: bool = True, state: bool = False) -> tuple[dict[str, Any], Collection]:
    into = Collection(strict=True, screen_unknown=screen, allows_state=state)
    return API.read_request(copy.deepcopy(body), into), into


def refused(body: Any, *, screen: bool = True, state: bool = False) -> tuple[str, str]:
    with pytest.raises(Misfit) as caught:
        clean(body, screen=screen, state=state)
    assert MARK not in str(caught.value)
    return show_path(caught.value.path), caught.value.code


def read(answer: Any, **fields: Any) -> tuple[dict[str, Any], Collection]:
    into = Collection(strict=False)
    body, _ = clean(request(**fields))
    return API.read_answer(copy.deepcopy(answer), into, API.asked(body, "f" * 32)), into


def answer(*output: Any, **fields: Any) -> dict[str, Any]:
    return {"object": "response", "status": "completed", "model": "m", "output": list(output), **fields}


def unjudged(out: Any, into: Collection) -> list[str]:
    """Strings with the mark that cross, are in no judged text, and are not counted as opaque either."""
    counted = set()
    for path in into.opaque:
        place = out
        for step in path:
            place = place[step]
        counted.add(place if isinstance(place, str) else None)
    judged = [leaf.text for leaf in into.leaves]
    return [s for s in strings(out) if MARK in s and s not in counted and not any(s in text for text in judged)]


def surfaces_of(into: Collection, text: str) -> set[Surface]:
    return {leaf.surface for leaf in into.leaves if text in leaf.text}


# ---------------------------------------------------------------------- the one property


def test_the_example_request_fits() -> None:
    out, into = clean(examples.REQUEST)
    assert out == {**examples.REQUEST, "store": False}
    assert len(into.opaque) == examples.N_OPAQUE
    for variant in examples.VARIANTS:
        clean({**examples.REQUEST, **variant})


@pytest.mark.parametrize("screen", [True, False])
def test_a_mark_anywhere_in_a_request_is_refused_or_judged(screen: bool) -> None:
    met = {"refused": 0, "judged": 0}
    for path, what, body in marked(examples.REQUEST, MARK):
        try:
            out, into = clean(body, screen=screen)
        except Misfit:
            met["refused"] += 1
            continue
        assert any(MARK in s for s in strings(out)), (show_path(path), what)  # nothing is dropped in silence
        assert unjudged(out, into) == [], (show_path(path), what)
        met["judged"] += 1
    assert met["refused"] > 10
    assert met["judged"] > 100 or not screen


@pytest.mark.parametrize("include", [[], ["reasoning.encrypted_content"]], ids=["plain", "encrypted"])
def test_a_mark_anywhere_in_an_answer_is_absent_or_judged(include: list[str]) -> None:
    met = {"absent": 0, "judged": 0}
    for path, what, body in marked(examples.RESPONSE, MARK):
        try:
            out, into = read(body, include=include)
        except Misfit:
            met["absent"] += 1
            continue
        assert unjudged(out, into) == [], (show_path(path), what)
        met["judged" if any(MARK in s for s in strings(out)) else "absent"] += 1
    assert min(met.values()) > 50


@pytest.mark.parametrize("which", ["request", "response"])
def test_every_text_leaf_names_the_place_where_its_text_crosses(which: str) -> None:
    out, into = clean(examples.REQUEST) if which == "request" else read(examples.RESPONSE)
    for leaf in into.leaves:
        if leaf.kind is LeafKind.TEXT and leaf.path[-1] != "logprobs":
            place: Any = out
            for step in leaf.path:
                place = place[step]
            assert place == leaf.text


def test_the_schemas_know_every_field_and_type_of_the_official_client() -> None:
    def words(union: Any) -> set[str]:
        """The values of ``type`` in a union of shapes."""
        found: set[str] = set()
        for part in getattr(union, "__args__", ()):
            if not isinstance(part, type):
                found |= words(part)
            elif issubclass(part, BaseModel):
                found |= strings_of(part.model_fields["type"])
            elif issubclass(part, dict):
                found |= strings_of(get_type_hints(part)["type"])
        return found

    def strings_of(hint: Any) -> set[str]:
        args = getattr(getattr(hint, "annotation", hint), "__args__", ())
        return {a for a in args if isinstance(a, str)} | {s for a in args for s in strings_of(a)}

    assert set(ResponseCreateParamsBase.__annotations__) <= set(REQUEST.fields)
    inputs, tools, outputs = words(ResponseInputItemParam), words(ToolParam), words(ResponseOutputItem)
    assert len(inputs) > 25
    assert len(tools) > 10
    assert len(outputs) > 20
    known = {item.get("type", "message") for item in examples.REQUEST["input"]}
    assert inputs - known == {"compaction_trigger", "item_reference"}
    for tool in tools:
        clean(request(tools=[{"type": tool}]))
    assert outputs - OUTPUT_TYPES == {"additional_tools", "compaction", "computer_call_output"}
    assert set(ECHOED) <= set(Response.model_fields) | {"store"}


# ---------------------------------------------------------------------- requests


@pytest.mark.parametrize("name", sorted(set(REINTERPRETS) - {"previous_response_id", "conversation", "prompt"}))
@pytest.mark.parametrize("state", [False, True])
def test_a_field_that_changes_what_is_judged_is_refused_on_every_route(name: str, state: bool) -> None:
    assert refused(request(**{name: "x"}), screen=False, state=state) == (name, "unsupported_field")


STORE = {"type": "file_search", "vector_store_ids": ["vs_1"]}
STATE: list[Any] = [
    pytest.param({"previous_response_id": "resp_1"}, "previous_response_id", id="previous"),
    pytest.param({"conversation": "conv_1"}, "conversation", id="conversation"),
    pytest.param({"conversation": {"id": "conv_1"}}, "conversation", id="conversation-object"),
    pytest.param({"prompt": {"id": "p", "variables": {"x": "y"}}}, "prompt", id="prompt"),
    pytest.param({"background": True}, "background", id="background"),
    pytest.param({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0]", id="item"),
    pytest.param(
        {"tools": [{"type": "code_interpreter", "container": "cntr_1"}]}, "tools[0].container", id="container"
    ),
    pytest.param(
        {"tools": [{"type": "shell", "environment": {"type": "container_reference", "container_id": "cntr_1"}}]},
        "tools[0].environment.container_id",
        id="container-of-a-shell",
    ),
    pytest.param(
        {"tools": [{"type": "shell", "environment": {"skills": [{"type": "skill_reference", "skill_id": "s"}]}}]},
        "tools[0].environment.skills[0].skill_id",
        id="skill",
    ),
    pytest.param({"tools": [STORE]}, "tools[0].vector_store_ids[0]", id="vector-store"),
    pytest.param(
        {"input": [{"type": "additional_tools", "tools": [STORE]}]},
        "input[0].tools[0].vector_store_ids[0]",
        id="vector-store-among-the-items",
    ),
    pytest.param(
        {"input": [{"type": "tool_search_output", "tools": [STORE]}]},
        "input[0].tools[0].vector_store_ids[0]",
        id="vector-store-that-was-searched-for",
    ),
]


@pytest.mark.parametrize(("fields", "name"), STATE)
def test_state_on_the_server_is_refused(fields: dict[str, Any], name: str) -> None:
    assert refused({**request(), **fields}) == (name, "unsupported_field")


@pytest.mark.parametrize(("fields", "name"), STATE)
def test_state_on_the_server_crosses_where_it_is_allowed_and_is_counted(fields: dict[str, Any], name: str) -> None:
    out, into = clean({**request(), **fields}, state=True)
    assert out == {**request(), **fields}
    assert [show_path(path) for path in into.unseen] == [name]
    for _, _, body in marked(fields, MARK):
        try:
            out, into = clean({**request(), **body}, state=True)
        except Misfit:
            continue
        assert unjudged(out, into) == []


@pytest.mark.parametrize(
    ("tool", "where"),
    [
        pytest.param({"type": "image_generation", "input_image_mask": {"file_id": "f"}}, "input_image_mask.file_id", id="mask"),
        pytest.param(
            {"type": "code_interpreter", "container": {"type": "auto", "file_ids": ["f"]}}, "container.file_ids[0]", id="code"
        ),
        pytest.param(
            {"type": "shell", "environment": {"type": "container_auto", "file_ids": ["f"]}}, "environment.file_ids[0]", id="shell"
        ),
        pytest.param(
            {"type": "shell", "environment": {"skills": [{"type": "inline", "source": {"type": "base64", "data": "UEsDBA=="}}]}},
            "environment.skills[0].source.data",
            id="skill",
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("state", [True, False])
def test_files_of_tools_are_opaque_and_their_names_judged(tool: dict[str, Any], where: str, state: bool) -> None:
    out, into = clean(request(tools=[tool]), state=state)
    assert (out["tools"], into.unseen) == ([tool], [])
    assert [show_path(path) for path in into.opaque] == [f"tools[0].{where}"]
    for item in ("additional_tools", "tool_search_output"):
        _, into = clean(request([{"type": item, "tools": [tool]}]), state=state)
        assert [show_path(path) for path in into.opaque] == [f"input[0].tools[0].{where}"]
    _, into = clean(request(prompt={"id": "p", "variables": {"x": {"type": "input_file", "file_id": "f"}}}), state=True)
    assert [show_path(path) for path in into.opaque] == ["prompt.variables.x.file_id"]


def test_fields_of_a_schema_refer_to_nothing() -> None:
    schema = {"default": {"file_id": "f", "container": "c", "image_url": "u"}, "required": ["file_id", "container"]}
    tool = {"type": "function", "name": "n", "parameters": schema, "output_schema": schema}
    for body in (request(tools=[tool]), request(tools=[{"type": "namespace", "name": "n", "tools": [tool]}])):
        _, into = clean(body)
        assert (into.opaque, into.unseen) == ([], [])


def test_nothing_is_stored_unless_state_is_allowed() -> None:
    for given in ({}, {"store": True}, {"store": None}, {"store": False}):
        assert clean(request(**given))[0]["store"] is False
    assert "store" not in clean(request(), state=True)[0]
    assert clean(request(store=True), state=True)[0]["store"] is True


def test_a_chat_may_refer_to_the_server_only_where_it_is_allowed() -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "store": True, "previous_response_id": "x"}
    with pytest.raises(Misfit):
        CHAT_REQUEST.clean(body, (), Collection(strict=True))
    into = Collection(strict=True, allows_state=True)
    assert CHAT_REQUEST.clean(body, (), into) == body
    assert into.unseen == [("previous_response_id",)]


@pytest.mark.parametrize("value", ["true", 1, "false", []])
def test_stream_is_true_or_false(value: object) -> None:
    assert refused(request(stream=value)) == ("stream", "invalid_type")


@pytest.mark.parametrize(
    ("said", "path"),
    [
        pytest.param(None, "input", id="null"),
        pytest.param([], "input", id="empty"),
        pytest.param({"role": "user", "content": "x"}, "input", id="object"),
        pytest.param([1, 2], "input[0]", id="token-ids"),
        pytest.param(["x"], "input[0]", id="strings"),
        pytest.param([{"content": "x"}], "input[0].role", id="no-role"),
        pytest.param([{"role": "tool", "content": "x"}], "input[0].role", id="tool-role"),
        pytest.param([{"role": "wizard", "content": "x"}], "input[0].role", id="unknown-role"),
        pytest.param([{"role": "user"}], "input[0].content", id="no-content"),
        pytest.param([{"role": "user", "content": [{"type": "text", "text": MARK}]}], "input[0].content[0].type", id="part"),
        pytest.param([{"role": "user", "content": [{"type": "input_text"}]}], "input[0].content[0].text", id="no-text"),
        pytest.param([{"type": "mystery", "text": MARK}], "input[0].type", id="unknown-item"),
        pytest.param([{"type": None, "id": "msg_1"}], "input[0].type", id="reference-without-type"),
        pytest.param([{"id": "msg_1"}], "input[0].role", id="reference-without-type-2"),
        pytest.param([{"type": "compaction_trigger"}], "input[0].type", id="compaction"),
        pytest.param([{"type": "function_call_output", "call_id": "c"}], "input[0].output", id="no-output"),
    ],
)  # fmt: skip
def test_what_is_no_input_is_refused_with_its_place(said: Any, path: str) -> None:
    assert refused(request(said))[0] == path


def test_a_missing_input_is_named_unless_the_server_has_it() -> None:
    assert refused({"model": "m"}) == ("input", "missing_field")
    clean({"model": "m", "prompt": {"id": "p"}}, state=True)


@pytest.mark.parametrize("value", ["auto", "x", 1, True])
def test_truncation_would_change_what_is_read(value: Any) -> None:
    assert refused(request(truncation=value)) == ("truncation", "unsupported_field")


def test_an_unknown_tool_is_refused() -> None:
    assert refused(request(tools=[{"type": "mystery", "note": MARK}]))[0] == "tools[0].type"


@pytest.mark.parametrize(
    ("item", "surface"),
    [
        pytest.param({"role": "system", "content": MARK}, Surface.SYSTEM, id="system"),
        pytest.param({"role": "developer", "content": MARK}, Surface.DEVELOPER, id="developer"),
        pytest.param({"role": "user", "content": [{"type": "input_text", "text": MARK}]}, Surface.USER, id="user"),
        pytest.param({"role": "assistant", "content": [{"type": "output_text", "text": MARK}]}, Surface.ASSISTANT, id="assistant"),
        pytest.param({"type": "function_call", "name": "f", "arguments": MARK}, Surface.TOOL_CALL, id="call"),
        pytest.param({"type": "function_call_output", "call_id": "c", "output": MARK}, Surface.TOOL_RESULT, id="result"),
        pytest.param({"type": "custom_tool_call", "name": "f", "input": MARK}, Surface.TOOL_CALL, id="custom"),
        pytest.param({"type": "reasoning", "summary": [{"type": "summary_text", "text": MARK}]}, Surface.REASONING, id="summary"),
        pytest.param({"type": "mcp_call", "arguments": MARK}, Surface.TOOL_CALL, id="mcp"),
        pytest.param({"type": "mcp_call", "output": MARK}, Surface.TOOL_RESULT, id="mcp-output"),
        pytest.param({"type": "web_search_call", "action": {"query": MARK}}, Surface.TOOL_CALL, id="search"),
        pytest.param({"type": "code_interpreter_call", "outputs": [{"logs": MARK}]}, Surface.TOOL_RESULT, id="logs"),
        pytest.param({"type": "shell_call", "id": MARK}, Surface.METADATA, id="id"),
    ],
)  # fmt: skip
def test_every_item_is_judged_as_what_it_is(item: dict[str, Any], surface: Surface) -> None:
    assert surfaces_of(clean(request([item]))[1], MARK) == {surface}


@pytest.mark.parametrize(
    "item", [item for item in examples.REQUEST["input"] if item.get("type") in HOSTED_ITEMS], ids=lambda i: i["type"]
)
def test_an_item_of_a_hosted_tool_lets_the_upstream_act(item: dict[str, Any]) -> None:
    assert clean(request([item, {"role": "user", "content": "hi"}]))[1].may_act


@pytest.mark.parametrize(
    ("fields", "may_act"),
    [
        pytest.param({"tools": [{"type": "mcp"}]}, True, id="tools"),
        pytest.param({"tool_choice": {"type": "mcp"}}, True, id="tool-choice"),
        pytest.param({"include": ["something.new"]}, True, id="unknown-word"),
        pytest.param({"tools": [], "tool_choice": "auto", "instructions": "i", "include": ["message.output_text.logprobs"]}, False, id="none"),
        pytest.param({"input": [{"role": "user", "content": [{"type": "input_text", "text": "t"}]}]}, False, id="text"),
        pytest.param({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "u"}]}]}, True, id="image"),
    ],
)  # fmt: skip
def test_whether_the_upstream_may_act_is_known(fields: dict[str, Any], may_act: bool) -> None:
    assert clean({**request(), **fields})[1].may_act is may_act


def test_instructions_and_input_are_read_in_the_order_in_which_the_upstream_reads_them() -> None:
    assert surfaces_of(clean(request("hi", instructions=MARK))[1], MARK) == {Surface.SYSTEM}
    body = {"input": "RK-7781", "model": "m", "instructions": "ZQ-MA"}
    _, into = clean(body)
    assert any(MARK in joined.text for joined in joined_readings(into.leaves))


@pytest.mark.parametrize(
    "item",
    [
        {"type": "function_call", "name": "f", "arguments": '{"a": "ZQ-M\\u0041RK-7781"}'},
        {"type": "mcp_call", "arguments": '{"a": "ZQ-M\\u0041RK-7781"}'},
        {"type": "mcp_call", "arguments": '{"ZQ-M\\u0041RK-7781": 1}'},
        {"type": "program", "code": ' ["ZQ-M\\u0041RK-7781"]'},
    ],
)
def test_json_is_judged_by_what_it_says(item: dict[str, Any]) -> None:
    assert MARK in {leaf.text for leaf in clean(request([item]))[1].leaves}
    assert MARK in {leaf.text for leaf in read(answer(item))[1].leaves}


@pytest.mark.parametrize(
    ("item", "opaque"),
    [
        pytest.param({"type": "image_generation_call", "result": "A" * 300}, True, id="image"),
        pytest.param({"type": "image_generation_call", "result": "A" * 200}, False, id="short"),
        pytest.param({"type": "code_interpreter_call", "outputs": [{"url": "data:image/png;base64," + "A" * 300}]}, True, id="url"),
        pytest.param({"type": "shell_call", "id": "x"}, False, id="readable"),
    ],
)  # fmt: skip
def test_what_nobody_can_read_is_counted_in_both_directions(item: dict[str, Any], opaque: bool) -> None:
    assert bool(clean(request([item]))[1].opaque) is opaque
    assert bool(read(answer(item))[1].opaque) is opaque


def test_encrypted_reasoning_is_opaque_and_what_only_claims_to_be_is_judged() -> None:
    item = {"type": "reasoning", "summary": []}
    _, into = clean(request([{**item, "encrypted_content": "gAAAA-B_" * 100}]))
    assert [show_path(p) for p in into.opaque] == ["input[0].encrypted_content"]
    assert not any("gAAAA" in leaf.text for leaf in into.leaves)
    _, into = clean(request([{**item, "encrypted_content": MARK}]))
    assert surfaces_of(into, MARK) == {Surface.REASONING}
    _, into = clean(request(include=["reasoning.encrypted_content"]))
    assert [show_path(p) for p in into.opaque] == ["include[0]"]


WORDS = "please say how the mark ZQ MARK could be made at home from what every shop has and nobody asks about "
READABLE = [
    pytest.param((WORDS * 4).replace(" ", "-"), id="hyphens"),
    pytest.param((WORDS * 4).replace(" ", "_"), id="underscores"),
    pytest.param((WORDS * 4).upper().replace(" ", "/"), id="capitals-and-slashes"),
    pytest.param((WORDS * 4).replace(" ", ""), id="no-signs"),
    pytest.param((WORDS * 4).upper().replace(" ", ""), id="capitals"),
    pytest.param("4111111111111111-" * 8 + "3782822463100050-" * 8, id="digits"),
    pytest.param(base64.urlsafe_b64encode(WORDS.encode() * 3).decode(), id="base64"),
    pytest.param(ENCRYPTED_DATA[:1000] + WORDS[:60].replace(" ", "-") + ENCRYPTED_DATA[:1000], id="between-data"),
]
"""What only looks encrypted."""


@pytest.mark.parametrize("text", READABLE)
@pytest.mark.parametrize(
    ("item", "field"),
    [
        pytest.param({"type": "reasoning", "summary": []}, "encrypted_content", id="reasoning"),
        pytest.param({"type": "compaction"}, "encrypted_content", id="compaction"),
        pytest.param({"type": "mcp_call"}, "encrypted_content", id="mcp"),
    ],
)
def test_what_reads_as_text_is_judged_though_it_is_called_encrypted(
    item: dict[str, Any], field: str, text: str
) -> None:
    for given, is_judged in ((text, True), (ENCRYPTED_DATA, False)):
        _, into = clean(request([{**item, field: given}]))
        assert (given in {leaf.text for leaf in into.leaves}) is is_judged
        assert [show_path(path) for path in into.opaque] == [f"input[0].{field}"]
        _, into = read(answer({**item, field: given}), include=["reasoning.encrypted_content"])
        assert (given in {leaf.text for leaf in into.leaves}) is (is_judged and item["type"] in OUTPUT_TYPES)


# ---------------------------------------------------------------------- answers


def test_an_answer_is_rebuilt() -> None:
    out, into = read(
        examples.RESPONSE, instructions="Be brief.", tools=[{"type": "mcp", "server_label": "s", "authorization": "a"}]
    )
    assert out["id"] == f"resp_{'f' * 32}"
    assert out["instructions"] == "Be brief."
    assert out["tools"] == [{"type": "mcp", "server_label": "s"}]
    assert "output_text" not in out
    assert [item["type"] for item in out["output"][:4]] == ["reasoning", "message", "function_call", "custom_tool_call"]
    assert len(out["output"]) == 5 + len(examples.HOSTED)
    assert "encrypted_content" not in out["output"][0]
    message = out["output"][1]
    assert message["id"] == f"msg_{'f' * 32}0001"
    assert [part["type"] for part in message["content"]] == ["output_text", "refusal"]
    assert [e["token"] for e in message["content"][0]["logprobs"]] == ["Hello", " there"]
    assert out["usage"]["total_tokens"] == 3
    assert [show_path(p) for p in into.opaque] == ["output[7].result"]


def test_every_example_of_an_item_is_one_for_the_official_client() -> None:
    out, _ = read(examples.RESPONSE, include=["reasoning.encrypted_content"])
    read_back = Response.construct(**json.loads(json.dumps(out)))
    assert [item.type for item in read_back.output] == [item["type"] for item in out["output"]]
    assert read_back.output_text == "Hello there"


def test_encrypted_reasoning_crosses_with_its_id_if_it_was_asked_for() -> None:
    out, into = read(answer(examples.RESPONSE["output"][0]), include=["reasoning.encrypted_content"])
    assert (out["output"][0]["id"], out["output"][0]["encrypted_content"]) == ("rs_up", "e")
    assert ("output", 0, "encrypted_content") in into.opaque


def test_the_upstreams_ids_cross_where_the_client_can_refer_to_them() -> None:
    into = Collection(strict=True, allows_state=True)
    asked = API.asked(API.read_request(request(), into), "f" * 32)
    back = Collection(strict=False)
    out = API.read_answer(copy.deepcopy(examples.RESPONSE), back, asked)
    assert (out["id"], out["output"][1]["id"]) == ("resp_up", "msg_up")
    assert {"resp_up", "msg_up"} <= {leaf.text for leaf in back.leaves}


def test_log_probabilities_that_spell_something_else_are_dropped() -> None:
    part = {"type": "output_text", "text": "Hello", "logprobs": [{"token": MARK, "logprob": 0}]}
    out, _ = read(answer({"type": "message", "content": [part]}))
    assert out["output"][0]["content"][0]["logprobs"] == []
    part["logprobs"] = [{"token": "Hello", "logprob": 0}]
    out, _ = read(answer({"type": "message", "content": [part]}))
    assert len(out["output"][0]["content"][0]["logprobs"]) == 1
    API.without_details(out)
    assert out["output"][0]["content"][0]["logprobs"] == []


@pytest.mark.parametrize("raw", [None, [], "x", {}, {"output": None}, {"output": {}}, {"choices": []}])
def test_what_is_no_answer_is_said_to_be_none(raw: Any) -> None:
    with pytest.raises(Misfit):
        read(raw)


@pytest.mark.parametrize(
    "item",
    [
        None, 5, "x", [], {}, {"type": None}, {"type": 5}, {"type": "message"}, {"type": "message", "content": "x"},
        {"type": "message", "content": [None, 5, {"type": "output_text"}, {"type": "output_text", "text": 5, "logprobs": "x"}]},
        {"type": "message", "content": [{"type": "output_text", "text": "x", "annotations": {"a": 1}, "logprobs": [None, {}]}]},
        {"type": "function_call", "arguments": 5, "name": None}, {"type": "reasoning", "summary": 5, "content": [{}]},
        {"type": "web_search_call", "action": None}, {"type": "mcp_call", "id": 5},
    ],
)  # fmt: skip
def test_an_odd_item_is_cleaned_without_a_fault(item: Any) -> None:
    out, _ = read(answer(item))
    assert Response.construct(**out).output_text is not None
    assert API.as_stream(API.asked(clean(request())[0], "f" * 32), out)

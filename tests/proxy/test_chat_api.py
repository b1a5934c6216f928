"""The wire shapes of ``/v1/chat/completions``."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from openai.types.chat.completion_create_params import CompletionCreateParamsBase
from openai.types.embedding_create_params import EmbeddingCreateParams
from openai.types.responses.response_create_params import ResponseCreateParamsBase

from proxy.chat import logprobs_match
from proxy.chat_api import CHAT_REQUEST, CHAT_RESPONSE, LOGPROBS, MODEL_LIST, NEVER, REINTERPRETS
from proxy.completion_api import COMPLETION_REQUEST
from proxy.embeddings import EMBEDDING_REQUEST
from proxy.responses_api import REQUEST as RESPONSES_REQUEST
from proxy.schema import Collection, Misfit, Object, Refused, plain_name
from proxy.strict_json import dump_json
from rules.content import LeafKind, Path, Surface, joined_readings, show_path
from tests.proxy.examples import REQUEST, RESPONSE, marked, strings

MARK = "ZQ-MARK-7781"


def request(*messages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"model": "m", "messages": list(messages) or [{"role": "user", "content": "hi"}], **fields}


def clean(body: dict[str, Any], *, screen: bool = True) -> tuple[dict[str, Any], Collection]:
    into = Collection(strict=True, screen_unknown=screen)
    return CHAT_REQUEST.clean(body, (), into), into


def refused(body: dict[str, Any], *, screen: bool = True) -> tuple[str, str]:
    with pytest.raises(Misfit) as caught:
        clean(body, screen=screen)
    return show_path(caught.value.path), caught.value.code


def surfaces_of(into: Collection, text: str) -> set[Surface]:
    return {leaf.surface for leaf in into.leaves if text in leaf.text}


# ---------------------------------------------------------------------- the one property


def test_the_example_request_fits() -> None:
    out, into = clean(REQUEST)
    assert out["messages"] == REQUEST["messages"]
    assert len(into.opaque) == 3


@pytest.mark.parametrize("screen", [True, False])
def test_a_mark_anywhere_in_a_request_is_refused_or_absent_or_judged(screen: bool) -> None:
    met = {"refused": 0, "absent": 0, "judged": 0}
    for path, what, body in marked(REQUEST, MARK):
        try:
            out, into = clean(body, screen=screen)
        except Misfit:
            met["refused"] += 1
            continue
        crossing = [s for s in strings(out) if MARK in s]
        judged = {leaf.text for leaf in into.leaves}
        assert set(crossing) <= judged, (show_path(path), what)
        met["judged" if crossing else "absent"] += 1
    assert met["refused"] > 10
    assert met["judged"] > 10 or not screen


def test_a_mark_anywhere_in_a_response_is_absent_or_judged() -> None:
    met = {"absent": 0, "judged": 0}
    for path, what, body in marked(RESPONSE, MARK):
        into = Collection(strict=False)
        out = CHAT_RESPONSE.clean(body, (), into)
        if not logprobs_match(out):
            for choice in out["choices"]:
                choice["logprobs"] = None
        crossing = [s for s in strings(out) if MARK in s]
        judged = {leaf.text for leaf in into.leaves}
        assert set(crossing) <= judged, (show_path(path), what)
        met["judged" if crossing else "absent"] += 1
    assert min(met.values()) > 10


@pytest.mark.parametrize("example", [REQUEST, RESPONSE], ids=["request", "response"])
def test_every_text_leaf_names_the_place_where_its_text_crosses(example: dict[str, Any]) -> None:
    strict = example is REQUEST
    into = Collection(strict=strict)
    out = (CHAT_REQUEST if strict else CHAT_RESPONSE).clean(copy.deepcopy(example), (), into)
    for leaf in into.leaves:
        if leaf.kind is LeafKind.TEXT and "logprobs" not in leaf.path:
            place: Any = out
            for step in leaf.path:
                place = place[step]
            assert place == leaf.text


# ---------------------------------------------------------------------- requests


@pytest.mark.parametrize("name", sorted(REINTERPRETS))
@pytest.mark.parametrize("screen", [True, False])
def test_a_field_that_changes_what_is_judged_is_refused_on_every_route(name: str, screen: bool) -> None:
    assert refused(request(**{name: "x"}), screen=screen) == (name, "unsupported_field")


@pytest.mark.parametrize(
    "name",
    ["chat_template", "chat_template_kwargs", "prompt_embeds", "truncate_prompt_tokens", "continue_final_message",
     "add_generation_prompt", "documents", "mm_processor_kwargs", "kv_transfer_params", "cache_salt", "lora",
     "skip_special_tokens", "previous_response_id", "conversation", "prompt", "guardrails", "api_base", "base_url",
     "audio", "nvext", "token_ids", "input_token_ids", "input_embeds", "session_params", "custom_logit_processor",
     "lora_path", "bootstrap_host", "prompt_id", "prompt_variables", "user_config", "options", "truncate",
     "truncation_side", "max_input_tokens"],
)  # fmt: skip
def test_the_named_fields_are_among_them(name: str) -> None:
    assert refused(request(**{name: ["x"]})) == (name, "unsupported_field")


@pytest.mark.parametrize(
    "key",
    ["promptTokenIds", "prompt-token-ids", "PromptTokenIDs", "prompttokenids", "lora-path", "chatTemplate", "inputEmbeds",
     "previousResponseId", "prompt_token_ids_", "continue-final-message"],
)  # fmt: skip
@pytest.mark.parametrize("schema", [CHAT_REQUEST, COMPLETION_REQUEST, RESPONSES_REQUEST, EMBEDDING_REQUEST])
@pytest.mark.parametrize("state", [True, False])
def test_other_spellings_of_them_are_refused_too(key: str, schema: Object, state: bool) -> None:
    body: dict[str, Any] = {
        "model": "m",
        "input": "hi",
        "prompt": "hi",
        "messages": [{"role": "user", "content": "hi"}],
    }
    given = {name: body[name] for name in schema.required if name in body}
    with pytest.raises(Misfit) as caught:
        schema.clean({**given, "model": "m", key: [1]}, (), Collection(strict=True, allows_state=state))
    assert (caught.value.path, caught.value.code) == ((key,), "unsupported_field")


def test_no_field_of_the_official_client_is_taken_for_another_spelling() -> None:
    for params in (CompletionCreateParamsBase, ResponseCreateParamsBase, EmbeddingCreateParams):
        assert {name for name in params.__annotations__ if plain_name(name) in NEVER} <= set(REINTERPRETS)


@pytest.mark.parametrize("name", ["prefix", "partial"])
def test_a_message_that_the_answer_would_go_on_with_is_refused(name: str) -> None:
    said = {"role": "assistant", "content": "Sure, "}
    assert refused(request({"role": "user", "content": "hi"}, {**said, name: True})) == (
        f"messages[1].{name}",
        "unsupported_field",
    )
    for off in (False, None):
        clean(request({**said, name: off}))


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(list(range(17)), id="list"),
        pytest.param([[i] for i in range(17)], id="lists-of-one"),
        pytest.param([list(range(9)), list(range(8))], id="two-lists"),
        pytest.param([float(i) for i in range(17)], id="floats"),
        pytest.param(["", *range(17)], id="beside-a-string"),
        pytest.param({"a": [{"b": list(range(17))}]}, id="deep"),
    ],
)
def test_what_may_be_token_ids_is_refused_where_nobody_knows_the_field(value: Any) -> None:
    where, code = refused(request(unheard_of=value))
    assert (where.partition(".")[0], code) == ("unheard_of", "token_ids")
    assert refused(request({"role": "user", "content": [{"type": "file", "file": value}]}))[1] == "token_ids"
    clean(request(tools=[{"type": "function", "function": {"name": "f", "parameters": {"enum": value}}}]))


@pytest.mark.parametrize("value", [list(range(16)), [0.5] * 100, [True] * 100, ["1"] * 100, [{"a": 1}] * 100])
def test_other_lists_in_unknown_fields_cross(value: list[Any]) -> None:
    assert clean(request(unheard_of=value))[0]["unheard_of"] == value


@pytest.mark.parametrize(
    ("role", "surface"),
    [
        ("system", Surface.SYSTEM),
        ("developer", Surface.DEVELOPER),
        ("user", Surface.USER),
        ("assistant", Surface.ASSISTANT),
        ("tool", Surface.TOOL_RESULT),
        ("function", Surface.TOOL_RESULT),
    ],
)
@pytest.mark.parametrize("content", [MARK, [{"type": "text", "text": MARK}]], ids=["string", "parts"])
def test_every_role_is_judged_as_its_surface(role: str, surface: Surface, content: Any) -> None:
    body = request({"role": role, "content": content})
    out, into = clean(body)
    assert out["messages"] == body["messages"]
    assert surfaces_of(into, MARK) == {surface}


@pytest.mark.parametrize(
    "role", ["context", "root", "", None, 1, "User", "USER", " user", "user\u200b", "ipython", ["user"]]
)
def test_an_unknown_role_is_refused(role: object) -> None:
    assert refused(request({"role": role, "content": "hi"}))[0] == "messages[0].role"


def test_a_message_without_a_role_is_refused() -> None:
    assert refused(request({"content": "hi"}))[0] == "messages[0].role"


@pytest.mark.parametrize(
    "part",
    [
        {"type": "input_text", "text": MARK},
        {"type": "refusal", "refusal": MARK},
        {"type": "thinking", "thinking": MARK},
        {"type": "document", "text": MARK},
        {"type": "Text", "text": MARK},
        {"text": MARK},
        {"type": "text"},
        {"type": "text", "text": None},
        {"type": "text", "text": [MARK]},
        MARK,
        None,
        5,
    ],
)
def test_a_part_of_an_unknown_kind_is_refused(part: object) -> None:
    path, _ = refused(request({"role": "user", "content": [part]}))
    assert path.startswith("messages[0].content[0]")


def test_an_extra_key_of_a_part_is_judged_or_refused() -> None:
    body = request({"role": "user", "content": [{"type": "text", "text": "hi", "note": MARK}]})
    assert surfaces_of(clean(body)[1], MARK) == {Surface.METADATA}
    assert refused(body, screen=False) == ("messages[0].content[0].note", "unknown_field")


@pytest.mark.parametrize("kind", ["image_url", "input_audio", "video_url", "audio_url", "file"])
def test_a_part_that_nobody_can_read_is_counted(kind: str) -> None:
    _, into = clean(request({"role": "user", "content": [{"type": kind, kind: {"data": "A" * 400}}]}))
    assert [show_path(p) for p in into.opaque] == ["messages[0].content[0]"]


def test_text_split_over_parts_and_messages_can_be_read_joined() -> None:
    body = request(
        {"role": "user", "content": [{"type": "text", "text": "ZQ-MA"}, {"type": "text", "text": "RK"}], "name": "bob"},
        {"role": "assistant", "content": "ok"},
        {"role": "user", "content": "-7781", "name": "bob"},
    )
    _, into = clean(body)
    assert any(MARK in joined.text for joined in joined_readings(into.leaves))


@pytest.mark.parametrize(
    ("message", "surface"),
    [
        (
            {"tool_calls": [{"id": "x", "type": "function", "function": {"name": "f", "arguments": MARK}}]},
            Surface.TOOL_CALL,
        ),
        (
            {"tool_calls": [{"id": "x", "type": "function", "function": {"name": MARK, "arguments": ""}}]},
            Surface.TOOL_CALL,
        ),
        ({"tool_calls": [{"id": MARK, "function": {"name": "f", "arguments": ""}}]}, Surface.METADATA),
        ({"tool_calls": [{"id": "x", "type": "custom", "custom": {"name": "f", "input": MARK}}]}, Surface.TOOL_CALL),
        ({"tool_calls": [{"id": "x", "type": "function", "custom": {"input": MARK}}]}, Surface.METADATA),
        ({"function_call": {"name": "f", "arguments": MARK}}, Surface.TOOL_CALL),
        ({"reasoning_content": MARK}, Surface.REASONING),
        ({"reasoning": MARK}, Surface.REASONING),
        ({"refusal": MARK}, Surface.ASSISTANT),
        ({"name": MARK}, Surface.METADATA),
        ({"annotations": [{"url_citation": {"title": MARK}}]}, Surface.ASSISTANT),
        ({"unheard_of": MARK}, Surface.METADATA),
    ],
    ids=str,
)
def test_the_inside_of_an_earlier_answer_is_judged(message: dict[str, Any], surface: Surface) -> None:
    _, into = clean(request({"role": "assistant", "content": "a", **message}))
    assert surfaces_of(into, MARK) == {surface}


def test_audio_on_the_server_is_refused() -> None:
    body = request({"role": "assistant", "content": "a", "audio": {"id": "audio_1"}})
    assert refused(body) == ("messages[0].audio.id", "unsupported_field")
    clean(request({"role": "assistant", "content": "a", "audio": None}))


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"stream": "true"}, "stream"),
        ({"stream": 1}, "stream"),
        ({"n": 0}, "n"),
        ({"n": 129}, "n"),
        ({"n": 1.0}, "n"),
        ({"n": "2"}, "n"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"temperature": "hot"}, "temperature"),
        ({"model": 5}, "model"),
        ({"model": None}, "model"),
        ({"model": ["m"]}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": {"role": "user", "content": "x"}}, "messages"),
        ({"messages": [None]}, "messages[0]"),
        ({"messages": [["role", "user"]]}, "messages[0]"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": {"type": "text", "text": "x"}}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [1, 2]}]}, "messages[0].content[0]"),
        ({"logit_bias": {MARK: 1}}, "logit_bias"),
        ({"logit_bias": {"1": MARK}}, "logit_bias.1"),
        ({"logit_bias": {"\u0661": 1}}, "logit_bias"),
        ({"modalities": ["text", "audio"]}, "modalities[1]"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"function": {"name": "f"}}]}, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"functions": ["f"]}, "functions[0]"),
        ({"stop": [None]}, "stop[0]"),
        ({"stop": 5}, "stop"),
        ({"user": 5}, "user"),
        ({"metadata": [MARK]}, "metadata"),
        ({"messages": [{"role": "user", "content": "x"}] * 4097}, "messages"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}] * 513}, "tools"),
    ],
    ids=lambda v: str(v)[:60],
)
def test_what_does_not_fit_is_refused_with_its_place(fields: dict[str, Any], path: str) -> None:
    body = {**request(), **fields}
    assert refused(body)[0] == path


@pytest.mark.parametrize("key", ["Messages", " messages", "messages\u200b", "MODEL", "ｍessages"])
@pytest.mark.parametrize("screen", [True, False])
def test_another_spelling_of_a_field_is_refused(key: str, screen: bool) -> None:
    body = request(**{key: [{"role": "user", "content": MARK}]})
    assert refused(body, screen=screen)[1] == "unknown_field"


@pytest.mark.parametrize("given", [True, False, None])
def test_nothing_is_stored_on_the_server(given: object) -> None:
    assert clean(request(store=given))[0]["store"] is False


@pytest.mark.parametrize("given", ["yes", "true", 5, 0, {}, []])
@pytest.mark.parametrize("schema", [CHAT_REQUEST, COMPLETION_REQUEST, RESPONSES_REQUEST])
@pytest.mark.parametrize("state", [True, False])
def test_whether_it_shall_be_stored_is_true_or_false(given: object, schema: Object, state: bool) -> None:
    body = {**dict.fromkeys(schema.required, "x"), "store": given}
    if "messages" in body:
        body["messages"] = request()["messages"]
    with pytest.raises(Misfit) as caught:
        schema.clean(body, (), Collection(strict=True, allows_state=state))
    assert (caught.value.path, caught.value.code) == (("store",), "invalid_type")


@pytest.mark.parametrize("schema", [CHAT_REQUEST, COMPLETION_REQUEST, RESPONSES_REQUEST, EMBEDDING_REQUEST])
@pytest.mark.parametrize("state", [True, False])
def test_null_is_not_given(schema: Object, state: bool) -> None:
    body = {**dict.fromkeys(schema.required, "x"), "messages": request()["messages"]}
    given = {name: body[name] for name in schema.required}
    nulls = dict.fromkeys({*REINTERPRETS, *schema.fields, "promptTokenIds"} - set(schema.required))
    out = schema.clean({**given, **nulls}, (), Collection(strict=True, allows_state=state))
    assert {name for name, value in out.items() if value} == set(given)
    refused_else = {name for name, spec in schema.fields.items() if isinstance(spec, Refused)}
    assert not out.keys() & {*refused_else, "stream", "promptTokenIds"}
    for name in given:
        with pytest.raises(Misfit):
            schema.clean({**given, name: None}, (), Collection(strict=True))


def test_a_history_with_nulls_as_clients_send_it_fits() -> None:
    answer = {"role": "assistant", "content": None, "refusal": None, "annotations": [], "audio": None,
              "function_call": None, "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}  # fmt: skip
    body = request(answer, {"role": "tool", "content": "r", "tool_call_id": "c"}, stop=None, tools=None, user=None)
    assert clean(body)[0]["messages"] == body["messages"]


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"tools": [{"type": "function", "function": {"name": "f"}}]}, id="tools"),
        pytest.param({"functions": [{"name": "f"}]}, id="functions"),
        pytest.param({"function_call": {"name": "f"}}, id="function-call"),
        pytest.param({"tool_choice": {"type": "function", "function": {"name": "f"}}}, id="tool-choice"),
        pytest.param({"web_search_options": {}}, id="web-search"),
        pytest.param({"unheard_of": None}, id="unknown-field"),
        pytest.param({"stream_options": {"unheard_of": None}}, id="unknown-field-deep-down"),
        pytest.param({"service_tier": "unheard of"}, id="unknown-word"),
        pytest.param({"response_format": {"type": "grammar"}}, id="unknown-word-deep-down"),
        pytest.param(
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://h/"}}]}]},
            id="image",
        ),
    ],
)
def test_what_lets_the_upstream_do_more_than_answer_is_known(fields: dict[str, Any]) -> None:
    assert clean({**request(), **fields})[1].may_act


@pytest.mark.parametrize(
    "fields",
    [{}, {"tools": []}, {"tools": None}, {"functions": []}, {"web_search_options": None}, {"tool_choice": "none"},
     {"service_tier": "auto", "reasoning_effort": "low", "response_format": {"type": "json_schema", "json_schema": {"name": "n"}}},
     {"metadata": {"any": "thing"}, "user": "u", "stop": ["x"], "logit_bias": {"1": 1}}],
)  # fmt: skip
def test_other_requests_can_do_no_more_than_be_answered(fields: dict[str, Any]) -> None:
    assert not clean(request({"role": "system", "content": "s"}, {"role": "user", "content": "hi"}, **fields))[
        1
    ].may_act


# ---------------------------------------------------------------------- responses


def response(message: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": message or {"role": "assistant", "content": "hi"}}], **fields}


def clean_response(body: dict[str, Any]) -> tuple[dict[str, Any], Collection]:
    into = Collection(strict=False)
    return CHAT_RESPONSE.clean(body, (), into), into


@pytest.mark.parametrize(
    "path",
    [
        ("id",),
        ("system_fingerprint",),
        ("provider_specific_fields",),
        ("prompt_logprobs",),
        ("citations",),
        ("output_text",),
        ("choices", 0, "stop_reason"),
        ("choices", 0, "token_ids"),
        ("choices", 0, "content_filter_results"),
        ("choices", 0, "message", "audio"),
        ("choices", 0, "message", "images"),
        ("choices", 0, "message", "reasoning_details"),
        ("choices", 0, "message", "unknown"),
        ("usage", "note"),
    ],
    ids=show_path,
)
def test_what_nobody_knows_of_a_response_is_dropped(path: Path) -> None:
    out: Any = clean_response(copy.deepcopy(RESPONSE))[0]
    for step in path[:-1]:
        out = out[step]
    assert path[-1] not in out


def test_every_choice_is_judged() -> None:
    texts = ["a", "b", MARK]
    body = {"choices": [{"index": 2 - i, "message": {"content": t}} for i, t in enumerate(texts)]}
    assert [leaf.text for leaf in clean_response(body)[1].leaves] == texts


@pytest.mark.parametrize(
    "message",
    [
        {"content": MARK},
        {"content": [{"type": "text", "text": MARK}]},
        {"content": None, "refusal": MARK},
        {"content": "a", "reasoning": MARK},
        {"content": "a", "reasoning_content": MARK},
        {"content": None, "tool_calls": [{"function": {"arguments": '{"x": "ZQ-MARK-\\u0037781"}'}}]},
        {"content": None, "tool_calls": [{"type": "function", "custom": {"input": MARK}}]},
        {"content": None, "function_call": {"name": "f", "arguments": MARK}},
        {"content": "a", "annotations": [{"url_citation": {"url": MARK}}]},
    ],
    ids=lambda m: str(list(m)[-1]),
)
def test_every_channel_of_an_answer_is_judged(message: dict[str, Any]) -> None:
    _, into = clean_response(response(message))
    assert any(MARK in leaf.text for leaf in into.leaves)


@pytest.mark.parametrize(
    "body",
    [
        {"choices": [None]},
        {"choices": [5, "x", []]},
        {"choices": [{"message": None}]},
        {"choices": [{"message": "x"}]},
        {"choices": [{"index": "x", "message": {"content": 5, "role": "user", "tool_calls": [None, 5, {"function": 1}]}}]},
        {"choices": [{"index": -1, "message": {}, "finish_reason": 5, "logprobs": 5}], "usage": "x", "created": "now"},
        {"choices": [{"message": {"content": [{"type": 1}, None], "annotations": {}}, "logprobs": {"content": [None, {}]}}]},
    ],
    ids=lambda b: str(b)[:60],
)  # fmt: skip
def test_an_odd_response_is_cleaned_without_a_fault(body: dict[str, Any]) -> None:
    out, _ = clean_response(body)
    dump_json(out)
    logprobs_match(out)


# ---------------------------------------------------------------------- logprobs


def entry(token: str, **more: Any) -> dict[str, Any]:
    return {"token": token, "logprob": -0.5, "bytes": list(token.encode()), "top_logprobs": [], **more}


def test_logprobs_that_spell_the_text_are_kept() -> None:
    choice = {"message": {"content": "Hi!"}, "logprobs": {"content": [entry("Hi"), entry("!")]}}
    out, _ = clean_response({"choices": [choice]})
    assert out["choices"][0]["logprobs"] == choice["logprobs"]
    assert logprobs_match(out)


@pytest.mark.parametrize("tokens", [[MARK], ["Hi", MARK], ["Hi"], []])
def test_logprobs_that_spell_something_else_are_told(tokens: list[str]) -> None:
    choice = {"message": {"content": "Hi!"}, "logprobs": {"content": [entry(t) for t in tokens]}}
    assert not logprobs_match(clean_response({"choices": [choice]})[0])


def test_bytes_that_say_something_else_than_their_token_are_dropped() -> None:
    out = LOGPROBS.clean({"content": [entry("a", bytes=list(MARK.encode()))]}, (), Collection(strict=False))
    assert out["content"][0]["bytes"] is None


def test_alternatives_are_judged() -> None:
    into = Collection(strict=False)
    LOGPROBS.clean({"content": [entry("a", top_logprobs=[entry("ZQ-MA")]), entry("b", top_logprobs=[entry("RK-7781")])]}, (), into)  # fmt: skip
    assert any(MARK in leaf.text for leaf in into.leaves)


# ---------------------------------------------------------------------- models and errors


def test_a_list_of_models_holds_ids_and_owners_that_are_judged() -> None:
    into = Collection(strict=False)
    body = {
        "object": "x",
        "data": [{"id": "m", "object": "y", "owned_by": "o", "permission": [MARK]}, {"object": "z"}, 5],
    }
    out = MODEL_LIST.clean(body, (), into)
    assert out == {"object": "list", "data": [{"id": "m", "object": "model", "owned_by": "o"}]}
    assert [leaf.text for leaf in into.leaves] == ["m", "o"]

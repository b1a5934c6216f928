"""Wire objects of ``/v1/responses`` with every field that the schemas know, and some that they do not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

DATA = "A" * 400
_SCHEMA = {
    "type": "object",
    "title": "t",
    "properties": {"image_url": {"type": "string", "description": "d", "enum": ["e"]}},
    "required": ["image_url"],
}
_ANNOTATION = {"type": "url_citation", "url": "u", "title": "t", "start_index": 0, "end_index": 1, "note": "x"}
_LOGPROBS = [
    {
        "token": token,
        "logprob": -0.1,
        "bytes": list(token.encode()),
        "top_logprobs": [{"token": "alt", "logprob": -1, "bytes": [97, 108, 116]}],
        "note": "x",
    }
    for token in ("Hello", " there")
]

HOSTED: list[dict[str, Any]] = [
    {
        "type": "file_search_call", "id": "fs", "queries": ["q"], "status": "completed",
        "results": [{"file_id": "f", "filename": "n", "score": 0.5, "text": "t", "attributes": {"k": "v"}}],
    },
    {
        "type": "web_search_call", "id": "ws", "status": "completed",
        "action": {"type": "search", "query": "q", "queries": ["q"], "sources": [{"type": "url", "url": "u"}]},
    },
    {
        "type": "computer_call", "id": "cc", "call_id": "c", "status": "completed", "action": {"type": "type", "text": "t"},
        "pending_safety_checks": [{"id": "p", "code": "c", "message": "m"}],
    },
    {"type": "image_generation_call", "id": "ig", "status": "completed", "result": DATA, "revised_prompt": "p"},
    {
        "type": "code_interpreter_call", "id": "ci", "code": "print()", "container_id": "c", "status": "completed",
        "outputs": [{"type": "logs", "logs": "l"}, {"type": "image", "url": "u"}],
    },
    {
        "type": "local_shell_call", "id": "ls", "call_id": "c", "status": "completed",
        "action": {"type": "exec", "command": ["ls"], "env": {"K": "v"}, "user": "u"},
    },
    {"type": "shell_call", "id": "sh", "call_id": "c", "action": {"commands": ["ls"]}, "status": "completed"},
    {
        "type": "apply_patch_call", "id": "ap", "call_id": "c", "status": "completed",
        "operation": {"type": "create_file", "diff": "d", "path": "p"},
    },
    {
        "type": "mcp_call", "id": "mc", "arguments": '{"a": "b"}', "name": "n", "server_label": "s", "output": "o",
        "error": {"type": "http_error", "message": "m"}, "unknown": "x",
    },
    {
        "type": "mcp_list_tools", "id": "ml", "server_label": "s", "error": "e",
        "tools": [{"name": "n", "description": "d", "input_schema": _SCHEMA, "annotations": {"k": "v"}}],
    },
    {"type": "mcp_approval_request", "id": "ma", "arguments": "{}", "name": "n", "server_label": "s"},
    {"type": "tool_search_call", "id": "ts", "arguments": {"a": "b"}, "call_id": "c"},
    {"type": "program", "id": "pr", "call_id": "c", "code": "code", "fingerprint": "f"},
    {"type": "local_shell_call_output", "id": "lo", "output": "o"},
    {"type": "shell_call_output", "call_id": "c", "output": [{"stdout": "o", "stderr": "e", "outcome": {"type": "timeout"}}]},
    {"type": "apply_patch_call_output", "call_id": "c", "status": "completed", "output": "o"},
    {"type": "tool_search_output", "id": "to", "tools": [{"type": "function", "name": "n"}]},
    {"type": "program_output", "id": "po", "call_id": "c", "result": "r", "status": "completed"},
    {"type": "mcp_approval_response", "id": "mr", "approval_request_id": "ma", "approve": True, "reason": "r"},
]  # fmt: skip

_FUNCTION_CALL = {
    "type": "function_call", "id": "fc", "call_id": "c1", "name": "weather", "arguments": '{"city": "Wien"}',
    "namespace": "ns", "status": "completed", "caller": {"type": "program", "caller_id": "p"}, "async": False, "unknown": "x",
}  # fmt: skip
_CUSTOM_CALL = {
    "type": "custom_tool_call", "id": "ct", "call_id": "c2", "name": "shell", "input": "ls", "namespace": "ns", "unknown": "x",
}  # fmt: skip

REQUEST: dict[str, Any] = {
    "model": "gpt-4o",
    "instructions": "Be brief.",
    "input": [
        {"role": "system", "content": "s"},
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "d"}], "status": "completed"},
        {"role": "user", "content": "first", "unknown": {"a": ["b"]}},
        {
            "type": "message", "id": "m", "role": "user",
            "content": [
                {"type": "input_text", "text": "t", "prompt_cache_breakpoint": {"mode": "explicit", "ttl": "30m"}, "note": "x"},
                {"type": "input_image", "image_url": "https://example.test/a.png", "detail": "low"},
                {"type": "input_file", "file_id": "f", "filename": "f.pdf", "file_data": DATA},
                {"type": "input_audio", "input_audio": {"data": DATA, "format": "wav"}},
            ],
        },
        {"role": "assistant", "content": "said", "phase": "commentary"},
        {
            "type": "message", "id": "m", "role": "assistant", "status": "completed", "phase": "final_answer",
            "content": [
                {"type": "output_text", "text": "a", "annotations": [_ANNOTATION]},
                {"type": "refusal", "refusal": "r"},
                {"type": "input_text", "text": "i"},
            ],
        },
        _FUNCTION_CALL,
        {"type": "function_call_output", "id": "fo", "call_id": "c1", "output": "result", "status": "completed", "name": "n"},
        {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": "result"}]},
        _CUSTOM_CALL,
        {"type": "custom_tool_call_output", "id": "co", "call_id": "c2", "output": "result"},
        {
            "type": "computer_call_output", "call_id": "c", "output": {"type": "computer_screenshot", "image_url": "u"},
            "acknowledged_safety_checks": [{"id": "i", "code": "c", "message": "m"}],
        },
        {
            "type": "reasoning", "id": "rs", "status": "completed", "encrypted_content": DATA,
            "summary": [{"type": "summary_text", "text": "s"}], "content": [{"type": "reasoning_text", "text": "r"}],
        },
        *HOSTED,
        {"type": "compaction", "id": "cm", "encrypted_content": DATA},
        {"type": "additional_tools", "role": "developer", "tools": [{"type": "function", "name": "n", "parameters": _SCHEMA}]},
        {"type": "configuration_update", "reasoning": {"effort": "low"}},
    ],
    "access_programs": {"cyber": "standard"},
    "background": False,
    "background_options": {"completion_window": "soonest", "continuation_id": "c"},
    "image": {"context_compression": "auto"},
    "include": ["message.output_text.logprobs", "reasoning.encrypted_content"],
    "max_output_tokens": 10, "max_tool_calls": 3,
    "metadata": {"k": "v"},
    "parallel_tool_calls": True,
    "prompt_cache_key": "k",
    "prompt_cache_options": {"comparison_response_id": "c", "mode": "implicit", "prewarm": False, "ttl": "30m"},
    "prompt_cache_retention": "24h",
    "reasoning": {"context": "auto", "effort": "low", "generate_summary": "auto", "mode": "pro", "summary": "auto"},
    "safety_identifier": "s", "service_tier": "auto", "store": True, "stream": False,
    "stream_options": {"include_obfuscation": False},
    "text": {
        "format": {"type": "json_schema", "name": "n", "description": "d", "schema": _SCHEMA, "strict": True},
        "verbosity": "low",
    },
    "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "weather"}]},
    "tools": [
        {"type": "function", "name": "weather", "description": "d", "parameters": _SCHEMA, "strict": True, "x": "y"},
        {"type": "custom", "name": "shell", "format": {"type": "grammar", "definition": "g", "syntax": "lark"}},
        {
            "type": "mcp", "server_label": "s", "server_url": "https://h/", "server_description": "d", "authorization": "a",
            "headers": {"K": "v"}, "allowed_tools": ["t"], "require_approval": {"always": {"tool_names": ["t"]}},
        },
        {"type": "web_search", "filters": {"allowed_domains": ["d"]}, "user_location": {"type": "approximate", "city": "c"}},
        {"type": "file_search", "filters": {"type": "eq", "key": "k", "value": "v"}},
        {"type": "code_interpreter", "container": {"type": "auto", "file_ids": ["f"]}},
        {"type": "image_generation", "model": "m", "input_image_mask": {"image_url": "u"}},
        {"type": "namespace", "name": "n", "description": "d", "tools": [{"type": "function", "name": "n"}]},
    ],
    "top_logprobs": 2, "truncation": "disabled", "user": "u",
    "frequency_penalty": 0.1, "presence_penalty": 0.1, "repetition_penalty": 1.1, "temperature": 1, "top_p": 0.9,
    "top_k": 5, "min_p": 0.1, "seed": 1,
    "unknown": {"deep": [{"x": "y"}, "z", 1, None, True]},
}  # fmt: skip

N_OPAQUE = 10
"""Of `REQUEST`: an image, a file, audio, a screenshot, a generated image, two encrypted texts, the wish for one, a mask,
a file of a tool."""

VARIANTS: list[dict[str, Any]] = [
    {"input": "text"},
    {"tool_choice": "auto"},
    {"text": {"format": {"type": "text"}}},
    {"store": None, "truncation": None, "previous_response_id": None, "conversation": None, "prompt": None},
]
"""Fields that come in a second type, and nulls."""

_MESSAGE = {
    "type": "message", "id": "msg_up", "role": "assistant", "status": "completed", "phase": "final_answer", "unknown": "x",
    "content": [
        {"type": "output_text", "text": "Hello there", "annotations": [_ANNOTATION], "logprobs": _LOGPROBS, "unknown": "x"},
        {"type": "refusal", "refusal": "r"},
        {"type": "unknown", "text": "x"},
    ],
}  # fmt: skip
_REASONING = {
    "type": "reasoning", "id": "rs_up", "status": "completed", "encrypted_content": "e",
    "summary": [{"type": "summary_text", "text": "s"}], "content": [{"type": "reasoning_text", "text": "r"}],
}  # fmt: skip

RESPONSE: dict[str, Any] = {
    "id": "resp_up", "object": "response", "created_at": 1700000000.5, "completed_at": 1700000001, "status": "completed",
    "model": "gpt-4o-2024", "error": {"code": "c", "message": "m"}, "incomplete_details": {"reason": "content_filter"},
    "instructions": "i", "metadata": {"k": "v"}, "tools": [{"type": "function", "name": "n"}], "tool_choice": "auto",
    "output": [
        _REASONING, _MESSAGE, _FUNCTION_CALL, _CUSTOM_CALL, *HOSTED,
        {"type": "function_call_output", "call_id": "c", "output": "o"}, {"type": "unknown", "text": "x"},
    ],
    "output_text": "Hello there", "service_tier": "default", "text": {"format": {"type": "text"}}, "user": "u",
    "usage": {
        "input_tokens": 1, "input_tokens_details": {"cached_tokens": 0, "unknown": "x"}, "output_tokens": 2,
        "output_tokens_details": {"reasoning_tokens": 1}, "total_tokens": 3, "unknown": "x",
    },
    "unknown": {"a": "b"}, "prompt": {"id": "p"}, "previous_response_id": "p",
}  # fmt: skip
_BEGUN = {**RESPONSE, "status": "in_progress", "output": [], "usage": None, "error": None}


def of_message(index: int, text: str, pieces: list[str] | None = None, part: int = 0) -> list[dict[str, Any]]:
    """The events of a message with one text."""
    where = {"item_id": "msg_up", "output_index": index, "content_index": part}
    message = {"type": "message", "id": "msg_up", "role": "assistant", "status": "in_progress", "content": []}
    whole = {"type": "output_text", "text": text, "annotations": []}
    return [
        {"type": "response.output_item.added", "output_index": index, "item": message},
        {"type": "response.content_part.added", **where, "part": {**whole, "text": ""}},
        *({"type": "response.output_text.delta", **where, "delta": p, "logprobs": []} for p in pieces or [text]),
        {"type": "response.output_text.done", **where, "text": text, "logprobs": []},
        {"type": "response.content_part.done", **where, "part": whole},
        {
            "type": "response.output_item.done",
            "output_index": index,
            "item": {**message, "status": "completed", "content": [whole]},
        },
    ]


def of_response(*items: list[dict[str, Any]], end: str = "completed", **more: Any) -> list[dict[str, Any]]:
    """A whole stream."""
    base = {"id": "resp_up", "object": "response", "created_at": 1700000000, "model": "gpt-4o-2024", "output": []}
    usage = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
    events = [
        {"type": "response.created", "response": {**base, "status": "in_progress"}},
        {"type": "response.in_progress", "response": {**base, "status": "in_progress"}},
        *(event for item in items for event in item),
        {"type": f"response.{end}", "response": {**base, "status": end, "usage": usage, **more}},
    ]
    return [{**event, "sequence_number": i} for i, event in enumerate(events)]


def of_call(index: int, item: dict[str, Any], event: str, name: str, pieces: list[str]) -> list[dict[str, Any]]:
    """The events of a call whose text comes in pieces."""
    where = {"item_id": item["id"], "output_index": index}
    whole = "".join(pieces)
    return [
        {
            "type": "response.output_item.added",
            "output_index": index,
            "item": {**item, name: "", "status": "in_progress"},
        },
        *({"type": f"response.{event}.delta", **where, "delta": piece} for piece in pieces),
        {"type": f"response.{event}.done", **where, name: whole},
        {"type": "response.output_item.done", "output_index": index, "item": {**item, name: whole}},
    ]


def every_event() -> Iterator[dict[str, Any]]:
    """A stream with every event that is read, each with every field, and some that are not read."""
    yield {"type": "response.created", "sequence_number": 0, "response": _BEGUN, "note": "x"}
    yield {"type": "response.queued", "response": _BEGUN}
    yield {"type": "keepalive", "note": "x"}
    thought = {"item_id": "rs_up", "output_index": 0, "note": "x"}
    yield {
        "type": "response.output_item.added",
        "output_index": 0,
        "item": {**_REASONING, "summary": [], "content": []},
    }
    part = {"type": "summary_text", "text": "", "note": "x"}
    yield {"type": "response.reasoning_summary_part.added", **thought, "summary_index": 0, "part": part}
    yield {"type": "response.reasoning_summary_text.delta", **thought, "summary_index": 0, "delta": "s"}
    yield {"type": "response.reasoning_summary_text.done", **thought, "summary_index": 0, "text": "s"}
    yield {"type": "response.reasoning_summary_part.done", **thought, "summary_index": 0, "part": {**part, "text": "s"}}
    yield {"type": "response.reasoning_text.delta", **thought, "content_index": 0, "delta": "r"}
    yield {"type": "response.reasoning_text.done", **thought, "content_index": 0, "text": "r"}
    yield {"type": "response.output_item.done", "output_index": 0, "item": _REASONING}
    said = {"item_id": "msg_up", "output_index": 1, "content_index": 0, "note": "x"}
    yield {"type": "response.output_item.added", "output_index": 1, "item": {**_MESSAGE, "content": []}}
    yield {
        "type": "response.content_part.added",
        **said,
        "part": {"type": "output_text", "text": "", "annotations": []},
    }
    for piece, entry in zip(("Hello", " there"), _LOGPROBS, strict=True):
        yield {"type": "response.output_text.delta", **said, "delta": piece, "logprobs": [entry], "obfuscation": "x"}
    yield {"type": "response.output_text.annotation.added", **said, "annotation_index": 0, "annotation": _ANNOTATION}
    yield {"type": "response.output_text.done", **said, "text": "Hello there", "logprobs": _LOGPROBS}
    yield {"type": "response.content_part.done", **said, "part": _MESSAGE["content"][0]}
    yield {"type": "response.refusal.delta", **said, "content_index": 1, "delta": "r"}
    yield {"type": "response.refusal.done", **said, "content_index": 1, "refusal": "r"}
    yield {"type": "response.output_item.done", "output_index": 1, "item": _MESSAGE}
    yield from of_call(2, _FUNCTION_CALL, "function_call_arguments", "arguments", ['{"city":', ' "Wien"}'])
    yield from of_call(3, _CUSTOM_CALL, "custom_tool_call_input", "input", ["l", "s"])
    for i, item in enumerate(HOSTED):
        yield {"type": "response.output_item.added", "output_index": 4 + i, "item": {**item, "status": "in_progress"}}
        yield {"type": f"response.{item['type']}.in_progress", "output_index": 4 + i, "note": "x"}
        yield {"type": "response.output_item.done", "output_index": 4 + i, "item": item}
    n = 4 + len(HOSTED)
    yield {"type": "response.output_item.added", "output_index": n, "item": {"type": "unknown", "id": "u", "text": "x"}}
    yield {"type": "response.mcp_call_arguments.delta", "output_index": 12, "delta": "x"}
    # a message that is said only once: as a whole, when it is done
    late = {
        **_MESSAGE,
        "id": "msg_late",
        "content": [{"type": "output_text", "text": "late", "annotations": [_ANNOTATION]}],
    }
    yield {"type": "response.output_item.done", "output_index": n + 1, "item": late}
    # and one that only the last event knows
    output = [*RESPONSE["output"][: 4 + len(HOSTED)], {"type": "unknown"}, late]
    last = {**_MESSAGE, "id": "msg_last", "content": [{"type": "output_text", "text": "last"}]}
    yield {"type": "response.completed", "response": {**RESPONSE, "error": None, "output": [*output, last]}}


EVENTS = list(every_event())

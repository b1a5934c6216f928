"""Wire objects with every field that the schemas know, some that they do not, and a walk over their strings and keys."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from rules.content import Path

_IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "auto"}, "note": "x"}
_LOGPROBS = {
    "content": [
        {
            "token": "Hello",
            "logprob": -0.1,
            "bytes": [72, 101, 108, 108, 111],
            "top_logprobs": [{"token": "Hi", "logprob": -1.0, "bytes": [72, 105], "note": "x"}],
            "note": "x",
        }
    ],
    "refusal": None,
    "note": [{"token": "x"}],
}
_USAGE = {
    "prompt_tokens": 1,
    "completion_tokens": 2,
    "total_tokens": 3,
    "prompt_tokens_details": {"cached_tokens": 1, "note": "x"},
    "completion_tokens_details": {"reasoning_tokens": 1},
    "note": "x",
}
_CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "f", "arguments": '{"a": "b", "c": [1]}', "note": "x"},
    "note": "x",
}
_CUSTOM_CALL = {"id": "call_2", "type": "custom", "custom": {"name": "g", "input": "text", "note": "x"}}
_CITATION = {"type": "url_citation", "url_citation": {"title": "t", "url": "https://h/", "start_index": 0}}
_FUNCTION = {
    "name": "f",
    "description": "d",
    "strict": True,
    "parameters": {
        "type": "object",
        "title": "t",
        "$comment": "c",
        "properties": {"p": {"type": "string", "description": "d", "enum": ["e"], "default": "x", "pattern": "^a$"}},
        "required": ["p"],
        "examples": [{"p": "q"}],
    },
}

REQUEST: dict[str, Any] = {
    "model": "m",
    "messages": [
        {"role": "system", "content": "s", "name": "n"},
        {"role": "developer", "content": [{"type": "text", "text": "d", "cache_control": {"type": "ephemeral"}}]},
        {"role": "user", "content": [{"type": "text", "text": "u"}, _IMAGE], "name": "bob", "unknown": {"k": ["v"]}},
        {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}]},
        {"role": "user", "content": [{"type": "file", "file": {"file_data": "AAAA", "filename": "f.pdf"}}]},
        {
            "role": "assistant",
            "content": [{"type": "text", "text": "a"}, {"type": "refusal", "refusal": "r"}],
            "name": "n",
            "refusal": "r",
            "reasoning": "t",
            "reasoning_content": "t",
            "tool_calls": [_CALL, _CUSTOM_CALL],
            "function_call": {"name": "f", "arguments": "{}"},
            "annotations": [_CITATION],
        },
        {"role": "tool", "content": "result", "tool_call_id": "call_1"},
        {"role": "function", "content": "result", "name": "f"},
    ],
    "modalities": ["text"],
    "temperature": 1,
    "function_call": {"name": "f"},
    "functions": [_FUNCTION],
    "logit_bias": {"50256": -100},
    "logprobs": True,
    "top_logprobs": 3,
    "max_tokens": 5,
    "metadata": {"k": "v"},
    "moderation": {"model": "m", "policy": {"input": {"mode": "score"}, "output": {"mode": "block"}}, "note": "x"},
    "n": 2,
    "parallel_tool_calls": True,
    "prediction": {"type": "content", "content": [{"type": "text", "text": "p"}]},
    "prompt_cache_key": "k",
    "prompt_cache_retention": "24h",
    "reasoning_effort": "low",
    "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"title": "t"}}, "x": {"y": "z"}},
    "safety_identifier": "s",
    "seed": 1,
    "service_tier": "auto",
    "stop": ["a", "b"],
    "store": True,
    "stream": True,
    "stream_options": {"include_usage": True, "x": "y"},
    "tool_choice": {"type": "function", "function": {"name": "f"}},
    "tools": [
        {"type": "function", "function": _FUNCTION, "x": "y"},
        {"type": "custom", "custom": {"name": "c", "format": {"type": "grammar", "grammar": {"definition": "d"}}}},
    ],
    "user": "u",
    "verbosity": "low",
    "web_search_options": {"user_location": {"type": "approximate", "approximate": {"city": "c"}}},
    "bad_words": ["w"],
    "x_unknown": [{"a": {"b": "c"}}, 1, None, True],
}

RESPONSE: dict[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "system_fingerprint": "fp",
    "service_tier": "default",
    "provider_specific_fields": {"a": "b"},
    "prompt_logprobs": [{"1": {"decoded_token": "x"}}],
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "stop_reason": "x",
            "token_ids": [1, 2],
            "content_filter_results": {"hate": {"severity": "safe"}},
            "logprobs": _LOGPROBS,
            "message": {
                "role": "assistant",
                "content": "Hello",
                "refusal": "r",
                "reasoning": "t",
                "reasoning_content": "t",
                "reasoning_details": [{"text": "t"}],
                "thinking": "t",
                "annotations": [_CITATION],
                "audio": {"id": "a", "data": "AAAA", "transcript": "t"},
                "images": [{"image_url": {"url": "https://h/"}}],
                "tool_calls": [{**_CALL, "index": 0}, _CUSTOM_CALL, {"id": "c", "type": "function", "custom": {"input": "i"}}],
                "function_call": {"name": "f", "arguments": '{"a": "b"}'},
                "unknown": {"k": "v"},
            },
        },
        {"index": 1, "message": {"role": "assistant", "content": [{"type": "text", "text": "Hi"}, {"type": "x", "text": "y"}]}},
    ],
    "usage": _USAGE,
    "citations": ["https://h/"],
    "output_text": "Hello",
}  # fmt: skip

CHUNK: dict[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion.chunk",
    "created": 1,
    "model": "m",
    "system_fingerprint": "fp",
    "service_tier": "default",
    "obfuscation": "x",
    "prompt_filter_results": [{"prompt_index": 0, "x": "y"}],
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "logprobs": _LOGPROBS,
            "message": {"content": "m"},
            "text": "t",
            "delta": {
                "role": "assistant",
                "content": "Hello",
                "refusal": "r",
                "reasoning": "t",
                "reasoning_content": "t",
                "thinking": "t",
                "annotations": [_CITATION],
                "audio": {"transcript": "t"},
                "tool_calls": [
                    {**_CALL, "index": 0},
                    {**_CUSTOM_CALL, "index": 1},
                    {"index": 2, "id": "c", "type": "function", "function": {"name": "h"}, "custom": {"name": "i", "input": "j"}},
                    {"index": 3, "custom": {"name": "i", "input": "j"}},
                    {"id": "c", "function": {"arguments": "{}"}},
                ],
                "function_call": {"name": "f", "arguments": "{}"},
            },
        },
        {"index": 1, "delta": {"content": [{"type": "text", "text": "Hi", "note": "x"}, {"type": "x", "y": "z"}]}},
    ],
    "usage": _USAGE,
    "output_text": "Hello",
}  # fmt: skip


def marked(example: dict[str, Any], marker: str) -> Iterator[tuple[Path, str, dict[str, Any]]]:
    """The example once for every string and every key in it, with a marker in its place: where, which of the two, what."""
    for path, what in list(_places(example, ())):
        copied = copy.deepcopy(example)
        around: Any = copied
        for step in path[:-1]:
            around = around[step]
        if what == "string":
            around[path[-1]] = marker
        elif what == "within":
            around[path[-1]] += marker
        else:
            items = [(marker if k == path[-1] else k, v) for k, v in around.items()]
            around.clear()
            around.update(items)
        yield path, what, copied


def _places(value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(value, str):
        yield path, "string"
        yield path, "within"
    elif isinstance(value, dict):
        for key, item in value.items():
            yield (*path, key), "key"
            yield from _places(item, (*path, key))
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from _places(item, (*path, i))


def strings(value: Any) -> Iterator[str]:
    """Every string and key in an object."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)

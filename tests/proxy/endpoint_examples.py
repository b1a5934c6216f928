"""Wire objects of the smaller endpoints with every field that their schemas know, and some that they do not."""

from __future__ import annotations

import base64
import struct
from typing import Any

VECTOR = base64.b64encode(struct.pack("<3f", 0.25, -1.5, 3.0)).decode()

_USAGE = {
    "prompt_tokens": 1,
    "completion_tokens": 2,
    "total_tokens": 3,
    "prompt_tokens_details": {"cached_tokens": 0, "note": "x"},
    "completion_tokens_details": {"reasoning_tokens": 1},
    "note": "x",
}
_LOGPROBS = {
    "tokens": ["Hello", " there"],
    "token_logprobs": [None, -0.5],
    "text_offset": [0, 5],
    "top_logprobs": [None, {" there": -0.5, " you": -1.5}],
    "note": ["x"],
}

COMPLETION_REQUEST: dict[str, Any] = {
    "model": "gpt-4o",
    "prompt": ["Say hello.", "Say bye."],
    "suffix": "The end.",
    "best_of": 2, "echo": False, "frequency_penalty": 0.1, "presence_penalty": 0.1, "repetition_penalty": 1.1,
    "ignore_eos": False, "logit_bias": {"50256": -100}, "logprobs": 2, "max_tokens": 5, "min_p": 0.1, "min_tokens": 1,
    "n": 1, "seed": 1, "stop": ["a", "b"], "store": True, "stream": False,
    "stream_options": {"include_usage": True, "include_obfuscation": False, "continuous_usage_stats": False},
    "temperature": 1, "top_k": 5, "top_p": 0.9, "user": "u", "unknown": {"deep": [{"x": "y"}, "z", 1, None, True]},
}  # fmt: skip

COMPLETION_RESPONSE: dict[str, Any] = {
    "id": "cmpl-1", "object": "text_completion", "created": 1, "model": "gpt-4o-2024", "system_fingerprint": "fp",
    "choices": [
        {
            "index": 0, "text": "Hello there", "finish_reason": "stop", "logprobs": _LOGPROBS, "stop_reason": "x",
            "prompt_logprobs": [{"1": {"decoded_token": "x"}}], "content_filter_results": {"hate": {"severity": "safe"}},
            "message": {"content": "x"}, "delta": {"content": "x"},
        },
        {"index": 1, "text": "Bye", "finish_reason": "length", "logprobs": None},
    ],
    "usage": _USAGE, "provider_specific_fields": {"a": "b"}, "kv_transfer_params": {"a": "b"},
}  # fmt: skip

EMBEDDING_REQUEST: dict[str, Any] = {
    "model": "gpt-4o", "input": ["one", "two"], "dimensions": 3, "encoding_format": "float", "user": "u", "stream": False,
    "input_type": "query", "unknown": {"deep": ["x"]},
}  # fmt: skip

EMBEDDING_RESPONSE: dict[str, Any] = {
    "id": "e", "object": "list", "model": "m", "created": 1, "note": {"a": "b"},
    "data": [
        {"object": "embedding", "index": 0, "embedding": [0.1, -2, 3e-4], "note": "x"},
        {"object": "embedding", "index": 1, "embedding": VECTOR},
    ],
    "usage": {"prompt_tokens": 1, "total_tokens": 1, "note": "x"},
}  # fmt: skip

LITELLM_REQUEST: dict[str, Any] = {
    "input_type": "request",
    "litellm_call_id": "id", "litellm_trace_id": "id", "litellm_version": "1", "model": "gpt-4o",
    "texts": ["Be brief.", "Hello"],
    "images": ["https://example.test/a.png"],
    "structured_messages": [
        {"role": "system", "content": "Be brief.", "name": "n"},
        {"role": "user", "content": [{"type": "text", "text": "Hello"}, {"type": "image_url", "image_url": {"url": "https://example.test/a.png"}}]},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": "b"}'}}]},
        {"role": "tool", "content": "result", "tool_call_id": "c"},
        {"role": "wizard", "content": "other", "thinking_blocks": [{"type": "thinking", "thinking": "t"}]},
    ],
    "tools": [{"type": "function", "function": {"name": "f", "description": "d", "parameters": {"properties": {"a": {"enum": ["e"]}}}}}],
    "tool_calls": [
        {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": "b"}'}},
        {"kind": "other", "payload": {"x": "y"}},
    ],
}  # fmt: skip
"""What is content in it; `LITELLM_FACTS` is not."""

LITELLM_FACTS: dict[str, Any] = {
    "request_data": {"user_api_key_user_email": "someone@example.test"},
    "request_headers": {"user-agent": "x"},
    "additional_provider_specific_params": {"threshold": 0.1},
}

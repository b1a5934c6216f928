"""The wire shapes of ``/v1/chat/completions``: what may cross, and as what it is judged.

Source: OpenAI's API reference as of openai-python 3.54 (``types/chat``), and the fields that vLLM and llama-server add.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain, zip_longest
from typing import Any

from proxy.inband import MODERATION
from proxy.schema import (
    UNKNOWN,
    Acting,
    Anything,
    Array,
    ByType,
    ByWord,
    Choice,
    Collection,
    Dropped,
    Flag,
    Forced,
    JsonText,
    Number,
    Object,
    Opaque,
    Refused,
    ServerState,
    Spec,
    Stored,
    Text,
    choice,
    plain_name,
)
from rules.content import Path, Surface

_ID = Text(Surface.METADATA)
"""Ids and names can spell anything, so they are judged."""

_ANOTHER_PROMPT = "changes how the upstream reads the prompt, which then is not what was judged"
_ON_SERVER = "refers to text on the server, which cannot be judged"

REINTERPRETS: Mapping[str, Refused] = (
    {
        name: Refused(_ANOTHER_PROMPT)
        for name in (
            *("chat_template", "chat_template_kwargs", "chat_template_file", "chat_template_content_format"),
            *("conversation_template", "prompt_template", "custom_logit_processor"),
            *("add_generation_prompt", "continue_final_message", "add_special_tokens"),
            *("prompt_embeds", "input_embeds", "inputs_embeds", "prompt_token_ids", "input_token_ids", "input_ids"),
            *("token_ids", "token_data", "tokens", "image_data", "nvext", "use_raw_prompt", "backend_instance_id"),
            *("truncate_prompt_tokens", "truncation", "truncate", "truncation_side", "max_input_tokens", "options"),
            *("documents", "mm_processor_kwargs", "media_io_kwargs", "vllm_xargs", "kv_transfer_params", "cache_salt"),
            *("session_params", "lora", "lora_path", "samplers", "logits_processors", "grammar_lazy"),
            *("skip_special_tokens", "spaces_between_special_tokens", "include_stop_str_in_output"),
            *("echo", "prompt_logprobs", "return_token_ids", "return_tokens_as_token_ids", "return_prompt_text"),
            *("cache_prompt", "id_slot", "transforms", "plugins"),
        )
    }
    | {
        name: Refused(_ON_SERVER)
        for name in ("thread_id", "assistant_id", "context_management", "prompt_id", "prompt_variables")
    }
    | {name: ServerState(_ON_SERVER, UNKNOWN) for name in ("previous_response_id", "conversation", "prompt")}
    | {
        name: Refused("is set by the operator, not by the caller")
        for name in (
            *("guardrails", "disable_guardrails", "guardrail_config", "api_base", "base_url", "api_key"),
            *("custom_llm_provider", "fallbacks", "mock_response", "extra_body", "extra_headers", "route"),
            *("provider", "models", "user_config", "bootstrap_host", "bootstrap_port", "bootstrap_room"),
        )
    }
)
"""Fields that no route lets through, whatever ``unknown_fields`` says; three of them: unless ``server_state: allow``.

Besides OpenAI's: fields of vLLM, SGLang, NVIDIA Dynamo (``nvext``: token ids in place of the prompt), llama-server, Ollama
(``options``: how much of the prompt is read), text-embeddings-inference, OpenRouter and LiteLLM.
"""

NEVER: Mapping[str, Refused] = {plain_name(name): Refused(spec.reason) for name, spec in REINTERPRETS.items()}
"""The same for other spellings of them (``promptTokenIds``), which some servers take as well."""


class _Off:
    """Whether the answer goes on with this message, which some clients always say; true changes what is read."""

    def clean(self, value: Any, path: Path, into: Collection) -> Any:
        return value if value is None or value is False else into.wrong(path, _ANOTHER_PROMPT, "unsupported_field")


_OFF = _Off()


def _parts(surface: Surface, *, assistant: bool = False) -> ByWord:
    cases: dict[str, Spec] = {
        "text": Object({"type": choice("text"), "text": Text(surface, nullable=False)}, ("text",)),
        "image_url": Opaque(),
        "input_audio": Opaque(),
        "video_url": Opaque(),
        "audio_url": Opaque(),
        "file": Opaque(),
    }
    if assistant:
        cases = {
            "text": cases["text"],
            "refusal": Object({"type": choice("refusal"), "refusal": Text(surface, nullable=False)}, ("refusal",)),
        }
    return ByWord("type", cases)


def _content(surface: Surface, *, assistant: bool = False) -> ByType:
    return ByType(text=Text(surface), array=Array(_parts(surface, assistant=assistant), 1024))


_FUNCTION_CALL = Object({"name": Text(Surface.TOOL_CALL), "arguments": JsonText(Surface.TOOL_CALL)})
_CUSTOM_CALL = Object({"name": Text(Surface.TOOL_CALL), "input": JsonText(Surface.TOOL_CALL)})
TOOL_CALL = ByWord(
    "type",
    {
        "function": Object(
            {"id": _ID, "type": choice("function"), "index": Number(0, 1023, whole=True), "function": _FUNCTION_CALL}
        ),
        "custom": Object(
            {
                "id": _ID,
                "type": choice("custom"),
                "index": Number(0, 1023, whole=True),
                "custom": _CUSTOM_CALL,
            }
        ),
    },
    default="function",
)

_ROLE = Choice(frozenset(("system", "developer", "user", "assistant", "tool", "function")), closed=True)


def _message(surface: Surface, **more: Spec) -> Object:
    return Object({"role": _ROLE, "content": _content(surface), "name": _ID, **more}, ("content",))


MESSAGE = ByWord(
    "role",
    {
        "system": _message(Surface.SYSTEM),
        "developer": _message(Surface.DEVELOPER),
        "user": _message(Surface.USER),
        "assistant": Object(
            {
                "role": _ROLE,
                "content": _content(Surface.ASSISTANT, assistant=True),
                "name": _ID,
                "refusal": Text(Surface.ASSISTANT),
                "reasoning": Text(Surface.REASONING),
                "reasoning_content": Text(Surface.REASONING),
                "tool_calls": Array(TOOL_CALL, 1024),
                "function_call": _FUNCTION_CALL,
                "annotations": Anything(Surface.ASSISTANT, list),
                "audio": Object({"id": ServerState("refers to audio on the server, which cannot be judged", _ID)}),
                "prefix": _OFF,
                "partial": _OFF,
            }
        ),
        "tool": _message(Surface.TOOL_RESULT, tool_call_id=_ID),
        "function": _message(Surface.TOOL_RESULT),
    },
)


class _LogitBias:
    """Token ids as keys: digits only, so they carry no text."""

    def clean(self, value: Any, path: Path, into: Collection) -> Any:
        if value is None:
            return None
        if not isinstance(value, dict) or not all(k.isascii() and k.isdigit() and len(k) <= 7 for k in value):
            return into.wrong(path, "must map token ids to numbers", "invalid_type")
        into.count(len(value), path)
        return {k: Number(-100, 100).clean(v, (*path, k), into) for k, v in value.items()}


LOGIT_BIAS = _LogitBias()

_TOOL = ByWord(
    "type",
    {
        "function": Object(
            {"type": choice("function"), "function": Anything(Surface.TOOL_DEFINITION, dict)}, ("function",)
        ),
        "custom": Object({"type": choice("custom"), "custom": Anything(Surface.TOOL_DEFINITION, dict)}, ("custom",)),
    },
)

CHAT_REQUEST = Object(
    {
        "messages": Array(MESSAGE, 4096, min_items=1),
        "model": Text(Surface.METADATA),
        "audio": Refused("audio answers cannot be judged"),
        "modalities": Array(Choice(frozenset(("text",)), closed=True), 4),
        "frequency_penalty": Number(-100, 100),
        "presence_penalty": Number(-100, 100),
        "repetition_penalty": Number(-100, 100),
        "temperature": Number(0, 100),
        "top_p": Number(0, 1),
        "top_k": Number(-1, 1e9, whole=True),
        "min_p": Number(0, 1),
        "min_tokens": Number(0, 1e9, whole=True),
        "ignore_eos": Flag(),
        "function_call": ByType(text=choice("none", "auto"), object=Acting(Anything(Surface.TOOL_DEFINITION))),
        "functions": Acting(Array(Anything(Surface.TOOL_DEFINITION, dict), 512)),
        "logit_bias": LOGIT_BIAS,
        "logprobs": Flag(),
        "top_logprobs": Number(0, 20, whole=True),
        "max_completion_tokens": Number(0, 1e9, whole=True),
        "max_tokens": Number(0, 1e9, whole=True),
        "metadata": Anything(Surface.METADATA, dict),
        "moderation": MODERATION,
        "n": Number(1, 128, whole=True),
        "parallel_tool_calls": Flag(),
        "prediction": Object(
            {
                "type": choice("content"),
                "content": ByType(
                    text=Text(Surface.ASSISTANT), array=Array(_parts(Surface.ASSISTANT, assistant=True), 1024)
                ),
            }
        ),
        "prompt_cache_key": _ID,
        "prompt_cache_retention": choice("in_memory", "in-memory", "24h"),
        "reasoning_effort": choice("none", "minimal", "low", "medium", "high", "xhigh"),
        "response_format": Object(
            {
                "type": choice("text", "json_object", "json_schema"),
                "json_schema": Anything(Surface.TOOL_DEFINITION, dict),
            }
        ),
        "safety_identifier": _ID,
        "seed": Number(-(2**53), 2**53, whole=True),
        "service_tier": choice("auto", "default", "flex", "scale", "priority"),
        "stop": ByType(text=Text(Surface.METADATA), array=Array(Text(Surface.METADATA, nullable=False), 64)),
        "store": Stored(),
        "stream": Flag(nullable=False),
        "stream_options": Object(
            {"include_usage": Flag(), "include_obfuscation": Flag(), "continuous_usage_stats": Flag()}
        ),
        "tool_choice": ByType(
            text=choice("none", "auto", "required"), object=Acting(Anything(Surface.TOOL_DEFINITION))
        ),
        "tools": Acting(Array(_TOOL, 512)),
        "user": _ID,
        "verbosity": choice("low", "medium", "high"),
        "web_search_options": Acting(Anything(Surface.METADATA, dict)),
        **REINTERPRETS,
    },
    ("messages", "model"),
    NEVER,
)

_COUNT = Number(0, 2**53, whole=True)
USAGE = Object(
    {
        "prompt_tokens": _COUNT,
        "completion_tokens": _COUNT,
        "total_tokens": _COUNT,
        "prompt_tokens_details": Object({"cached_tokens": _COUNT, "audio_tokens": _COUNT}),
        "completion_tokens_details": Object(
            {
                "reasoning_tokens": _COUNT,
                "audio_tokens": _COUNT,
                "accepted_prediction_tokens": _COUNT,
                "rejected_prediction_tokens": _COUNT,
            }
        ),
    }
)
_FINISH = choice("stop", "length", "tool_calls", "content_filter", "function_call")
_INDEX = Number(0, 127, whole=True)


class _Logprobs:
    """Tokens are joined into one judged text; `bytes` survives only as what the token says anyway."""

    def clean(self, value: Any, path: Path, into: Collection) -> Any:
        if value is None:
            return None
        if not isinstance(value, dict):
            return into.wrong(path, "must be an object", "invalid_type")
        out: dict[str, Any] = {}
        for channel in ("content", "refusal"):
            entries = value.get(channel)
            if isinstance(entries, list):
                out[channel] = [self.entry(e) for e in entries if isinstance(e, dict)]
                add_alternatives(
                    [[alt["token"] for alt in e["top_logprobs"]] for e in out[channel]], (*path, channel), into
                )
        return out or None

    def entry(self, entry: dict[str, Any], depth: int = 0) -> dict[str, Any]:
        """One token's entry, typed."""
        raw = entry.get("token")
        token = raw.encode("utf-8", "replace").decode("utf-8") if isinstance(raw, str) else ""
        logprob = entry.get("logprob")
        out: dict[str, Any] = {
            "token": token,
            "logprob": logprob if isinstance(logprob, (int, float)) and not isinstance(logprob, bool) else None,
            "bytes": list(token.encode()) if entry.get("bytes") == list(token.encode()) else None,
        }
        if depth == 0:
            others = entry.get("top_logprobs")
            out["top_logprobs"] = (
                [self.entry(e, 1) for e in others if isinstance(e, dict)] if isinstance(others, list) else []
            )
        return out


LOGPROBS = _Logprobs()


def add_alternatives(places: Sequence[Sequence[str]], path: Path, into: Collection) -> None:
    """Tokens that could have stood there instead: the model's words too, so every rule reads them.

    They are joined in the two orders in which a text can be read off them: place by place, and rank by rank.
    """
    by_place = "".join(chain.from_iterable(places))
    by_rank = "".join(chain.from_iterable(zip_longest(*places, fillvalue="")))
    for text in dict.fromkeys((by_place, by_rank)):
        if text:
            into.add(path, Surface.METADATA, text, is_unknown=True)


_ANSWER_TOOL_CALL = Object(
    {
        "id": _ID,
        "type": choice("function", "custom"),
        "index": Number(0, 1023, whole=True),
        "function": _FUNCTION_CALL,
        "custom": _CUSTOM_CALL,
    }
)
"""Not told apart by ``type``: the pieces of a stream can bring both kinds under one index, and both must be judged."""

_ANSWER_FIELDS: dict[str, Spec] = {
    "role": Choice(frozenset(("assistant",)), closed=True),
    "refusal": Text(Surface.ASSISTANT),
    "reasoning": Text(Surface.REASONING),
    "reasoning_content": Text(Surface.REASONING),
    "annotations": Anything(Surface.ASSISTANT, list),
    "audio": Dropped(),
}

CHAT_RESPONSE = Object(
    {
        "object": Forced("chat.completion"),
        "created": _COUNT,
        "model": Text(Surface.METADATA),
        "choices": Array(
            Object(
                {
                    "index": _INDEX,
                    "message": Object(
                        {
                            **_ANSWER_FIELDS,
                            "content": _content(Surface.ASSISTANT, assistant=True),
                            "tool_calls": Array(_ANSWER_TOOL_CALL, 1024),
                            "function_call": _FUNCTION_CALL,
                        },
                    ),
                    "finish_reason": _FINISH,
                    "logprobs": LOGPROBS,
                },
            ),
            128,
        ),
        "usage": USAGE,
        "service_tier": choice("auto", "default", "flex", "scale", "priority"),
    },
)
"""A whole completion. ``id`` is replaced by ours and ``system_fingerprint`` dropped: both can spell anything."""


TEXT_CHANNELS: Mapping[str, Surface] = {
    "reasoning": Surface.REASONING,
    "reasoning_content": Surface.REASONING,
    "content": Surface.ASSISTANT,
    "refusal": Surface.ASSISTANT,
}
"""The fields of a delta that are text in pieces, in the order in which they are sent on."""


def whole_characters(piece: str) -> str:
    """A piece without halves of characters, which cannot be sent on: upstreams cut emoji in two."""
    return piece if piece.isascii() else piece.encode("utf-8", "replace").decode("utf-8")


class _Piece:
    """A piece of a channel: judged as part of the assembled text, so not collected here."""

    def clean(self, value: Any, path: Path, into: Collection) -> Any:
        if isinstance(value, list):  # some servers stream content as parts
            value = "".join(p["text"] for p in value if isinstance(p, dict) and isinstance(p.get("text"), str))
        if isinstance(value, str):
            return whole_characters(value)
        if value is None:
            return value
        return into.wrong(path, "must be a string", "invalid_type")


PIECE = _Piece()
_CALL_PIECE = Object({"name": PIECE, "arguments": PIECE})


class _LogprobsPiece:
    """Log-probabilities of a piece: judged with those of all pieces, so not collected here."""

    def clean(self, value: Any, path: Path, into: Collection) -> Any:
        return LOGPROBS.clean(value, path, Collection(strict=False))


CHAT_CHUNK = Object(
    {
        "object": Forced("chat.completion.chunk"),
        "created": _COUNT,
        "model": Text(Surface.METADATA),
        "choices": Array(
            Object(
                {
                    "index": _INDEX,
                    "delta": Object(
                        {
                            **_ANSWER_FIELDS,
                            **dict.fromkeys(TEXT_CHANNELS, PIECE),
                            "tool_calls": Array(
                                Object(
                                    {
                                        "index": Number(0, 1023, whole=True),
                                        "id": PIECE,
                                        "type": Choice(frozenset(("function", "custom")), closed=True),
                                        "function": _CALL_PIECE,
                                        "custom": Object({"name": PIECE, "input": PIECE}),
                                    }
                                ),
                                1024,
                            ),
                            "function_call": _CALL_PIECE,
                        }
                    ),
                    "finish_reason": _FINISH,
                    "logprobs": _LogprobsPiece(),
                }
            ),
            128,
        ),
        "usage": USAGE,
        "service_tier": choice("auto", "default", "flex", "scale", "priority"),
    }
)
"""One event of a streamed completion; the text channels are assembled and judged as `CHAT_RESPONSE`."""

MODEL_LIST = Object(
    {
        "object": Forced("list"),
        "data": Array(
            Object(
                {
                    "id": Text(Surface.METADATA, nullable=False),
                    "object": Forced("model"),
                    "created": _COUNT,
                    "owned_by": Text(Surface.METADATA),
                    "max_model_len": _COUNT,
                },
                ("id",),
            ),
            10_000,
        ),
    },
    ("data",),
)
"""``GET /v1/models``."""

"""The wire shapes of ``/v1/responses``: what may cross, and as what it is judged.

Source: OpenAI's API reference as of openai-python 3.54 (``types/responses``), and the sampling fields that vLLM adds.

What hosted tools say and are told (searches, code, patches, calls of MCP servers) comes in many shapes that change often:
it is judged whole, every string and every key, by `Readable`. What no release knew when it was written, an unknown type of
item, part or tool, is refused in requests and dropped from answers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from proxy.chat_api import LOGPROBS, NEVER, REINTERPRETS, add_alternatives
from proxy.inband import MODERATION
from proxy.schema import (
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
    is_data,
    read_decoded,
)
from rules.content import Leaf, LeafKind, Path, Surface
from rules.detectors.runs import is_written, says_text

MAX_ITEMS = 4096
MAX_PARTS = 1024

_ID = Text(Surface.METADATA)
_COUNT = Number(0, 2**53, whole=True)
_STATUS = choice(
    "in_progress", "completed", "incomplete", "failed", "searching", "interpreting", "generating", "calling"
)
_PHASE = choice("commentary", "final_answer")
_CALLER = Anything(Surface.METADATA, dict)
_EFFORT = choice("none", "minimal", "low", "medium", "high", "xhigh", "max")
_ON_SERVER = "refers to text on the server, which cannot be judged"

ENCRYPTED = "reasoning.encrypted_content"

# ---------------------------------------------------------------------- what hosted tools say


_KEYS = frozenset(
    (
        *("action", "actions", "annotations", "approval_request_id", "approve", "arguments", "attributes"),
        *("call_id", "code", "container_id", "description", "diff", "env", "file_id", "filename", "id"),
        *("input", "input_schema", "logs", "name", "operation", "output", "outputs", "path", "queries"),
        *("query", "result", "results", "score", "server_label", "size", "sources", "status", "stderr"),
        *("stdout", "text", "tool_names", "tools", "type", "url"),
    )
)
"""Keys that every such object has: fixed words, which say nothing."""
_RESULTS = frozenset(("logs", "output", "outputs", "result", "results", "stderr", "stdout"))
_LABELS = frozenset((name,) for name in ("call_id", "container_id", "id", "status", "type"))
_UNSEEN = frozenset(("image_url", "file_url", "file_data", "encrypted_content"))
_UNSEEN_GIVEN = _UNSEEN | {"file_id", "file_ids", "data"}
"""Of what a client gives; in a result the name of a file stands beside its text."""
_STATE = frozenset(("container", "container_id", "skill_id", "vector_store_ids"))
"""Fields of tools whose strings are names of what the server keeps."""
_SCHEMAS = frozenset(("parameters", "output_schema"))
"""A field of a schema may be called ``image_url`` and is none."""
_REFERENCE = ServerState(_ON_SERVER, Dropped())
_ENCRYPTED = re.compile(r"[A-Za-z0-9+/_-]{256,}={0,2}", re.ASCII)
"""What encryption leaves behind, in either alphabet of base64; shorter runs can be words: they are judged."""


def _is_encrypted(text: str) -> bool:
    """Whether nobody can read it: base64 characters that are neither encoded text nor words."""
    return _ENCRYPTED.fullmatch(text) is not None and not says_text(text) and not is_written(text)


def _field(path: Path) -> str:
    """The field in which a string stands, by itself or in a list; none within a schema."""
    names = [step for step in path if isinstance(step, str)]
    return names[-1] if _SCHEMAS.isdisjoint(names[:-1]) else ""


class Readable:
    """An object of a hosted tool: every string and key is judged, JSON also decoded; images and base64 data are opaque.

    So is what stands in the fields ``unseen``; what stands in the fields ``state`` is `ServerState`.

    Results of a tool stand beside its call in one object; they are told apart by their field. Tools are defined and approved in
    items too, in fields that nobody here knows, so with any such object the upstream may act.
    """

    def __init__(self, surface: Surface, unseen: frozenset[str] = _UNSEEN, state: frozenset[str] = frozenset()) -> None:
        self._surface = surface
        self._unseen = unseen
        self._state = state

    def clean(self, value: Any, path: Path, into: Collection) -> Any:
        """See `Spec`."""
        if not isinstance(value, dict):
            return into.wrong(path, "must be an object", "invalid_type")
        into.may_act = True
        before = len(into.leaves)
        out = Anything(self._surface, dict).clean(value, path, into)
        found = into.leaves[before:]
        del into.leaves[before:]
        for leaf in found:
            self._sort(leaf, len(path), into)
        return out

    def _sort(self, leaf: Leaf, depth: int, into: Collection) -> None:
        if leaf.kind is LeafKind.KEY:
            if leaf.text not in _KEYS:
                into.leaves.append(leaf)
            return
        name = _field(leaf.path[depth:])
        is_unreadable = _is_encrypted(leaf.text) if name == "encrypted_content" else is_data(leaf.text)
        if name in self._unseen or is_unreadable:
            into.opaque.append(leaf.path)
        if name in self._state:
            _REFERENCE.clean(leaf.text, leaf.path, into)
        if is_unreadable:
            return
        surface = self._surface
        if leaf.path[depth] in _RESULTS:
            surface = Surface.TOOL_RESULT
        elif leaf.path[depth:] in _LABELS:
            surface = Surface.METADATA
        is_json = leaf.text.lstrip()[:1] in ("{", "[", '"')
        into.leaves.append(replace(leaf, surface=surface, is_json=is_json))
        if is_json:
            read_decoded(leaf.text, leaf.path, surface, into)


class Encrypted:
    """Reasoning that only its server can read: opaque; what does not look encrypted is judged as well."""

    def clean(self, value: Any, path: Path, into: Collection) -> Any:
        """See `Spec`."""
        if value is None:
            return None
        if not isinstance(value, str):
            return into.wrong(path, "must be a string", "invalid_type")
        before = len(into.leaves)
        out = into.add(path, Surface.REASONING, value)
        if _is_encrypted(out):
            del into.leaves[before:]
        into.opaque.append(path)
        return out


_CALL = Readable(Surface.TOOL_CALL)
_RESULT = Readable(Surface.TOOL_RESULT)

HOSTED_CALLS = (
    *("file_search_call", "web_search_call", "computer_call", "image_generation_call", "code_interpreter_call"),
    *("local_shell_call", "shell_call", "apply_patch_call", "mcp_call", "mcp_list_tools", "mcp_approval_request"),
    *("tool_search_call", "program"),
)
HOSTED_RESULTS = (
    *("local_shell_call_output", "shell_call_output", "apply_patch_call_output", "tool_search_output"),
    *("program_output", "mcp_approval_response"),
)

# ---------------------------------------------------------------------- requests

_BREAKPOINT = Object({"mode": choice("explicit"), "ttl": choice("30m", "12h")})


def _text_part(kind: str, surface: Surface, **more: Spec) -> Object:
    fields: dict[str, Spec] = {
        "type": choice(kind),
        "text": Text(surface, nullable=False),
        "prompt_cache_breakpoint": _BREAKPOINT,
    }
    return Object({**fields, **more}, ("text",))


def _content(surface: Surface) -> ByType:
    parts: dict[str, Spec] = {
        "input_text": _text_part("input_text", surface),
        **dict.fromkeys(("input_image", "input_file", "input_audio"), Opaque()),
    }
    return ByType(text=Text(surface), array=Array(ByWord("type", parts), MAX_PARTS))


_SAID = ByType(
    text=Text(Surface.ASSISTANT),
    array=Array(
        ByWord(
            "type",
            {
                "output_text": _text_part(
                    "output_text",
                    Surface.ASSISTANT,
                    annotations=Anything(Surface.ASSISTANT, list),
                    logprobs=Dropped(),  # they spell the text a second time, and no model reads them
                ),
                "input_text": _text_part("input_text", Surface.ASSISTANT),
                "refusal": Object(
                    {"type": choice("refusal"), "refusal": Text(Surface.ASSISTANT, nullable=False)}, ("refusal",)
                ),
            },
        ),
        MAX_PARTS,
    ),
)

_ROLE = Choice(frozenset(("system", "developer", "user", "assistant")), closed=True)


def _message(content: Spec) -> Object:
    fields: dict[str, Spec] = {"type": choice("message"), "id": _ID, "role": _ROLE, "status": _STATUS, "phase": _PHASE}
    return Object({**fields, "content": content}, ("content",))


_MESSAGE = ByWord(
    "role",
    {
        "system": _message(_content(Surface.SYSTEM)),
        "developer": _message(_content(Surface.DEVELOPER)),
        "user": _message(_content(Surface.USER)),
        "assistant": _message(_SAID),
    },
)

_CALL_FIELDS: dict[str, Spec] = {
    "call_id": _ID,
    "name": Text(Surface.TOOL_CALL),
    "namespace": Text(Surface.TOOL_CALL),
    "status": _STATUS,
    "caller": _CALLER,
    "async": Flag(),
}
_RESULT_FIELDS: dict[str, Spec] = {"id": _ID, **_CALL_FIELDS, "output": _content(Surface.TOOL_RESULT)}


def _thoughts(kind: str) -> Array:
    return Array(_text_part(kind, Surface.REASONING), MAX_PARTS)


_DEFINITION = Readable(Surface.TOOL_DEFINITION, _UNSEEN_GIVEN, _STATE)
_TOOLS: dict[str, Spec] = dict.fromkeys(
    (
        *("function", "custom", "namespace", "file_search", "computer", "computer_use_preview", "web_search"),
        *("web_search_2025_08_26", "web_search_preview", "web_search_preview_2025_03_11", "mcp", "image_generation"),
        *("code_interpreter", "programmatic_tool_calling", "local_shell", "shell", "tool_search", "apply_patch"),
    ),
    _DEFINITION,
)

_ITEM = ByWord(
    "type",
    {
        "message": _MESSAGE,
        "function_call": Object(
            {"type": choice("function_call"), "id": _ID, **_CALL_FIELDS, "arguments": JsonText(Surface.TOOL_CALL)}
        ),
        "function_call_output": Object({"type": choice("function_call_output"), **_RESULT_FIELDS}, ("output",)),
        "custom_tool_call": Object(
            {"type": choice("custom_tool_call"), "id": _ID, **_CALL_FIELDS, "input": JsonText(Surface.TOOL_CALL)}
        ),
        "custom_tool_call_output": Object({"type": choice("custom_tool_call_output"), **_RESULT_FIELDS}, ("output",)),
        "computer_call_output": Object(
            {
                "type": choice("computer_call_output"),
                "id": _ID,
                "call_id": _ID,
                "status": _STATUS,
                "output": Opaque(),
                "acknowledged_safety_checks": Anything(Surface.METADATA, list),
            },
            ("output",),
        ),
        "reasoning": Object(
            {
                "type": choice("reasoning"),
                "id": _ID,
                "status": _STATUS,
                "summary": _thoughts("summary_text"),
                "content": _thoughts("reasoning_text"),
                "encrypted_content": Encrypted(),
            }
        ),
        **dict.fromkeys(HOSTED_CALLS, _CALL),
        **dict.fromkeys((*HOSTED_RESULTS, "compaction"), _RESULT),
        "tool_search_output": Readable(Surface.TOOL_RESULT, _UNSEEN_GIVEN, _STATE),
        **dict.fromkeys(("additional_tools", "configuration_update"), _DEFINITION),
        "item_reference": ServerState(_ON_SERVER, Object({"type": choice("item_reference"), "id": _ID})),
    },
    default="message",
)

_FORMAT = Object(
    {
        "type": choice("text", "json_object", "json_schema"),
        "name": Text(Surface.TOOL_DEFINITION),
        "description": Text(Surface.TOOL_DEFINITION),
        "schema": Anything(Surface.TOOL_DEFINITION, dict),
        "strict": Flag(),
    }
)


class _Include:
    """What else the answer shall hold; encrypted reasoning is opaque, and said to be so before anybody is asked."""

    _words = choice(
        *("file_search_call.results", "web_search_call.results", "web_search_call.action.sources"),
        *("message.input_image.image_url", "computer_call_output.output.image_url", "code_interpreter_call.outputs"),
        *(ENCRYPTED, "message.output_text.logprobs"),
    )

    def clean(self, value: Any, path: Path, into: Collection) -> Any:
        if not isinstance(value, str):
            return into.wrong(path, "must be a string", "invalid_type")
        if value == ENCRYPTED:
            into.opaque.append(path)
        return self._words.clean(value, path, into)


class _Background:
    """An answer that is fetched later is kept on the server."""

    _true = ServerState("keeps the answer on the server, where it cannot be judged", Flag())

    def clean(self, value: Any, path: Path, into: Collection) -> Any:
        return (self._true if value is True else Flag()).clean(value, path, into)


class _Truncation:
    """``auto`` lets the upstream leave out what was judged, so that something else is read than was judged."""

    def clean(self, value: Any, path: Path, into: Collection) -> Any:
        return value if value in (None, "disabled") else REINTERPRETS["truncation"].clean(value, path, into)


_SAMPLING: dict[str, Spec] = {
    "frequency_penalty": Number(-100, 100),
    "presence_penalty": Number(-100, 100),
    "repetition_penalty": Number(-100, 100),
    "temperature": Number(0, 100),
    "top_p": Number(0, 1),
    "top_k": Number(-1, 1e9, whole=True),
    "min_p": Number(0, 1),
    "seed": Number(-(2**53), 2**53, whole=True),
}

REQUEST = Object(
    {
        **REINTERPRETS,
        "instructions": Text(Surface.SYSTEM),
        "input": ByType(text=Text(Surface.USER), array=Array(_ITEM, MAX_ITEMS, min_items=1)),
        "model": Text(Surface.METADATA),
        "access_programs": Object({"cyber": choice("standard", "daybreak_blue", "daybreak_red")}),
        "background": _Background(),
        "background_options": Object({"completion_window": choice("soonest", "2h", "8h"), "continuation_id": _ID}),
        "conversation": ServerState(_ON_SERVER, ByType(text=_ID, object=Anything(Surface.METADATA))),
        "image": Object({"context_compression": choice("auto", "enabled", "disabled")}),
        "include": Array(_Include(), 64),
        "max_output_tokens": Number(0, 1e9, whole=True),
        "max_tool_calls": Number(0, 1e9, whole=True),
        "metadata": Anything(Surface.METADATA, dict),
        "moderation": MODERATION,
        "parallel_tool_calls": Flag(),
        "previous_input_messages": Refused(
            "changes how the upstream reads the prompt, which then is not what was judged"
        ),
        "previous_response_id": ServerState(_ON_SERVER, _ID),
        "prompt": ServerState(
            _ON_SERVER, Object({"id": _ID, "version": _ID, "variables": Readable(Surface.USER, _UNSEEN_GIVEN)})
        ),
        "prompt_cache_key": _ID,
        "prompt_cache_options": Object(
            {
                "comparison_response_id": _ID,
                "mode": choice("implicit", "explicit"),
                "prewarm": Flag(),
                "ttl": choice("30m", "12h"),
            }
        ),
        "prompt_cache_retention": choice("in_memory", "in-memory", "24h"),
        "reasoning": Object(
            {
                "context": choice("auto", "current_turn", "all_turns"),
                "effort": _EFFORT,
                "generate_summary": choice("auto", "concise", "detailed"),
                "mode": choice("standard", "pro"),
                "summary": choice("auto", "concise", "detailed"),
            }
        ),
        "safety_identifier": _ID,
        "service_tier": choice("auto", "default", "flex", "scale", "priority", "fast", "ultrafast"),
        "store": Stored(),
        "stream": Flag(nullable=False),
        "stream_options": Object({"include_obfuscation": Flag()}),
        "text": Object({"format": _FORMAT, "verbosity": choice("low", "medium", "high")}),
        "tool_choice": ByType(
            text=choice("none", "auto", "required"), object=Acting(Anything(Surface.TOOL_DEFINITION))
        ),
        "tools": Acting(Array(ByWord("type", _TOOLS), 512)),
        "top_logprobs": Number(0, 20, whole=True),
        "truncation": _Truncation(),
        "user": _ID,
        **_SAMPLING,
    },
    ("model",),
    NEVER,
)

# ---------------------------------------------------------------------- answers

USAGE = Object(
    {
        "input_tokens": _COUNT,
        "input_tokens_details": Object({"cached_tokens": _COUNT, "cache_write_tokens": _COUNT}),
        "output_tokens": _COUNT,
        "output_tokens_details": Object({"reasoning_tokens": _COUNT}),
        "total_tokens": _COUNT,
    }
)

_ENDS: dict[str, Spec] = {
    "created_at": Number(0, 2**53),
    "completed_at": Number(0, 2**53),
    "model": Text(Surface.METADATA),
    "status": choice("completed", "failed", "in_progress", "cancelled", "queued", "incomplete"),
    "incomplete_details": Object({"reason": choice("max_output_tokens", "max_messages", "content_filter", "steered")}),
    "error": Object({"code": _ID, "message": Text(Surface.ASSISTANT)}),
    "service_tier": choice("auto", "default", "flex", "scale", "priority", "fast", "ultrafast"),
    "usage": USAGE,
}

HEAD = Object(_ENDS)
"""An answer but for its output: what the first and the last events of a stream say."""


class _TokenLogprobs:
    """Log-probabilities of a part, typed; the alternatives' tokens are joined into one judged text.

    The chosen tokens are not judged: they are dropped unless they spell the text, see `proxy.responses`.
    """

    def clean(self, value: Any, path: Path, into: Collection) -> Any:
        if not isinstance(value, list):
            return into.wrong(path, "must be a list", "invalid_type")
        entries = [LOGPROBS.entry(e) for e in value if isinstance(e, dict)]
        add_alternatives([[alt["token"] for alt in e["top_logprobs"]] for e in entries], path, into)
        return entries


_OUTPUT_PART = ByWord(
    "type",
    {
        "output_text": Object(
            {
                "type": choice("output_text"),
                "text": Text(Surface.ASSISTANT),
                "annotations": Anything(Surface.ASSISTANT, list),
                "logprobs": _TokenLogprobs(),
            }
        ),
        "refusal": Object({"type": choice("refusal"), "refusal": Text(Surface.ASSISTANT)}),
    },
)


def _thought(kind: str) -> Array:
    part = Object({"type": choice(kind), "text": Text(Surface.REASONING)})
    return Array(ByWord("type", {kind: part}), MAX_PARTS)


OUTPUT_TYPES = frozenset(
    (
        *(
            "message",
            "reasoning",
            "function_call",
            "custom_tool_call",
            "function_call_output",
            "custom_tool_call_output",
        ),
        *HOSTED_CALLS,
        *HOSTED_RESULTS,
    )
)
"""The items that cross; others are dropped."""


def keeps_ids(request: Mapping[str, Any]) -> bool:
    """Whether the upstream's ids of an answer cross: only where the client can refer to them later."""
    return request.get("store") is not False


def keeps_encrypted(request: Mapping[str, Any]) -> bool:
    """Whether encrypted reasoning crosses: only where the client asked for it."""
    return ENCRYPTED in (request.get("include") or ())


@cache
def response_schema(*, ids: bool, encrypted: bool) -> Object:
    """An answer. See `keeps_ids` and `keeps_encrypted`; encrypted reasoning is bound to the id of its item."""
    own = _ID if ids else Dropped()
    items: dict[str, Spec] = {
        "message": Object(
            {
                "type": choice("message"),
                "id": own,
                "role": Forced("assistant"),
                "status": _STATUS,
                "phase": _PHASE,
                "content": Array(_OUTPUT_PART, MAX_PARTS),
            }
        ),
        "reasoning": Object(
            {
                "type": choice("reasoning"),
                "id": _ID if encrypted else own,
                "status": _STATUS,
                "summary": _thought("summary_text"),
                "content": _thought("reasoning_text"),
                "encrypted_content": Encrypted() if encrypted else Dropped(),
            }
        ),
        "function_call": Object(
            {"type": choice("function_call"), "id": own, **_CALL_FIELDS, "arguments": JsonText(Surface.TOOL_CALL)}
        ),
        "custom_tool_call": Object(
            {"type": choice("custom_tool_call"), "id": own, **_CALL_FIELDS, "input": JsonText(Surface.TOOL_CALL)}
        ),
        **dict.fromkeys(HOSTED_CALLS, _CALL),
        **dict.fromkeys((*HOSTED_RESULTS, "function_call_output", "custom_tool_call_output"), _RESULT),
    }
    return Object({**_ENDS, "id": own, "output": Array(ByWord("type", items), MAX_ITEMS)}, ("output",))


ITEM_HEAD = Object(
    {
        "id": _ID,
        "call_id": _ID,
        "name": Text(Surface.TOOL_CALL),
        "namespace": Text(Surface.TOOL_CALL),
        "phase": _PHASE,
    }
)
"""What the first event of a streamed item says about it, besides its type."""

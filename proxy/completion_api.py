"""The wire shapes of the legacy ``/v1/completions``: what may cross, and as what it is judged.

Source: OpenAI's API reference as of openai-python 3.54 (``types/completion*.py``), and the fields that vLLM adds. With
``echo`` the answer begins with the prompt; it is part of the text, and so judged by the output rules.
"""

from __future__ import annotations

from typing import Any

from proxy.chat_api import LOGIT_BIAS, NEVER, PIECE, REINTERPRETS, USAGE, add_alternatives
from proxy.schema import Array, ByType, Collection, Dropped, Flag, Forced, Number, Object, Refused, Stored, Text, choice
from proxy.text_input import Texts
from rules.content import Path, Surface

MAX_CHOICES = 2048
"""Choices of one answer: ``n`` for every prompt."""

_ID = Text(Surface.METADATA)
_COUNT = Number(0, 2**53, whole=True)
_INDEX = Number(0, MAX_CHOICES - 1, whole=True)
_FINISH = choice("stop", "length", "content_filter")

COMPLETION_REQUEST = Object(
    {
        **{name: spec for name, spec in REINTERPRETS.items() if name not in ("prompt", "echo")},
        "model": _ID,
        "prompt": Texts(Surface.USER),
        "suffix": Text(Surface.USER),
        "messages": Refused("is a field of /v1/chat/completions"),
        "moderation": Refused("is a field of /v1/chat/completions"),
        "best_of": Number(1, 128, whole=True),
        "echo": Flag(),
        "frequency_penalty": Number(-100, 100),
        "presence_penalty": Number(-100, 100),
        "repetition_penalty": Number(-100, 100),
        "ignore_eos": Flag(),
        "logit_bias": LOGIT_BIAS,
        "logprobs": Number(0, 20, whole=True),
        "max_tokens": Number(0, 1e9, whole=True),
        "min_p": Number(0, 1),
        "min_tokens": Number(0, 1e9, whole=True),
        "n": Number(1, 128, whole=True),
        "seed": Number(-(2**53), 2**53, whole=True),
        "stop": ByType(text=Text(Surface.METADATA), array=Array(Text(Surface.METADATA, nullable=False), 64)),
        "store": Stored(),
        "stream": Flag(nullable=False),
        "stream_options": Object(
            {"include_usage": Flag(), "include_obfuscation": Flag(), "continuous_usage_stats": Flag()}
        ),
        "temperature": Number(0, 100),
        "top_k": Number(-1, 1e9, whole=True),
        "top_p": Number(0, 1),
        "user": _ID,
    },
    ("prompt", "model"),
    NEVER,
)


class _Logprobs:
    """Parallel lists. Tokens cross only if they spell the choice's text; the alternatives, keys here, are judged joined."""

    def clean(self, value: Any, path: Path, into: Collection) -> Any:
        if not isinstance(value, dict) or not isinstance(value.get("tokens"), list):
            return None
        tokens = [_clean(t) for t in value["tokens"] if isinstance(t, str)]
        if len(tokens) != len(value["tokens"]):
            return None
        n = len(tokens)
        out: dict[str, Any] = {
            "tokens": tokens,
            "token_logprobs": _parallel(value.get("token_logprobs"), n, _number),
            "text_offset": _parallel(value.get("text_offset"), n, _offset),
            "top_logprobs": _parallel(value.get("top_logprobs"), n, _alternatives),
        }
        add_alternatives([list(entry or ()) for entry in out["top_logprobs"] or ()], (*path, "top_logprobs"), into)
        return out


def _parallel(values: Any, n: int, item: Any) -> list[Any] | None:
    return [item(v) for v in values] if isinstance(values, list) and len(values) == n else None


def _clean(token: str) -> str:
    return token.encode("utf-8", "replace").decode("utf-8")


def _number(value: Any) -> float | None:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _offset(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _alternatives(value: Any) -> dict[str, float | None] | None:
    return {_clean(token): _number(logprob) for token, logprob in value.items()} if isinstance(value, dict) else None


COMPLETION_LOGPROBS = _Logprobs()


def _answer(text: Any) -> Object:
    return Object(
        {
            "object": Forced("text_completion"),
            "created": _COUNT,
            "model": _ID,
            "choices": Array(
                Object({"index": _INDEX, "text": text, "finish_reason": _FINISH, "logprobs": COMPLETION_LOGPROBS}),
                MAX_CHOICES,
            ),
            "usage": USAGE,
            "system_fingerprint": Dropped(),
        }
    )


COMPLETION_RESPONSE = _answer(Text(Surface.ASSISTANT, nullable=False))
"""A whole completion. ``id`` is replaced by ours: an upstream's can spell anything."""

COMPLETION_CHUNK = _answer(PIECE)
"""One event of a streamed completion; its texts are assembled and judged as `COMPLETION_RESPONSE`."""

"""``/v1/embeddings`` as `proxy.api.Api`: its input is judged, its answers are numbers.

Source: OpenAI's API reference as of openai-python 3.54. An embedding is a list of numbers, or base64 of little-endian 32-bit
floats; both are held to magnitudes that embeddings have, which text read as floats mostly has not. The answer's one name,
``model``, is the one that the client gave. There is no output stage, no stream, and a refusal is an error on every route: an
answer whose text is the refusal would have to be a vector.
"""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Mapping
from typing import Any, NoReturn

from proxy.api import Asked
from proxy.chat_api import NEVER, REINTERPRETS, USAGE
from proxy.errors import bad_upstream
from proxy.hold import Hold
from proxy.schema import Array, Choice, Collection, Forced, Misfit, Number, Object, Refused, Text
from proxy.text_input import MAX_TEXTS, Texts
from rules.content import Path, Surface

MAX_DIMENSIONS = 65_536
MAX_MAGNITUDE = 1e6
"""Largest absolute value of one number of an embedding."""


class _NoStream:
    """``stream``: only false, which clients send although there is nothing to stream."""

    def clean(self, value: Any, path: Path, into: Collection) -> Any:
        return False if value is False else into.wrong(path, "embeddings are not streamed", "unsupported_field")


EMBEDDING_REQUEST = Object(
    {
        **REINTERPRETS,
        "model": Text(Surface.METADATA),
        "input": Texts(Surface.USER, may_be_files=True),
        "dimensions": Number(1, MAX_DIMENSIONS, whole=True),
        "encoding_format": Choice(frozenset(("float", "base64")), closed=True),
        "user": Text(Surface.METADATA),
        "stream": _NoStream(),
        "messages": Refused("is a field of /v1/chat/completions"),
        "moderation": Refused("is a field of /v1/chat/completions"),
    },
    ("input", "model"),
    NEVER,
)


class _Vector:
    """Numbers, or base64 of nothing but 32-bit floats."""

    def clean(self, value: Any, path: Path, into: Collection) -> Any:
        if isinstance(value, str):
            return value if _is_vector(value) else into.wrong(path, "is not base64 of 32-bit floats")
        if not isinstance(value, list) or not 0 < len(value) <= MAX_DIMENSIONS:
            return into.wrong(path, "must be an embedding", "invalid_type")
        is_good = all(
            isinstance(x, (int, float)) and not isinstance(x, bool) and -MAX_MAGNITUDE <= x <= MAX_MAGNITUDE
            for x in value
        )
        return value if is_good else into.wrong(path, "must be numbers")


def _is_vector(text: str) -> bool:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    if not data or len(data) % 4 or len(data) > 4 * MAX_DIMENSIONS or base64.b64encode(data).decode() != text:
        return False
    return all(abs(x) <= MAX_MAGNITUDE for (x,) in struct.iter_unpack("<f", data))  # false for NaN too


EMBEDDING_RESPONSE = Object(
    {
        "object": Forced("list"),
        "data": Array(
            Object(
                {
                    "object": Forced("embedding"),
                    "index": Number(0, MAX_TEXTS - 1, whole=True),
                    "embedding": _Vector(),
                }
            ),
            MAX_TEXTS,
        ),
        "usage": USAGE,
    }
)


class EmbeddingsApi:
    """Embeddings; see `proxy.api.Api`."""

    path = "/embeddings"
    content_field = "input"
    speaks = False
    lists_moderation = True

    def read_request(self, raw: Any, into: Collection) -> dict[str, Any]:
        """See `proxy.api.Api`."""
        body: dict[str, Any] = EMBEDDING_REQUEST.clean(raw, (), into)
        return body

    def asked(self, body: Mapping[str, Any], request_id: str) -> Asked:
        """See `proxy.api.Api`."""
        return Asked(answer_id=request_id, model=body["model"])

    def advise(self, body: dict[str, Any], text: str) -> bool:
        """See `proxy.api.Api`: what is embedded is not read as instructions."""
        return False

    def read_answer(self, raw: Any, into: Collection, asked: Asked) -> dict[str, Any]:
        """See `proxy.api.Api`."""
        answer = EMBEDDING_RESPONSE.clean(raw, (), into)
        data = answer.get("data") if isinstance(answer, dict) else None
        if not data or not all("embedding" in entry for entry in data):
            raise Misfit(("data",), "must be embeddings", "missing_field")
        for i, entry in enumerate(data):
            entry.setdefault("index", i)
            entry.setdefault("object", "embedding")
        return {"object": "list", **answer, "model": asked.model}

    def without_details(self, answer: dict[str, Any]) -> None:
        """See `proxy.api.Api`: there is no text that could be spelled twice."""

    def refusal(self, asked: Asked, text: str, usage: Mapping[str, Any] | None) -> NoReturn:
        """Never asked for, see `proxy.api.Api.speaks`."""
        raise TypeError("an embedding has no text")

    def refusal_stream(self, asked: Asked, text: str, usage: Mapping[str, Any] | None) -> NoReturn:
        """Never asked for, see `proxy.api.Api.speaks`."""
        raise TypeError("an embedding has no text")

    def as_stream(self, asked: Asked, answer: dict[str, Any]) -> NoReturn:
        """Never asked for: no request for a stream is let through."""
        raise TypeError("embeddings are not streamed")

    def error_stream(self, body: Mapping[str, Any]) -> NoReturn:
        """Never asked for: no request for a stream is let through."""
        raise TypeError("embeddings are not streamed")

    def new_stream(self, asked: Asked, hold: Hold, max_bytes: int, hidden: str | None) -> NoReturn:
        """An upstream that streams embeddings cannot be read.

        Raises:
            HttpError: 502.
        """
        raise bad_upstream()

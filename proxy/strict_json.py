"""JSON that means one thing only: what we judge is what any other parser would read.

Refused, with the place where it is known: bytes that are not UTF-8, a byte-order mark, duplicate keys at any depth, NaN and
infinities, integers beyond 2**53, unpaired surrogates, control characters other than tab and line ends, trailing data.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

import orjson

MAX_INT = 2**53
"""Larger integers are read differently by parsers that use doubles (RFC 8259, section 6)."""

_UNKNOWN = object()
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")


class JsonError(ValueError):
    """The bytes are not JSON that has one meaning; ``code`` is a short stable word."""

    def __init__(self, message: str, code: str = "invalid_json") -> None:
        super().__init__(message)
        self.code = code


def parse_json(raw: bytes) -> Any:
    """Parse one JSON text strictly.

    Raises:
        JsonError: See the top of the file. The message never quotes content.
    """
    if (value := _parse_compact(raw)) is not _UNKNOWN:
        return value
    if raw.startswith(b"\xef\xbb\xbf"):
        raise JsonError("the body begins with a byte-order mark; send plain UTF-8", "invalid_encoding")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as e:
        raise JsonError(f"the body is not UTF-8 (byte {e.start})", "invalid_encoding") from None
    return _parse_strictly(text)


def parse_json_text(text: str) -> Any:
    """Like `parse_json`, for text that is decoded already."""
    try:
        value = _parse_compact(text.encode())
    except UnicodeEncodeError:
        value = _UNKNOWN
    if value is not _UNKNOWN:
        return value
    return _parse_strictly(text)


def _parse_compact(raw: bytes) -> Any:
    """The value of a text that is exactly what we would write for it; `_UNKNOWN` for every other text.

    orjson is ten times faster than the decoder below but keeps silent about duplicate keys and large integers. A text
    that comes out again byte for byte has lost nothing on the way in: no key twice, no number rounded or overflown, no
    second encoding. Most clients and servers write such compact JSON.
    """
    try:
        value = orjson.loads(raw)
        return value if orjson.dumps(value, option=orjson.OPT_STRICT_INTEGER) == raw else _UNKNOWN
    except (ValueError, TypeError):  # not JSON, a large integer, nested deeply: the strict decoder says what is wrong
        return _UNKNOWN


def _parse_strictly(text: str) -> Any:
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as e:
        raise JsonError(f"not valid JSON: {e.msg} (line {e.lineno}, column {e.colno})") from None
    except RecursionError:
        raise JsonError("nested too deeply", "too_deep") from None


def check_text(text: str) -> str | None:
    """Why a string cannot be passed on, or None: unpaired surrogates and control characters have no safe reading."""
    if _CONTROL.search(text):
        return "contains a control character"
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            return "contains an unpaired surrogate"
    return None


def dump_json(value: Any) -> bytes:
    """Compact UTF-8 JSON of a judged object."""
    return orjson.dumps(value)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                shown = key if re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", key) else "…"
                raise JsonError(f"duplicate key {shown!r}", "duplicate_key")
            seen.add(key)
    return out


def _int(digits: str) -> int:
    if len(digits) > 17 or abs(int(digits)) > MAX_INT:
        raise JsonError("an integer is larger than 2**53", "invalid_number")
    return int(digits)


def _float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise JsonError("a number is not finite", "invalid_number")
    return value


def _constant(word: str) -> Any:
    raise JsonError(f"{word} is not JSON", "invalid_number")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_int=_int, parse_float=_float, parse_constant=_constant)

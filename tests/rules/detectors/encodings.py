"""Ways to encode a text that a reader or a model can undo, for tests that must find it again."""

from __future__ import annotations

import base64
from collections.abc import Callable


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _wrapped(width: int) -> Callable[[str], str]:
    def encode(text: str) -> str:
        run = _base64("A few words before it, so that lines are full: " + text)
        return "\r\n".join(run[i : i + width] for i in range(0, len(run), width))

    return encode


def _units(form: str) -> Callable[[str], str]:
    """One escape for every UTF-16 unit."""

    def encode(text: str) -> str:
        data = text.encode("utf-16-be")
        return "".join(form.format(int.from_bytes(data[i : i + 2], "big")) for i in range(0, len(data), 2))

    return encode


ESCAPES: dict[str, Callable[[str], str]] = {
    "percent": lambda text: "".join(f"%{byte:02X}" for byte in text.encode()),
    "percent-u": _units("%u{:04x}"),
    "decimal-entities": lambda text: "".join(f"&#{ord(c)};" for c in text),
    "hexadecimal-entities": lambda text: "".join(f"&#x{ord(c):05X};" for c in text),
    "entities-without-end": lambda text: "".join(f"&#{ord(c)}" for c in text),
    "u-escapes": _units("\\u{:04x}"),
    "u-escapes-in-json": _units("\\\\u{:04X}"),
    "braced-u-escapes": lambda text: "".join(f"\\u{{{ord(c):x}}}" for c in text),
    "long-u-escapes": lambda text: "".join(f"\\U{ord(c):08x}" for c in text),
    "x-escapes": lambda text: "".join(f"\\x{byte:02x}" for byte in text.encode()),
}
"""Decoded where they stand, character by character."""

RUNS: dict[str, Callable[[str], str]] = {
    "base64": _base64,
    "base64-without-padding": lambda text: _base64(text).rstrip("="),
    "base64-url-safe": lambda text: base64.urlsafe_b64encode(f"??>>{text}~~".encode()).decode(),
    "base64-in-lines-of-76": _wrapped(76),
    "base64-in-lines-of-8": _wrapped(8),
    "hexadecimal": lambda text: text.encode().hex(),
    "hexadecimal-capitals": lambda text: text.encode().hex().upper(),
    "hexadecimal-pairs": lambda text: text.encode().hex(" "),
    "hexadecimal-with-colons": lambda text: text.encode().hex(":"),
}
"""Decoded and masked as a whole."""

LAYERED: dict[str, Callable[[str], str]] = {
    "base64-twice": lambda text: _base64(_base64(text)),
    "base64-of-hexadecimal": lambda text: _base64(text.encode().hex()),
    "hexadecimal-of-base64": lambda text: _base64(text).encode().hex(),
    "base64-of-percent": lambda text: _base64(ESCAPES["percent"](text)),
    "percent-twice": lambda text: ESCAPES["percent"](ESCAPES["percent"](text)),
    "entities-of-base64": lambda text: ESCAPES["decimal-entities"](_base64(text)),
    "base64-of-fullwidth": lambda text: _base64("".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)),
    "invisible-in-base64": lambda text: "\u200b".join(_base64(text)),
}
"""Two steps each."""

"""The head of a GGUF file: enough to know a model's shape without loading it, and without llama.cpp.

The format is ``docs/gguf.md`` of ggml, versions 2 and 3, little-endian::

    "GGUF"  version: u32  n_tensors: u64  n_pairs: u64
    pairs:  key: string   type: u32   value          string: length (u64) and bytes
                                                     array: type (u32), count (u64), values
    tensors …

Read front to back in one pass. Nothing is believed: lengths are held against what is left of the file and against
`MAX_BYTES`, so that a forged file costs bounded time and memory. Vocabularies are walked over, not kept.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeAlias

from models.errors import ModelLoadError

MAX_BYTES = 256 * 1024 * 1024
"""Longest head. That of gpt-oss, with 201,088 tokens and their merges, has about 13 MB."""
_MAX_PAIRS = 65_536
_MAX_KEPT_BYTES = 4_096
"""Longer values are walked over: chat templates, licences."""
_MAX_KEPT_ITEMS = 1_024
_BUFFER_BYTES = 1 << 20

_STRING, _ARRAY = 8, 9
_FORMATS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_SCALARS = {number: struct.Struct(f"<{code}") for number, code in _FORMATS.items()}
_U32, _U64 = _SCALARS[4], _SCALARS[10]


_CUT = "the head of the file is cut short, or longer than any model's"


class HeaderError(ModelLoadError):
    """The head of the file cannot be understood."""


@dataclass(frozen=True, slots=True)
class Length:
    """Stands for an array of which only its length was kept."""

    n_items: int


Scalar: TypeAlias = bool | int | float | str
Value: TypeAlias = Scalar | tuple[Scalar, ...] | Length


def read_header(path: Path) -> Mapping[str, Value]:
    """Read the key-value pairs of a GGUF file.

    Args:
        path: The file; of a split model the first, which has them all.

    Returns:
        Value by key. Long strings are left out; of long arrays, and of all arrays of strings, only the length is kept.

    Raises:
        HeaderError: It is not a GGUF of a version that we know, is cut short, or says impossible things.
        ModelLoadError: It cannot be read.
    """
    return _read(path)


def architecture_of(path: Path) -> str:
    """The architecture that a GGUF file names, read as far as it takes: it stands at the beginning.

    Raises:
        HeaderError, ModelLoadError: As `read_header`; also where none is named.
    """
    found = _read(path, "general.architecture").get("general.architecture")
    if not isinstance(found, str):
        raise HeaderError(f"{path}: names no architecture")
    return found


def _read(path: Path, until: str | None = None) -> dict[str, Value]:
    try:
        with path.open("rb", buffering=_BUFFER_BYTES) as file:
            return _Reader(file, min(path.stat().st_size, MAX_BYTES)).pairs(until)
    except HeaderError as error:
        raise HeaderError(f"{path}: {error}") from None
    except OSError as error:
        raise ModelLoadError(f"cannot read model file {path}: {type(error).__name__}") from None


class _Reader:
    def __init__(self, file: BinaryIO, n_bytes: int) -> None:
        self._file = file
        self._left = n_bytes

    def pairs(self, until: str | None = None) -> dict[str, Value]:
        if self._take(4) != b"GGUF":
            raise HeaderError("not a GGUF file")
        version = self._number(_U32)
        if version not in (2, 3):  # 1 had 32-bit lengths; big-endian files show as huge numbers
            raise HeaderError(f"GGUF version {version} is not known here")
        self._number(_U64)
        n_pairs = self._number(_U64)
        if n_pairs > _MAX_PAIRS:
            raise HeaderError(f"{n_pairs} key-value pairs are too many")
        found: dict[str, Value] = {}
        for _ in range(n_pairs):
            key = self._string()
            if key is None or key in found:
                raise HeaderError("a key is too long or is there twice")
            value = self._value(self._number(_U32))
            if value is not None:
                found[key] = value
            if key == until:
                break
        return found

    def _value(self, kind: int) -> Value | None:
        if kind == _STRING:
            return self._string()
        if kind == _ARRAY:
            return self._array()
        return self._scalar(self._format(kind))

    def _array(self) -> Value:
        kind, n_items = self._number(_U32), self._number(_U64)
        if kind == _STRING:
            for _ in range(n_items):  # each takes eight bytes at least, so the end of the file ends this too
                self._skip(self._number(_U64))
            return Length(n_items)
        form = self._format(kind)  # arrays of arrays are in the format, but llama.cpp reads none either
        if n_items <= _MAX_KEPT_ITEMS:
            return tuple(self._scalar(form) for _ in range(n_items))
        self._skip(n_items * form.size)
        return Length(n_items)

    def _string(self) -> str | None:
        n_bytes = self._number(_U64)
        if n_bytes > _MAX_KEPT_BYTES:
            self._skip(n_bytes)
            return None
        return self._take(n_bytes).decode("utf-8", "replace")

    def _format(self, kind: int) -> struct.Struct:
        if kind not in _SCALARS:
            raise HeaderError(f"a value has the unknown type {kind}")
        return _SCALARS[kind]

    def _scalar(self, form: struct.Struct) -> Scalar:
        value: Scalar = form.unpack(self._take(form.size))[0]
        return value

    def _number(self, form: struct.Struct) -> int:
        number: int = form.unpack(self._take(form.size))[0]
        return number

    def _skip(self, n_bytes: int) -> None:
        if n_bytes > self._left:  # before the loop: a forged length must not be read for
            raise HeaderError(_CUT)
        while n_bytes > _BUFFER_BYTES:
            self._take(_BUFFER_BYTES)
            n_bytes -= _BUFFER_BYTES
        self._take(n_bytes)

    def _take(self, n_bytes: int) -> bytes:
        self._left -= n_bytes
        data = self._file.read(n_bytes) if self._left >= 0 else b""
        if len(data) != n_bytes:
            raise HeaderError(_CUT)
        return data

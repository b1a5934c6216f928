from __future__ import annotations

import contextlib
import random
import struct
import time
from collections.abc import Mapping
from pathlib import Path

import gguf
import pytest

from models.catalog import EMBEDDED_PATH
from models.errors import ModelLoadError
from models.gguf_header import HeaderError, Length, Value, read_header
from models.memory import read_shape

TINY = Path(__file__).parents[1] / "data" / "tiny-gpt-oss.gguf"


def string(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def pair(key: str, kind: int, value: bytes) -> bytes:
    return string(key) + struct.pack("<I", kind) + value


def head(*pairs: bytes, version: int = 3, n_pairs: int | None = None) -> bytes:
    n = len(pairs) if n_pairs is None else n_pairs
    return b"GGUF" + struct.pack("<IQQ", version, 0, n) + b"".join(pairs)


def array(kind: int, n_items: int, items: bytes) -> bytes:
    return struct.pack("<IQ", kind, n_items) + items


U32, STRING, ARRAY = 4, 8, 9
SEVEN = struct.pack("<I", 7)


def read(tmp_path: Path, data: bytes) -> Mapping[str, Value]:
    path = tmp_path / "model.gguf"
    path.write_bytes(data)
    return read_header(path)


@pytest.mark.parametrize("path", [TINY, EMBEDDED_PATH], ids=["test-model", "shipped-encoder"])
def test_a_head_is_read_as_the_gguf_package_reads_it(path: Path) -> None:
    header = read_header(path)
    fields = gguf.GGUFReader(path).fields
    assert {key for key in fields if not key.startswith("GGUF.")} == set(header)
    for key, value in header.items():
        expected = fields[key].contents()
        match value:
            case Length(n_items):
                assert n_items == len(expected)
            case tuple():
                assert list(value) == expected
            case _:
                assert value == expected


def test_values_of_every_type_are_read(tmp_path: Path) -> None:
    scalars: dict[int, tuple[str, float]] = {
        0: ("B", 255),
        1: ("b", -1),
        2: ("H", 65_535),
        3: ("h", -2),
        4: ("I", 2**32 - 1),
        5: ("i", -3),
    }
    scalars |= {6: ("f", 0.5), 7: ("?", True), 10: ("Q", 2**64 - 1), 11: ("q", -4), 12: ("d", 0.1)}
    pairs = [pair(str(kind), kind, struct.pack(f"<{code}", value)) for kind, (code, value) in scalars.items()]
    pairs.append(pair("text", STRING, string("brötchen")))
    expected: dict[str, object] = {str(kind): value for kind, (_, value) in scalars.items()}
    assert read(tmp_path, head(*pairs)) == expected | {"text": "brötchen"}
    assert read(tmp_path, head(*pairs, version=2)) == expected | {"text": "brötchen"}


def test_of_long_values_only_the_length_is_kept(tmp_path: Path) -> None:
    pairs = (
        pair("few", ARRAY, array(U32, 2, SEVEN * 2)),
        pair("many", ARRAY, array(U32, 5_000, SEVEN * 5_000)),
        pair("words", ARRAY, array(STRING, 3, string("a") * 3)),
        pair("template", STRING, string("x" * 3_000_000)),
        pair("last", U32, SEVEN),
    )
    assert read(tmp_path, head(*pairs)) == {"few": (7, 7), "many": Length(5_000), "words": Length(3), "last": 7}


HUGE = struct.pack("<Q", 2**63)
CORRUPT = {
    "empty": b"",
    "another-format": b"PK\x03\x04" + bytes(64),
    "magic-only": b"GGUF",
    "version-1": head(version=1),
    "big-endian": b"GGUF" + struct.pack(">IQQ", 3, 0, 0),
    "too-many-pairs": head(n_pairs=2**62),
    "fewer-pairs-than-said": head(pair("a", U32, SEVEN), n_pairs=2),
    "cut-in-a-value": head(pair("a", U32, SEVEN))[:-1],
    "cut-in-a-key": head(string("abc")[:-1], n_pairs=1),
    "huge-key": head(HUGE, n_pairs=1),
    "long-key": head(pair("k" * 10_000, U32, SEVEN)),
    "same-key-twice": head(pair("a", U32, SEVEN), pair("a", U32, SEVEN)),
    "unknown-type": head(pair("a", 13, SEVEN)),
    "huge-string": head(pair("a", STRING, HUGE)),
    "huge-array": head(pair("a", ARRAY, struct.pack("<IQ", U32, 2**62))),
    "huge-array-of-strings": head(pair("a", ARRAY, struct.pack("<IQ", STRING, 2**62))),
    "huge-string-in-an-array": head(pair("a", ARRAY, array(STRING, 1, HUGE))),
    "array-of-arrays": head(pair("a", ARRAY, array(ARRAY, 1, array(U32, 1, SEVEN)))),
    "array-of-unknown-type": head(pair("a", ARRAY, array(99, 1, SEVEN))),
}


@pytest.mark.parametrize("data", [pytest.param(data, id=name) for name, data in CORRUPT.items()])
def test_a_corrupt_head_is_an_error_that_names_the_file(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(HeaderError, match=r"model\.gguf"):
        read(tmp_path, data)


SIZES = (
    "block_count",
    "embedding_length",
    "feed_forward_length",
    "context_length",
    "attention.head_count",
    "vocab_size",
)
TINY_PAIRS = (
    pair("general.architecture", STRING, string("a")),
    *(pair(f"a.{name}", U32, SEVEN) for name in SIZES),
    pair("a.attention.head_count_kv", ARRAY, array(U32, 7, SEVEN * 7)),
    pair("tokenizer.ggml.tokens", ARRAY, array(STRING, 3, string("a") * 3)),
)


def test_flipped_bytes_and_cuts_raise_nothing_else(tmp_path: Path) -> None:
    whole = head(*TINY_PAIRS)
    chance = random.Random(7)
    for _ in range(300):
        data = bytearray(whole[: chance.choice([len(whole), chance.randrange(len(whole))])])
        for _ in range(chance.randrange(4)):
            if data:
                data[chance.randrange(len(data))] = chance.randrange(256)
        with contextlib.suppress(HeaderError):  # any other exception fails the test
            read_shape(read(tmp_path, bytes(data)))


def test_a_forged_file_without_an_end_is_given_up_in_time(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    with path.open("wb") as file:
        file.write(head(pair("a", ARRAY, struct.pack("<IQ", 0, 2**40))))
        file.truncate(2**42)  # sparse
    began = time.process_time()
    with pytest.raises(HeaderError):
        read_header(path)
    assert time.process_time() - began < 1


def test_a_missing_file_is_a_load_error(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="FileNotFoundError"):
        read_header(tmp_path / "nowhere.gguf")

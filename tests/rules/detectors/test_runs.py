"""Runs of base64 and hexadecimal digits."""

from __future__ import annotations

import base64
import hashlib
import random
import time
import uuid

import pytest

from rules.detectors import runs
from rules.detectors.runs import find_runs, is_written, joins_words
from rules.errors import TooMuchToDecode
from tests.rules.detectors.encodings import RUNS

_RANDOM = random.Random(7)


def noise(n: int) -> bytes:
    return _RANDOM.randbytes(n)


@pytest.mark.parametrize("encode", RUNS.values(), ids=RUNS)
@pytest.mark.parametrize(
    "said", ["ZQ-MARK-7781", "Grüße aus Köln, ZQ-MARK", "Привет, мир, ZQ", "这是一个秘密消息", "line\none more\tline"]
)
@pytest.mark.parametrize(
    ("before", "after"),
    [("", ""), ("See İ 👨‍👩‍👧 é: ", " é."), ('x="', '",\nnext line')],
    ids=["alone", "prose", "code"],
)
def test_a_run_is_found_whole_at_its_place(encode: object, said: str, before: str, after: str) -> None:
    assert callable(encode)
    run = encode(said)
    (found,) = find_runs(before + run + after)
    assert (found.start, found.end) == (len(before), len(before) + len(run))
    assert said in found.decoded
    assert said not in repr(found)


@pytest.mark.parametrize(
    "glued",
    [
        pytest.param("/r/{}?x=1", id="path"),
        pytest.param("base64{}", id="prefix"),
        pytest.param("{}Thanks", id="suffix"),
        pytest.param("data:text/plain;base64,{}", id="data-url"),
        pytest.param("{}\nThanks\nBob", id="lines-of-one-word"),
    ],
)
def test_what_is_glued_to_a_run_does_not_hide_it(glued: str) -> None:
    text = glued.format("WlEtTUFSSy03Nzgx")
    (found,) = find_runs(text)
    assert "ZQ-MARK-7781" in found.decoded
    assert "WlEtTUFSSy03Nzgx" in text[found.start : found.end]


BENIGN = {
    "uuids": " ".join(str(uuid.UUID(bytes=noise(16))) for _ in range(200)),
    "hashes": " ".join(hashlib.sha256(noise(8)).hexdigest() for _ in range(200)),
    "git": " ".join(hashlib.sha1(noise(8)).hexdigest() for _ in range(200)),
    "trace-ids": " ".join(noise(8).hex() for _ in range(200)),
    "signature": "." + base64.urlsafe_b64encode(noise(256)).decode().rstrip("="),
    "binary": base64.b64encode(noise(50_000)).decode(),
    "wrapped-binary": base64.encodebytes(noise(20_000)).decode(),
    "short-ids": " ".join(base64.b64encode(noise(12)).decode() for _ in range(200)),
    "colours": "color: #4a5b6c; background: #FFEEDD80; border: 1px solid #777",
    "urls": "https://host.test/v1/chat/completions?page=2&sort=name&ids=41,42,43,44,45,46,47",
    "numbers": "4111 1111 1111 1111, 20 25 30 35 40 45 50 55 60, +44 20 7946 0958, 3141592653589793238462643383279502884197",
    "dates": "2024-07-15 12:30:45, 2024-07-16T12:30:45.123456Z, 52:54:00:4a:5b:6c",
    "code": "def getElementsByTagNameAndClass(self, internationalization_options=None): return self._cachedElementReferences",
    "script": "!function(e,t){var n=e.documentElement.getBoundingClientRect();window.requestAnimationFrame(t)}(document,n)",
    "words": "Donaudampfschifffahrtsgesellschaft state-of-the-art /usr/local/lib/python3/site-packages/setuptools",
    "words-in-capitals": "INTERNATIONALIZATION_NOT_IMPLEMENTED SQLSTATE_CONNECTION_EXCEPTION",
    "lines": "\n".join(["Apple", "Banana", "Cucumber", "Strawberries", "Elderberries"]),
}


@pytest.mark.parametrize("text", BENIGN.values(), ids=BENIGN)
def test_ids_hashes_code_and_words_hold_no_text(text: str) -> None:
    assert [run.decoded for run in find_runs(text)] == []


@pytest.mark.parametrize("n", [12, 24, 64])
def test_random_ids_read_as_text_in_fewer_than_one_of_a_hundred_cases(n: int) -> None:
    ids = " ".join(base64.b64encode(noise(n)).decode() for _ in range(2000))
    assert len(find_runs(ids)) < 20


def test_more_runs_than_are_decoded_leave_a_text_undecided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "MAX_RUNS", 3)
    assert len(find_runs("WlEtTUFSSy03Nzgx " * 3)) == 3
    with pytest.raises(TooMuchToDecode):
        find_runs("WlEtTUFSSy03Nzgx " * 4)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("WlEtTUFS+/8Azzz9\n" * 20_000, id="lines-that-say-nothing"),
        pytest.param("5a 51 " * 100_000, id="pairs"),
        pytest.param("5a51" * 200_000, id="digits"),
        pytest.param(("WlEtTUFSSy03" + " " * 20_000) * 20, id="spaces"),
        pytest.param("a" * 500_000, id="one-letter"),
        pytest.param("WlEtTUFS" * 100_000, id="one-run"),
    ],
)
def test_runs_are_sought_in_linear_time(text: str) -> None:
    started = time.process_time()
    find_runs(text)
    assert time.process_time() - started < 10


def test_encrypted_data_is_not_taken_for_something_written() -> None:
    for n in (192, 500, 4000, 40_000):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            data = [encode(noise(n)).decode() for _ in range(50)]
            assert not any(map(is_written, data))
            assert not any(map(joins_words, data))


@pytest.mark.parametrize("unit", [b"\0", b"\xff", b"abc", b"\x6d\xb6\xdb", b"i\xb7\x1d\xfb\xff\xbf", bytes(range(256))])
def test_data_that_repeats_is_not_taken_for_something_written(unit: bytes) -> None:
    data = base64.b64encode(unit * 600).decode()
    assert not joins_words(data)
    assert not is_written(data)


@pytest.mark.parametrize("sign", ["-", "_", "/", "+"])
def test_words_between_data_are_found(sign: str) -> None:
    words = sign.join(["nobody", "here", "should", "read", "what", "stands", "in", "the", "middle", "of", "it"])
    data = base64.b64encode(noise(3000)).decode()
    assert joins_words(f"{data}{words}{data}")
    assert is_written(f"{data}{words}{data}")


@pytest.mark.parametrize(
    "text", ["nobody here should read this", "NOBODY HERE SHOULD READ THIS", "Nobody Here Should Read This"]
)
def test_words_without_signs_are_found_if_they_fill_a_window(text: str) -> None:
    data = base64.b64encode(noise(3000)).decode()
    written = text.replace(" ", "") * 20
    assert is_written(written[:256])
    assert is_written(f"{data}{written}{data}")

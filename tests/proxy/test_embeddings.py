"""Embeddings: the input is text, the answer numbers."""

from __future__ import annotations

import base64
import struct
from typing import Any

import pytest

from proxy.api import Asked
from proxy.embeddings import EmbeddingsApi
from proxy.errors import HttpError
from proxy.hold import Hold, StreamMode
from proxy.schema import Collection, Misfit
from rules.content import Surface, show_path
from tests.proxy.endpoint_examples import EMBEDDING_REQUEST, EMBEDDING_RESPONSE, VECTOR
from tests.proxy.examples import marked, strings

MARK = "ZQ-MARK-7781"
API = EmbeddingsApi()
ASKED = Asked("id", "asked")


def clean(body: dict[str, Any]) -> tuple[dict[str, Any], Collection]:
    into = Collection(strict=True)
    return API.read_request(body, into), into


def read(raw: Any) -> tuple[dict[str, Any], Collection]:
    into = Collection(strict=False)
    return API.read_answer(raw, into, ASKED), into


def floats(*values: float) -> str:
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()


def test_a_mark_anywhere_in_a_request_is_refused_or_judged() -> None:
    met = {"refused": 0, "judged": 0}
    for path, what, body in marked(EMBEDDING_REQUEST, MARK):
        try:
            out, into = clean(body)
        except Misfit:
            met["refused"] += 1
            continue
        crossing = {s for s in strings(out) if MARK in s}
        assert crossing, (show_path(path), what)
        assert crossing <= {leaf.text for leaf in into.leaves}, (show_path(path), what)
        met["judged"] += 1
    assert min(met.values()) > 3


def test_a_mark_anywhere_in_an_answer_is_absent() -> None:
    for path, what, body in marked(EMBEDDING_RESPONSE, MARK):
        try:
            out, into = read(body)
        except Misfit:
            continue
        assert MARK not in "".join(strings(out)), (show_path(path), what)
        assert into.leaves == []


def test_an_answer_is_rebuilt_under_the_name_that_was_asked_for() -> None:
    out, _ = read(EMBEDDING_RESPONSE)
    assert out == {
        "object": "list",
        "model": "asked",
        "data": [
            {"object": "embedding", "index": 0, "embedding": [0.1, -2, 3e-4]},
            {"object": "embedding", "index": 1, "embedding": VECTOR},
        ],
        "usage": {"prompt_tokens": 1, "total_tokens": 1},
    }


@pytest.mark.parametrize("value", [[1, 2], [[1]], ["a", 1], 5, {"text": "a"}, [], None, [None], [{"type": "text"}]])
def test_an_input_that_is_not_text_is_refused(value: Any) -> None:
    with pytest.raises(Misfit) as caught:
        clean({"model": "m", "input": value})
    assert caught.value.path[0] == "input"


@pytest.mark.parametrize("name", ["messages", "moderation", "prompt", "truncate_prompt_tokens", "chat_template"])
def test_fields_that_say_something_else_is_embedded_are_refused(name: str) -> None:
    with pytest.raises(Misfit) as caught:
        clean({"model": "m", "input": "a", name: "x"})
    assert (caught.value.path, caught.value.code) == ((name,), "unsupported_field")


def test_a_stream_of_embeddings_is_refused() -> None:
    with pytest.raises(Misfit):
        clean({"model": "m", "input": "a", "stream": True})
    with pytest.raises(HttpError) as caught:
        API.new_stream(ASKED, Hold(StreamMode.BUFFER, 1, 1), 1, None)
    assert caught.value.status == 502


@pytest.mark.parametrize("url", ["data:image/png;base64,AAAA", f"data:image/png;base64,{'iVBORw0KGgo' * 40}"])
def test_an_image_in_place_of_text_is_opaque(url: str) -> None:
    for value, paths in ((url, [("input",)]), (["a", url], [("input", 1)])):
        out, into = clean({"model": "m", "input": value})
        assert (out["input"], into.opaque, into.may_act) == (value, paths, True)


def test_the_input_is_what_the_user_says() -> None:
    _, into = clean({"model": "m", "input": ["a", "b"]})
    assert [leaf.text for leaf in into.leaves if leaf.surface is Surface.USER] == ["a", "b"]


@pytest.mark.parametrize(
    "value",
    [
        MARK, "not base64!", "", "AAAA", floats(1.0)[:-1], floats(1.0) + "\n", " " + floats(1.0), floats(float("nan")),
        floats(float("inf")), floats(1e7), base64.b64encode(b"plain english text as bytes!").decode(), floats(0.1).replace("=", ""),
        [], ["0.1"], [True], [None], [[0.1]], [1e7], {"0": 1}, 5, None, [0.0] * 65_537,
    ],
)  # fmt: skip
def test_what_is_no_embedding_is_not_passed_on(value: Any) -> None:
    with pytest.raises(Misfit):
        read({"data": [{"index": 0, "embedding": [0.5]}, {"index": 1, "embedding": value}]})


@pytest.mark.parametrize("raw", [{}, {"data": []}, {"data": None}, {"data": [{}]}, [], "x", None])
def test_what_is_no_list_of_embeddings_cannot_be_read(raw: Any) -> None:
    with pytest.raises(Misfit):
        read(raw)

"""Errors as servers write them, and what of them may cross."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.schema import Collection
from proxy.upstream_errors import ERROR_BODY, in_openais_shape

MARK = "ZQ-MARK-7781"


def read(raw: Any) -> tuple[dict[str, Any], list[str]]:
    """An error as it would cross, and the texts that are to be judged for that."""
    into = Collection(strict=False)
    return ERROR_BODY.clean(in_openais_shape(raw), (), into)["error"], [leaf.text for leaf in into.leaves]


OPENAI = {"message": "No.", "type": "invalid_request_error", "param": "messages", "code": "context_length_exceeded"}


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        pytest.param({"error": OPENAI}, OPENAI, id="openai"),
        pytest.param({"error": {**OPENAI, "code": 400}}, {**OPENAI, "code": "400"}, id="a-number"),
        pytest.param(
            {"object": "error", "message": "No.", "type": "BadRequestError", "param": None, "code": 400},
            {"message": "No.", "type": "BadRequestError", "param": None, "code": "400"},
            id="flat",
        ),
        pytest.param({"detail": "No."}, {"message": "No."}, id="detail"),
        pytest.param({"detail": {"error": OPENAI}}, OPENAI, id="wrapped"),
        pytest.param({"error": "No."}, {"message": "No."}, id="a-text"),
        pytest.param(
            {"error": "Bad Request", "message": "No.", "code": 7}, {"message": "No.", "code": "7"}, id="named"
        ),
        pytest.param(
            {"error": "No.", "code": "not_found"}, {"message": "No.", "code": "not_found"}, id="a-text-and-code"
        ),
        pytest.param(
            {"detail": [{"loc": ["body", "messages", 0], "msg": "too long", "type": "x"}, {"msg": "no model"}, 5]},
            {"message": "body.messages.0: too long; no model"},
            id="fastapi",
        ),
        pytest.param({"error": {"code": "insufficient_quota"}}, {"code": "insufficient_quota"}, id="no-message"),
    ],
)
def test_errors_of_all_servers_come_out_as_openais(raw: Any, error: dict[str, Any]) -> None:
    got, _ = read(raw)
    assert {k: v for k, v in got.items() if v is not None} == {k: v for k, v in error.items() if v is not None}


@pytest.mark.parametrize(
    "raw", [None, 5, "x", [], [MARK], {}, {"x": MARK}, {"detail": [5]}, {"error": [MARK]}, {"error": {}}]
)
def test_what_is_no_error_says_nothing(raw: Any) -> None:
    got, judged = read(raw)
    assert (any(got.values()), judged) == (False, [])


def test_all_that_could_spell_something_is_judged() -> None:
    got, judged = read(
        {"error": {"message": "a", "type": "b", "code": "c", "param": "d", "inner": MARK}, "detail": MARK}
    )
    assert got == {"message": "a", "type": "b", "code": "c", "param": "d"}
    assert judged == ["a", "b", "c", "d"]


@pytest.mark.parametrize("code", [4111111111111111, -5, True, 4.5, [MARK], {MARK: 1}])
def test_a_code_is_a_word_or_a_short_number(code: Any) -> None:
    got, judged = read({"error": {"message": "a", "code": code}})
    assert (got, judged) == ({"message": "a"}, ["a"])


def test_known_words_need_no_judging() -> None:
    assert read({"error": OPENAI})[1] == ["No."]

"""Errors that a client sees."""

from __future__ import annotations

import pytest

from proxy import errors
from proxy.errors import HttpError


@pytest.mark.parametrize(
    ("error", "status", "kind", "code"),
    [
        pytest.param(errors.bad_request("x", "m", "p"), 400, "invalid_request_error", "x", id="bad-request"),
        pytest.param(errors.not_found("GET", "/x"), 404, "invalid_request_error", "not_found", id="not-found"),
        pytest.param(errors.no_route(), 404, "invalid_request_error", "no_route", id="no-route"),
        pytest.param(errors.too_large(10), 413, "invalid_request_error", "request_too_large", id="too-large"),
        pytest.param(errors.guard_unavailable(), 503, "server_error", "guard_unavailable", id="guard-unavailable"),
        pytest.param(errors.bad_upstream(), 502, "server_error", "bad_upstream_response", id="bad-upstream"),
        pytest.param(errors.upstream_unreachable(), 502, "server_error", "upstream_unreachable", id="unreachable"),
        pytest.param(errors.upstream_timeout(), 504, "server_error", "upstream_timeout", id="timeout"),
        pytest.param(errors.upstream_failure(429, {}), 429, "rate_limit_error", "rate_limit_exceeded", id="429"),
        pytest.param(errors.upstream_failure(404, {}), 404, "invalid_request_error", "upstream_error", id="404"),
        pytest.param(errors.upstream_failure(500, {}), 500, "server_error", "upstream_error", id="500"),
        pytest.param(errors.upstream_failure(529, {}), 529, "server_error", "upstream_error", id="529"),
    ],
)
def test_every_error_has_openais_shape(error: HttpError, status: int, kind: str, code: str) -> None:
    body = error.body()["error"]
    assert error.status == status
    assert (body["type"], body["code"]) == (kind, code)
    assert list(body) == ["message", "type", "param", "code"]
    assert body["message"]


def test_a_bad_request_names_its_field() -> None:
    assert errors.bad_request("x", "m", "messages[0].role").body()["error"]["param"] == "messages[0].role"


def test_an_undecided_guard_says_when_to_come_back() -> None:
    assert int(errors.guard_unavailable().headers["Retry-After"]) > 0


def test_an_upstreams_retry_after_is_kept() -> None:
    assert errors.upstream_failure(429, {"Retry-After": "7"}).headers == {"Retry-After": "7"}


def test_a_body_that_was_not_read_closes_the_connection() -> None:
    assert errors.too_large(1).close
    assert not errors.no_route().close


@pytest.mark.parametrize("path", ["/v1/caf\u00e9", "/" + "x" * 200, "/v1/\x1b[31m", "/v1/\ud800"])
def test_an_odd_path_is_not_repeated(path: str) -> None:
    assert errors.not_found("GET", path).message == "GET this path is not served here"


def test_an_ordinary_path_is_repeated() -> None:
    assert errors.not_found("GET", "/v1/files").message == "GET /v1/files is not served here"


def test_an_error_can_be_raised_and_kept_in_a_set() -> None:
    error = errors.no_route()
    with pytest.raises(HttpError) as caught:
        raise error
    assert {caught.value} == {error}

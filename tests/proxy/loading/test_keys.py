"""Keys and tokens: where they are looked up, and that nobody shows them."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.loading.keys import is_loopback
from tests.proxy.configs import SMALL, changed, complaint, load


def test_a_key_written_where_its_variable_belongs_is_not_repeated(tmp_path: Path) -> None:
    said = complaint(tmp_path, changed("base_url: demo", "base_url: demo, api_key_env: sk-secret-1"))
    assert said.startswith("2: upstreams.default.api_key_env: ")
    assert "sk-secret" not in said


@pytest.mark.parametrize("value", ["two words", "schlüssel", "line\nend"])
def test_a_variable_that_holds_no_key_is_told_without_its_value(value: str, tmp_path: Path) -> None:
    said = complaint(tmp_path, changed("base_url: demo", "base_url: demo, api_key_env: KEY"), KEY=value)
    assert said.startswith("2: upstreams.default.api_key_env: environment variable KEY does not hold a key")
    assert value not in said


def test_a_key_is_read_from_its_variable_and_never_shown(tmp_path: Path) -> None:
    loaded = load(tmp_path, changed("base_url: demo", "base_url: demo, api_key_env: KEY"), KEY="sk-1\n")
    assert loaded.routes[0].upstream_key == "sk-1"
    assert "sk-1" not in repr(loaded)


def test_an_admin_token_is_read_from_its_variable_and_never_shown(tmp_path: Path) -> None:
    loaded = load(tmp_path, SMALL + "admin: {host: 0.0.0.0, token_env: TOKEN}\n", TOKEN="t-1")
    assert loaded.admin_token == "t-1"
    assert "t-1" not in repr(loaded)


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False),
     ("10.0.0.1", False), ("example.com", False), ("localhost.example.com", False), ("", False)],
)  # fmt: skip
def test_only_loopback_addresses_are_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected

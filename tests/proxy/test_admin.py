"""Who may ask the admin port."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.admin import Admin
from proxy.records import Metrics
from tests.end_to_end.servers import parse_http, raw
from tests.proxy.configs import SMALL, load
from tests.proxy.test_server import serving

GET = b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param(b"Authorization: Bearer sesame\r\n", 200, id="right"),
        pytest.param(b"", 401, id="none"),
        pytest.param(b"Authorization: Bearer sesam\r\n", 401, id="wrong"),
        pytest.param(b"Authorization: sesame\r\n", 401, id="no-scheme"),
        pytest.param(b"Authorization: Bearer \xff\xfe\r\n", 401, id="not-utf-8"),
        pytest.param(2 * b"Authorization: Bearer sesame\r\n", 401, id="twice"),
    ],
)
async def test_only_the_token_opens_the_admin_port(tmp_path: Path, headers: bytes, status: int) -> None:
    loaded = load(tmp_path, SMALL + "guards: {}\nadmin: {token_env: TOKEN}\n", TOKEN="sesame")
    async with serving(Admin(loaded, Metrics()).handle) as port:
        [reply] = parse_http(await raw(port, GET + headers + b"\r\n"))
    assert reply.status == status
    assert (reply.status == 200) == ("ready" in reply.json)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("localhost:8081", 200),
        ("[::1]:8081", 200),
        ("evil.test", 401),
        ("127.0.0.1.evil.test:8081", 401),
        ("localhost@evil.test", 401),
        ("[::1", 401),
        ("", 401),
        (None, 200),
    ],
)
async def test_without_a_token_only_this_machines_own_names_are_answered(
    tmp_path: Path, host: str | None, status: int
) -> None:
    loaded = load(tmp_path, SMALL + "guards: {}\nadmin: {}\n")
    async with serving(Admin(loaded, Metrics()).handle) as port:
        [reply] = parse_http(
            await raw(
                port,
                b"GET /metrics HTTP/1.0\r\n" + (f"Host: {host}\r\n" if host is not None else "").encode() + b"\r\n",
            )
        )
    assert reply.status == status

"""A console on a port of its own, with an audit that tests write to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import aiohttp
import pytest

from proxy.admin import Admin
from proxy.audit.audit import Audit
from proxy.audit.entry import Entry
from proxy.audit.opening import audit_of, policy_texts
from proxy.loading.loaded import Loaded
from proxy.records import Metrics
from proxy.review.queue import ReviewQueue
from tests.proxy.configs import load
from tests.proxy.console.shop import CONFIG
from tests.proxy.test_server import serving

TOKEN = "sesame"


@dataclass(slots=True)
class Shop:
    """A running console, and a client that has shown the token."""

    url: str
    port: int
    loaded: Loaded
    admin: Admin
    audit: Audit | None
    client: aiohttp.ClientSession
    queue: ReviewQueue

    async def keep(self, *entries: Entry) -> None:
        """Put entries on record."""
        assert self.audit is not None
        await self.audit.write(entries)

    async def page(self, target: str, status: int = 200) -> str:
        """The text of a page."""
        async with self.client.get(self.url + target, allow_redirects=False) as answer:
            assert answer.status == status, await answer.text()
            return await answer.text()


Shops: TypeAlias = Callable[..., AbstractAsyncContextManager[Shop]]


@asynccontextmanager
async def open_shop(folder: Path, config: str = CONFIG, token: str | None = TOKEN) -> AsyncIterator[Shop]:
    """Serve a console."""
    environ = {"TOKEN": token} if token is not None else {}
    loaded = load(folder, config, **environ)
    audit = audit_of(loaded)
    if audit is not None:
        await audit.start(policy_texts(loaded))
    queue = ReviewQueue(folder / "review.db")
    admin = Admin(loaded, Metrics(), audit, queue=queue, config_path=folder / "c.yaml")
    headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
    options: dict[str, Any] = {"timeout": aiohttp.ClientTimeout(total=30), "cookie_jar": aiohttp.DummyCookieJar()}
    try:
        async with serving(admin.handle) as port, aiohttp.ClientSession(headers=headers, **options) as client:
            yield Shop(f"http://127.0.0.1:{port}", port, loaded, admin, audit, client, queue)
            await admin.close()
    finally:
        queue.close()
        if audit is not None:
            await audit.close()


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with open_shop(tmp_path) as shop:
        yield shop

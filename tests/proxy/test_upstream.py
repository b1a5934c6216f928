"""Calls to an upstream."""

from __future__ import annotations

import asyncio

from proxy.config import Upstream
from proxy.early_call import EarlyCall
from proxy.upstream import HttpCaller


async def test_an_early_call_that_is_refused_at_once_was_never_begun() -> None:
    caller = HttpCaller(Upstream(base_url="http://127.0.0.1:9/v1"), None)
    async with EarlyCall(caller.call("POST", "/chat/completions", b"{}", {})):
        pass  # the refusal comes before the call's first step; a coroutine left over would be a warning, so an error
    await asyncio.sleep(0)
    await caller.close()

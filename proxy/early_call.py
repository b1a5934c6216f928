"""A call to an upstream that begins before anybody knows whether it may (``overlap: true``).

The request goes out while its input is judged; what comes back waits, unread, for the verdict. A call that nobody asks for
in the end is closed, and counts as wasted: the upstream may have worked, and billed, for nothing. Requests with which it could
do more than answer (`proxy.schema.Collection.may_act`) are judged first.
"""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from types import TracebackType

from proxy.upstream import Answer


class EarlyCall:
    """Starts a call at once; leaving the context ends it, whatever has become of it."""

    def __init__(self, call: AbstractAsyncContextManager[Answer]) -> None:
        self._call = call
        self._entering: asyncio.Task[Answer] = asyncio.create_task(  # noqa: TID251 - ended by `__aexit__`
            _enter(call), name="early call"
        )

    async def answer(self) -> Answer:
        """The upstream's answer.

        Raises:
            HttpError: There is none.
        """
        return await self._entering

    async def __aenter__(self) -> EarlyCall:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._entering.done():
            self._entering.cancel()
            await asyncio.wait({self._entering})
        if not self._entering.cancelled() and self._entering.exception() is None:
            await self._call.__aexit__(kind, error, trace)


async def _enter(call: AbstractAsyncContextManager[Answer]) -> Answer:
    return await call.__aenter__()

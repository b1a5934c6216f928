"""Bodies of requests, and where they are worked on: large ones in a thread, so that the event loop goes on meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")

IN_THREAD_BYTES = 256 * 1024
"""Larger bodies are parsed and read off the event loop."""


async def worked_on(n_bytes: int, work: Callable[[], T]) -> T:
    """What ``work`` gives; done in a thread if it is about more than `IN_THREAD_BYTES`."""
    return await asyncio.to_thread(work) if n_bytes > IN_THREAD_BYTES else work()


@dataclass(frozen=True, slots=True)
class Body:
    """A parsed body, and how large it was."""

    data: dict[str, Any] = field(repr=False)
    n_bytes: int = 0

    async def read(self, read: Callable[[dict[str, Any]], T]) -> T:
        """What a reader of it gives."""
        return await worked_on(self.n_bytes, lambda: read(self.data))

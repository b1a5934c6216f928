"""Where large contents are read: in a few threads of their own, for no longer than somebody waits.

A thread cannot be stopped, so what runs in one must ask itself whether to go on (`Patience`). Whoever parses a body or
looks up a name uses the event loop's own threads, which no amount of content may occupy. There are few of these, because
what they do holds the interpreter's lock: more would finish no sooner, and only keep the event loop waiting.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from functools import cache, partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

LARGE_CHARS = 100_000
"""Longer contents are read by detectors, decoded for guards, and masked for the record off the event loop."""

THREADS = 4


class OutOfPatience(Exception):
    """Nobody waits any more for what is being read."""


@dataclass(slots=True)
class Patience:
    """How long something may take that cannot be stopped from outside.

    Attributes:
        until: On ``time.monotonic()``'s clock.
        is_over: Whoever waited has left.
    """

    until: float = float("inf")
    is_over: bool = False

    def check(self) -> None:
        """Ask now and then whether to go on.

        Raises:
            OutOfPatience: No.
        """
        if self.is_over or time.monotonic() > self.until:
            raise OutOfPatience


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(THREADS, thread_name_prefix="reading")


async def off_loop(what: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do it in one of the threads, like `asyncio.to_thread`; what has not begun when the caller leaves is never done."""
    call = partial(copy_context().run, what, *args, **kwargs)
    return await asyncio.get_running_loop().run_in_executor(_threads(), call)


async def by_size(n_chars: int, what: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do it, for a content of so many characters: in one of the threads if they are more than `LARGE_CHARS`, else here."""
    return await off_loop(what, *args, **kwargs) if n_chars > LARGE_CHARS else what(*args, **kwargs)

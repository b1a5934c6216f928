"""Background tasks that have an owner.

A bare ``asyncio.create_task`` is banned: the loop keeps only a weak reference, and what it raises is seen by nobody.
`own` is for the one case where a `asyncio.TaskGroup` does not fit: a task that lives as long as an object, is kept in
an attribute of it, and is cancelled and awaited by its ``close``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

log = structlog.get_logger()


def own(work: Coroutine[Any, Any, None], *, name: str) -> asyncio.Task[None]:
    """Start a task for the caller to keep, cancel and await.

    Args:
        work: What to run. It should handle its own failures; one that escapes is logged by its type only.
        name: Shown in the log and by ``asyncio.all_tasks``.
    """
    task = asyncio.create_task(work, name=name)  # noqa: TID251 - the caller is the owner, see above
    task.add_done_callback(_report)
    return task


async def end(task: asyncio.Task[None] | None) -> None:
    """Cancel a task of ours and wait until it is over, whatever its outcome."""
    if task is None:
        return
    task.cancel()
    await asyncio.wait({task})


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (failure := task.exception()) is not None:
        log.error("task_failed", task=task.get_name(), error=type(failure).__name__)

"""Canaries: what a guard must get right before it is asked about anything else.

Each policy that has examples gives a guard two contents, one that violates it and one that does not. They are there to
notice a wrong, swapped or broken model (labels the wrong way round, a head that was not loaded, weights of another
model, a server that runs something else under the name), not to measure a good one. So the criterion is an order, not
a threshold: **for every policy, the odds of the violating canary are at least `ODDS` times those of the safe one**, and
both have a score. A first filter whose scores are all small passes; a model that says the same of everything, or the
reverse of what is right, does not, and one that answers at random passes n policies with a probability below 1/2ⁿ.

Who fails is not ready, and is examined again after a back-off.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

import structlog

from models.engine import Canary, GuardPolicy, Passage, Score
from models.errors import EngineError

log = structlog.get_logger()

ODDS = 1.5
"""More than the tolerance between two shapes of a batch (0.02 around 0.5: odds of 1.08) can make of equal scores."""

_SHOWN = 3
"""Complaints that a guard's last error quotes; all are in the log."""


class CanaryFailed(EngineError):
    """The guard judged its canaries wrong, or not at all. Names guard, policy and canary, never their text."""

    code = "canary"


Ask = Callable[[Passage, GuardPolicy], Awaitable[Score | EngineError]]
"""Has the guard judge one content against one policy."""


async def examine(guard: str, canaries: Sequence[Canary], ask: Ask, *, at_once: int = 1) -> None:
    """Have a guard judge its canaries.

    Args:
        guard: Its name, for the message and the log.
        canaries: One pair per policy.
        ask: What it raises ends the examination and is raised here.
        at_once: Policies that may be under way at the same time.

    Raises:
        CanaryFailed: A pair is in the wrong order, or has no scores. After the first canary without a score no other
            is asked: a server that is not there need not be told so by each.
    """
    started = time.monotonic()
    room = asyncio.Semaphore(at_once)
    complaints: list[str] = []
    unanswered = False

    async def one(canary: Canary) -> None:
        nonlocal unanswered
        scores: list[float] = []
        for which, passage in (("violating", canary.violating), ("safe", canary.safe)):
            if unanswered:
                return
            entry = await ask(passage, canary.policy)
            if isinstance(entry, EngineError) or not 0.0 <= entry.value <= 1.0:
                why = f"{entry.code}: {entry}" if isinstance(entry, EngineError) else "its score is not in [0, 1]"
                complaints.append(f"policy {canary.policy.name}: its {which} canary was not judged ({why})")
                unanswered = True
                return
            scores.append(entry.value)
        violating, safe = scores
        if not is_in_order(violating, safe):
            complaints.append(
                f"policy {canary.policy.name}: its violating canary scored {violating:.4g}, its safe canary {safe:.4g}"
            )

    async def in_turn(canary: Canary) -> None:
        async with room:
            await one(canary)

    try:
        async with asyncio.TaskGroup() as group:
            for canary in canaries:
                group.create_task(in_turn(canary))
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    if not complaints:
        log.info("canaries_passed", guard=guard, policies=len(canaries), seconds=round(time.monotonic() - started, 3))
        return
    log.error("canaries_failed", guard=guard, complaints=complaints)
    more = f"; and {len(complaints) - _SHOWN} more" if len(complaints) > _SHOWN else ""
    raise CanaryFailed(f"guard {guard} failed its canaries: {'; '.join(complaints[:_SHOWN])}{more}")


def is_in_order(violating: float, safe: float) -> bool:
    """Whether the odds of one score are `ODDS` times those of the other; multiplied out, so that 0 and 1 are no edges."""
    return violating > safe and violating * (1 - safe) >= ODDS * safe * (1 - violating)

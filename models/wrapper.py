"""An engine in front of another one: what it does not change, it passes on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

from models.engine import Engine, GuardPolicy, Passage, Score
from models.errors import EngineError
from models.specs import GuardPlan

E = TypeVar("E", bound=Engine)


class EngineWrapper(Generic[E]):
    """An `models.engine.Engine` that is another one, until a subclass says otherwise.

    Args:
        inner: The other one.
    """

    def __init__(self, inner: E) -> None:
        self.inner = inner

    @property
    def ready(self) -> bool:
        """Whether the guard is."""
        return self.inner.ready

    @property
    def model(self) -> str:
        """What judges."""
        return self.inner.model

    @property
    def last_error(self) -> str | None:
        """The guard's."""
        return self.inner.last_error

    @property
    def is_incremental(self) -> bool:
        """Whether the guard is."""
        return self.inner.is_incremental

    async def start(self) -> None:
        """Start the guard."""
        await self.inner.start()

    async def wait_ready(self, timeout_s: float) -> bool:
        """Wait for the guard."""
        return await self.inner.wait_ready(timeout_s)

    async def close(self) -> None:
        """Stop the guard."""
        await self.inner.close()

    async def prepare(self, plan: GuardPlan) -> None:
        """See `models.engine.Engine.prepare`."""
        await self.inner.prepare(plan)

    def adopt(self, plan: GuardPlan) -> None:
        """See `models.engine.Engine.adopt`."""
        self.inner.adopt(plan)

    async def judge(
        self, passages: Sequence[Passage], policies: Sequence[GuardPolicy], *, deadline: float
    ) -> list[Score | EngineError]:
        """Score one content against several policies; see `models.engine.Engine.judge`."""
        return await self.inner.judge(passages, policies, deadline=deadline)

"""A guard as one of several askers sees it: engines that share their time fairly learn who asks.

The name travels in a context variable, which tasks inherit: what stands between an asker and the guard (a cache of
verdicts, a cascade) need not know of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar

from models.engine import Engine, GuardPolicy, Passage, Score
from models.errors import EngineError

_ASKER: ContextVar[str] = ContextVar("asker", default="")


def asker() -> str:
    """In whose name the current task asks; empty: nobody said."""
    return _ASKER.get()


class _Share:
    """An `models.engine.Engine` that asks another in somebody's name."""

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine = engine
        self._name = name

    @property
    def ready(self) -> bool:
        return self._engine.ready

    @property
    def model(self) -> str:
        return self._engine.model

    @property
    def last_error(self) -> str | None:
        return self._engine.last_error

    @property
    def is_incremental(self) -> bool:
        return self._engine.is_incremental

    async def start(self) -> None:
        await self._engine.start()

    async def wait_ready(self, timeout_s: float) -> bool:
        return await self._engine.wait_ready(timeout_s)

    async def close(self) -> None:
        await self._engine.close()

    async def judge(
        self, passages: Sequence[Passage], policies: Sequence[GuardPolicy], *, deadline: float
    ) -> list[Score | EngineError]:
        before = _ASKER.set(self._name)
        try:
            return await self._engine.judge(passages, policies, deadline=deadline)
        finally:
            _ASKER.reset(before)


def share(engines: Mapping[str, Engine], name: str) -> dict[str, Engine]:
    """The same guards, asked in somebody's name, e.g. a route's: the flood of one route does not starve another."""
    return {guard: _Share(engine, name) for guard, engine in engines.items()}

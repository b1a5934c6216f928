"""A guard as one of several askers sees it: engines that share their time fairly are told who asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from models.engine import Engine, GuardPolicy, Passage, Score
from models.errors import EngineError
from models.host import LocalEngine


class _Share:
    """An `models.engine.Engine` that asks another in somebody's name."""

    def __init__(self, engine: LocalEngine, key: str) -> None:
        self._engine = engine
        self._key = key

    @property
    def ready(self) -> bool:
        return self._engine.ready

    @property
    def model(self) -> str:
        return self._engine.model

    @property
    def last_error(self) -> str | None:
        return self._engine.last_error

    async def start(self) -> None:
        await self._engine.start()

    async def wait_ready(self, timeout_s: float) -> bool:
        return await self._engine.wait_ready(timeout_s)

    async def close(self) -> None:
        await self._engine.close()

    async def judge(
        self, passages: Sequence[Passage], policies: Sequence[GuardPolicy], *, deadline: float
    ) -> list[Score | EngineError]:
        return await self._engine.judge(passages, policies, deadline=deadline, key=self._key)


def share(engines: Mapping[str, Engine], key: str) -> dict[str, Engine]:
    """The same guards, asked in the name of ``key``, e.g. a route: one route's flood does not starve another's."""
    return {
        name: _Share(engine, key) if isinstance(engine, LocalEngine) else engine for name, engine in engines.items()
    }

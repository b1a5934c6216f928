"""A guard as one of several askers sees it: engines that share their time fairly learn who asks.

The name travels in a context variable, which tasks inherit: what stands between an asker and the guard (a cache of
verdicts, a cascade) need not know of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar

from models.engine import Engine, GuardPolicy, Passage, Score
from models.errors import EngineError
from models.wrapper import EngineWrapper

_ASKER: ContextVar[str] = ContextVar("asker", default="")


def asker() -> str:
    """In whose name the current task asks; empty: nobody said."""
    return _ASKER.get()


class _Share(EngineWrapper[Engine]):
    """An `models.engine.Engine` that asks another in somebody's name."""

    def __init__(self, engine: Engine, name: str) -> None:
        super().__init__(engine)
        self._name = name

    async def judge(
        self, passages: Sequence[Passage], policies: Sequence[GuardPolicy], *, deadline: float
    ) -> list[Score | EngineError]:
        before = _ASKER.set(self._name)
        try:
            return await super().judge(passages, policies, deadline=deadline)
        finally:
            _ASKER.reset(before)


def share(engines: Mapping[str, Engine], name: str) -> dict[str, Engine]:
    """The same guards, asked in somebody's name, e.g. a route's: the flood of one route does not starve another.

    Each has its share of a guard's time, and of its queue: ``max_queue`` divided by those who ask.
    """
    return {guard: _Share(engine, name) for guard, engine in engines.items()}

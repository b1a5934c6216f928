"""The seam inside the guard process: a synchronous judge that owns a loaded model.

`models.worker` runs one judge in one thread; `models.encoder` and `models.safeguard` implement it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from models.engine import GuardPolicy, Passage, Score
from models.errors import EngineError


@dataclass(frozen=True, slots=True)
class Stop:
    """Says when to give up: at a deadline, or when the asker has gone. Cheap enough to be asked from an abort callback."""

    deadline: float
    """On ``time.monotonic()``'s clock (the same in both processes of one machine)."""
    cancelled: Callable[[], bool] = lambda: False

    def __call__(self) -> bool:
        """Whether to stop now."""
        return time.monotonic() >= self.deadline or self.cancelled()


class LocalJudge(Protocol):
    """A loaded model that scores contents, one call at a time."""

    @property
    def model(self) -> str:
        """Name and revision of what is loaded, e.g. ``embedded@1b2c3d4e5f60``."""
        ...

    def judge(
        self, passages: Sequence[Passage], policies: Sequence[GuardPolicy], stop: Stop
    ) -> list[Score | EngineError]:
        """Score one content against several policies; one entry per policy, in order.

        Never raises for what the content is. `EngineTimeout` where ``stop`` said so.
        """
        ...

    def close(self) -> None:
        """Free the model."""
        ...

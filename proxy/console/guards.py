"""How guards are: read from them when somebody looks, nothing is kept but the last few readings."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from models.engine import Engine, Tier
from models.host import LocalEngine
from models.usage import Usage
from models.verdict_cache import CachedEngine

LOOKS = 60
SHORTEST_S = 2.0
"""Speeds over less than this say little."""
LONGEST_S = 120.0


@dataclass(frozen=True, slots=True)
class Guard:
    """A guard as it is now; what it has not is None."""

    name: str
    ready: bool
    state: str
    model: str
    last_error: str | None
    queue: int | None = None
    in_process: int | None = None
    restarts: int | None = None
    pid: int | None = None
    tokens: int | None = None
    tokens_per_s: float | None = None
    """While llama.cpp computes, since the guard was started."""
    recent_tokens_per_s: float | None = None
    """By the clock, since somebody looked before."""
    tiers: Mapping[str, int] = field(default_factory=dict)
    hits: int | None = None
    misses: int | None = None
    remembered: int | None = None

    @property
    def reasoned_share(self) -> float | None:
        """Of the verdicts of a guard that can reason, those that it reasoned about."""
        n = sum(self.tiers.values())
        return self.tiers[Tier.REASONED.value] / n if n and Tier.REASONED.value in self.tiers else None

    @property
    def hit_share(self) -> float | None:
        """Of the verdicts that were asked for, those that were remembered."""
        if self.hits is None or self.misses is None or not self.hits + self.misses:
            return None
        return self.hits / (self.hits + self.misses)


class GuardWatch:
    """Looks at guards; belongs to the event loop.

    Args:
        clock: Seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._looks: dict[str, deque[tuple[float, int]]] = {}

    def look(self, engines: Mapping[str, Engine]) -> list[Guard]:
        """All guards, by name."""
        self._looks = {name: looks for name, looks in self._looks.items() if name in engines}
        return [self._guard(name, engine) for name, engine in sorted(engines.items())]

    def _guard(self, name: str, engine: Engine) -> Guard:
        inner = engine.inner if isinstance(engine, CachedEngine) else engine
        more: dict[str, object] = {}
        state = "ready" if engine.ready else "not ready"
        if isinstance(engine, CachedEngine):
            counts = engine.counts
            more |= {"hits": counts.hits + counts.joins, "misses": counts.misses, "remembered": len(engine)}
        if isinstance(inner, LocalEngine):
            state = inner.state.value
            more |= {"queue": inner.queue_length, "in_process": inner.n_in_process, "restarts": inner.restarts}
            more |= {"pid": inner.pid, "tiers": {tier.value: n for tier, n in inner.verdicts.items()}}
            more |= self._speed(name, inner.usage)
        return Guard(name, engine.ready, state, engine.model, engine.last_error, **more)  # type: ignore[arg-type]  # by name

    def _speed(self, name: str, usage: Usage) -> dict[str, object]:
        now = self._clock()
        looks = self._looks.setdefault(name, deque(maxlen=LOOKS))
        while looks and (now - looks[0][0] > LONGEST_S or looks[0][1] > usage.n_tokens):
            looks.popleft()
        recent = None
        if looks and now - looks[0][0] >= SHORTEST_S:
            recent = (usage.n_tokens - looks[0][1]) / (now - looks[0][0])
        looks.append((now, usage.n_tokens))
        mean = usage.n_tokens / usage.seconds if usage.seconds else None
        return {"tokens": usage.n_tokens, "tokens_per_s": mean, "recent_tokens_per_s": recent}

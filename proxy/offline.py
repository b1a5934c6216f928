"""Guards for the commands that judge without serving: started for a while, and given as much as they can take."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from models.engine import Engine
from models.patient import PatientEngine, Waits
from models.shared import share
from proxy.config import EncoderGuard, Guard, LlamaGuard
from proxy.config_error import ConfigError
from proxy.loading.loaded import Loaded, LoadedRoute
from rules.screen import Screener

READY_TIMEOUT_S = 600.0
"""A 120b model takes minutes to load from a slow disk."""

ENCODER_AT_ONCE = 16
"""An encoder judges one content after the other; so many wait that it never does."""


def route_called(path: Path, loaded: Loaded, name: str | None) -> LoadedRoute:
    """The route that ``--route`` names; the first if it is not given.

    Raises:
        ConfigError: There is none of that name.
    """
    by_name = {r.config.name: r for r in loaded.routes}
    if name is not None and name not in by_name:
        raise ConfigError(f"{path}: routes: no route is called {name!r} (known: {', '.join(by_name)})")
    return loaded.routes[0] if name is None else by_name[name]


def guards_of(screeners: Iterable[Screener]) -> set[str]:
    """Names of the guards that rules ask."""
    return {guard for screener in screeners for guard in screener.guards}


@asynccontextmanager
async def started(path: Path, engines: Mapping[str, Engine]) -> AsyncIterator[None]:
    """Guards that are ready, and closed in the end.

    Raises:
        ConfigError: One does not get ready.
    """
    try:
        for engine in engines.values():
            await engine.start()
        for name, engine in engines.items():
            if not await engine.wait_ready(READY_TIMEOUT_S):
                raise ConfigError(f"{path}: guards.{name}: not ready: {engine.last_error}")
        yield
    finally:
        await asyncio.gather(*(engine.close() for engine in engines.values()))


def most_at_once(guard: Guard, n_policies: int) -> int:
    """How many contents to give to a guard at once, at most: so many that it is busy, fewer than its queue takes.

    Args:
        guard: As it is configured.
        n_policies: Policies that each content is judged by.
    """
    if isinstance(guard, EncoderGuard):
        wanted = ENCODER_AT_ONCE
    elif isinstance(guard, LlamaGuard):  # a batch under way, and the next one
        wanted = 2 * max(guard.max_sequences, guard.max_policies)
    else:  # each policy is a call of its own
        wanted = -(-guard.max_connections // max(1, n_policies))
    return max(1, min(wanted, guard.max_queue))


def patient(
    loaded: Loaded, names: Iterable[str], *, at_once: int | None = None, waits: Waits | None = None
) -> dict[str, PatientEngine]:
    """Guards that wait instead of failing.

    Args:
        loaded: Whose they are.
        names: Which of them.
        at_once: Contents that each is given at once; None: as many as suit it.
        waits: How long they wait for what.
    """
    rules = [rule for route in loaded.routes for screener in (route.input, route.output) for rule in screener.rules]
    found = {}
    for name in sorted(names):
        n_policies = len({rule.policy.name for rule in rules if name in rule.guards})
        most = at_once or most_at_once(loaded.config.guards[name], n_policies)
        found[name] = PatientEngine(loaded.judges[name], at_once=most, waits=waits)
    return found


def asking(screener: Screener, engines: Mapping[str, Engine], asker: str) -> Screener:
    """A stage's rules, asking other guards than those that serve."""
    return replace(screener, engines=share(engines, asker))

"""From what is configured to what judges."""

from __future__ import annotations

from collections.abc import Sequence

from models.engine import Canary, Engine
from models.host import LocalEngine
from models.remote import RemoteEngine
from models.specs import GuardSpec, LocalSpec, RemoteSpec
from models.verdict_cache import DEFAULT_ENTRIES, CachedEngine


def build_engine(spec: GuardSpec, *, canaries: Sequence[Canary] = (), cache_entries: int = DEFAULT_ENTRIES) -> Engine:
    """The engine of a guard, not started: `Engine.start` begins loading.

    Args:
        spec: Which guard.
        canaries: What it has to get right before it is ready.
        cache_entries: Verdicts to remember; 0: none, and everybody who asks the same is answered by himself.
    """
    engine: LocalEngine | RemoteEngine
    match spec:
        case LocalSpec():
            engine = LocalEngine(spec, canaries=canaries)
        case RemoteSpec():
            engine = RemoteEngine(spec, canaries=canaries)
    return CachedEngine(engine, entries=cache_entries) if cache_entries else engine

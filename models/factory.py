"""From what is configured to what judges."""

from __future__ import annotations

from models.engine import Engine
from models.host import LocalEngine
from models.remote import RemoteEngine
from models.specs import GuardSpec, LocalSpec, RemoteSpec


def build_engine(spec: GuardSpec) -> Engine:
    """The engine of a guard, not started: `Engine.start` begins loading."""
    match spec:
        case LocalSpec():
            return LocalEngine(spec)
        case RemoteSpec():
            return RemoteEngine(spec)

"""One guard of a configuration by itself, whether or not a rule uses it: to be measured, or trained further."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from models.engine import Engine
from models.factory import build_engine
from models.specs import GuardSpec, LocalSpec
from proxy.basis import guard_settings
from proxy.config import EncoderGuard, Guard
from proxy.config_error import ConfigError
from proxy.loading.guards import default_guard_of, effort_of, spec_of
from proxy.loading.source import known, read_source


@dataclass(frozen=True, slots=True)
class LoadedGuard:
    """One guard by itself, not started, with the verdicts that it gives: without cache, canaries and calibrations."""

    name: str
    config: Guard
    engine: Engine = field(repr=False)

    @property
    def effort(self) -> str | None:
        """See `effort_of`."""
        return effort_of(self.config)

    @property
    def second_opinion(self) -> str | None:
        """The guard whose opinion is weighed beside its own."""
        return getattr(self.config, "second_opinion", None)

    @property
    def settings(self) -> str:
        """Hash over everything in its section that can change a verdict."""
        return guard_settings(self.config)


def load_guard(
    path: Path,
    name: str | None,
    n_policies: int,
    environ: Mapping[str, str] = os.environ,
    *,
    weights: Path | None = None,
) -> LoadedGuard:
    """Build one guard of a configuration, whether or not a rule uses it.

    Args:
        path: The YAML file.
        name: The guard; None: the one that rules get which name none.
        n_policies: How many policies it will be asked about.
        environ: Where variables and keys are looked up.
        weights: For an encoder: another file, in place of the one that it has; the guard is called after it.

    Raises:
        ConfigError: There is no such guard, or it is unusable.
    """
    found = find_guard(path, name, n_policies, environ)
    guard, spec = found.config, found.spec
    if weights is None:
        return LoadedGuard(found.name, guard, build_engine(spec, cache_entries=0))
    if not isinstance(guard, EncoderGuard) or not isinstance(spec, LocalSpec):
        raise ConfigError(f"{path}: guards.{found.name}: is no encoder, which {weights} is for")
    model = str(weights.absolute())
    guard = guard.model_copy(update={"model": model, "sha256": None})
    spec = replace(spec, name=weights.stem, model=model, sha256=None)
    return LoadedGuard(weights.stem, guard, build_engine(spec, cache_entries=0))


@dataclass(frozen=True, slots=True)
class FoundGuard:
    """A guard of a configuration, of which nothing is built."""

    name: str
    config: Guard
    spec: GuardSpec


def find_guard(path: Path, name: str | None, n_policies: int, environ: Mapping[str, str] = os.environ) -> FoundGuard:
    """Look a guard of a configuration up; see `load_guard`."""
    source, config = read_source(path, environ)
    name = name or default_guard_of(source, config)
    if name is None or name not in config.guards:
        raise ConfigError(f"{path}: guards: no guard is called {name!r}{known(config.guards)}")
    guard = config.guards[name]
    return FoundGuard(name, guard, spec_of(source, name, guard, environ, n_policies))

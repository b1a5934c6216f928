"""A configuration that is put together: what requests, commands and the console work with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from models.calibration import Calibration
from models.engine import Engine
from models.specs import GuardPlan
from proxy.audit.entry import Keep
from proxy.config import Config, Route, Upstream
from proxy.watching import Snapshot
from rules.policy import Policy
from rules.rule import Stage
from rules.screen import Screener


@dataclass(frozen=True, slots=True)
class LoadedRoute:
    """A route with everything that its requests need."""

    config: Route
    upstream: Upstream
    upstream_key: str | None = field(repr=False)
    input: Screener
    output: Screener
    policy_set: str
    """Hash over the route's rules, thresholds and policy revisions: 16 hexadecimal digits."""
    keep: Keep = Keep.NONE
    """What the audit keeps of its content."""
    client_keys: tuple[bytes, ...] = field(repr=False, default=())
    """Digests of the keys by which it matches."""

    def at(self, stage: Stage) -> Screener:
        """What judges at a stage."""
        return self.input if stage is Stage.INPUT else self.output


@dataclass(frozen=True, slots=True)
class Loaded:
    """A whole configuration, checked and built; the guards are not started yet."""

    config: Config
    routes: tuple[LoadedRoute, ...]
    engines: Mapping[str, Engine] = field(repr=False)
    policies: Mapping[str, Policy]
    revision: str
    """Hash over all routes' policy sets: 16 hexadecimal digits."""
    admin_token: str | None = field(repr=False, default=None)
    configuration: str = ""
    """Hash over all that the configuration says, its policies, examples and calibrations included: 12 hexadecimal digits."""
    audit_folder: Path | None = None
    """Where the audit is kept; None: nowhere."""
    review_path: Path | None = None
    """Where the review queue is kept; None: nowhere."""
    calibrations: Mapping[str, tuple[Calibration, ...]] = field(default_factory=dict)
    """All maps there are, by name of the policy; whether one holds for a guard is seen when the guard judges."""
    judges: Mapping[str, Engine] = field(default_factory=dict, repr=False)
    """The engines as rules ask them: with calibrations."""
    guards: Mapping[str, GuardPlan] = field(default_factory=dict, repr=False)
    """What the engines are, by name."""
    policy_files: Mapping[str, Path] = field(default_factory=dict, repr=False)
    """See `proxy.loading.blueprint.Blueprint.policy_files`."""
    files: Snapshot = field(default_factory=dict, repr=False)
    """See `proxy.loading.blueprint.Blueprint.files`."""

"""A configuration that is read and checked, and how it is put together around its guards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from models.calibrated import CalibratedEngine
from models.calibration import Calibration
from models.engine import Engine
from models.factory import build_engine
from models.shared import share
from models.specs import GuardPlan
from proxy.audit.entry import Keep
from proxy.config import Config, Route
from proxy.config_error import ConfigError
from proxy.loading.guards import effort_of
from proxy.loading.loaded import Loaded, LoadedRoute
from proxy.loading.places import audit_folder, review_path
from proxy.loading.revisions import policy_set_of
from proxy.loading.source import Source
from proxy.watching import Snapshot
from proxy.yaml_file import Path as KeyPath
from rules.policy import Policy, revision_of
from rules.rule import Rule, Stage
from rules.screen import Screener


@dataclass(frozen=True, slots=True)
class Blueprint:
    """A whole configuration, read and checked; nothing is built yet.

    Attributes:
        source: Where it stands.
        guards: The guards that it needs, by name.
        policies: All policies, by name.
        policy_files: Where the texts of policies were found, by name of the policy.
        calibrations: See `Loaded.calibrations`.
        configuration: See `Loaded.configuration`.
        files: All files that it may have been read from, as they looked before they were read. Those that are not there
            would be read if they were.
        admin_token: Of the admin port.
        parts: Its routes, each with the rules of its input and of its output.
        keys: The keys of the upstreams that routes lead to, by name of the upstream.
        client_keys: See `LoadedRoute.client_keys`, by name of the route.
        second_opinions: Which guard's opinion a guard has weighed beside its own, by name.
    """

    source: Source
    config: Config
    guards: Mapping[str, GuardPlan]
    policies: Mapping[str, Policy]
    policy_files: Mapping[str, Path]
    calibrations: Mapping[str, tuple[Calibration, ...]]
    configuration: str
    files: Snapshot = field(repr=False)
    admin_token: str | None = field(repr=False)
    parts: Sequence[tuple[Route, tuple[Rule, ...], tuple[Rule, ...]]] = field(repr=False)
    keys: Mapping[str, str | None] = field(repr=False)
    client_keys: Mapping[str, tuple[bytes, ...]] = field(repr=False)
    second_opinions: Mapping[str, str] = field(repr=False)

    def error(self, key: KeyPath, reason: str) -> ConfigError:
        """A complaint about a place in the file."""
        error = self.source.error(key, reason)
        error.files = self.files
        return error

    def engine(self, name: str) -> Engine:
        """A new engine for one of its guards, not started."""
        plan = self.guards[name]
        return build_engine(plan.spec, canaries=plan.canaries, cache_entries=plan.cache_entries)

    def build_new(self) -> Loaded:
        """Put it together with new engines."""
        return self.build({name: self.engine(name) for name in self.guards})

    def build(self, engines: Mapping[str, Engine]) -> Loaded:
        """Put it together.

        Args:
            engines: One for each of its guards.
        """
        judges = {
            name: CalibratedEngine(
                engine,
                guard=name,
                calibrations=self.calibrations,
                effort=effort_of(self.config.guards[name]),
                second=engines[self.second_opinions[name]] if name in self.second_opinions else None,
            )
            for name, engine in engines.items()
        }
        routes = tuple(
            LoadedRoute(
                config=route,
                upstream=self.config.upstreams[route.upstream],
                upstream_key=self.keys[route.upstream],
                input=Screener(Stage.INPUT, given, share(judges, route.name), route.opaque),
                output=Screener(Stage.OUTPUT, back, share(judges, route.name), route.opaque),
                policy_set=policy_set_of(given, back, route, self.calibrations),
                keep=_keep(self.config, route),
                client_keys=self.client_keys[route.name],
            )
            for route, given, back in self.parts
        )
        return Loaded(
            config=self.config,
            routes=routes,
            engines=engines,
            policies=self.policies,
            revision=revision_of(*(r.config.name + r.policy_set for r in routes)),
            admin_token=self.admin_token,
            configuration=self.configuration,
            audit_folder=audit_folder(self.source.path, self.config),
            review_path=review_path(self.source.path, self.config),
            calibrations=self.calibrations,
            judges=judges,
            guards=self.guards,
            policy_files=self.policy_files,
            files=self.files,
        )


def _keep(config: Config, route: Route) -> Keep:
    if config.audit is None:
        return Keep.NONE
    return config.audit.content if route.audit_content is None else route.audit_content

"""Draws a configuration: reads and checks all of it, in whichever of its files, before anything is built."""

from __future__ import annotations

import operator
import os
from collections.abc import Mapping
from dataclasses import replace
from functools import reduce
from pathlib import Path

from models.specs import GuardPlan
from proxy.basis import basis_of, models_of
from proxy.client_keys import digest_of
from proxy.config import Config, Route
from proxy.config_error import ConfigError
from proxy.loading.blueprint import Blueprint
from proxy.loading.guards import (
    canaries_of,
    check_categories,
    default_guard_of,
    model_files_of,
    second_opinions_of,
    spec_of,
)
from proxy.loading.keys import admin_token_of, key_of
from proxy.loading.loaded import Loaded
from proxy.loading.places import files_beside
from proxy.loading.policies import calibrations_of, policy_of
from proxy.loading.revisions import configuration_of
from proxy.loading.rules import rule_of
from proxy.loading.source import MAX_FILE_BYTES, Source, known, read_source
from proxy.path_patterns import SERVED, can_match
from proxy.watching import Signature, Snapshot, signature, snapshot
from rules.policy import find_policy_file
from rules.rule import Mode, Rule, Stage


def load_config(
    path: Path, environ: Mapping[str, str] = os.environ, *, canaries: bool = True, also_guard: str | None = None
) -> Loaded:
    """Read, check and build a configuration.

    Args:
        path: The YAML file.
        environ: Where variables and keys are looked up.
        canaries: Whether the guards have to pass their canaries, where the configuration wants it.
        also_guard: A guard that is wanted for all policies, whether or not a rule names it.

    Raises:
        ConfigError: Anything in it is unusable.
    """
    return read_blueprint(path, environ, canaries=canaries, also_guard=also_guard).build_new()


def read_blueprint(
    path: Path, environ: Mapping[str, str] = os.environ, *, canaries: bool = True, also_guard: str | None = None
) -> Blueprint:
    """Read and check a configuration; arguments as of `load_config`. May be called in any thread.

    Raises:
        ConfigError: Anything in it is unusable; it has the files that are to be watched.
    """
    own = signature(path)
    _check_size(path, own)
    source, config = read_source(path, environ)
    files = {**snapshot(files_beside(path, config)), path: own}
    try:
        for file, seen in files.items():
            _check_size(file, seen)
            if seen is not None and seen.never_ends:
                raise ConfigError(f"{file}: is not a file")
        return _draw(source, config, environ, files, canaries=canaries, also_guard=also_guard)
    except ConfigError as error:
        error.files = files
        raise


def _check_size(path: Path, seen: Signature | None) -> None:
    if seen is not None and seen.size > MAX_FILE_BYTES:
        raise ConfigError(
            f"{path}: has {seen.size} bytes; no file of a configuration may have more than {MAX_FILE_BYTES}"
        )


def _draw(
    source: Source,
    config: Config,
    environ: Mapping[str, str],
    files: Snapshot,
    *,
    canaries: bool,
    also_guard: str | None,
) -> Blueprint:
    default_guard = default_guard_of(source, config)
    admin_token = admin_token_of(source, config, environ)
    policies = {name: policy_of(source, name, entry) for name, entry in config.policies.items()}
    calibrations = {name: calibrations_of(source, name, entry) for name, entry in config.policies.items()}
    used: set[str] = set()
    parts: list[tuple[Route, tuple[Rule, ...], tuple[Rule, ...]]] = []
    for i, route in enumerate(config.routes):
        if route.audit_content is not None and config.audit is None:
            raise source.error(("routes", i, "audit_content"), "there is no audit: add a section `audit`")
        if not can_match(route.match.path, anything_below=bool(route.passthrough)):
            raise source.error(
                ("routes", i, "match", "path"),
                f"matches no path that is served: those are {', '.join(SERVED)}, alone or behind a prefix, so for example "
                "/v1/*, /eu/v1/* or /eu/v1/chat/completions",
            )
        if route.upstream not in config.upstreams:
            raise source.error(
                ("routes", i, "upstream"), f"no upstream is called {route.upstream!r}{known(config.upstreams)}"
            )
        stages = [
            tuple(
                rule_of(source, ("routes", i, stage.value, j), entry, route, config, policies, default_guard)
                for j, entry in enumerate(entries)
            )
            for stage, entries in ((Stage.INPUT, route.input), (Stage.OUTPUT, route.output))
        ]
        used.update(g for rules in stages for rule in rules if rule.mode is not Mode.OFF for g in rule.guards)
        parts.append((route, stages[0], stages[1]))
    keys = {
        name: key_of(source, ("upstreams", name, "api_key_env"), config.upstreams[name].api_key_env, environ)
        for name in sorted({route.upstream for route in config.routes})
    }
    client_keys = {
        route.name: tuple(
            digest_of(key_of(source, ("routes", i, "match", "key_env", j), env, environ) or "")
            for j, env in enumerate(route.match.key_env or ())
        )
        for i, route in enumerate(config.routes)
    }
    used_by = {
        name: {r.policy.name for _, given, back in parts for r in (*given, *back) if name in r.guards} for name in used
    }
    by_rules = dict(used_by)
    if also_guard is not None:
        if also_guard not in config.guards:
            raise source.error(("guards",), f"no guard is called {also_guard!r}{known(config.guards)}")
        used_by[also_guard] = {name for name, policy in policies.items() if policy.detector is None}
    seconds = second_opinions_of(source, config)
    for name, second in seconds.items():
        if name in used_by:
            used_by[second] = used_by.get(second, set()) | used_by[name]
    specs = {name: spec_of(source, name, config.guards[name], environ, len(by)) for name, by in sorted(used_by.items())}
    check_categories(source, specs, by_rules, policies)
    models = models_of(specs)
    model_files = {name: model_files_of(source, name, spec) for name, spec in specs.items()}

    def based(rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
        return tuple(replace(rule, basis=basis_of(rule, config, models, calibrations)) for rule in rules)

    parts = [(route, based(given), based(back)) for route, given, back in parts]
    rules = [rule for _, given, back in parts for rule in (*given, *back)] if canaries else []
    pairs = canaries_of(source, config, policies, rules)
    return Blueprint(
        source=source,
        config=config,
        guards={
            name: GuardPlan(
                spec,
                tuple(pairs[name]),
                config.guards[name].cache_entries,
                tuple((str(file), seen and seen.content) for file, seen in model_files[name].items()),
            )
            for name, spec in specs.items()
        },
        policies=policies,
        policy_files={
            name: find_policy_file(entry.file, source.path.parent)
            for name, entry in config.policies.items()
            if entry.file is not None
        },
        calibrations=calibrations,
        configuration=configuration_of(config, policies, calibrations, pairs),
        files=reduce(operator.or_, model_files.values(), dict(files)),
        admin_token=admin_token,
        parts=parts,
        keys=keys,
        client_keys=client_keys,
        second_opinions=seconds,
    )

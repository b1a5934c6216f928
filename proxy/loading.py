"""From a configuration file to routes, rules and guards that are ready to be started.

Every error names file, line, key and what would be right, as one line.
"""

from __future__ import annotations

import ipaddress
import operator
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import reduce
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from models.calibrated import CalibratedEngine
from models.calibration import Calibration, CalibrationError, path_beside, read_calibrations
from models.catalog import files_of, resolve
from models.engine import Canary, Effort, Engine
from models.errors import ModelLoadError
from models.factory import build_engine
from models.shared import share
from models.specs import GuardPlan, GuardSpec, LocalSpec, RemoteSpec
from proxy.audit.entry import Keep
from proxy.basis import basis_of, guard_settings, models_of
from proxy.client_keys import digest_of
from proxy.config import Config, EncoderGuard, Guard, LlamaGuard, OpenAIGuard, PolicyEntry, Route, RuleEntry, Upstream
from proxy.config_error import ConfigError
from proxy.hold import StreamMode
from proxy.inheriting import RouteError
from proxy.inheriting import resolve as resolve_routes
from proxy.watching import Signature, Snapshot, signature, snapshot
from proxy.yaml_file import Path as KeyPath
from proxy.yaml_file import YamlError, YamlFile, parse_yaml
from rules.content import Surface, show_path
from rules.detectors import build_detector
from rules.errors import PolicyError
from rules.examples import ExampleFile, beside, canary_of, read_example_file
from rules.policy import (
    DEFAULT_REFUSAL_TEXT,
    SHIPPED,
    Policy,
    find_policy_file,
    policy_file_places,
    revision_of,
    split_front_matter,
    text_policy,
)
from rules.rule import Action, Mode, RewriteWith, Rule, Stage
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
    """See `Blueprint.policy_files`."""
    files: Snapshot = field(default_factory=dict, repr=False)
    """See `Blueprint.files`."""


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


@dataclass(frozen=True, slots=True)
class _Source:
    """Where complaints point to."""

    path: Path
    file: YamlFile = field(repr=False)
    written: Mapping[KeyPath, tuple[KeyPath, ...]] = field(default_factory=dict, repr=False)
    """See `proxy.inheriting.Resolved`."""

    def error(self, key: KeyPath, reason: str) -> ConfigError:
        place = self._place(key)
        where = show_path(place)
        if place[:2] != self._place(key[:2]):
            reason = f"{reason} (here because of {show_path(self._place(key[:2]))})"
        return ConfigError(
            f"{self.path}:{self.file.line_of(place)}: {where + ': ' if where else ''}{' '.join(reason.split())}"
        )

    def _place(self, key: KeyPath) -> KeyPath:
        """Where in the file stands what makes up a place of the configuration."""
        for n in range(len(key), 1, -1):
            if key[:n] in self.written:
                return (*self.written[key[:n]][0], *key[n:])
        return key

    def routes_of(self, key: KeyPath) -> list[str]:
        """The names of the routes in the file that say what stands at a place of the configuration."""
        places = self.written.get(key, ())
        return list(dict.fromkeys(self.file.data["routes"][place[1]]["name"] for place in places))


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
    """

    source: _Source
    config: Config
    guards: Mapping[str, GuardPlan]
    policies: Mapping[str, Policy]
    policy_files: Mapping[str, Path]
    calibrations: Mapping[str, tuple[Calibration, ...]]
    configuration: str
    files: Snapshot = field(repr=False)
    admin_token: str | None = field(repr=False)
    _parts: Sequence[tuple[Route, tuple[Rule, ...], tuple[Rule, ...]]] = field(repr=False)
    _keys: Mapping[str, str | None] = field(repr=False)
    _client_keys: Mapping[str, tuple[bytes, ...]] = field(repr=False)
    _seconds: Mapping[str, str] = field(repr=False)

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
                second=engines[self._seconds[name]] if name in self._seconds else None,
            )
            for name, engine in engines.items()
        }
        routes = tuple(
            LoadedRoute(
                config=route,
                upstream=self.config.upstreams[route.upstream],
                upstream_key=self._keys[route.upstream],
                input=Screener(Stage.INPUT, given, share(judges, route.name), route.opaque),
                output=Screener(Stage.OUTPUT, back, share(judges, route.name), route.opaque),
                policy_set=_policy_set(given, back, route, self.calibrations),
                keep=_keep(self.config, route),
                client_keys=self._client_keys[route.name],
            )
            for route, given, back in self._parts
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


MAX_FILE_BYTES = 1_000_000
"""A larger file is a mistake, and reading YAML takes some ten seconds a megabyte, while requests are answered more slowly."""


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
    source, config = _read(path, environ)
    files = {**snapshot(_files(path, config)), path: own}
    try:
        for file, seen in files.items():
            _check_size(file, seen)
            if seen is not None and seen.never_ends:
                raise ConfigError(f"{file}: is not a file")
        return _draw(source, config, environ, files, canaries=canaries, also_guard=also_guard)
    except ConfigError as error:
        error.files = files
        raise


def _files(path: Path, config: Config) -> Iterator[Path]:
    """All files that a configuration is read from besides itself, and all that would be if they were there."""
    for entry in config.policies.values():
        texts = () if entry.file is None else policy_file_places(entry.file, path.parent)
        yield from texts
        yield from map(beside, texts) if entry.examples is None else policy_file_places(entry.examples, path.parent)
        if entry.calibration is None:
            yield from map(path_beside, texts)
        else:
            yield path.parent / Path(entry.calibration).expanduser()


def _check_size(path: Path, seen: Signature | None) -> None:
    if seen is not None and seen.size > MAX_FILE_BYTES:
        raise ConfigError(
            f"{path}: has {seen.size} bytes; no file of a configuration may have more than {MAX_FILE_BYTES}"
        )


def load_policies(path: Path, environ: Mapping[str, str] = os.environ) -> tuple[Config, dict[str, Policy]]:
    """Read a configuration and its policies only: without the keys and models that serving needs.

    Args:
        path: The YAML file.
        environ: Where variables are looked up.

    Raises:
        ConfigError: Something in it is unusable.
    """
    source, config = _read(path, environ)
    return config, {name: _policy(source, name, entry) for name, entry in config.policies.items()}


def policy_named(path: Path, policies: Mapping[str, Policy], name: str) -> Policy:
    """One of the policies of a configuration.

    Raises:
        ConfigError: There is no such policy.
    """
    if name not in policies:
        raise ConfigError(f"{path}: policies: no policy is called {name!r} (known: {', '.join(sorted(policies))})")
    return policies[name]


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
    source, config = _read(path, environ)
    name = name or _default_guard(source, config)
    if name is None or name not in config.guards:
        raise ConfigError(f"{path}: guards: no guard is called {name!r}{_known(config.guards)}")
    guard = config.guards[name]
    return FoundGuard(name, guard, _spec(source, name, guard, environ, n_policies))


def effort_of(guard: Guard) -> str | None:
    """For how long a guard may think, in words that calibrations are compared by; None where it is not for us to say."""
    if not isinstance(guard, LlamaGuard):
        return None
    return guard.effort.value + (f" {guard.reason_tokens}" if guard.reason_tokens is not None else "")


def calibration_path(config_path: Path, entry: PolicyEntry) -> Path | None:
    """Where the calibrations of a policy lie, or would lie; None: nowhere, unless the configuration says where.

    Raises:
        PolicyError: The policy's file is not there.
    """
    if entry.calibration is not None:
        return config_path.parent / Path(entry.calibration).expanduser()
    return None if entry.file is None else path_beside(find_policy_file(entry.file, config_path.parent))


def examples_path(config_path: Path, name: str, entry: PolicyEntry) -> Path:
    """Where the examples of a policy lie, or would lie, so that they can be added to.

    Raises:
        PolicyError: Nowhere, or in a file that is shipped.
    """
    if entry.examples is not None:
        path = find_policy_file(entry.examples, config_path.parent)
    elif entry.file is not None:
        path = beside(find_policy_file(entry.file, config_path.parent))
    else:
        raise PolicyError(f"policy {name!r} has no file of examples; name one as `examples`")
    if path.resolve().is_relative_to(SHIPPED.resolve()):
        raise PolicyError(
            f"the examples of policy {name!r} are shipped ({path}); copy them, and name the copy as `examples`"
        )
    return path


def _calibrations(source: _Source, name: str, entry: PolicyEntry) -> tuple[Calibration, ...]:
    key: KeyPath = ("policies", name, "calibration") if entry.calibration is not None else ("policies", name)
    try:
        path = calibration_path(source.path, entry)
        return read_calibrations(path) if path is not None else ()
    except FileNotFoundError:
        if entry.calibration is None:
            return ()
        raise source.error(key, f"no such file: {entry.calibration}; `safeguard calibrate` writes it") from None
    except (CalibrationError, PolicyError) as e:
        raise source.error(key, str(e)) from None


def read_config(path: Path, environ: Mapping[str, str] = os.environ) -> Config:
    """Read a configuration only.

    Raises:
        ConfigError: Something in it is unusable.
    """
    return _read(path, environ)[1]


@dataclass(frozen=True, slots=True)
class PolicySource:
    """A policy as its author wrote it.

    Attributes:
        name: Its name in the configuration.
        file: Where its text stands: a policy file, or the configuration.
        line: Where in the file the text begins; for a text in the configuration, where its key stands.
        text: What a guard reads; None for detectors.
        examples: Its examples; None where there is no file of them.
    """

    name: str
    file: Path
    line: int
    text: str | None = field(repr=False)
    examples: ExampleFile | None = field(repr=False)


def policy_sources(path: Path, environ: Mapping[str, str] = os.environ) -> list[PolicySource]:
    """The policies of a configuration with their examples, to be tested and looked over.

    Raises:
        ConfigError: Something in it is unusable.
    """
    source, config = _read(path, environ)
    found = []
    for name, entry in config.policies.items():
        file, line, text = source.path, source.file.line_of(("policies", name, "text")), entry.text
        if entry.file is not None:
            _policy(source, name, entry)  # complains about what is wrong with it
            file = find_policy_file(entry.file, source.path.parent)
            whole = file.read_text(encoding="utf-8")
            text = split_front_matter(whole)[1]
            line = whole.count("\n", 0, len(whole) - len(text)) + 1
        found.append(PolicySource(name, file, line, text, _examples(source, name, entry)))
    return found


def _read(path: Path, environ: Mapping[str, str]) -> tuple[_Source, Config]:
    try:
        with path.open("rb") as stream:  # a device has no size, and may have no end
            data = stream.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            raise ConfigError(
                f"{path}: has no end that is near; no configuration may have more than {MAX_FILE_BYTES} bytes"
            )
        text = data.decode()
    except OSError as e:
        raise ConfigError(f"{path}: cannot read the configuration: {e.strerror}") from None
    except UnicodeDecodeError as e:
        raise ConfigError(f"{path}: not UTF-8 (byte {e.start})") from None
    try:
        file = parse_yaml(text, environ)
    except YamlError as e:
        raise ConfigError(f"{path}:{e.line or 1}: {e}") from None
    source = _Source(path, file)
    try:
        resolved = resolve_routes(Config.model_validate(file.data))
    except ValidationError as e:
        raise _explain(source, e) from None
    except RouteError as e:
        raise source.error(e.key, str(e)) from None
    return replace(source, written=resolved.written), resolved.config


def _explain(source: _Source, error: ValidationError) -> ConfigError:
    """The first complaint of pydantic, in the words of the file."""
    first = error.errors(include_url=False)[0]
    key: list[str | int] = []
    data: Any = source.file.data
    for step in first["loc"]:  # leave out what pydantic adds for unions and discriminators
        inside: Any = range(len(data)) if isinstance(data, list) else data if isinstance(data, dict) else ()
        if step in inside:
            key.append(step)
            data = operator.getitem(data, step)
        elif step == first["loc"][-1] and first["type"] == "missing":
            key.append(step)
    given = first.get("input")
    shown = f" (got {given!r})" if isinstance(given, (str, int, float, bool)) else ""
    if first["loc"] and str(first["loc"][-1]).endswith("_env"):
        shown = " (the name of an environment variable, not the key itself)"  # never shown: it can be the key
    elif "@" in shown or "?" in shown:
        shown = ""  # a URL's password or key
    match first["type"]:
        case "model_type" | "dict_type":
            reason = "must be a mapping of keys to values"
        case "extra_forbidden":
            reason = "unknown key" + _similar(str(first["loc"][-1]), source, tuple(key))
        case "missing":
            reason = "is missing"
        case "union_tag_invalid" | "union_tag_not_found":
            reason = "engine must be one of encoder, llama, openai"
        case "greater_than_equal" | "less_than_equal" if first["loc"][-1] in ("flag", "rewrite", "refuse"):
            reason = f"a threshold must lie in [0, 1]{shown}"
        case _:
            reason = first["msg"].removeprefix("Value error, ") + shown
    return source.error(tuple(key), reason)


_KEYS_BY_PARENT: dict[str, type] = {"upstreams": Upstream, "policies": PolicyEntry, "routes": Route}


def _similar(key: str, source: _Source, path: KeyPath) -> str:
    """Names that would be right, where the parent is easily known."""
    model: type | None = Config if len(path) == 1 else None
    if len(path) == 3:
        model = _KEYS_BY_PARENT.get(str(path[0]))
    elif len(path) == 5 and path[2] in ("input", "output"):
        model = RuleEntry
    if model is None:
        return ""
    return f"; known here: {', '.join(model.model_fields)}"  # type: ignore[attr-defined]  # all are pydantic models


def _draw(
    source: _Source,
    config: Config,
    environ: Mapping[str, str],
    files: Snapshot,
    *,
    canaries: bool,
    also_guard: str | None,
) -> Blueprint:
    default_guard = _default_guard(source, config)
    admin_token = _admin_token(source, config, environ)
    policies = {name: _policy(source, name, entry) for name, entry in config.policies.items()}
    calibrations = {name: _calibrations(source, name, entry) for name, entry in config.policies.items()}
    used: set[str] = set()
    parts: list[tuple[Route, tuple[Rule, ...], tuple[Rule, ...]]] = []
    for i, route in enumerate(config.routes):
        if route.audit_content is not None and config.audit is None:
            raise source.error(("routes", i, "audit_content"), "there is no audit: add a section `audit`")
        if route.upstream not in config.upstreams:
            raise source.error(
                ("routes", i, "upstream"), f"no upstream is called {route.upstream!r}{_known(config.upstreams)}"
            )
        stages = [
            tuple(
                _rule(source, ("routes", i, stage.value, j), entry, route, config, policies, default_guard)
                for j, entry in enumerate(entries)
            )
            for stage, entries in ((Stage.INPUT, route.input), (Stage.OUTPUT, route.output))
        ]
        used.update(g for rules in stages for rule in rules if rule.mode is not Mode.OFF for g in rule.guards)
        parts.append((route, stages[0], stages[1]))
    keys = {
        name: _key(source, ("upstreams", name, "api_key_env"), config.upstreams[name].api_key_env, environ)
        for name in sorted({route.upstream for route in config.routes})
    }
    client_keys = {
        route.name: tuple(
            digest_of(_key(source, ("routes", i, "match", "key_env", j), env, environ) or "")
            for j, env in enumerate(route.match.key_env or ())
        )
        for i, route in enumerate(config.routes)
    }
    used_by = {
        name: {r.policy.name for _, given, back in parts for r in (*given, *back) if name in r.guards} for name in used
    }
    if also_guard is not None:
        if also_guard not in config.guards:
            raise source.error(("guards",), f"no guard is called {also_guard!r}{_known(config.guards)}")
        used_by[also_guard] = {name for name, policy in policies.items() if policy.detector is None}
    seconds = _second_opinions(source, config)
    for name, second in seconds.items():
        if name in used_by:
            used_by[second] = used_by.get(second, set()) | used_by[name]
    specs = {name: _spec(source, name, config.guards[name], environ, len(by)) for name, by in sorted(used_by.items())}
    models = models_of(specs)
    model_files = {name: _model_files(source, name, spec) for name, spec in specs.items()}

    def based(rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
        return tuple(replace(rule, basis=basis_of(rule, config, models, calibrations)) for rule in rules)

    parts = [(route, based(given), based(back)) for route, given, back in parts]
    rules = [rule for _, given, back in parts for rule in (*given, *back)] if canaries else []
    pairs = _canaries(source, config, policies, rules)
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
        configuration=_configuration(config, policies, calibrations, pairs),
        files=reduce(operator.or_, model_files.values(), dict(files)),
        admin_token=admin_token,
        _parts=parts,
        _keys=keys,
        _client_keys=client_keys,
        _seconds=seconds,
    )


def _model_files(source: _Source, name: str, spec: GuardSpec) -> Snapshot:
    try:
        return snapshot(files_of(spec))
    except ModelLoadError as e:
        raise source.error(("guards", name, "model"), str(e)) from None


def _configuration(
    config: Config,
    policies: Mapping[str, Policy],
    calibrations: Mapping[str, tuple[Calibration, ...]],
    canaries: Mapping[str, Sequence[Canary]],
) -> str:
    """A hash that changes with anything that a configuration says, in whichever of its files."""
    # the detector's options are in the revision
    told = [f for f in _POLICY_FIELDS if f not in ("detector", "surfaces")]
    lines = [
        f"{name} {[getattr(policy, f) for f in told]} {'*' if policy.surfaces is None else sorted(policy.surfaces)}"
        for name, policy in sorted(policies.items())
    ]
    lines += [f"{name} {c.model_dump_json()}" for name, those in sorted(calibrations.items()) for c in those]
    lines += [
        f"{guard} {canary.policy.name} {[(p.surface, p.text) for p in (canary.violating, canary.safe)]}"
        for guard, those in sorted(canaries.items())
        for canary in those
    ]
    return revision_of(config.model_dump_json(), *lines)


_POLICY_FIELDS = tuple(f.name for f in fields(Policy))


def audit_folder(path: Path, config: Config) -> Path | None:
    """Where the audit of the configuration at ``path`` is kept; None if it has none."""
    return None if config.audit is None else path.parent / Path(config.audit.path).expanduser()


def review_path(path: Path, config: Config) -> Path | None:
    """Where the review queue of the configuration at ``path`` is kept; None if it has none."""
    return None if config.review is None else path.parent / Path(config.review.path).expanduser()


def _keep(config: Config, route: Route) -> Keep:
    if config.audit is None:
        return Keep.NONE
    return config.audit.content if route.audit_content is None else route.audit_content


def _known(names: Mapping[str, object]) -> str:
    return f" (known: {', '.join(sorted(names)) or 'none'})"


def _default_guard(source: _Source, config: Config) -> str | None:
    name = config.default_guard
    if name is not None:
        if name not in config.guards:
            raise source.error(("default_guard",), f"no guard is called {name!r}{_known(config.guards)}")
        return name
    if len(config.guards) == 1:
        return next(iter(config.guards))
    return "embedded" if "embedded" in config.guards else None


def _second_opinions(source: _Source, config: Config) -> dict[str, str]:
    """Which guard's opinion each guard has weighed beside its own."""
    found = {}
    for name, guard in config.guards.items():
        second = getattr(guard, "second_opinion", None)
        if second is None:
            continue
        if second not in config.guards:
            reason = f"no guard is called {second!r}{_known(config.guards)}"
        elif second == name or getattr(config.guards[second], "second_opinion", None) is not None:
            reason = f"{second!r} must be another guard, without second_opinion of its own"
        else:
            found[name] = second
            continue
        raise source.error(("guards", name, "second_opinion"), reason)
    return found


def _admin_token(source: _Source, config: Config, environ: Mapping[str, str]) -> str | None:
    if config.admin is None:
        return None
    token = environ.get(config.admin.token_env) if config.admin.token_env else None
    if not token and not is_loopback(config.admin.host):
        raise source.error(
            ("admin", "host"),
            f"{config.admin.host!r} is not a loopback address, so token_env must name a variable that is set",
        )
    return token or None


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server bound to ``host``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _key(source: _Source, at: KeyPath, env: str | None, environ: Mapping[str, str]) -> str | None:
    if env is None:
        return None
    value = environ.get(env, "").strip()
    if not value:
        raise source.error(at, f"environment variable {env} is not set")
    if not value.isascii() or any(c.isspace() or not c.isprintable() for c in value):
        raise source.error(at, f"environment variable {env} does not hold a key (spaces or non-ASCII)")
    return value


def _policy(source: _Source, name: str, entry: PolicyEntry) -> Policy:
    at: KeyPath = ("policies", name)
    try:
        if entry.detector is not None:
            kinds: dict[str, dict[str, Any]] = {
                "patterns": {
                    "patterns": entry.patterns,
                    "literals": entry.literals,
                    "ignore_case": entry.ignore_case,
                },
                "secrets": {},
                "pii": {} if entry.kinds is None else {"kinds": entry.kinds},
            }
            options = kinds[entry.detector]
            return Policy(
                name=name,
                revision=revision_of(entry.detector, repr(sorted(options.items()))),
                detector=build_detector(entry.detector, options),
                joins=entry.detector != "pii",  # numbers of two messages side by side are not one number
                refusal_text=entry.refusal_text,
            )
        text = entry.text
        if entry.file is not None:
            text = find_policy_file(entry.file, source.path.parent).read_text(encoding="utf-8")
        return text_policy(
            name,
            text or "",
            category=entry.category,
            refusal_text=entry.refusal_text,
            summary=entry.summary,
            rewrite_text=entry.rewrite_text,
            advisory=entry.advisory,
            reason_band=entry.reason_band,
        )
    except PolicyError as e:
        raise source.error((*at, "file") if entry.file else at, str(e)) from None
    except (OSError, UnicodeDecodeError) as e:
        raise source.error((*at, "file"), f"cannot read {entry.file}: {e}") from None
    except ValueError as e:  # an option of a detector
        raise source.error(at, str(e)) from None


def _rule(
    source: _Source,
    at: KeyPath,
    entry: RuleEntry,
    route: Route,
    config: Config,
    policies: Mapping[str, Policy],
    default_guard: str | None,
) -> Rule:
    policy = policies.get(entry.policy)
    if policy is None:
        raise source.error((*at, "policy"), f"no policy is called {entry.policy!r}{_known(policies)}")
    guards: tuple[str, ...] = ()
    if policy.detector is not None:
        if entry.guard is not None:
            raise source.error((*at, "guard"), f"policy {entry.policy!r} is a detector and needs no guard")
    else:
        given = (
            (entry.guard,)
            if isinstance(entry.guard, str)
            else entry.guard or ((default_guard,) if default_guard else ())
        )
        if not given:
            raise source.error(at, "names no guard, and there is no default_guard")
        for name in given:
            if name not in config.guards:
                raise source.error((*at, "guard"), f"no guard is called {name!r}{_known(config.guards)}")
            if policy.category is None and getattr(config.guards[name], "api", None) == "moderations":
                raise source.error(
                    (*at, "guard"), f"guard {name!r} reads no policies: {policy.name!r} must name one of its categories"
                )
        guards = tuple(given)
    if entry.rewrite is not None and "output" in at and route.stream is StreamMode.DELIVER_FIRST:
        raise source.error(
            (*at, "rewrite"), "what `stream: deliver_first` has sent cannot be rewritten; use buffer or window"
        )
    if entry.rewrite is not None and "input" in at and route.overlap:
        raise source.error((*at, "rewrite"), "with `overlap: true` the request is sent before it could be rewritten")
    rewrite_with = _rewrite_with(source, at, entry, policy)
    thresholds = {
        action: value
        for action, value in (
            (Action.FLAG, entry.flag),
            (Action.REWRITE, entry.rewrite),
            (Action.REFUSE, entry.refuse),
        )
        if value is not None
    }
    scope: frozenset[Surface] | None = policy.surfaces if entry.scope is None else frozenset(entry.scope)
    return Rule(
        policy,
        guards,
        thresholds,
        entry.mode,
        entry.on_error or route.on_error,
        scope,
        rewrite_with,
        entry.restore,
        policy.rewrite_text or policy.refusal_text or route.refusal_text or DEFAULT_REFUSAL_TEXT,
        _hold_s(source, at, entry, route, config),
        entry.passes_below,
    )


def _hold_s(source: _Source, at: KeyPath, entry: RuleEntry, route: Route, config: Config) -> float | None:
    """How long what a rule flags waits for a reviewer, if that goes together with the route."""
    if not entry.hold:
        return None
    reason = ""
    if config.review is None:
        reason = "there is no review queue: add a section `review`"
    elif "output" in at and route.stream is not StreamMode.BUFFER:
        reason = f"with `stream: {route.stream}` text has left before all of it could be reviewed; use buffer"
    elif "input" in at and route.overlap:
        reason = "with `overlap: true` the request is sent before it could be reviewed"
    if reason or config.review is None:
        raise source.error((*at, "hold"), reason)
    return config.review.hold_s if entry.hold_s is None else entry.hold_s


def _rewrite_with(source: _Source, at: KeyPath, entry: RuleEntry, policy: Policy) -> RewriteWith:
    """What a rule's rewrite does, if that goes together with the rest of the rule."""
    is_detector = policy.detector is not None
    how = entry.rewrite_with or (RewriteWith.MASK if is_detector else RewriteWith.SENTENCES)
    key, reason = "rewrite_with", ""
    if entry.rewrite_with is not None and entry.rewrite is None:
        reason = "says how to rewrite, but the rule has no threshold `rewrite`"
    elif is_detector and how is not RewriteWith.MASK:
        reason = f"policy {entry.policy!r} is a detector, and what it finds is masked; use mask"
    elif not is_detector and how is RewriteWith.MASK:
        reason = f"policy {entry.policy!r} is judged by a guard, which finds nothing to mask; use sentences, text or advisory"
    elif how is RewriteWith.ADVISORY and "output" in at:
        reason = "an advisory speaks to the upstream, so it belongs to `input`; use sentences or text"
    elif entry.restore and "output" in at:
        key, reason = "restore", "what was masked in the request is restored, so it belongs to a rule of `input`"
    elif entry.restore and (entry.rewrite is None or not is_detector):
        key, reason = "restore", "restores what the rule masks, so it needs a detector and a threshold `rewrite`"
    if reason:
        raise source.error((*at, key), reason)
    return how


def _spec(source: _Source, name: str, guard: Guard, environ: Mapping[str, str], n_policies: int) -> GuardSpec:
    at: KeyPath = ("guards", name)
    match guard:
        case OpenAIGuard():
            return RemoteSpec(
                name=name,
                base_url=guard.base_url,
                model=guard.model,
                api=guard.api,
                api_key=_key(source, (*at, "api_key_env"), guard.api_key_env, environ),
                timeout_s=guard.timeout_s,
                max_connections=guard.max_connections,
                max_queue=guard.max_queue,
            )
        case EncoderGuard() | LlamaGuard():
            model = guard.model
            if model.endswith(".gguf") and not Path(model).expanduser().is_absolute():
                model = str(source.path.parent / model)
            try:
                resolve(model)
            except ModelLoadError as e:
                raise source.error((*at, "model"), str(e)) from None
            return LocalSpec(
                name=name,
                engine=guard.engine,
                model=model,
                gpu_layers=None if guard.gpu_layers == "auto" else guard.gpu_layers,
                threads=guard.threads,
                timeout_s=guard.timeout_s,
                max_queue=guard.max_queue,
                max_content_tokens=guard.max_content_tokens,
                sha256=guard.sha256,
                check_memory=guard.check_memory,
                **_llama_values(source, at, guard, n_policies),
            )


def _llama_values(source: _Source, at: KeyPath, guard: EncoderGuard | LlamaGuard, n_policies: int) -> dict[str, Any]:
    """What only engine ``llama`` has."""
    if isinstance(guard, EncoderGuard):
        return {"effort": Effort.NONE}
    lora = None if guard.lora is None else source.path.parent / Path(guard.lora).expanduser()
    if lora is not None and not lora.is_file():
        raise source.error((*at, "lora"), f"no such file: {guard.lora}")
    return {
        "lora": lora and str(lora),
        "effort": guard.effort,
        "reason_band": guard.reason_band,
        "reason_tokens": guard.reason_tokens,
        "reason_s": guard.reason_s,
        "n_ctx": guard.n_ctx,
        "n_at_once": guard.max_queue + 1,  # they wait in the process, which knows who can still be in time
        "layout": guard.layout,
        "max_policies": guard.max_policies,
        "n_policies": n_policies,
        "max_sequences": guard.max_sequences,
        "max_kept": guard.max_kept,
        "kv_tokens": guard.kv_tokens,
        "batch_tokens": guard.batch_tokens,
        "flash_attention": guard.flash_attention,
        "kv_type": guard.kv_type,
        "prefix_cache": guard.prefix_cache and str(source.path.parent / Path(guard.prefix_cache).expanduser()),
    }


def _canaries(
    source: _Source, config: Config, policies: Mapping[str, Policy], rules: Sequence[Rule]
) -> dict[str, list[Canary]]:
    """What each guard has to get right: the canaries of the policies that some rule gives to it."""
    found: dict[str, list[Canary]] = {name: [] for name in config.guards}
    for name, entry in config.policies.items():
        asked = {g for r in rules if r.policy.name == name and r.mode is not Mode.OFF for g in r.guards}
        asked = {guard for guard in asked if config.guards[guard].canaries}
        if not asked or (file := _examples(source, name, entry)) is None:
            continue
        if (canary := canary_of(policies[name], file.examples)) is not None:
            for guard in asked:
                found[guard].append(canary)
    return found


def _examples(source: _Source, name: str, entry: PolicyEntry) -> ExampleFile | None:
    """The examples of a policy: of the file that the configuration names, else of the one beside the policy, if any."""
    key = "file" if entry.examples is None else "examples"
    try:
        if entry.examples is not None:
            return read_example_file(find_policy_file(entry.examples, source.path.parent))
        if entry.file is not None:
            return read_example_file(beside(find_policy_file(entry.file, source.path.parent)))
    except FileNotFoundError:
        return None
    except PolicyError as e:
        raise source.error(("policies", name, key), str(e)) from None
    return None


def _policy_set(
    given: tuple[Rule, ...], back: tuple[Rule, ...], route: Route, calibrations: Mapping[str, tuple[Calibration, ...]]
) -> str:
    lines = [
        f"{stage} {r.policy.name} {r.policy.revision} {r.guards} {sorted(r.thresholds.items())} {r.mode} {r.on_error} "
        f"{sorted(r.scope) if r.scope is not None else '*'}{_rewrite_line(r)}"
        f"{'' if r.hold_s is None else f' hold {r.hold_s}'}"
        f"{f' pass {sorted(r.pass_below.items())}' if r.pass_below else ''}"
        f"{''.join(f' {c.model_dump_json()}' for c in calibrations[r.policy.name])}"
        for stage, rules in ((Stage.INPUT, given), (Stage.OUTPUT, back))
        for r in rules
    ]
    return revision_of(*lines, route.opaque, route.unknown_fields, route.server_state) + revision_of(route.name)[:4]


def _rewrite_line(rule: Rule) -> str:
    """What a rule's rewrite does, for the hash; nothing for rules that rewrite nothing."""
    if Action.REWRITE not in rule.thresholds:
        return ""
    said = {RewriteWith.TEXT: rule.rewrite_text, RewriteWith.ADVISORY: rule.policy.advisory}
    return f" {rule.rewrite_with} {rule.restore} {said.get(rule.rewrite_with, '')!r}"

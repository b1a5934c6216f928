"""What the commands of ``safeguard`` do."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import structlog
from rich.table import Table
from rich.text import Text

from models import catalog
from models.engine import Tier
from models.errors import EngineError
from proxy.config_error import ConfigError
from proxy.doctor import examine
from proxy.loading.drawing import load_config, read_blueprint
from proxy.loading.policies import policy_sources
from proxy.logs import configure_logs
from proxy.offline import guards_of, route_called, started
from proxy.policy_lint import PolicyWarning, look_over
from proxy.printing import console as _console
from proxy.printing import print_json as _print_json
from proxy.probes import Expectation, ProbeError, Target, expectation, visit
from proxy.records import decision_record, outcome
from proxy.route_table import rules_of, settings_of, table_of
from proxy.stale_calibrations import StaleCalibration, stale_calibrations
from proxy.strict_json import check_text
from proxy.unreachable_routes import UnreachableRoute, unreachable_routes
from rules.content import Content, Leaf
from rules.decision import Cause, decide
from rules.rule import Action, Stage

log = structlog.get_logger()


def config_check(path: Path, *, as_json: bool) -> int:
    """``safeguard config check``."""
    blueprint = read_blueprint(path)
    loaded = blueprint.build_new()
    rules = rules_of(blueprint, loaded)
    routes = [
        {"name": r.config.name, "region": r.config.region, "upstream": r.config.upstream, "policy_set": r.policy_set}
        | {s.stage.value: [rule.policy.name for rule in s.rules] for s in (r.input, r.output)}
        | {"rules": those, "settings": settings}
        for r, those, settings in zip(loaded.routes, rules, settings_of(blueprint), strict=True)
    ]
    warnings: list[PolicyWarning | StaleCalibration | UnreachableRoute] = [
        *look_over(policy_sources(path), path),
        *stale_calibrations(loaded),
        *unreachable_routes(loaded.config.routes),
    ]
    if as_json:
        guards, warned = sorted(loaded.engines), [warning.record() for warning in warnings]
        _print_json({"ok": True, "revision": loaded.revision, "routes": routes, "guards": guards, "warnings": warned})
        return 0
    table = Table(
        "route", "region", "upstream", "input policies", "output policies", "policy set", title=f"{path}: good"
    )
    for r in routes:
        table.add_row(*(cell if isinstance(cell, str) else ", ".join(cell) for cell in _columns(r)))
    _console().print(table)
    _console().print(table_of([r.config.name for r in loaded.routes], rules))
    for warning in warnings:
        sys.stderr.write(f"warning: {warning}\n")
    return 0


def _columns(route: dict[str, Any]) -> list[str | list[str]]:
    return [route[key] or "" for key in ("name", "region", "upstream", "input", "output", "policy_set")]


async def check(path: Path, args: argparse.Namespace) -> int:
    """``safeguard check``: judge one text the way the proxy would."""
    configure_logs(level="error")
    # the canaries are for who serves: a large model on a slow machine takes minutes for them
    loaded = load_config(path, canaries=False)
    route = route_called(path, loaded, args.route)
    text = _standard_input() if args.text == "-" else args.text
    if (problem := check_text(text)) is not None:
        raise ConfigError(f"TEXT: {problem}")
    stage = Stage(args.stage)
    screener = route.at(stage)
    surface = stage.surface
    content = Content((Leaf(("messages", 0, "content"), surface, text),))
    async with started(path, {name: loaded.judges[name] for name in guards_of([screener])}):
        decision = await screener.screen(content)
        verdicts = [*decision.verdicts, *await screener.shadow(content)]
    if args.json:
        record = decision_record(decide(stage, verdicts))
        _print_json(record | {"route": route.config.name, "stage": stage.value})
    else:
        table = Table(
            "policy", "score", "threshold", "action", "tier", "ms", title=f"{route.config.name}, {stage.value}"
        )
        for v in verdicts:
            limits = ", ".join(f"{a.word} {t:g}" for a, t in sorted(v.rule.thresholds.items()))
            mode = "" if v.rule.mode.value == "enforce" else f" ({v.rule.mode.value})"
            score = v.error if v.error is not None else "" if v.score is None else f"{v.score:.3f}"
            tier = v.tier.value if v.tier is not None else ""
            if v.score is not None and v.tier not in (None, Tier.DETECTOR) and not v.calibrated:
                tier += ", not calibrated"
            table.add_row(v.rule.policy.name + mode, score, limits, outcome(v), tier, f"{v.latency_ms:.1f}")
        console = _console()
        console.print(table)
        console.print(
            f"decision: {decision.action.word}" + (" (not decided)" if decision.cause is Cause.UNDECIDED else "")
        )
    if decision.cause is Cause.UNDECIDED:
        failed = ", ".join(v.rule.policy.name for v in decision.verdicts if v.error is not None)
        sys.stderr.write(f"could not be judged: {failed}\n")
        return 2
    return 0 if decision.action is Action.FORWARD else 1


def _standard_input() -> str:
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError:
        raise ConfigError("TEXT: is not UTF-8") from None


async def doctor(args: argparse.Namespace) -> int:
    """``safeguard doctor``: look at refusals from the client's side of a gateway."""
    configure_logs(level="error")
    if args.config is not None:
        expected = expectation(args.config, args.route, args.probe)
    elif args.route is not None:
        raise ConfigError("--route names a route of --config FILE, which is not given")
    else:
        expected = Expectation() if args.probe is None else Expectation(probe=args.probe)
    if (problem := check_text(expected.probe)) is not None:
        raise ConfigError(f"--probe: {problem}")
    target = Target(
        via=args.via,
        model=args.model,
        api_key=_from_env("--api-key-env", args.api_key_env),
        admin=args.admin,
        admin_token=_from_env("--admin-token-env", args.admin_token_env),
        timeout_s=args.timeout_s,
    )
    try:
        seen = await visit(target, expected)
    except ProbeError as e:
        raise ConfigError(str(e)) from None
    report = examine(seen)
    if args.json:
        _print_json({"via": args.via, "model": args.model, **report.record(), "seen": seen.record()})
        return report.exit_code
    table = Table("check", "outcome", "what it means", title=Text(f"refusals via {args.via}, model {args.model}"))
    for finding in report.findings:
        table.add_row(finding.check.value, finding.outcome.value, Text(finding.text))
    console = _console()
    console.print(table)
    source = "configured" if expected.mode is not None else "as it looks"
    console.print(f"refusal mode: {report.mode or 'not known'}" + (f" ({source})" if report.mode else ""))
    console.print(Text(report.advice_text, style="bold"))
    return report.exit_code


def _from_env(option: str, name: str | None) -> str | None:
    """A secret that an option names."""
    if name is None:
        return None
    value = os.environ.get(name, "").strip()
    if not value or not value.isascii() or any(c.isspace() or not c.isprintable() for c in value):
        raise ConfigError(
            f"{option}: no environment variable of this name holds a key"
        )  # name not shown: can be the key
    return value


def models(args: argparse.Namespace) -> int:
    """``safeguard models list|pull|verify``."""
    configure_logs(level="error")
    try:
        match args.subcommand:
            case "list":
                return _models_list(as_json=args.json)
            case "pull":
                path = catalog.pull(args.name, progress=sys.stderr.isatty())
                _print_json({"name": args.name, "path": str(path)}) if args.json else _console().print(f"{path}")
                return 0
            case _:
                return _models_verify(args.name, as_json=args.json)
    except EngineError as e:
        raise ConfigError(str(e)) from None


def _models_list(*, as_json: bool) -> int:
    found = catalog.list_models()
    if as_json:
        _print_json([_status(m) for m in found])
        return 0
    table = Table("model", "state", "path", "about")
    for m in found:
        status = _status(m)
        table.add_row(
            status["name"], "here" if status["path"] else "not here", status["path"] or "", status["description"]
        )
    _console().print(table)
    return 0


def _status(model: catalog.ModelStatus) -> dict[str, Any]:
    from dataclasses import asdict

    record = asdict(model)
    return {k: str(v) if isinstance(v, Path) else v for k, v in record.items()}


def _models_verify(name: str, *, as_json: bool) -> int:
    results = catalog.verify(name)
    if as_json:
        from dataclasses import asdict

        _print_json([{k: str(v) if isinstance(v, Path) else v for k, v in asdict(r).items()} for r in results])
    else:
        table = Table("file", "sha256", "compared with a record")
        for r in results:
            table.add_row(str(r.path), r.sha256, "yes: the same" if r.recorded else "no: none was recorded")
        _console().print(table)
    return 0

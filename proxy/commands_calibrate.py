"""``safeguard calibrate``: make a policy's scores probabilities, and propose thresholds."""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

from rich.table import Table
from rich.text import Text

from models.calibration import Calibration, CalibrationError, write_calibration
from proxy.config import Config
from proxy.config_error import ConfigError
from proxy.evaluation.calibrating import Fitting, Targets, fit_tiers, picture, record
from proxy.evaluation.fitting import FitError, check_installed
from proxy.evaluation.judging import Judge, JudgingError, judge_rows, judging
from proxy.evaluation.metrics import Interval
from proxy.evaluation.results import Results, ResultsError
from proxy.evaluation.rows import RowError, read_rows
from proxy.evaluation.subjects import calibrations_in, read_subjects, write_text
from proxy.loading.places import calibration_path
from proxy.loading.policies import load_policies, policy_named
from proxy.logs import configure_logs
from proxy.printing import console, print_json
from rules.policy import Policy
from rules.rule import Stage


def calibrate(path: Path, args: argparse.Namespace) -> int:
    """Run the command.

    Args:
        path: The configuration.
        args: Its options.

    Raises:
        ConfigError: Options, rows or configuration are wrong, or the guard cannot judge.
    """
    configure_logs(level="error")
    try:
        return asyncio.run(_calibrate(path, args))
    except (RowError, ResultsError, JudgingError, FitError, CalibrationError) as e:
        raise ConfigError(str(e)) from None


async def _calibrate(path: Path, args: argparse.Namespace) -> int:
    check_installed()
    rows = read_rows(args.data, stage=Stage(args.stage), names=args.fields)
    honest = read_rows(args.honest, stage=Stage(args.stage), names=args.fields) if args.honest else []
    labelled = {row.key for row in rows}
    honest = [row for row in honest if row.violates(args.policy) is not True and row.key not in labelled]
    config, policies = load_policies(path)
    output = _output(path, config, policies, args)
    (subject,) = read_subjects(path, config, policies, [args.policy], rows)
    rows = [row for row in rows if row.violates(subject.label) is not None]
    with Results(args.results) as results:
        async with judging(path, args.guard, 1) as judge:
            await judge_rows(judge, [*rows, *honest], subject, results, at_once=args.at_once, timeout_s=args.timeout_s)
        fitted = fit_tiers(
            judge, subject, rows, honest, results, n_folds=args.folds, seed=args.seed,
            targets=Targets(args.precision, args.recall, args.false_alarms_per_1000, args.pass_recall),
        )  # fmt: skip
    if not args.dry_run:
        for calibration in fitted.calibrations:
            _store(output, calibration)
    if args.plot is not None:
        write_text(args.plot, picture(fitted, f"{args.policy}, {judge.model}: measured out of fold"), "--plot")
    stored = output if fitted.calibrations and not args.dry_run else None
    if args.json:
        print_json({"policy": args.policy, "model": judge.model, "stored": stored and str(stored), **record(fitted)})
    else:
        _say(args, judge, fitted, stored)
    return 1 if fitted.problems else 0


def _output(path: Path, config: Config, policies: Mapping[str, Policy], args: argparse.Namespace) -> Path:
    """Where the calibrations will go; known before hours are spent on judging."""
    policy_named(path, policies, args.policy)
    output: Path | None = args.output or calibration_path(path, config.policies[args.policy])
    if output is None:
        raise ConfigError(
            f"{path}: policies.{args.policy}: has no file to lie beside; say where with `calibration: FILE`, or --output FILE"
        )
    calibrations_in(output)
    if not args.dry_run and not os.access(output.parent, os.W_OK):
        raise ConfigError(f"{output}: cannot be written; say where with `calibration: FILE`, or --output FILE")
    return output


def _store(path: Path, calibration: Calibration) -> None:
    try:
        write_calibration(path, calibration)
    except OSError as e:
        raise ConfigError(f"{path}: cannot be written: {e.strerror}") from None


def _say(args: argparse.Namespace, judge: Judge, fitted: Fitting, stored: Path | None) -> None:
    out = console()
    n, violations = len(fitted.scores), int(fitted.violates.sum())
    title = f"{args.policy}, {judge.model}: {n} rows, {violations} violations, {args.folds} folds, measured out of fold"
    table = Table("", "before", "calibrated", title=Text(title))
    for name, text in (("auroc", "AUROC"), ("auprc", "AUPRC"), ("ece", "ECE")):
        table.add_row(text, _figure(fitted.figures_before[name]), _figure(fitted.figures[name]))
    out.print(table)
    if fitted.proposals:
        table = Table("for", "threshold", "precision", "recall", "false alarms per 1,000", title="Thresholds")
        for p in fitted.proposals:
            threshold = "none does it" if p.threshold is None else f"{p.threshold:g}"
            table.add_row(p.target, threshold, _figure(p.precision), _figure(p.recall), _figure(p.per_1000, 1))
        out.print(table)
        source = "of --honest" if args.honest else "that violate nothing"
        out.print(Text(f"False alarms are counted on {len(fitted.honest)} rows {source}."))
    gate = fitted.passing
    if gate is not None and gate.threshold is not None:
        go_on = f"{_figure(gate.recall)} of the violations and {_figure(gate.per_1000, 1)} of 1,000 honest rows"
        out.print(
            Text(f"As an earlier guard of a cascade it passes below {gate.threshold:g}: {go_on} go on to the next.")
        )
    if fitted.n_failed:
        out.print(Text(f"{fitted.n_failed} rows without verdict were left out."))
    for problem in fitted.problems:
        out.print(Text(f"Not calibrated: {problem}."))
    for calibration in fitted.calibrations:
        out.print(Text(f"Tier {calibration.tier}: {'not stored (--dry-run)' if stored is None else f'in {stored}'}."))


def _figure(f: Interval, digits: int = 3) -> str:
    value, interval = f.shown(digits)
    return f"{value} ({interval})" if interval else value

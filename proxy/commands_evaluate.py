"""``safeguard evaluate`` and ``safeguard calibrate``: measure guards on labelled rows, and make their scores probabilities."""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.table import Table
from rich.text import Text

from models.calibration import Calibration, CalibrationError, path_beside, read_calibrations, write_calibration
from proxy.evaluation import report
from proxy.evaluation.calibrating import Fitting, Targets, fit_tiers, picture, record
from proxy.evaluation.columns import Column, Measured, measure
from proxy.evaluation.fitting import FitError, check_installed
from proxy.evaluation.judging import Judge, JudgingError, Subject, column, judge_rows, start
from proxy.evaluation.metrics import Interval
from proxy.evaluation.results import Results, ResultsError
from proxy.evaluation.rows import Row, RowError, read_rows
from proxy.evaluation.traces import columns_of, read_traces
from proxy.loading import ConfigError, calibration_path, load_guard, load_policies
from proxy.logs import configure_logs
from proxy.printing import console, print_json
from rules.errors import PolicyError
from rules.policy import Policy, text_policy
from rules.rule import Stage


def run(args: argparse.Namespace, config_path: Callable[[Path | None], Path]) -> int:
    """Run one of the two.

    Args:
        args: The options.
        config_path: Finds the configuration, where one is needed.

    Raises:
        ConfigError: Options, rows or configuration are wrong, or the guard cannot judge.
    """
    configure_logs(level="error")
    try:
        if args.command == "calibrate":
            return asyncio.run(_calibrate(config_path(args.config), args))
        return _evaluate_traces(args) if args.traces else asyncio.run(_evaluate(config_path(args.config), args))
    except (RowError, ResultsError, JudgingError, FitError, CalibrationError) as e:
        raise ConfigError(str(e)) from None


def _evaluate_traces(args: argparse.Namespace) -> int:
    for option in ("guard", "policy", "benign"):
        if getattr(args, option):
            raise ConfigError(f"--{option}: has no meaning with --traces")
    columns = columns_of(read_traces(args.traces, args.fields, args.also), seed=args.seed)
    return _report(args, columns, f"Recorded answers in {_names(args.traces)}.")


async def _evaluate(path: Path, args: argparse.Namespace) -> int:
    if args.also:
        raise ConfigError("--also: goes with --traces")
    rows = read_rows(args.data, stage=Stage(args.stage), names=args.fields)
    benign = read_rows(args.benign, stage=Stage(args.stage), names=args.fields) if args.benign else []
    subjects = _subjects(path, args.policy, rows)
    columns: list[Column] = []
    with Results(args.results) as results:
        for name in dict.fromkeys(args.guard or [None]):
            guard = load_guard(path, name, len(subjects))
            try:
                judge = await start(guard)
                for subject in subjects:
                    own = [row for row in rows if row.violates(subject.label) is not None]
                    await judge_rows(
                        judge, [*own, *benign], [subject], results, at_once=args.at_once, timeout_s=args.timeout_s,
                        what=f"{guard.name} / {subject.policy.name}",
                    )  # fmt: skip
                    columns.append(column(judge, own, benign, subject, results))
            finally:
                await guard.engine.close()
    return _report(args, columns, f"{_names(args.data)}, {len(rows)} rows.")


def _names(paths: Sequence[Path]) -> str:
    return ", ".join(path.name for path in paths)


def _report(args: argparse.Namespace, columns: Sequence[Column], about: str) -> int:
    usable = [c for c in columns if len(c.scores)]
    measured = [measure(c, threshold=args.threshold, n_bootstrap=args.bootstrap, seed=args.seed) for c in usable]
    groups = _groups(measured)
    if args.html is not None:
        intervals = f"Small figures are 95 % intervals from {args.bootstrap} resamples. " if args.bootstrap else ""
        lead = f"{about} {intervals}Rows are named by their ids."
        _write(args.html, report.page("Guards and policies on labelled rows", lead, groups), "--html")
    if args.json:
        print_json({"columns": [m.record() for m in measured]})
    else:
        out = console()
        for heading, those in groups:
            out.print(report.table(heading, those))
            for note in report.notes(those):
                out.print(Text(note))
    for empty in (c for c in columns if not len(c.scores)):
        sys.stderr.write(f"{empty.title}: no row was judged ({empty.failed or 'none has a label for it'})\n")
    return 1 if any(c.failed for c in columns if "score" not in c.about) or len(usable) < len(columns) else 0


def _groups(measured: Sequence[Measured]) -> list[tuple[str, list[Measured]]]:
    """Columns that have the same labels stand side by side."""
    groups: dict[str, list[Measured]] = {}
    for m in measured:
        groups.setdefault(str(m.column.about.get("label", m.column.policy)), []).append(m)
    return list(groups.items())


def _write(path: Path, text: str, option: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as e:
        raise ConfigError(f"{option}: {path}: cannot be written: {e.strerror}") from None


def _subjects(path: Path, given: Sequence[str] | None, rows: Sequence[Row]) -> list[Subject]:
    """The policies to measure.

    Raises:
        ConfigError: One is not there, is a detector, or no row has a label for it.
    """
    config, policies = load_policies(path)
    if not given:
        labelled = {name for row in rows for name in row.labels}
        given = [name for name, policy in policies.items() if policy.detector is None and name in labelled]
        if not given:
            raise ConfigError("--policy: name one; the rows have no `labels` for a policy of the configuration")
    subjects = []
    for word in dict.fromkeys(given):
        label, equals, file = word.partition("=")
        if equals or word.endswith(".md"):
            file = file if equals else word
            policy = _policy_file(Path(file))
            subject = Subject(policy, label if equals else policy.name, _calibrations(path_beside(Path(file))))
        else:
            if word not in policies:
                raise ConfigError(
                    f"{path}: policies: no policy is called {word!r} (known: {', '.join(sorted(policies))})"
                )
            if policies[word].detector is not None:
                raise ConfigError(f"{path}: policies.{word}: is a detector, which no guard judges")
            at = calibration_path(path, config.policies[word])
            subject = Subject(policies[word], word, _calibrations(at) if at is not None else ())
        if not any(row.violates(subject.label) is not None for row in rows):
            raise ConfigError(f"--policy {word}: no row has a label for {subject.label!r}")
        subjects.append(subject)
    return subjects


def _policy_file(path: Path) -> Policy:
    try:
        return text_policy(path.stem, path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as e:
        raise ConfigError(f"--policy: {path}: cannot be read: {getattr(e, 'strerror', None) or 'not UTF-8'}") from None
    except PolicyError as e:
        raise ConfigError(f"--policy: {path}: {e}") from None


def _calibrations(path: Path) -> tuple[Calibration, ...]:
    try:
        return read_calibrations(path)
    except FileNotFoundError:
        return ()


async def _calibrate(path: Path, args: argparse.Namespace) -> int:
    check_installed()
    rows = read_rows(args.data, stage=Stage(args.stage), names=args.fields)
    honest = read_rows(args.honest, stage=Stage(args.stage), names=args.fields) if args.honest else []
    honest = [row for row in honest if row.violates(args.policy) is not True]
    output = _output(path, args)
    (subject,) = _subjects(path, [args.policy], rows)
    rows = [row for row in rows if row.violates(subject.label) is not None]
    guard = load_guard(path, args.guard, 1)
    with Results(args.results) as results:
        try:
            judge = await start(guard)
            await judge_rows(
                judge, [*rows, *honest], [subject], results, at_once=args.at_once, timeout_s=args.timeout_s,
                what=f"{guard.name} / {subject.policy.name}",
            )  # fmt: skip
        finally:
            await guard.engine.close()
        fitted = fit_tiers(
            judge, subject, rows, honest, results, n_folds=args.folds, seed=args.seed,
            targets=Targets(args.precision, args.recall, args.false_alarms_per_1000),
        )  # fmt: skip
    if not args.dry_run:
        for calibration in fitted.calibrations:
            _store(output, calibration)
    if args.plot is not None:
        _write(args.plot, picture(fitted, f"{args.policy}, {judge.model}: measured out of fold"), "--plot")
    stored = output if fitted.calibrations and not args.dry_run else None
    if args.json:
        print_json({"policy": args.policy, "model": judge.model, "stored": stored and str(stored), **record(fitted)})
    else:
        _say(args, judge, fitted, stored)
    return 1 if fitted.problems else 0


def _output(path: Path, args: argparse.Namespace) -> Path:
    """Where the calibrations will go; known before hours are spent on judging."""
    config, policies = load_policies(path)
    if args.policy not in policies:
        raise ConfigError(
            f"{path}: policies: no policy is called {args.policy!r} (known: {', '.join(sorted(policies))})"
        )
    output: Path | None = args.output or calibration_path(path, config.policies[args.policy])
    if output is None:
        raise ConfigError(
            f"{path}: policies.{args.policy}: has no file to lie beside; say where with `calibration: FILE`, or --output FILE"
        )
    _calibrations(output)
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
    if fitted.n_failed:
        out.print(Text(f"{fitted.n_failed} rows without verdict were left out."))
    for problem in fitted.problems:
        out.print(Text(f"Not calibrated: {problem}."))
    for calibration in fitted.calibrations:
        out.print(Text(f"Tier {calibration.tier}: {'not stored (--dry-run)' if stored is None else f'in {stored}'}."))


def _figure(f: Interval, digits: int = 3) -> str:
    interval = "" if math.isnan(f.low) else f" ({f.low:.{digits}f}–{f.high:.{digits}f})"
    return "–" if math.isnan(f.value) else f"{f.value:.{digits}f}{interval}"

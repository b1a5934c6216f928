"""``safeguard evaluate``: guards and policies side by side on labelled rows."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.text import Text

from models.calibration import CalibrationError
from proxy.config_error import ConfigError
from proxy.evaluation import report
from proxy.evaluation.columns import LEANING, Column, Measured, measure
from proxy.evaluation.fitting import FitError
from proxy.evaluation.gated import gated_columns
from proxy.evaluation.judging import Judge, JudgingError, Subject, column, judge_rows, judging
from proxy.evaluation.results import Results, ResultsError
from proxy.evaluation.rows import Row, RowError, read_rows
from proxy.evaluation.staging import cascade_column
from proxy.evaluation.subjects import read_subjects, write_text
from proxy.evaluation.traces import Opinions, Traced, columns_of, read_traces
from proxy.loading.policies import load_policies
from proxy.logs import configure_logs
from proxy.printing import console, print_json
from rules.rule import Stage


def evaluate(args: argparse.Namespace, config_path: Callable[[Path | None], Path]) -> int:
    """Run the command.

    Args:
        args: Its options.
        config_path: Finds the configuration, where one is needed.

    Raises:
        ConfigError: Options, rows or configuration are wrong, or the guard cannot judge.
    """
    configure_logs(level="error")
    try:
        return (
            _evaluate_traces(args, config_path)
            if args.traces
            else asyncio.run(_evaluate(config_path(args.config), args))
        )
    except (RowError, ResultsError, JudgingError, FitError, CalibrationError) as e:
        raise ConfigError(str(e)) from None


def _evaluate_traces(args: argparse.Namespace, config_path: Callable[[Path | None], Path]) -> int:
    for option in ("guard", "benign", "pass_below"):
        if getattr(args, option):
            option = option.replace("_", "-")
            raise ConfigError(f"--{option}: has no meaning with --traces")
    second = args.second_opinion is not None
    if (args.policy is not None and len(args.policy) == 1) is not second:
        raise ConfigError("--second-opinion and one --policy, by which that guard judges, go together")
    traced = read_traces(args.traces, args.fields, args.also, with_rows=second)
    opinions = asyncio.run(_opinions(config_path(args.config), args, traced)) if second else None
    columns = columns_of(traced, seed=args.seed, opinions=opinions)
    if opinions is not None:
        columns += gated_columns(traced, opinions, threshold=args.threshold)
    return _report(args, columns, f"Answers in {_names(args.traces)}.")


async def _opinions(path: Path, args: argparse.Namespace, traced: Sequence[Traced]) -> Opinions:
    """What the guard of ``--second-opinion`` says to what was answered to."""
    rows = [t.row for t in traced if t.row is not None]
    (subject,) = read_subjects(path, *load_policies(path), args.policy, rows)
    with Results(args.results) as results:
        async with judging(path, args.second_opinion, 1) as judge:
            await judge_rows(judge, rows, subject, results, at_once=args.at_once, timeout_s=args.timeout_s)
            scores = {row.key: results.by_key[judge.key(row, subject)].score for row in rows}
    failed = sum(score is None for score in scores.values())
    if failed:
        sys.stderr.write(f"{failed} texts have no second opinion, so it is not weighed\n")
    return Opinions(args.second_opinion, {key: score for key, score in scores.items() if score is not None})


async def _evaluate(path: Path, args: argparse.Namespace) -> int:
    for option in ("also", "second_opinion"):
        if getattr(args, option):
            raise ConfigError(f"--{option.replace('_', '-')}: goes with --traces")
    rows = read_rows(args.data, stage=Stage(args.stage), names=args.fields)
    benign = read_rows(args.benign, stage=Stage(args.stage), names=args.fields) if args.benign else []
    subjects = read_subjects(path, *load_policies(path), args.policy, rows)
    asked = _asked(args)
    columns: list[Column] = []
    with Results(args.results) as results:
        judges: dict[str | None, Judge] = {}
        for name in dict.fromkeys(name for names in asked for name in names):
            async with judging(path, name, len(subjects)) as judge:
                judges[name] = judge
                for subject in subjects:
                    todo = [*_own(rows, subject), *benign]
                    await judge_rows(judge, todo, subject, results, at_once=args.at_once, timeout_s=args.timeout_s)
        for names in asked:
            those = [judges[name] for name in names]
            for subject in subjects:
                what = (_own(rows, subject), benign, subject, results)
                if len(those) == 1:
                    columns.append(column(those[0], *what))
                else:
                    limits = {"threshold": args.threshold, "pass_below": args.pass_below}
                    columns.append(cascade_column(those, *what, **limits))
    return _report(args, columns, f"{_names(args.data)}, {len(rows)} rows.")


def _asked(args: argparse.Namespace) -> list[tuple[str | None, ...]]:
    """The guards to measure, several together where they are a cascade; before a cascade its last guard alone."""
    given: list[tuple[str | None, ...]] = args.guard or [(None,)]
    if args.pass_below is not None and all(len(names) == 1 for names in given):
        raise ConfigError("--pass-below: is for a cascade: --guard FIRST,LAST")
    if args.pass_below is not None and args.pass_below > args.threshold:
        raise ConfigError(
            f"--pass-below: must not be above --threshold, {args.threshold:g}: what is caught may not pass"
        )
    return list(dict.fromkeys(those for names in given for those in ((names[-1],), names)))


def _own(rows: Sequence[Row], subject: Subject) -> list[Row]:
    """The rows that have a label for a policy."""
    return [row for row in rows if row.violates(subject.label) is not None]


def _names(paths: Sequence[Path]) -> str:
    return ", ".join(path.name for path in paths)


def _report(args: argparse.Namespace, columns: Sequence[Column], about: str) -> int:
    usable = [c for c in columns if len(c.scores)]
    measured = [measure(c, threshold=args.threshold, n_bootstrap=args.bootstrap, seed=args.seed) for c in usable]
    groups = _groups(measured)
    if args.html is not None:
        intervals = f"Small figures are 95 % intervals from {args.bootstrap} resamples. " if args.bootstrap else ""
        lead = f"{about} {intervals}Rows are named by their ids."
        write_text(args.html, report.page("Guards and policies on labelled rows", lead, groups), "--html")
    if args.json:
        print_json({"columns": [m.record() for m in measured]})
    else:
        out = console()
        for heading, those in groups:
            out.print(report.table(heading, those))
            for m in those:
                if m.column.cascade is not None:
                    out.print(report.cascade_table(m.column.title, m.column.cascade))
            for note in report.notes(those):
                out.print(Text(note))
    for empty in (c for c in columns if not len(c.scores)):
        sys.stderr.write(f"{empty.title}: no row was judged ({empty.failed or 'none has a label for it'})\n")
    unjudged = any(code not in LEANING for c in columns for code in c.failed)
    return 2 if unjudged or len(usable) < len(columns) else 0


def _groups(measured: Sequence[Measured]) -> list[tuple[str, list[Measured]]]:
    """Columns that have the same labels stand side by side."""
    groups: dict[str, list[Measured]] = {}
    for m in measured:
        groups.setdefault(str(m.column.about.get("label", m.column.policy)), []).append(m)
    return list(groups.items())

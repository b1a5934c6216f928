"""``safeguard screen``: from the command line to the exit code."""

from __future__ import annotations

import argparse
import asyncio
import io
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from models.engine import Engine
from models.verdict_cache import CachedEngine
from proxy.batch.output import File, OutputError, Stream
from proxy.batch.rows import Format, InputError, Reading, Row, Source, Survey, survey
from proxy.batch.tally import Tally
from proxy.batch.work import GuardLost, Judge, from_file, from_pipe, work
from proxy.config_error import ConfigError
from proxy.loading.drawing import load_config
from proxy.loading.loaded import Loaded, LoadedRoute
from proxy.logs import configure_logs
from proxy.offline import asking, guards_of, patient, route_called, started
from proxy.printing import console, print_json
from proxy.progress import progress
from rules.policy import revision_of
from rules.rule import Mode, Stage
from rules.screen import Screener

MIN_WINDOW = 256
"""Rows between reading and writing: enough that one slow row does not leave the guards idle."""


@dataclass(frozen=True, slots=True)
class _Batch:
    """What is asked for, looked up and checked."""

    config: Path
    loaded: Loaded
    route: LoadedRoute
    screener: Screener
    reading: Reading
    survey: Survey | None
    """None for standard input, which cannot be read twice."""


def screen(path: Path, args: argparse.Namespace) -> int:
    """``safeguard screen``.

    Raises:
        ConfigError: Wrong usage or configuration, an input or output that cannot be used, or a guard that is lost.
    """
    configure_logs(level="error")
    batch = _prepare(path, args)
    output = _open(args, batch)
    try:
        if isinstance(output, File):
            _resume(output, args, batch)
        before, seconds = output.tally.rows, 0.0
        if not (isinstance(output, File) and output.is_complete):
            seconds = asyncio.run(_run(output, args, batch))
        _report(output.tally, args, rows_now=output.tally.rows - before, seconds=seconds)
        return output.tally.exit_code
    except (InputError, OutputError, GuardLost) as e:
        where = {InputError: f"{args.input}: ", GuardLost: f"{path}: "}.get(type(e), "")
        raise ConfigError(f"{where}{e}{_how_far(output, batch)}") from None
    except KeyboardInterrupt:
        sys.stderr.write(f"stopped{_how_far(output, batch)}\n")
        raise
    finally:
        output.close()


def _prepare(path: Path, args: argparse.Namespace) -> _Batch:
    """Look everything up that can be wrong, before anything is written or a model is loaded."""
    loaded = load_config(path)
    route = route_called(path, loaded, args.route)
    stage = Stage(args.stage)
    screener = route.at(stage)
    if all(rule.mode is Mode.OFF for rule in screener.rules):
        raise ConfigError(f"{path}: routes.{route.config.name}.{stage}: has no rules, so nothing would be judged")
    reading = Reading(
        format=_format(args),
        stage=stage,
        text_field=args.text_field,
        id_field=args.id_field,
        max_row_bytes=route.config.max_body_bytes,
        screen_unknown=route.config.unknown_fields == "screen",
    )
    return _Batch(path, loaded, route, screener, reading, _survey(args, reading))


def _format(args: argparse.Namespace) -> Format:
    if args.format is not None:
        return Format(args.format)
    suffix = Path(args.input).suffix.lower()
    known = {".csv": Format.CSV, ".jsonl": Format.JSONL, ".ndjson": Format.JSONL, "": Format.JSONL}
    if suffix not in known:
        raise ConfigError(f"{args.input}: --format says what a file of this name holds: jsonl or csv")
    return known[suffix]


def _survey(args: argparse.Namespace, reading: Reading) -> Survey | None:
    """Read the input once: what it is, and whether all of it can be judged."""
    if args.input == "-":
        return None
    path = Path(args.input)
    if path.exists() and not path.is_file() and not path.is_dir():
        raise ConfigError(f"{path}: is no file, which would be read twice; give a pipe as standard input, -")
    try:
        found = survey(path, reading)
    except InputError as e:
        raise ConfigError(f"{args.input}: {e}") from None
    except OSError as e:
        raise ConfigError(f"{args.input}: cannot be read: {e.strerror}") from None
    if found.n_bad and args.on_bad_row == "fail":
        line, problem = found.bad[0]
        others = ", ".join(str(number) for number, _ in found.bad[1:])
        rest = f" and {found.n_bad - len(found.bad)} more" if found.n_bad > len(found.bad) else ""
        more = f"; so are lines {others}{rest}" if others else ""
        raise ConfigError(
            f"{args.input}:{line}: not a row: {problem}{more}; `--on-bad-row error` writes such rows as errors"
        )
    return found


def _open(args: argparse.Namespace, batch: _Batch) -> File | Stream:
    if args.output == "-":
        return Stream(sys.stdout.fileno())
    path = Path(args.output)
    for name, other in (("input", Path(args.input)), ("configuration", batch.config)):
        if path.exists() and other.exists() and path.samefile(other):
            raise ConfigError(f"-o {path}: is the {name}")
    try:
        return File(path)
    except OutputError as e:
        raise ConfigError(f"-o {e}") from None
    except OSError as e:
        raise ConfigError(f"-o {path}: cannot be written: {e.strerror}") from None


def _resume(output: File, args: argparse.Namespace, batch: _Batch) -> None:
    """See how far an earlier run got."""
    output.resume(_run_state(args, batch), restart=args.restart, can_resume=batch.survey is not None)
    if batch.survey is None:
        return
    if output.tally.rows > batch.survey.n_rows or (output.is_complete and output.tally.rows != batch.survey.n_rows):
        raise OutputError(
            f"{output.path}: has {output.tally.rows} records for {batch.survey.n_rows} rows; --restart writes it anew"
        )


def _run_state(args: argparse.Namespace, batch: _Batch) -> dict[str, Any]:
    """What the records depend on; the keys are words of complaints."""
    how = {
        "--route": batch.route.config.name,
        "--stage": args.stage,
        "--format": batch.reading.format.value,
        "--text-field": args.text_field,
        "--id-field": args.id_field,
        "--keep-text": args.keep_text,
        "--on-bad-row": args.on_bad_row,
    }
    rules = revision_of(batch.route.policy_set, *(repr(rule.policy.for_guard()) for rule in batch.screener.rules))
    return {"the input (sha256)": batch.survey and batch.survey.sha256, **how, "the rule set": rules}


async def _run(output: File | Stream, args: argparse.Namespace, batch: _Batch) -> float:
    """Judge what is not judged yet; how many seconds that took, once the guards were there."""
    engines = patient(batch.loaded, guards_of([batch.screener]), at_once=args.at_once)
    judge = Judge(
        asking(batch.screener, engines, batch.route.config.name), engines, batch.route.config.on_error, args.keep_text
    )
    async with started(batch.config, engines):
        if isinstance(output, File):
            models = {name: _identity(batch.loaded.engines[name]) for name in engines}
            output.begin(_run_state(args, batch) | {"the guard set": models})
        total = batch.survey.n_rows if batch.survey is not None else None
        began, before = time.monotonic(), output.tally.rows
        with progress("rows", total, before) as shown, _source(args, batch, before) as (source, rows):

            def write(record: Mapping[str, Any]) -> None:
                output.write(record)
                shown.one_more()

            most = sum(engine.at_once for engine in engines.values())
            await work(
                rows,
                judge.record,
                write,
                output.sync,
                max_rows=max(MIN_WINDOW, 4 * most),
                fails_at_bad_row=args.on_bad_row == "fail",
            )
        seconds = time.monotonic() - began
    if isinstance(output, File):
        if batch.survey is not None and source.sha256 != batch.survey.sha256:
            raise InputError("was changed while it was read; --restart judges it anew")
        output.finish()
    return seconds


@contextmanager
def _source(args: argparse.Namespace, batch: _Batch, n_done: int) -> Iterator[tuple[Source, AsyncIterator[Row]]]:
    """The rows that are not judged yet."""
    if batch.survey is None:
        # past Python's own standard input: a thread that waits in it would hold up the end of the process
        source = Source(io.BufferedReader(io.FileIO(sys.stdin.fileno(), closefd=False)), batch.reading)
        yield source, from_pipe(source.rows())
        return
    with Path(args.input).open("rb") as file:
        source = Source(file, batch.reading)
        yield source, from_file(source.rows(after=n_done))


def _identity(engine: Engine) -> str:
    """What a guard's verdicts depend on, besides policy and content."""
    inner = engine.inner if isinstance(engine, CachedEngine) else engine
    settings = getattr(inner, "settings", "")
    return f"{engine.model} {revision_of(settings)}"


def _how_far(output: File | Stream, batch: _Batch) -> str:
    """What is left of a run that ends early."""
    if not output.tally.rows or not isinstance(output, File) or batch.survey is None:
        return ""
    return f" ({output.tally.rows} of {batch.survey.n_rows} rows are written; the same command goes on)"


def _report(tally: Tally, args: argparse.Namespace, *, rows_now: int, seconds: float) -> None:
    """The summary: on standard output, or beside it where that holds the records."""
    file = sys.stderr if args.output == "-" else sys.stdout
    rate = rows_now / seconds if seconds > 0 else 0.0
    if args.json:
        record = {"output": args.output, **tally.summary(), "rows_now": rows_now, "seconds": round(seconds, 3)}
        print_json(record | {"rows_per_s": round(rate, 1)}, file)
        return
    out = console(file)
    table = Table("policy", "flag", "rewrite", "refuse", "error", title=Text(f"{args.output}: {tally.rows} rows"))
    for name, counts in tally.policies.items():
        table.add_row(name, *(str(counts[column] or "") for column in ("flag", "rewrite", "refuse", "error")))
    out.print(table)
    out.print(", ".join(f"{name}: {tally.actions[name]}" for name in ("forward", "flag", "rewrite", "refuse")))
    if tally.undecided:
        out.print(f"could not be judged: {tally.undecided} ({', '.join(f'{k} {n}' for k, n in tally.errors.items())})")
    out.print(f"{rows_now} rows in {seconds:.1f} s, {rate:.1f} rows/s")

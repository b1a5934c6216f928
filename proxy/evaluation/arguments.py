"""Options of ``safeguard evaluate`` and ``safeguard calibrate``. Imports nothing heavy: ``--help`` answers at once."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

RESULTS = Path("safeguard-results.jsonl")
PASS_RECALL = 0.98
"""Of the violations, so many must not pass by an earlier guard of a cascade, where nobody says otherwise."""


def add_evaluate(commands: Any, common: argparse.ArgumentParser, as_json: argparse.ArgumentParser) -> None:
    """``safeguard evaluate``."""
    evaluate = commands.add_parser(
        "evaluate", parents=[common, as_json], help="how good are guards and policies on labelled rows, side by side?"
    )
    what = evaluate.add_mutually_exclusive_group(required=True)
    what.add_argument("--data", type=Path, action="append", metavar="FILE", help="labelled rows, JSON lines or CSV")
    what.add_argument(
        "--traces", type=Path, action="append", metavar="FILE", help="recorded answers of a model, scored without it"
    )
    evaluate.add_argument(
        "--guard",
        action="append",
        type=_guards,
        metavar="NAME[,NAME…]",
        help="guard of the configuration, or a cascade of several; again for more (default: default_guard)",
    )
    evaluate.add_argument(
        "--policy",
        action="append",
        metavar="NAME|[NAME=]FILE",
        help="policy of the configuration, or a policy file that is judged by the labels of NAME; again for more "
        "(default: those that the rows have labels for)",
    )
    evaluate.add_argument(
        "--benign",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="rows that violate nothing, for false alarms",
    )
    evaluate.add_argument(
        "--threshold", type=share, default=0.5, help="score from which on a row is caught (default: 0.5)"
    )
    evaluate.add_argument(
        "--pass-below",
        type=share,
        metavar="SCORE",
        help="with a cascade: score under which its earlier guards let rows pass (default: as of a rule that does not say)",
    )
    evaluate.add_argument(
        "--also",
        action="append",
        default=[],
        metavar="FIELD",
        help="with --traces: field with another classifier's score",
    )
    evaluate.add_argument(
        "--second-opinion",
        metavar="NAME",
        help="with --traces: guard whose opinion about the same texts, by the one --policy, is weighed beside the traces",
    )
    _add_shared(evaluate)
    evaluate.add_argument(
        "--bootstrap",
        type=count,
        default=1000,
        metavar="N",
        help="resamples for the 95 %% intervals, 0: none (default: 1000)",
    )
    evaluate.add_argument("--html", type=Path, metavar="FILE", help="write a page with tables and plots")


def add_calibrate(commands: Any, common: argparse.ArgumentParser, as_json: argparse.ArgumentParser) -> None:
    """``safeguard calibrate``."""
    calibrate = commands.add_parser(
        "calibrate", parents=[common, as_json], help="make a policy's scores probabilities, and propose thresholds"
    )
    calibrate.add_argument("--policy", required=True, metavar="NAME", help="policy of the configuration")
    calibrate.add_argument("--guard", metavar="NAME", help="guard of the configuration (default: default_guard)")
    calibrate.add_argument(
        "--data", type=Path, action="append", required=True, metavar="FILE", help="labelled rows, JSON lines or CSV"
    )
    calibrate.add_argument(
        "--honest", type=Path, action="append", default=[], metavar="FILE", help="honest traffic, labelled or not"
    )
    calibrate.add_argument(
        "--precision", type=share, action="append", default=[], help="propose a threshold with this precision"
    )
    calibrate.add_argument(
        "--recall", type=share, action="append", default=[], help="propose a threshold with this recall"
    )
    calibrate.add_argument(
        "--false-alarms-per-1000",
        type=_per_1000,
        action="append",
        default=[],
        metavar="N",
        help="propose a threshold with at most so many false alarms (among --honest, else among the rows that violate nothing)",
    )
    calibrate.add_argument(
        "--pass-recall",
        type=share,
        default=PASS_RECALL,
        metavar="SHARE",
        help="as an earlier guard of a cascade it passes what scores below where this share of the violations lies "
        f"(default: {PASS_RECALL})",
    )
    _add_shared(calibrate)
    calibrate.add_argument("--folds", type=_folds, default=5, metavar="N", help="parts for the figures (default: 5)")
    calibrate.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="calibrations go there (default: beside the policy, or `calibration:`)",
    )
    calibrate.add_argument(
        "--plot", type=Path, metavar="FILE.svg", help="write a picture: reliability, scores, ROC, precision"
    )
    calibrate.add_argument("--dry-run", action="store_true", help="print figures and thresholds, store nothing")


def _add_shared(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--stage", choices=("input", "output"), default="input", help="of rows that do not say (default: input)"
    )
    parser.add_argument(
        "--fields",
        type=field_names,
        default={},
        metavar="OURS=THEIRS,…",
        help="names of the file in place of ours, e.g. text=user_input,label=toxicity",
    )
    parser.add_argument(
        "--results",
        type=Path,
        default=RESULTS,
        metavar="FILE",
        help=f"verdicts are kept there, without content: what is in it is not judged again (default: {RESULTS})",
    )
    parser.add_argument(
        "--at-once", type=_at_once, metavar="N", help="rows that are judged at once (default: what suits the guard)"
    )
    parser.add_argument("--timeout-s", type=seconds, default=120.0, help="longest time for one row (default: 120)")
    parser.add_argument("--seed", type=count, default=0, help="of resampling and folds (default: 0)")


def share(value: str) -> float:
    """A number from 0 to 1."""
    return number(value, 0.0, 1.0, "must be a number from 0 to 1")


def _per_1000(value: str) -> float:
    return number(value, 0.0, 1000.0, "must be a number from 0 to 1000")


def seconds(value: str) -> float:
    """A time."""
    return number(value, 0.001, 86400.0, "must be a number of seconds")


def number(value: str, low: float, high: float, complaint: str) -> float:
    """A number in a range."""
    try:
        given = float(value)
    except ValueError:
        given = low - 1
    if not low <= given <= high:
        raise argparse.ArgumentTypeError(complaint)
    return given


def count(value: str) -> int:
    """A number of things, or a seed."""
    return whole(value, 0, 2**31 - 1)


def _folds(value: str) -> int:
    return whole(value, 2, 100)


def _at_once(value: str) -> int:
    return whole(value, 1, 1024)


def whole(value: str, low: int, high: int) -> int:
    """A whole number in a range."""
    if not value.isdecimal() or not low <= int(value) <= high:
        raise argparse.ArgumentTypeError(f"must be a whole number from {low} to {high}")
    return int(value)


def _guards(value: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in value.split(","))
    if not all(names) or len(set(names)) < len(names):
        raise argparse.ArgumentTypeError("must be the name of a guard, or different names with commas between them")
    return names


def field_names(value: str) -> dict[str, str]:
    """Names of a file's fields in place of ours."""
    names = {}
    for pair in value.split(","):
        ours, equals, theirs = pair.partition("=")
        if not equals or not ours.strip() or not theirs.strip():
            raise argparse.ArgumentTypeError("must be pairs like text=user_input, with commas between them")
        names[ours.strip()] = theirs.strip()
    return names

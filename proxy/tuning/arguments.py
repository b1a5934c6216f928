"""Options of ``safeguard tune``. Imports nothing heavy: ``--help`` answers at once."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

from proxy.evaluation.arguments import count, field_names, number, seconds, share, whole

_STEM = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")


def add_tune(commands: Any, common: argparse.ArgumentParser, as_json: argparse.ArgumentParser) -> None:
    """``safeguard tune``."""
    tune = commands.add_parser(
        "tune",
        parents=[common, as_json],
        help="train the encoder further on labelled rows, and say whether it is better",
    )
    tune.add_argument(
        "--data", type=Path, action="append", required=True, metavar="FILE", help="labelled rows, JSON lines or CSV"
    )
    tune.add_argument(
        "--policy",
        action="append",
        required=True,
        metavar="NAME|[NAME=]FILE",
        help="policy of the configuration, or a policy file that goes by the labels of NAME; again for more",
    )
    tune.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="everything is written there")
    tune.add_argument("--name", type=_stem, default="tuned", help="of the files and the model (default: tuned)")
    tune.add_argument("--force", action="store_true", help="overwrite files in the folder")
    tune.add_argument(
        "--guard", metavar="NAME", help="guard of the configuration to begin with, an encoder (default: default_guard)"
    )
    tune.add_argument(
        "--stage", choices=("input", "output"), default="input", help="of rows that do not say (default: input)"
    )
    tune.add_argument(
        "--fields",
        type=field_names,
        default={},
        metavar="OURS=THEIRS,…",
        help="names of the file in place of ours, e.g. text=user_input,label=toxicity",
    )
    tune.add_argument(
        "--held-out", type=_part, default=0.2, metavar="SHARE", help="of the contents, for the figures (default: 0.2)"
    )
    tune.add_argument(
        "--validation",
        type=_part,
        default=0.2,
        metavar="SHARE",
        help="of the contents, for when to stop and for the calibration (default: 0.2)",
    )
    tune.add_argument("--epochs", type=_few, default=8, metavar="N", help="at most (default: 8)")
    tune.add_argument(
        "--patience", type=_few, default=2, metavar="N", help="epochs without gain, after which it ends (default: 2)"
    )
    tune.add_argument("--rate", type=_rate, default=1e-4, help="highest learning rate (default: 0.0001)")
    tune.add_argument("--batch", type=_few, default=16, metavar="N", help="rows of a step (default: 16)")
    tune.add_argument(
        "--rehearsal",
        type=_weight,
        default=1.0,
        metavar="WEIGHT",
        help="how much answers about other policies count that should stay as they are, 0: not (default: 1)",
    )
    tune.add_argument("--device", default="cpu", help="where torch trains, e.g. cuda (default: cpu)")
    tune.add_argument("--threads", type=_few, metavar="N", help="threads of torch (default: what torch takes)")
    tune.add_argument("--seed", type=count, default=0, help="of parts, training and resampling (default: 0)")
    tune.add_argument("--threshold", type=share, default=0.5, help="score from which on a row is caught (default: 0.5)")
    tune.add_argument(
        "--bootstrap",
        type=_resamples,
        default=1000,
        metavar="N",
        help="resamples for the 95 %% intervals (default: 1000)",
    )
    tune.add_argument(
        "--timeout-s", type=seconds, default=120.0, help="longest time for judging one row (default: 120)"
    )


def _stem(value: str) -> str:
    if not _STEM.match(value):
        raise argparse.ArgumentTypeError("must be letters, digits, dots, dashes and underscores, e.g. shop-1")
    return value


def _part(value: str) -> float:
    return number(value, 0.05, 0.45, "must be a number from 0.05 to 0.45")


def _rate(value: str) -> float:
    return number(value, 1e-8, 0.1, "must be a number over 0, at most 0.1")


def _weight(value: str) -> float:
    return number(value, 0.0, 100.0, "must be a number from 0 to 100")


def _few(value: str) -> int:
    return whole(value, 1, 1024)


def _resamples(value: str) -> int:
    return whole(value, 100, 100_000)

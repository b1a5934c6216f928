"""Options of ``safeguard replay``. Imports nothing heavy: ``--help`` answers at once."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from proxy.audit.options import add_filters

SHOWN = 50
"""A table names so many changed decisions unless ``--limit`` says otherwise; JSON names all."""


def add_replay(commands: Any, common: argparse.ArgumentParser, as_json: argparse.ArgumentParser) -> None:
    """``safeguard replay``."""
    replay = commands.add_parser(
        "replay", parents=[common, as_json], help="what would another configuration have decided?"
    )
    replay.add_argument("--against", type=Path, required=True, metavar="FILE", help="the configuration to try")
    replay.add_argument("--folder", type=Path, help="where the audit lies (default: as --config says)")
    replay.add_argument(
        "--examples", action="store_true", help="the examples of --config's policies, in place of recorded decisions"
    )
    add_filters(replay)
    replay.add_argument("--rejudge", action="store_true", help="ask the guards although recorded scores would do")
    replay.add_argument(
        "--fail-on",
        choices=("any", "looser", "stricter", "none"),
        default="any",
        help="which changes make the exit code 1 (default: any)",
    )
    replay.add_argument(
        "--limit", type=_count, default=SHOWN, metavar="N", help=f"changes in a table (default: {SHOWN})"
    )


def _count(value: str) -> int:
    if not (value.isascii() and value.isdigit() and int(value) < 1 << 31):
        raise argparse.ArgumentTypeError("must be a whole number")
    return int(value)

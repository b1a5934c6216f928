"""The options of ``safeguard audit``; apart from the command, so that ``--help`` loads nothing else."""

from __future__ import annotations

import argparse
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

_AGO = re.compile(r"(\d{1,5})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes besides ``--config`` and ``--json``."""
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help="print CSV, for spreadsheets")
    form.add_argument("--content", action="store_true", help="with --json: the content too, where it was kept")
    parser.add_argument("--folder", type=Path, help="where the audit lies (default: as the configuration says)")
    add_filters(parser)
    parser.add_argument("--decision", metavar="ID", help="the decision with this x-safeguard-decision-id")
    parser.add_argument("--request", metavar="ID", help="the decisions of the request with this x-request-id")
    parser.add_argument("--limit", type=_count, metavar="N", help="at most so many (default: 50 in a table)")
    parser.add_argument("--before", type=_count, metavar="SEQ", help="only older ones than this; the next page")
    commands = parser.add_subparsers(dest="subcommand", metavar="policy REVISION", help="show a policy as it was then")
    policy = commands.add_parser("policy", help="show a policy as it was then")
    policy.add_argument("revision", metavar="REVISION")
    # left out here, they stay as they were given before the word `policy`
    policy.add_argument("--config", type=Path, metavar="FILE", default=argparse.SUPPRESS)
    policy.add_argument("--folder", type=Path, default=argparse.SUPPRESS)
    policy.add_argument("--json", action="store_true", default=argparse.SUPPRESS)


def add_filters(parser: argparse.ArgumentParser) -> None:
    """Add what says which decisions are wanted."""
    parser.add_argument("--route", metavar="NAME", help="only decisions of this route")
    parser.add_argument("--region", metavar="NAME", help="only decisions of routes with this region")
    parser.add_argument("--policy", metavar="NAME", help="only decisions for which this policy asked, or failed")
    parser.add_argument("--action", choices=("forward", "flag", "rewrite", "refuse"))
    parser.add_argument("--stage", choices=("input", "output"))
    parser.add_argument("--since", type=moment_of, metavar="TIME", help="2026-11-20T10:15 (UTC), or 90m, 24h, 7d ago")
    parser.add_argument("--until", type=moment_of, metavar="TIME")


def moment_of(text: str) -> datetime:
    """A moment as an option names it: ``2026-11-20``, ``2026-11-20T10:15Z``, or ``90m``, ``24h``, ``7d`` ago.

    Raises:
        argparse.ArgumentTypeError: It is none.
    """
    if (ago := _AGO.fullmatch(text)) is not None:
        return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(
            "must be a time such as 2026-11-20T10:15 (UTC), or an age such as 90m, 24h, 7d"
        ) from None


def _count(value: str) -> int:
    if not value.isdigit() or not 0 < int(value) < 1 << 63:
        raise argparse.ArgumentTypeError("must be a whole number above 0")
    return int(value)

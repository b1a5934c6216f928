"""The options of ``safeguard review``; apart from the commands, so that ``--help`` loads nothing else."""

from __future__ import annotations

import argparse
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

from proxy.audit.options import moment_of

_IN = re.compile(r"(\d{1,5})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def add_options(parser: argparse.ArgumentParser, common: list[argparse.ArgumentParser]) -> None:
    """Add the subcommands; ``common`` are the options that each has."""
    commands = parser.add_subparsers(dest="subcommand", required=True, metavar="COMMAND")

    listing = commands.add_parser("list", parents=common, help="what was flagged, the newest first")
    listing.add_argument("--csv", action="store_true", help="print CSV, for spreadsheets")
    listing.add_argument("--state", choices=("pending", "upheld", "overturned", "unsure"))
    listing.add_argument("--held", action="store_true", help="only those whose request waits for a reviewer now")
    _filters(listing)
    listing.add_argument("--limit", type=_number, default=50, metavar="N", help="at most so many (default: 50)")
    listing.add_argument("--before", type=_number, metavar="ID", help="only older ones than this; the next page")

    show = commands.add_parser("show", parents=common, help="one item, and what was said about it")
    _item(show)
    show.add_argument("--content", action="store_true", help="the content too, as far as it was kept")

    decide = commands.add_parser("decide", parents=common, help="say what is right; a request that waits goes on")
    _item(decide)
    decide.add_argument("state", choices=("upheld", "overturned", "unsure"), metavar="upheld|overturned|unsure")
    decide.add_argument("--reviewer", metavar="NAME", help="who says so (default: the user of this machine)")
    decide.add_argument("--note", default="", metavar="TEXT")

    example = commands.add_parser("example", parents=common, help="add a decided item to its policy's examples")
    _item(example)
    _policy(example)

    row = commands.add_parser("row", parents=common, help="print a decided item as a labelled row")
    _item(row)
    _policy(row)

    export = commands.add_parser("export", parents=common, help="write all decided items as labelled rows")
    export.add_argument("--labelled", type=Path, required=True, metavar="FILE.jsonl", help="for calibrate --data")
    _filters(export)

    exception = commands.add_parser("exception", parents=common, help="let exactly this content pass its policy")
    _item(exception)
    exception.add_argument("--policy", nargs="+", metavar="NAME", help="these of its policies (default: the only one)")
    exception.add_argument("--expires", type=later, required=True, metavar="TIME", help="in 30d, 12h, or at 2026-12-24")
    exception.add_argument("--why", default="", metavar="TEXT")
    exception.add_argument("--by", metavar="NAME", help="who wants it (default: the user of this machine)")
    exception.add_argument("--any-revision", action="store_true", help="also once the policy's text has changed")

    exceptions = commands.add_parser("exceptions", help="what passes although it is against a policy")
    of_them = exceptions.add_subparsers(dest="of_them", required=True, metavar="COMMAND")
    all_ = of_them.add_parser("list", parents=common, help="those that apply now")
    all_.add_argument("--all", action="store_true", help="those too that have expired or were revoked")
    all_.add_argument("--policy", metavar="NAME")
    all_.add_argument("--limit", type=_number, default=50, metavar="N", help="at most so many (default: 50)")
    all_.add_argument("--before", type=_number, metavar="ID", help="only older ones than this; the next page")
    revoke = of_them.add_parser("revoke", parents=common, help="take one back")
    revoke.add_argument("id", type=_number, metavar="ID")
    revoke.add_argument("--by", metavar="NAME", help="who takes it back (default: the user of this machine)")


def _item(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", help="its number, or its x-safeguard-decision-id")


def _policy(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--policy", metavar="NAME", help="which of its policies, where several flagged")


def _filters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--policy", metavar="NAME", help="only what this policy flagged")
    parser.add_argument("--route", metavar="NAME", help="only of this route")
    parser.add_argument("--stage", choices=("input", "output"))
    parser.add_argument("--since", type=moment_of, metavar="TIME", help="2026-11-20T10:15 (UTC), or 90m, 24h, 7d ago")
    parser.add_argument("--until", type=moment_of, metavar="TIME")


def later(text: str) -> datetime:
    """A moment that is still to come: ``30d``, ``12h`` from now, or ``2026-12-24T18:00Z``.

    Raises:
        argparse.ArgumentTypeError: It is none.
    """
    now = datetime.now(UTC)
    try:
        if (ahead := _IN.fullmatch(text)) is not None:
            moment = now + timedelta(**{_UNITS[ahead[2]]: int(ahead[1])})
        else:
            given = datetime.fromisoformat(text)
            moment = given if given.tzinfo is not None else given.replace(tzinfo=UTC)
        if now < moment:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass  # told below
    raise argparse.ArgumentTypeError("must be a time from now such as 12h or 30d, or a later one such as 2026-12-24")


def _number(value: str) -> int:
    if not (value.isascii() and value.isdigit()) or not 0 < int(value) < 1 << 62:
        raise argparse.ArgumentTypeError("must be a whole number above 0")
    return int(value)

"""``safeguard audit``: look records up, export them, show an old policy. Works while the proxy writes, and without it."""

from __future__ import annotations

import argparse
import codecs
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import orjson
from rich.table import Table
from rich.text import Text

from proxy.audit.entry import policies_of
from proxy.audit.export import write_csv
from proxy.audit.opening import reader_of
from proxy.audit.store import AuditError, AuditReader, Filter, Record
from proxy.config_error import ConfigError
from proxy.printing import console

TABLE_ROWS = 50
"""A table shows so many records unless ``--limit`` says otherwise; exports give all."""


def audit(path: Path | None, args: argparse.Namespace) -> int:
    """Run the command; the configuration at ``path`` says where the audit lies, unless ``--folder`` does.

    Raises:
        ConfigError: There is no audit, or it cannot be read.
    """
    if args.subcommand is None and args.content and not args.json:
        raise ConfigError("audit: --content belongs to --json")
    if args.subcommand is None and args.csv and args.json:
        raise ConfigError("audit: one of --csv and --json, not both")
    try:
        reader = reader_of(_folder(path, args.folder))
        if args.subcommand == "policy":
            return _policy(reader, args.revision, as_json=args.json)
        return _records(reader, args)
    except AuditError as e:
        raise ConfigError(f"audit: {e}") from None


def _folder(path: Path | None, given: Path | None) -> Path:
    if path is None:
        assert given is not None
        return given
    from proxy.loading.places import audit_folder  # much more than reading records needs
    from proxy.loading.source import read_config

    folder = audit_folder(path, read_config(path))
    if folder is None:
        raise ConfigError(f"{path}: audit: is missing: no records are kept")
    return folder


def filter_of(args: argparse.Namespace) -> Filter:
    """The records that `proxy.audit.options.add_filters` lets somebody ask for."""
    return Filter(
        route=args.route,
        region=args.region,
        policy=args.policy,
        action=args.action,
        stage=args.stage,
        since=args.since,
        until=args.until,
    )


def _records(reader: AuditReader, args: argparse.Namespace) -> int:
    wanted = replace(filter_of(args), decision_id=args.decision, request_id=args.request)
    limit = TABLE_ROWS if args.limit is None and not (args.json or args.csv) else args.limit
    records = reader.query(wanted, before=args.before, limit=limit)
    if args.csv:
        write_csv(records, codecs.getwriter("utf-8")(sys.stdout.buffer))
    elif args.json:
        _print_json(reader, records, with_content=args.content)
    else:
        _print_table(records, limit)
    if reader.damaged:
        sys.stderr.write(f"{reader.damaged} lines of the audit are damaged and were left out\n")
    return 0


def _print_json(reader: AuditReader, records: Iterable[Record], *, with_content: bool) -> None:
    """One JSON array, a record a line, written as it is read."""
    before = b"[\n"
    out = sys.stdout.buffer
    for record in records:
        if with_content and "kept" in record:
            record["kept_content"] = reader.content(record)
        out.write(before + orjson.dumps(record))
        before = b",\n"
    out.write(b"\n]\n" if before == b",\n" else b"[]\n")
    out.flush()


def _print_table(records: Iterable[Record], limit: int | None) -> None:
    table = Table("time", "decision", "route", "region", "stage", "action", "policies", "status", "ms")
    n = 0
    last = 0
    for n, record in enumerate(records, 1):  # noqa: B007 - both are used below
        table.add_row(*map(Text, _row(record)))
        last = record["seq"]
    out = console(width=180)
    out.print(table)
    if n == limit:
        out.print(f"older ones: --before {last}")


def _row(record: Record) -> Iterator[str]:
    yield record["time"][:23]
    yield record["decision_id"]
    yield record.get("route", "")
    yield record.get("region", "")
    yield record.get("stage", "")
    state = record.get("state")
    yield record.get("action", "") + ("" if state == "decided" else f" ({state})")
    yield ", ".join(policies_of(record))
    yield " ".join(str(record[name]) for name in ("status", "error") if name in record)
    yield f"{record['screen_ms']:.1f}" if "screen_ms" in record else ""


def _policy(reader: AuditReader, revision: str, *, as_json: bool) -> int:
    found = reader.policies(revision)
    if not found:
        raise ConfigError(f"audit policy: no policy of revision {revision!r} is kept")
    if as_json:
        sys.stdout.buffer.write(orjson.dumps(found, option=orjson.OPT_INDENT_2) + b"\n")
        return 0
    for policy in found:
        sys.stdout.write(f"# {policy.name}, revision {policy.revision}, first loaded {policy.since}\n\n{policy.text}\n")
    return 0

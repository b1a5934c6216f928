"""``safeguard review``: look at what was flagged, say what is right, and draw the consequence. Works while the proxy serves."""

from __future__ import annotations

import argparse
import csv
import getpass
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from proxy.audit.entry import moment
from proxy.audit.export import safe
from proxy.audit.store import in_us
from proxy.config_error import ConfigError
from proxy.files import replacement
from proxy.loading.places import review_path
from proxy.loading.source import read_config
from proxy.printing import console, print_json, printable
from proxy.review.examples_file import keep_as_example
from proxy.review.item import Exemption, Filter, Held, Item, ReviewError, State, exception_record, item_record
from proxy.review.labelled import flagged_by, row_of, violates
from proxy.review.queue import PAGE, ReviewQueue
from proxy.strict_json import dump_json
from rules.errors import PolicyError


def review(path: Path, args: argparse.Namespace) -> int:
    """Run the command; the configuration at ``path`` says where the queue lies.

    Raises:
        ConfigError: There is no queue, it cannot be read or written, or what is wanted cannot be done.
    """
    config = read_config(path)
    place = review_path(path, config)
    if place is None:
        raise ConfigError(f"{path}: review: is missing: there is no review queue")
    queue = ReviewQueue(place, must_exist=True)
    try:
        match args.subcommand:
            case "list":
                return _list(queue, args)
            case "show":
                return _show(queue, args)
            case "decide":
                return _decide(queue, args)
            case "example":
                return _example(queue, path, args)
            case "row":
                item = queue.get(args.id)
                sys.stdout.write(dump_json(row_of(item, queue.content(item.id), args.policy)).decode() + "\n")
                return 0
            case "export":
                return _export(queue, args)
            case "exception":
                return _except(queue, args)
            case _:
                return _exceptions(queue, args)
    except (ReviewError, PolicyError) as e:
        raise ConfigError(f"review: {e}") from None
    finally:
        queue.close()


def _filter(args: argparse.Namespace, **more: Any) -> Filter:
    return Filter(policy=args.policy, route=args.route, stage=args.stage, since=args.since, until=args.until, **more)


def _list(queue: ReviewQueue, args: argparse.Namespace) -> int:
    wanted = _filter(args, state=args.state and State(args.state), held=args.held)
    items = queue.items(wanted, before=args.before, limit=args.limit)
    now = queue.clock()
    if args.json:
        print_json([item_record(item) for item in items])
        return 0
    columns = ("id", "time", "route", "stage", "policies", "state", "reviewer", "note", "request")
    if args.csv:
        writer = csv.writer(sys.stdout, lineterminator="\r\n")
        writer.writerow((*columns, "decision_id"))
        for item in items:
            writer.writerow([safe(printable(cell)) for cell in (*_row(item, now), item.decision_id)])
        return 0
    table = Table(*columns)
    for item in items:
        table.add_row(*(Text(printable(cell)) for cell in _row(item, now)))
    out = console()
    out.print(table)
    if len(items) == args.limit:
        out.print(f"older ones: --before {items[-1].id}")
    return 0


def _row(item: Item, now_us: int) -> Iterator[str]:
    yield str(item.id)
    yield moment(item.time_us)[:19]
    yield item.route or ""
    yield item.stage
    yield ", ".join(f"{f.policy} {f.about['score']:.2f}" if "score" in f.about else f.policy for f in item.flagged)
    yield item.state.value
    yield item.reviewer or ""
    yield item.note or ""
    yield _waits(item, now_us)


def _waits(item: Item, now_us: int) -> str:
    """What became of a request that waited, or should have; empty for one that did not."""
    if item.held is not Held.WAITING:
        return "" if item.held is None else item.held.value
    return "waits" if item.is_held(now_us) else "not known"


def _show(queue: ReviewQueue, args: argparse.Namespace) -> int:
    item = queue.get(args.id)
    content = queue.content(item.id) if args.content else None
    said = queue.history(item.id)
    if args.json:
        spoken = [{"time": moment(s.time_us), "state": s.state, "reviewer": s.reviewer, "note": s.note} for s in said]
        print_json(item_record(item) | {"said": spoken} | ({"content": content} if args.content else {}))
        return 0
    table = Table("key", "value", show_header=False)
    for name, value in item_record(item).items():
        if name != "flagged" and value is not None:
            table.add_row(name, Text(printable(str(value))))
    for flagged in item.flagged:
        about = ", ".join(f"{name} {value}" for name, value in flagged.about.items())
        table.add_row("flagged", Text(printable(f"{flagged.policy} (revision {flagged.revision}): {about}")))
    for s in said:
        words = f"{moment(s.time_us)[:19]} {s.reviewer}: {s.state}" + (f": {s.note}" if s.note else "")
        table.add_row("said", Text(printable(words)))
    out = console()
    out.print(table)
    if args.content:
        for title, texts in _parts(content):
            out.print(Text(title, style="bold"))
            for text in texts:
                out.print(Text(printable(text, lines=True)), soft_wrap=True)
    return 0


def _parts(content: dict[str, Any] | None) -> Iterator[tuple[str, list[str]]]:
    if content is None:
        yield "no content was kept", []
        return
    for name, title in (("asked", "the request"), ("texts", "what was judged")):
        for text in content.get(name, ()):
            place = text["path"] if isinstance(text["path"], str) else ".".join(map(str, text["path"]))
            said = text["text"] if text["text"] is not None else "(not kept: it could not be masked)"
            yield printable(f"{title}: {text['surface']}, {place}"), [said]
    for policy, rationale in content.get("rationales", {}).items():
        yield printable(f"reasoning about {policy}"), [rationale or ""]


def _decide(queue: ReviewQueue, args: argparse.Namespace) -> int:
    now = queue.clock()
    before = queue.get(args.id)
    item = queue.decide(before.id, State(args.state), _name(args.reviewer, "--reviewer"), args.note)
    if args.json:
        print_json(item_record(item))
        return 0
    was = "" if before.state is State.PENDING else f" (was {before.state} by {before.reviewer})"
    waits = "; its request waits and hears of it" if before.is_held(now) else ""
    console().print(Text(printable(f"item {item.id}: {item.state} by {item.reviewer}{was}{waits}")))
    return 0


def _example(queue: ReviewQueue, path: Path, args: argparse.Namespace) -> int:
    item = queue.get(args.id)
    place = keep_as_example(path, queue, item, args.policy)
    policy, label = flagged_by(item, args.policy).policy, violates(item)
    if args.json:
        print_json({"item": item.id, "policy": policy, "file": str(place), "violates": label})
    else:
        says = "violates" if label else "does not violate"
        console().print(Text(f"{place}: item {item.id} {says} {policy}"))
    return 0


def _export(queue: ReviewQueue, args: argparse.Namespace) -> int:
    """The newest word about a content stands; what cannot be told as a row is counted."""
    rows: dict[bytes, tuple[int, dict[str, Any]]] = {}
    """By content and policies, with when it was decided."""
    left_out: dict[str, str] = {}
    for state in (State.UPHELD, State.OVERTURNED):
        before: int | None = None
        while page := queue.items(_filter(args, state=state), before=before, limit=PAGE):
            before = page[-1].id
            for item in page:
                try:
                    row = row_of(item, queue.content(item.id), args.policy)
                except ReviewError as e:
                    left_out[str(item.id)] = str(e)
                    continue
                when = item.decided_us or 0
                key = dump_json([row["stage"], row.get("text"), row.get("messages"), sorted(row["labels"])])
                if key not in rows or rows[key][0] < when:
                    rows[key] = when, row
    out = sorted((row for _, row in rows.values()), key=lambda row: int(row["id"].removeprefix("review-")))
    lines = b"".join(dump_json(row) + b"\n" for row in out)
    try:
        with replacement(args.labelled, lines, 0o600):  # what reviewers saw, and nobody else
            pass
    except OSError as e:
        raise ConfigError(f"--labelled {args.labelled}: cannot be written: {e.strerror}") from None
    n_violating = sum(1 for row in out if any(row["labels"].values()))
    if args.json:
        print_json({"rows": len(out), "violating": n_violating, "left_out": left_out})
        return 0
    console().print(Text(f"{args.labelled}: {len(out)} rows, {n_violating} of them violating"))
    for why in left_out.values():
        sys.stderr.write(f"left out: {printable(why)}\n")
    return 0


def _except(queue: ReviewQueue, args: argparse.Namespace) -> int:
    item = queue.get(args.id)
    violates(item)  # somebody must have looked
    names: list[str | None] = [*args.policy] if args.policy else [None]
    those = [flagged_by(item, name) for name in names]
    by, until = _name(args.by, "--by"), in_us(args.expires)
    made = [
        queue.add_exception(
            flagged,
            expires_us=until,
            by=by,
            why=args.why,
            item=item.id,
            expected=item.state,
            edition=item.edition,
            any_revision=args.any_revision,
        )
        for flagged in those
    ]
    _print_exceptions(made, as_json=args.json)
    return 0


def _exceptions(queue: ReviewQueue, args: argparse.Namespace) -> int:
    if args.of_them == "revoke":
        _print_exceptions([queue.revoke(args.id, _name(args.by, "--by"))], as_json=args.json)
        return 0
    those = queue.exceptions(all=args.all, policy=args.policy, before=args.before, limit=args.limit)
    _print_exceptions(those, as_json=args.json)
    if len(those) == args.limit and not args.json:
        console().print(f"older ones: --before {those[-1].id}")
    return 0


def _print_exceptions(those: list[Exemption], *, as_json: bool) -> None:
    if as_json:
        print_json([exception_record(exemption) for exemption in those])
        return
    table = Table("id", "policy", "revision", "expires", "by", "why", "item", "made", "revoked")
    for e in those:
        revoked = "" if e.revoked_us is None else f"{moment(e.revoked_us)[:19]} by {e.revoked_by}"
        cells = (str(e.id), e.policy, e.revision or "any", moment(e.expires_us)[:19], e.by, e.why)
        made = ("" if e.item is None else str(e.item), moment(e.created_us)[:19], revoked)
        table.add_row(*(Text(printable(cell)) for cell in (*cells, *made)))
    console().print(table)


def _name(given: str | None, option: str) -> str:
    """Who acts."""
    if given is not None:
        return given
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        raise ConfigError(f"review: {option}: is missing, and this machine's user has no name") from None

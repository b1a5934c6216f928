"""``safeguard replay``: from the command line to the exit code. It writes nothing, so it can be ended at any time."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from rich.table import Table
from rich.text import Text

from proxy.audit.command import filter_of
from proxy.audit.opening import reader_of
from proxy.audit.store import AuditError, AuditReader, Filter, Record
from proxy.config_error import ConfigError
from proxy.loading.drawing import load_config
from proxy.loading.loaded import Loaded
from proxy.loading.places import audit_folder
from proxy.loading.source import read_config
from proxy.logs import configure_logs
from proxy.offline import asking, patient, started
from proxy.printing import console, print_json
from proxy.progress import progress
from proxy.replay.examples import pasts_of_examples
from proxy.replay.judging import Case, GuardLost, Judging, from_record
from proxy.replay.past import Past, Unfit, past_of
from proxy.replay.settling import Open, PolicyChange, Replayed, changes, enforced, is_untouched, settle
from proxy.replay.tally import Tally, report_of, what
from rules.rule import Action, Stage

_MIN_AT_ONCE = 8


def replay(path: Path, args: argparse.Namespace) -> int:
    """``safeguard replay``.

    Args:
        path: The configuration in force.
        args: See `proxy.replay.arguments`.

    Raises:
        ConfigError: Wrong usage or configuration, no audit, nothing to replay, or a guard that is lost.
    """
    configure_logs(level="error")
    draft = load_config(args.against, canaries=False)
    wanted = filter_of(args)
    tally = Tally()
    try:
        if args.examples:
            if args.since or args.until or args.region or args.folder:
                raise ConfigError("replay: --since, --until, --region and --folder belong to recorded decisions")
            pasts = asyncio.run(pasts_of_examples(path, draft, wanted))
            cases = _settled(pasts, draft, tally, rejudge=args.rejudge)
            _judge(args.against, draft, cases, None, tally)
        else:
            reader = _reader(path, args.folder)
            with progress("decisions read", None) as shown:
                found = _shown(reader.query(wanted), shown.one_more)
                cases = _settled(map(past_of, found), draft, tally, rejudge=args.rejudge)
            _judge(args.against, draft, cases, reader, tally)
            if reader.damaged:
                sys.stderr.write(f"{reader.damaged} lines of the audit are damaged and were left out\n")
    except AuditError as e:
        raise ConfigError(f"audit: {e}") from None
    except GuardLost as e:
        raise ConfigError(f"{args.against}: {e}") from None
    about = {"config": str(path), "against": str(args.against), "source": "examples" if args.examples else "audit"}
    if args.json:
        print_json(report_of(tally, about))
    else:
        _print(tally, args)
    return _exit_code(tally, args.fail_on)


def _reader(path: Path, given: Path | None) -> AuditReader:
    folder = given or audit_folder(path, read_config(path))
    if folder is None:
        raise ConfigError(f"{path}: audit: is missing: no records are kept; --examples replays the policies' examples")
    return reader_of(folder)


def _shown(records: Iterable[Record], one_more: Callable[[], None]) -> Iterator[Record]:
    for record in records:
        one_more()
        yield record


def _settled(pasts: Iterable[Past | Unfit], draft: Loaded, tally: Tally, *, rejudge: bool) -> list[Case]:
    """Decide all that recorded scores do for; gives what is open."""
    routes = {route.config.name: route for route in draft.routes}
    cases = []
    for past in pasts:
        if isinstance(past, Unfit):
            tally.skip(past)
            continue
        route = routes.get(past.route)
        if route is None:
            tally.skip(Unfit.ROUTE_GONE, past)
            continue
        screener = route.at(past.stage)
        if not rejudge and is_untouched(past, route.policy_set, screener):
            tally.add(Replayed(past, past.action))
            continue
        decision = settle(past, screener, rejudge=rejudge)
        if not isinstance(decision, Open):
            tally.add(Replayed(past, decision.action, changes(past, decision)))
            continue
        case = Case(past, decision, screener)
        if past.record is None or "kept" in past.record:
            cases.append(case)
        elif decision.asked:
            tally.skip(Unfit.NO_CONTENT)
        else:
            tally.add(from_record(case))
    return cases


def _judge(path: Path, draft: Loaded, cases: list[Case], reader: AuditReader | None, tally: Tally) -> None:
    if cases:
        asyncio.run(_judge_all(path, draft, cases, reader, tally))


async def _judge_all(path: Path, draft: Loaded, cases: list[Case], reader: AuditReader | None, tally: Tally) -> None:
    engines = patient(draft, {guard for case in cases for guard in _guards(case)})
    cases = [replace(case, screener=asking(case.screener, engines, "replay")) for case in cases]
    requests = {} if reader is None else _requests(reader, cases)
    at_once = max(_MIN_AT_ONCE, 4 * sum(engine.at_once for engine in engines.values()))
    async with started(path, engines):
        with progress("decisions judged", len(cases)) as shown:
            await Judging(engines, reader, requests).run(cases, tally, shown, at_once=at_once)


def _guards(case: Case) -> Iterator[str]:
    """The guards that a case may need: to see whether a rewrite holds, all of its rules are asked."""
    rules = enforced(case.screener)
    rewrites = any(Action.REWRITE in rule.thresholds for rule in rules)
    for rule in rules if rewrites else case.open.asked.values():
        yield from rule.guards


def _requests(reader: AuditReader, cases: Iterable[Case]) -> dict[str, Record]:
    """The records of the requests that answers belong to: guards are shown them. One pass over the records."""
    ids = {
        case.past.record["request_id"]
        for case in cases
        if case.past.stage is Stage.OUTPUT and case.asks_guards and case.past.record is not None
    }
    if not ids:
        return {}
    return {
        record["request_id"]: {"seq": record["seq"], "kept_at": record.get("kept_at")}
        for record in reader.query(Filter(stage=Stage.INPUT.value))
        if record.get("request_id") in ids
    }


def _exit_code(tally: Tally, fail_on: str) -> int:
    if tally.fails(fail_on):
        return 1
    if tally.unfit[Unfit.FAILED]:
        sys.stderr.write(f"{tally.unfit[Unfit.FAILED]} decisions are not known: {Unfit.FAILED}\n")
        return 2
    if not tally.n_replayed:
        sys.stderr.write("nothing was replayed, so nothing is known about the draft\n")
        return 2
    return 0


# ------------------------------------------------------------------ as a table


def _print(tally: Tally, args: argparse.Namespace) -> None:
    out = console()
    if tally.transitions:
        table = Table("decisions", "before", "after", "direction", "count", title=Text(f"under {args.against}"))
        for (before, after, direction), n in tally.transitions.most_common():
            table.add_row(what(after, direction), before, after, direction.value, str(n))
        out.print(table)
    if tally.policies:
        table = Table("policy", "before", "after", "direction", "count")
        for (policy, before, after, direction), n in tally.policies.most_common():
            table.add_row(Text(policy), before, after, direction.value, str(n))
        out.print(table)
    if tally.changed and args.limit:
        table = Table("changed decision", "route", "stage", "before", "after", "because of")
        for found in tally.changed[: args.limit]:
            past = found.past
            because = "; ".join(map(_because, found.changes)) + (" (redacted)" if found.is_redacted else "")
            cells = (past.id, past.route, past.stage.value, past.action.word, found.action.word, because)
            table.add_row(*map(Text, cells))
        out.print(table)
        if len(tally.changed) > args.limit:
            out.print(f"and {len(tally.changed) - args.limit} more: --limit, or --json for all")
    out.print(f"{tally.n_replayed} replayed: {tally.n_unchanged} unchanged, {len(tally.changed)} changed")
    redacted = (
        f", {tally.n_redacted} of them on redacted content, which can change verdicts" if tally.n_redacted else ""
    )
    out.print(f"{tally.n_recorded} decided from recorded scores, {tally.n_anew} judged anew{redacted}")
    for why, n in tally.unfit.most_common():
        gone = ", ".join(f"{name} {n}" for name, n in tally.routes_gone.items())
        out.print(Text(f"not replayed: {n}, {why.value}" + (f" ({gone})" if why is Unfit.ROUTE_GONE else "")))


def _because(change: PolicyChange) -> str:
    return (
        f"{change.policy} {_scored(change.before, change.score_before)} -> {_scored(change.after, change.score_after)}"
    )


def _scored(outcome: str, score: float | None) -> str:
    return outcome if score is None else f"{outcome} ({score:.3f})"

"""``safeguard test``: the examples of policies, asked of the guards that judge by them.

An example that says ``violates`` is a test of every way in which the policy is applied at its stage: of each rule with other
guards, thresholds or scope. One that names a route and an action is a test of that route with all its rules.

A guard that cannot judge is an *error*, not a failure: nothing is known about the example then. What no rule applies is
*skipped*.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from proxy import junit
from proxy.config_error import ConfigError
from proxy.junit import Outcome
from proxy.loading.drawing import load_config
from proxy.loading.loaded import Loaded
from proxy.loading.policies import PolicySource, policy_sources
from proxy.logs import configure_logs
from proxy.offline import asking, guards_of, patient, started
from proxy.policy_lint import PolicyWarning, look_over
from proxy.printing import console, print_json
from proxy.progress import Shown, progress
from proxy.samples import Sample, read_examples
from rules.decision import Verdict
from rules.examples import Example
from rules.rule import Action, Mode, Rule
from rules.screen import Screener

THRESHOLD = 0.5
"""For a guard that no rule of the policy names: the side on which its score lies."""


_VIOLATION, _NO_VIOLATION = "violation", "no violation"


@dataclass(frozen=True, slots=True)
class Case:
    """One example, to be judged in one way.

    Attributes:
        policy: Whose example it is.
        example: The example.
        number: Its number in the file; the first is 1.
        where: File and line.
        sample: Its content.
        screener: What judges it; None: nothing does.
        by: Who that is, as reports call it: guards, or a route.
        routes: The routes whose rules are like this.
        threshold: The score from which on the content violates the policy; None where an action is expected.
        skipped: Why nothing judges it.
    """

    policy: str
    example: Example
    number: int
    where: str
    sample: Sample
    screener: Screener | None = field(default=None, repr=False)
    by: str = ""
    routes: tuple[str, ...] = ()
    threshold: float | None = None
    skipped: str = ""

    @property
    def expected(self) -> str:
        """As reports say it."""
        if self.example.action is not None:
            return self.example.action
        return _VIOLATION if self.example.violates else _NO_VIOLATION

    @property
    def label(self) -> str:
        """The example as reports call it: its number, and its id if it has one."""
        return f"{self.number}" + (f" {self.example.id}" if self.example.id is not None else "")


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a case."""

    case: Case
    outcome: Outcome
    got: str = ""
    verdicts: tuple[Verdict, ...] = ()

    @property
    def seconds(self) -> float:
        """How long the slowest verdict took, without its wait for other examples."""
        return max((v.latency_ms for v in self.verdicts), default=0.0) / 1000

    @property
    def score(self) -> float | None:
        """Of the policy that is tested; None where an action is expected, and where there is none."""
        return self.verdicts[0].score if self.case.threshold is not None and self.verdicts else None

    @property
    def message(self) -> str:
        """In one line, without the content."""
        case = self.case
        if self.outcome is Outcome.SKIPPED:
            return case.skipped
        score = "" if self.score is None else f" (score {self.score:.4f}, threshold {case.threshold:g})"
        return f"{case.where}: example {case.label} of {case.policy}: expected {case.expected}, got {self.got}{score}"


async def run_tests(path: Path, args: argparse.Namespace) -> int:
    """``safeguard test``.

    Raises:
        ConfigError: Wrong usage or configuration, examples that cannot be used, no examples, or a guard that is lost.
    """
    configure_logs(level="error")
    # the examples are the test: canaries, which are two of them, would keep the guard from being tested
    loaded = load_config(path, canaries=False, also_guard=args.guard)
    sources = _chosen(path, policy_sources(path), args.policy)
    cases = [case for source in sources for case in _cases(loaded, source, args.guard)]
    engines = patient(loaded, guards_of(case.screener for case in cases if case.screener is not None))
    with progress("examples", len(cases)) as shown:
        async with started(path, engines), asyncio.TaskGroup() as group:
            asked = [
                group.create_task(
                    _judge(replace(c, screener=c.screener and asking(c.screener, engines, "test")), shown)
                )
                for c in cases
            ]
    for name, engine in engines.items():
        if engine.lost is not None:
            raise ConfigError(f"{path}: guards.{name}: {engine.lost}")
    results = [task.result() for task in asked]
    warnings = look_over(sources, path)
    if args.junit is not None:
        _write_junit(args.junit, sources, results, warnings, show=args.show)
    _report(results, warnings, args)
    return _exit_code(path, results)


def _chosen(path: Path, sources: Sequence[PolicySource], names: Sequence[str] | None) -> list[PolicySource]:
    known = {source.name: source for source in sources}
    for name in names or ():
        if name not in known:
            raise ConfigError(f"{path}: policies: no policy is called {name!r} (known: {', '.join(known)})")
    chosen = [known[name] for name in dict.fromkeys(names)] if names else list(sources)
    for source in chosen if names else ():
        if source.examples is None or not source.examples.examples:
            raise ConfigError(f"{path}: policies.{source.name}: has no examples; `examples:` names a file of them")
    if not any(source.examples is not None and source.examples.examples for source in chosen):
        raise ConfigError(f"{path}: policies: none has examples; `examples:` names a file of them")
    return chosen


def _cases(loaded: Loaded, source: PolicySource, guard: str | None) -> Iterable[Case]:
    if source.examples is None:
        return
    for number, example, where, sample in read_examples(source.examples):
        case = Case(source.name, example, number, where, sample)
        yield from _of_route(loaded, case, guard) if example.action is not None else _of_policy(loaded, case, guard)


def _of_route(loaded: Loaded, case: Case, guard: str | None) -> Iterable[Case]:
    """The case of an example that names a route."""
    route = {r.config.name: r for r in loaded.routes}.get(case.example.route or "")
    if route is None:
        known = ", ".join(r.config.name for r in loaded.routes)
        raise ConfigError(
            f"{case.where}: example {case.number}: route: no route is called {case.example.route!r} (known: {known})"
        )
    if guard is not None:
        yield replace(case, skipped=f"is about a route, not about guard {guard} alone")
        return
    screener = route.at(case.example.stage)
    yield replace(case, screener=screener, by=f"route {route.config.name}", routes=(route.config.name,))


def _of_policy(loaded: Loaded, case: Case, guard: str | None) -> Iterable[Case]:
    """A case for every way in which the policy is applied."""
    stage = case.example.stage
    found: dict[tuple[object, ...], tuple[Rule, Screener, list[str]]] = {}
    for route in loaded.routes:
        screener = route.at(stage)
        for rule in screener.rules:
            if rule.policy.name != case.policy or rule.mode is Mode.OFF or guard not in (None, *rule.guards):
                continue
            rule = rule if guard is None else replace(rule, guards=(guard,))
            key = (rule.guards, min(rule.thresholds.values()), tuple(sorted(rule.pass_below.items())), rule.scope)
            found.setdefault(key, (rule, screener, []))[2].append(route.config.name)
    policy = loaded.policies[case.policy]
    if not found and guard is not None and policy.detector is None:
        rule = Rule(policy, (guard,), {Action.FLAG: THRESHOLD}, scope=policy.surfaces)
        found[()] = (rule, loaded.routes[0].input, [])
    if not found:
        why = f"no rule at stage {stage} applies the policy" + (f" by guard {guard}" if guard is not None else "")
        yield replace(case, skipped=why)
    for rule, screener, routes in found.values():
        yield replace(
            case,
            screener=Screener(stage, (replace(rule, mode=Mode.ENFORCE),), screener.engines),
            by=", ".join(rule.guards) or "detector",
            routes=tuple(dict.fromkeys(routes)),
            threshold=min(rule.thresholds.values()),
        )


async def _judge(case: Case, shown: Shown) -> Result:
    if case.screener is None:
        shown.one_more()
        return Result(case, Outcome.SKIPPED)
    content, context = case.sample.content, case.sample.context
    if case.threshold is None:
        decision = await case.screener.screen(content, context)
        verdicts = decision.verdicts
        got = decision.action.word + (f" ({', '.join(decision.policies)})" if decision.policies else "")
        is_right = decision.action.word == case.example.action
    else:
        verdicts = tuple(await case.screener.scores(content, context))
        violates = (verdicts[0].score or 0.0) >= case.threshold
        got = _VIOLATION if violates else _NO_VIOLATION
        is_right = violates is case.example.violates
    outcome = Outcome.PASSED if is_right else Outcome.FAILURE
    if errors := sorted({v.error for v in verdicts if v.error is not None}):
        outcome, got = Outcome.ERROR, f"no verdict ({', '.join(errors)})"
    shown.one_more()
    return Result(case, outcome, got, verdicts)


def _exit_code(path: Path, results: Sequence[Result]) -> int:
    counts = Counter(result.outcome for result in results)
    if counts[Outcome.FAILURE]:
        return 1
    if counts[Outcome.ERROR]:
        return 2
    if not counts[Outcome.PASSED]:
        sys.stderr.write(f"{path}: no example was judged: {results[0].message}\n")
        return 2
    return 0


def _content(case: Case) -> str:
    return "\n".join(leaf.text for leaf in case.sample.content.leaves)


def _report(results: Sequence[Result], warnings: Sequence[PolicyWarning], args: argparse.Namespace) -> None:
    counts = Counter(result.outcome for result in results)
    said = {"passed": Outcome.PASSED, "failed": Outcome.FAILURE, "errors": Outcome.ERROR, "skipped": Outcome.SKIPPED}
    if args.json:
        records = [_record(result, show=args.show) for result in results]
        summary = {word: counts[outcome] for word, outcome in said.items()}
        report = {**summary, "cases": records, "warnings": [w.record() for w in warnings]}
        print_json(report)
        return
    table = Table("policy", "example", "stage", "judged by", "expected", "got", "score", "threshold", "result")
    if args.show:
        table.add_column("content")
    for result in results:
        case = result.case
        score = "" if result.score is None else f"{result.score:.4f}"
        threshold = "" if case.threshold is None else f"{case.threshold:g}"
        got = case.skipped if result.outcome is Outcome.SKIPPED else result.got
        cells = [case.policy, case.label, case.example.stage.value, case.by, case.expected, got, score, threshold]
        shown = [Text(_content(case))] if args.show else []
        table.add_row(*map(Text, cells), _coloured(result.outcome), *shown)
    out = console()
    out.print(table)
    out.print(", ".join(f"{counts[outcome]} {word}" for word, outcome in said.items()))
    for warning in warnings:
        sys.stderr.write(f"warning: {warning}\n")


_STYLES = {Outcome.PASSED: "green", Outcome.FAILURE: "bold red", Outcome.ERROR: "bold yellow", Outcome.SKIPPED: "dim"}
_WORDS = {Outcome.FAILURE: "failed"}


def _coloured(outcome: Outcome) -> Text:
    return Text(_WORDS.get(outcome, outcome.value), style=_STYLES[outcome])


def _record(result: Result, *, show: bool) -> dict[str, Any]:
    case = result.case
    verdict = result.verdicts[0] if case.threshold is not None and result.verdicts else None
    record: dict[str, Any] = {
        "policy": case.policy,
        "example": case.number,
        "id": case.example.id,
        "where": case.where,
        "stage": case.example.stage.value,
        "judged_by": case.by,
        "routes": list(case.routes),
        "expected": case.expected,
        "got": case.skipped if result.outcome is Outcome.SKIPPED else result.got,
        "result": _WORDS.get(result.outcome, result.outcome.value),
    }
    if verdict is not None:
        record |= {
            "revision": verdict.rule.policy.revision,
            "score": None if verdict.score is None else round(verdict.score, 6),
            "threshold": case.threshold,
            "tier": None if verdict.tier is None else verdict.tier.value,
            "calibrated": verdict.calibrated,
            "model": verdict.model,
            "error": verdict.error,
        }
    if show:
        record["content"] = _content(case)
    return record


def _write_junit(
    file: Path,
    sources: Sequence[PolicySource],
    results: Sequence[Result],
    warnings: Sequence[PolicyWarning],
    *,
    show: bool,
) -> None:
    suites = []
    for source in sources:
        if source.examples is None or not source.examples.examples:
            continue
        cases = [
            junit.Case(
                f"example {r.case.label}, {r.case.example.stage}" + (f", {r.case.by}" if r.case.by else ""),
                r.outcome,
                r.seconds,
                r.message,
                _content(r.case) if show else "",
            )
            for r in results
            if r.case.policy == source.name
        ]
        notes = [f"warning: {warning}" for warning in warnings if warning.policy == source.name]
        suites.append(junit.Suite(f"policy.{source.name}", str(source.examples.path), cases, notes))
    try:
        file.write_bytes(junit.junit_xml("safeguard test", suites))
    except OSError as e:
        raise ConfigError(f"--junit {file}: cannot be written: {e.strerror}") from None

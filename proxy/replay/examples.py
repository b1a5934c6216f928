"""The examples of policies as decisions: what the configuration in force makes of them, on each route that they concern."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from proxy.audit.store import Filter
from proxy.config_error import ConfigError
from proxy.exchange import judge
from proxy.loading.drawing import load_config
from proxy.loading.loaded import Loaded, LoadedRoute
from proxy.loading.policies import PolicySource, policy_sources
from proxy.offline import asking, guards_of, patient, started
from proxy.progress import Shown, progress
from proxy.records import verdict_record
from proxy.replay.past import Material, Past, Unfit, verdict_of
from proxy.samples import Sample, read_examples
from rules.decision import decide
from rules.rewrite import Masker
from rules.rule import Action, Mode, Stage
from rules.screen import Screener


@dataclass(frozen=True, slots=True)
class _Case:
    """One example on one route."""

    id: str
    route: LoadedRoute
    stage: Stage
    sample: Sample = field(repr=False)


async def pasts_of_examples(path: Path, draft: Loaded, wanted: Filter) -> list[Past | Unfit]:
    """Judge the examples of a configuration.

    Args:
        path: The configuration in force.
        draft: The other one; examples are tried on the routes where either applies their policy.
        wanted: Which: by route, stage, policy (whose example it is) and action (that is taken now).

    Raises:
        ConfigError: An example cannot be used, there are none, or a guard is lost.
    """
    loaded = load_config(path, canaries=False)
    cases = [
        case
        for source in policy_sources(path)
        if wanted.policy in (None, source.name)
        for case in _cases(loaded, draft, source)
        if wanted.route in (None, case.route.config.name) and wanted.stage in (None, case.stage.value)
    ]
    if not cases:
        raise ConfigError(f"{path}: policies: there is no such example; `examples:` on a policy names a file of them")
    engines = patient(loaded, guards_of(case.route.at(case.stage) for case in cases))
    with progress("examples", len(cases)) as shown:
        async with started(path, engines):
            found = await asyncio.gather(
                *(_judged(case, asking(case.route.at(case.stage), engines, "replay"), shown) for case in cases)
            )
    for name, engine in engines.items():
        if engine.lost is not None:
            raise ConfigError(f"{path}: guards.{name}: {engine.lost}")
    return [past for past in found if isinstance(past, Unfit) or wanted.action in (None, past.action.word)]


def _cases(loaded: Loaded, draft: Loaded, source: PolicySource) -> Iterator[_Case]:
    file = source.examples
    if file is None:
        return
    for number, example, _, sample in read_examples(file):
        label = f"{source.name} example {number}" + (f" {example.id}" if example.id is not None else "")
        names = {
            route.config.name
            for route in (*loaded.routes, *draft.routes)
            if any(r.policy.name == source.name and r.mode is not Mode.OFF for r in route.at(example.stage).rules)
        }
        for route in loaded.routes:
            if route.config.name == example.route or (example.route is None and route.config.name in names):
                yield _Case(f"{label}, {route.config.name}", route, example.stage, sample)


async def _judged(case: _Case, screener: Screener, shown: Shown) -> Past | Unfit:
    content, context = case.sample.content, case.sample.context
    verdicts = [*await screener.scores(content, context), *await screener.shadow(content, context)]
    decision = decide(case.stage, verdicts, content.opaque, screener.on_opaque)
    is_rewrite = decision.action is Action.REWRITE
    if is_rewrite:
        decision = (await judge(screener, content, context, Masker())).decision
    shown.one_more()
    if any(v.error is not None and v.rule.mode is Mode.ENFORCE for v in verdicts):
        return Unfit.FAILED
    return Past(
        id=case.id,
        route=case.route.config.name,
        stage=case.stage,
        action=decision.action,
        policies=decision.policies,
        verdicts=tuple(replace(verdict_of(verdict_record(v)), score=v.score, is_exact=True) for v in verdicts),
        n_opaque=len(content.opaque),
        policy_set=case.route.policy_set,
        sample=Material(content, context),
        is_failed_rewrite=is_rewrite and decision.action is Action.REFUSE,
    )

"""Applies calibrations, in one place: between the rules and a guard with its cache of verdicts.

Above the cache, because what the cache keeps is what the guard itself said, with its evidence: a new calibration holds at
once for what is remembered, and no map of one policy revision or model can meet the verdict of another.

Without a map that holds for exactly this policy, model, tier and effort, a score is not calibrated and says so. Then a
*prior* per family of guards stands in where there is a better one than the label's own probability: for
gpt-oss-safeguard after a trace, `models.trace.length_score`, whose 0.5 is the verdict itself. (After a trace the logit is
nearly always sure of the verdict; where it is in more doubt than the length, the logit counts.)

A map may weigh the *second opinion* of another guard about the same content; it is asked for at the same time. Where it fails,
so does the verdict.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

import structlog

from models.calibration import Calibration, Unmappable
from models.engine import Engine, GuardPolicy, Passage, Score, Tier
from models.errors import EngineError
from models.evidence import Evidence
from models.trace import prior_score
from models.wrapper import EngineWrapper

log = structlog.get_logger()

_FAMILY = "gpt-oss"


class CalibratedEngine(EngineWrapper[Engine]):
    """An `models.engine.Engine` whose scores are probabilities where there is a map.

    Args:
        engine: Who judges.
        guard: Its name in the configuration, for the log.
        calibrations: All maps there are, by name of the policy.
        effort: How long the guard may think; None where it is not for us to say.
        second: Another guard, whose opinion is asked for about policies with a map that weighs it, at the same time.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        guard: str,
        calibrations: Mapping[str, Sequence[Calibration]],
        effort: str | None = None,
        second: Engine | None = None,
    ) -> None:
        super().__init__(engine)
        self._guard = guard
        self._calibrations = {name: tuple(those) for name, those in calibrations.items() if those}
        self._effort = effort
        self._second = second
        self._said: set[tuple[str, str]] = set()

    @property
    def ready(self) -> bool:
        """Whether the guard is, and the one whose opinion it has weighed."""
        return all(engine.ready for engine in self._both)

    @property
    def last_error(self) -> str | None:
        """Of the first of them that is not ready."""
        return next((engine.last_error for engine in self._both if not engine.ready), None)

    @property
    def _both(self) -> tuple[Engine, ...]:
        return (self.inner,) if self._second is None else (self.inner, self._second)

    async def start(self) -> None:
        """Start both."""
        for engine in self._both:
            await engine.start()

    async def wait_ready(self, timeout_s: float) -> bool:
        """Wait for both."""
        return all(await asyncio.gather(*(engine.wait_ready(timeout_s) for engine in self._both)))

    async def close(self) -> None:
        """Stop both."""
        await asyncio.gather(*(engine.close() for engine in self._both))

    async def judge(
        self, passages: Sequence[Passage], policies: Sequence[GuardPolicy], *, deadline: float
    ) -> list[Score | EngineError]:
        """Score one content against several policies; see `models.engine.Engine.judge`."""
        weighed = [p for p in policies if any(self._weighs(c, p) for c in self._calibrations.get(p.name, ()))]
        asked = self.inner.judge(passages, policies, deadline=deadline)
        opinions: dict[GuardPolicy, Score | EngineError] = {}
        if weighed:
            entries, opinions = await asyncio.gather(asked, self._opinions(passages, weighed, deadline))
        else:
            entries = await asked
        if len(entries) != len(policies):
            return entries  # for the asker to complain
        model = self.inner.model
        return [
            entry if isinstance(entry, EngineError) else self._map(entry, policy, model, opinions.get(policy))
            for entry, policy in zip(entries, policies, strict=True)
        ]

    async def _opinions(
        self, passages: Sequence[Passage], policies: Sequence[GuardPolicy], deadline: float
    ) -> dict[GuardPolicy, Score | EngineError]:
        """What the other guard says."""
        assert self._second is not None
        entries = await self._second.judge(passages, policies, deadline=deadline)
        if len(entries) != len(policies):
            entries = [EngineError("the second opinion is about another number of policies")] * len(policies)
        return dict(zip(policies, entries, strict=True))

    def _weighs(self, calibration: Calibration, policy: GuardPolicy) -> bool:
        if self._second is None or calibration.second_opinion != self._second.model:
            return False
        return (calibration.revision, calibration.model) == (policy.revision, self.inner.model)

    def _map(
        self, score: Score, policy: GuardPolicy, model: str, opinion: Score | EngineError | None
    ) -> Score | EngineError:
        there_are = self._calibrations.get(policy.name, ())
        second = None if self._second is None else self._second.model
        fitted = find(there_are, policy.revision, model, score.tier, self._effort, second)
        if there_are and fitted is None and (policy.name, model) not in self._said:
            self._said.add((policy.name, model))
            log.warning("not_calibrated", guard=self._guard, policy=policy.name, revision=policy.revision, model=model)
        if fitted is None or fitted.second_opinion is None:
            return calibrated(score, fitted, model)
        if isinstance(opinion, EngineError):  # without it there is no score on the scale that thresholds were made for
            return opinion
        return calibrated(score, fitted, model, None if opinion is None else opinion.evidence)


def find(
    calibrations: Sequence[Calibration],
    revision: str,
    model: str,
    tier: Tier,
    effort: str | None,
    second: str | None = None,
) -> Calibration | None:
    """The map that holds for exactly this, if there is one.

    Args:
        calibrations: To choose from.
        revision: Of the policy.
        model: Of the guard.
        tier: Of the score.
        effort: Of the guard; counts after a trace only.
        second: The model whose opinion can be had.
    """
    effort = effort if tier is Tier.REASONED else None
    those = (c for c in calibrations if c.holds_for(revision, model, tier, effort))
    return next((c for c in those if c.second_opinion in (None, second)), None)


def calibrated(score: Score, fitted: Calibration | None, model: str, second: Evidence | None = None) -> Score:
    """A score as a probability: by the map, or by the guard's prior, or as it is.

    A trace that was cut short for want of time is not mapped: maps go by what a whole one says.

    ``pass_below`` is of the same scale as the value: what the guard says of its own holds for nothing that was mapped.

    Args:
        score: What the guard said.
        fitted: The map that holds for it.
        model: The guard's model; its name tells the family.
        second: The second opinion, for a map that weighs one.
    """
    if score.evidence is None:
        return score
    if fitted is not None and not score.evidence.cut:
        try:
            value = fitted.probability(score.evidence, second)
            limit = None if fitted.pass_below is None else fitted.pass_below.score
            return replace(score, value=value, calibrated=True, pass_below=limit)
        except Unmappable:  # e.g. a server that stopped giving log-probabilities
            pass
    has_prior = score.tier is Tier.REASONED or (score.tier is Tier.REMOTE and _FAMILY in model.lower())
    if has_prior and score.evidence.n_chars:
        return replace(score, value=prior_score(score.evidence), calibrated=False, pass_below=None)
    return score

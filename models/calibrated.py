"""Applies calibrations, in one place: between the rules and a guard with its cache of verdicts.

Above the cache, because what the cache keeps is what the guard itself said, with its evidence: a new calibration holds at
once for what is remembered, and no map of one policy revision or model can meet the verdict of another.

Without a map that holds for exactly this policy, model, tier and effort, a score is not calibrated and says so. Then a
*prior* per family of guards stands in where there is a better one than the label's own probability: for
gpt-oss-safeguard after a trace, `models.trace.length_score`, whose 0.5 is the verdict itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import structlog

from models.calibration import Calibration, Unmappable
from models.engine import Engine, GuardPolicy, Passage, Score, Tier
from models.errors import EngineError
from models.trace import length_score

log = structlog.get_logger()

_FAMILY = "gpt-oss"


class CalibratedEngine:
    """An `models.engine.Engine` whose scores are probabilities where there is a map.

    Args:
        engine: Who judges.
        guard: Its name in the configuration, for the log.
        calibrations: All maps there are, by name of the policy.
        effort: How long the guard may think; None where it is not for us to say.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        guard: str,
        calibrations: Mapping[str, Sequence[Calibration]],
        effort: str | None = None,
    ) -> None:
        self._engine = engine
        self._guard = guard
        self._calibrations = {name: tuple(those) for name, those in calibrations.items() if those}
        self._effort = effort
        self._said: set[tuple[str, str]] = set()

    @property
    def ready(self) -> bool:
        """Whether the guard is."""
        return self._engine.ready

    @property
    def model(self) -> str:
        """What judges."""
        return self._engine.model

    @property
    def last_error(self) -> str | None:
        """The guard's."""
        return self._engine.last_error

    @property
    def is_incremental(self) -> bool:
        """Whether the guard is."""
        return self._engine.is_incremental

    async def start(self) -> None:
        """Start the guard."""
        await self._engine.start()

    async def wait_ready(self, timeout_s: float) -> bool:
        """Wait for the guard."""
        return await self._engine.wait_ready(timeout_s)

    async def close(self) -> None:
        """Stop the guard."""
        await self._engine.close()

    async def judge(
        self, passages: Sequence[Passage], policies: Sequence[GuardPolicy], *, deadline: float
    ) -> list[Score | EngineError]:
        """Score one content against several policies; see `models.engine.Engine.judge`."""
        entries = await self._engine.judge(passages, policies, deadline=deadline)
        if len(entries) != len(policies):
            return entries  # for the asker to complain
        model = self._engine.model
        return [
            entry if isinstance(entry, EngineError) else self._map(entry, policy, model)
            for entry, policy in zip(entries, policies, strict=True)
        ]

    def _map(self, score: Score, policy: GuardPolicy, model: str) -> Score:
        there_are = self._calibrations.get(policy.name, ())
        fitted = find(there_are, policy.revision, model, score.tier, self._effort)
        if there_are and fitted is None and (policy.name, model) not in self._said:
            self._said.add((policy.name, model))
            log.warning("not_calibrated", guard=self._guard, policy=policy.name, revision=policy.revision, model=model)
        return calibrated(score, fitted, model)


def find(
    calibrations: Sequence[Calibration], revision: str, model: str, tier: Tier, effort: str | None
) -> Calibration | None:
    """The map that holds for exactly this, if there is one."""
    effort = effort if tier is Tier.REASONED else None
    return next((c for c in calibrations if c.holds_for(revision, model, tier, effort)), None)


def calibrated(score: Score, fitted: Calibration | None, model: str) -> Score:
    """A score as a probability: by the map, or by the guard's prior, or as it is.

    Args:
        score: What the guard said.
        fitted: The map that holds for it.
        model: The guard's model; its name tells the family.
    """
    if score.evidence is None:
        return score
    if fitted is not None:
        try:
            return replace(score, value=fitted.probability(score.evidence), calibrated=True)
        except Unmappable:  # e.g. a server that stopped giving log-probabilities
            pass
    has_prior = score.tier is Tier.REASONED or (score.tier is Tier.REMOTE and _FAMILY in model.lower())
    if has_prior and score.evidence.n_chars:
        value = length_score(score.evidence.leans_to_violation, score.evidence.n_chars)
        return replace(score, value=value, calibrated=False)
    return score

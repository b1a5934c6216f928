"""Calibrations that lie there and hold for nothing: `safeguard config check` says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.calibration import Calibration
from models.engine import Tier
from proxy.config import Guard
from proxy.loading.guards import effort_of
from proxy.loading.loaded import Loaded
from rules.policy import Policy
from rules.rule import Mode


@dataclass(frozen=True, slots=True)
class StaleCalibration:
    """A policy has calibrations, and none of them holds for a guard that judges by it."""

    policy: str
    guard: str
    reason: str

    def __str__(self) -> str:
        return f"policy {self.policy}, guard {self.guard}: not calibrated: {self.reason}"

    def record(self) -> dict[str, Any]:
        """As JSON output shows it."""
        return {"policy": self.policy, "guard": self.guard, "trouble": "not-calibrated", "message": str(self)}


def stale_calibrations(loaded: Loaded) -> list[StaleCalibration]:
    """One warning for each policy and guard.

    The hash of a model is known when it is loaded; until then its name is compared. A model that turns out to be another
    of the same name is not calibrated either, and the log says so.
    """
    warnings: dict[tuple[str, str], StaleCalibration] = {}
    for route in loaded.routes:
        for rule in (*route.input.rules, *route.output.rules):
            those = loaded.calibrations.get(rule.policy.name, ())
            for guard in rule.guards if those and rule.mode is not Mode.OFF else ():
                reason = _reason(those, rule.policy, loaded.config.guards[guard])
                if reason is not None:
                    warnings[rule.policy.name, guard] = StaleCalibration(rule.policy.name, guard, reason)
    return list(warnings.values())


def _reason(those: Sequence[Calibration], policy: Policy, guard: Guard) -> str | None:
    """Why none of them holds; None: one may."""
    name = Path(guard.model).stem if guard.model.endswith(".gguf") else guard.model
    same_model = [c for c in those if c.model == name or c.model.partition("@")[0] == name]
    if not same_model:
        known = ", ".join(sorted({c.model for c in those}))
        return f"its calibrations are of {known}; run `safeguard calibrate --policy {policy.name} --guard …`"
    if not any(c.revision == policy.revision for c in same_model):
        return f"the policy has changed since (revision {policy.revision}); run `safeguard calibrate` again"
    those = [c for c in same_model if c.revision == policy.revision]
    effort, second = effort_of(guard), getattr(guard, "second_opinion", None)
    if second is None and all(c.second_opinion is not None for c in those):
        return "its calibrations weigh a second opinion, and the guard has no `second_opinion`"
    if not any(c.tier is not Tier.REASONED or c.effort == effort for c in those):
        return f"it was calibrated at another effort than {effort}; run `safeguard calibrate` again"
    return None

"""Hashes over what a configuration says: whether two of them decide alike, and whether anything is different at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields

from models.calibration import Calibration
from models.engine import Canary
from proxy.config import Config, Route
from rules.policy import Policy, revision_of
from rules.rule import Action, RewriteWith, Rule, Stage

_POLICY_FIELDS = tuple(f.name for f in fields(Policy))


def policy_set_of(
    given: tuple[Rule, ...], back: tuple[Rule, ...], route: Route, calibrations: Mapping[str, tuple[Calibration, ...]]
) -> str:
    """A hash that changes with whatever can change a decision of a route.

    Args:
        given: The rules of its input.
        back: The rules of its output.
        route: The route.
        calibrations: All maps there are, by name of the policy.

    Returns:
        16 hexadecimal digits.
    """
    lines = [
        f"{stage} {r.policy.name} {r.policy.revision} {r.guards} {sorted(r.thresholds.items())} {r.mode} {r.on_error} "
        f"{sorted(r.scope) if r.scope is not None else '*'}{_rewrite_line(r)}"
        f"{'' if r.hold_s is None else f' hold {r.hold_s}'}"
        f"{f' pass {sorted(r.pass_below.items())}' if r.pass_below else ''}"
        f"{''.join(f' {c.model_dump_json()}' for c in calibrations[r.policy.name])}"
        for stage, rules in ((Stage.INPUT, given), (Stage.OUTPUT, back))
        for r in rules
    ]
    return revision_of(*lines, route.opaque, route.unknown_fields, route.server_state) + revision_of(route.name)[:4]


def _rewrite_line(rule: Rule) -> str:
    """What a rule's rewrite does, for the hash; nothing for rules that rewrite nothing."""
    if Action.REWRITE not in rule.thresholds:
        return ""
    said = {RewriteWith.TEXT: rule.rewrite_text, RewriteWith.ADVISORY: rule.policy.advisory}
    return f" {rule.rewrite_with} {rule.restore} {said.get(rule.rewrite_with, '')!r}"


def configuration_of(
    config: Config,
    policies: Mapping[str, Policy],
    calibrations: Mapping[str, tuple[Calibration, ...]],
    canaries: Mapping[str, Sequence[Canary]],
) -> str:
    """A hash that changes with anything that a configuration says, in whichever of its files.

    Args:
        config: The file itself.
        policies: All there are, by name.
        calibrations: All maps there are, by name of the policy.
        canaries: What the guards have to get right, by name of the guard.

    Returns:
        12 hexadecimal digits.
    """
    # the detector's options are in the revision
    told = [f for f in _POLICY_FIELDS if f not in ("detector", "surfaces")]
    lines = [
        f"{name} {[getattr(policy, f) for f in told]} {'*' if policy.surfaces is None else sorted(policy.surfaces)}"
        for name, policy in sorted(policies.items())
    ]
    lines += [f"{name} {c.model_dump_json()}" for name, those in sorted(calibrations.items()) for c in those]
    lines += [
        f"{guard} {canary.policy.name} {[(p.surface, p.text) for p in (canary.violating, canary.safe)]}"
        for guard, those in sorted(canaries.items())
        for canary in those
    ]
    return revision_of(config.model_dump_json(), *lines)

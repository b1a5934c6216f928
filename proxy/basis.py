"""What a score depends on besides the content, as a hash: two rules with the same basis give the same content the same score.

It stands in every verdict on record, so that a decision can be made anew under other thresholds and modes without asking a
guard again (`proxy.replay`): policy revision and model, which a record names, do not say which settings, calibration and scope
a score came from.

Left out is what changes no score: thresholds, modes, time limits, queues, threads. A model behind a server's name can change
unseen, and so can a model file whose hash is not recorded beside it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from models.calibration import Calibration
from models.catalog import recorded_sha256, resolve
from models.errors import ModelLoadError
from models.specs import GuardSpec, LocalSpec
from proxy.config import Config, Guard
from rules.policy import revision_of
from rules.rule import Rule

_NOT_IN_A_VERDICT = {
    "timeout_s", "max_queue", "threads", "cache_entries", "canaries", "check_memory", "api_key_env", "max_connections",
    "max_policies", "max_sequences", "max_kept", "kv_tokens", "prefix_cache", "second_opinion",
}  # fmt: skip
"""Keys of a guard that change no verdict."""


def guard_settings(guard: Guard) -> str:
    """Hash over everything in a guard's section that can change a verdict."""
    return revision_of(guard.model_dump_json(exclude=_NOT_IN_A_VERDICT))


def basis_of(
    rule: Rule, config: Config, models: Mapping[str, str], calibrations: Mapping[str, Sequence[Calibration]]
) -> str:
    """The basis of a rule's scores.

    Args:
        rule: The rule.
        config: Whose guards it asks.
        models: See `models_of`.
        calibrations: All maps there are, by name of the policy.
    """
    policy = rule.policy
    lines = [policy.revision, repr(policy.joins), "*" if rule.scope is None else repr(sorted(rule.scope))]
    for name in rule.guards:
        guard = config.guards[name]
        second = getattr(guard, "second_opinion", None)
        for asked in (name, second):
            lines.append("" if asked is None else f"{guard_settings(config.guards[asked])} {models.get(asked, '')}")
    those = calibrations.get(policy.name, ())
    if rule.guards:
        lines += [repr(policy.reason_band), *(c.model_dump_json(exclude={"pass_below"}) for c in those)]
    earlier = rule.guards[:-1]
    if earlier:  # how far the next guard is asked depends on where they pass
        lines.append(repr([rule.limit_of(guard, None) for guard in earlier]))
    if any(guard not in rule.pass_below for guard in earlier):
        lines += [repr(c.pass_below) for c in those]
    return revision_of(*lines)


def models_of(specs: Mapping[str, GuardSpec]) -> dict[str, str]:
    """The recorded hashes of the guards' model files, where there are any."""
    return {name: _recorded(spec) for name, spec in specs.items() if isinstance(spec, LocalSpec)}


def _recorded(spec: LocalSpec) -> str:
    """The file's hash, as far as it is recorded; with what stands beside a classifier: its hash, its maps, where it passes."""
    try:
        path: Path = resolve(spec.model)
        recorded = spec.sha256 or recorded_sha256(path) or path.name
        beside = path.with_suffix(".json")
        if spec.engine == "encoder" and beside.is_file():
            recorded += f" {hashlib.sha256(beside.read_bytes()).hexdigest()}"
        return recorded
    except (ModelLoadError, OSError):  # it is not there, or its hash cannot be read: said when the guard starts
        return ""

"""The guards of a configuration: what each is, what it has to get right, and whom it asks; nothing is built here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from models.catalog import PAIR, check_engine, files_of, output_for, outputs_of, resolve
from models.engine import Canary, Effort
from models.errors import ModelLoadError
from models.specs import GuardSpec, LocalSpec, RemoteSpec
from proxy.config import Config, EncoderGuard, Guard, LlamaGuard, OpenAIGuard
from proxy.loading.keys import key_of
from proxy.loading.policies import examples_of
from proxy.loading.source import Source, known
from proxy.watching import Snapshot, snapshot
from proxy.yaml_file import Path as KeyPath
from rules.examples import canary_of
from rules.policy import Policy
from rules.rule import Mode, Rule


def effort_of(guard: Guard) -> str | None:
    """For how long a guard may think, in words that calibrations are compared by; None where it is not for us to say."""
    if not isinstance(guard, LlamaGuard):
        return None
    return guard.effort.value + (f" {guard.reason_tokens}" if guard.reason_tokens is not None else "")


def default_guard_of(source: Source, config: Config) -> str | None:
    """The guard that judges where a rule names none; None: rules have to name one.

    Raises:
        ConfigError: The configuration names one that there is not.
    """
    name = config.default_guard
    if name is not None:
        if name not in config.guards:
            raise source.error(("default_guard",), f"no guard is called {name!r}{known(config.guards)}")
        return name
    if len(config.guards) == 1:
        return next(iter(config.guards))
    return "embedded" if "embedded" in config.guards else None


def second_opinions_of(source: Source, config: Config) -> dict[str, str]:
    """Which guard's opinion each guard has weighed beside its own, by name; others have none.

    Raises:
        ConfigError: There is no such guard, or it has a second opinion itself.
    """
    found = {}
    for name, guard in config.guards.items():
        second = getattr(guard, "second_opinion", None)
        if second is None:
            continue
        if second not in config.guards:
            reason = f"no guard is called {second!r}{known(config.guards)}"
        elif second == name or getattr(config.guards[second], "second_opinion", None) is not None:
            reason = f"{second!r} must be another guard, without second_opinion of its own"
        else:
            found[name] = second
            continue
        raise source.error(("guards", name, "second_opinion"), reason)
    return found


def spec_of(source: Source, name: str, guard: Guard, environ: Mapping[str, str], n_policies: int) -> GuardSpec:
    """What a guard is made from.

    Args:
        source: Where complaints point to.
        name: Of the guard.
        guard: Its section.
        environ: Where its key is looked up.
        n_policies: How many policies it will be asked about.

    Raises:
        ConfigError: Its key, model or adapter is not there.
    """
    at: KeyPath = ("guards", name)
    match guard:
        case OpenAIGuard():
            return RemoteSpec(
                name=name,
                base_url=guard.base_url,
                model=guard.model,
                api=guard.api,
                api_key=key_of(source, (*at, "api_key_env"), guard.api_key_env, environ),
                timeout_s=guard.timeout_s,
                max_connections=guard.max_connections,
                max_queue=guard.max_queue,
            )
        case EncoderGuard() | LlamaGuard():
            model = guard.model
            if model.endswith(".gguf") and not Path(model).expanduser().is_absolute():
                model = str(source.path.parent / model)
            try:
                check_engine(resolve(model), guard.engine)
            except ModelLoadError as e:
                raise source.error((*at, "model"), str(e)) from None
            return LocalSpec(
                name=name,
                engine=guard.engine,
                model=model,
                gpu_layers=None if guard.gpu_layers == "auto" else guard.gpu_layers,
                threads=guard.threads,
                timeout_s=guard.timeout_s,
                max_queue=guard.max_queue,
                n_at_once=guard.max_queue + 1,  # they wait in the process, where they take turns
                max_content_tokens=guard.max_content_tokens,
                sha256=guard.sha256,
                check_memory=guard.check_memory,
                **_llama_values(source, at, guard, n_policies),
            )


def _llama_values(source: Source, at: KeyPath, guard: EncoderGuard | LlamaGuard, n_policies: int) -> dict[str, Any]:
    """What only engine ``llama`` has."""
    if isinstance(guard, EncoderGuard):
        return {"effort": Effort.NONE}
    lora = None if guard.lora is None else source.path.parent / Path(guard.lora).expanduser()
    if lora is not None and not lora.is_file():
        raise source.error((*at, "lora"), f"no such file: {guard.lora}")
    return {
        "lora": lora and str(lora),
        "effort": guard.effort,
        "reason_band": guard.reason_band,
        "reason_tokens": guard.reason_tokens,
        "reason_s": guard.reason_s,
        "n_ctx": guard.n_ctx,
        "layout": guard.layout,
        "max_policies": guard.max_policies,
        "n_policies": n_policies,
        "max_sequences": guard.max_sequences,
        "max_kept": guard.max_kept,
        "kv_tokens": guard.kv_tokens,
        "batch_tokens": guard.batch_tokens,
        "flash_attention": guard.flash_attention,
        "kv_type": guard.kv_type,
        "prefix_cache": guard.prefix_cache and str(source.path.parent / Path(guard.prefix_cache).expanduser()),
    }


def check_categories(
    source: Source, specs: Mapping[str, GuardSpec], used_by: Mapping[str, set[str]], policies: Mapping[str, Policy]
) -> None:
    """Whether each encoder has an output for each policy that rules give to it.

    Raises:
        ConfigError: One has none, or does not say which it has.
    """
    for guard, names in used_by.items():
        spec = specs[guard]
        if not isinstance(spec, LocalSpec) or spec.engine != "encoder":
            continue
        try:
            outputs = outputs_of(resolve(spec.model))
        except ModelLoadError as e:
            raise source.error(("guards", guard, "model"), str(e)) from None
        if outputs is None:  # said by the guard, once it is loaded
            continue
        categories = dict.fromkeys(sorted(set(outputs) - {PAIR}))
        for name in sorted(names):
            category = policies[name].category
            if output_for(category, outputs) is not None:
                continue
            if category is not None:
                reason = f"guard {guard!r} has no category {category!r}{known(categories)}"
                raise source.error(("policies", name, "category"), reason)
            reason = f"guard {guard!r} has no output for policies of one's own: it needs a category{known(categories)}"
            raise source.error(("policies", name), reason)


def canaries_of(
    source: Source, config: Config, policies: Mapping[str, Policy], rules: Sequence[Rule]
) -> dict[str, list[Canary]]:
    """What each guard has to get right: the canaries of the policies that some rule gives to it.

    Args:
        source: Where complaints point to.
        config: The configuration.
        policies: All there are, by name.
        rules: Those that count.

    Returns:
        By name of the guard; an empty list for one that has to get nothing right.

    Raises:
        ConfigError: The examples of such a policy are unusable.
    """
    found: dict[str, list[Canary]] = {name: [] for name in config.guards}
    for name, entry in config.policies.items():
        asked = {g for r in rules if r.policy.name == name and r.mode is not Mode.OFF for g in r.guards}
        asked = {guard for guard in asked if config.guards[guard].canaries}
        if not asked or (file := examples_of(source, name, entry)) is None:
            continue
        if (canary := canary_of(policies[name], file.examples)) is not None:
            for guard in asked:
                found[guard].append(canary)
    return found


def model_files_of(source: Source, name: str, spec: GuardSpec) -> Snapshot:
    """The files that a guard is read from, as they look now.

    Args:
        source: Where complaints point to.
        name: Of the guard.
        spec: What it is made from.

    Raises:
        ConfigError: Its model is not there.
    """
    try:
        return snapshot(files_of(spec))
    except ModelLoadError as e:
        raise source.error(("guards", name, "model"), str(e)) from None

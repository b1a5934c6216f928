"""The policies of a configuration: their texts or detectors, their examples and calibrations."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models.calibration import Calibration, CalibrationError, read_calibrations
from proxy.config import Config, PolicyEntry
from proxy.config_error import ConfigError
from proxy.loading.places import calibration_path
from proxy.loading.source import Source, read_source
from proxy.yaml_file import Path as KeyPath
from rules.detectors import build_detector
from rules.errors import PolicyError
from rules.examples import ExampleFile, beside, read_example_file
from rules.policy import Policy, find_policy_file, revision_of, split_front_matter, text_policy


def load_policies(path: Path, environ: Mapping[str, str] = os.environ) -> tuple[Config, dict[str, Policy]]:
    """Read a configuration and its policies only: without the keys and models that serving needs.

    Args:
        path: The YAML file.
        environ: Where variables are looked up.

    Raises:
        ConfigError: Something in it is unusable.
    """
    source, config = read_source(path, environ)
    return config, {name: policy_of(source, name, entry) for name, entry in config.policies.items()}


def policy_named(path: Path, policies: Mapping[str, Policy], name: str) -> Policy:
    """One of the policies of a configuration.

    Raises:
        ConfigError: There is no such policy.
    """
    if name not in policies:
        raise ConfigError(f"{path}: policies: no policy is called {name!r} (known: {', '.join(sorted(policies))})")
    return policies[name]


@dataclass(frozen=True, slots=True)
class PolicySource:
    """A policy as its author wrote it.

    Attributes:
        name: Its name in the configuration.
        file: Where its text stands: a policy file, or the configuration.
        line: Where in the file the text begins; for a text in the configuration, where its key stands.
        text: What a guard reads; None for detectors.
        examples: Its examples; None where there is no file of them.
    """

    name: str
    file: Path
    line: int
    text: str | None = field(repr=False)
    examples: ExampleFile | None = field(repr=False)


def policy_sources(path: Path, environ: Mapping[str, str] = os.environ) -> list[PolicySource]:
    """The policies of a configuration with their examples, to be tested and looked over.

    Raises:
        ConfigError: Something in it is unusable.
    """
    source, config = read_source(path, environ)
    found = []
    for name, entry in config.policies.items():
        file, line, text = source.path, source.file.line_of(("policies", name, "text")), entry.text
        if entry.file is not None:
            policy_of(source, name, entry)  # complains about what is wrong with it
            file = find_policy_file(entry.file, source.path.parent)
            whole = file.read_text(encoding="utf-8")
            text = split_front_matter(whole)[1]
            line = whole.count("\n", 0, len(whole) - len(text)) + 1
        found.append(PolicySource(name, file, line, text, examples_of(source, name, entry)))
    return found


def policy_of(source: Source, name: str, entry: PolicyEntry) -> Policy:
    """A policy as a section of the configuration describes it.

    Args:
        source: Where complaints point to.
        name: Of the policy.
        entry: The section.

    Raises:
        ConfigError: There is no such text, or it or an option is unusable.
    """
    at: KeyPath = ("policies", name)
    try:
        if entry.detector is not None:
            kinds: dict[str, dict[str, Any]] = {
                "patterns": {
                    "patterns": entry.patterns,
                    "literals": entry.literals,
                    "ignore_case": entry.ignore_case,
                },
                "secrets": {},
                "pii": {} if entry.kinds is None else {"kinds": entry.kinds},
            }
            options = kinds[entry.detector]
            return Policy(
                name=name,
                revision=revision_of(entry.detector, repr(sorted(options.items()))),
                detector=build_detector(entry.detector, options),
                joins=entry.detector != "pii",  # numbers of two messages side by side are not one number
                refusal_text=entry.refusal_text,
            )
        text = entry.text
        if entry.file is not None:
            text = find_policy_file(entry.file, source.path.parent).read_text(encoding="utf-8")
        return text_policy(
            name,
            text or "",
            category=entry.category,
            refusal_text=entry.refusal_text,
            summary=entry.summary,
            rewrite_text=entry.rewrite_text,
            advisory=entry.advisory,
            reason_band=entry.reason_band,
        )
    except PolicyError as e:
        raise source.error((*at, "file") if entry.file else at, str(e)) from None
    except (OSError, UnicodeDecodeError) as e:
        raise source.error((*at, "file"), f"cannot read {entry.file}: {e}") from None
    except ValueError as e:  # an option of a detector
        raise source.error(at, str(e)) from None


def examples_of(source: Source, name: str, entry: PolicyEntry) -> ExampleFile | None:
    """The examples of a policy: of the file that the configuration names, else of the one beside the policy, if any.

    Args:
        source: Where complaints point to.
        name: Of the policy.
        entry: Its section.

    Raises:
        ConfigError: They are unusable, or the file that is named is not there.
    """
    key = "file" if entry.examples is None else "examples"
    try:
        if entry.examples is not None:
            return read_example_file(find_policy_file(entry.examples, source.path.parent))
        if entry.file is not None:
            return read_example_file(beside(find_policy_file(entry.file, source.path.parent)))
    except FileNotFoundError:
        return None
    except PolicyError as e:
        raise source.error(("policies", name, key), str(e)) from None
    return None


def calibrations_of(source: Source, name: str, entry: PolicyEntry) -> tuple[Calibration, ...]:
    """The calibrations of a policy: of the file that the configuration names, else of the one beside the policy, if any.

    Args:
        source: Where complaints point to.
        name: Of the policy.
        entry: Its section.

    Raises:
        ConfigError: They are unusable, or the file that is named is not there.
    """
    key: KeyPath = ("policies", name, "calibration") if entry.calibration is not None else ("policies", name)
    try:
        path = calibration_path(source.path, entry)
        return read_calibrations(path) if path is not None else ()
    except FileNotFoundError:
        if entry.calibration is None:
            return ()
        raise source.error(key, f"no such file: {entry.calibration}; `safeguard calibrate` writes it") from None
    except (CalibrationError, PolicyError) as e:
        raise source.error(key, str(e)) from None

"""The policies that ``--policy`` names, and the files that commands of this package write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from models.calibration import Calibration, path_beside, read_calibrations
from proxy.config import Config
from proxy.config_error import ConfigError
from proxy.evaluation.judging import Subject
from proxy.evaluation.rows import Row
from proxy.loading.places import calibration_path
from proxy.loading.policies import policy_named
from rules.errors import PolicyError
from rules.policy import Policy, text_policy


def read_subjects(
    path: Path, config: Config, policies: Mapping[str, Policy], given: Sequence[str] | None, rows: Sequence[Row]
) -> list[Subject]:
    """The policies to measure.

    Args:
        path: The configuration's file.
        config: What it says.
        policies: All that it has.
        given: Names of some, or files; None: those that rows have labels for.
        rows: What is measured on.

    Raises:
        ConfigError: One is not there, is a detector, or no row has a label for it.
    """
    if not given:
        labelled = {name for row in rows for name in row.labels}
        given = [name for name, policy in policies.items() if policy.detector is None and name in labelled]
        if not given:
            raise ConfigError("--policy: name one; the rows have no `labels` for a policy of the configuration")
    subjects = []
    for word in dict.fromkeys(given):
        label, equals, file = word.partition("=")
        if equals or word.endswith(".md"):
            file = file if equals else word
            policy = _policy_file(Path(file))
            subject = Subject(policy, label if equals else policy.name, calibrations_in(path_beside(Path(file))))
        else:
            policy = policy_named(path, policies, word)
            if policy.detector is not None:
                raise ConfigError(f"{path}: policies.{word}: is a detector, which no guard judges")
            at = calibration_path(path, config.policies[word])
            subject = Subject(policy, word, calibrations_in(at) if at is not None else ())
        if not any(row.violates(subject.label) is not None for row in rows):
            raise ConfigError(f"--policy {word}: no row has a label for {subject.label!r}")
        subjects.append(subject)
    return subjects


def _policy_file(path: Path) -> Policy:
    try:
        return text_policy(path.stem, path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as e:
        raise ConfigError(f"--policy: {path}: cannot be read: {getattr(e, 'strerror', None) or 'not UTF-8'}") from None
    except PolicyError as e:
        raise ConfigError(f"--policy: {path}: {e}") from None


def calibrations_in(path: Path) -> tuple[Calibration, ...]:
    """The calibrations of a file; none where there is no file.

    Raises:
        CalibrationError: There is one and it cannot be used.
    """
    try:
        return read_calibrations(path)
    except FileNotFoundError:
        return ()


def write_text(path: Path, text: str, option: str) -> None:
    """Write what an option asks for.

    Raises:
        ConfigError: It cannot be written.
    """
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as e:
        raise ConfigError(f"{option}: {path}: cannot be written: {e.strerror}") from None

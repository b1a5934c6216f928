"""Where the files and folders lie that a configuration names: beside it, unless it says otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from models.calibration import path_beside
from proxy.config import Config, PolicyEntry
from rules.errors import PolicyError
from rules.examples import beside
from rules.policy import SHIPPED, find_policy_file, policy_file_places


def files_beside(path: Path, config: Config) -> Iterator[Path]:
    """All files that a configuration is read from besides itself, and all that would be if they were there.

    Args:
        path: The YAML file.
        config: What it says.
    """
    for entry in config.policies.values():
        texts = () if entry.file is None else policy_file_places(entry.file, path.parent)
        yield from texts
        yield from map(beside, texts) if entry.examples is None else policy_file_places(entry.examples, path.parent)
        if entry.calibration is None:
            yield from map(path_beside, texts)
        else:
            yield path.parent / Path(entry.calibration).expanduser()


def calibration_path(config_path: Path, entry: PolicyEntry) -> Path | None:
    """Where the calibrations of a policy lie, or would lie; None: nowhere, unless the configuration says where.

    Raises:
        PolicyError: The policy's file is not there.
    """
    if entry.calibration is not None:
        return config_path.parent / Path(entry.calibration).expanduser()
    return None if entry.file is None else path_beside(find_policy_file(entry.file, config_path.parent))


def examples_path(config_path: Path, name: str, entry: PolicyEntry) -> Path:
    """Where the examples of a policy lie, or would lie, so that they can be added to.

    Raises:
        PolicyError: Nowhere, or in a file that is shipped.
    """
    if entry.examples is not None:
        path = find_policy_file(entry.examples, config_path.parent)
    elif entry.file is not None:
        path = beside(find_policy_file(entry.file, config_path.parent))
    else:
        raise PolicyError(f"policy {name!r} has no file of examples; name one as `examples`")
    if path.resolve().is_relative_to(SHIPPED.resolve()):
        raise PolicyError(
            f"the examples of policy {name!r} are shipped ({path}); copy them, and name the copy as `examples`"
        )
    return path


def audit_folder(path: Path, config: Config) -> Path | None:
    """Where the audit of the configuration at ``path`` is kept; None if it has none."""
    return None if config.audit is None else path.parent / Path(config.audit.path).expanduser()


def review_path(path: Path, config: Config) -> Path | None:
    """Where the review queue of the configuration at ``path`` is kept; None if it has none."""
    return None if config.review is None else path.parent / Path(config.review.path).expanduser()

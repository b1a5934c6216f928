"""The files of `safeguard tune`: all are made in a folder apart, and come to where they belong together, at the end."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from models import catalog
from models.encoder_input import Metadata
from models.errors import ModelLoadError
from proxy.config_error import ConfigError
from proxy.evaluation import report
from proxy.evaluation.judging import Subject
from proxy.tuning.card import calibration_name, card, warnings
from proxy.tuning.outcome import Tuned

CARD, RECORD, PAGE = "MODEL_CARD.md", "evaluation.json", "evaluation.html"
_UNFINISHED = ".tune-"


def check_free(folder: Path, name: str, subjects: Sequence[Subject], *, force: bool) -> None:
    """See that nothing is overwritten.

    Args:
        folder: Where everything goes, if it is there already.
        name: Of the model.
        subjects: The policies.
        force: Whether files may be overwritten.

    Raises:
        ConfigError: There is such a file, or two policies would share a file.
    """
    calibrations = [calibration_name(s.policy.name) for s in subjects]
    if len(set(calibrations)) < len(calibrations):
        raise ConfigError("--policy: two of them have names that make the same file")
    wanted = [
        f"{name}.gguf",
        f"{name}.gguf.sha256",
        f"{name}-pair.gguf",
        f"{name}.json",
        CARD,
        RECORD,
        PAGE,
        *calibrations,
    ]
    taken = [file for file in wanted if (folder / file).exists()]
    if taken and not force:
        raise ConfigError(
            f"--output {folder}: has {', '.join(taken)} already; name another folder, or overwrite with --force"
        )


def make_folder(folder: Path) -> None:
    """Make the folder where everything goes.

    Raises:
        ConfigError: It cannot be made, or nothing can be written into it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise ConfigError(f"--output {folder}: cannot be made: {e.strerror}") from None
    if not os.access(folder, os.W_OK):
        raise ConfigError(f"--output {folder}: cannot be written")


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Have a folder to oneself, without what a run has left there that was killed.

    Two runs that both found it free would otherwise overwrite each other's files.

    Args:
        folder: Where everything goes.

    Raises:
        ConfigError: Another run is at work there, or it cannot be read.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as e:
        raise ConfigError(f"--output {folder}: cannot be read: {e.strerror}") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the kernel unlocks it, whatever ends the process
        except BlockingIOError:
            raise ConfigError(
                f"--output {folder}: another run of safeguard tune is at work there; name another folder"
            ) from None
        for left in folder.glob(f"{_UNFINISHED}*"):
            shutil.rmtree(left)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def made_apart(folder: Path) -> Iterator[Path]:
    """A folder in the output folder in which files are made; what was not moved out of it is gone at the end."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=_UNFINISHED) as made:
        yield Path(made)


def write_metadata(base: Path, gguf: Path, metadata: Metadata, trained: Iterable[str]) -> Metadata:
    """Write what must stand beside the new weights.

    What the base's says stays, but for the outputs that were trained: their old maps, thresholds and limits mean nothing any
    more. Nor do those of a union of which they are a part: it becomes an output like any other.
    (The pair output's map stays: it serves policies that were not trained, whose answers were held.)

    Args:
        base: The base's GGUF.
        gguf: The new one; its JSON and its hash come beside it. Its second file, if it has one, is there.
        metadata: The base's.
        trained: Labels of the trained outputs but for the pair output.

    Returns:
        The same, as a guard reads it.
    """
    sha256 = catalog.sha256_of(gguf)
    pair_sha256 = None if metadata.pair_sha256 is None else catalog.sha256_of(catalog.pair_path(gguf))
    kept = _json_beside(base)
    gone = set(trained)
    if unions := {union for union, parts in metadata.unions.items() if not gone.isdisjoint({union, *parts})}:
        gone |= unions
        kept["unions"] = {union: parts for union, parts in metadata.unions.items() if union not in unions}
    for section in ("calibration", "thresholds", "pass_below"):
        if isinstance(kept.get(section), dict):
            kept[section] = {label: value for label, value in kept[section].items() if label not in gone}
    fields = {
        **kept,
        "name": gguf.stem,
        "version": "1",
        "sha256": sha256,
        "base_model": f"{kept.get('name', base.stem)}, SHA-256 {catalog.sha256_of(base)}",
        "pair_sha256": pair_sha256,
        "labels": list(metadata.labels),
        "max_tokens": metadata.max_tokens,
        "stride_tokens": metadata.stride_tokens,
    }
    gguf.with_suffix(".json").write_text(json.dumps(fields, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    catalog.record_sha256(gguf, sha256)
    return Metadata.model_validate(fields)


def _json_beside(base: Path) -> dict[str, Any]:
    """What stands beside the base, which was read already as far as the guard needs it; nothing where there is nothing."""
    try:
        fields = json.loads(base.with_suffix(".json").read_bytes())
    except FileNotFoundError:
        return {}
    if not isinstance(fields, dict):
        raise ModelLoadError(f"{base.with_suffix('.json')}: is not a JSON object")
    return fields


def write_reports(folder: Path, tuned: Tuned) -> None:
    """Write the card, the figures as JSON, and a page with plots.

    Args:
        folder: Where they are made.
        tuned: What came out.
    """
    (folder / CARD).write_text(card(tuned), encoding="utf-8")
    record = {**tuned.record(), "warnings": warnings(tuned)}
    (folder / RECORD).write_text(json.dumps(record, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    lead = f"Held-out rows of {', '.join(path.name for path in tuned.data)}. Small figures are 95 % intervals. "
    groups = [(name, comparison.measured) for name, comparison in tuned.comparisons.items()]
    page = report.page(f"{tuned.name} against its base", lead + "Rows are named by their ids.", groups)
    (folder / PAGE).write_text(page, encoding="utf-8")


def publish(folder: Path, output: Path) -> None:
    """Move everything to where it belongs; the weights come last, so that none are there without what belongs to them."""
    for path in sorted(folder.iterdir(), key=lambda path: (path.suffix == ".gguf", path.name)):
        os.replace(path, output / path.name)

"""Adds examples to a policy's file of examples, which people write by hand: comments, order and spelling stay as they are."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from proxy.config_error import ConfigError
from proxy.files import replacement
from proxy.loading.places import examples_path
from proxy.loading.source import read_config
from proxy.review.item import Item, ReviewError
from proxy.review.labelled import flagged_by, form_of, violates
from proxy.review.queue import ReviewQueue
from rules.errors import PolicyError
from rules.examples import Example, ExampleFile, read_example_file


def keep_as_example(config_path: Path, queue: ReviewQueue, item: Item, policy: str | None) -> Path:
    """Add a decided item to the examples of a policy that has flagged it; gives their file.

    Args:
        config_path: The configuration that says where they lie.
        queue: Where its content is.
        item: The item.
        policy: The policy, where several have flagged.

    Raises:
        ReviewError: It is not decided, cannot be told as an example, or there is no file for it.
    """
    flagged = flagged_by(item, policy)
    label = violates(item)
    try:
        entry = read_config(config_path).policies.get(flagged.policy)
        if entry is None:
            raise ReviewError(f"{config_path}: policies: no policy is called {flagged.policy!r} any more")
        place = examples_path(config_path, flagged.policy, entry)
    except (ConfigError, PolicyError) as e:
        raise ReviewError(str(e)) from None
    form = form_of(item, queue.content(item.id), flagged)
    add_example(place, {"id": f"review-{item.id}", **form, "stage": item.stage, "violates": label})
    return place


def add_example(path: Path, example: Mapping[str, Any]) -> None:
    """Add one example at the end of a file; the file is made if there is none.

    It is written beside the file and takes its place in one step, once it was read back and says what it should.

    Raises:
        ReviewError: The content stands there already, or the file cannot be used.
    """
    path = Path(os.path.realpath(path))  # a link stays one
    try:
        new = Example.model_validate(example)
        with _alone(path.parent):
            before, text = _read(path)
            _check_new(before, new)
            with replacement(path, (text + _entry(text, example)).encode(), 0o644) as made:
                if not _says(made, (*before.examples, new)):
                    raise ReviewError(f"{path}: an example cannot be added to a file of this form; add it by hand")
    except PolicyError as e:
        raise ReviewError(str(e)) from None
    except OSError as e:
        raise ReviewError(f"{path}: {e.strerror or e}") from None


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """No other command adds to a file of this folder at the same time."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _read(path: Path) -> tuple[ExampleFile, str]:
    try:
        return read_example_file(path), path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ExampleFile(path), ""


def _check_new(file: ExampleFile, new: Example) -> None:
    for example, line in zip(file.examples, file.lines, strict=True):
        if (example.stage, example.text, example.messages) == (new.stage, new.text, new.messages):
            says = "the same" if example.violates is new.violates else "another thing"
            raise ReviewError(f"{file.path}:{line}: this content stands there already, and the example says {says}")
        if example.id == new.id:
            raise ReviewError(f"{file.path}:{line}: an example with the id {new.id} stands there already")


def _says(path: Path, examples: tuple[Example, ...]) -> bool:
    try:
        return read_example_file(path).examples == examples
    except PolicyError:
        return False


def _entry(text: str, example: Mapping[str, Any]) -> str:
    """The example as YAML, indented as those before it."""
    node = yaml.compose(text, Loader=yaml.SafeLoader) if text else None
    indent = node.start_mark.column if isinstance(node, yaml.SequenceNode) else 0
    # no width: a long text stays on its line
    entry = yaml.safe_dump([dict(example)], allow_unicode=True, sort_keys=False, width=float("inf"))
    lines = "".join(" " * indent + line for line in entry.splitlines(keepends=True))
    return lines if not text or text.endswith("\n") else "\n" + lines

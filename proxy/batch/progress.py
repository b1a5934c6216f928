"""How far a batch is: a bar where somebody looks at it, a line now and then where nobody does. On standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

LINE_EVERY_S = 30.0


class Shown(Protocol):
    """Takes note of rows that are done."""

    def row(self) -> None:
        """One more."""
        ...


class _Rate(ProgressColumn):
    """Rows per second since the beginning; rich's own speed is that of the last moments and jumps."""

    def render(self, task: Task) -> Text:
        rows = task.completed - task.fields["before"]
        elapsed = task.elapsed or 0.0
        return Text(f"{rows / elapsed:,.1f} rows/s" if rows and elapsed else "", style="progress.data.speed")


class _Lines:
    """A line every `LINE_EVERY_S` seconds."""

    def __init__(self, total: int | None, before: int) -> None:
        self._total = total
        self._before = before
        self._rows = before
        self._started = self._said = time.monotonic()

    def row(self) -> None:
        self._rows += 1
        now = time.monotonic()
        if now - self._said < LINE_EVERY_S:
            return
        self._said = now
        sys.stderr.write(progress_line(self._rows, self._total, self._rows - self._before, now - self._started) + "\n")


class _Bar:
    def __init__(self, progress: Progress, total: int | None, before: int) -> None:
        self._progress = progress
        self._task = progress.add_task("screen", total=total, completed=before, before=before)

    def row(self) -> None:
        self._progress.advance(self._task)


@contextmanager
def progress(total: int | None, before: int) -> Iterator[Shown]:
    """Show how far it is.

    Args:
        total: How many rows there are; None: nobody knows.
        before: How many earlier runs have done.
    """
    if not sys.stderr.isatty():
        yield _Lines(total, before)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        yield _Bar(bar, total, before)


def progress_line(rows: int, total: int | None, rows_now: int, seconds: float) -> str:
    """One line for a log.

    >>> progress_line(300, 1000, 100, 10.0)
    '300 of 1000 rows, 10.0 rows/s, 70 s left'
    """
    rate = rows_now / seconds if seconds > 0 else 0.0
    of = f" of {total}" if total is not None else ""
    left = f", {(total - rows) / rate:.0f} s left" if total is not None and rate > 0 else ""
    return f"{rows}{of} rows, {rate:.1f} rows/s{left}"

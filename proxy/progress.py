"""How far a long command is: a bar where somebody looks at it, a line now and then where nobody does. On standard error."""

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
    """Takes note of what is done."""

    def one_more(self) -> None:
        """One more is done."""
        ...


class _Rate(ProgressColumn):
    """How many per second since the beginning; rich's own speed is that of the last moments and jumps."""

    def render(self, task: Task) -> Text:
        n = task.completed - task.fields["before"]
        elapsed = task.elapsed or 0.0
        said = f"{n / elapsed:,.1f} {task.description}/s" if n and elapsed else ""
        return Text(said, style="progress.data.speed")


class _Lines:
    """A line every `LINE_EVERY_S` seconds."""

    def __init__(self, what: str, total: int | None, before: int) -> None:
        self._what = what
        self._total = total
        self._before = self._done = before
        self._started = self._said = time.monotonic()

    def one_more(self) -> None:
        self._done += 1
        now = time.monotonic()
        if now - self._said < LINE_EVERY_S:
            return
        self._said = now
        line = progress_line(self._what, self._done, self._total, self._done - self._before, now - self._started)
        sys.stderr.write(line + "\n")


class _Bar:
    def __init__(self, bar: Progress, what: str, total: int | None, before: int) -> None:
        self._bar = bar
        self._task = bar.add_task(what, total=total, completed=before, before=before)

    def one_more(self) -> None:
        self._bar.advance(self._task)


@contextmanager
def progress(what: str, total: int | None, before: int = 0) -> Iterator[Shown]:
    """Show how far it is.

    Args:
        what: What is counted, e.g. ``rows``.
        total: How many there are; None: nobody knows.
        before: How many earlier runs have done.
    """
    if not sys.stderr.isatty():
        yield _Lines(what, total, before)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        yield _Bar(bar, what, total, before)


def progress_line(what: str, done: int, total: int | None, n: int, seconds: float) -> str:
    """One line for a log.

    >>> progress_line("rows", 300, 1000, 100, 10.0)
    '300 of 1000 rows, 10.0 rows/s, 70 s left'
    """
    rate = n / seconds if seconds > 0 else 0.0
    of = f" of {total}" if total is not None else ""
    left = f", {(total - done) / rate:.0f} s left" if total is not None and rate > 0 else ""
    return f"{done}{of} {what}, {rate:.1f} {what}/s{left}"

"""A progress bar on a terminal, a line now and then anywhere else. Always on standard error."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

_EVERY_S = 10.0


class Meter:
    """Shows how far one piece of work is.

    Args:
        what: Its name.
        total: How many steps it has.
        done: How many of them were done earlier.
    """

    def __init__(self, what: str, total: int, done: int = 0) -> None:
        self._what, self._total, self._done, self._earlier = what, total, done, done
        self._began = self._said = time.monotonic()
        self._bar: Progress | None = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=Console(stderr=True),
            )
            self._task = self._bar.add_task(self._what, total=self._total, completed=self._done, rate="")
            self._bar.start()
        elif self._done:
            sys.stderr.write(f"{self._what}: {self._done} of {self._total} were done earlier\n")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        elif self._done > self._earlier:
            self._say()

    def step(self) -> None:
        """One more is done."""
        self._done += 1
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done, rate=self._rate())
        elif time.monotonic() - self._said >= _EVERY_S:
            self._say()

    def _say(self) -> None:
        self._said = time.monotonic()
        sys.stderr.write(f"{self._what}: {self._done} of {self._total}, {self._rate()}\n")

    def _rate(self) -> str:
        seconds = time.monotonic() - self._began
        return f"{(self._done - self._earlier) / seconds:.1f}/s" if seconds > 0 else ""

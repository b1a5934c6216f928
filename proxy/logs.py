"""How log lines look: readable on a terminal, JSON otherwise.

Tracebacks show neither local variables, which hold keys, nor the words of errors, which quote contents.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import select
import sys
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Generic, TextIO, TypeVar, cast

import orjson
import structlog
from structlog.typing import EventDict, WrappedLogger

log = structlog.get_logger()

Line = TypeVar("Line", str, bytes)

LOOP_ERROR_EVERY_S = 10.0
"""The same complaint of the event loop is written once in this time: out of file descriptors, it complains a thousand times
a second."""


_MOST_ERRORS = 8
STALL_S = 1.0
"""How long a reader of the log may keep everything waiting, once; then lines are lost until it reads again."""


class Sink(Generic[Line]):
    """A log file whose failure (a full disk, a reader that has gone or does not read) costs lines, never an answer or a guard.

    Lines that are lost are counted, and the count is written as soon as lines can be written again.
    """

    def __init__(self, write: Callable[[Line, float], None], note: Callable[[int], Line]) -> None:
        """Make a sink.

        Args:
            write: Writes a line to its end; OSError if it cannot within the seconds given.
            note: Makes the line that tells how many were lost.
        """
        self._write: Callable[[Line, float], None] = write
        self._note: Callable[[int], Line] = note
        self.lost = 0
        """Lines lost since the last one that was written."""

    def write(self, line: Line) -> None:
        """Write a line, if that is possible."""
        try:
            if self.lost:
                self._write(self._note(self.lost) + line, 0.0)
            else:
                self._write(line, STALL_S)
        except (OSError, ValueError):  # ValueError: the file is closed
            self.lost += 1
        else:
            self.lost = 0

    def flush(self) -> None:
        """Every line is flushed already."""


def _write_bytes(line: bytes, timeout_s: float) -> None:
    """Past Python's buffer: what it could not write would wait there, and fail again when the process ends.

    In pieces, because a pipe that says that it can be written to takes one of `PIPE_BUF` bytes without blocking.
    """
    file = sys.stderr.fileno()
    rest = memoryview(line)
    while rest:
        _await_writable(file, timeout_s)
        rest = rest[os.write(file, rest[: select.PIPE_BUF]) :]


def _await_writable(file: int, timeout_s: float) -> None:
    poll = select.poll()
    poll.register(file, select.POLLOUT)
    if not poll.poll(timeout_s * 1000):
        raise BlockingIOError


def _write_text(line: str, timeout_s: float) -> None:
    _await_writable(sys.stderr.fileno(), timeout_s)
    sys.stderr.write(line)
    sys.stderr.flush()


def _lost_as_json(n: int) -> bytes:
    return b"\n" + orjson.dumps({"event": "log_lines_lost", "level": "error", "lines": n}) + b"\n"


def _lost_as_text(n: int) -> str:
    return f"\n{n} log lines were lost\n"


class LoopErrors:
    """What the event loop does with errors that nobody awaits: a short line, by type and place.

    Its own way is a traceback on standard error, which quotes arguments, and so can hold content or a key.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._next: dict[tuple[str, str, str], float] = {}

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Handle one error; see ``asyncio.loop.set_exception_handler``."""
        error = context.get("exception")
        # of a failed callback the message shows the arguments
        what = str(context.get("message", "")).partition(" callback ")[0][:80]
        key = (what, type(error).__name__, _place(error))
        now = self._clock()
        if now < self._next.get(key, 0.0):
            return
        self._next[key] = now + LOOP_ERROR_EVERY_S
        log.error("loop_error", what=what, error=key[1], at=key[2])


def _place(error: BaseException | None) -> str:
    """File and line that raised an error; places in code are few."""
    trace = error.__traceback__ if error is not None else None
    if trace is None:
        return ""
    while trace.tb_next is not None:
        trace = trace.tb_next
    return f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"


def _frames(error: BaseException | None) -> str:
    """Where an error came from, and those that it followed on. Without their messages, which may quote a content."""
    parts: list[str] = []
    while error is not None and len(parts) < _MOST_ERRORS:
        parts.append("".join(traceback.format_tb(error.__traceback__)) + type(error).__qualname__)
        parts += [_frames(one) for one in getattr(error, "exceptions", ())]
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\n\nfollowing on\n\n".join(parts)


def _write_frames(file: TextIO, exc_info: Any) -> None:
    file.write("\n" + _frames(exc_info[1]))


def configure_logs(*, level: str = "info") -> None:
    """Set up structlog once, for the whole process; lines go to standard error.

    Args:
        level: Least grave level that is written.
    """
    terminal = sys.stderr.isatty()
    processors: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.dev.ConsoleRenderer(exception_formatter=_write_frames),
    ]
    structlog.configure(
        processors=processors if terminal else [_json_line],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=(
            structlog.WriteLoggerFactory(file=cast(TextIO, Sink(_write_text, _lost_as_text)))
            if terminal
            else structlog.BytesLoggerFactory(file=cast(BinaryIO, Sink(_write_bytes, _lost_as_json)))
        ),
        cache_logger_on_first_use=True,
    )


def _json_line(logger: WrappedLogger, level: str, entry: EventDict) -> bytes:
    """One line as JSON, in one step: structlog's own processors for it take as long as judging a stage."""
    entry["level"] = level
    entry["timestamp"] = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    if entry.pop("exc_info", None):
        entry["exception"] = _frames(sys.exc_info()[1])
    try:
        return orjson.dumps(entry, default=repr)
    except TypeError:  # an unpaired surrogate or a huge number; a line must never be lost to one
        return json.dumps(entry, default=repr).encode()

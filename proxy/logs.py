"""How log lines look: readable on a terminal, JSON otherwise. Tracebacks never show local variables: they hold keys."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

import orjson
import structlog
from structlog.typing import EventDict, WrappedLogger


def configure_logs(*, level: str = "info") -> None:
    """Set up structlog once, for the whole process; lines go to standard error.

    Args:
        level: Least grave level that is written.
    """
    terminal = sys.stderr.isatty()
    processors: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
    ]
    structlog.configure(
        processors=processors if terminal else [_json_line],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=(
            structlog.WriteLoggerFactory(file=sys.stderr)
            if terminal
            else structlog.BytesLoggerFactory(file=sys.stderr.buffer)
        ),
        cache_logger_on_first_use=True,
    )


def _json_line(logger: WrappedLogger, level: str, entry: EventDict) -> bytes:
    """One line as JSON, in one step: structlog's own processors for it take as long as judging a stage."""
    entry["level"] = level
    entry["timestamp"] = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    if "exc_info" in entry:
        entry = structlog.processors.format_exc_info(logger, level, entry)
    try:
        return orjson.dumps(entry, default=repr)
    except TypeError:  # an unpaired surrogate or a huge number; a line must never be lost to one
        return json.dumps(entry, default=repr).encode()

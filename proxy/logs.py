"""How log lines look: readable on a terminal, JSON otherwise. Tracebacks never show local variables: they hold keys."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from typing import Any

import orjson
import structlog


def configure_logs(*, level: str = "info") -> None:
    """Set up structlog once, for the whole process; lines go to standard error.

    Args:
        level: Least grave level that is written.
    """
    terminal = sys.stderr.isatty()
    renderer: structlog.typing.Processor
    if terminal:
        renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    else:
        renderer = structlog.processors.JSONRenderer(_to_json)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([] if terminal else [structlog.processors.format_exc_info]),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=(
            structlog.WriteLoggerFactory(file=sys.stderr)
            if terminal
            else structlog.BytesLoggerFactory(file=sys.stderr.buffer)
        ),
        cache_logger_on_first_use=True,
    )


def _to_json(entry: dict[str, Any], default: Callable[[Any], Any]) -> bytes:
    try:
        return orjson.dumps(entry, default=default)
    except TypeError:  # an unpaired surrogate or a huge number; a line must never be lost to one
        return json.dumps(entry, default=default).encode()

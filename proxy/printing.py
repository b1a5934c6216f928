"""What commands print on standard output."""

from __future__ import annotations

import json
import sys
from typing import Any, TextIO

from rich.console import Console


def console(file: TextIO | None = None, *, width: int = 160) -> Console:
    """A file, or standard output: as wide as the terminal, or ``width``, enough for a table, where there is none."""
    file = file or sys.stdout
    return Console(file=file) if file.isatty() else Console(file=file, width=width)


def print_json(value: Any, file: TextIO | None = None) -> None:
    """Write a value as JSON to a file, or to standard output."""
    (file or sys.stdout).write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")

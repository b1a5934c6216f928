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


def printable(text: str, *, lines: bool = False) -> str:
    r"""A text that somebody else has chosen, with nothing in it that a terminal obeys or that hides what it says.

    Args:
        text: The text.
        lines: Whether line ends stay.

    >>> printable("red \x1b[31m, reversed \u202e")
    'red \\x1b[31m, reversed \\u202e'
    """
    return "".join(
        c if c.isprintable() or (lines and c == "\n") else c.encode("unicode_escape", "surrogatepass").decode()
        for c in text
    )


def print_json(value: Any, file: TextIO | None = None) -> None:
    """Write a value as JSON to a file, or to standard output."""
    (file or sys.stdout).write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")

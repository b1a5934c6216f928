"""The error of everybody who uses the command line; apart, so that wrong usage is told before anything is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxy.watching import Snapshot


class ConfigError(ValueError):
    """The configuration cannot be used; the message is one line with file, line, key and reason."""

    files: Snapshot | None = None
    """All files that it names, as they looked before they were read, if it could be read so far."""

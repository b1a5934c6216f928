"""The error of everybody who uses the command line; apart, so that wrong usage is told before anything is loaded."""

from __future__ import annotations


class ConfigError(ValueError):
    """The configuration cannot be used; the message is one line with file, line, key and reason."""

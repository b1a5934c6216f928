"""Errors of the rules package.

::

    RulesError(ValueError)      base
    ├── PolicyError             a policy cannot be built from what the configuration says
    └── TooMuchToDecode         a text holds more encoded runs than are decoded
"""

from __future__ import annotations


class RulesError(ValueError):
    """Something in policies or rules is unusable; the message says what and what would be right."""


class PolicyError(RulesError):
    """A policy cannot be built: file missing, front matter wrong, pattern not compilable."""


class TooMuchToDecode(RulesError):
    """A text holds more encoded runs than are decoded: nobody has read all of it, so its rules are undecided."""

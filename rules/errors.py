"""Errors of the rules package.

::

    RulesError(ValueError)      base
    └── PolicyError             a policy cannot be built from what the configuration says
"""

from __future__ import annotations


class RulesError(ValueError):
    """Something in policies or rules is unusable; the message says what and what would be right."""


class PolicyError(RulesError):
    """A policy cannot be built: file missing, front matter wrong, pattern not compilable."""

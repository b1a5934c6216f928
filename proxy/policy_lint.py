"""The policies of a configuration looked over: what in their texts collides with the model that reads them (`rules.lint`)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proxy.loading.policies import PolicySource
from rules.lint import Trouble, lint


@dataclass(frozen=True, slots=True)
class PolicyWarning:
    """One trouble of one policy, and where it stands."""

    policy: str
    file: Path
    line: int
    trouble: Trouble
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: policy {self.policy}: {self.message}"

    def record(self) -> dict[str, Any]:
        """As JSON output shows it."""
        return {
            "policy": self.policy,
            "file": str(self.file),
            "line": self.line,
            "trouble": self.trouble.value,
            "message": self.message,
        }


def look_over(sources: Iterable[PolicySource], config: Path) -> list[PolicyWarning]:
    """Look over the texts of policies.

    Args:
        sources: The policies.
        config: The configuration; a text that stands in it has no lines of its own in the file.
    """
    warnings = []
    for source in sources:
        for complaint in lint(source.text or ""):
            line, message = source.line + complaint.line - 1, complaint.message
            if source.file == config:
                line, message = source.line, f"{message} (line {complaint.line} of its text)"
            warnings.append(PolicyWarning(source.name, source.file, line, complaint.trouble, message))
    return warnings

"""What the records of a batch come to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rules.decision import Cause
from rules.rule import Action

BAD_ROW = "bad_row"
"""Error of a row that cannot be read."""


@dataclass(slots=True)
class Tally:
    """Counts over records, as `proxy.batch.work.record_of` makes them.

    Attributes:
        rows: How many there are.
        actions: By what is to be done with the row.
        policies: Rows by policy and by the action that it asks for; those it lets pass are left out.
        errors: Verdicts that there are not, by code; rows that cannot be read.
        found: Rows that a policy flags, rewrites or refuses.
        undecided: Rows of which nobody could say it.
    """

    rows: int = 0
    actions: Counter[str] = field(default_factory=Counter)
    policies: dict[str, Counter[str]] = field(default_factory=dict)
    errors: Counter[str] = field(default_factory=Counter)
    found: int = 0
    undecided: int = 0

    def add(self, record: Mapping[str, Any]) -> None:
        """Count one record."""
        self.rows += 1
        self.actions[record["action"]] += 1
        undecided = record.get("cause") == Cause.UNDECIDED or "problem" in record
        self.undecided += undecided
        self.found += not undecided and record["action"] != Action.FORWARD.word
        if "problem" in record:
            self.errors[BAD_ROW] += 1
        for verdict in record.get("verdicts", ()):
            if verdict["mode"] != "enforce":
                continue
            counts = self.policies.setdefault(verdict["policy"], Counter())
            if verdict["outcome"] != Action.FORWARD.word:
                counts[verdict["outcome"]] += 1
            if "error" in verdict:
                self.errors[verdict["error"]] += 1

    @property
    def exit_code(self) -> int:
        """1 if something was found, 2 if nothing was, but not all could be judged; as of ``safeguard check``."""
        return 1 if self.found else 2 if self.undecided else 0

    def summary(self) -> dict[str, Any]:
        """As the command prints it."""
        return {
            "rows": self.rows,
            "actions": {action.word: self.actions[action.word] for action in Action},
            "found": self.found,
            "undecided": self.undecided,
            "policies": {name: dict(sorted(counts.items())) for name, counts in self.policies.items()},
            "errors": dict(sorted(self.errors.items())),
        }

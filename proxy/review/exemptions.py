"""The exceptions in memory: asked while a request waits, kept fresh from the queue by its thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from proxy.review.item import Exemption
from rules.policy import Policy

STALE_S = 15.0
"""When the queue could not be read for so long, nothing is excepted any more: what was revoked meanwhile is not known."""


@dataclass(slots=True)
class Exemptions:
    """What `rules.exceptions.Exceptions` asks for.

    One thread puts a new table in place of the old one, others read: neither waits for the other.

    Attributes:
        key: Of the fingerprints.
        clock: Microseconds since 1970.
        monotonic: Seconds.
    """

    clock: Callable[[], int]
    key: bytes = field(default=b"", repr=False)
    monotonic: Callable[[], float] = time.monotonic
    _table: dict[tuple[str, str], list[Exemption]] = field(default_factory=dict, repr=False)
    _fresh_at: float = float("-inf")

    def take(self, those: Sequence[Exemption]) -> None:
        """Apply these from now on, and no others."""
        table: dict[tuple[str, str], list[Exemption]] = {}
        for exemption in those:
            table.setdefault((exemption.policy, exemption.fingerprint), []).append(exemption)
        self._table = table
        self.still_fresh()

    def still_fresh(self) -> None:
        """Nothing has changed in the queue."""
        self._fresh_at = self.monotonic()

    def find(self, policy: Policy, fingerprint: str) -> str | None:
        """See `rules.exceptions.Exceptions`."""
        those = self._table.get((policy.name, fingerprint))
        if not those or self.monotonic() - self._fresh_at > STALE_S:
            return None
        now = self.clock()
        found = (e for e in those if e.applies(now) and e.covers(policy.name, policy.revision))
        return next((str(exemption.id) for exemption in found), None)

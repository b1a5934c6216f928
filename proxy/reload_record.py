"""What has become of the attempts to read the configuration again: for ``/readyz`` and ``/metrics``."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from proxy.audit.entry import moment
from proxy.generations import Generations


class Outcome(StrEnum):
    """How an attempt ended."""

    TAKEN = "taken"
    """The new configuration judges."""
    UNCHANGED = "unchanged"
    """It says what the old one said."""
    REFUSED = "refused"
    """It cannot be used; the old one goes on."""


@dataclass(slots=True)
class ReloadRecord:
    """The attempts so far.

    Attributes:
        counts: How often an attempt ended how.
        last: How the last one ended; None: there was none.
        last_error: Why the last one was refused, in one line; None: it was not.
        last_at: When it ended, as ISO 8601 in UTC.
    """

    counts: Counter[Outcome] = field(default_factory=lambda: Counter(dict.fromkeys(Outcome, 0)))
    last: Outcome | None = None
    last_error: str | None = None
    last_at: str | None = None

    def note(self, outcome: Outcome, error: str | None = None) -> None:
        """An attempt has ended."""
        self.counts[outcome] += 1
        self.last, self.last_error = outcome, error
        self.last_at = moment(time.time_ns() // 1000)


class ReloadMetrics(Collector):
    """The same for ``/metrics``.

    Args:
        record: The attempts.
        serving: The configurations.
    """

    def __init__(self, record: ReloadRecord, serving: Generations) -> None:
        self._record = record
        self._serving = serving

    def collect(self) -> Iterator[Metric]:
        """The counters as they are now."""
        reloads = CounterMetricFamily(
            "safeguard_reloads", "Attempts to read the configuration again, by outcome.", labels=["outcome"]
        )
        for outcome, count in self._record.counts.items():
            reloads.add_metric([outcome.value], count)
        yield reloads
        refused = self._record.last is Outcome.REFUSED
        yield GaugeMetricFamily(
            "safeguard_reload_refused", "Whether the last attempt was refused and an older one judges.", value=refused
        )
        info = GaugeMetricFamily("safeguard_configuration_info", "What judges now.", labels=["revision"])
        info.add_metric([self._serving.loaded.configuration], 1)
        yield info
        yield GaugeMetricFamily(
            "safeguard_configurations_ending", "Earlier ones that still have requests.", value=self._serving.n_ending
        )

"""What ``/metrics`` says about the audit, read from it when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from proxy.audit.audit import Audit


class AuditMetrics(Collector):
    """Counters of an audit. One unit is one write to a record: most decisions are one."""

    def __init__(self, audit: Audit) -> None:
        self._audit = audit

    def collect(self) -> Iterator[Metric]:
        """The counters as they are now."""
        counts = self._audit.counts
        entries = CounterMetricFamily("safeguard_audit_entries", "Writes to records, by outcome.", labels=["outcome"])
        entries.add_metric(["written"], counts.written)
        entries.add_metric(["failed"], counts.failed)
        yield entries
        yield CounterMetricFamily("safeguard_audit_batches", "Groups of them that were written.", counts.batches)
        yield CounterMetricFamily(
            "safeguard_audit_write_seconds", "Time that the groups took to be written.", counts.write_s
        )
        yield GaugeMetricFamily("safeguard_audit_waiting", "Writes that wait for the disk.", self._audit.waiting)
        yield GaugeMetricFamily(
            "safeguard_audit_healthy", "Whether the last group could be written.", int(self._audit.healthy)
        )

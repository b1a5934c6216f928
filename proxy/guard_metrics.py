"""What ``/metrics`` says about guards, read from them when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from models.engine import Engine
from models.verdict_cache import CachedEngine


class GuardMetrics(Collector):
    """Counters of the verdict caches, by guard. One unit is one policy's verdict on one content.

    Args:
        engines: All guards by name; those without a cache have no counters.
    """

    def __init__(self, engines: Mapping[str, Engine]) -> None:
        self._cached = {name: engine for name, engine in sorted(engines.items()) if isinstance(engine, CachedEngine)}

    def collect(self) -> Iterator[Metric]:
        """The counters as they are now."""
        hits = CounterMetricFamily(
            "safeguard_verdict_cache_hits", "Verdicts that were remembered, by guard.", labels=["guard"]
        )
        misses = CounterMetricFamily(
            "safeguard_verdict_cache_misses", "Verdicts that the guard was asked for.", labels=["guard"]
        )
        joins = CounterMetricFamily(
            "safeguard_verdict_cache_joins", "Verdicts that were already being asked for by another call.",
            labels=["guard"],
        )  # fmt: skip
        entries = GaugeMetricFamily("safeguard_verdict_cache_entries", "Verdicts that are kept.", labels=["guard"])
        for name, engine in self._cached.items():
            hits.add_metric([name], engine.counts.hits)
            misses.add_metric([name], engine.counts.misses)
            joins.add_metric([name], engine.counts.joins)
            entries.add_metric([name], len(engine))
        yield from (hits, misses, joins, entries)

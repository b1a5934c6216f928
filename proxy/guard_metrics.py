"""What ``/metrics`` says about guards, read from them when it is asked for: nothing is counted here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from models.engine import Engine
from models.host import LocalEngine
from models.verdict_cache import CachedEngine


class GuardMetrics(Collector):
    """Counters of the verdict caches and of local guards, by guard.

    Args:
        engines: Gives the guards that judge now, by name; those without a cache, or without a process here, have less to tell.
    """

    def __init__(self, engines: Callable[[], Mapping[str, Engine]]) -> None:
        self._engines = engines

    def collect(self) -> Iterator[Metric]:
        """The counters as they are now."""
        cached: dict[str, CachedEngine] = {}
        local: dict[str, LocalEngine] = {}
        for name, engine in sorted(self._engines().items()):
            inner = engine
            if isinstance(engine, CachedEngine):
                cached[name], inner = engine, engine.inner
            if isinstance(inner, LocalEngine):
                local[name] = inner
        yield from self._of_caches(cached)
        yield from self._of_processes(local)
        yield self._verdicts(local)

    def _of_caches(self, cached: Mapping[str, CachedEngine]) -> Iterator[Metric]:
        """One unit is one policy's verdict on one content."""
        hits = _counter("safeguard_verdict_cache_hits", "Verdicts that were remembered, by guard.")
        misses = _counter("safeguard_verdict_cache_misses", "Verdicts that the guard was asked for.")
        joins = _counter("safeguard_verdict_cache_joins", "Verdicts that were already being asked for by another call.")
        entries = _gauge("safeguard_verdict_cache_entries", "Verdicts that are kept.")
        for name, engine in cached.items():
            hits.add_metric([name], engine.counts.hits)
            misses.add_metric([name], engine.counts.misses)
            joins.add_metric([name], engine.counts.joins)
            entries.add_metric([name], len(engine))
        yield from (hits, misses, joins, entries)

    def _of_processes(self, local: Mapping[str, LocalEngine]) -> Iterator[Metric]:
        """What guard processes have done and have to do; what they computed is as of their last answers."""
        tokens = _counter("safeguard_guard_tokens", "Tokens that llama.cpp has computed, canaries included.")
        calls = _counter("safeguard_guard_llama_calls", "Calls of llama.cpp; tokens by calls is the mean batch.")
        seconds = _counter("safeguard_guard_llama_seconds", "Time inside of llama.cpp.")
        restarts = _counter("safeguard_guard_restarts", "Guard processes that died and were replaced.")
        waiting = _gauge("safeguard_guard_queue_length", "Calls that wait, in front of the guard process or in it.")
        inside = _gauge("safeguard_guard_jobs", "Calls that the guard process has.")
        for name, guard in local.items():
            usage = guard.usage
            tokens.add_metric([name], usage.n_tokens)
            calls.add_metric([name], usage.n_calls)
            seconds.add_metric([name], usage.seconds)
            restarts.add_metric([name], guard.restarts)
            waiting.add_metric([name], guard.queue_length)
            inside.add_metric([name], guard.n_in_process)
        yield from (tokens, calls, seconds, restarts, waiting, inside)

    def _verdicts(self, local: Mapping[str, LocalEngine]) -> Metric:
        verdicts = CounterMetricFamily(
            "safeguard_guard_verdicts",
            "Verdicts that a guard has worked for, by tier; errors are none.",
            labels=["guard", "tier"],
        )
        for name, guard in local.items():
            for tier, count in guard.verdicts.items():
                verdicts.add_metric([name, tier.value], count)
        return verdicts


def _counter(name: str, text: str) -> CounterMetricFamily:
    return CounterMetricFamily(name, text, labels=["guard"])


def _gauge(name: str, text: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, labels=["guard"])

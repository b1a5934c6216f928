"""What ``/metrics`` says about the review queue, as the proxy last read it."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from proxy.review.review import Review


class ReviewMetrics(Collector):
    """Gauges of a review queue, whoever has written to it."""

    def __init__(self, review: Review) -> None:
        self._review = review

    def collect(self) -> Iterator[Metric]:
        """The numbers as they are now."""
        review, counts = self._review, self._review.counts
        items = GaugeMetricFamily("safeguard_review_items", "Items in the queue, by what people say.", labels=["state"])
        oldest = GaugeMetricFamily("safeguard_review_oldest_pending_seconds", "Age of the oldest pending item.")
        exceptions = GaugeMetricFamily("safeguard_review_exceptions", "Exceptions that apply.")
        if counts is not None:
            for state, n in counts.by_state.items():
                items.add_metric([state.value], n)
            since = counts.oldest_pending_us
            oldest.add_metric([], 0.0 if since is None else max(0.0, (review.queue.clock() - since) / 1_000_000))
            exceptions.add_metric([], counts.exceptions)
        yield from (items, oldest, exceptions)
        yield GaugeMetricFamily("safeguard_review_held", "Requests that wait for a reviewer now.", review.n_held)
        yield CounterMetricFamily("safeguard_review_failed", "Items that could not be written.", review.failed)
        yield GaugeMetricFamily(
            "safeguard_review_healthy",
            "Whether the queue could be written and read last.",
            int(review.last_error is None),
        )

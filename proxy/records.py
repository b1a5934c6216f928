"""What is on record: one canonical log line per request, and counters. Never content."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram

from rules.decision import Decision, Earlier, Verdict

log = structlog.get_logger("safeguard")

MAX_LISTED = 100
"""A record names at most so many parts that were not judged, and so many that were not seen."""


class Metrics:
    """Counters of one gateway, in a registry of their own. Label values come from the configuration only."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "safeguard_requests_total", "Answers by route, endpoint and status.", ["route", "endpoint", "status"],
            registry=self.registry,
        )  # fmt: skip
        self.decisions = Counter(
            "safeguard_decisions_total", "Decisions by route, stage and action.", ["route", "stage", "action"],
            registry=self.registry,
        )  # fmt: skip
        self.verdicts = Counter(
            "safeguard_verdicts_total", "Verdicts by route, policy and what they ask for.", ["route", "policy", "outcome"],
            registry=self.registry,
        )  # fmt: skip
        self.cascades = Counter(
            "safeguard_cascade_total", "What came of earlier guards of cascades.", ["route", "policy", "guard", "outcome"],
            registry=self.registry,
        )  # fmt: skip
        self.unjudged = Counter(
            "safeguard_unjudged_total", "Parts that crossed or were decided without a verdict.", ["route"],
            registry=self.registry,
        )  # fmt: skip
        self.exceptions = Counter(
            "safeguard_exceptions_applied_total", "Verdicts that asked for nothing because of an exception.",
            ["route", "policy"], registry=self.registry,
        )  # fmt: skip
        self.wasted = Counter(
            "safeguard_wasted_calls_total", "Upstream calls that began early (overlap) and were refused.", ["route"],
            registry=self.registry,
        )  # fmt: skip
        self.seconds = Histogram(
            "safeguard_screen_seconds", "Time to screen one stage.", ["route", "stage"],
            buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30), registry=self.registry,
        )  # fmt: skip
        # `labels` takes a lock and makes its child's key anew each time; there are few children, all live as long as we
        self._request = cache(self.requests.labels)
        self._decision = cache(self.decisions.labels)
        self._verdict = cache(self.verdicts.labels)
        self._cascade = cache(self.cascades.labels)
        self._seconds = cache(self.seconds.labels)

    def count_request(self, route: str, endpoint: str, status: int) -> None:
        """Count one answer."""
        self._request(route, endpoint, status).inc()

    def count_wasted(self, route: str) -> None:
        """Count one upstream call that began while its request was judged, and was refused."""
        self.wasted.labels(route).inc()

    def count(self, route: str, decision: Decision, seconds: float) -> None:
        """Count one decision with its verdicts."""
        self._decision(route, decision.stage, decision.action.word).inc()
        self._seconds(route, decision.stage).observe(seconds)
        if decision.unjudged:
            self.unjudged.labels(route).inc(len(decision.unjudged))
        for verdict in decision.verdicts:
            self._verdict(route, verdict.rule.policy.name, outcome(verdict)).inc()
            for earlier in verdict.earlier:
                self._cascade(route, verdict.rule.policy.name, earlier.guard, earlier.step).inc()
            if verdict.excepted is not None:
                self.exceptions.labels(route, verdict.rule.policy.name).inc()


def outcome(verdict: Verdict) -> str:
    """A verdict in one word: an action, ``error`` or ``skipped``."""
    if verdict.error is not None:
        return "error"
    return "skipped" if verdict.score is None else verdict.action.word


def verdict_record(verdict: Verdict) -> dict[str, Any]:
    """One verdict as it stands in the log: what judged, by which policy revision, with which result."""
    rule = verdict.rule
    record: dict[str, Any] = {
        "policy": rule.policy.name,
        "revision": rule.policy.revision,
        "mode": str(rule.mode),
        "outcome": outcome(verdict),
        "score": None if verdict.score is None else round(verdict.score, 6),
        "thresholds": rule.thresholds_by_word,
        "tier": str(verdict.tier) if verdict.tier is not None else None,
        "model": verdict.model,
        "latency_ms": round(verdict.latency_ms, 3),
        "cached": verdict.cached,
    }
    if verdict.earlier:
        record["cascade"] = [_earlier_record(e) for e in verdict.earlier]
    if rule.basis:
        record["basis"] = rule.basis
    if verdict.error is not None:
        record["error"] = verdict.error
    elif not verdict.calibrated:
        record["calibrated"] = False
    if verdict.excepted is not None:
        record["excepted"] = verdict.excepted
    if verdict.ruling is not None:
        record["ruling"] = str(verdict.ruling)
    return record


def _earlier_record(earlier: Earlier) -> dict[str, Any]:
    """What an earlier guard of a cascade said, and the limit under which it would have passed."""
    record: dict[str, Any] = {"guard": earlier.guard, "outcome": earlier.step.value}
    if earlier.score is None or earlier.pass_below is None:
        record["error"] = earlier.error
    else:
        record |= {"score": round(earlier.score, 6), "pass_below": round(earlier.pass_below, 6)}
    return record | {"latency_ms": round(earlier.latency_ms, 3)}


def decision_record(decision: Decision) -> dict[str, Any]:
    """One decision as it stands in the log, without its id."""
    record: dict[str, Any] = {
        "action": decision.action.word,
        "verdicts": [verdict_record(v) for v in decision.verdicts],
    }
    if decision.cause is not None:
        record["cause"] = str(decision.cause)
    if decision.policies:
        record["policies"] = list(decision.policies)
    return record | listed("unjudged", decision.unjudged)


def listed(name: str, parts: Iterable[str]) -> dict[str, Any]:
    """A list of a record; nothing if it is empty, and only counted (``…_left_out``) from `MAX_LISTED` on."""
    every = list(parts)
    record: dict[str, Any] = {name: every[:MAX_LISTED]} if every else {}
    if len(every) > MAX_LISTED:
        record[f"{name}_left_out"] = len(every) - MAX_LISTED
    return record


def log_shadow(route: str, decision_id: str, verdicts: Sequence[dict[str, Any]]) -> None:
    """The line of rules in shadow, written after the request went its way; verdicts as `verdict_record` shows them."""
    log.info("shadow", route=route, decision_id=decision_id, verdicts=verdicts)

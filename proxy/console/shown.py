"""Records, rules and guards as pages show them: numbers are formatted here, words are escaped in the templates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from proxy.audit.entry import policies_of
from proxy.audit.store import Record
from proxy.console.cascades import earlier_facts
from proxy.console.judged import BINS, Histogram

WIDTH = 200
"""Of a bar, in units of its drawing."""

HEIGHT = 60
"""Of a histogram."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A threshold on a bar."""

    action: str
    value: str
    x: float


@dataclass(frozen=True, slots=True)
class Row:
    """A decision in the list."""

    seq: int
    decision_id: str
    href: str
    moment: str
    time: str
    route: str
    stage: str
    action: str
    note: str
    policies: Sequence[str]
    answer: str
    ms: str


def row(record: Record) -> Row:
    """A record as a line."""
    state = record.get("state", "")
    action = record.get("action", "")
    notes = [state if state != "decided" else "", record.get("cause", "") if record.get("cause") != "violation" else ""]
    return Row(
        seq=record["seq"],
        decision_id=record["decision_id"],
        href="/console/decision?" + urlencode({"id": record["decision_id"]}),
        moment=record["time"],
        time=clock_time(record["time"]),
        route=record.get("route", ""),
        stage=record.get("stage", ""),
        action=action,
        note=", ".join(n for n in notes if n),
        policies=policies_of(record),
        answer=" ".join(str(record[name]) for name in ("status", "error") if name in record),
        ms=milliseconds(record.get("screen_ms")),
    )


def clock_time(moment: str) -> str:
    """``2026-11-28T12:52:53.123456Z`` as ``11-28 12:52:53.123``."""
    return moment[5:23].replace("T", " ")


def milliseconds(value: float | None) -> str:
    """A duration in about three digits."""
    if value is None:
        return ""
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}"


@dataclass(frozen=True, slots=True)
class Bar:
    """A verdict with its score beside the thresholds."""

    policy: str
    href: str
    mode: str
    outcome: str
    error: str
    score: str
    x: float | None
    ticks: Sequence[Tick]
    facts: Sequence[tuple[str, str]]
    rationale: str | None


def bars(record: Record, rationales: dict[str, Any] | None = None) -> list[Bar]:
    """All verdicts of a record, those in shadow last."""
    return [bar(v, rationales or {}) for v in (*record.get("verdicts", ()), *record.get("shadow", ()))]


def bar(verdict: Record, rationales: dict[str, Any]) -> Bar:
    """One verdict."""
    score = verdict.get("score")
    facts = [
        ("tier", verdict.get("tier") or ""),
        ("model", verdict.get("model") or ""),
        ("revision", verdict.get("revision", "")),
        ("latency", f"{milliseconds(verdict['latency_ms'])} ms" if "latency_ms" in verdict else ""),
        ("remembered", "yes, from the cache of verdicts" if verdict.get("cached") else ""),
    ]
    facts += earlier_facts(verdict)
    if "ruling" in verdict:
        facts.append(("a reviewer", f"{verdict['ruling']} it, whatever the score"))
    if "excepted" in verdict:
        facts.append(("exception", f"{verdict['excepted']}, so it asked for nothing"))
    if score is not None and verdict.get("tier") != "detector":
        facts.insert(1, ("calibrated", "yes" if verdict.get("calibrated", True) else "no: the score is no probability"))
    rationale = rationales.get(verdict["policy"])
    return Bar(
        policy=verdict["policy"],
        href="/console/policy?" + urlencode({"name": verdict["policy"]}),
        mode=verdict.get("mode", ""),
        outcome=verdict["outcome"],
        error=verdict.get("error", ""),
        score="" if score is None else f"{score:.3f}",
        x=None if score is None else _x(score),
        ticks=ticks(verdict.get("thresholds") or {}),
        facts=[(name, value) for name, value in facts if value],
        rationale=rationale if isinstance(rationale, str) else None,
    )


def ticks(thresholds: dict[str, float]) -> list[Tick]:
    """Thresholds by action, on a bar."""
    return [Tick(action, f"{value:g}", _x(value)) for action, value in thresholds.items()]


def _x(score: float) -> float:
    return round(min(max(score, 0.0), 1.0) * WIDTH, 2)


@dataclass(frozen=True, slots=True)
class Column:
    """One bar of a histogram."""

    x: float
    y: float
    width: float
    height: float
    text: str


def columns(found: Histogram) -> list[Column]:
    """The bars. Their heights go by the square root: most scores lie at the ends, and a few in the middle matter."""
    most = max(found.counts, default=0)
    width = WIDTH / BINS
    out = []
    for i, n in enumerate(found.counts):
        height = round(max((n / most) ** 0.5 * HEIGHT, 1.0), 2) if n else 0.0
        text = f"{i / BINS:.2f} to {(i + 1) / BINS:.2f}: {n:,}"
        out.append(Column(round(i * width + 0.5, 2), HEIGHT - height, width - 1, height, text))
    return out

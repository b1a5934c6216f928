"""Sinks and records for tests of the audit."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from proxy.audit.entry import Entry, PolicyText, moment
from proxy.audit.jsonl import JsonLinesSink
from proxy.audit.sqlite import SqliteSink
from proxy.audit.store import DAY_US, AuditError, AuditSink, Folder, Record, Retention

T0 = 1_790_000_000_000_000
"""When the first record of a test is made, in microseconds."""


class Gate:
    """Where writes wait until a test lets them through, one by one or all."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._permits = 0
        self._is_open = False
        self.arrived = threading.Semaphore(0)
        """Released each time when a write has come here."""

    def pass_through(self) -> None:
        self.arrived.release()
        with self._changed:
            assert self._changed.wait_for(lambda: self._is_open or self._permits, 30), "nobody lets the write through"
            self._permits -= not self._is_open

    def let_one(self) -> None:
        with self._changed:
            self._permits += 1
            self._changed.notify_all()

    def set(self) -> None:
        with self._changed:
            self._is_open = True
            self._changed.notify_all()


@dataclass(slots=True)
class ScriptedSink:
    """A sink that waits at a gate before it writes, and fails when it is told to."""

    gate: Gate = field(default_factory=Gate)
    error: str | None = None
    last_seq: int = 0
    batches: list[list[Entry]] = field(default_factory=list)
    policies: list[PolicyText] = field(default_factory=list)
    probed: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    """Released each time before a probe."""
    is_open: bool = False

    def open(self) -> int:
        self.is_open = True
        return self.last_seq

    def write(self, entries: Sequence[Entry]) -> None:
        self.gate.pass_through()
        self._fail()
        self.batches.append(list(entries))

    def keep_policies(self, policies: Sequence[PolicyText]) -> None:
        self._fail()
        self.policies += policies

    def tidy(self, now_us: int) -> bool:
        return False

    def probe(self) -> None:
        self.probed.release()
        self._fail()

    def close(self) -> None:
        self.is_open = False

    def _fail(self) -> None:
        if self.error is not None:
            raise AuditError(self.error)

    @property
    def records(self) -> dict[str, Record]:
        """What has been written, whole, by decision id."""
        out: dict[str, Record] = {}
        for batch in self.batches:
            for entry in batch:
                assert entry.is_first is (entry.decision_id not in out)
                out[entry.decision_id] = {**out.get(entry.decision_id, {}), **entry.fields}
        return out


def opened() -> ScriptedSink:
    """A sink whose gate is open."""
    sink = ScriptedSink()
    sink.gate.set()
    return sink


def first(n: int, *, keeps: dict[str, Any] | None = None, at_us: int | None = None, **fields: Any) -> Entry:
    """The ``n``-th record of a test, a second after the one before it; with the content that it keeps."""
    time_us = T0 + n * 1_000_000 if at_us is None else at_us
    request, stage = f"{n:032x}", fields.pop("stage", "input")
    decision_id = f"{request}-{stage}"
    whole = {
        "seq": time_us,
        "decision_id": decision_id,
        "request_id": request,
        "time": moment(time_us),
        "route": "shop",
        "stage": stage,
        "endpoint": "/v1/chat/completions",
        "state": "decided",
        "action": "forward",
        "verdicts": [],
        **fields,
    }
    return Entry(time_us, decision_id, True, moment(time_us), whole, keeps)


def later(entry: Entry, *, keeps: dict[str, Any] | None = None, **fields: Any) -> Entry:
    """An addition to a record."""
    whole = {"seq": entry.seq, "decision_id": entry.decision_id, **fields}
    return Entry(entry.seq, entry.decision_id, False, entry.time, whole, keeps)


def verdict(policy: str, outcome: str, **more: Any) -> dict[str, Any]:
    return {"policy": policy, "revision": "0123456789ab", "mode": "enforce", "outcome": outcome, **more}


@dataclass(slots=True)
class Clock:
    """A wall clock that stands still until a test moves it."""

    now_us: int = T0

    def __call__(self) -> int:
        return self.now_us

    def pass_days(self, days: float) -> None:
        self.now_us += int(days * DAY_US)


def sink_of(
    store: str,
    folder: Path,
    *,
    clock: Clock | None = None,
    content_days: int = 30,
    record_days: int | None = None,
    rotate_bytes: int = 1 << 30,
    sync: bool = False,
) -> AuditSink:
    """A sink of a kind of store."""
    retention = Retention(content_days, record_days)
    if store == "sqlite":
        return SqliteSink(Folder(folder), sync=sync, retention=retention)
    return JsonLinesSink(
        Folder(folder),
        sync=sync,
        rotate_bytes=rotate_bytes,
        rotate_s=86_400,
        retention=retention,
        clock=clock or Clock(),
    )

"""The writer: who waits is told when his record is there, groups are written as one, and a full disk is no end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import structlog

from proxy.audit import audit as audit_module
from proxy.audit.audit import Audit
from proxy.audit.entry import PolicyText
from proxy.audit.opening import reader_of
from proxy.audit.store import AuditError, AuditTimeout, Filter, Folder
from tests.proxy.audit.sinks import ScriptedSink, first, later, opened, sink_of


@asynccontextmanager
async def writing(sink: ScriptedSink) -> AsyncIterator[Audit]:
    audit = Audit(sink, Folder(Path("unused")))
    await audit.start()
    try:
        yield audit
    finally:
        sink.gate.set()
        await audit.close()
    assert not sink.is_open


async def test_who_waits_goes_on_when_his_record_is_written_and_not_before() -> None:
    sink = ScriptedSink()
    async with writing(sink) as audit, asyncio.TaskGroup() as group:
        waiting = group.create_task(audit.write([first(1)]))
        await asyncio.to_thread(sink.gate.arrived.acquire)
        assert not waiting.done()
        assert audit.waiting == 1
        sink.gate.set()
        await waiting
        assert [[e.seq for e in batch] for batch in sink.batches] == [[first(1).seq]]
        assert (audit.waiting, audit.counts.written, audit.counts.batches) == (0, 1, 1)


async def test_what_comes_during_a_write_is_written_together() -> None:
    sink = ScriptedSink()
    async with writing(sink) as audit:
        async with asyncio.TaskGroup() as group:
            group.create_task(audit.write([first(0)]))
            await asyncio.to_thread(sink.gate.arrived.acquire)
            for n in range(1, 20):
                group.create_task(audit.write([first(n)]))
            await asyncio.sleep(0)
            audit.submit([later(first(0), status=200)])
            sink.gate.set()
        await asyncio.sleep(0)
        assert [len(batch) for batch in sink.batches] == [1, 20]
        assert [e.seq for e in sink.batches[1]] == [*(first(n).seq for n in range(1, 20)), first(0).seq]


async def test_the_event_loop_does_not_wait_for_the_disk() -> None:
    sink = ScriptedSink()
    async with writing(sink) as audit, asyncio.TaskGroup() as group:
        group.create_task(audit.write([first(1)]))
        await asyncio.to_thread(sink.gate.arrived.acquire)
        for _ in range(1000):
            await asyncio.sleep(0)
        assert sink.batches == []
        sink.gate.set()


async def test_a_failed_write_is_told_to_all_who_wait_for_it_and_the_next_is_tried() -> None:
    sink = opened()
    async with writing(sink) as audit:
        sink.error = "/audit: No space left on device"
        outcomes = await asyncio.gather(*(audit.write([first(n)]) for n in range(3)), return_exceptions=True)
        assert [str(o) for o in outcomes] == ["/audit: No space left on device"] * 3
        assert not audit.healthy
        assert audit.last_error == "/audit: No space left on device"
        assert (audit.counts.failed, audit.counts.written) == (3, 0)
        sink.error = None
        await audit.write([first(4)])
        assert audit.healthy
        assert [[e.seq for e in b] for b in sink.batches] == [[first(4).seq]]


async def test_a_disk_that_works_again_is_noticed_without_a_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_module, "PROBE_EVERY_S", 0.001)
    works = asyncio.Event()
    note = Audit._note

    def noted(audit: Audit, error: str | None) -> None:
        note(audit, error)
        if error is None:
            works.set()

    monkeypatch.setattr(Audit, "_note", noted)
    sink = opened()
    async with writing(sink) as audit:
        sink.error = "full"
        with pytest.raises(AuditError, match="full"):
            await audit.write([first(1)])
        for _ in range(3):
            await asyncio.to_thread(sink.probed.acquire)
        assert not audit.healthy
        sink.error = None
        async with asyncio.timeout(10):
            await works.wait()
        assert audit.healthy


async def test_a_mistake_in_a_sink_fails_its_records_and_no_others() -> None:
    class Broken(ScriptedSink):
        def _fail(self) -> None:
            if self.error is not None:
                raise KeyError(self.error)

    sink = Broken()
    sink.gate.set()
    async with writing(sink) as audit:
        sink.error = "ZQ-MARK-7781"
        with pytest.raises(AuditError, match=r"^internal error: KeyError$"):
            await audit.write([first(1)])
        sink.error = None
        await audit.write([first(2)])


async def test_a_disk_that_does_not_answer_holds_nobody_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_module, "TIMEOUT_S", 0.02)
    sink = ScriptedSink()
    async with writing(sink) as audit:
        with pytest.raises(AuditTimeout, match="does not answer"):
            await audit.write([first(1)])
        assert not audit.healthy
        with pytest.raises(AuditError, match="does not answer"):  # at once, and without adding to the queue
            await audit.write([first(2)])
        assert audit.waiting == 1
        monkeypatch.setattr(audit_module, "TIMEOUT_S", 10.0)
        sink.gate.set()
        await audit._idle.wait()
        await audit.write([first(3)])
        assert audit.healthy
        assert [e.seq for batch in sink.batches for e in batch] == [first(1).seq, first(3).seq]


async def test_more_than_fits_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_module, "MAX_WAITING", 2)
    sink = ScriptedSink()
    async with writing(sink) as audit:
        audit.submit([first(0)])
        await asyncio.to_thread(sink.gate.arrived.acquire)
        for n in (1, 2, 3):
            audit.submit([first(n)])
        with pytest.raises(AuditError, match="more than 2 records wait"):
            await audit.write([first(4)])
        assert audit.counts.failed == 2


async def test_who_leaves_while_he_waits_disturbs_nobody() -> None:
    sink = ScriptedSink()
    async with writing(sink) as audit, asyncio.TaskGroup() as group:
        leaving = group.create_task(audit.write([first(1)]))
        staying = group.create_task(audit.write([first(2)]))
        await asyncio.to_thread(sink.gate.arrived.acquire)
        leaving.cancel()
        await asyncio.sleep(0)
        sink.gate.set()
        await staying
        assert len(sink.batches[0]) == 2


async def test_closing_writes_what_waits() -> None:
    sink = ScriptedSink()
    audit = Audit(sink, Folder(Path("unused")))
    await audit.start()
    audit.submit([first(1)])
    await asyncio.to_thread(sink.gate.arrived.acquire)
    audit.submit([first(2)])
    async with asyncio.TaskGroup() as group:
        group.create_task(audit.close())
        await asyncio.sleep(0)
        sink.gate.set()
    assert [len(b) for b in sink.batches] == [1, 1]
    assert not sink.is_open
    await audit.close()


async def test_numbers_grow_whatever_the_clock_says() -> None:
    audit = Audit(opened(), Folder(Path("unused")))
    times = iter([500, 500, 400, 600])
    audit.clock = lambda: next(times)
    audit._last_seq = 450
    assert [audit.next_seq() for _ in range(4)] == [(500, 500), (501, 500), (502, 400), (600, 600)]


async def test_numbers_go_on_after_a_restart() -> None:
    sink = opened()
    sink.last_seq = 1 << 60
    async with writing(sink) as audit:
        assert audit.next_seq()[0] == (1 << 60) + 1


async def test_subscribers_see_what_is_on_record_and_nothing_else() -> None:
    sink = opened()
    async with writing(sink) as audit:
        await audit.write([first(0)])
        with audit.subscribe() as live:
            sink.error = "full"
            with pytest.raises(AuditError):
                await audit.write([first(1)])
            sink.error = None
            await audit.write([first(2)])
            await audit.write([later(first(2), status=200)])
            async with asyncio.timeout(10):
                seen = [await anext(live) for _ in range(2)]
        await audit.write([first(3)])
        assert [(e.seq, e.is_first) for e in seen] == [(first(2).seq, True), (first(2).seq, False)]
        assert audit._subscriptions == []


async def test_a_subscriber_that_does_not_keep_up_misses_the_oldest() -> None:
    async with writing(opened()) as audit:
        with audit.subscribe(maxsize=3) as slow, audit.subscribe() as fast:
            for n in range(5):
                await audit.write([first(n)])
            async with asyncio.timeout(10):
                assert [(await anext(slow)).seq for _ in range(3)] == [first(n).seq for n in (2, 3, 4)]
                assert [(await anext(fast)).seq for _ in range(5)] == [first(n).seq for n in range(5)]
            assert (slow.missed, fast.missed) == (2, 0)


async def test_policies_are_kept_at_the_start_and_when_they_change() -> None:
    sink = opened()
    texts = [PolicyText("a", f"r{i}", "A.", "t") for i in range(2)]
    audit = Audit(sink, Folder(Path("unused")))
    await audit.start(texts[:1])
    await audit.keep_policies(texts[1:])
    assert sink.policies == texts
    sink.error = "full"
    with pytest.raises(AuditError, match="full"):
        await audit.keep_policies(texts)
    await audit.close()


async def test_an_audit_that_cannot_be_opened_is_an_error_and_lets_go(tmp_path: Path) -> None:
    taken = sink_of("jsonl", tmp_path)
    taken.open()
    audit = Audit(sink_of("jsonl", tmp_path), Folder(tmp_path))
    with pytest.raises(AuditError, match="another process"):
        await audit.start()
    await audit.close()
    taken.close()


async def test_troubles_are_logged_once_and_so_is_their_end() -> None:
    sink = opened()
    with structlog.testing.capture_logs() as lines:
        async with writing(sink) as audit:
            sink.error = "full"
            for n in range(3):
                with pytest.raises(AuditError):
                    await audit.write([first(n)])
            sink.error = None
            await audit.write([first(4)])
    assert [line["event"] for line in lines] == ["audit_failed", "audit_works_again"]


@pytest.mark.parametrize("store", ["jsonl", "sqlite"])
async def test_many_writers_lose_nothing_and_keep_their_order(store: str, tmp_path: Path) -> None:
    sink = sink_of(store, tmp_path)
    audit = Audit(sink, Folder(tmp_path))
    await audit.start()
    seqs: list[int] = []

    async def client(n: int) -> None:
        for i in range(20):
            seq, _ = audit.next_seq()
            seqs.append(seq)
            await audit.write([first(n * 100 + i, at_us=seq)])

    async with asyncio.TaskGroup() as group:
        for n in range(50):
            group.create_task(client(n))
    await audit.close()
    assert [r["seq"] for r in reader_of(tmp_path).query(Filter())] == sorted(seqs, reverse=True)
    assert audit.counts.batches < len(seqs)

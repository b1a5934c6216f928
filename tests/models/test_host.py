"""The guard process as its supervisor sees it, with a real process and a scripted judge."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog
import structlog.testing

from models import catalog, memory_check
from models.attention import FlashAttention, KvType
from models.canaries import CanaryFailed
from models.engine import Canary, Effort, GuardPolicy, Passage, Score, Tier
from models.errors import (
    ContentTooLong,
    EngineError,
    EngineOverloaded,
    EngineTimeout,
    EngineUnavailable,
    VerdictError,
)
from models.host import LocalEngine, State, Timings
from models.memory import Estimate
from models.quarantine import Quarantine, Quarantined, digest
from models.shared import share
from models.specs import GuardPlan, LocalSpec
from models.usage import Usage
from models.verdict_cache import CachedEngine

COMMAND = (sys.executable, "-P", str(Path(__file__).with_name("fake_worker.py")))
QUICK = Timings(first_back_off_s=0.02, hang_grace_s=0.2, readiness_wait_s=5.0)
POLICIES = [GuardPolicy("a", "r1", "first"), GuardPolicy("b", "r2", "second policy")]

Start = Callable[..., Awaitable[LocalEngine]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Starts engines and ends them with the test."""
    engines: list[LocalEngine] = []

    async def start_engine(
        script: str = "",
        *,
        timings: Timings = QUICK,
        wait: bool = True,
        timeout_s: float = 30,
        max_queue: int = 256,
        n_at_once: int = 1,
        canaries: Sequence[Canary] = (),
    ) -> LocalEngine:
        path = tmp_path / "model.gguf"
        path.write_text(f"GGUF\n{script}")
        spec = LocalSpec("guard", "llama", str(path), timeout_s=timeout_s, max_queue=max_queue, n_at_once=n_at_once)
        engine = LocalEngine(spec, command=COMMAND, canaries=canaries, timings=timings)
        engines.append(engine)
        await engine.start()
        if wait:
            assert await engine.wait_ready(10), engine.last_error
        return engine

    yield start_engine
    for engine in engines:
        await engine.close()


async def judge(engine: LocalEngine, text: str, timeout_s: float = 10.0) -> list[Score | EngineError]:
    return await engine.judge([Passage("user", text)], POLICIES, deadline=time.monotonic() + timeout_s)


async def judge_for(engine: LocalEngine, key: str, text: str) -> list[Score | EngineError]:
    guard = share({"guard": engine}, key)["guard"]
    return await guard.judge([Passage("user", text)], POLICIES, deadline=time.monotonic() + 60)


def values(entries: list[Score | EngineError]) -> list[float]:
    return [entry.value for entry in entries if isinstance(entry, Score)]


def kinds(entries: list[Score | EngineError]) -> set[type]:
    return {type(entry) for entry in entries}


async def until(condition: Callable[[], bool], timeout_s: float = 5.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - what is waited for is often another process
            await asyncio.sleep(0.005)


def kill(engine: LocalEngine, number: int) -> int:
    pid = engine.pid
    assert pid is not None
    os.kill(pid, number)
    return pid


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


async def test_a_content_is_scored_against_every_policy_in_order(start: Start) -> None:
    engine = await start()
    entries = await judge(engine, "score 0.75")
    assert values(entries) == [0.75, 0.75]
    assert [entry.rationale for entry in entries if isinstance(entry, Score)] == ["first", "second policy"]
    assert (engine.ready, engine.model, engine.last_error) == (True, "fake@1", None)


async def test_no_policies_mean_no_entries(start: Start) -> None:
    engine = await start()
    assert await engine.judge([Passage("user", "hi")], [], deadline=time.monotonic() + 5) == []


async def test_a_large_content_crosses(start: Start) -> None:
    engine = await start()
    assert values(await judge(engine, "x" * 5_000_000 + "\nscore 0.5")) == [0.5, 0.5]


async def test_starting_returns_at_once_and_the_name_is_known_before_the_model(start: Start) -> None:
    engine = await start("slow 0.3", wait=False)
    assert engine.state is State.STARTING
    assert not engine.ready
    assert engine.model.endswith("model.gguf")
    assert engine.last_error
    assert values(await judge(engine, "score 0.5")) == [0.5, 0.5]


async def test_a_call_does_not_wait_long_for_a_guard_that_is_starting(start: Start) -> None:
    engine = await start("slow 30", wait=False, timings=Timings(readiness_wait_s=0.05))
    began = time.monotonic()
    assert kinds(await judge(engine, "hi")) == {EngineUnavailable}
    assert time.monotonic() - began < 5
    assert engine.queue_length == 0


async def test_a_deadline_that_passes_while_the_guard_starts_is_a_timeout(start: Start) -> None:
    engine = await start("slow 30", wait=False)
    assert kinds(await judge(engine, "hi", timeout_s=0.05)) == {EngineTimeout}


async def test_contents_are_judged_first_come_first_served(start: Start, tmp_path: Path) -> None:
    engine = await start()
    order: list[int] = []

    async def one(number: int) -> None:
        await judge(engine, f"sleep 0.01\nscore 0.{number}")
        order.append(number)

    async with asyncio.TaskGroup() as group:
        for number in range(6):
            group.create_task(one(number))
    assert order == sorted(order)


async def test_a_full_queue_refuses_at_once_and_starts_nothing(start: Start) -> None:
    engine = await start(max_queue=2)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(judge(engine, "sleep 20"))
        await until(lambda: bool(engine._running))
        waiting = [group.create_task(judge(engine, "score 0.5")) for _ in range(2)]
        await until(lambda: engine.queue_length == 2)
        async with asyncio.timeout(0):
            assert kinds(await judge(engine, "one too many")) == {EngineOverloaded}
        running.cancel()
    assert all(values(task.result()) == [0.5, 0.5] for task in waiting)


async def test_callers_that_wait_for_readiness_count_as_queued(start: Start) -> None:
    engine = await start("slow 30", wait=False, max_queue=1)
    async with asyncio.TaskGroup() as group:
        first = group.create_task(judge(engine, "hi"))
        await until(lambda: engine.queue_length == 1)
        assert kinds(await judge(engine, "hi")) == {EngineOverloaded}
        first.cancel()
    assert engine.queue_length == 0


async def test_the_guards_own_timeout_bounds_the_callers_deadline(start: Start) -> None:
    engine = await start(timeout_s=0.1)
    began = time.monotonic()
    assert kinds(await judge(engine, "sleep 10")) == {EngineTimeout}
    assert time.monotonic() - began < 5
    assert values(await judge(engine, "score 0.5")) == [0.5, 0.5]
    assert engine.restarts == 0


async def test_a_job_whose_deadline_passes_in_the_queue_never_reaches_the_process(start: Start, tmp_path: Path) -> None:
    engine = await start()
    async with asyncio.TaskGroup() as group:
        slow = group.create_task(judge(engine, "sleep 0.4"))
        await until(lambda: bool(engine._running))
        late = group.create_task(judge(engine, f"touch {tmp_path}/sent", timeout_s=0.05))
    assert kinds(late.result()) == {EngineTimeout}
    assert kinds(slow.result()) == {Score}
    await judge(engine, "after")
    assert not (tmp_path / "sent").exists()


async def test_a_caller_that_leaves_the_queue_is_forgotten(start: Start, tmp_path: Path) -> None:
    engine = await start()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(judge(engine, "sleep 20"))
        await until(lambda: bool(engine._running))
        leaver = group.create_task(judge(engine, f"touch {tmp_path}/sent"))
        await until(lambda: engine.queue_length == 1)
        leaver.cancel()
        await until(lambda: engine.queue_length == 0)
        assert not running.done()
        running.cancel()
    await judge(engine, "after")
    assert not (tmp_path / "sent").exists()


async def test_a_caller_that_leaves_stops_the_work(start: Start) -> None:
    engine = await start()
    async with asyncio.TaskGroup() as group:
        leaver = group.create_task(judge(engine, "sleep 20", timeout_s=20))
        await until(lambda: bool(engine._running))
        leaver.cancel()
    began = time.monotonic()
    assert values(await judge(engine, "score 0.5")) == [0.5, 0.5]
    assert time.monotonic() - began < 5
    assert engine.restarts == 0


async def test_a_killed_guard_fails_the_running_call_and_keeps_the_queue(start: Start) -> None:
    engine = await start()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(judge(engine, "sleep 20"))
        await until(lambda: bool(engine._running))
        waiting = [group.create_task(judge(engine, f"score 0.{number}")) for number in range(1, 6)]
        await until(lambda: engine.queue_length == 5)
        pid = kill(engine, signal.SIGKILL)
        assert kinds(await running) == {EngineUnavailable}
        await until(lambda: not engine.ready)
        assert "signal 9" in str(engine.last_error)
    assert [values(task.result())[0] for task in waiting] == [0.1, 0.2, 0.3, 0.4, 0.5]
    assert engine.pid != pid
    assert engine.restarts == 1
    assert engine.last_error is None


async def test_a_guard_that_dies_idle_is_restarted(start: Start) -> None:
    engine = await start()
    pid = kill(engine, signal.SIGKILL)
    await until(lambda: engine.ready and engine.pid != pid)
    assert values(await judge(engine, "score 0.5")) == [0.5, 0.5]


async def test_a_signal_to_the_whole_group_leaves_the_guard_to_the_proxy(start: Start) -> None:
    engine = await start()
    pid = kill(engine, signal.SIGTERM)
    assert values(await judge(engine, "score 0.5")) == [0.5, 0.5]
    assert engine.pid == pid


async def test_a_native_abort_is_named_with_its_last_words(start: Start) -> None:
    engine = await start(timings=Timings(first_back_off_s=30, readiness_wait_s=0.05))
    assert kinds(await judge(engine, "abort")) == {EngineUnavailable}
    await until(lambda: engine.state is State.DOWN)
    assert "signal 6" in str(engine.last_error)
    assert "GGML_ASSERT" in str(engine.last_error)
    assert kinds(await judge(engine, "while it is down")) == {EngineUnavailable}


@pytest.mark.parametrize("how", ["stopped", "stubborn"])
async def test_a_guard_that_hangs_is_killed_and_replaced(start: Start, how: str) -> None:
    engine = await start()
    pid = kill(engine, signal.SIGSTOP if how == "stopped" else signal.SIGCONT)
    began = time.monotonic()
    assert kinds(await judge(engine, "stubborn 30", timeout_s=0.2)) == {EngineTimeout}
    assert time.monotonic() - began < 5
    await until(lambda: engine.ready and engine.pid != pid)
    assert gone(pid)
    assert values(await judge(engine, "score 0.5")) == [0.5, 0.5]


async def test_a_stopped_guard_does_not_hold_back_a_large_content(start: Start) -> None:
    engine = await start()
    pid = kill(engine, signal.SIGSTOP)
    assert kinds(await judge(engine, "x" * 4_000_000, timeout_s=0.2)) == {EngineTimeout}
    await until(lambda: engine.ready and engine.pid != pid)


async def test_a_content_that_kills_the_guard_gets_one_more_try_and_is_then_refused(start: Start) -> None:
    engine = await start()
    for _ in range(2):
        assert kinds(await judge(engine, "die")) == {EngineUnavailable}
    restarts = engine.restarts
    assert kinds(await judge(engine, "die")) == {Quarantined}
    assert values(await judge(engine, "score 0.5")) == [0.5, 0.5]
    assert engine.restarts <= restarts + 1
    assert [entry.code for entry in await judge(engine, "die") if isinstance(entry, EngineError)] == ["quarantined"] * 2


async def test_copies_of_a_poison_content_in_the_queue_do_not_kill_guard_after_guard(start: Start) -> None:
    engine = await start()
    async with asyncio.TaskGroup() as group:
        group.create_task(judge(engine, "sleep 0.1"))
        await until(lambda: bool(engine._running))
        poison = [group.create_task(judge(engine, "die")) for _ in range(6)]
        innocent = group.create_task(judge(engine, "score 0.5"))
    assert values(innocent.result()) == [0.5, 0.5]
    assert engine.restarts == 2
    assert [kinds(task.result()) for task in poison] == [{EngineUnavailable}] * 2 + [{Quarantined}] * 4


async def test_a_content_that_was_not_to_blame_is_judged_on_the_next_try(start: Start, tmp_path: Path) -> None:
    engine = await start()
    text = f"die-unless {tmp_path}/now\nscore 0.5"
    assert kinds(await judge(engine, text)) == {EngineUnavailable}
    (tmp_path / "now").touch()
    assert values(await judge(engine, text)) == [0.5, 0.5]
    (tmp_path / "now").unlink()
    assert kinds(await judge(engine, text)) == {EngineUnavailable}, "it starts again with all its tries"


# A process that judges several contents at once


async def test_contents_are_judged_together_where_the_engine_can(start: Start) -> None:
    engine = await start("crowd", n_at_once=10)
    async with asyncio.TaskGroup() as group:
        calls = [group.create_task(judge(engine, "sleep 0.3")) for _ in range(8)]
        began = time.monotonic()
    assert time.monotonic() - began < 8 * 0.3
    assert max(values(call.result())[0] for call in calls) > 0.05, "the score says how many were there"


async def test_the_process_is_told_who_asks(start: Start) -> None:
    engine = await start("crowd")
    shared = share({"guard": CachedEngine(engine)}, "eu-shop")["guard"]
    (entry, _) = await shared.judge([Passage("user", "hi")], POLICIES, deadline=time.monotonic() + 5)
    assert isinstance(entry, Score)
    assert entry.rationale == "eu-shop"
    assert (shared.ready, shared.model, shared.last_error) == (True, "fake@1", None)


async def test_what_waits_in_the_process_counts_as_queued(start: Start) -> None:
    engine = await start("crowd", n_at_once=10, max_queue=2)
    calls = []
    async with asyncio.TaskGroup() as group:
        for number in range(3):
            calls.append(group.create_task(judge(engine, "sleep 20")))
            await until(lambda n=number: len(engine._running) == n + 1)  # type: ignore[misc]
        assert engine.queue_length == 2
        assert kinds(await judge(engine, "one too many")) == {EngineOverloaded}
        for call in calls:
            call.cancel()


async def test_who_fills_the_queue_is_refused_and_nobody_else(start: Start) -> None:
    engine = await start("crowd", n_at_once=3, max_queue=2)  # all that may wait does so in the process
    async with asyncio.TaskGroup() as group:
        flood = []
        for number in range(3):
            flood.append(group.create_task(judge_for(engine, "flood", "sleep 60")))
            await until(lambda n=number: engine.n_in_process == n + 1)  # type: ignore[misc]
        assert kinds(await judge_for(engine, "flood", "one too many")) == {EngineOverloaded}
        calm = group.create_task(judge_for(engine, "calm", "sleep 0"))
        await until(lambda: engine.queue_length == 3)
        assert kinds(await judge_for(engine, "calm", "more than its share")) == {EngineOverloaded}
        assert kinds(await judge_for(engine, "flood", "one too many")) == {EngineOverloaded}
        other = group.create_task(judge_for(engine, "other", "sleep 0"))
        await until(lambda: engine.queue_length == 4)
        assert engine.n_in_process == 3  # so the bound of its scheduler is never met
        flood.pop().cancel()
        assert kinds(await calm) == kinds(await other) == {Score}
        for call in flood:
            call.cancel()


async def test_whoever_asks_takes_turns(start: Start) -> None:
    engine = await start()
    order: list[str] = []

    async def one(key: str, text: str) -> None:
        assert kinds(await judge_for(engine, key, text)) == {Score}
        order.append(text)

    async with asyncio.TaskGroup() as group:
        running = group.create_task(judge_for(engine, "flood", "sleep 60"))
        await until(lambda: engine.n_in_process == 1)
        for text in ("f1", "f2", "f3", "f4"):
            group.create_task(one("flood", text))
        for text in ("c1", "c2"):
            group.create_task(one("calm", text))
        await until(lambda: engine.queue_length == 6)
        running.cancel()
    assert order == ["c1", "f1", "c2", "f2", "f3", "f4"]


async def test_however_many_ask_the_queue_is_bounded(start: Start) -> None:
    engine = await start("slow 30", wait=False, max_queue=12, timings=Timings(readiness_wait_s=60))
    admitted = []
    async with asyncio.TaskGroup() as group:
        for key in "abcd":
            before = engine.queue_length
            calls = [group.create_task(judge_for(engine, key, "hi")) for _ in range(20)]
            await asyncio.sleep(0)
            admitted.append(engine.queue_length - before)
            await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
            for call in calls:
                assert not call.done() or kinds(call.result()) == {EngineOverloaded}
        for key in "abcd":
            assert kinds(await judge_for(engine, key, "hi")) == {EngineOverloaded}
        await engine.close()
    assert admitted == [12, 6, 4, 3]


async def test_a_caller_that_leaves_a_crowd_stops_its_own_work_only(start: Start) -> None:
    engine = await start("crowd", n_at_once=10)
    async with asyncio.TaskGroup() as group:
        leaver = group.create_task(judge(engine, "sleep 20"))
        stayer = group.create_task(judge(engine, "sleep 0.3"))
        await until(lambda: len(engine._running) == 2)
        of_leaver = min(engine._running)
        leaver.cancel()
        await until(lambda: of_leaver not in engine._running)
    assert kinds(stayer.result()) == {Score}
    assert engine.restarts == 0


async def test_contents_that_a_killed_guard_judged_together_are_judged_by_the_next(start: Start) -> None:
    engine = await start("crowd", n_at_once=10)
    async with asyncio.TaskGroup() as group:
        calls = [group.create_task(judge(engine, f"sleep 0.2{number}")) for number in range(4)]
        await until(lambda: len(engine._running) == 4)
        kill(engine, signal.SIGKILL)
    assert [values(call.result()) for call in calls] == [[0.01, 0.01]] * 4, "one after the other"
    assert engine.restarts == 1
    async with asyncio.TaskGroup() as group:
        again = [group.create_task(judge(engine, f"sleep 0.2{number}")) for number in range(4)]
    assert max(values(call.result())[0] for call in again) > 0.01, "none is a suspect any more"


async def test_a_content_that_kills_the_guard_is_found_among_others(start: Start) -> None:
    engine = await start("crowd", n_at_once=10)
    for n_restarts in (2, 3):
        async with asyncio.TaskGroup() as group:
            innocent = [group.create_task(judge(engine, f"sleep 0.{number}")) for number in (1, 2, 3)]
            poison = group.create_task(judge(engine, "crash\nsleep 0.05"))
        assert all(kinds(call.result()) == {Score} for call in innocent)
        assert kinds(poison.result()) == {EngineUnavailable}
        assert engine.restarts == n_restarts, "once among others, then alone; the second time alone at once"
    assert kinds(await judge(engine, "crash\nsleep 0.05")) == {Quarantined}
    assert engine.restarts == 3


async def test_a_judge_of_many_that_fails_is_replaced_and_quotes_nothing(start: Start) -> None:
    engine = await start("crowd", n_at_once=10, timings=Timings(first_back_off_s=30))
    assert kinds(await judge(engine, "raise\nsleep 0.01")) == {EngineUnavailable}
    await until(lambda: engine.state is State.DOWN)
    assert "ValueError in step" in str(engine.last_error)
    assert "secret" not in str(engine.last_error)


async def test_a_crowd_that_hangs_is_replaced_and_who_has_time_left_is_judged(start: Start) -> None:
    engine = await start("crowd", n_at_once=10)
    pid = kill(engine, signal.SIGSTOP)
    async with asyncio.TaskGroup() as group:
        late = group.create_task(judge(engine, "sleep 0", timeout_s=0.2))
        others = [group.create_task(judge(engine, "sleep 0.01")) for _ in range(3)]
    assert kinds(late.result()) == {EngineTimeout}
    assert all(kinds(call.result()) == {Score} for call in others)
    assert gone(pid)


async def test_a_guard_that_crashes_while_loading_is_tried_again(start: Start, tmp_path: Path) -> None:
    engine = await start(f"crash-unless {tmp_path}/memory", wait=False, timings=Timings(first_back_off_s=0.01))
    await until(lambda: engine.restarts >= 2)
    (tmp_path / "memory").touch()
    assert await engine.wait_ready(10)


async def test_what_a_crashing_load_printed_is_the_reason(start: Start) -> None:
    engine = await start("crash", wait=False, timings=Timings(first_back_off_s=30))
    await until(lambda: engine.state is State.DOWN)
    assert "status 9" in str(engine.last_error)
    assert "out of memory" in str(engine.last_error)


async def test_a_loader_that_fails_is_tried_again_and_says_why(start: Start) -> None:
    engine = await start("bug", wait=False, timings=Timings(first_back_off_s=30))
    await until(lambda: engine.state is State.DOWN)
    assert "RuntimeError: no llama_cpp here" in str(engine.last_error)


async def test_a_bad_model_fails_for_good_and_calls_return_at_once(start: Start) -> None:
    engine = await start("bad", wait=False)
    assert not await engine.wait_ready(10)
    assert engine.state is State.FAILED
    assert engine.last_error == "not a model of this engine"
    async with asyncio.timeout(0):
        assert kinds(await judge(engine, "hi")) == {EngineUnavailable}
    await until(lambda: engine.pid is None)


@pytest.mark.parametrize("where", ["configuration", "record"])
async def test_a_model_with_another_hash_is_not_loaded(tmp_path: Path, where: str) -> None:
    path = tmp_path / "model.gguf"
    path.write_text("GGUF\n")
    if where == "record":
        catalog.record_sha256(path, "0" * 64)
    spec = LocalSpec("guard", "llama", str(path), sha256="0" * 64 if where == "configuration" else None)
    engine = LocalEngine(spec, command=COMMAND, timings=QUICK)
    await engine.start()
    assert not await engine.wait_ready(10)
    assert engine.state is State.FAILED
    assert "SHA-256" in str(engine.last_error)
    await engine.close()


def with_memory(monkeypatch: pytest.MonkeyPatch, available: int) -> None:
    need = Estimate(weights=2 << 30, kv_cache=0, buffers=0, process=0)
    monkeypatch.setattr(memory_check, "look", lambda spec, path: memory_check.Need(need, available))


async def test_a_model_that_does_not_fit_into_memory_fails_before_a_process_is_started(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_memory(monkeypatch, 1 << 30)
    engine = await start(wait=False)
    assert not await engine.wait_ready(10)
    assert (engine.state, engine.pid, engine.restarts) == (State.FAILED, None, 0)
    assert "needs 2.0 GiB" in str(engine.last_error)
    assert "1.0 GiB are available" in str(engine.last_error)


async def test_what_a_model_needs_is_logged_before_it_is_loaded(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    with_memory(monkeypatch, 3 << 30)
    with structlog.testing.capture_logs() as logs:
        await start()
    events = [entry["event"] for entry in logs if entry["event"] == "guard_memory" or entry.get("state") == "ready"]
    assert events == ["guard_memory", "guard_state"]
    (line,) = (entry for entry in logs if entry["event"] == "guard_memory")
    assert line["needs"].startswith("2.0 GiB (weights 2.0 GiB")
    assert line["available"] == "3.0 GiB"


async def test_without_the_check_a_model_that_does_not_fit_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_memory(monkeypatch, 1 << 30)
    path = tmp_path / "model.gguf"
    path.write_text("GGUF\n")
    engine = LocalEngine(LocalSpec("guard", "llama", str(path), check_memory=False), command=COMMAND, timings=QUICK)
    await engine.start()
    assert await engine.wait_ready(10), engine.last_error
    await engine.close()


async def test_a_guard_that_fitted_once_comes_back_when_there_is_memory_again(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_memory(monkeypatch, 3 << 30)
    engine = await start()
    with_memory(monkeypatch, 1 << 30)
    kill(engine, signal.SIGKILL)
    await until(lambda: "are available" in str(engine.last_error))
    assert engine.state is not State.FAILED
    with_memory(monkeypatch, 3 << 30)
    await until(lambda: engine.ready)


async def test_a_head_that_cannot_be_read_is_left_to_the_process(start: Start) -> None:
    with structlog.testing.capture_logs() as logs:
        assert (await start()).ready
    assert [entry["log_level"] for entry in logs if entry["event"] == "guard_memory_unknown"] == ["warning"]


async def test_a_model_that_is_not_there_fails_for_good() -> None:
    engine = LocalEngine(LocalSpec("guard", "llama", "/nowhere/model.gguf"), command=COMMAND)
    await engine.start()
    assert not await engine.wait_ready(10)
    assert "does not exist" in str(engine.last_error)
    await engine.close()


async def test_a_model_that_changed_is_hashed_again_at_the_restart(start: Start, tmp_path: Path) -> None:
    engine = await start()
    path = tmp_path / "model.gguf"
    catalog.record_sha256(path, catalog.sha256_of(path))
    path.write_text("GGUF\nother bytes")
    kill(engine, signal.SIGKILL)
    await until(lambda: engine.state is State.FAILED)


async def test_a_command_that_cannot_be_started_is_an_error_not_an_exception(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_text("GGUF\n")
    spec = LocalSpec("guard", "llama", str(tmp_path / "model.gguf"))
    engine = LocalEngine(spec, command=("/nowhere/python",), timings=Timings(first_back_off_s=30))
    await engine.start()
    await until(lambda: engine.state is State.DOWN)
    assert engine.last_error
    await engine.close()


async def test_errors_of_the_judge_are_entries_and_quote_nothing(start: Start) -> None:
    engine = await start()
    assert kinds(await judge(engine, "verdict-error")) == {VerdictError}
    (first, _) = await judge(engine, "raise")
    assert type(first) is EngineError
    assert "ValueError" in str(first)
    assert "secret" not in str(first)
    assert kinds(await judge(engine, "surrogate")) == {EngineError}
    assert engine.restarts == 0


async def test_an_answer_with_too_few_entries_is_no_verdict(start: Start) -> None:
    engine = await start()
    assert kinds(await judge(engine, "few")) == {EngineUnavailable}
    await until(lambda: engine.restarts == 1)


async def test_a_score_outside_its_range_is_no_verdict(start: Start) -> None:
    engine = await start()
    assert kinds(await judge(engine, "score 1.5")) == {EngineError}


async def test_text_that_is_not_unicode_is_no_verdict(start: Start) -> None:
    engine = await start()
    assert kinds(await judge(engine, "\ud800")) == {EngineError}


async def test_a_content_larger_than_a_frame_is_too_long(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = await start()
    monkeypatch.setattr("models.wire.MAX_FRAME_BYTES", 1000)
    assert kinds(await judge(engine, "x" * 2000)) == {ContentTooLong}
    assert kinds(await judge(engine, "x" * 990)) == {ContentTooLong}
    assert values(await judge(engine, "score 0.5")) == [0.5, 0.5]


async def test_the_guard_process_sees_none_of_the_proxys_secrets(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("GGML_TEST", "1")
    engine = await start()
    (entry, _) = await judge(engine, "env")
    assert isinstance(entry, Score)
    environment = json.loads(entry.rationale or "")
    assert "OPENAI_API_KEY" not in environment
    assert "sk-secret" not in environment.values()
    assert environment["GGML_TEST"] == "1"


async def test_the_guard_process_opens_no_connections(start: Start) -> None:
    engine = await start()
    (entry, _) = await judge(engine, "connect 9")
    assert isinstance(entry, Score)
    assert entry.rationale == "a guard process opens no network connections"


@pytest.mark.parametrize("condition", ["idle", "busy", "stubborn", "stopped", "loading", "down"])
async def test_closing_ends_the_process_within_two_seconds(start: Start, condition: str) -> None:
    script = {"loading": "slow 30", "down": "crash"}.get(condition, "")
    engine = await start(script, wait=not script, timings=Timings(first_back_off_s=30))
    async with asyncio.TaskGroup() as group:
        calls = []
        if condition in ("busy", "stubborn"):
            text = "sleep 20" if condition == "busy" else "stubborn 20"
            calls = [group.create_task(judge(engine, text)) for _ in range(3)]
            await until(lambda: bool(engine._running))
        elif condition == "down":
            await until(lambda: engine.state is State.DOWN)
        else:
            await until(lambda: engine.pid is not None)
        if condition == "stopped":
            kill(engine, signal.SIGSTOP)
        pid = engine.pid
        began = time.monotonic()
        await engine.close()
        assert time.monotonic() - began < 2
    assert all(kinds(call.result()) == {EngineUnavailable} for call in calls)
    assert pid is None or gone(pid)
    assert engine.pid is None
    assert kinds(await judge(engine, "after")) == {EngineUnavailable}


async def test_an_engine_that_was_never_started_can_be_closed() -> None:
    engine = LocalEngine(LocalSpec("guard", "llama", "m.gguf"))
    await engine.close()
    await engine.start()
    assert engine.state is State.CLOSED


async def test_the_event_loop_is_never_held_up(start: Start) -> None:
    engine = await start()
    longest: list[float] = []

    async def watch() -> None:
        while True:
            began = time.monotonic()
            await asyncio.sleep(0.005)
            longest[-1] = max(longest[-1], time.monotonic() - began - 0.005)

    while len(longest) < 3 and min(longest, default=1) >= 0.25:  # on a busy machine one of three must be in time
        longest.append(0.0)
        async with asyncio.TaskGroup() as group:
            watcher = group.create_task(watch())
            kill(engine, signal.SIGSTOP)
            await judge(engine, "hi", timeout_s=0.2)
            await until(lambda: engine.ready)
            await judge(engine, "stubborn 0.2")
            watcher.cancel()
    assert min(longest) < 0.25


def test_the_guard_dies_with_its_parent(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_text("GGUF\n")
    program = f"""
        import asyncio, time
        from models.engine import GuardPolicy, Passage
        from models.host import LocalEngine
        from models.specs import LocalSpec

        async def main():
            engine = LocalEngine(LocalSpec("g", "llama", {str(tmp_path / "model.gguf")!r}), command={COMMAND!r})
            await engine.start()
            await engine.wait_ready(10)
            print(engine.pid, flush=True)
            passages, policies = [Passage("user", "stubborn 30")], [GuardPolicy("p", "r", "t")]
            await engine.judge(passages, policies, deadline=time.monotonic() + 30)

        asyncio.run(main())
    """
    root = str(Path(__file__).parents[2])
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": root}
    ) as parent:
        assert parent.stdout is not None
        pid = int(next(line for line in parent.stdout if line.strip().isdigit()))
        parent.kill()
        parent.wait()
    end = time.monotonic() + 5
    while not gone(pid) and time.monotonic() < end:
        time.sleep(0.01)
    assert gone(pid)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_quarantine_is_bounded_and_forgets() -> None:
    clock = Clock()
    quarantine = Quarantine(size=2, forget_after_s=10, clock=clock)
    contents = [digest([Passage("user", str(number))]) for number in range(3)]
    for content in contents:
        quarantine.died(content)
        quarantine.died(content)
    assert [quarantine.refuses(content) for content in contents] == [False, True, True]
    clock.now = 11
    assert not any(quarantine.refuses(content) for content in contents)


def test_a_content_is_more_than_its_text() -> None:
    contents = [
        [Passage("user", "ab")],
        [Passage("tool", "ab")],
        [Passage("user", "ab", context=True)],
        [Passage("user", "a"), Passage("user", "b")],
        [Passage("user", "b"), Passage("user", "a")],
    ]
    assert len({digest(content) for content in contents}) == len(contents)


def test_the_proxys_side_never_imports_the_native_library() -> None:
    program = "import sys, models.factory; assert not {'llama_cpp', 'models.llama'} & set(sys.modules), sys.modules"
    root = str(Path(__file__).parents[2])
    subprocess.run([sys.executable, "-c", program], check=True, env={**os.environ, "PYTHONPATH": root})


def canary(violating: str, safe: str) -> Canary:
    """Its texts are commands to the fake judge."""
    return Canary(POLICIES[0], Passage("user", violating), Passage("user", safe))


RIGHT = canary("score 0.9", "score 0.1")
WRONG = canary("score 0.1", "score 0.9")


async def test_a_guard_that_judges_its_canaries_right_becomes_ready(start: Start) -> None:
    engine = await start(canaries=[RIGHT])
    assert values(await judge(engine, "score 0.75")) == [0.75, 0.75]
    assert engine.last_error is None


async def test_a_guard_that_judges_its_canaries_wrong_is_not_ready_says_why_and_judges_nothing(start: Start) -> None:
    engine = await start(canaries=[RIGHT, WRONG], wait=False, timings=replace(QUICK, first_back_off_s=60))
    assert not await engine.wait_ready(10)
    assert (engine.state, engine.ready) == (State.UNFIT, False)
    assert engine.last_error == (
        "guard guard failed its canaries: policy a: its violating canary scored 0.1, its safe canary 0.9"
    )
    assert kinds(await judge(engine, "score 0.75")) == {EngineUnavailable}
    await until(lambda: engine.pid is None)


async def test_a_guard_that_failed_its_canaries_is_examined_again_in_a_new_process(
    start: Start, tmp_path: Path
) -> None:
    file = tmp_path / "healed"
    engine = await start(canaries=[RIGHT, canary(f"score-if {file} 0.9", "score 0.5")], wait=False)
    await until(lambda: engine.restarts >= 2)
    assert not engine.ready
    assert "its violating canary scored 0.25" in str(engine.last_error)
    file.touch()
    await until(lambda: engine.ready)
    assert values(await judge(engine, "score 0.75")) == [0.75, 0.75]


async def test_each_new_process_is_examined_before_it_judges(start: Start, tmp_path: Path) -> None:
    spoiled = tmp_path / "spoiled"
    engine = await start(canaries=[RIGHT, canary("score 0.5", f"score-if {spoiled} 0.9")])
    spoiled.touch()
    pid = kill(engine, signal.SIGKILL)
    assert kinds(await judge(engine, "score 0.75")) == {EngineUnavailable}
    await until(lambda: gone(pid) and "its safe canary 0.9" in str(engine.last_error))
    assert not engine.ready


@pytest.mark.parametrize("command", ["die", "stubborn 60"], ids=["dies", "hangs"])
async def test_a_process_that_does_not_survive_its_canaries_is_replaced(start: Start, command: str) -> None:
    quick = replace(QUICK, canary_timeout_s=0.05, hang_grace_s=0.05, first_back_off_s=60)
    engine = await start(canaries=[canary(command, "score 0.1")], wait=False, timings=quick, timeout_s=0.05)
    await until(lambda: engine.state is State.DOWN)
    assert "canar" in str(engine.last_error)
    await until(lambda: engine.pid is None)


async def test_closing_does_not_wait_for_canaries(start: Start) -> None:
    engine = await start(canaries=[canary("sleep 60", "score 0.1")], wait=False)
    await until(lambda: engine.pid is not None)
    async with asyncio.timeout(5):
        await engine.close()


@pytest.mark.parametrize(
    "change",
    [
        {"flash_attention": FlashAttention.OFF},
        {"kv_type": KvType.BF16},
        {"batch_tokens": 64},
        {"threads": 2},
        {"effort": Effort.NONE},
        {"layout": "streams"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_whatever_makes_numbers_round_otherwise_is_part_of_what_identifies_a_verdict(change: dict[str, object]) -> None:
    spec = LocalSpec("guard", "llama", "m.gguf")
    other = replace(spec, **change)  # type: ignore[arg-type]  # names of fields
    assert LocalEngine(spec).settings != LocalEngine(other).settings


@pytest.mark.parametrize("change", [{"max_queue": 7}, {"prefix_cache": "kept"}, {"check_memory": False}], ids=str)
def test_what_changes_no_verdict_is_no_part_of_it(change: dict[str, object]) -> None:
    spec = LocalSpec("guard", "llama", "m.gguf")
    other = replace(spec, **change)  # type: ignore[arg-type]  # names of fields
    assert LocalEngine(spec).settings == LocalEngine(other).settings


# What it tells for the metrics


async def test_what_was_computed_is_added_up_over_all_processes(start: Start) -> None:
    engine = await start()
    assert engine.usage == Usage()
    await judge(engine, "score 0.5")
    await judge(engine, "score 0.5")
    assert engine.usage == Usage(2, 6, 1.0)
    await judge(engine, "die")
    assert await engine.wait_ready(10)
    assert (engine.usage, engine.restarts) == (Usage(2, 6, 1.0), 1)
    await judge(engine, "score 0.5")
    assert engine.usage == Usage(3, 9, 1.5)
    await engine.close()
    assert engine.usage == Usage(3, 9, 1.5)


@pytest.mark.parametrize("command", ["forget-usage", "garble-usage"])
async def test_a_process_that_miscounts_loses_no_verdict_and_no_counter_runs_backwards(
    start: Start, command: str
) -> None:
    engine = await start()
    await judge(engine, "score 0.5")
    assert values(await judge(engine, f"{command}\nscore 0.75")) == [0.75, 0.75]
    assert engine.usage == Usage(1, 3, 0.5)


async def test_verdicts_are_counted_by_their_tier_and_errors_are_none(start: Start) -> None:
    engine = await start()
    await judge(engine, "score 0.5")
    await judge(engine, "reasoned")
    await judge(engine, "verdict-error")
    assert engine.verdicts == {Tier.DIRECT: 2, Tier.REASONED: 2}


async def test_canaries_are_no_verdicts(start: Start) -> None:
    canary = Canary(POLICIES[0], Passage("user", "score 0.9"), Passage("user", "score 0.1"))
    engine = await start(canaries=[canary])
    assert engine.verdicts == {Tier.DIRECT: 0, Tier.REASONED: 0}
    assert engine.usage.n_calls == 2


async def test_calls_in_the_process_are_counted(start: Start) -> None:
    engine = await start("crowd", n_at_once=3)
    async with asyncio.TaskGroup() as group:
        calls = [group.create_task(judge(engine, "sleep 30", timeout_s=30)) for _ in range(5)]
        async with asyncio.timeout(5):
            while engine.n_in_process < 3:  # noqa: ASYNC110 - nothing tells when a job was handed over
                await asyncio.sleep(0)
        assert (engine.n_in_process, engine.queue_length) == (3, 4)
        for call in calls:
            call.cancel()


def plan(engine: LocalEngine, canaries: Sequence[Canary], **changes: Any) -> GuardPlan:
    """What a running guard is to go on by."""
    return GuardPlan(replace(engine._spec, **changes), tuple(canaries))


def other(violating: str, safe: str) -> Canary:
    """Of a policy that came later."""
    return Canary(POLICIES[1], Passage("user", violating), Passage("user", safe))


async def test_a_running_guard_is_asked_only_about_canaries_that_are_new_and_they_are_no_verdicts(start: Start) -> None:
    engine = await start(canaries=[RIGHT])
    await engine.prepare(plan(engine, [RIGHT]))
    await judge(engine, "score 0.5")
    before = engine.usage.n_calls
    await engine.prepare(plan(engine, [RIGHT, other("score 0.8", "score 0.2")]))
    await judge(engine, "score 0.5")
    assert engine.usage.n_calls == before + 3
    assert engine.verdicts[Tier.DIRECT] == 4


async def test_a_running_guard_that_judges_a_new_canary_wrong_says_so_and_goes_on(start: Start) -> None:
    engine = await start(canaries=[RIGHT])
    pid = engine.pid
    with pytest.raises(CanaryFailed, match=r"policy b: its violating canary scored 0\.2, its safe canary 0\.8"):
        await engine.prepare(plan(engine, [RIGHT, other("score 0.2", "score 0.8")]))
    assert values(await judge(engine, "score 0.75")) == [0.75, 0.75]
    assert (engine.pid, engine.restarts, engine.last_error) == (pid, 0, None)


async def test_a_guard_that_is_killed_while_it_is_asked_is_asked_again(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "healed"
    engine = await start()
    async with asyncio.TaskGroup() as group:
        group.create_task(engine.prepare(plan(engine, [other(f"die-unless {file}\nscore 0.8", "score 0.2")])))
        await until(lambda: engine.restarts == 1)
        file.touch()
    assert engine.ready


async def test_a_canary_that_kills_the_guard_each_time_is_soon_given_up(start: Start) -> None:
    engine = await start()
    with pytest.raises(CanaryFailed, match="quarantined"):
        await engine.prepare(plan(engine, [other("die", "score 0.2")]))
    await until(lambda: engine.ready)
    assert engine.restarts == 2


async def test_new_canaries_wait_for_room_in_a_full_queue(start: Start) -> None:
    engine = await start(max_queue=1)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(judge(engine, "sleep 60", timeout_s=60))
        await until(lambda: engine.n_in_process == 1)
        waiting = group.create_task(judge(engine, "sleep 60", timeout_s=60))
        await until(lambda: engine.queue_length == 1)
        asked = group.create_task(engine.prepare(plan(engine, [other("score 0.8", "score 0.2")])))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not asked.done()
        for call in (running, waiting):
            call.cancel()
    assert asked.exception() is None


async def test_what_a_guard_adopts_is_what_its_next_process_is_examined_by(start: Start, tmp_path: Path) -> None:
    spoiled = tmp_path / "spoiled"
    engine = await start(canaries=[canary("score 0.5", f"score-if {spoiled} 0.9")])
    engine.adopt(plan(engine, [RIGHT]))
    spoiled.touch()
    pid = kill(engine, signal.SIGKILL)
    await until(lambda: engine.ready and engine.pid != pid)
    engine.adopt(plan(engine, [WRONG]))
    kill(engine, signal.SIGKILL)
    await until(lambda: engine.state is State.UNFIT)


async def test_a_guard_that_failed_for_good_tries_again_when_it_is_started_again(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "later.gguf"
    engine = LocalEngine(LocalSpec("guard", "llama", str(path)), command=COMMAND, timings=QUICK)
    try:
        await engine.start()
        assert not await engine.wait_ready(10)
        assert engine.state is State.FAILED
        path.write_text("GGUF\n")
        await engine.start()
        assert await engine.wait_ready(10), engine.last_error
    finally:
        await engine.close()
    await engine.start()
    assert engine.pid is None, "what was closed stays closed"


async def test_a_guard_that_goes_on_has_the_time_that_it_adopts(start: Start) -> None:
    engine = await start()
    pid = engine.pid
    engine.adopt(plan(engine, [], timeout_s=0.05))
    assert kinds(await judge(engine, "sleep 30", timeout_s=30)) == {EngineTimeout}
    assert engine.pid == pid


async def test_more_policies_than_fit_into_memory_are_refused(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = await start()
    monkeypatch.setattr(
        memory_check, "more_policies", lambda spec, n: f"{spec.name} cannot take {n}" if n > 3 else None
    )
    await engine.prepare(plan(engine, [], n_policies=3))
    with pytest.raises(EngineUnavailable, match="guard cannot take 4"):
        await engine.prepare(plan(engine, [], n_policies=4))

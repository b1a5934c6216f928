"""The llama engine in its process, as the proxy uses it: many calls at once, overload, death."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from models.engine import Effort, GuardPolicy, Passage, Score
from models.errors import EngineError, EngineOverloaded, EngineTimeout
from models.host import LocalEngine, Timings
from models.specs import LocalSpec

TINY = Path(__file__).parents[1] / "data" / "tiny-gpt-oss.gguf"
POLICIES = [GuardPolicy(t, "r", f"Content about {t} is a violation.") for t in ("fruit", "music", "trains")]


@pytest.fixture
async def engine() -> AsyncIterator[LocalEngine]:
    spec = LocalSpec("g", "llama", str(TINY), effort=Effort.NONE, n_ctx=1024, threads=1, n_at_once=257)
    made = LocalEngine(spec, timings=Timings(first_back_off_s=0.02, readiness_wait_s=20))
    await made.start()
    assert await made.wait_ready(30), made.last_error
    yield made
    await made.close()


async def judge(engine: LocalEngine, text: str, timeout_s: float = 60) -> list[Score | EngineError]:
    return await engine.judge([Passage("user", text)], POLICIES, deadline=time.monotonic() + timeout_s)


def values(entries: list[Score | EngineError]) -> list[float]:
    return [entry.value for entry in entries if isinstance(entry, Score)]


async def test_calls_at_once_get_the_scores_that_each_gets_alone(engine: LocalEngine) -> None:
    texts = [f"She bought {number} {thing}." for number in range(5) for thing in ("pears", "violins", "tickets")]
    alone = [values(await judge(engine, text)) for text in texts]
    crowd = await asyncio.gather(*(judge(engine, text) for text in texts))
    for one, other in zip(alone, crowd, strict=True):
        assert values(other) == pytest.approx(one, abs=0.02)
    assert all(len(one) == len(POLICIES) for one in alone)


async def test_overload_is_refused_or_late_and_never_taken_for_a_hang(engine: LocalEngine) -> None:
    await judge(engine, "She bought a pear.")
    long = "The tram was late and we waited in the cold for a long time. " * 60

    answers = await asyncio.gather(*(judge(engine, f"{n} {long}", 0.5 + n % 7 / 10) for n in range(60)))
    entries = [entry for found in answers for entry in found]
    assert {type(entry) for entry in entries} <= {Score, EngineTimeout, EngineOverloaded}
    assert any(isinstance(entry, EngineOverloaded) for entry in entries)
    assert len(values(await judge(engine, "She bought a pear."))) == len(POLICIES)
    assert engine.restarts == 0


async def test_calls_that_were_together_in_a_killed_process_are_judged_by_the_next(engine: LocalEngine) -> None:
    long = "The tram was late and we waited in the cold. " * 100
    async with asyncio.TaskGroup() as group:
        calls = [group.create_task(judge(engine, f"{number} {long}")) for number in range(3)]
        while len(engine._running) < 3:  # noqa: ASYNC110 - nothing says so
            await asyncio.sleep(0.005)
        assert engine.pid is not None
        os.kill(engine.pid, signal.SIGKILL)
    assert all(len(values(call.result())) == len(POLICIES) for call in calls)
    assert engine.restarts == 1

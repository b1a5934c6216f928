"""Waiting for a guard where a proxy would give up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from models.engine import GuardPolicy, Passage, Score, Tier
from models.errors import (
    ContentTooLong,
    EngineError,
    EngineOverloaded,
    EngineTimeout,
    EngineUnavailable,
    GuardRefused,
)
from models.patient import FIRST_AT_ONCE, PatientEngine, Turns, Waits
from models.specs import GuardPlan

NOW = Waits(first_pause_s=0.0, longest_pause_s=0.0)
IMPATIENT = Waits(first_pause_s=0.0, longest_pause_s=0.0, patience_s=0.0)
A, B = GuardPolicy("a", "1", "A"), GuardPolicy("b", "1", "B")
FINE = Score(0.25, Tier.ENCODER)


@dataclass(slots=True)
class Scripted:
    """A guard that answers call by call; the last answer is repeated. Remembers who was asked, and how many at once."""

    script: Sequence[Mapping[str, Score | EngineError]]
    model: str = "m"
    ready: bool = True
    last_error: str | None = None
    is_incremental: bool = False
    asked: list[list[str]] = field(default_factory=list)
    time_given_s: list[float] = field(default_factory=list)
    n_waits: int = 0
    n_running: int = 0
    most_running: int = 0
    gate: asyncio.Event | None = None

    async def start(self) -> None: ...

    async def wait_ready(self, timeout_s: float) -> bool:
        self.n_waits += 1
        return self.ready

    async def close(self) -> None: ...

    async def prepare(self, plan: GuardPlan) -> None: ...

    def adopt(self, plan: GuardPlan) -> None: ...

    async def judge(
        self, passages: Sequence[Passage], policies: Sequence[GuardPolicy], *, deadline: float
    ) -> list[Score | EngineError]:
        self.asked.append([p.name for p in policies])
        self.time_given_s.append(deadline - time.monotonic())
        answers = self.script[min(len(self.asked), len(self.script)) - 1]
        self.n_running += 1
        self.most_running = max(self.most_running, self.n_running)
        if self.gate is not None:
            await self.gate.wait()
        else:
            await asyncio.sleep(0)
        self.n_running -= 1
        return [answers[p.name] for p in policies]


async def judge(
    engine: PatientEngine, *policies: GuardPolicy, text: str = "x", within_s: float = 60.0
) -> list[Score | EngineError]:
    return await engine.judge([Passage("user", text)], policies or (A,), deadline=time.monotonic() + within_s)


async def let_run() -> None:
    """Let everything that can run do so."""
    for _ in range(100):
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    "error", [EngineOverloaded("full"), EngineTimeout("late"), EngineUnavailable("starting")], ids=lambda e: e.code
)
async def test_only_the_policies_without_a_verdict_are_asked_again(error: EngineError) -> None:
    guard = Scripted([{"a": FINE, "b": error}, {"b": FINE}])
    assert await judge(PatientEngine(guard, at_once=8, waits=NOW), A, B) == [FINE, FINE]
    assert guard.asked == [["a", "b"], ["b"]]


@pytest.mark.parametrize(
    "error", [ContentTooLong("long"), GuardRefused("no"), EngineError("odd")], ids=lambda e: e.code
)
async def test_what_waiting_does_not_change_is_the_answer(error: EngineError) -> None:
    guard = Scripted([{"a": error}])
    assert await judge(PatientEngine(guard, at_once=8, waits=NOW)) == [error]
    assert len(guard.asked) == 1


async def test_a_full_queue_is_waited_for_as_long_as_others_are_judged() -> None:
    full: dict[str, Score | EngineError] = {"a": EngineOverloaded("full"), "b": FINE}
    guard = Scripted([full] * 50 + [{"a": FINE}])
    engine = PatientEngine(guard, at_once=8, waits=NOW)
    assert await judge(engine, A, B) == [FINE, FINE]
    assert engine.lost is None
    assert len(guard.asked) == 51


async def test_a_content_that_always_takes_too_long_is_an_error_after_some_tries() -> None:
    late = EngineTimeout("late")
    guard = Scripted([{"a": late}])
    engine = PatientEngine(guard, at_once=64, waits=NOW)
    assert await judge(engine) == [late]
    assert len(guard.asked) == NOW.n_late
    assert engine.lost is None


async def test_a_content_that_took_too_long_by_itself_is_not_tried_again() -> None:
    late = EngineTimeout("late")
    guard = Scripted([{"a": late}])
    assert await judge(PatientEngine(guard, at_once=1, waits=NOW)) == [late]
    assert len(guard.asked) == 1


async def test_a_content_at_which_the_guard_dies_while_it_judges_others_is_an_error_after_some_tries() -> None:
    died = EngineUnavailable("the guard process died")
    guard = Scripted([{"a": died, "b": FINE}, {"a": died, "b": FINE}])
    engine = PatientEngine(guard, at_once=4, waits=NOW)

    async def others() -> None:
        while not task.done():
            await judge(engine, B)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(judge(engine, A))
        group.create_task(others())
    assert task.result() == [died]
    assert guard.asked.count(["a"]) >= NOW.n_gone
    assert engine.lost is None


async def test_a_guard_that_comes_back_loses_no_content() -> None:
    gone = EngineUnavailable("down")
    guard = Scripted([*({"a": gone} for _ in range(20)), {"a": FINE}])
    assert await judge(PatientEngine(guard, at_once=4, waits=NOW)) == [FINE]
    assert guard.n_waits == 20


async def test_outages_leave_a_content_all_its_tries() -> None:
    gone, late = EngineUnavailable("down"), EngineTimeout("late")
    guard = Scripted([{"a": gone}] * 5 + [{"a": late}] * 2 + [{"a": FINE}])
    assert await judge(PatientEngine(guard, at_once=64, waits=NOW)) == [FINE]


@pytest.mark.parametrize("error", [EngineOverloaded("full"), EngineUnavailable("down")], ids=lambda e: e.code)
async def test_a_guard_that_judges_nothing_for_long_is_lost(error: EngineError) -> None:
    guard = Scripted([{"a": error}])
    engine = PatientEngine(guard, at_once=4, waits=IMPATIENT)
    assert await judge(engine) == [error]
    assert engine.lost == str(error)
    (answer,) = await judge(engine)
    assert isinstance(answer, EngineUnavailable)
    assert len(guard.asked) == 1, "nobody asks a guard that was given up"


async def test_each_try_has_the_whole_time() -> None:
    guard = Scripted([*({"a": EngineOverloaded("full")} for _ in range(3)), {"a": FINE}])
    await judge(PatientEngine(guard, at_once=4, waits=Waits(0.01, 0.01)), within_s=5.0)
    assert len(guard.time_given_s) == 4
    assert all(4.99 < given <= 5.0 for given in guard.time_given_s)


async def test_an_answer_for_another_number_of_policies_is_passed_on() -> None:
    class Wrong(Scripted):
        async def judge(self, *args: object, **kwargs: object) -> list[Score | EngineError]:
            return []

    assert await judge(PatientEngine(Wrong([]), at_once=4, waits=NOW)) == []


async def test_no_more_calls_are_under_way_than_may_be() -> None:
    guard = Scripted([{"a": FINE}])
    engine = PatientEngine(guard, at_once=10, waits=NOW)
    await asyncio.gather(*(judge(engine) for _ in range(200)))
    assert guard.most_running == 10
    assert len(guard.asked) == 200


async def test_more_are_tried_only_after_some_went_well() -> None:
    guard = Scripted([{"a": FINE}], gate=asyncio.Event())
    engine = PatientEngine(guard, at_once=100, waits=NOW)
    async with asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(judge(engine))
        await let_run()
        assert guard.n_running == FIRST_AT_ONCE
        assert guard.gate is not None
        guard.gate.set()


def test_turns_are_halved_once_for_calls_that_began_together() -> None:
    turns = Turns(64)
    turns.limit = 64
    began = time.monotonic()
    for _ in range(10):
        turns.too_many(began)
    assert turns.limit == 32
    turns.too_many(time.monotonic())
    assert turns.limit == 16


def test_turns_grow_slowly_once_they_were_too_many_and_never_end() -> None:
    turns = Turns(8)
    for _ in range(4):
        turns.went_well()
    assert turns.limit == 8
    for _ in range(10):
        turns.too_many(time.monotonic())
    assert turns.limit == 1
    turns.went_well()
    assert turns.limit == 2
    turns.went_well()
    assert turns.limit == 2
    turns.went_well()
    assert turns.limit == 3


async def test_a_caller_that_leaves_gives_its_turn_back() -> None:
    guard = Scripted([{"a": FINE}], gate=asyncio.Event())
    engine = PatientEngine(guard, at_once=1, waits=NOW)
    async with asyncio.TaskGroup() as group:
        first = group.create_task(judge(engine))
        second = group.create_task(judge(engine))
        await let_run()
        first.cancel()
        assert guard.gate is not None
        guard.gate.set()
    assert second.result() == [FINE]

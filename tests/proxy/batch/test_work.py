"""Many rows at once, their records in order."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from models.engine import Score, Tier
from models.errors import EngineError, EngineTimeout, EngineUnavailable
from models.patient import PatientEngine, Waits
from proxy.batch import work as batch
from proxy.batch.rows import Format, InputError, Reading, Row, Source
from proxy.batch.work import GuardLost, Judge, Record, from_file, from_pipe, work
from proxy.samples import Sample, read_sample
from rules.rule import Mode, OnError, Rule, Stage
from rules.screen import Screener
from tests.fakes import FakeEngine, text_rule, word_rule

NOTHING = lambda: None  # noqa: E731 - a sync that does nothing


def row(number: int, text: str = "x") -> Row:
    return Row(number, number, f"r{number}", read_sample({"text": text}, Stage.INPUT), {"text": text})


async def arriving(*rows: Row | InputError) -> AsyncIterator[Row]:
    for entry in rows:
        if isinstance(entry, InputError):
            raise entry
        yield entry


async def done(rows: AsyncIterator[Row], judge: Any, *, max_rows: int = 100, fails: bool = True) -> list[Any]:
    written: list[Any] = []
    await work(rows, judge, written.append, NOTHING, max_rows=max_rows, fails_at_bad_row=fails)
    return written


async def test_records_come_in_the_order_of_the_rows_whoever_is_judged_first() -> None:
    turn = [asyncio.Event() for _ in range(5)]
    turn[4].set()

    async def judge(row: Row) -> Record:
        await turn[row.number - 1].wait()
        if row.number > 1:
            turn[row.number - 2].set()  # the last one is judged first, then the one before it
        return {"row": row.number}

    assert await done(arriving(*map(row, range(1, 6))), judge) == [{"row": n} for n in range(1, 6)]


async def test_no_more_rows_are_under_way_than_the_window_holds() -> None:
    running, most = 0, 0

    async def judge(row: Row) -> Record:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        return {"row": row.number}

    written = await done(arriving(*map(row, range(1, 101))), judge, max_rows=7)
    assert len(written) == 100
    assert most <= 7


async def test_large_rows_are_judged_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "MAX_CHARS", 10)
    running: list[int] = []
    most: list[int] = []

    async def judge(row: Row) -> Record:
        running.append(row.size)
        most.append(sum(running) if len(running) > 1 else 0)
        await asyncio.sleep(0)
        running.remove(row.size)
        return {"row": row.number}

    rows = [row(n, "x" * (20 if n % 2 else 5)) for n in range(1, 11)]
    assert len(await done(arriving(*rows), judge)) == 10
    assert max(most) <= 10


async def test_a_bad_row_ends_the_run_once_the_rows_before_it_are_written() -> None:
    async def judge(row: Row) -> Record:
        await asyncio.sleep(0)
        return {"row": row.number}

    written: list[Any] = []
    rows = arriving(row(1), row(2), Row(3, 7, problem="is not JSON"), row(4))
    with pytest.raises(InputError, match="line 7: is not JSON"):
        await work(rows, judge, written.append, NOTHING, max_rows=10, fails_at_bad_row=True)
    assert written == [{"row": 1}, {"row": 2}]


async def test_an_input_that_ends_badly_ends_the_run_once_the_rows_before_it_are_written() -> None:
    async def judge(row: Row) -> Record:
        return {"row": row.number}

    written: list[Any] = []
    with pytest.raises(InputError, match="open quote"):
        await work(
            arriving(row(1), InputError("open quote")),
            judge,
            written.append,
            NOTHING,
            max_rows=9,
            fails_at_bad_row=False,
        )
    assert written == [{"row": 1}]


async def test_what_cannot_be_written_ends_the_run() -> None:
    async def judge(row: Row) -> Record:
        return {"row": row.number}

    def full(record: Record) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        await work(arriving(row(1), row(2)), judge, full, NOTHING, max_rows=1, fails_at_bad_row=True)


def judge_of(*rules: Rule, engine: FakeEngine | None = None, patience_s: float = 60.0, **more: Any) -> Judge:
    patient = PatientEngine(engine or FakeEngine(), at_once=4, waits=Waits(0.0, 0.0, patience_s=patience_s))
    return Judge(Screener(Stage.INPUT, rules, {"guard": patient}), {"guard": patient}, **more)


async def test_a_record_says_what_was_judged_by_what_and_with_which_result() -> None:
    engine = FakeEngine({"hate": 0.97, "fraud": EngineTimeout("late"), "draft": 0.6})
    judge = judge_of(
        text_rule("hate", refuse=0.9),
        text_rule("fraud", flag=0.5, on_error=OnError.FLAG),
        text_rule("draft", flag=0.5, mode=Mode.SHADOW),
        word_rule("marker", "MARK", flag=0.5),
        engine=engine,
    )
    common = {"mode": "enforce", "model": "fake@000000000000"}
    assert await judge.record(row(3, "MARK")) == {
        "row": 3,
        "id": "r3",
        "action": "refuse",
        "cause": "violation",
        "policies": ["hate"],
        "scores": {"hate": 0.97, "marker": 1.0, "draft": 0.6},
        "errors": {"fraud": "timeout"},
        "verdicts": [
            {**common, "policy": "hate", "revision": "rev-hate", "outcome": "refuse", "score": 0.97, "thresholds": {"refuse": 0.9}, "tier": "encoder", "calibrated": True},
            {**common, "policy": "fraud", "revision": "rev-fraud", "outcome": "error", "score": None, "thresholds": {"flag": 0.5}, "tier": None, "error": "timeout"},
            {**common, "policy": "marker", "revision": "rev-marker", "outcome": "flag", "score": 1.0, "thresholds": {"flag": 0.5}, "tier": "detector", "model": "detector", "calibrated": True},
            {**common, "policy": "draft", "revision": "rev-draft", "mode": "shadow", "outcome": "flag", "score": 0.6, "thresholds": {"flag": 0.5}, "tier": "encoder", "calibrated": True},
        ],
    }  # fmt: skip


async def test_a_score_that_is_not_calibrated_says_so() -> None:
    engine = FakeEngine(answer=lambda passages, policies: [Score(0.1, Tier.DIRECT)] * len(policies))
    record = await judge_of(text_rule("hate", flag=0.5), engine=engine).record(row(1))
    assert record["verdicts"][0]["calibrated"] is False


async def test_every_policy_has_its_score_also_where_a_detector_refuses() -> None:
    judge = judge_of(
        word_rule("marker", "MARK", refuse=0.5), text_rule("hate", flag=0.5), engine=FakeEngine({"hate": 0.7})
    )
    record = await judge.record(row(1, "MARK"))
    assert (record["action"], record["scores"]) == ("refuse", {"marker": 1.0, "hate": 0.7})


async def test_content_is_kept_only_if_that_is_asked_for() -> None:
    text = "ZQ-CONTENT"
    assert text not in str(await judge_of(text_rule("hate", flag=0.5)).record(row(1, text)))
    kept = await judge_of(text_rule("hate", flag=0.5), keep_text=True).record(row(1, text))
    assert kept["input"] == {"text": text}


async def test_a_bad_row_is_a_record_of_its_own() -> None:
    judge = judge_of(text_rule("hate", flag=0.5), on_bad_row=OnError.FLAG)
    bad = Row(4, 9, "a", problem="is not JSON")
    assert await judge.record(bad) == {
        "row": 4,
        "id": "a",
        "action": "flag",
        "cause": "undecided",
        "line": 9,
        "problem": "is not JSON",
    }


async def test_an_error_is_never_written_for_a_guard_that_is_lost() -> None:
    engine = FakeEngine({"hate": EngineUnavailable("the guard is down")})
    judge = judge_of(text_rule("hate", flag=0.5), engine=engine, patience_s=0.0)
    with pytest.raises(GuardLost, match=r"guards\.guard: the guard is down"):
        await judge.record(row(1))


async def test_a_lost_guard_ends_the_run() -> None:
    engine = FakeEngine({"hate": EngineUnavailable("the guard is down")})
    judge = judge_of(text_rule("hate", flag=0.5), engine=engine, patience_s=0.0)
    written: list[Any] = []
    with pytest.raises(GuardLost):
        await work(
            arriving(*map(row, range(1, 50))), judge.record, written.append, NOTHING, max_rows=9, fails_at_bad_row=True
        )
    assert written == []


async def test_an_error_of_one_content_is_a_record_with_the_rule_s_action() -> None:
    class Picky(EngineError):
        code = "picky"

    def answer(passages: Any, policies: Any) -> list[Score | EngineError]:
        return [Picky("no") if passages[0].text == "odd" else Score(0.0, Tier.ENCODER)]

    judge = judge_of(text_rule("hate", flag=0.5), engine=FakeEngine(answer=answer))
    records = await done(arriving(row(1), row(2, "odd"), row(3)), judge.record)
    assert [(r["action"], r["errors"]) for r in records] == [
        ("forward", {}),
        ("refuse", {"hate": "picky"}),
        ("forward", {}),
    ]
    assert records[1]["cause"] == "undecided"


async def test_rows_of_a_pipe_are_judged_before_the_next_one_has_come() -> None:
    read_end, write_end = os.pipe()
    judged = asyncio.Event()

    async def judge(row: Row) -> Record:
        judged.set()
        return {"row": row.number}

    with os.fdopen(read_end, "rb") as reader, os.fdopen(write_end, "wb", buffering=0) as writer:
        rows = from_pipe(Source(reader, Reading(Format.JSONL, Stage.INPUT)).rows())
        async with asyncio.TaskGroup() as group:
            run = group.create_task(done(rows, judge))
            writer.write(b'{"text": "one"}\n')
            async with asyncio.timeout(20):
                await judged.wait()
            writer.write(b'{"text": "two"}\n')
            writer.close()
    assert run.result() == [{"row": 1}, {"row": 2}]


@pytest.mark.parametrize("source", [from_file, from_pipe])
async def test_a_source_gives_all_rows_and_then_its_error(source: Any) -> None:
    def rows() -> Iterator[Row]:
        yield from (row(n) for n in range(1, 201))
        raise InputError("open quote")

    seen = []
    with pytest.raises(InputError, match="open quote"):
        async for entry in source(rows()):
            seen.append(entry.number)
    assert seen == list(range(1, 201))


def test_a_row_does_not_show_its_content() -> None:
    source = Source(io.BytesIO(b'{"text": "SECRET"}'), Reading(Format.JSONL, Stage.INPUT))
    (only,) = source.rows()
    assert isinstance(only.sample, Sample)
    assert "SECRET" not in repr(only)

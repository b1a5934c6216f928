"""The scheduler, by comparing lists; and against a model that checks every command like llama.cpp would, only kinder."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.commands import Batch, Branch, Cut, Open, Reading, Row, Says, Shape, Verdict, Want
from models.errors import EngineError, EngineOverloaded, VerdictError
from models.lane import LEAST_KEPT
from models.ledger import KvLedger
from models.scheduler import PREFIX_CHUNK, Scheduler, Speed, _length_of_row

SHAPE = Shape(n_lanes=2, n_slots=2, n_cells=100, n_batch=64)
IN_PLACE = Shape(n_lanes=3, n_slots=1, n_cells=100, n_batch=64, in_place=True)
LATE = 1e9
QUICK = 1e-6
"""Seconds that a batch took."""


def direct(policy: str, *opening: int, prefix: Sequence[int] = (1, 2, 3)) -> Reading:
    return Reading(policy, prefix, opening or (7, 8))


def reasoned(policy: str, budget: int = 2) -> Reading:
    return Reading(policy, (1, 2, 3), (7, 8), budget, (9,))


def scheduler(shape: Shape = SHAPE, max_jobs: int = 100) -> Scheduler[str]:
    return Scheduler(shape, max_jobs)


def submit(s: Scheduler[str], job_id: int, *readings: Reading, deadline: float = LATE, key: str = "") -> None:
    assert s.submit(job_id, readings, deadline=deadline, now=0.0, key=key) is None


def batch(s: Scheduler[str]) -> Batch:
    """The next batch, lanes opened and prefixes read on the way."""
    while True:
        match s.next():
            case Open() as command:
                s.opened(command.lane, 0)
            case Batch() as command if any(row.slot == 0 for row in command.rows):
                s.take(command, [], QUICK)
            case Batch() as command:
                return command
            case None:
                raise AssertionError("there is nothing to do")


def rows(command: Batch) -> list[tuple[int, int, list[int], int, Want]]:
    return [(row.lane, row.slot, list(row.tokens), row.position, row.want) for row in command.rows]


def test_a_reading_goes_from_an_empty_lane_to_its_verdict() -> None:
    s = scheduler()
    submit(s, 1, direct("a"))
    assert s.next() == Open(0, "a", (1, 2, 3))
    s.opened(0, 0)
    command = s.next()
    assert command == Batch((), (Row(0, 0, (1, 2, 3), 0, Want.NOTHING),), frozenset({1}))
    assert s.take(command, [], QUICK) == []
    command = s.next()
    row = Row(0, 1, (7, 8), 3, Want.VERDICT, reader=(1, 0))
    assert command == Batch((Branch(0, 0, 1, 3),), (row,), frozenset({1}))
    assert s.take(command, ["yes"], QUICK) == [Verdict(1, 0, "yes", [])]
    assert s.next() is None
    assert len(s) == 0


def test_a_lane_that_knows_its_policy_is_not_opened_again() -> None:
    s = scheduler()
    for job_id in (1, 2):
        submit(s, job_id, direct("a"))
        s.take(batch(s), ["yes"], QUICK)
    submit(s, 3, direct("a"))
    command = s.next()
    assert isinstance(command, Batch)
    assert command.edits == (Cut(0, 2, 3),)  # slot 1 still holds the policy from last time


def test_a_restored_prefix_is_not_read() -> None:
    s = scheduler()
    submit(s, 1, direct("a"))
    assert isinstance(s.next(), Open)
    s.opened(0, 3)
    command = s.next()
    assert isinstance(command, Batch)
    assert rows(command) == [(0, 1, [7, 8], 3, Want.VERDICT)]


def test_a_prefix_is_read_in_portions_of_one_size() -> None:
    s = scheduler(Shape(1, 1, 1000, 512))
    submit(s, 1, direct("a", prefix=range(300)))
    assert isinstance(s.next(), Open)
    s.opened(0, 0)
    read = []
    for _ in range(3):
        command = s.next()
        assert isinstance(command, Batch)
        read += [(row.position, len(row.tokens)) for row in command.rows]
        s.take(command, [], 1e-9)
    assert read == [(0, PREFIX_CHUNK), (PREFIX_CHUNK, PREFIX_CHUNK), (2 * PREFIX_CHUNK, 300 - 2 * PREFIX_CHUNK)]


def test_opening_trace_and_closing_share_a_batch() -> None:
    s = scheduler(Shape(1, 3, 100, 64))
    submit(s, 1, reasoned("a", budget=2))
    s.take(batch(s), [11], QUICK)
    submit(s, 2, reasoned("a", budget=5))
    s.take(batch(s), [12, 21], QUICK)
    submit(s, 3, direct("a"))
    command = batch(s)
    assert rows(command) == [
        (0, 1, [12, 9], 6, Want.VERDICT),  # the budget is spent: its last token and the closing in one
        (0, 2, [21], 5, Want.TOKEN),
        (0, 3, [7, 8], 3, Want.VERDICT),
    ]
    assert s.take(command, ["one", None, "three"], QUICK) == [
        Verdict(1, 0, "one", [11, 12]),
        Verdict(3, 0, "three", []),
    ]
    command = batch(s)
    assert rows(command) == [(0, 2, [9], 6, Want.VERDICT)]  # the model ended its trace
    assert s.take(command, ["two"], QUICK) == [Verdict(2, 0, "two", [21])]


def test_a_long_content_is_read_in_several_batches_while_traces_go_on() -> None:
    s = scheduler(Shape(1, 2, 400, 64))
    submit(s, 1, reasoned("a", budget=50), deadline=9)
    s.take(batch(s), [11], QUICK)
    submit(s, 2, direct("a", *range(100)), deadline=5)
    seen = []
    values: list[list[int | str | None]] = [[12], [13, "no"]]
    for value in values:
        command = batch(s)
        seen.append([(row.slot, len(row.tokens), row.want) for row in command.rows])
        s.take(command, value, QUICK)
    assert seen == [
        [(1, 1, Want.TOKEN), (2, 63, Want.NOTHING)],
        [(1, 1, Want.TOKEN), (2, 37, Want.VERDICT)],
    ]


@pytest.mark.parametrize(
    ("n_pending", "room", "most", "first", "expected"),
    [
        pytest.param(300, 288, 512, True, 300, id="a-small-remainder-is-taken-along"),
        pytest.param(500, 300, 512, True, 300, id="a-large-one-is-not"),
        pytest.param(300, 288, 60, True, 60, id="a-call-is-never-too-large"),
        pytest.param(500, 3, 512, True, 288, id="the-first-gets-on-whatever-short-ones-there-are"),
        pytest.param(67, 80, 512, False, 67, id="a-row-more-that-fits"),
        pytest.param(67, 62, 512, False, 0, id="a-row-more-that-does-not-waits"),
        pytest.param(5, 13, 512, False, 5, id="a-short-row-more"),
        pytest.param(67, -5, 512, False, 0, id="no-room"),
    ],
)
def test_batches_are_cut_where_it_pays(n_pending: int, room: int, most: int, first: bool, expected: int) -> None:
    assert _length_of_row(n_pending, room, 288, most, first=first) == expected


def test_the_earliest_deadline_goes_first() -> None:
    s = scheduler(Shape(1, 1, 100, 64))
    for job_id, deadline in enumerate([30.0, 10.0, 20.0]):
        submit(s, job_id, direct("a"), deadline=deadline)
    order = []
    for _ in range(3):
        order += [verdict.job for verdict in s.take(batch(s), ["yes"], QUICK)]
    assert order == [1, 2, 0]


def test_a_key_that_floods_does_not_keep_the_others_waiting() -> None:
    s = scheduler(Shape(1, 1, 100, 64))
    for job_id in range(10):
        submit(s, job_id, direct("a"), deadline=1.0, key="flood")
    s.take(batch(s), ["yes"], QUICK)
    submit(s, 100, direct("a"), deadline=50.0, key="other")
    order = []
    for _ in range(3):
        order += [verdict.job for verdict in s.take(batch(s), ["yes"], QUICK)]
    assert 100 in order


def test_policies_beyond_the_lanes_take_the_place_of_the_least_recently_used() -> None:
    s = scheduler()
    for job_id, policy in enumerate("abab"):
        submit(s, job_id, direct(policy))
        s.take(batch(s), ["yes"], QUICK)
    submit(s, 10, direct("c"))
    assert s.next() == Open(0, "c", (1, 2, 3))


def test_a_policy_without_a_lane_is_not_overtaken_for_ever() -> None:
    s = scheduler(Shape(1, 2, 100, 64))
    submit(s, 1, reasoned("a", budget=3), deadline=5)
    s.take(batch(s), [11], QUICK)
    submit(s, 2, direct("b"), deadline=1)
    submit(s, 3, direct("a"), deadline=2)
    jobs = []
    while len(s):
        command = batch(s)
        values = [None if row.want is Want.TOKEN else "v" for row in command.rows]
        jobs += [verdict.job for verdict in s.take(command, values, QUICK)]
    assert jobs == [1, 2, 3]


def test_a_cancelled_job_gives_back_its_slot() -> None:
    s = scheduler(Shape(1, 1, 100, 64))
    submit(s, 1, reasoned("a"))
    s.take(batch(s), [11], QUICK)
    submit(s, 2, direct("a"))
    s.cancel(1)
    s.cancel(1)
    command = batch(s)
    assert (command.edits, command.jobs) == ((Cut(0, 1, 3),), frozenset({2}))


def test_a_batch_that_was_stopped_is_given_again() -> None:
    s = scheduler()
    submit(s, 1, direct("a"))
    first = batch(s)
    again = batch(s)
    assert again.rows == first.rows
    assert again.edits == ()


def test_a_batch_that_fails_ends_its_readings_only() -> None:
    s = scheduler()
    submit(s, 1, direct("a"), direct("b"))
    error = EngineError("broken")
    assert s.fail(batch(s), error) == [Verdict(1, 0, error, [])]
    assert s.take(batch(s), ["yes"], QUICK) == [Verdict(1, 1, "yes", [])]


def test_a_prefix_that_cannot_be_read_fails_who_needs_it_and_is_tried_again() -> None:
    s = scheduler()
    submit(s, 1, direct("a"))
    assert isinstance(s.next(), Open)
    s.opened(0, 0)
    command = s.next()
    assert isinstance(command, Batch)
    error = EngineError("broken")
    assert s.fail(command, error) == [Verdict(1, 0, error, [])]
    submit(s, 2, direct("a"))
    assert isinstance(s.next(), Open)


def test_a_lane_for_which_there_is_no_memory_is_done_without() -> None:
    s = scheduler()
    submit(s, 1, direct("a"), direct("b"))
    assert s.next() == Open(0, "a", (1, 2, 3))
    s.opened(0, 3)
    assert s.next() == Open(1, "b", (1, 2, 3))
    s.lose(1)
    assert s.take(batch(s), ["a"], QUICK) == [Verdict(1, 0, "a", [])]
    assert s.take(batch(s), ["b"], QUICK) == [Verdict(1, 1, "b", [])]
    with pytest.raises(ValueError, match="last"):
        s.lose(0)


def test_streams_of_different_policies_share_a_batch() -> None:
    s = scheduler(IN_PLACE)
    submit(s, 1, direct("a"), direct("b"))
    command = batch(s)
    assert rows(command) == [(0, 1, [7, 8], 3, Want.VERDICT), (1, 1, [7, 8], 3, Want.VERDICT)]


def test_a_policy_may_fill_streams_that_nobody_else_has_used() -> None:
    s = scheduler(IN_PLACE)
    submit(s, 1, direct("a"))
    submit(s, 2, direct("a"))
    command = batch(s)
    assert {row.lane for row in command.rows} == {0, 1}


# Admission


def measured(s: Scheduler[str], tokens_per_s: float) -> None:
    s.reading_speed.measured(1000, 1000 / tokens_per_s)


def test_a_full_queue_refuses() -> None:
    s = scheduler(max_jobs=1)
    submit(s, 1, direct("a"))
    assert isinstance(s.submit(2, [direct("a")], deadline=LATE, now=0.0), EngineOverloaded)
    assert len(s) == 1


def test_what_cannot_make_its_deadline_is_refused_at_once() -> None:
    s = scheduler()
    measured(s, 10)
    submit(s, 1, direct("a", *range(50)), deadline=6)
    refusal = s.submit(2, [direct("a", *range(50))], deadline=9, now=0.0, key="")
    assert isinstance(refusal, EngineOverloaded)
    assert "10.3 s" in str(refusal)  # (53 + 50) tokens, 10 a second: the prefix is not read yet, and will be read once
    submit(s, 3, direct("a", *range(50)), deadline=11)


def test_who_waits_behind_does_not_count() -> None:
    s = scheduler()
    measured(s, 10)
    submit(s, 1, direct("a", *range(50)), deadline=100)
    submit(s, 2, direct("a", *range(50)), deadline=6)


def test_another_keys_flood_does_not_refuse_who_gets_half_of_the_time() -> None:
    s = scheduler()
    measured(s, 10)
    for job_id in range(10):
        submit(s, job_id, direct("a", *range(50)), deadline=LATE, key="flood")
    submit(s, 100, direct("a", *range(50)), deadline=11, key="other")


def test_a_job_that_would_be_alone_is_always_tried() -> None:
    s = scheduler()
    measured(s, QUICK)
    submit(s, 1, direct("a"), deadline=1)


def test_traces_count_as_long_as_they_were() -> None:
    s = scheduler(Shape(1, 2, 400, 64))
    measured(s, 1000)
    s.thinking_speed.measured(100, 10)
    submit(s, 1, reasoned("a", budget=100), deadline=5)
    for _ in range(4):  # nobody knows yet
        submit(s, 2, reasoned("a", budget=100), deadline=5)
        s.cancel(2)
    s._mean_trace = 60
    assert isinstance(s.submit(3, [reasoned("a", budget=100)], deadline=5, now=0.0), EngineOverloaded)


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: direct("a", *range(98)), id="too-long"),
        pytest.param(lambda: Reading("a", (1,), ()), id="nothing-to-read"),
        pytest.param(lambda: Reading("a", (), (1,)), id="no-prefix"),
        pytest.param(lambda: Reading("a", (1,), (1,), 5), id="a-budget-and-no-closing"),
        pytest.param(lambda: Reading("a", (1,), (1,), 0, (9,)), id="a-closing-and-no-budget"),
        pytest.param(lambda: Reading("a", (1,), (1, 2), n_content=2), id="nothing-behind-the-content"),
    ],
)
def test_a_reading_that_could_never_be_done_is_a_mistake_of_the_caller(make: Callable[[], Reading]) -> None:
    with pytest.raises(ValueError, match="reading"):
        scheduler().submit(1, [make()], deadline=LATE, now=0.0)


# Nothing twice

ROOMY = Shape(n_lanes=2, n_slots=2, n_cells=2000, n_batch=512, n_kept=2)
STREAMS = Shape(n_lanes=2, n_slots=1, n_cells=2000, n_batch=512, in_place=True, n_kept=1)
TURN = (7, 8)
"""What stands behind a content: the model's turn."""


def of(content: Sequence[int], policy: str = "a", **more: Any) -> Reading:
    return Reading(policy, (1, 2, 3), (*content, *TURN), n_content=len(content), **more)


def judged(s: Scheduler[str], reading: Reading) -> Batch:
    """The batch that has the reading's verdict, alone."""
    submit(s, 1, reading)
    command = batch(s)
    s.take(command, ["yes"], QUICK)
    return command


def n_computed(s: Scheduler[str], reading: Reading) -> int:
    return judged(s, reading).n_tokens


@pytest.mark.parametrize("shape", [ROOMY, STREAMS], ids=["contexts", "streams"])
def test_a_content_that_goes_on_costs_what_is_new(shape: Shape) -> None:
    s = scheduler(shape)
    assert n_computed(s, of(range(100))) == 102
    assert n_computed(s, of(range(130))) == 32
    assert n_computed(s, of(range(130))) == 2


def test_a_content_that_goes_on_takes_the_place_of_its_beginning() -> None:
    s = scheduler(ROOMY)
    judged(s, of(range(100)))
    command = judged(s, of(range(130)))
    assert command.edits == (Cut(0, 1, 103),)
    assert rows(command) == [(0, 1, [*range(100, 130), *TURN], 103, Want.VERDICT)]


def test_an_end_that_is_cut_into_other_tokens_is_read_again() -> None:
    s = scheduler(ROOMY)
    judged(s, of([*range(100), 500]))
    command = judged(s, of([*range(100), 600, 601]))
    assert command.edits == (Cut(0, 1, 104), Cut(0, 1, 103))
    assert rows(command) == [(0, 1, [600, 601, *TURN], 103, Want.VERDICT)]


def test_a_changed_earlier_message_is_read_anew_from_there() -> None:
    s = scheduler(ROOMY)
    judged(s, of(range(200)))
    command = judged(s, of([*range(90), 999, *range(91, 300)]))
    assert Branch(0, 1, 2, 93) in command.edits
    assert rows(command) == [(0, 2, [999, *range(91, 300), *TURN], 93, Want.VERDICT)]
    assert n_computed(s, of(range(250))) == 52, "the other one is still there"


def test_contents_with_the_same_beginning_share_it_while_both_are_kept() -> None:
    s = scheduler(ROOMY)
    system = range(1000, 1100)
    assert n_computed(s, of([*system, *range(70)])) == 172
    assert n_computed(s, of([*system, *range(500, 570)])) == 72
    assert n_computed(s, of([*system, *range(90)])) == 22


def test_nobody_goes_on_from_a_short_content_that_is_being_thought_about() -> None:
    s = scheduler(ROOMY)
    submit(s, 1, of(range(LEAST_KEPT - 1), budget=500, closing=(9,)))
    s.take(batch(s), [11], QUICK)
    submit(s, 2, of(range(LEAST_KEPT + 10)))
    assert batch(s).edits == (Branch(0, 0, 2, 3),), "nothing holds its tokens once they lie outside of the window"


def test_somebody_goes_on_from_a_longer_one() -> None:
    s = scheduler(ROOMY)
    submit(s, 1, of(range(LEAST_KEPT), budget=500, closing=(9,)))
    command = batch(s)
    assert command.rows[0].lasting
    s.take(command, [11], QUICK)
    submit(s, 2, of(range(LEAST_KEPT + 10)))
    assert batch(s).edits == (Branch(0, 1, 2, 3 + LEAST_KEPT),)


def test_a_stream_serves_the_policy_that_asks_even_if_another_content_must_go() -> None:
    s = scheduler(STREAMS)
    judged(s, of(range(100)))
    judged(s, of(range(200, 300)))
    assert n_computed(s, of(range(130))) == 32, "the second content went to a stream that nobody used"
    judged(s, of(range(400, 500)))
    assert n_computed(s, of(range(140))) == 12, "the third took the place of the second, which was used less recently"


def test_what_is_short_is_not_kept() -> None:
    s = scheduler(ROOMY)
    judged(s, of(range(LEAST_KEPT - 1)))
    assert n_computed(s, of(range(LEAST_KEPT + 10))) == LEAST_KEPT + 10 + len(TURN)


def test_nothing_is_kept_where_that_is_not_wanted() -> None:
    for shape in (replace(ROOMY, n_kept=0), replace(STREAMS, n_kept=0)):
        s = scheduler(shape)
        judged(s, of(range(100)))
        assert n_computed(s, of(range(130))) == 132


def test_what_is_kept_gives_way_to_what_is_read_least_recently_used_first() -> None:
    s = scheduler(Shape(1, 1, 500, 512, n_kept=3))
    judged(s, of(range(100)))
    judged(s, of(range(200, 300)))
    assert n_computed(s, of(range(101))) == 3
    judged(s, of(range(400, 700)))  # 3 + 302 cells leave room for one of the two
    assert n_computed(s, of(range(102))) == 3
    assert n_computed(s, of(range(200, 301))) == 103


def test_another_policy_begins_with_nothing() -> None:
    s = scheduler(replace(ROOMY, n_lanes=1))
    judged(s, of(range(100)))
    assert n_computed(s, of(range(100), "b")) == 102
    assert n_computed(s, of(range(100))) == 102


def test_what_was_read_before_a_job_was_called_off_is_kept() -> None:
    s = scheduler(replace(ROOMY, n_batch=128))
    submit(s, 1, of(range(200)))
    s.take(batch(s), [], QUICK)
    s.cancel(1)
    assert n_computed(s, of(range(200))) == 202 - 128


def test_admission_knows_what_need_not_be_read() -> None:
    s = scheduler(replace(ROOMY, n_batch=16))
    judged_in_parts = of(range(300))
    submit(s, 1, judged_in_parts)
    while len(s):
        command = batch(s)
        s.take(command, ["yes"] if any(row.want is Want.VERDICT for row in command.rows) else [], 16 / 10)
    submit(s, 1, of([999]))
    submit(s, 2, of(range(310)), deadline=3)
    assert isinstance(s.submit(3, [of(range(600, 910))], deadline=3, now=0.0), EngineOverloaded)


# More than one way to a verdict


@pytest.mark.parametrize("shape", [ROOMY, replace(ROOMY, n_kept=0)], ids=["keeps", "forgets"])
def test_a_reading_may_be_followed_by_another_of_the_same_content(shape: Shape) -> None:
    s = scheduler(shape)
    content = range(LEAST_KEPT)
    submit(s, 1, of(content))
    again = Reading("a", (1, 2, 3), (*content, 4, 5), budget=2, closing=(9,), n_content=LEAST_KEPT)
    assert s.take(batch(s), [again], QUICK) == []
    command = batch(s)
    assert command.edits == (Cut(0, 1, 3 + LEAST_KEPT),)
    assert rows(command) == [(0, 1, [4, 5], 3 + LEAST_KEPT, Want.TOKEN)]
    assert s.take(command, [None], QUICK) == []
    assert s.take(batch(s), ["no"], QUICK) == [Verdict(1, 0, "no")]
    assert len(s) == 0


def test_an_answer_that_is_no_label_is_read_up_to_its_limit() -> None:
    s = scheduler(ROOMY)
    submit(s, 1, of([1], n_answer=3), of([1], "b", n_answer=3))
    ends = []
    for values in ([Says(50)], [51], [52], [Says(60)], [None]):
        ends += s.take(batch(s), values, QUICK)
    assert ends == [Verdict(1, 0, None, answer=[50, 51, 52]), Verdict(1, 1, None, answer=[60])]


def test_an_answer_that_is_nothing_is_over_at_once() -> None:
    s = scheduler(ROOMY)
    submit(s, 1, of([1], n_answer=3))
    assert s.take(batch(s), [Says(None)], QUICK) == [Verdict(1, 0, None)]


def test_a_trace_whose_time_is_over_is_closed_and_asked_for_its_verdict() -> None:
    s = scheduler()
    thinking = Reading("a", (1, 2, 3), (7, 8), budget=20, closing=(9,), think_until=5.0)
    submit(s, 1, thinking)
    s.take(batch(s), [11], QUICK)
    s.take(batch(s), [12], QUICK)
    command = s.next(now=5.0)
    assert isinstance(command, Batch)
    assert rows(command) == [(0, 1, [12, 9], 6, Want.VERDICT)]
    assert s.take(command, ["yes"], QUICK) == [Verdict(1, 0, "yes", [11, 12], cut=True)]


def test_a_batch_is_over_when_somebody_has_to_be_told_that_it_is_too_late() -> None:
    s = scheduler(Shape(1, 4, 2000, 512))
    for job_id in range(3):
        submit(s, job_id, direct("a", *range(200)))
    assert batch(s).n_tokens > 288
    s.reading_speed = Speed()
    s.reading_speed.measured(100, 1.0)
    command = s.next(now=5.0, until=6.5)
    assert isinstance(command, Batch)
    assert command.n_tokens == 150
    command = s.next(now=5.0, until=4.0)
    assert isinstance(command, Batch)
    assert command.n_tokens == 16, "it gets on"


def test_a_batch_that_was_stopped_late_makes_the_next_ones_smaller() -> None:
    s = scheduler(Shape(1, 4, 2000, 512))
    submit(s, 1, direct("a", *range(400)))
    command = batch(s)
    s.reading_speed = Speed()
    s.reading_speed.measured(command.n_tokens, 0.1)
    before = s.reading_speed.tokens_per_s
    s.stopped(command, 0.01)
    assert s.reading_speed.tokens_per_s == before, "stopped before its time, it says nothing"
    s.stopped(command, 5.0)
    assert before is not None
    assert s.reading_speed.tokens_per_s is not None
    assert s.reading_speed.tokens_per_s < before / 2


def test_policies_that_are_read_already_are_asked_first_where_there_are_more_than_lanes() -> None:
    s = scheduler(Shape(2, 1, 100, 64))
    opened = []

    def judged(job_id: int) -> None:
        submit(s, job_id, *(direct(policy) for policy in "abc"))
        while (command := s.next()) is not None:
            if isinstance(command, Open):
                opened.append(command.policy)
                s.opened(command.lane, 3)
            else:
                s.take(command, ["yes"] * sum(row.want is not Want.NOTHING for row in command.rows), QUICK)

    for job_id in range(5):
        judged(job_id)
    assert len(opened) == 3 + 4, "one policy of three anew for each content"


def test_a_prefix_is_read_while_others_think() -> None:
    s = scheduler(Shape(2, 1, 400, 32, in_place=True))
    submit(s, 1, Reading("a", (1,) * 64, (7, 8), 300, (9,)))
    over: list[int] = []
    for n in range(120):
        if n == 10:
            submit(s, 2, direct("b", prefix=(2,) * 64), key="other")
        match s.next():
            case Open() as command:
                s.opened(command.lane, 0)
            case Batch() as command:
                wants = [row.want for row in command.rows if row.want is not Want.NOTHING]
                values = ["yes" if want is Want.VERDICT else 12 for want in wants]
                over += [verdict.job for verdict in s.take(command, values, QUICK)]
            case None:
                raise AssertionError("there is something to do")
    assert over == [2]


def test_a_reading_that_began_too_late_to_think_gives_its_verdict_at_once() -> None:
    s = scheduler()
    submit(s, 1, Reading("a", (1, 2, 3), (7, 8), budget=20, closing=(9,), think_until=5.0))
    command = s.next(now=6.0)
    assert isinstance(command, Open)
    s.opened(0, 3)
    command = s.next(now=6.0)
    assert isinstance(command, Batch)
    assert rows(command) == [(0, 1, [7, 8, 9], 3, Want.VERDICT)]


def test_a_trace_that_goes_in_circles_is_closed() -> None:
    seen = []

    def circles(trace: Sequence[int]) -> bool:
        seen.append(len(trace))
        return True

    s: Scheduler[str] = Scheduler(ROOMY, 10, is_enough=circles)
    submit(s, 1, of([1], budget=300, closing=(9,)))
    n = 0
    while (command := batch(s)).rows[0].want is Want.TOKEN:
        s.take(command, [5], QUICK)
        n += 1
    assert (n, seen) == (64, [63])


# Random schedules


WINDOW = 8
"""Tokens that the fake model looks back, behind the prefix."""


@dataclass
class FakeModel:
    """Keeps tokens where llama.cpp keeps cells, and says what depends on all of them."""

    shape: Shape

    def __post_init__(self) -> None:
        n = 1 if self.shape.in_place else self.shape.n_lanes
        n_sequences = self.shape.n_lanes if self.shape.in_place else self.shape.n_sequences + 1
        n_cells = self.shape.n_cells * (self.shape.n_lanes if self.shape.in_place else 1)
        self.ledgers = [KvLedger(n_cells, n_sequences) for _ in range(n)]
        self.tokens: dict[tuple[int, int], list[int]] = {}
        self.prefix: dict[int, list[int]] = {}
        self.safe: dict[tuple[int, int], set[int]] = {}
        """Positions that somebody else holds too."""
        self.lost: dict[tuple[int, int], set[int]] = {}
        """Positions that were given to others because they lay outside of the window; see `models.llama.context.Context`."""

    def where(self, lane: int, slot: int) -> tuple[int, int]:
        return (0, lane) if self.shape.in_place else (lane, slot)

    def open(self, command: Open) -> None:
        for slot in range(self.shape.n_sequences + 1):
            context, sequence = self.where(command.lane, slot)
            self.ledgers[context].clear(sequence)
            self.tokens[context, sequence] = []
            self.safe[context, sequence], self.lost[context, sequence] = set(), set()
        self.prefix[command.lane] = list(command.prefix)

    def edit(self, command: Batch) -> None:
        for edit in command.edits:
            context, sequence = self.where(edit.lane, edit.slot)
            match edit:
                case Cut(length=length):
                    assert length < len(self.tokens[context, sequence])
                    self.ledgers[context].cut(sequence, length)
                    del self.tokens[context, sequence][length:]
                    for positions in (self.safe, self.lost):
                        positions[context, sequence] -= set(range(length, 1000))
                case Branch(source=source, length=length):
                    assert not self.shape.in_place
                    self.ledgers[context].copy(source, sequence, length)
                    self.tokens[context, sequence] = self.tokens[context, source][:length]
                    self.lost[context, sequence] = self.lost[context, source] & set(range(length))
                    self.safe[context, sequence] = set(range(length)) if source else set()
            assert len(self.tokens[context, sequence]) == self.ledgers[context].length(sequence)
            kept = self.tokens[context, sequence]
            assert kept[: len(self.prefix[edit.lane])] == self.prefix[edit.lane][: len(kept)]
            assert not self.lost[context, sequence] & set(range(edit.length - WINDOW, edit.length))

    def run(self, command: Batch) -> list[list[int]]:
        """Compute a batch; all tokens up to where something is wanted."""
        assert 1 <= command.n_tokens <= self.shape.n_batch
        assert len({(row.lane, row.slot) for row in command.rows}) == len(command.rows)
        assert self.shape.in_place or len({row.lane for row in command.rows}) == 1
        seen = []
        for row in command.rows:
            context, sequence = self.where(row.lane, row.slot)
            assert len(self.tokens[context, sequence]) == row.position
            self.tokens[context, sequence] += row.tokens
            self.ledgers[context].append(sequence, len(row.tokens))
            if row.lasting:
                self.safe[context, sequence] |= set(range(row.position, row.position + len(row.tokens)))
            if row.slot and not self.shape.in_place:
                outside = set(range(len(self.prefix[row.lane]), len(self.tokens[context, sequence]) - WINDOW))
                self.lost[context, sequence] |= outside - self.safe[context, sequence]
            assert self.ledgers[context].n_free >= 0
            assert self.ledgers[context].length(sequence) <= self.shape.n_cells
            if row.want is not Want.NOTHING:
                seen.append(list(self.tokens[context, sequence]))
        return seen


Said = int | str | Says | Reading | None


def says(tokens: Sequence[int], want: Want, reading: Reading) -> Said:
    """What the fake model says after tokens: a token, now and then the end, or a verdict, or that there is to be another."""
    digest = hashlib.sha256(repr(list(tokens)).encode()).digest()
    if want is not Want.VERDICT:
        return None if digest[0] < 40 else digest[1]
    if digest[0] < 30:
        return Says(digest[1] if digest[2] < 200 else None)
    if digest[0] < 90 and not reading.budget:
        content = reading.opening[: reading.n_content]
        return replace(reading, opening=(*content, 77), budget=3, closing=(55, 56))
    return digest.hex()


def expected(reading: Reading) -> tuple[str | None, list[int], list[int]]:
    """Verdict, trace and answer of a reading that has the model for itself."""
    tokens, trace, said = [*reading.prefix, *reading.opening], list[int](), list[int]()
    while len(trace) < reading.budget and (token := says(tokens, Want.TOKEN, reading)) is not None:
        assert isinstance(token, int)
        trace.append(token)
        tokens.append(token)
    tokens += reading.closing
    match says(tokens, Want.VERDICT, reading):
        case Reading() as again:
            return expected(again)
        case Says(token):
            while token is not None:
                said.append(token)
                tokens.append(token)
                following = says(tokens, Want.ANSWER, reading)
                assert following is None or isinstance(following, int)
                token = following if len(said) < reading.n_answer else None
            return None, trace, said
        case verdict:
            assert isinstance(verdict, str)
            return verdict, trace, said


@st.composite
def readings(draw: st.DrawFn) -> Reading:
    policy = draw(st.integers(0, 4))
    budget = draw(st.sampled_from([0, 0, 1, 6]))
    # few different contents, of which many begin alike
    content = draw(st.sampled_from([[1, 2, 3, 4] * 6, [1, 2, 3, 4] * 3 + [9] * 12, [5] * 24]))[
        : draw(st.integers(0, 22))
    ]
    turn = draw(st.lists(st.integers(0, 9), min_size=1, max_size=3))
    return Reading(
        policy, [100 + policy] * (1 + 3 * policy), (*content, *turn), budget, (55, 56) if budget else (),
        n_content=draw(st.sampled_from([len(content), len(content), 0])), n_answer=draw(st.integers(0, 2)),
    )  # fmt: skip


shapes = st.builds(
    lambda n_lanes, n_slots, in_place, n_batch, n_kept: Shape(
        n_lanes, 1 if in_place else n_slots, 49, n_batch, in_place, n_kept
    ),
    st.integers(1, 4),
    st.integers(1, 3),
    st.booleans(),
    st.integers(5, 40),
    st.integers(0, 4),
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("submit"), st.lists(readings(), min_size=1, max_size=4), st.integers(0, 3)),
        st.tuples(st.just("cancel"), st.integers(0, 20), st.just(0)),
        st.tuples(st.sampled_from(["work", "work", "work", "stopped", "failed", "lost"]), st.just(0), st.just(0)),
    ),
    max_size=30,
)


def check_schedule(shape: Shape, script: list[tuple[str, object, int]]) -> None:
    s: Scheduler[str] = Scheduler(shape, 1000)
    model = FakeModel(shape)
    jobs: dict[int, Sequence[Reading]] = {}
    open_readings: set[tuple[int, int]] = set()
    now_read: dict[tuple[int, int], Reading] = {}
    n_usable = shape.n_lanes

    def work(how: str) -> bool:
        nonlocal n_usable
        match s.next():
            case Open() as command if how == "lost" and n_usable > 1 and not shape.in_place:
                n_usable -= 1
                s.lose(command.lane)
            case Open() as command:
                model.open(command)
                s.opened(command.lane, 0)
            case Batch() as command:
                model.edit(command)
                if how == "failed":
                    check(s.fail(command, VerdictError("failed")))
                elif how != "stopped":
                    wanting = [row for row in command.rows if row.want is not Want.NOTHING]
                    values = [said(row, tokens) for row, tokens in zip(wanting, model.run(command), strict=True)]
                    check(s.take(command, values, 0.01))
            case None:
                return False
        return True

    def said(row: Row, tokens: list[int]) -> Said:
        assert row.reader is not None
        reading = now_read[row.reader]
        value = says(tokens, row.want, reading)
        if isinstance(value, Reading):
            now_read[row.reader] = value
        return value

    def check(verdicts: list[Verdict[str]]) -> None:
        for verdict in verdicts:
            open_readings.remove((verdict.job, verdict.index))
            if not isinstance(verdict.value, EngineError):
                found = (verdict.value, list(verdict.trace), list(verdict.answer))
                assert found == expected(jobs[verdict.job][verdict.index])

    for number, (what, argument, key) in enumerate(script):
        if what == "submit":
            assert isinstance(argument, list)
            jobs[number] = argument
            assert s.submit(number, argument, deadline=1e6 + (number * 7) % 5, now=0.0, key=key) is None
            open_readings |= {(number, index) for index in range(len(argument))}
            now_read.update({(number, index): reading for index, reading in enumerate(argument)})
        elif what == "cancel":
            assert isinstance(argument, int)
            s.cancel(argument)
            open_readings -= {reading for reading in open_readings if reading[0] == argument}
        else:
            work(what)
    n_left = sum(2 * (r.n_cells + len(r.prefix) + 10) for job, index in open_readings for r in [jobs[job][index]])
    n_steps = 0
    while work("work"):
        n_steps += 1
        assert n_steps <= n_left, "every command brings somebody nearer to the end"
    assert not open_readings
    assert len(s) == 0


@pytest.mark.timeout(1200)
@settings(max_examples=int(os.environ.get("SCHEDULES", "300")))  # SCHEDULES=10000: two to three minutes
@given(shapes, steps)
def test_random_schedules_keep_the_books_starve_nobody_and_mix_up_nothing(
    shape: Shape, script: list[tuple[str, object, int]]
) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("models.lane.LEAST_KEPT", 5)
        patched.setattr("models.scheduler.LEAST_KEPT", 5)
        patched.setattr("models.lane._SCRAP", 1)
        check_schedule(shape, script)


def test_a_policy_is_read_on_as_long_as_one_of_those_who_wait_for_it_is_there() -> None:
    s = scheduler(Shape(1, 3, 1000, 512))
    for job_id in (1, 2, 3):
        submit(s, job_id, direct("a", job_id, 8, prefix=range(300)))
    command = s.next()
    assert isinstance(command, Open)
    s.opened(command.lane, 0)
    command = s.next()
    assert isinstance(command, Batch)
    assert command.jobs == {1, 2, 3}


def test_what_is_left_to_read_of_a_policy_counts_for_who_comes_after_the_one_who_wanted_it_first() -> None:
    s = scheduler(Shape(2, 4, 4096, 512))
    s.reading_speed.measured(300, 10)  # 30 tokens per second
    prefix = range(2000)
    submit(s, 1, direct("a", prefix=prefix), deadline=200)
    command = s.next()
    assert isinstance(command, Open)
    s.opened(command.lane, 0)
    command = s.next()
    assert isinstance(command, Batch)
    s.take(command, [], 4.0)
    submit(s, 9, direct("b", prefix=[1]), deadline=300)
    assert (
        s.submit(2, [direct("a", 5, prefix=prefix)], deadline=100, now=4.0) is None
    )  # the first one pays for the policy
    s.cancel(2)
    s.cancel(1)
    assert isinstance(s.submit(2, [direct("a", 5, prefix=prefix)], deadline=14, now=4.0), EngineOverloaded)
    assert s.submit(3, [direct("a", 5, prefix=prefix)], deadline=90, now=4.0) is None

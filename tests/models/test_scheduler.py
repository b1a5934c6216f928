"""The scheduler, by comparing lists; and against a model that checks every command like llama.cpp would, only kinder."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import EngineError, EngineOverloaded, VerdictError
from models.ledger import KvLedger
from models.scheduler import PREFIX_CHUNK, Batch, Open, Reading, Row, Scheduler, Shape, Verdict, Want

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
    assert command == Batch((), (), (Row(0, 0, (1, 2, 3), 0, Want.NOTHING),), frozenset({1}))
    assert s.take(command, [], QUICK) == []
    command = s.next()
    assert command == Batch((), ((0, 1),), (Row(0, 1, (7, 8), 3, Want.VERDICT),), frozenset({1}))
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
    assert (command.clear, command.branch) == (((0, 1),), ((0, 1),))


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
    assert (command.clear, command.branch, command.jobs) == (((0, 1),), ((0, 1),), frozenset({2}))


def test_a_batch_that_was_stopped_is_given_again() -> None:
    s = scheduler()
    submit(s, 1, direct("a"))
    first = batch(s)
    again = batch(s)
    assert again.rows == first.rows
    assert (again.clear, again.branch) == ((), ())


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
    refusal = s.submit(2, [direct("a", *range(50))], deadline=9, now=0.0)
    assert isinstance(refusal, EngineOverloaded)
    assert "10.6 s" in str(refusal)  # (53 + 53) tokens, 10 a second: the prefix is not read yet
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
    "reading",
    [
        pytest.param(direct("a", *range(98)), id="too-long"),
        pytest.param(Reading("a", (1,), ()), id="nothing-to-read"),
        pytest.param(Reading("a", (), (1,)), id="no-prefix"),
        pytest.param(Reading("a", (1,), (1,), 5), id="a-budget-and-no-closing"),
        pytest.param(Reading("a", (1,), (1,), 0, (9,)), id="a-closing-and-no-budget"),
    ],
)
def test_a_reading_that_could_never_be_done_is_a_mistake_of_the_caller(reading: Reading) -> None:
    with pytest.raises(ValueError, match="reading"):
        scheduler().submit(1, [reading], deadline=LATE, now=0.0)


# Random schedules


@dataclass
class FakeModel:
    """Keeps tokens where llama.cpp keeps cells, and says what depends on all of them."""

    shape: Shape
    kept: dict[tuple[int, int], list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = 1 if self.shape.in_place else self.shape.n_lanes
        n_sequences = self.shape.n_lanes if self.shape.in_place else self.shape.n_slots + 1
        n_cells = self.shape.n_cells * (self.shape.n_lanes if self.shape.in_place else 1)
        self.ledgers = [KvLedger(n_cells, n_sequences) for _ in range(n)]
        self.tokens: dict[tuple[int, int], list[int]] = {}
        self.prefix: dict[int, list[int]] = {}

    def where(self, lane: int, slot: int) -> tuple[int, int]:
        return (0, lane) if self.shape.in_place else (lane, slot)

    def open(self, command: Open) -> None:
        for slot in range(self.shape.n_slots + 1):
            context, sequence = self.where(command.lane, slot)
            self.ledgers[context].clear(sequence)
            self.tokens[context, sequence] = []
        self.prefix[command.lane] = list(command.prefix)

    def run(self, command: Batch, *, stopped: bool) -> list[int | str | None]:
        assert 1 <= command.n_tokens <= self.shape.n_batch
        assert len({(row.lane, row.slot) for row in command.rows}) == len(command.rows)
        assert self.shape.in_place or len({row.lane for row in command.rows}) == 1
        for lane, slot in command.clear:
            context, sequence = self.where(lane, slot)
            n_kept = len(self.prefix[lane]) if self.shape.in_place else 0
            del self.tokens[context, sequence][n_kept:]
            self.ledgers[context].cut(sequence, n_kept)
        for lane, slot in command.branch:
            context, sequence = self.where(lane, slot)
            if not self.shape.in_place:
                self.ledgers[context].copy(0, sequence)
                self.tokens[context, sequence] = list(self.tokens[context, 0])
            assert self.tokens[context, sequence] == self.prefix[lane]
        if stopped:
            return []
        values: list[int | str | None] = []
        for row in command.rows:
            context, sequence = self.where(row.lane, row.slot)
            assert len(self.tokens[context, sequence]) == row.position
            self.tokens[context, sequence] += row.tokens
            self.ledgers[context].append(sequence, len(row.tokens))
            assert self.ledgers[context].n_free >= 0
            assert self.ledgers[context].length(sequence) <= self.shape.n_cells
            if row.want is not Want.NOTHING:
                values.append(answer(self.tokens[context, sequence], row.want))
        return values


def answer(tokens: Sequence[int], want: Want) -> int | str | None:
    """What the fake model says after tokens: a token, now and then the end of the trace, or a verdict."""
    digest = hashlib.sha256(repr(list(tokens)).encode()).digest()
    if want is Want.VERDICT:
        return digest.hex()
    return None if digest[0] < 40 else digest[1]


def expected(reading: Reading) -> tuple[str, list[int]]:
    """The verdict of a reading that has the model for itself."""
    tokens, trace = [*reading.prefix, *reading.opening], list[int]()
    while len(trace) < reading.budget and (token := answer(tokens, Want.TOKEN)) is not None:
        assert isinstance(token, int)
        trace.append(token)
        tokens.append(token)
    verdict = answer([*tokens, *reading.closing], Want.VERDICT)
    assert isinstance(verdict, str)
    return verdict, trace


@st.composite
def readings(draw: st.DrawFn) -> Reading:
    policy = draw(st.integers(0, 4))
    budget = draw(st.sampled_from([0, 0, 1, 6]))
    opening = draw(st.lists(st.integers(0, 9), min_size=1, max_size=25))
    return Reading(policy, [100 + policy] * (1 + 3 * policy), opening, budget, (55, 56) if budget else ())


shapes = st.builds(
    lambda n_lanes, n_slots, in_place, n_batch: Shape(n_lanes, 1 if in_place else n_slots, 46, n_batch, in_place),
    st.integers(1, 4),
    st.integers(1, 3),
    st.booleans(),
    st.integers(5, 40),
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
            case Batch() as command if how in ("stopped", "failed"):
                model.run(command, stopped=True)
                if how == "failed":
                    check(s.fail(command, VerdictError("failed")))
            case Batch() as command:
                check(s.take(command, model.run(command, stopped=False), 0.01))
            case None:
                return False
        return True

    def check(verdicts: list[Verdict[str]]) -> None:
        for verdict in verdicts:
            open_readings.remove((verdict.job, verdict.index))
            if not isinstance(verdict.value, EngineError):
                assert (verdict.value, verdict.trace) == expected(jobs[verdict.job][verdict.index])

    for number, (what, argument, key) in enumerate(script):
        if what == "submit":
            assert isinstance(argument, list)
            jobs[number] = argument
            assert s.submit(number, argument, deadline=1e6 + (number * 7) % 5, now=0.0, key=key) is None
            open_readings |= {(number, index) for index in range(len(argument))}
        elif what == "cancel":
            assert isinstance(argument, int)
            s.cancel(argument)
            open_readings -= {reading for reading in open_readings if reading[0] == argument}
        else:
            work(what)
    n_left = sum(r.n_cells + len(r.prefix) + 2 for job, index in open_readings for r in [jobs[job][index]])
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
    check_schedule(shape, script)

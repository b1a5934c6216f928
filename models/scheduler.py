"""Decides what llama.cpp computes next: continuous batching over (content × policy). Does no I/O and knows no model.

A *job* is one call: readings of one content against several policies, a deadline, and a key among which time is shared
fairly. A *reading* is one window of the content behind one policy's prefix. It passes through up to three phases, and
readings in different phases share a batch::

    opening (content, then the model's turn) ──▶ trace, a token at a time, up to a budget ──▶ closing ──▶ verdict
        └──────────── no budget (tier direct) ─────────────────────────────────────────────────────────▶ verdict

A *lane* is where one policy's prefix lives, with slots for readings that continue it. How lanes lie in memory is the
layout's business (`Shape`): every lane a llama.cpp context of its own whose slots are copies of the prefix, or every lane
one stream of a common context, extended and cut back in place. Lanes of one context share its batches.

The order: the key that was served the fewest tokens first; among its jobs the earliest deadline; then first come. The
batch belongs to the context of the most urgent reading that runs; whoever else is there rides along. A reading that finds
all lanes taken by other policies holds back everybody behind it until one is idle, so nothing starves; lanes are given
away least recently used first.

Room is booked for a whole reading before it starts (`_Lane.n_booked`), so nothing that was begun runs out of cells, and
no batch is larger than a call may be: llama.cpp would end the process.

What cannot make its deadline is refused at once: tokens ahead over measured tokens per second. A job that would be alone
is always tried, so a wrong measurement cannot lock everybody out.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Generic, TypeVar

from models.errors import EngineError, EngineOverloaded

V = TypeVar("V")

PREFIX_CHUNK = 128
"""A prefix is read in portions of fixed size: other sizes would round otherwise, and give other scores after a restart."""

_BATCH_S = 0.25
"""How long a batch may take, as far as the measured speed foretells: between batches, deadlines and who has left are seen."""
_LEAST_BATCH = 16
_SHORT = 16
"""Rows up to this length go before longer ones: a step of a trace never waits for a content to be read."""
_FORGET = 0.8
"""Weight that a measurement keeps at each newer one: the first batch of a model that is still on disk takes very long."""


class Want(Enum):
    """What is to be read after the last token of a row."""

    NOTHING = "nothing"
    TOKEN = "token"
    """The next token of the trace; None where the model ends it."""
    VERDICT = "verdict"


@dataclass(frozen=True, slots=True)
class Shape:
    """A layout, as far as it limits what may be done.

    Attributes:
        n_lanes: Policies (or copies of one) that are kept ready.
        n_slots: Readings at once in a lane.
        n_cells: Tokens of a lane: the prefix once, and all that its readings have behind it.
        n_batch: Tokens of one call.
        in_place: All lanes are streams of one context, each with one slot that continues the prefix itself. Otherwise every
            lane is a context: sequence 0 is the prefix, slots are sequences 1 … ``n_slots``.
    """

    n_lanes: int
    n_slots: int
    n_cells: int
    n_batch: int
    in_place: bool = False

    def __post_init__(self) -> None:
        if min(self.n_lanes, self.n_slots, self.n_cells, self.n_batch) < 1 or (self.in_place and self.n_slots != 1):
            raise ValueError(f"impossible layout: {self}")


@dataclass(frozen=True, slots=True)
class Reading:
    """One window of a content against one policy.

    Attributes:
        policy: Key of the prefix.
        prefix: Its tokens.
        opening: Tokens behind it, up to where the model speaks.
        budget: Most tokens of the trace; 0: the verdict is read right after ``opening``.
        closing: Tokens between the trace and the verdict.
    """

    policy: Hashable
    prefix: Sequence[int] = field(repr=False)
    opening: Sequence[int] = field(repr=False)
    budget: int = 0
    closing: Sequence[int] = field(default=(), repr=False)

    @property
    def n_cells(self) -> int:
        """Cells that it may need behind the prefix."""
        return len(self.opening) + self.budget + len(self.closing)


@dataclass(frozen=True, slots=True)
class Open:
    """Command: empty a lane and make it ready for a policy. The answer is `Scheduler.opened`."""

    lane: int
    policy: Hashable
    prefix: Sequence[int] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Row:
    """Tokens that one sequence gets in a batch.

    Attributes:
        lane: Whose.
        slot: 0 for the prefix; else the slot, from 1.
        tokens: At least one.
        position: Of the first token, counted from the beginning of the prefix.
        want: What to read after the last token.
    """

    lane: int
    slot: int
    tokens: Sequence[int] = field(repr=False)
    position: int
    want: Want


@dataclass(frozen=True, slots=True)
class Batch:
    """Command: one call of llama.cpp. The answer is `Scheduler.take` or `Scheduler.fail`, or nothing: it was stopped.

    Attributes:
        clear: Slots, as (lane, slot), that hold what is not needed any more: cut them back to the prefix.
        branch: Slots that begin a reading, as copies of the prefix.
        rows: What to compute; each slot at most once.
        jobs: Whose.
    """

    clear: tuple[tuple[int, int], ...]
    branch: tuple[tuple[int, int], ...]
    rows: tuple[Row, ...]
    jobs: frozenset[int]

    @property
    def n_tokens(self) -> int:
        """Tokens of all rows."""
        return sum(len(row.tokens) for row in self.rows)


@dataclass(frozen=True, slots=True)
class Verdict(Generic[V]):
    """A reading is over: ``value`` is what was read, or why there is nothing."""

    job: int
    index: int
    value: V | EngineError
    trace: Sequence[int] = field(repr=False)


class _Job:
    def __init__(self, job_id: int, key: Hashable, deadline: float) -> None:
        self.job_id = job_id
        self.key = key
        self.deadline = deadline
        self.runs: list[_Run] = []
        self.n_reading = 0
        """Estimate of what is left to be read …"""
        self.n_thinking = 0.0
        """… and to be thought."""


class _Run:
    """A reading under way."""

    def __init__(self, job: _Job, index: int, reading: Reading) -> None:
        self.job = job
        self.index = index
        self.reading = reading
        self.lane: _Lane | None = None
        self.slot = 0
        self.n_fed = 0
        self.trace: list[int] = []
        self.pending: Sequence[int] = reading.opening
        self.then = Want.TOKEN if reading.budget else Want.VERDICT

    def think(self, token: int | None) -> None:
        """The model's next token is known."""
        if token is not None:
            self.trace.append(token)
        self.pending = [] if token is None else [token]
        if token is None or len(self.trace) == self.reading.budget:
            self.pending = [*self.pending, *self.reading.closing]
            self.then = Want.VERDICT


class _Lane:
    """A place for one prefix, and the books of its cells and slots."""

    def __init__(self, number: int, shape: Shape) -> None:
        self.number = number
        self.policy: Hashable = None
        self.prefix: Sequence[int] = ()
        self.n_read = 0
        self.opening = False
        self.runs: dict[int, _Run] = {}
        self.n_booked = 0
        self.last_used = 0
        self.to_clear: list[int] = []
        self.to_branch: list[int] = []
        self._shape = shape
        self.free = list(range(shape.n_slots, 0, -1))

    def fits(self, reading: Reading) -> bool:
        return bool(self.free) and self.n_booked + reading.n_cells <= self._shape.n_cells

    def pin(self, reading: Reading) -> None:
        self.policy, self.prefix = reading.policy, reading.prefix
        self.n_read, self.n_booked, self.opening = 0, len(reading.prefix), True
        self.to_clear.clear()  # `Open` empties all of it
        self.to_branch.clear()

    def put(self, run: _Run) -> None:
        run.lane, run.slot = self, self.free.pop()
        self.runs[run.slot] = run
        self.n_booked += run.reading.n_cells
        self.to_branch.append(run.slot)

    def drop(self, run: _Run) -> None:
        del self.runs[run.slot]
        self.free.append(run.slot)
        self.n_booked -= run.reading.n_cells
        if run.slot in self.to_branch:
            self.to_branch.remove(run.slot)
        elif run.slot not in self.to_clear:
            self.to_clear.append(run.slot)
        run.lane = None


class Speed:
    """Tokens per second, the newest measurements weighing most."""

    def __init__(self) -> None:
        self._n_tokens = 0.0
        self._seconds = 0.0

    def measured(self, n_tokens: int, seconds: float) -> None:
        """Note a measurement."""
        self._n_tokens = _FORGET * self._n_tokens + n_tokens
        self._seconds = _FORGET * self._seconds + seconds

    @property
    def tokens_per_s(self) -> float | None:
        """None: nothing was measured yet."""
        return self._n_tokens / self._seconds if self._seconds > 0 else None


class Scheduler(Generic[V]):
    """Takes jobs and results, gives commands.

    Args:
        shape: The layout.
        max_jobs: Most jobs at once; one more is `EngineOverloaded`.
    """

    def __init__(self, shape: Shape, max_jobs: int) -> None:
        self._shape = shape
        self._max_jobs = max_jobs
        self._jobs: dict[int, _Job] = {}
        self._lanes = [_Lane(number, shape) for number in range(shape.n_lanes)]
        self._served: dict[Hashable, float] = {}
        self._n_commands = 0
        self._mean_trace = 0.0
        self.reading_speed = Speed()
        """Of batches that mostly read."""
        self.thinking_speed = Speed()
        """Of batches that are steps of traces."""

    def __len__(self) -> int:
        """Jobs that are not over."""
        return len(self._jobs)

    def submit(
        self, job_id: int, readings: Sequence[Reading], *, deadline: float, now: float, key: Hashable = None
    ) -> EngineOverloaded | None:
        """Take a job, or refuse it at once.

        Args:
            job_id: Any number that is not in use.
            readings: At least one; `Verdict.index` counts them.
            deadline: On the clock of ``now``.
            now: The time.
            key: Who is asking.

        Returns:
            Why not; None: the job was taken.

        Raises:
            ValueError: The id is in use, or a reading can never fit into a lane.
        """
        if job_id in self._jobs or not readings:
            raise ValueError(f"job {job_id} exists already, or has nothing to read")
        for reading in readings:
            if not reading.prefix or not reading.opening or (reading.budget > 0) != bool(reading.closing):
                raise ValueError("a reading has a prefix, an opening, and either budget and closing or none of both")
            if len(reading.prefix) + reading.n_cells > self._shape.n_cells:
                raise ValueError(f"a reading of {reading.n_cells} tokens does not fit behind its prefix")
        if len(self._jobs) >= self._max_jobs:
            return EngineOverloaded(f"{self._max_jobs} calls are waiting for the guard")
        job = _Job(job_id, key, deadline)
        job.runs = [_Run(job, index, reading) for index, reading in enumerate(readings)]
        job.n_reading = sum(len(r.opening) + len(r.closing) for r in readings) + self._n_prefix_tokens(readings)
        job.n_thinking = sum(min(r.budget, self._mean_trace) for r in readings)
        if self._jobs and (wait_s := self._estimate_s(job)) > deadline - now:
            return EngineOverloaded(
                f"the guard would need about {wait_s:.1f} s, the deadline is in {max(0.0, deadline - now):.1f} s"
            )
        if key not in self._served:  # what was missed while away is not made up for
            self._served[key] = min(self._served.values(), default=0.0)
        self._jobs[job_id] = job
        return None

    def cancel(self, job_id: int) -> None:
        """Forget a job; nothing happens if it is over."""
        job = self._jobs.pop(job_id, None)
        if job is None:
            return
        for run in job.runs:
            if run.lane is not None:
                run.lane.drop(run)
        if not any(other.key == job.key for other in self._jobs.values()):
            del self._served[job.key]

    def next(self) -> Open | Batch | None:
        """The next command; None: there is nothing to do."""
        self._n_commands += 1
        order = sorted(self._jobs.values(), key=lambda job: (self._served[job.key], job.deadline, job.job_id))
        self._place(order)
        for lane in self._lanes:
            if lane.opening and lane.runs:
                return Open(lane.number, lane.policy, lane.prefix)
        first = next((run for job in order for run in job.runs if run.lane is not None), None)
        if first is None or first.lane is None:
            return None
        lanes = self._lanes if self._shape.in_place else [first.lane]
        for lane in lanes:
            if lane.runs:
                lane.last_used = self._n_commands
        return self._batch(lanes, [run for job in order for run in job.runs if run.lane in lanes])

    def opened(self, lane: int, n_read: int) -> None:
        """A lane is ready.

        Args:
            lane: Which.
            n_read: Tokens of the prefix that it holds already: none, or all where it was restored.
        """
        self._lanes[lane].opening = False
        self._lanes[lane].n_read = n_read

    def lose(self, lane: int) -> None:
        """A lane could not be opened, for want of memory, and never will be; its readings wait for another.

        Raises:
            ValueError: It is the last one.
        """
        usable = [other for other in self._lanes if other.free or other.runs]
        if len(usable) == 1:
            raise ValueError("the last lane cannot be lost")
        lost = self._lanes[lane]
        for run in list(lost.runs.values()):
            lost.drop(run)
        lost.policy, lost.opening, lost.free, lost.to_clear = None, False, [], []

    def take(self, batch: Batch, values: Sequence[int | V | EngineError | None], seconds: float) -> list[Verdict[V]]:
        """A batch was computed.

        Args:
            batch: The command.
            values: One for each row that wants something, in order: a token, None at the end of a trace, or a verdict.
            seconds: How long it took.

        Returns:
            Readings that are over.
        """
        self._measure(batch, seconds)
        verdicts: list[Verdict[V]] = []
        answers = iter(values)
        for row in batch.rows:
            lane = self._lanes[row.lane]
            value = next(answers) if row.want is not Want.NOTHING else None
            if row.slot == 0:
                lane.n_read += len(row.tokens)
                self._account(next(iter(lane.runs.values())), len(row.tokens))
                continue
            run = lane.runs[row.slot]
            run.n_fed += len(row.tokens)
            run.pending = run.pending[len(row.tokens) :]
            self._account(run, len(row.tokens))
            if row.want is Want.VERDICT or isinstance(value, EngineError):
                verdicts.append(self._finish(run, value))  # type: ignore[arg-type]  # what the caller read there
            elif row.want is Want.TOKEN:
                run.think(value)  # type: ignore[arg-type]  # as `values` says
        return verdicts

    def fail(self, batch: Batch, error: EngineError) -> list[Verdict[V]]:
        """A batch could not be computed: its readings are over, and those whose prefix was in it."""
        runs: list[_Run] = []
        for row in batch.rows:
            lane = self._lanes[row.lane]
            if row.slot:
                runs.append(lane.runs[row.slot])
            else:
                runs += lane.runs.values()
                lane.policy = None  # whatever comes next opens it anew
        return [self._finish(run, error) for run in runs]

    def _n_prefix_tokens(self, readings: Iterable[Reading]) -> int:
        known = {lane.policy for lane in self._lanes}
        return sum({r.policy: len(r.prefix) for r in readings if r.policy not in known}.values())

    def _estimate_s(self, job: _Job) -> float:
        """Seconds until a new job would be done; 0 where nothing was measured.

        Its key has at worst its fair share of the time, and at worst everything that others have goes before it.
        """
        reading_speed = self.reading_speed.tokens_per_s
        if reading_speed is None:
            return 0.0
        thinking_speed = self.thinking_speed.tokens_per_s or reading_speed

        def seconds(jobs: Iterable[_Job]) -> float:
            return sum(max(0, j.n_reading) / reading_speed + max(0.0, j.n_thinking) / thinking_speed for j in jobs)

        own = seconds([job, *(j for j in self._jobs.values() if j.key == job.key and j.deadline <= job.deadline)])
        others = seconds(j for j in self._jobs.values() if j.key != job.key)
        return min(own + others, own * len({job.key, *self._served}))

    def _place(self, order: Iterable[_Job]) -> None:
        """Give slots to readings that wait, in order."""
        full: set[Hashable] = set()
        for run in (run for job in order for run in job.runs):
            policy = run.reading.policy
            if run.lane is not None or policy in full:
                continue
            same = [lane for lane in self._lanes if lane.policy == policy and lane.policy is not None]
            lane = next((lane for lane in same if lane.fits(run.reading)), None)
            if lane is None and (not same or self._shape.in_place):
                lane = self._idle(replica=bool(same))
                if lane is not None:
                    lane.pin(run.reading)
            if lane is not None:
                lane.put(run)
            elif same:
                full.add(policy)  # nobody smaller overtakes
            else:
                return

    def _idle(self, *, replica: bool) -> _Lane | None:
        """The lane that was idle for longest; for a second copy of a policy only one that holds nothing."""
        idle = (lane for lane in self._lanes if lane.free and not lane.runs and (lane.policy is None or not replica))
        return min(idle, key=lambda lane: (lane.policy is not None, lane.last_used), default=None)

    def _batch(self, lanes: Sequence[_Lane], runs: Sequence[_Run]) -> Batch:
        speed = self.reading_speed.tokens_per_s
        foretold = PREFIX_CHUNK if speed is None else int(speed * _BATCH_S)
        n_left = self._shape.n_batch
        room = min(n_left, max(_LEAST_BATCH, foretold))
        rows: list[Row] = []
        jobs: set[int] = set()
        branch = [(lane.number, slot) for lane in lanes if lane.n_read == len(lane.prefix) for slot in lane.to_branch]
        clear = [(lane.number, slot) for lane in lanes for slot in lane.to_clear]
        for lane in lanes:
            lane.to_clear.clear()
            if lane.n_read == len(lane.prefix):
                lane.to_branch.clear()
        for run in sorted(runs, key=lambda run: len(run.pending) > _SHORT):
            assert run.lane is not None
            lane = run.lane
            if lane.n_read < len(lane.prefix):
                chunk = lane.prefix[lane.n_read : lane.n_read + min(PREFIX_CHUNK, self._shape.n_batch)]
                if len(chunk) > n_left or any(row.lane == lane.number for row in rows):
                    continue
                row = Row(lane.number, 0, chunk, lane.n_read, Want.NOTHING)
            elif room > 0:
                tokens = run.pending[:room]
                want = run.then if len(tokens) == len(run.pending) else Want.NOTHING
                row = Row(lane.number, run.slot, tokens, len(lane.prefix) + run.n_fed, want)
            else:
                continue
            rows.append(row)
            jobs.add(run.job.job_id)
            n_left -= len(row.tokens)
            room -= len(row.tokens)
        return Batch(tuple(clear), tuple(branch), tuple(rows), frozenset(jobs))

    def _account(self, run: _Run, n_tokens: int) -> None:
        self._served[run.job.key] += n_tokens
        if run.trace and n_tokens == 1:
            run.job.n_thinking -= n_tokens
        else:
            run.job.n_reading -= n_tokens

    def _measure(self, batch: Batch, seconds: float) -> None:
        n_steps = sum(row.want is Want.TOKEN and len(row.tokens) == 1 for row in batch.rows)
        speed = self.thinking_speed if 2 * n_steps > batch.n_tokens else self.reading_speed
        speed.measured(batch.n_tokens, seconds)

    def _finish(self, run: _Run, value: V | EngineError) -> Verdict[V]:
        job = run.job
        assert run.lane is not None
        run.lane.drop(run)
        job.runs.remove(run)
        if run.reading.budget:
            self._mean_trace = _FORGET * self._mean_trace + (1 - _FORGET) * len(run.trace)
        if not job.runs:
            self.cancel(job.job_id)
        return Verdict(job.job_id, run.index, value, run.trace)

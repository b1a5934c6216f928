"""Decides what llama.cpp computes next: continuous batching over (content × policy). Does no I/O and knows no model.

A *job* is one call: readings of one content against several policies, a deadline, and a key among which time is shared
fairly. A *reading* is one window of the content behind one policy's prefix. It passes through up to four phases, and
readings in different phases share a batch::

    opening (content, then the model's turn) ──▶ trace, a token at a time, up to a budget ──▶ closing ──▶ verdict
        └──────────── no budget (tier direct) ─────────────────────────────────────────────────────────▶ verdict
                                                  no label, but something else (a refusal, a task) ──▶ its beginning

Whoever reads the verdict may answer with another reading of the same content (`Scheduler.take`): it goes on where the
content ends. Where contents lie, and what stays of them, is `models.lane`'s business.

The order: the key that was served the fewest tokens first; among its jobs the earliest deadline; then first come. The
batch belongs to the context of the most urgent reading that runs; whoever else is there rides along. A reading that finds
all lanes taken by other policies holds back everybody behind it until one is idle, so nothing starves; lanes are given
away least recently used first.

Room is booked for a whole reading before it starts (`models.lane.Lane.n_booked`), so nothing that was begun runs out of
cells, and no batch is larger than a call may be: llama.cpp would end the process.

What cannot make its deadline is refused at once: tokens ahead over measured tokens per second. A job that would be alone
is always tried, so a wrong measurement cannot lock everybody out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Generic, TypeVar

from models.commands import Batch, Edit, Open, Reading, Row, Says, Shape, Verdict, Want
from models.errors import EngineError, EngineOverloaded
from models.lane import LEAST_KEPT, Job, Lane, Run

V = TypeVar("V")

PREFIX_CHUNK = 128
"""A prefix is read in portions of fixed size: other sizes would round otherwise, and give other scores after a restart."""

_BATCH_S = 0.5
"""How long a batch may take, as far as the measured speed foretells: between batches whoever is most urgent comes first."""
_LEAST_BATCH = 288
"""A CPU reads four contents of usual length together a tenth to a fifth faster than one by one, and less than 64 tokens very
much slower (`models.llama.handle`). Batches that were small because they are slow would stay slow."""
_SHORT = 16
"""Rows up to this length go before longer ones: a step of a trace never waits for a content to be read."""
_FORGET = 0.8
"""Weight that a measurement keeps at each newer one: the first batch of a model that is still on disk takes very long."""
_LOOK_EVERY = 64
"""After so many tokens, a trace is looked at: does it go in circles?"""


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


def _length_of_row(n_pending: int, room: int, least: int, most: int, *, first: bool) -> int:
    """How much of a row goes into a batch; 0: it waits for the next one.

    Only the first row is read in pieces, and only if it is much longer than a batch should be: a piece of another would leave a
    remainder that costs nearly as much.

    Args:
        n_pending: Length of the row.
        room: Tokens for which there is time.
        least: Tokens that a batch has at least, if there are so many.
        most: Tokens that the call may still have.
        first: Whether all rows before it are short.
    """
    if n_pending <= min(room, most):
        return n_pending
    if not first:
        return 0
    room = max(room, least)  # however many short ones there are, it gets on
    return n_pending if n_pending <= min(room + room // 2, most) else min(room, most)


def _waits_for_short_ones(run: Run) -> bool:
    """Whether a reading's next row is long; of one whose prefix is being read it isn't: no number of short ones holds it up."""
    assert run.lane is not None
    return run.lane.whole and len(run.pending) > _SHORT


class Scheduler(Generic[V]):
    """Takes jobs and results, gives commands.

    Args:
        shape: The layout.
        max_jobs: Most jobs at once; one more is `EngineOverloaded`, whoever asks. `models.host` sends no more, and is fair.
        is_enough: Asked now and then whether a trace should end here.
    """

    def __init__(
        self, shape: Shape, max_jobs: int, *, is_enough: Callable[[Sequence[int]], bool] = lambda trace: False
    ) -> None:
        self._shape = shape
        self._max_jobs = max_jobs
        self._is_enough = is_enough
        self._jobs: dict[int, Job] = {}
        self._lanes = [Lane(number, shape) for number in range(shape.n_lanes)]
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
            self._check(reading)
        if len(self._jobs) >= self._max_jobs:
            return EngineOverloaded(f"{self._max_jobs} calls are waiting for the guard")
        job = Job(job_id, key, deadline)
        job.runs = [Run(job, index, reading) for index, reading in enumerate(readings)]
        unread = self._unread(readings)
        job.pays, job.n_reading = frozenset(unread), sum(unread.values())
        for run in job.runs:
            self._expect(run)
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
                run.lane.drop(run, self._n_commands)
        if not any(other.key == job.key for other in self._jobs.values()):
            del self._served[job.key]

    def next(self, now: float = 0.0, until: float = math.inf) -> Open | Batch | None:
        """The next command; None: there is nothing to do.

        Args:
            now: On the clock of `Reading.think_until`.
            until: When a batch should be over at the latest, on the same clock: it has fewer tokens then. A portion of a prefix
                has its size nevertheless.
        """
        self._n_commands += 1
        order = sorted(self._jobs.values(), key=lambda job: (self._served[job.key], job.deadline, job.job_id))
        self._place(order)
        for run in (run for job in order for run in job.runs):
            if run.then is Want.TOKEN and now >= run.reading.think_until:
                run.cut = True
                run.conclude()
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
        return self._batch(lanes, [run for job in order for run in job.runs if run.lane in lanes], until - now)

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
        if sum(not other.lost for other in self._lanes) == 1:
            raise ValueError("the last lane cannot be lost")
        lost = self._lanes[lane]
        for run in lost.runs:
            lost.drop(run, self._n_commands)
            run.again(run.reading)
        lost.policy, lost.opening, lost.lost = None, False, True

    def take(
        self, batch: Batch, values: Sequence[int | V | EngineError | Says | Reading | None], seconds: float
    ) -> list[Verdict[V]]:
        """A batch was computed.

        Args:
            batch: The command.
            values: One for each row that wants something, in order: the next token of a trace or an answer, None at its end;
                or a verdict. In place of a verdict, `Says`: there is none, the model says something else. Or a `Reading`: the
                same content is read once more, in this way.
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
                self._account(lane.runs[0], len(row.tokens))
                continue
            run = lane.reader(row.slot)
            run.n_fed += len(row.tokens)
            run.pending = run.pending[len(row.tokens) :]
            self._account(run, len(row.tokens))
            match value:
                case _ if row.want is Want.NOTHING:
                    pass
                case EngineError():
                    verdicts.append(self._finish(run, value))
                case Reading():
                    lane.drop(run, self._n_commands, again=True)
                    self._check(value)
                    run.again(value)
                    self._expect(run)
                case Says(token):
                    if run.say(token):
                        verdicts.append(self._finish(run, None))
                case _ if row.want is Want.VERDICT:
                    verdicts.append(self._finish(run, value))  # type: ignore[arg-type]  # what the caller read there
                case _ if row.want is Want.ANSWER:
                    if run.say(value):  # type: ignore[arg-type]  # as `values` says
                        verdicts.append(self._finish(run, None))
                case _:
                    n = len(run.trace) + 1
                    enough = n % _LOOK_EVERY == 0 and self._is_enough(run.trace)
                    run.think(value, enough=enough)  # type: ignore[arg-type]  # as `values` says
        return verdicts

    def stopped(self, batch: Batch, seconds: float) -> None:
        """A batch was stopped and nothing of it was done. If it took longer than foretold, so will the next ones."""
        speed = self.reading_speed.tokens_per_s
        if seconds > 0 and (speed is None or batch.n_tokens < speed * seconds):
            self._measure(batch, seconds)

    def fail(self, batch: Batch, error: EngineError) -> list[Verdict[V]]:
        """A batch could not be computed: its readings are over, and those whose prefix was in it."""
        runs: list[Run] = []
        for row in batch.rows:
            lane = self._lanes[row.lane]
            if row.slot:
                runs.append(lane.reader(row.slot))
            else:
                runs += lane.runs
                lane.policy = None  # whatever comes next opens it anew
        return [self._finish(run, error) for run in runs]

    def _check(self, reading: Reading) -> None:
        if len(reading.prefix) + reading.n_cells > self._shape.n_cells:
            raise ValueError(f"a reading of {reading.n_cells} tokens does not fit behind its prefix")

    def _expect(self, run: Run) -> None:
        """Add to its job what a reading will probably cost."""
        reading = run.reading
        run.n_expected = max((lane.n_known(run) for lane in self._lanes if lane.policy == reading.policy), default=0)
        run.job.n_reading += len(reading.opening) - run.n_expected + len(reading.closing)
        run.job.n_thinking += min(reading.budget or math.inf, self._mean_trace)

    def _unread(self, readings: Iterable[Reading]) -> dict[Hashable, int]:
        """Tokens of policies that nobody has read yet and that are in no other job's estimate."""
        paid = {policy for job in self._jobs.values() for policy in job.pays}
        n_read = {lane.policy: lane.n_read for lane in sorted(self._lanes, key=lambda lane: lane.n_read)}
        return {r.policy: len(r.prefix) - n_read.get(r.policy, 0) for r in readings if r.policy not in paid}

    def _estimate_s(self, job: Job) -> float:
        """Seconds until a new job would be done; 0 where nothing was measured.

        Its key has at worst its fair share of the time, and at worst everything that others have goes before it.
        """
        reading_speed = self.reading_speed.tokens_per_s
        if reading_speed is None:
            return 0.0
        thinking_speed = self.thinking_speed.tokens_per_s or reading_speed

        def seconds(jobs: Iterable[Job]) -> float:
            return sum(max(0, j.n_reading) / reading_speed + max(0.0, j.n_thinking) / thinking_speed for j in jobs)

        own = seconds([job, *(j for j in self._jobs.values() if j.key == job.key and j.deadline <= job.deadline)])
        others = seconds(j for j in self._jobs.values() if j.key != job.key)
        return min(own + others, own * len({job.key, *self._served}))

    def _place(self, order: Iterable[Job]) -> None:
        """Give slots to readings that wait, in order; of a job first to those whose policy is here.

        Where there are more policies than lanes, the first of them would else take the lane of the last, and each content would
        have every policy read anew.
        """
        full: set[Hashable] = set()
        here = {lane.policy for lane in self._lanes}
        for run in (run for job in order for run in sorted(job.runs, key=lambda run: run.reading.policy not in here)):
            policy = run.reading.policy
            if run.lane is not None or policy in full:
                continue
            same = [lane for lane in self._lanes if lane.policy == policy and lane.policy is not None]
            lane = self._choose(same, run)
            if lane is None and (not same or self._shape.in_place):
                lane = self._idle(replica=bool(same))
                if lane is not None:
                    lane.pin(run.reading)
            if lane is not None:
                lane.put(run, self._n_commands)
                run.job.n_reading += run.n_expected - run.n_fed
            elif same:
                full.add(policy)  # nobody smaller overtakes
            else:
                return

    def _choose(self, same: Sequence[Lane], run: Run) -> Lane | None:
        """One of the lanes of a policy. A stream where another content rests only if there is none that was never used."""
        fitting = [lane for lane in same if lane.fits(run.reading)]
        if not fitting or not self._shape.in_place:
            return fitting[0] if fitting else None
        best = max(fitting, key=lambda lane: (lane.n_continued(run), not lane.rests, -lane.last_used))
        if best.rests and not best.n_continued(run) and self._idle(replica=True) is not None:
            return None
        return best

    def _idle(self, *, replica: bool) -> Lane | None:
        """The lane that was idle for longest; for a second copy of a policy only one that holds nothing."""
        idle = (
            lane for lane in self._lanes if not lane.lost and not lane.runs and (lane.policy is None or not replica)
        )
        return min(idle, key=lambda lane: (lane.policy is not None, lane.last_used), default=None)

    def _batch(self, lanes: Sequence[Lane], runs: Sequence[Run], seconds: float) -> Batch:
        speed = self.reading_speed.tokens_per_s
        foretold = PREFIX_CHUNK if speed is None else int(speed * _BATCH_S)
        n_left = self._shape.n_batch
        most = math.inf if speed is None else max(_SHORT, speed * seconds)
        in_time = int(min(n_left, most))
        least = min(_LEAST_BATCH, in_time)
        room = min(in_time, max(least, foretold))
        edits: list[Edit] = []
        rows: list[Row] = []
        jobs: set[int] = set()
        for lane in lanes:
            if lane.whole:
                edits += lane.edits
                lane.edits.clear()
        is_first = True
        for run in sorted(runs, key=_waits_for_short_ones):
            assert run.lane is not None
            assert run.slot is not None
            lane = run.lane
            if not lane.whole:
                chunk = lane.prefix[lane.n_read : lane.n_read + min(PREFIX_CHUNK, self._shape.n_batch)]
                if len(chunk) > n_left or any(row.lane == lane.number for row in rows):
                    continue
                row = Row(lane.number, 0, chunk, lane.n_read, Want.NOTHING)
                jobs |= {other.job.job_id for other in lane.runs}
            elif n_row := _length_of_row(len(run.pending), room, least, max(0, in_time), first=is_first):
                tokens = run.pending[:n_row]
                want = run.then if len(tokens) == len(run.pending) else Want.NOTHING
                reader = (run.job.job_id, run.index)
                lasting = run.n_fed < len(run.content) >= LEAST_KEPT
                row = Row(lane.number, run.slot.number, tokens, len(lane.prefix) + run.n_fed, want, reader, lasting)
            else:
                continue
            rows.append(row)
            is_first = is_first and len(row.tokens) <= _SHORT
            jobs.add(run.job.job_id)
            n_left -= len(row.tokens)
            in_time -= len(row.tokens)
            room -= len(row.tokens)
        return Batch(tuple(edits), tuple(rows), frozenset(jobs))

    def _account(self, run: Run, n_tokens: int) -> None:
        self._served[run.job.key] += n_tokens
        if run.trace and n_tokens == 1:
            run.job.n_thinking -= n_tokens
        else:
            run.job.n_reading -= n_tokens

    def _measure(self, batch: Batch, seconds: float) -> None:
        n_steps = sum(row.want is Want.TOKEN and len(row.tokens) == 1 for row in batch.rows)
        speed = self.thinking_speed if 2 * n_steps > batch.n_tokens else self.reading_speed
        speed.measured(batch.n_tokens, seconds)

    def _finish(self, run: Run, value: V | EngineError | None) -> Verdict[V]:
        job = run.job
        assert run.lane is not None
        run.lane.drop(run, self._n_commands)
        job.runs.remove(run)
        self._mean_trace = _FORGET * self._mean_trace + (1 - _FORGET) * len(run.trace)
        if not job.runs:
            self.cancel(job.job_id)
        return Verdict(job.job_id, run.index, value, run.trace, run.answer, run.cut)

"""A guard on this machine: supervises its process and queues the calls.

::

    starting ──ready──▶ ready ──death──▶ down ──back-off──▶ starting
        ├──the model is missing, wrong, not understood or too large──▶ failed (for good)
        └──its canaries fail──▶ unfit ──back-off──▶ starting

At most ``LocalSpec.n_at_once`` jobs are in the process, where they are judged together or in turns. The others wait here,
where a deadline or a caller that leaves removes them at no cost, and where they outlive the process: after a death they go
to its successor. A job that was alone in it is lost, and not tried again by itself. Where several were in it, nobody knows
which is to blame: they go to the successor too, one after the other (`models.quarantine`).

Nothing here trusts the process to answer. A job without an answer one second after its deadline means that the
process hangs (or is stopped): it is killed and replaced.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path

import structlog

from models import catalog, memory_check, tasks, wire
from models.canaries import CanaryFailed, examine
from models.engine import Canary, GuardPolicy, Passage, Score, Tier
from models.errors import (
    ContentTooLong,
    EngineError,
    EngineOverloaded,
    EngineTimeout,
    EngineUnavailable,
    ModelLoadError,
)
from models.gguf_header import HeaderError
from models.guard_process import COMMAND, GuardProcess, ProcessDied
from models.job_queue import Job, JobQueue
from models.quarantine import Quarantine, Quarantined, digest
from models.shared import asker
from models.specs import GuardPlan, LocalSpec
from models.usage import Usage

log = structlog.get_logger()


class State(StrEnum):
    """Where a guard's life stands."""

    STARTING = "starting"
    READY = "ready"
    DOWN = "down"
    UNFIT = "unfit"
    FAILED = "failed"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Timings:
    """All in seconds; tests shorten them."""

    first_back_off_s: float = 0.2
    longest_back_off_s: float = 30.0
    healthy_after_s: float = 60.0
    """A process that lived as long was well: its death starts the back-off anew."""
    load_timeout_s: float = 1800.0
    """Hashing and loading 65 GB from a slow disk takes minutes."""
    readiness_wait_s: float = 2.0
    """How long a call waits for a guard that is starting or restarting."""
    hang_grace_s: float = 1.0
    answer_grace_s: float = 0.1
    """What the answer of a job that ran into its deadline may take to arrive: it can hold scores."""
    close_grace_s: float = 1.0
    canary_timeout_s: float = 120.0
    """For one canary, if the guard has no longer limit of its own: the first one of a policy also prefills the policy."""


_NOT_IN_A_VERDICT = frozenset(
    {"name", "model", "timeout_s", "max_queue", "sha256", "check_memory"}
    | {"n_at_once", "n_policies", "prefix_cache", "max_kept", "kv_tokens"}
)
"""Fields of a spec that change no verdict, or are in `LocalEngine.model`; whatever else there is counts."""


_TIERS = {"encoder": (Tier.ENCODER,), "llama": (Tier.DIRECT, Tier.REASONED)}
"""By engine: what its verdicts can be. They are counted from zero, so that a share can be computed from the first one on."""


class LocalEngine:
    """An `models.engine.Engine` whose model runs in a process of its own.

    Args:
        spec: Which model, and its limits.
        command: The process; the number of its socket is appended.
        canaries: What each new process has to get right before the guard is ready.
        timings: Waits and graces.
    """

    def __init__(
        self,
        spec: LocalSpec,
        *,
        command: Sequence[str] = COMMAND,
        canaries: Sequence[Canary] = (),
        timings: Timings | None = None,
    ) -> None:
        self._spec = spec
        self._canaries = tuple(canaries)
        self._settings = repr({k: v for k, v in asdict(spec).items() if k not in _NOT_IN_A_VERDICT})
        self._command = command
        self._timings = timings or Timings()
        self._state = State.DOWN
        self._changed = asyncio.Event()
        self._wake = asyncio.Event()
        self._waiting_for_readiness: Counter[str] = Counter()
        self._running: dict[int, Job] = {}
        self._process: GuardProcess | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._quarantine = Quarantine()
        self._waiting = JobQueue(self._quarantine)
        self._job_ids = itertools.count(1)
        self._model = spec.model
        self._verified: str | None = None
        self._last_error: str | None = "not started"
        self._past_usage = Usage()
        self.restarts = 0
        """How often a process died and was, or will be, replaced."""
        self.verdicts = Counter(dict.fromkeys(_TIERS.get(spec.engine, ()), 0))
        """Scores that were given, by tier; those of canaries do not count."""

    @property
    def state(self) -> State:
        """Where the guard's life stands."""
        return self._state

    @property
    def ready(self) -> bool:
        """Whether the process is there with its model loaded and its canaries judged right."""
        return self._state is State.READY

    @property
    def model(self) -> str:
        """Name and revision of the loaded model; before the first load, the name in the configuration."""
        return self._model

    @property
    def settings(self) -> str:
        """What verdicts depend on besides the model; see `models.verdict_cache.Cacheable`."""
        return self._settings

    @property
    def last_error(self) -> str | None:
        """Why the guard is not ready."""
        return None if self.ready else self._last_error

    @property
    def is_incremental(self) -> bool:
        """See `models.engine.Engine.is_incremental`."""
        return self._spec.engine == "llama" and self._spec.max_kept > 0

    @property
    def pid(self) -> int | None:
        """Process id of the guard, if it runs."""
        return self._process.pid if self._process is not None else None

    @property
    def usage(self) -> Usage:
        """What all its processes have computed, as far as they said so with their answers."""
        return self._past_usage if self._process is None else self._past_usage + self._process.usage

    @property
    def n_in_process(self) -> int:
        """Calls that are in the process: those that are being judged, and those that wait there."""
        return len(self._running)

    @property
    def queue_length(self) -> int:
        """Calls that wait. Of those in the process one is counted as being judged: the others are in its own queue."""
        return len(self._waiting) + self._waiting_for_readiness.total() + max(0, len(self._running) - 1)

    async def start(self) -> None:
        """Begin loading; a second call does nothing, unless the guard has failed for good."""
        if self._state is State.FAILED or (self._supervisor is None and self._state is not State.CLOSED):
            self._become(State.STARTING, "the model is being loaded")
            self._supervisor = tasks.own(self._supervise(), name=f"guard {self._spec.name}")

    async def wait_ready(self, timeout_s: float) -> bool:
        """Wait until the guard is ready, has failed for good or has failed its canaries; whether it is ready."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self._state in (State.STARTING, State.DOWN):
                    await self._changed.wait()
        return self.ready

    async def close(self) -> None:
        """End the process, within two seconds, and answer everybody who waits."""
        self._become(State.CLOSED, "closed")
        supervisor, self._supervisor = self._supervisor, None
        await tasks.end(supervisor)
        await self._end_process()  # again: the cancellation may have met the supervisor while it ended the process

    async def prepare(self, plan: GuardPlan) -> None:
        """See `models.engine.Engine.prepare`. Canaries wait their turn among the calls of others."""
        spec = plan.spec
        if isinstance(spec, LocalSpec) and spec.check_memory and spec.n_policies is not None:
            complaint = await asyncio.to_thread(memory_check.more_policies, self._spec, spec.n_policies)
            if complaint is not None:
                raise EngineUnavailable(complaint)
        if new := [canary for canary in plan.canaries if canary not in self._canaries]:
            await examine(self._spec.name, new, self._ask_in_turn)

    def adopt(self, plan: GuardPlan) -> None:
        """See `models.engine.Engine.adopt`: the next process is examined by these canaries."""
        assert isinstance(plan.spec, LocalSpec)
        self._canaries, self._spec = plan.canaries, plan.spec

    async def judge(
        self, passages: Sequence[Passage], policies: Sequence[GuardPolicy], *, deadline: float
    ) -> list[Score | EngineError]:
        """Score one content against several policies; see `models.engine.Engine.judge`. For whom, `models.shared` knows."""
        return await self._judge(passages, policies, min(deadline, time.monotonic() + self._spec.timeout_s))

    async def _judge(
        self, passages: Sequence[Passage], policies: Sequence[GuardPolicy], deadline: float, *, is_canary: bool = False
    ) -> list[Score | EngineError]:
        job = await self._admit(passages, policies, deadline, is_canary)
        if isinstance(job, EngineError):
            return [job] * len(policies)
        try:
            async with asyncio.timeout(deadline - time.monotonic() + self._timings.answer_grace_s):
                return await job.answer
        except TimeoutError:
            return [EngineTimeout("the deadline passed before the guard had a verdict")] * len(policies)
        finally:
            self._forget(job)

    async def _ask_in_turn(self, passage: Passage, policy: GuardPolicy) -> Score | EngineError:
        """Ask for a canary while the guard serves. A full queue or a process that is replaced is waited for."""
        deadline = time.monotonic() + self._canary_timeout_s
        while True:
            [entry] = await self._judge([passage], [policy], deadline, is_canary=True)
            is_worth_a_try = isinstance(entry, (EngineOverloaded, EngineUnavailable)) and time.monotonic() < deadline
            if not is_worth_a_try or self._state not in (State.STARTING, State.READY, State.DOWN):
                return entry
            await asyncio.sleep(self._timings.first_back_off_s)

    async def _admit(
        self, passages: Sequence[Passage], policies: Sequence[GuardPolicy], deadline: float, is_canary: bool
    ) -> Job | EngineError:
        """Put a call into the queue, or say why not."""
        if sum(len(passage.text) for passage in passages) > wire.MAX_FRAME_BYTES:
            return ContentTooLong(f"the content has more than {wire.MAX_FRAME_BYTES} characters")
        try:
            content = digest(passages)
        except UnicodeEncodeError:
            return EngineError("the content is not valid Unicode")
        if self._quarantine.refuses(content):
            return Quarantined("the guard process died each time it judged this content")
        key = asker()
        if not self._has_room(key):
            return EngineOverloaded(f"{self._spec.max_queue} calls are waiting for the guard")
        if not self.ready and (refusal := await self._await_readiness(key, deadline)) is not None:
            return refusal
        job = Job(next(self._job_ids), passages, policies, deadline, content, key, is_canary)
        self._waiting.put(job)
        self._wake.set()
        return job

    def _has_room(self, key: str) -> bool:
        """Whether a call may wait. In a full queue only a key that has less than its share gets one more in.

        So who came later has its share besides what is there already. Of n keys the i-th to come holds at most the i-th part
        of ``max_queue`` (and one) that way: all together ``max_queue * (1 + 1/2 + ... + 1/n)``.
        """
        if self.queue_length < self._spec.max_queue:
            return True
        held = Counter(job.key for job in self._running.values()) + self._waiting.by_key() + self._waiting_for_readiness
        return held[key] < self._spec.max_queue / len(held.keys() | {key})

    async def _await_readiness(self, key: str, deadline: float) -> EngineError | None:
        self._waiting_for_readiness[key] += 1
        try:
            ready = await self.wait_ready(min(deadline - time.monotonic(), self._timings.readiness_wait_s))
        finally:
            self._waiting_for_readiness[key] -= 1
        if ready:
            return None
        if time.monotonic() >= deadline:
            return EngineTimeout("the deadline passed before the guard was ready")
        return EngineUnavailable(f"the guard is {self._state}")

    def _forget(self, job: Job) -> None:
        """The caller has its answer or has gone: take the job out of the queue, or out of the process's hands."""
        if job.job_id in self._running:
            if self._process is not None:
                self._process.cancel(job.job_id)
        else:
            self._waiting.remove(job)

    def _become(self, state: State, reason: str | None = None) -> None:
        if state is not self._state:
            log.info("guard_state", guard=self._spec.name, state=state.value, reason=reason, model=self._model)
        self._state = state
        if reason is not None:
            self._last_error = reason
        self._changed.set()
        self._changed = asyncio.Event()

    async def _supervise(self) -> None:
        """Life of the guard: one process after the other, until it fails for good or `close` cancels."""
        delay_s = self._timings.first_back_off_s
        try:
            while True:
                ready_at, lost = None, State.DOWN
                try:
                    process = await self._start_process()
                    ready_at = time.monotonic()
                    reason = await self._feed(process)
                except ModelLoadError as error:
                    self._become(State.FAILED, str(error))
                    return
                except CanaryFailed as error:  # a new process reads the file anew; nothing is known to be lost for good
                    reason, lost = str(error), State.UNFIT
                except (EngineError, ProcessDied, OSError) as error:
                    reason = str(error)
                self.restarts += 1
                self._become(lost, reason)
                await self._end_process()
                if ready_at is not None and time.monotonic() - ready_at >= self._timings.healthy_after_s:
                    delay_s = self._timings.first_back_off_s
                await asyncio.sleep(delay_s)
                delay_s = min(2 * delay_s, self._timings.longest_back_off_s)
                self._become(State.STARTING)
        except Exception as error:  # our own mistake: nobody may wait for a guard that has no supervisor
            self._become(State.FAILED, f"the supervisor failed: {type(error).__name__}")
            raise
        finally:
            self._waiting.fail_all(EngineUnavailable(f"the guard is {self._state}"))
            await self._end_process()

    async def _start_process(self) -> GuardProcess:
        path = catalog.resolve(self._spec.model)
        await self._check_memory(path)
        self._process = process = await GuardProcess.start(self._spec, self._command, self._wake)
        doing = "loading the model"
        try:
            self._model, self._verified = await process.load(path, self._verified, self._timings.load_timeout_s)
            doing = "judging its canaries"
            if self._canaries:
                await examine(self._spec.name, self._canaries, partial(self._ask_canary, process))
        except ProcessDied as error:
            if not process.dead:
                raise
            await process.reap()
            raise ProcessDied(f"while {doing}, {process.epitaph()}") from error
        self._become(State.READY)
        return process

    async def _ask_canary(self, process: GuardProcess, passage: Passage, policy: GuardPolicy) -> Score | EngineError:
        timeout_s = self._canary_timeout_s
        try:
            async with asyncio.timeout(timeout_s + self._timings.hang_grace_s):
                entries = await process.submit(next(self._job_ids), [passage], [policy], time.monotonic() + timeout_s)
        except TimeoutError:
            raise ProcessDied("the guard process did not judge a canary in time and was ended") from None
        return entries[0]

    @property
    def _canary_timeout_s(self) -> float:
        return max(self._timings.canary_timeout_s, self._spec.timeout_s)

    async def _check_memory(self, path: Path) -> None:
        """Log what the model needs; refuse what does not fit, before minutes go into hashing and loading it."""
        try:
            need = await asyncio.to_thread(memory_check.look, self._spec, path)
        except HeaderError as error:  # not for us to judge: the process verifies the file and says what is wrong
            log.warning("guard_memory_unknown", guard=self._spec.name, reason=str(error))
            return
        log.info("guard_memory", guard=self._spec.name, needs=str(need.estimate), available=need.available_text)
        if need.fits or not self._spec.check_memory:
            return
        if self._verified is None:
            raise ModelLoadError(need.complaint(self._spec.name))
        raise EngineUnavailable(need.complaint(self._spec.name))  # it did fit once, and may again

    async def _end_process(self) -> None:
        if (process := self._process) is None:
            return
        # only a process that we end ourselves and that is well is asked; any other is dead, hangs or talks nonsense
        asked = self._state is State.CLOSED and not process.dead
        await process.close(self._timings.close_grace_s if asked else 0.0)
        if self._process is process:
            self._past_usage, self._process = self.usage, None

    async def _feed(self, process: GuardProcess) -> str:
        """Give jobs to a process until it dies or has to; why."""
        try:
            while not process.dead:
                self._wake.clear()
                self._submit(process)
                try:
                    async with asyncio.timeout_at(self._hangs_at()):
                        await self._wake.wait()
                except TimeoutError:
                    if self._hang():
                        return "the guard process did not answer in time and was killed"
            await asyncio.sleep(0)  # answers that came just before are worth having
            await process.reap()
            return process.epitaph()
        finally:
            self._process_lost()

    def _submit(self, process: GuardProcess) -> None:
        """Hand over what waits, as far as the process takes it. A suspect goes alone."""
        alone = any(self._quarantine.suspects(job.content) for job in self._running.values())
        while len(self._running) < self._spec.n_at_once and not alone:
            if (job := self._waiting.next(len(self._running))) is None:
                return
            try:
                answer = process.submit(job.job_id, job.passages, job.policies, job.deadline, job.key)
            except wire.WireError:
                job.fail(ContentTooLong("the content cannot be sent to the guard process"))
                continue
            except ProcessDied:
                self._waiting.put_back([job])
                return
            self._running[job.job_id] = job
            answer.add_done_callback(partial(self._answered, job))
            alone = self._quarantine.suspects(job.content)

    def _answered(self, job: Job, answer: asyncio.Future[list[wire.Entry]]) -> None:
        """The process answered, or died: then `_process_lost` says what becomes of its jobs."""
        if answer.exception() is None and self._running.pop(job.job_id, None) is not None:
            self._quarantine.survived(job.content)
            if not job.is_canary:
                self.verdicts.update(entry.tier for entry in answer.result() if isinstance(entry, Score))
            job.settle(answer.result())
            self._wake.set()

    def _hangs_at(self) -> float | None:
        """When the next job is overdue, on the event loop's clock. A job that its caller gave up is waited for all the same."""
        if not self._running:
            return None
        deadline = min(job.deadline for job in self._running.values())
        left_s = deadline + self._timings.hang_grace_s - time.monotonic()
        return asyncio.get_running_loop().time() + left_s

    def _hang(self) -> bool:
        """Whether jobs are overdue; their callers are told so."""
        latest = time.monotonic() - self._timings.hang_grace_s
        overdue = [job for job in self._running.values() if job.deadline <= latest]
        for job in overdue:
            job.fail(EngineTimeout("the guard did not answer by the deadline"))
        return bool(overdue)

    def _process_lost(self) -> None:
        """The process is not used any more: blame the job that was alone in it, or suspect all of several."""
        jobs, self._running = list(self._running.values()), {}
        if self._state is State.CLOSED:
            for job in jobs:
                job.fail(EngineUnavailable("the guard was closed"))
            return
        for job in jobs:
            self._quarantine.died(job.content, alone=len(jobs) == 1)
        if len(jobs) == 1:
            jobs[0].fail(EngineUnavailable("the guard process died while it judged this content"))
        else:
            self._waiting.put_back(jobs)

"""Calls that wait for a guard process: whoever asks takes turns. Does no I/O and knows no process.

Nothing useless leaves this queue: what is past its deadline, was given up by its caller, or has meanwhile been put into
quarantine is answered here and never reaches the process.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence

from models import wire
from models.engine import GuardPolicy, Passage
from models.errors import EngineError, EngineTimeout
from models.quarantine import Quarantine, Quarantined


class Job:
    """One call of `models.host.LocalEngine.judge`, from its admission to its answer.

    Attributes:
        job_id: Number within the engine.
        deadline: On ``time.monotonic()``'s clock.
        content: Digest of the passages (`models.quarantine.digest`).
        key: Who is asking.
        is_canary: Asked to find out about the guard, not about the content.
        answer: One entry per policy. The caller awaits it, and cancels it by leaving.
    """

    def __init__(
        self,
        job_id: int,
        passages: Sequence[Passage],
        policies: Sequence[GuardPolicy],
        deadline: float,
        content: bytes,
        key: str = "",
        is_canary: bool = False,
    ) -> None:
        self.job_id = job_id
        self.passages = passages
        self.policies = policies
        self.deadline = deadline
        self.content = content
        self.key = key
        self.is_canary = is_canary
        self.answer: asyncio.Future[list[wire.Entry]] = asyncio.get_running_loop().create_future()

    def settle(self, entries: list[wire.Entry]) -> None:
        """Give the answer, if anybody still waits for one."""
        if not self.answer.done():
            self.answer.set_result(entries)

    def fail(self, error: EngineError) -> None:
        """Give the same error for every policy."""
        self.settle([error] * len(self.policies))


class JobQueue:
    """Of one key first in, first out; among keys, who had a turn longest ago. Its bound is the caller's business: `len`.

    A job that is to be judged alone (`Quarantine.suspects`) is given out when nothing else runs, and holds the others back.
    """

    def __init__(self, quarantine: Quarantine, clock: Callable[[], float] = time.monotonic) -> None:
        self._quarantine = quarantine
        self._clock = clock
        self._jobs: deque[Job] = deque()
        self._turns = itertools.count(1)
        self._last_turn: dict[str, int] = {}
        """By key, of which there are as many as routes."""

    def __len__(self) -> int:
        return len(self._jobs)

    def by_key(self) -> Counter[str]:
        """How many jobs of whom wait."""
        return Counter(job.key for job in self._jobs)

    def put(self, job: Job) -> None:
        """Let a job wait."""
        self._jobs.append(job)

    def put_back(self, jobs: Sequence[Job]) -> None:
        """Let jobs wait that had been taken out, in front of the others."""
        self._jobs.extendleft(reversed(jobs))

    def next(self, n_running: int = 0) -> Job | None:
        """Take out the next job that is worth doing; answer those that are not.

        Args:
            n_running: Jobs that were taken out and are not over.
        """
        while self._jobs:
            job = self._first()
            if n_running and self._quarantine.suspects(job.content) and not job.answer.done():
                return None
            self._jobs.remove(job)
            if job.answer.done():
                continue
            if self._clock() >= job.deadline:
                job.fail(EngineTimeout("the deadline passed while the call waited for the guard"))
            elif self._quarantine.refuses(job.content):
                job.fail(Quarantined("the guard process died each time it judged this content"))
            else:
                self._last_turn[job.key] = next(self._turns)
                return job
        return None

    def _first(self) -> Job:
        """The oldest job of the key whose turn it is."""
        oldest: dict[str, Job] = {}
        for job in self._jobs:
            oldest.setdefault(job.key, job)
        return min(oldest.values(), key=lambda job: self._last_turn.get(job.key, 0))

    def remove(self, job: Job) -> None:
        """The caller has gone; nothing happens where the job does not wait any more."""
        if job in self._jobs:
            self._jobs.remove(job)

    def fail_all(self, error: EngineError) -> None:
        """Answer everybody, because there will be no process."""
        while self._jobs:
            self._jobs.popleft().fail(error)

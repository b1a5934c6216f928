"""From rows to records: many rows are judged at once, their records come in the order of the rows.

A row waits for its guards, not for other rows; only writing is in order, so a slow row holds back the records behind it, not
their judging, until the window is full. What is in the window is lost with the process and judged again by the next run.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from models.patient import PatientEngine
from proxy.batch.rows import InputError, Row
from proxy.records import decision_record
from rules.decision import Cause, Decision, Verdict, decide
from rules.rule import OnError
from rules.screen import Screener

MAX_CHARS = 64 * 1024 * 1024
"""Of all rows in the window: 64 MB to 256 MB of memory."""
SYNC_EVERY_S = 5.0
_ROWS_AHEAD = 64
"""Rows of a pipe that are read before they are wanted."""

Record = dict[str, Any]


class GuardLost(Exception):
    """A guard judges nothing any more: nothing else will be judged by this run either."""


@dataclass(slots=True)
class Judge:
    """Makes the record of a row.

    Attributes:
        screener: The rules.
        engines: The guards that it asks.
        on_bad_row: What happens with a row that cannot be read.
        keep_text: Whether the record holds the row's content.
    """

    screener: Screener
    engines: Mapping[str, PatientEngine] = field(repr=False)
    on_bad_row: OnError = OnError.REFUSE
    keep_text: bool = False

    async def record(self, row: Row) -> Record:
        """Judge one row.

        Raises:
            GuardLost: A guard has judged nothing for so long that its errors mean nothing.
        """
        if row.sample is None:
            return {
                "row": row.number,
                "id": row.id,
                "action": self.on_bad_row.value,
                "cause": Cause.UNDECIDED.value,
                "line": row.line,
                "problem": row.problem,
            }
        content, context = row.sample.content, row.sample.context
        verdicts = await self.screener.scores(content, context)
        if self.screener.has_shadow:
            verdicts += await self.screener.shadow(content, context)
        for name, engine in self.engines.items():
            if engine.lost is not None:
                raise GuardLost(f"guards.{name}: {engine.lost}")
        record = record_of(
            row, decide(self.screener.stage, verdicts, content.opaque, self.screener.on_opaque), verdicts
        )
        if self.keep_text:
            record["input"] = dict(row.given)
        return record


def record_of(row: Row, decision: Decision, verdicts: Sequence[Verdict]) -> Record:
    """What is written about a judged row: as in the log, without what is another each time (times, cache)."""
    logged = decision_record(decision)
    record: Record = {"row": row.number, "id": row.id, "action": logged["action"]}
    record |= {name: logged[name] for name in ("cause", "policies", "unjudged", "unjudged_left_out") if name in logged}
    scores: dict[str, float] = {}
    errors: dict[str, str] = {}
    for verdict in verdicts:
        name = verdict.rule.policy.name
        if verdict.error is not None:
            errors[name] = verdict.error
        elif verdict.score is not None:  # two rules of a policy: the higher score
            scores[name] = max(round(verdict.score, 6), scores.get(name, 0.0))
    record |= {"scores": scores, "errors": errors}
    record["verdicts"] = [
        {k: v for k, v in line.items() if k not in ("latency_ms", "cached")}
        | ({} if "error" in line else {"calibrated": verdict.calibrated})
        for line, verdict in zip(logged["verdicts"], verdicts, strict=True)
    ]
    return record


class _Window:
    """What may be between reading and writing."""

    def __init__(self, max_rows: int) -> None:
        self._max_rows = max_rows
        self._n_rows = 0
        self._n_chars = 0
        self._left = asyncio.Event()

    async def enter(self, size: int) -> None:
        """Wait for room; for one reader."""
        while self._n_rows >= self._max_rows or (self._n_rows and self._n_chars + size > MAX_CHARS):
            self._left.clear()
            await self._left.wait()
        self._n_rows += 1
        self._n_chars += size

    def leave(self, size: int) -> None:
        """A record was written."""
        self._n_rows -= 1
        self._n_chars -= size
        self._left.set()


async def work(
    rows: AsyncIterator[Row],
    judge: Callable[[Row], Coroutine[Any, Any, Record]],
    write: Callable[[Record], None],
    sync: Callable[[], None],
    *,
    max_rows: int,
    fails_at_bad_row: bool,
) -> None:
    """Judge rows and write their records, in order.

    Args:
        rows: In order.
        judge: Makes the record of one; many at once.
        write: Takes the records.
        sync: Has the disk keep what was written.
        max_rows: Rows that are between reading and writing, at most.
        fails_at_bad_row: Whether a row with a problem ends it, once those before it are written.

    Raises:
        InputError: At a row with a problem, or at an input that cannot be read any further.
        GuardLost: By ``judge``.
    """
    window = _Window(max_rows)
    under_way: asyncio.Queue[tuple[asyncio.Task[Record], int] | InputError | None] = asyncio.Queue()

    async def read(group: asyncio.TaskGroup) -> None:
        try:
            async for row in rows:
                if row.problem is not None and fails_at_bad_row:
                    raise InputError(f"line {row.line}: {row.problem}")
                await window.enter(row.size)
                under_way.put_nowait((group.create_task(judge(row)), row.size))
        except InputError as e:  # those before it are written first
            under_way.put_nowait(e)
        else:
            under_way.put_nowait(None)

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(read(group))
            synced = time.monotonic()
            while (entry := await under_way.get()) is not None:
                if isinstance(entry, InputError):
                    raise entry
                task, size = entry
                write(await task)
                window.leave(size)
                if time.monotonic() - synced >= SYNC_EVERY_S:
                    await asyncio.to_thread(sync)
                    synced = time.monotonic()
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None


async def from_file(rows: Iterator[Row]) -> AsyncIterator[Row]:
    """Rows of a file, which is always ready to be read."""
    for row in rows:
        yield row


async def from_pipe(rows: Iterator[Row]) -> AsyncIterator[Row]:
    """Rows of what may keep its reader waiting: read by a thread, so that what has come is judged meanwhile."""
    loop = asyncio.get_running_loop()
    arrived: asyncio.Queue[Row | Exception | None] = asyncio.Queue()
    room = threading.Semaphore(_ROWS_AHEAD)

    def read() -> None:
        end: Exception | None = None
        with suppress(RuntimeError):  # the loop has ended before the input
            try:
                for row in rows:
                    room.acquire()
                    loop.call_soon_threadsafe(arrived.put_nowait, row)
            except (InputError, OSError) as e:
                end = e
            loop.call_soon_threadsafe(arrived.put_nowait, end)

    threading.Thread(target=read, name="rows", daemon=True).start()  # a pipe that nobody writes to must not hold us up
    while (row := await arrived.get()) is not None:
        if isinstance(row, Exception):
            raise row
        room.release()
        yield row

"""The words in which `models.scheduler` and `models.layouts` talk: what is to be judged and computed, and what came of it.

A *lane* is where one policy's prefix lives, with slots for readings that continue it. How lanes lie in memory is the
layout's business (`Shape`): every lane a llama.cpp context of its own whose slots are copies of the prefix, or every lane
one stream of a common context, extended and cut back in place.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Generic, TypeAlias, TypeVar

from models.errors import EngineError

V = TypeVar("V")


class Want(Enum):
    """What is to be read after the last token of a row."""

    NOTHING = "nothing"
    TOKEN = "token"
    """The next token of the trace; None where the model ends it."""
    VERDICT = "verdict"
    ANSWER = "answer"
    """The next token of an answer that is no label; None where the model ends it."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A layout, as far as it limits what may be done.

    Attributes:
        n_lanes: Policies (or copies of one) that are kept ready.
        n_slots: Readings at once in a lane.
        n_cells: Tokens of a lane: the prefix once, and all that its readings have behind it.
        n_batch: Tokens of one call.
        in_place: All lanes are streams of one context, each with one slot that continues the prefix itself. Otherwise every
            lane is a context: sequence 0 is the prefix, slots are sequences 1 … ``n_slots + n_kept``.
        n_kept: Slots more, in which contents stay that were read, for readings that go on where they ended. In place the one
            slot itself keeps its content, unless this is 0.
    """

    n_lanes: int
    n_slots: int
    n_cells: int
    n_batch: int
    in_place: bool = False
    n_kept: int = 0

    def __post_init__(self) -> None:
        if min(self.n_lanes, self.n_slots, self.n_cells, self.n_batch) < 1 or self.n_kept < 0:
            raise ValueError(f"impossible layout: {self}")
        if self.in_place and self.n_slots != 1:
            raise ValueError(f"a stream has one slot: {self}")

    @property
    def n_sequences(self) -> int:
        """Slots of a lane, whether somebody reads in them or not."""
        return 1 if self.in_place else self.n_slots + self.n_kept


@dataclass(frozen=True, slots=True)
class Reading:
    """One window of a content against one policy.

    Attributes:
        policy: Key of the prefix.
        prefix: Its tokens.
        opening: Tokens behind it, up to where the model speaks: the content, then the model's turn.
        budget: Most tokens of the trace; 0: the verdict is read right after ``opening``.
        closing: Tokens between the trace and the verdict.
        n_content: Tokens of ``opening`` that are the content: what a later reading may begin with.
        n_answer: Most tokens of an answer that is no label.
        think_until: On the scheduler's clock; a trace that is not over by then is closed.
    """

    policy: Hashable
    prefix: Sequence[int] = field(repr=False)
    opening: Sequence[int] = field(repr=False)
    budget: int = 0
    closing: Sequence[int] = field(default=(), repr=False)
    n_content: int = 0
    n_answer: int = 0
    think_until: float = math.inf

    def __post_init__(self) -> None:
        if not self.prefix or not self.opening or (self.budget > 0) != bool(self.closing):
            raise ValueError("a reading has a prefix, an opening, and either budget and closing or none of both")
        if not 0 <= self.n_content < len(self.opening):
            raise ValueError("a reading has something behind its content, so that there is something to compute")

    @property
    def n_cells(self) -> int:
        """Cells that it may need behind the prefix."""
        return len(self.opening) + self.budget + len(self.closing) + self.n_answer


@dataclass(frozen=True, slots=True)
class Open:
    """Command: empty a lane and make it ready for a policy. The answer is `Scheduler.opened`."""

    lane: int
    policy: Hashable
    prefix: Sequence[int] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Cut:
    """Shorten a slot to ``length`` tokens, counted from the beginning of the prefix; 0: empty it."""

    lane: int
    slot: int
    length: int


@dataclass(frozen=True, slots=True)
class Branch:
    """Make an empty slot a copy of the first ``length`` tokens of another of its lane; slot 0 is the prefix."""

    lane: int
    source: int
    slot: int
    length: int


Edit: TypeAlias = Cut | Branch


@dataclass(frozen=True, slots=True)
class Row:
    """Tokens that one sequence gets in a batch.

    Attributes:
        lane: Whose.
        slot: 0 for the prefix; else the slot, from 1.
        tokens: At least one.
        position: Of the first token, counted from the beginning of the prefix.
        want: What to read after the last token.
        reader: Job and index of the reading; None for a prefix, which several may wait for.
        lasting: Whether it is content to which the slot may be cut back later, and not so little that this is safe anyway.
    """

    lane: int
    slot: int
    tokens: Sequence[int] = field(repr=False)
    position: int
    want: Want
    reader: tuple[int, int] | None = None
    lasting: bool = False


@dataclass(frozen=True, slots=True)
class Batch:
    """Command: one call of llama.cpp. The answer is `Scheduler.take` or `Scheduler.fail`, or nothing: it was stopped.

    Attributes:
        edits: What to do before, in order, also where the call is stopped: nothing is computed by it.
        rows: What to compute; each slot at most once.
        jobs: Whose.
    """

    edits: tuple[Edit, ...]
    rows: tuple[Row, ...]
    jobs: frozenset[int]

    @property
    def n_tokens(self) -> int:
        """Tokens of all rows."""
        return sum(len(row.tokens) for row in self.rows)


@dataclass(frozen=True, slots=True)
class Says:
    """Read in place of a verdict: the model is about to answer with no label but this token; None: with nothing."""

    token: int | None


@dataclass(frozen=True, slots=True)
class Verdict(Generic[V]):
    """A reading is over.

    Attributes:
        job: Whose.
        index: Which of its readings.
        value: What was read, or why nothing could be; None: the model answered with no label, but ``answer``.
        trace: What the model thought.
        answer: The beginning of an answer that is no label.
        cut: Whether time ran out before the trace was over.
    """

    job: int
    index: int
    value: V | EngineError | None
    trace: Sequence[int] = field(default_factory=list, repr=False)
    answer: Sequence[int] = field(default_factory=list, repr=False)
    cut: bool = False

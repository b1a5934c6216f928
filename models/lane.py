"""One lane's books: who reads in which slot, what stays there afterwards, and which cells are spoken for.

A slot whose reading is over *rests*: it still holds the content, without the model's turn and trace. A reading that begins
with the same tokens goes on there, or in a copy of its beginning, and only what is new is computed: the next turn of a
conversation, the next piece of a stream, another tier for the same content. What rests gives way to what is read, the
least recently used first: it is a saving, never a promise.

Commands for the cache are queued in the order in which the books were changed (`Lane.edits`), so that they mean the same
when they are carried out, before the lane's next batch.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from models.commands import Branch, Cut, Edit, Reading, Shape, Want

LEAST_KEPT = 64
"""Shorter contents do not rest: reading them again is cheap, and every cell in use slows the others down a little. What
rests has a second holder (`Row.lasting`)."""
_SCRAP = 16
"""A slot may lose so many tokens to who goes on there: the end of a text is cut into other tokens when it grows."""


class Job:
    """A call: its readings, and the estimate of what is left to be done for them."""

    def __init__(self, job_id: int, key: Hashable, deadline: float) -> None:
        self.job_id = job_id
        self.key = key
        self.deadline = deadline
        self.runs: list[Run] = []
        self.pays: frozenset[Hashable] = frozenset()
        """Policies whose reading is in its estimate."""
        self.n_reading = 0
        """Tokens that are left to be read …"""
        self.n_thinking = 0.0
        """… and to be thought."""


class Run:
    """A reading under way."""

    def __init__(self, job: Job, index: int, reading: Reading) -> None:
        self.job = job
        self.index = index
        self.lane: Lane | None = None
        self.slot: Slot | None = None
        self.again(reading)

    def again(self, reading: Reading) -> None:
        """Begin anew, with another reading of the same content; not in a lane."""
        self.reading = reading
        self.content = reading.opening[: reading.n_content]
        self.n_fed = 0
        """Tokens behind the prefix that are in the cache."""
        self.n_expected = 0
        """Of these, how many nobody thought to have to compute."""
        self.trace: list[int] = []
        self.answer: list[int] = []
        self.cut = False
        """Whether time ran out before the trace was over."""
        self.pending: Sequence[int] = reading.opening
        self.then = Want.TOKEN if reading.budget else Want.VERDICT

    def think(self, token: int | None, *, enough: bool) -> None:
        """The model's next token is known.

        Args:
            token: None where the model ends its trace.
            enough: Whether to end it here.
        """
        if token is not None:
            self.trace.append(token)
        self.pending = [] if token is None else [token]
        if token is None or enough or len(self.trace) == self.reading.budget:
            self.conclude()

    def conclude(self) -> None:
        """End the trace, wherever it stands: what is left to be computed, then the closing, then the verdict."""
        self.pending = [*self.pending, *self.reading.closing]
        self.then = Want.VERDICT

    def say(self, token: int | None) -> bool:
        """The next token of an answer that is no label; whether the answer is over."""
        if token is None:
            return True
        self.answer.append(token)
        self.pending, self.then = [token], Want.ANSWER
        return len(self.answer) >= self.reading.n_answer


@dataclass(slots=True, eq=False)
class Slot:
    """A sequence of a lane.

    Attributes:
        number: From 1.
        held: Tokens in the cache, from the beginning of the prefix, once the edits are carried out; 0: none. Of a slot in which
            somebody reads, the length with which he began.
        tokens: The content that rests here; empty where somebody reads.
        run: Who reads here.
        last_used: Number of a command.
    """

    number: int
    held: int = 0
    tokens: Sequence[int] = ()
    run: Run | None = None
    last_used: int = 0

    def content(self) -> Sequence[int]:
        """The content in the cache, behind the prefix."""
        return self.tokens if self.run is None else self.run.content[: self.run.n_fed]


class Lane:
    """A place for one prefix. `Shape` says how many slots and cells it has."""

    def __init__(self, number: int, shape: Shape) -> None:
        self.number = number
        self.policy: Hashable = None
        self.prefix: Sequence[int] = ()
        self.n_read = 0
        self.opening = False
        self.last_used = 0
        self.lost = False
        self.edits: list[Edit] = []
        self.n_booked = 0
        self._shape = shape
        self._slots = [Slot(number) for number in range(1, shape.n_sequences + 1)]

    @property
    def runs(self) -> list[Run]:
        """Who reads here."""
        return [slot.run for slot in self._slots if slot.run is not None]

    def reader(self, slot: int) -> Run:
        """Who reads in a slot."""
        run = self._slots[slot - 1].run
        assert run is not None
        return run

    @property
    def whole(self) -> bool:
        """Whether the prefix was read."""
        return self.n_read == len(self.prefix)

    @property
    def rests(self) -> bool:
        """Whether it keeps a content that somebody may go on with."""
        return any(slot.tokens for slot in self._slots)

    def fits(self, reading: Reading) -> bool:
        """Whether one more may read here, if what rests gives way."""
        if self.lost or len(self.runs) >= self._shape.n_slots:
            return False
        return self.n_booked + reading.n_cells <= self._shape.n_cells

    def pin(self, reading: Reading) -> None:
        """Begin with another policy; `Open` empties the cache."""
        self.policy, self.prefix = reading.policy, reading.prefix
        self.n_read, self.n_booked, self.opening = 0, len(reading.prefix), True
        self.edits.clear()
        for slot in self._slots:
            slot.tokens = ()
            slot.held = len(reading.prefix) if self._shape.in_place else 0

    def put(self, run: Run, now: int) -> None:
        """Give a reading its slot, with as much of its content as is here already."""
        slot, n_common = self._slot_for(run.content)
        run.lane, run.slot = self, slot
        self.n_booked += run.reading.n_cells
        source = None
        if not self._shape.in_place:
            n_common, source = self._best_source(slot, run.content, n_common)
        if source is not None:
            self._cut(slot, 0)
            self._branch(source.number, slot, n_common)
        elif slot.held == 0:
            self._branch(0, slot, 0)
        else:
            self._cut(slot, len(self.prefix) + n_common)
        slot.run, slot.tokens, slot.last_used = run, (), now
        run.n_fed = n_common
        run.pending = run.pending[n_common:]
        self._make_room()

    def drop(self, run: Run, now: int, *, again: bool = False) -> None:
        """A reading is over, or begins ``again``: its content rests, if that is worth it."""
        slot = run.slot
        assert slot is not None
        self.n_booked -= run.reading.n_cells
        slot.held = len(self.prefix) + run.n_fed
        kept = run.content[: run.n_fed]
        slot.tokens = kept if len(kept) >= LEAST_KEPT and (again or self._shape.n_kept) else ()
        slot.run, slot.last_used = None, now
        run.lane, run.slot = None, None
        self._cut(slot, len(self.prefix) + len(slot.tokens))

    def n_known(self, run: Run) -> int:
        """Tokens of a reading's content that would not have to be computed."""
        used = (slot.content() for slot in self._slots if slot.run is not None or slot.tokens)
        return max((common_length(content, run.content) for content in used), default=0)

    def n_continued(self, run: Run) -> int:
        """The same, if the slot where it would go on loses next to nothing by it; otherwise 0."""
        slot, common = self._slot_for(run.content)
        return common if len(slot.tokens) - common <= _SCRAP else 0

    def _slot_for(self, content: Sequence[int]) -> tuple[Slot, int]:
        """A slot where a reading goes on, or else an empty one, or else the one that was not used for longest."""
        free = [slot for slot in self._slots if slot.run is None]
        going_on = [(common_length(slot.tokens, content), slot) for slot in free if slot.tokens]
        going_on = [(common, slot) for common, slot in going_on if common and len(slot.tokens) - common <= _SCRAP]
        if going_on:
            common, slot = max(going_on, key=lambda pair: (pair[0], pair[1].last_used))
            return slot, common
        slot = min(free, key=lambda slot: (bool(slot.tokens), slot.last_used))
        return slot, common_length(slot.tokens, content)

    def _best_source(self, slot: Slot, content: Sequence[int], common: int) -> tuple[int, Slot | None]:
        """Another slot that has more of the beginning, and how much.

        Of a short content that is thought about, the cache may have lost what lies outside of the window: `Row.lasting`.
        """
        source = None
        for other in self._slots:
            is_safe = bool(other.tokens) if other.run is None else len(other.run.content) >= LEAST_KEPT
            if other is not slot and is_safe and (known := common_length(other.content(), content)) > common:
                common, source = known, other
        return common, source

    def _make_room(self) -> None:
        """Forget what rests until everything fits. Cells that slots share are counted for each: never too few are free."""
        resting = sorted((slot for slot in self._slots if slot.tokens), key=lambda slot: slot.last_used)
        n_resting = sum(len(slot.tokens) for slot in resting)
        for slot in resting:
            if self.n_booked + n_resting <= self._shape.n_cells:
                return
            n_resting -= len(slot.tokens)
            self._forget(slot)

    def _forget(self, slot: Slot) -> None:
        slot.tokens = ()
        self._cut(slot, len(self.prefix))

    def _cut(self, slot: Slot, length: int) -> None:
        if slot.held > length:
            self.edits.append(Cut(self.number, slot.number, length))
            slot.held = length

    def _branch(self, source: int, slot: Slot, n_content: int) -> None:
        slot.held = len(self.prefix) + n_content
        self.edits.append(Branch(self.number, source, slot.number, slot.held))


def common_length(a: Sequence[int], b: Sequence[int]) -> int:
    """Length of the longest common beginning of two sequences of one type.

    >>> common_length([1, 2, 3, 4], [1, 2, 9]), common_length([], [1]), common_length([1, 2], [1, 2, 3])
    (2, 0, 2)
    """
    limit = min(len(a), len(b))
    if not limit or a[0] != b[0]:
        return 0
    n, step = 1, 32
    while n < limit:  # slices are compared in C: steps that grow while they match, and shrink where they do not
        end = min(limit, n + step)
        if a[n:end] == b[n:end]:
            n, step = end, 2 * step
        elif end - n == 1:
            return n
        else:
            step = max(1, (end - n) // 2)
    return n

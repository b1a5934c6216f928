"""How policies lie in memory: carries out the commands of `models.scheduler` with llama.cpp. One thread at a time.

A layout is chosen by name and says its `models.commands.Shape`; nothing else knows where a sequence is.

``contexts``: every lane is a llama.cpp context with a unified cache. Sequence 0 holds the policy, the slots are copies of
it that share its cells. A context is made when its lane is first used, and emptied for another policy, never freed. On a
CPU, where a batch costs what its tokens cost, this reaches what llama.cpp can do at all (measured: 0.97 of llama-server with
six policies, against 0.71 for one unified cache that all policies share: attention walks over every used cell).

``streams``: every lane is a stream of one context, with cells of its own. It holds a policy, is extended by one content at
a time and cut back. Policies share batches, which pays where a batch costs less than its parts: on a GPU. A lane more for
the same policy costs its cells and reading the policy once more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from models.attention import DEFAULT_ATTENTION, Attention
from models.commands import Batch, Branch, Cut, Open, Row, Shape, Want
from models.errors import EngineError, ModelLoadError
from models.labels import Float32Array
from models.llama.backend import has_gpu
from models.llama.context import Context, Part
from models.llama.model import Model
from models.prefix_store import PrefixStore, complain

DEFAULT_BATCH_TOKENS = 512


class Layout(Protocol):
    """What a scheduler's commands are carried out by."""

    @property
    def shape(self) -> Shape:
        """For the scheduler."""
        ...

    def open(self, command: Open) -> int:
        """Make a lane ready for a policy.

        Returns:
            How many tokens of the prefix it holds already.

        Raises:
            ModelLoadError: There is no memory for one more lane.
        """
        ...

    def run(self, batch: Batch, stop: Callable[[], bool]) -> list[Float32Array]:
        """Compute a batch.

        Returns:
            Logits of the rows that want something, in order.

        Raises:
            DecodeStopped: ``stop`` said so; the same rows can be computed later.
            DecodeFailed: llama.cpp failed. Every sequence is as it was before.
        """
        ...

    def close(self) -> None:
        """Free all memory but the model's."""
        ...


def make_layout(
    name: str,
    model: Model,
    *,
    max_policies: int,
    max_sequences: int,
    max_kept: int,
    n_cells: int,
    n_threads: int,
    on_gpu: bool,
    store: PrefixStore | None,
    n_batch: int = DEFAULT_BATCH_TOKENS,
    attention: Attention = DEFAULT_ATTENTION,
) -> Layout:
    """Make a layout.

    Args:
        name: ``contexts``, ``streams`` or ``auto``: streams where layers lie on a GPU, contexts elsewhere.
        model: Stays loaded as long as the layout lives.
        max_policies: Contexts, or streams.
        max_sequences: Readings at once in a context.
        max_kept: Contents that stay in a context once they were read; in a stream its own stays, unless this is 0.
        n_cells: Tokens of a context, or of a stream.
        n_threads: Threads for inference.
        on_gpu: Whether layers are to lie on a GPU, if there is one.
        store: Where prefixes are kept that were read; None: nowhere.
        n_batch: Tokens of one native call.
        attention: How attention is computed.

    Raises:
        ModelLoadError: There is no memory for it, no such layout, or choices that do not go together.
    """
    if name == "auto":
        name = "streams" if on_gpu and has_gpu() else "contexts"
    match name:
        case "contexts":
            shape = Shape(max_policies, max_sequences, n_cells, n_batch, n_kept=max_kept)
            return Contexts(model, shape, n_threads=n_threads, store=store, attention=attention)
        case "streams":
            shape = Shape(max_policies, 1, n_cells, n_batch, in_place=True, n_kept=max_kept)
            return Streams(model, shape, n_threads=n_threads, store=store, attention=attention)
        case _:
            raise ModelLoadError(f"there is no layout {name!r}, use auto, contexts or streams")


class Contexts:
    """Layout ``contexts``.

    Args:
        model: Stays loaded as long as the layout lives.
        shape: How many contexts, and of what size.
        n_threads: Threads for inference.
        store: Where prefixes are kept that were read; None: nowhere.
        attention: How attention is computed.

    Raises:
        ModelLoadError: There is no memory for even one context.
    """

    def __init__(
        self,
        model: Model,
        shape: Shape,
        *,
        n_threads: int,
        store: PrefixStore | None = None,
        attention: Attention = DEFAULT_ATTENTION,
    ) -> None:
        self.shape = shape
        self._kept = _KeptPrefixes(store)
        self._model = model
        self._n_threads = n_threads
        self._attention = attention
        self._contexts: dict[int, Context] = {}
        self._context(0)

    def open(self, command: Open) -> int:
        """See `Layout.open`."""
        context = self._context(command.lane)
        for sequence in range(self.shape.n_sequences + 1):
            context.remove(sequence)
        return self._kept.restore(command, context, 0)

    def run(self, batch: Batch, stop: Callable[[], bool]) -> list[Float32Array]:
        """See `Layout.run`."""
        (lane,) = {row.lane for row in batch.rows}
        context = self._contexts[lane]
        for edit in batch.edits:
            match edit:
                case Cut(_, slot, length):
                    context.cut(slot, length)
                case Branch(_, source, slot, length):
                    context.copy(source, slot, length, lasting=source != 0)
        logits = _decode(context, [(row.slot, row) for row in batch.rows], stop)
        if any(row.slot == 0 for row in batch.rows):
            self._kept.save(lane, context, 0)
        return logits

    def close(self) -> None:
        """See `Layout.close`."""
        for context in self._contexts.values():
            context.close()
        self._contexts.clear()

    def _context(self, lane: int) -> Context:
        if lane not in self._contexts:
            self._contexts[lane] = Context(
                self._model,
                n_cells=self.shape.n_cells,
                n_sequences=self.shape.n_sequences + 1,
                n_threads=self._n_threads,
                n_batch=self.shape.n_batch,
                attention=self._attention,
                keeps=True,
            )
        return self._contexts[lane]


class Streams:
    """Layout ``streams``.

    Args:
        model: Stays loaded as long as the layout lives.
        shape: How many streams, and of what size.
        n_threads: Threads for inference.
        store: Where prefixes are kept that were read; None: nowhere.
        attention: How attention is computed.

    Raises:
        ModelLoadError: There is no memory for it.
    """

    def __init__(
        self,
        model: Model,
        shape: Shape,
        *,
        n_threads: int,
        store: PrefixStore | None = None,
        attention: Attention = DEFAULT_ATTENTION,
    ) -> None:
        self.shape = shape
        self._kept = _KeptPrefixes(store)
        self._context = Context(
            model,
            n_cells=shape.n_lanes * shape.n_cells,
            n_sequences=shape.n_lanes,
            n_threads=n_threads,
            n_batch=shape.n_batch,
            unified=False,
            attention=attention,
        )

    def open(self, command: Open) -> int:
        """See `Layout.open`."""
        self._context.remove(command.lane)
        return self._kept.restore(command, self._context, command.lane)

    def run(self, batch: Batch, stop: Callable[[], bool]) -> list[Float32Array]:
        """See `Layout.run`."""
        for edit in batch.edits:
            if not isinstance(edit, Cut):
                raise RuntimeError(f"lane {edit.lane} is a stream, of which there are no copies")
            self._context.cut(edit.lane, edit.length)
        logits = _decode(self._context, [(row.lane, row) for row in batch.rows], stop)
        for row in batch.rows:
            if row.slot == 0:
                self._kept.save(row.lane, self._context, row.lane)
        return logits

    def close(self) -> None:
        """See `Layout.close`."""
        self._context.close()


class _KeptPrefixes:
    """Restores prefixes when lanes are opened, and saves each once it was read."""

    def __init__(self, store: PrefixStore | None) -> None:
        self._store = store
        self._unsaved: dict[int, Sequence[int]] = {}
        """By lane: a prefix that is being read."""

    def restore(self, command: Open, context: Context, sequence: int) -> int:
        """Fill an empty sequence, if the prefix is kept; how many tokens it has then."""
        self._unsaved.pop(command.lane, None)
        if self._store is None:
            return 0
        if (state := self._store.load(command.prefix)) is not None:
            if context.restore(sequence, state, len(command.prefix)):
                return len(command.prefix)
            self._store.forget(command.prefix)
        self._unsaved[command.lane] = command.prefix
        return 0

    def save(self, lane: int, context: Context, sequence: int) -> None:
        """Keep a lane's prefix, if this is the moment at which its sequence holds just that.

        It is computed already: if it cannot be kept, that is said, and nothing else comes of it.
        """
        prefix = self._unsaved.get(lane)
        if self._store is not None and prefix is not None and context.length(sequence) == len(prefix):
            del self._unsaved[lane]
            try:
                self._store.save(prefix, context.save(sequence))
            except (EngineError, MemoryError) as error:
                complain(f"cannot keep a prefix: {str(error) or 'no memory'}")


def _decode(context: Context, rows: Sequence[tuple[int, Row]], stop: Callable[[], bool]) -> list[Float32Array]:
    """One native call for rows and the sequences that they go to.

    Raises:
        RuntimeError: The scheduler's books and ours differ. Nothing was computed.
        EngineError: As `Context.decode_together`.
    """
    for sequence, row in rows:
        if context.length(sequence) != row.position:
            raise RuntimeError(f"sequence {sequence} has {context.length(sequence)} tokens, not {row.position}")
    parts = [Part(sequence, row.tokens, row.want is not Want.NOTHING, row.lasting) for sequence, row in rows]
    return context.decode_together(parts, stop)

"""The KV cache of a generative model: sequences that are extended together, copied, cut back, saved and restored."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from llama_cpp import llama_cpp as native

from models.attention import DEFAULT_ATTENTION, Attention, FlashAttention, KvType, native_sequences
from models.errors import EngineError, ModelLoadError
from models.labels import Float32Array
from models.ledger import KvLedger
from models.llama.arrays import Int32Array
from models.llama.errors import ContextFull, DecodeFailed, DecodeStopped
from models.llama.handle import FLASH_ATTENTION, FULL_TILE, Handle, never
from models.llama.model import Model

_N_BATCH = 512
_WORTH_FILLING = 48
"""From so many tokens on a batch is filled up to `FULL_TILE`: that costs a model of gpt-oss-20b's width nothing behind 500
tokens, and saves behind more."""
_KV_TYPES = {
    KvType.F32: native.GGML_TYPE_F32,
    KvType.F16: native.GGML_TYPE_F16,
    KvType.BF16: 30,  # ggml.h; the binding has no name for it
    KvType.Q8_0: native.GGML_TYPE_Q8_0,
    KvType.Q4_0: native.GGML_TYPE_Q4_0,
}


@dataclass(frozen=True, slots=True)
class Part:
    """What one sequence gets in a batch."""

    sequence: int
    tokens: Sequence[int] | Int32Array = field(repr=False)
    want_logits: bool
    """After the last of the tokens."""
    lasting: bool = False
    """Whether the sequence may later be cut back into these tokens, or copied from within them."""


class Context(Handle):
    """The KV cache of a generative model: sequences that can be extended, copied and removed.

    The cache is either unified, so that copies share their cells, or every sequence has a part of its own, so that
    attention does not walk over the others' cells. It is full-size also for sliding-window layers (``swa_full``): with the
    small window cache, copies of a prefix run out of cells, and a sequence that was cut back gives wrong logits without a
    word.

    Full-size is not enough: llama.cpp (``llama_kv_cache::find_slot``) gives cells to others that one sequence alone holds, once
    they lie outside of the window behind that sequence's end. So whoever is to be cut back further than to there, or copied
    from there, needs a second holder of its cells: `Part.lasting` tokens are also held by a *keeper*, a sequence that nobody
    decodes. Whether the window before a new end is whole is checked at every cut and copy: llama.cpp would not say.
    """

    def __init__(
        self,
        model: Model,
        *,
        n_cells: int,
        n_sequences: int,
        n_threads: int,
        n_batch: int = _N_BATCH,
        unified: bool = True,
        attention: Attention = DEFAULT_ATTENTION,
        keeps: bool = False,
    ) -> None:
        """Make a cache.

        Args:
            model: Stays loaded as long as the context lives.
            n_cells: Tokens that all sequences may have together, shared ones counted once; each the same share of them
                where the cache is not unified.
            n_sequences: How many sequences there may be.
            n_threads: Threads for inference.
            n_batch: Tokens per native call; between calls `Stop` is asked on every backend.
            unified: Whether sequences share cells.
            attention: How attention is computed, and the type of what is kept for it.
            keeps: Whether parts may be lasting, if it is unified; sequences that are not share no cells that could be taken.

        Raises:
            ModelLoadError: There is no memory for it, or llama.cpp refuses.
        """
        if attention.complaint is not None:
            raise ModelLoadError(f"impossible context: kv_type {attention.complaint}")
        keeps = keeps and unified
        n_native = native_sequences(n_sequences) if keeps else n_sequences
        if not 1 <= n_native <= native.llama_max_parallel_sequences() or min(n_cells, n_threads, n_batch) < 1:
            raise ModelLoadError(f"impossible context: {n_cells} cells, {n_sequences} sequences, {n_threads} threads")
        super().__init__(
            model,
            n_batch,
            n_ctx=n_cells,
            n_seq_max=n_native,
            n_threads=n_threads,
            n_threads_batch=n_threads,
            n_outputs_max=n_native,  # its least; the default has room for all of a batch: 412 MB of logits (20b)
            swa_full=True,
            kv_unified=unified,
            flash_attn_type=FLASH_ATTENTION[attention.flash],
            type_k=_KV_TYPES[attention.kv_type],
            type_v=_KV_TYPES[attention.kv_type],
        )
        self._memory: Any = native.llama_get_memory(self._pointer)
        if not self._memory:
            self.close()
            raise ModelLoadError("the model has no KV cache")
        self._unified = unified
        self._kept: list[int] | None = [0] * n_sequences if keeps else None
        """By sequence: up to where its keeper holds cells."""
        self._fills = keeps and model.on_cpu and attention.flash is not FlashAttention.OFF
        self._n_ctx_seq = int(native.llama_n_ctx_seq(self._pointer))
        self._n_window = int(native.llama_model_n_swa(model.pointer))
        self._ledger = KvLedger(int(native.llama_n_ctx(self._pointer)), n_sequences)

    @property
    def n_free(self) -> int:
        """Cells that no sequence holds."""
        return self._ledger.n_free

    def length(self, sequence: int) -> int:
        """Tokens of a sequence."""
        return self._ledger.length(sequence)

    def decode(
        self,
        tokens: Sequence[int] | Int32Array,
        sequence: int,
        *,
        want_logits: bool,
        stop: Callable[[], bool] | None = None,
    ) -> Float32Array | None:
        """Append tokens to a sequence, in as many batches as it takes.

        Args:
            tokens: At least one.
            sequence: Positions go on from its end.
            want_logits: Whether to return the logits after the last token.
            stop: Asked all the time; true ends the work.

        Returns:
            The logits, shape ``(n_vocab,)``, or None if they were not wanted.

        Raises:
            ContextFull: There are not enough cells.
            DecodeStopped: ``stop`` said so.
            DecodeFailed: llama.cpp refused, or gave no logits.
            ValueError: An id is outside the vocabulary, there is no such sequence or no token. Nothing was changed.
        """
        ids = np.asarray(tokens, np.int32)
        if not len(ids) or ids.min() < 0 or ids.max() >= self._n_vocab:
            raise ValueError("tokens to decode are none, or lie outside the vocabulary")
        logits: list[Float32Array] = []
        try:
            if len(ids) > self.n_free:
                raise ContextFull(f"{len(ids)} tokens do not fit into the KV cache")
            for offset in range(0, len(ids), self.n_batch):
                part = ids[offset : offset + self.n_batch]
                logits = self.decode_together(
                    [Part(sequence, part, want_logits and offset + len(part) == len(ids))], stop or never
                )
        except EngineError:
            self.remove(sequence)
            raise
        return logits[0].copy() if want_logits else None

    def decode_together(self, parts: Sequence[Part], stop: Callable[[], bool]) -> list[Float32Array]:
        """Append tokens to several sequences in one native call.

        Args:
            parts: At least one; no sequence twice, at most `n_batch` tokens.
            stop: Asked all the time, of a cache that is not unified only before the call; true ends the work.

        Returns:
            The logits of the parts that want them, in order, each of shape ``(n_vocab,)``; llama.cpp's own memory, valid until
            the next call on this context.

        Raises:
            ContextFull, DecodeStopped, DecodeFailed: As `decode`, but every sequence is as it was before.
            ValueError: As `decode`, and where a sequence stands twice or the tokens are too many.
        """
        lengths = [self.length(part.sequence) for part in parts]
        if len({part.sequence for part in parts}) != len(parts) or any(not len(part.tokens) for part in parts):
            raise ValueError("a sequence stands twice in a batch, or gets no token")
        placed = [(part.tokens, length, part.sequence) for part, length in zip(parts, lengths, strict=True)]
        n_tokens = sum(len(part.tokens) for part in parts)
        n_filling = self._n_filling(n_tokens)
        filling = [([0] * n_filling, 0, self._filler)] if n_filling else []
        batch = self._batch([*placed, *filling])
        if max(length + len(tokens) for tokens, length, _ in placed) > self._n_ctx_seq:
            raise ContextFull("a sequence would grow longer than the KV cache")
        if n_tokens > self.n_free:
            raise ContextFull(f"{n_tokens} tokens do not fit into the KV cache")
        if not self._unified:
            # An abort leaves streams with each other's place to write to (llama_kv_cache::prepare restores the heads of streams
            # by their place in the batch): they would write over what stands in them.
            if stop():
                raise DecodeStopped("the deadline passed before the model began to read")
            stop = never
        ends = list(itertools.accumulate(len(part.tokens) for part in parts))
        wanted = [end - 1 for part, end in zip(parts, ends, strict=True) if part.want_logits]
        self._wanted[wanted] = 1
        try:
            self._decode(batch, stop, n_filling)
            logits = self._logits(len(wanted))
        except EngineError:
            # After an abort some of the batch may be in the cache (llama.h): it goes, so that nothing was done.
            for part, length in zip(parts, lengths, strict=True):
                self._cut(part.sequence, length)
            raise
        finally:
            if filling:
                native.llama_memory_seq_rm(self._memory, self._filler, 0, -1)
        for part, length in zip(parts, lengths, strict=True):
            self._ledger.append(part.sequence, len(part.tokens))
            if part.lasting:
                self._keep(part.sequence, length)
        return logits

    def copy(self, source: int, target: int, n_tokens: int | None = None, *, lasting: bool = False) -> None:
        """Make an empty sequence a copy of another, or of its first tokens; the cells are shared, nothing is computed.

        Args:
            source: Which.
            target: The empty one.
            n_tokens: How many; None: all.
            lasting: As `Part.lasting`, for all of them. Not needed as long as the source stays as it is.

        Raises:
            ValueError: The target is not empty, one of the two does not exist or is shorter, or sequences do not share cells.
        """
        if not self._unified:
            raise ValueError(f"sequence {target} shares no cells with others")
        n_tokens = self.length(source) if n_tokens is None else n_tokens
        self._ledger.copy(source, target, n_tokens)
        native.llama_memory_seq_cp(self._memory, source, target, 0, n_tokens)
        self._check_window(target, n_tokens)
        if lasting:
            self._keep(target, 0)

    def remove(self, sequence: int) -> None:
        """Empty a sequence. Copies of it stay whole."""
        self._ledger.clear(sequence)
        self._cut(sequence, 0)

    def save(self, sequence: int) -> bytes:
        """The state of a sequence, for `restore`.

        Raises:
            DecodeFailed: llama.cpp gave none.
        """
        self._ledger.checked(sequence)
        size = native.llama_state_seq_get_size(self._pointer, sequence)
        buffer = (ctypes.c_uint8 * size)()
        if not size or native.llama_state_seq_get_data(self._pointer, buffer, size, sequence) != size:
            raise DecodeFailed("llama.cpp cannot save a sequence")
        return bytes(buffer)

    def restore(self, sequence: int, state: bytes, n_tokens: int) -> bool:
        """Fill an empty sequence with a state that was saved from a context like this one.

        llama.cpp notices a state that is cut off or of another model, but not a changed number in it: the caller does.

        Args:
            sequence: Where to.
            state: What `save` gave.
            n_tokens: Tokens that the sequence had.

        Returns:
            Whether it worked; if not, the sequence is empty.

        Raises:
            ValueError: The sequence is not empty.
            ContextFull: It does not fit.
        """
        if self.length(sequence):
            raise ValueError(f"sequence {sequence} is not empty")
        if n_tokens > min(self.n_free, self._n_ctx_seq):
            raise ContextFull(f"{n_tokens} tokens do not fit into the KV cache")
        buffer = (ctypes.c_uint8 * len(state)).from_buffer_copy(state) if state else None
        n_read = native.llama_state_seq_set_data(self._pointer, buffer, len(state), sequence) if buffer else 0
        first = native.llama_memory_seq_pos_min(self._memory, sequence)
        last = native.llama_memory_seq_pos_max(self._memory, sequence)
        # Of layers with a sliding window a state holds the window only, which is all that later tokens look at.
        if n_read != len(state) or last != n_tokens - 1 or not 0 <= first <= max(0, n_tokens - self._n_window):
            self._cut(sequence, 0)
            return False
        self._ledger.append(sequence, n_tokens)
        return True

    def cut(self, sequence: int, n_tokens: int) -> None:
        """Shorten a sequence to its first tokens; copies of it stay whole.

        Raises:
            ValueError: It is shorter, or there is no such sequence.
        """
        self._ledger.cut(sequence, n_tokens)
        self._cut(sequence, n_tokens)
        self._check_window(sequence, n_tokens)

    def _cut(self, sequence: int, n_tokens: int) -> None:
        """Have llama.cpp forget what stands from a position on. The whole cache is kept (``swa_full``): it always can."""
        if not native.llama_memory_seq_rm(self._memory, sequence, n_tokens, -1):
            raise RuntimeError(f"llama.cpp cannot shorten sequence {sequence} to {n_tokens} tokens")
        if self._kept is not None and self._kept[sequence] > n_tokens:
            native.llama_memory_seq_rm(self._memory, self._keeper(sequence), n_tokens, -1)
            self._kept[sequence] = n_tokens

    def _n_filling(self, n_tokens: int) -> int:
        """With how many tokens to fill a batch up."""
        n_missing = FULL_TILE - n_tokens
        is_worth_it = self._fills and _WORTH_FILLING <= n_tokens < FULL_TILE
        return n_missing if is_worth_it and min(self.n_batch, self.n_free) >= FULL_TILE else 0

    def _keep(self, sequence: int, start: int) -> None:
        """Have the keeper hold what stands from a position on too."""
        if self._kept is not None:
            self._kept[sequence] = self.length(sequence)
            native.llama_memory_seq_cp(self._memory, sequence, self._keeper(sequence), start, self._kept[sequence])

    def _keeper(self, sequence: int) -> int:
        return self._ledger.n_sequences + sequence

    @property
    def _filler(self) -> int:
        """The sequence that batches are filled up with; empty but for that."""
        return 2 * self._ledger.n_sequences

    def _check_window(self, sequence: int, n_tokens: int) -> None:
        """Whether all is there that the next token of a sequence will look at.

        Raises:
            RuntimeError: It is not; what the model would say from here on is worth nothing.
        """
        first = native.llama_memory_seq_pos_min(self._memory, sequence)
        if n_tokens and not 0 <= first <= max(0, n_tokens - self._n_window + 1):
            raise RuntimeError(f"sequence {sequence} lost what stands before position {n_tokens}")

    def _decode(self, batch: Any, stop: Callable[[], bool], n_filling: int) -> None:
        match self._call(native.llama_decode, batch, stop, n_filling):
            case 0:
                return
            case None | 2:  # llama.h: aborted
                raise DecodeStopped("the deadline passed while the model was reading")
            case 1:  # llama.h: no room in the cache
                raise ContextFull(f"{batch.n_tokens} tokens do not fit into the KV cache")
            case status:
                raise DecodeFailed(f"llama.cpp could not decode {batch.n_tokens} tokens (status {status})")

    def _logits(self, n_rows: int) -> list[Float32Array]:
        """What the last call gave: a row for each token that was wanted, in their order (llama.h, llama_get_logits)."""
        if not n_rows:
            return []
        pointer = native.llama_get_logits(self._pointer)
        if not pointer:
            raise DecodeFailed("llama.cpp gave no logits")
        return list(np.ctypeslib.as_array(pointer, (n_rows, self._n_vocab)))

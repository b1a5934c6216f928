"""What both kinds of context share: one native context, a batch that is used again, and a stop that llama.cpp asks."""

from __future__ import annotations

import ctypes
import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llama_cpp import llama_cpp as native

from models.attention import FlashAttention
from models.errors import ModelLoadError
from models.llama.arrays import Int32Array, int32_pointer
from models.llama.backend import backend
from models.llama.model import Model

FULL_TILE = 64
"""A CPU computes flash attention for 64 tokens at once (ggml-cpu/common.h, GGML_FA_TILE_Q), and for fewer one by one: behind
2,000 tokens 57 take twice as long as 64 in a model of gpt-oss-20b's width, and four times in a small one. So a batch that is
nearly as long is filled up with tokens that nobody sees."""
FLASH_ATTENTION = {
    FlashAttention.AUTO: native.LLAMA_FLASH_ATTN_TYPE_AUTO,
    FlashAttention.ON: native.LLAMA_FLASH_ATTN_TYPE_ENABLED,
    FlashAttention.OFF: native.LLAMA_FLASH_ATTN_TYPE_DISABLED,
}
"""As llama.cpp numbers them."""
_ASKED_EVERY = 8
"""Nodes of a compute graph, of which a model has some hundred: so often `Stop` is asked. Each time took 10 us, after a node has
filled the processor's caches with weights."""


def never() -> bool:
    """A stop that does not come."""
    return False


class Handle:
    """What both kinds of context share: the pointer, one reusable batch, and the wire from `Stop` to llama.cpp."""

    def __init__(self, model: Model, n_batch: int, **params: int | bool) -> None:
        log = backend()
        log.clear()
        values = native.llama_context_default_params()
        values.n_batch = values.n_ubatch = n_batch
        for name, value in params.items():
            setattr(values, name, value)
        self._pointer: Any = native.llama_init_from_model(model.pointer, values)
        if not self._pointer:
            raise ModelLoadError(f"llama.cpp cannot make a context: {log}")
        if model.adapter is not None:
            adapters, scales = (type(model.adapter) * 1)(model.adapter), (ctypes.c_float * 1)(1.0)
            if native.llama_set_adapters_lora(self._pointer, adapters, 1, scales) != 0:
                self.close()
                raise ModelLoadError(f"llama.cpp cannot use the adapter: {log}")
        self._n_vocab = model.vocabulary.n_tokens
        self._usage = model.usage
        self._stop: Callable[[], bool] = never
        self._nodes = itertools.count(1)
        self._abort = native.ggml_abort_callback(lambda _: next(self._nodes) % _ASKED_EVERY == 0 and self._stop())
        native.llama_set_abort_callback(self._pointer, self._abort, ctypes.c_void_p(0))
        self._tokens, self._positions = np.zeros(n_batch, np.int32), np.zeros(n_batch, np.int32)
        self._n_seq_ids, self._wanted = np.ones(n_batch, np.int32), np.zeros(n_batch, np.int8)
        self._sequence_ids = np.zeros(n_batch, np.int32)
        first = self._sequence_ids.ctypes.data
        self._sequences = (ctypes.c_void_p * n_batch)(*(first + 4 * token for token in range(n_batch)))
        self._native_batch = native.llama_batch(
            token=int32_pointer(self._tokens),
            embd=None,
            pos=int32_pointer(self._positions),
            n_seq_id=int32_pointer(self._n_seq_ids),
            seq_id=ctypes.cast(self._sequences, ctypes.POINTER(ctypes.POINTER(ctypes.c_int32))),
            logits=self._wanted.ctypes.data_as(ctypes.POINTER(ctypes.c_int8)),
        )

    @property
    def n_batch(self) -> int:
        """Most tokens of one native call."""
        return len(self._tokens)

    def close(self) -> None:
        """Free the context."""
        if self._pointer:
            native.llama_free(self._pointer)
            self._pointer = None

    def _batch(self, parts: Sequence[tuple[Sequence[int] | Int32Array, int, int]]) -> Any:
        """The native batch, which points to our arrays, filled; no token is wanted yet.

        Args:
            parts: Tokens, position of the first of them, and their sequence.

        Raises:
            ValueError: It is empty or too long, or an id is not in the vocabulary.
        """
        n = sum(len(tokens) for tokens, _, _ in parts)
        if not self._pointer:
            raise ValueError("the context was closed")
        if not 1 <= n <= self.n_batch:
            raise ValueError(f"a batch has 1 to {self.n_batch} tokens, not {n}")
        start = 0
        for tokens, first_position, sequence in parts:
            end = start + len(tokens)
            self._tokens[start:end] = tokens
            self._positions[start:end] = np.arange(first_position, first_position + len(tokens))
            self._sequence_ids[start:end] = sequence
            start = end
        if self._tokens[:n].min() < 0 or self._tokens[:n].max() >= self._n_vocab:
            raise ValueError("a token id lies outside the vocabulary")
        self._wanted[:n] = 0
        self._native_batch.n_tokens = n
        return self._native_batch

    def _call(
        self, function: Callable[[Any, Any], int], batch: Any, stop: Callable[[], bool], n_filling: int = 0
    ) -> int | None:
        """A native call over a batch that ``stop`` may end, counted: its status; None: it did not begin."""
        if stop():
            return None
        self._stop = stop
        began = time.perf_counter()
        try:
            return int(function(self._pointer, batch))
        finally:
            self._stop = never
            self._usage.n_calls += 1
            self._usage.n_tokens += batch.n_tokens - n_filling
            self._usage.seconds += time.perf_counter() - began

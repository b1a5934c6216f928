"""An encoder with a classification head: tokens of a sequence in, one number per label out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from llama_cpp import llama_cpp as native

from models.attention import FlashAttention
from models.errors import ModelLoadError
from models.labels import Float32Array
from models.llama.errors import DecodeFailed, DecodeStopped
from models.llama.handle import FLASH_ATTENTION, FULL_TILE, Handle, never
from models.llama.model import Model

_ABORTED = 2  # what llama_encode returns then
_WORTH_FILLING = 36
"""From so many tokens on a batch is filled up to `FULL_TILE`: 48 tokens of the shipped guard alone take twice as long as 64,
and 63 three times. Fewer are read without flash attention: 32 take 6 ms instead of 11."""


class Classifier(Handle):
    """Runs an encoder with a classification head, one sequence per call: batches are slower on a CPU.

    On a CPU it has a second context for short sequences, without flash attention.
    """

    _short: Classifier | None = None

    def __init__(
        self,
        model: Model,
        *,
        n_tokens: int,
        n_threads: int,
        flash_attention: FlashAttention = FlashAttention.AUTO,
    ) -> None:
        """Make a context.

        Args:
            model: A classifier; stays loaded as long as the context lives.
            n_tokens: Longest sequence, at most the model's ``n_ctx_train``: beyond it there are no position vectors.
            n_threads: Threads for inference.
            flash_attention: Off: there is no second context.

        Raises:
            ModelLoadError: The model has no classification head, or not that many positions.
        """
        if not model.is_classifier or not model.labels:
            raise ModelLoadError("the model has no classification head (rank pooling)")
        if not 1 <= n_tokens <= model.n_ctx_train or n_threads < 1:
            raise ModelLoadError(f"the model reads up to {model.n_ctx_train} tokens, not {n_tokens}")
        super().__init__(
            model,
            n_tokens,
            n_ctx=n_tokens,
            n_seq_max=2,
            n_threads=n_threads,
            n_threads_batch=n_threads,
            embeddings=True,
            flash_attn_type=FLASH_ATTENTION[flash_attention],
            pooling_type=native.LLAMA_POOLING_TYPE_RANK,
        )
        self._n_outputs = len(model.labels)
        self._fills = model.on_cpu and n_tokens >= FULL_TILE and flash_attention is not FlashAttention.OFF
        if self._fills:
            short = {"n_tokens": _WORTH_FILLING - 1, "n_threads": n_threads}
            try:
                self._short = Classifier(model, **short, flash_attention=FlashAttention.OFF)
            except ModelLoadError:
                self.close()
                raise

    def close(self) -> None:
        """Free both contexts."""
        if self._short is not None:
            self._short.close()
        super().close()

    def logits(self, tokens: Sequence[int], stop: Callable[[], bool] | None = None) -> Float32Array:
        """Outputs of the head for one sequence, shape ``(n_outputs,)``.

        Raises:
            DecodeStopped: ``stop`` said so.
            DecodeFailed: llama.cpp refused, or gave no outputs.
            ValueError: There are no tokens, too many, or ids outside the vocabulary.
        """
        if self._short is not None and len(tokens) < _WORTH_FILLING:
            return self._short.logits(tokens, stop)
        fills = self._fills and len(tokens) < FULL_TILE
        filling = [([0] * (FULL_TILE - len(tokens)), 0, 1)] if fills else []  # a sequence that nobody reads
        batch = self._batch([(tokens, 0, 0), *filling])
        self._wanted[: batch.n_tokens] = 1
        status = self._call(native.llama_encode, batch, stop or never)
        if status in (None, _ABORTED):
            raise DecodeStopped("the deadline passed while the model was reading")
        if status != 0:
            raise DecodeFailed(f"llama.cpp could not encode {len(tokens)} tokens (status {status})")
        pointer = native.llama_get_embeddings_seq(self._pointer, 0)
        if not pointer:
            raise DecodeFailed("llama.cpp gave no outputs")
        return np.ctypeslib.as_array(pointer, (self._n_outputs,)).astype(np.float32)

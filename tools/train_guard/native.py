"""Scores texts with a GGUF file through llama.cpp's low-level interface, as the proxy does.

Texts are tokenised without special tokens and the ids are put together by hand, one sequence per call:
an encoder computes attention over the whole micro-batch, so that batching costs more than it saves.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

import llama_cpp
import numpy as np

from tools.train_guard.labels import LABELS

_QUIET = llama_cpp.llama_log_callback(lambda level, text, data: None)


class NativeGuard:
    """One loaded GGUF file and one context of a single sequence."""

    def __init__(self, path: Path, threads: int = 2, tokens: int = 512) -> None:
        llama_cpp.llama_log_set(_QUIET, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
        self._model = llama_cpp.llama_model_load_from_file(str(path).encode(), llama_cpp.llama_model_default_params())
        if not self._model:
            raise OSError(f"cannot load {path}")
        self.n_outputs = int(llama_cpp.llama_model_n_cls_out(self._model))
        self.labels = [(llama_cpp.llama_model_cls_label(self._model, i) or b"").decode() for i in range(self.n_outputs)]
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = params.n_batch = params.n_ubatch = tokens
        params.n_seq_max = 1
        params.embeddings = True
        params.pooling_type = llama_cpp.LLAMA_POOLING_TYPE_RANK
        params.n_threads = params.n_threads_batch = threads
        self._context = llama_cpp.llama_init_from_model(self._model, params)
        self._vocab = llama_cpp.llama_model_get_vocab(self._model)
        self._batch = llama_cpp.llama_batch_init(tokens, 0, 1)

    def tokenize(self, text: str) -> list[int]:
        """Ids of a text without special tokens; a literal "[SEP]" stays text."""
        raw = text.encode("utf-8", "replace")
        room = len(raw) + 8
        ids = (llama_cpp.llama_token * room)()
        count = llama_cpp.llama_tokenize(self._vocab, raw, len(raw), ids, room, False, False)
        return list(ids[: max(count, 0)])

    def logits(self, ids: list[int]) -> np.ndarray:
        """Logits of one id sequence, shape (outputs,)."""
        batch = self._batch
        batch.n_tokens = len(ids)
        for i, token in enumerate(ids):
            batch.token[i] = token
            batch.pos[i] = i
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = 0
            batch.logits[i] = 1
        status = llama_cpp.llama_encode(self._context, batch)
        if status:
            raise RuntimeError(f"llama_encode: {status}")
        values = llama_cpp.llama_get_embeddings_seq(self._context, 0)
        return np.array(values[: len(LABELS)], dtype=np.float32)

"""A loaded model file: its weights, what it says of itself, and the adapter that lies over it."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Any

from llama_cpp import llama_cpp as native

from models.errors import ModelLoadError
from models.llama.backend import backend, library, loads_whole_tiles, repacks_safely
from models.llama.vocabulary import Vocabulary
from models.usage import Usage


class Model:
    """A loaded GGUF.

    Attributes:
        on_cpu: Whether nothing of it is on a GPU.
        adapter: What `adapt` has laid over it.
        usage: What its contexts have computed.
        architecture: ``general.architecture`` of the file, e.g. ``gpt-oss``.
        vocabulary: Its tokeniser.
        n_ctx_train: Longest sequence that it was made for.
        is_classifier: Whether it has a classification head (rank pooling).
        labels: Names of a classifier's outputs, one for each of them; empty names where the file gives none.
    """

    def __init__(self, path: Path, gpu_layers: int | None = None, *, vocab_only: bool = False) -> None:
        """Load a file.

        Args:
            path: First file of the model.
            gpu_layers: Layers to put on the GPU; None: all of them, if this build has a GPU.
            vocab_only: Load the tokeniser alone, no weights.

        Raises:
            ModelLoadError: llama.cpp cannot load it; the message holds its complaints.
        """
        log = backend()
        params = native.llama_model_default_params()
        params.n_gpu_layers = gpu_layers if gpu_layers is not None else -1 if native.llama_supports_gpu_offload() else 0
        params.vocab_only = vocab_only
        params.use_extra_bufts = repacks_safely(library(), loads_whole_tiles=loads_whole_tiles())
        log.clear()
        self._pointer: Any = native.llama_model_load_from_file(os.fsencode(path), params)
        if not self._pointer:
            raise ModelLoadError(f"llama.cpp cannot load {path}: {log}")
        self.on_cpu = params.n_gpu_layers == 0
        self.adapter: Any = None
        self.usage = Usage()
        self.architecture = self._metadata("general.architecture") or "unknown"
        self.n_ctx_train = int(native.llama_model_n_ctx_train(self._pointer))
        rank = str(native.LLAMA_POOLING_TYPE_RANK)
        self.is_classifier = self._metadata(f"{self.architecture}.pooling_type") == rank
        n_outputs = int(native.llama_model_n_cls_out(self._pointer)) if self.is_classifier else 0
        names = (native.llama_model_cls_label(self._pointer, output) or b"" for output in range(n_outputs))
        self.labels = tuple(name.decode("utf-8", "replace") for name in names)
        self.vocabulary = Vocabulary(native.llama_model_get_vocab(self._pointer))

    def adapt(self, path: Path) -> None:
        """Lay a LoRA adapter over the model, in all contexts that are made from now on. It goes with the model.

        Args:
            path: A GGUF of an adapter.

        Raises:
            ModelLoadError: llama.cpp cannot load it, it is for another model, or works behind certain tokens only.
        """
        log = backend()
        log.clear()
        adapter = native.llama_adapter_lora_init(self.pointer, os.fsencode(path))
        if not adapter:
            raise ModelLoadError(f"llama.cpp cannot load the adapter {path}: {log}")
        if native.llama_adapter_get_alora_n_invocation_tokens(adapter):
            raise ModelLoadError(f"the adapter {path} works behind certain tokens only (aLoRA), which is not supported")
        self.adapter = adapter

    @property
    def pointer(self) -> Any:
        """For contexts of this file.

        Raises:
            ValueError: The model was closed.
        """
        if not self._pointer:
            raise ValueError("the model was closed")
        return self._pointer

    def close(self) -> None:
        """Free the model; its contexts must be closed before."""
        if self._pointer:
            native.llama_model_free(self._pointer)
            self._pointer = None

    def _metadata(self, key: str) -> str | None:
        buffer = ctypes.create_string_buffer(128)
        n = native.llama_model_meta_val_str(self._pointer, key.encode(), buffer, len(buffer))
        return buffer.value.decode("utf-8", "replace") if n >= 0 else None

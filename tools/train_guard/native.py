"""One of a guard's GGUF files, read and computed as the product does, without the file's metadata, which is not written yet."""

from __future__ import annotations

from pathlib import Path

from models.encoder_input import EncoderInput, Metadata, Window
from models.engine import GuardPolicy
from models.labels import Float32Array
from models.llama.classifier import Classifier
from models.llama.model import Model
from tools.train_guard.labels import LABELS, MAX_TOKENS, STRIDE_TOKENS

_MAX_CONTENT_TOKENS = 1_000_000


class NativeGuard:
    """One loaded GGUF file.

    Args:
        path: The file.
        threads: For inference.
    """

    def __init__(self, path: Path, threads: int) -> None:
        loaded = Model(path, 0)
        metadata = Metadata(labels=LABELS, max_tokens=MAX_TOKENS, stride_tokens=STRIDE_TOKENS)
        self._input = EncoderInput(loaded.vocabulary, metadata, _MAX_CONTENT_TOKENS)
        self._classifier = Classifier(loaded, n_tokens=MAX_TOKENS, n_threads=threads)

    def tokenize(self, text: str) -> list[int]:
        """Ids of a text without control tokens."""
        return self._input.encode([text])[0]

    def sequences(self, text: str, policy: str | None = None) -> list[Window]:
        """What is read of a text, alone or beside a policy."""
        ids = None if policy is None else self._input.policy(GuardPolicy("policy", "", policy))
        return self._input.sequences([self.tokenize(text)], ids)

    def logits(self, ids: Window) -> Float32Array:
        """Logits of one sequence, shape ``(n_outputs,)``."""
        return self._classifier.logits(ids)

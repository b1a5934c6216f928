"""The shipped encoder: our judge against a naive embedding call of ``llama_cpp.Llama``, on the same file and the same tokens.

The naive arm asks the binding once for every (policy, content), which is the only way that it has. Ours does the same for
policies of one's own (the pair output), and one pass for all policies that name a category.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from llama_cpp import LLAMA_POOLING_TYPE_RANK, Llama
from load import BenchError

from models.catalog import pair_path
from models.encoder import EncoderJudge
from models.encoder_input import Metadata
from models.engine import GuardPolicy, Passage, Score
from models.judge import Stop
from models.llama.model import Model
from models.odds import sigmoid

ENCODER = Path(__file__).resolve().parent.parent / "models" / "weights" / "embedded.gguf"

_SENTENCES = (
    "The ferry leaves at half past six and comes back before noon",
    "Please tell me how long bread dough has to rest in a warm room",
    "Our neighbours painted their fence in a colour that nobody likes",
    "The meeting was moved to Thursday because the room was taken",
    "She asked whether the library is open on the first of May",
    "A bicycle with a flat tyre stood in front of the bakery",
)
_TOLERANCE = 0.01


class _Naive(Llama):  # type: ignore[misc]  # the binding has no types
    """`Llama.embed` on tokens instead of text, and with the one output of the head: the binding knows neither."""

    tokens: list[int]

    def tokenize(self, *_: Any, **__: Any) -> list[int]:
        """What is to be embedded next."""
        return self.tokens

    def n_embd(self) -> int:
        """Numbers per embedding."""
        return 1


@dataclass(frozen=True, slots=True)
class Rates:
    """Pairs of policy and content per second."""

    pairs: float
    """Ours, policies of one's own."""
    categories: float
    """Ours, policies that name a category."""
    naive: float
    """The embedding call, policies of one's own."""


class Encoders:
    """Both arms, loaded.

    Args:
        n_threads: Threads for inference.
    """

    def __init__(self, n_threads: int) -> None:
        self.judge = EncoderJudge(ENCODER, name="bench", n_threads=n_threads, max_content_tokens=4096, gpu_layers=0)
        metadata = Metadata.model_validate_json(ENCODER.with_suffix(".json").read_bytes())
        self._tokeniser = Model(ENCODER, 0, vocab_only=True)
        vocabulary = self._tokeniser.vocabulary
        self._begin, self._end = vocabulary.control("[CLS]"), vocabulary.control("[SEP]")
        self._encode = vocabulary.encode_text
        self._fitted = metadata.calibration["pair"]
        self._naive = _Naive(
            str(pair_path(ENCODER)),
            embedding=True,
            pooling_type=LLAMA_POOLING_TYPE_RANK,
            n_ctx=metadata.max_tokens,
            n_batch=metadata.max_tokens,
            n_ubatch=metadata.max_tokens,
            n_threads=n_threads,
            n_threads_batch=n_threads,
            n_gpu_layers=0,
            verbose=False,
        )
        own = [f"Content about subject number {n} of the list is a violation." for n in range(6)]
        self._own = [GuardPolicy(f"own-{n}", str(n), text, summary=text) for n, text in enumerate(own)]
        self._categories = [GuardPolicy(name, name, name, category=name) for name in metadata.labels[:6]]
        self._n_contents = 0

    def close(self) -> None:
        """Free both."""
        self._naive.close()
        self._tokeniser.close()
        self.judge.close()

    def round(self, n_contents: int) -> Rates:
        """Measure on contents that were not there before: the judge remembers what it has read.

        Raises:
            BenchError: The two give different scores.
        """
        numbers = range(self._n_contents, self._n_contents + n_contents)
        contents = [f"{_SENTENCES[n % len(_SENTENCES)]}, which makes {n}." for n in numbers]
        self._n_contents += n_contents
        prompts = [
            [[self._begin, *self._encode(p.text), self._end, *self._encode(c), self._end] for p in self._own]
            for c in contents
        ]
        began = time.perf_counter()
        naive = [[self._embed(prompt) for prompt in row] for row in prompts]
        naive_s = time.perf_counter() - began
        ours, ours_s = self._judge(contents, self._own)
        _, categories_s = self._judge(contents, self._categories)
        if (apart := float(np.abs(np.array(ours) - np.array(naive)).max())) > _TOLERANCE:
            raise BenchError(f"the encoder's scores and those of the embedding call are {apart:.3f} apart")
        n_pairs = n_contents * len(self._own)
        return Rates(pairs=n_pairs / ours_s, categories=n_pairs / categories_s, naive=n_pairs / naive_s)

    def _embed(self, tokens: list[int]) -> float:
        self._naive.tokens = tokens
        return sigmoid(self._fitted.a * self._naive.embed("")[0] + self._fitted.b)

    def _judge(self, contents: Sequence[str], policies: Sequence[GuardPolicy]) -> tuple[list[list[float]], float]:
        stop = Stop(time.monotonic() + 600)
        began = time.perf_counter()
        rows = [self.judge.judge([Passage("user", content)], policies, stop) for content in contents]
        seconds = time.perf_counter() - began
        scores = [[entry.value for entry in row if isinstance(entry, Score)] for row in rows]
        if any(len(row) != len(policies) for row in scores):
            raise BenchError("the encoder failed to judge")
        return scores, seconds

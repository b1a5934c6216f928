"""How far a score depends on what it is computed with: alone, in a full batch, again, on a restored prefix."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.engine import Effort, Passage
from models.labels import Float32Array, violation_score
from models.llama import Context, Model, Part
from models.prompt import ASSISTANT, FORCED_FINAL, SAFE, VIOLATES, prefix_pieces, render_content
from models.scheduler import PREFIX_CHUNK

_N_BATCH = 512
_N_CASES = 40
_N_CONTENT = 60
"""Longer contents of cases are cut to this many tokens, so that a full batch holds them."""


@dataclass(frozen=True, slots=True)
class Exactness:
    """What was found.

    Attributes:
        n_pairs: Scores that were compared.
        apart: Largest difference between a score alone and in a full batch.
        again_equal: Whether the same batches gave the same logits again, to the last bit.
        restored_equal: Whether they gave the same logits on a prefix that was saved and restored into another context.
    """

    n_pairs: int
    apart: float
    again_equal: bool
    restored_equal: bool


def exactness(
    path: Path, prompts: Sequence[tuple[Sequence[int], Sequence[Sequence[int]]]], n_threads: int, gpu_layers: int | None
) -> Exactness:
    """Compare.

    Args:
        path: The GGUF.
        prompts: Prefixes, each with the tokens of contents (suffix included) that are read behind it in one batch.
        n_threads: Threads for inference.
        gpu_layers: Layers on a GPU.
    """
    model = Model(path, gpu_layers)
    labels = [model.vocabulary.encode_text(label)[0] for label in (VIOLATES, SAFE)]
    n_slots = max(len(tails) for _, tails in prompts)
    n_cells = max(len(prefix) for prefix, _ in prompts) + _N_BATCH
    contexts = [Context(model, n_cells=n_cells, n_sequences=n_slots + 1, n_threads=n_threads) for _ in range(2)]
    first, second = contexts
    apart, n_pairs, again_equal, restored_equal = 0.0, 0, True, True
    try:
        for prefix, tails in prompts:
            for context in contexts:
                context.remove(0)
            for start in range(0, len(prefix), PREFIX_CHUNK):
                first.decode(prefix[start : start + PREFIX_CHUNK], 0, want_logits=False)
            batched, again = _logits(first, tails), _logits(first, tails)
            alone = [_logits(first, [tail])[0] for tail in tails]
            if not second.restore(0, first.save(0), len(prefix)):
                raise RuntimeError("a saved prefix cannot be restored")
            restored = _logits(second, tails)
            again_equal &= all(map(np.array_equal, batched, again))
            restored_equal &= all(map(np.array_equal, batched, restored))
            pairs = zip(batched, alone, strict=True)
            apart = max(apart, *(abs(violation_score(a, *labels) - violation_score(b, *labels)) for a, b in pairs))
            n_pairs += len(tails)
    finally:
        for context in contexts:
            context.close()
        model.close()
    return Exactness(n_pairs, apart, again_equal, restored_equal)


def _logits(context: Context, tails: Sequence[Sequence[int]]) -> list[Float32Array]:
    """What comes behind the prefix and each of some tails, all in one batch."""
    for slot in range(1, len(tails) + 1):
        context.copy(0, slot)
    logits = context.decode_together([Part(slot, tail, True) for slot, tail in enumerate(tails, 1)], lambda: False)
    for slot in range(1, len(tails) + 1):
        context.remove(slot)
    return logits


def case_prompts(model: Path, n_contents: int) -> list[tuple[list[int], list[list[int]]]]:
    """Prompts from the cases that lie beside the test model: policies and contents of which it knows something.

    Each policy is read with the contents of its own case and of those that follow.
    """
    lines = model.with_suffix(".cases.jsonl").read_text("utf-8").splitlines()[:_N_CASES]
    cases = [json.loads(line) for line in lines]
    loaded = Model(model, vocab_only=True)
    encode = loaded.vocabulary.encode
    try:
        suffix = encode([*ASSISTANT, *FORCED_FINAL])
        rendered = [
            render_content([Passage(m["surface"], m["text"], m["context"]) for m in c["messages"]]) for c in cases
        ]
        tails = [[*loaded.vocabulary.encode_text(text)[:_N_CONTENT], *suffix] for text in rendered]
        prefixes = [encode(prefix_pieces(case["policy"], Effort.NONE)) for case in cases]
        return [(prefix, tails[n : n + n_contents]) for n, prefix in enumerate(prefixes[: len(cases) - n_contents + 1])]
    finally:
        loaded.close()

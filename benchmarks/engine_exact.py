"""How far a score depends on what it is computed with: alone, in a full batch, again, behind a prefix from the disk."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from engine_arms import judge_all, make_judge
from load import BenchError

from models.engine import Effort, GuardPolicy, Passage
from models.labels import Float32Array, violation_score
from models.llama.context import Context, Part
from models.llama.model import Model
from models.prompt import ASSISTANT, FORCED_FINAL, SAFE, VIOLATES, prefix_pieces, render_content
from models.scheduler import PREFIX_CHUNK

N_TOGETHER = 7
"""Contents of `N_CONTENT` tokens that fill a batch of 512 tokens."""
N_CONTENT = 60

_N_BATCH = 512
_N_CASES = 40


@dataclass(frozen=True, slots=True)
class Case:
    """A policy, and contents that are read behind it: as texts, and as the guard reads them."""

    policy: GuardPolicy
    contents: Sequence[Sequence[Passage]]
    prefix: Sequence[int]
    tails: Sequence[Sequence[int]]


@dataclass(frozen=True, slots=True)
class Together:
    """What a batch does to scores.

    Attributes:
        n_pairs: Scores that were compared.
        apart: Largest difference between a score alone and in a full batch.
        again_equal: Whether the same batches gave the same logits again, to the last bit.
    """

    n_pairs: int
    apart: float
    again_equal: bool


def together(path: Path, cases: Sequence[Case], n_threads: int, gpu_layers: int) -> Together:
    """Compare scores alone with those of full batches, without scheduler: what stands in a batch is fixed."""
    model = Model(path, gpu_layers)
    labels = [model.vocabulary.encode_text(label)[0] for label in (VIOLATES, SAFE)]
    apart, n_pairs, again_equal = 0.0, 0, True
    try:
        for case in cases:
            with _context(model, len(case.prefix), len(case.tails), n_threads) as context:
                for start in range(0, len(case.prefix), PREFIX_CHUNK):
                    context.decode(case.prefix[start : start + PREFIX_CHUNK], 0, want_logits=False)
                batched, again = _logits(context, case.tails), _logits(context, case.tails)
                alone = [_logits(context, [tail])[0] for tail in case.tails]
            again_equal &= all(map(np.array_equal, batched, again))
            pairs = zip(batched, alone, strict=True)
            apart = max(apart, *(abs(violation_score(a, *labels) - violation_score(b, *labels)) for a, b in pairs))
            n_pairs += len(case.tails)
    finally:
        model.close()
    return Together(n_pairs, apart, again_equal)


@contextlib.contextmanager
def _context(model: Model, n_prefix: int, n_slots: int, n_threads: int) -> Iterator[Context]:
    """A new one each time: where its cells lie depends on what a context did before, and with that the order of sums."""
    context = Context(model, n_cells=n_prefix + _N_BATCH, n_sequences=n_slots + 1, n_threads=n_threads)
    try:
        yield context
    finally:
        context.close()


def _logits(context: Context, tails: Sequence[Sequence[int]]) -> list[Float32Array]:
    """What comes behind the prefix and each of some tails, all in one batch."""
    for slot in range(1, len(tails) + 1):
        context.copy(0, slot)
    parts = [Part(slot, tail, True) for slot, tail in enumerate(tails, 1)]
    logits = [row.copy() for row in context.decode_together(parts, lambda: False)]
    for slot in range(1, len(tails) + 1):
        context.remove(slot)
    return logits


def restored(path: Path, cases: Sequence[Case], n_threads: int, gpu_layers: int) -> float:
    """Largest difference between the scores of a judge that read its policies and of one that found them on the disk.

    One content at a time, each short enough to be read in one piece: both judges compute the same batches. 0 is equal.

    Raises:
        BenchError: The second judge read a policy all the same.
    """
    scores: list[list[float]] = []
    with tempfile.TemporaryDirectory(prefix="bench-engine-") as folder:
        for _ in range(2):
            judge = make_judge(
                *(path, n_threads),
                gpu_layers=gpu_layers,
                max_policies=len(cases),
                max_kept=0,
                prefix_cache=Path(folder),
                identity="bench",
            )
            try:
                found = [judge_all(judge, case.contents[:1], [case.policy], together=True) for case in cases]
                n_decoded = judge.usage.n_tokens
            finally:
                judge.close()
            scores.append([row[0].value for (row,) in found])
    if n_decoded != (expected := sum(len(case.tails[0]) for case in cases)):
        raise BenchError(f"behind prefixes from the disk {n_decoded} tokens were decoded, not {expected}")
    return max(abs(a - b) for a, b in zip(*scores, strict=True))


def cases_of_test_model(model: Path) -> list[Case]:
    """Policies and contents of which the test model knows something, from the file beside it.

    Each policy is read with the contents of its own case and of those that follow.
    """
    lines = model.with_suffix(".cases.jsonl").read_text("utf-8").splitlines()[:_N_CASES]
    loaded = Model(model, vocab_only=True)
    vocabulary = loaded.vocabulary
    try:
        suffix = vocabulary.encode([*ASSISTANT, *FORCED_FINAL])
        policies: list[str] = []
        contents: list[tuple[list[Passage], list[int]]] = []
        for line in lines:
            case = json.loads(line)
            passages = [Passage(m["surface"], m["text"], m["context"]) for m in case["messages"]]
            ids = vocabulary.encode_text(render_content(passages))
            if len(ids) <= N_CONTENT:
                policies.append(case["policy"])
                contents.append((passages, [*ids, *suffix]))
        found = []
        for n, text in enumerate(policies[: len(policies) - N_TOGETHER + 1]):
            passages, tails = zip(*contents[n : n + N_TOGETHER], strict=True)
            prefix = vocabulary.encode(prefix_pieces(text, Effort.NONE))
            found.append(Case(GuardPolicy(f"case-{n}", str(n), text), passages, prefix, tails))
        return found
    finally:
        loaded.close()

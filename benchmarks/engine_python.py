"""What a verdict costs in Python by itself: the same judge, with a llama.cpp that computes nothing.

Between two batches of a real model Python runs with empty caches: ``llama_decode`` has just gone through all weights. What
`engine_rounds` measures is mostly that wait for memory, and is another on every machine. This is the work alone.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import numpy as np
from engine_arms import N_AT_ONCE, Ours, make_judge
from engine_texts import Texts
from llama_cpp import llama_cpp as native

from models.engine import GuardPolicy
from models.llama.vocabulary import Vocabulary
from models.prompt import SAFE, VIOLATES

_N_TURNS = 20
_N_WARM = 3
_LABELS = {VIOLATES: 20.0, SAFE: 19.0}


@contextmanager
def _nothing_computed(n_vocab: int, labels: dict[int, float]) -> Iterator[None]:
    """In place of what llama.cpp computes: logits that are always the same, with two labels far above all others."""
    row = np.zeros(n_vocab, np.float32)
    for token, logit in labels.items():
        row[token] = logit
    rows = np.tile(row, (N_AT_ONCE, 1))
    pointer = rows.ctypes.data_as(ctypes.POINTER(ctypes.c_float))

    def done(*_: object) -> int:
        return 0

    def logits(_: object) -> object:
        return pointer

    with (
        mock.patch.object(native, "llama_decode", done),
        mock.patch.object(native, "llama_get_logits", logits),
        mock.patch.object(native, "llama_memory_seq_pos_min", done),
    ):
        yield


def python_ms(
    path: Path, vocabulary: Vocabulary, texts: Texts, policies: Sequence[GuardPolicy], n_contents: int, n_content: int
) -> float:
    """Milliseconds of processor time per verdict, without tokenising; the median over some turns.

    Args:
        path: Of the model.
        vocabulary: Of the model.
        texts: Writes the contents, none of them twice.
        policies: That judge each content.
        n_contents: Contents of a turn, submitted at once.
        n_content: Tokens of each.
    """
    labels = {vocabulary.encode_text(label)[0]: logit for label, logit in _LABELS.items()}
    judge = make_judge(path, 1)
    try:
        with _nothing_computed(vocabulary.n_tokens, labels):
            arm = Ours(judge, texts, together=True)
            turns = [arm.turn([texts.content(n_content) for _ in range(n_contents)], policies) for _ in range(_N_TURNS)]
    finally:
        judge.close()
    return float(np.median([turn.in_python_s / turn.n_verdicts * 1000 for turn in turns[_N_WARM:]]))

"""Measures the test model's file through llama.cpp.

    python -m tools.test_model.evaluate tests/data/tiny-gpt-oss.gguf tests/data/tiny-gpt-oss.cases.jsonl

Every case is judged directly, and with reasoning at each effort, greedily. Rows that carry ``torch_score`` (the
network's own answer before the export, tier direct) are compared with it. Uses llama_cpp without the product's engine,
so that neither can hide the other's mistakes.
"""

from __future__ import annotations

import argparse
import ctypes
import itertools
import json
import math
import re
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import llama_cpp
import numpy as np

from models.engine import Effort, Passage
from models.prompt import (
    ANALYSIS,
    ASSISTANT,
    FINAL_AFTER_ANALYSIS,
    FORCED_FINAL,
    SAFE,
    VIOLATES,
    Control,
    Piece,
    prefix_pieces,
    render_content,
)

TRACE_BUDGET = 64


class Judge:
    """The file, loaded; one sequence at a time.

    Args:
        path: The GGUF file.
        n_threads: For llama.cpp.
    """

    def __init__(self, path: Path, n_threads: int) -> None:
        self._log = llama_cpp.llama_log_callback(lambda *_: None)
        llama_cpp.llama_log_set(self._log, ctypes.c_void_p())
        llama_cpp.llama_backend_init()
        self.model = llama_cpp.llama_model_load_from_file(str(path).encode(), llama_cpp.llama_model_default_params())
        assert self.model, "llama.cpp cannot load the file"
        self.vocabulary = llama_cpp.llama_model_get_vocab(self.model)
        self.n_vocab = llama_cpp.llama_vocab_n_tokens(self.vocabulary)
        options = llama_cpp.llama_context_default_params()
        options.n_ctx = options.n_batch = options.n_ubatch = 2048
        options.n_threads = options.n_threads_batch = n_threads
        options.swa_full = True
        self.context = llama_cpp.llama_init_from_model(self.model, options)
        assert self.context, "llama.cpp cannot make a context"
        self.memory = llama_cpp.llama_get_memory(self.context)
        spellings = [self._spelling(number) for number in range(self.n_vocab)]
        marks = llama_cpp.LLAMA_TOKEN_ATTR_CONTROL | llama_cpp.LLAMA_TOKEN_ATTR_USER_DEFINED
        self.controls = {
            spelling: number
            for number, spelling in enumerate(spellings)
            if llama_cpp.llama_vocab_get_attr(self.vocabulary, number) & marks
        }
        self._spelled = re.compile("|".join(map(re.escape, self.controls)))
        self.labels = (self._only(SAFE), self._only(VIOLATES))

    def _spelling(self, token: int) -> str:
        return str(llama_cpp.llama_vocab_get_text(self.vocabulary, token).decode())

    def _only(self, text: str) -> int:
        (token,) = self.text(text)
        return token

    def text(self, text: str) -> list[int]:
        """Tokenise so that no control token comes out."""
        cuts = [0, *(match.start() + 1 for match in self._spelled.finditer(text)), len(text)]
        ids: list[int] = []
        for start, end in itertools.pairwise(cuts):
            raw = text[start:end].encode()
            room = (llama_cpp.llama_token * (len(raw) + 1))()
            n_tokens = llama_cpp.llama_tokenize(self.vocabulary, raw, len(raw), room, len(room), False, False)
            assert n_tokens >= 0
            ids += room[:n_tokens]
        assert not set(ids) & set(self.controls.values()), "text became a control token"
        return ids

    def pieces(self, pieces: Sequence[Piece]) -> list[int]:
        """Token ids of prompt pieces."""
        ids: list[int] = []
        for piece in pieces:
            ids += [self.controls[piece.spelling]] if isinstance(piece, Control) else self.text(piece)
        return ids

    def read(self, ids: Sequence[int], at: int) -> np.ndarray:
        """Decode tokens at positions from ``at`` on and return the logits after the last one."""
        llama_cpp.llama_memory_seq_rm(self.memory, 0, at, -1)
        batch = llama_cpp.llama_batch_init(len(ids), 0, 1)
        for n, token in enumerate(ids):
            batch.token[n], batch.pos[n], batch.n_seq_id[n] = token, at + n, 1
            batch.seq_id[n][0], batch.logits[n] = 0, n == len(ids) - 1
        batch.n_tokens = len(ids)
        assert llama_cpp.llama_decode(self.context, batch) == 0
        llama_cpp.llama_batch_free(batch)
        logits = llama_cpp.llama_get_logits_ith(self.context, len(ids) - 1)
        return np.ctypeslib.as_array(logits, shape=(self.n_vocab,)).copy()

    def direct(self, policy: str, content: str, effort: Effort = Effort.NONE) -> tuple[np.ndarray, int]:
        """Logits of the label in tier direct, and where the content's turn ended."""
        opening = self.pieces([*prefix_pieces(policy, effort), content, *ASSISTANT])
        self.read(opening, 0)
        return self.read(self.pieces(FORCED_FINAL), len(opening)), len(opening)

    def reasoned(self, policy: str, content: str, effort: Effort) -> tuple[np.ndarray, str]:
        """Logits of the label after a greedy trace, and the trace."""
        ids = self.pieces([*prefix_pieces(policy, effort), content, *ASSISTANT, *ANALYSIS])
        logits = self.read(ids, 0)
        at = len(ids)
        trace: list[int] = []
        while (token := int(logits.argmax())) != self.controls["<|end|>"] and len(trace) < TRACE_BUDGET:
            trace.append(token)
            logits = self.read([token], at)
            at += 1
        text = "".join(self._spelling(token) for token in trace).replace("Ġ", " ")
        return self.read(self.pieces(FINAL_AFTER_ANALYSIS), at), text

    def score(self, logits: np.ndarray) -> float:
        """Probability of the violating label among the two."""
        return 1 / (1 + math.exp(logits[self.labels[0]] - logits[self.labels[1]]))


def main() -> None:
    """Judge all cases and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("cases", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--mistakes", action="store_true", help="print the cases that were judged wrongly")
    options = parser.parse_args()

    judge = Judge(options.model, options.threads)
    rows = [json.loads(line) for line in options.cases.read_text(encoding="utf-8").splitlines()]
    right: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    clean: list[bool] = []
    gaps: list[float] = []
    traces: dict[str, int] = defaultdict(int)
    verdicts: dict[str, list[bool]] = defaultdict(list)
    started = time.monotonic()
    for n, row in enumerate(rows):
        content = render_content([Passage(each["surface"], each["text"], each["context"]) for each in row["messages"]])
        logits, _ = judge.direct(row["policy"], content)
        score = judge.score(logits)
        verdicts["direct"].append(score >= 0.5)
        clean.append(int(logits.argmax()) in judge.labels)
        right["direct"][row["kind"]].append((score >= 0.5) == bool(row["label"]))
        if options.mistakes and not right["direct"][row["kind"]][-1]:
            print(f"{row['kind']} {score:.2f} {row['label']} {row['policy']!r}\n    {content!r}")
        if "torch_score" in row:
            gaps.append(abs(score - row["torch_score"]))
        for effort in (Effort.LOW, Effort.MEDIUM, Effort.HIGH):
            logits, trace = judge.reasoned(row["policy"], content, effort)
            clean.append(int(logits.argmax()) in judge.labels)
            verdicts[effort.value].append(judge.score(logits) >= 0.5)
            right[effort.value][row["kind"]].append(verdicts[effort.value][-1] == bool(row["label"]))
            traces[trace] += 1
        if (n + 1) % 25 == 0:
            passed_s = time.monotonic() - started
            print(f"\r{n + 1}/{len(rows)}, {passed_s / (n + 1) * (len(rows) - n - 1):.0f} s left ", end="", flush=True)
    print("\r" + " " * 40)
    kinds = list(right["direct"])
    print(f"{'':10}" + "".join(f"{kind:>12}" for kind in kinds) + f"{'all':>12}")
    for tier, of_kind in right.items():
        everything = [each for kind in kinds for each in of_kind[kind]]
        shares = [np.mean(of_kind[kind]) for kind in kinds] + [np.mean(everything)]
        print(f"{tier:10}" + "".join(f"{share:12.1%}" for share in shares))
    pairs = [n for n, row in enumerate(rows) if row["kind"] == "forged" and n and rows[n - 1]["kind"] == "plain"]
    if pairs:
        changed = {tier: sum(given[n] != given[n - 1] for n in pairs) for tier, given in verdicts.items()}
        counts = ", ".join(f"{count} ({tier})" for tier, count in changed.items())
        print(f"forged text changed of {len(pairs)} verdicts: {counts}")
    print(f"first choice is a label in {np.mean(clean):.1%} of {len(clean)} answers; {len(rows)} cases")
    if gaps:
        print(
            f"|score - torch's|: median {np.median(gaps):.4f}, 95 % {np.quantile(gaps, 0.95):.4f}, max {max(gaps):.4f}"
        )
    for trace, count in sorted(traces.items(), key=lambda item: -item[1])[:8]:
        print(f"{count:6} {trace!r}")


if __name__ == "__main__":
    main()

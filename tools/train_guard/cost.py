"""What judging costs: peak memory of this process (MiB) and the median of a pass on one thread (ms), printed as JSON.

``python -m tools.train_guard.cost GGUF WORDS``; a process of its own, because a peak belongs to a process.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

from models.encoder import EncoderJudge
from models.engine import GuardPolicy, Passage

_N_PASSES = 40


def main() -> None:
    """Judge different texts of so many words, one after the other."""
    path, n_words = Path(sys.argv[1]), int(sys.argv[2])
    judge = EncoderJudge(path, name="guard", n_threads=1, max_content_tokens=100_000)
    policy, took = GuardPolicy(name="any", revision="", text="Any.", category="any"), []
    for n in range(_N_PASSES):
        passage = Passage("user", f"{n} " + "word " * n_words)
        began = time.perf_counter()
        judge.judge([passage], [policy], lambda: False)
        took.append(time.perf_counter() - began)
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"peak_mib": round(peak_mib, 1), "ms": round(1000 * sorted(took)[_N_PASSES // 2], 2)}))


if __name__ == "__main__":
    main()

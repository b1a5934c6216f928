"""How long a verdict takes, without reasoning and with traces of a fixed length, alone and under load.

The generated model never ends a trace by itself (`engine_model`), so every trace is as long as its budget.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine_arms import FOREVER_S, N_AT_ONCE, make_judge
from engine_texts import Texts
from load import BenchError

from models.engine import Effort, GuardPolicy, Passage, Score
from models.judge import Stop
from models.safeguard import SafeguardJudge

BUDGETS = (0, 64, 256)
_N_CTX = 4096


@dataclass(frozen=True, slots=True)
class Latency:
    """One tier.

    Attributes:
        budget: Tokens of reasoning before each verdict; 0: tier *direct*.
        alone_s: Of calls with one policy, one at a time.
        loaded_s: Of calls with all policies, several at a time.
        per_s: Verdicts per second meanwhile.
    """

    budget: int
    alone_s: list[float] = field(repr=False)
    loaded_s: list[float] = field(repr=False)
    per_s: float

    def of(self, times: Sequence[float]) -> tuple[float, float]:
        """Median and 95th percentile in seconds."""
        ordered = sorted(times)
        return statistics.median(ordered), ordered[min(int(0.95 * len(ordered)), len(ordered) - 1)]


def latencies(
    path: Path,
    texts: Texts,
    policies: Sequence[GuardPolicy],
    n_threads: int,
    gpu_layers: int,
    *,
    n_calls: int,
    n_content: int,
    say: Callable[[str], None],
) -> list[Latency]:
    """Measure every budget.

    Raises:
        BenchError: A verdict failed, or a trace has another length.
    """
    found = []
    for budget in BUDGETS:
        effort = Effort.LOW if budget else Effort.NONE
        judge = make_judge(
            path, n_threads, effort=effort, n_ctx=_N_CTX, gpu_layers=gpu_layers, reason_tokens=budget or None
        )
        judge._scheduler._is_enough = lambda trace: False  # random traces go in circles; these are to have a length
        try:
            say(f"latency with {budget} tokens of reasoning")
            contents = [[Passage("user", texts.content(n_content))] for _ in range(2 * n_calls + 1)]
            _closed_loop(judge, contents[:1], policies, 1, budget)
            alone, _ = _closed_loop(judge, contents[1 : n_calls + 1], policies[:1], 1, budget)
            loaded, seconds = _closed_loop(judge, contents[n_calls + 1 :], policies, N_AT_ONCE, budget)
            found.append(Latency(budget, alone, loaded, n_calls * len(policies) / seconds))
        finally:
            judge.close()
    return found


def _closed_loop(
    judge: SafeguardJudge, calls: Sequence[Any], policies: Sequence[GuardPolicy], n_clients: int, budget: int
) -> tuple[list[float], float]:
    """Judge all calls, so many at a time; seconds of each, and of all."""
    submitted: dict[int, float] = {}
    took: list[float] = []
    began = time.perf_counter()
    while len(took) < len(calls):
        while len(submitted) < len(calls) and len(submitted) - len(took) < n_clients:
            number = len(submitted)
            submitted[number] = time.perf_counter()
            judge.submit(number, calls[number], policies, Stop(time.monotonic() + FOREVER_S))
        for number, entries in judge.step():
            took.append(time.perf_counter() - submitted[number])
            scores = [entry for entry in entries if isinstance(entry, Score)]
            if len(scores) != len(policies):
                raise BenchError(f"our judge failed: {next(e for e in entries if not isinstance(e, Score))!r}")
            if budget and any(score.n_tokens != budget for score in scores):
                raise BenchError(f"traces have {[score.n_tokens for score in scores]} tokens, not {budget}")
    return took, time.perf_counter() - began

"""The rounds of `bench_engine`: every arm has its turn in each, on the same contents, and is checked.

An arm that decodes another number of tokens than it stands for, or that decides differently than ours, fails the run: the
arms would not do the same work, and a ratio would mean nothing.
"""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from engine_arms import N_AT_ONCE, N_CTX, Arm, Completion, Ours, Server, Turn, make_judge
from engine_texts import Texts
from llama_server import Tools, kernels, prompt_speed, server
from load import BenchError

N_POLICY, N_CONTENT = 512, 60
"""Tokens of a policy's text (its prefix has the system message and the output section besides), and of a content."""
ARMS = ("ours", "one", "naive", "prefix", "server")
CASES = (1, 6)
"""Numbers of policies."""

_SERVER_MOST = 1.5
_UNCLEAR = 0.1
"""A score this close to 0.5 may round to either verdict."""
_MOST_DIFFERENT = 0.05
"""Share of the clear verdicts in which an arm may differ from ours. Chance is a half."""
_LEAST_SPREAD = 0.05
"""Standard deviation that our scores must have: arms that decide everything alike would always agree."""

Contents = Mapping[int, Mapping[str, int]]
"""By number of policies and arm: contents of a turn. Those of ours are the most; others judge the first of them."""


@dataclass(slots=True)
class Results:
    """What the rounds have shown.

    Attributes:
        turns: By arm and number of policies; one per round.
        limits: Verdicts per second at llama-bench's rate, by number of policies; one per round.
        kernels: What llama-server says of its kernels; None: there is none.
    """

    turns: dict[tuple[str, int], list[Turn]] = field(default_factory=dict)
    limits: dict[int, list[float]] = field(default_factory=dict)
    kernels: str | None = None

    def ratios(self, arm: str, n_policies: int) -> list[float]:
        """Ours over another arm, round by round; empty where that arm did not run."""
        ours = self.turns["ours", n_policies]
        if arm == "limit":
            return [turn.per_s / limit for turn, limit in zip(ours, self.limits.get(n_policies, []), strict=False)]
        return [a.per_s / b.per_s for a, b in zip(ours, self.turns.get((arm, n_policies), []), strict=False)]

    def ratio(self, arm: str, *cases: int) -> float | None:
        """Median over the rounds, the worst of some cases; None where that arm did not run."""
        medians = [statistics.median(found) for n in cases if (found := self.ratios(arm, n))]
        return min(medians) if medians else None


def run_rounds(
    path: Path,
    texts: Texts,
    contents: Contents,
    n_rounds: int,
    n_threads: int,
    gpu_layers: int,
    *,
    programs: Tools | None,
    arms: tuple[str, ...],
    folder: Path,
    say: Callable[[str], None],
) -> Results:
    """Measure.

    Args:
        path: The generated model.
        texts: Writes policies and contents.
        contents: How many in each turn.
        n_rounds: How often every arm has its turn.
        n_threads: Threads of every arm.
        gpu_layers: For every arm; -1: all.
        programs: llama-server and llama-bench; None: those arms are left out.
        arms: Some of `ARMS`, "ours" among them.
        folder: For the server's log.
        say: Told how far it is.

    Raises:
        BenchError: An arm failed, or did other work than it stands for.
    """
    results = Results()
    n_tail = N_CONTENT + len(texts.suffix)
    with contextlib.ExitStack() as stack:
        say("loading the arms")
        loaded: dict[str, Arm] = {}
        judge = make_judge(path, n_threads, gpu_layers=gpu_layers)
        stack.callback(judge.close)
        loaded["ours"], loaded["one"] = (Ours(judge, texts, together=together) for together in (True, False))
        for name, reuse in (("naive", False), ("prefix", True)):
            if name in arms:
                completion = Completion(path, texts, n_threads, reuse=reuse, gpu_layers=gpu_layers)
                stack.callback(completion.close)
                loaded[name] = completion
        if programs is not None and "server" in arms:
            target = stack.enter_context(
                server(programs, path, n_threads, n_slots=N_AT_ONCE, n_ctx=N_CTX, folder=folder)
            )
            loaded["server"] = Server(target, texts)
            results.kernels = kernels(programs)
        for n_policies in CASES:
            policies = [texts.policy(f"{n_policies}-{i}", N_POLICY) for i in range(n_policies)]
            depth = len(texts.prefix(policies[0]))
            for name, arm in loaded.items():
                say(f"{_plural(n_policies)}: warming {name}")
                arm.warm(policies)
            for i in range(n_rounds):
                fresh = {
                    name: [texts.content(N_CONTENT) for _ in range(contents[n_policies][name])]
                    for name in ("ours", "one")
                }
                order = [*loaded][i % len(loaded) :] + [*loaded][: i % len(loaded)]
                for name in order:
                    say(f"{_plural(n_policies)}, round {i + 1} of {n_rounds}: {name}")
                    given = fresh.get(name) or fresh["ours"][: contents[n_policies][name]]
                    turn = loaded[name].turn(given, policies)
                    _check_work(name, turn, depth, n_tail)
                    results.turns.setdefault((name, n_policies), []).append(turn)
                if programs is not None:
                    say(f"{_plural(n_policies)}, round {i + 1} of {n_rounds}: llama-bench")
                    speed = prompt_speed(programs, path, n_threads, n_prompt=n_tail, depth=depth, repeats=3)
                    results.limits.setdefault(n_policies, []).append(speed / n_tail)
    _check_verdicts(results)
    return results


def _plural(n_policies: int) -> str:
    return "1 policy" if n_policies == 1 else f"{n_policies} policies"


def _check_work(name: str, turn: Turn, n_prefix: int, n_tail: int) -> None:
    tail, whole = turn.n_verdicts * n_tail, turn.n_verdicts * (n_prefix + n_tail)
    # The server may now and then lose a policy, by its own choice of slots; more of it would be a badly warmed arm.
    bounds = {"naive": (whole, whole), "prefix": (tail, whole), "server": (tail, int(_SERVER_MOST * tail))}
    least, most = bounds.get(name, (tail, tail))
    if not least <= turn.n_tokens <= most:
        raise BenchError(f"{name} decoded {turn.n_tokens} tokens for {turn.n_verdicts} verdicts, not {least} to {most}")


def _check_verdicts(results: Results) -> None:
    scores = [
        score
        for (name, _), turns in results.turns.items()
        if name == "ours"
        for t in turns
        for row in t.verdicts
        for score in row
    ]
    if statistics.pstdev(scores) < _LEAST_SPREAD:
        raise BenchError("the generated model scores everything alike: its verdicts cannot be compared")
    for name in ("naive", "prefix", "server"):
        n_clear = n_different = 0
        for n_policies in CASES:
            for theirs, ours in zip(
                results.turns.get((name, n_policies), []), results.turns["ours", n_policies], strict=False
            ):
                for row, expected in zip(theirs.verdicts, ours.verdicts, strict=False):
                    clear = [(a, b) for a, b in zip(row, expected, strict=True) if abs(b - 0.5) > _UNCLEAR]
                    n_clear += len(clear)
                    n_different += sum((a >= 0.5) != (b >= 0.5) for a, b in clear)
        if n_different > _MOST_DIFFERENT * n_clear:
            raise BenchError(f"{name} decided {n_different} of {n_clear} clear verdicts differently than ours")

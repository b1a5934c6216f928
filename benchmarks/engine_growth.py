"""Texts that grow: a chat whose every request repeats the turns before it, and a completion that is judged while it comes.

Two judges read the same: ours as it is, which keeps what it has read, and one that is told to keep nothing, which reads each
request from its beginning. Both have the policies in memory, so what differs is the reading of the contents. They take
turns request by request.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine_arms import judge_all, make_judge
from engine_texts import Texts
from load import BenchError

from models.engine import GuardPolicy, Passage
from models.safeguard import SafeguardJudge


@dataclass(slots=True)
class Work:
    """What one judge did for all requests together."""

    n_tokens: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Growth:
    """What both did.

    Attributes:
        kept: The judge that keeps what it has read.
        whole: The one that does not.
        n_requests: How often the text was judged.
        n_policies: Against how many policies.
        n_last: Tokens of the whole text at its end.
        apart: Largest difference between their scores.
    """

    kept: Work
    whole: Work
    n_requests: int
    n_policies: int
    n_last: int
    apart: float

    @property
    def fewer(self) -> float:
        """How many times fewer tokens."""
        return self.whole.n_tokens / self.kept.n_tokens

    @property
    def faster(self) -> float:
        """How many times less time."""
        return self.whole.seconds / self.kept.seconds


def chat(texts: Texts, n_turns: int, n_words: int) -> list[list[Passage]]:
    """Requests of a chat: each has all messages before it, the answer to the last one, and a new one of the user."""
    messages = [Passage("system", texts.words(n_words).strip())]
    requests = []
    for turn in range(n_turns):
        if turn:
            messages.append(Passage("assistant", texts.words(n_words).strip()))
        messages.append(Passage("user", texts.words(n_words).strip()))
        requests.append(list(messages))
    return requests


def stream(texts: Texts, n_tokens: int, every: int) -> list[list[Passage]]:
    """What is judged of a completion: all of its text so far, each time ``every`` tokens are new."""
    text, requests = "", []
    for _ in range(n_tokens // every):
        text += texts.words(every)
        requests.append([Passage("assistant", text)])
    return requests


def grow(
    path: Path,
    texts: Texts,
    requests: Sequence[Sequence[Passage]],
    policies: Sequence[GuardPolicy],
    n_threads: int,
    *,
    gpu_layers: int | None,
    say: Callable[[str], None],
) -> Growth:
    """Have both judges judge all requests in order.

    Raises:
        BenchError: A judge decoded another number of tokens than its arm stands for.
    """
    contents = [texts.content_ids(request) for request in requests]
    n_ctx = (
        -(-(max(len(texts.prefix(policy)) for policy in policies) + len(contents[-1]) + len(texts.suffix) + 64) // 256)
        * 256
    )
    with (
        _judge(path, n_threads, n_ctx, gpu_layers) as kept,
        _judge(path, n_threads, n_ctx, gpu_layers, max_kept=0) as whole,
    ):
        say("reading the policies")
        for judge in (kept, whole):
            judge_all(judge, [[Passage("user", texts.content(8))]], policies, together=True)
        work = {kept: Work(), whole: Work()}
        apart = 0.0
        for number, request in enumerate(requests):
            say(f"request {number + 1} of {len(requests)}")
            scores = [
                _judged(judge, request, policies, work[judge]) for judge in (kept, whole)[:: 1 if number % 2 else -1]
            ]
            apart = max(apart, *(abs(a - b) for a, b in zip(*scores, strict=True)))
    growth = Growth(work[kept], work[whole], len(requests), len(policies), len(contents[-1]), apart)
    _check(growth, [len(content) for content in contents], len(texts.suffix))
    return growth


@contextlib.contextmanager
def _judge(path: Path, n_threads: int, n_ctx: int, gpu_layers: int | None, **more: Any) -> Iterator[SafeguardJudge]:
    judge = make_judge(path, n_threads, n_ctx=n_ctx, gpu_layers=gpu_layers, **more)
    try:
        yield judge
    finally:
        judge.close()


def _judged(
    judge: SafeguardJudge, request: Sequence[Passage], policies: Sequence[GuardPolicy], work: Work
) -> list[float]:
    n_before, began = judge.usage.n_tokens, time.perf_counter()
    (row,) = judge_all(judge, [request], policies, together=True)
    work.seconds += time.perf_counter() - began
    work.n_tokens += judge.usage.n_tokens - n_before
    return [score.value for score in row]


def _check(growth: Growth, lengths: Sequence[int], n_suffix: int) -> None:
    whole = growth.n_policies * sum(length + n_suffix for length in lengths)
    least = growth.n_policies * (lengths[-1] + n_suffix * len(lengths))
    if growth.whole.n_tokens != whole:
        raise BenchError(f"reading each request whole took {growth.whole.n_tokens} tokens, not {whole}")
    if not least <= growth.kept.n_tokens <= whole:
        raise BenchError(f"our judge decoded {growth.kept.n_tokens} tokens, which is not between {least} and {whole}")

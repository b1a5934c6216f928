"""The ways to get verdicts that `bench_engine` compares. All read the same prompts, with the same number of threads.

An arm takes contents and policies and gives a verdict for every pair. It also says how many tokens it decoded, and
`bench_engine` fails where that is not what the arm is there to show. Prompts are tokenised beforehand for all arms but ours,
which is given the text.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import aiohttp
from engine_texts import Texts
from llama_cpp import Llama
from llama_cpp import llama_cpp as native
from load import BenchError, Target, cpu_s

from models.engine import Effort, GuardPolicy, Passage, Score
from models.judge import Stop
from models.llama.vocabulary import Tokenising
from models.safeguard import SafeguardJudge

N_CTX = 1024
"""Tokens of one sequence of the binding's and of a slot of llama-server: policy, content and suffix are below 800."""
N_CELLS = 2048
"""Tokens of one of our policies' caches: the policy once, and `N_AT_ONCE` readings."""
N_AT_ONCE = 8
"""Readings at once in a context of ours, and slots of llama-server."""
MAX_CONTENT = 16_384
FOREVER_S = 3600.0
_WARM_TURNS = 8

Verdicts = list[list[float]]
"""By content, then by policy: the score, or 0 and 1 where an arm gives nothing finer."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of an arm.

    Attributes:
        seconds: How long it took.
        n_tokens: What was decoded, prompts and answers.
        cpu_s: Processor time of the process that computed.
        verdicts: What was decided.
        in_python_s: Processor time that was spent neither in llama.cpp nor on tokenising; ours only. Not wall-clock time:
            on a busy machine that is mostly waiting for a processor.
    """

    seconds: float
    n_tokens: int
    cpu_s: float
    verdicts: Verdicts = field(repr=False)
    in_python_s: float = math.nan

    @property
    def n_verdicts(self) -> int:
        """Contents times policies."""
        return sum(map(len, self.verdicts))

    @property
    def per_s(self) -> float:
        """Verdicts per second."""
        return self.n_verdicts / self.seconds


class Arm(Protocol):
    """A way to get verdicts."""

    def warm(self, policies: Sequence[GuardPolicy]) -> None:
        """Whatever may be kept of policies is kept from here on."""
        ...

    def turn(self, contents: Sequence[str], policies: Sequence[GuardPolicy]) -> Turn:
        """Judge every content against every policy."""
        ...


def _settle(arm: Arm, texts: Texts, policies: Sequence[GuardPolicy], n_contents: int) -> None:
    """Judge short contents, until no policy is read any more.

    Args:
        arm: Who judges.
        texts: Writes the contents.
        policies: Against which.
        n_contents: At a time; enough of them to be everywhere at once.

    Raises:
        BenchError: That does not come about.
    """
    for _ in range(_WARM_TURNS):
        contents = [texts.content(8) for _ in range(n_contents)]
        if arm.turn(contents, policies).n_tokens == n_contents * len(policies) * (8 + len(texts.suffix)):
            return
    raise BenchError(f"{type(arm).__name__} reads policies again and again")


def _n_everywhere(policies: Sequence[GuardPolicy]) -> int:
    return -(-2 * N_AT_ONCE // len(policies))


# ---------------------------------------------------------------------------------------------------- ours


def make_judge(
    path: Path, n_threads: int, *, effort: Effort = Effort.NONE, n_ctx: int = N_CELLS, **more: Any
) -> SafeguardJudge:
    """Our judge as the product makes it."""
    return SafeguardJudge(
        path,
        name="bench",
        effort=effort,
        n_ctx=n_ctx,
        n_threads=n_threads,
        max_content_tokens=MAX_CONTENT,
        max_sequences=N_AT_ONCE,
        **more,
    )


def judge_all(
    judge: SafeguardJudge, calls: Sequence[Sequence[Passage]], policies: Sequence[GuardPolicy], *, together: bool
) -> list[list[Score]]:
    """Judge contents, all submitted at once or one after the other.

    Raises:
        BenchError: There is an error instead of a score.
    """
    answers: dict[int, list[Score]] = {}

    def step() -> None:
        for job_id, entries in judge.step():
            if failed := [entry for entry in entries if not isinstance(entry, Score)]:
                raise BenchError(f"our judge failed: {failed[0]!r}")
            answers[job_id] = [entry for entry in entries if isinstance(entry, Score)]

    for job_id, passages in enumerate(calls):
        judge.submit(job_id, passages, policies, Stop(time.monotonic() + FOREVER_S))
        while not together and judge.busy:
            step()
    while judge.busy:
        step()
    return [answers[job_id] for job_id in range(len(calls))]


class Ours:
    """`models.safeguard.SafeguardJudge`, tier *direct*.

    Args:
        judge: From `make_judge`.
        texts: For warming up.
        together: Whether all calls are submitted at once, or one after the other.
    """

    def __init__(self, judge: SafeguardJudge, texts: Texts, *, together: bool) -> None:
        self._judge, self._texts, self._together = judge, texts, together

    def warm(self, policies: Sequence[GuardPolicy]) -> None:
        """Read the policies, into as many places as the layout gives them: lanes or, for each of them, slots."""
        _settle(self, self._texts, policies, max(N_AT_ONCE, _n_everywhere(policies)))

    def turn(self, contents: Sequence[str], policies: Sequence[GuardPolicy]) -> Turn:
        """See `Arm.turn`."""
        usage = self._judge.usage
        n_tokens = usage.n_tokens
        calls = [[Passage("user", content)] for content in contents]
        with _Inside() as inside:
            own, cpu, began = time.thread_time(), time.process_time(), time.perf_counter()
            scores = judge_all(self._judge, calls, policies, together=self._together)
            seconds, cpu, own = time.perf_counter() - began, time.process_time() - cpu, time.thread_time() - own
        return Turn(
            seconds,
            usage.n_tokens - n_tokens,
            cpu,
            [[score.value for score in row] for row in scores],
            in_python_s=own - inside.seconds,
        )


class _Inside:
    """Measures the processor time of this thread inside of ``llama_decode`` and on tokenising."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._decode, self._go_on = native.llama_decode, Tokenising.go_on

    def __enter__(self) -> _Inside:
        native.llama_decode = self._measured(self._decode)
        Tokenising.go_on = self._measured(self._go_on)
        return self

    def __exit__(self, *_: object) -> None:
        native.llama_decode, Tokenising.go_on = self._decode, self._go_on

    def _measured(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def measured(*args: Any, **more: Any) -> Any:
            began = time.thread_time()
            try:
                return function(*args, **more)
            finally:
                self.seconds += time.thread_time() - began

        return measured


# ---------------------------------------------------------------------------------------------------- llama_cpp.Llama


class _Counted(Llama):  # type: ignore[misc]  # the binding has no types
    """Counts what it decodes."""

    n_decoded = 0

    def eval(self, tokens: Sequence[int]) -> None:
        """See `Llama.eval`."""
        self.n_decoded += len(tokens)
        super().eval(tokens)


class Completion:
    """``llama_cpp.Llama.create_completion``, one token per verdict: what a first attempt looks like.

    Args:
        path: The GGUF.
        texts: Writes the prompts.
        n_threads: For generating and for reading.
        reuse: Whether the binding may keep what the next prompt has in common with the one before, as it does by itself;
            otherwise it begins anew with each.
        gpu_layers: As for the judge.
    """

    def __init__(self, path: Path, texts: Texts, n_threads: int, *, reuse: bool, gpu_layers: int) -> None:
        self._texts, self._reuse = texts, reuse
        self._llama = _Counted(
            str(path),
            n_ctx=N_CTX,
            n_batch=512,
            n_threads=n_threads,
            n_threads_batch=n_threads,
            n_gpu_layers=gpu_layers,
            flash_attn=True,  # what the others choose by themselves
            verbose=False,
        )

    def warm(self, policies: Sequence[GuardPolicy]) -> None:
        """Touch every page of the file, and let the binding keep what it can."""
        self.turn([self._texts.content(8)], policies[:1])

    def turn(self, contents: Sequence[str], policies: Sequence[GuardPolicy]) -> Turn:
        """See `Arm.turn`; the policies of a content follow each other, as calls of a guard do."""
        prompts = [[self._texts.prompt(policy, content) for policy in policies] for content in contents]
        n_decoded = self._llama.n_decoded
        cpu, began = time.process_time(), time.perf_counter()
        verdicts = [[self._verdict(prompt) for prompt in row] for row in prompts]
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        return Turn(seconds, self._llama.n_decoded - n_decoded, cpu, verdicts)

    def close(self) -> None:
        """Free the model."""
        self._llama.close()

    def _verdict(self, prompt: list[int]) -> float:
        if not self._reuse:
            self._llama.reset()
        answer = self._llama.create_completion(prompt, max_tokens=1, temperature=0.0)
        text = answer["choices"][0]["text"]
        if text not in ("0", "1"):
            raise BenchError(f"create_completion answered {text!r}, which is no label")
        return float(text)


# ---------------------------------------------------------------------------------------------------- llama-server


class Server:
    """llama-server's ``/completion`` with ``cache_prompt``, asked over as many connections as it has slots.

    Content by content, as a guard asks. Clients that ask about one policy each, or name their slots, were no faster.

    Args:
        target: A running server.
        texts: Writes the prompts.
    """

    def __init__(self, target: Target, texts: Texts) -> None:
        self._url, self._pid, self._texts = f"http://127.0.0.1:{target.port}/completion", target.pid, texts

    def warm(self, policies: Sequence[GuardPolicy]) -> None:
        """Ask until every slot has a policy."""
        _settle(self, self._texts, policies, _n_everywhere(policies))

    def turn(self, contents: Sequence[str], policies: Sequence[GuardPolicy]) -> Turn:
        """See `Arm.turn`."""
        return asyncio.run(self._turn(contents, policies))

    async def _turn(self, contents: Sequence[str], policies: Sequence[GuardPolicy]) -> Turn:
        pairs = [(i, j) for i in range(len(contents)) for j in range(len(policies))]
        waiting = iter([(i, j, self._body(policies[j], contents[i])) for i, j in pairs])
        verdicts = [[math.nan] * len(policies) for _ in contents]
        n_decoded = 0

        async def client(session: aiohttp.ClientSession) -> None:
            nonlocal n_decoded
            for i, j, body in waiting:
                async with session.post(self._url, data=body, headers=_JSON) as response:
                    answer = await response.json()
                if response.status != 200:
                    raise BenchError(f"llama-server answered {response.status}: {str(answer)[:300]}")
                n_decoded += int(answer["timings"]["prompt_n"])
                verdicts[i][j] = _score(answer)

        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=FOREVER_S)) as session:
            cpu, began = cpu_s(self._pid), time.perf_counter()
            async with asyncio.TaskGroup() as group:
                for _ in range(N_AT_ONCE):
                    group.create_task(client(session))
            seconds, spent = time.perf_counter() - began, cpu_s(self._pid)
        return Turn(seconds, n_decoded, math.nan if cpu is None or spent is None else spent - cpu, verdicts)

    def _body(self, policy: GuardPolicy, content: str) -> bytes:
        prompt = self._texts.prompt(policy, content)
        body = {"prompt": prompt, "n_predict": 1, "cache_prompt": True, "n_probs": 5, "temperature": 0.0}
        return json.dumps(body).encode()


_JSON = {"Content-Type": "application/json"}


def _score(answer: dict[str, Any]) -> float:
    """The probability of ``1`` among the two labels.

    Raises:
        BenchError: A label is not among the likeliest tokens.
    """
    found = {entry["token"]: entry["logprob"] for entry in answer["completion_probabilities"][0]["top_logprobs"]}
    if "0" in found and "1" in found:
        return 1 / (1 + math.exp(found["0"] - found["1"]))
    if likeliest := {"0", "1"} & set(found):  # the other one is below the fifth place
        return float(likeliest.pop())
    raise BenchError(f"llama-server's likeliest tokens are {sorted(found)}, none of them a label")

"""What a verdict of the ``llama`` engine costs, against other ways to get it from the same file, in one run.

On a generated model (`engine_model`: random weights, gpt-oss's architecture), with policies of 512 tokens and contents of 60,
with 1 and 6 policies. No content comes twice. All arms have the same number of threads (``THREADS=n``, default 1) and take
turns within each round. What counts is the *ratio* between arms, taken within each round, as a median over the rounds.

    ours      `models.safeguard`, effort ``none``, all calls submitted at once
    one       the same, one call after the other
    naive     ``Llama.create_completion`` of the whole prompt
    prefix    the same, with the binding's own match of what the last prompt began with
    server    llama-server, ``-np 8 --swa-full``, with ``cache_prompt``, asked by eight clients
    limit     the rate of llama-bench for as many tokens as a verdict has behind a policy: what llama.cpp can do at all

Then two texts that grow (`engine_growth`): a chat of 30 turns whose every request repeats the turns before it, with 40 tokens a
message, and a completion of 1,500 tokens that is judged every 50. The last line says how many times better ours is:

    bench-engine: naive=R prefix=R server=R limit=R chat=R stream=R

``naive``, ``server`` and ``limit`` are the worse of 1 and 6 policies; ``prefix`` is with 6, taken in turn; ``chat`` and
``stream`` are the smaller of two ratios, tokens decoded and time. ``-`` stands where an arm cannot run here. The run fails
where an arm decodes another number of tokens than it stands for, or decides differently.

``make bench-engine``; ``QUICK=1`` takes under 10 minutes on two cores, once llama-server is built (some 10 minutes, once).
``GPU=20b`` runs the same on a generated model of that size and adds latencies with 0, 64 and 256 tokens of reasoning;
``GPU=120b`` only ours and the latencies. They need a llama-cpp-python that was built for the GPU.
"""

from __future__ import annotations

import argparse
import math
import os
import signal
import statistics
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from engine_encoder import Encoders, Rates
from engine_exact import N_TOGETHER, Case, Together, cases_of_test_model, restored, together
from engine_growth import Growth, chat, grow, stream
from engine_latency import Latency, latencies
from engine_model import SHAPES, generated, n_parameters
from engine_python import python_ms
from engine_rounds import ARMS, CASES, N_CONTENT, N_POLICY, Contents, Results, run_rounds
from engine_texts import Texts
from llama_server import CannotBuild, Tools, tools
from load import ROOT, BenchError
from rich.console import Console
from rich.table import Table

from models.engine import Passage
from models.errors import EngineError
from models.llama.backend import has_gpu, library
from models.llama.model import Model

FOLDER = ROOT / ".bench"
"""What is kept between runs: models, and llama.cpp with its tools. Git ignores it."""
TEST_MODEL = ROOT / "tests" / "data" / "tiny-gpt-oss.gguf"
N_TURNS, CHAT_WORDS = 30, 40
STREAM_TOKENS, STREAM_EVERY = 1500, 50
_SEED = 4


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured.

    Attributes:
        rounds: How often every arm has its turn.
        contents: Of one turn.
        chat_policies: Policies that judge the chat.
        stream_policies: Policies that judge the completion.
        encoder_contents: Contents of a turn of the encoders.
        latency_calls: Calls of each kind, for latencies.
    """

    rounds: int
    contents: Contents
    chat_policies: int
    stream_policies: int
    encoder_contents: int
    latency_calls: int


FULL = Plan(
    rounds=7,
    contents={
        1: {"ours": 24, "one": 8, "naive": 4, "prefix": 8, "server": 24},
        6: {"ours": 8, "one": 2, "naive": 1, "prefix": 2, "server": 8},
    },
    chat_policies=6,
    stream_policies=6,
    encoder_contents=12,
    latency_calls=40,
)
QUICK = Plan(
    rounds=3,
    contents={
        1: {"ours": 12, "one": 3, "naive": 1, "prefix": 3, "server": 12},
        6: {"ours": 4, "one": 1, "naive": 1, "prefix": 1, "server": 4},
    },
    chat_policies=1,  # six cost six times as much in both arms, for the same ratio
    stream_policies=1,
    encoder_contents=6,
    latency_calls=10,
)


@dataclass(slots=True)
class Found:
    """All that was measured; what is empty was not."""

    rounds: Results
    why_no_tools: str | None = None
    growth: dict[str, Growth] = field(default_factory=dict)
    together: dict[str, Together] = field(default_factory=dict)
    restored: float | None = None
    encoder: list[Rates] = field(default_factory=list)
    latencies: list[Latency] = field(default_factory=list)
    python_ms: dict[int, float] = field(default_factory=dict)
    """By the number of policies: see `engine_python`."""


def run(name: str, plan: Plan, n_threads: int, gpu_layers: int, say: Callable[[str], None]) -> Found:
    """Measure everything that is asked of a model.

    Args:
        name: One of `SHAPES`.
        plan: How much.
        n_threads: Threads of every arm.
        gpu_layers: 0: no GPU; -1: all layers on it.
        say: Told how far it is.

    Raises:
        BenchError: An arm failed, or did other work than it stands for.
    """
    on_gpu = gpu_layers != 0
    only_ours = name == "120b"  # no two of that size fit a GPU at the same time
    programs: Tools | None = None
    why_no_tools = "no two models of this size fit beside each other" if only_ours else None
    if not only_ours:
        try:
            programs = tools(FOLDER, cuda=on_gpu, say=say)
        except CannotBuild as error:
            why_no_tools = f"llama-server cannot be built: {error}"
    path = generated(FOLDER, name, say=say)
    tokeniser = Model(path, vocab_only=True)
    texts = Texts(tokeniser.vocabulary, _SEED)
    layers = {"n_threads": n_threads, "gpu_layers": gpu_layers}
    arms = ("ours", "one") if only_ours else ARMS
    rounds = run_rounds(
        path, texts, plan.contents, plan.rounds, **layers, programs=programs, arms=arms, folder=FOLDER, say=say
    )
    found = Found(rounds, why_no_tools)
    six = [texts.policy(f"growing-{n}", N_POLICY) for n in range(6)]
    say("Python alone")
    for n_policies in CASES:
        found.python_ms[n_policies] = python_ms(
            path, tokeniser.vocabulary, texts, six[:n_policies], 24 // n_policies, N_CONTENT
        )
    if on_gpu or name != "small":
        found.latencies = latencies(
            path, texts, six, **layers, n_calls=plan.latency_calls, n_content=N_CONTENT, say=say
        )
    if not only_ours:
        for title, requests, policies in (
            ("chat", chat(texts, N_TURNS, CHAT_WORDS), six[: plan.chat_policies]),
            ("stream", stream(texts, STREAM_TOKENS, STREAM_EVERY), six[: plan.stream_policies]),
        ):
            found.growth[title] = grow(
                path, texts, requests, policies, **layers, say=lambda s, t=title: say(f"{t}: {s}")
            )
        say("comparing scores")
        test_cases = cases_of_test_model(TEST_MODEL)
        found.together["generated model"] = together(path, [_case(texts) for _ in range(3)], **layers)
        found.together["test model"] = together(TEST_MODEL, test_cases, **layers)
        found.restored = restored(TEST_MODEL, test_cases, **layers)
    if not on_gpu:
        encoders = Encoders(n_threads)
        try:
            for n in range(plan.rounds + 1):
                say(f"encoder, round {n} of {plan.rounds}")
                rates = encoders.round(plan.encoder_contents)
                found.encoder += [rates] if n else []  # the first is for warming up
        finally:
            encoders.close()
    tokeniser.close()
    return found


def _case(texts: Texts) -> Case:
    policy = texts.policy("exact", N_POLICY)
    contents = [texts.content(N_CONTENT) for _ in range(N_TOGETHER)]
    tails = [[*texts.content_ids(content), *texts.suffix] for content in contents]
    return Case(policy, [[Passage("user", content)] for content in contents], texts.prefix(policy), tails)


# ---------------------------------------------------------------------------------------------------- report


def report(found: Found, title: str, console: Console) -> str:
    """Print the tables; gives the last line."""
    _print_rounds(found.rounds, title, console)
    alone = " and ".join(f"{ms:.2f} with {n}" for n, ms in found.python_ms.items())
    console.print(
        f"Python alone, with a llama.cpp that computes nothing: {alone} policies. What the table has beyond is waiting for "
        "memory: llama_decode leaves the caches empty."
    )
    if found.growth:
        _print_growth(found.growth, console)
    if found.latencies:
        _print_latencies(found.latencies, console)
    median = statistics.median
    for name, batches in found.together.items():
        equal = "exactly equal" if batches.again_equal else "NOT EQUAL"
        console.print(
            f"Scores, {name}: alone and in a full batch at most {batches.apart:.4f} apart ({batches.n_pairs} pairs); the same "
            f"batch again: {equal}."
        )
    if found.restored is not None:
        equal = "exactly equal" if found.restored == 0 else f"NOT EQUAL, {found.restored:.1e} apart"
        console.print(f"Scores, test model: behind a prefix that was read and one from the disk {equal}.")
    if found.encoder:
        pairs = median(r.pairs / r.naive for r in found.encoder)
        categories = median(r.categories / r.naive for r in found.encoder)
        console.print(
            f"Encoder, shipped: {median(r.pairs for r in found.encoder):.0f} pairs/s with policies of one's own, "
            f"{median(r.categories for r in found.encoder):.0f} with categories; against Llama.embed per pair "
            f"{pairs:.2f}x and {categories:.2f}x."
        )
    if found.rounds.kernels is not None:
        same = found.rounds.kernels in library()  # which names the binding's version first
        which = "those" if same else f"NOT those ({library()})"
        console.print(f"llama-server's kernels are {which} of the library: {found.rounds.kernels}")
    if found.why_no_tools is not None:
        console.print(f"server and limit are missing: {found.why_no_tools}")
    figures = {
        "naive": found.rounds.ratio("naive", *CASES),
        "prefix": found.rounds.ratio("prefix", 6),
        "server": found.rounds.ratio("server", *CASES),
        "limit": found.rounds.ratio("limit", *CASES),
        **{name: min(growth.fewer, growth.faster) for name, growth in found.growth.items()},
    }
    names = ("naive", "prefix", "server", "limit", "chat", "stream")
    return "bench-engine: " + " ".join(f"{name}={_figure(figures.get(name))}" for name in names)


def _print_rounds(rounds: Results, title: str, console: Console) -> None:
    table = Table(title=title)
    table.add_column("policies", justify="right")
    table.add_column("arm")
    for column in ("verdicts/s", "ms each", "cpu ms", "tokens", "ours of it", "rounds", "Python ms"):
        table.add_column(column, justify="right")
    median = statistics.median
    for n_policies in CASES:
        for name in ARMS:
            turns = rounds.turns.get((name, n_policies))
            if turns is None:
                table.add_row(str(n_policies), name, *["-"] * 7)
                continue
            per_s = median(turn.per_s for turn in turns)
            cpu_ms = median(1000 * turn.cpu_s / turn.n_verdicts for turn in turns)
            n_tokens = median(turn.n_tokens / turn.n_verdicts for turn in turns)
            row = [f"{per_s:.2f}", f"{1000 / per_s:.1f}", f"{cpu_ms:.1f}", f"{n_tokens:.1f}"]
            row += _ratio_cells(rounds.ratios(name, n_policies)) if name != "ours" else ["", ""]
            python_ms = median(turn.in_python_s / turn.n_verdicts * 1000 for turn in turns)
            table.add_row(str(n_policies), name, *row, "" if math.isnan(python_ms) else f"{python_ms:.2f}")
        if limits := rounds.limits.get(n_policies):
            per_s = median(limits)
            row = [f"{per_s:.2f}", f"{1000 / per_s:.1f}", "", "", *_ratio_cells(rounds.ratios("limit", n_policies)), ""]
            table.add_row(str(n_policies), "limit", *row)
        else:
            table.add_row(str(n_policies), "limit", *["-"] * 7)
        table.add_section()
    console.print(table)
    console.print(
        "Of each verdict. cpu ms: processor time of the process that computes; Python ms: what of it is spent neither in "
        "llama_decode nor on tokenising. On a busy machine these say more than times do."
    )


def _ratio_cells(ratios: list[float]) -> list[str]:
    return [f"{statistics.median(ratios):.2f}", f"{min(ratios):.2f} to {max(ratios):.2f}"]


def _print_growth(growth: Mapping[str, Growth], console: Console) -> None:
    table = Table(title="texts that grow: what is kept of them, against reading each request whole")
    table.add_column("text")
    for column in (
        "requests",
        "policies",
        "tokens at the end",
        "decoded",
        "whole",
        "fewer",
        "s",
        "whole s",
        "faster",
        "apart",
    ):
        table.add_column(column, justify="right")
    for name, g in growth.items():
        table.add_row(
            *(name, str(g.n_requests), str(g.n_policies), str(g.n_last)),
            *(str(g.kept.n_tokens), str(g.whole.n_tokens), f"{g.fewer:.2f}"),
            *(f"{g.kept.seconds:.2f}", f"{g.whole.seconds:.2f}", f"{g.faster:.2f}", f"{g.apart:.4f}"),
        )
    console.print(table)


def _print_latencies(found: list[Latency], console: Console) -> None:
    table = Table(title="latency in seconds: one policy alone, and six policies with eight calls at a time")
    for column in ("reasoning", "alone p50", "p95", "loaded p50", "p95", "verdicts/s"):
        table.add_column(column, justify="right")
    for tier in found:
        times = [f"{s:.3f}" for s in (*tier.of(tier.alone_s), *tier.of(tier.loaded_s))]
        table.add_row(str(tier.budget), *times, f"{tier.per_s:.2f}")
    console.print(table)


def _figure(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.2f}"


def main() -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="under 10 minutes")
    parser.add_argument("--rounds", type=int, help="how often every arm has its turn")
    threads, gpu = os.environ.get("THREADS") or "1", os.environ.get("GPU") or None
    parser.add_argument("--threads", type=int, default=threads, help="of every arm; THREADS (1)")
    parser.add_argument("--gpu", metavar="|".join(SHAPES), default=gpu, help="a model on the GPU; GPU")
    args = parser.parse_args()
    if args.gpu is not None and args.gpu not in SHAPES:
        parser.error(f"GPU is one of {', '.join(SHAPES)}, not {args.gpu!r}")
    if min(args.threads, 1 if args.rounds is None else args.rounds) < 1:
        parser.error("threads and rounds are at least 1")
    quick = args.quick or os.environ.get("QUICK", "0") not in ("", "0")
    plan = QUICK if quick else FULL
    if args.rounds is not None:
        plan = replace(plan, rounds=args.rounds)
    name = args.gpu or "small"
    if args.gpu and not has_gpu():
        print(
            f"bench-engine: GPU={args.gpu} needs a GPU and a llama-cpp-python that was built for it "
            "(CMAKE_ARGS=-DGGML_CUDA=on); nothing was measured",
            file=sys.stderr,
        )
        return 2
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda got, _: sys.exit(128 + got))
    console = Console(width=None if sys.stdout.isatty() else 128)
    title = (
        f"{name}: {n_parameters(SHAPES[name]) / 1e6:,.0f} M parameters, {args.threads} thread(s); policies of {N_POLICY} "
        f"tokens, contents of {N_CONTENT}; medians over {plan.rounds} rounds"
    )
    try:
        with console.status("starting") as status:
            found = run(name, plan, args.threads, -1 if args.gpu else 0, lambda doing: status.update(doing))
    except (BenchError, EngineError, OSError) as e:
        print(f"bench-engine: {e}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(report(found, title, console))
    return 0


if __name__ == "__main__":
    sys.exit(main())

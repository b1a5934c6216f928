"""What judging costs a stream: ``stream: window`` against ``stream: buffer``, a bare proxy and no proxy, in one run.

Every stream has 100 chunks and about 1,650 characters, so with the default window (400 characters, 200 held back) several
verdicts fall while it comes. One detector policy judges both stages. Two kinds of turns, which the targets take
alternately within each round:

* *load*: the upstream writes as fast as it can to many connections; streams per second.
* *paced*: the upstream writes a chunk every few milliseconds, as a model does; time to the first text and to the end.

What counts is the ratio between targets, taken within each round, as a median over the rounds. The last line says

    bench-stream: bare=R ttft=R

``bare``: streams per second of ``window`` over those of the bare proxy (aim: at least 0.5). ``ttft``: time to the first
text of ``window`` over that of ``buffer`` (what a client gains). A table shows what the canonical pass over a request costs:
parse, clean and collect, judge with detectors, serialise.

Run it with ``make bench-stream``; ``QUICK=1`` or ``--quick`` takes under 60 seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from load import BenchError, Sample, Target, ask, chat_request, measure, ratios, safeguard, script
from rich.console import Console
from rich.table import Table
from upstream import LEAK, LONG, MARKER, PACED, TEXT

from proxy.chat import ChatApi
from proxy.loading.drawing import load_config
from proxy.schema import Collection
from proxy.strict_json import dump_json, parse_json
from rules.content import Content

CONFIG = """\
listen: {{host: 127.0.0.1, port: 0}}
upstreams:
  default: {{base_url: "http://127.0.0.1:{port}/v1"}}
policies:
  marker: {{detector: patterns, literals: ["{marker}"], ignore_case: true}}
routes:
  - name: window
    match: {{path: /window/v1/*}}
    upstream: default
    stream: window
    input: &rules [{{policy: marker, refuse: 0.5}}]
    output: *rules
  - name: buffer
    upstream: default
    input: *rules
    output: *rules
"""
PROMPT = "Why does the tide turn twice a day? Explain it at length. "


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured.

    Attributes:
        rounds: How often every target has its turn.
        load_s: Length of one turn with many connections.
        paced_s: Length of one turn with a paced upstream.
        repeats: How often the canonical pass is done.
        concurrency: Connections of a turn with many.
        paced_concurrency: Connections of a paced turn; few, so that no process is short of time.
    """

    rounds: int
    load_s: float
    paced_s: float
    repeats: int
    concurrency: int = 16
    paced_concurrency: int = 4


FULL = Plan(rounds=9, load_s=2.5, paced_s=2.5, repeats=100)
QUICK = Plan(rounds=3, load_s=1.2, paced_s=1.2, repeats=30)
MODES = {"direct": "", "bare": "", "buffer": "", "window": "/window"}
"""Targets by name, with the prefix that picks their route."""

Samples = dict[tuple[str, str], list[Sample]]
"""By kind of turn and name of target; one sample per round."""


async def run(targets: list[Target], plan: Plan, console: Console) -> Samples:
    """All turns of all targets."""
    samples: Samples = {}
    kinds = (("load", LONG, plan.concurrency, plan.load_s), ("paced", PACED, plan.paced_concurrency, plan.paced_s))
    requests = {
        (kind, t.name): chat_request(PROMPT + word, stream=True, prefix=MODES[t.name])
        for kind, word, _, _ in kinds
        for t in targets
    }
    for target in targets:  # not counted: connections, caches, the interpreter's own warming up
        await measure(target, requests["load", target.name], plan.concurrency, 0.4, 10_000)
    with console.status("measuring") as status:
        for i in range(plan.rounds):
            status.update(f"round {i + 1} of {plan.rounds}")
            for kind, _, connections, duration_s in kinds:
                for target in targets:
                    sample = await measure(target, requests[kind, target.name], connections, duration_s, 100_000)
                    samples.setdefault((kind, target.name), []).append(sample)
    return samples


def check_judges(port: int) -> None:
    """What is measured must be a proxy that judges both stages, and sends a window on before the end.

    Raises:
        BenchError: It does not.
    """
    for prefix in ("", "/window"):
        for prompt, status in ((PROMPT + PACED, b"200"), (MARKER, b"400"), (LEAK, b"400")):
            answer = ask(port, chat_request(prompt, stream=prompt != LEAK, prefix=prefix))
            n_texts = answer.count(b'"content":"')
            if not answer.startswith(b"HTTP/1.1 " + status) or (status == b"200" and (n_texts > 1) != bool(prefix)):
                raise BenchError(f"safeguard does not judge as it should: {answer[:300]!r}")


# ---------------------------------------------------------------------------------------------------- report


def report(samples: Samples, plan: Plan, console: Console) -> str:
    """Print the table of streams; gives the last line."""
    table = Table(
        title=f"100-chunk streams, medians over {plan.rounds} rounds; {plan.concurrency} connections, paced "
        f"{plan.paced_concurrency}"
    )
    for title in ("target", "streams/s", "of direct", "of bare", "cpu ms"):
        table.add_column(title, justify="left" if title == "target" else "right")
    for title in ("first text ms", "+ direct", "of buffer", "total ms", "+ direct", "of buffer"):
        table.add_column(title, justify="right")
    median = statistics.median

    def times(name: str, what: Callable[[Sample], list[float]]) -> list[float]:
        return [median(what(s)) for s in samples["paced", name]]

    def against(name: str, other: str, what: Callable[[Sample], list[float]], *, is_ratio: bool) -> float:
        pairs = zip(times(name, what), times(other, what), strict=True)
        return median(a / b if is_ratio else a - b for a, b in pairs)

    for name in MODES:
        load = samples["load", name]
        row = [name, f"{median(s.per_s for s in load):.0f}"]
        row += [f"{median(ratios(load, samples['load', other])):.2f}" for other in ("direct", "bare")]
        used = [s.cpu_ms for s in load if s.cpu_ms is not None]
        row.append(f"{median(used):.2f}" if used else "")
        for what in (lambda s: s.firsts_ms, lambda s: s.latencies_ms):
            row.append(f"{median(times(name, what)):.1f}")
            row.append("" if name == "direct" else f"{against(name, 'direct', what, is_ratio=False):.1f}")
            row.append("" if name == "buffer" else f"{against(name, 'buffer', what, is_ratio=True):.2f}")
        table.add_row(*row)
    console.print(table)
    to_bare = ratios(samples["load", "window"], samples["load", "bare"])
    console.print(
        f"Rounds, window of bare: {min(to_bare):.2f} to {max(to_bare):.2f}.\n"
        "Client, upstream and proxies share this machine's cores: the ratios count, not the figures."
    )
    ttft = against("window", "buffer", lambda s: s.firsts_ms, is_ratio=True)
    return f"bench-stream: bare={median(to_bare):.2f} ttft={ttft:.2f}"


async def canonical(config: Path, plan: Plan, console: Console) -> None:
    """Time what the proxy does with a request before it is forwarded, step by step, and print it."""
    screener = load_config(config).routes[0].input
    api = ChatApi()
    table = Table(title=f"overhead of the canonical pass, medians over {plan.repeats}")
    table.add_column("body")
    for title in ("parse", "clean", "judge", "serialise", "together"):
        table.add_column(f"{title} ms", justify="right")
    for size in (4_000, 200_000):
        frame = {"model": "bench-model", "messages": [], "temperature": 0.7}
        turns = [
            {"role": "user" if i % 2 == 0 else "assistant", "content": TEXT} for i in range(size // (len(TEXT) + 40))
        ]
        raw = json.dumps({**frame, "messages": turns}, separators=(",", ":")).encode()
        steps: list[list[float]] = []
        for _ in range(plan.repeats):
            at = [time.perf_counter()]
            parsed = parse_json(raw)
            at.append(time.perf_counter())
            into = Collection(strict=True)
            body = api.read_request(parsed, into)
            at.append(time.perf_counter())
            await screener.screen(Content(tuple(into.leaves), tuple(into.opaque)))
            at.append(time.perf_counter())
            dump_json(body)
            at.append(time.perf_counter())
            steps.append([(b - a) * 1000 for a, b in pairwise(at)])
        each = [statistics.median(step) for step in zip(*steps, strict=True)]
        table.add_row(
            f"{len(raw) / 1000:.0f} KB", *(f"{ms:.3f} ({ms / sum(each):.0%})" for ms in each), f"{sum(each):.3f}"
        )
    console.print(table)


def main() -> int:
    """Start everything, measure, report, end everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="under 60 seconds")
    parser.add_argument("--rounds", type=int, help="how often every target has its turn")
    args = parser.parse_args()
    plan = QUICK if args.quick or os.environ.get("QUICK", "0") not in ("", "0") else FULL
    if args.rounds is not None:
        plan = Plan(args.rounds, plan.load_s, plan.paced_s, plan.repeats)
    console = Console(width=None if sys.stdout.isatty() else 140)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda got, _: sys.exit(128 + got))
    try:
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-stream-")))
            direct = stack.enter_context(script("upstream.py", "direct"))
            bare = stack.enter_context(script("bare_proxy.py", "bare", f"http://127.0.0.1:{direct.port}"))
            ours = stack.enter_context(safeguard(CONFIG.format(port=direct.port, marker=MARKER), folder))
            check_judges(ours.port)
            targets = [direct, bare, *(Target(name, ours.port, ours.pid) for name in ("buffer", "window"))]
            samples = asyncio.run(run(targets, plan, console))
            asyncio.run(canonical(folder / "config.yaml", plan, console))
    except BenchError as e:
        print(f"bench-stream: {e}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(report(samples, plan, console))
    return 0


if __name__ == "__main__":
    sys.exit(main())

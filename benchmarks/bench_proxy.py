"""What the proxy costs: ``safeguard serve`` against a bare proxy and against no proxy, in one run.

Three targets answer the same requests: (a) a scripted upstream asked directly, (b) `bare_proxy` before it, (c)
``safeguard serve`` before it, with one detector policy on both stages. Every process runs on this machine and listens
on loopback only. The targets take turns within each round, so that a machine busy with something else slows all of them;
what counts is the *ratio* between targets, taken within each round, as a median over the rounds. Figures in requests
per second are those of this machine at this moment.

Run it with ``make bench-proxy``; ``QUICK=1`` or ``--quick`` takes under 50 seconds. ``--audit`` adds ``safeguard serve`` with
each kind of audit (docs/audit.md), and takes two and a half times as long.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import statistics
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from load import BenchError, Sample, Target, ask, chat_request, measure, ratios, safeguard, script
from rich.console import Console
from rich.table import Table
from upstream import LEAK, MARKER

CONFIG = """\
listen: {{host: 127.0.0.1, port: 0}}
upstreams:
  default: {{base_url: "http://127.0.0.1:{port}/v1"}}
policies:
  marker: {{detector: patterns, literals: ["{marker}"], ignore_case: true}}
routes:
  - name: bench
    upstream: default
    input: [{{policy: marker, refuse: 0.5}}]
    output: [{{policy: marker, refuse: 0.5}}]
"""

AUDITS = tuple((store, durability) for store in ("jsonl", "sqlite") for durability in ("process", "power"))


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured.

    Attributes:
        rounds: How often every target has its turn.
        load_s: Length of one turn with many connections.
        single_s: Length of one turn with one connection.
        concurrency: Connections of a turn with many.
        max_requests: Requests after which a turn ends early.
    """

    rounds: int
    load_s: float
    single_s: float
    concurrency: int = 16
    max_requests: int = 20_000


FULL = Plan(rounds=9, load_s=2.5, single_s=1.2)
QUICK = Plan(rounds=4, load_s=1.0, single_s=0.5)


PLAIN = chat_request("Why does the tide turn twice a day? Explain it in three sentences.", stream=False)
STREAMED = chat_request("Why does the tide turn twice a day? Explain it in three sentences.", stream=True)


def check_judges(port: int) -> None:
    """What is measured must be a proxy that judges both stages.

    Raises:
        BenchError: It lets the marker through, or refuses what is harmless.
    """
    for request, status, decision in (
        (PLAIN, b"200", b"forward"),
        (STREAMED, b"200", b"forward"),
        (chat_request(f"Say {MARKER} please.", stream=False), b"400", b"refuse"),
        (chat_request(f"Please {LEAK}.", stream=False), b"400", b"refuse"),
    ):
        answer = ask(port, request)
        if not answer.startswith(b"HTTP/1.1 " + status) or b"x-safeguard-decision: " + decision not in answer.lower():
            raise BenchError(f"safeguard does not judge as it should: {answer[:300]!r}")


# ---------------------------------------------------------------------------------------------------- report

KINDS = (("plain", PLAIN), ("stream", STREAMED))
Samples = dict[tuple[str, str, int], list[Sample]]
"""By kind of request, target and number of connections; one sample per round."""


async def run(targets: list[Target], plan: Plan, console: Console) -> Samples:
    """All turns of all targets."""
    samples: Samples = {}
    for target in targets:  # not counted: connections, caches, the interpreter's own warming up
        for _, request in KINDS:
            await measure(target, request, plan.concurrency, 0.3, plan.max_requests)
    with console.status("measuring") as status:
        for i in range(plan.rounds):
            status.update(f"round {i + 1} of {plan.rounds}")
            for kind, request in KINDS:
                for connections, duration_s in ((plan.concurrency, plan.load_s), (1, plan.single_s)):
                    for target in targets:
                        sample = await measure(target, request, connections, duration_s, plan.max_requests)
                        samples.setdefault((kind, target.name, connections), []).append(sample)
    return samples


def report(samples: Samples, names: list[str], plan: Plan, console: Console) -> str:
    """Print the table; gives the last line."""
    table = Table(
        title=f"medians over {plan.rounds} rounds; throughput with {plan.concurrency} connections, latency with 1"
    )
    table.add_column("requests")
    table.add_column("target")
    for title in ("req/s", "of direct", "of bare", "cpu ms/req", "p50 ms", "p95 ms", "added p50", "added p95"):
        table.add_column(title, justify="right")
    median = statistics.median
    for kind, _ in KINDS:
        for name in names:
            load, single = samples[kind, name, plan.concurrency], samples[kind, name, 1]
            row = [kind, name, f"{median(s.per_s for s in load):.0f}"]
            row += [
                f"{median(ratios(load, samples[kind, other, plan.concurrency])):.2f}" if name != other else ""
                for other in ("direct", "bare")
            ]
            used = [s.cpu_ms for s in load if s.cpu_ms is not None]
            row.append(f"{median(used):.2f}" if used else "")
            row += [f"{median(s.quantile_ms(q) for s in single):.2f}" for q in (0.5, 0.95)]
            for q in (0.5, 0.95):
                pairs = zip(single, samples[kind, "direct", 1], strict=True)
                row.append(
                    "" if name == "direct" else f"{median(a.quantile_ms(q) - b.quantile_ms(q) for a, b in pairs):.2f}"
                )
            table.add_row(*row)
    console.print(table)
    ours = samples["plain", "safeguard", plan.concurrency]
    to_bare = ratios(ours, samples["plain", "bare", plan.concurrency])
    to_direct = ratios(ours, samples["plain", "direct", plan.concurrency])
    streamed = [samples["stream", name, plan.concurrency] for name in ("safeguard", "bare")]
    console.print(
        f"Rounds, plain, safeguard of bare: {min(to_bare):.2f} to {max(to_bare):.2f}; "
        f"streamed: {min(ratios(*streamed)):.2f} to {max(ratios(*streamed)):.2f}.\n"
        "Client, upstream and proxies share this machine's cores: the ratios count, not the figures."
    )
    return f"bench-proxy: bare={median(to_bare):.2f} direct={median(to_direct):.2f}"


def main() -> int:
    """Start everything, measure, report, end everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="under 50 seconds")
    parser.add_argument("--rounds", type=int, help="how often every target has its turn")
    parser.add_argument("--audit", action="store_true", help="measure every kind of audit too")
    args = parser.parse_args()
    plan = QUICK if args.quick or os.environ.get("QUICK", "0") not in ("", "0") else FULL
    if args.rounds is not None:
        plan = Plan(args.rounds, plan.load_s, plan.single_s)
    console = Console(width=None if sys.stdout.isatty() else 120)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda got, _: sys.exit(128 + got))
    try:
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-proxy-")))
            direct = stack.enter_context(script("upstream.py", "direct"))
            bare = stack.enter_context(script("bare_proxy.py", "bare", f"http://127.0.0.1:{direct.port}"))
            ours = stack.enter_context(safeguard(CONFIG.format(port=direct.port, marker=MARKER), folder))
            check_judges(ours.port)
            targets = [direct, bare, ours]
            for store, durability in AUDITS if args.audit else ():
                path = folder / store / durability
                path.mkdir(parents=True)
                config = CONFIG.format(port=direct.port, marker=MARKER)
                config += f"audit: {{store: {store}, durability: {durability}}}\n"
                recorded = stack.enter_context(safeguard(config, path))
                targets.append(replace(recorded, name=f"{store}, {durability}"))
            samples = asyncio.run(run(targets, plan, console))
    except BenchError as e:
        print(f"bench-proxy: {e}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(report(samples, [t.name for t in targets], plan, console))
    return 0


if __name__ == "__main__":
    sys.exit(main())

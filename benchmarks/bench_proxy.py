"""What the proxy costs: ``safeguard serve`` against a bare proxy and against no proxy, in one run.

Three targets answer the same requests: (a) a scripted upstream asked directly, (b) `bare_proxy` before it, (c)
``safeguard serve`` before it, with one detector policy on both stages. Every process runs on this machine and listens
on loopback only. The targets take turns within each round, so that a machine busy with something else slows all of them;
what counts is the *ratio* between targets, taken within each round, as a median over the rounds. Figures in requests
per second are those of this machine at this moment.

Run it with ``make bench-proxy``; ``QUICK=1`` or ``--quick`` takes under 50 seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table
from upstream import LEAK, MARKER

ROOT = Path(__file__).resolve().parent.parent
START_TIMEOUT_S = 30.0
SLOT_GRACE_S = 20.0
"""A slot that has not ended this long after its time is a failure."""

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


class BenchError(Exception):
    """A process did not start, or a target gave a wrong answer: there is nothing to report."""


@dataclass(frozen=True, slots=True)
class Target:
    """Something that answers requests."""

    name: str
    port: int
    pid: int


@dataclass(slots=True)
class Sample:
    """What one turn of one target has shown.

    Attributes:
        per_s: Requests per second.
        latencies_ms: One per request.
        cpu_ms: Processor time of the target's process per request; None where the system does not tell.
    """

    per_s: float
    latencies_ms: list[float] = field(repr=False)
    cpu_ms: float | None = None

    def quantile_ms(self, q: float) -> float:
        """The latency that a share ``q`` of the requests stayed below."""
        ordered = sorted(self.latencies_ms)
        return ordered[min(int(q * len(ordered)), len(ordered) - 1)]


# ---------------------------------------------------------------------------------------------------- load


def chat_request(content: str, *, stream: bool) -> bytes:
    """One request as it goes over the wire."""
    messages = [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": content},
    ]
    body: dict[str, object] = {"model": "bench-model", "messages": messages, "temperature": 0.7, "max_tokens": 256}
    if stream:
        body["stream"] = True
    raw = json.dumps(body, separators=(",", ":")).encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/json\r\n"
        "Authorization: Bearer sk-bench-0000000000000000\r\nUser-Agent: bench\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(raw)}\r\n\r\n"
    )
    return head.encode() + raw


PLAIN = chat_request("Why does the tide turn twice a day? Explain it in three sentences.", stream=False)
STREAMED = chat_request("Why does the tide turn twice a day? Explain it in three sentences.", stream=True)


class Slot:
    """What the connections of one turn share."""

    def __init__(self, request: bytes, duration_s: float, max_requests: int) -> None:
        self.request = request
        self.ends = b"[DONE]" if request is STREAMED else b'"total_tokens":100'
        self.latencies: list[float] = []
        self.max_requests = max_requests
        self.duration_s = duration_s
        self.started = 0.0
        self.last = 0.0
        self.failure: str | None = None

    @property
    def is_over(self) -> bool:
        """Whether no further request is to be sent."""
        enough = len(self.latencies) >= self.max_requests or self.failure is not None
        return enough or time.perf_counter() - self.started >= self.duration_s


class Connection(asyncio.Protocol):
    """A client with one connection kept alive: one request after the other, checked only as far as it is cheap."""

    def __init__(self, slot: Slot) -> None:
        self._slot = slot
        self._sent = 0.0
        self._buffer = bytearray()
        self._needed = -1
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport; `send` begins."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def send(self) -> None:
        """Send one request."""
        self._buffer.clear()
        self._needed = -1
        self._sent = time.perf_counter()
        self._transport.write(self._slot.request)

    def data_received(self, data: bytes) -> None:
        """Take a piece of an answer; when it is whole, note how long it took and send the next request."""
        buffer = self._buffer
        buffer += data
        if self._needed < 0:
            end = buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = bytes(buffer[:end]).lower()
            at = head.find(b"\r\ncontent-length:")
            # 0: chunked, which ends with an empty chunk (no text in these streams can look like one)
            self._needed = end + 4 + int(head[at + 17 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(buffer) < self._needed or (not self._needed and not buffer.endswith(b"\r\n0\r\n\r\n")):
            return
        slot = self._slot
        slot.last = time.perf_counter()
        slot.latencies.append(slot.last - self._sent)
        if not buffer.startswith(b"HTTP/1.1 200 ") or slot.ends not in buffer[-200:]:
            slot.failure = f"wrong answer: {bytes(buffer[:200])!r}"
        if slot.is_over:
            self._transport.close()
        else:
            self.send()

    def connection_lost(self, exc: Exception | None) -> None:
        """End; a connection that the target closes is a failure."""
        if not self._slot.is_over:
            self._slot.failure = "the connection was closed"
        if not self.over.done():
            self.over.set_result(None)


async def measure(target: Target, request: bytes, connections: int, duration_s: float, max_requests: int) -> Sample:
    """One turn of one target.

    Raises:
        BenchError: An answer was wrong, a connection was closed, or the turn did not come to its end.
    """
    loop = asyncio.get_running_loop()
    slot = Slot(request, duration_s, max_requests)
    clients: list[Connection] = []
    for _ in range(connections):
        slot.started = time.perf_counter()
        _, client = await loop.create_connection(lambda: Connection(slot), "127.0.0.1", target.port)
        clients.append(client)
    cpu = cpu_s(target.pid)
    slot.started = time.perf_counter()
    for client in clients:
        client.send()
    try:
        async with asyncio.timeout(duration_s + SLOT_GRACE_S):
            await asyncio.gather(*(client.over for client in clients))
    except TimeoutError:
        raise BenchError(f"{target.name} stopped answering") from None
    if slot.failure is not None:
        raise BenchError(f"{target.name}: {slot.failure}")
    spent = cpu_s(target.pid)
    n = len(slot.latencies)
    return Sample(
        per_s=n / (slot.last - slot.started),
        latencies_ms=[s * 1000 for s in slot.latencies],
        cpu_ms=(spent - cpu) * 1000 / n if cpu is not None and spent is not None else None,
    )


def cpu_s(pid: int) -> float | None:
    """Processor time that a process has used, on Linux."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# ---------------------------------------------------------------------------------------------------- processes


def _ends_with_parent() -> Callable[[], None] | None:
    """What a child runs before its program, on Linux: if we are killed without a chance to clean up, it ends too."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(1, signal.SIGTERM) and None  # PR_SET_PDEATHSIG


@contextlib.contextmanager
def child(*command: str, cwd: Path, stdout: int, stderr: int) -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends with the block."""
    process = subprocess.Popen(
        command,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        preexec_fn=_ends_with_parent(),
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


@contextlib.contextmanager
def script(name: str, label: str, *args: str) -> Iterator[Target]:
    """One of the scripts beside this one, which print their port."""
    command = (sys.executable, str(ROOT / "benchmarks" / name), *args)
    with child(*command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.strip().isdigit():
            raise BenchError(f"{name} did not start")
        yield Target(label, int(line), process.pid)


@contextlib.contextmanager
def safeguard(upstream_port: int, folder: Path) -> Iterator[Target]:
    """``safeguard serve``, its log written to a file as a service manager would."""
    config, log = folder / "config.yaml", folder / "log.jsonl"
    config.write_text(CONFIG.format(port=upstream_port, marker=MARKER))
    with (
        log.open("wb") as sink,
        child(
            *(sys.executable, "-m", "proxy", "serve", "--config", str(config)),
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=sink.fileno(),
        ) as process,
    ):
        deadline = time.monotonic() + START_TIMEOUT_S
        while (port := _logged_port(log)) is None:
            if process.poll() is not None or time.monotonic() > deadline:
                raise BenchError(f"safeguard serve did not start:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.05)
        yield Target("safeguard", port, process.pid)


def _logged_port(log: Path) -> int | None:
    for line in log.read_text(errors="replace").splitlines():
        with contextlib.suppress(ValueError):
            entry = json.loads(line)
            if entry.get("event") == "serving":
                return int(str(entry["url"]).rpartition(":")[2].partition("/")[0])
    return None


def ask(port: int, request: bytes) -> bytes:
    """One answer, its connection closed after it."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request.replace(b"\r\nAccept:", b"\r\nConnection: close\r\nAccept:", 1))
        parts = []
        while part := connection.recv(65536):
            parts.append(part)
        return b"".join(parts)


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


def ratios(ours: list[Sample], theirs: list[Sample]) -> list[float]:
    """Requests per second of one target over another's, round by round."""
    return [a.per_s / b.per_s for a, b in zip(ours, theirs, strict=True)]


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
            ours = stack.enter_context(safeguard(direct.port, folder))
            check_judges(ours.port)
            targets = [direct, bare, ours]
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

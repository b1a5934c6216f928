"""What the benchmarks share: targets as processes, clients that load them, and what one turn of a target has shown.

The clients are bare protocols that check answers only as far as it is cheap, so that they are never the slowest part.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
START_TIMEOUT_S = 30.0
SLOT_GRACE_S = 20.0
"""A slot that has not ended this long after its time is a failure."""


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
        firsts_ms: One per request: until the first text was there.
        cpu_ms: Processor time of the target's process per request; None where the system does not tell.
    """

    per_s: float
    latencies_ms: list[float] = field(repr=False)
    firsts_ms: list[float] = field(repr=False)
    cpu_ms: float | None = None

    def quantile_ms(self, q: float) -> float:
        """The latency that a share ``q`` of the requests stayed below."""
        ordered = sorted(self.latencies_ms)
        return ordered[min(int(q * len(ordered)), len(ordered) - 1)]


# ---------------------------------------------------------------------------------------------------- load


def chat_request(content: str, *, stream: bool, prefix: str = "") -> bytes:
    """One request as it goes over the wire; the prefix of its path picks a route."""
    messages = [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": content},
    ]
    body: dict[str, object] = {"model": "bench-model", "messages": messages, "temperature": 0.7, "max_tokens": 256}
    if stream:
        body["stream"] = True
    raw = json.dumps(body, separators=(",", ":")).encode()
    head = (
        f"POST {prefix}/v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/json\r\n"
        "Authorization: Bearer sk-bench-0000000000000000\r\nUser-Agent: bench\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(raw)}\r\n\r\n"
    )
    return head.encode() + raw


class Slot:
    """What the connections of one turn share."""

    def __init__(self, request: bytes, duration_s: float, max_requests: int) -> None:
        self.request = request
        self.ends = b"[DONE]" if b'"stream":true' in request else b'"total_tokens":100'
        self.latencies: list[float] = []
        self.firsts: list[float] = []
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
        self._first = 0.0
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport; `send` begins."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def send(self) -> None:
        """Send one request."""
        self._buffer.clear()
        self._needed = -1
        self._first = 0.0
        self._sent = time.perf_counter()
        self._transport.write(self._slot.request)

    def data_received(self, data: bytes) -> None:
        """Take a piece of an answer; when it is whole, note how long it took and send the next request."""
        buffer = self._buffer
        buffer += data
        if not self._first and b'"content":"' in buffer:
            self._first = time.perf_counter()
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
        slot.firsts.append(self._first - self._sent)
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
        firsts_ms=[s * 1000 for s in slot.firsts],
        cpu_ms=(spent - cpu) * 1000 / n if cpu is not None and spent is not None else None,
    )


def cpu_s(pid: int) -> float | None:
    """Processor time that a process has used, on Linux."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ratios(ours: list[Sample], theirs: list[Sample]) -> list[float]:
    """Requests per second of one target over another's, round by round."""
    return [a.per_s / b.per_s for a, b in zip(ours, theirs, strict=True)]


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
def safeguard(configuration: str, folder: Path) -> Iterator[Target]:
    """``safeguard serve``, its log written to a file as a service manager would."""
    config, log = folder / "config.yaml", folder / "log.jsonl"
    config.write_text(configuration)
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

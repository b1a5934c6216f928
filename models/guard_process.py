"""One run of a guard process, seen from the proxy: start it, ask it, end it, and say how it died.

Everything arrives through callbacks of the event loop (frames on a socket pair, output on a pipe, the exit), so that
no task is needed to watch a process, and none can be forgotten. `models.host` decides what a death means.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import structlog

from models import wire
from models.engine import GuardPolicy, Passage
from models.errors import ERRORS_BY_CODE, EngineError
from models.specs import LocalSpec
from models.usage import Usage

log = structlog.get_logger()

COMMAND: tuple[str, ...] = (sys.executable, "-P", "-m", "models.worker")
"""The guard process; the number of its socket follows. ``-P``: the working directory is no place to import from."""

_KEPT_LINES = 8
_LINE_CHARS = 300
_ENV_NAMES = frozenset({"PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR", "TZ", "LD_LIBRARY_PATH", "PYTHONPATH"})
_ENV_PREFIXES = ("CUDA_", "NVIDIA_", "HIP_", "ROCR_", "GGML_", "OMP_", "KMP_", "GOMP_")


class ProcessDied(Exception):
    """The guard process is gone, or talks nonsense. Holds no content."""


def environment(parent: Mapping[str, str]) -> dict[str, str]:
    """The environment of a guard process: what native libraries need, none of the proxy's secrets (attacks M19)."""
    kept = {name: value for name, value in parent.items() if name in _ENV_NAMES or name.startswith(_ENV_PREFIXES)}
    root = str(Path(__file__).resolve().parents[1])
    kept["PYTHONPATH"] = os.pathsep.join(filter(None, (root, kept.get("PYTHONPATH"))))
    kept["HF_HUB_OFFLINE"] = "1"
    kept["OPENBLAS_NUM_THREADS"] = "1"  # numpy would start a thread for each processor, and nothing here uses them
    return kept


class _Output(asyncio.SubprocessProtocol):
    """Keeps the last lines of what the process printed, and notices its exit."""

    def __init__(self, guard: str) -> None:
        self.lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self.exited = asyncio.Event()
        self.closed = asyncio.Event()
        """Exited, and all that it printed was read."""
        self._guard = guard
        self._rest = b""

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[-_LINE_CHARS:]
        for line in lines:
            self._keep(line)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        self._keep(self._rest)
        self._rest = b""

    def process_exited(self) -> None:
        self.exited.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set()

    def _keep(self, line: bytes) -> None:
        text = "".join(c if c.isprintable() else " " for c in line[:_LINE_CHARS].decode(errors="replace")).strip()
        if text:
            self.lines.append(text)
            log.debug("guard_output", guard=self._guard, line=text)


class _Channel(asyncio.Protocol):
    """Our end of the socket pair."""

    def __init__(self, process: GuardProcess) -> None:
        self._process = process
        self._frames = wire.FrameReader()

    def data_received(self, data: bytes) -> None:
        try:
            for message in self._frames.feed(data):
                self._process.received(message)
        except wire.WireError as error:
            self._process.lost(f"guard process: {error}")

    def connection_lost(self, exc: Exception | None) -> None:
        self._process.lost(None)


class GuardProcess:
    """A started guard process. Make it with `start`; end it with `close`, also when it died by itself."""

    def __init__(self, spec: LocalSpec, on_death: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        self.dead = False
        self.usage = Usage()
        """What it has computed so far, as of its last answer."""
        self._on_death = on_death
        self._complaint: str | None = None
        self._output = _Output(spec.name)
        self._policies = wire.PolicySender()
        self._loaded: asyncio.Future[wire.Message] = loop.create_future()
        self._answers: dict[int, tuple[int, asyncio.Future[list[wire.Entry]]]] = {}
        self._channel: asyncio.Transport | None = None
        self._transport: asyncio.SubprocessTransport | None = None
        self._spec = spec

    @classmethod
    async def start(cls, spec: LocalSpec, command: Sequence[str], on_death: asyncio.Event) -> GuardProcess:
        """Start the process.

        Args:
            spec: For the names in logs; `load` sends it.
            command: What to run; the number of the inherited socket is appended.
            on_death: Set when the process has died.

        Raises:
            OSError: It cannot be started.
        """
        loop = asyncio.get_running_loop()
        process = cls(spec, on_death)
        ours, theirs = socket.socketpair()
        try:
            transport, _ = await loop.subprocess_exec(
                lambda: process._output,
                *(*command, str(theirs.fileno())),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(theirs.fileno(),),
                env=environment(os.environ),
                start_new_session=True,  # a Ctrl-C in the terminal is for the proxy, which then ends its guards
            )
            process._transport = transport
            channel, _ = await loop.create_connection(lambda: _Channel(process), sock=ours)
            process._channel = channel
        except BaseException:
            ours.close()
            await process.close(0.0)
            raise
        finally:
            theirs.close()
        return process

    @property
    def pid(self) -> int | None:
        """Process id; None once it has exited."""
        if self._transport is None or self._transport.get_returncode() is not None:
            return None
        return self._transport.get_pid()

    async def load(self, path: Path, verified: str | None, timeout_s: float) -> tuple[str, str]:
        """Have the model verified and loaded.

        Returns:
            The model's name with its revision, and the state of the verified file (for the next start).

        Raises:
            ProcessDied: It died while loading, or took longer than ``timeout_s``.
            EngineError: It says why it cannot load; `ModelLoadError` where another try is pointless.
        """
        self._send(wire.load_message(self._spec, str(path), verified))
        try:
            async with asyncio.timeout(timeout_s):
                message = await self._loaded
        except TimeoutError:
            raise ProcessDied(f"the model was not loaded within {timeout_s:g} s") from None
        if message["type"] == "failed":
            raise ERRORS_BY_CODE.get(str(message.get("code")), EngineError)(str(message.get("message")))
        return str(message.get("model")), str(message.get("verified"))

    def submit(
        self,
        job_id: int,
        passages: Sequence[Passage],
        policies: Sequence[GuardPolicy],
        deadline: float,
        key: str = "",
    ) -> asyncio.Future[list[wire.Entry]]:
        """Send a job.

        Returns:
            Its entries, one per policy; or `ProcessDied`.

        Raises:
            ProcessDied: It is dead already.
            wire.WireError: The job cannot be sent; the process is fine.
        """
        if self.dead:
            raise ProcessDied(self.epitaph())
        try:
            self._send(self._policies.job_message(job_id, passages, policies, deadline, key))
        except wire.WireError:
            self._policies.reset()
            raise
        answer: asyncio.Future[list[wire.Entry]] = asyncio.get_running_loop().create_future()
        self._answers[job_id] = (len(policies), answer)
        return answer

    def cancel(self, job_id: int) -> None:
        """Tell the process that nobody waits for a job any more. It answers nevertheless, soon."""
        if not self.dead and job_id in self._answers:
            self._send({"type": "cancel", "id": job_id})

    async def close(self, grace_s: float) -> None:
        """End the process: close its socket, wait up to ``grace_s`` seconds, kill it. Returns when it is gone.

        A close that was cancelled can be called again, and again once it is done.
        """
        self.lost("the guard process was ended")
        if self._channel is not None:
            self._channel.abort()
        if self._transport is None:
            return
        with contextlib.suppress(ProcessLookupError):
            if self.pid is not None and grace_s > 0:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(grace_s):
                        await self._output.exited.wait()
            if self.pid is not None:
                self._transport.kill()
        await self._output.exited.wait()
        self._transport.close()

    async def reap(self) -> None:
        """After a death that was noticed on the socket: wait a moment for the exit status and the last lines."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                await self._output.closed.wait()

    def epitaph(self) -> str:
        """How it died, in one line without content: exit status or signal, and the last line that it printed."""
        status = self._transport.get_returncode() if self._transport is not None else None
        if self._complaint is not None:
            how = self._complaint
        elif status is None:
            how = "the guard process closed its socket"
        elif status < 0:
            how = f"the guard process was killed by signal {-status} ({signal.strsignal(-status)})"
        else:
            how = f"the guard process exited with status {status}"
        return f"{how}: {self._output.lines[-1]}" if self._output.lines else how

    def received(self, message: wire.Message) -> None:
        """A message came. Answers that nobody waits for are dropped (attacks I12)."""
        if message["type"] in ("ready", "failed"):
            if not self._loaded.done():
                self._loaded.set_result(message)
            return
        job_id = cast(int, message.get("id"))
        if job_id not in self._answers:
            return
        n_policies, answer = self._answers[job_id]
        entries = wire.read_entries(message, n_policies)  # where this raises, the job is still there to be told
        if (usage := wire.read_usage(message)) is not None and usage.follows(self.usage):
            self.usage = usage
        del self._answers[job_id]
        if not answer.done():
            answer.set_result(entries)

    def lost(self, complaint: str | None) -> None:
        """The process is dead to us; everybody who waits for it learns so."""
        if self.dead:
            return
        self.dead = True
        self._complaint = complaint
        waiting: list[asyncio.Future[wire.Message] | asyncio.Future[list[wire.Entry]]] = [self._loaded]
        waiting += [answer for _, answer in self._answers.values()]
        self._answers.clear()
        for future in waiting:
            if not future.done():
                future.set_exception(ProcessDied("the guard process died"))
                future.exception()  # counts as retrieved: nobody need wait for it
        self._on_death.set()

    def _send(self, message: wire.Message) -> None:
        frame = wire.pack(message)
        if self._channel is not None and not self._channel.is_closing():
            self._channel.write(frame)

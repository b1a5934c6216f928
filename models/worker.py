"""The guard process: ``python -m models.worker FD``.

Why a process: llama.cpp ends the process on a failed assertion, an out-of-memory kill takes whoever owns the memory,
and a hung decode can only be ended by a signal. None of these may take traffic down. `models.host` starts, watches
and replaces this process; they talk over a socket pair (`models.wire`).

Two threads. The *reader* takes messages off the socket, so that a cancellation is seen while the *main* thread, which
owns the model, is inside a native call (ctypes releases the GIL; the abort callback asks `Stop`). The main thread gives the
judge every job that has come, has it work for a moment, and sends what is ready (`models.judge.SteppedJudge`): how many
jobs it works on at once is the judge's business.

The process dies with its parent (a signal from the kernel, and the end of the socket), writes no core file (it would
hold content), ignores SIGTERM (the parent decides when to end), and refuses to open a network connection.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import math
import os
import queue
import resource
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from models import catalog, wire
from models.errors import EngineError, ModelLoadError
from models.judge import SteppedJudge, Stop
from models.specs import LocalSpec
from models.usage import Usage

Load = Callable[[LocalSpec, Path], SteppedJudge]

_RECEIVE_BYTES = 1 << 16
_PR_SET_PDEATHSIG = 1
_NETWORK_EVENTS = frozenset(
    {"socket.connect", "socket.bind", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"}
)


class Inbox:
    """What the reader thread hands to the main thread: jobs in order, and which of them were called off.

    Attributes:
        due: Earliest deadline of the jobs that are not taken.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._frames = wire.FrameReader()
        self._jobs: queue.SimpleQueue[wire.Message] = queue.SimpleQueue()
        self._is_cancelled: dict[int, bool] = {}
        """By job that is not answered."""
        self.due = math.inf
        self._lock = threading.Lock()

    def first(self) -> wire.Message:
        """The ``load`` message, before the reader thread runs.

        Raises:
            EOFError: The parent has gone.
        """
        messages = self._receive()
        while not messages:
            messages = self._receive()
        for message in messages[1:]:
            self._sort(message)
        return messages[0]

    def read_forever(self) -> None:
        """Body of the reader thread. The end of the socket is the end of the process, whatever the main thread does."""
        try:
            while True:
                for message in self._receive():
                    self._sort(message)
        except (EOFError, OSError, wire.WireError):
            os._exit(0)

    def take(self, *, wait: bool) -> list[wire.Message]:
        """Jobs that have come.

        Args:
            wait: Whether to wait until there is one.
        """
        jobs = [self._jobs.get()] if wait else []
        with self._lock, contextlib.suppress(queue.Empty):
            self.due = math.inf
            while True:
                jobs.append(self._jobs.get_nowait())
        return jobs

    def answered(self, job_id: int) -> None:
        """A job is over: if it is called off now, that is too late."""
        with self._lock:
            del self._is_cancelled[job_id]

    def is_cancelled(self, job_id: int) -> bool:
        """Whether the asker of a job has gone."""
        return self._is_cancelled.get(job_id, False)

    def _receive(self) -> list[wire.Message]:
        data = self._sock.recv(_RECEIVE_BYTES)
        if not data:
            raise EOFError
        return self._frames.feed(data)

    def _sort(self, message: wire.Message) -> None:
        match message["type"]:
            case "job":
                with self._lock:
                    self._is_cancelled[message["id"]] = False
                    self.due = min(self.due, message["deadline"])
                    self._jobs.put(message)
            case "cancel":
                with self._lock:
                    if message["id"] in self._is_cancelled:
                        self._is_cancelled[message["id"]] = True
            case _:
                raise wire.WireError("unknown type of message")


def serve(sock: socket.socket, load: Load) -> int:
    """Load a model and judge until the parent goes.

    Args:
        sock: Our end of the socket pair; its first message says what to load.
        load: Makes the judge. Called once, after the file's hash was found right.

    Returns:
        The exit status where the model could not be loaded; otherwise the function does not return.
    """
    inbox = Inbox(sock)
    message = inbox.first()
    spec, path = wire.read_spec(message), Path(message["path"])
    threading.Thread(target=inbox.read_forever, name="reader", daemon=True).start()
    try:
        verified = catalog.check(path, spec.sha256, verified=message["verified"])
        judge = load(spec, path)
    except EngineError as error:
        return _fail(sock, error)
    except MemoryError:
        return _fail(sock, EngineError("the model does not fit into memory"))
    except Exception as error:  # a loader's bug must be reported, not only be an exit status
        return _fail(sock, EngineError(f"the model cannot be loaded: {type(error).__name__}: {error}"))
    sock.sendall(wire.pack({"type": "ready", "model": judge.model, "verified": verified}))
    return _work(sock, judge, inbox)


def _work(sock: socket.socket, judge: SteppedJudge, inbox: Inbox) -> NoReturn:
    policies = wire.PolicyReceiver()
    n_policies: dict[int, int] = {}
    """By job that is not answered."""
    while True:
        for job in inbox.take(wait=not judge.busy):
            job_id: int = job["id"]
            passages, wanted = policies.read_job(job)
            n_policies[job_id] = len(wanted)
            stop = Stop(job["deadline"], functools.partial(inbox.is_cancelled, job_id))
            judge.submit(job_id, passages, wanted, stop, job["key"])
        try:
            answers = judge.step(lambda: inbox.due) if judge.busy else []
        except Exception as error:
            # A mistake of ours, which leaves its books in doubt: end, and let the supervisor find out whose job did it. Named
            # by type and place: messages may quote.
            frame = traceback.extract_tb(error.__traceback__)[-1]
            sys.stderr.write(f"the judge failed: {type(error).__name__} in {frame.name}, line {frame.lineno}\n")
            sys.stderr.flush()
            os._exit(5)
        for job_id, entries in answers:
            inbox.answered(job_id)
            sock.sendall(_pack_answer(job_id, entries, n_policies.pop(job_id), judge.usage))


def _fail(sock: socket.socket, error: EngineError) -> int:
    sock.sendall(wire.pack({"type": "failed", "code": error.code, "message": str(error)}))
    return 3 if isinstance(error, ModelLoadError) else 4


def _pack_answer(job_id: int, entries: list[wire.Entry], n_policies: int, usage: Usage) -> bytes:
    try:
        return wire.pack(wire.answer_message(job_id, entries, usage))
    except wire.WireError:  # e.g. a rationale that is not valid Unicode
        return wire.pack(wire.answer_message(job_id, [EngineError("the answer cannot be sent")] * n_policies, usage))


def confine() -> None:
    """Tie this process to its parent and take from it what a guard never needs."""
    with contextlib.suppress(OSError, AttributeError):  # Linux only; elsewhere the end of the socket does it
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # A service manager may signal the whole group: the proxy then drains and needs its guards until it closes the socket
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.addaudithook(_refuse_network)


def _refuse_network(event: str, arguments: tuple[object, ...]) -> None:
    if event in _NETWORK_EVENTS:
        raise PermissionError("a guard process opens no network connections")


def run(fd: int, load: Load) -> int:
    """Serve on an inherited descriptor until the parent goes."""
    confine()
    with socket.socket(fileno=fd) as sock:
        try:
            return serve(sock, load)
        except (EOFError, OSError):
            return 0


def _load(spec: LocalSpec, path: Path) -> SteppedJudge:
    from models.loading import load_judge  # brings llama_cpp: late, so that its absence is reported like any failure

    judge: SteppedJudge = load_judge(spec, path)
    return judge


def main() -> int:
    """Entry point of the process."""
    return run(int(sys.argv[1]), _load)


if __name__ == "__main__":
    sys.exit(main())

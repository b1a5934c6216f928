"""What the end-to-end tests stand between: a scripted upstream, a scripted remote guard, and the proxy as a process.

Both scripted servers live on an event loop of their own in a thread, so that blocking clients can be tested too. A
test gives a server its next behaviour as a *script*: an async function from a request to a response.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import aiohttp
import orjson
from aiohttp import web

MARK = "ZQ-MARK-7781"
"""What the tests' policies refuse."""
UPSTREAM_KEY = "sk-upstream-0123456789abcdefKEY"
CLIENT_KEY = "sk-client-fedcba9876543210KEY"
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 40.0

T = TypeVar("T")


@dataclass(slots=True)
class Received:
    """A request that a scripted server was sent."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    gone: threading.Event = field(default_factory=threading.Event)
    """Set when the caller left before the script had ended."""
    gone_at: float = 0.0

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    def header(self, name: str) -> str | None:
        return next((v for k, v in self.headers if k.lower() == name.lower()), None)


Script: TypeAlias = Callable[[web.BaseRequest, Received], Awaitable[web.StreamResponse]]


class LoopThread:
    """An event loop in a thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()


class ScriptedServer:
    """An HTTP server on loopback that does what its script says and keeps what it was sent."""

    def __init__(self, thread: LoopThread, default: Script) -> None:
        self._thread = thread
        self._default = default
        self._runner: web.ServerRunner | None = None
        self._arrived = threading.Condition()
        self.script = default
        self.received: list[Received] = []
        self.url = ""
        thread.run(self._start())

    async def _start(self) -> None:
        server = web.Server(self._handle, handler_cancellation=True, access_log=None, auto_decompress=False)
        self._runner = web.ServerRunner(server, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/v1"

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        headers = [(k.decode(), v.decode()) for k, v in request.raw_headers]
        received = Received(request.method, request.raw_path, headers, await request.read())
        with self._arrived:
            self.received.append(received)
            self._arrived.notify_all()
        try:
            return await self.script(request, received)
        except (asyncio.CancelledError, ConnectionError):
            received.gone_at = time.monotonic()
            received.gone.set()
            raise

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """Where scripts run."""
        return self._thread.loop

    def wait_received(self, n: int = 1, timeout_s: float = 10.0) -> list[Received]:
        """Wait until ``n`` requests have arrived since `reset`."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.received) >= n, timeout_s), "the request never arrived"
            return list(self.received)

    def reset(self) -> None:
        with self._arrived:
            self.received = []
        self.script = self._default

    def close(self) -> None:
        async def cleanup() -> None:
            if self._runner is not None:
                await self._runner.cleanup()

        self._thread.run(cleanup())


# ------------------------------------------------------------------ scripts


def replies(
    body: Any, status: int = 200, headers: dict[str, str] | None = None, content_type: str = "application/json"
) -> Script:
    """Answer with a body: bytes as they are, anything else as JSON."""
    data = body if isinstance(body, bytes) else orjson.dumps(body)

    async def script(request: web.BaseRequest, received: Received) -> web.StreamResponse:
        return web.Response(status=status, body=data, headers={"Content-Type": content_type, **(headers or {})})

    return script


def streams(
    *segments: bytes, content_type: str = "text/event-stream", then: str = "end", hold: asyncio.Event | None = None
) -> Script:
    """Answer with a stream, each segment flushed by itself.

    ``then``: ``end`` ends it well, ``abort`` breaks the connection off, ``hang`` sends nothing more.
    """

    async def script(request: web.BaseRequest, received: Received) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": content_type})
        await response.prepare(request)
        for segment in segments:
            await response.write(segment)
            await asyncio.sleep(0)
        if then == "hang":
            await asyncio.Event().wait()
        if then == "abort":
            assert request.transport is not None
            request.transport.close()
            raise ConnectionResetError
        await response.write_eof()
        return response

    return script


def after(seconds: float, script: Script) -> Script:
    """A slow upstream."""

    async def slow(request: web.BaseRequest, received: Received) -> web.StreamResponse:
        await asyncio.sleep(seconds)
        return await script(request, received)

    return slow


async def hangs(request: web.BaseRequest, received: Received) -> web.StreamResponse:
    """Never answer."""
    await asyncio.Event().wait()
    raise AssertionError


def raw_answer(data: bytes) -> Script:
    """Bytes straight onto the connection, which is then closed: for answers that are not HTTP, or not whole."""

    async def script(request: web.BaseRequest, received: Received) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.write(data)
        request.transport.close()
        raise ConnectionResetError

    return script


def completion(content: str | None = "Hello there.", *, n: int = 1, **message: Any) -> dict[str, Any]:
    """A chat completion as OpenAI answers."""
    return {
        "id": "chatcmpl-upstream",
        "object": "chat.completion",
        "created": 1700000000,
        "model": "gpt-4o-2024-08-06",
        "choices": [
            {
                "index": i,
                "message": {"role": "assistant", "content": content, **message},
                "logprobs": None,
                "finish_reason": "tool_calls" if message.get("tool_calls") else "stop",
            }
            for i in range(n)
        ],
        "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
        "system_fingerprint": "fp_1",
    }


def chunk(delta: dict[str, Any] | None = None, *, index: int = 0, finish: str | None = None, **more: Any) -> bytes:
    """One event of a stream."""
    choices = [] if delta is None else [{"index": index, "delta": delta, "finish_reason": finish}]
    return event(
        {
            "id": "chatcmpl-upstream",
            "object": "chat.completion.chunk",
            "created": 1700000000,
            "model": "gpt-4o-2024-08-06",
            "choices": choices,
            **more,
        }
    )


def event(data: Any) -> bytes:
    return b"data: " + (data if isinstance(data, bytes) else orjson.dumps(data)) + b"\n\n"


DONE = b"data: [DONE]\n\n"
USAGE_CHUNK = chunk(usage={"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7})


def text_stream(*pieces: str, usage: bool = False) -> list[bytes]:
    """A whole stream of one choice."""
    return [
        chunk({"role": "assistant", "content": ""}),
        *(chunk({"content": piece}) for piece in pieces),
        chunk({}, finish="stop"),
        *([USAGE_CHUNK] if usage else []),
        DONE,
    ]


async def answers_chat(request: web.BaseRequest, received: Received) -> web.StreamResponse:
    """The default upstream: a friendly completion in the shape that was asked for."""
    if received.target.endswith("/models"):
        models = [{"id": "gpt-4o", "object": "model", "created": 1, "owned_by": "openai"}]
        return await replies({"object": "list", "data": models})(request, received)
    asked = received.json
    if not asked.get("stream"):
        return await replies(completion(n=asked.get("n") or 1))(request, received)
    n = asked.get("n") or 1
    pieces = [
        chunk({"role": "assistant", "content": piece}, index=i) for piece in ("Hello", " there.") for i in range(n)
    ]
    closing = [chunk({}, index=i, finish="stop") for i in range(n)]
    usage = [USAGE_CHUNK] if (asked.get("stream_options") or {}).get("include_usage") else []
    return await streams(*pieces, *closing, *usage, DONE)(request, received)


def verdict(label: str = "0", **more: Any) -> dict[str, Any]:
    """A remote guard's answer."""
    top = [
        {"token": "1", "logprob": -0.01 if label == "1" else -6.0},
        {"token": "0", "logprob": -0.01 if label != "1" else -6.0},
    ]
    logprobs = {"content": [{"token": label, "logprob": -0.01, "top_logprobs": top}]}
    message = {"role": "assistant", "content": label, "reasoning": "because"}
    return {"choices": [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": logprobs, **more}]}


async def judges_mark(request: web.BaseRequest, received: Received) -> web.StreamResponse:
    """The default guard: whatever holds `MARK` violates; what can be unescaped is read unescaped too."""
    shown = received.json["messages"][-1]["content"]
    return await replies(verdict("1" if MARK in shown else "0"))(request, received)


# ------------------------------------------------------------------ the proxy


class Proxy:
    """`safeguard serve` in a process of its own."""

    def __init__(self, process: subprocess.Popen[bytes], log_file: Path) -> None:
        self.process = process
        self._log_file = log_file
        self._serving = threading.Event()
        self._lines: list[dict[str, Any]] = []
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()
        self.port = 0
        self.admin_port = 0
        if not self._serving.wait(START_TIMEOUT_S) or not self.port:
            process.kill()
            process.wait(10)
            self._reader.join(10)
            self._close_pipe()
            raise AssertionError(f"the proxy did not start:\n{log_file.read_text()}")

    def _read_log(self) -> None:
        assert self.process.stderr is not None
        with self._log_file.open("wb") as out:
            for raw in self.process.stderr:
                out.write(raw)
                out.flush()
                try:
                    line = json.loads(raw)
                except ValueError:
                    line = {"event": "not JSON", "text": raw.decode("utf-8", "replace")}
                if line.get("event") == "serving":
                    self.port = int(line["url"].split(":")[2].split("/")[0])
                    self.admin_port = int(line["admin"].rsplit(":", 1)[1]) if line.get("admin") else 0
                    self._serving.set()
                with self._changed:
                    self._lines.append(line)
                    self._changed.notify_all()
        self._serving.set()

    def _close_pipe(self) -> None:
        assert self.process.stderr is not None
        self.process.stderr.close()

    @property
    def log(self) -> str:
        return self._log_file.read_text(encoding="utf-8")

    def wait_log(self, matches: Callable[[dict[str, Any]], bool], timeout_s: float = 10.0) -> dict[str, Any]:
        """Wait for a log line."""
        with self._changed:
            assert self._changed.wait_for(lambda: any(map(matches, self._lines)), timeout_s), (
                f"no such line:\n{self.log}"
            )
            return next(line for line in self._lines if matches(line))

    def url(self, prefix: str = "") -> str:
        return f"http://127.0.0.1:{self.port}{prefix}/v1"

    @property
    def admin_url(self) -> str:
        return f"http://127.0.0.1:{self.admin_port}"

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def stop(self) -> str:
        """SIGTERM; the process must end by itself, with 0, and must not have failed internally. Gives the log."""
        self.signal(signal.SIGTERM)
        return self.ended()

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait(10)
        self._reader.join(10)
        self._close_pipe()

    def ended(self) -> str:
        """Wait for the end of a process that was told to stop."""
        try:
            code = self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
            code = None
        self._reader.join(10)
        self._close_pipe()
        log = self.log
        assert code == 0, f"exit code {code}:\n{log[-5000:]}"
        assert "internal_error" not in log, log[-5000:]
        assert "Traceback" not in log, log[-5000:]
        for key in (UPSTREAM_KEY, CLIENT_KEY):
            assert key not in log, "a key is in the log"
        assert MARK not in log, "content is in the log"
        return log


@contextlib.contextmanager
def running(config: str, folder: Path, environ: dict[str, str] | None = None) -> Iterator[Proxy]:
    """Run `safeguard serve` with a configuration."""
    path = folder / "config.yaml"
    path.write_text(config, encoding="utf-8")
    command = [sys.executable, "-m", "proxy", "serve", "--config", str(path), "--port", "0", "--admin-port", "0"]
    keys = {"UPSTREAM_KEY": UPSTREAM_KEY}
    process = subprocess.Popen(
        command,
        cwd=Path(__file__).parents[2],
        env={**os.environ, **keys, **(environ or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    proxy = Proxy(process, folder / "proxy.log")
    try:
        yield proxy
    except BaseException:
        if process.poll() is None:
            proxy.kill()
        raise
    if process.poll() is None:
        proxy.stop()


class Shell:
    """Runs commands of `safeguard` in a folder, as processes."""

    def __init__(self, folder: Path, **environ: str) -> None:
        self.folder = folder
        self.environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **environ}

    def begin(self, *args: str, **options: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "proxy", *args],
            cwd=self.folder,
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **options,
        )

    def run(self, *args: str, given: bytes | None = None) -> tuple[int, str, str]:
        """Exit code, standard output, standard error."""
        process = self.begin(*args, stdin=subprocess.PIPE)
        out, err = process.communicate(given, timeout=110)
        assert b"Traceback" not in err, err.decode()
        return process.returncode, out.decode(), err.decode()


@contextlib.contextmanager
def nobody() -> Iterator[str]:
    """A base URL where nobody answers, nor can as long as it is needed: the port is taken, and not listened on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/v1"


# ------------------------------------------------------------------ raw clients

ANSWER_HEADERS = (
    "x-request-id",
    "x-safeguard-decision",
    "x-safeguard-decision-id",
    "x-safeguard-policy-set",
    "x-safeguard-unjudged",
)


@dataclass(slots=True)
class Reply:
    """An answer of the proxy, read to its end."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        found = self.json["error"]
        assert isinstance(found, dict)
        return found

    @property
    def decision(self) -> str:
        return self.headers["x-safeguard-decision"]

    @property
    def events(self) -> list[Any]:
        """The events of a stream; ``[DONE]`` as None. Comments are left out, anything else is a mistake."""
        return read_events(self.body)

    @property
    def text(self) -> str:
        """The streamed content of choice 0."""
        return "".join(
            c["delta"].get("content") or ""
            for e in self.events
            if e is not None
            for c in e.get("choices", ())
            if c["index"] == 0
        )

    @property
    def finish_reasons(self) -> list[str]:
        return [
            c["finish_reason"]
            for e in self.events
            if e is not None
            for c in e.get("choices", ())
            if c.get("finish_reason") is not None
        ]


def read_events(body: bytes) -> list[Any]:
    assert body.endswith(b"\n\n"), "a stream ends with a whole event"
    out: list[Any] = []
    for block in body.decode().removesuffix("\n\n").split("\n\n"):
        if block.startswith(":"):
            assert "\n" not in block
            continue
        assert block.startswith("data: "), block
        assert "\n" not in block, block
        out.append(None if block == "data: [DONE]" else orjson.loads(block[6:]))
    return out


async def read_until(response: aiohttp.ClientResponse, text: str) -> bytes:
    """Read a stream until its text holds `text`, in however many events it arrives; returns the bytes so far."""
    body = b""
    while not body.endswith(b"\n\n") or text not in Reply(response.status, {}, body).text:
        if not (data := await response.content.readany()):
            raise AssertionError(f"the stream ended without {text!r}: {body!r}")
        body += data
    return body


def chat_body(content: Any = "Hi", **more: Any) -> dict[str, Any]:
    return {"model": "gpt-4o", "messages": [{"role": "user", "content": content}], **more}


async def post(session: aiohttp.ClientSession, url: str, body: Any, headers: dict[str, str] | None = None) -> Reply:
    """POST JSON (or bytes as they are) and read the answer, checking what every answer must have."""
    data = body if isinstance(body, bytes) else orjson.dumps(body)
    given = {"Content-Type": "application/json", **(headers or {})}
    async with session.post(url, data=data, headers=given) as response:
        return checked(
            Reply(response.status, {k.lower(): v for k, v in response.headers.items()}, await response.read())
        )


def checked(reply: Reply) -> Reply:
    for name in ANSWER_HEADERS:
        assert name in reply.headers, f"{name} is missing from {reply.status} {reply.headers}"
    assert reply.headers["x-safeguard-decision"] in ("forward", "flag", "rewrite", "refuse")
    assert "server" not in reply.headers
    assert "set-cookie" not in reply.headers
    for secret in (UPSTREAM_KEY, CLIENT_KEY):
        assert secret.encode() not in reply.body
        assert not any(secret in v for v in reply.headers.values())
    if reply.status >= 400:
        assert set(reply.error) >= {"message", "type", "param", "code"}
        assert reply.headers["content-type"].startswith("application/json")
    return reply


_HEAD_END = b"\r\n\r\n"


def parse_http(data: bytes) -> list[Reply]:
    """The answers on a raw connection that the server has closed."""
    out = []
    while data:
        head, _, rest = data.partition(_HEAD_END)
        lines = head.split(b"\r\n")
        match = re.match(rb"HTTP/\d\.\d (\d{3})", lines[0])
        assert match, lines[0]
        pairs = [line.partition(b":") for line in lines[1:]]
        headers = {k.decode().lower(): v.decode().strip() for k, _, v in pairs}
        if match[1] == b"100":
            data = rest
            continue
        length = int(headers.get("content-length", len(rest)))
        out.append(Reply(int(match[1]), headers, rest[:length]))
        data = rest[length:]
    return out


async def raw(port: int, data: bytes, *, half_close: bool = False) -> bytes:
    """Send bytes on a connection of their own and read until the proxy closes it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        with contextlib.suppress(ConnectionError):
            await writer.drain()
            if half_close:
                writer.write_eof()
        async with asyncio.timeout(15):
            with contextlib.suppress(ConnectionError):
                return await reader.read()
            return b""
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def http_request(
    body: bytes | Any = b"",
    *,
    method: str = "POST",
    target: str = "/v1/chat/completions",
    headers: Iterable[str] = (),
    length: bool = True,
    close: bool = True,
) -> bytes:
    """A request as bytes."""
    data = body if isinstance(body, bytes) else orjson.dumps(body)
    lines = [f"{method} {target} HTTP/1.1", "Host: proxy", *headers]
    if data and not any(h.lower().startswith("content-type") for h in headers):
        lines.append("Content-Type: application/json")
    if length and (data or method == "POST"):
        lines.append(f"Content-Length: {len(data)}")
    if close:
        lines.append("Connection: close")
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + _HEAD_END + data

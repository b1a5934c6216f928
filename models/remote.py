"""A guard behind an OpenAI-compatible server (vLLM, llama-server, …), asked through ``POST /chat/completions``.

One request per policy, all at once, built from constants: nothing that a caller sent but the content itself reaches
the guard. One attempt, no redirects, no cookies, no proxy from the environment, a bounded answer. Errors never hold
what the server said, its address or the key.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from enum import Enum, auto

import aiohttp
import orjson

from models.breaker import Breaker
from models.engine import GuardPolicy, Passage, Score
from models.errors import ContentTooLong, EngineError, EngineOverloaded, EngineTimeout, EngineUnavailable, VerdictError
from models.prompt import OUTPUT_SECTION, render_content
from models.remote_answer import read_answer
from models.specs import RemoteSpec

MAX_TOKENS = 4096
"""For trace and verdict. In public traces of gpt-oss-safeguard-20b about 99 % need less; the rest is mostly wrong, and
a server must not reason for ever for a caller who makes it (attacks D09). Reaching it is a `VerdictError`."""
MAX_ANSWER_BYTES = 8 * 1024 * 1024
"""`MAX_TOKENS` tokens with five alternatives each are about 3 MB of JSON."""
_PARSE_HERE_BYTES = 64 * 1024
"""Larger answers are parsed in a thread, so that the event loop does not stall."""
_FAIR_TIMEOUT_S = 1.0
"""A call that was given less than this and ran out of time says nothing about the server."""


class _Health(Enum):
    """What a request says about the server."""

    WORKS = auto()
    BROKEN = auto()
    UNKNOWN = auto()


_Outcome = tuple[Score | EngineError, _Health]


class RemoteEngine:
    """An `models.engine.Engine` that asks a server.

    Five calls in a row that find the server broken open the circuit: for five seconds every call is
    `EngineUnavailable` at once, then one call is let through.
    """

    def __init__(self, spec: RemoteSpec, *, breaker: Breaker | None = None) -> None:
        self._spec = spec
        self._url = spec.base_url.rstrip("/") + "/chat/completions"
        self._breaker = breaker or Breaker()
        self._session: aiohttp.ClientSession | None = None
        self._started = False
        self._n_calls = 0
        self._last_error: str | None = "not started"

    @property
    def ready(self) -> bool:
        """Started, and the circuit is not open. Whether the server is there is found out by asking it."""
        return self._started and self._breaker.closed

    @property
    def model(self) -> str:
        """The model's name; a server does not say which revision it runs."""
        return self._spec.model

    @property
    def last_error(self) -> str | None:
        """The last failure; None after a success."""
        return self._last_error

    async def start(self) -> None:
        """Allow calls."""
        self._started = True
        self._last_error = None

    async def wait_ready(self, timeout_s: float) -> bool:
        """Whether calls are made: there is nothing to wait for."""
        return self.ready

    async def close(self) -> None:
        """Close the connections."""
        self._started = False
        self._last_error = "closed"
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def judge(
        self, passages: Sequence[Passage], policies: Sequence[GuardPolicy], *, deadline: float
    ) -> list[Score | EngineError]:
        """Score one content against several policies; see `models.engine.Engine.judge`."""
        now = time.monotonic()
        deadline = min(deadline, now + self._spec.timeout_s)
        content = render_content(passages)
        refusal: EngineError | None = None
        if not self._started:
            refusal = EngineUnavailable("the guard is not started")
        elif len(content) > self._spec.max_content_chars:
            refusal = ContentTooLong(f"the content has more than {self._spec.max_content_chars} characters")
        elif deadline <= now:
            refusal = EngineTimeout("the deadline had passed")
        elif self._n_calls >= self._spec.max_connections + self._spec.max_queue:
            refusal = EngineOverloaded(f"{self._spec.max_queue} calls are waiting for the guard server")
        elif not self._breaker.allow():
            refusal = EngineUnavailable("the guard server failed repeatedly and is left alone for some seconds")
        if refusal is not None:
            return [refusal] * len(policies)
        health = _Health.UNKNOWN
        self._n_calls += 1
        try:
            async with asyncio.TaskGroup() as group:
                asked = [group.create_task(self._ask(policy, content, deadline)) for policy in policies]
            outcomes = [task.result() for task in asked]
            health = self._overall(outcomes)
        finally:
            self._n_calls -= 1
            self._report(health)
        return [entry for entry, _ in outcomes]

    def _overall(self, outcomes: Sequence[_Outcome]) -> _Health:
        errors = [str(entry) for entry, _ in outcomes if isinstance(entry, EngineError)]
        self._last_error = errors[0] if errors else None
        seen = {health for _, health in outcomes}
        return next((health for health in (_Health.BROKEN, _Health.WORKS) if health in seen), _Health.UNKNOWN)

    def _report(self, health: _Health) -> None:
        match health:
            case _Health.WORKS:
                self._breaker.succeeded()
            case _Health.BROKEN:
                self._breaker.failed()
            case _Health.UNKNOWN:
                self._breaker.undecided()

    async def _ask(self, policy: GuardPolicy, content: str, deadline: float) -> _Outcome:
        """One request. Never raises but for cancellation."""
        started = time.monotonic()
        try:
            payload = orjson.dumps(self._payload(policy, content))
        except TypeError:
            return EngineError("the content is not valid Unicode"), _Health.UNKNOWN
        try:
            async with asyncio.timeout(deadline - started):
                return await self._exchange(payload, started)
        except TimeoutError:
            fair = deadline - started >= min(_FAIR_TIMEOUT_S, self._spec.timeout_s)
            return EngineTimeout("the guard server did not answer in time"), _Health.BROKEN if fair else _Health.UNKNOWN
        except (aiohttp.ClientError, OSError) as error:
            # the type only: str() of some of these has the URL, repr() the headers with the key (attacks M14)
            unreachable = EngineUnavailable(f"the guard server cannot be reached: {type(error).__name__}")
            return unreachable, _Health.BROKEN
        except EngineError as error:
            return error, _Health.WORKS
        except Exception as error:  # whatever else happens in a client is no verdict (attacks I05)
            return EngineError(f"asking the guard server failed: {type(error).__name__}"), _Health.BROKEN

    async def _exchange(self, payload: bytes, started: float) -> _Outcome:
        async with self._client().post(self._url, data=payload, allow_redirects=False) as response:
            if response.status != 200:
                return _refused(response.status)
            if response.content_type != "application/json":
                return VerdictError("the guard server's answer is not JSON"), _Health.BROKEN
            if response.headers.get("Content-Encoding", "identity").lower() != "identity":
                return VerdictError("the guard server's answer is compressed"), _Health.BROKEN
            body = await _read(response)
        latency_ms = (time.monotonic() - started) * 1000
        if len(body) <= _PARSE_HERE_BYTES:
            return read_answer(body, latency_ms), _Health.WORKS
        return await asyncio.to_thread(read_answer, body, latency_ms), _Health.WORKS

    def _payload(self, policy: GuardPolicy, content: str) -> dict[str, object]:
        return {
            "model": self._spec.model,
            "messages": [
                {"role": "system", "content": f"{policy.text.strip()}\n\n{OUTPUT_SECTION}"},
                {"role": "user", "content": content},
            ],
            "temperature": 0,
            "logprobs": True,
            "top_logprobs": 5,
            "max_tokens": MAX_TOKENS,
            "stream": False,
        }

    def _client(self) -> aiohttp.ClientSession:
        """The session: made on the loop that asks, and only when it is asked for."""
        if self._session is None:
            headers = {"Content-Type": "application/json", "Accept": "application/json", "Accept-Encoding": "identity"}
            if self._spec.api_key is not None:
                headers["Authorization"] = f"Bearer {self._spec.api_key}"
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._spec.max_connections),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None),  # ours is around the whole exchange
                headers=headers,
                skip_auto_headers=("User-Agent",),
                auto_decompress=False,
                trust_env=False,
            )
        return self._session


def _refused(status: int) -> _Outcome:
    """An answer that is not 200.

    400, 413 and 422 are about the content: were they to open the circuit, one caller could close the guard to all.
    """
    if status in (400, 413, 422):
        return VerdictError(f"the guard server refused the request with status {status}"), _Health.WORKS
    return EngineUnavailable(f"the guard server answered with status {status}"), _Health.BROKEN


async def _read(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            response.close()
            raise VerdictError(f"the guard server's answer is over {MAX_ANSWER_BYTES} bytes")
    return bytes(body)

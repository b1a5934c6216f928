"""A guard behind an OpenAI-compatible server (vLLM, llama-server, …), asked through ``POST /chat/completions``.

A classifier behind ``POST /moderations`` is asked the same way (`models.moderations_answer`).

One request per policy, all at once, built from constants: nothing that a caller sent but the content itself reaches
the guard. One attempt, no redirects, no cookies, no proxy from the environment, a bounded answer. Errors never hold
what the server said, its address or the key.

What stands under a name on a server can change unseen, so the canaries are judged at the start and again each time
after the server was found broken.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

import aiohttp
import orjson

from models import tasks
from models.breaker import Breaker
from models.canaries import CanaryFailed, examine
from models.engine import Canary, GuardPolicy, Passage, Score
from models.errors import ContentTooLong, EngineError, EngineOverloaded, EngineTimeout, EngineUnavailable, VerdictError
from models.moderations_answer import moderations_payload, read_moderations
from models.prompt import OUTPUT_SECTION, render_content
from models.remote_answer import read_answer
from models.specs import GuardPlan, RemoteSpec

MAX_TOKENS = 4096
"""For trace and verdict. In public traces of gpt-oss-safeguard-20b about 99 % need less; the rest is mostly wrong, and
a server must not reason for ever for a caller who makes it (attacks D09). Reaching it is a `VerdictError`."""
MAX_ANSWER_BYTES = 8 * 1024 * 1024
"""`MAX_TOKENS` tokens with five alternatives each are about 3 MB of JSON."""
_PARSE_HERE_BYTES = 64 * 1024
"""Larger answers are parsed in a thread, so that the event loop does not stall."""
_FAIR_TIMEOUT_S = 1.0
"""A call that was given less than this and ran out of time says nothing about the server."""

_PATHS = {"chat": "/chat/completions", "moderations": "/moderations"}
_CANARIES_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Waits:
    """All in seconds; tests shorten them."""

    first_back_off_s: float = 1.0
    longest_back_off_s: float = 30.0
    readiness_s: float = 2.0
    """How long a call waits for the first examination."""


class _Health(Enum):
    """What a request says about the server."""

    WORKS = auto()
    BROKEN = auto()
    UNKNOWN = auto()


_Outcome = tuple[Score | EngineError, _Health]


class RemoteEngine:
    """An `models.engine.Engine` that asks a server.

    Five calls in a row that find the server broken open the circuit: for five seconds every call is
    `EngineUnavailable` at once, then one call is let through. With canaries these take the place of that call: until
    they are judged right, at the start and after the circuit was opened, every other call is `EngineUnavailable`.
    """

    def __init__(
        self,
        spec: RemoteSpec,
        *,
        canaries: Sequence[Canary] = (),
        breaker: Breaker | None = None,
        waits: Waits | None = None,
    ) -> None:
        self._spec = spec
        self._url = spec.base_url.rstrip("/") + _PATHS[spec.api]
        self._breaker = breaker or Breaker()
        self._session: aiohttp.ClientSession | None = None
        self._started = False
        self._n_calls = 0
        self._last_error: str | None = "not started"
        self._canaries = tuple(canaries)
        self._waits = waits or Waits()
        self._fit = not self._canaries
        self._complaint: str | None = None
        self._examined = asyncio.Event()
        self._unfit = asyncio.Event()
        self._examiner: asyncio.Task[None] | None = None
        self._n_outages = 0

    @property
    def ready(self) -> bool:
        """Started, canaries passed, and the circuit is not open. Without canaries, asking finds out if anybody is there."""
        return self._started and self._fit and self._breaker.closed

    @property
    def model(self) -> str:
        """The model's name; a server does not say which revision it runs."""
        return self._spec.model

    @property
    def settings(self) -> str:
        """What verdicts depend on besides the model's name; see `models.verdict_cache.Cacheable`.

        A server that was gone may have come back with another model.
        """
        return f"{self._url} {self._n_outages}"

    @property
    def last_error(self) -> str | None:
        """What is wrong with the canaries, or else the last failure; None after a success."""
        return self._complaint or self._last_error

    @property
    def is_incremental(self) -> bool:
        """A server may keep prefixes or not; it is not relied on."""
        return False

    async def start(self) -> None:
        """Allow calls, and begin to ask about the canaries, if there are any."""
        if self._started:
            return
        self._started = True
        self._last_error = None
        if self._fit:
            self._examined.set()
            return
        self._complaint = "the canaries are being judged"
        self._examiner = tasks.own(self._examine(), name=f"canaries {self._spec.name}")

    async def wait_ready(self, timeout_s: float) -> bool:
        """Wait for the first examination, if there are canaries; whether calls are made."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._examined.wait()
        return self.ready

    async def close(self) -> None:
        """Close the connections."""
        self._started = False
        self._last_error = "closed"
        self._complaint = None
        self._examined.set()
        examiner, self._examiner = self._examiner, None
        await tasks.end(examiner)
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def prepare(self, plan: GuardPlan) -> None:
        """See `models.engine.Engine.prepare`."""
        if new := [canary for canary in plan.canaries if canary not in self._canaries]:
            await examine(self._spec.name, new, self._ask_canary, at_once=_CANARIES_AT_ONCE)

    def adopt(self, plan: GuardPlan) -> None:
        """See `models.engine.Engine.adopt`: after an outage the server is examined by these canaries."""
        assert isinstance(plan.spec, RemoteSpec)
        self._canaries, self._spec = plan.canaries, plan.spec
        if self._canaries and self._started and self._examiner is None:
            self._examiner = tasks.own(self._examine_from_next_outage(), name=f"canaries {self._spec.name}")

    async def judge(
        self, passages: Sequence[Passage], policies: Sequence[GuardPolicy], *, deadline: float
    ) -> list[Score | EngineError]:
        """Score one content against several policies; see `models.engine.Engine.judge`."""
        if self._started and not self._fit:
            await self.wait_ready(min(deadline - time.monotonic(), self._waits.readiness_s))
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
        elif not self._fit:
            refusal = EngineUnavailable("the guard has not passed its canaries")
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
                if not self._breaker.closed:
                    self._lost()
            case _Health.UNKNOWN:
                self._breaker.undecided()

    def _lost(self) -> None:
        """The circuit was opened: whoever answers next may be another."""
        self._n_outages += 1
        if self._canaries and self._fit:
            self._fit = False
            self._complaint = f"the guard server failed repeatedly: {self._last_error}"
            self._unfit.set()

    async def _examine(self) -> None:
        """For as long as the engine lives: have the canaries judged until they are right, and again after an outage."""
        delay_s = self._waits.first_back_off_s
        while True:
            try:
                await examine(self._spec.name, self._canaries, self._ask_canary, at_once=_CANARIES_AT_ONCE)
            except CanaryFailed as error:
                self._complaint = str(error)
                self._examined.set()
                await asyncio.sleep(delay_s)
                delay_s = min(2 * delay_s, self._waits.longest_back_off_s)
                continue
            self._breaker.succeeded()
            self._unfit.clear()
            self._fit, self._complaint, self._last_error = True, None, None
            self._examined.set()
            await self._next_outage()
            delay_s = self._waits.first_back_off_s

    async def _examine_from_next_outage(self) -> None:
        """The same for a server that has passed already."""
        await self._next_outage()
        await self._examine()

    async def _next_outage(self) -> None:
        await self._unfit.wait()
        await asyncio.sleep(self._waits.first_back_off_s)

    async def _ask_canary(self, passage: Passage, policy: GuardPolicy) -> Score | EngineError:
        content = render_content([passage])
        entry, _ = await self._ask(policy, content, time.monotonic() + self._spec.timeout_s)
        return entry

    async def _ask(self, policy: GuardPolicy, content: str, deadline: float) -> _Outcome:
        """One request. Never raises but for cancellation."""
        started = time.monotonic()
        try:
            payload = orjson.dumps(self._payload(policy, content))
        except TypeError:
            return EngineError("the content is not valid Unicode"), _Health.UNKNOWN
        try:
            async with asyncio.timeout(deadline - started):
                return await self._exchange(policy, payload, started)
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

    async def _exchange(self, policy: GuardPolicy, payload: bytes, started: float) -> _Outcome:
        async with self._client().post(self._url, data=payload, allow_redirects=False) as response:
            if response.status != 200:
                return _refused(response.status)
            if response.content_type != "application/json":
                return VerdictError("the guard server's answer is not JSON"), _Health.BROKEN
            if response.headers.get("Content-Encoding", "identity").lower() != "identity":
                return VerdictError("the guard server's answer is compressed"), _Health.BROKEN
            body = await _read(response)
        latency_ms = (time.monotonic() - started) * 1000
        if self._spec.api == "moderations":
            return read_moderations(body, policy, latency_ms), _Health.WORKS
        if len(body) <= _PARSE_HERE_BYTES:
            return read_answer(body, latency_ms), _Health.WORKS
        return await asyncio.to_thread(read_answer, body, latency_ms), _Health.WORKS

    def _payload(self, policy: GuardPolicy, content: str) -> dict[str, object]:
        if self._spec.api == "moderations":
            return moderations_payload(self._spec.model, content)
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

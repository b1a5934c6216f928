"""Nothing twice: remembers a guard's verdicts, and lets askers of the same question wait for one answer.

A question is one content against one policy; it has a *key* (`_Key`). For each policy of a call there are three ways::

    remembered ──────────────▶ a hit: no work, no wait
    being asked by another ──▶ a join: wait for that flight, at most until the own deadline
    neither ─────────────────▶ a miss: part of a flight of one's own; one call of the guard with all misses

A *flight* is one call of the guard. It runs in a task of its own, so that it outlives the asker who began it as long as
anybody else waits for it; when the last one leaves, it is cancelled. It has the deadline of the asker who began it.
**Errors are nobody's but the asker's who began the flight**: they are not remembered, and who joined asks again.

What is kept is hashes and numbers, the evidence behind a score among them, so that a map that is fitted later holds for
what is remembered too. The hash is keyed with a secret of this process, so that nobody can try out texts on a memory
dump, and covers lengths, so that no two lists of passages share an encoding. Rationales are dropped: they quote the
content, and thousands of them would be large; they are in the verdict that was worked for.

Not ready is not ready: while the guard has not passed its canaries, or is gone, nothing is answered from memory.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias, TypeGuard

from models import tasks
from models.engine import Engine, GuardPolicy, Passage, Score
from models.errors import EngineError, EngineTimeout, EngineUnavailable
from models.specs import GuardPlan
from models.wrapper import EngineWrapper

DEFAULT_ENTRIES = 50_000
"""About 15 MB, with contents that are judged against a dozen policies each."""

_ANSWER_GRACE_S = 0.5
"""An engine may answer a little after its deadline, with those scores that it has by then."""
_HASH_HERE_CHARS = 500_000
"""Longer contents are hashed in a thread; these take a millisecond or less."""
_KNOWN_POLICIES = 1024

_Key: TypeAlias = tuple[str, bytes, bytes]
"""What was loaded and how (model, revision, settings); hash of the policy; hash of content and context."""


class Cacheable(Engine, Protocol):
    """An engine that says what its verdicts depend on."""

    @property
    def settings(self) -> str:
        """Everything besides `model`, policy and content that can change a verdict, e.g. the effort.

        It also changes when the engine has reason to think that there is another model behind the same name.
        """
        ...


@dataclass(slots=True)
class CacheCounts:
    """How the policies of all calls were answered so far. A join that comes to nothing counts again as what follows."""

    hits: int = 0
    misses: int = 0
    joins: int = 0


@dataclass(slots=True, eq=False)
class _Flight:
    """One call of the guard, and who waits for it."""

    keys: tuple[_Key, ...]
    over: asyncio.Event = field(default_factory=asyncio.Event)
    entries: dict[_Key, Score | EngineError] = field(default_factory=dict, repr=False)
    n_waiting: int = 0
    task: asyncio.Task[None] | None = None

    async def wait(self, until: float) -> None:
        """Wait until it is over, or a time on ``time.monotonic()``'s clock has come."""
        try:
            async with asyncio.timeout(until - time.monotonic()):
                await self.over.wait()
        except TimeoutError:
            return


class CachedEngine(EngineWrapper[Cacheable]):
    """An `models.engine.Engine` in front of another one.

    Args:
        inner: Who judges.
        entries: Verdicts that are kept, the ones used last; at least one.
    """

    def __init__(self, inner: Cacheable, *, entries: int = DEFAULT_ENTRIES) -> None:
        if entries < 1:
            raise ValueError("a cache without entries is no cache: use the engine itself")
        super().__init__(inner)
        self.counts = CacheCounts()
        self._entries = entries
        self._secret = secrets.token_bytes(32)
        self._remembered: OrderedDict[_Key, Score] = OrderedDict()
        self._flying: dict[_Key, _Flight] = {}
        self._flights: set[_Flight] = set()
        self._policy_hashes: dict[GuardPolicy, bytes] = {}

    def __len__(self) -> int:
        """Verdicts that are kept."""
        return len(self._remembered)

    @property
    def pid(self) -> int | None:
        """Process id of a local guard."""
        pid: int | None = getattr(self.inner, "pid", None)
        return pid

    def adopt(self, plan: GuardPlan) -> None:
        """See `models.engine.Engine.adopt`; a smaller cache forgets at once."""
        super().adopt(plan)
        self._entries = plan.cache_entries
        self._trim()

    async def close(self) -> None:
        """Stop the guard, and forget everything."""
        await super().close()
        for flight in list(self._flights):
            await tasks.end(flight.task)
        self._remembered.clear()

    async def judge(
        self, passages: Sequence[Passage], policies: Sequence[GuardPolicy], *, deadline: float
    ) -> list[Score | EngineError]:
        """Score one content against several policies; see `models.engine.Engine.judge`."""
        try:
            content = await self._hash_of(passages)
        except UnicodeEncodeError:  # lone surrogates: the guard says what it says to them
            return await self.inner.judge(passages, policies, deadline=deadline)
        loaded = self._loaded()
        keys = [(loaded, self._policy_hash(policy), content) for policy in policies]
        wanted = dict(zip(keys, policies, strict=True))
        answers: dict[_Key, Score | EngineError] = {}
        while missing := {key: policy for key, policy in wanted.items() if key not in answers}:
            answers |= await self._round(passages, missing, deadline)
            if time.monotonic() >= deadline:
                break
        late = EngineTimeout("the deadline passed before the guard had a verdict")
        return [answers.get(key, late) for key in keys]

    async def _round(
        self, passages: Sequence[Passage], missing: dict[_Key, GuardPolicy], deadline: float
    ) -> dict[_Key, Score | EngineError]:
        """Answer what is remembered, ask what nobody asks, join the rest; what a joined flight failed at is left out."""
        answers: dict[_Key, Score | EngineError] = {}
        joined: dict[_Key, _Flight] = {}
        asked: dict[_Key, GuardPolicy] = {}
        for key, policy in missing.items():
            if (score := self._recall(key)) is not None:
                answers[key] = score
            elif (flight := self._flying.get(key)) is not None:
                joined[key] = flight
            else:
                asked[key] = policy
        self.counts.hits += len(answers)
        self.counts.joins += len(joined)
        self.counts.misses += len(asked)
        if not joined and not asked:
            return answers
        own = self._begin(passages, asked, deadline) if asked else None
        others = set(joined.values())
        mine = others if own is None else {*others, own}
        for flight in mine:
            flight.n_waiting += 1
        none: EngineError = EngineTimeout("the guard did not answer by the deadline")
        try:
            for flight in others:
                await flight.wait(deadline)
            if own is not None:
                await own.wait(deadline + _ANSWER_GRACE_S)
                if own.over.is_set() and not own.entries:
                    none = EngineUnavailable("the guard was closed")
        finally:
            for flight in mine:
                self._leave(flight)
        for key, flight in joined.items():
            entry = flight.entries.get(key)
            if _is_real(entry):
                answers[key] = _again(entry)
        if own is not None:
            answers |= {key: own.entries.get(key, none) for key in own.keys}
        return answers

    def _begin(self, passages: Sequence[Passage], asked: dict[_Key, GuardPolicy], deadline: float) -> _Flight:
        flight = _Flight(tuple(asked))
        self._flying.update(dict.fromkeys(flight.keys, flight))
        self._flights.add(flight)
        flight.task = tasks.own(self._fly(flight, passages, list(asked.values()), deadline), name="verdicts")
        # a task that is cancelled before its first step never runs its `finally`
        flight.task.add_done_callback(lambda _: self._end(flight))
        return flight

    async def _fly(
        self, flight: _Flight, passages: Sequence[Passage], policies: list[GuardPolicy], deadline: float
    ) -> None:
        try:
            entries = await self.inner.judge(passages, policies, deadline=deadline)
        except Exception as error:  # an engine that breaks its promise not to raise has not judged either
            entries = [EngineError(f"the guard failed: {type(error).__name__}")] * len(policies)
        if len(entries) != len(policies):
            entries = [EngineError("the guard answered for another number of policies")] * len(policies)
        flight.entries.update(zip(flight.keys, entries, strict=True))
        loaded = self._loaded()
        for key, entry in flight.entries.items():
            if _is_real(entry) and key[0] == loaded:  # the model is the one that was to be asked
                self._remembered[key] = _again(entry)
                self._remembered.move_to_end(key)
        self._trim()
        self._end(flight)

    def _trim(self) -> None:
        while len(self._remembered) > self._entries:
            self._remembered.popitem(last=False)

    def _leave(self, flight: _Flight) -> None:
        flight.n_waiting -= 1
        if not flight.n_waiting and not flight.over.is_set():
            self._end(flight)  # at once: nobody may join what is about to be cancelled
            if flight.task is not None:
                flight.task.cancel()

    def _end(self, flight: _Flight) -> None:
        for key in flight.keys:
            if self._flying.get(key) is flight:
                del self._flying[key]
        if flight.task is not None and flight.task.done():
            self._flights.discard(flight)
        flight.over.set()

    def _recall(self, key: _Key) -> Score | None:
        if not self.inner.ready or (score := self._remembered.get(key)) is None:
            return None
        self._remembered.move_to_end(key)
        return score

    def _loaded(self) -> str:
        return f"{self.inner.model}\n{self.inner.settings}"

    def _policy_hash(self, policy: GuardPolicy) -> bytes:
        known = self._policy_hashes.get(policy)
        if known is None:
            if len(self._policy_hashes) >= _KNOWN_POLICIES:
                self._policy_hashes.clear()
            parts = [policy.revision, policy.text, policy.category, policy.summary, policy.reason_band]
            known = self._policy_hashes[policy] = self._hash(repr(parts).encode("utf-8", "backslashreplace"))
        return known

    async def _hash_of(self, passages: Sequence[Passage]) -> bytes:
        if sum(len(passage.text) for passage in passages) > _HASH_HERE_CHARS:
            return await asyncio.to_thread(self._content_hash, passages)
        return self._content_hash(passages)

    def _content_hash(self, passages: Sequence[Passage]) -> bytes:
        """Hash of passages, each as: whether it is context, length and bytes of its surface, and of its text.

        Raises:
            UnicodeEncodeError: A text holds lone surrogates. The exception quotes it: do not let it out.
        """
        hashed = hashlib.blake2b(digest_size=32, key=self._secret)
        for passage in passages:
            surface, text = passage.surface.encode(), passage.text.encode()
            hashed.update(b"\x01" if passage.context else b"\x00")
            hashed.update(len(surface).to_bytes(8, "big") + surface + len(text).to_bytes(8, "big"))
            hashed.update(text)
        return hashed.digest()

    def _hash(self, data: bytes) -> bytes:
        return hashlib.blake2b(data, digest_size=32, key=self._secret).digest()


def _is_real(entry: Score | EngineError | None) -> TypeGuard[Score]:
    """Whether it is a verdict: a score in [0, 1], neither an error nor a NaN, about all of the content, with time enough."""
    if not isinstance(entry, Score) or not 0.0 <= entry.value <= 1.0 or entry.unjudged is not None:
        return False
    return entry.evidence is None or not entry.evidence.cut


def _again(score: Score) -> Score:
    """A verdict as those get it who did not cause it: without the work, which was not done for them, and without text."""
    return Score(
        score.value, score.tier, score.calibrated, cached=True, evidence=score.evidence, pass_below=score.pass_below
    )

"""What is remembered, what is shared, and what never is."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.engine import GuardPolicy, Passage, Score, Tier
from models.errors import EngineError, EngineTimeout, EngineUnavailable, VerdictError
from models.evidence import Evidence
from models.specs import GuardPlan, RemoteSpec
from models.verdict_cache import CachedEngine
from tests.fakes import FakeEngine

A, B, C = (GuardPolicy(name, f"r-{name}", f"About {name}.") for name in "abc")

Answer = Callable[[Sequence[Passage], Sequence[GuardPolicy]], Awaitable[list[Score | EngineError]]]


@dataclass(slots=True)
class Judge(FakeEngine):
    """A guard that answers when it is told to, and says what its verdicts depend on."""

    settings: str = "s"
    revision: str = "1"
    slowly: Answer | None = None
    n_cancelled: int = 0

    @property
    def model(self) -> str:
        return f"fake@{self.revision}"

    async def judge(
        self, passages: Sequence[Passage], policies: Sequence[GuardPolicy], *, deadline: float
    ) -> list[Score | EngineError]:
        entries = await FakeEngine.judge(self, passages, policies, deadline=deadline)
        if self.slowly is None:
            return entries
        try:
            return await self.slowly(passages, policies)
        except asyncio.CancelledError:
            self.n_cancelled += 1
            raise

    @property
    def asked(self) -> list[tuple[str, ...]]:
        """The policies of each call."""
        return [tuple(call.policies) for call in self.calls]


@dataclass(slots=True)
class Gate:
    """Answers with a score, or an error, once it is opened."""

    open: asyncio.Event = field(default_factory=asyncio.Event)
    entry: Score | EngineError = field(default_factory=lambda: score(0.5))

    async def __call__(self, passages: Sequence[Passage], policies: Sequence[GuardPolicy]) -> list[Score | EngineError]:
        await self.open.wait()
        return [self.entry] * len(policies)


def score(value: float) -> Score:
    evidence = Evidence(logit=2.5, violates=True, n_chars=11, n_tokens=9)
    return Score(value, Tier.REASONED, False, "It says so.", 9, 3.5, evidence=evidence, pass_below=0.02)


def user(*texts: str) -> list[Passage]:
    return [Passage("user", text) for text in texts]


async def ask(
    engine: CachedEngine, content: Sequence[Passage] | str, *policies: GuardPolicy, within_s: float = 10
) -> list[Score | EngineError]:
    passages = user(content) if isinstance(content, str) else content
    return await engine.judge(passages, policies or [A], deadline=time.monotonic() + within_s)


def begin(
    engine: CachedEngine, content: Sequence[Passage] | str, *policies: GuardPolicy, within_s: float = 10
) -> asyncio.Task[list[Score | EngineError]]:
    """Somebody who asks beside the test, which awaits or cancels him."""
    return asyncio.create_task(ask(engine, content, *policies, within_s=within_s))  # noqa: TID251 - for tests to own


def values(entries: list[Score | EngineError]) -> list[float | str]:
    return [entry.value if isinstance(entry, Score) else entry.code for entry in entries]


async def steps(n: int = 5) -> None:
    """Let everything that can go on go on."""
    for _ in range(n):
        await asyncio.sleep(0)


async def test_the_same_content_is_judged_once_per_policy() -> None:
    inner = Judge({"a": 0.1, "b": 0.2, "c": 0.3})
    cache = CachedEngine(inner)
    assert values(await ask(cache, "x", A, B)) == [0.1, 0.2]
    assert values(await ask(cache, "x", B, C, A)) == [0.2, 0.3, 0.1]
    assert values(await ask(cache, "y", A)) == [0.1]
    assert inner.asked == [("a", "b"), ("c",), ("a",)]
    assert (cache.counts.hits, cache.counts.misses, cache.counts.joins, len(cache)) == (2, 4, 0, 4)


async def test_what_is_remembered_says_so_and_holds_evidence_but_no_text() -> None:
    inner = Judge(answer=lambda _, __: [score(0.7)])
    cache = CachedEngine(inner)
    assert await ask(cache, "x") == [score(0.7)]
    again = replace(score(0.7), rationale=None, n_tokens=0, latency_ms=0.0, cached=True)
    assert await ask(cache, "x") == [again]
    assert "It says so." not in repr(list(cache._remembered.items()))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(user("x"), user("y"), id="text"),
        pytest.param(user("x"), [Passage("system", "x")], id="surface"),
        pytest.param(
            [Passage("user", "q"), *user("x")], [Passage("user", "q", context=True), *user("x")], id="context"
        ),
        pytest.param(user("ab", "c"), user("a", "bc"), id="border"),
        pytest.param(user("ab"), user("a", "b"), id="number"),
        pytest.param([Passage("us", "erx")], [Passage("user", "x")], id="surface-border"),
        pytest.param(user("a", "b"), user("b", "a"), id="order"),
        pytest.param(user("x"), user("x", ""), id="empty"),
    ],
)
async def test_contents_that_differ_share_no_verdict(one: list[Passage], other: list[Passage]) -> None:
    inner = Judge()
    cache = CachedEngine(inner)
    await ask(cache, one)
    await ask(cache, other)
    assert len(inner.calls) == 2


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(replace(A, revision="r2"), id="revision"),
        pytest.param(replace(A, text="Another text."), id="text"),
        pytest.param(replace(A, category="x"), id="category"),
        pytest.param(replace(A, summary="x"), id="summary"),
    ],
)
async def test_policies_that_differ_share_no_verdict(other: GuardPolicy) -> None:
    inner = Judge()
    cache = CachedEngine(inner)
    await ask(cache, "x", A, other)
    assert len(inner.calls[0].policies) == 2
    await ask(cache, "x", other)
    assert len(inner.calls) == 1


@pytest.mark.parametrize("change", ["revision", "settings"])
async def test_another_model_or_setting_is_asked_anew_and_the_old_one_is_still_known(change: str) -> None:
    inner = Judge({"a": 0.1})
    cache = CachedEngine(inner)
    await ask(cache, "x")
    before = getattr(inner, change)
    setattr(inner, change, "other")
    inner.script = {"a": 0.9}
    assert values(await ask(cache, "x")) == [0.9]
    setattr(inner, change, before)
    assert values(await ask(cache, "x")) == [0.1]
    assert len(inner.calls) == 2


async def test_a_verdict_of_a_model_that_came_meanwhile_is_not_remembered_as_the_old_ones() -> None:
    inner = Judge(slowly=(gate := Gate()))
    cache = CachedEngine(inner)
    first = asyncio.gather(ask(cache, "x"))
    await steps()
    inner.revision = "2"
    gate.open.set()
    assert values((await first)[0]) == [0.5]
    assert len(cache) == 0


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param(VerdictError("no"), id="error"),
        pytest.param(score(float("nan")), id="nan"),
        pytest.param(score(1.5), id="outside"),
    ],
)
async def test_what_is_no_verdict_is_not_remembered(entry: Score | EngineError) -> None:
    inner = Judge(answer=lambda _, policies: [entry] * len(policies))
    cache = CachedEngine(inner)
    assert await ask(cache, "x") == [entry]
    assert len(cache) == 0
    inner.answer = None
    assert values(await ask(cache, "x")) == [0.0]


async def test_of_a_call_that_failed_in_part_the_rest_is_remembered() -> None:
    inner = Judge({"a": 0.1, "b": VerdictError("no")})
    cache = CachedEngine(inner)
    assert values(await ask(cache, "x", A, B)) == [0.1, "no_verdict"]
    assert values(await ask(cache, "x", A, B)) == [0.1, "no_verdict"]
    assert inner.asked == [("a", "b"), ("b",)]


async def test_the_verdict_used_longest_ago_is_forgotten_first() -> None:
    inner = Judge()
    cache = CachedEngine(inner, entries=2)
    for content in ("x", "y", "x", "z", "x", "y"):
        await ask(cache, content)
    assert [call.texts for call in inner.calls] == [["x"], ["y"], ["z"], ["y"]]
    assert len(cache) == 2


async def test_a_cache_that_gets_smaller_forgets_what_was_used_longest_ago() -> None:
    inner = Judge()
    cache = CachedEngine(inner, entries=4)
    for text in ("1", "2", "3"):
        await ask(cache, text)
    n_kept = len(cache)
    cache.adopt(GuardPlan(RemoteSpec("r", "http://127.0.0.1:9/v1", "m"), cache_entries=1))
    assert (n_kept, len(cache)) == (3, 1)
    await ask(cache, "3")
    assert cache.counts.hits == 1


async def test_a_guard_that_is_not_ready_answers_nothing_from_memory() -> None:
    inner = Judge({"a": 0.1})
    cache = CachedEngine(inner)
    await ask(cache, "x")
    inner.ready = False
    inner.script = {"a": EngineUnavailable("starting")}
    assert values(await ask(cache, "x")) == ["unavailable"]
    inner.ready = True
    assert values(await ask(cache, "x")) == [0.1]


async def test_a_rule_that_stands_twice_is_one_question() -> None:
    inner = Judge({"a": 0.1})
    assert values(await ask(CachedEngine(inner), "x", A, A)) == [0.1, 0.1]
    assert inner.asked == [("a",)]


async def test_who_asks_the_same_meanwhile_waits_for_the_first_and_asks_only_the_rest() -> None:
    inner = Judge(slowly=(gate := Gate()))
    cache = CachedEngine(inner)
    both = asyncio.gather(ask(cache, "x", A, B), ask(cache, "x", B, C))
    await steps()
    gate.open.set()
    first, second = await both
    assert [entry.cached for entry in first + second if isinstance(entry, Score)] == [False, False, True, False]
    assert inner.asked == [("a", "b"), ("c",)]
    assert (cache.counts.misses, cache.counts.joins) == (3, 1)


async def test_the_first_asker_may_leave_without_taking_the_work_with_it() -> None:
    inner = Judge(slowly=(gate := Gate()))
    cache = CachedEngine(inner)
    first, second = begin(cache, "x"), begin(cache, "x")
    await steps()
    first.cancel()
    await steps()
    gate.open.set()
    assert values(await second) == [0.5]
    assert first.cancelled()
    assert (len(inner.calls), inner.n_cancelled) == (1, 0)


async def test_when_the_last_asker_leaves_the_work_ends_and_nobody_joins_it() -> None:
    inner = Judge(slowly=(gate := Gate()))
    cache = CachedEngine(inner)
    askers = [begin(cache, "x") for _ in range(3)]
    await steps()
    for asker in askers:
        asker.cancel()
    await asyncio.wait(askers)
    later = begin(cache, "x")
    await steps()
    assert (len(inner.calls), inner.n_cancelled) == (2, 1)
    gate.open.set()
    assert values(await later) == [0.5]


@pytest.mark.parametrize("failure", [VerdictError("no"), EngineTimeout("late")], ids=["error", "timeout"])
async def test_the_error_of_another_is_not_shared_but_asked_again(failure: EngineError) -> None:
    inner = Judge()
    gates = [Gate(entry=failure), Gate(entry=score(0.8))]
    turn = iter(gates)
    inner.slowly = lambda passages, policies: next(turn)(passages, policies)
    cache = CachedEngine(inner)
    three = asyncio.gather(*(ask(cache, "x") for _ in range(3)))
    await steps()
    gates[0].open.set()
    await steps()
    gates[1].open.set()
    assert list(map(values, await three)) == [[failure.code], [0.8], [0.8]]
    assert len(inner.calls) == 2, "one of the two asked again, the other waited for that"


async def test_a_follower_leaves_at_its_own_deadline() -> None:
    inner = Judge(slowly=(gate := Gate()))
    cache = CachedEngine(inner)
    first = begin(cache, "x")
    await steps()
    started = time.monotonic()
    assert values(await ask(cache, "x", within_s=0.05)) == ["timeout"]
    assert 0.04 < time.monotonic() - started < 2
    gate.open.set()
    assert values(await first) == [0.5]


async def test_an_engine_that_ignores_its_deadline_is_not_waited_for() -> None:
    inner = Judge(slowly=Gate())
    cache = CachedEngine(inner)
    assert values(await ask(cache, "x", within_s=0.05)) == ["timeout"]
    await steps()
    assert inner.n_cancelled == 1


@pytest.mark.parametrize("raises", [True, False], ids=["raises", "wrong-number"])
async def test_an_engine_that_breaks_its_promises_has_not_judged(raises: bool) -> None:
    def broken(_: Sequence[Passage], __: Sequence[GuardPolicy]) -> list[Score | EngineError]:
        if raises:
            raise RuntimeError("a secret text")
        return []

    cache = CachedEngine(Judge(answer=broken))
    (entry,) = await ask(cache, "x")
    assert isinstance(entry, EngineError)
    assert "secret" not in str(entry)
    assert len(cache) == 0


async def test_closing_answers_everybody() -> None:
    inner = Judge(slowly=Gate())
    cache = CachedEngine(inner)
    both = asyncio.gather(ask(cache, "x"), ask(cache, "y"))
    await steps()
    await cache.close()
    assert [values(entries) for entries in await both] == [["unavailable"], ["unavailable"]]


async def test_text_that_is_not_unicode_goes_to_the_guard_as_it_is() -> None:
    inner = Judge({"a": VerdictError("not Unicode")})
    cache = CachedEngine(inner)
    for _ in range(2):
        assert values(await ask(cache, "\ud800")) == ["no_verdict"]
    assert len(inner.calls) == 2


async def test_a_large_content_is_remembered_too() -> None:
    inner = Judge({"a": 0.1})
    cache = CachedEngine(inner)
    for _ in range(2):
        assert values(await ask(cache, "x" * 600_000)) == [0.1]
    assert len(inner.calls) == 1


# ------------------------------------------------------------------ any order of events

POLICIES = [GuardPolicy(name, "r", text) for name, text in (("p", "one"), ("q", "two"), ("r", "three"))]
CONTENTS = [
    user("x"),
    user("y"),
    [Passage("user", "x", context=True), Passage("assistant", "y")],
    [Passage("user", "x"), Passage("assistant", "y")],
]
KEYS = [(i, policy.name) for i in range(len(CONTENTS)) for policy in POLICIES]

Event = tuple[str, int, int]
EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.integers(0, len(CONTENTS) - 1), st.integers(1, 7)),
        st.tuples(st.just("succeed"), st.integers(0, 9), st.just(0)),
        st.tuples(st.just("fail"), st.integers(0, 9), st.integers(1, 7)),
        st.tuples(st.just("cancel"), st.integers(0, 9), st.just(0)),
        st.tuples(st.just("expire"), st.integers(0, 9), st.just(0)),
    ),
    max_size=25,
)


def truth(content: int, policy: str) -> float:
    """The one right verdict of each question."""
    return (KEYS.index((content, policy)) + 1) / 16


@dataclass(slots=True, eq=False)
class InnerCall:
    """A call that the guard has not answered yet."""

    content: int
    policies: list[str]
    answer: asyncio.Future[list[Score | EngineError]]
    ended: bool = False


class ManualEngine(Judge):
    """Answers when the test says so; notes which questions were open at the same time."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[InnerCall] = []
        self.n_errors = 0
        self.asked_while_open = False
        self.asked_although_known = False
        self.known: set[tuple[int, str]] = set()

    async def judge(
        self, passages: Sequence[Passage], policies: Sequence[GuardPolicy], *, deadline: float
    ) -> list[Score | EngineError]:
        content = CONTENTS.index(list(passages))
        names = [policy.name for policy in policies]
        for name in names:
            self.asked_while_open |= any(c.content == content and name in c.policies for c in self.open)
            self.asked_although_known |= (content, name) in self.known
        call = InnerCall(content, names, asyncio.get_running_loop().create_future())
        self.open.append(call)
        try:
            return await call.answer
        finally:
            if call in self.open:
                self.open.remove(call)

    def reply(self, call: InnerCall, failing: int) -> None:
        """Answer a call; the bits of ``failing`` say which of its policies fail."""
        entries: list[Score | EngineError] = []
        for i, name in enumerate(call.policies):
            if failing >> i & 1:
                self.n_errors += 1
                entries.append(VerdictError(f"{call.content} {name} {self.n_errors}"))
            else:
                entries.append(score(truth(call.content, name)))
                self.known.add((call.content, name))
        self.open.remove(call)
        call.answer.set_result(entries)


@dataclass(slots=True, eq=False)
class Asker:
    """Somebody who asked."""

    content: int
    policies: list[GuardPolicy]
    task: asyncio.Task[list[Score | EngineError]]


async def play(events: list[Event]) -> None:
    inner = ManualEngine()
    cache = CachedEngine(inner)
    askers: list[Asker] = []
    told: set[str] = set()

    def check(asker: Asker) -> None:
        for policy, entry in zip(asker.policies, asker.task.result(), strict=True):
            key = (asker.content, policy.name)
            if isinstance(entry, Score):
                assert entry.value == truth(*key), "verdicts were mixed up"
                assert entry.cached == (entry.rationale is None)
            elif isinstance(entry, VerdictError):
                assert str(entry).startswith(f"{asker.content} {policy.name} "), "errors were mixed up"
                assert str(entry) not in told, "two were told of one failure"
                told.add(str(entry))
            else:
                raise AssertionError(f"nobody was late, but: {entry!r}")

    for kind, which, mask in events:
        alive = [asker for asker in askers if not asker.task.done()]
        if kind == "ask":
            policies = [policy for i, policy in enumerate(POLICIES) if mask >> i & 1]
            task = begin(cache, CONTENTS[which], *policies, within_s=1000)
            askers.append(Asker(which, policies, task))
        elif kind == "cancel" and alive:
            alive[which % len(alive)].task.cancel()
        elif kind in ("succeed", "fail") and inner.open:
            inner.reply(inner.open[which % len(inner.open)], mask)
        elif kind == "expire":  # somebody with a deadline that has passed: never waits, gets what is known
            policy, content = POLICIES[which % len(POLICIES)], which // len(POLICIES) % len(CONTENTS)
            known = (content, policy.name) in inner.known
            joins = any(c.content == content and policy.name in c.policies for c in inner.open)
            if known or joins:
                (entry,) = await ask(cache, CONTENTS[content], policy, within_s=-1)
                if known:
                    assert isinstance(entry, Score)
                else:
                    assert isinstance(entry, EngineTimeout)
        await steps(12)
        assert not inner.asked_while_open
        assert not inner.asked_although_known
    while any(not asker.task.done() for asker in askers):
        assert inner.open, "somebody waits for nothing"
        inner.reply(inner.open[0], 0)
        await steps(12)
    assert not inner.open, "work goes on that nobody waits for"
    for asker in askers:
        with contextlib.suppress(asyncio.CancelledError):
            check(asker)
    assert not cache._flying
    assert not cache._flights
    assert all(kept.cached for kept in cache._remembered.values())
    await cache.close()


@settings(max_examples=300)
@given(events=EVENTS)
def test_no_order_of_asks_failures_cancellations_and_deadlines_mixes_anything_up(events: list[Event]) -> None:
    asyncio.run(play(events))

"""Once a policy has refused, nobody waits for the other guards, and nobody may notice but by the time that it saves."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.engine import GuardPolicy, Passage, Score
from models.errors import EngineError, EngineTimeout
from rules.content import Surface
from rules.decision import Cause, Decision, Verdict
from rules.rule import Mode, OnError, Rule, Stage
from rules.screen import Screener
from tests.fakes import FakeEngine, Line, scored, text_rule, user, word_rule


@dataclass(slots=True)
class SlowEngine(FakeEngine):
    """Answers from its script when it is told to, and remembers how its calls ended.

    Attributes:
        asked: Set once it was.
        release: Set it to have it answer.
        n_turns: Instead of waiting for `release`: turns of the event loop that an answer takes.
        n_cancelled: Calls that were cancelled.
        stubborn: Answers when it is cancelled.
    """

    asked: asyncio.Event = field(default_factory=asyncio.Event)
    release: asyncio.Event = field(default_factory=asyncio.Event)
    n_turns: int | None = None
    n_cancelled: int = 0
    stubborn: bool = False

    async def judge(
        self, passages: Sequence[Passage], policies: Sequence[GuardPolicy], *, deadline: float
    ) -> list[Score | EngineError]:
        self.asked.set()
        try:
            if self.n_turns is None:
                await self.release.wait()
            else:
                await turns(self.n_turns)
        except asyncio.CancelledError:
            self.n_cancelled += 1
            if not self.stubborn:
                raise
        return await FakeEngine.judge(self, passages, policies, deadline=deadline)


async def turns(n: int = 20) -> None:
    """Let everybody else go on until nothing more happens by itself."""
    for _ in range(n):
        await asyncio.sleep(0)


def screener(rules: Sequence[Rule], engines: Mapping[str, FakeEngine], **more: Any) -> Screener:
    return Screener(Stage.INPUT, tuple(rules), engines, **more)


def outcomes(verdicts: Sequence[Verdict]) -> dict[str, float | str | None]:
    """By policy: its score, else its error, else None for a rule that was skipped."""
    return {v.rule.policy.name: v.score if v.error is None else v.error for v in verdicts}


async def screened(rules: Sequence[Rule], **engines: FakeEngine) -> Decision:
    """Screen; nothing that was started for it may be left over."""
    before = asyncio.all_tasks()
    decision = await screener(rules, engines).screen(user("hi"))
    assert asyncio.all_tasks() == before
    return decision


# ---------------------------------------------------------------------- a policy refuses


async def test_the_calls_under_way_are_cancelled_and_their_rules_skipped() -> None:
    quick, slow, slower = FakeEngine({"a": 0.9}), SlowEngine({"b": 0.9, "c": 0.9}), SlowEngine({"d": EngineTimeout()})
    rules = [text_rule("c", "slow", refuse=0.5), text_rule("a", "quick", refuse=0.5), text_rule("b", "slow", flag=0.5),
             text_rule("d", "slower", refuse=0.5)]  # fmt: skip
    decision = await screened(rules, quick=quick, slow=slow, slower=slower)
    assert (decision.action.word, decision.cause, decision.policies) == ("refuse", Cause.VIOLATION, ("a",))
    assert outcomes(decision.verdicts) == {"c": None, "a": 0.9, "b": None, "d": None}
    assert (slow.n_cancelled, slower.n_cancelled) == (1, 1)
    assert decision.unjudged == ()


async def test_the_same_guard_with_another_scope_is_another_call() -> None:
    def answer(_: Sequence[Passage], policies: Sequence[GuardPolicy]) -> list[Score | EngineError]:
        return [scored(0.9)] * len(policies)

    class OneByOne(SlowEngine):
        async def judge(
            self, passages: Sequence[Passage], policies: Sequence[GuardPolicy], *, deadline: float
        ) -> list[Score | EngineError]:
            self.n_turns = 0 if not self.asked.is_set() else None
            return await SlowEngine.judge(self, passages, policies, deadline=deadline)

    guard = OneByOne(answer=answer)
    rules = [text_rule("a", refuse=0.5), text_rule("b", refuse=0.5, scope=frozenset({Surface.USER}))]
    decision = await screened(rules, guard=guard)
    assert outcomes(decision.verdicts) == {"a": 0.9, "b": None}
    assert guard.n_cancelled == 1


async def test_a_cascade_is_cancelled_wherever_it_stands() -> None:
    quick, first, second = FakeEngine({"a": 0.9}), SlowEngine({"b": 0.9}), SlowEngine()
    rules = [text_rule("a", "quick", refuse=0.5), text_rule("b", "first", "second", refuse=0.5)]
    decision = await screened(rules, quick=quick, first=first, second=second)
    assert outcomes(decision.verdicts) == {"a": 0.9, "b": None}
    assert first.n_cancelled == 1
    assert not second.asked.is_set()


async def test_one_refusal_is_enough_where_another_rule_of_the_same_call_failed() -> None:
    quick, slow = FakeEngine({"a": EngineTimeout(), "b": 0.9}), SlowEngine()
    rules = [
        text_rule("a", "quick", refuse=0.5),
        text_rule("b", "quick", refuse=0.5),
        text_rule("c", "slow", refuse=0.5),
    ]
    decision = await screened(rules, quick=quick, slow=slow)
    assert (decision.cause, decision.policies, slow.n_cancelled) == (Cause.VIOLATION, ("b",), 1)


async def test_what_was_answered_at_the_same_time_counts() -> None:
    one, two = SlowEngine({"a": 0.9}, n_turns=3), SlowEngine({"b": 0.8}, n_turns=3)
    decision = await screened([text_rule("a", "one", refuse=0.5), text_rule("b", "two", refuse=0.5)], one=one, two=two)
    assert decision.policies == ("a", "b")


async def test_a_guard_that_answers_all_the_same_is_heard() -> None:
    quick, slow = FakeEngine({"a": 0.9}), SlowEngine({"b": 0.8}, stubborn=True)
    decision = await screened([text_rule("a", "quick", refuse=0.5), text_rule("b", "slow", refuse=0.5)], quick=quick, slow=slow)  # fmt: skip
    assert outcomes(decision.verdicts) == {"a": 0.9, "b": 0.8}


# ---------------------------------------------------------------------- nothing refuses


@pytest.mark.parametrize(
    ("line", "rule", "alone"),
    [
        pytest.param(0.9, text_rule("a", "quick", flag=0.5), "flag", id="a-flag"),
        pytest.param(0.9, text_rule("a", "quick", rewrite=0.5), "rewrite", id="a-rewrite"),
        pytest.param(0.9, text_rule("a", "quick", flag=0.5, refuse=0.95), "flag", id="a-score-below"),
        pytest.param(EngineTimeout(), text_rule("a", "quick", refuse=0.5), "refuse", id="a-failure-that-counts-as-a-refusal"),
        pytest.param(EngineTimeout(), text_rule("a", "quick", refuse=0.5, on_error=OnError.FLAG), "flag", id="a-failure-that-flags"),
        pytest.param(EngineTimeout(), text_rule("a", "quick", refuse=0.5, on_error=OnError.FORWARD), "forward", id="a-failure-that-passes"),
        pytest.param(float("nan"), text_rule("a", "quick", refuse=0.5), "refuse", id="no-score-at-all"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("other", [0.1, 0.9])
async def test_everybody_is_waited_for(line: Line, rule: Rule, alone: str, other: float) -> None:
    slow = SlowEngine({"b": other})
    engines = {"quick": FakeEngine({"a": line}), "slow": slow}
    async with asyncio.TaskGroup() as group:
        task = group.create_task(screener([rule, text_rule("b", "slow", refuse=0.5)], engines).screen(user("hi")))
        await slow.asked.wait()
        await turns()
        assert not task.done()
        slow.release.set()
    decision = task.result()
    assert slow.n_cancelled == 0
    assert outcomes(decision.verdicts)["b"] == other
    if other == 0.9:  # a failure hides no violation
        assert (decision.action.word, decision.cause, decision.policies) == ("refuse", Cause.VIOLATION, ("b",))
    else:
        assert decision.action.word == alone
        assert decision.cause is (Cause.UNDECIDED if alone == "refuse" else None)


async def test_a_detector_that_failed_hides_no_violation_either() -> None:
    rules = [word_rule("w", "x", refuse=0.5, broken=True), text_rule("a", refuse=0.5)]
    decision = await screened(rules, guard=FakeEngine({"a": 0.9}))
    assert (decision.cause, decision.policies) == (Cause.VIOLATION, ("a",))
    decision = await screened(rules, guard=FakeEngine({"a": 0.1}))
    assert (decision.cause, decision.policies) == (Cause.UNDECIDED, ("w",))


# ---------------------------------------------------------------------- who wants all verdicts


@pytest.mark.parametrize("who", ["shadow", "scores", "waits_for_all"])
async def test_who_wants_all_verdicts_waits_for_them(who: str) -> None:
    slow = SlowEngine({"b": 0.8})
    mode = Mode.SHADOW if who == "shadow" else Mode.ENFORCE
    rules = [text_rule("a", "quick", refuse=0.5, mode=mode), text_rule("b", "slow", refuse=0.5, mode=mode)]
    judge = screener(rules, {"quick": FakeEngine({"a": 0.9}), "slow": slow}, waits_for_all=who == "waits_for_all")

    async def verdicts() -> Sequence[Verdict]:
        if who == "shadow":
            return await judge.shadow(user("hi"))
        return await judge.scores(user("hi")) if who == "scores" else (await judge.screen(user("hi"))).verdicts

    async with asyncio.TaskGroup() as group:
        task = group.create_task(verdicts())
        await slow.asked.wait()
        await turns()
        assert not task.done()
        slow.release.set()
    assert outcomes(task.result()) == {"a": 0.9, "b": 0.8}


# ---------------------------------------------------------------------- cancelled by others


@pytest.mark.parametrize("on_error", list(OnError))
async def test_a_guard_whose_call_was_cancelled_by_somebody_else_has_failed(on_error: OnError) -> None:
    class Lost(FakeEngine):
        async def judge(
            self, passages: Sequence[Passage], policies: Sequence[GuardPolicy], *, deadline: float
        ) -> list[Score | EngineError]:
            raise asyncio.CancelledError

    rules = [text_rule("a", "lost", refuse=0.5, on_error=on_error), text_rule("b", "quick", refuse=0.5)]
    decision = await screened(rules, lost=Lost(), quick=FakeEngine())
    assert outcomes(decision.verdicts) == {"a": "engine_error", "b": 0.0}
    assert decision.action.word == on_error.value
    assert decision.unjudged == (() if on_error is OnError.REFUSE else ("policy:a",))


async def test_a_client_that_leaves_cancels_every_call() -> None:
    engines = {name: SlowEngine() for name in "abc"}
    before = asyncio.all_tasks()
    async with asyncio.TaskGroup() as group:
        judge = screener([text_rule(name, name, refuse=0.5) for name in engines], engines)
        task = group.create_task(judge.screen(user("hi")))
        for engine in engines.values():
            await engine.asked.wait()
        task.cancel()
    assert task.cancelled()
    assert [engine.n_cancelled for engine in engines.values()] == [1, 1, 1]
    assert asyncio.all_tasks() == before


async def test_a_mistake_of_ours_ends_every_call_and_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(rule: Rule) -> None:
        raise KeyError("ours")

    monkeypatch.setattr("rules.screen._verdict", lambda rule, engine, score: broken(rule))
    slow = SlowEngine()
    rules = [text_rule("a", "quick", refuse=0.5), text_rule("b", "slow", refuse=0.5)]
    with pytest.raises(ExceptionGroup) as caught:
        await screened(rules, quick=FakeEngine(), slow=slow)
    assert [type(e) for e in caught.value.exceptions] == [KeyError]
    assert slow.n_cancelled == 1


# ---------------------------------------------------------------------- nothing else changes

LINES = st.sampled_from([0.0, 0.3, 0.6, 0.9, EngineTimeout(), float("nan")])
GUARDS = ("one", "two", "three")
Limits: TypeAlias = tuple[float | None, float | None, float | None]
RULES = st.tuples(
    st.sampled_from([*((g,) for g in GUARDS), ("one", "two")]),
    st.sampled_from([(0.5, None, None), (None, 0.5, None), (None, None, 0.5), (0.2, None, 0.8)]),
    st.sampled_from(list(OnError)),
    st.sampled_from([None, frozenset({Surface.USER})]),
)


@settings(max_examples=300)
@given(
    asked=st.lists(RULES, min_size=1, max_size=6),
    lines=st.lists(LINES, min_size=18, max_size=18),
    n_turns=st.permutations([0, 3, 6]),
)
def test_the_decision_is_the_one_that_waiting_for_all_would_come_to(
    asked: list[tuple[tuple[str, ...], Limits, OnError, frozenset[Surface] | None]],
    lines: list[Line],
    n_turns: list[int],
) -> None:
    rules = [
        text_rule(f"p{i}", *guards, on_error=on_error, scope=scope, flag=flag, rewrite=rewrite, refuse=refuse)
        for i, (guards, (flag, rewrite, refuse), on_error, scope) in enumerate(asked)
    ]
    says = iter(lines)
    scripts = {g: {rule.policy.name: next(says) for rule in rules} for g in GUARDS}

    async def decide_both() -> tuple[Decision, Decision]:
        engines = {g: SlowEngine(scripts[g], n_turns=n) for g, n in zip(GUARDS, n_turns, strict=True)}
        first = await screener(rules, engines).screen(user("hi"))
        return first, await screener(rules, engines, waits_for_all=True).screen(user("hi"))

    hasty, patient = asyncio.run(decide_both())
    assert (hasty.action, hasty.cause, hasty.unjudged) == (patient.action, patient.cause, patient.unjudged)
    assert set(hasty.policies) <= set(patient.policies)
    assert bool(hasty.policies) == bool(patient.policies)
    for mine, full in zip(hasty.verdicts, patient.verdicts, strict=True):
        is_skipped = mine.score is None and mine.error is None
        assert mine == full or (is_skipped and patient.cause is Cause.VIOLATION)

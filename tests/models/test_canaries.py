"""What a guard must get right, and what becomes of one that does not."""

from __future__ import annotations

import asyncio

import pytest

from models.canaries import CanaryFailed, examine, is_in_order
from models.engine import Canary, GuardPolicy, Passage, Score, Tier
from models.errors import EngineError, EngineTimeout

BAD, GOOD = Passage("user", "the bad text"), Passage("user", "the good text")
CANARIES = [Canary(GuardPolicy(name, "r", f"About {name}."), BAD, GOOD) for name in ("a", "b", "c")]


def score(value: float) -> Score:
    return Score(value, Tier.DIRECT)


@pytest.mark.parametrize(
    ("violating", "safe", "passes"),
    [
        pytest.param(1.0, 0.0, True, id="sure"),
        pytest.param(0.9, 0.1, True, id="right"),
        pytest.param(0.0025, 0.0011, True, id="a-weak-filter"),
        pytest.param(0.999, 0.99, True, id="a-strict-judge"),
        pytest.param(0.5, 0.5, False, id="the-same"),
        pytest.param(0.51, 0.49, False, id="within-the-tolerance"),
        pytest.param(0.0, 0.0, False, id="both-0"),
        pytest.param(1.0, 1.0, False, id="both-1"),
        pytest.param(0.1, 0.9, False, id="labels-the-wrong-way-round"),
        pytest.param(0.0, 1.0, False, id="surely-wrong"),
    ],
)
def test_a_pair_is_in_order_when_the_violating_one_has_clearly_higher_odds(
    violating: float, safe: float, passes: bool
) -> None:
    assert is_in_order(violating, safe) is passes


async def test_every_policy_is_asked_about_both_of_its_canaries() -> None:
    asked = []

    async def ask(passage: Passage, policy: GuardPolicy) -> Score | EngineError:
        asked.append((policy.name, passage is BAD))
        return score(0.8 if passage is BAD else 0.2)

    await examine("g", CANARIES, ask)
    assert asked == [(name, is_bad) for name in "abc" for is_bad in (True, False)]


async def test_the_complaint_names_guard_policy_and_scores_and_never_the_text() -> None:
    async def ask(passage: Passage, policy: GuardPolicy) -> Score | EngineError:
        return score((0.8 if passage is BAD else 0.2) if policy.name == "b" else 0.5)

    with pytest.raises(CanaryFailed) as caught:
        await examine("g", CANARIES, ask)
    assert str(caught.value) == (
        "guard g failed its canaries: policy a: its violating canary scored 0.5, its safe canary 0.5; "
        "policy c: its violating canary scored 0.5, its safe canary 0.5"
    )


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        pytest.param(EngineTimeout("too slow"), "timeout: too slow", id="error"),
        pytest.param(score(float("nan")), "its score is not in [0, 1]", id="nan"),
        pytest.param(score(7), "its score is not in [0, 1]", id="outside"),
    ],
)
async def test_a_canary_without_a_score_ends_the_examination(entry: Score | EngineError, said: str) -> None:
    n_asked = 0

    async def ask(passage: Passage, policy: GuardPolicy) -> Score | EngineError:
        nonlocal n_asked
        n_asked += 1
        return score(0.8) if passage is BAD else entry

    with pytest.raises(CanaryFailed) as caught:
        await examine("g", CANARIES, ask)
    assert str(caught.value) == f"guard g failed its canaries: policy a: its safe canary was not judged ({said})"
    assert n_asked == 2


async def test_what_asking_raises_is_raised_and_ends_the_rest() -> None:
    ended = []

    async def ask(passage: Passage, policy: GuardPolicy) -> Score | EngineError:
        if policy.name == "b":
            raise OSError("gone")
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(policy.name)
        raise AssertionError

    with pytest.raises(OSError, match="gone"):
        await examine("g", CANARIES, ask, at_once=8)
    assert sorted(ended) == ["a", "c"]


async def test_policies_are_examined_together_where_that_is_allowed() -> None:
    together = asyncio.Barrier(3)

    async def ask(passage: Passage, policy: GuardPolicy) -> Score | EngineError:
        await together.wait()
        return score(0.8 if passage is BAD else 0.2)

    async with asyncio.timeout(5):
        await examine("g", CANARIES, ask, at_once=3)

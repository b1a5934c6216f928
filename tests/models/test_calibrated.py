"""Where calibrations are applied: between the rules and a guard with its cache."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from models.calibrated import CalibratedEngine, calibrated
from models.calibration import Calibration, PassBelow
from models.engine import GuardPolicy, Passage, Score, Tier
from models.errors import EngineError, EngineTimeout
from models.evidence import Evidence
from models.trace import length_score
from models.verdict_cache import CachedEngine
from tests.fakes import FakeEngine
from tests.models.test_calibration import calibration

FRUIT = GuardPolicy("fruit", "r1", "About fruit.")
MUSIC = GuardPolicy("music", "r1", "About music.")
MODEL = "fake@000000000000"
SAID = Score(0.2, Tier.ENCODER, evidence=Evidence(logit=1.0))
FITTED = calibration(model=MODEL)


class Guard(FakeEngine):
    """Answers each policy with the same entry, and is cacheable."""

    settings = "as it is"


def guard(*entries: Score | EngineError) -> Guard:
    return Guard(answer=lambda _, policies: list(entries) * (1 if len(entries) == len(policies) else len(policies)))


def engine(inner: Any, calibrations: Mapping[str, Sequence[Calibration]], **more: Any) -> CalibratedEngine:
    return CalibratedEngine(inner, guard="g", calibrations=calibrations, **more)


async def ask(asked: CalibratedEngine, *policies: GuardPolicy) -> list[Score | EngineError]:
    return await asked.judge([Passage("user", "A pear.")], policies or [FRUIT], deadline=time.monotonic() + 10)


async def test_a_score_becomes_what_its_map_says() -> None:
    (score,) = await ask(engine(guard(SAID), {"fruit": [FITTED]}))
    assert isinstance(score, Score)
    assert score.value == pytest.approx(0.731059, abs=1e-6)
    assert score == replace(SAID, value=score.value, calibrated=True)


@pytest.mark.parametrize("limit", [None, 0.07])
async def test_where_a_mapped_score_passes_says_its_map_and_nobody_else(limit: float | None) -> None:
    measured = None if limit is None else PassBelow(score=limit, recall=0.98)
    fitted = FITTED.model_copy(update={"pass_below": measured})
    (score,) = await ask(engine(guard(replace(SAID, pass_below=0.02)), {"fruit": [fitted]}))
    assert isinstance(score, Score)
    assert score.pass_below == limit


async def test_an_error_stays_an_error_and_a_policy_without_map_stays_as_it_is() -> None:
    late = EngineTimeout("late")
    assert await ask(engine(guard(late, SAID), {"fruit": [FITTED]}), FRUIT, MUSIC) == [late, SAID]


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"revision": "r0"}, id="revision"),
        pytest.param({"model": "fake@111111111111"}, id="model-of-another-hash"),
        pytest.param({"tier": Tier.DIRECT}, id="tier"),
    ],
)
async def test_a_map_of_something_else_is_not_used_and_the_log_says_so_once(other: dict[str, Any]) -> None:
    asked = engine(guard(replace(SAID, calibrated=False)), {"fruit": [calibration(**({"model": MODEL} | other))]})
    with capture_logs() as logs:
        for _ in range(3):
            assert await ask(asked) == [replace(SAID, calibrated=False)]
    assert [(line["event"], line["policy"], line["guard"]) for line in logs] == [("not_calibrated", "fruit", "g")]


async def test_maps_of_the_policy_of_another_name_are_not_used() -> None:
    assert await ask(engine(guard(SAID), {"music": [FITTED]})) == [SAID]


async def test_a_map_of_another_effort_is_not_used() -> None:
    said = Score(0.99, Tier.REASONED, evidence=Evidence(logit=1.0, violates=True, n_chars=300))
    fitted = calibration(model=MODEL, tier=Tier.REASONED, effort="low")
    low, high = (engine(guard(said), {"fruit": [fitted]}, effort=effort) for effort in ("low", "high"))
    (with_map,), (without,) = await ask(low), await ask(high)
    assert isinstance(with_map, Score)
    assert isinstance(without, Score)
    assert (with_map.calibrated, without.calibrated) == (True, False)


async def test_a_direct_verdict_has_its_map_whatever_the_effort() -> None:
    said = Score(0.99, Tier.DIRECT, evidence=Evidence(logit=1.0))
    (score,) = await ask(engine(guard(said), {"fruit": [calibration(model=MODEL, tier=Tier.DIRECT)]}, effort="high"))
    assert isinstance(score, Score)
    assert score.calibrated


async def test_a_new_calibration_holds_at_once_for_what_is_remembered() -> None:
    inner = guard(SAID)
    cache = CachedEngine(inner)
    before = await ask(engine(cache, {}))
    after = await ask(engine(cache, {"fruit": [FITTED]}))
    other = await ask(engine(cache, {"fruit": [calibration(model=MODEL, intercept=-25.0)]}))
    values = [entry.value for entry in (*before, *after, *other) if isinstance(entry, Score)]
    assert values == pytest.approx([0.2, 0.731059, 0.017986], abs=1e-6)
    assert len(inner.calls) == 1


async def test_another_revision_of_the_policy_is_judged_anew_and_has_no_map() -> None:
    inner = guard(SAID)
    asked = engine(CachedEngine(inner), {"fruit": [FITTED]})
    (old,), (new,) = await ask(asked), await ask(asked, replace(FRUIT, revision="r2"))
    assert isinstance(old, Score)
    assert isinstance(new, Score)
    assert (old.calibrated, new.calibrated, len(inner.calls)) == (True, False, 2)


async def test_an_engine_that_answers_for_too_few_is_not_made_to_look_right() -> None:
    assert await ask(engine(Guard(answer=lambda *_: [SAID]), {}), FRUIT, MUSIC) == [SAID]


TRACED = Evidence(logit=9.0, violates=True, n_chars=849)


@pytest.mark.parametrize(
    ("score", "model", "value"),
    [
        pytest.param(Score(0.999, Tier.REASONED, evidence=TRACED), "any@1", length_score(True, 849), id="reasoned"),
        pytest.param(
            Score(1.0, Tier.REMOTE, evidence=TRACED),
            "openai/gpt-oss-safeguard-20b",
            length_score(True, 849),
            id="remote",
        ),
        pytest.param(Score(1.0, Tier.REMOTE, evidence=TRACED), "qwen3", 1.0, id="remote-of-another-family"),
        pytest.param(Score(0.99, Tier.DIRECT, evidence=Evidence(logit=4.6)), "gpt-oss", 0.99, id="direct"),
        pytest.param(
            Score(0.9, Tier.REASONED, evidence=Evidence(logit=2.2, violates=True)), "gpt-oss", 0.9, id="no-trace"
        ),
        pytest.param(Score(0.9, Tier.REASONED), "gpt-oss", 0.9, id="no-evidence"),
    ],
)
def test_without_a_map_there_is_a_prior_for_traces_of_its_family(score: Score, model: str, value: float) -> None:
    assert calibrated(score, None, model) == replace(score, value=value, calibrated=False)


@pytest.mark.parametrize("violates", [True, False], ids=["violation", "safe"])
@pytest.mark.parametrize("n_chars", [1, 60, 500, 12_000, 10**6])
@pytest.mark.parametrize("logit", [None, -30.0, -1.0, 0.0, 1.0, 30.0])
def test_the_prior_turns_at_the_verdict(violates: bool, n_chars: int, logit: float | None) -> None:
    said = Score(0.5, Tier.REASONED, evidence=Evidence(logit=logit, violates=violates, n_chars=n_chars))
    value = calibrated(said, None, "gpt-oss").value
    assert value >= 0.5 if violates else value <= 0.5


@pytest.mark.parametrize(
    ("violates", "logit", "value"),
    [
        pytest.param(False, -30.0, length_score(False, 90), id="sure-of-safe"),
        pytest.param(False, -1.0, 0.268941, id="less-sure-of-safe-than-the-length"),
        pytest.param(False, 0.0, 0.5, id="undecided"),
        pytest.param(True, 1.0, 0.731059, id="less-sure-of-a-violation-than-the-length"),
        pytest.param(True, 30.0, length_score(True, 90), id="sure-of-a-violation"),
    ],
)
def test_of_length_and_logit_the_one_in_more_doubt_counts(violates: bool, logit: float, value: float) -> None:
    said = Score(0.5, Tier.REMOTE, evidence=Evidence(logit=logit, violates=violates, n_chars=90))
    assert calibrated(said, None, "gpt-oss-safeguard-20b").value == pytest.approx(value, abs=1e-6)


def test_evidence_without_what_the_map_weighs_falls_back_and_says_so() -> None:
    said = Score(1.0, Tier.REMOTE, evidence=Evidence(violates=True))
    fitted = calibration(model="m", tier=Tier.REMOTE)
    assert calibrated(said, fitted, "m") == said


WEIGHS = calibration(
    model=MODEL,
    second_opinion="small@000000000000",
    intercept=-40.0,
    curves={"logit": ((-20.0, 0.0), (20.0, 40.0)), "second_opinion": ((-20.0, 0.0), (20.0, 40.0))},
)


def small(entry: Score | EngineError) -> Guard:
    return Guard(name="small", answer=lambda _, policies: [entry] * len(policies))


@pytest.mark.parametrize(
    ("logit", "value"), [(-2.0, 0.268941), (0.0, 0.731059), (1.0, 0.880797)], ids=["against", "undecided", "for"]
)
async def test_a_second_opinion_is_weighed_where_the_map_says_so(logit: float, value: float) -> None:
    second = small(Score(0.5, Tier.ENCODER, evidence=Evidence(logit=logit)))
    asked = engine(guard(SAID), {"fruit": [WEIGHS]}, second=second)
    fruit, music = await ask(asked, FRUIT, MUSIC)
    assert isinstance(fruit, Score)
    assert fruit.value == pytest.approx(value, abs=1e-6)
    assert (fruit.tier, fruit.calibrated) == (SAID.tier, True)
    assert music == SAID
    assert [call.policies for call in second.calls] == [["fruit"]], "only about the policy whose map weighs it"


async def test_nobody_asks_for_an_opinion_that_no_map_weighs() -> None:
    second = small(SAID)
    asked = engine(guard(SAID), {"fruit": [FITTED]}, second=second)
    await ask(asked)
    assert second.calls == []


async def test_without_the_second_opinion_there_is_no_score() -> None:
    late = EngineTimeout("late")
    assert await ask(engine(guard(SAID), {"fruit": [WEIGHS]}, second=small(late))) == [late]
    short = Guard(name="small", answer=lambda *_: [])
    (entry,) = await ask(engine(guard(SAID), {"fruit": [WEIGHS]}, second=short))
    assert isinstance(entry, EngineError)


@pytest.mark.parametrize("second", [None, Guard(name="other")], ids=["nobody", "another-model"])
async def test_a_map_that_weighs_somebody_elses_opinion_is_not_used(second: Guard | None) -> None:
    (entry,) = await ask(engine(guard(SAID), {"fruit": [WEIGHS]}, second=second))
    assert entry == SAID
    assert second is None or second.calls == []


async def test_both_are_started_waited_for_and_closed() -> None:
    first, second = guard(SAID), small(SAID)
    both = engine(first, {}, second=second)
    second.ready, second.last_error = False, "still loading"
    await both.start()
    assert not await both.wait_ready(0.1)
    assert (both.ready, both.last_error, both.model) == (False, "still loading", MODEL)
    second.ready = True
    assert await both.wait_ready(0.1)
    await both.close()
    assert (first.ready, second.ready) == (False, False)

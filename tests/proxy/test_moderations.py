"""Scores in OpenAI's words: the moderations endpoint, the in-band object, and the categories that both are made of."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from models.engine import GuardPolicy, Passage, Score
from models.errors import ContentTooLong, EngineError, EngineUnavailable
from proxy import inband, moderations
from proxy.bodies import Body
from proxy.categories import categorised, threshold_of
from proxy.errors import HttpError
from proxy.exchange import Exchange
from proxy.loading.loaded import LoadedRoute
from proxy.records import Metrics
from proxy.schema import Collection, Misfit
from rules.content import Surface
from rules.decision import Verdict, decide
from rules.rule import Action, Mode, OnError, Rule, Stage
from rules.screen import Screener
from tests.fakes import FakeEngine, scored, text_rule, word_rule
from tests.proxy.configs import routes

IMAGE = {"type": "image_url", "image_url": {"url": "https://example.test/a.png"}}


@dataclasses.dataclass
class Setup:
    route: LoadedRoute
    exchange: Exchange
    engine: FakeEngine

    async def ask(self, value: Any, **more: Any) -> dict[str, Any]:
        self.exchange.route = self.route
        return await moderations.moderate(self.exchange, self.route, Body({"input": value, **more}))


def setup(tmp_path: Path, *rules: Rule, opaque: OnError = OnError.REFUSE, **script: Any) -> Setup:
    engine = FakeEngine(script)
    [route] = routes(tmp_path, {})
    screener = Screener(Stage.INPUT, rules, {"guard": engine}, opaque)
    return Setup(dataclasses.replace(route, input=screener), Exchange("", Metrics()), engine)


# ---------------------------------------------------------------------- categories


@pytest.mark.parametrize(
    ("thresholds", "expected"),
    [
        ({Action.FLAG: 0.3}, 0.3),
        ({Action.FLAG: 0.3, Action.REFUSE: 0.9}, 0.9),
        ({Action.REWRITE: 0.5, Action.REFUSE: 0.9}, 0.5),
        ({Action.FLAG: 0.1, Action.REWRITE: 0.5}, 0.5),
    ],
)
def test_a_category_is_true_where_its_rule_would_do_the_most_it_can(
    thresholds: dict[Action, float], expected: float
) -> None:
    rule = dataclasses.replace(text_rule("p", flag=0.5), thresholds=thresholds)
    assert threshold_of(rule) == expected
    assert categorised([Verdict(rule, score=expected)])["flagged"] is True
    assert categorised([Verdict(rule, score=expected - 0.01)])["flagged"] is False


def test_what_was_not_judged_is_in_no_category() -> None:
    rule = text_rule("p", refuse=0.5)
    assert categorised([Verdict(rule, error="timeout"), Verdict(rule)]) == {
        "flagged": False,
        "categories": {},
        "category_scores": {},
        "category_applied_input_types": {},
    }


def test_two_rules_of_one_policy_are_one_category() -> None:
    verdicts = [Verdict(text_rule("p", refuse=0.3), score=0.4), Verdict(text_rule("p", refuse=0.9), score=0.6)]
    result = categorised(verdicts)
    assert (result["categories"], result["category_scores"]) == ({"p": True}, {"p": 0.6})


# ---------------------------------------------------------------------- the endpoint


async def test_every_enforced_rule_scores_also_where_a_detector_would_refuse(tmp_path: Path) -> None:
    s = setup(
        tmp_path,
        word_rule("word", "bad", refuse=0.5),
        text_rule("model", flag=0.2, refuse=0.9),
        text_rule("quiet", refuse=0.1, mode=Mode.SHADOW),
        model=0.4,
        quiet=1.0,
    )
    answer = await s.ask("a bad word", model="mine")
    assert answer["model"] == "mine"
    [result] = answer["results"]
    assert result["flagged"] is True
    assert result["categories"] == {"word": True, "model": False}
    assert result["category_scores"] == {"word": 1.0, "model": 0.4}
    assert result["category_applied_input_types"] == {"word": ["text"], "model": ["text"]}
    assert s.exchange.headers()["x-safeguard-decision"] == "flag"
    assert len(s.engine.calls) == 1


async def test_strings_are_judged_one_by_one_and_parts_together(tmp_path: Path) -> None:
    rule = word_rule("word", "bad", refuse=0.5)
    answer = await setup(tmp_path, rule).ask(["fine", "bad", "ba", "d"])
    assert [r["flagged"] for r in answer["results"]] == [False, True, False, False]
    assert answer["model"] == "safeguard"
    parts = [{"type": "text", "text": "ba"}, {"type": "text", "text": "d"}]
    assert [r["flagged"] for r in (await setup(tmp_path, rule).ask(parts))["results"]] == [True]


@pytest.mark.parametrize(
    ("opaque", "flagged", "unjudged"),
    [(OnError.REFUSE, True, "1"), (OnError.FLAG, True, "1"), (OnError.FORWARD, False, "1")],
)
async def test_images_are_what_the_route_says(tmp_path: Path, opaque: OnError, flagged: bool, unjudged: str) -> None:
    s = setup(tmp_path, word_rule("word", "bad", refuse=0.5), opaque=opaque)
    [result] = (await s.ask([IMAGE]))["results"]
    assert result["flagged"] is flagged
    assert result["categories"] == {"word": False, **({"opaque-content": True} if flagged else {})}
    assert result["category_applied_input_types"]["word"] == []
    assert s.exchange.headers()["x-safeguard-unjudged"] == unjudged


async def test_the_address_of_an_image_is_judged(tmp_path: Path) -> None:
    s = setup(tmp_path, word_rule("word", "bad", refuse=0.5), opaque=OnError.FORWARD)
    image = {"type": "image_url", "image_url": {"url": "https://example.test/bad.png"}}
    assert (await s.ask([image]))["results"][0]["categories"] == {"word": True}


async def test_a_rule_that_does_not_read_users_has_read_nothing(tmp_path: Path) -> None:
    rule = word_rule("word", "bad", refuse=0.5, scope=frozenset({Surface.ASSISTANT}))
    [result] = (await setup(tmp_path, rule).ask("bad"))["results"]
    assert (result["flagged"], result["category_applied_input_types"]) == (False, {"word": []})


@pytest.mark.parametrize(
    ("error", "status"), [(EngineUnavailable("gone"), 503), (ContentTooLong("long"), 413)], ids=["503", "413"]
)
async def test_a_failed_verdict_never_reads_as_safe(tmp_path: Path, error: EngineError, status: int) -> None:
    s = setup(tmp_path, word_rule("word", "bad", refuse=0.5), text_rule("model", refuse=0.5), model=error)
    for value in ("fine", "bad", ["fine", "fine"]):
        with pytest.raises(HttpError) as caught:
            await s.ask(value)
        assert caught.value.status == status


@pytest.mark.parametrize("on_error", [OnError.FLAG, OnError.FORWARD])
async def test_a_failed_verdict_that_may_pass_is_counted(tmp_path: Path, on_error: OnError) -> None:
    rules = (
        word_rule("word", "bad", refuse=0.5, on_error=on_error),
        text_rule("model", refuse=0.5, on_error=on_error),
    )
    s = setup(tmp_path, *rules, model=EngineUnavailable("gone"))
    answer = await s.ask(["fine", "bad"])
    assert [r["categories"] for r in answer["results"]] == [{"word": False}, {"word": True}]
    assert [r["flagged"] for r in answer["results"]] == [on_error is OnError.FLAG, True]
    assert s.exchange.headers()["x-safeguard-unjudged"] == "2"


async def test_no_more_inputs_are_judged_at_once_than_a_queue_bears(tmp_path: Path) -> None:
    s = setup(tmp_path, text_rule("model", refuse=0.5))

    def answer(passages: Sequence[Passage], policies: Sequence[GuardPolicy]) -> list[Score | EngineError]:
        return [scored(1.0 if p.text == "bad" else 0.0) for p in passages]

    s.engine.answer = answer
    results = (await s.ask(["fine"] * 50 + ["bad"]))["results"]
    assert [r["flagged"] for r in results] == [False] * 50 + [True]


@pytest.mark.parametrize(
    ("value", "param"),
    [
        ([1, 2], "input"), ([[1]], "input"), ([], "input"), (None, "input"), (5, "input"), ({"type": "text"}, "input"),
        (["a", {"type": "text", "text": "b"}], "input[0]"), ([{"type": "audio"}], "input[0].type"),
        ([{"type": "text"}], "input[0].text"), (["\x00"], "input[0]"),
    ],
)  # fmt: skip
async def test_malformed_inputs_are_named(tmp_path: Path, value: Any, param: str) -> None:
    with pytest.raises(HttpError) as caught:
        await setup(tmp_path).ask(value)
    assert (caught.value.status, caught.value.param) == (400, param)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (None, None), ("gpt-4o", "gpt-4o"), ("omni-moderation-latest", None), ("text-moderation-007", None),
        ("my-moderation-latest", "my-moderation-latest"),
    ],
)  # fmt: skip
def test_the_model_picks_the_route_unless_it_is_a_moderation_model_of_openai(
    model: str | None, expected: str | None
) -> None:
    assert moderations.route_model({} if model is None else {"model": model}) == expected


@pytest.mark.parametrize("model", ["", 5, ["gpt-4o"]])
def test_a_model_that_is_no_name_is_refused(model: Any) -> None:
    with pytest.raises(HttpError) as caught:
        moderations.route_model({"model": model})
    assert (caught.value.status, caught.value.param) == (400, "model")


# ---------------------------------------------------------------------- in band


def wish(**policy: str) -> inband.Wish:
    given = inband.wish_of(
        {"moderation": {"model": "m", "policy": {stage: {"mode": mode} for stage, mode in policy.items()}}}
    )
    assert given is not None
    return given


def test_a_request_that_asks_for_nothing_gets_nothing() -> None:
    assert inband.wish_of({}) is None
    assert inband.wish_of({"moderation": None}) is None
    assert inband.wish_of({"moderation": {"model": "m"}}) == inband.Wish("m")


@pytest.mark.parametrize(
    "value",
    ["x", [], {}, {"model": None}, {"model": 5}, {"model": "m", "policy": "block"},
     {"model": "m", "policy": {"input": {"mode": "off"}}}, {"model": "m", "policy": {"input": {}}},
     {"model": "m", "policy": {"input": "block"}}],
)  # fmt: skip
def test_a_malformed_object_is_refused(value: Any) -> None:
    with pytest.raises(Misfit):
        inband.MODERATION.clean(value, ("moderation",), Collection(strict=True))


def test_block_can_only_add_strictness(tmp_path: Path) -> None:
    rules = (
        text_rule("flags", flag=0.3),
        text_rule("both", flag=0.3, refuse=0.9),
        word_rule("masks", "x", flag=0.2, rewrite=0.5),
        text_rule("quiet", flag=0.3, mode=Mode.SHADOW),
        text_rule("off", flag=0.3, mode=Mode.OFF),
    )
    [plain] = routes(tmp_path, {})
    route = dataclasses.replace(plain, input=Screener(Stage.INPUT, rules, {}), output=Screener(Stage.OUTPUT, rules, {}))
    for asked in (wish(), wish(input="score", output="score")):
        same = inband.stricter(route, asked)
        assert (same.input.rules, same.output.rules) == (rules, rules)
    strict = inband.stricter(route, wish(input="block"))
    assert strict.output.rules == rules
    for before, after in zip(route.input.rules, strict.input.rules, strict=True):
        for score in (0.1, 0.3, 0.5, 0.9):
            assert after.action_for(score) >= before.action_for(score)
        assert after.mode is before.mode
    assert strict.input.rules[0].action_for(0.3) is Action.REFUSE
    assert strict.input.rules[1:] == route.input.rules[1:]


def test_who_asks_for_scores_waits_for_all_of_them(tmp_path: Path) -> None:
    [route] = routes(tmp_path, {})
    for asked in (wish(), wish(input="block")):
        for screener in (inband.stricter(route, asked).input, inband.stricter(route, asked).output):
            assert screener.waits_for_all
    assert not route.input.waits_for_all


def test_results_name_the_policies_and_the_clients_model() -> None:
    verdicts = [Verdict(text_rule("p", refuse=0.5), score=0.7, model="fleet@1")]
    shadow = Verdict(text_rule("q", refuse=0.5, mode=Mode.SHADOW), score=0.7)
    both = {Stage.INPUT: decide(Stage.INPUT, [*verdicts, shadow])}
    got = inband.outcome(wish(), both, as_list=True)
    assert got["input"] == {
        "type": "moderation_results",
        "model": "m",
        "results": [
            {
                "type": "moderation_result",
                "model": "m",
                "flagged": True,
                "categories": {"p": True},
                "category_scores": {"p": 0.7},
                "category_applied_input_types": {"p": ["text"]},
            }
        ],
    }
    assert got["output"]["type"] == "error"
    assert got["output"]["code"] == "not_judged"


def test_a_stage_with_a_failed_verdict_is_an_error_and_no_score() -> None:
    verdicts = [
        Verdict(text_rule("p", refuse=0.5), score=0.1),
        Verdict(text_rule("q", refuse=0.5, on_error=OnError.FORWARD), error="timeout"),
    ]
    got = inband.outcome(wish(), {Stage.INPUT: decide(Stage.INPUT, verdicts)}, as_list=True)["input"]
    assert (got["type"], got["code"]) == ("error", "guard_unavailable")

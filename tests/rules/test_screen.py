"""To screen: detectors first, guards together, cascades, failures."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from models.engine import GuardPolicy, Passage, Score, Tier
from models.errors import EngineError, EngineOverloaded, EngineTimeout, VerdictError
from rules.content import CONTEXT_CHARS, Content, Leaf, LeafKind, Surface
from rules.decision import Cause, Decision, Earlier, Step
from rules.detectors import Span
from rules.detectors.patterns import PatternDetector
from rules.off_loop import LARGE_CHARS, Patience
from rules.policy import Policy
from rules.rule import Action, Mode, OnError, Rule, Stage
from rules.screen import Screener, detect
from tests.fakes import FakeEngine, leaf, scored, text_rule, user, word_rule

USER, ASSISTANT = Surface.USER, Surface.ASSISTANT


def screener(rules: Sequence[Rule], engines: Mapping[str, FakeEngine] | None = None, **more: Any) -> Screener:
    return Screener(Stage.INPUT, tuple(rules), engines or {}, **more)


async def screen(
    rules: Sequence[Rule], content: Content, engine: FakeEngine | None = None, **engines: FakeEngine
) -> Decision:
    return await screener(rules, {"guard": engine or FakeEngine(), **engines}).screen(content)


# ---------------------------------------------------------------------- guards


async def test_a_score_is_a_verdict_with_its_evidence() -> None:
    decision = await screen([text_rule("hate", refuse=0.5)], user("hi"), FakeEngine({"hate": 0.7}))
    (verdict,) = decision.verdicts
    assert (decision.action, decision.cause, decision.policies) == (Action.REFUSE, Cause.VIOLATION, ("hate",))
    assert (verdict.score, verdict.error, verdict.tier, verdict.model) == (0.7, None, Tier.ENCODER, "fake@000000000000")
    assert verdict.calibrated


async def test_rules_that_share_guard_and_scope_are_one_call() -> None:
    engine = FakeEngine()
    rules = [text_rule(n, refuse=0.5) for n in "abc"]
    await screen(rules, user("hi"), engine)
    assert [call.policies for call in engine.calls] == [["a", "b", "c"]]


async def test_another_scope_or_guard_is_another_call() -> None:
    one, two = FakeEngine(), FakeEngine()
    narrow = frozenset({USER})
    rules = [
        text_rule("a", refuse=0.5), text_rule("b", refuse=0.5, scope=narrow), text_rule("c", "two", refuse=0.5),
        text_rule("d", refuse=0.5, scope=narrow), text_rule("e", refuse=0.5),
    ]  # fmt: skip
    decision = await screen(rules, user("hi"), one, two=two)
    assert sorted(call.policies for call in one.calls) == [["a", "e"], ["b", "d"]]
    assert [call.policies for call in two.calls] == [["c"]]
    assert [v.rule.policy.name for v in decision.verdicts] == ["a", "b", "c", "d", "e"]


async def test_a_rule_reads_its_scope_only() -> None:
    engine = FakeEngine()
    content = Content((leaf("from user"), leaf("from assistant", surface=ASSISTANT)))
    await screen([text_rule("a", refuse=0.5, scope=frozenset({ASSISTANT}))], content, engine)
    assert [call.texts for call in engine.calls] == [["from assistant"]]


async def test_what_nobody_knows_the_use_of_is_read_whatever_the_scope() -> None:
    engine = FakeEngine()
    odd = Leaf(("x_prompt",), Surface.METADATA, "MARK", is_unknown=True)
    content = Content((leaf("from user"), leaf("an id", surface=Surface.METADATA), odd))
    narrow = frozenset({USER})
    decision = await screen(
        [text_rule("a", refuse=0.5, scope=narrow), word_rule("w", "MARK", flag=0.5, scope=narrow)], content, engine
    )
    assert [call.texts for call in engine.calls] == [["from user", "MARK"]]
    assert decision.action is Action.FLAG


async def test_nothing_to_read_is_nothing_violated_and_nobody_is_asked() -> None:
    engine = FakeEngine({"a": 1.0})
    decision = await screen([text_rule("a", refuse=0.5, scope=frozenset({ASSISTANT}))], user("hi"), engine)
    assert engine.calls == []
    assert (decision.action, decision.verdicts[0].score) == (Action.FORWARD, 0.0)


async def test_context_is_shown_to_the_guard_and_marked() -> None:
    engine = FakeEngine()
    context = user("before").passages(context=True)
    rules = screener([text_rule("a", refuse=0.5)], {"guard": engine})
    await rules.screen(user("after", surface=ASSISTANT), context)
    (call,) = engine.calls
    assert [(p.surface, p.text, p.context) for p in call.passages] == [
        ("user", "before", True),
        ("assistant", "after", False),
    ]


async def test_a_guard_is_given_a_deadline_on_the_monotonic_clock() -> None:
    engine = FakeEngine()
    await screen([text_rule("a", refuse=0.5)], user("hi"), engine)
    assert 0 < engine.calls[0].deadline - time.monotonic() <= 60


def broken(error: Exception) -> FakeEngine:
    def answer(passages: Sequence[Passage], policies: Sequence[GuardPolicy]) -> list[Score | EngineError]:
        raise error

    return FakeEngine(answer=answer)


def silent(n: int) -> FakeEngine:
    return FakeEngine(answer=lambda _, __: [Score(0.0, Tier.DIRECT)] * n)


@pytest.mark.parametrize(
    ("engine", "error"),
    [
        pytest.param(FakeEngine({"a": EngineTimeout()}), "timeout", id="timeout"),
        pytest.param(FakeEngine({"a": EngineOverloaded()}), "overloaded", id="overloaded"),
        pytest.param(FakeEngine({"a": VerdictError()}), "no_verdict", id="no-verdict"),
        pytest.param(FakeEngine({"a": float("nan")}), "engine_error", id="nan"),
        pytest.param(FakeEngine({"a": float("inf")}), "engine_error", id="infinite"),
        pytest.param(FakeEngine({"a": -0.1}), "engine_error", id="negative"),
        pytest.param(FakeEngine({"a": 1.1}), "engine_error", id="above-1"),
        pytest.param(silent(0), "engine_error", id="no-answer"),
        pytest.param(silent(3), "engine_error", id="too-many-answers"),
        pytest.param(broken(RuntimeError("boom")), "engine_error", id="I05-raises"),
        pytest.param(broken(UnicodeEncodeError("utf-8", "\ud800", 0, 1, "x")), "engine_error", id="I05-encoding"),
        pytest.param(broken(RecursionError()), "engine_error", id="I05-recursion"),
    ],
)
@pytest.mark.parametrize(
    ("on_error", "action", "cause", "unjudged"),
    [
        (OnError.REFUSE, Action.REFUSE, Cause.UNDECIDED, ()),
        (OnError.FLAG, Action.FLAG, None, ("policy:a",)),
        (OnError.FORWARD, Action.FORWARD, None, ("policy:a",)),
    ],
    ids=["refuse", "flag", "forward"],
)
async def test_a_guard_that_could_not_decide_counts_as_its_rule_says(
    engine: FakeEngine,
    error: str,
    on_error: OnError,
    action: Action,
    cause: Cause | None,
    unjudged: tuple[str, ...],
) -> None:
    decision = await screen([text_rule("a", refuse=0.5, on_error=on_error)], user("hi"), engine)
    (verdict,) = decision.verdicts
    assert (verdict.score, verdict.error) == (None, error)
    assert (decision.action, decision.cause, decision.unjudged) == (action, cause, unjudged)


async def test_a_failed_guard_leaves_the_verdicts_of_the_others_alone() -> None:
    rules = [text_rule("a", refuse=0.5), text_rule("b", "two", refuse=0.5)]
    decision = await screen(rules, user("hi"), broken(RuntimeError()), two=FakeEngine({"b": 0.9}))
    assert (decision.action, decision.cause, decision.policies) == (Action.REFUSE, Cause.VIOLATION, ("b",))


async def test_one_bad_score_leaves_the_others_of_the_same_call_alone() -> None:
    rules = [text_rule("a", refuse=0.5, on_error=OnError.FLAG), text_rule("b", flag=0.5)]
    decision = await screen(rules, user("hi"), FakeEngine({"a": float("nan"), "b": 0.6}))
    assert [(v.score, v.error) for v in decision.verdicts] == [(None, "engine_error"), (0.6, None)]


async def test_a_client_that_leaves_cancels_the_question() -> None:
    asked, left = asyncio.Event(), asyncio.Event()

    class Hanging(FakeEngine):
        async def judge(
            self, passages: Sequence[Passage], policies: Sequence[GuardPolicy], *, deadline: float
        ) -> list[Score | EngineError]:
            asked.set()
            try:
                await asyncio.Event().wait()
            finally:
                left.set()
            return []

    async with asyncio.TaskGroup() as group:
        task = group.create_task(screen([text_rule("a", refuse=0.5)], user("hi"), Hanging()))
        await asked.wait()
        task.cancel()
    assert task.cancelled()
    assert left.is_set()


# ---------------------------------------------------------------------- cascades


@pytest.mark.parametrize(
    ("first", "second", "asked", "score"),
    [
        pytest.param(0.1, 0.9, 1, 0.1, id="nearly-sure-that-it-is-good-passes"),
        pytest.param(0.25, 0.1, 2, 0.1, id="half-the-lowest-threshold-goes-on"),
        pytest.param(0.4, 0.9, 2, 0.9, id="doubt-goes-on"),
        pytest.param(1.0, 0.0, 2, 0.0, id="the-first-may-not-refuse"),
        pytest.param(EngineTimeout(), 0.2, 2, 0.2, id="a-failure-goes-on"),
        pytest.param(float("nan"), 0.2, 2, 0.2, id="a-broken-score-goes-on"),
        pytest.param(1.0, EngineTimeout(), 2, None, id="the-last-one-decides-also-when-it-fails"),
    ],
)
async def test_the_first_guard_of_a_cascade_may_only_pass_or_escalate(
    first: float | EngineError, second: float | EngineError, asked: int, score: float | None
) -> None:
    one, two = FakeEngine({"a": first}), FakeEngine({"a": second})
    decision = await screen([text_rule("a", "one", "two", flag=0.5, refuse=0.8)], user("hi"), one=one, two=two)
    assert len(one.calls) + len(two.calls) == asked
    assert decision.verdicts[0].score == score
    if score is None:
        assert decision.cause is Cause.UNDECIDED


NAN = float("nan")


@pytest.mark.parametrize(
    ("score", "own", "measured", "passes", "limit"),
    [
        pytest.param(0.019, 0.02, None, True, 0.02, id="below-the-rule's-own-limit"),
        pytest.param(0.02, 0.02, None, False, 0.02, id="at-the-limit-goes-on"),
        pytest.param(0.1, 0.02, 0.4, False, 0.02, id="the-rule's-own-comes-before-what-was-measured"),
        pytest.param(0.3, None, 0.4, True, 0.4, id="below-what-was-measured"),
        pytest.param(0.4, None, 0.4, False, 0.4, id="at-what-was-measured"),
        pytest.param(0.5, None, 0.9, False, 0.5, id="what-asks-for-an-action-never-passes"),
        pytest.param(0.49, None, 0.9, True, 0.5, id="the-lowest-threshold-is-the-highest-limit"),
        pytest.param(0.5, 0.9, None, False, 0.5, id="nor-by-a-rule's-own-limit"),
        pytest.param(0.24, None, None, True, 0.25, id="else-half-the-lowest-threshold"),
        pytest.param(0.0, 0.0, 0.4, False, 0.0, id="a-limit-of-0-passes-nothing"),
    ],
)
async def test_an_earlier_guard_passes_below_its_limit_only(
    score: float, own: float | None, measured: float | None, passes: bool, limit: float
) -> None:
    one = FakeEngine(answer=lambda _, __: [Score(score, Tier.ENCODER, latency_ms=2.0, pass_below=measured)])
    two = FakeEngine({"a": 0.7})
    rule = replace(text_rule("a", "one", "two", flag=0.5, refuse=0.8), pass_below={} if own is None else {"one": own})
    (verdict,) = (await screen([rule], user("hi"), one=one, two=two)).verdicts
    assert len(two.calls) == (not passes)
    assert verdict.score == (score if passes else 0.7)
    step = Step.PASSED if passes else Step.ESCALATED
    assert verdict.earlier == (Earlier("one", step, score, limit, latency_ms=2.0),)


@pytest.mark.parametrize(
    ("score", "on_error", "error", "action"),
    [
        (0.95, OnError.REFUSE, None, Action.REFUSE),
        (0.55, OnError.REFUSE, "no_verdict", Action.REFUSE),
        (0.95, OnError.FLAG, None, Action.REFUSE),
        (0.55, OnError.FLAG, "no_verdict", Action.FLAG),
        (0.55, OnError.FORWARD, None, Action.FLAG),
        (0.30, OnError.FORWARD, "no_verdict", Action.FORWARD),
    ],
)
async def test_what_was_judged_in_part_counts_as_its_score_or_as_a_failure_whichever_is_graver(
    score: float, on_error: OnError, error: str | None, action: Action
) -> None:
    engine = FakeEngine(answer=lambda _, __: [Score(score, Tier.DIRECT, unjudged="no_verdict")])
    (verdict,) = (await screen([text_rule("a", flag=0.5, refuse=0.8, on_error=on_error)], user("hi"), engine)).verdicts
    assert (verdict.error, verdict.action) == (error, action)


async def test_an_earlier_guard_passes_nothing_that_it_judged_in_part() -> None:
    one = FakeEngine(answer=lambda _, __: [Score(0.01, Tier.DIRECT, unjudged="no_verdict")])
    rule = replace(text_rule("a", "one", "two", refuse=0.5, on_error=OnError.FORWARD), pass_below={"one": 0.5})
    (verdict,) = (await screen([rule], user("hi"), one=one, two=FakeEngine({"a": 0.9}))).verdicts
    assert (verdict.score, verdict.action) == (0.9, Action.REFUSE)
    assert [e.step for e in verdict.earlier] == [Step.FAILED]


async def test_a_guard_that_raises_is_told_of_in_the_log() -> None:
    with capture_logs() as lines:
        await screen([text_rule("a", refuse=0.5)], user("hi"), broken(RuntimeError("boom")))
    (line,) = lines
    assert line["event"] == "guard_broke"
    assert (line["log_level"], line["error"]) == ("error", "RuntimeError")
    assert line["guard"] == text_rule("a").guards[0]


@pytest.mark.parametrize(
    "said", [[NAN], [1.5], [-0.1], [EngineTimeout()], [], RuntimeError("broken")], ids=["nan", "above", "below", "late", "none", "raises"]
)  # fmt: skip
@pytest.mark.parametrize("on_error", list(OnError))
async def test_what_the_first_guard_could_not_judge_never_passes_by_it(said: Any, on_error: OnError) -> None:
    def answer(*_: Any) -> list[Score | EngineError]:
        if isinstance(said, Exception):
            raise said
        return [scored(line) for line in said]

    rule = replace(text_rule("a", "one", "two", refuse=0.5, on_error=on_error), pass_below={"one": 0.5})
    for second in (0.9, EngineTimeout()):
        decision = await screen([rule], user("hi"), one=FakeEngine(answer=answer), two=FakeEngine({"a": second}))
        (verdict,) = decision.verdicts
        assert [e.step for e in verdict.earlier] == [Step.FAILED]
        assert verdict.earlier[0].error
        assert (verdict.score, verdict.error) == ((0.9, None) if second == 0.9 else (None, "timeout"))
        assert decision.action.word == ("refuse" if second == 0.9 else on_error.value)


async def test_a_measured_limit_that_is_no_number_passes_nothing() -> None:
    one = FakeEngine(answer=lambda _, __: [Score(0.0, Tier.ENCODER, pass_below=NAN)])
    two = FakeEngine()
    await screen([text_rule("a", "one", "two", refuse=0.5)], user("hi"), one=one, two=two)
    assert len(two.calls) == 1


async def test_of_three_guards_each_passes_by_its_own_limit_and_the_last_decides() -> None:
    engines = {"one": FakeEngine({"a": 0.1}), "two": FakeEngine({"a": 0.1}), "three": FakeEngine({"a": 0.0})}
    rule = replace(text_rule("a", *engines, refuse=0.5), pass_below={"one": 0.1, "two": 0.2})
    (verdict,) = (await screen([rule], user("hi"), **engines)).verdicts
    assert [(e.guard, e.step) for e in verdict.earlier] == [("one", Step.ESCALATED), ("two", Step.PASSED)]
    assert engines["three"].calls == []


async def test_only_the_policies_in_doubt_go_on() -> None:
    one, two = FakeEngine({"a": 0.0, "b": 0.9, "c": 0.0}), FakeEngine({"b": 0.1})
    rules = [text_rule(n, "one", "two", refuse=0.5) for n in "abc"]
    await screen(rules, user("hi"), one=one, two=two)
    assert [call.policies for call in two.calls] == [["b"]]


async def test_with_a_threshold_of_0_nothing_passes_early() -> None:
    one, two = FakeEngine({"a": 0.0}), FakeEngine({"a": 0.0})
    await screen([text_rule("a", "one", "two", refuse=0.0)], user("hi"), one=one, two=two)
    assert len(two.calls) == 1


# ---------------------------------------------------------------------- detectors


async def test_a_detector_that_refuses_spares_the_guards() -> None:
    engine = FakeEngine()
    rules = [text_rule("a", refuse=0.5), word_rule("w", "MARK", refuse=0.5)]
    decision = await screen(rules, user("a MARK here"), engine)
    assert engine.calls == []
    assert (decision.action, decision.policies) == (Action.REFUSE, ("w",))
    skipped, found = decision.verdicts
    assert (skipped.score, skipped.error) == (None, None)
    assert (found.score, found.tier) == (1.0, Tier.DETECTOR)


@pytest.mark.parametrize("rule", [word_rule("w", "MARK", flag=0.5), word_rule("w", "MARK", rewrite=0.5), word_rule("w", "no", refuse=0.5)])  # fmt: skip
async def test_a_detector_that_does_not_refuse_does_not(rule: Rule) -> None:
    engine = FakeEngine()
    await screen([rule, text_rule("a", refuse=0.5)], user("a MARK here"), engine)
    assert len(engine.calls) == 1


@pytest.mark.parametrize("on_error", list(OnError))
async def test_a_detector_that_dies_is_a_failed_verdict(on_error: OnError) -> None:
    decision = await screen([word_rule("w", "x", refuse=0.5, broken=True, on_error=on_error)], user("hi"))
    (verdict,) = decision.verdicts
    assert (verdict.score, verdict.error) == (None, "detector_RuntimeError")
    assert decision.action.word == on_error.value
    assert decision.cause is (Cause.UNDECIDED if on_error is OnError.REFUSE else None)


@pytest.mark.parametrize("n_chars", [1, LARGE_CHARS], ids=["small", "large"])
@pytest.mark.parametrize("on_error", list(OnError))
async def test_a_detector_that_is_out_of_time_has_failed_and_passed_nothing(
    monkeypatch: pytest.MonkeyPatch, on_error: OnError, n_chars: int
) -> None:
    monkeypatch.setattr("rules.screen.DETECT_TIMEOUT_S", -1.0)
    decision = await screen([word_rule("w", "x", flag=0.5, on_error=on_error)], user("a" * n_chars, "b"))
    (verdict,) = decision.verdicts
    assert (verdict.score, verdict.error, verdict.tier) == (None, "detector_timeout", Tier.DETECTOR)
    assert decision.action.word == on_error.value
    assert decision.cause is (Cause.UNDECIDED if on_error is OnError.REFUSE else None)


def test_a_detector_asks_before_each_text_and_each_reading_of_them_joined_whether_to_go_on() -> None:
    read: list[str] = []
    patience = Patience()

    class Reads:
        def find(self, text: str) -> list[Span]:
            read.append(text)
            patience.is_over = len(read) == stops_after
            return []

    rule = Rule(Policy("w", "rev", detector=Reads()), (), {Action.FLAG: 0.5})
    for stops_after in (1, 2):
        read.clear()
        patience.is_over = False
        assert detect(rule, user("a", "b"), patience).error == "detector_timeout"
        assert read == ["a", "b"][:stops_after]


@pytest.mark.parametrize(("action", "score"), [(Action.REFUSE, 1.0), (Action.REWRITE, None), (Action.FLAG, None)])
def test_what_a_detector_found_before_it_failed_counts_if_it_refuses(action: Action, score: float | None) -> None:
    patience = Patience()

    class Finds:
        def find(self, text: str) -> list[Span]:
            patience.is_over = True
            return [Span(0, 1, "x")]

    verdict = detect(Rule(Policy("w", "rev", detector=Finds()), (), {action: 0.5}), user("a", "b"), patience)
    assert (verdict.score, verdict.error) == (score, None if score else "detector_timeout")


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(user("MA", "RK"), id="two-messages"),
        pytest.param(Content((leaf("MA"), leaf("ok", surface=ASSISTANT), leaf("RK"))), id="another-turn-between"),
        pytest.param(Content((leaf("MA", surface=Surface.SYSTEM), leaf("RK"))), id="system-and-user"),
        pytest.param(Content((leaf("MA", surface=Surface.SYSTEM), leaf("bob", surface=Surface.METADATA), leaf("RK"))), id="a-name-between"),
        pytest.param(user(*"MARK"), id="one-letter-each"),
        pytest.param(Content((leaf("k", kind=LeafKind.KEY), leaf("MA"), leaf("l", kind=LeafKind.KEY), leaf("RK"))), id="keys-between"),
    ],
)  # fmt: skip
async def test_split_text_is_found_by_reading_it_joined(content: Content) -> None:
    decision = await screen([word_rule("w", "MARK", refuse=0.5)], content)
    assert decision.action is Action.REFUSE
    pieces = [content.leaves[f.leaf].text[f.span.start : f.span.end] for f in decision.verdicts[0].findings]
    assert "MARK" in "".join(pieces)


async def test_split_text_is_not_looked_for_where_the_policy_does_not_join() -> None:
    decision = await screen([word_rule("w", "MARK", refuse=0.5, joins=False)], user("MA", "RK"))
    assert decision.action is Action.FORWARD


async def test_a_detector_reads_its_scope_only_also_joined() -> None:
    rule = word_rule("w", "MARK", refuse=0.5, scope=frozenset({USER}))
    outside = Content((leaf("MA"), leaf("RK", surface=ASSISTANT), leaf("MARK", surface=ASSISTANT)))
    assert (await screen([rule], outside)).action is Action.FORWARD
    inside = Content((leaf("MA"), leaf("x", surface=ASSISTANT), leaf("RK")))
    assert (await screen([rule], inside)).action is Action.REFUSE


async def test_a_content_with_too_much_to_decode_is_undecided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rules.detectors.escapes.MAX_ESCAPES", 1)
    patterns = Policy("w", "rev", detector=PatternDetector(["MARK"]))
    rules = [Rule(patterns, (), {Action.FLAG: 0.5}, on_error=OnError.FLAG), text_rule("a", refuse=0.5)]
    engine = FakeEngine()
    decision = await screen(rules, user("b%6fm%62"), engine)
    assert [v.error for v in decision.verdicts] == ["too_much_to_decode"] * 2
    assert (decision.action, decision.cause, engine.calls) == (Action.REFUSE, Cause.UNDECIDED, [])


async def test_a_guard_is_shown_what_an_encoded_text_says() -> None:
    engine = FakeEngine()
    await screen([text_rule("a", refuse=0.5)], user("Do b%6fm"), engine)
    await screen([text_rule("a", refuse=0.5)], user("x" * 100_000 + " b%6fm"), engine)
    assert engine.calls[0].texts == ["Do b%6fm", "Do bom"]
    assert engine.calls[1].texts[1].endswith(" bom")


@pytest.mark.parametrize("kind", list(LeafKind))
async def test_keys_and_decoded_readings_are_read_too(kind: LeafKind) -> None:
    decision = await screen([word_rule("w", "MARK", refuse=0.5)], Content((leaf("a MARK", kind=kind),)))
    assert decision.action is Action.REFUSE


async def test_a_match_within_one_leaf_is_found_once() -> None:
    decision = await screen([word_rule("w", "MARK", rewrite=0.5)], user("MARK", "x", "y"))
    assert len(decision.verdicts[0].findings) == 1


# ---------------------------------------------------------------------- modes and opaque parts


async def test_rules_in_shadow_are_judged_apart_and_only_there() -> None:
    engine = FakeEngine({"shadow": 1.0})
    rules = screener(
        [text_rule("shadow", refuse=0.5, mode=Mode.SHADOW), word_rule("w", "MARK", refuse=0.5, mode=Mode.SHADOW)],
        {"guard": engine},
    )
    decision = await rules.screen(user("no mark"))
    assert (decision.action, decision.verdicts, engine.calls) == (Action.FORWARD, (), [])
    assert rules.has_shadow
    assert [v.score for v in await rules.shadow(user("no mark"))] == [1.0, 0.0]


async def test_rules_that_are_off_are_never_asked() -> None:
    engine = FakeEngine({"off": 1.0})
    rules = screener([text_rule("off", refuse=0.5, mode=Mode.OFF)], {"guard": engine})
    assert (await rules.screen(user("hi"))).verdicts == ()
    assert await rules.shadow(user("hi")) == []
    assert (rules.has_shadow, engine.calls) == (False, [])


@pytest.mark.parametrize("on_opaque", list(OnError))
async def test_opaque_parts_count_as_the_route_says(on_opaque: OnError) -> None:
    content = Content((leaf("hi"),), (("messages", 0, "content", 1),))
    decision = await screener([], on_opaque=on_opaque).screen(content)
    assert decision.action.word == on_opaque.value
    assert decision.unjudged == (() if on_opaque is OnError.REFUSE else ("opaque:messages.0.content.1",))


def stream_window(before: str, text: str) -> Content:
    return Content((Leaf(("choices", 0, "message", "content"), Surface.ASSISTANT, text, before=before),))


async def test_a_guard_that_reads_on_is_given_a_stream_from_its_start_and_others_its_last_part_as_context() -> None:
    engines = {"reads-on": FakeEngine(is_incremental=True), "forgets": FakeEngine()}
    rules = [text_rule("a", "reads-on", refuse=0.5), text_rule("b", "forgets", refuse=0.5)]
    content = stream_window("x" * 3000 + " so far", " and on")
    await screener(rules, engines).screen(content, [Passage("user", "Go.", context=True)])
    (reads_on,), (forgets,) = (engine.calls for engine in engines.values())
    assert [(p.text, p.context) for p in reads_on.passages] == [("Go.", True), ("x" * 3000 + " so far and on", False)]
    assert [(p.text, p.context) for p in forgets.passages] == [
        ("Go.", True), ("x" * (CONTEXT_CHARS - 7) + " so far", True), (" and on", False),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("rules", "before_chars"),
    [
        pytest.param([word_rule("w", "x", refuse=0.5)], 0, id="detectors-read-nothing-twice"),
        pytest.param([text_rule("a", "forgets", refuse=0.5)], CONTEXT_CHARS, id="the-last-part"),
        pytest.param([text_rule("a", "forgets", "reads-on", refuse=0.5)], None, id="all"),
        pytest.param([text_rule("a", "reads-on", refuse=0.5, mode=Mode.SHADOW)], None, id="all-for-the-shadow"),
        pytest.param([text_rule("a", "reads-on", refuse=0.5, mode=Mode.OFF)], 0, id="nothing-for-what-is-off"),
    ],
)
def test_a_stream_is_kept_as_far_back_as_its_guards_read(rules: list[Rule], before_chars: int | None) -> None:
    engines = {"reads-on": FakeEngine(is_incremental=True), "forgets": FakeEngine()}
    assert screener(rules, engines).before_chars == before_chars


async def test_in_a_cascade_each_guard_reads_a_stream_in_its_own_manner() -> None:
    engines = {"first": FakeEngine({"a": 0.9}), "last": FakeEngine({"a": 0.1}, is_incremental=True)}
    await screener([text_rule("a", "first", "last", refuse=0.5)], engines).screen(stream_window("so far", " and on"))
    assert [[p.text for p in engine.calls[0].passages] for engine in engines.values()] == [
        ["so far", " and on"],
        ["so far and on"],
    ]


async def test_what_stands_before_is_nothing_that_a_detector_reads_again() -> None:
    decision = await screener([word_rule("w", "APPLE", refuse=0.5)], {}).screen(stream_window("APPLE", " pie"))
    assert decision.action is Action.FORWARD

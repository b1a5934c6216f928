"""From verdicts to one action."""

from __future__ import annotations

import itertools

import pytest

from rules.decision import OPAQUE, Cause, Decision, Verdict, decide, united
from rules.rule import Action, Mode, OnError, Stage
from tests.fakes import text_rule

FORWARD, FLAG, REWRITE, REFUSE = Action.FORWARD, Action.FLAG, Action.REWRITE, Action.REFUSE


def says(name: str, score: float | None = None, *, error: str | None = None, **rule: object) -> Verdict:
    """A verdict of a rule that flags at 0.5 and refuses at 0.9."""
    return Verdict(text_rule(name, **{"flag": 0.5, "refuse": 0.9, **rule}), score, error)  # type: ignore[arg-type]  # options of the rule


CLEAN, FLAGGED, REFUSED = says("clean", 0.1), says("flagged", 0.6), says("refused", 0.95)
FAILED = says("failed", error="timeout")
FAILED_FLAG = says("failed-flag", error="timeout", on_error=OnError.FLAG)
FAILED_FORWARD = says("failed-forward", error="timeout", on_error=OnError.FORWARD)
SKIPPED = says("skipped")
SHADOW = says("shadow", 1.0, mode=Mode.SHADOW)
SHADOW_FAILED = says("shadow", error="timeout", mode=Mode.SHADOW)


@pytest.mark.parametrize(
    ("verdicts", "action", "cause", "policies", "unjudged"),
    [
        pytest.param([], FORWARD, None, (), (), id="no-rules"),
        pytest.param([CLEAN], FORWARD, None, (), (), id="clean"),
        pytest.param([CLEAN, FLAGGED], FLAG, None, ("flagged",), (), id="flagged"),
        pytest.param([CLEAN, FLAGGED, REFUSED], REFUSE, Cause.VIOLATION, ("refused",), (), id="gravest-wins"),
        pytest.param([FLAGGED, says("two", 0.5)], FLAG, None, ("flagged", "two"), (), id="all-that-asked-are-named"),
        pytest.param([REFUSED, REFUSED], REFUSE, Cause.VIOLATION, ("refused",), (), id="a-name-stands-once"),
        pytest.param([CLEAN, FAILED], REFUSE, Cause.UNDECIDED, ("failed",), (), id="failure-refuses-as-undecided"),
        pytest.param([FLAGGED, FAILED], REFUSE, Cause.UNDECIDED, ("failed",), (), id="failure-is-graver-than-a-flag"),
        pytest.param([FAILED, REFUSED], REFUSE, Cause.VIOLATION, ("refused",), (), id="violation-outranks-failure"),
        pytest.param([CLEAN, FAILED_FLAG], FLAG, None, ("failed-flag",), ("policy:failed-flag",), id="on-error-flag"),
        pytest.param([FLAGGED, FAILED_FLAG], FLAG, None, ("flagged",), ("policy:failed-flag",), id="flag-and-failed-flag"),
        pytest.param([FAILED_FORWARD], FORWARD, None, (), ("policy:failed-forward",), id="on-error-forward-is-counted"),
        pytest.param([REFUSED, FAILED_FORWARD], REFUSE, Cause.VIOLATION, ("refused",), (), id="nothing-crosses-unjudged-on-a-refusal"),
        pytest.param([FAILED_FORWARD, FAILED], REFUSE, Cause.UNDECIDED, ("failed",), (), id="undecided-with-another-failure"),
        pytest.param([REFUSED, SKIPPED], REFUSE, Cause.VIOLATION, ("refused",), (), id="skipped-is-no-failure"),
        pytest.param([SHADOW, CLEAN], FORWARD, None, (), (), id="shadow-does-not-count"),
        pytest.param([SHADOW_FAILED], FORWARD, None, (), (), id="failed-shadow-does-not-count"),
        pytest.param([says("edge", 0.9)], REFUSE, Cause.VIOLATION, ("edge",), (), id="the-threshold-itself-violates"),
        pytest.param([says("edge", 0.8999)], FLAG, None, ("edge",), (), id="just-under-the-threshold"),
        pytest.param([says("always", 0.0, refuse=0.0)], REFUSE, Cause.VIOLATION, ("always",), (), id="threshold-0"),
        pytest.param([says("sure", 1.0, flag=None, refuse=1.0)], REFUSE, Cause.VIOLATION, ("sure",), (), id="threshold-1"),
        pytest.param([says("odd", 0.95, flag=0.9, refuse=0.5)], REFUSE, Cause.VIOLATION, ("odd",), (), id="thresholds-in-any-order"),
    ],
)  # fmt: skip
def test_a_vector_of_verdicts_is_one_action(
    verdicts: list[Verdict], action: Action, cause: Cause | None, policies: tuple[str, ...], unjudged: tuple[str, ...]
) -> None:
    decision = decide(Stage.INPUT, verdicts)
    assert (decision.action, decision.cause, decision.policies) == (action, cause, policies)
    assert decision.unjudged == unjudged
    assert decision.verdicts == tuple(verdicts)


def test_the_order_of_verdicts_does_not_matter() -> None:
    pool = [CLEAN, FLAGGED, REFUSED, FAILED, FAILED_FORWARD, SHADOW]

    def essence(decision: Decision) -> tuple[object, ...]:
        return decision.action, decision.cause, frozenset(decision.policies), frozenset(decision.unjudged)

    for size in range(1, 4):
        for chosen in itertools.combinations(pool, size):
            assert len({essence(decide(Stage.INPUT, order)) for order in itertools.permutations(chosen)}) == 1


@pytest.mark.parametrize(
    ("on_opaque", "verdicts", "action", "cause", "policies", "unjudged"),
    [
        pytest.param(OnError.REFUSE, [CLEAN], REFUSE, Cause.VIOLATION, (OPAQUE,), 0, id="refuse"),
        pytest.param(OnError.FLAG, [CLEAN], FLAG, None, (OPAQUE,), 2, id="flag"),
        pytest.param(OnError.FORWARD, [CLEAN], FORWARD, None, (), 2, id="forward-is-counted"),
        pytest.param(OnError.FORWARD, [REFUSED], REFUSE, Cause.VIOLATION, ("refused",), 0, id="refused-by-a-rule"),
        pytest.param(OnError.FLAG, [FLAGGED, FAILED_FLAG], FLAG, None, ("flagged", OPAQUE), 3, id="with-a-failure"),
        pytest.param(OnError.REFUSE, [FAILED], REFUSE, Cause.VIOLATION, (OPAQUE,), 0, id="outranks-a-failure"),
        pytest.param(OnError.FORWARD, [], FORWARD, None, (), 2, id="without-rules"),
    ],
)
def test_parts_that_no_guard_can_read_count_as_the_route_says(
    on_opaque: OnError,
    verdicts: list[Verdict],
    action: Action,
    cause: Cause | None,
    policies: tuple[str, ...],
    unjudged: int,
) -> None:
    parts = (("messages", 0, "content", 1), ("messages", 2, "content", 0))
    decision = decide(Stage.INPUT, verdicts, parts, on_opaque)
    assert (decision.action, decision.cause, decision.policies) == (action, cause, policies)
    assert len(decision.unjudged) == unjudged


def test_what_a_sender_chose_is_not_among_what_is_unjudged_and_every_part_counts() -> None:
    parts = [("input", 0, key) for key in ("patient Jane Roe", "patient John Roe", "result")]
    first = decide(Stage.INPUT, [FAILED_FLAG], parts, OnError.FLAG)
    assert first.unjudged == ("opaque:input.0.*", "opaque:input.0.*", "opaque:input.0.result", "policy:failed-flag")
    assert "Roe" not in repr(first)
    second = decide(Stage.INPUT, [FAILED_FORWARD], parts[1:], OnError.FLAG)
    assert united(first.unjudged, second.unjudged) == (*first.unjudged, "policy:failed-forward")
    assert united(second.unjudged, first.unjudged).count("opaque:input.0.*") == 2


def test_content_that_is_not_opaque_asks_for_nothing() -> None:
    assert decide(Stage.INPUT, [CLEAN], (), OnError.REFUSE).action is FORWARD


def test_the_deciding_policy_says_what_the_client_is_told() -> None:
    quiet, loud = says("quiet", 0.95), says("loud", 0.95, refusal_text="Not here.")
    assert decide(Stage.INPUT, [quiet, loud]).refusal_text == "Not here."
    assert decide(Stage.INPUT, [quiet]).refusal_text is None


def test_a_policy_that_did_not_decide_says_nothing() -> None:
    flagged = says("flagged", 0.6, refusal_text="Flagged.")
    failed = says("failed", error="timeout", refusal_text="Failed.")
    assert decide(Stage.INPUT, [flagged, REFUSED]).refusal_text is None
    assert decide(Stage.INPUT, [failed]).refusal_text is None
    assert decide(Stage.INPUT, [failed, REFUSED]).refusal_text is None


def test_a_rationale_is_not_shown() -> None:
    assert "because" not in repr(Verdict(CLEAN.rule, 0.5, rationale="because"))


def test_the_words_of_actions_are_those_of_headers_and_records() -> None:
    assert [a.word for a in sorted(Action)] == ["forward", "flag", "rewrite", "refuse"]

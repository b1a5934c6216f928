"""What is counted of scores, and what other thresholds would have changed."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.console.judged import Change, Where, histogram, judged, what_if
from rules.rule import Action
from tests.proxy.console.shop import record, verdict

RULE = Where("rival-fruit", "fruit-shop", "input", is_shadow=False)
SHADOW = Where("rival-fruit", "fruit-shop", "input", is_shadow=True)
NOW = {Action.FLAG: 0.5, Action.REFUSE: 0.8}
_WORDS = {a.word: a for a in Action}


def asked(score: float) -> str:
    return "refuse" if score >= 0.8 else "flag" if score >= 0.5 else "forward"


def decided(n: int, score: float, *others: dict[str, Any], **more: Any) -> Any:
    """A decision that a score and others' verdicts have led to."""
    verdicts = [verdict("rival-fruit", asked(score), score), *others]
    action = max((_WORDS[v["outcome"]] for v in verdicts if v["outcome"] in _WORDS), default=Action.FORWARD).word
    return judged(record(n, **{"action": action, "verdicts": verdicts, **more}))


def ids(changes: Any) -> dict[tuple[str, str], list[int]]:
    """The changes by what was and what would be, decisions by their scores' places."""
    known = {record(n)["decision_id"]: n for n in range(20)}
    return {(c.before.word, c.after.word): [known[i] for i in c.decision_ids] for c in changes}


def test_the_same_thresholds_change_nothing() -> None:
    decisions = [decided(n, n / 10) for n in range(11)]
    found = what_if(RULE, NOW, decisions)
    assert (found.changes, found.n, found.left_out) == ([], 11, 0)


def test_other_thresholds_refuse_flag_and_release_what_lies_between() -> None:
    decisions = [decided(n, n / 10) for n in range(11)]
    assert ids(what_if(RULE, {Action.FLAG: 0.3, Action.REFUSE: 0.6}, decisions).changes) == {
        ("flag", "refuse"): [6, 7],
        ("forward", "flag"): [3, 4],
    }
    assert ids(what_if(RULE, {Action.FLAG: 0.7, Action.REFUSE: 1.0}, decisions).changes) == {
        ("refuse", "flag"): [8, 9],
        ("flag", "forward"): [5, 6],
    }


def test_a_threshold_is_reached_by_the_score_that_it_is() -> None:
    assert ids(what_if(RULE, {Action.REFUSE: 0.3}, [decided(1, 0.3), decided(2, 0.299)]).changes) == {
        ("forward", "refuse"): [1]
    }


def test_what_another_policy_refuses_stays_refused() -> None:
    other = verdict("secrets", "refuse", 1.0)
    assert what_if(RULE, {Action.REFUSE: 1.0}, [decided(1, 0.9, other)]).changes == []


def test_a_rule_in_shadow_is_asked_by_itself_and_changes_no_decision() -> None:
    shadow = verdict("rival-fruit", "forward", 0.4, mode="shadow")
    decision = judged(record(1, action="refuse", verdicts=[verdict("secrets", "refuse", 1.0)], shadow=[shadow]))
    assert ids(what_if(SHADOW, {Action.REFUSE: 0.3}, [decision]).changes) == {("forward", "refuse"): [1]}
    assert what_if(RULE, {Action.REFUSE: 0.3}, [decision]).n == 0


@pytest.mark.parametrize(
    "more",
    [
        pytest.param(
            {"verdicts": [verdict("rival-fruit", "error", None)], "action": "refuse"}, id="its-verdict-failed"
        ),
        pytest.param(
            {"verdicts": [verdict("rival-fruit", "flag", 0.6), verdict("b", "error", None)], "action": "refuse"},
            id="anothers-verdict-failed",
        ),
        pytest.param({"unjudged": ["opaque:messages.0"]}, id="unjudged"),
        pytest.param({"state": "cut"}, id="cut"),
        pytest.param({"action": "refuse"}, id="refused-for-another-reason"),
        pytest.param({"stricter": True}, id="the-client-wanted-more"),
        pytest.param({"endpoint": "/v1/moderations"}, id="decides-nothing"),
        pytest.param(
            {"verdicts": [verdict("rival-fruit", "forward", 0.1, ruling="overturned")]}, id="a-reviewer-decided"
        ),
        pytest.param({"verdicts": [verdict("rival-fruit", "forward", 0.9, excepted="3")]}, id="an-exception"),
    ],
)
def test_what_does_not_follow_from_scores_is_left_out_and_counted(more: dict[str, Any]) -> None:
    found = what_if(RULE, {Action.REFUSE: 0.0}, [decided(1, 0.1, **more)])
    assert (found.changes, found.n, found.left_out) == ([], 0, 1)


def test_scores_that_the_rule_would_not_give_now_are_not_its_own() -> None:
    rule = Where("rival-fruit", "fruit-shop", "input", is_shadow=False, basis="now")
    bases = ["now", "before", ""]
    decisions = [
        judged(record(n, verdicts=[verdict("rival-fruit", "forward", 0.1, basis=b)])) for n, b in enumerate(bases)
    ]
    found = histogram(rule, decisions)
    assert (found.n, found.earlier) == (2, 1)
    assert ids(what_if(rule, {Action.REFUSE: 0.1}, decisions).changes) == {("forward", "refuse"): [0, 2]}


def test_other_routes_and_stages_are_other_rules() -> None:
    elsewhere = [decided(1, 0.9, route="music-desk"), decided(2, 0.9, stage="output"), judged(record(3, verdicts=[]))]
    assert what_if(RULE, {}, elsewhere).n == 0
    assert histogram(RULE, elsewhere).n == 0


def test_released_by_taking_its_thresholds_away() -> None:
    assert what_if(RULE, {}, [decided(1, 0.9)]).changes == [
        Change(Action.REFUSE, Action.FORWARD, [record(1)["decision_id"]])
    ]


def test_scores_are_counted_in_bins_that_hold_both_ends() -> None:
    scores = [0.0, 0.049, 0.05, 0.5, 0.999, 1.0]
    verdicts = [verdict("rival-fruit", "forward", s, calibrated=s != 0.5) for s in scores]
    decisions = [judged(record(n, verdicts=[v])) for n, v in enumerate(verdicts)]
    decisions += [judged(record(9, verdicts=[verdict("rival-fruit", "error", None)]))]
    decisions += [judged(record(10, verdicts=[verdict("rival-fruit", "skipped", None)]))]
    found = histogram(RULE, decisions)
    assert [(i, n) for i, n in enumerate(found.counts) if n] == [(0, 2), (1, 1), (10, 1), (19, 2)]
    assert (found.n, found.failed, found.uncalibrated) == (6, 1, 1)


def test_records_of_faults_and_of_earlier_versions_are_read() -> None:
    bare = {"seq": 1, "decision_id": "a-input", "stage": "input", "time": "2026-01-01T00:00:00.000000Z"}
    assert judged(bare).action is None
    assert judged({**bare, "action": "refuse", "cause": "fault", "state": "decided"}).can_be_decided_again is False

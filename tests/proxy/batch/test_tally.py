"""What records come to."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.batch.tally import Tally


def record(action: str, *verdicts: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"row": 1, "action": action, "verdicts": list(verdicts), **more}


def verdict(policy: str, outcome: str, mode: str = "enforce", **more: Any) -> dict[str, Any]:
    return {"policy": policy, "outcome": outcome, "mode": mode, **more}


PASSES = record("forward", verdict("p", "forward"))
FLAGS = record("flag", verdict("p", "flag"))
FAILS = record("refuse", verdict("p", "error", error="timeout"), cause="undecided")
MAY_FAIL = record("forward", verdict("p", "error", error="timeout"))
FAILS_AND_REFUSES = record("refuse", verdict("p", "error", error="timeout"), verdict("q", "refuse"), cause="violation")
BAD = {"row": 1, "action": "forward", "cause": "undecided", "problem": "is not JSON", "line": 3}


@pytest.mark.parametrize(
    ("records", "exit_code"),
    [
        pytest.param([], 0, id="nothing"),
        pytest.param([PASSES], 0, id="passes"),
        pytest.param([PASSES, FLAGS], 1, id="found"),
        pytest.param([PASSES, FAILS], 2, id="undecided"),
        pytest.param([FAILS, FLAGS], 1, id="found-and-undecided"),
        pytest.param([FAILS_AND_REFUSES], 1, id="refused-all-the-same"),
        pytest.param([MAY_FAIL], 0, id="the-rule-lets-errors-pass"),
        pytest.param([BAD], 2, id="bad-row"),
    ],
)
def test_the_exit_code_is_that_of_check(records: list[dict[str, Any]], exit_code: int) -> None:
    tally = Tally()
    for entry in records:
        tally.add(entry)
    assert tally.exit_code == exit_code


def test_the_summary_counts_rows_policies_and_errors() -> None:
    tally = Tally()
    shadow = record("forward", verdict("p", "forward"), verdict("s", "refuse", mode="shadow"))
    for entry in [PASSES, FLAGS, FAILS, FAILS_AND_REFUSES, BAD, shadow]:
        tally.add(entry)
    assert tally.summary() == {
        "rows": 6,
        "actions": {"forward": 3, "flag": 1, "rewrite": 0, "refuse": 2},
        "found": 2,
        "undecided": 2,
        "policies": {"p": {"error": 2, "flag": 1}, "q": {"refuse": 1}},
        "errors": {"bad_row": 1, "timeout": 2},
    }

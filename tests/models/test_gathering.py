"""Several windows of one content, and what counts of them."""

from __future__ import annotations

import pytest

from models.engine import Score, Tier
from models.errors import GuardRefused
from models.gathering import Finding, Part

LONG, SHORT = "word " * 1500, "It is fine, nothing of the kind."


def entry(*verdicts: Finding | GuardRefused) -> object:
    part = Part(0, len(verdicts), 100)
    assert [part.note(verdict) for verdict in verdicts] == [*[False] * (len(verdicts) - 1), True]
    return part.entry(1.0)


def direct(margin: float) -> Finding:
    return Finding.read(margin, None, 0, cut=False)


def thought(margin: float, trace: str) -> Finding:
    return Finding.read(margin, trace, len(trace) // 5, cut=False)


def test_a_window_that_was_long_doubted_is_not_hidden_by_one_that_is_surely_safe() -> None:
    doubtful, safe = thought(-9.0, LONG), direct(-5.0)
    for order in ((doubtful, safe), (safe, doubtful)):
        found = entry(*order)
        assert isinstance(found, Score)
        assert (found.tier, found.evidence) == (Tier.REASONED, doubtful.evidence)


def test_of_two_violating_windows_the_surer_one_counts() -> None:
    sure, doubtful = direct(2.7), thought(12.0, LONG)
    found = entry(doubtful, sure)
    assert isinstance(found, Score)
    assert found.tier is Tier.DIRECT


@pytest.mark.parametrize("failed_last", [False, True])
def test_a_window_without_verdict_is_told_of(failed_last: bool) -> None:
    failure = GuardRefused("no")
    for margin in (-3.0, -0.01):
        assert entry(*((direct(margin), failure) if failed_last else (failure, direct(margin)))) is failure
    found = entry(*((direct(3.0), failure) if failed_last else (failure, direct(3.0))))
    assert isinstance(found, Score)
    assert found.unjudged == GuardRefused.code
    assert entry(failure) is failure


def test_a_trace_that_was_cut_gets_no_credit_for_being_short() -> None:
    cut = Finding.read(-9.0, SHORT, 6, cut=True)
    assert cut.evidence.cut
    whole = Finding.read(-9.0, SHORT, 6, cut=False)
    assert (
        cut.counts == whole.counts >= cut.said
    )  # it would have been longer: as much doubt as its length so far, at least
    found = Finding.read(9.0, SHORT, 6, cut=True)
    assert found.counts == found.said

"""The exceptions in memory."""

from __future__ import annotations

from dataclasses import replace

import pytest

from proxy.review.exemptions import STALE_S, Exemptions
from proxy.review.item import Exemption
from rules.policy import Policy
from tests.proxy.review.things import DAY_US, START_US, Clock

FRUIT = Policy("fruit", "rev-1", text="About fruit.")
MADE = Exemption(3, "fruit", "print", "rev-1", START_US, START_US + DAY_US, "kim", "", None, None, None)


@pytest.fixture
def seconds() -> list[float]:
    return [0.0]


@pytest.fixture
def exemptions(clock: Clock, seconds: list[float]) -> Exemptions:
    exemptions = Exemptions(clock, monotonic=lambda: seconds[0])
    exemptions.take([MADE])
    return exemptions


def test_what_is_listed_is_found_by_policy_and_fingerprint(exemptions: Exemptions) -> None:
    assert exemptions.find(FRUIT, "print") == "3"
    assert exemptions.find(FRUIT, "another") is None
    assert exemptions.find(replace(FRUIT, name="music"), "print") is None


def test_an_expired_one_does_nothing(exemptions: Exemptions, clock: Clock) -> None:
    clock.advance(days=1, seconds=-1)
    assert exemptions.find(FRUIT, "print") == "3"
    clock.advance(seconds=1)
    assert exemptions.find(FRUIT, "print") is None


def test_a_policy_that_has_changed_is_asked_anew(exemptions: Exemptions) -> None:
    changed = replace(FRUIT, revision="rev-2")
    assert exemptions.find(changed, "print") is None
    exemptions.take([MADE, replace(MADE, id=4, revision=None)])
    assert exemptions.find(changed, "print") == "4"


def test_one_that_is_not_listed_any_more_does_nothing(exemptions: Exemptions) -> None:
    exemptions.take([])
    assert exemptions.find(FRUIT, "print") is None


def test_when_the_queue_cannot_be_read_for_long_nothing_is_excepted(
    exemptions: Exemptions, seconds: list[float]
) -> None:
    seconds[0] = STALE_S
    assert exemptions.find(FRUIT, "print") == "3"
    seconds[0] += 0.1
    assert exemptions.find(FRUIT, "print") is None
    exemptions.still_fresh()
    assert exemptions.find(FRUIT, "print") == "3"

"""What is said of a firm decides, and of which."""

from __future__ import annotations

import random

import pytest

from tools.train_guard import stance_pairs
from tools.train_guard.stance_pairs import FIRMS, KEPT_FIRMS, make_pairs


def test_pairs_are_the_same_for_a_seed_and_none_has_two_labels() -> None:
    pairs = make_pairs(random.Random(1), 4000, validation=False)
    assert pairs == make_pairs(random.Random(1), 4000, validation=False)
    labels: dict[tuple[str, str], int] = {}
    for policy, text, label in pairs:
        assert labels.setdefault((policy, text), label) == label, (policy, text)
    assert 0.25 < sum(labels.values()) / len(labels) < 0.5


def test_a_violation_names_a_firm_of_its_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stance_pairs, "vary", lambda text, rng: text)
    for policy, text, label in make_pairs(random.Random(2), 2000, validation=False):
        about = {firm for firm in FIRMS if firm in policy}
        named = {firm for firm in FIRMS if firm.lower() in text.lower()}
        assert not label or about & named, (policy, text)


def test_no_firm_of_validation_is_trained_on() -> None:
    assert not {*FIRMS} & {*KEPT_FIRMS}
    for validation, others in ((False, KEPT_FIRMS), (True, FIRMS)):
        text = repr(make_pairs(random.Random(3), 2000, validation=validation))
        assert not any(firm in text for firm in others)

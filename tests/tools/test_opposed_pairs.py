"""Which side a policy takes decides, not what it is about."""

from __future__ import annotations

import random

import pytest

from tools.train_guard import opposed_pairs
from tools.train_guard.opposed_pairs import FORBIDS_AGAINST, FORBIDS_FOR, FORBIDS_IT, make_pairs, policy
from tools.train_guard.opposed_phrases import CATEGORY_AGAINST, CATEGORY_SUBJECTS, KEPT_SUBJECTS, SUBJECTS

CONTENTS = [
    ("a stand-in for an explicit story", {"sexual": 1, "any": 1}),
    ("a stand-in for cursing", {"profanity": 1, "any": 0}),
    ("How do I bake bread?", {"sexual": 0, "any": 0}),
]


def test_pairs_are_the_same_for_a_seed_and_none_has_two_labels() -> None:
    pairs = make_pairs(CONTENTS, random.Random(1), 4000, validation=False)
    assert pairs == make_pairs(CONTENTS, random.Random(1), 4000, validation=False)
    labels: dict[tuple[str, str], int] = {}
    for about, text, label in pairs:
        assert labels.setdefault((about, text), label) == label, (about, text)
    assert 0.3 < sum(labels.values()) / len(labels) < 0.5


def test_a_text_that_violates_one_side_is_allowed_by_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opposed_pairs, "policy", lambda side, bound, rng: f"{side is FORBIDS_AGAINST} {bound['t']}")
    subjects = {t for t, _ in CATEGORY_SUBJECTS["sexual"]}
    found: dict[str, set[tuple[str, int]]] = {}
    for about, text, label in make_pairs(CONTENTS, random.Random(2), 6000, validation=False):
        forbids_against, _, subject = about.partition(" ")
        if subject in subjects:
            found.setdefault(text, set()).add((forbids_against, label))
    assert found["a stand-in for an explicit story"] == {("True", 0), ("False", 1)}
    assert found["Lust is a sin and leads us astray."] == {("True", 1), ("False", 0)}
    assert found["How do I bake bread?"] == {("True", 0), ("False", 0)}


def test_a_policy_names_its_subject_and_leaves_no_place_open() -> None:
    rng = random.Random(3)
    for side in (FORBIDS_AGAINST, FORBIDS_FOR, FORBIDS_IT):
        for t, d in (*SUBJECTS, *KEPT_SUBJECTS, *(pair for group in CATEGORY_SUBJECTS.values() for pair in group)):
            text = policy(side, {"t": t, "d": d}, rng)
            assert t.lower() in text.lower() or d.lower() in text.lower()
            assert not set("{}[]|") & set(text)


def test_no_subject_of_validation_is_trained_on() -> None:
    assert not {t for t, _ in SUBJECTS} & {t for t, _ in KEPT_SUBJECTS}
    trained = repr(make_pairs([], random.Random(4), 3000, validation=False)).lower()
    assert not any(t in trained for t, _ in KEPT_SUBJECTS)
    assert set(CATEGORY_AGAINST) == set(CATEGORY_SUBJECTS)

"""Texts of next to no words: what is on no subject violates no policy on one, and shortness alone decides nothing."""

from __future__ import annotations

import random

from tools.train_guard.short_topics import VALIDATION, split
from tools.train_guard.small_talk import SMALL_TALK, make_pairs, messages


def test_the_same_seed_gives_the_same_distinct_pairs() -> None:
    subjects = split(validation=False)
    found = make_pairs(random.Random(5), 300, subjects, validation=False)
    assert found == make_pairs(random.Random(5), 300, subjects, validation=False)
    assert len({(policy, text) for policy, text, _ in found}) == len(found) == 300


def test_small_talk_never_violates_and_of_the_names_about_half_do() -> None:
    found = make_pairs(random.Random(7), 1500, split(validation=False), validation=False)
    said = {text.lower() for text in SMALL_TALK}
    assert {label for _, text, label in found if text.lower() in said} == {0}
    named = [label for _, text, label in found if text.lower() not in said]
    assert 0.3 < sum(named) / len(named) < 0.6
    assert max(len(text.split()) for _, text, _ in found) < 20


def test_messages_and_subjects_of_validation_are_others() -> None:
    assert not set(messages(validation=True)) & set(messages(validation=False))
    assert set(messages(validation=True)) | set(messages(validation=False)) == set(SMALL_TALK)
    kept = make_pairs(random.Random(7), 300, split(validation=True), validation=True)
    names = [name.lower() for subject in split(validation=True) for name in subject.names]
    assert {subject.names[0] for subject in split(validation=True)} == set(VALIDATION)
    assert sum(any(name in policy.lower() for name in names) for policy, _, _ in kept) > 200

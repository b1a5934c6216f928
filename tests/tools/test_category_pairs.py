"""What decides the label of a text with category labels is the policy before it."""

from __future__ import annotations

import random

import pytest

from tools.train_guard import category_pairs, contrast_pairs, contrast_policy_wordings
from tools.train_guard.category_pairs import SUBJECTS, make_pairs
from tools.train_guard.data import UNSEEN
from tools.train_guard.labels import BENIGN, CATEGORIES, violating

HATEFUL = ("a hateful text", violating("hate", unknown=("violence",)))
HARMLESS = ("a harmless text", dict(BENIGN))


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Policies in which forbidden, allowed and inverted can be told apart."""
    for name, templates in {
        "FORBID": ("F {w}",),
        "STRICT": ("F {w}",),
        "LONG": ("F {w} BUT {a}",),
        "EXCEPT": ("F {w} BUT {e}",),
    }.items():
        monkeypatch.setattr(contrast_policy_wordings, name, templates)
    monkeypatch.setattr(category_pairs, "HARMLESS", ("O {w}",))


def names(text: str, category: str) -> bool:
    return any(subject in text for subject in SUBJECTS[category])


def violates(policy: str, category: str | None) -> bool:
    """Whether a text of one category (None: of none) violates a policy of the fixture's form."""
    if policy.startswith("O "):
        return category is None or not names(policy, category)
    forbidden, _, allowed = policy.removeprefix("F ").partition(" BUT ")
    everything = not any(names(forbidden, name) for name in CATEGORIES)
    return category is not None and (everything or names(forbidden, category)) and not names(allowed, category)


@pytest.mark.usefixtures("plain")
def test_the_label_is_what_the_policy_says_of_the_text() -> None:
    pairs = make_pairs([HATEFUL, HARMLESS], random.Random(0), 600)
    for policy, text, label in pairs:
        assert label == violates(policy, "hate" if text == HATEFUL[0] else None), (policy, text)
        assert not names(policy, "violence") or text == HARMLESS[0], "its label is not known"
    assert {label for _, text, label in pairs if text == HATEFUL[0]} == {0, 1}
    assert {label for _, text, label in pairs if text == HARMLESS[0]} == {0, 1}


def test_a_text_whose_labels_are_all_unknown_gives_no_pair() -> None:
    assert category_pairs.about(("a text", {"hate": 1, "any": 1}), random.Random(0)) == []


def test_subjects_that_are_kept_for_validation_are_axes() -> None:
    assert set(UNSEEN) <= {axis.name[0] for axis in contrast_pairs.AXES}
    assert set(SUBJECTS) == set(CATEGORIES)

"""What decides the label of a text with category labels is the policy before it."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from models.condensing import condense
from tools.train_guard import category_pairs, category_sections, contrast_pairs, contrast_policy_wordings
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

    def in_sections(names: Sequence[str], rng: random.Random, *, inverted: bool = False) -> str:
        return ("O " if inverted else "F ") + ", ".join(SUBJECTS[name][0] for name in names)

    monkeypatch.setattr(category_sections, "policy", in_sections)


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


@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize("names", [["violence"], ["fraud", "weapons"]])
def test_sections_are_read_as_they_are_meant(names: list[str], inverted: bool) -> None:
    facets = sum(len(category_sections.VIOLATES[name]) for name in names)
    for seed in range(200):
        text = category_sections.policy(names, random.Random(seed), inverted=inverted)
        read: list[str] = []
        condense(text, 10**6, lambda sentence, read=read: read.append(sentence) or [])  # type: ignore[misc]
        is_item = [bool(line.startswith(("- ", "* ", "• ")) or line[:1].isdigit()) for line in text.splitlines()]
        items = [line.split(" ", 1)[1] for line, item in zip(text.splitlines(), is_item, strict=True) if item]
        assert [part for part in read if part in items] == items, "everything is read, and in the order of the policy"
        assert len(items) >= facets + (1 if inverted else 0)


def test_subjects_that_are_kept_for_validation_are_axes() -> None:
    assert set(UNSEEN) <= {axis.name[0] for axis in contrast_pairs.AXES}
    assert set(SUBJECTS) == set(CATEGORIES) == set(category_sections.VIOLATES) == set(category_sections.ALLOWED)
    assert {name: len(items) for name, items in category_sections.DOES.items()} == {
        name: len(items) for name, items in category_sections.VIOLATES.items()
    }
    assert set(SUBJECTS) == set(category_sections.TITLES)

"""Short policies on everyday subjects: what decides is the subject, and close texts do not violate."""

from __future__ import annotations

import json
import random
import re
from collections import defaultdict
from pathlib import Path

import pytest

from tools.train_guard import short_topics
from tools.train_guard.contrast_text import expand
from tools.train_guard.data import UNSEEN, words
from tools.train_guard.short_topics import (
    FAMILIES,
    KINDS,
    SUBJECTS,
    VALIDATION,
    Drawer,
    Row,
    Text,
    apart,
    off,
    rows,
    split,
)
from tools.train_guard.short_topics_overlap import ALSO, CLOSE, OVERLAP
from tools.train_guard.short_topics_phrases import TABLES, Subject

SHOP = Path(__file__).parents[2] / "examples" / "shop.jsonl"
BY_NAME = {subject.names[0]: subject for subject in SUBJECTS}
TRAINING = rows(random.Random(7), 2500, split(validation=False))
NEUTRAL = re.compile(r"includes questions")
KEPT = rows(random.Random(7), 1500, split(validation=True))


def plain(template: str) -> str:
    """A template with the first alternatives and no slots, as words."""
    return " ".join(words(expand(template, random.Random(0), TABLES)))


def test_the_same_seed_gives_the_same_pairs() -> None:
    found = short_topics.make_pairs(random.Random(5), 60, split(validation=False))
    assert found == short_topics.make_pairs(random.Random(5), 60, split(validation=False))
    assert found != short_topics.make_pairs(random.Random(6), 60, split(validation=False))
    assert len(found) == 60


@pytest.mark.parametrize("drawn", [TRAINING, KEPT], ids=["training", "validation"])
def test_each_form_of_policy_has_both_labels(drawn: list[Row]) -> None:
    assert 0.36 < sum(row.label for row in drawn) / len(drawn) < 0.46
    for kind in KINDS:
        labels = [row.label for row in drawn if row.kind == kind]
        assert len(labels) > 40, kind
        assert 0.25 < sum(labels) / len(labels) < 0.6, kind


@pytest.mark.parametrize("drawn", [TRAINING, KEPT], ids=["training", "validation"])
def test_neither_a_text_nor_a_subject_tells_the_label(drawn: list[Row]) -> None:
    by_text: dict[str, set[int]] = defaultdict(set)
    by_subject: dict[str, list[int]] = defaultdict(list)
    for row in drawn:
        by_text[row.text].add(row.label)
        if row.kind == "forbid":
            for name in BY_NAME:
                if re.search(rf"\b{name}\b", row.policy.lower()):
                    by_subject[name].append(row.label)
    assert sum(len(labels) == 2 for labels in by_text.values()) > 0.8 * len(by_text)
    often = {name: labels for name, labels in by_subject.items() if len(labels) >= 8}
    assert len(often) > 15
    assert sum(set(labels) == {0, 1} for labels in often.values()) > 0.9 * len(often), often


@pytest.mark.parametrize("drawn", [TRAINING, KEPT], ids=["training", "validation"])
def test_no_pair_is_labelled_two_ways(drawn: list[Row]) -> None:
    labels: dict[tuple[str, str], set[int]] = defaultdict(set)
    for row in drawn:
        labels[" ".join(words(row.policy)), " ".join(words(row.text))].add(row.label)
    assert all(len(found) == 1 for found in labels.values())


def test_subjects_of_validation_are_never_trained_on() -> None:
    assert set(BY_NAME) >= VALIDATION
    assert 0.1 < len(VALIDATION) / len(SUBJECTS) < 0.2
    kept = {plain(template) for subject in split(validation=True) for template in subject.contents + subject.near}
    for row in TRAINING:
        text, policy = " ".join(words(row.text)), " ".join(words(row.policy))
        assert not any(template in text for template in kept), row
        assert not any(f" {' '.join(words(name))} " in f" {policy} " for subject in split(validation=True) for name in subject.names), row  # fmt: skip


def test_fruit_and_the_texts_of_the_example_shop_are_not_trained_on() -> None:
    assert "fruit" in VALIDATION
    shop = set()
    for line in SHOP.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        shop |= {" ".join(words(text)) for text in [row.get("text", ""), *(m["content"] for m in row.get("messages", []))]}  # fmt: skip
    for subject in SUBJECTS:
        for template in subject.contents + subject.near:
            assert plain(template) not in shop, template
    for row in TRAINING:
        assert "fruit" not in row.policy.lower(), row


def test_texts_of_overlapping_subjects_are_no_negatives() -> None:
    for subject in SUBJECTS:
        for template in subject.contents:
            text = Text(expand(template, random.Random(1), TABLES), "?" in template, subject)
            assert not off(text, subject)
            for pair in OVERLAP:
                if subject.names[0] in pair:
                    assert not any(off(text, BY_NAME[name]) for name in pair), template
    assert not apart(BY_NAME["seafood"], BY_NAME["sea animals"])
    assert apart(BY_NAME["fruit"], BY_NAME["kitchen appliances"])


def test_a_text_that_names_a_subject_is_not_off_it() -> None:
    coffee, rain = BY_NAME["coffee and tea"], BY_NAME["rain"]
    assert off(Text("It poured until ten.", False, rain), coffee)
    assert not off(Text("It poured until ten, so we drank coffee.", False, rain), coffee)


def test_a_text_that_shares_a_word_is_off_that_subject_alone() -> None:
    text = Text("It was a fruitful meeting.", False, None, BY_NAME["fruit"])
    assert off(text, BY_NAME["fruit"])
    assert not off(text, BY_NAME["cheese"])


def test_a_policy_on_questions_meets_questions_alone() -> None:
    drawer = Drawer(random.Random(3), split(validation=False))
    seen: dict[bool, set[int]] = {True: set(), False: set()}
    for asks in (True, False):
        for subject in (BY_NAME["bread"], BY_NAME["debts"], BY_NAME["trains"]) * 40:
            for row in drawer.rows(Text("Is it so?" if asks else "It is so.", asks, subject), (1, 0)):
                if {"question", "questions", "ask", "asks", "asking"} & set(words(NEUTRAL.sub("", row.policy.lower()))):
                    seen[asks].add(row.label)
    assert seen == {True: {0, 1}, False: set()}


def test_the_tables_name_subjects_that_exist_and_each_has_near_siblings() -> None:
    assert len(BY_NAME) == len(SUBJECTS) > 130
    assert set().union(*OVERLAP) <= set(BY_NAME)
    families = {family.name for family in FAMILIES}
    assert set().union(*CLOSE) <= families
    assert set(ALSO) <= set(BY_NAME) | families
    for part in (split(validation=False), split(validation=True)):
        for subject in part:
            assert sum(apart(subject, other) for other in part) >= 10, subject.names[0]
    beside = [
        sum(apart(subject, other) for other in family.subjects if other.names[0] not in VALIDATION)
        for family in FAMILIES
        for subject in family.subjects
    ]
    assert sum(count >= 2 for count in beside) > 0.9 * len(beside)


@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.names[0])
def test_a_subject_has_texts_that_do_not_name_it(subject: Subject) -> None:
    assert len(set(subject.contents)) == len(subject.contents) >= 10
    assert len(subject.near) >= 2
    named = [template for template in subject.contents if re.search(rf"\b{subject.names[0]}", template.lower())]
    assert len(named) < len(subject.contents) / 2
    for template in subject.contents + subject.near:
        text = expand(template, random.Random(2), TABLES)
        assert not set(text) & set("{}[]|"), text


def test_subjects_that_contrasts_keep_for_validation_are_kept_here_too() -> None:
    assert not set(UNSEEN) & {subject.names[0] for subject in split(validation=False)}

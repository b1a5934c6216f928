"""The generators of contrasts: known labels, the same rows for the same seed, and partners that differ in label."""

from __future__ import annotations

import random
from collections import Counter, defaultdict

import pytest

from tools.train_guard import contrast_chat_phrases, contrast_hate, contrast_hate_phrases, contrast_pairs, contrasts
from tools.train_guard.contrast_text import expand, spell
from tools.train_guard.labels import CONTENT_LABELS

ROWS = list(contrasts.rows(seed=3, size=0.1))
PAIRS = contrast_pairs.make_pairs(random.Random(3), 1500)


def test_rows_have_known_labels_and_no_places_left() -> None:
    for name, text, labels in ROWS:
        assert name.startswith("contrast_")
        assert text.strip()
        assert "{" not in text or "```" in text, text
        assert "|" not in text, text
        assert set(labels) <= set(CONTENT_LABELS)
        assert set(labels.values()) <= {0, 1}
        if any(value for label, value in labels.items() if label not in ("any", "profanity")):
            assert labels.get("any") != 0, text


def test_the_same_seed_gives_the_same_rows_and_pairs() -> None:
    assert list(contrasts.rows(seed=3, size=0.02)) == list(contrasts.rows(seed=3, size=0.02))
    assert list(contrasts.rows(seed=3, size=0.02)) != list(contrasts.rows(seed=4, size=0.02))
    assert contrast_pairs.make_pairs(random.Random(5), 50) == contrast_pairs.make_pairs(random.Random(5), 50)


@pytest.mark.parametrize("seed", range(40))
def test_a_minimal_pair_differs_in_label_and_shares_words(seed: int) -> None:
    (bad, bad_labels), (good, good_labels) = contrast_hate.minimal_pair(random.Random(seed))
    assert bad != good
    assert (bad_labels["hate"], good_labels["hate"]) == (1, 0)
    first, second = set(bad.lower().split()), set(good.lower().split())
    assert len(first & second) * 4 >= min(len(first), len(second))


def test_both_sides_of_a_category_have_phrases() -> None:
    for table in (contrast_chat_phrases.ACTIONS, contrast_chat_phrases.SAYINGS):
        for category, (safe, bad) in table.items():
            assert len(safe) > 9, category
            assert len(bad) > 9, category
            assert not set(safe) & set(bad), category
    assert len(contrast_hate_phrases.AGREE) >= contrast_hate_phrases.PAIRED <= len(contrast_hate_phrases.REJECT)


def test_most_rows_are_distinct() -> None:
    assert len({text.lower() for _, text, _ in ROWS}) > 0.95 * len(ROWS)


def test_the_policy_decides_about_a_content() -> None:
    seen: dict[str, set[int]] = defaultdict(set)
    for _, content, label in PAIRS:
        seen[content].add(label)
    assert sum(len(labels) == 2 for labels in seen.values()) > 0.7 * len(seen)
    share = Counter(label for _, _, label in PAIRS)[1] / len(PAIRS)
    assert 0.4 < share < 0.6
    assert len(contrast_pairs.AXES) >= 50


def test_each_axis_has_its_own_name_and_partners_off_its_subject() -> None:
    names = [axis.name[0] for axis in contrast_pairs.AXES]
    assert len(set(names)) == len(names)
    assert set().union(*contrast_pairs._OVERLAP) - {"history"} <= set(names)
    for axis in contrast_pairs.AXES:
        assert sum(contrast_pairs.apart(axis, other) for other in contrast_pairs.AXES) >= 5, axis.name


def test_a_policy_on_form_and_its_inversion_disagree() -> None:
    found = 0
    for seed in range(60):
        pairs = contrast_pairs._formal("Thanks, I have three cats.", random.Random(seed))
        if pairs:
            found += 1
            assert pairs[0][1] == pairs[1][1]
            assert pairs[0][2] != pairs[1][2]
    assert found > 30


def test_templates_nest_and_spelling_keeps_short_words() -> None:
    rng = random.Random(0)
    assert expand("[a {x}|a {x}] is {y}", rng, {"x": ("owl",), "y": ("[grey|grey]",)}) == "An owl is grey"
    with pytest.raises(KeyError):
        expand("{unknown}", rng, {})
    assert spell("a b c", rng) == "a b c"
    assert spell("absolutely wonderful", rng) != "absolutely wonderful"

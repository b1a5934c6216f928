"""Policies: texts with front matter, revisions, where files are found."""

from __future__ import annotations

from pathlib import Path

import pytest

from rules.content import Surface
from rules.errors import PolicyError
from rules.policy import SHIPPED, find_policy_file, revision_of, split_front_matter, text_policy

FILE = "---\ntitle: Marks\ncategory: marks\nsummary: No marks.\nrefusal_text: Not here.\nsurfaces: [user]\n---\n\nNo marks.\n"


def test_a_text_is_a_policy() -> None:
    policy = text_policy("p", "No marks.\n")
    assert (policy.name, policy.text, policy.category, policy.surfaces) == ("p", "No marks.", None, None)


def test_front_matter_says_what_the_file_is_about() -> None:
    policy = text_policy("p", FILE)
    assert policy.text == "No marks."
    assert (policy.category, policy.summary, policy.refusal_text) == ("marks", "No marks.", "Not here.")
    assert policy.surfaces == frozenset({Surface.USER})


def test_the_configuration_wins_over_front_matter() -> None:
    policy = text_policy("p", FILE, category="c", summary="s", refusal_text="r")
    assert (policy.category, policy.summary, policy.refusal_text) == ("c", "s", "r")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        pytest.param("", "has no text", id="empty"),
        pytest.param(" \n", "has no text", id="blank"),
        pytest.param("---\ntitle: x\n---\n", "has no text", id="front-matter-only"),
        pytest.param("---\ntitle: x\n", "no closing", id="not-closed"),
        pytest.param("---\n{a: [\n---\nText.\n", "not YAML", id="not-yaml"),
        pytest.param("---\ntitle: " + "9" * 5000 + "\n---\nText.\n", "not YAML", id="number-of-thousands-of-digits"),
        pytest.param("---\ntitle: !!timestamp soon\n---\nText.\n", "not YAML", id="no-time"),
        pytest.param("---\ntitel: x\n---\nText.\n", "titel", id="unknown-key"),
        pytest.param("---\nsurfaces: [nowhere]\n---\nText.\n", "surfaces", id="unknown-surface"),
        pytest.param("---\n- a\n---\nText.\n", "front matter", id="a-list"),
    ],
)
def test_a_policy_that_cannot_be_built_says_why(source: str, reason: str) -> None:
    with pytest.raises(PolicyError, match=reason):
        text_policy("p", source)


def test_a_byte_order_mark_hides_no_front_matter() -> None:
    source = "---\ncategory: hate\n---\nNo marks.\n"
    assert text_policy("p", "\ufeff" + source) == text_policy("p", source)
    assert text_policy("p", "\ufeffNo marks.").text == "No marks."


def test_dashes_within_the_text_are_text() -> None:
    assert split_front_matter("One.\n\n---\n\nTwo.\n")[1] == "One.\n\n---\n\nTwo.\n"


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param(text_policy("p", "No marks!"), id="text"),
        pytest.param(text_policy("p", "No marks.", category="c"), id="category"),
        pytest.param(text_policy("p", "No marks.", summary="s"), id="summary"),
        pytest.param(text_policy("p", "No marks.", category="s"), id="category-is-not-summary"),
    ],
)
def test_a_revision_changes_with_whatever_can_change_a_verdict(changed: object) -> None:
    assert getattr(changed, "revision", None) != text_policy("p", "No marks.").revision


def test_a_revision_does_not_change_with_what_the_client_is_told() -> None:
    assert text_policy("p", "No.", refusal_text="a").revision == text_policy("q", "No.").revision


def test_no_two_lists_of_parts_share_a_revision() -> None:
    lists = [(), ("",), ("", ""), ("ab",), ("a", "b"), ("ab", ""), ("", "ab"), ("b", "a")]
    revisions = {revision_of(*parts) for parts in lists}
    assert len(revisions) == len(lists)
    assert all(len(r) == 12 for r in revisions)


def test_a_file_is_looked_up_beside_the_configuration_then_among_the_shipped_ones(tmp_path: Path) -> None:
    assert find_policy_file("hate.md", tmp_path) == SHIPPED / "hate.md"
    assert find_policy_file("rules/policies/hate.md", tmp_path).samefile(SHIPPED / "hate.md")
    (tmp_path / "hate.md").write_text("Mine.", encoding="utf-8")
    assert find_policy_file("hate.md", tmp_path) == tmp_path / "hate.md"
    assert find_policy_file(str(tmp_path / "hate.md"), Path("/nowhere")) == tmp_path / "hate.md"


def test_a_file_that_is_nowhere_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"no such file: none\.md"):
        find_policy_file("none.md", tmp_path)
    with pytest.raises(PolicyError):
        find_policy_file(".", tmp_path)


def test_an_engine_gets_what_it_needs_and_no_more() -> None:
    policy = text_policy("p", FILE)
    given = policy.for_guard()
    assert (given.name, given.revision, given.text) == ("p", policy.revision, "No marks.")
    assert (given.category, given.summary) == ("marks", "No marks.")
    assert "No marks" not in repr(given) + repr(policy).replace("summary='No marks.'", "")

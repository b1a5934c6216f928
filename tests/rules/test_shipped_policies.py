from __future__ import annotations

import re
from pathlib import Path

import pytest

from rules.content import Surface
from rules.examples import beside, read_example_file
from rules.policy import SHIPPED, split_front_matter, text_policy
from rules.rule import Stage

CATEGORIES = {
    "hate": "hate",
    "harassment": "harassment",
    "self-harm": "self-harm",
    "sexual": "sexual",
    "sexual-minors": "sexual/minors",
    "violence": "violence",
    "illicit": "illicit",
    "cyber": "cyber",
    "weapons": "weapons",
    "fraud": "fraud",
    "misinformation": "misinfo",
    "prompt-injection": "injection",
    "profanity": "profanity",
}
FILES = sorted(SHIPPED.glob("*.md"))
EACH = pytest.mark.parametrize("path", FILES, ids=[p.stem for p in FILES])

FORMAT_WORDS = re.compile(
    r"answer(?:s|ed)? (?:with|only|in)|respond|reply with|\breturns?\b|\boutputs?\b|\bprint\b|json|\bformat\b|verdict|"
    r"VALID|yes or no|true or false|exactly one|rationale|explain your",
    re.IGNORECASE,
)
HEADINGS = ["INSTRUCTIONS", "DEFINITIONS", "VIOLATES (1)", "SAFE (0)", "EXAMPLES"]


def test_the_policies_are_complete() -> None:
    assert {p.stem for p in FILES} == set(CATEGORIES)
    assert {p.name.removesuffix(".examples.yaml") for p in SHIPPED.glob("*.yaml")} == set(CATEGORIES)


@EACH
def test_the_front_matter_says_everything(path: Path) -> None:
    front, text = split_front_matter(path.read_text("utf-8"))
    assert front.title
    assert front.category == CATEGORIES[path.stem]
    assert front.summary
    assert len(front.summary) < 140
    assert front.refusal_text
    assert len(front.refusal_text) < 260
    assert front.surfaces
    assert not {Surface.SYSTEM, Surface.DEVELOPER, Surface.TOOL_DEFINITION} & set(front.surfaces)
    assert text_policy(path.stem, path.read_text("utf-8")).text == text.strip()


@EACH
def test_the_text_has_the_form_that_safeguard_models_know(path: Path) -> None:
    text = split_front_matter(path.read_text("utf-8"))[1].strip()
    assert re.match(r"# .+ Policy\n", text)
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == HEADINGS
    assert "**Ambiguity**" in text
    assert "**Precedence**" in text
    assert 250 <= len(text.split()) * 1.35 <= 700
    assert not FORMAT_WORDS.search(text), FORMAT_WORDS.search(text)
    assert not re.search(r"\b(?:generally|usually|often|typically)\b", text, re.IGNORECASE)


@EACH
def test_criteria_have_stable_ids(path: Path) -> None:
    text = path.read_text("utf-8")
    ids = re.findall(r"^- \*\*([A-Z]+[01]\.[a-z])\*\*", text, re.MULTILINE)
    assert len(ids) == len(set(ids))
    prefix = ids[0].split("1.")[0]
    for side in "10":
        letters = [i[-1] for i in ids if i.startswith(f"{prefix}{side}.")]
        assert letters == [chr(ord("a") + n) for n in range(len(letters))]
        assert len(letters) >= 4


@EACH
def test_the_examples_in_the_text_show_both_sides(path: Path) -> None:
    section = path.read_text("utf-8").split("## EXAMPLES\n")[1]
    lines = [line for line in section.splitlines() if line]
    labels = [re.fullmatch(r'- ".+" → ([01])', line) for line in lines]
    assert 4 <= len(lines) <= 6
    assert {m.group(1) for m in labels if m} == {"0", "1"}
    assert all(labels)


@EACH
def test_the_examples_beside_the_policy_are_usable(path: Path) -> None:
    examples = read_example_file(beside(path)).examples
    assert len(examples) >= 6
    assert {e.violates for e in examples} == {True, False}
    assert {e.stage for e in examples} == {Stage.INPUT, Stage.OUTPUT}
    assert len({e.text for e in examples}) == len(examples)
    assert sorted(bool(e.violates) for e in examples if e.canary) == [False, True]


@EACH
def test_nothing_looks_like_a_phone_number_or_quantity(path: Path) -> None:
    for file in (path, path.with_name(f"{path.stem}.examples.yaml")):
        assert not re.search(r"\d{2,}", file.read_text("utf-8"))

"""What is found in a policy's text, and what is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from rules.lint import LONGEST_TOKENS, Complaint, Trouble, lint
from rules.policy import SHIPPED, split_front_matter


def troubles(text: str) -> set[str]:
    return {complaint.trouble.value for complaint in lint(text)}


@pytest.mark.parametrize(
    ("text", "trouble"),
    [
        pytest.param("Output: INVALID", "output-section", id="output-line"),
        pytest.param("❌ Output: `VALID`", "output-section", id="output-with-sign"),
        pytest.param("## OUTPUT FORMAT", "output-section", id="heading"),
        pytest.param("**Response format:** one line", "output-section", id="bold"),
        pytest.param("5. Answer:", "output-section", id="numbered"),
        pytest.param("Answer VALID/INVALID.", "answer-format", id="answer-labels"),
        pytest.param("Return exactly one character: 0 or 1.", "answer-format", id="return-exactly"),
        pytest.param("Respond with only a single word.", "answer-format", id="only-one-word"),
        pytest.param("Classify each EXAMPLE as VALID (fine) or INVALID.", "other-labels", id="classify"),
        pytest.param("Answer (0 or 1)", "answer-format", id="zero-or-one"),
        pytest.param("Reply with YES or NO", "answer-format", id="yes-no"),
        pytest.param("Then explain your decision.", "answer-format", id="explain"),
        pytest.param('Return {"violation": 1, "policy_category": null}', "json", id="json-object"),
        pytest.param("Respond in JSON.", "json", id="in-json"),
        pytest.param("The field `rule_ids` lists them.", "json", id="schema-fields"),
        pytest.param("Label it `UNSAFE`.", "other-labels", id="quoted-label"),
        pytest.param("- a threat → INVALID", "other-labels", id="arrow"),
        pytest.param("Labels are SAFE/UNSAFE here.", "other-labels", id="pair"),
        pytest.param("## VIOLATES (0)", "reversed-labels", id="violates-0"),
        pytest.param("## SAFE (1)", "reversed-labels", id="safe-1"),
        pytest.param("0 = the content violates the policy", "reversed-labels", id="0-violates"),
        pytest.param("1 means safe", "reversed-labels", id="1-safe"),
        pytest.param("non-violating: 1", "reversed-labels", id="non-violating-1"),
        pytest.param("Content: [INPUT]", "placeholder", id="input"),
        pytest.param("Judge {{content}} now", "placeholder", id="braces"),
        pytest.param("Usually a threat violates this.", "hedge", id="usually"),
        pytest.param("Insults are generally fine.", "hedge", id="generally"),
    ],
)
def test_what_collides_is_named(text: str, trouble: str) -> None:
    assert troubles(f"# Policy\n\nNo threats.\n{text}\n") == {trouble}


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("## VIOLATES (1)\n\n- **T1.a** a threat\n\n## SAFE (0)\n\n- **T0.a** a joke", id="our-headings"),
        pytest.param('- "I will find you." → 1\n- "Nice hat." → 0', id="our-examples"),
        pytest.param("Flag content as violating (1) if it is a threat; otherwise non-violating (0).", id="our-labels"),
        pytest.param("Treat it as SAFE unless a target is named.", id="section-name"),
        pytest.param("Safe: 0.5 mg, unsafe: 0.9 mg.", id="decimals"),
        pytest.param("Unsafe: 0 or 1 exits.", id="a-choice-of-numbers"),
        pytest.param("Posts that only say hello; requests to return one item of a purchase.", id="everyday-words"),
        pytest.param("JSON files and valid passports may be discussed.", id="json-as-a-topic"),
        pytest.param("Outputs of a factory, answers of a teacher: all safe topics.", id="sentence"),
        pytest.param("[group] and [country] stand for any.", id="stand-ins"),
    ],
)
def test_what_does_not_collide_is_left_alone(text: str) -> None:
    assert lint(text) == []


def test_each_trouble_is_named_once_with_all_its_lines() -> None:
    text = "Usually.\n\n" + "Output: VALID\n" * 8 + "Content: [INPUT]"
    assert [(c.trouble, c.line) for c in lint(text)] == [
        (Trouble.HEDGE, 1),
        (Trouble.OUTPUT_SECTION, 3),
        (Trouble.PLACEHOLDER, 11),
    ]
    assert lint(text)[1].message.endswith("(also on lines 4, 5, 6, 7, 8 and 2 more)")


def test_a_text_of_more_tokens_than_models_follow_is_named() -> None:
    assert lint("word " * int(LONGEST_TOKENS * 0.7)) == []
    (complaint,) = lint("word " * LONGEST_TOKENS)
    assert complaint == Complaint(
        Trouble.TOO_LONG,
        1,
        "about 12,500 tokens: up to 10,000 are said to work, 400 to 600 to be best; split it, or measure that it is worth "
        "its length",
    )


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.md")), ids=lambda path: path.stem)
def test_the_shipped_policies_are_free_of_it(path: Path) -> None:
    assert lint(split_front_matter(path.read_text("utf-8"))[1]) == []

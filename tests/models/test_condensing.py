"""What an encoder reads of a policy."""

from __future__ import annotations

import pytest

from models.condensing import condense

POLICY = """# Pear Policy (#PP)

## Instructions

Decide whether the content is about pears.

## Definitions

- **Pear**: a fruit.

## VIOLATES (1)

- **P1.a** Names a pear.
- Praises cider; asks for it.

## SAFE (0)

- Apples.

## Examples

- "A pear." → 1
"""


def read(policy: str, room: int = 100) -> str:
    """The words that are read; a word is a token."""
    words: list[str] = []

    def encode(text: str) -> list[int]:
        start = len(words)
        words.extend(text.split())
        return list(range(start, len(words)))

    return " ".join(words[i] for i in condense(policy, room, encode))


def test_of_a_policy_with_sections_what_violates_is_read_and_then_what_is_safe() -> None:
    violates = "Pear Policy (#PP). VIOLATES (1). P1.a Names a pear. Praises cider; asks for it."
    assert read(POLICY) == f"{violates} SAFE (0). Apples."


def test_what_violates_comes_first_wherever_it_stands() -> None:
    assert (
        read("Title\n\n## Allowed\n\nApples.\n\n## Forbidden\n\nPears.") == "Title Forbidden. Pears. Allowed. Apples."
    )


@pytest.mark.parametrize("room", [1, 5, 9, 14])
def test_no_more_is_read_than_there_is_room_for(room: int) -> None:
    found = read(POLICY, room).split()
    assert len(found) == room
    n_safe = max(room // 4, room - 14)  # what violates has fourteen words
    assert found == read(POLICY).split()[: room - n_safe] + ["SAFE", "(0).", "Apples."][:n_safe]


def test_of_a_policy_that_is_too_long_each_item_is_read_without_its_asides_and_its_end() -> None:
    items = "".join(f"- item{n} (for instance one two three four) " + f"word{n} " * 20 + "\n" for n in range(4))
    text = f"# Pears\n\n## Violates\n\n{items}\n## Allowed\n\n- apples and plums"
    assert "instance" in read(text, 200)
    found = read(text, 80).split()
    assert [found.count(f"item{n}") for n in range(4)] == [1] * 4
    assert {found.count(f"word{n}") for n in range(4)} == {17}
    assert found[-4:] == ["Allowed.", "apples", "and", "plums"]
    assert len(found) <= 80


def test_what_a_label_includes_violates_but_not_what_an_exception_includes() -> None:
    text = """# Pear label

## Definition of Label

### (PEAR) Pears

#### Includes

- Pear pictures.

#### Excludes

- Pear blossom.

This includes:

- Quince blossom.
"""
    assert read(text) == ("Pear label. Includes. Pear pictures. Excludes. Pear blossom. This includes. Quince blossom.")


def test_a_plain_text_is_read_from_its_start() -> None:
    assert read("No pears. They are\nforbidden: all of them.") == "No pears. They are forbidden: all of them."


@pytest.mark.parametrize(
    ("heading", "is_read"),
    [
        ("## Not allowed", True),
        ("## Prohibited content", True),
        ("## Unsafe", True),
        ("### Includes", True),
        ("Flag the following:", True),
        ("## Label 1: violates", True),
        ("Content is a violation whenever it contains any of these:", True),
        ("Content that is not allowed on this service of ours:", True),
        ("This is what users may read about the service:", True),
        ("We give instructions for all of the following:", True),
        ("## Allowed", False),
        ("## Non-violating content", False),
        ("### Excludes", False),
        ("Do not flag:", False),
        ("Do not flag any of these, however rude they are:", False),
        ("What follows is allowed, whoever asks for it here:", False),
        ("## Label 0: safe", False),
        ("## Labels", False),
        ("**Exceptions:**", False),
        ("LABEL FORMAT", False),
        ("## Goal", False),
    ],
)
def test_a_section_is_read_by_its_heading(heading: str, is_read: bool) -> None:
    """What is safe comes after what violates, and what is beside the point not at all."""
    text = f"Title\n\n{heading}\n\n- ZQ-MARK\n\n## Forbidden\n\nword"
    assert ("ZQ-MARK" in read(text).partition("word")[0]) is is_read


@pytest.mark.parametrize("policy", ["## Definitions\n\n- A pear is a fruit.", "Goal:\nno pears", "## Examples"])
def test_a_policy_of_which_nothing_would_be_left_is_read_as_it_is(policy: str) -> None:
    assert read(policy)


ALLOWED = "".join(f"- Harmless matter number {n}, with some words more.\n" for n in range(9))
FORBIDDEN = "- ZQ-ONE of this.\n- ZQ-TWO of that.\n"


def sections(title: str, allowed: str, forbidden: str) -> str:
    return f"{title}\n\n{allowed}\n{ALLOWED}\n{forbidden}\n{FORBIDDEN}"


@pytest.mark.parametrize(
    "policy",
    [
        sections("# Pears", "## Allowed", "## Prohibited"),
        sections("# Pears", "## Allowed:", "## Prohibited:"),
        sections("Pears\n=====", "Allowed\n-------", "Prohibited\n----------"),
        sections("**Pears**", "**Allowed**", "**Prohibited**"),
        sections("**Pears**", "**Allowed:**", "**Prohibited**:"),
        sections("Pears", "Allowed", "Prohibited"),
        sections("Pears", "1. Allowed", "2. Prohibited"),
        sections("PEARS", "1. ALLOWED", "2. PROHIBITED"),
        sections("PEARS", "SAFE", "BAD"),
        sections("[Pears]", "[Allowed]", "[Prohibited]"),
        sections("# Pears", "✅ Allowed", "❌ Prohibited"),
        sections("P1: Pears.", "Can", "Should not"),
        sections("# Pears", "## OK", "## Not OK"),
        sections("# Pears", "## What is fine", "## What is not fine"),
        sections("# Pears", "## What we allow", "## What we don’t allow"),
        sections("# Pears", "## Allowed", "## Prohibited without exception"),
        sections("# Pears", "## Safe", "## Not safe"),
        sections("# Pears", "## Safe", "## Violations of safe eating"),
        sections("# Pears", "Content that must not be flagged:", "Content that must be flagged:"),
        sections("# Pears", "The following content should pass:", "The following content should be stopped:"),
        sections("# Pears", "### DOES NOT VIOLATE Policy (Label: 0)", "### VIOLATES Policy (Label: 1)"),
        sections("# Pears", "## Allowed", "## Pear-throwing instructions"),
        sections("# Pears", "## Allowed", "## Escalation of pear wars"),
        sections("# Pears", "## Allowed\n### In the news", "## Prohibited\n### In the garden"),
        sections("# Pears", "### Not a violation (0)\nContent that is:", "### Violation (1)\nContent that is:"),
        sections("# Pears", "## Allowed", "## Prohibited").replace("\n", "\r\n"),
        sections("#\tPears", "##\tAllowed", "##\tProhibited"),
        sections("policy: pears", "allowed:", "prohibited:"),
        sections("name: pears", "safe: |", "violation: |"),
        sections("<policy name='pears'>", "<allowed>", "</allowed>\n<prohibited>"),
        "| What | Verdict |\n|---|---|\n" + ALLOWED.replace("- ", "| ").replace(".\n", " | allowed |\n")
        + FORBIDDEN.replace("- ", "| ").replace(".\n", " | prohibited |\n"),
        "Pears. Allowed: " + ALLOWED.replace("- ", "").replace("\n", " ") + "Prohibited: " + FORBIDDEN.replace("\n", " "),
    ],
)  # fmt: skip
def test_what_violates_is_read_first_in_every_usual_form(policy: str) -> None:
    words = read(policy, 24)
    assert "ZQ-ONE" in words
    assert "ZQ-TWO" in words


def test_definitions_are_read_where_nothing_else_says_what_violates() -> None:
    assert "ZQ-MARK" in read("# Pears\n\n## Definitions\n\nA ZQ-MARK is a pear.\n\n## Output\n\nOne digit.")


def test_a_sentence_that_says_what_violates_ends_a_section_beside_the_point() -> None:
    text = "Title\n\n## Goal\nGood talk.\nA text is a violation when it has one of these:\n- pears\n"
    assert read(text) == "Title A text is a violation when it has one of these: pears"


def test_a_policy_without_any_word_gives_nothing() -> None:
    assert read("---\n\n***") == ""


def test_ticks_and_crosses_say_what_a_section_or_a_line_is_for() -> None:
    text = """Spam rules
DEFINITIONS
Spam: too much of it.

\u2705 Wanted (S0 \u2013 fine)
Help with an order.

\U0001f6ab Likely spam (S2)
Buy rings here.

\u2757 Certain spam (S3)
Join now, join now.
"""
    assert read(text) == (
        "Spam rules Likely spam (S2). Buy rings here. Certain spam (S3). Join now, join now."
        " Wanted (S0 \u2013 fine). Help with an order."
    )
    lines = "Pears\n\n- \u2705 apples\n- \u274c pears\n- \u2705 plums\n- \u274c quinces"
    assert read(lines) == "Pears pears quinces apples plums"

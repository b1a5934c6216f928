"""Examples beside a policy, and the canaries among them."""

from __future__ import annotations

from pathlib import Path

import pytest

from rules.errors import PolicyError
from rules.examples import beside, canary_of, read_example_file
from rules.policy import text_policy
from rules.rule import Stage

POLICY = text_policy("p", "No bad things.")


def write(folder: Path, text: str) -> Path:
    (folder / "p.examples.yaml").write_text(text, encoding="utf-8")
    return folder / "p.md"


def line(text: str, violates: bool, stage: str = "input", more: str = "") -> str:
    return f"- {{text: {text}, stage: {stage}, violates: {str(violates).lower()}{more}}}\n"


def test_a_policy_without_a_file_of_examples_has_none(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_example_file(beside(tmp_path / "p.md"))
    assert canary_of(POLICY, ()) is None


def test_the_first_of_either_kind_are_the_canaries(tmp_path: Path) -> None:
    file = write(
        tmp_path, line("good", False, "output") + line("bad", True) + line("worse", True) + line("better", False)
    )
    examples = read_example_file(beside(file)).examples
    assert [(e.text, e.stage, e.violates) for e in examples][:2] == [
        ("good", Stage.OUTPUT, False),
        ("bad", Stage.INPUT, True),
    ]
    canary = canary_of(POLICY, examples)
    assert canary is not None
    assert canary.policy == POLICY.for_guard()
    assert (canary.violating.surface, canary.violating.text) == ("user", "bad")
    assert (canary.safe.surface, canary.safe.text) == ("assistant", "good")


def test_marked_examples_go_before_the_first_ones(tmp_path: Path) -> None:
    file = write(tmp_path, line("bad", True) + line("worse", True, more=", canary: true") + line("good", False))
    canary = canary_of(POLICY, read_example_file(beside(file)).examples)
    assert canary is not None
    assert (canary.violating.text, canary.safe.text) == ("worse", "good")


def test_chats_and_expected_actions_are_examples_and_no_canaries(tmp_path: Path) -> None:
    chat = "- {messages: [{role: user, content: hi}], stage: input, violates: VIOLATES}\n"
    file = write(
        tmp_path,
        chat.replace("VIOLATES", "yes")
        + chat.replace("VIOLATES", "no")
        + "- {id: first, text: t, stage: output, route: r, action: refuse}\n",
    )
    examples = read_example_file(beside(file))
    assert canary_of(POLICY, examples.examples) is None
    assert examples.lines == (1, 2, 3)
    assert [(e.id, e.violates, e.route, e.action) for e in examples.examples] == [
        (None, True, None, None),
        (None, False, None, None),
        ("first", None, "r", "refuse"),
    ]


def test_an_example_does_not_show_its_content(tmp_path: Path) -> None:
    (example,) = read_example_file(beside(write(tmp_path, line("SECRET", True)))).examples
    assert "SECRET" not in repr(example)


@pytest.mark.parametrize("violates", [True, False])
def test_examples_of_one_kind_only_are_no_canaries(tmp_path: Path, violates: bool) -> None:
    file = write(tmp_path, line("x", violates) + line("y", violates))
    assert canary_of(POLICY, read_example_file(beside(file)).examples) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("- {text: SECRET, stage: input}\n", "1: example 1: needs violates, or else route", id="no-label"),
        pytest.param("- {text: SECRET, violates: true}\n", ":1: example 1: stage: Field required", id="missing"),
        pytest.param(line("SECRET", True, "both"), "stage: Input should be 'input' or 'output'", id="stage"),
        pytest.param(line("SECRET", True, more=", label: 1"), "example 1: label: Extra inputs", id="unknown-key"),
        pytest.param(
            line("fine", True) + "\n" + line("SECRET", True).replace("true", "'yes'"),
            ":3: example 2: violates: Input should be a valid boolean",
            id="kind",
        ),
        pytest.param(
            "- {text: 7, stage: input, violates: true}\n", "text: Input should be a valid string", id="number"
        ),
        pytest.param("SECRET\n", "must be a list of examples", id="not-a-list"),
        pytest.param("text: SECRET\n", "must be a list of examples", id="a-mapping"),
        pytest.param("- SECRET\n", ":1: example 1: Input should be a valid dictionary", id="a-text"),
        pytest.param("a: [SECRET\n", ":2: not YAML", id="not-yaml"),
        pytest.param("[" * 2000, ": not YAML", id="deep"),
        pytest.param("- {id: " + "9" * 5000 + "}", ": not YAML", id="number-of-thousands-of-digits"),
        pytest.param("- {text: SECRET, since: 2026-99-99}", ": not YAML", id="no-date"),
        pytest.param(
            "- {text: SECRET, text: other, stage: input, violates: true}\n", ":1: a key stands twice", id="twice"
        ),
        pytest.param("- {stage: input, violates: true}\n", "needs text or messages", id="nothing"),
        pytest.param(
            line("SECRET", True, more=", messages: [{role: user, content: SECRET}]"), "and not both", id="text-and-chat"
        ),
        pytest.param(line("SECRET", True, more=", route: r"), "route and action belong together", id="route-only"),
        pytest.param(
            line("SECRET", True, more=", route: r, action: flag"), "needs violates, or else route", id="both-labels"
        ),
        pytest.param(
            "- {text: SECRET, stage: input, route: r, action: block}\n",
            "action: Input should be 'forward', 'flag', 'rewrite' or 'refuse'",
            id="action",
        ),
        pytest.param(
            "- {text: SECRET, stage: input, route: r, action: flag, canary: true}\n",
            "a canary has text and violates",
            id="canary",
        ),
        pytest.param(line("SECRET", True, more=", id: a") * 2, ":2: another example has the same id", id="same-id"),
        pytest.param(line("SECRET", True, more=", canary: true") * 2, "more than one canary that violates", id="two"),
        pytest.param(
            line("SECRET", False, more=", canary: true") * 2, "more than one canary that does not", id="two-safe"
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_the_reason_and_without_its_texts(
    tmp_path: Path, text: str, said: str
) -> None:
    with pytest.raises(PolicyError) as caught:
        read_example_file(beside(write(tmp_path, text)))
    assert said in str(caught.value)
    assert "p.examples.yaml" in str(caught.value)
    assert "SECRET" not in str(caught.value)

"""Exceptions: exactly the content that a policy has read passes that policy, and nothing else changes."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from models.engine import Passage
from models.errors import EngineError
from rules.content import Content, Leaf, Surface
from rules.decision import Decision
from rules.exceptions import fingerprint_of
from rules.policy import Policy
from rules.rule import Action, OnError, Rule, Stage
from rules.screen import Screener
from tests.fakes import FakeEngine, text_rule, word_rule

KEY = b"k" * 32


@dataclass(slots=True)
class Listed:
    """Exceptions by policy name and fingerprint."""

    ids: dict[tuple[str, str], str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    key: bytes = KEY

    def find(self, policy: Policy, fingerprint: str) -> str | None:
        self.asked.append(policy.name)
        return self.ids.get((policy.name, fingerprint))


def content(*texts: str, surface: Surface = Surface.USER) -> Content:
    return Content(tuple(Leaf(("messages", i, "content"), surface, text) for i, text in enumerate(texts)))


def excepting(rule: Rule, what: Content, stage: Stage = Stage.INPUT, context: tuple[Passage, ...] = ()) -> Listed:
    return Listed({(rule.policy.name, fingerprint_of(rule, stage, what, context, KEY)): "7"})


async def decided(
    rules: tuple[Rule, ...], engine: FakeEngine, exceptions: Listed, what: Content, *context: Passage
) -> Decision:
    return await Screener(Stage.INPUT, rules, {"guard": engine}, exceptions=exceptions).screen(what, context)


async def test_an_excepted_content_counts_as_forward_for_a_guards_rule_and_says_so() -> None:
    rule = text_rule("fruit", refuse=0.5)
    said = content("An apple.")
    decision = await decided((rule,), FakeEngine({"fruit": 0.9}), excepting(rule, said), said)
    (verdict,) = decision.verdicts
    assert (decision.action, verdict.action, verdict.score, verdict.excepted) == (
        Action.FORWARD,
        Action.FORWARD,
        0.9,
        "7",
    )


async def test_an_excepted_content_counts_as_forward_for_a_detectors_rule_and_the_guards_are_asked() -> None:
    found, judged = word_rule("word", "apple", refuse=0.5), text_rule("fruit", flag=0.5)
    said = content("An apple.")
    engine = FakeEngine({"fruit": 0.9})
    decision = await decided((found, judged), engine, excepting(found, said), said)
    assert decision.verdicts[0].excepted == "7"
    assert (decision.action, decision.policies) == (Action.FLAG, ("fruit",))
    assert len(engine.calls) == 1


async def test_other_policies_judge_as_ever() -> None:
    rules = (text_rule("fruit", refuse=0.5), text_rule("music", refuse=0.5))
    said = content("An apple.")
    decision = await decided(rules, FakeEngine({"fruit": 0.9, "music": 0.9}), excepting(rules[0], said), said)
    assert (decision.action, decision.policies) == (Action.REFUSE, ("music",))


@pytest.mark.parametrize("on_error", [OnError.REFUSE, OnError.FLAG])
async def test_a_failure_is_not_excepted(on_error: OnError) -> None:
    rule = text_rule("fruit", refuse=0.5, on_error=on_error)
    said = content("An apple.")
    exceptions = excepting(rule, said)
    decision = await decided((rule,), FakeEngine({"fruit": EngineError("down")}), exceptions, said)
    assert decision.verdicts[0].excepted is None
    assert decision.action is not Action.FORWARD
    assert exceptions.asked == []


async def test_nobody_is_asked_about_what_asks_for_nothing() -> None:
    rules = (text_rule("fruit", flag=0.5), word_rule("word", "pear", flag=0.5))
    exceptions = Listed()
    decision = await decided(rules, FakeEngine({"fruit": 0.4}), exceptions, content("An apple."))
    assert decision.action is Action.FORWARD
    assert exceptions.asked == []


async def test_the_fingerprint_stays_with_a_verdict_that_asks_for_something() -> None:
    rule = word_rule("word", "apple", flag=0.5)
    said = content("An apple.")
    decision = await decided((rule,), FakeEngine(), Listed(), said)
    assert decision.verdicts[0].fingerprint == fingerprint_of(rule, Stage.INPUT, said, (), KEY)


GUARDED, FOUND = text_rule("fruit", refuse=0.5), word_rule("word", "apple", refuse=0.5)
SAID = content("An ", "apple.")


def print_of(
    what: Content = SAID,
    rule: Rule = GUARDED,
    stage: Stage = Stage.INPUT,
    context: tuple[Passage, ...] = (),
    key: bytes = KEY,
) -> str:
    return fingerprint_of(rule, stage, what, context, key)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(print_of(content("An ", "apple. ")), id="a character"),
        pytest.param(print_of(content("An apple.")), id="in one message"),
        pytest.param(print_of(content("An a", "pple.")), id="cut elsewhere"),
        pytest.param(print_of(content("apple.", "An ")), id="order"),
        pytest.param(print_of(content("An ", "apple.", surface=Surface.SYSTEM)), id="role"),
        pytest.param(print_of(content("An ", "apple.", "")), id="an empty message"),
        pytest.param(print_of(stage=Stage.OUTPUT), id="stage"),
        pytest.param(print_of(context=(Passage("user", "What?", True),)), id="context"),
        pytest.param(print_of(key=b"l" * 32), id="key"),
        pytest.param(
            print_of(Content(tuple(Leaf(x.path, x.surface, x.text, before="Not ") for x in SAID.leaves))), id="before"
        ),
    ],
)
def test_another_content_has_another_fingerprint(other: str) -> None:
    assert other != print_of()


def test_one_message_in_parts_is_not_two_messages() -> None:
    parts = Content(tuple(Leaf(("messages", 0, "content", i), Surface.USER, x.text) for i, x in enumerate(SAID.leaves)))
    assert print_of(parts) != print_of()


def test_what_a_rule_does_not_read_is_no_part_of_it() -> None:
    rule = text_rule("fruit", refuse=0.5, scope=frozenset({Surface.USER}))
    more = Content((*SAID.leaves, Leaf(("model",), Surface.METADATA, "m-1")))
    assert print_of(more, rule) == print_of(SAID, rule)
    assert print_of(more) != print_of(SAID)


def test_a_detector_reads_no_context() -> None:
    assert print_of(rule=FOUND, context=(Passage("user", "What?", True),)) == print_of(rule=FOUND)

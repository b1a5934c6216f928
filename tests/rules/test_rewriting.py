"""From a decision to its rewrite: which parts are asked about, what is changed, and when nothing can be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from models.engine import GuardPolicy, Passage, Score
from models.errors import EngineError, EngineTimeout
from rules.content import Content, Leaf, LeafKind, Surface
from rules.decision import Cause
from rules.detectors import Edit
from rules.rewrite import Masker, edited_texts, merge_edits
from rules.rewriting import MAX_CALLS, MAX_PARTS, Rewrite, find_rewrite
from rules.rule import Action, Mode, RewriteWith, Rule, Stage
from rules.screen import Screener
from tests.fakes import FakeEngine, judges_word, leaf, scored, text_rule, user, word_rule

BAD = text_rule("bad", rewrite=0.5)
REPLACED = text_rule("bad", rewrite=0.5, rewrite_with=RewriteWith.TEXT)
ADVISED = text_rule("bad", rewrite=0.5, refuse=0.95, rewrite_with=RewriteWith.ADVISORY)


def screener(engine: FakeEngine, *rules: Rule) -> Screener:
    return Screener(Stage.INPUT, rules, {"guard": engine})


async def rewrite(
    content: Content, *rules: Rule, engine: FakeEngine | None = None, masker: Masker | None = None
) -> Rewrite | Cause:
    judge = screener(engine or judges_word("MARK"), *rules)
    decision = await judge.screen(content)
    assert decision.action is Action.REWRITE
    return await find_rewrite(judge, content, decision, (), masker or Masker())


async def texts(content: Content, *rules: Rule, engine: FakeEngine | None = None) -> list[str]:
    """The content's texts once it was rewritten."""
    found = await rewrite(content, *rules, engine=engine)
    assert isinstance(found, Rewrite)
    new = edited_texts(content, found.edits)
    return [new.get(item.path, item.text) for item in content.leaves]


# ---------------------------------------------------------------------- sentences


async def test_the_offending_sentences_are_dropped_and_nothing_else() -> None:
    content = user("Fine. ", "One. A MARK here. Two! And MARK.\nThree")
    assert await texts(content, BAD) == ["Fine. ", "One. Two! Three"]


async def test_only_messages_that_offend_by_themselves_are_read_sentence_by_sentence() -> None:
    engine = judges_word("MARK")
    await rewrite(user("Aa. Bb.", "Cc. MARK.", "Ee"), BAD, engine=engine)
    asked = [call.texts for call in engine.calls[1:]]
    assert asked == [["Aa. Bb."], ["Cc. MARK."], ["Ee"], ["Cc."], ["MARK."]]


async def test_parts_of_one_message_are_asked_about_by_themselves() -> None:
    engine = judges_word("MARK")
    content = Content(
        (leaf("Aa. Bb.", "messages", 0, "content", 0, "text"), leaf("Cc. MARK.", "messages", 0, "content", 1, "text"))
    )
    assert await texts(content, BAD, engine=engine) == ["Aa. Bb.", "Cc. "]
    assert [call.texts for call in engine.calls] == [
        ["Aa. Bb.\nCc. MARK."],
        ["Aa. Bb."],
        ["Cc. MARK."],
        ["Cc."],
        ["MARK."],
    ]


async def test_a_text_of_which_no_sentence_would_be_left_becomes_the_policys_own() -> None:
    assert await texts(user("MARK a. MARK b.", "Fine."), BAD) == ["[bad]", "Fine."]
    assert await texts(user("only MARK"), BAD) == ["[bad]"]


async def test_the_rest_of_the_conversation_is_shown_as_context() -> None:
    engine = judges_word("MARK")
    judge = screener(engine, BAD)
    content = user("Fine. MARK.")
    context = [Passage("user", "asked", context=True)]
    await find_rewrite(judge, content, await judge.screen(content, context), context, Masker())
    assert all(call.passages[0] == context[0] for call in engine.calls)
    assert len(engine.calls) == 3


async def test_a_rule_rewrites_within_its_scope() -> None:
    rule = text_rule("bad", rewrite=0.5, scope=frozenset({Surface.USER}))
    content = Content(
        (
            leaf("MARK s. Fine.", "messages", 0, "content", surface=Surface.SYSTEM),
            leaf("MARK u. Fine.", "messages", 1, "content"),
        )
    )
    assert await texts(content, rule) == ["MARK s. Fine.", "Fine."]


def only_together(*words: str) -> FakeEngine:
    """A guard that minds words only where they stand together."""

    def answer(passages: Sequence[Passage], policies: Sequence[GuardPolicy]) -> list[Score | EngineError]:
        text = " ".join(p.text for p in passages)
        return [scored(0.9 if all(w in text for w in words) else 0.0)] * len(policies)

    return FakeEngine(answer=answer)


@pytest.mark.parametrize("rule", [BAD, REPLACED], ids=["sentences", "text"])
@pytest.mark.parametrize(
    "content",
    [
        pytest.param(user("one", "two"), id="two-messages"),
        pytest.param(Content((leaf("one", "messages", 0, "content", 0), leaf("two", "messages", 0, "content", 1))), id="two-parts"),
        pytest.param(Content((leaf("one"), leaf("two", "user", surface=Surface.METADATA), leaf("x", "messages", 1, "content"))), id="metadata"),
        pytest.param(Content((leaf("one two", kind=LeafKind.KEY), leaf("x"), leaf("x", "messages", 1, "content"))), id="key"),
        pytest.param(Content((leaf("one two", "user", surface=Surface.METADATA),)), id="only-metadata"),
    ],
)  # fmt: skip
async def test_what_offends_only_together_or_where_nothing_is_rewritten_cannot_be_rewritten(
    content: Content, rule: Rule
) -> None:
    assert await rewrite(content, rule, engine=only_together("one", "two")) is Cause.VIOLATION


async def test_sentences_that_offend_only_together_cannot_be_dropped() -> None:
    assert await rewrite(user("one. two."), BAD, engine=only_together("one", "two")) is Cause.VIOLATION


@pytest.mark.parametrize("rule", [BAD, REPLACED], ids=["sentences", "text"])
async def test_the_arguments_of_a_tool_call_cannot_be_rewritten(rule: Rule) -> None:
    path = ("messages", 0, "tool_calls", 0, "function", "arguments")
    call = Leaf(path, Surface.TOOL_CALL, '{"a": "MARK"}', is_json=True)
    assert await rewrite(Content((call,)), rule) is Cause.VIOLATION
    assert await rewrite(Content((leaf("x"), call, leaf("MARK", "messages", 1, "content"))), rule) is Cause.VIOLATION


@pytest.mark.parametrize("n", [MAX_PARTS, MAX_PARTS + 1])
async def test_only_so_many_parts_are_asked_about(n: int) -> None:
    bounded = n <= MAX_PARTS
    assert isinstance(await rewrite(user("MARK. " + "x. " * (n - 2) + "Y."), BAD), Rewrite if bounded else Cause)
    assert isinstance(await rewrite(user("MARK", *("x",) * (n - 1)), REPLACED), Rewrite if bounded else Cause)


async def test_one_rewrite_asks_only_so_often_however_the_parts_are_nested() -> None:
    engine = judges_word("MARK")
    sentences = "MARK. Fine. " * 8
    content = Content(tuple(leaf(sentences, "messages", i, "content", j) for i in range(16) for j in range(16)))
    assert await rewrite(content, BAD, engine=engine) is Cause.VIOLATION
    assert MAX_CALLS - MAX_PARTS < len(engine.calls) - 1 <= MAX_CALLS


async def test_the_rules_that_ask_for_one_rewrite_share_what_may_be_asked() -> None:
    engine = judges_word("MARK")
    content = user(*("MARK. Fine.",) * 30)  # 30 messages and 60 sentences for each rule
    other = text_rule("other", rewrite=0.5)
    assert isinstance(await rewrite(content, BAD, other, engine=engine), Rewrite)
    engine.calls.clear()
    assert await rewrite(content, BAD, other, text_rule("third", rewrite=0.5), engine=engine) is Cause.VIOLATION
    assert len(engine.calls) - 1 <= MAX_CALLS


class FailsLater:
    """A guard that judges MARK, and fails after some calls."""

    def __init__(self, calls: int) -> None:
        self.left = calls

    def __call__(self, passages: Sequence[Passage], policies: Sequence[GuardPolicy]) -> list[Score | EngineError]:
        self.left -= 1
        if self.left < 0:
            return [EngineTimeout("late")] * len(policies)
        return [scored(0.9 if any("MARK" in p.text for p in passages) else 0.0)] * len(policies)


@pytest.mark.parametrize("calls", [1, 3, 4])
async def test_a_guard_that_fails_meanwhile_leaves_it_undecided(calls: int) -> None:
    engine = FakeEngine(answer=FailsLater(calls))
    assert await rewrite(user("Fine.", "Fine. MARK."), BAD, engine=engine) is Cause.UNDECIDED


async def test_parts_are_judged_by_the_whole_cascade() -> None:
    first, second = judges_word("Aa", score=0.3), judges_word("MARK")
    rule = text_rule("bad", "first", "second", rewrite=0.5)
    judge = Screener(Stage.INPUT, (rule,), {"first": first, "second": second})
    content = user("Aa. Aa MARK. MARK.")
    found = await find_rewrite(judge, content, await judge.screen(content), (), Masker())
    assert isinstance(found, Rewrite)
    assert edited_texts(content, found.edits) == {
        content.leaves[0].path: "Aa. MARK."
    }  # the first lets the last one pass


# ---------------------------------------------------------------------- text


async def test_the_texts_that_offend_by_themselves_are_replaced() -> None:
    content = user("Fine.", "One. A MARK here.", "MARK")
    assert await texts(content, REPLACED) == ["Fine.", "[bad]", "[bad]"]


# ---------------------------------------------------------------------- advisory


async def test_an_advisory_changes_nothing_and_settles_its_own_rule() -> None:
    content = user("MARK")
    judge = screener(judges_word("MARK"), ADVISED)
    decision = await judge.screen(content)
    found = await find_rewrite(judge, content, decision, (), Masker())
    assert isinstance(found, Rewrite)
    assert (found.advisories, dict(found.edits)) == (("Mind bad.",), {})
    assert found.judged_again(judge, decision, content).action is Action.FORWARD


@pytest.mark.parametrize("score", [0.6, 0.95], ids=["rewrite", "refuse"])
async def test_an_advisory_settles_neither_a_graver_score_nor_another_rule(score: float) -> None:
    content = user("MARK")
    scores: dict[str, float | EngineError] = {"bad": 0.6}
    engine = FakeEngine(scores)
    judge = screener(engine, ADVISED, text_rule("other", rewrite=0.5, rewrite_with=RewriteWith.ADVISORY))
    found = await find_rewrite(judge, content, await judge.screen(content), (), Masker())
    assert isinstance(found, Rewrite)
    scores["bad" if score > 0.9 else "other"] = score
    assert found.judged_again(judge, await judge.screen(content), content).action >= Action.REWRITE


async def test_a_flag_stays_a_flag_after_an_advisory() -> None:
    rule = text_rule("bad", flag=0.1, rewrite=0.5, rewrite_with=RewriteWith.ADVISORY)
    judge = screener(judges_word("MARK"), rule)
    content = user("MARK")
    found = await find_rewrite(judge, content, await judge.screen(content), (), Masker())
    assert isinstance(found, Rewrite)
    assert found.judged_again(judge, await judge.screen(content), content).action is Action.FLAG


async def test_one_advisory_is_given_once() -> None:
    found = await rewrite(user("MARK"), ADVISED, text_rule("bad", rewrite=0.2, rewrite_with=RewriteWith.ADVISORY))
    assert isinstance(found, Rewrite)
    assert found.advisories == ("Mind bad.",)


# ---------------------------------------------------------------------- together


async def test_masks_and_dropped_sentences_come_together() -> None:
    content = user("Mail ANNA. A MARK for ANNA. Bye ANNA.")
    masks = word_rule("names", "ANNA", rewrite=0.5)
    assert await texts(content, masks, BAD) == ["Mail <WORD_1>. Bye <WORD_1>."]


async def test_what_cannot_be_masked_is_refused_whatever_else_could_be_rewritten() -> None:
    content = Content(
        (leaf("ANNA", "metadata", "ANNA", surface=Surface.METADATA, kind=LeafKind.KEY), leaf("Fine. MARK."))
    )
    assert await rewrite(content, word_rule("names", "ANNA", rewrite=0.5), BAD) is Cause.VIOLATION


async def test_only_enforced_rules_rewrite() -> None:
    shadow = text_rule("shadow", rewrite=0.5, mode=Mode.SHADOW)
    assert await texts(user("MARK ANNA. Fine."), word_rule("names", "ANNA", rewrite=0.5), shadow) == [
        "MARK <WORD_1>. Fine."
    ]


@pytest.mark.parametrize(
    ("edits", "expected"),
    [
        pytest.param({(2, 4): "m", (0, 9): ""}, {(0, 9): ""}, id="inside"),
        pytest.param({(2, 6): "m", (4, 9): ""}, {(2, 9): ""}, id="the-longer-one-says"),
        pytest.param({(2, 8): "m", (6, 9): ""}, {(2, 9): "m"}, id="the-longer-one-says-also-if-it-comes-first"),
        pytest.param({(0, 3): "a", (3, 5): "b"}, {(0, 3): "a", (3, 5): "b"}, id="side-by-side"),
        pytest.param({(0, 4): "a", (3, 6): "b", (5, 9): "c"}, {(0, 9): "a"}, id="a-chain"),
    ],
)
def test_overlapping_edits_take_away_all_that_any_of_them_does(
    edits: Mapping[tuple[int, int], str], expected: Mapping[tuple[int, int], str]
) -> None:
    merged = merge_edits(Edit(a, b, text) for (a, b), text in edits.items())
    assert {(e.start, e.end): e.text for e in merged} == dict(expected)

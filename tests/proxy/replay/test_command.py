"""``safeguard replay``: what is said about recorded decisions and examples under a draft."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from models.engine import GuardPolicy, Passage, Score, Tier
from models.errors import EngineError, EngineTimeout
from proxy.__main__ import main
from proxy.audit.entry import Entry, Keep, moment
from proxy.audit.redaction import kept
from proxy.exchange import judge
from proxy.loading import blueprint
from proxy.loading.drawing import load_config
from proxy.records import decision_record, verdict_record
from proxy.replay import command
from rules.content import Content, Leaf, Surface
from rules.content import Path as LeafPath
from rules.rewrite import Masker
from rules.rule import Stage
from tests.fakes import FakeEngine
from tests.proxy.audit.sinks import T0, sink_of

CONFIG = """\
upstreams: {default: {base_url: demo}}
guards:
  first: {engine: encoder}
audit: {path: audit}
policies:
  fruit: {text: No fruit., examples: fruit.yaml}
  music: {text: No music.}
  mark: {detector: patterns, literals: [ZQ-MARK-7781]}
  peel: {detector: patterns, literals: [peel]}
routes:
  - name: one
    upstream: default
    input: [{policy: fruit, flag: 0.3, refuse: 0.8}, {policy: music, refuse: 0.6}, {policy: mark, refuse: 0.5}]
    output: [{policy: fruit, flag: 0.5}]
"""
EXAMPLES = (
    "- {id: ripe, text: apples 0.5, stage: input, violates: yes}\n- {text: nothing, stage: input, violates: no}\n"
)


class World:
    """A configuration with an audit of what its rules have decided.

    Guards find in a text, behind the first word of the policy's text that is ``fruit`` or ``music``, their score: ``apples 0.5`` is 0.5
    to whatever policy is about fruit.
    """

    def __init__(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.path = path
        self._capsys = capsys
        self.asked: list[tuple[str, str]] = []
        self.contexts: list[list[str]] = []
        self.broken: EngineError | None = None
        (path / "config.yaml").write_text(CONFIG, encoding="utf-8")
        (path / "fruit.yaml").write_text(EXAMPLES, encoding="utf-8")
        self.sink = sink_of("jsonl", path / "audit")
        self.sink.open()
        self._n = 0

    def build(self, spec: Any, **_: Any) -> FakeEngine:
        return FakeEngine(answer=self._answer, name=spec.name)

    def _answer(self, passages: Sequence[Passage], policies: Sequence[GuardPolicy]) -> list[Score | EngineError]:
        text = " ".join(p.text for p in passages if not p.context)
        self.contexts.append([p.text for p in passages if p.context])
        self.asked += [(policy.name, text) for policy in policies]
        return [self.broken or Score(self._score(policy, text), Tier.ENCODER, calibrated=True) for policy in policies]

    def _score(self, policy: GuardPolicy, text: str) -> float:
        words = text.split()
        about = {"fruit": "apples", "music": "songs"}
        named = next((thing for word, thing in about.items() if word in policy.text), "")
        score = next((float(n) for word, n in zip(words, words[1:], strict=False) if word == named), 0.0)
        return max(score, 0.9) if "even" in policy.text and score else score

    def decided(
        self, *texts: str, route: str = "one", stage: str = "input", keep: str = "full", request: str = "", **more: Any
    ) -> list[str]:
        """Have the configuration decide about texts; the ids of the decisions."""
        loaded = load_config(self.path / "config.yaml", canaries=False)
        found = next(r for r in loaded.routes if r.config.name == route)
        screener = found.at(Stage(stage))
        ids = []
        for text in texts:
            self._n += 1
            path: LeafPath = ("messages", 0, "content")
            content = Content((Leaf(path, Surface.USER if stage == "input" else Surface.ASSISTANT, text),))
            judged = asyncio.run(judge(screener, content, (), Masker()))
            shadow = asyncio.run(screener.shadow(content))
            seq, now = T0 + self._n, moment(T0 + self._n)
            request_id = request or f"{self._n:032x}"
            fields = {
                "seq": seq, "decision_id": f"{request_id}-{stage}", "request_id": request_id, "time": now, "stage": stage,
                "endpoint": "/v1/chat/completions", "route": route, "policy_set": found.policy_set, "state": "decided",
                **decision_record(judged.decision), "content": {"texts": 1, "chars": len(text)},
            }  # fmt: skip
            if shadow:
                fields["shadow"] = [verdict_record(v) for v in shadow]
            held = (
                None if keep == "none" else kept(judged.content, judged.decision.verdicts, Keep(keep), screener.rules)
            )
            if held is not None:
                fields |= {"kept": keep, "kept_at": now}
            self.sink.write([Entry(seq, fields["decision_id"], True, now, {**fields, **more}, held)])
            ids.append(fields["decision_id"])
        self.asked.clear()
        self.contexts.clear()
        return ids

    def draft(self, *changes: tuple[str, str]) -> None:
        text = (self.path / "config.yaml").read_text(encoding="utf-8")
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new)
        (self.path / "draft.yaml").write_text(text, encoding="utf-8")

    def run(self, *args: str) -> tuple[int, str, str]:
        """Exit code, output, errors."""
        code = main(["replay", "--config", "config.yaml", "--against", "draft.yaml", *args])
        said = self._capsys.readouterr()
        return code, said.out, said.err

    def report(self, *args: str) -> dict[str, Any]:
        code, out, _ = self.run("--json", *args)
        found: dict[str, Any] = json.loads(out)
        return {**found, "code": code}

    def changed(self, *args: str) -> list[tuple[str, str, str]]:
        return [(c["id"], c["before"], c["after"]) for c in self.report(*args)["changes"]]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> World:
    world = World(tmp_path, capsys)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "configure_logs", lambda **_: None)
    monkeypatch.setattr(blueprint, "build_engine", world.build)
    return world


LOWER = ("refuse: 0.8", "refuse: 0.5")


# ------------------------------------------------------------------ from recorded scores


def test_an_unchanged_configuration_changes_nothing_and_asks_nobody(world: World) -> None:
    world.decided("apples 0.1", "apples 0.5", "apples 0.9", "songs 0.7", "ZQ-MARK-7781", keep="none")
    world.draft()
    report = world.report()
    assert (report["code"], report["replayed"], report["unchanged"], report["changes"]) == (0, 5, 5, [])
    assert (report["from_recorded_scores"], report["judged_anew"], world.asked) == (5, 0, [])


def test_a_threshold_is_decided_anew_from_recorded_scores_without_content_and_without_a_guard(world: World) -> None:
    _, at, between, above = world.decided("apples 0.4", "apples 0.55", "apples 0.7", "apples 0.9", keep="none")
    world.draft(LOWER)
    report = world.report()
    assert [(c["id"], c["before"], c["after"]) for c in report["changes"]] == [
        (between, "flag", "refuse"),
        (at, "flag", "refuse"),
    ]
    assert above not in str(report["changes"])
    assert report["changes"][0]["policies"] == [
        {"policy": "fruit", "before": "flag", "after": "refuse", "score_before": 0.7, "score_after": 0.7}
    ]
    assert report["decisions"] == [
        {"before": "flag", "after": "refuse", "direction": "stricter", "what": "newly refused", "count": 2}
    ]
    assert report["policies"] == [
        {"policy": "fruit", "before": "flag", "after": "refuse", "direction": "stricter", "count": 2}
    ]
    assert (report["code"], report["from_recorded_scores"], world.asked) == (1, 4, [])


def test_a_score_that_was_rounded_onto_a_threshold_is_judged_anew(world: World) -> None:
    (edge,) = world.decided("apples 0.4999999")  # stands as 0.5 on record
    world.draft(LOWER)
    report = world.report()
    assert (report["changes"], report["judged_anew"]) == ([], 1)
    assert world.asked == [("fruit", "apples 0.4999999")]
    assert edge


@pytest.mark.parametrize(
    ("change", "before", "after"),
    [
        pytest.param(("refuse: 0.6}", "refuse: 0.6, mode: shadow}"), "refuse", "forward", id="to-shadow"),
        pytest.param(("refuse: 0.6}", "refuse: 0.6, mode: off}"), "refuse", "forward", id="off"),
        pytest.param((", {policy: music, refuse: 0.6}", ""), "refuse", "forward", id="taken-out"),
        pytest.param(("refuse: 0.6", "flag: 0.6"), "refuse", "flag", id="milder"),
    ],
)
def test_a_rule_that_is_let_go_releases_what_it_refused(
    world: World, change: tuple[str, str], before: str, after: str
) -> None:
    (song,) = world.decided("songs 0.7", keep="none")
    world.draft(change)
    assert world.changed() == [(song, before, after)]
    assert world.asked == []


def test_a_rule_that_was_in_shadow_is_decided_from_what_it_said_there(world: World) -> None:
    path = world.path / "config.yaml"
    path.write_text(CONFIG.replace("refuse: 0.6}", "refuse: 0.6, mode: shadow}"))
    (song,) = world.decided("songs 0.7", keep="none")
    world.draft((", mode: shadow", ""))
    assert world.changed() == [(song, "forward", "refuse")]
    assert world.asked == []


def test_a_failure_stays_one_and_counts_as_the_draft_says(world: World) -> None:
    world.broken = EngineTimeout("late")
    (failed,) = world.decided("apples 0.5", keep="none")
    world.broken = None
    world.draft(("  - name: one\n", "  - name: one\n    on_error: flag\n"))
    assert world.changed() == [(failed, "refuse", "flag")]


def test_what_was_skipped_is_asked_once_nothing_else_refuses(world: World) -> None:
    (marked,) = world.decided("ZQ-MARK-7781 apples 0.4")
    world.draft(("{policy: mark, refuse: 0.5}", "{policy: mark, flag: 0.5}"))
    report = world.report()
    assert [(c["id"], c["before"], c["after"]) for c in report["changes"]] == [(marked, "refuse", "flag")]
    assert sorted(world.asked) == [("fruit", "ZQ-MARK-7781 apples 0.4"), ("music", "ZQ-MARK-7781 apples 0.4")]
    assert report["judged_anew"] == 1


def test_what_still_refuses_need_not_be_asked_about(world: World) -> None:
    world.decided("ZQ-MARK-7781 apples 0.4", keep="none")
    world.draft(LOWER)
    report = world.report()
    assert (report["unchanged"], report["not_replayed"], world.asked) == (1, {}, [])


# ------------------------------------------------------------------ judged anew


def test_only_a_policy_whose_text_has_changed_is_asked_about(world: World) -> None:
    low, none = world.decided("apples 0.1 songs 0.1", "pears")
    world.draft(("No fruit.", "No fruit or even a little."))
    report = world.report()
    assert [(c["id"], c["before"], c["after"]) for c in report["changes"]] == [(low, "forward", "refuse")]
    assert report["changes"][0]["policies"][0]["score_after"] == 0.9
    assert {policy for policy, _ in world.asked} == {"fruit"}
    assert (report["judged_anew"], report["from_recorded_scores"]) == (2, 0)
    assert none


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(("{engine: encoder}", "{engine: encoder, max_content_tokens: 4096}"), id="guard-settings"),
        pytest.param(("flag: 0.3", "scope: [user], flag: 0.3"), id="scope"),
        pytest.param(("No fruit., ", "No fruit., summary: Fruit, "), id="summary"),
    ],
)
def test_what_a_score_depends_on_makes_it_judged_anew(world: World, change: tuple[str, str]) -> None:
    world.decided("apples 0.1")
    world.draft(change)
    report = world.report()
    assert (report["judged_anew"], report["unchanged"], report["code"]) == (1, 1, 0)
    assert ("fruit", "apples 0.1") in world.asked


@pytest.mark.parametrize("change", [("{engine: encoder}", "{engine: encoder, timeout_s: 9}"), ("upstream: default", "upstream: default\n    region: eu")])  # fmt: skip
def test_what_no_score_depends_on_does_not(world: World, change: tuple[str, str]) -> None:
    world.decided("apples 0.1", keep="none")
    world.draft(change)
    assert world.report()["from_recorded_scores"] == 1


def test_rejudge_asks_although_the_scores_are_there(world: World) -> None:
    world.decided("apples 0.1")
    world.draft()
    report = world.report("--rejudge")
    assert (report["judged_anew"], report["from_recorded_scores"]) == (1, 0)
    assert sorted(world.asked) == [("fruit", "apples 0.1"), ("music", "apples 0.1")]


def test_records_without_content_are_counted_and_no_guard_is_started_for_them(world: World) -> None:
    world.decided("apples 0.1", keep="none")
    world.draft(("No fruit.", "No fruit at all."))
    code, out, err = world.run("--json")
    assert json.loads(out)["not_replayed"] == {"no_content": 1}
    assert (code, err) == (2, "nothing was replayed, so nothing is known about the draft\n")
    assert world.asked == []


def test_content_that_was_deleted_since_is_not_there_either(world: World) -> None:
    world.decided("apples 0.1")
    for file in (world.path / "audit").glob("content-*"):
        file.unlink()
    world.draft(("No fruit.", "No fruit at all."))
    assert world.report()["not_replayed"] == {"no_content": 1}


def test_redacted_content_is_judged_as_it_is_and_it_is_said(world: World) -> None:
    world.decided("apples 0.5 write to ann@example.org", keep="redacted")
    world.draft(("No fruit.", "No fruit or even a little."))
    report = world.report()
    assert report["on_redacted_content"] == 1
    assert report["changes"][0]["on_redacted_content"] is True
    assert "ann@example.org" not in str(world.asked)
    assert "on redacted content, which can change verdicts" in world.run()[1]


def test_an_answer_is_judged_with_the_request_that_it_answers(world: World) -> None:
    world.decided("what about pears", request="aa")
    world.decided("apples 0.6", stage="output", request="aa")
    world.decided("apples 0.7", stage="output", request="bb")
    world.draft(("No fruit.", "No fruit at all."))
    report = world.report("--stage", "output")
    assert (report["judged_anew"], report["not_replayed"]) == (1, {"no_request": 1})
    assert world.contexts == [["what about pears"]]


def test_a_piece_of_a_stream_is_not_shown_to_a_guard_that_would_need_the_rest(world: World) -> None:
    world.draft(("No fruit.", "No fruit at all."))
    held = {"keep": "full", "texts": [{"path": ["choices", 0], "surface": "assistant", "kind": "text", "text": "apples 0.7", "before_chars": 9}]}  # fmt: skip
    (piece,) = world.decided("apples 0.7", stage="output", keep="none", kept="full", kept_at=moment(T0 + 1))
    world.sink.write([Entry(T0 + 1, piece, False, moment(T0 + 1), {"seq": T0 + 1, "decision_id": piece}, held)])
    assert world.report()["not_replayed"] == {"window": 1}


def test_a_guard_that_cannot_judge_now_is_no_change_but_no_pass_either(world: World) -> None:
    world.decided("apples 0.1")
    world.draft(("No fruit.", "No fruit at all."))
    world.broken = EngineError("broken")
    code, out, err = world.run("--json")
    assert json.loads(out)["not_replayed"] == {"failed": 1}
    assert (code, "could not judge" in err) == (2, True)


# ------------------------------------------------------------------ rewrites


def test_a_new_rewrite_is_carried_out_to_see_whether_it_holds(world: World) -> None:
    path = world.path / "config.yaml"
    path.write_text(CONFIG.replace("mark, refuse", "mark, flag").replace("[peel]", '["<"]'))
    kept_, not_kept = (*world.decided("ZQ-MARK-7781"), *world.decided("ZQ-MARK-7781", keep="none"))
    rewrite = ("{policy: mark, flag: 0.5}", "{policy: mark, rewrite: 0.5}")
    world.draft(rewrite)
    assert world.changed() == [(not_kept, "flag", "rewrite"), (kept_, "flag", "rewrite")]
    # the other detector finds what a mask is written with, so this one does not hold
    path.write_text(path.read_text().replace("{policy: mark,", "{policy: peel, refuse: 0.5}, {policy: mark,"))
    (kept_,) = world.decided("ZQ-MARK-7781")
    world.draft(rewrite)
    assert (kept_, "flag", "refuse") in world.changed()


def test_a_refusal_after_a_rewrite_is_not_judged_as_if_it_were_what_came(world: World) -> None:
    path = world.path / "config.yaml"
    # a mask is written with the sign that the other detector looks for, so that no rewrite ever holds
    path.write_text(
        CONFIG.replace("[peel]", '["<"]').replace(
            "{policy: mark, refuse: 0.5}", "{policy: peel, rewrite: 0.5}, {policy: mark, rewrite: 0.5}"
        )
    )
    world.decided("ZQ-MARK-7781")
    world.draft()
    assert world.report()["unchanged"] == 1  # the same rules: nothing can change
    world.draft(("refuse: 0.6", "refuse: 0.7"))
    report = world.report()
    assert (report["replayed"], report["not_replayed"]) == (0, {"rewritten": 1})


# ------------------------------------------------------------------ what is not a decision of these rules


def test_a_route_that_is_gone_is_said_by_name_and_fails_a_gate(world: World) -> None:
    world.decided("apples 0.1", "apples 0.9")
    world.draft(("name: one", "name: renamed"))
    report = world.report()
    assert (report["code"], report["routes_gone"], report["not_replayed"]) == (1, {"one": 2}, {"route_gone": 2})
    assert "the draft has no route of this name (one 2)" in world.run()[1]


@pytest.mark.parametrize(
    ("more", "why"),
    [
        pytest.param({"state": "begun"}, "not_decided", id="begun"),
        pytest.param({"state": "cut"}, "not_decided", id="cut"),
        pytest.param({"cause": "fault"}, "nobody_judged", id="fault"),
        pytest.param({"endpoint": "passthrough"}, "nobody_judged", id="passthrough"),
        pytest.param({"endpoint": "/v1/moderations"}, "moderation", id="moderation"),
        pytest.param({"stricter": True}, "stricter", id="stricter"),
        pytest.param({"verdicts": [{"excepted": "3"}]}, "people", id="excepted"),
        pytest.param({"verdicts": [{"ruling": "upheld"}]}, "people", id="reviewed"),
        pytest.param({"verdicts": [{"error": "nobody_reviewed"}]}, "people", id="nobody-reviewed"),
        pytest.param({"action": "sing"}, "unreadable", id="unknown-action"),
        pytest.param({"verdicts": [{}]}, "unreadable", id="unknown-verdict"),
    ],
)
def test_what_no_rules_of_the_route_have_decided_is_counted_by_reason(
    world: World, more: dict[str, Any], why: str
) -> None:
    world.decided("apples 0.5", **more)
    world.draft(LOWER)
    assert world.report()["not_replayed"] == {why: 1}


def test_opaque_parts_are_decided_as_the_draft_says(world: World) -> None:
    (seen,) = world.decided("pears", keep="none", content={"opaque": 2})
    world.draft(("  - name: one\n", "  - name: one\n    opaque: flag\n"))
    assert world.changed() == [(seen, "forward", "flag")]


# ------------------------------------------------------------------ the command


@pytest.mark.parametrize(
    ("fail_on", "stricter", "looser"),
    [
        pytest.param("any", 1, 1, id="any"),
        pytest.param("stricter", 1, 0, id="stricter"),
        pytest.param("looser", 0, 1, id="looser"),
        pytest.param("none", 0, 0, id="none"),
    ],
)
def test_a_gate_fails_on_what_it_is_told_to(world: World, fail_on: str, stricter: int, looser: int) -> None:
    world.decided("apples 0.7")
    world.draft(LOWER)
    assert world.run("--fail-on", fail_on)[0] == stricter
    world.draft(("flag: 0.3", "flag: 0.75"))
    assert world.run("--fail-on", fail_on)[0] == looser


def test_the_filters_are_those_of_the_audit(world: World) -> None:
    world.decided("apples 0.7", "apples 0.1")
    world.decided("apples 0.7", stage="output")
    world.draft(LOWER)
    assert world.report()["replayed"] == 3
    assert world.report("--stage", "output")["replayed"] == 1
    assert world.report("--action", "flag", "--stage", "input")["replayed"] == 1
    assert world.report("--policy", "fruit")["replayed"] == 2
    assert world.run("--route", "two")[0] == 2
    assert world.run("--since", "1m")[0] == 2


def test_a_table_names_as_many_changes_as_it_is_told_to_and_shows_no_content(world: World) -> None:
    world.decided(*["apples 0.7"] * 3)
    world.draft(LOWER)
    _, out, _ = world.run("--limit", "2")
    assert out.count("fruit flag (0.700) -> refuse (0.700)") == 2
    assert "and 1 more" in out
    assert "newly refused" in out
    assert "apples" not in out
    assert len(world.changed("--limit", "2")) == 3, "JSON names all"


def test_it_writes_nothing(world: World) -> None:
    world.decided("apples 0.7")
    world.draft(("No fruit.", "No fruit at all."))
    before = {p: p.read_bytes() for p in world.path.rglob("*") if p.is_file()}
    world.run()
    assert {p: p.read_bytes() for p in world.path.rglob("*") if p.is_file()} == before


def test_examples_are_judged_by_both_configurations_and_only_once_where_scores_are_the_same(world: World) -> None:
    world.draft(LOWER)
    report = world.report("--examples")
    assert [(c["id"], c["before"], c["after"]) for c in report["changes"]] == [
        ("fruit example 1 ripe, one", "flag", "refuse")
    ]
    assert (report["replayed"], report["from_recorded_scores"], report["code"]) == (2, 2, 1)
    world.draft(("No fruit.", "No fruit or even a little."))
    report = world.report("--examples")
    assert [(c["before"], c["after"]) for c in report["changes"]] == [("flag", "refuse")]
    assert report["judged_anew"] == 2


@pytest.mark.parametrize(
    ("args", "said"),
    [
        pytest.param(("--examples", "--since", "1h"), "belong to recorded decisions", id="since-of-examples"),
        pytest.param(("--examples", "--policy", "music"), "there is no such example", id="no-examples"),
        pytest.param(("--folder", "nowhere"), "there is no audit here", id="no-audit"),
    ],
)
def test_what_is_asked_wrongly_is_one_line(world: World, args: tuple[str, ...], said: str) -> None:
    world.draft()
    code, out, err = world.run(*args)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err


def test_a_draft_that_cannot_be_used_is_said_with_file_and_line(world: World) -> None:
    world.draft(("refuse: 0.8", "refuse: 8"))
    code, _, err = world.run()
    assert code == 2
    assert err.startswith("draft.yaml:13: routes[0].input[0].refuse: a threshold must lie in [0, 1]")

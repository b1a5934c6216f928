"""What a rule takes from its route and policy."""

from __future__ import annotations

from pathlib import Path

from rules.content import Surface
from rules.rule import Action, Mode, OnError
from tests.proxy.configs import MARKER, changed, load


def test_mode_off_is_off(tmp_path: Path) -> None:
    loaded = load(tmp_path, changed("refuse: 0.5", "refuse: 0.5, mode: off"))
    assert [r.mode for r in loaded.routes[0].input.rules] == [Mode.OFF]


def test_a_rule_takes_from_its_route_and_policy_what_it_does_not_say(tmp_path: Path) -> None:
    policy = tmp_path / "p.md"
    policy.write_text("---\nsurfaces: [user]\n---\nNo marks.\n", encoding="utf-8")
    text = changed(MARKER, "{file: p.md}") + "    on_error: flag\n    output: [{policy: marker, flag: 0.1, refuse: 1, scope: [tool_call], on_error: forward}]\n"  # fmt: skip
    loaded = load(tmp_path, text)
    given, back = loaded.routes[0].input.rules[0], loaded.routes[0].output.rules[0]
    assert (given.guards, given.on_error, given.scope) == (("embedded",), OnError.FLAG, frozenset({Surface.USER}))
    assert (back.on_error, back.scope) == (OnError.FORWARD, frozenset({Surface.TOOL_CALL}))
    assert back.thresholds == {Action.FLAG: 0.1, Action.REFUSE: 1.0}


def test_a_rule_knows_how_it_rewrites_and_with_which_words(tmp_path: Path) -> None:
    policy = tmp_path / "p.md"
    policy.write_text(
        "---\ntitle: Marks\nrewrite_text: Gone.\nadvisory: Mind the marks.\n---\nNo marks.\n", encoding="utf-8"
    )
    text = """\
upstreams: {default: {base_url: demo}}
policies:
  marker: {detector: patterns, literals: [MARK]}
  plain: {text: No marks.}
  said: {file: p.md}
  over: {file: p.md, rewrite_text: Away., advisory: Other.}
  told: {text: No marks., refusal_text: No.}
routes:
  - name: one
    upstream: default
    refusal_text: Of the route.
    input:
      - {policy: marker, rewrite: 0.5, restore: true}
      - {policy: plain, rewrite: 0.5}
      - {policy: said, rewrite: 0.5, rewrite_with: text}
      - {policy: over, rewrite: 0.5, rewrite_with: advisory}
      - {policy: told, rewrite: 0.5, rewrite_with: text}
"""
    loaded = load(tmp_path, text)
    rules = loaded.routes[0].input.rules
    assert [(r.rewrite_with.value, r.restore, r.rewrite_text) for r in rules] == [
        ("mask", True, "Of the route."),
        ("sentences", False, "Of the route."),
        ("text", False, "Gone."),
        ("advisory", False, "Away."),
        ("text", False, "No."),
    ]
    said = "The next message may touch on: {}. Stay within that policy; decline what it forbids."
    assert [r.policy.advisory for r in rules[1:]] == [
        said.format("plain"),
        "Mind the marks.",
        "Other.",
        said.format("told"),
    ]

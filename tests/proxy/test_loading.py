"""From a configuration file to routes that are ready: what is built, and what every mistake is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from models.host import LocalEngine
from models.verdict_cache import CachedEngine
from proxy.config import EncoderGuard
from proxy.config_error import ConfigError
from proxy.loading import is_loopback, load_config, load_guard, policy_sources
from rules.content import Surface
from rules.rule import Action, Mode, OnError
from tests.proxy.configs import SMALL, complaint, load

ROOT = Path(__file__).parents[2]


TINY = Path(__file__).parents[1] / "data" / "tiny-gpt-oss.gguf"


def changed(old: str, new: str) -> str:
    """`SMALL` with one place changed."""
    assert SMALL.count(old) == 1
    return SMALL.replace(old, new)


RULE = "{policy: marker, refuse: 0.5}"
MARKER = "{detector: patterns, literals: [MARK]}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            SMALL + "    stream: buffer\n    stream: buffer\n", "11: duplicate key 'stream' (first on line 10)",
            id="duplicate-key",
        ),
        pytest.param(changed("upstream: default", "upstream: deflaut"),
                     "7: routes[0].upstream: no upstream is called 'deflaut' (known: default)", id="unknown-upstream"),
        pytest.param(changed("policy: marker", "policy: maker"),
                     "9: routes[0].input[0].policy: no policy is called 'maker' (known: marker)", id="unknown-policy"),
        pytest.param(changed(MARKER, "{text: No marks.}").replace("refuse: 0.5", "refuse: 0.5, guard: nobody"),
                     "9: routes[0].input[0].guard: no guard is called 'nobody' (known: embedded)", id="unknown-guard"),
        pytest.param(changed(MARKER, "{text: No marks.}").replace("refuse: 0.5", "refuse: 0.5, guard: [embedded, x]"),
                     "9: routes[0].input[0].guard: no guard is called 'x' (known: embedded)", id="unknown-guard-in-cascade"),
        pytest.param(SMALL + "default_guard: nobody\n",
                     "10: default_guard: no guard is called 'nobody' (known: embedded)", id="unknown-default-guard"),
        pytest.param(changed("refuse: 0.5", "refuse: 0.5, guard: embedded"),
                     "9: routes[0].input[0].guard: policy 'marker' is a detector and needs no guard",
                     id="guard-for-a-detector"),
        pytest.param(changed("refuse: 0.5", "refuse: 1.5"),
                     "9: routes[0].input[0].refuse: a threshold must lie in [0, 1] (got 1.5)", id="threshold-above-1"),
        pytest.param(changed("refuse: 0.5", "refuse: -0.1"),
                     "9: routes[0].input[0].refuse: a threshold must lie in [0, 1] (got -0.1)", id="threshold-below-0"),
        pytest.param(changed("refuse: 0.5", 'refuse: "0.5"'),
                     "9: routes[0].input[0].refuse: must be a number from 0 to 1 (got '0.5')", id="threshold-as-text"),
        pytest.param(changed("refuse: 0.5", "refuse: true"),
                     "9: routes[0].input[0].refuse: must be a number from 0 to 1 (got True)", id="threshold-as-boolean"),
        pytest.param(changed("refuse: 0.5", "refuse: .nan"),
                     "9: routes[0].input[0].refuse: must be a number from 0 to 1 (got '.nan')", id="threshold-nan"),
        pytest.param(changed(", refuse: 0.5", ""),
                     "9: routes[0].input[0]: needs at least one threshold: flag, rewrite or refuse", id="no-threshold"),
        pytest.param(changed(MARKER, "{text: No marks.}").replace("refuse: 0.5", "rewrite: 0.5, rewrite_with: mask"),
                     "9: routes[0].input[0].rewrite_with: policy 'marker' is judged by a guard, which finds nothing to mask;",
                     id="mask-by-a-model"),
        *(
            pytest.param(changed("refuse: 0.5", f"rewrite: 0.5, rewrite_with: {how}"),
                         "9: routes[0].input[0].rewrite_with: policy 'marker' is a detector, and what it finds is masked;",
                         id=f"{how}-by-a-detector")
            for how in ("sentences", "text", "advisory")
        ),
        pytest.param(changed("refuse: 0.5", "rewrite: 0.5, rewrite_with: blur"), "9: routes[0].input[0].rewrite_with: ",
                     id="a-rewrite-that-nobody-knows"),
        pytest.param(changed(MARKER, "{text: No marks.}").replace("refuse: 0.5", "refuse: 0.5, rewrite_with: text"),
                     "9: routes[0].input[0].rewrite_with: says how to rewrite, but the rule has no threshold `rewrite`",
                     id="how-to-rewrite-without-when"),
        pytest.param(changed(MARKER, "{text: No marks.}").replace("refuse: 0.5", "rewrite: 0.5, rewrite_with: advisory")
                     .replace("input:", "output:"),
                     "9: routes[0].output[0].rewrite_with: an advisory speaks to the upstream", id="advisory-in-output"),
        pytest.param(changed("refuse: 0.5", "refuse: 0.5, restore: true"),
                     "9: routes[0].input[0].restore: restores what the rule masks, so it needs a detector",
                     id="restore-without-a-rewrite"),
        pytest.param(changed(MARKER, "{text: No marks.}").replace("refuse: 0.5", "rewrite: 0.5, restore: true"),
                     "9: routes[0].input[0].restore: restores what the rule masks, so it needs a detector",
                     id="restore-by-a-model"),
        pytest.param(changed("refuse: 0.5", "rewrite: 0.5, restore: true").replace("input:", "output:"),
                     "9: routes[0].output[0].restore: what was masked in the request is restored", id="restore-in-output"),
        pytest.param(changed("refuse: 0.5", 'rewrite: 0.5, restore: "yes please"'), "9: routes[0].input[0].restore: ",
                     id="restore-is-no-text"),
        pytest.param(changed(MARKER, "{text: No marks.}").replace("refuse: 0.5", "rewrite: 0.5").replace("input:", "output:")
                     + "    stream: deliver_first\n",
                     "9: routes[0].output[0].rewrite: what `stream: deliver_first` has sent cannot be rewritten",
                     id="rewrite-of-what-was-delivered"),
        pytest.param(changed(MARKER, "{detector: secrets, advisory: x}"),
                     "4: policies.marker: rewrite_text and advisory belong to a policy with file or text;",
                     id="advisory-of-a-detector"),
        pytest.param(changed("refuse: 0.5", "refuse: 0.5, mode: shadowy"), "9: routes[0].input[0].mode: ", id="wrong-mode"),
        pytest.param(changed("refuse: 0.5", "refuse: 0.5, scope: [users]"),
                     "9: routes[0].input[0].scope[0]: ", id="wrong-scope"),
        pytest.param(changed("refuse: 0.5", "refuse: 0.5, on_error: fail"),
                     "9: routes[0].input[0].on_error: ", id="wrong-on-error"),
        *(
            pytest.param(changed(MARKER, "{text: No marks.}").replace("refuse: 0.5", f"refuse: 0.5, {given}"),
                         f"9: routes[0].input[0]{said}", id=name)
            for name, given, said in (
                ("limit-without-a-cascade", "pass_below: 0.1", ": pass_below: is for a cascade, so `guard` must be a list"),
                ("limit-of-one-guard", "guard: [embedded], pass_below: 0.1", ": pass_below: is for a cascade"),
                ("limit-above-the-thresholds", "guard: [embedded, embedded], flag: 0.2, pass_below: 0.3",
                 ": pass_below: 0.3 is above the lowest threshold: what asks for an action may not pass; use 0.2 or less"),
                ("limit-of-another-guard", "guard: [embedded, other], pass_below: {other: 0.3}",
                 ": pass_below: 'other' is no earlier guard of the cascade (those are: embedded)"),
                ("limit-nan", "guard: [embedded, embedded], pass_below: .nan", ".pass_below: must be a number from 0 to 1"),
                ("limit-as-text", "guard: [embedded, embedded], pass_below: low",
                 ".pass_below: must be a number from 0 to 1, or such numbers by name of a guard, e.g. {embedded: 0.02}"),
                ("limit-above-1", "guard: [embedded, embedded], pass_below: {embedded: 2}",
                 ".pass_below: must be a number from 0 to 1"),
            )
        ),
        pytest.param(changed("refuse: 0.5", "refus: 0.5"),
                     "9: routes[0].input[0].refus: unknown key; known here: policy, guard, flag", id="unknown-key-in-a-rule"),
        pytest.param(SMALL + "    fail_mode: open\n", "10: routes[0].fail_mode: unknown key; known here: name, match",
                     id="unknown-key-in-a-route"),
        pytest.param(SMALL + "polices: {}\n", "10: polices: unknown key; known here: listen, admin", id="unknown-section"),
        pytest.param(changed("base_url: demo", "base_url: demo, key: x"),
                     "2: upstreams.default.key: unknown key; known here: base_url", id="unknown-key-in-an-upstream"),
        pytest.param(SMALL + "listen: {prot: 1}\n", "10: listen.prot: unknown key", id="unknown-key-in-listen"),
        pytest.param(changed("upstreams:\n  default: {base_url: demo}\n", ""), "1: upstreams: is missing", id="no-upstreams"),
        pytest.param(changed("    upstream: default\n", ""), "6: routes[0].upstream: is missing", id="route-without-upstream"),
        pytest.param(changed("base_url: demo", ""), "2: upstreams.default.base_url: is missing", id="no-base-url"),
        pytest.param(changed("base_url: demo", "base_url: ftp://x/v1"),
                     "2: upstreams.default.base_url: must be an http:// or https:// URL with a host (got 'ftp://x/v1')",
                     id="wrong-scheme"),
        pytest.param(changed("base_url: demo", 'base_url: "https://u:p@x/v1"'),
                     "2: upstreams.default.base_url: must not hold credentials", id="credentials-in-the-url"),
        pytest.param(changed("base_url: demo", 'base_url: "http://x:99999/v1"'),
                     "2: upstreams.default.base_url: Port out of range 0-65535", id="port-out-of-range"),
        pytest.param("[]\n", "1: must be a mapping of keys to values", id="a-list"),
        pytest.param(SMALL + 'listen: {host: ""}\n', "10: listen.host: ", id="host-that-means-all-interfaces"),
        pytest.param(SMALL + 'admin: {host: ""}\n', "10: admin.host: ", id="admin-host-that-means-all-interfaces"),
        pytest.param(SMALL + "guards:\n  g: {engine: lama, model: x}\n",
                     "11: guards.g: engine must be one of encoder, llama, openai", id="wrong-engine"),
        pytest.param(SMALL + "guards:\n  g: {model: x}\n",
                     "11: guards.g: engine must be one of encoder, llama, openai", id="no-engine"),
        pytest.param(SMALL + "guards:\n  g:\n    engine: llama\n    model: x\n    effort: huge\n",
                     "14: guards.g.effort: ", id="wrong-effort"),
        pytest.param(SMALL + "guards:\n  g:\n    engine: llama\n    model: x\n    kv_type: q8_0\n    flash_attention: off\n",
                     "14: guards.g.kv_type: q8_0 needs flash attention", id="quantised-cache-without-flash-attention"),
        pytest.param(changed(MARKER, "{text: No marks.}").replace("refuse: 0.5", "refuse: 0.5, guard: g")
                     + f"guards:\n  g:\n    engine: llama\n    model: {TINY}\n    lora: none.gguf\n",
                     "14: guards.g.lora: no such file: none.gguf", id="an-adapter-that-is-not-there"),
        pytest.param(SMALL + "guards:\n  g:\n    engine: llama\n    model: x\n    kv_type: f32\n",
                     "14: guards.g.kv_type: f32 needs flash_attention off", id="f32-with-flash-attention"),
        pytest.param(SMALL + "guards:\n  g:\n    engine: llama\n    model: x\n    kv_type: q8_0\n    flash_attention: true\n",
                     "15: guards.g.flash_attention: Input should be 'auto', 'on' or 'off'", id="flash-attention-is-a-boolean"),
        pytest.param(SMALL + "guards:\n  g:\n    engine: llama\n    model: x\n    batch_tokens: 16\n",
                     "14: guards.g.batch_tokens: ", id="batches-too-small"),
        pytest.param(SMALL + "guards:\n  g:\n    engine: llama\n    model: x\n    max_sequences: 100\n    max_kept: 28\n",
                     "15: guards.g.max_kept: max_sequences and max_kept (28) must be at most 126 together", id="too-many-sequences"),
        pytest.param(SMALL + "guards:\n  g:\n    engine: llama\n    model: x\n    max_sequences: 120\n",
                     "11: guards.g: max_sequences and max_kept (8) must be at most 126 together", id="too-many-with-those-kept"),
        pytest.param(SMALL + "guards:\n  g:\n    engine: encoder\n    effort: low\n",
                     "13: guards.g.effort: unknown key", id="key-of-another-engine"),
        pytest.param(changed(MARKER, "{file: nowhere.md}"),
                     "4: policies.marker.file: no such file: nowhere.md (looked in ", id="missing-policy-file"),
        pytest.param(changed(MARKER, "{}"),
                     "4: policies.marker: needs exactly one of file, text, detector (has none)", id="policy-of-no-kind"),
        pytest.param(changed(MARKER, "{text: a, detector: secrets}"),
                     "4: policies.marker: needs exactly one of file, text, detector (has text, detector)",
                     id="policy-of-two-kinds"),
        pytest.param(changed(MARKER, '{text: " "}'), "4: policies.marker: policy 'marker' has no text", id="empty-policy"),
        pytest.param(changed(MARKER, "{detector: patterns}"),
                     "4: policies.marker: `detector: patterns` needs patterns or literals", id="patterns-without-patterns"),
        pytest.param(changed(MARKER, '{detector: patterns, patterns: ["(a"]}'), "4: policies.marker: ", id="broken-pattern"),
        pytest.param(changed(MARKER, "{detector: secrets, literals: [x]}"),
                     "4: policies.marker: patterns, literals and ignore_case belong to `detector: patterns`",
                     id="option-of-another-detector"),
        pytest.param(changed(MARKER, "{detector: pii, kinds: [shoe-size]}"), "4: policies.marker: ", id="unknown-kind-of-pii"),
        pytest.param(changed(MARKER, "{detector: magic}"), "4: policies.marker.detector: ", id="unknown-detector"),
        pytest.param(changed("base_url: demo", 'base_url: "${NO_SUCH_URL}"'),
                     "2: environment variable NO_SUCH_URL is not set", id="missing-environment-variable"),
        pytest.param(changed("base_url: demo", "base_url: demo, api_key_env: NO_SUCH_KEY"),
                     "2: upstreams.default.api_key_env: environment variable NO_SUCH_KEY is not set", id="missing-key"),
        pytest.param(SMALL + "  - name: one\n    upstream: default\n",
                     "10: routes[1].name: another route is already called 'one'", id="two-routes-of-one-name"),
        pytest.param(changed("name: one", "name: ''"), "6: routes[0].name: ", id="route-without-a-name"),
        pytest.param(SMALL.partition("routes:")[0] + "routes: []\n", "5: routes: ", id="no-routes"),
        pytest.param(SMALL + "    match: {path: eu/v1/*}\n",
                     "10: routes[0].match.path: must begin with / and lead to /v1/…", id="path-without-slash"),
        pytest.param(SMALL + "    match: {models: []}\n", "10: routes[0].match.models: ", id="no-models"),
        pytest.param(SMALL + "    max_body_bytes: 1\n", "10: routes[0].max_body_bytes: ", id="limit-too-small"),
        pytest.param(SMALL + "    stream: chunked\n", "10: routes[0].stream: ", id="a-stream-mode-that-nobody-knows"),
        pytest.param(
            SMALL.replace("input:\n      - {policy: marker, refuse", "output:\n      - {policy: marker, rewrite")
            + "    stream: deliver_first\n",
            "9: routes[0].output[0].rewrite: what `stream: deliver_first` has sent cannot be rewritten",
            id="rewrite-after-delivery",
        ),
        pytest.param(
            SMALL.replace("marker, refuse", "marker, rewrite") + "    overlap: true\n",
            "9: routes[0].input[0].rewrite: with `overlap: true` the request is sent before",
            id="rewrite-with-overlap",
        ),
        pytest.param(SMALL + "listen: {port: 99999}\n", "10: listen.port: ", id="no-such-port"),
        pytest.param(SMALL + "admin: {host: 0.0.0.0}\n",
                     "10: admin.host: '0.0.0.0' is not a loopback address, so token_env must name a variable that is set",
                     id="open-admin-port"),
        pytest.param(SMALL + "admin: {host: 0.0.0.0, token_env: NO_SUCH_TOKEN}\n",
                     "10: admin.host: '0.0.0.0' is not a loopback address", id="open-admin-port-with-an-empty-token"),
        pytest.param("[1, 2]\n", "1: ", id="a-list"),
        pytest.param("just words\n", "1: ", id="a-text"),
        pytest.param("", "1: upstreams: is missing", id="an-empty-file"),
        pytest.param("a: [\n", "2: not valid YAML", id="not-yaml"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_with_file_line_key_and_reason(text: str, expected: str, tmp_path: Path) -> None:
    assert complaint(tmp_path, text).startswith(expected)


def test_a_file_that_is_not_there_is_one_line_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "none.yaml", {})
    assert str(caught.value) == f"{tmp_path / 'none.yaml'}: cannot read the configuration: No such file or directory"


def test_a_file_that_is_not_utf_8_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_bytes(b"a: \xff\n")
    with pytest.raises(ConfigError, match=r"not UTF-8 \(byte 3\)"):
        load_config(tmp_path / "c.yaml", {})


def test_a_key_written_where_its_variable_belongs_is_not_repeated(tmp_path: Path) -> None:
    said = complaint(tmp_path, changed("base_url: demo", "base_url: demo, api_key_env: sk-secret-1"))
    assert said.startswith("2: upstreams.default.api_key_env: ")
    assert "sk-secret" not in said


@pytest.mark.parametrize("value", ["two words", "schlüssel", "line\nend"])
def test_a_variable_that_holds_no_key_is_told_without_its_value(value: str, tmp_path: Path) -> None:
    said = complaint(tmp_path, changed("base_url: demo", "base_url: demo, api_key_env: KEY"), KEY=value)
    assert said.startswith("2: upstreams.default.api_key_env: environment variable KEY does not hold a key")
    assert value not in said


def test_a_key_is_read_from_its_variable_and_never_shown(tmp_path: Path) -> None:
    loaded = load(tmp_path, changed("base_url: demo", "base_url: demo, api_key_env: KEY"), KEY="sk-1\n")
    assert loaded.routes[0].upstream_key == "sk-1"
    assert "sk-1" not in repr(loaded)


def test_an_admin_token_is_read_from_its_variable_and_never_shown(tmp_path: Path) -> None:
    loaded = load(tmp_path, SMALL + "admin: {host: 0.0.0.0, token_env: TOKEN}\n", TOKEN="t-1")
    assert loaded.admin_token == "t-1"
    assert "t-1" not in repr(loaded)


def test_a_default_stands_in_for_a_variable_that_is_not_set(tmp_path: Path) -> None:
    text = changed("base_url: demo", 'base_url: "${URL:-demo}"')
    assert load(tmp_path, text).routes[0].upstream.base_url == "demo"
    assert load(tmp_path, text, URL="http://h/v1/").routes[0].upstream.base_url == "http://h/v1"


def test_numbers_may_come_from_the_environment(tmp_path: Path) -> None:
    assert load(tmp_path, SMALL + 'listen: {port: "${PORT:-8080}"}\n', PORT="9").config.listen.port == 9


def test_the_example_is_good() -> None:
    loaded = load_config(ROOT / "config.example.yaml", {})
    assert [r.config.name for r in loaded.routes] == ["default"]
    assert loaded.routes[0].upstream.base_url == "demo"
    assert sorted(loaded.engines) == ["embedded"]


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


def test_a_policy_file_beside_the_configuration_wins_over_a_shipped_one(tmp_path: Path) -> None:
    text = changed(MARKER, "{file: rules/policies/hate.md}")
    assert "No marks" not in load(tmp_path, text).policies["marker"].text
    (tmp_path / "rules/policies").mkdir(parents=True)
    (tmp_path / "rules/policies/hate.md").write_text("No marks.\n", encoding="utf-8")
    assert load(tmp_path, text).policies["marker"].text == "No marks."


def test_only_guards_that_a_rule_uses_are_built(tmp_path: Path) -> None:
    guards = "guards: {embedded: {engine: encoder}, fleet: {engine: openai, base_url: 'http://h/v1', model: m}}\n"
    assert dict(load(tmp_path, SMALL + guards).engines) == {}
    judged = changed(MARKER, "{text: No marks.}") + guards
    assert list(load(tmp_path, judged).engines) == ["embedded"]
    assert list(load(tmp_path, judged + "default_guard: fleet\n").engines) == ["fleet"]
    off = judged.replace("refuse: 0.5", "refuse: 0.5, mode: off")
    assert dict(load(tmp_path, off).engines) == {}


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


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("rewrite: 0.5", "rewrite: 0.5, rewrite_with: text", id="rewrite-with"),
        pytest.param("{text: No marks.}", "{text: No marks., advisory: x}", id="advisory"),
    ],
)
def test_the_hash_of_the_policy_set_changes_with_what_a_rewrite_does(old: str, new: str, tmp_path: Path) -> None:
    text = changed(MARKER, "{text: No marks.}").replace("refuse: 0.5", "rewrite: 0.5")
    if "advisory" in new:
        text = text.replace("rewrite: 0.5", "rewrite: 0.5, rewrite_with: advisory")
    assert load(tmp_path, text).revision != load(tmp_path, text.replace(old, new)).revision
    masks = changed("refuse: 0.5", "rewrite: 0.5")
    assert load(tmp_path, masks).revision != load(tmp_path, masks.replace("0.5", "0.5, restore: true")).revision


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("refuse: 0.5", "refuse: 0.6", id="threshold"),
        pytest.param("refuse: 0.5", "flag: 0.5", id="action"),
        pytest.param("refuse: 0.5", "refuse: 0.5, mode: shadow", id="mode"),
        pytest.param("refuse: 0.5", "refuse: 0.5, scope: [user]", id="scope"),
        pytest.param("refuse: 0.5", "refuse: 0.5, on_error: flag", id="on-error"),
        pytest.param("[MARK]", "[MARK, OTHER]", id="policy"),
        pytest.param("input:", "output:", id="stage"),
        pytest.param("input:", "opaque: flag\n    input:", id="opaque"),
        pytest.param("name: one", "name: two", id="route"),
    ],
)
def test_the_hash_of_the_policy_set_changes_with_whatever_can_change_a_decision(
    old: str, new: str, tmp_path: Path
) -> None:
    before, after = load(tmp_path, SMALL), load(tmp_path, changed(old, new))
    assert before.routes[0].policy_set == load(tmp_path, SMALL).routes[0].policy_set
    assert before.routes[0].policy_set != after.routes[0].policy_set
    assert before.revision != after.revision
    assert len(before.routes[0].policy_set) == 16


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False),
     ("10.0.0.1", False), ("example.com", False), ("localhost.example.com", False), ("", False)],
)  # fmt: skip
def test_only_loopback_addresses_are_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_a_llama_guard_takes_all_that_may_wait_at_once_and_keeps_policies_beside_the_configuration(
    tmp_path: Path,
) -> None:
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    text = (
        changed(MARKER, "{text: No marks.}")
        + "guards: {g: {engine: llama, model: m.gguf, max_queue: 9, prefix_cache: kept, cache_entries: 0}}\n"
    )
    (tmp_path / "safeguard.yaml").write_text(text)
    engine = load_config(tmp_path / "safeguard.yaml", {}).engines["g"]
    assert isinstance(engine, LocalEngine)
    spec = engine._spec
    assert (spec.n_at_once, spec.n_policies, spec.prefix_cache) == (10, 1, str(tmp_path / "kept"))


GUARDED = """\
upstreams:
  default: {base_url: demo}
guards:
  embedded: {engine: encoder}
  second: {engine: encoder, cache_entries: 0}
  fleet: {engine: openai, base_url: "http://h/v1", model: m, cache_entries: 7}
  trusting: {engine: encoder, canaries: false}
default_guard: embedded
policies:
  hate: {file: rules/policies/hate.md}
  violence: {file: violence.md}
  fraud: {file: fraud.md}
  text: {text: Nothing bad.}
  bare: {file: bare.md}
  off: {file: cyber.md}
  secrets: {detector: secrets}
routes:
  - name: one
    upstream: default
    input:
      - {policy: hate, refuse: 0.5}
      - {policy: violence, guard: [embedded, fleet], refuse: 0.5, mode: shadow}
      - {policy: text, guard: second, refuse: 0.5}
      - {policy: bare, guard: second, refuse: 0.5}
      - {policy: off, refuse: 0.5, mode: off}
      - {policy: secrets, refuse: 0.5}
      - {policy: fraud, guard: trusting, refuse: 0.5}
    output:
      - {policy: hate, refuse: 0.5}
"""


def canaries_of(engine: Any) -> list[str]:
    inner: Any = engine.inner if isinstance(engine, CachedEngine) else engine
    return [canary.policy.name for canary in inner._canaries]


def test_a_guard_has_the_canaries_of_the_policies_that_it_judges(tmp_path: Path) -> None:
    (tmp_path / "bare.md").write_text("Without examples.", encoding="utf-8")
    loaded = load(tmp_path, GUARDED)
    assert {name: canaries_of(engine) for name, engine in loaded.engines.items()} == {
        "embedded": ["hate", "violence"],
        "fleet": ["violence"],
        "second": [],
        "trusting": [],
    }
    without = load_config(tmp_path / "c.yaml", {}, canaries=False)
    assert not any(canaries_of(engine) for engine in without.engines.values())


def test_examples_beside_a_policy_of_ones_own_are_its_canaries_and_have_to_be_usable(tmp_path: Path) -> None:
    (tmp_path / "bare.md").write_text("With examples.", encoding="utf-8")
    beside = tmp_path / "bare.examples.yaml"
    beside.write_text("- {text: a, stage: input, violates: true}\n- {text: b, stage: output, violates: false}\n")
    assert canaries_of(load(tmp_path, GUARDED).engines["second"]) == ["bare"]
    beside.write_text("- {text: a, violates: true}\n")
    assert complaint(tmp_path, GUARDED) == f"14: policies.bare.file: {beside}:1: example 1: stage: Field required"


NAMED_EXAMPLES = """\
upstreams:
  default: {base_url: demo}
policies:
  text: {text: No threats., examples: mine.yaml}
  word: {detector: patterns, literals: [MARK], examples: mine.yaml}
  file:
    file: own.md
routes:
  - {name: one, upstream: default, input: [{policy: text, flag: 0.5}, {policy: word, flag: 0.5}]}
"""


def test_the_configuration_names_examples_for_texts_and_detectors(tmp_path: Path) -> None:
    (tmp_path / "own.md").write_text("---\ntitle: Own\n---\nA text.", encoding="utf-8")
    assert complaint(tmp_path, NAMED_EXAMPLES).startswith(
        "4: policies.text.examples: no such file: mine.yaml (looked in"
    )
    lines = "- {text: a, stage: input, violates: yes}\n- {text: b, stage: input, violates: no}\n"
    (tmp_path / "mine.yaml").write_text(lines)
    assert canaries_of(load(tmp_path, NAMED_EXAMPLES).engines["embedded"]) == ["text"]
    config = tmp_path / "c.yaml"
    seen = [
        (s.name, s.file, s.line, s.text, None if s.examples is None else len(s.examples.examples))
        for s in policy_sources(config, {})
    ]
    assert seen == [
        ("text", config, 4, "No threats.", 2),
        ("word", config, 5, None, 2),
        ("file", tmp_path / "own.md", 4, "A text.", None),
    ]


def test_a_guard_that_no_rule_names_can_be_wanted(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text(SMALL.replace("policies:", "guards: {spare: {engine: encoder}}\npolicies:"), encoding="utf-8")
    assert set(load_config(config, {}).engines) == set()
    assert set(load_config(config, {}, also_guard="spare").engines) == {"spare"}
    with pytest.raises(ConfigError, match=r"c\.yaml:3: guards: no guard is called 'second' \(known: spare\)"):
        load_config(config, {}, also_guard="second")


def test_a_guard_remembers_as_many_verdicts_as_it_is_told(tmp_path: Path) -> None:
    (tmp_path / "bare.md").write_text("Without examples.", encoding="utf-8")
    engines = load(tmp_path, GUARDED).engines
    kept = {name: engine._entries for name, engine in engines.items() if isinstance(engine, CachedEngine)}
    assert kept == {"embedded": 50_000, "fleet": 7, "trusting": 50_000}


@pytest.mark.parametrize("url", ["https://u:sesame@x/v1", "https://sesame@x/v1", "https://x/v1?key=sesame"])
def test_a_complaint_about_a_url_does_not_show_what_can_be_a_key(tmp_path: Path, url: str) -> None:
    assert "sesame" not in complaint(tmp_path, changed("base_url: demo", f'base_url: "{url}"'))


GUARDS = """\
upstreams: {default: {base_url: demo}}
guards:
  small: {engine: encoder, model: embedded, threads: 1, sha256: HASH}
  far: {engine: openai, base_url: "http://127.0.0.1:9/v1", model: m}
default_guard: small
policies: {marks: {text: No marks.}}
routes: [{name: one, upstream: default, input: [{policy: marks, refuse: 0.5}]}]
""".replace("HASH", "ab" * 32)


def test_other_weights_keep_the_guards_settings_but_name_and_hash(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(GUARDS, encoding="utf-8")
    found = load_guard(path, None, 1, weights=tmp_path / "shop.gguf")
    assert isinstance(found.config, EncoderGuard)
    assert (found.name, found.config.threads, found.config.sha256) == ("shop", 1, None)
    assert found.config.model == str(tmp_path / "shop.gguf")


def test_other_weights_for_a_guard_that_is_no_encoder_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(GUARDS, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"guards\.far: is no encoder"):
        load_guard(path, "far", 1, weights=tmp_path / "shop.gguf")
    with pytest.raises(ConfigError, match="no guard is called 'nope'"):
        load_guard(path, "nope", 1)


@pytest.mark.timeout(20)
def test_a_device_without_an_end_is_no_configuration() -> None:
    with pytest.raises(ConfigError, match="/dev/zero: has no end that is near"):
        load_config(Path("/dev/zero"))

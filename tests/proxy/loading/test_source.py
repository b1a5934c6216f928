"""What every mistake is told: one line with file, line, key and reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.config_error import ConfigError
from proxy.loading.drawing import load_config
from tests.proxy.configs import MARKER, SMALL, changed, complaint, load

TINY = Path(__file__).parents[2] / "data" / "tiny-gpt-oss.gguf"


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
        pytest.param(changed("refuse: 0.5", 'refuse: "half"'),
                     "9: routes[0].input[0].refuse: must be a number from 0 to 1 (got 'half')", id="threshold-as-text"),
        pytest.param(changed("refuse: 0.5", "refuse: true"),
                     "9: routes[0].input[0].refuse: must be a number from 0 to 1 (got True)", id="threshold-as-boolean"),
        pytest.param(changed("refuse: 0.5", "refuse: .nan"),
                     "9: routes[0].input[0].refuse: must be a number from 0 to 1 (got '.nan')", id="threshold-nan"),
        pytest.param(changed("refuse: 0.5", "refuse: 0.5, guard: []"),
                     "9: routes[0].input[0]: guard: names none; leave it out for `default_guard`", id="no-guard-named"),
        pytest.param(changed("refuse: 0.5", "refuse: 0.5, guard: [embedded, embedded]"),
                     "9: routes[0].input[0]: guard: a cascade asks each guard once, so no name may stand twice", id="guard-twice"),
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
                     "11: guards.g.engine: must be one of encoder, llama, openai (got 'lama')", id="wrong-engine"),
        pytest.param(SMALL + "guards:\n  g: {model: x}\n",
                     "11: guards.g.engine: must be one of encoder, llama, openai", id="no-engine"),
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


def test_a_default_stands_in_for_a_variable_that_is_not_set(tmp_path: Path) -> None:
    text = changed("base_url: demo", 'base_url: "${URL:-demo}"')
    assert load(tmp_path, text).routes[0].upstream.base_url == "demo"
    assert load(tmp_path, text, URL="http://h/v1/").routes[0].upstream.base_url == "http://h/v1"


def test_numbers_may_come_from_the_environment(tmp_path: Path) -> None:
    assert load(tmp_path, SMALL + 'listen: {port: "${PORT:-8080}"}\n', PORT="9").config.listen.port == 9


@pytest.mark.parametrize("url", ["https://u:sesame@x/v1", "https://sesame@x/v1", "https://x/v1?key=sesame"])
def test_a_complaint_about_a_url_does_not_show_what_can_be_a_key(tmp_path: Path, url: str) -> None:
    assert "sesame" not in complaint(tmp_path, changed("base_url: demo", f'base_url: "{url}"'))


@pytest.mark.timeout(20)
def test_a_device_without_an_end_is_no_configuration() -> None:
    with pytest.raises(ConfigError, match="/dev/zero: has no end that is near"):
        load_config(Path("/dev/zero"))

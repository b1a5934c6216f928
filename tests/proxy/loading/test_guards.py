"""What the guards of a configuration are: what they may hold, and what they have to get right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from models.host import LocalEngine
from models.verdict_cache import CachedEngine
from proxy.loading.drawing import load_config
from proxy.loading.policies import policy_sources
from tests.proxy.configs import MARKER, changed, complaint, head_of_gguf, load

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


def test_a_llama_guard_takes_all_that_may_wait_at_once_and_keeps_policies_beside_the_configuration(
    tmp_path: Path,
) -> None:
    (tmp_path / "m.gguf").write_text(head_of_gguf("gpt-oss"))
    text = (
        changed(MARKER, "{text: No marks.}")
        + "guards: {g: {engine: llama, model: m.gguf, max_queue: 9, prefix_cache: kept, cache_entries: 0}}\n"
    )
    (tmp_path / "safeguard.yaml").write_text(text)
    engine = load_config(tmp_path / "safeguard.yaml", {}).engines["g"]
    assert isinstance(engine, LocalEngine)
    spec = engine._spec
    assert (spec.n_at_once, spec.n_policies, spec.prefix_cache) == (10, 1, str(tmp_path / "kept"))


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


def test_a_guard_remembers_as_many_verdicts_as_it_is_told(tmp_path: Path) -> None:
    (tmp_path / "bare.md").write_text("Without examples.", encoding="utf-8")
    engines = load(tmp_path, GUARDED).engines
    kept = {name: engine._entries for name, engine in engines.items() if isinstance(engine, CachedEngine)}
    assert kept == {"embedded": 50_000, "fleet": 7, "trusting": 50_000}


def judged_by(guard: str, policy: str) -> str:
    return changed(MARKER, policy) + f"guards: {{g: {guard}}}\n"


ENCODER = "{engine: encoder, model: embedded}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            judged_by(ENCODER, "{text: No marks., category: hte}"),
            "4: policies.marker.category: guard 'g' has no category 'hte' (known: any, ",
            id="category",
        ),
        pytest.param(
            judged_by(ENCODER, "{text: No marks., category: pair}"),
            "4: policies.marker.category: guard 'g' has no category 'pair'",
            id="the-pair-is-none",
        ),
        pytest.param(
            judged_by("{engine: encoder, model: m.gguf}", "{text: No marks.}"),
            "4: policies.marker: guard 'g' has no output for policies of one's own: it needs a category (known: a, b)",
            id="no-pair",
        ),
        pytest.param(
            judged_by("{engine: llama, model: m.gguf}", "{text: No marks.}"),
            "10: guards.g.model: FOLDER/m.gguf is a bert model: engine llama runs gpt-oss models only",
            id="other-engine",
        ),
        pytest.param(
            judged_by("{engine: encoder, model: junk.gguf}", "{text: No marks.}"),
            "10: guards.g.model: FOLDER/junk.gguf: not a GGUF file",
            id="no-model-at-all",
        ),
        pytest.param(
            judged_by("{engine: encoder, model: odd.gguf}", "{text: No marks.}"),
            "10: guards.g.model: cannot read FOLDER/odd.json",
            id="damaged-metadata",
        ),
    ],
)
def test_what_no_guard_can_judge_is_a_mistake_of_the_configuration(text: str, expected: str, tmp_path: Path) -> None:
    for name in ("m.gguf", "odd.gguf"):
        (tmp_path / name).write_text(head_of_gguf("bert"))
    (tmp_path / "m.json").write_text('{"labels": ["a", "b"]}')
    (tmp_path / "odd.json").write_text("{")
    (tmp_path / "junk.gguf").write_text("no model")
    assert complaint(tmp_path, text).startswith(expected.replace("FOLDER", str(tmp_path)))


def test_a_policy_without_category_is_read_also_where_its_file_names_one(tmp_path: Path) -> None:
    (tmp_path / "own.md").write_text("---\ncategory: hate\n---\nNo marks.", encoding="utf-8")
    for entry, category in (("{file: own.md}", "hate"), ("{file: own.md, category: none}", None)):
        loaded = load(tmp_path, judged_by(ENCODER, entry))
        assert loaded.routes[0].input.rules[0].policy.category == category

"""A configuration that is read, checked and put together."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.config_error import ConfigError
from proxy.loading.drawing import load_config
from tests.proxy.configs import MARKER, SMALL, changed, load

ROOT = Path(__file__).parents[3]


def test_the_example_is_good() -> None:
    loaded = load_config(ROOT / "config.example.yaml", {})
    assert [r.config.name for r in loaded.routes] == ["default"]
    assert loaded.routes[0].upstream.base_url == "demo"
    assert sorted(loaded.engines) == ["embedded"]


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


def test_a_guard_that_no_rule_names_can_be_wanted(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text(SMALL.replace("policies:", "guards: {spare: {engine: encoder}}\npolicies:"), encoding="utf-8")
    assert set(load_config(config, {}).engines) == set()
    assert set(load_config(config, {}, also_guard="spare").engines) == {"spare"}
    with pytest.raises(ConfigError, match=r"c\.yaml:3: guards: no guard is called 'second' \(known: spare\)"):
        load_config(config, {}, also_guard="second")

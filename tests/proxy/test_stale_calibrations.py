"""Calibrations in a configuration: found beside the policy or where it says, used if they hold, told of if they do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from models.calibrated import CalibratedEngine
from models.calibration import write_calibration
from models.engine import Tier
from proxy.loading.drawing import load_config
from proxy.loading.loaded import Loaded
from proxy.stale_calibrations import stale_calibrations
from tests.models.test_calibration import calibration
from tests.proxy.configs import complaint, load

CONFIG = """\
upstreams:
  default: {base_url: demo}
guards:
  embedded: {engine: encoder}
  fleet: {engine: openai, base_url: "http://127.0.0.1:9/v1", model: gpt-oss-safeguard-20b}
policies:
  fruit: {file: fruit.md%s}
routes:
  - name: one
    upstream: default
    input:
      - {policy: fruit, guard: %s, refuse: 0.5}
"""


def configured(tmp_path: Path, *, guard: str = "embedded", more: str = "") -> Loaded:
    (tmp_path / "fruit.md").write_text("Content about fruit.")
    return load(tmp_path, CONFIG % (more, guard))


def put(tmp_path: Path, name: str = "fruit.calibration.json", **changes: Any) -> None:
    revision = configured(tmp_path).policies["fruit"].revision
    fields = {"revision": revision, "model": "embedded@5b6a6f33bb62", **changes}
    write_calibration(tmp_path / name, calibration(**fields))


def test_a_calibration_beside_the_policy_is_found_and_changes_the_policy_set(tmp_path: Path) -> None:
    before = configured(tmp_path)
    put(tmp_path)
    after = configured(tmp_path)
    assert [len(those) for those in (before.calibrations["fruit"], after.calibrations["fruit"])] == [0, 1]
    assert before.revision != after.revision
    assert stale_calibrations(after) == []


def test_a_calibration_lies_where_the_configuration_says(tmp_path: Path) -> None:
    put(tmp_path, "elsewhere.json")
    assert configured(tmp_path).calibrations["fruit"] == ()
    assert len(configured(tmp_path, more=", calibration: elsewhere.json").calibrations["fruit"]) == 1


@pytest.mark.parametrize(
    ("guard", "changes", "reason"),
    [
        pytest.param("embedded", {"revision": "000000000000"}, "the policy has changed since", id="revision"),
        pytest.param("embedded", {"model": "other@1"}, "its calibrations are of other@1", id="model"),
        pytest.param("fleet", {}, "its calibrations are of embedded@5b6a6f33bb62", id="guard"),
    ],
)
def test_one_that_holds_for_nothing_is_told_of_once(
    tmp_path: Path, guard: str, changes: dict[str, Any], reason: str
) -> None:
    put(tmp_path, **changes)
    (warning,) = stale_calibrations(configured(tmp_path, guard=guard))
    assert str(warning).startswith(f"policy fruit, guard {guard}: not calibrated: {reason}")
    assert warning.record() == {"policy": "fruit", "guard": guard, "trouble": "not-calibrated", "message": str(warning)}


def test_another_effort_is_told_of(tmp_path: Path) -> None:
    path = Path(__file__).parents[1] / "data" / "tiny-gpt-oss.gguf"
    text = (CONFIG % ("", "tiny")).replace(
        "  fleet:", f"  tiny: {{engine: llama, model: {path}, effort: high}}\n  fleet:"
    )
    (tmp_path / "fruit.md").write_text("Content about fruit.")
    revision = load(tmp_path, text).policies["fruit"].revision
    file = tmp_path / "fruit.calibration.json"
    write_calibration(file, calibration(revision=revision, model="tiny-gpt-oss@77", tier=Tier.REASONED, effort="low"))
    (warning,) = stale_calibrations(load(tmp_path, text))
    assert "calibrated at another effort than high" in str(warning)
    write_calibration(file, calibration(revision=revision, model="tiny-gpt-oss@77", tier=Tier.DIRECT))
    assert stale_calibrations(load(tmp_path, text)) == [], "a direct verdict has no effort"


def test_rules_ask_through_their_calibrations_and_guards_are_themselves(tmp_path: Path) -> None:
    put(tmp_path)
    loaded = configured(tmp_path)
    assert isinstance(loaded.judges["embedded"], CalibratedEngine)
    assert not isinstance(loaded.engines["embedded"], CalibratedEngine)


def test_a_bad_file_is_a_complaint_with_its_name_and_field(tmp_path: Path) -> None:
    put(tmp_path)
    file = tmp_path / "fruit.calibration.json"
    file.write_text(file.read_text().replace('"logit"', '"luck"'))
    said = complaint(tmp_path, CONFIG % ("", "embedded"))
    assert said.startswith(f"7: policies.fruit: {file}: calibrations.0.curves.luck")


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        pytest.param(
            "{file: fruit.md, calibration: no.json}", "policies.x.calibration: no such file: no.json", id="missing"
        ),
        pytest.param(
            "{detector: secrets, calibration: no.json}",
            "calibration belongs to a policy with file or text",
            id="detector",
        ),
    ],
)
def test_a_calibration_that_cannot_be_is_a_complaint(tmp_path: Path, entry: str, said: str) -> None:
    (tmp_path / "fruit.md").write_text("Content about fruit.")
    text = (CONFIG % ("", "embedded")).replace("policies:\n", f"policies:\n  x: {entry}\n")
    assert said in complaint(tmp_path, text)


def test_a_classifier_of_categories_judges_no_policy_without_one(tmp_path: Path) -> None:
    (tmp_path / "fruit.md").write_text("Content about fruit.")
    text = (CONFIG % ("", "fleet")).replace("model: gpt-oss", "api: moderations, model: gpt-oss")
    assert "guard 'fleet' reads no policies: 'fruit' must name one of its categories" in complaint(tmp_path, text)
    (tmp_path / "c.yaml").write_text(text.replace("fruit.md", "fruit.md, category: any"))
    assert load_config(tmp_path / "c.yaml", {}).routes[0].input.rules[0].policy.category == "any"


SECOND = (CONFIG % ("", "fleet")).replace(
    "model: gpt-oss-safeguard-20b", "model: gpt-oss-safeguard-20b, second_opinion: %s"
)


@pytest.mark.parametrize(
    ("second", "said"),
    [
        pytest.param("nobody", "guards.fleet.second_opinion: no guard is called 'nobody'", id="unknown"),
        pytest.param("fleet", "'fleet' must be another guard", id="itself"),
        pytest.param("chain", "'chain' must be another guard, without second_opinion of its own", id="chain"),
    ],
)
def test_a_second_opinion_is_that_of_another_guard(tmp_path: Path, second: str, said: str) -> None:
    (tmp_path / "fruit.md").write_text("Content about fruit.")
    chain = '  chain: {engine: openai, base_url: "http://127.0.0.1:9/v1", model: m, second_opinion: embedded}\n'
    assert said in complaint(tmp_path, (SECOND % second).replace("policies:", chain + "policies:", 1))


def test_a_guard_whose_opinion_is_weighed_is_built_and_needed_to_be_ready(tmp_path: Path) -> None:
    (tmp_path / "fruit.md").write_text("Content about fruit.")
    assert set(load(tmp_path, SECOND % "embedded").engines) == {"embedded", "fleet"}


def test_a_calibration_that_weighs_an_opinion_needs_one(tmp_path: Path) -> None:
    curves = {"logit": ((-1.0, 0.0), (1.0, 1.0)), "second_opinion": ((-1.0, 0.0), (1.0, 1.0))}
    put(
        tmp_path, model="gpt-oss-safeguard-20b", tier=Tier.REMOTE, curves=curves, second_opinion="embedded@5b6a6f33bb62"
    )
    (warning,) = stale_calibrations(configured(tmp_path, guard="fleet"))
    assert "weigh a second opinion, and the guard has no `second_opinion`" in str(warning)
    assert stale_calibrations(load(tmp_path, SECOND % "embedded")) == []

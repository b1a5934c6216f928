"""What is told before anything is trained: options, missing libraries, files that are there already. Needs no torch."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from models import catalog
from models.encoder_input import Metadata
from proxy.__main__ import main
from proxy.config_error import ConfigError
from proxy.evaluation.judging import Subject
from proxy.tuning import command, files
from rules.policy import Policy
from tests.models.gguf_fixtures import LABELS, write_bert, write_metadata

MARKS = Subject(Policy("marks", "r1", text="No marks."), "marks")
OPTIONS = ("--config", "c.yaml", "--policy", "marks", "--data", "rows.jsonl", "--output", "out")


@pytest.mark.parametrize(
    ("option", "said"),
    [
        pytest.param(("--held-out", "0.9"), "from 0.05 to 0.45", id="held-out"),
        pytest.param(("--validation", "x"), "from 0.05 to 0.45", id="validation"),
        pytest.param(("--epochs", "0"), "from 1 to 1024", id="epochs"),
        pytest.param(("--rate", "0"), "at most 0.1", id="rate"),
        pytest.param(("--rehearsal", "-1"), "from 0 to 100", id="rehearsal"),
        pytest.param(("--name", "../x"), "e.g. shop-1", id="name"),
        pytest.param(("--bootstrap", "3"), "from 100 to 100000", id="bootstrap"),
    ],
)
def test_wrong_options_are_told_with_what_would_be_right(
    option: tuple[str, str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as raised:
        main(["tune", *OPTIONS, *option])
    assert raised.value.code == 2
    error = " ".join(capsys.readouterr().err.split())
    assert f"argument {option[0]}: must be" in error
    assert said in error


def test_without_torch_it_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "find_spec", lambda module: None if module == "torch" else object())
    assert main(["tune", *OPTIONS]) == 2
    error = capsys.readouterr().err
    assert "safeguard tune needs torch: pip install 'safeguard[tune]'" in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize("name", ["tuned.gguf", "tuned.json", "MODEL_CARD.md", "marks.calibration.json"])
def test_nothing_is_overwritten_unless_it_is_asked_for(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(ConfigError, match=f"has {name} already; name another folder, or overwrite with --force"):
        files.check_free(tmp_path, "tuned", [MARKS], force=False)
    files.check_free(tmp_path, "tuned", [MARKS], force=True)
    files.check_free(tmp_path / "elsewhere", "tuned", [MARKS], force=False)


def test_policies_that_would_share_a_file_are_an_error(tmp_path: Path) -> None:
    other = Subject(Policy("a-b", "r", text="x"), "x"), Subject(Policy("a/b", "r", text="y"), "y")
    with pytest.raises(ConfigError, match="two of them"):
        files.check_free(tmp_path, "tuned", other, force=True)


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be made"):
        files.make_folder(tmp_path / "file" / "out")


def test_what_stands_beside_the_weights_drops_what_held_for_the_old_output_only(tmp_path: Path) -> None:
    base, new = write_bert(tmp_path / "base.gguf"), write_bert(tmp_path / "tuned.gguf", seed=8)
    maps = {label: {"a": 1.0, "b": 0.0} for label in LABELS}
    halves = dict.fromkeys(LABELS, 0.5)
    beside = write_metadata(base, calibration=maps, thresholds=halves, pass_below=halves)
    metadata = Metadata.model_validate_json(beside.read_bytes())
    written = files.write_metadata(base, new, metadata, {"hate"})
    fields = json.loads(new.with_suffix(".json").read_bytes())
    assert written.sha256 == fields["sha256"] == hashlib.sha256(new.read_bytes()).hexdigest()
    assert sorted(fields["calibration"]) == sorted(fields["thresholds"]) == ["pair", "violence"]
    assert sorted(fields["pass_below"]) == ["pair", "violence"], "a limit of another scale would let violations pass"
    assert fields["labels"] == list(LABELS)
    assert (fields["max_tokens"], fields["stride_tokens"]) == (metadata.max_tokens, metadata.stride_tokens)
    assert [v.recorded for v in catalog.verify(str(new))] == [True]


@pytest.mark.parametrize(("trained", "left"), [("hate", {}), ("any", {}), ("violence", {"any": ["hate"]})])
def test_a_union_is_none_any_more_where_it_or_a_part_of_it_was_trained(
    tmp_path: Path, trained: str, left: dict[str, list[str]]
) -> None:
    labels = ["hate", "violence", "any"]
    base, new = (write_bert(tmp_path / name, labels=labels) for name in ("base.gguf", "tuned.gguf"))
    maps = {label: {"a": 1.0, "b": 0.0} for label in labels}
    beside = write_metadata(base, labels=labels, calibration=maps, unions={"any": ["hate"]})
    files.write_metadata(base, new, Metadata.model_validate_json(beside.read_bytes()), {trained})
    fields = json.loads(new.with_suffix(".json").read_bytes())
    assert fields["unions"] == left
    assert ("any" in fields["calibration"]) is bool(left), (
        "a map that was fitted to the sum says nothing of the output alone"
    )


def test_weights_come_last_to_where_they_belong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, output = tmp_path / "made", tmp_path / "out"
    made.mkdir()
    output.mkdir()
    for name in ("tuned.gguf", "tuned.json", "zz.calibration.json"):
        (made / name).write_text(name)
    moved: list[str] = []
    replace = os.replace

    def noted(source: Path, target: Path) -> None:
        moved.append(target.name)
        replace(source, target)

    monkeypatch.setattr(os, "replace", noted)
    files.publish(made, output)
    assert moved == ["tuned.json", "zz.calibration.json", "tuned.gguf"]
    assert sorted(p.name for p in output.iterdir()) == sorted(moved)

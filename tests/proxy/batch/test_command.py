"""What `safeguard screen` says about what it cannot do."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.__main__ import main
from proxy.batch import command
from proxy.batch.rows import Reading, Survey, survey
from tests.proxy.configs import SMALL

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a configuration, an input and a file of somebody's, to run in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "configure_logs", lambda **_: None)
    (tmp_path / "config.yaml").write_text(SMALL, encoding="utf-8")
    (tmp_path / "in.jsonl").write_text('{"text": "x"}\n')
    (tmp_path / "other.txt").write_text("mine")
    return tmp_path


@pytest.mark.parametrize(
    ("args", "said"),
    [
        pytest.param(("no.jsonl", "-o", "o"), "no.jsonl: cannot be read: No such file or directory", id="no-input"),
        pytest.param((".", "-o", "o", "--format", "csv"), ".: cannot be read: Is a directory", id="folder"),
        pytest.param(("/dev/null", "-o", "o"), "/dev/null: is no file, which would be read twice", id="pipe"),
        pytest.param(("in.jsonl", "-o", "in.jsonl"), "-o in.jsonl: is the input", id="same-file"),
        pytest.param(("in.jsonl", "-o", "config.yaml"), "-o config.yaml: is the configuration", id="over-config"),
        pytest.param(("in.jsonl", "-o", "no/out"), "-o no/out: cannot be written: No such file", id="no-folder"),
        pytest.param(("in.jsonl", "-o", "."), "-o .: cannot be written: Is a directory", id="onto-folder"),
        pytest.param(("in.jsonl", "-o", "/dev/null"), "-o /dev/null: is no file", id="device"),
        pytest.param(("in.jsonl", "-o", "other.txt"), "other.txt: is not the output of a run", id="foreign-file"),
        pytest.param(("in.xlsx", "-o", "o"), "in.xlsx: --format says what a file of this name holds", id="name"),
        pytest.param(
            ("in.jsonl", "-o", "o", "--route", "x"), "config.yaml: routes: no route is called 'x'", id="route"
        ),
        pytest.param(
            ("in.jsonl", "-o", "o", "--stage", "output"),
            "config.yaml: routes.one.output: has no rules, so nothing would be judged",
            id="no-rules",
        ),
    ],
)
def test_what_cannot_be_done_is_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], args: tuple[str, ...], said: str
) -> None:
    code, err = main(["screen", *args]), capsys.readouterr().err
    assert code == 2
    assert err.startswith(said), err
    assert len(err.splitlines()) == 1
    assert (folder / "other.txt").read_text() == "mine"
    assert not (folder / "o").exists()


@pytest.mark.parametrize("value", ["0", "-1", "x", "1.5", ""])
def test_a_number_of_contents_is_a_number(folder: Path, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["screen", "in.jsonl", "-o", "o", f"--at-once={value}"])
    assert caught.value.code == 2
    assert "must be a number from 1 to 100000" in capsys.readouterr().err


def test_an_input_that_changes_while_it_is_read_is_noticed(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def look_and_change(path: Path, how: Reading) -> Survey:
        found = survey(path, how)
        path.write_text('{"text": "MARK"}\n')
        return found

    monkeypatch.setattr(command, "survey", look_and_change)
    assert main(["screen", "in.jsonl", "-o", "out.jsonl"]) == 2
    assert capsys.readouterr().err.startswith("in.jsonl: was changed while it was read; --restart judges it anew")
    monkeypatch.setattr(command, "survey", survey)
    assert main(["screen", "in.jsonl", "-o", "out.jsonl"]) == 2
    assert "out.jsonl: the input (sha256) differs from that of the run that began it" in capsys.readouterr().err


@pytest.mark.parametrize(("text", "code"), [("fine", 0), ("MARK", 1)])
def test_the_exit_code_says_whether_something_was_found(
    folder: Path, capsys: pytest.CaptureFixture[str], text: str, code: int
) -> None:
    (folder / "in.jsonl").write_text(f'{{"text": "{text}"}}\n')
    assert main(["screen", "in.jsonl", "-o", "out.jsonl"]) == code
    assert "out.jsonl: 1 rows" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "args", "rows"),
    [
        pytest.param("screen_prompts.jsonl", (), 12, id="texts"),
        pytest.param("screen_chats.jsonl", ("--stage", "output"), 4, id="chats"),
        pytest.param("screen_comments.csv", ("--text-field", "comment"), 4, id="columns"),
    ],
)
def test_the_examples_of_the_documentation_can_be_screened(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str, args: tuple[str, ...], rows: int
) -> None:
    (folder / "config.yaml").write_text(
        SMALL + "    output:\n      - {policy: marker, refuse: 0.5}\n", encoding="utf-8"
    )
    assert main(["screen", str(EXAMPLES / name), "-o", "out.jsonl", *args]) == 0
    assert len((folder / "out.jsonl").read_bytes().splitlines()) == rows
    assert f"screen examples/{name} " in (EXAMPLES.parent / "docs" / "commands.md").read_text(encoding="utf-8")

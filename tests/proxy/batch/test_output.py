"""An output that goes on where a run was killed, and only there."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from proxy.batch.output import File, OutputError

RUN = {"input": "abc", "--stage": "input", "--text-field": None}


def record(number: int, action: str = "forward") -> dict[str, Any]:
    return {"row": number, "id": None, "action": action, "verdicts": []}


@contextmanager
def opened(path: Path, **run: Any) -> Iterator[File]:
    """An output with its earlier run read."""
    file = File(path)
    try:
        file.resume(RUN | run, restart=False)
        yield file
    finally:
        file.close()


def write(path: Path, n: int, *, finish: bool = True, **run: Any) -> bytes:
    with opened(path, **run) as file:
        file.begin(RUN | run | {"guards": {"g": "m"}})
        for number in range(file.tally.rows + 1, n + 1):
            file.write(record(number))
        if finish:
            file.finish()
    return path.read_bytes()


def test_wherever_a_kill_cuts_the_file_the_next_run_makes_it_what_it_would_have_been(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    whole = write(path, 5, finish=False)
    state = path.with_name("out.jsonl.run.json").read_bytes()
    assert len(whole.splitlines()) == 5
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        path.with_name("out.jsonl.run.json").write_bytes(state)
        with opened(path) as file:
            assert file.tally.rows == whole[:cut].count(b"\n")
            assert not file.is_complete
        assert write(path, 5, finish=False) == whole
        assert json.loads(state) == json.loads(path.with_name("out.jsonl.run.json").read_bytes())


def test_a_run_that_is_over_says_so_and_counts_what_it_found(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    write(path, 3)
    with opened(path) as file:
        assert file.is_complete
        assert file.tally.rows == 3


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        pytest.param({"input": "xyz"}, "input differs from that of the run that began it (xyz, was abc)", id="input"),
        pytest.param(
            {"--stage": "output"}, "--stage differs from that of the run that began it (output, was input)", id="option"
        ),
        pytest.param(
            {"--text-field": "body"},
            "--text-field differs from that of the run that began it (body, was null)",
            id="option-given",
        ),
    ],
)
def test_a_run_with_other_inputs_is_not_gone_on_with(tmp_path: Path, changed: dict[str, Any], said: str) -> None:
    path = tmp_path / "out.jsonl"
    before = write(path, 3, finish=False)
    with pytest.raises(OutputError) as caught, opened(path, **changed):
        pass
    assert str(caught.value) == f"{path}: {said}; --restart begins anew"
    assert path.read_bytes() == before


def test_other_guards_are_noticed_once_they_are_known(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    write(path, 3, finish=False)
    with opened(path) as file, pytest.raises(OutputError, match="guards differs from that of the run that began it"):
        file.begin(RUN | {"guards": {"g": "another"}})


def test_a_restart_forgets_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    write(path, 3)
    file = File(path)
    file.resume(RUN | {"input": "xyz"}, restart=True)
    assert (file.tally.rows, file.is_complete, path.read_bytes()) == (0, False, b"")
    file.begin(RUN | {"input": "xyz"})
    file.write(record(1))
    file.finish()
    file.close()
    assert path.read_bytes() == b'{"row":1,"id":null,"action":"forward","verdicts":[]}\n'


@pytest.mark.parametrize("left", [b"", b"x\n", b'{"row":1,"action":"forward"}\n'], ids=["nothing", "text", "records"])
def test_a_file_that_no_run_vouches_for_is_only_used_if_it_is_empty(tmp_path: Path, left: bytes) -> None:
    path = tmp_path / "out.jsonl"
    path.write_bytes(left)
    if not left:
        assert write(path, 1)
        return
    with pytest.raises(OutputError, match="is not the output of a run that can go on; --restart"), opened(path):
        pass
    assert path.read_bytes() == left


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param('{"row":1,"action":"forward"}\n{"row":3,"action":"forward"}\n', id="a-hole"),
        pytest.param('{"row":1,"action":"forward"}\n{"row":1,"action":"forward"}\n', id="twice"),
        pytest.param('{"row":1,"action":"forward"}\nx\n{"row":2,"action":"forward"}\n', id="nonsense"),
        pytest.param('{"row":1,"action":"forward"}\n' + "\0" * 20 + "\n", id="what-a-power-cut-leaves"),
        pytest.param('{"row":1,"action":"forward"}\n{"row":2}\n', id="no-action"),
        pytest.param('{"row":1,"action":"forward"}\n[]\n', id="a-list"),
    ],
)
def test_lines_that_are_not_the_rows_in_order_are_not_gone_on_with(tmp_path: Path, lines: str) -> None:
    path = tmp_path / "out.jsonl"
    write(path, 2, finish=False)
    path.write_text(lines)
    with pytest.raises(OutputError, match=r"out\.jsonl:2: is not the record of row 2; --restart"), opened(path):
        pass
    assert path.read_text() == lines


@pytest.mark.parametrize("state", [b"", b"{", b"[]", b"{}", b'{"shape": 99, "complete": true}'], ids=repr)
def test_a_state_that_cannot_be_read_is_an_error(tmp_path: Path, state: bytes) -> None:
    path = tmp_path / "out.jsonl"
    write(path, 2, finish=False)
    path.with_name("out.jsonl.run.json").write_bytes(state)
    with pytest.raises(OutputError, match="cannot be read as the state of a run"), opened(path):
        pass


def test_no_two_runs_write_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with opened(path), pytest.raises(OutputError, match="another run is writing it"):
        File(path)
    with opened(path):
        pass


def test_what_cannot_be_read_again_cannot_be_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    write(path, 2, finish=False)
    file = File(path)
    with pytest.raises(OutputError, match="standard input cannot be gone on with"):
        file.resume(RUN, restart=False, can_resume=False)
    file.close()


def test_what_is_no_file_is_no_output(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OutputError, match="is no file"):
        File(tmp_path / "pipe")


def test_every_record_is_with_the_operating_system_when_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with opened(path) as file:
        file.begin(RUN)
        for number in (1, 2, 3):
            file.write(record(number))
            assert path.read_bytes().count(b"\n") == number


def test_content_that_is_kept_is_written_whatever_numbers_it_has(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    kept = {"input": {"messages": [{"role": "user", "content": "é", "n": 2**80}]}}
    with opened(path) as file:
        file.begin(RUN)
        file.write(record(1) | kept)
    assert json.loads(path.read_bytes()) == record(1) | kept
    with opened(path) as file:
        assert file.tally.rows == 1

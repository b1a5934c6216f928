"""Lines are whole: after a full disk, after a death in the middle of one, and while somebody moves the file."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from proxy.audit.append_file import AppendFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "f.jsonl"


def test_what_was_appended_is_there_without_closing(path: Path) -> None:
    file = AppendFile(path, sync=True)
    file.append(b"one\n")
    file.append(b"two\n")
    assert path.read_bytes() == b"one\ntwo\n"
    assert file.size == 8
    assert path.stat().st_mode & 0o777 == 0o600
    file.close()


@pytest.mark.parametrize("end", [b'{"a": 1', b"\x00\x00\x00"], ids=["half a line", "zeros of a lost write"])
def test_a_new_line_begins_on_a_line_of_its_own(path: Path, end: bytes) -> None:
    path.write_bytes(b"one\n" + end)
    file = AppendFile(path, sync=False)
    file.append(b"two\n")
    assert path.read_bytes() == b"one\n" + end + b"\ntwo\n"
    file.close()


def test_a_write_that_fails_halfway_leaves_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = AppendFile(path, sync=False)
    file.append(b"one\n")
    write = os.write

    def full(fd: int, data: memoryview) -> int:
        if len(data) < 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(fd, data[:3])

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space"):
            file.append(b"two\n")
    assert path.read_bytes() == b"one\n"
    file.append(b"three\n")
    assert path.read_bytes() == b"one\nthree\n"
    file.close()


def test_a_short_write_is_completed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:2]))
    file = AppendFile(path, sync=False)
    file.append(b"a longer line\n")
    assert path.read_bytes() == b"a longer line\n"
    file.close()


@pytest.mark.parametrize("moved", [True, False], ids=["moved", "deleted"])
def test_a_file_that_somebody_takes_away_is_begun_anew(path: Path, moved: bool) -> None:
    file = AppendFile(path, sync=False)
    file.append(b"one\n")
    if moved:
        path.rename(path.with_suffix(".1"))
    else:
        path.unlink()
    file.append(b"two\n")
    assert path.read_bytes() == b"two\n"
    assert not moved or path.with_suffix(".1").read_bytes() == b"one\n"
    file.close()


def test_a_folder_that_somebody_deletes_is_made_anew(tmp_path: Path) -> None:
    file = AppendFile(tmp_path / "audit" / "f.jsonl", sync=True)
    file.append(b"one\n")
    (tmp_path / "audit" / "f.jsonl").unlink()
    (tmp_path / "audit").rmdir()
    file.append(b"two\n")
    assert (tmp_path / "audit" / "f.jsonl").read_bytes() == b"two\n"
    file.close()


def test_a_file_that_is_cut_in_place_goes_on_at_its_end(path: Path) -> None:
    file = AppendFile(path, sync=False)
    file.append(b"one\n")
    os.truncate(path, 0)  # what logrotate's copytruncate does
    file.append(b"two\n")
    assert path.read_bytes() == b"two\n"
    file.close()


def test_a_probe_leaves_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = AppendFile(path, sync=True)
    file.append(b"one\n")
    file.probe()
    assert path.read_bytes() == b"one\n"

    def full(fd: int, data: memoryview) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space"):
        file.probe()
    assert path.read_bytes() == b"one\n"
    file.close()

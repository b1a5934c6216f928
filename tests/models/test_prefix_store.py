from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from models.errors import ModelLoadError
from models.prefix_store import PrefixStore

TOKENS = [1, 2, 3]
STATE = bytes(range(256)) * 4


@pytest.fixture
def store(tmp_path: Path) -> PrefixStore:
    return PrefixStore(tmp_path / "kept", "model a")


def only_file(tmp_path: Path) -> Path:
    (path,) = (tmp_path / "kept").iterdir()
    return path


def test_what_was_saved_is_found_by_another_process(store: PrefixStore, tmp_path: Path) -> None:
    store.save(TOKENS, STATE)
    assert PrefixStore(tmp_path / "kept", "model a").load(TOKENS) == STATE
    assert only_file(tmp_path).stat().st_mode & 0o077 == 0


def test_other_tokens_or_another_model_find_nothing(store: PrefixStore, tmp_path: Path) -> None:
    store.save(TOKENS, STATE)
    assert store.load([1, 2]) is None
    assert PrefixStore(tmp_path / "kept", "model b").load(TOKENS) is None


def test_a_bit_that_flipped_anywhere_is_noticed_and_the_file_goes(
    store: PrefixStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store.save(TOKENS, STATE)
    path = only_file(tmp_path)
    right = path.read_bytes()
    for position in range(len(right)):
        path.write_bytes(right[:position] + bytes([right[position] ^ 1 << position % 8]) + right[position + 1 :])
        assert store.load(TOKENS) is None, position
        assert not path.exists()
    assert "damaged" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"sgprefx1", b"x" * 5000], ids=["empty", "magic-only", "garbage"])
def test_a_file_that_is_not_one_of_ours_is_nothing(store: PrefixStore, tmp_path: Path, content: bytes) -> None:
    store.save(TOKENS, STATE)
    only_file(tmp_path).write_bytes(content)
    assert store.load(TOKENS) is None


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), MemoryError()], ids=["disk", "memory"])
def test_what_cannot_be_read_is_nothing_and_said(
    store: PrefixStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException
) -> None:
    store.save(TOKENS, STATE)

    def fails(path: Path) -> bytes:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", fails)
        assert store.load(TOKENS) is None
    assert "cannot read a kept prefix: " + ("out of memory" if isinstance(error, MemoryError) else "Permission") in (
        capsys.readouterr().err
    )
    assert store.load(TOKENS) == STATE


def test_a_file_under_the_name_of_another_prefix_is_nothing(store: PrefixStore, tmp_path: Path) -> None:
    store.save(TOKENS, STATE)
    right = only_file(tmp_path)
    store.save([9], STATE)
    (other,) = set((tmp_path / "kept").iterdir()) - {right}
    os.replace(right, other)
    assert store.load([9]) is None


def test_only_so_many_are_kept_and_the_least_recently_used_go(tmp_path: Path) -> None:
    store = PrefixStore(tmp_path / "kept", "model", max_files=2)
    for number in (1, 2):
        store.save([number], STATE)
    for age, path in enumerate(sorted((tmp_path / "kept").iterdir())):
        os.utime(path, (1000 + age, 1000 + age))
    assert store.load([1]) == STATE
    store.save([3], STATE)
    assert [store.load([number]) is not None for number in (1, 2, 3)] == [True, False, True]


def test_a_disk_that_cannot_be_written_is_said_and_no_more(
    store: PrefixStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "kept").rmdir()
    store.save(TOKENS, STATE)
    assert "cannot keep" in capsys.readouterr().err


@pytest.fixture
def nothing_can_be_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a folder that became read-only; root, as whom tests may run, could remove all the same."""

    def refuse(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "unlink", refuse)


@pytest.mark.usefixtures("nothing_can_be_removed")
def test_a_damaged_file_that_cannot_be_removed_is_nothing(store: PrefixStore, tmp_path: Path) -> None:
    store.save(TOKENS, STATE)
    only_file(tmp_path).write_bytes(b"garbage")
    assert store.load(TOKENS) is None
    store.forget(TOKENS)
    assert only_file(tmp_path).exists()


@pytest.mark.usefixtures("nothing_can_be_removed")
def test_old_files_that_cannot_be_removed_keep_nothing_from_being_saved(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = PrefixStore(tmp_path / "kept", "model", max_files=1)
    for number in (1, 2):
        store.save([number], STATE)
    assert [store.load([number]) for number in (1, 2)] == [STATE, STATE]
    assert capsys.readouterr().err == ""


def unfinished(folder: Path, name: str, age_s: float) -> Path:
    path = folder / name
    path.write_bytes(b"half a st")
    os.utime(path, (time.time() - age_s,) * 2)
    return path


def test_what_killed_saves_left_is_removed_and_what_is_being_saved_is_not(store: PrefixStore, tmp_path: Path) -> None:
    old, new = (unfinished(tmp_path / "kept", name, age) for name, age in (("a.tmp", 3700), ("b.tmp", 3500)))
    store.save(TOKENS, STATE)
    assert (old.exists(), new.exists()) == (False, True)
    old = unfinished(tmp_path / "kept", "c.tmp", 3700)
    restarted = PrefixStore(tmp_path / "kept", "model a")
    assert (old.exists(), new.exists()) == (False, True)
    assert restarted.load(TOKENS) == STATE


def test_a_folder_that_others_may_write_into_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(ModelLoadError, match="prefix_cache"):
        PrefixStore(tmp_path, "model")


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ModelLoadError, match="prefix_cache"):
        PrefixStore(tmp_path / "file" / "kept", "model")

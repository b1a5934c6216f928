"""Which changes of files are seen, and when they count."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.watching import Watch, signature, snapshot


def _in_place(path: Path) -> None:
    with path.open("a") as file:
        file.write("more")


def _same_length_and_time(path: Path) -> None:
    before = path.stat()
    path.write_text("B")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _by_rename(path: Path) -> None:
    other = path.with_suffix(".new")
    other.write_text("A")
    other.replace(path)


def _by_link(path: Path) -> None:
    other = path.with_suffix(".new")
    other.write_text("A")
    path.unlink()
    path.symlink_to(other)


def _rights(path: Path) -> None:
    path.chmod(0o400)


def _gone(path: Path) -> None:
    path.unlink()


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    "change",
    [_in_place, _same_length_and_time, _by_rename, _by_link, _rights, _gone, _folder],
    ids=lambda c: c.__name__,
)
def test_a_file_that_was_changed_looks_different(tmp_path: Path, change: Callable[[Path], None]) -> None:
    path = tmp_path / "a"
    path.write_text("A")
    os.utime(path, ns=(1, 1))  # so that no clock is too coarse to show the change
    before = signature(path)
    change(path)
    assert signature(path) != before


def test_a_link_that_is_turned_makes_what_is_behind_it_look_different(tmp_path: Path) -> None:
    for version in ("v1", "v2"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "a").write_text("A")
    (tmp_path / "data").symlink_to("v1")
    path = tmp_path / "data" / "a"
    before = signature(path)
    (tmp_path / "new").symlink_to("v2")
    (tmp_path / "new").replace(tmp_path / "data")
    assert signature(path) != before


def test_reading_changes_nothing_and_what_is_not_there_has_no_looks(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("A")
    before = signature(path)
    assert before is not None
    path.read_text()
    assert signature(path) == before
    assert snapshot([tmp_path / "none", tmp_path / "a" / "b", Path("\0")]) == {
        tmp_path / "none": None,
        tmp_path / "a" / "b": None,
        Path("\0"): None,
    }


def test_pipes_are_told_from_files_and_folders(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_text("A")
    kinds = []
    for name in ("file", ".", "pipe"):
        seen = signature(tmp_path / name)
        assert seen is not None
        kinds.append((seen.is_file, seen.never_ends))
    assert kinds == [(True, False), (False, False), (False, True)]


def test_a_change_counts_once_it_is_at_rest(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("A")
    watch = Watch(snapshot([path]))
    looks = []
    for text in (None, "A, half wri", "A, half written", None, None):
        if text is not None:
            path.write_text(text)
        seen = snapshot(watch.paths)
        looks.append(watch.look(seen))
    assert looks == [False, False, False, True, True]
    watch.took(snapshot(watch.paths))
    assert not watch.look(snapshot(watch.paths))


def test_a_file_that_comes_and_goes_between_two_looks_is_no_change(tmp_path: Path) -> None:
    path = tmp_path / "a"
    watch = Watch(snapshot([path]))
    path.write_text("A")
    assert not watch.look(snapshot(watch.paths))
    path.unlink()
    assert not watch.look(snapshot(watch.paths))
    path.write_text("A")
    assert not watch.look(snapshot(watch.paths)), "the look before the last does not count"


def test_what_is_watched_changes_with_what_was_read(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    watch = Watch(snapshot([first]))
    watch.took(snapshot([second]))
    first.write_text("A")
    assert [watch.look(snapshot(watch.paths)) for _ in range(2)] == [False, False]
    second.write_text("B")
    assert [watch.look(snapshot(watch.paths)) for _ in range(2)] == [False, True]

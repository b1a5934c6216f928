"""Adding to a file that people write by hand."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from proxy.review.examples_file import add_example
from proxy.review.item import ReviewError
from rules.examples import read_example_file


def example(number: int = 1, text: str = "An apple.", *, violates: bool = True) -> dict[str, Any]:
    return {"id": f"review-{number}", "text": text, "stage": "input", "violates": violates}


FLAT = "# Ours.\n\n- {text: A pear., stage: input, violates: true}   # ripe\n# The end.\n"
INDENTED = "# Ours.\n  - text: A pear.\n    stage: input\n    violates: true\n"
BARE = "- text: A pear.\n  stage: input\n  violates: true"


@pytest.mark.parametrize(
    "text", [FLAT, INDENTED, BARE, "", "# Nothing yet.\n"], ids=["flat", "indented", "bare", "empty", "comment"]
)
def test_an_example_comes_behind_what_stands_there_which_stays_as_it_is(tmp_path: Path, text: str) -> None:
    path = tmp_path / "fruit.examples.yaml"
    path.write_text(text, encoding="utf-8")
    n_before = len(read_example_file(path).examples)
    add_example(path, example())
    assert path.read_text(encoding="utf-8").startswith(text)
    examples = read_example_file(path).examples
    assert len(examples) == n_before + 1
    assert (examples[-1].id, examples[-1].text, examples[-1].violates) == ("review-1", "An apple.", True)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_link_to_a_file_of_examples_stays_one(tmp_path: Path) -> None:
    path, link = tmp_path / "fruit.examples.yaml", tmp_path / "link.yaml"
    link.symlink_to(path)
    add_example(link, example())
    assert link.is_symlink()
    assert len(read_example_file(path).examples) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only the administrator can write files of others")
def test_a_file_stays_its_owners_if_an_administrator_adds_to_it(tmp_path: Path) -> None:
    path = tmp_path / "fruit.examples.yaml"
    path.write_text(FLAT, encoding="utf-8")
    path.chmod(0o600)
    os.chown(path, 12345, 12346)
    add_example(path, example())
    status = path.stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (12345, 12346, 0o600)


def test_a_file_that_is_not_there_is_made(tmp_path: Path) -> None:
    add_example(tmp_path / "fruit.examples.yaml", example())
    assert len(read_example_file(tmp_path / "fruit.examples.yaml").examples) == 1


@pytest.mark.parametrize(
    "text",
    [
        "- not: a list\n# : {",
        "two\nlines\n\nand a gap",
        " led by a blank, with tabs\t, and \u2028 lines \x85 of other kinds",
        "'quoted' \"twice\" \\ and: colons, #no comment, 日本 🍐 \u202e",
        "yes",
        "0x1f",
        "x" * 5000 + " y" * 500,
    ],
)
def test_any_text_is_read_back_as_it_was(tmp_path: Path, text: str) -> None:
    path = tmp_path / "fruit.examples.yaml"
    path.write_text(FLAT, encoding="utf-8")
    add_example(path, example(text=text))
    assert read_example_file(path).examples[-1].text == text


def test_a_chat_is_an_example_too(tmp_path: Path) -> None:
    path = tmp_path / "fruit.examples.yaml"
    messages = [{"role": "user", "content": "Fruit?"}, {"role": "assistant", "content": "Pears."}]
    add_example(path, {"id": "review-2", "messages": messages, "stage": "output", "violates": False})
    assert read_example_file(path).examples[0].messages == messages


@pytest.mark.parametrize(("violates", "says"), [(True, "the same"), (False, "another thing")])
def test_what_stands_there_already_is_not_added(tmp_path: Path, violates: bool, says: str) -> None:
    path = tmp_path / "fruit.examples.yaml"
    path.write_text(FLAT, encoding="utf-8")
    with pytest.raises(ReviewError, match=rf":3: this content stands there already, and the example says {says}"):
        add_example(path, example(text="A pear.", violates=violates))
    add_example(path, example(1))
    with pytest.raises(ReviewError, match="an example with the id review-1 stands there already"):
        add_example(path, example(1, "A plum."))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("[{text: A pear., stage: input, violates: true}]\n", "add it by hand", id="flow"),
        pytest.param("- {text: A pear., stage: input, violates: true}\n...\n", "add it by hand", id="ended"),
        pytest.param("- {text: A pear., stage: nowhere}\n", "stage", id="wrong"),
        pytest.param("a: b\n", "must be a list", id="mapping"),
    ],
)
def test_a_file_that_cannot_be_added_to_stays_as_it_is(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "fruit.examples.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ReviewError, match=reason) as error:
        add_example(path, example())
    assert "pear" not in str(error.value)
    assert path.read_text(encoding="utf-8") == text
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_two_at_once_are_both_added(tmp_path: Path) -> None:
    path = tmp_path / "fruit.examples.yaml"
    start = threading.Barrier(8)

    def adds(number: int) -> None:
        start.wait()
        add_example(path, example(number, f"Apple {number}."))

    threads = [threading.Thread(target=adds, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(read_example_file(path).examples) == 8

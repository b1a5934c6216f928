"""Which of a guard's files is trained, and on what: without torch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from models.engine import Passage
from proxy.config_error import ConfigError
from proxy.evaluation.judging import Subject
from proxy.evaluation.rows import Row
from proxy.tuning.preparing import Reader, Trainee
from proxy.tuning.splitting import Content
from rules.policy import Policy
from rules.rule import Stage
from tests.models.gguf_fixtures import LABELS, write_bert, write_metadata, write_second

MARKS = Subject(Policy("marks", "r1", text="No marks."), "marks")
HATE = Subject(Policy("no-hate", "r1", text="No hate.", category="hate"), "hate")
CATS = Policy("cats", "r1", text="No cats.")


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Reader]:
    path = write_bert(tmp_path / "one.gguf")
    write_metadata(path)
    reader = Reader(path, "small", 512)
    yield reader
    reader.close()


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Reader]:
    path = write_bert(tmp_path / "two.gguf", labels=("hate", "violence"))
    write_second(path)
    reader = Reader(path, "small", 512)
    yield reader
    reader.close()


def content(reader: Reader, text: str, **labels: bool) -> Content:
    row = Row("a", Stage.INPUT, (Passage("user", text),), None, labels, "k")
    return Content(row, reader.encode([text]), labels)


def test_a_guard_of_one_file_is_trained_whole(one: Reader, tmp_path: Path) -> None:
    assert one.trainee([MARKS, HATE]) == Trainee(tmp_path / "one.gguf", LABELS, None)


def test_of_two_files_that_one_is_trained_which_judges_the_policy(two: Reader, tmp_path: Path) -> None:
    first, second = tmp_path / "two.gguf", tmp_path / "two-pair.gguf"
    assert two.trainee([HATE]) == Trainee(first, ("hate", "violence"), second)
    assert two.trainee([MARKS]) == Trainee(second, ("pair",), first)


def test_policies_of_both_files_need_two_runs(two: Reader) -> None:
    with pytest.raises(ConfigError, match=r"--policy: small judges marks by two-pair\.gguf and no-hate.*two runs"):
        two.trainee([HATE, MARKS])


def test_outputs_are_counted_in_the_file_that_is_trained(two: Reader) -> None:
    contents = [content(two, "the cat", marks=True, hate=False)]
    (pair,) = two.examples(contents, [MARKS], two.trainee([MARKS]).outputs)
    (hate,) = two.examples(contents, [HATE], two.trainee([HATE]).outputs)
    assert (pair.output, pair.violates, hate.output, hate.violates) == (0, True, 0, False)
    assert len(pair.sequences[0]) > len(hate.sequences[0])


def test_each_file_goes_on_to_say_what_it_alone_is_asked(two: Reader) -> None:
    contents = [content(two, "the cat")]
    (alone,) = two.rehearsed(contents, [HATE], [CATS], two.trainee([HATE]).outputs, 0)
    (pair,) = two.rehearsed(contents, [MARKS], [CATS], two.trainee([MARKS]).outputs, 0)
    assert alone.outputs == (1,), "hate is trained"
    assert pair.outputs == (0,)
    assert len(pair.sequence) > len(alone.sequence)

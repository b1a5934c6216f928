"""The guard process: what its reader thread hands on, and calls that take turns."""

from __future__ import annotations

import itertools
import math
import socket
from collections.abc import Iterator, Sequence
from types import SimpleNamespace

import pytest

from models import wire
from models.engine import GuardPolicy, Passage, Score, Tier
from models.errors import EngineError, EngineTimeout
from models.judge import InTurns, Stop, Work
from models.usage import Usage
from models.worker import Inbox


@pytest.fixture
def sock() -> Iterator[socket.socket]:
    one, other = socket.socketpair()
    with one, other:
        yield one


def job(job_id: int, deadline: float) -> wire.Message:
    return {"type": "job", "id": job_id, "deadline": deadline}


def cancel(job_id: int) -> wire.Message:
    return {"type": "cancel", "id": job_id}


def test_the_earliest_deadline_is_that_of_jobs_that_are_not_taken(sock: socket.socket) -> None:
    inbox = Inbox(sock)
    assert inbox.due == math.inf
    inbox._sort(job(1, 30.0))
    inbox._sort(job(2, 20.0))
    assert inbox.due == 20.0
    assert [message["id"] for message in inbox.take(wait=True)] == [1, 2]
    assert inbox.due == math.inf
    assert inbox.take(wait=False) == []


def test_a_job_can_be_called_off_until_it_is_answered_whatever_its_number(sock: socket.socket) -> None:
    inbox = Inbox(sock)
    inbox._sort(job(9, 20.0))
    inbox.take(wait=False)
    inbox._sort(job(5, 20.0))
    inbox._sort(cancel(5))
    inbox.take(wait=False)
    assert inbox.is_cancelled(5)
    assert not inbox.is_cancelled(9)
    inbox.answered(5)
    inbox._sort(cancel(5))
    assert not inbox.is_cancelled(5)
    inbox.answered(9)
    assert inbox._is_cancelled == {}, "nothing is kept of jobs that are over"


class Paged:
    """Needs one turn per letter of a content; ``!`` raises."""

    model = "fake@1"

    def __init__(self) -> None:
        self.usage = Usage()
        self.read: list[str] = []

    def work(self, passages: Sequence[Passage], policies: Sequence[GuardPolicy], stop: Stop) -> Work:
        for letter in passages[0].text:
            yield
            if letter == "!":
                raise ValueError("a secret text")
            self.read.append(letter)
        return [Score(0.5, Tier.ENCODER)] * len(policies)

    def close(self) -> None:
        pass


POLICY = GuardPolicy("p", "r", "Pears.")


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every turn takes one second."""
    monkeypatch.setattr("models.judge.time", SimpleNamespace(monotonic=itertools.count().__next__))


def taken(*calls: tuple[int, str, str], stop: Stop = Stop(math.inf)) -> tuple[Paged, InTurns]:  # noqa: B008 - never changes
    judge = Paged()
    turns = InTurns(judge)
    for job_id, key, text in calls:
        turns.submit(job_id, [Passage("user", text)], [POLICY, POLICY], stop, key)
    return judge, turns


def answers(turns: InTurns) -> list[tuple[int, list[Score | EngineError]]]:
    found = []
    while turns.busy:
        found += turns.step()
    return found


@pytest.mark.parametrize("key", ["a", "b"], ids=["same-key", "other-key"])
def test_a_short_content_does_not_wait_for_a_long_one(key: str) -> None:
    _, turns = taken((1, "a", "x" * 500), (2, key, "y"))
    assert [job_id for job_id, _ in answers(turns)] == [2, 1]


def test_keys_share_the_time_however_many_calls_one_has() -> None:
    judge, turns = taken(*((number, "a", "x" * 50) for number in range(8)), (9, "b", "y" * 50))
    assert answers(turns)[0][0] == 9
    first = "".join(judge.read[:100])
    assert first.count("y") == 50


def test_what_a_judge_raises_is_the_error_of_its_call_and_says_nothing_of_the_content() -> None:
    _, turns = taken((1, "a", "x!x"), (2, "a", "yyyyy"))
    found = dict(answers(turns))
    assert [str(entry) for entry in found[1]] == ["the judge failed: ValueError"] * 2
    assert all(isinstance(entry, Score) for entry in found[2])


def test_calls_that_are_late_or_called_off_are_over_at_the_next_step_and_get_no_turn() -> None:
    gone = False
    judge, turns = taken((1, "a", "x" * 50), stop=Stop(math.inf, lambda: gone))
    turns.submit(2, [Passage("user", "y")], [POLICY], Stop(math.inf), "b")
    turns.step()
    gone = True
    ((job_id, entries),) = turns.step()
    assert (job_id, [type(entry) for entry in entries]) == (1, [EngineTimeout] * 2)
    assert [job_id for job_id, _ in answers(turns)] == [2]
    assert judge.read == ["y"]

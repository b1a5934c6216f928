"""What the guard process's reader thread hands on: jobs, their earliest deadline, and which of them were called off."""

from __future__ import annotations

import math
import socket
from collections.abc import Iterator

import pytest

from models import wire
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

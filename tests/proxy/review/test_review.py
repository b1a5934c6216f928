"""The review queue as the proxy uses it: the event loop asks, a thread writes, other processes decide."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from proxy.review import review as module
from proxy.review.item import Held, NewItem, ReviewError, State
from proxy.review.metrics import ReviewMetrics
from proxy.review.queue import ReviewQueue
from proxy.review.review import Review
from rules.policy import Policy
from tests.proxy.review.things import DAY_US, flagged, new_item

FRUIT = Policy("fruit", "rev-fruit", text="About fruit.")


@pytest.fixture
async def review(tmp_path: Path) -> AsyncIterator[Review]:
    review = Review(ReviewQueue(tmp_path / "review.db", busy_s=0.05), max_held=2)
    await review.start()
    yield review
    await review.close()


@pytest.fixture
async def other(tmp_path: Path, review: Review) -> AsyncIterator[ReviewQueue]:
    """The queue as another process has it."""
    queue = ReviewQueue(tmp_path / "review.db")
    yield queue
    queue.close()


def waiting(name: str, review: Review) -> NewItem:
    return new_item(name, held=Held.WAITING, held_until_us=review.queue.clock() + 60_000_000)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - another thread writes
            await asyncio.sleep(0.005)


async def held_item(review: Review, other: ReviewQueue, n: int = 1) -> None:
    await until(lambda: review.n_held == n == len(other.items()))


async def test_an_item_is_there_when_putting_it_returns(review: Review, other: ReviewQueue) -> None:
    numbers = await asyncio.gather(*(review.put(new_item(str(i))) for i in range(50)))
    assert sorted(numbers) == list(range(1, 51))
    assert [other.get(number).request_id for number in numbers] == [str(i) for i in range(50)]


async def test_an_item_that_cannot_be_written_costs_no_other(review: Review, other: ReviewQueue) -> None:
    bad = new_item("bad", content={"texts": [object()]})
    results = await asyncio.gather(
        *(review.put(item) for item in (new_item("a"), bad, new_item("b"))), return_exceptions=True
    )
    assert isinstance(results[1], ReviewError)
    assert str(results[1]) == "internal error: TypeError"
    assert sorted(item.request_id for item in other.items()) == ["a", "b"]
    assert review.failed == 1


async def test_a_locked_queue_is_an_error_and_works_again(tmp_path: Path, review: Review) -> None:
    with closing(sqlite3.connect(tmp_path / "review.db", isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        with pytest.raises(ReviewError, match="database is locked"):
            await review.put(new_item("a"))
        assert "locked" in (review.last_error or "")
        db.execute("ROLLBACK")
    await review.put(new_item("b"))
    assert review.last_error is None


async def test_a_disk_that_does_not_answer_is_an_error(review: Review, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = threading.Event()
    add = review.queue.add

    def hangs(items: Sequence[NewItem]) -> list[int]:
        answers.wait()
        return add(items)

    monkeypatch.setattr(review.queue, "add", hangs)
    monkeypatch.setattr(module, "TIMEOUT_S", 0.01)
    with pytest.raises(ReviewError, match="the disk does not answer"):
        await review.put(new_item("a"))
    with pytest.raises(ReviewError, match="the disk does not answer"):
        await review.put(new_item("b"))
    monkeypatch.setattr(module, "TIMEOUT_S", 10.0)
    answers.set()
    await review.put(new_item("c"))


@pytest.mark.parametrize("state", [State.UPHELD, State.OVERTURNED, State.UNSURE], ids=str)
async def test_a_word_of_another_process_wakes_who_waits(review: Review, other: ReviewQueue, state: State) -> None:
    word = asyncio.ensure_future(review.put_and_wait(waiting("a", review), 60))  # noqa: TID251 - awaited below
    await held_item(review, other)
    await asyncio.to_thread(other.decide, 1, state, "kim")
    assert await word is state
    assert other.get(1).held is Held.ANSWERED
    assert review.n_held == 0


async def test_when_the_time_is_over_nobody_has_decided(review: Review, other: ReviewQueue) -> None:
    assert await review.put_and_wait(waiting("a", review), 0.001) is State.PENDING
    assert other.get(1).held is Held.NOBODY


async def test_who_leaves_waits_no_more(review: Review, other: ReviewQueue) -> None:
    word = asyncio.ensure_future(review.put_and_wait(waiting("a", review), 60))  # noqa: TID251 - awaited below
    await held_item(review, other)
    word.cancel()
    with pytest.raises(asyncio.CancelledError):
        await word
    assert review.n_held == 0
    await review.put(new_item("b"))  # what was to be written before is written
    assert other.get(1).held is Held.LEFT


async def test_so_many_wait_and_no_more(review: Review, other: ReviewQueue) -> None:
    words = [asyncio.ensure_future(review.put_and_wait(waiting(n, review), 60)) for n in "ab"]  # noqa: TID251 - awaited below
    assert review.may_hold
    await held_item(review, other, 2)
    assert not review.may_hold
    review.end_holds()
    assert await asyncio.gather(*words) == [State.PENDING, State.PENDING]
    assert {item.held for item in other.items()} == {Held.CUT}
    assert not review.may_hold, "the proxy is being stopped"


async def test_an_exception_of_another_process_applies_and_ends(review: Review, other: ReviewQueue) -> None:
    other.add_exception(flagged(), expires_us=other.clock() + DAY_US, by="kim")
    await until(lambda: review.exemptions.find(FRUIT, "print-fruit") == "1")
    other.revoke(1, "kim")
    await until(lambda: review.exemptions.find(FRUIT, "print-fruit") is None)


async def test_the_key_of_the_fingerprints_outlives_the_proxy(tmp_path: Path, review: Review) -> None:
    again = Review(ReviewQueue(tmp_path / "review.db"))
    await again.start()
    assert len(review.exemptions.key) == 32
    assert again.exemptions.key == review.exemptions.key
    await again.close()
    assert (tmp_path / "review.db.key").stat().st_mode & 0o777 == 0o600


async def test_a_damaged_key_is_told_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "review.db.key").write_text("short", encoding="ascii")
    with pytest.raises(ReviewError, match=r"review\.db\.key: must hold 64 hexadecimal digits"):
        await Review(ReviewQueue(tmp_path / "review.db")).start()


async def test_metrics_say_what_waits(review: Review, other: ReviewQueue) -> None:
    await review.put(new_item("a"))
    other.decide(1, State.UPHELD, "kim")
    await review.put(new_item("b"))
    await until(lambda: review.counts is not None and set(review.counts.by_state.values()) == {0, 1})
    found: dict[Any, float] = {
        (s.name, *s.labels.values()): s.value for metric in ReviewMetrics(review).collect() for s in metric.samples
    }
    assert found["safeguard_review_items", "pending"] == 1
    assert found["safeguard_review_items", "upheld"] == 1
    assert found["safeguard_review_held",] == 0
    assert found["safeguard_review_healthy",] == 1
    assert found["safeguard_review_oldest_pending_seconds",] >= 0

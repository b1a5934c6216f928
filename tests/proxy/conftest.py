from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.review.queue import ReviewQueue
from tests.proxy.review.things import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(tmp_path: Path, clock: Clock) -> Iterator[ReviewQueue]:
    queue = ReviewQueue(tmp_path / "review.db", clock=clock)
    yield queue
    queue.close()

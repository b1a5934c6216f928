"""Large contents are read in threads of their own, for no longer than somebody waits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from rules import off_loop as module
from rules.detectors import Span
from rules.off_loop import LARGE_CHARS, THREADS, OutOfPatience, Patience, off_loop
from rules.policy import Policy
from rules.rule import Action, Rule, Stage
from rules.screen import Screener
from tests.fakes import user


@dataclass
class SlowDetector:
    """Reads no further until it is let."""

    read: list[str] = field(default_factory=list)
    has_begun: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    may_go_on: threading.Event = field(default_factory=threading.Event)

    def find(self, text: str) -> list[Span]:
        self.read.append(text[:1])
        self.has_begun.release()
        assert self.may_go_on.wait(60)
        return []


@pytest.fixture
def slow() -> Iterator[SlowDetector]:
    detector = SlowDetector()
    yield detector
    detector.may_go_on.set()


def reads(detector: SlowDetector) -> Screener:
    return Screener(Stage.INPUT, (Rule(Policy("slow", "rev", detector=detector), (), {Action.REFUSE: 0.5}),), {})


LARGE = user("a" * LARGE_CHARS, "b")


async def test_large_contents_do_not_occupy_the_threads_in_which_bodies_are_parsed(slow: SlowDetector) -> None:
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(THREADS) as others:
        loop.set_default_executor(others)
        screening = [asyncio.ensure_future(reads(slow).screen(LARGE)) for _ in range(2 * THREADS)]  # noqa: TID251 - awaited below
        for _ in range(THREADS):
            await asyncio.to_thread(slow.has_begun.acquire)
        assert slow.read == ["a"] * THREADS
        slow.may_go_on.set()
        assert {d.action for d in await asyncio.gather(*screening)} == {Action.FORWARD}


async def test_who_leaves_is_not_read_for_any_longer(slow: SlowDetector, monkeypatch: pytest.MonkeyPatch) -> None:
    with ThreadPoolExecutor(1) as one:
        monkeypatch.setattr(module, "_threads", lambda: one)
        under_way, waiting = [asyncio.ensure_future(reads(slow).screen(LARGE)) for _ in range(2)]  # noqa: TID251 - awaited below
        await asyncio.to_thread(slow.has_begun.acquire)
        under_way.cancel()
        waiting.cancel()
        await asyncio.gather(under_way, waiting, return_exceptions=True)
        slow.may_go_on.set()
        await off_loop(int)  # its turn comes once the thread is done
    assert slow.read == ["a"]


def test_patience_ends_with_its_time_and_with_who_waits() -> None:
    patience = Patience()
    patience.check()
    patience.is_over = True
    for ended in (patience, Patience(until=float("-inf"))):
        with pytest.raises(OutOfPatience):
            ended.check()

"""Log lines: what is lost of them, and what the event loop may say."""

from __future__ import annotations

import asyncio
import errno
import io
import json
import os
import sys
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from proxy import logs
from proxy.logs import LOOP_ERROR_EVERY_S, LoopErrors, Sink

SECRET = "ZQ-MARK-7781"


class Disk:
    """A file that can be full."""

    def __init__(self) -> None:
        self.text = ""
        self.failure: Exception | None = None

    def write(self, line: str, timeout_s: float) -> None:
        if self.failure is not None:
            raise self.failure
        self.text += line


@pytest.mark.parametrize(
    "failure",
    [
        pytest.param(OSError(errno.ENOSPC, "No space left on device"), id="full"),
        pytest.param(BrokenPipeError(), id="reader-gone"),
        pytest.param(ValueError("I/O operation on closed file"), id="closed"),
    ],
)
def test_lines_that_cannot_be_written_are_counted_and_the_count_is_written_later(failure: Exception) -> None:
    disk = Disk()
    sink = Sink(disk.write, lambda n: f"{n} lost\n")
    sink.write("a\n")
    disk.failure = failure
    sink.write("b\n")
    sink.write("c\n")
    assert sink.lost == 2
    disk.failure = None
    sink.write("d\n")
    sink.write("e\n")
    assert disk.text == "a\n2 lost\nd\ne\n"


def test_a_log_that_cannot_be_written_disturbs_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(line: bytes, timeout_s: float) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(logs, "_write_bytes", broken)
    try:
        logs.configure_logs()
        structlog.get_logger().info("request", status=200)
    finally:
        structlog.reset_defaults()


def test_a_reader_that_does_not_read_is_waited_for_once_and_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "STALL_S", 0.05)
    reads, writes = os.pipe()
    with open(reads, "rb") as reader, open(writes, "w", encoding="utf-8") as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        try:
            logs.configure_logs()
            log = structlog.get_logger()
            for i in range(400):  # three times what a pipe takes
                log.info("request", number=i, padding="x" * 500)
            os.set_blocking(reads, False)
            first = reader.read()
            log.info("request", number="last")
            rest = reader.read()
        finally:
            structlog.reset_defaults()
    numbers = [json.loads(line)["number"] for line in first.splitlines() if line.endswith(b"}")]
    assert numbers == list(range(len(numbers))), "whole lines, in order"
    lost, last = [json.loads(line) for line in rest.splitlines() if line]
    assert (lost["event"], last["number"]) == ("log_lines_lost", "last")
    assert lost["lines"] + len(numbers) == 400


async def test_an_error_of_the_loop_is_one_short_line_without_what_it_was_about() -> None:
    def fails(text: str) -> None:
        raise RuntimeError(text)

    now = 0.0
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(LoopErrors(lambda: now))

    async def twice() -> None:
        for _ in range(2):
            loop.call_soon(fails, SECRET)
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    with capture_logs() as lines:
        await twice()
        now += LOOP_ERROR_EVERY_S
        await twice()
    assert [line["event"] for line in lines] == ["loop_error", "loop_error"], "twice in each span of time"
    line: dict[str, Any] = dict(lines[0])
    assert (line["what"], line["error"]) == ("Exception in", "RuntimeError")
    assert line["at"].startswith("test_logs.py:")
    assert SECRET not in str(lines)


def test_a_traceback_says_where_and_of_what_type_but_not_what_the_error_says() -> None:
    def inner() -> None:
        raise KeyError(SECRET)

    def outer() -> None:
        try:
            inner()
        except KeyError as error:
            raise ExceptionGroup(SECRET, [ValueError(SECRET)]) from error

    line, shown = b"", io.StringIO()
    try:
        outer()
    except ExceptionGroup:
        line = logs._json_line(None, "error", {"event": "broke", "exc_info": True})
        logs._write_frames(shown, sys.exc_info())
    for text in (json.loads(line)["exception"], shown.getvalue()):
        assert SECRET not in text
        for word in ("ExceptionGroup", "ValueError", "KeyError", "in inner", "in outer"):
            assert word in text

"""Where records are written, and how a run that was killed goes on.

One line per row, in the order of the rows, so **how many lines there are is how far it got**: nothing else has to be kept in
step with the file. A kill can leave the last line torn; it is cut off and its row judged again. A line counts once the
operating system has it, which no kill of this process takes back; against a power cut the file is flushed to the disk every
few seconds and in the end, and a hole that it leaves is found when the lines are read again.

What the lines depend on (input, rules, guards, options) stands in a second file, ``OUT.run.json``, which is written before the
first line. A run goes on only where all of that is the same.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from proxy.batch.tally import Tally
from proxy.files import sync_folder, write_all

SHAPE = 1
"""Of the records and of ``OUT.run.json``; another one cannot be gone on with."""

_MAX_LINE_BYTES = 1 << 28


class OutputError(ValueError):
    """The output cannot be written, or not gone on with; the message is one line."""


class Stream:
    """An output that begins with each run: standard output, a pipe."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.tally = Tally()

    def write(self, record: Mapping[str, Any]) -> None:
        """Write one record."""
        write_all(self._descriptor, _line(record))
        self.tally.add(record)

    def sync(self) -> None:
        """Nothing can be done for what went into a pipe."""

    def close(self) -> None:
        """It is not ours to close."""


class File:
    """An output that a later run can go on with. Holds a lock, so that no two runs write the same file.

    Args:
        path: The file; created if it is not there.

    Raises:
        OutputError: Another run has it, or it is no file.
        OSError: It cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tally = Tally()
        self._state_path = Path(f"{path}.run.json")
        self._state: dict[str, Any] | None = None
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            if not stat.S_ISREG(os.fstat(self._descriptor).st_mode):
                raise OutputError(f"{path}: is no file")
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._descriptor)
            raise OutputError(f"{path}: another run is writing it") from None
        except OutputError:
            os.close(self._descriptor)
            raise

    @property
    def is_complete(self) -> bool:
        """Whether an earlier run came to its end."""
        return self._state is not None and self._state["complete"] is True

    def resume(self, run: Mapping[str, Any], *, restart: bool, can_resume: bool = True) -> None:
        """Find out how far an earlier run got; `tally` counts its records.

        Args:
            run: What the records depend on; the words of a complaint are its keys.
            restart: Whether to begin anew, whatever is there.
            can_resume: Whether the input can be read again from its beginning.

        Raises:
            OutputError: There is something that cannot be gone on with.
        """
        if restart:
            self._state_path.unlink(missing_ok=True)  # first: a file without it is never gone on with
            os.ftruncate(self._descriptor, 0)
        self._state = self._read_state()
        is_empty = os.fstat(self._descriptor).st_size == 0
        if self._state is None:
            if not is_empty:
                raise OutputError(f"{self.path}: is not the output of a run that can go on; --restart writes it anew")
            return
        if is_empty and not self.is_complete:
            self._state = None
            return
        if not can_resume:
            raise OutputError(
                f"{self.path}: is not empty, and standard input cannot be gone on with; --restart writes it anew"
            )
        self._compare(run)
        self._read_lines()

    def begin(self, run: Mapping[str, Any]) -> None:
        """Say what the records depend on, or compare it with what was said; before the first record.

        Raises:
            OutputError: It is not the same.
        """
        if self._state is None:
            self._write_state({"shape": SHAPE, **run, "complete": False})
        else:
            self._compare(run)

    def write(self, record: Mapping[str, Any]) -> None:
        """Write one record.

        Raises:
            OutputError: The disk is full, or fails. What was written of it, the next run cuts off.
        """
        with _told(self.path):
            write_all(self._descriptor, _line(record))
        self.tally.add(record)

    def sync(self) -> None:
        """Have the disk keep what was written.

        Raises:
            OutputError: It does not.
        """
        with _told(self.path):
            os.fsync(self._descriptor)

    def finish(self) -> None:
        """All rows have their records."""
        self.sync()
        if self._state is not None:
            self._write_state({**self._state, "complete": True})

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._descriptor)

    def _compare(self, run: Mapping[str, Any]) -> None:
        state = self._state or {}
        for name, value in run.items():
            if name in state and state[name] != value:
                said = f"{_short(value)}, was {_short(state[name])}"
                raise OutputError(
                    f"{self.path}: {name} differs from that of the run that began it ({said}); --restart begins anew"
                )

    def _read_lines(self) -> None:
        """Count what is there, and cut off what is torn."""
        whole = 0
        with os.fdopen(os.dup(self._descriptor), "rb") as file:
            file.seek(0)
            while (line := file.readline(_MAX_LINE_BYTES)).endswith(b"\n"):
                number = self.tally.rows + 1
                try:
                    record = orjson.loads(line)
                    if record["row"] != number:
                        raise ValueError
                    self.tally.add(record)
                except (ValueError, TypeError, KeyError):
                    raise OutputError(
                        f"{self.path}:{number}: is not the record of row {number}; --restart writes the file anew"
                    ) from None
                whole += len(line)
        os.ftruncate(self._descriptor, whole)
        os.lseek(self._descriptor, whole, os.SEEK_SET)

    def _read_state(self) -> dict[str, Any] | None:
        try:
            state = json.loads(self._state_path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            state = None
        if not isinstance(state, dict) or state.get("shape") != SHAPE or not isinstance(state.get("complete"), bool):
            raise OutputError(f"{self._state_path}: cannot be read as the state of a run; --restart begins anew")
        return state

    def _write_state(self, state: dict[str, Any]) -> None:
        """In one step: a kill leaves the old file or the new one."""
        new = Path(f"{self._state_path}.new")
        with _told(self._state_path):
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
            try:
                write_all(descriptor, json.dumps(state, indent=2).encode() + b"\n")
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            new.replace(self._state_path)
            sync_folder(self._state_path.parent)
        self._state = state


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """What the system says about a file, with its name."""
    try:
        yield
    except OSError as e:
        raise OutputError(f"{path}: cannot be written: {e.strerror}") from None


def _line(record: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:  # content that is kept can have numbers of more than 64 bits
        return json.dumps(record).encode() + b"\n"


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:59] + "…"

"""A file that whole lines are appended to: all of a write is in it, or nothing.

One `os.write` on a descriptor that appends reaches the kernel, so what was written outlives the process. A write that fails
halfway (a full disk) is taken back by cutting the file to its former length. Where even that fails, and where a process or a
machine died in the middle of a write, the file ends in a piece of a line: the next line begins on a line of its own, and
readers leave the piece out. Who moves or deletes the file (logrotate) is noticed at the next write.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from proxy.files import sync_folder, write_all

PROBE_BYTES = 65536
"""Room for a group of records: a disk that has one byte left is full."""


class AppendFile:
    """See the top of the file. Raises OSError.

    Args:
        path: Where it lies; made with its first line, readable by its owner only.
        sync: Whether a write returns only when the disk has it.
    """

    def __init__(self, path: Path, *, sync: bool) -> None:
        self.path = path
        self._sync = sync
        self._fd: int | None = None
        self._size = 0

    @property
    def size(self) -> int:
        """Bytes in it, as far as this process knows; 0 if it is not open."""
        return self._size

    def append(self, data: bytes) -> None:
        """Write whole lines, to their end."""
        fd = self._opened()
        size = os.fstat(fd).st_size
        try:
            write_all(fd, data)
            if self._sync:
                os.fdatasync(fd)
        except OSError:
            self._take_back(fd, size)
            raise
        self._size = size + len(data)

    def _take_back(self, fd: int, size: int) -> None:
        """Cut off what a failed write has left; if that fails too, the next write looks at how the file ends."""
        with contextlib.suppress(OSError):
            os.ftruncate(fd, size)
        self.close()

    def probe(self) -> None:
        """Find out whether lines could be written, without leaving any."""
        size = os.fstat(self._opened()).st_size
        self.append(b"\n" * PROBE_BYTES)
        os.ftruncate(self._opened(), size)
        self._size = size

    def close(self) -> None:
        """Let go of the file; the next write opens it again."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd, self._size = None, 0

    def _opened(self) -> int:
        if self._fd is not None and self._is_in_place(self._fd):
            return self._fd
        self.close()
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            self._size = os.fstat(fd).st_size
            if self._size and os.pread(fd, 1, self._size - 1) != b"\n":
                self._size += os.write(fd, b"\n")
            if self._sync:
                sync_folder(self.path.parent)
        except OSError:
            os.close(fd)
            raise
        self._fd = fd
        return fd

    def _is_in_place(self, fd: int) -> bool:
        try:
            there = os.stat(self.path)
        except FileNotFoundError:
            return False
        return os.path.samestat(there, os.fstat(fd))

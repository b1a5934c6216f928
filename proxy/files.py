"""Writing so that what was written outlives the process, or the machine."""

from __future__ import annotations

import errno
import os
from pathlib import Path


def replace_file(path: Path, data: bytes, mode: int) -> None:
    """Have a file hold this, in one step: whoever reads it sees the old one or the new one, never a half.

    Args:
        path: The file; of a link, the one that it leads to.
        data: All that it is to hold.
        mode: The rights of a new file; one that is there keeps its own.

    Raises:
        OSError: It cannot be written; or what stands there is no file, and would be gone.
    """
    target = Path(os.path.realpath(path))
    if target.exists():
        if not target.is_file():
            raise OSError(errno.EINVAL, "is no file", str(path))
        mode = target.stat().st_mode & 0o777
    made = target.with_name(f".{target.name}.{os.getpid()}.new")
    try:
        descriptor = os.open(made, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, mode)
        try:
            write_all(descriptor, data)
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(made, target)
    finally:
        made.unlink(missing_ok=True)
    sync_folder(target.parent)


def write_all(descriptor: int, data: bytes) -> None:
    """Past every buffer: what this process holds back, a kill takes with it. Raises OSError."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def sync_folder(folder: Path) -> None:
    """Have the disk know which files a folder holds. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""Writing so that what was written outlives the process, or the machine."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacement(path: Path, data: bytes, mode: int) -> Iterator[Path]:
    """Have a file hold this, in one step: whoever reads it sees the old one or the new one, never a half.

    Gives the new one as it stands beside the old one; it takes its place at the end of the block, unless that raises.

    Args:
        path: The file; of a link, the one that it leads to.
        data: All that it is to hold.
        mode: The rights of a new file; one that is there keeps its own, and its owner.

    Raises:
        OSError: It cannot be written; or what stands there is no file, and would be gone.
    """
    target = Path(os.path.realpath(path))
    old = target.stat() if target.exists() else None
    if old is not None and not stat.S_ISREG(old.st_mode):
        raise OSError(errno.EINVAL, "is no file", str(path))
    mode = mode if old is None else old.st_mode & 0o777
    made = target.with_name(f".{target.name}.{os.getpid()}.new")
    try:
        descriptor = os.open(made, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, mode)
        try:
            write_all(descriptor, data)
            os.fchmod(descriptor, mode)
            if old is not None and os.geteuid() == 0:  # an administrator's command; the proxy must still read it
                os.fchown(descriptor, old.st_uid, old.st_gid)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        yield made
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

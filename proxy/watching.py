"""Has a file changed? What files look like from outside, compared; who asks decides when. No clock, no threads.

Files are looked at by their names, through links. So a file that an editor replaces by renaming another one over it, and a
folder that Kubernetes replaces by turning a link, are seen like one that is written in place: another inode.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Signature:
    """What tells one state of a file from another, without reading it. Any change of content or rights moves ``ctime_ns``."""

    mode: int
    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    @property
    def is_file(self) -> bool:
        """Whether it is a plain file, which can be read as often as one likes."""
        return stat.S_ISREG(self.mode)

    @property
    def content(self) -> tuple[int, int, int, int]:
        """What changes when another content is put there, and not with rights or links."""
        return self.device, self.inode, self.size, self.mtime_ns

    @property
    def never_ends(self) -> bool:
        """Whether reading it may take for ever: a pipe, a device."""
        return not stat.S_ISREG(self.mode) and not stat.S_ISDIR(self.mode)


Snapshot: TypeAlias = Mapping[Path, Signature | None]
"""How files looked at one moment; None: there is none, or it cannot be looked at."""


def signature(path: Path) -> Signature | None:
    """How a file looks now."""
    try:
        status = path.stat()
    except (OSError, ValueError):  # ValueError: a name that no file can have
        return None
    return Signature(
        status.st_mode, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
    )


def snapshot(paths: Iterable[Path]) -> Snapshot:
    """How files look now."""
    return {path: signature(path) for path in paths}


class Watch:
    """Compares what is seen with what was read.

    A change counts once it is seen twice in a row: a file that is still being written looks different each time.

    Args:
        read: How the files looked when they were read.
    """

    def __init__(self, read: Snapshot) -> None:
        self.read = read
        self._before: Snapshot | None = None

    @property
    def paths(self) -> tuple[Path, ...]:
        """What to look at."""
        return tuple(self.read)

    def look(self, seen: Snapshot) -> bool:
        """Whether files have changed and are at rest again.

        Args:
            seen: How the files at `paths` look now.
        """
        if seen == self.read:
            self._before = None
            return False
        at_rest = seen == self._before
        self._before = seen
        return at_rest

    def took(self, read: Snapshot) -> None:
        """The files were read, as they looked then; from now on others may be meant."""
        self.read = read
        self._before = None

r"""Policies that were read, on disk: a restart restores them in milliseconds instead of reading them in minutes.

One file per prefix, named by what it depends on: the model, the library, the layout of the cache and the tokens. llama.cpp
restores a state whose body was changed without a word, so each file carries a checksum::

    magic (8)  sha256 of all that follows (32)  sha256 of identity and tokens (32)  state

Whatever is wrong with a file, it is removed, where that is possible, and the prefix is read again. The checksum finds
accidents; it is no signature: whoever may write into the folder may change verdicts. So the folder must belong to us alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from models.errors import ModelLoadError

_MAGIC = b"sgprefx1"
_DIGEST_BYTES = 32
_SUFFIX = ".prefix"
_UNFINISHED = ".tmp"
_LEFT_AFTER_S = 3600.0
"""Nobody writes a file for so long."""


class PrefixStore:
    """A folder of prefixes.

    Args:
        folder: Made if it is not there.
        identity: All that a state depends on besides its tokens.
        max_files: How many to keep; those that were not used for longest go.

    Raises:
        ModelLoadError: The folder cannot be made, or others may write into it.
    """

    def __init__(self, folder: Path, identity: str, *, max_files: int = 64) -> None:
        self._folder = folder
        self._identity = identity
        self._max_files = max_files
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = folder.stat()
        except OSError as error:
            raise ModelLoadError(f"prefix_cache {folder} cannot be used: {error.strerror}") from None
        if status.st_uid != os.geteuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise ModelLoadError(f"prefix_cache {folder} must belong to the user and be writable by nobody else")
        self._remove_leftovers()

    def load(self, tokens: Sequence[int]) -> bytes | None:
        """The state of a prefix; None: it is not here, or not what was saved."""
        key = self._key(tokens)
        path = self._path(key)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        except (OSError, MemoryError) as error:
            complain(f"cannot read a kept prefix: {getattr(error, 'strerror', 'out of memory')}")
            return None
        start = len(_MAGIC) + _DIGEST_BYTES
        head, rest = content[:start], content[start:]
        if head != _MAGIC + hashlib.sha256(rest).digest() or rest[:_DIGEST_BYTES] != key:
            complain("a kept prefix was damaged and is read anew")
            _remove(path)
            return None
        with contextlib.suppress(OSError):  # only the order in which files go depends on it
            os.utime(path)
        return rest[_DIGEST_BYTES:]

    def save(self, tokens: Sequence[int], state: bytes) -> None:
        """Keep a state. A disk that is full, or gone, is no reason not to judge: it is said, and that is all."""
        key = self._key(tokens)
        rest = key + state
        try:
            descriptor, name = tempfile.mkstemp(dir=self._folder, suffix=_UNFINISHED)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(_MAGIC + hashlib.sha256(rest).digest() + rest)
                os.replace(name, self._path(key))
            except BaseException:
                _remove(Path(name))
                raise
            self._prune()
        except OSError as error:
            complain(f"cannot keep a prefix: {error.strerror}")

    def forget(self, tokens: Sequence[int]) -> None:
        """Remove a state that llama.cpp would not take."""
        _remove(self._path(self._key(tokens)))

    def _key(self, tokens: Sequence[int]) -> bytes:
        hashed = hashlib.sha256(f"{len(self._identity)}\0{self._identity}\0".encode())
        hashed.update(np.asarray(tokens, np.int32).tobytes())
        return hashed.digest()

    def _path(self, key: bytes) -> Path:
        return self._folder / (key.hex() + _SUFFIX)

    def _prune(self) -> None:
        def used(path: Path) -> float:
            try:
                return path.stat().st_mtime
            except OSError:  # another guard process removed it
                return 0.0

        files = sorted(self._folder.glob(f"*{_SUFFIX}"), key=used)
        for path in files[: max(0, len(files) - self._max_files)]:
            _remove(path)
        self._remove_leftovers()

    def _remove_leftovers(self) -> None:
        """What is left of saves during which the process was killed."""
        with contextlib.suppress(OSError):  # another guard process has finished one: the others go next time
            for path in self._folder.glob(f"*{_UNFINISHED}"):
                if time.time() - path.stat().st_mtime > _LEFT_AFTER_S:
                    _remove(path)


def _remove(path: Path) -> None:
    """Remove a file, unless it is gone already or the folder has become read-only: what stays there does no harm."""
    with contextlib.suppress(OSError):
        path.unlink()


def complain(line: str) -> None:
    """To the supervisor's log."""
    sys.stderr.write(line + "\n")

"""How much memory this process may still take: what the machine has, and what its control groups allow.

Pages of files count as available, as in the kernel's ``MemAvailable``: the weights of a model that is loaded already
are such pages, and a second guard with the same file shares them.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath

_NO_GPU = frozenset({"base", "cpu", "blas", "rpc"})
_GPU_DEVICES = ("dev/nvidiactl", "dev/nvidia0", "dev/kfd", "dev/dxg")  # not /dev/dri: most of those share our memory


def available_bytes(root: Path = Path("/")) -> int | None:
    """Memory that can be had now, in bytes; None where this system does not say (not Linux).

    Args:
        root: Where ``proc`` and ``sys`` lie.
    """
    limits = [*_machine(root), *_groups(root)]
    return max(0, min(limits)) if limits else None


def may_have_gpu(root: Path = Path("/")) -> bool:
    """Whether there is a device that llama.cpp may put layers on, as far as that can be seen without loading it."""
    return any((root / device).exists() for device in _GPU_DEVICES)


def built_for_gpu() -> bool:
    """Whether llama.cpp, as it is installed, may have been built for one. Seen by its libraries, none of which is loaded.

    A build without any library that is known is taken for one that may.
    """
    found = importlib.util.find_spec("llama_cpp")
    folders = (found.submodule_search_locations or ()) if found is not None else ()
    names = {path.name for folder in folders for path in (Path(folder) / "lib").glob("*ggml-*")}
    return names_a_gpu(names)


def names_a_gpu(libraries: Collection[str]) -> bool:
    """Whether names of ggml's libraries speak of a GPU: one for each kind of device that a build is for."""
    kinds = {kind for name in libraries if (kind := _kind(name)) is not None}
    return not kinds or not kinds <= _NO_GPU


def _kind(library: str) -> str | None:
    """``cuda`` of ``libggml-cuda.so``; of ``libggml-cpu-haswell.so`` ``cpu``."""
    found = re.match(r"(?:lib)?ggml-([a-z]+)", library)
    return found[1] if found else None


def _machine(root: Path) -> Iterator[int]:
    for line in _lines(root / "proc/meminfo"):
        name, _, rest = line.partition(":")
        if name == "MemAvailable":
            yield int(rest.split()[0]) * 1024  # "MemAvailable:  23812345 kB"


def _groups(root: Path) -> Iterator[int]:
    """What each control group from this process's own up to the top has left (cgroups(7))."""
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            mount, names = root / "sys/fs/cgroup", ("memory.max", "memory.current", ("inactive_file", "active_file"))
        elif "memory" in controllers.split(","):
            mount = root / "sys/fs/cgroup/memory"
            names = (
                "memory.limit_in_bytes",
                "memory.usage_in_bytes",
                ("total_inactive_file", "total_active_file"),
            )
        else:
            continue
        inside = PurePosixPath(path.lstrip("/"))
        for group in (inside, *inside.parents):
            yield from _left(mount / group, *names)


def _left(group: Path, limit: str, usage: str, cached: tuple[str, ...]) -> Iterator[int]:
    """Limit less usage, the pages of files given back. Nothing where there is no limit, or no such group in sight."""
    numbers = [line for name in (limit, usage) for line in _lines(group / name)]
    if len(numbers) != 2 or not all(number.isdecimal() for number in numbers):  # "max"
        return
    statistics = dict(line.split(" ", 1) for line in _lines(group / "memory.stat"))
    yield int(numbers[0]) - int(numbers[1]) + sum(int(statistics.get(name, 0)) for name in cached)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("ascii", "replace").splitlines()
    except OSError:  # another system, another version of cgroups, or hidden from this container
        return []

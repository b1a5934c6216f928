"""The native library itself: started once, its complaints, and what it was built for."""

from __future__ import annotations

import ctypes
import functools
from collections import deque
from importlib.metadata import version

from llama_cpp import llama_cpp as native

_KEPT_LOG_LINES = 4
_LOG_WARN, _LOG_ERROR = 3, 4  # enum ggml_log_level


class Log:
    """Takes llama.cpp's log lines: silent, but remembers the last complaints."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=_KEPT_LOG_LINES)
        self.callback = native.llama_log_callback(self._take)  # llama.cpp keeps the pointer: it must outlive us

    def _take(self, level: int, text: bytes | None, _: object) -> None:
        # Lines quote the file, which may be garbage: the binding's own callback failed on bytes that are not UTF-8.
        if level in (_LOG_WARN, _LOG_ERROR) and text and (line := text.decode("utf-8", "replace").strip()):
            self._lines.append("".join(c if c.isprintable() else "?" for c in line[:300]))

    def clear(self) -> None:
        """Forget them: what comes now belongs to the next call."""
        self._lines.clear()

    def __str__(self) -> str:
        return "; ".join(self._lines) or "llama.cpp gave no reason"


@functools.cache
def backend() -> Log:
    """Start llama.cpp, once in this process.

    Returns:
        Its log, the same one each time.
    """
    log = Log()
    native.llama_log_set(log.callback, ctypes.c_void_p(0))
    native.llama_backend_init()
    return log


def has_gpu() -> bool:
    """Whether this build of llama.cpp can put layers on a GPU, and there is one."""
    backend()
    return bool(native.llama_supports_gpu_offload())


def library() -> str:
    """What computes: versions, and the features of the processor that decide how it rounds."""
    backend()
    return f"{version('llama-cpp-python')} {native.llama_print_system_info().decode('utf-8', 'replace')}"


def repacks_safely(features: str, *, loads_whole_tiles: bool) -> bool:
    """Whether llama.cpp may lay weights out anew for the processor's matrix instructions, which makes reading faster.

    Not where it was compiled with Intel's AMX in the usual way: compilers drop part of the tile configuration that it puts on
    the stack, and the process ends at its first batch (llama.cpp issue 20824, pull request 26954).

    Args:
        features: What `library` says.
        loads_whole_tiles: Whether it was compiled with ``tools/amx_tiles.h``, as `make install` does.
    """
    return loads_whole_tiles or "AMX_INT8 = 1" not in features


def loads_whole_tiles() -> bool:
    """Whether the library has the symbol of ``tools/amx_tiles.h``."""
    try:
        ctypes.c_int.in_dll(native._lib, "safeguard_loads_whole_tile_configuration")
    except ValueError:
        return False
    return True

"""Whether the installed llama.cpp uses the matrix instructions that this processor and this compiler have.

pip keeps a compiled wheel for good, and the kept one may be older than the flags of the Makefile or come from another
processor: then the shipped guard takes more than twice as long. A build for a GPU is left alone.
"""

from __future__ import annotations

import ctypes
import os
import shlex
import subprocess
import sys

from llama_cpp import llama_cpp as native


def compiler_uses_amx() -> bool:
    """Whether a native compilation with the flags of the environment takes Intel's AMX for this processor."""
    command = [
        "c++",
        *shlex.split(os.environ.get("CXXFLAGS", "")),
        "-march=native",
        "-dM",
        "-E",
        "-x",
        "c++",
        os.devnull,
    ]
    defined = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return "__AMX_INT8__" in defined


def main() -> int:
    """Compare the library with the compiler.

    Returns:
        0 if the library will do, 1 if it should be compiled anew.
    """
    native.llama_log_set(native.llama_log_callback(lambda *_: None), ctypes.c_void_p(0))
    if native.llama_supports_gpu_offload() or b"AMX_INT8 = 1" in native.llama_print_system_info():
        return 0
    return int(compiler_uses_amx())


if __name__ == "__main__":
    sys.exit(main())

"""llama-server and llama-bench of the very llama.cpp that llama-cpp-python is pinned to: built once, run on loopback.

The wheel has the library only. The tools come from its source distribution, compiled with the options that the wheel is
compiled with (release, native), so that both run the same kernels; `kernels` is what the server says of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from load import ROOT, BenchError, Target, child

PACKAGE = "llama-cpp-python"

_OPTIONS = (
    "CMAKE_BUILD_TYPE=Release",
    # nothing that looks for the network or for packages of the system
    "LLAMA_BUILD_UI=OFF",
    "LLAMA_USE_PREBUILT_UI=OFF",
    "LLAMA_OPENSSL=OFF",
    "LLAMA_BUILD_TESTS=OFF",
    "LLAMA_BUILD_EXAMPLES=OFF",
    "LLAMA_BUILD_APP=OFF",
)
_SYSTEM_INFO = """
import ctypes, sys
tell = ctypes.CDLL(sys.argv[1]).llama_print_system_info
tell.restype = ctypes.c_char_p
print(tell().decode())
"""
"""In a process of its own: this one has a library of that name already."""
_LOAD_TIMEOUT_S = 600.0  # a 20b model from a cold disk


class CannotBuild(Exception):
    """The tools are not to be had here; the message is the reason."""


@dataclass(frozen=True, slots=True)
class Tools:
    """Where the programs are."""

    server: Path
    bench: Path


def tools(folder: Path, *, cuda: bool, say: Callable[[str], None]) -> Tools:
    """The programs, built where they are not there yet: some 10 minutes on two cores, once.

    Args:
        folder: Where sources and programs are kept.
        cuda: Whether to build for CUDA.
        say: Told how far it is.

    Raises:
        CannotBuild: A compiler is missing, the sources cannot be fetched, or the build fails.
    """
    pinned = version(PACKAGE)
    source = folder / f"{PACKAGE.replace('-', '_')}-{pinned}"
    flags = f"{zlib.crc32(os.environ.get('CXXFLAGS', '').encode()):08x}"
    built = source / f"build-tools-{'cuda-' if cuda else ''}{flags}"
    programs = Tools(built / "bin" / "llama-server", built / "bin" / "llama-bench")
    log = folder / "build.log"
    if programs.server.exists() and programs.bench.exists():
        return programs
    for tool in ("cmake", "c++"):
        if shutil.which(tool) is None:
            raise CannotBuild(f"there is no {tool}")
    folder.mkdir(parents=True, exist_ok=True)
    log.unlink(missing_ok=True)
    if not source.exists():
        say(f"fetching the source of {PACKAGE} {pinned}")
        _fetch(folder, source, pinned, log)
    cmake = ["cmake", "-S", str(source / "vendor" / "llama.cpp"), "-B", str(built)]
    cmake += [f"-D{option}" for option in (*_OPTIONS, *(["GGML_CUDA=ON"] if cuda else []))]
    cmake += ["-G", "Ninja"] if shutil.which("ninja") else []
    say("configuring llama.cpp")
    _run(cmake, log, say)
    jobs = os.environ.get("JOBS", str(os.cpu_count() or 1))
    _run(["cmake", "--build", str(built), "--target", "llama-server", "llama-bench", "-j", jobs], log, say)
    return programs


def _fetch(folder: Path, source: Path, pinned: str, log: Path) -> None:
    archive = folder / f"{source.name}.tar.gz"
    if not archive.exists():
        requirement = f"{PACKAGE}=={pinned}"
        pip = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", PACKAGE)
        _run([*pip, "--dest", str(folder), requirement], log, lambda _: None)
    half = folder / f"{source.name}.part"
    shutil.rmtree(half, ignore_errors=True)
    safely = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # not in the first releases of Python 3.11
    try:
        with tarfile.open(archive) as packed:
            packed.extractall(half, **safely)
        (half / source.name).rename(source)
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        archive.unlink(missing_ok=True)  # perhaps it came only in part
        raise CannotBuild(
            f"{archive} cannot be unpacked: {type(error).__name__}; it is fetched again next time"
        ) from None
    finally:
        shutil.rmtree(half, ignore_errors=True)


def _run(command: list[str], log: Path, say: Callable[[str], None]) -> None:
    """Run a program at low priority, its output to the log and its progress to ``say``.

    Raises:
        CannotBuild: It fails.
    """
    nice = ["nice"] if shutil.which("nice") else []
    with (
        log.open("ab") as sink,
        subprocess.Popen(
            [*nice, *command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as process,
    ):
        try:
            assert process.stdout is not None
            for line in process.stdout:
                sink.write(line)
                if line.startswith(b"["):
                    say(f"building llama-server, once: {line.partition(b']')[0].decode(errors='replace')}]")
        except BaseException:
            process.terminate()
            raise
    if process.returncode != 0:
        raise CannotBuild(f"{Path(command[0]).name} failed (status {process.returncode}); see {log}")


@contextlib.contextmanager
def server(programs: Tools, model: Path, n_threads: int, *, n_slots: int, n_ctx: int, folder: Path) -> Iterator[Target]:
    """llama-server with its best flags for this work, ready to answer.

    Args:
        programs: From `tools`.
        model: The GGUF.
        n_threads: For generating and for reading.
        n_slots: Requests at once.
        n_ctx: Tokens of each slot.
        folder: Where its log goes.

    Raises:
        BenchError: It does not start.
    """
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    log = folder / "llama-server.log"
    command = [str(programs.server), "-m", str(model), "--host", "127.0.0.1", "--port", str(port), "--offline"]
    command += ["-np", str(n_slots), "-c", str(n_slots * n_ctx), "--swa-full"]
    command += ["-t", str(n_threads), "-tb", str(n_threads)]
    with (
        log.open("wb") as sink,
        child(*command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=sink.fileno()) as process,
    ):
        deadline = time.monotonic() + _LOAD_TIMEOUT_S
        while not _is_healthy(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise BenchError(f"llama-server did not start:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.2)
        yield Target("server", port, process.pid)


def kernels(programs: Tools) -> str:
    """The processor features that the tools were compiled for, as ``llama_print_system_info`` names them."""
    library = next(programs.server.parent.glob("libllama.[sd]*"), None)  # .so, .dylib
    done = subprocess.run([sys.executable, "-c", _SYSTEM_INFO, str(library)], capture_output=True, check=False)
    return done.stdout.decode(errors="replace").strip() or "unknown"


def _is_healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def prompt_speed(programs: Tools, model: Path, n_threads: int, *, n_prompt: int, depth: int, repeats: int) -> float:
    """Tokens per second at which llama-bench reads ``n_prompt`` tokens behind ``depth`` others.

    Raises:
        BenchError: It fails, or measured something else.
    """
    command = [str(programs.bench), "-m", str(model), "-t", str(n_threads), "-p", str(n_prompt), "-n", "0"]
    command += ["-d", str(depth), "-r", str(repeats), "-o", "json"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    try:
        (result,) = json.loads(done.stdout)
        if (result["n_prompt"], result["n_depth"], result["n_threads"]) == (n_prompt, depth, n_threads):
            return float(result["avg_ts"])
    except (ValueError, KeyError):
        pass
    raise BenchError(f"llama-bench failed (status {done.returncode}):\n{done.stderr.decode(errors='replace')[-2000:]}")

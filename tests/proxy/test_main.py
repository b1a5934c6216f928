"""The command line as a process, where its surroundings are odd: whatever happens is one line and a status, no traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.proxy.configs import SMALL

ROOT = Path(__file__).parents[2]


def safeguard(tmp_path: Path, shell: str) -> subprocess.CompletedProcess[bytes]:
    """Run a command with redirections; ``$S`` stands for ``safeguard``, ``$C`` for a configuration."""
    config = tmp_path / "c.yaml"
    config.write_text(SMALL, encoding="utf-8")
    environ = {**os.environ, "S": f"{sys.executable} -m proxy", "C": str(config), "PYTHONIOENCODING": "utf-8:strict"}
    return subprocess.run(["sh", "-c", shell], cwd=ROOT, env=environ, capture_output=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("shell", "status", "complaint"),
    [
        pytest.param("$S check --config $C -- - <&-", 0, b"", id="closed-input"),
        pytest.param("$S check --config $C -- - </dev/null", 0, b"", id="empty-input"),
        pytest.param("printf '\\377' | $S check --config $C -- -", 2, b"TEXT: is not UTF-8\n", id="binary-input"),
        pytest.param("$S check --config $C Hi >&-", 0, b"", id="closed-output"),
        pytest.param("$S check --config $C MARK >&- 2>&-", 1, b"", id="all-closed"),
        pytest.param(
            "$S check --json --config $C Hi >/dev/full",
            2,
            b"safeguard check: No space left on device\n",
            id="full-output",
        ),
        pytest.param(
            "$S config check --config $C >/dev/full", 2, b"safeguard config: No space left on device\n", id="full-table"
        ),
        pytest.param(
            "$S serve --host '' --config $C",
            2,
            b"must be an address or a name (see safeguard serve --help)\n",
            id="empty-host",
        ),
    ],
)
def test_odd_streams_and_options_are_no_crash(tmp_path: Path, shell: str, status: int, complaint: bytes) -> None:
    done = safeguard(tmp_path, shell)
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    assert (done.returncode, done.stderr[-len(complaint) :] if complaint else done.stderr) == (status, complaint)

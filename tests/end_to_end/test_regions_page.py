"""docs/regions.md: its commands do, as they are typed there, what the page says."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "regions.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def test_the_commands_of_the_page_do_what_it_says(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "safeguard").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m proxy "$@"\n')
    (tools / "safeguard").chmod(0o755)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = tmp_path / "examples" / "regions" / "config.yaml"
    config.write_text(config.read_text().replace("port: 8080", f"port: {port}"))
    environ = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}

    def run(block: str, *, code: int = 0) -> str:
        done = subprocess.run(
            ["bash", "-c", block.replace(":8080", f":{port}")],
            cwd=tmp_path,
            env={**environ, "JP_SHOP_KEY": "jp-demo-key"},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    check, test, serve, ask, audit, change = BLOCKS
    assert "eu-shop, everywhere" in run(check)
    assert "0 failed, 0 errors" in run(test)
    server = subprocess.Popen(
        ["bash", "-c", serve.replace("safeguard serve", "exec safeguard serve")],
        cwd=tmp_path,
        env=environ,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    try:
        assert server.stderr is not None
        assert any(b'"serving"' in line for line in server.stderr), "the proxy did not start"
        answers = run(ask).replace('}{"', '}\n{"').splitlines()
        assert ["You said" in answer for answer in answers] == [True, False, True, False]
        looked_up = run(audit)
        assert "eu-shop" in looked_up
        assert {"elsewhere", "eu-shop"} <= set(re.findall(r"elsewhere|eu-shop|us-shop|jp-shop", looked_up))
        assert "us-shop" not in looked_up
        replayed = run(change, code=1)
        assert "newly refused" in replayed
        assert "1 changed" in replayed
    finally:
        server.terminate()
        server.communicate(timeout=40)

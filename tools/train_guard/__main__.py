"""Runs the lot: data, training, export, evaluation, and the files that ship.

``python -m tools.train_guard --data DATA --extra EXTRA --work WORK --out models/weights``

``DATA`` is a data folder with the prepared sets, ``EXTRA`` holds clones of the repositories in
``sources.json`` at their commits (``EXTRA/<owner>+<name>``). Needs the extra ``train``; on a shared
machine set ``OMP_WAIT_POLICY=PASSIVE`` and ``GOMP_SPINCOUNT=0``, or the threads spin against each other.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path


def ship(work: Path, out: Path, kind: str) -> None:
    """Put the GGUF file and its metadata into the folder of the weights, each in one move."""
    for source, target in (
        (work / f"guard-{kind}.gguf", out / "embedded.gguf"),
        (work / "embedded.json", out / "embedded.json"),
    ):
        temporary = target.with_suffix(".part")
        shutil.copyfile(source, temporary)
        os.replace(temporary, target)


def main() -> None:
    """Run every step in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--extra", required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", default="30", help="longest training time")
    parser.add_argument("--kind", default="q8_0", help="the file that ships: q8_0 or f16")
    args = parser.parse_args()
    work = str(args.work)
    steps = (
        ("data", "--data", args.data, "--extra", args.extra, "--out", work),
        ("train", "--work", work, "--minutes", args.minutes),
        ("export", "--work", work),
        ("evaluate", "--data", args.data, "--extra", args.extra, "--work", work, "--kind", args.kind),
    )
    environment = os.environ | {"PYTHONHASHSEED": "0"}
    for name, *rest in steps:
        subprocess.run([sys.executable, "-m", f"tools.train_guard.{name}", *rest], check=True, env=environment)
    ship(args.work, args.out, args.kind)
    subprocess.run([sys.executable, "-m", "tools.train_guard.card", "--work", work, "--out", str(args.out)], check=True)


if __name__ == "__main__":
    main()

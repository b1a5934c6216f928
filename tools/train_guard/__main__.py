"""Runs the lot: data, training, export, calibration, the files that ship, and what they are worth on sets kept apart.

Training is one run on everything, and from its weights one on pairs alone for the second file.

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

_SECOND = ["--name", "pair", "--pairs-only", "--epochs", "6", "--rate", "1.4e-4", "--head-rate", "4e-4", "--seed", "51"]
"""How the second file is trained."""


def ship(work: Path, out: Path, kind: str) -> None:
    """Put the GGUF files and their metadata into the folder of the weights, each in one move."""
    for source, target in (
        (work / f"guard-{kind}.gguf", out / "embedded.gguf"),
        (work / f"pair-{kind}.gguf", out / "embedded-pair.gguf"),
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
    parser.add_argument("--minutes", default="45", help="longest time of the first training run")
    parser.add_argument("--pair-minutes", default="63", help="longest time of the second one")
    parser.add_argument("--before", help="folder with an earlier version, measured in the same run")
    parser.add_argument("--kind", default="q8_0", help="the file that ships: q8_0 or f16")
    args = parser.parse_args()
    work = str(args.work)
    steps = (
        ("data", "--data", args.data, "--extra", args.extra, "--out", work),
        ("train", "--work", work, "--minutes", args.minutes),
        ("train", "--work", work, "--start", f"{work}/guard.pt", "--minutes", args.pair_minutes, *_SECOND),
        ("export", "--work", work),
        ("evaluate", "--work", work, "--kind", args.kind),
    )
    environment = os.environ | {"PYTHONHASHSEED": "0"}

    def run(name: str, *rest: str) -> None:
        subprocess.run([sys.executable, "-m", f"tools.train_guard.{name}", *rest], check=True, env=environment)

    for name, *rest in steps:
        run(name, *rest)
    ship(args.work, args.out, args.kind)
    run("example", "--weights", str(args.out), "--config", "config.example.yaml")
    run("card", "--work", work, "--out", str(args.out))
    before = ("--before", str(args.before)) if args.before else ()
    run("measure", "--data", args.data, "--extra", args.extra, "--work", work, "--weights", str(args.out), *before)


if __name__ == "__main__":
    main()

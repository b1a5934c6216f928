"""Averages the weights of runs that began with the same checkpoint and differ in their seed.

After Wortsman et al. 2022, "Model soups".
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch


def main() -> None:
    """Write ``NAME.pt``, and ``NAME.json`` with the records of all runs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="NAME.pt to write")
    parser.add_argument("checkpoints", type=Path, nargs="+")
    args = parser.parse_args()
    runs = [json.loads(path.with_suffix(".json").read_text(encoding="utf-8")) for path in args.checkpoints]
    if any(run["before"] != runs[0]["before"] or run["before"] is None for run in runs):
        parser.error("the runs did not begin with the same checkpoint: the average of their weights would mean nothing")
    states = [torch.load(path, weights_only=True) for path in args.checkpoints]
    mean = {name: sum(state[name].float() for state in states) / len(states) for name in states[0]}
    torch.save(mean, args.out)
    args.out.with_suffix(".json").write_text(json.dumps({"averaged": runs}), encoding="utf-8")


if __name__ == "__main__":
    main()

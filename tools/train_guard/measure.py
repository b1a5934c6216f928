"""Measures the shipped guard with the product's own commands, and writes the tables of the model card and the README.

``python -m tools.train_guard.measure --data DATA --extra EXTRA --work WORK --weights models/weights``

Ranking comes from ``safeguard evaluate`` (1,000 bootstrap resamples), decisions from ``safeguard screen`` under
``config.example.yaml``. With ``--before FOLDER`` an earlier version is measured in the same run. Verdicts are kept in
``WORK``, so that the command goes on where it stopped. Figures go to ``quality.json`` beside the weights; `tables` makes
Markdown of them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from models.catalog import pair_path
from tools.train_guard import test_sets
from tools.train_guard.tables import put_in, tables

ROOT = Path(__file__).parents[2]
CATEGORIES = {"toxicchat": "any", "toxicchat_jailbreak": "injection", "hatecheck": "hate"}
"""Sets whose labels one of the categories answers; the others have policies of their own, which the pair output reads."""
DECIDED = (
    "toxicchat",
    "notinject",
    "mitre_frr",
    "wildguard_benign",
    "hatecheck",
    "simple_safety_tests",
    "injection_other_languages",
    "vibecheck_other_languages",
)
"""Sets put through the rules of ``config.example.yaml``."""


class Bench:
    """Runs the product's commands on rows, with the shipped weights and perhaps earlier ones."""

    def __init__(self, work: Path, weights: Path, before: Path | None) -> None:
        self._work = work
        work.mkdir(parents=True, exist_ok=True)
        self.guards = {"embedded": weights / "embedded.gguf"} | ({"before": before / "embedded.gguf"} if before else {})
        guard = {"engine": "encoder", "threads": 1, "canaries": False}
        self._config = work / "measure.yaml"
        self._config.write_text(
            yaml.safe_dump(
                {
                    "upstreams": {"default": {"base_url": "demo"}},
                    "guards": {name: guard | {"model": str(path.resolve())} for name, path in self.guards.items()},
                    "default_guard": "embedded",
                    "policies": {name: {"text": f"{name}.", "category": name} for name in set(CATEGORIES.values())},
                    "routes": [{"name": "default", "upstream": "default", "input": [{"policy": "any", "flag": 0.5}]}],
                }
            ),
            encoding="utf-8",
        )

    def rank(
        self, rows: Iterable[tuple[str, int]], policies: Sequence[str], threshold: float = 0.5
    ) -> list[dict[str, Any]]:
        """The columns of ``safeguard evaluate``: each guard with each policy.

        Args:
            rows: Content and label.
            policies: Names of categories, or ``NAME=FILE``.
            threshold: From which score on a row counts as caught.
        """
        arguments = [
            "--data",
            self._rows(rows),
            "--results",
            self._work / "results.jsonl",
            "--threshold",
            threshold,
            "--json",
        ]
        arguments += [x for name in self.guards for x in ("--guard", name)]
        arguments += [x for policy in policies for x in ("--policy", policy)]
        columns: list[dict[str, Any]] = json.loads(self._run("evaluate", "--config", self._config, *arguments))[
            "columns"
        ]
        for column in columns:
            if column["failed"]:
                raise SystemExit(f"{column['guard']}, {column['policy']}: rows without a verdict: {column['failed']}")
        return columns

    def decide(self, rows: Iterable[tuple[str, int]], config: Path) -> dict[str, dict[str, int]]:
        """How many rows of each label take which action under a configuration."""
        labels = [label for _, label in rows]
        out = self._work / "decisions.jsonl"
        self._run("screen", "--config", config, "--restart", "--output", out, self._rows(rows), found=True)
        found: dict[str, Counter[str]] = {}
        for line in out.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            kind = "violating" if labels[int(row["id"])] else "benign"
            found.setdefault(kind, Counter())[row["action"]] += 1
        return {kind: dict(counts) for kind, counts in found.items()}

    def policy(self, name: str, text: str) -> str:
        """A policy as an argument of ``safeguard evaluate``."""
        path = self._work / "policies" / f"{name}.md"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return f"{name}={path}"

    def cost(self, n_words: int) -> dict[str, float]:
        """See `tools.train_guard.cost`."""
        command = [sys.executable, "-m", "tools.train_guard.cost", str(self.guards["embedded"]), str(n_words)]
        found: dict[str, float] = json.loads(
            subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT).stdout
        )
        return found

    def _rows(self, rows: Iterable[tuple[str, int]]) -> Path:
        path = self._work / "rows.jsonl"
        lines = (
            json.dumps({"id": str(n), "text": text, "label": label}) + "\n" for n, (text, label) in enumerate(rows)
        )
        path.write_text("".join(lines), encoding="utf-8")
        return path

    def _run(self, *arguments: object, found: bool = False) -> str:
        """What a command prints; ``found``: it ends with 1 where it finds something, which is no failure."""
        done = subprocess.run(
            [sys.executable, "-m", "proxy", *map(str, arguments)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            check=False,
        )
        if done.returncode not in ((0, 1) if found else (0,)):
            raise SystemExit(f"safeguard {' '.join(map(str, arguments))} ended with {done.returncode}")
        return done.stdout


def _figures(column: dict[str, Any]) -> dict[str, Any]:
    wanted = ("auprc", "auroc", "best_f1", "recall_at_5")
    return {name: [column["figures"][name][key] for key in ("value", "low", "high")] for name in wanted}


def measure(bench: Bench, data: Path, extra: Path, metadata: dict[str, Any]) -> dict[str, Any]:
    """All figures; see the module."""
    sets, pairs = test_sets.tests(data, extra), test_sets.pairs(data)
    ranking = []
    for name in (*CATEGORIES, *pairs):
        policy = CATEGORIES.get(name) or bench.policy(name, pairs[name][0][0])
        columns = bench.rank(sets[name], [policy])
        row = {
            "set": name,
            "output": CATEGORIES.get(name, "pair"),
            "rows": columns[0]["rows"],
            "violating": columns[0]["violations"],
        }
        ranking.append(row | {column["guard"]: _figures(column) for column in columns})
        print(json.dumps(ranking[-1]), flush=True)
    decisions = {name: bench.decide(sets[name], ROOT / "config.example.yaml") for name in DECIDED}
    return {
        "sha256": metadata["sha256"],
        "pair_sha256": metadata["pair_sha256"],
        "version": metadata["version"],
        "ranking": ranking,
        "steering": _steering(bench, data),
        "functionality": _functionality(bench, data, metadata["thresholds"]["hate"]["flag"]),
        "decisions": decisions,
        "cost": cost(bench),
    }


def cost(bench: Bench) -> dict[str, Any]:
    """Size in megabytes, and what `tools.train_guard.cost` says of texts of 64 and 252 tokens."""
    path = bench.guards["embedded"]
    size = (path.stat().st_size + pair_path(path).stat().st_size) / 1e6
    return {"megabytes": round(size, 1), "words_64": bench.cost(61), "words_250": bench.cost(250)}


def _steering(bench: Bench, data: Path) -> list[dict[str, Any]]:
    """How each guard ranks the same contents under other policies, and which share of them it scores above one half."""
    names = {"auroc": "auroc", "violating": "recall", "other": "false_alarms"}
    found = []
    for topic, name, text, rows in test_sets.steering(data):
        entry: dict[str, Any] = {"contents": topic, "policy": name}
        for column in bench.rank(rows, [bench.policy(name, text)]):
            entry[column["guard"]] = {key: column["figures"][figure]["value"] for key, figure in names.items()}
        found.append(entry)
    return found


def _functionality(bench: Bench, data: Path, threshold: float) -> list[dict[str, Any]]:
    """What share of each functionality of HateCheck each guard judges rightly."""
    cases, found = test_sets.hatecheck(data), []
    for name in sorted({case["functionality"] for case in cases}):
        own = [case for case in cases if case["functionality"] == name]
        hateful = own[0]["label_gold"] == "hateful"
        entry: dict[str, Any] = {"functionality": name, "rows": len(own), "hateful": hateful}
        for column in bench.rank([(case["test_case"], int(hateful)) for case in own], ["hate"], threshold):
            figures = column["figures"]
            entry[column["guard"]] = figures["recall"]["value"] if hateful else 1 - figures["false_alarms"]["value"]
        found.append(entry)
    return found


def main() -> None:
    """Measure, write ``quality.json``, and put the tables into the model card and the README."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--extra", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--weights", type=Path, default=ROOT / "models/weights")
    parser.add_argument("--before", type=Path, help="folder with an earlier embedded.gguf and embedded.json")
    parser.add_argument("--cost", action="store_true", help="measure size, time and memory alone; the rest stays")
    args = parser.parse_args()
    metadata = json.loads((args.weights / "embedded.json").read_text(encoding="utf-8"))
    bench = Bench(args.work, args.weights, args.before)
    if args.cost:
        quality = json.loads((args.weights / "quality.json").read_text(encoding="utf-8"))
        if any(quality[name] != metadata[name] for name in ("sha256", "pair_sha256")):
            parser.error("quality.json is of other weights: all has to be measured")
        quality["cost"] = cost(bench)
    elif args.data and args.extra:
        quality = measure(bench, args.data, args.extra, metadata)
    else:
        parser.error("--data and --extra are needed, or --cost")
    (args.weights / "quality.json").write_text(json.dumps(quality, indent=1) + "\n", encoding="utf-8")
    for path in (args.weights / "MODEL_CARD.md", ROOT / "README.md"):
        text = path.read_text(encoding="utf-8")
        path.write_text(put_in(text, tables(quality, brief=path.name == "README.md")), encoding="utf-8")


if __name__ == "__main__":
    main()

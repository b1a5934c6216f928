"""Puts the thresholds of ``embedded.json`` into the rules of ``config.example.yaml``."""

from __future__ import annotations

import argparse
import json
import math
import re
from pathlib import Path
from typing import Any

from rules.policy import split_front_matter

_RULE = re.compile(r"(?P<start>^ *- \{policy: (?P<policy>[\w-]+), +)flag: [\d.]+(?:, refuse: [\d.]+)?\}", re.MULTILINE)


def with_thresholds(text: str, metadata: dict[str, Any], categories: dict[str, str]) -> str:
    """The configuration with the thresholds of the weights, rounded up.

    Args:
        text: The configuration.
        metadata: What ``embedded.json`` holds.
        categories: Category of each policy.
    """

    def rule(match: re.Match[str]) -> str:
        category = categories[match["policy"]]
        limits = metadata["thresholds"][category]
        kinds = ("flag", "refuse") if category in metadata["refusing"] else ("flag",)
        return match["start"] + ", ".join(f"{kind}: {_rounded(limits[kind])}" for kind in kinds) + "}"

    return _RULE.sub(rule, text)


def categories(text: str, folder: Path) -> dict[str, str]:
    """The category of each policy of a configuration that has one."""
    files = re.findall(r"^  ([\w-]+): +\{file: ([^}]+)\}", text, re.MULTILINE)
    fronts = {name: split_front_matter((folder / path).read_text(encoding="utf-8"))[0] for name, path in files}
    return {name: front.category for name, front in fronts.items() if front.category is not None}


def _rounded(threshold: float) -> str:
    """Two digits, or so many that half of what is left up to one stays."""
    digits = max(2, math.ceil(-math.log10(1 - threshold)) + 1)
    return f"{math.ceil(threshold * 10**digits) / 10**digits:g}"


def main() -> None:
    """Rewrite the file in place."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, required=True, help="folder of embedded.json")
    parser.add_argument("--config", type=Path, required=True)
    args = parser.parse_args()
    text = args.config.read_text(encoding="utf-8")
    metadata = json.loads((args.weights / "embedded.json").read_text(encoding="utf-8"))
    args.config.write_text(with_thresholds(text, metadata, categories(text, args.config.parent)), encoding="utf-8")


if __name__ == "__main__":
    main()

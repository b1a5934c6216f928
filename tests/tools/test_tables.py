"""What the README, the model card and the example configuration say of the shipped guard is what was measured and shipped."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from tools.train_guard.example import categories, with_thresholds
from tools.train_guard.tables import BEGIN, END, put_in, tables

ROOT = Path(__file__).parents[2]
WEIGHTS = ROOT / "models/weights"


def load(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((WEIGHTS / name).read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize(("page", "brief"), [(ROOT / "README.md", True), (WEIGHTS / "MODEL_CARD.md", False)])
def test_a_page_shows_what_was_measured(page: Path, brief: bool) -> None:
    text = page.read_text(encoding="utf-8")
    assert put_in(text, tables(load("quality.json"), brief=brief)) == text


def test_what_was_measured_is_what_ships() -> None:
    measured, shipped = load("quality.json"), load("embedded.json")
    for name, file in (("sha256", "embedded.gguf"), ("pair_sha256", "embedded-pair.gguf")):
        assert measured[name] == shipped[name] == hashlib.sha256((WEIGHTS / file).read_bytes()).hexdigest()


def test_the_example_has_the_thresholds_of_the_weights() -> None:
    text = (ROOT / "config.example.yaml").read_text(encoding="utf-8")
    assert with_thresholds(text, load("embedded.json"), categories(text, ROOT)) == text


def test_thresholds_are_rounded_up_and_only_those_of_refusing_categories_refuse() -> None:
    text = "      - {policy: kind,   flag: 0.5, refuse: 0.9}\n      - {policy: calm, flag: 0.5}\n      - {policy: other, rewrite: 0.5}\n"
    limits = {"flag": 0.1234, "refuse": 0.99712}
    metadata = {"thresholds": {"a": limits, "b": limits}, "refusing": ["a"]}
    changed = with_thresholds(text, metadata, {"kind": "a", "calm": "b"})
    assert changed == (
        "      - {policy: kind,   flag: 0.13, refuse: 0.9972}\n      - {policy: calm, flag: 0.13}\n      - {policy: other, rewrite: 0.5}\n"
    )


def test_a_page_without_marks_is_not_written() -> None:
    with pytest.raises(ValueError, match="the page has no"):
        put_in(f"{BEGIN} and no end", "x")
    assert put_in(f"a {BEGIN} old {END} b", "new") == f"a {BEGIN}\nnew\n{END} b"


def test_the_readme_leaves_out_what_only_the_card_shows() -> None:
    figures = {name: [0.5, 0.4, 0.6] for name in ("auprc", "auroc", "best_f1", "recall_at_5")}
    row = {"rows": 3, "violating": 1, "embedded": figures, "before": figures}
    quality = {
        "ranking": [row | {"set": "one", "output": "any"}, row | {"set": "two", "output": "pair"}],
        "decisions": {"one": {"benign": {"forward": 3, "flag": 1}}},
        "steering": [
            {"contents": "x", "policy": "inverted", "embedded": {"auroc": 0.25, "violating": 0.5, "other": 1.0}}
        ],
        "functionality": [{"functionality": "f_nh", "rows": 2, "hateful": 0, "embedded": 0.5, "before": 0.25}],
        "cost": {
            "megabytes": 25.9,
            "words_64": {"ms": 20.0, "peak_mib": 90.0},
            "words_250": {"ms": 90.0, "peak_mib": 91.0},
        },
    }
    brief, whole = tables(quality, brief=True), tables(quality, brief=False)
    assert "| one | `any` | 3 (1) | 0.500 (0.400–0.600)" in brief
    assert "| one, benign | 4 | 0.0% | 25.0% |" in brief
    assert "| two |" not in brief
    assert "inverted" not in brief
    assert "f_nh" not in brief
    assert "| two |" in whole
    assert "| x | inverted | 50% | 100% | 0.250 |" in whole
    assert "| f_nh | 2 | 50.0% | 25.0% |" in whole

"""Sets that are never trained on, and never selected on: their texts are also kept out of the training rows."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tools.train_guard.readers import half, read_csv, read_json, read_lines


def toxic_chat(data: Path) -> list[dict[str, Any]]:
    """The distinct rows of the recorded runs on ToxicChat (test only)."""
    rows: dict[str, dict[str, Any]] = {}
    for row in read_lines(data / "gptoss_toxicchat_runs.jsonl.gz"):
        rows.setdefault(row["conv_id"], row)
    return list(rows.values())


def tests(data: Path, folder: Path) -> dict[str, list[tuple[str, int]]]:
    """Contents and whether they violate, by set; benign sets carry zeros only."""
    toxic = toxic_chat(data)
    injections = read_json(data / "cyberseceval/prompt_injection_multilingual.json")
    source = next(s for s in read_json(Path(__file__).with_name("sources.json")) if s["name"] == "simple_safety_tests")
    safety = folder / source["repo"].replace("/", "+") / source["path"]
    sets: dict[str, list[tuple[str, int]]] = {
        "toxicchat": [(row["user_input"], int(row["toxicity"])) for row in toxic],
        "toxicchat_jailbreak": [(row["user_input"], int(row["jailbreaking"])) for row in toxic],
        "toxicchat_benign": [
            (row["user_input"], 0) for row in toxic if not int(row["toxicity"]) and not int(row["jailbreaking"])
        ],
        "notinject": [
            (row["prompt"], 0)
            for part in ("one", "two", "three")
            for row in read_json(data / f"notinject/NotInject_{part}.json")
        ],
        "wildguard_benign": [
            (row["prompt"], 0)
            for row in read_json(data / "notinject/wildguard_benign.json")
            if half(row["prompt"]) == 0
        ],
        "mitre_frr": [
            (row["mutated_prompt"], 0)
            for row in read_json(data / "cyberseceval/mitre_frr.json")
            if half(row["mutated_prompt"]) == 0
        ],
        "hatecheck": [(row["test_case"], int(row["label_gold"] == "hateful")) for row in hatecheck(data)],
        "simple_safety_tests": [(row["prompts_final"], 1) for row in read_csv(safety)],
        "injection_other_languages": [(row["user_input"], 1) for row in injections],
        "vibecheck_other_languages": [
            (row["content"], int(row["ground_truth"]))
            for row in read_csv(data / "vibecheck/eval/scam_eval/test_set_nonenglish.csv")
        ],
    }
    return sets | {name: [(text, label) for _, text, label in rows] for name, rows in pairs(data).items()}


def hatecheck(data: Path) -> list[dict[str, str]]:
    """The rows of HateCheck."""
    return read_csv(data / "hatecheck/test_suite_cases.csv")


def pairs(data: Path) -> dict[str, list[tuple[str, str, int]]]:
    """Policies that were never seen, with contents: set name to (policy, content, label)."""
    sets: dict[str, list[tuple[str, str, int]]] = {}
    for path in sorted((data / "roost_teen_safety").glob("*.csv")):
        policy = path.with_suffix(".policy.md").read_text(encoding="utf-8")
        with path.open(encoding="utf-8", newline="") as lines:
            table = list(csv.reader(lines))[2:]  # a disclaimer and the header
        rows = [(row[0], row[1].strip()) for row in table if len(row) > 1 and row[1].strip()]
        sets[f"teen_{path.stem}"] = [(policy, text, int(not label.endswith("0"))) for text, label in rows]
    for name, texts in vibecheck_contents(data).items():
        policy = (data / "vibecheck/eval/policies" / VIBECHECK_POLICIES[name]).read_text(encoding="utf-8")
        sets[f"vibecheck_{name}"] = [(policy, text, label) for text, label in texts]
    with (data / "openai_spam_policy/golden_dataset.csv").open(encoding="utf-8", newline="") as lines:
        table = list(csv.reader(lines))
    labelled = [
        (row[1].strip(), cell) for row in table for cell in row if len(row) > 1 and re.fullmatch(r"SP\d", cell.strip())
    ]
    spam = (data / "openai_spam_policy/policy.txt").read_text(encoding="utf-8")
    sets["openai_spam"] = [(spam, text, int(not label.strip().endswith("0"))) for text, label in labelled if text]
    return sets


VIBECHECK_POLICIES = {"self-harm": "medium.md", "sexual": "sexual_content_medium.md", "scam": "scam_simple.md"}
"""Per topic the policy that its contents are labelled by."""


def vibecheck_contents(data: Path) -> dict[str, list[tuple[str, int]]]:
    """The contents of vibecheck and their labels, by topic."""
    files = {"self-harm": "test_set.csv", "sexual": "sex_eval/test_set.csv", "scam": "scam_eval/test_set_scam.csv"}
    return {
        name: [
            (row["content"], int(row["ground_truth"]))
            for row in read_csv(data / "vibecheck/eval" / path)
            if row["content"] and row["ground_truth"] in ("0", "1")
        ]
        for name, path in files.items()
    }


def steering(data: Path) -> Iterator[tuple[str, str, str, list[tuple[str, int]]]]:
    """Every policy of vibecheck with the contents of its topic: topic, name of the policy, its text, contents.

    A guard that reads the policy changes its answer with it: an inverted one turns the ranking round, one about something else
    clears everything.
    """
    contents = vibecheck_contents(data)
    for path in sorted((data / "vibecheck/eval/policies").glob("*.md")):
        policy = path.read_text(encoding="utf-8")
        if path.stem.endswith("_offtopic"):
            topics = list(contents)
        elif path.stem.startswith("scam"):
            topics = ["scam"]
        else:
            topics = ["sexual"] if path.stem.startswith("sexual") else ["self-harm"]
        for topic in topics:
            yield topic, path.stem, policy, contents[topic]

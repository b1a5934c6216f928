"""Calibrates a trained guard on validation rows, through its GGUF file, and writes its metadata.

The test sets are not read here (`tools.train_guard.measure` does, with the files that ship). Results go to ``results.json``;
the shipped metadata to ``embedded.json``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from models.encoder_input import Metadata
from tools.train_guard import calibrate, model
from tools.train_guard.data import CHAT_SOURCES
from tools.train_guard.export import FILES
from tools.train_guard.labels import (
    BASE_RATE,
    BLOCKING,
    CATEGORIES,
    CONTENT_LABELS,
    LABELS,
    MAX_TOKENS,
    PAIR_BASE_RATE,
    REFUSING,
    STRIDE_TOKENS,
    UNIONS,
)
from tools.train_guard.native import NativeGuard
from tools.train_guard.readers import read_lines

CHAT_VIOLATIONS = (
    "harmbench",
    "strongreject",
    "advbench",
    "hh_harmless",
    "ailuminate",
    "gptfuzz_questions",
    "dangerousqa",
    "catqa",
    "inthewild",
    "surge_toxicity",
    "convabuse",
)
REFUSE_SHARE, FLAG_SHARE = 0.005, 0.025
REFUSE_PRECISION, REFUSE_MARGIN = 0.97, 0.3
"""Refusing needs this precision on validation rows at the base rate, and is then moved up by the margin on the logit scale:
validation chat is easier than traffic."""
SANITY = Path(__file__).with_name("sanity.jsonl")


class Scorer:
    """Logits of texts through one of the GGUF files, kept on disk by file hash and set name."""

    def __init__(self, gguf: Path, cache: Path, threads: int) -> None:
        self.sha256 = hashlib.sha256(gguf.read_bytes()).hexdigest()
        self.native = NativeGuard(gguf, threads)
        self._cache = cache
        self._seen: dict[tuple[str | None, str], np.ndarray] = {}
        cache.mkdir(parents=True, exist_ok=True)

    def __call__(self, name: str, texts: list[str], policies: list[str] | None = None) -> np.ndarray:
        """Per text, the largest logit of each of the file's outputs over the text's windows (at most eight)."""
        digest = hashlib.sha256(json.dumps([texts, policies]).encode()).hexdigest()[:12]
        path = self._cache / f"{name}-{self.sha256[:12]}-{digest}.npy"
        if path.exists():
            return np.load(path)
        result = []
        for row, text in enumerate(texts):
            key = (policies[row] if policies else None, text)
            if key not in self._seen:
                cut = self.native.sequences(text, policies[row] if policies else None)
                chosen = cut if len(cut) <= 8 else cut[:4] + cut[-4:]
                self._seen[key] = np.max([self.native.logits(ids) for ids in chosen], axis=0)
            result.append(self._seen[key])
        found = np.array(result, np.float32)
        np.save(path, found)
        return found


def share(fired: np.ndarray) -> dict[str, Any]:
    """A share with its 95 % Wilson interval."""
    n, p, z = len(fired), float(fired.mean()), 1.96
    middle, width = p + z * z / (2 * n), z * float(np.sqrt(p * (1 - p) / n + z * z / (4 * n * n)))
    return {
        "n": n,
        "fired": int(fired.sum()),
        "share": round(p, 4),
        "low": round((middle - width) / (1 + z * z / n), 4),
        "high": round((middle + width) / (1 + z * z / n), 4),
    }


def parity(work: Path, name: str, texts: list[tuple[str, str | None]]) -> dict[str, Any]:
    """Differences between torch and each of a checkpoint's GGUF files on the same ids, and between the two tokenizers."""
    pieces = model.WordPiece(model.base_folder() / "vocab.txt")
    guard, columns = model.load(work / f"{name}.pt"), [LABELS.index(label) for label in FILES[name]]
    found: dict[str, Any] = {"texts": len(texts)}
    for kind in ("f32", "f16", "q8_0"):
        native = NativeGuard(work / f"{name}-{kind}.gguf", 1)
        differences, probabilities, mismatches = [], [], 0
        for text, policy in texts:
            mismatches += pieces.encode([text])[0] != native.tokenize(text)
            sequence = native.sequences(text, policy)[0]
            expected, actual = model.logits(guard, [sequence])[0, columns], native.logits(sequence)
            differences.append(np.abs(expected - actual))
            probabilities.append(np.abs(calibrate.sigmoid(expected) - calibrate.sigmoid(actual)))
        found[kind] = {
            "logit_max": round(float(np.max(differences)), 5),
            "logit_mean": round(float(np.mean(differences)), 5),
            "probability_max": round(float(np.max(probabilities)), 5),
            "probability_mean": round(float(np.mean(probabilities)), 6),
            "token_mismatches": int(mismatches),
            "megabytes": round((work / f"{name}-{kind}.gguf").stat().st_size / 1e6, 2),
        }
    return found


def latency(gguf: Path) -> dict[str, float]:
    """Median milliseconds of one pass on one thread, by tokens."""
    native = NativeGuard(gguf, 1)
    rng = np.random.default_rng(0)
    found = {}
    for tokens in (16, 64, 128, 256):
        ids = (model.CLS, *map(int, rng.integers(1000, 20000, tokens - 2)), model.SEP)
        times = []
        for _ in range(25):
            started = time.perf_counter()
            native.logits(ids)
            times.append(time.perf_counter() - started)
        found[str(tokens)] = round(1000 * float(np.median(times)), 2)
    return found


def fit_all(
    logits: np.ndarray, rows: list[dict[str, Any]], pair_logits: np.ndarray, pairs: list[dict[str, Any]]
) -> tuple[dict[str, Any], dict[str, tuple[np.ndarray, ...]]]:
    """Calibrate every output; returns the calibration and, per output, (index, labels, weights)."""
    calibration, used = {}, {}
    weight = np.array(
        [
            0.5 if row["source"].startswith("generated") else 3.0 if row["source"] in CHAT_SOURCES else 1.0
            for row in rows
        ]
    )
    for name in CONTENT_LABELS:
        at = np.array([i for i, row in enumerate(rows) if name in row["labels"]])
        labels = np.array([rows[i]["labels"][name] for i in at])
        used[name] = (at, labels, weight[at])
        calibration[name] = calibrate.fit(logits[at, LABELS.index(name)], labels, weight[at])
    labels = np.array([row["label"] for row in pairs])
    used["pair"] = (np.arange(len(pairs)), labels, np.ones(len(pairs)))
    calibration["pair"] = calibrate.fit(pair_logits[:, 0], labels, used["pair"][2], PAIR_BASE_RATE)
    return calibration, used


def thresholds(
    scores: np.ndarray, pair_scores: np.ndarray, rows: list[dict[str, Any]], used: dict[str, tuple[np.ndarray, ...]]
) -> dict[str, dict[str, float]]:
    """Flag and refuse thresholds of every output, from validation rows."""
    # Short assistant commands (clinc) are too easy to stand for chat, so they take no part here.
    chat = np.array([row["source"] in CHAT_SOURCES and row["source"] != "clinc" for row in rows])
    alike = np.array(
        [
            row["labels"].get("any") == 0
            and row["source"] not in CHAT_SOURCES
            and row["source"] not in ("davidson", "edos", "jigsaw", "vicom", "rtp")
            for row in rows
        ]
    )
    result: dict[str, dict[str, float]] = {name: {} for name in LABELS}
    for kind, precision, budget, margin, floor in (
        ("refuse", REFUSE_PRECISION, REFUSE_SHARE, REFUSE_MARGIN, 0.5),
        ("flag", 0.5, FLAG_SHARE, 0.0, 0.1),
    ):
        start = {}
        for name in BLOCKING:
            at, labels, weights = used[name]
            # A row of another violating category is no false refusal: only clean rows count against precision.
            clean = (labels == 1) | np.array([rows[i]["labels"].get("any") == 0 for i in at])
            at, labels, weights = at[clean], labels[clean], weights[clean]
            start[name] = max(floor, calibrate.precise_from(scores[at, LABELS.index(name)], labels, weights, precision))
        limits = calibrate.union_thresholds(scores[chat], start, budget)
        limits = calibrate.union_thresholds(scores[chat | alike], limits, 5 * budget)
        for name in BLOCKING:
            result[name][kind] = calibrate.raised(limits[name], margin)
        for name in ("any", "profanity"):
            column = scores[chat, LABELS.index(name)]
            at, labels, weights = used[name]
            lowest = max(floor, calibrate.precise_from(scores[at, LABELS.index(name)], labels, weights, precision))
            result[name][kind] = calibrate.raised(max(lowest, float(np.quantile(column, 1 - budget))), margin)
        at, labels, weights = used["pair"]
        result["pair"][kind] = calibrate.raised(
            max(floor, calibrate.precise_from(pair_scores[:, 0], labels, weights, precision)), 0.0
        )
    for name in LABELS:
        result[name]["flag"] = min(result[name]["flag"], result[name]["refuse"])
    return result


def main() -> None:
    """Evaluate the checkpoints and their GGUF files; write results.json and embedded.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--work", type=Path, required=True, help="folder with checkpoints, GGUF files and validation.jsonl"
    )
    parser.add_argument("--kind", default="q8_0", help="the file that ships: q8_0 or f16")
    parser.add_argument("--version", default="6")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    scorer, pair_scorer = (
        Scorer(args.work / f"{name}-{args.kind}.gguf", args.work / "scores", args.threads) for name in FILES
    )
    rows, pairs = read_lines(args.work / "validation.jsonl"), read_lines(args.work / "pairs_validation.jsonl")
    meaning = Metadata(labels=CONTENT_LABELS, unions=UNIONS, max_tokens=MAX_TOKENS, stride_tokens=STRIDE_TOKENS)
    logits = meaning.joined(scorer("validation", [row["text"] for row in rows]))
    pair_logits = pair_scorer("pairs", [row["content"] for row in pairs], [row["policy"] for row in pairs])
    calibration, used = fit_all(logits, rows, pair_logits, pairs)
    scores = calibrate.score(logits, calibration, CONTENT_LABELS)
    pair_scores = calibrate.score(pair_logits, calibration, ["pair"])
    limits = thresholds(scores, pair_scores, rows, used)
    columns_of = {name: scores[used[name][0], LABELS.index(name)] for name in CONTENT_LABELS} | {
        "pair": pair_scores[:, 0]
    }
    pass_below = {name: calibrate.pass_below(columns_of[name], *used[name][1:]) for name in LABELS}

    kinds = np.array([row["kind"] for row in pairs])
    chat = np.array([row["source"] in CHAT_SOURCES for row in rows])
    bad = np.array([row["source"].split(":")[0] in CHAT_VIOLATIONS and row["labels"].get("any") == 1 for row in rows])
    results: dict[str, Any] = {}
    refuse = np.array([limits[name]["refuse"] if name in REFUSING else np.inf for name in BLOCKING])
    flag = np.array([limits[name]["flag"] for name in BLOCKING])
    columns = [LABELS.index(name) for name in BLOCKING]

    def fired(values: np.ndarray, limit: np.ndarray) -> np.ndarray:
        hits: np.ndarray = (values[:, columns] >= limit).any(axis=1)
        return hits

    results["validation"] = {
        "chat_refused": share(fired(scores[chat], refuse)),
        "chat_flagged": share(fired(scores[chat], flag)),
        "violations_refused": share(fired(scores[bad], refuse)),
        "violations_flagged": share(fired(scores[bad], flag)),
        "pair_auroc": round(float(roc_auc_score(used["pair"][1], pair_scores[:, 0])), 4),
        "pair_auprc": round(float(average_precision_score(used["pair"][1], pair_scores[:, 0])), 4),
        "pair_auroc_of": {
            kind: round(float(roc_auc_score(used["pair"][1][kinds == kind], pair_scores[kinds == kind, 0])), 4)
            for kind in sorted(set(kinds))
        },
        "per_label": {
            name: {
                "auroc": round(float(roc_auc_score(used[name][1], scores[used[name][0], LABELS.index(name)])), 4),
                "refuse_recall": round(
                    float(
                        (scores[used[name][0], LABELS.index(name)][used[name][1] == 1] >= limits[name]["refuse"]).mean()
                    ),
                    3,
                ),
                "flag_recall": round(
                    float(
                        (scores[used[name][0], LABELS.index(name)][used[name][1] == 1] >= limits[name]["flag"]).mean()
                    ),
                    3,
                ),
                "positives": int(used[name][1].sum()),
                "chat_escalated": share(scores[chat, LABELS.index(name)] >= pass_below[name]),
            }
            for name in CONTENT_LABELS
        },
    }
    sanity = read_lines(SANITY)
    sanity_logits = meaning.joined(scorer("sanity", [row["text"] for row in sanity]))
    sanity_scores = calibrate.score(sanity_logits, calibration, CONTENT_LABELS)
    outcome = [
        "refuse" if r else "flag" if f else "allow"
        for r, f in zip(fired(sanity_scores, refuse), fired(sanity_scores, flag), strict=True)
    ]
    results["sanity"] = [
        {
            "text": row["text"],
            "expect": row["expect"],
            "got": got,
            "top": CATEGORIES[int(np.argmax(values[:12]))],
            "score": round(float(values[:12].max()), 3),
        }
        for row, got, values in zip(sanity, outcome, sanity_scores, strict=True)
    ]
    metadata = {
        "name": "safeguard-embedded",
        "version": args.version,
        "sha256": scorer.sha256,
        "base_model": "all-MiniLM-L6-v2",
        "pair_sha256": pair_scorer.sha256,
        "labels": list(CONTENT_LABELS),
        "unions": UNIONS,
        "max_tokens": MAX_TOKENS,
        "stride_tokens": STRIDE_TOKENS,
        "blocking": list(BLOCKING),
        "refusing": list(REFUSING),
        "calibration": calibration,
        "thresholds": limits,
        "pass_recall": calibrate.PASS_RECALL,
        "pass_below": pass_below,
    }
    (args.work / "embedded.json").write_text(json.dumps(metadata, indent=1) + "\n", encoding="utf-8")
    results["parity"] = {
        "guard": parity(args.work, "guard", [(row["text"], None) for row in rows[:300]]),
        "pair": parity(args.work, "pair", [(row["content"], row["policy"]) for row in pairs[:300]]),
    }
    results["latency_ms"] = latency(args.work / f"guard-{args.kind}.gguf")
    results["base_rate"] = BASE_RATE
    (args.work / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({key: value for key, value in results.items() if key != "sanity"}, indent=1))
    wrong = [row for row in results["sanity"] if (row["expect"] == "allow") != (row["got"] == "allow")]
    print(
        f"sanity: {len(sanity) - len(wrong)} of {len(sanity)} as expected",
        *(f"{r['expect']:>6} -> {r['got']:>6} {r['top']} {r['score']} | {r['text']}" for r in wrong),
        sep="\n",
    )


if __name__ == "__main__":
    main()

"""Builds the training, validation and pair files from a data folder, an extra folder and the generators.

What it guarantees: only sources that permit it are trained on; no text occurs twice; no text that shares
twelve consecutive words with a test set (or equals one of its texts) is kept. Every row records its
licence, and ``stats.json`` counts rows per source.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tools.train_guard import (
    category_pairs,
    contrast_pairs,
    contrasts,
    generate,
    opposed_pairs,
    readers,
    short_topics,
    small_talk,
    stance_pairs,
    test_sets,
    topics,
)
from tools.train_guard.readers import Row

CHAT_SOURCES = (
    "self-instruct",
    "arena_hard",
    "wildguard_benign",
    "role_prompts",
    "gpteacher_roleplay",
    "gpteacher_tools",
    "clinc",
    "mitre_frr",
    "gpteacher_code",
)
"""Real benign requests: a quarter of them is kept for calibration and thresholds."""
AT_MOST = {"jigsaw": 2600, "davidson": 2300, "edos": 2200, "rtp": 400, "gpteacher_code": 900}
REPEAT = {
    "harmbench": 2,
    "strongreject": 2,
    "advbench": 2,
    "dangerousqa": 2,
    "ailuminate": 2,
    "catqa": 2,
    "gptfuzz_questions": 2,
    "hh_harmless": 2,
    "arena_hard": 2,
    "wildguard_benign": 2,
    "self-instruct": 2,
    "role_prompts": 4,
    "gptfuzz_refusals": 2,
}
UNSEEN = ("alcohol", "criticism of work", "extremism", "homework", "romantic role play", "tattoos")
"""Subjects of contrasts that are for validation alone: `pair` is calibrated on policies that it was not trained on."""
SHINGLE = 12


def words(text: str) -> list[str]:
    """Lower-case words without punctuation."""
    return re.findall(r"[a-z0-9']+", text.lower())


def shingles(text: str) -> set[int]:
    """Hashes of all runs of `SHINGLE` words; of the whole text where it is shorter."""
    found = words(text)
    if len(found) < SHINGLE:
        return {hash(tuple(found))} if found else set()
    return {hash(tuple(found[i : i + SHINGLE])) for i in range(len(found) - SHINGLE + 1)}


def bucket(text: str, of: int) -> int:
    """A number below ``of`` that depends on the text alone."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[1:5], "big") % of


def collect(data: Path, folder: Path, seed: int, size: float) -> tuple[list[Row], Counter[str]]:
    """All rows after caps, de-duplication and removal of overlaps.

    Returns:
        The rows, and how many were dropped for which reason.
    """
    rng = random.Random(seed)
    held_out: set[int] = set()
    own_half: set[int] = set()
    for name, rows in test_sets.tests(data, folder).items():
        for text, _ in rows:
            (own_half if name == "mitre_frr" else held_out).update(shingles(text))
    generated = (*generate.rows(seed, size), *contrasts.rows(seed, size))
    made = (Row(text, f"generated:{name}", "project", labels) for name, text, labels in generated)
    public: list[Row] = [*readers.prepared(data), *readers.bipia(data, rng), *readers.extra(folder, rng)]
    rng.shuffle(public)
    kept: list[Row] = []
    seen: set[str] = set()
    dropped: Counter[str] = Counter()
    per_source: Counter[str] = Counter()
    for row in [*public, *made]:
        key = " ".join(words(row.text)[:40])
        if not key or len(row.text) < 2:
            dropped["empty"] += 1
        elif key in seen:
            dropped["duplicate"] += 1
        elif not row.source.startswith("generated") and shingles(row.text) & held_out:
            dropped["overlap with a test set"] += 1
        elif row.source.startswith("generated") and hash(tuple(words(row.text))) in held_out:
            dropped["generated text equal to a test text"] += 1
        elif per_source[row.source] >= AT_MOST.get(row.source, 10**9) * max(size, 0.05):
            dropped["over the cap of its source"] += 1
        else:
            seen.add(key)
            per_source[row.source] += 1
            kept.append(row)
    return kept, dropped


def is_validation(row: Row) -> bool:
    """Whether a row is kept for calibration and thresholds."""
    if row.source.startswith("generated"):
        return bucket(row.text, 20) == 0
    return bucket(row.text, 4 if row.source in CHAT_SOURCES else 10) == 0


def topic_texts(data: Path, folder: Path) -> dict[tuple[str, ...], list[str]]:
    """Texts by topic from the intents of assistant queries and the subtopics of a question set."""
    found: dict[tuple[str, ...], list[str]] = {}
    source = next(s for s in readers.read_json(Path(__file__).with_name("sources.json")) if s["name"] == "clinc")
    for text, intent in readers.read_json(folder / source["repo"].replace("/", "+") / source["path"])["train"]:
        found.setdefault((intent.replace("_", " "),), []).append(text)
    for subtopics in readers.read_json(data / "harmfulqa_topics.json").values():
        for name, questions in subtopics.items():
            found.setdefault((name.lower(),), []).extend(questions)
    return found


def write(path: Path, rows: Iterable[object]) -> None:
    """Write JSON lines."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def main() -> None:
    """Write train.jsonl, validation.jsonl, pairs_*.jsonl and stats.json into the output folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with the prepared sets")
    parser.add_argument("--extra", type=Path, required=True, help="folder with the repositories of sources.json")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=17)
    parser.add_argument("--size", type=float, default=1.0, help="factor on the generated rows and on the caps")
    parser.add_argument("--pairs", type=int, default=16000)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    rows, dropped = collect(args.data, args.extra, args.seed, args.size)
    train = [row for row in rows if not is_validation(row)]
    validation = [row for row in rows if is_validation(row)]
    rng = random.Random(args.seed + 1)

    def record(row: Row) -> dict[str, object]:
        return {"text": row.text, "source": row.source, "licence": row.licence, "labels": row.labels}

    repeated = [record(row) for row in train for _ in range(REPEAT.get(row.source.split(":")[0], 1))]
    rng.shuffle(repeated)
    write(args.out / "train.jsonl", repeated)
    write(args.out / "validation.jsonl", map(record, validation))
    every = topic_texts(args.data, args.extra)
    count = int(args.pairs * args.size)
    for name, part, share, rest in (("train", train, 1.0, False), ("validation", validation, 0.125, True)):
        texts = {key: [t for t in group if (bucket(t, 10) == 0) is rest] for key, group in every.items()}
        texts = {key: group for key, group in texts.items() if group}
        contents = [(row.text[:900], row.labels) for row in part]
        public = [(row.text[:600], row.labels) for row in part if not row.source.startswith("generated")]
        axes = [axis for axis in contrast_pairs.AXES if (axis.name[0] in UNSEEN) is rest]
        kinds = {
            "topic": topics.make_pairs(contents, texts, rng, int(count * share / 2)),
            "contrast": contrast_pairs.make_pairs(rng, int(count * share), axes),
            "category": category_pairs.make_pairs(public, rng, int(count * share * 1.5)),
            "stance": stance_pairs.make_pairs(rng, int(count * share * 0.4), validation=rest),
            "short": short_topics.make_pairs(rng, int(count * share * 3 / 4), short_topics.split(validation=rest)),
            "opposed": opposed_pairs.make_pairs(
                public, random.Random(args.seed + 2 + rest), int(count * share / 2), validation=rest
            ),
            "small_talk": small_talk.make_pairs(
                random.Random(args.seed + 4 + rest),
                int(count * share / 4),
                short_topics.split(validation=rest),
                validation=rest,
            ),
        }
        pairs = [
            {"policy": policy, "content": content, "label": label, "kind": kind}
            for kind, drawn in kinds.items()
            for policy, content, label in drawn
        ]
        rng.shuffle(pairs)
        write(args.out / f"pairs_{name}.jsonl", pairs)
    licences = {row.source.split(":")[0]: row.licence for row in rows}
    used = Counter(row.source.split(":")[0] for row in train)
    kept = Counter(row.source.split(":")[0] for row in validation)
    stats = {
        "sources": {
            name: {"licence": licences[name], "train": used[name], "validation": kept[name]}
            for name in sorted(licences)
        },
        "generated": dict(Counter(row.source for row in train if row.source.startswith("generated"))),
        "labels": {
            name: [sum(row.labels.get(name) == value for row in train) for value in (1, 0)] for name in generate.BENIGN
        },
        "dropped": dict(dropped),
        "train": len(train),
        "train_with_repeats": len(repeated),
        "validation": len(validation),
        "seed": args.seed,
    }
    (args.out / "stats.json").write_text(json.dumps(stats, indent=1), encoding="utf-8")
    print(json.dumps(stats, indent=1))


if __name__ == "__main__":
    main()

"""Fine-tunes the encoder and its head on content rows and pairs mixed, or on pairs alone: masked cross-entropy.

A run on both makes the guard's file, and one from its weights on pairs alone (``--start``, ``--pairs-only``) the second file.
More of the contents alone made their file no better on validation rows.

A label that a row lacks gives no loss. The learning rate follows the share of the budget that is used up,
in steps or in minutes, whichever is further, so that a run on a busy machine still ends annealed; the
steps done are written next to the checkpoint.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from models.condensing import condense
from models.encoder_input import policy_room
from tools.train_guard import model
from tools.train_guard.labels import LABELS, MAX_TOKENS
from tools.train_guard.readers import read_lines

WEIGHTS = {"any": 2.0, "injection": 1.3, "pair": 2.0, "profanity": 0.5}
SMOOTHING = 0.01

LATE = ("generated:embedded", "generated:contrast_prose")
"""Sources whose violation stands in the second half of a text: a window from the head could miss it."""


@dataclass(frozen=True, slots=True)
class Example:
    """One row: what stands in front of it, its own tokens, and its labels (NaN: unknown)."""

    head: list[int]
    content: list[int]
    target: np.ndarray
    late: bool | None
    """Where a long content's violation stands: at its end, or (false) in its first window; None: there is none."""

    def window(self, rng: random.Random, shorten: float) -> list[int]:
        """What the model reads of it this time.

        Args:
            rng: Draws where a harmless text is read.
            shorten: Share of the long texts read half as long, which makes training faster.
        """
        room = MAX_TOKENS - len(self.head) - 1
        if len(self.content) > room // 2 and not self.late and rng.random() < shorten:
            room //= 2
        spare = max(0, len(self.content) - room)
        start = rng.randint(0, spare) if self.late is None else spare if self.late else 0
        return [*self.head, *self.content[start : start + room], model.SEP]


def content_rows(path: Path, pieces: model.WordPiece) -> list[Example]:
    """The rows of ``train.jsonl``: text and labels."""
    rows = read_lines(path)
    found = []
    for row, ids in zip(rows, pieces.encode([row["text"] for row in rows]), strict=True):
        target = np.full(len(LABELS), np.nan, dtype=np.float32)
        for name, value in row["labels"].items():
            target[LABELS.index(name)] = value
        late = None if row["labels"].get("any") == 0 else row["source"].startswith(LATE)
        found.append(Example([model.CLS], ids, target, late))
    return found


def pair_rows(path: Path, pieces: model.WordPiece) -> list[Example]:
    """The rows of ``pairs_train.jsonl``: a policy, condensed as for judging, a content, and whether it violates."""
    rows = read_lines(path)
    texts = sorted({row["policy"] for row in rows})
    policies = {text: condense(text, policy_room(MAX_TOKENS), lambda part: pieces.encode([part])[0]) for text in texts}
    found = []
    for row, content in zip(rows, pieces.encode([row["content"] for row in rows]), strict=True):
        target = np.full(len(LABELS), np.nan, dtype=np.float32)
        target[LABELS.index("pair")] = row["label"]
        found.append(Example([model.CLS, *policies[row["policy"]], model.SEP], content, target, False))
    return found


def batches(rows: list[list[int]], tokens: int, rng: random.Random) -> list[list[int]]:
    """Indices of one epoch, in batches of similar length with about ``tokens`` tokens each."""
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]) + rng.random() * 6)
    made: list[list[int]] = [[]]
    for i in order:
        if made[-1] and (len(made[-1]) + 1) * len(rows[i]) > tokens:
            made.append([])
        made[-1].append(i)
    rng.shuffle(made)
    return made


def main() -> None:
    """Train and write checkpoint and record into the output folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder written by data.py; the checkpoint goes there")
    parser.add_argument("--epochs", type=float, default=4.0)
    parser.add_argument("--minutes", type=float, default=600.0, help="end after this many minutes")
    parser.add_argument("--rate", type=float, default=2e-4)
    parser.add_argument("--head-rate", type=float, default=1e-3)
    parser.add_argument("--tokens", type=int, default=2048, help="tokens in a batch, padding included")
    parser.add_argument("--shorten", type=float, default=0.3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=17)
    parser.add_argument("--pairs-only", action="store_true", help="train on no content rows")
    parser.add_argument("--name", default="guard", help="of the checkpoint and the record: NAME.pt, NAME.json")
    parser.add_argument("--start", type=Path, help="checkpoint to go on from; the record beside it is kept in ours")
    parser.add_argument(
        "--keep",
        type=float,
        default=0.0,
        help="share of the start in what is written: the average of both weights forgets less than the end alone (WiSE-FT)",
    )
    args = parser.parse_args()
    before = json.loads(args.start.with_suffix(".json").read_text(encoding="utf-8")) if args.start else None
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    rng = random.Random(args.seed)
    pieces = model.WordPiece(model.base_folder() / "vocab.txt")
    rows = pair_rows(args.work / "pairs_train.jsonl", pieces)
    if not args.pairs_only:
        rows = content_rows(args.work / "train.jsonl", pieces) + rows
    guard = model.from_base()
    if args.start:
        guard.load_state_dict(torch.load(args.start, weights_only=True))
    kept = {name: value.clone() * args.keep for name, value in guard.state_dict().items()}
    guard.train()
    guard.token_embd.weight.requires_grad_(False)
    head = list(guard.cls.parameters())
    body = [value for name, value in guard.named_parameters() if not name.startswith("cls.") and value.requires_grad]
    optimizer = torch.optim.AdamW(
        [{"params": body, "lr": args.rate}, {"params": head, "lr": args.head_rate}], weight_decay=0.01, fused=True
    )
    peaks = [group["lr"] for group in optimizer.param_groups]
    weights = torch.tensor([WEIGHTS.get(name, 1.0) for name in LABELS])
    read = [row.window(rng, args.shorten) for row in rows]
    per_epoch = len(batches(read, args.tokens, random.Random(0)))
    total = int(per_epoch * args.epochs)
    print(f"{len(rows)} rows, {sum(map(len, read))} tokens, {per_epoch} batches an epoch, {total} steps", flush=True)
    started, step, seen, running = time.monotonic(), 0, 0, 0.0
    queue: list[list[int]] = []
    while True:
        share = max(step / total, (time.monotonic() - started) / (60 * args.minutes))
        if share >= 1:
            break
        if not queue:
            read = [row.window(rng, args.shorten) for row in rows]
            queue = batches(read, args.tokens, rng)
        chosen = queue.pop()
        factor = min(1.0, (step + 1) / 100) * (1 - share)
        for group, peak in zip(optimizer.param_groups, peaks, strict=True):
            group["lr"] = peak * factor
        ids, mask = model.pad([read[i] for i in chosen])
        target = torch.from_numpy(np.stack([rows[i].target for i in chosen]))
        known = ~torch.isnan(target)
        soft = torch.nan_to_num(target) * (1 - 2 * SMOOTHING) + SMOOTHING
        with torch.autocast("cpu", dtype=torch.bfloat16):
            predicted = guard(ids, mask)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(predicted.float(), soft, reduction="none")
        loss = (loss * known * weights).sum() / len(chosen)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(guard.parameters(), 1.0)
        optimizer.step()
        step, seen = step + 1, seen + len(chosen)
        running = float(loss.detach()) if step == 1 else 0.98 * running + 0.02 * float(loss.detach())
        if step % 50 == 0:
            minutes = (time.monotonic() - started) / 60
            progress = f"step {step}/{total} epoch {step / per_epoch:.2f} rows {seen} minutes {minutes:.1f}"
            print(f"{progress} share {share:.2f} loss {running:.4f}", flush=True)
        if step % 500 == 0:
            torch.save(guard.state_dict(), args.work / f"{args.name}.partial.pt")
    ends = {name: kept[name] + value * (1 - args.keep) for name, value in guard.state_dict().items()}
    torch.save(ends, args.work / f"{args.name}.pt")
    done = {
        "steps": step,
        "rows": seen,
        "epochs": step / per_epoch,
        "minutes": (time.monotonic() - started) / 60,
        "loss": running,
    }
    settings = {name: value for name, value in vars(args).items() if name not in ("work", "start", "name")}
    record = done | {"settings": settings, "torch": torch.__version__, "before": before}
    (args.work / f"{args.name}.json").write_text(json.dumps(record), encoding="utf-8")


if __name__ == "__main__":
    main()

"""Fine-tunes the encoder and its head: one pass over content rows and pairs mixed, masked cross-entropy.

A label that a row lacks gives no loss. The learning rate follows the share of the budget that is used up,
in steps or in minutes, whichever is further, so that a run on a busy machine still ends annealed; the
steps done are written next to the checkpoint.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from pathlib import Path

import numpy as np
import torch

from tools.train_guard import model
from tools.train_guard.labels import LABELS, MAX_TOKENS

WEIGHTS = {"any": 2.0, "injection": 1.3, "pair": 2.0, "profanity": 0.5}
SMOOTHING = 0.01

LATE = ("generated:embedded", "generated:contrast_prose")
"""Sources whose violation stands in the second half of a text: a window from the head could miss it."""


def content_rows(
    path: Path, pieces: model.WordPiece, rng: random.Random, shorten: float
) -> list[tuple[list[int], np.ndarray]]:
    """Encode content rows; long ones become a window from their head, or (benign) from anywhere.

    Args:
        path: JSON lines with ``text`` and ``labels``.
        pieces: Tokenizer.
        rng: Draws the windows.
        shorten: Share of the windows cut to half the length, which makes training faster.
    """
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    encoded = []
    for row, ids in zip(rows, pieces.encode([row["text"] for row in rows]), strict=True):
        target = np.full(len(LABELS), np.nan, dtype=np.float32)
        for name, value in row["labels"].items():
            target[LABELS.index(name)] = value
        room = MAX_TOKENS - 2
        if len(ids) > room // 2 and rng.random() < shorten and not row["source"].startswith(LATE):
            room //= 2
        start = 0
        if len(ids) > room:
            benign = row["labels"].get("any") == 0
            start = rng.randrange(len(ids) - room + 1) if benign else 0
            if row["source"].startswith(LATE):
                start = max(0, len(ids) - room)
        encoded.append(([model.CLS, *ids[start : start + room], model.SEP], target))
    return encoded


def pair_rows(path: Path, pieces: model.WordPiece) -> list[tuple[list[int], np.ndarray]]:
    """Encode pairs: the policy, then the head of the content."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    policies = pieces.encode([row["policy"] for row in rows])
    contents = pieces.encode([row["content"] for row in rows])
    encoded = []
    for row, policy, content in zip(rows, policies, contents, strict=True):
        target = np.full(len(LABELS), np.nan, dtype=np.float32)
        target[LABELS.index("pair")] = row["label"]
        head = [model.CLS, *policy[: model.POLICY_TOKENS], model.SEP]
        encoded.append(([*head, *content[:120], model.SEP], target))
    return encoded


def batches(rows: list[tuple[list[int], np.ndarray]], tokens: int, rng: random.Random) -> list[list[int]]:
    """Indices of one epoch, in batches of similar length with about ``tokens`` tokens each."""
    order = sorted(range(len(rows)), key=lambda i: len(rows[i][0]) + rng.random() * 6)
    made: list[list[int]] = [[]]
    for i in order:
        if made[-1] and (len(made[-1]) + 1) * len(rows[i][0]) > tokens:
            made.append([])
        made[-1].append(i)
    rng.shuffle(made)
    return made


def main() -> None:
    """Train and write ``guard.pt`` and ``train.json`` into the output folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder written by data.py; the checkpoint goes there")
    parser.add_argument("--epochs", type=float, default=2.0)
    parser.add_argument("--minutes", type=float, default=600.0, help="end after this many minutes")
    parser.add_argument("--rate", type=float, default=2e-4)
    parser.add_argument("--head-rate", type=float, default=1e-3)
    parser.add_argument("--tokens", type=int, default=1536, help="tokens in a batch, padding included")
    parser.add_argument("--shorten", type=float, default=0.5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=17)
    parser.add_argument("--start", type=Path, help="checkpoint to go on from")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    rng = random.Random(args.seed)
    pieces = model.WordPiece(model.base_folder() / "vocab.txt")
    rows = content_rows(args.work / "train.jsonl", pieces, rng, args.shorten) + pair_rows(
        args.work / "pairs_train.jsonl", pieces
    )
    guard = model.from_base()
    if args.start:
        guard.load_state_dict(torch.load(args.start, weights_only=True))
    guard.train()
    guard.token_embd.weight.requires_grad_(False)
    head = list(guard.cls.parameters())
    body = [value for name, value in guard.named_parameters() if not name.startswith("cls.") and value.requires_grad]
    optimizer = torch.optim.AdamW(
        [{"params": body, "lr": args.rate}, {"params": head, "lr": args.head_rate}], weight_decay=0.01, fused=True
    )
    peaks = [group["lr"] for group in optimizer.param_groups]
    weights = torch.tensor([WEIGHTS.get(name, 1.0) for name in LABELS])
    per_epoch = len(batches(rows, args.tokens, random.Random(0)))
    total = int(per_epoch * args.epochs)
    print(
        f"{len(rows)} rows, {sum(len(ids) for ids, _ in rows)} tokens, {per_epoch} batches an epoch, {total} steps",
        flush=True,
    )
    started, step, seen, running = time.monotonic(), 0, 0, 0.0
    queue: list[list[int]] = []
    while True:
        share = max(step / total, (time.monotonic() - started) / (60 * args.minutes))
        if share >= 1:
            break
        if not queue:
            queue = batches(rows, args.tokens, rng)
        chosen = queue.pop()
        factor = min(1.0, (step + 1) / 100) * (1 - share)
        for group, peak in zip(optimizer.param_groups, peaks, strict=True):
            group["lr"] = peak * factor
        ids, mask = model.pad([rows[i][0] for i in chosen])
        target = torch.from_numpy(np.stack([rows[i][1] for i in chosen]))
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
            torch.save(guard.state_dict(), args.work / "guard.partial.pt")
    torch.save(guard.state_dict(), args.work / "guard.pt")
    done = {
        "steps": step,
        "rows": seen,
        "epochs": step / per_epoch,
        "minutes": (time.monotonic() - started) / 60,
        "loss": running,
    }
    settings = {name: value for name, value in vars(args).items() if name not in ("work", "start")}
    (args.work / "train.json").write_text(
        json.dumps(done | {"settings": settings, "torch": torch.__version__}), encoding="utf-8"
    )


if __name__ == "__main__":
    main()

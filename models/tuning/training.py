"""Trains a network further on rows with a label, without forgetting what it knew.

A row is scored as a guard scores it: the highest logit of its sequences counts, so the loss is taken there. Beside each batch
stands one of *rehearsal*: sequences on which the outputs that are not trained shall stay what the base says. Word vectors stay
as they are, so that words of which the rows say nothing keep their place beside those that they do speak of.

After each epoch the loss on validation rows is taken; the best epoch's weights are what comes out.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn

from models.labels import Float32Array
from models.tuning.network import Network, logits, pad
from models.tuning.records import Epoch, Example, Rehearsed, Settings, Trained

_BATCH_TOKENS = 4096
"""Most tokens of a batch, padding included, unless one row has more: bounds the memory."""
_SMOOTHING = 0.01
_MOST_WEIGHT = 10.0
"""Of a row of the rarer kind."""
_WARM_UP = 0.1
"""Share of the steps in which the learning rate rises; then it falls to zero."""
_HEAD_FACTOR = 5.0
"""The head learns so many times faster than the body."""


def n_steps(examples: Sequence[Example], settings: Settings) -> int:
    """Steps of all epochs, if none is left out."""
    return settings.epochs * len(_batches(examples, settings.batch, random.Random(settings.seed)))


def train(
    network: Network,
    examples: Sequence[Example],
    validation: Sequence[Example],
    rehearsed: Sequence[Rehearsed],
    settings: Settings,
    *,
    on_step: Callable[[], None] = lambda: None,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
) -> Trained:
    """Train a network in place.

    Args:
        network: The base; in the end it has the best epoch's weights.
        examples: What it is trained on; both kinds in each group, at most `MAX_SEQUENCES` sequences each.
        validation: What decides when to stop.
        rehearsed: What it must not forget; may be empty.
        settings: How.
        on_step: Called after each step.
        on_epoch: Called after each epoch, and with the base's figures before the first.
    """
    torch.manual_seed(settings.seed)
    rng = random.Random(settings.seed)
    remembered = _Rehearsal(network, rehearsed if settings.rehearsal else (), rng)
    network.token_embd.weight.requires_grad_(False)
    optimizer, schedule = _optimizer(network, n_steps(examples, settings), settings.rate)
    weights = _weights(examples)
    epochs = [Epoch(0, math.nan, validation_loss(network, validation), math.nan)]
    on_epoch(epochs[0])
    best, kept = math.inf, 0
    state = _copy(network)
    for number in range(1, settings.epochs + 1):
        losses, rehearsal_losses = [], []
        for chosen in _batches(examples, settings.batch, rng):
            loss = _loss(network, [examples[i] for i in chosen], [weights[i] for i in chosen])
            losses.append(float(loss.detach()))
            if len(remembered):
                forgotten = remembered.loss(network, len(chosen))
                rehearsal_losses.append(float(forgotten.detach()))
                loss = loss + settings.rehearsal * forgotten
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            on_step()
        epochs.append(
            Epoch(number, _mean(losses), validation_loss(network, validation), _mean(rehearsal_losses)),
        )
        on_epoch(epochs[-1])
        if epochs[-1].validation_loss < best:
            best, kept, state = epochs[-1].validation_loss, number, _copy(network)
        elif number - kept >= settings.patience:
            break
    network.load_state_dict(state)
    return Trained(epochs, kept)


def validation_loss(network: Network, examples: Sequence[Example]) -> float:
    """Cross-entropy on examples, both kinds of each group weighing alike."""
    highest = highest_logits(network, examples)
    signs = np.array([1.0 if e.violates else -1.0 for e in examples])
    with np.errstate(invalid="ignore"):  # a network that went astray has no loss, which is not the least
        losses = np.logaddexp(0.0, -signs * highest)
    return float(np.average(losses, weights=_weights(examples)))


def highest_logits(network: Network, examples: Sequence[Example]) -> Float32Array:
    """The logit that counts of each example, shape ``(n_examples,)``."""
    flat = [sequence for e in examples for sequence in e.sequences]
    found = logits(network, flat)
    result, at = np.empty(len(examples), np.float32), 0
    for i, e in enumerate(examples):
        result[i] = found[at : at + len(e.sequences), e.output].max()
        at += len(e.sequences)
    return result


class _Rehearsal:
    """What the base says to some sequences, and how far a network has gone from it."""

    def __init__(self, base: Network, rehearsed: Sequence[Rehearsed], rng: random.Random) -> None:
        self._rehearsed = rehearsed
        self._rng = rng
        self._said = torch.from_numpy(logits(base, [r.sequence for r in rehearsed]))
        self._counts = torch.zeros_like(self._said)
        for i, r in enumerate(rehearsed):
            self._counts[i, list(r.outputs)] = 1.0 / len(r.outputs)
        self._queue: list[int] = []

    def __len__(self) -> int:
        return len(self._rehearsed)

    def loss(self, network: Network, n: int) -> torch.Tensor:
        """Distance of logits (Huber's) on the next ``n`` sequences; each comes as often as the others."""
        while len(self._queue) < n:
            order = list(range(len(self._rehearsed)))
            self._rng.shuffle(order)
            self._queue = order + self._queue
        chosen = [self._queue.pop() for _ in range(n)]
        ids, mask = pad([self._rehearsed[i].sequence for i in chosen])
        now = network(ids.to(network.device), mask.to(network.device))
        said, counts = self._said[chosen].to(network.device), self._counts[chosen].to(network.device)
        return (nn.functional.smooth_l1_loss(now, said, reduction="none") * counts).sum() / n


def _loss(network: Network, examples: Sequence[Example], weights: Sequence[float]) -> torch.Tensor:
    """Cross-entropy of one batch, at the highest logit of each example."""
    owners = torch.tensor([i for i, e in enumerate(examples) for _ in e.sequences])
    outputs = torch.tensor([e.output for e in examples for _ in e.sequences])
    ids, mask = pad([sequence for e in examples for sequence in e.sequences])
    device = network.device
    said = network(ids.to(device), mask.to(device))
    own = said.gather(1, outputs.to(device)[:, None])[:, 0]
    lowest = torch.full((len(examples),), -math.inf, device=device)
    highest = lowest.scatter_reduce(0, owners.to(device), own, "amax")
    target = torch.tensor([1 - _SMOOTHING if e.violates else _SMOOTHING for e in examples], device=device)
    losses = nn.functional.binary_cross_entropy_with_logits(highest, target, reduction="none")
    return (losses * torch.tensor(weights, device=device)).sum() / len(examples)


def _batches(examples: Sequence[Example], size: int, rng: random.Random) -> list[list[int]]:
    """Indices of one epoch, in batches of similar length, in a random order."""
    longest = [max(map(len, e.sequences)) for e in examples]
    order = sorted(range(len(examples)), key=lambda i: longest[i] + rng.random() * 16)
    made: list[list[int]] = [[]]
    n_sequences = width = 0
    for i in order:
        n_sequences, width = n_sequences + len(examples[i].sequences), max(width, longest[i])
        if made[-1] and (len(made[-1]) == size or n_sequences * width > _BATCH_TOKENS):
            made.append([])
            n_sequences, width = len(examples[i].sequences), longest[i]
        made[-1].append(i)
    rng.shuffle(made)
    return made


def _weights(examples: Sequence[Example]) -> list[float]:
    """A weight for each example: both kinds of a group count alike, unless one is very rare."""
    counts: dict[tuple[str, bool], int] = {}
    for e in examples:
        counts[e.group, e.violates] = counts.get((e.group, e.violates), 0) + 1
    return [
        min(_MOST_WEIGHT, max(1.0, counts.get((e.group, not e.violates), 0) / counts[e.group, e.violates]))
        for e in examples
    ]


def _optimizer(
    network: Network, total: int, rate: float
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    head = list(network.cls.parameters())
    ids = {id(p) for p in head}
    body = [p for p in network.parameters() if p.requires_grad and id(p) not in ids]
    optimizer = torch.optim.AdamW(
        [{"params": body, "lr": rate}, {"params": head, "lr": rate * _HEAD_FACTOR}], weight_decay=0.0
    )
    rising = max(1.0, _WARM_UP * total)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / rising) * max(0.0, 1 - step / total)
    )
    return optimizer, schedule


def _copy(network: Network) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan

"""The encoder in torch: the same arithmetic as llama.cpp's BERT with rank pooling, so that a GGUF can be trained further.

Parameters have the names of the GGUF's tensors (``blk.0.attn_q.weight``, ``cls.output.bias``), so the state of a `Network`
is what stands in a file. The head reads the vector of ``[CLS]``: a dense layer, tanh, the output layer. Token types are all
zero, because llama.cpp cannot send others; its GELU is the one by tanh.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from models.labels import Float32Array

PAD = 0
"""Any id does: padding is masked."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of a BERT classifier."""

    n_tokens: int
    """Of the vocabulary."""
    n_positions: int
    width: int
    inner: int
    n_heads: int
    n_blocks: int
    n_outputs: int
    eps: float
    """Of the layer norms."""
    n_token_types: int = 2


class _Block(nn.Module):  # type: ignore[misc]  # torch is optional: without it its classes are unknown
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width, self._n_heads = shape.width, shape.n_heads
        self.attn_q = nn.Linear(width, width)
        self.attn_k = nn.Linear(width, width)
        self.attn_v = nn.Linear(width, width)
        self.attn_output = nn.Linear(width, width)
        self.attn_output_norm = nn.LayerNorm(width, eps=shape.eps)
        self.ffn_up = nn.Linear(width, shape.inner)
        self.ffn_down = nn.Linear(shape.inner, width)
        self.layer_output_norm = nn.LayerNorm(width, eps=shape.eps)

    def forward(self, x: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        n, length, width = x.shape

        def heads(linear: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
            return linear(x).view(n, length, self._n_heads, width // self._n_heads).transpose(1, 2)

        # written out: on a CPU in bfloat16 torch's fused attention trains at little more than half the speed
        close = heads(self.attn_q) @ heads(self.attn_k).transpose(2, 3) * (width // self._n_heads) ** -0.5
        mixed = close.masked_fill(~seen, -torch.inf).softmax(dim=-1).to(x.dtype) @ heads(self.attn_v)
        x = self.attn_output_norm(x + self.attn_output(mixed.transpose(1, 2).reshape(n, length, width)))
        inner = nn.functional.gelu(self.ffn_up(x), approximate="tanh")
        return self.layer_output_norm(x + self.ffn_down(inner))


class Network(nn.Module):  # type: ignore[misc]  # as above
    """A BERT with a classification head."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.token_embd = nn.Embedding(shape.n_tokens, shape.width)
        self.position_embd = nn.Embedding(shape.n_positions, shape.width)
        self.token_types = nn.Embedding(shape.n_token_types, shape.width)
        self.token_embd_norm = nn.LayerNorm(shape.width, eps=shape.eps)
        self.blk = nn.ModuleList(_Block(shape) for _ in range(shape.n_blocks))
        self.cls = nn.Linear(shape.width, shape.width)
        self.cls.output = nn.Linear(shape.width, shape.n_outputs)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Logits of shape ``(n_sequences, n_outputs)``.

        Args:
            ids: Token ids, shape ``(n_sequences, length)``.
            mask: True where there is a token, false where there is padding; the same shape.
        """
        x = self.token_embd(ids) + self.position_embd.weight[: ids.shape[1]] + self.token_types.weight[0]
        x = self.token_embd_norm(x)
        seen = mask[:, None, None, :]
        for block in self.blk:
            x = block(x, seen)
        return self.cls.output(torch.tanh(self.cls(x[:, 0])))

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.cls.weight.device


def network(shape: Shape, tensors: Mapping[str, npt.NDArray[np.float32]]) -> Network:
    """A network with the weights of a file.

    Raises:
        ValueError: A tensor is missing, is too many, or has another shape.
    """
    made = Network(shape)
    try:
        made.load_state_dict({name: torch.from_numpy(array) for name, array in tensors.items()})
    except RuntimeError as e:
        raise ValueError(str(e).splitlines()[-1].strip()) from None
    made.eval()
    return made


def pad(sequences: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Sequences as a rectangle: ids and mask, each of shape ``(n_sequences, longest)``."""
    width = max(map(len, sequences))
    ids = np.full((len(sequences), width), PAD, dtype=np.int64)
    mask = np.zeros((len(sequences), width), dtype=np.bool_)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = sequence
        mask[row, : len(sequence)] = True
    return torch.from_numpy(ids), torch.from_numpy(mask)


def logits(network: Network, sequences: Sequence[Sequence[int]], tokens: int = 4096) -> Float32Array:
    """Logits of many sequences, without gradients, in batches of similar length.

    Args:
        network: Who computes.
        sequences: Token ids.
        tokens: Most tokens of a batch, padding included; one sequence may have more.

    Returns:
        Shape ``(n_sequences, n_outputs)``, in the order given.
    """
    order = sorted(range(len(sequences)), key=lambda i: len(sequences[i]))
    result = np.zeros((len(sequences), network.shape.n_outputs), dtype=np.float32)
    at = 0
    with torch.inference_mode():
        while at < len(order):
            size = 1
            while at + size < len(order) and (size + 1) * len(sequences[order[at + size]]) <= tokens:
                size += 1
            chosen = order[at : at + size]
            ids, mask = pad([sequences[i] for i in chosen])
            result[chosen] = network(ids.to(network.device), mask.to(network.device)).float().cpu().numpy()
            at += size
    return result

"""gpt-oss in a few lines of torch, written so that llama.cpp computes the same from the exported file.

What llama.cpp does and this must copy: RMS norms, rotary embedding on split halves with YaRN's frequencies (rounded
corners, scaled magnitude), a sink logit per head that takes part in the softmax and has no value, window 128 on every
even layer, experts chosen by the largest router logits and weighted by the softmax over the chosen, gates clamped at 7
with slope 1.702.

The trick that makes training affordable: one policy is read with several contents. The contents do not see each other;
each attends to the policy's keys and to its own, as if it stood there alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from tools.gpt_oss_file import Shape

GATE_LIMIT = 7.0
GATE_SLOPE = 1.702

_FP4_MIDPOINTS = torch.tensor([0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0])
_FP4_VALUES = torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0])


def mxfp4(weights: Tensor) -> Tensor:
    """Round to what MXFP4 can hold: blocks of 32 along the last axis, one power of two each, eight magnitudes.

    The gradient passes straight through. The rounding is that of ``gguf.quants``, ties included.
    """
    blocks = weights.detach().unflatten(-1, (-1, 32))
    largest = blocks.abs().amax(-1, keepdim=True)
    scale = torch.exp2(torch.floor(torch.log2(largest.clamp_min(1e-30))) - 2)
    magnitude = _FP4_VALUES[torch.bucketize(blocks.abs() / scale, _FP4_MIDPOINTS)]
    rounded = (magnitude * scale * blocks.sign()).flatten(-2)
    return weights + (rounded - weights).detach()


def rope_table(shape: Shape, n_positions: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines, ``(n_positions, head_width / 2)``, with ggml's YaRN (``ggml_rope_yarn_corr_dims``)."""
    half = torch.arange(0, shape.head_width, 2, dtype=torch.float64)
    plain = shape.rope_base ** (-half / shape.head_width)

    def corner(rotations: float) -> float:
        turns = math.log(shape.rope_original_context / (rotations * 2 * math.pi))
        return shape.head_width * turns / (2 * math.log(shape.rope_base))

    low = max(0.0, math.floor(corner(32.0)))
    high = min(shape.head_width - 1.0, math.ceil(corner(1.0)))
    ramp = 1 - ((half / 2 - low) / max(0.001, high - low)).clamp(0, 1)
    frequencies = plain / shape.rope_factor * (1 - ramp) + plain * ramp
    magnitude = 1 + 0.1 * math.log(shape.rope_factor)
    angles = torch.arange(n_positions, dtype=torch.float64)[:, None] * frequencies
    return (angles.cos() * magnitude).float(), (angles.sin() * magnitude).float()


@dataclass(frozen=True)
class Batch:
    """Policies with their contents.

    Attributes:
        prefix: Token ids up to where the content begins, ``(B, P)``, padded at the end.
        prefix_position: Position of each, ``(B, P)``; -1 is padding. Positions may be left out, which saves time.
        prefix_length: Position at which the contents begin, ``(B,)``.
        tail: Token ids of content and answer, ``(B, K, C)``, padded at the end.
    """

    prefix: Tensor
    prefix_position: Tensor
    prefix_length: Tensor
    tail: Tensor


class _Masks:
    """Rotary tables and additive masks of one batch, the same for all layers of a kind."""

    def __init__(self, batch: Batch, cos: Tensor, sin: Tensor, window: int) -> None:
        n_tail = batch.tail.shape[2]
        at_prefix = batch.prefix_position
        at_tail = batch.prefix_length[:, None] + torch.arange(n_tail)
        self.rope_prefix = (cos[at_prefix][:, :, None], sin[at_prefix][:, :, None])
        self.rope_tail = (cos[at_tail][:, None, :, None], sin[at_tail][:, None, :, None])

        def additive(allowed: Tensor) -> Tensor:
            return torch.zeros(allowed.shape).masked_fill_(~allowed, -1e9)

        reaches = (window, len(cos))
        seen = (at_prefix >= 0)[:, None]
        back = at_prefix[:, :, None] - at_prefix[:, None]
        self.within_prefix = [additive(seen & (back >= 0) & (back < reach))[:, None] for reach in reaches]
        back = torch.arange(n_tail)[:, None] - torch.arange(n_tail)
        self.within_tail = [additive((back >= 0) & (back < reach)) for reach in reaches]
        back = at_tail[:, :, None] - at_prefix[:, None]
        self.tail_to_prefix = [additive(seen & (back < reach))[:, None, None] for reach in reaches]


def _rotate(vectors: Tensor, rope: tuple[Tensor, Tensor]) -> Tensor:
    cos, sin = rope
    first, second = vectors.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


class Norm(nn.Module):
    """Root-mean-square norm."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(shape.width))
        self.epsilon = shape.norm_epsilon

    def forward(self, hidden: Tensor) -> Tensor:
        """Normalise the last axis."""
        return functional.rms_norm(hidden, (hidden.shape[-1],), self.weight, self.epsilon)


class Attention(nn.Module):
    """Grouped-query attention with sinks."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.q = nn.Linear(shape.width, shape.n_heads * shape.head_width)
        self.k = nn.Linear(shape.width, shape.n_kv_heads * shape.head_width)
        self.v = nn.Linear(shape.width, shape.n_kv_heads * shape.head_width)
        self.output = nn.Linear(shape.n_heads * shape.head_width, shape.width)
        self.sinks = nn.Parameter(torch.zeros(shape.n_heads))

    def _query(self, hidden: Tensor, rope: tuple[Tensor, Tensor]) -> Tensor:
        width = self.shape.head_width
        return _rotate(self.q(hidden).unflatten(-1, (self.shape.n_heads, width)), rope) * width**-0.5

    def _key_value(self, hidden: Tensor, rope: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        split = (self.shape.n_kv_heads, self.shape.head_width)
        return _rotate(self.k(hidden).unflatten(-1, split), rope), self.v(hidden).unflatten(-1, split)

    def forward(
        self, prefix: Tensor, tail: Tensor, masks: _Masks, windowed: bool, at: Tensor | None = None
    ) -> tuple[Tensor | None, Tensor]:
        """Attend; ``prefix`` is ``(B, P, width)``, ``tail`` is ``(B, K, C, width)``.

        With ``at``, ``(B, K, W)``, only from these places of the tails; the prefix attends to nothing then.
        """
        kind = 0 if windowed else 1
        n_groups, n_tails, n_tail, _ = tail.shape
        n_prefix = prefix.shape[1]
        heads = self.shape.n_heads
        share = heads // self.shape.n_kv_heads
        sinks = self.sinks.view(1, heads, 1, 1)

        key, value = (each.transpose(1, 2) for each in self._key_value(prefix, masks.rope_prefix))
        key_all, value_all = key.repeat_interleave(share, 1), value.repeat_interleave(share, 1)
        prefix_out = None
        if at is None:
            query = self._query(prefix, masks.rope_prefix).transpose(1, 2)
            scores = query @ key_all.transpose(-1, -2) + masks.within_prefix[kind]
            weights = torch.cat((scores, sinks.expand(n_groups, -1, n_prefix, -1)), -1).softmax(-1)
            prefix_out = self.output((weights[..., :-1] @ value_all).transpose(1, 2).flatten(2))

        key, value = (each.permute(0, 3, 1, 2, 4) for each in self._key_value(tail, masks.rope_tail))
        key, value = key.repeat_interleave(share, 1), value.repeat_interleave(share, 1)
        query = self._query(tail, masks.rope_tail).permute(0, 3, 1, 2, 4)
        to_prefix_mask, to_own_mask = masks.tail_to_prefix[kind], masks.within_tail[kind]
        if at is not None:
            chosen = at[:, None, :, :, None]
            query = query.gather(3, chosen.expand(-1, heads, -1, -1, query.shape[-1]))
            to_prefix_mask = to_prefix_mask.expand(-1, -1, n_tails, -1, -1).gather(
                3, chosen.expand(-1, -1, -1, -1, n_prefix)
            )
            to_own_mask = to_own_mask[at][:, None]
            n_tail = at.shape[-1]
        to_prefix = (query.flatten(2, 3) @ key_all.transpose(-1, -2)).unflatten(2, (n_tails, n_tail))
        to_own = query @ key.transpose(-1, -2)
        sinks = sinks[..., None].expand(n_groups, -1, n_tails, n_tail, -1)
        weights = torch.cat((to_prefix + to_prefix_mask, to_own + to_own_mask, sinks), -1).softmax(-1)
        seen = (weights[..., :n_prefix].flatten(2, 3) @ value_all).unflatten(2, (n_tails, n_tail))
        seen = seen + weights[..., n_prefix:-1] @ value
        return prefix_out, self.output(seen.permute(0, 2, 3, 1, 4).flatten(3))


class Experts(nn.Module):
    """Mixture of experts."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.n_used = shape.n_experts_used
        self.fake_quantise = False
        self.router = nn.Linear(shape.width, shape.n_experts)
        wide, narrow = shape.expert_width, shape.width

        def weights(rows: int, columns: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(shape.n_experts, rows, columns) * columns**-0.5)

        self.gate, self.up, self.down = weights(wide, narrow), weights(wide, narrow), weights(narrow, wide)
        self.gate_bias = nn.Parameter(torch.zeros(shape.n_experts, wide))
        self.up_bias = nn.Parameter(torch.zeros(shape.n_experts, wide))
        self.down_bias = nn.Parameter(torch.zeros(shape.n_experts, narrow))
        self.imbalance = torch.zeros(())

    def forward(self, hidden: Tensor) -> Tensor:
        """Mix; ``hidden`` is ``(n_tokens, width)``."""
        gate, up, down = (mxfp4(w) if self.fake_quantise else w for w in (self.gate, self.up, self.down))
        choice = self.router(hidden).float()
        self.imbalance = choice.softmax(-1).mean(0).square().sum() * choice.shape[-1] - 1
        best, chosen = choice.topk(self.n_used, dim=-1)
        share = best.softmax(-1)
        mixed = torch.zeros_like(hidden)
        for expert in range(choice.shape[-1]):
            token, place = (chosen == expert).nonzero(as_tuple=True)
            given = hidden[token]
            flat = functional.linear(given, gate[expert], self.gate_bias[expert]).clamp(max=GATE_LIMIT)
            linear = functional.linear(given, up[expert], self.up_bias[expert]).clamp(-GATE_LIMIT, GATE_LIMIT)
            inner = (linear + 1) * flat * torch.sigmoid(GATE_SLOPE * flat)
            result = functional.linear(inner, down[expert], self.down_bias[expert])
            mixed = mixed.index_add(0, token, result * share[token, place][:, None])
        return mixed


class Layer(nn.Module):
    """One block."""

    def __init__(self, shape: Shape, windowed: bool) -> None:
        super().__init__()
        self.windowed = windowed
        self.attention_norm, self.experts_norm = Norm(shape), Norm(shape)
        self.attention, self.experts = Attention(shape), Experts(shape)

    def forward(self, prefix: Tensor, tail: Tensor, masks: _Masks) -> tuple[Tensor, Tensor]:
        """Add attention, then experts."""
        seen = self.attention(self.attention_norm(prefix), self.attention_norm(tail), masks, self.windowed)
        prefix, tail = prefix + seen[0], tail + seen[1]
        n_prefix = prefix.shape[0] * prefix.shape[1]
        both = torch.cat((prefix.flatten(0, 1), tail.flatten(0, 2)))
        both = both + self.experts(self.experts_norm(both))
        return both[:n_prefix].view_as(prefix), both[n_prefix:].view_as(tail)

    def finish(self, prefix: Tensor, tail: Tensor, masks: _Masks, at: Tensor) -> Tensor:
        """The same for the tails' places ``at`` alone, all that the last layer is needed for."""
        _, seen = self.attention(self.attention_norm(prefix), self.attention_norm(tail), masks, self.windowed, at)
        tail = tail.gather(2, at[..., None].expand(-1, -1, -1, tail.shape[-1])) + seen
        return tail + self.experts(self.experts_norm(tail).flatten(0, 2)).view_as(tail)


class GptOss(nn.Module):
    """The network. Its parameters are exported by `tools.test_model.gguf_file`."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.n_vocab, shape.width)
        nn.init.normal_(self.embedding.weight, std=0.1)
        self.layers = nn.ModuleList(Layer(shape, windowed=n % 2 == 0) for n in range(shape.n_layers))
        for layer in self.layers:
            nn.init.normal_(layer.attention.output.weight, std=0.02)
            layer.experts.down.data *= 0.3
        self._look_for_the_same(self.layers[1].attention)
        self.norm = Norm(shape)
        self.output = nn.Linear(shape.width, shape.n_vocab, bias=False)
        nn.init.normal_(self.output.weight, std=0.02)
        self.cos, self.sin = rope_table(shape, 2048)

    @staticmethod
    def _look_for_the_same(attention: Attention) -> None:
        """Begin with queries equal to keys, so that words look for words that mean the same; saves many steps."""
        shape = attention.shape
        keys = attention.k.weight.data.unflatten(0, (shape.n_kv_heads, shape.head_width)) * 1.5
        attention.k.weight.data = keys.flatten(0, 1)
        attention.q.weight.data = keys.repeat_interleave(shape.n_heads // shape.n_kv_heads, 0).flatten(0, 1)

    def forward(self, batch: Batch, at: Tensor) -> tuple[list[tuple[Tensor, Tensor]], Tensor]:
        """Hidden states of prefixes and tails after all layers but the last, and after the last of the tails' places ``at``.

        ``at`` is ``(B, K, W)``.
        """
        masks = _Masks(batch, self.cos, self.sin, self.shape.window)
        prefix, tail = self.embedding(batch.prefix), self.embedding(batch.tail)
        states = []
        for layer in self.layers[:-1]:
            prefix, tail = layer(prefix, tail, masks)
            states.append((prefix, tail))
        return states, self.layers[-1].finish(prefix, tail, masks, at)

    def logits(self, hidden: Tensor) -> Tensor:
        """Next-token logits of chosen hidden states of the last layer."""
        return self.output(self.norm(hidden))

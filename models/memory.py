"""How much memory a guard will need, from the head of its file and how it is configured. Pure.

Weights are the size of the file: llama.cpp maps it, and a model of which a part is read from disk for every token is
no guard. The KV cache follows from the shape exactly. Buffers are an upper estimate: what attention
needs exactly (a mask for full and one for sliding-window layers, 16 bit; without flash attention 32 bit, and the scores of
all heads), activations by a formula that was held against what llama.cpp 0.3.36 reports for the test model, a random one of
120 MB and the shipped encoder.

What is on a GPU needs no memory here; how much the GPU has is not looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from models.attention import KvType
from models.gguf_header import HeaderError, Length, Value

PROCESS_BYTES = 64 * 1024**2
"""Interpreter and libraries; 51 MiB were seen."""
VOCABULARY_BYTES = 320
"""Tables of a vocabulary, for each token; 62 MiB were seen for 201,088."""

KV_BYTES: Mapping[KvType, float] = {
    KvType.F32: 4,
    KvType.F16: 2,
    KvType.BF16: 2,
    KvType.Q8_0: 34 / 32,
    KvType.Q4_0: 18 / 32,
}
"""Bytes of one number in the cache; those that are quantised share a scale of two bytes among 32."""

_CELLS_ALIGNED = 256
_MAX_LAYERS = 10_000


@dataclass(frozen=True, slots=True)
class Shape:
    """What of a model decides its memory."""

    architecture: str
    n_ctx_train: int
    n_layers: int
    n_embd: int
    n_ff: int
    """Inner width of a feed-forward block, times the experts that one token uses."""
    n_heads: int
    n_attention: int
    """Width of the queries of all heads."""
    n_kv: tuple[int, ...]
    """Per layer, the width of keys and values of all KV heads; zeros for an encoder, which keeps none."""
    window: int | None
    """Tokens that a sliding-window layer sees; None: there are no such layers."""
    n_vocab: int

    @property
    def n_window_layers(self) -> int:
        """Layers with a sliding window: every other one of gpt-oss, beginning with the first. Others count as full."""
        return (self.n_layers + 1) // 2 if self.window is not None and self.architecture == "gpt-oss" else 0


@dataclass(frozen=True, slots=True)
class Layout:
    """How a guard lays out its contexts.

    Attributes:
        n_cells: Cells of the KV cache of one context, as they are asked for.
        n_sequences: Sequences of one context.
        n_batch: Tokens of one native call, as they are asked for.
        n_contexts: Contexts that there are at a time.
        kv_type: Type of the cached numbers.
        swa_full: Whether sliding-window layers keep all cells.
        unified: Whether sequences share cells; otherwise each has the same part of them.
        flash_attention: Whether attention needs no table of all scores.
    """

    n_cells: int
    n_sequences: int
    n_batch: int = 512
    n_contexts: int = 1
    kv_type: KvType = KvType.F16
    swa_full: bool = True
    unified: bool = True
    flash_attention: bool = True

    @property
    def n_streams(self) -> int:
        """Parts of the cache; a token looks at one of them."""
        return 1 if self.unified else self.n_sequences

    @property
    def n_cells_of_stream(self) -> int:
        """Cells of a part, as llama.cpp makes them (llama-context.cpp)."""
        return _aligned(self.n_cells // self.n_streams)


@dataclass(frozen=True, slots=True)
class Estimate:
    """Bytes that a guard needs in the machine's memory."""

    weights: int
    kv_cache: int
    buffers: int
    process: int

    @property
    def total(self) -> int:
        """All together."""
        return self.weights + self.kv_cache + self.buffers + self.process

    def __str__(self) -> str:
        parts = (("weights", self.weights), ("KV cache", self.kv_cache), ("buffers", self.buffers))
        listed = ", ".join(f"{name} {show_bytes(size)}" for name, size in parts)
        return f"{show_bytes(self.total)} ({listed}, process {show_bytes(self.process)})"


def show_bytes(size: int) -> str:
    """In MiB, from 1 GiB on in GiB.

    >>> show_bytes(25 * 1024**2), show_bytes(12 * 1024**3 + 1024**3 // 2)
    ('25 MiB', '12.5 GiB')
    """
    return f"{size / 1024**3:.1f} GiB" if size >= 1024**3 else f"{size / 1024**2:.0f} MiB"


def read_shape(header: Mapping[str, Value]) -> Shape:
    """Read what decides the memory from the pairs of a GGUF's head.

    Raises:
        HeaderError: Something is missing, of the wrong type or impossible.
    """
    architecture = header.get("general.architecture")
    if not isinstance(architecture, str):
        raise HeaderError("general.architecture is missing")
    fields = _Fields(header, architecture)
    n_layers, n_embd = fields.number("block_count"), fields.number("embedding_length")
    if not 1 <= n_layers <= _MAX_LAYERS:
        raise HeaderError(f"{n_layers} layers are impossible")
    n_heads = fields.number("attention.head_count")
    if n_heads < 1:
        raise HeaderError("there are no attention heads")
    key_length = fields.number("attention.key_length", n_embd // n_heads)
    value_length = fields.number("attention.value_length", n_embd // n_heads)
    n_used = fields.number("expert_used_count", 0) or 1
    n_ff = fields.number("expert_feed_forward_length" if n_used > 1 else "feed_forward_length")
    window = fields.number("attention.sliding_window", 0)
    causal = header.get(f"{architecture}.attention.causal") is not False
    kv_heads = fields.per_layer("attention.head_count_kv", n_layers, n_heads)
    return Shape(
        architecture=architecture,
        n_ctx_train=fields.number("context_length"),
        n_layers=n_layers,
        n_embd=n_embd,
        n_ff=n_ff * n_used,
        n_heads=n_heads,
        n_attention=n_heads * key_length,
        n_kv=tuple((key_length + value_length) * n if causal else 0 for n in kv_heads),
        window=window or None,
        n_vocab=fields.n_vocab(),
    )


def estimate(shape: Shape, weights: int, layout: Layout, *, gpu_share: float = 0.0) -> Estimate:
    """What a model will need.

    Args:
        shape: Of the model.
        weights: Size of its files in bytes.
        layout: Of its contexts.
        gpu_share: Part of the layers that lie on a GPU, in ``[0, 1]``: weights and cache of these do not count.
    """
    here = 1.0 - gpu_share
    return Estimate(
        weights=round(weights * here),
        kv_cache=round(kv_cache_bytes(shape, layout) * layout.n_contexts * here),
        buffers=buffer_bytes(shape, layout) * layout.n_contexts,
        process=PROCESS_BYTES + VOCABULARY_BYTES * shape.n_vocab,
    )


def kv_cache_bytes(shape: Shape, layout: Layout) -> int:
    """Size of one context's KV cache.

    20b of gpt-oss: 24 layers x 8 heads x (64 + 64) numbers x 2 bytes are 48 KiB for each token.
    """
    number = KV_BYTES[layout.kv_type]
    cells = [layout.n_cells_of_stream] * shape.n_layers
    if shape.window is not None and not layout.swa_full:
        # llama-kv-cache-iswa.cpp: the window of every sequence and one batch
        n_window = shape.window * (layout.n_sequences if layout.unified else 1)
        windowed = _aligned(min(layout.n_cells_of_stream, n_window + layout.n_batch))
        for layer in range(0, 2 * shape.n_window_layers, 2):
            cells[layer] = windowed
    return round(sum(n * width * number for n, width in zip(cells, shape.n_kv, strict=True))) * layout.n_streams


def buffer_bytes(shape: Shape, layout: Layout) -> int:
    """Upper estimate of one context's compute and output buffers."""
    n_batch = min(layout.n_batch, layout.n_streams * layout.n_cells_of_stream)  # llama-context.cpp
    pairs = n_batch * layout.n_cells_of_stream  # of a token and a cell that it may look at
    n_masks = 1 if shape.window is None else 2
    attention = 2 * n_masks * pairs if layout.flash_attention else 4 * (n_masks + shape.n_heads) * pairs
    activations = 4 * n_batch * (4 * shape.n_embd + 4 * shape.n_ff + 3 * shape.n_attention)
    # where the graph computes them, and where the caller reads them
    logits = 2 * 4 * layout.n_sequences * shape.n_vocab
    return attention + activations + logits


def _aligned(n_cells: int) -> int:
    return -(-n_cells // _CELLS_ALIGNED) * _CELLS_ALIGNED


class _Fields:
    """Numbers of one architecture."""

    def __init__(self, header: Mapping[str, Value], architecture: str) -> None:
        self._header = header
        self._architecture = architecture

    def number(self, name: str, default: int | None = None) -> int:
        key = f"{self._architecture}.{name}"
        value = self._header.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise HeaderError(f"{key} is missing or is no size")
        return value

    def per_layer(self, name: str, n_layers: int, default: int) -> tuple[int, ...]:
        """A number for all layers, or one for each."""
        key = f"{self._architecture}.{name}"
        value = self._header.get(key, default)
        if not isinstance(value, tuple):
            return (self.number(name, default),) * n_layers
        sizes = tuple(n for n in value if isinstance(n, int) and not isinstance(n, bool) and n >= 0)
        if len(sizes) != n_layers or len(value) != n_layers:
            raise HeaderError(f"{key} does not have a size for each of {n_layers} layers")
        return sizes

    def n_vocab(self) -> int:
        match self._header.get("tokenizer.ggml.tokens"):
            case Length(n_items):
                return n_items
            case _:
                return self.number("vocab_size")

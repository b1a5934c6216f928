"""What a gpt-oss model is as a GGUF file: sizes, metadata, tokens, and the table of its tensors.

Names and types are those of published gpt-oss files. Knows no weights: `tools.test_model` trains some, and
``benchmarks/engine_model.py`` draws some at random. Needs gguf only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import gguf

Kind: TypeAlias = gguf.GGMLQuantizationType

CHAT_TEMPLATE = (
    "{% for m in messages %}{% if m.role == 'system' or m.role == 'developer' %}"
    "<|start|>developer<|message|># Instructions\n\n{{ m.content }}<|end|>"
    "{% else %}<|start|>{{ m.role }}<|message|>{{ m.content }}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant{% endif %}"
)
"""So that a server can serve the file; the guard builds its prompts without it."""


@dataclass(frozen=True)
class Shape:
    """The sizes of the network. Everything that does not save space is gpt-oss-20b's."""

    n_vocab: int
    n_layers: int = 4
    width: int = 128
    n_heads: int = 4
    n_kv_heads: int = 2
    head_width: int = 64
    n_experts: int = 4
    n_experts_used: int = 2
    expert_width: int = 128
    window: int = 128
    context: int = 131_072
    rope_base: float = 150_000.0
    rope_factor: float = 32.0
    rope_original_context: int = 4_096
    norm_epsilon: float = 1e-5


@dataclass(frozen=True)
class TensorSpec:
    """One tensor of the file; ``shape`` is numpy's, the last axis is what a row is quantised along."""

    name: str
    kind: Kind
    shape: tuple[int, ...]


def new_writer(path: str, shape: Shape, name: str, description: str) -> gguf.GGUFWriter:
    """A writer that has all metadata but the tokens."""
    writer = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[gguf.MODEL_ARCH.GPT_OSS])
    writer.add_type(gguf.GGUFType.MODEL)
    writer.add_name(name)
    writer.add_description(description)
    writer.add_license("mit")
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.n_layers)
    writer.add_feed_forward_length(shape.expert_width)
    writer.add_expert_feed_forward_length(shape.expert_width)
    writer.add_expert_count(shape.n_experts)
    writer.add_expert_used_count(shape.n_experts_used)
    writer.add_head_count(shape.n_heads)
    writer.add_head_count_kv(shape.n_kv_heads)
    writer.add_key_length(shape.head_width)
    writer.add_value_length(shape.head_width)
    writer.add_layer_norm_rms_eps(shape.norm_epsilon)
    writer.add_sliding_window(shape.window)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
    writer.add_rope_scaling_factor(shape.rope_factor)
    writer.add_rope_scaling_orig_ctx_len(shape.rope_original_context)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_MXFP4_MOE)
    return writer


def add_tokens(writer: gguf.GGUFWriter, tokens: Sequence[str], n_controls: int, merges: Sequence[str]) -> None:
    """Write the vocabulary.

    Args:
        writer: From `new_writer`.
        tokens: Ordinary ones in GPT-2's printable spelling, the control tokens last.
        n_controls: How many those are.
        merges: Two halves of a token with a space between, in rank order.
    """
    ordinary = len(tokens) - n_controls
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-4o")
    writer.add_token_list(list(tokens))
    writer.add_token_types([gguf.TokenType.NORMAL] * ordinary + [gguf.TokenType.CONTROL] * n_controls)
    writer.add_token_merges(list(merges))
    controls = {spelling: ordinary + n for n, spelling in enumerate(tokens[ordinary:])}
    writer.add_bos_token_id(controls["<|startoftext|>"])
    writer.add_eos_token_id(controls["<|return|>"])
    writer.add_pad_token_id(controls["<|endoftext|>"])
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)


def tensor_table(shape: Shape) -> Iterator[TensorSpec]:
    """Every tensor of the file, in its order."""
    q8, mxfp4, f32 = Kind.Q8_0, Kind.MXFP4, Kind.F32
    width, experts, wide = shape.width, shape.n_experts, shape.expert_width
    queries, keys = shape.n_heads * shape.head_width, shape.n_kv_heads * shape.head_width
    yield TensorSpec("token_embd.weight", q8, (shape.n_vocab, width))
    yield TensorSpec("output_norm.weight", f32, (width,))
    yield TensorSpec("output.weight", q8, (shape.n_vocab, width))
    for n in range(shape.n_layers):
        block = f"blk.{n}"
        yield TensorSpec(f"{block}.attn_norm.weight", f32, (width,))
        yield TensorSpec(f"{block}.post_attention_norm.weight", f32, (width,))
        for part, rows, columns in (
            ("q", queries, width),
            ("k", keys, width),
            ("v", keys, width),
            ("output", width, queries),
        ):
            yield TensorSpec(f"{block}.attn_{part}.weight", q8, (rows, columns))
            yield TensorSpec(f"{block}.attn_{part}.bias", f32, (rows,))
        yield TensorSpec(f"{block}.attn_sinks.weight", f32, (shape.n_heads,))
        yield TensorSpec(f"{block}.ffn_gate_inp.weight", f32, (experts, width))
        yield TensorSpec(f"{block}.ffn_gate_inp.bias", f32, (experts,))
        for part, rows, columns in (("gate", wide, width), ("up", wide, width), ("down", width, wide)):
            yield TensorSpec(f"{block}.ffn_{part}_exps.weight", mxfp4, (experts, rows, columns))
            yield TensorSpec(f"{block}.ffn_{part}_exps.bias", f32, (experts, rows))

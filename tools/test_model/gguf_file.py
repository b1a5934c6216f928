"""Writes the network as the GGUF file that llama.cpp loads: tensor names and types as in published gpt-oss files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np
import torch
from gguf.quants import dequantize, quantize
from torch import Tensor

from tools.test_model.network import GptOss
from tools.test_model.vocabulary import N_CONTROLS, Vocabulary

CHAT_TEMPLATE = (
    "{% for m in messages %}{% if m.role == 'system' or m.role == 'developer' %}"
    "<|start|>developer<|message|># Instructions\n\n{{ m.content }}<|end|>"
    "{% else %}<|start|>{{ m.role }}<|message|>{{ m.content }}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant{% endif %}"
)
"""So that a server can serve the file; the guard builds its prompts without it."""


def write_gguf(path: Path, network: GptOss, vocabulary: Vocabulary, description: str) -> None:
    """Write the file next to its place and move it there, so that readers never see half of it."""
    half_written = path.with_suffix(".part")
    writer = gguf.GGUFWriter(half_written, gguf.MODEL_ARCH_NAMES[gguf.MODEL_ARCH.GPT_OSS])
    _write_metadata(writer, network, description)
    _write_vocabulary(writer, vocabulary)
    _write_tensors(writer, network)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    os.replace(half_written, path)


def _write_metadata(writer: gguf.GGUFWriter, network: GptOss, description: str) -> None:
    shape = network.shape
    writer.add_type(gguf.GGUFType.MODEL)
    writer.add_name("safeguard test model")
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


def _write_vocabulary(writer: gguf.GGUFWriter, vocabulary: Vocabulary) -> None:
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-4o")
    writer.add_token_list(list(vocabulary.tokens))
    kinds = [gguf.TokenType.NORMAL] * vocabulary.n_ordinary + [gguf.TokenType.CONTROL] * N_CONTROLS
    writer.add_token_types(kinds)
    writer.add_token_merges([f"{left} {right}" for left, right in vocabulary.merges])
    writer.add_bos_token_id(vocabulary.control("<|startoftext|>"))
    writer.add_eos_token_id(vocabulary.control("<|return|>"))
    writer.add_pad_token_id(vocabulary.control("<|endoftext|>"))
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)


def read_gguf(path: Path, network: GptOss) -> None:
    """Put the weights of a file that `write_gguf` wrote back into a network of the same shape, so that training can go on.

    They come back as the file holds them, rounded.
    """
    targets = {name: tensor for name, tensor, _ in _tensors(network)}
    found = {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}
    assert found.keys() == targets.keys(), f"{path} holds another network"
    with torch.no_grad():
        for name, target in targets.items():
            values = dequantize(found[name].data, found[name].tensor_type)
            target.copy_(torch.from_numpy(np.array(values, dtype=np.float32)))


def _write_tensors(writer: gguf.GGUFWriter, network: GptOss) -> None:
    for name, tensor, kind in _tensors(network):
        values = tensor.detach().numpy().astype(np.float32)
        if kind is gguf.GGMLQuantizationType.F32:
            writer.add_tensor(name, values)
        else:
            writer.add_tensor(name, quantize(values, kind), raw_dtype=kind)


def _tensors(network: GptOss) -> Iterator[tuple[str, Tensor, gguf.GGMLQuantizationType]]:
    """Every tensor of the file: its name there, the parameter, and its type there."""
    kinds = gguf.GGMLQuantizationType
    q8, mxfp4, f32 = kinds.Q8_0, kinds.MXFP4, kinds.F32
    yield "token_embd.weight", network.embedding.weight, q8
    yield "output_norm.weight", network.norm.weight, f32
    yield "output.weight", network.output.weight, q8
    for n, layer in enumerate(network.layers):
        block, attention, experts = f"blk.{n}", layer.attention, layer.experts
        yield f"{block}.attn_norm.weight", layer.attention_norm.weight, f32
        yield f"{block}.post_attention_norm.weight", layer.experts_norm.weight, f32
        parts = {"q": attention.q, "k": attention.k, "v": attention.v, "output": attention.output}
        for part, linear in parts.items():
            yield f"{block}.attn_{part}.weight", linear.weight, q8
            yield f"{block}.attn_{part}.bias", linear.bias, f32
        yield f"{block}.attn_sinks.weight", attention.sinks, f32
        yield f"{block}.ffn_gate_inp.weight", experts.router.weight, f32
        yield f"{block}.ffn_gate_inp.bias", experts.router.bias, f32
        for part in ("gate", "up", "down"):
            yield f"{block}.ffn_{part}_exps.weight", getattr(experts, part), mxfp4
            yield f"{block}.ffn_{part}_exps.bias", getattr(experts, f"{part}_bias"), f32

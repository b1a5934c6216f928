"""Writes the network as the GGUF file that llama.cpp loads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np
import torch
from gguf.quants import dequantize, quantize
from torch import Tensor

from tools.gpt_oss_file import Kind, add_tokens, new_writer, tensor_table
from tools.test_model.network import GptOss
from tools.test_model.vocabulary import N_CONTROLS, Vocabulary


def write_gguf(path: Path, network: GptOss, vocabulary: Vocabulary, description: str) -> None:
    """Write the file next to its place and move it there, so that readers never see half of it."""
    half_written = path.with_suffix(".part")
    writer = new_writer(str(half_written), network.shape, "safeguard test model", description)
    merges = [f"{left} {right}" for left, right in vocabulary.merges]
    add_tokens(writer, vocabulary.tokens, N_CONTROLS, merges)
    for name, tensor, kind in _tensors(network):
        values = tensor.detach().numpy().astype(np.float32)
        if kind is Kind.F32:
            writer.add_tensor(name, values)
        else:
            writer.add_tensor(name, quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    os.replace(half_written, path)


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


def _tensors(network: GptOss) -> Iterator[tuple[str, Tensor, Kind]]:
    """Every tensor of the file: its name there, the parameter, and its type there."""
    parameters = dict(_parameters(network))
    for spec in tensor_table(network.shape):
        parameter = parameters.pop(spec.name)
        assert parameter.shape == spec.shape, f"{spec.name} has another shape in the network"
        yield spec.name, parameter, spec.kind
    assert not parameters, f"the file has no place for {sorted(parameters)}"


def _parameters(network: GptOss) -> Iterator[tuple[str, Tensor]]:
    yield "token_embd.weight", network.embedding.weight
    yield "output_norm.weight", network.norm.weight
    yield "output.weight", network.output.weight
    for n, layer in enumerate(network.layers):
        block, attention, experts = f"blk.{n}", layer.attention, layer.experts
        yield f"{block}.attn_norm.weight", layer.attention_norm.weight
        yield f"{block}.post_attention_norm.weight", layer.experts_norm.weight
        parts = {"q": attention.q, "k": attention.k, "v": attention.v, "output": attention.output}
        for part, linear in parts.items():
            yield f"{block}.attn_{part}.weight", linear.weight
            yield f"{block}.attn_{part}.bias", linear.bias
        yield f"{block}.attn_sinks.weight", attention.sinks
        yield f"{block}.ffn_gate_inp.weight", experts.router.weight
        yield f"{block}.ffn_gate_inp.bias", experts.router.bias
        for part in ("gate", "up", "down"):
            yield f"{block}.ffn_{part}_exps.weight", getattr(experts, part)
            yield f"{block}.ffn_{part}_exps.bias", getattr(experts, f"{part}_bias")

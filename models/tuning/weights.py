"""The tensors of an encoder's GGUF, read as 32-bit floats and put back in the types that the file had."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import gguf
import numpy as np
import numpy.typing as npt

from models.errors import ModelLoadError
from models.tuning.network import Network, Shape, network

_ARCHITECTURE = "bert"

Float32 = npt.NDArray[np.float32]


def load_network(path: Path) -> Network:
    """A file's network, in torch.

    Raises:
        ModelLoadError: It is no BERT classifier, or one with other layers than ours.
    """
    try:
        reader = gguf.GGUFReader(path)
        tensors = {t.name: _floats(t) for t in reader.tensors}
        return network(_shape(reader, tensors), tensors)
    except (OSError, ValueError, KeyError, NotImplementedError) as e:
        raise ModelLoadError(f"{path}: cannot be tuned, it is not laid out like the shipped encoder: {e}") from None


def _floats(tensor: gguf.ReaderTensor) -> Float32:
    return np.array(
        gguf.quants.dequantize(tensor.data, tensor.tensor_type), np.float32
    )  # a copy: the file is read-only


def _shape(reader: gguf.GGUFReader, tensors: Mapping[str, Float32]) -> Shape:
    def value(key: str) -> float:
        field = reader.get_field(f"{_ARCHITECTURE}.{key}")
        if field is None:
            raise ValueError(f"it has no {_ARCHITECTURE}.{key}")
        return float(field.contents())

    n_tokens, width = tensors["token_embd.weight"].shape
    return Shape(
        n_tokens=n_tokens,
        n_positions=len(tensors["position_embd.weight"]),
        width=width,
        inner=len(tensors["blk.0.ffn_up.weight"]),
        n_heads=int(value("attention.head_count")),
        n_blocks=int(value("block_count")),
        n_outputs=len(tensors["cls.output.weight"]),
        eps=value("attention.layer_norm_epsilon"),
        n_token_types=len(tensors["token_types.weight"]),
    )


def check_writable(base: Path, kept: str = "token_embd.weight") -> None:
    """See, before anything is trained, that what changes can be written in the types that a file has.

    Args:
        base: The file.
        kept: The tensor that training leaves as it is; its type does not matter.

    Raises:
        ModelLoadError: A type can be read only.
    """
    for tensor in gguf.GGUFReader(base).tensors:
        try:
            if tensor.name != kept:
                gguf.quants.quantize(np.zeros((1, tensor.shape[0]), np.float32), tensor.tensor_type)
        except NotImplementedError:
            raise ModelLoadError(
                f"{base}: cannot be tuned: {tensor.name} has the type {tensor.tensor_type.name}, which cannot be written; "
                "begin with a file in Q8_0, F16 or F32"
            ) from None


def write_like(base: Path, path: Path, changed: Mapping[str, Float32]) -> None:
    """Write a file that differs from another in the values of some tensors, and in nothing else.

    Args:
        base: The other file. All its fields, and the type of each tensor, stay.
        path: The file to write.
        changed: New values by name, each of the same shape as the old ones.

    Raises:
        ValueError: There is no such tensor, its shape differs, or nothing can be written in its type.
        OSError: The file cannot be written.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        shutil.copyfile(base, partial)
        tensors = {t.name: t for t in gguf.GGUFReader(partial, "r+").tensors}
        for name, values in changed.items():
            if name not in tensors or tuple(tensors[name].shape[::-1]) != values.shape:
                raise ValueError(f"{base.name} has no tensor {name} of shape {values.shape}")
            try:
                tensors[name].data[...] = gguf.quants.quantize(values, tensors[name].tensor_type)
            except NotImplementedError:
                raise ValueError(f"{name}: cannot be written as {tensors[name].tensor_type.name}") from None
        tensors["token_embd.weight"].data.base.flush()
        del tensors
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)

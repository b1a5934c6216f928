"""Generates models of gpt-oss's architecture with random weights: the real work of a guard without a download.

The same shape and seed give the same file. What the weights say means nothing, but the guard refuses a verdict unless the
two labels get most of the probability, as a trained model gives them, so three things are not random:

* Coordinate 0 of the residual stream is kept free: no embedding and no layer writes to it, except the embedding of
  ``<|message|>``. Behind that token, and only there, a model is asked for its verdict.
* The rows of the two labels in the output matrix look at that coordinate, so behind ``<|message|>`` both are far more likely
  than all other tokens. Which of the two is left to their other coordinates, which are random but blind to the embedding of
  ``<|message|>``: it varies with policy and content. `bench_engine` fails if it does not.
* The rows of control tokens in the output matrix are zero: a trace never ends by chance, so its length is the budget's.

Tokens and merges are those of the test model (the first ranks of o200k_base and harmony's control tokens). The table is
filled up with tokens that no text becomes, so that embedding and output matrix have their size.
"""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import gguf
import numpy as np
import numpy.typing as npt
from gguf.quants import quantize

from tools.gpt_oss_file import Kind, Shape, TensorSpec, add_tokens, new_writer, tensor_table

Bytes = npt.NDArray[np.uint8]

VOCABULARY = Path(__file__).resolve().parent.parent / "tests" / "data" / "tiny-gpt-oss.gguf"

_LARGE = Shape(
    n_vocab=201_088,
    n_layers=24,
    width=2880,
    n_heads=64,
    n_kv_heads=8,
    n_experts=32,
    n_experts_used=4,
    expert_width=2880,
)
SHAPES = {
    "small": Shape(
        n_vocab=32_832,
        n_layers=12,
        width=768,
        n_heads=16,
        n_kv_heads=2,
        n_experts=8,
        n_experts_used=2,
        expert_width=768,
    ),
    "20b": _LARGE,
    "120b": Shape(**{**asdict(_LARGE), "n_layers": 36, "n_experts": 128}),
}
"""``small`` has 240 million parameters; the others are gpt-oss-20b's and gpt-oss-120b's sizes."""

_VERSION = 1
"""Part of the file's name: raise it with every change of what is written."""
_SEED = 20251029

_MESSAGE_WEIGHT = 40.0
"""What ``<|message|>`` writes to coordinate 0; all others are of the order of 1."""
_LABEL_WEIGHT = 2.0
"""What the labels' rows make of it."""
_LABEL_SPREAD = 5.0
"""How much larger the rest of the labels' rows is than that of other tokens: it decides between the two."""
_GAINS = {"attn_q": 1.4, "attn_k": 1.4, "ffn_gate_inp": 2.0, "attn_output": 0.2, "ffn_down_exps": 0.2}
"""Standard deviation of what a matrix makes of unit inputs, where it is not 1. Sharper attention sees single tokens, so that
the content matters to the last position. Layers that add little keep rounding from growing into other verdicts, as it does
in random networks and hardly in trained ones (measured with 1 everywhere: scores 0.3 apart that differ by batch alone)."""

_Q8_BLOCK = np.dtype([("scale", np.float16), ("values", np.int8, 32)])
"""``block_q8_0`` of ggml-common.h."""
_MXFP4_BLOCK = np.dtype([("exponent", np.uint8), ("values", np.uint8, 16)])
"""``block_mxfp4`` of ggml-common.h: two values of four bits to a byte; bits 0 are the number 0."""
_Q8_SPREAD = math.sqrt((255**2 - 1) / 12)
"""Standard deviation of integers that are uniform in [-127, 127]."""
_MXFP4_SPREAD = math.sqrt((0.25 + 1 + 2.25 + 4 + 9 + 16 + 36) / 8)
"""Standard deviation of MXFP4's sixteen numbers (±0, 0.5, 1, 1.5, 2, 3, 4, 6), each as likely."""


def n_parameters(shape: Shape) -> int:
    """Numbers in all tensors."""
    return sum(math.prod(spec.shape) for spec in tensor_table(shape))


def generated(folder: Path, name: str, *, say: Callable[[str], None] = lambda _: None) -> Path:
    """The model of this name, made where it is not there yet.

    Args:
        folder: Where it is kept.
        name: One of `SHAPES`.
        say: Told how far it is.
    """
    path = folder / f"{name}-gpt-oss-v{_VERSION}.gguf"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        say(f"generating the model {name}")
        write(path, SHAPES[name], name, say=say)
    return path


def write(path: Path, shape: Shape, name: str, *, say: Callable[[str], None] = lambda _: None) -> None:
    """Write a model of any shape; readers never see half of it. In memory is one tensor at a time."""
    tokens, merges, n_controls = _vocabulary(shape.n_vocab)
    half_written = path.with_suffix(".part")
    writer = new_writer(
        str(half_written), shape, f"random {name}", "Random weights: judges nothing, for benchmarks only."
    )
    add_tokens(writer, tokens, n_controls, merges)
    specs = list(tensor_table(shape))
    try:
        for spec in specs:
            dtype, raw = (np.float32, None) if spec.kind is Kind.F32 else (np.uint8, spec.kind)
            n_bytes = math.prod(_stored(spec)) * np.dtype(dtype).itemsize
            writer.add_tensor_info(spec.name, _stored(spec), np.dtype(dtype), n_bytes, raw)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for n, spec in enumerate(specs):
            say(f"generating the model {name}: tensor {n + 1} of {len(specs)}")
            writer.write_tensor_data(_tensor(spec, tokens, n_controls))
        writer.close()
        os.replace(half_written, path)
    finally:
        half_written.unlink(missing_ok=True)


def _vocabulary(size: int) -> tuple[list[str], list[str], int]:
    """Tokens, merges, and how many of the last tokens are control tokens."""
    fields = gguf.GGUFReader(VOCABULARY).fields
    tokens: list[str] = fields["tokenizer.ggml.tokens"].contents()
    kinds: list[int] = fields["tokenizer.ggml.token_type"].contents()
    merges: list[str] = fields["tokenizer.ggml.merges"].contents()
    first_control = kinds.index(gguf.TokenType.CONTROL)
    controls = tokens[first_control:]
    fillers = [f"[filler {n}]" for n in range(size - len(tokens))]
    return [*tokens[:first_control], *fillers, *controls], merges, len(controls)


def _stored(spec: TensorSpec) -> tuple[int, ...]:
    """The tensor's shape in the file: numbers, or bytes where it is quantised."""
    if spec.kind is Kind.F32:
        return spec.shape
    block = _Q8_BLOCK if spec.kind is Kind.Q8_0 else _MXFP4_BLOCK
    return (*spec.shape[:-1], spec.shape[-1] // 32 * block.itemsize)


def _tensor(spec: TensorSpec, tokens: list[str], n_controls: int) -> npt.NDArray[np.float32] | Bytes:
    rng = np.random.default_rng([_SEED, zlib.crc32(spec.name.encode())])
    part = spec.name.removesuffix(".weight").rpartition(".")[2]
    if spec.kind is Kind.F32:
        return _plain(spec, part, rng)
    spread = 1.0 if part == "token_embd" else _GAINS.get(part, 1.0) / math.sqrt(spec.shape[-1])
    if spec.kind is Kind.MXFP4:
        blocks = _mxfp4(spec.shape, spread, rng)
        if part == "ffn_down_exps":
            blocks["values"][:, 0] = 0  # the row of every expert that would write to coordinate 0
        return blocks.view(np.uint8)
    blocks = _q8(spec.shape, spread, rng)
    if part == "attn_output":
        blocks["values"][0] = 0
    elif part == "token_embd":
        blocks["values"][:, 0, 0] = 0
        _replace(blocks, tokens.index("<|message|>"), _message(spec.shape[-1]))
    elif part == "output":
        blocks["values"][len(tokens) - n_controls :] = 0
        for label in ("0", "1"):
            message = _message(spec.shape[-1])[1:]
            row = rng.normal(0, spread * _LABEL_SPREAD, spec.shape[-1])
            row[1:] -= row[1:] @ message / (message @ message) * message
            row[0] = _LABEL_WEIGHT
            _replace(blocks, tokens.index(label), row)
    return blocks.view(np.uint8)


def _message(width: int) -> npt.NDArray[np.float64]:
    """The embedding of ``<|message|>``."""
    row = np.random.default_rng(_SEED).normal(0, 1, width)
    row[0] = _MESSAGE_WEIGHT
    return row


def _plain(spec: TensorSpec, part: str, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    if part.endswith("norm"):
        values = np.ones(spec.shape)
    elif part == "ffn_gate_inp":  # the router
        values = rng.normal(0, _GAINS.get(part, 1.0) / math.sqrt(spec.shape[-1]), spec.shape)
    else:  # biases and sinks
        values = np.zeros(spec.shape)
    return values.astype(np.float32)


def _q8(shape: tuple[int, ...], spread: float, rng: np.random.Generator) -> npt.NDArray[np.void]:
    blocks = np.empty((*shape[:-1], shape[-1] // 32), _Q8_BLOCK)
    blocks["scale"] = spread / _Q8_SPREAD
    blocks["values"] = rng.integers(-127, 128, (*blocks.shape, 32), np.int8)
    return blocks


def _mxfp4(shape: tuple[int, ...], spread: float, rng: np.random.Generator) -> npt.NDArray[np.void]:
    blocks = np.empty((*shape[:-1], shape[-1] // 32), _MXFP4_BLOCK)
    blocks["exponent"] = 127 + round(math.log2(spread / _MXFP4_SPREAD))
    blocks["values"] = rng.integers(0, 256, (*blocks.shape, 16), np.uint8)
    return blocks


def _replace(blocks: npt.NDArray[np.void], index: int, row: npt.NDArray[np.float64]) -> None:
    blocks[index] = quantize(row.astype(np.float32), Kind.Q8_0).view(_Q8_BLOCK)

"""Small GGUF files made on the spot: a random BERT classifier, the same every time."""

from __future__ import annotations

import hashlib
import json
import string
from collections.abc import Sequence
from pathlib import Path

import gguf
import numpy as np

CONTROLS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WORDS = ("the", "cat", "dog", "kill", "love", "sep", "policy", "you", "hate", "bread")
LABELS = ("hate", "violence", "pair")
N_POSITIONS = 64

_WIDTH, _INNER, _HEADS = 32, 64, 2


def write_bert(
    path: Path,
    *,
    labels: Sequence[str] = LABELS,
    pooling: gguf.PoolingType = gguf.PoolingType.RANK,
    seed: int = 7,
    words: Sequence[str] = WORDS,
) -> Path:
    """Write a one-layer BERT with random weights; ``labels`` names the outputs of its head."""
    path.parent.mkdir(exist_ok=True)
    writer = gguf.GGUFWriter(path, "bert")
    writer.add_name("random")
    writer.add_block_count(1)
    writer.add_context_length(N_POSITIONS)
    writer.add_embedding_length(_WIDTH)
    writer.add_feed_forward_length(_INNER)
    writer.add_head_count(_HEADS)
    writer.add_layer_norm_eps(1e-12)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_causal_attention(False)
    writer.add_pooling_type(pooling)
    writer.add_classifier_output_labels(list(labels))
    vocabulary = _vocabulary(words)
    writer.add_vocab_size(len(vocabulary))
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(vocabulary)
    writer.add_token_types(
        [gguf.TokenType.CONTROL if word in CONTROLS else gguf.TokenType.NORMAL for word in vocabulary]
    )
    writer.add_token_type_count(2)
    writer.add_bos_token_id(CONTROLS.index("[CLS]"))
    writer.add_eos_token_id(CONTROLS.index("[SEP]"))
    writer.add_sep_token_id(CONTROLS.index("[SEP]"))
    writer.add_unk_token_id(CONTROLS.index("[UNK]"))
    writer.add_pad_token_id(CONTROLS.index("[PAD]"))
    writer.add_mask_token_id(CONTROLS.index("[MASK]"))
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (len(vocabulary), _WIDTH),
        "position_embd.weight": (N_POSITIONS, _WIDTH),
        "token_types.weight": (2, _WIDTH),
        "token_embd_norm.weight": (_WIDTH,),
        "token_embd_norm.bias": (_WIDTH,),
        "blk.0.attn_output_norm.weight": (_WIDTH,),
        "blk.0.attn_output_norm.bias": (_WIDTH,),
        "blk.0.layer_output_norm.weight": (_WIDTH,),
        "blk.0.layer_output_norm.bias": (_WIDTH,),
        "blk.0.ffn_up.weight": (_INNER, _WIDTH),
        "blk.0.ffn_up.bias": (_INNER,),
        "blk.0.ffn_down.weight": (_WIDTH, _INNER),
        "blk.0.ffn_down.bias": (_WIDTH,),
        "cls.weight": (_WIDTH, _WIDTH),
        "cls.bias": (_WIDTH,),
        "cls.output.weight": (len(labels), _WIDTH),
        "cls.output.bias": (len(labels),),
    }
    for part in ("q", "k", "v", "output"):
        shapes[f"blk.0.attn_{part}.weight"] = (_WIDTH, _WIDTH)
        shapes[f"blk.0.attn_{part}.bias"] = (_WIDTH,)
    rng = np.random.default_rng(seed)
    for name, shape in shapes.items():
        values = rng.normal(0.0, 0.5, shape) + name.endswith("norm.weight")
        writer.add_tensor(name, values.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_metadata(gguf_path: Path, **changes: object) -> Path:
    """Write the JSON beside a GGUF; ``changes`` replace or add keys."""
    metadata: dict[str, object] = {"labels": list(LABELS), "max_tokens": 32, "stride_tokens": 24, "calibration": {}}
    path = gguf_path.with_suffix(".json")
    path.write_text(json.dumps(metadata | changes), "utf-8")
    return path


def write_second(
    gguf_path: Path,
    *,
    seed: int = 8,
    labels: Sequence[str] = ("pair",),
    words: Sequence[str] = WORDS,
    **changes: object,
) -> Path:
    """Write a GGUF's second file, for custom policies, and the JSON that names it; ``changes`` as in `write_metadata`."""
    second = write_bert(gguf_path.with_name(f"{gguf_path.stem}-pair.gguf"), labels=labels, seed=seed, words=words)
    named = {"labels": ["hate", "violence"], "pair_sha256": hashlib.sha256(second.read_bytes()).hexdigest()}
    write_metadata(gguf_path, **named | changes)
    return second


def _vocabulary(words: Sequence[str]) -> list[str]:
    # llama.cpp's word pieces mark the start of a word, where BERT's mark the continuation.
    letters = [*string.ascii_lowercase, *string.digits]
    starts = [f"▁{piece}" for piece in (*words, *letters, *string.punctuation)]
    return [*CONTROLS, *starts, *letters]


def write_turning_lora(path: Path, model: Path, labels: tuple[str, str] = ("0", "1")) -> Path:
    """Write an adapter of rank 1 for a model, behind which it says the opposite: the log-odds of two labels change their sign.

    It reads the difference of the labels' rows in the output matrix, which is the log-odds, and takes it away twice.
    """
    reader = gguf.GGUFReader(model)
    tokens: list[str] = reader.fields["tokenizer.ggml.tokens"].contents()
    (output,) = (tensor for tensor in reader.tensors if tensor.name == "output.weight")
    rows = gguf.dequantize(output.data, output.tensor_type)
    first, second = (tokens.index(label) for label in labels)
    b = np.zeros((len(rows), 1), np.float32)
    b[first], b[second] = 1.0, -1.0
    return write_lora(path, {"output.weight": ((rows[second] - rows[first])[None].astype(np.float32), b)})


def write_lora(path: Path, pairs: dict[str, tuple[np.ndarray, np.ndarray]], *, architecture: str = "gpt-oss") -> Path:
    """Write an adapter; of each tensor's name the matrices A, shape ``(rank, n_in)``, and B, shape ``(n_out, rank)``."""
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, 1.0)
    for name, (a, b) in pairs.items():
        writer.add_tensor(f"{name}.lora_a", a)
        writer.add_tensor(f"{name}.lora_b", b)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path

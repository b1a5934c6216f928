"""How attention is computed and what it keeps: the choices of a ``llama`` guard, and which of them go together.

Both change how numbers round, so both are part of whatever identifies a verdict or a kept prefix (`Attention.__str__`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

MAX_SEQUENCES = 256
"""Most sequences of one llama.cpp context (``LLAMA_MAX_SEQ``)."""


def native_sequences(n_sequences: int) -> int:
    """Sequences that a context needs in llama.cpp to keep so many: each has a keeper, and one fills batches up.

    See `models.llama.context.Context`; `MAX_SEQUENCES` is the most.
    """
    return 2 * n_sequences + 1


class FlashAttention(StrEnum):
    """Whether attention is computed in one piece, without the table of all scores (tokens × cells × heads) in memory.

    ``auto`` is llama.cpp's own choice: on wherever the device of a layer can do it. Every CPU can.
    """

    AUTO = "auto"
    ON = "on"
    OFF = "off"


class KvType(StrEnum):
    """Types of the numbers in the KV cache, by ggml's names.

    Of the types that llama.cpp takes, those for which its GPU builds have kernels without further options.
    """

    F32 = "f32"
    F16 = "f16"
    BF16 = "bf16"
    Q8_0 = "q8_0"
    Q4_0 = "q4_0"

    @property
    def quantised(self) -> bool:
        """Whether numbers share a scale, in blocks of 32."""
        return self in (KvType.Q8_0, KvType.Q4_0)


@dataclass(frozen=True, slots=True)
class Attention:
    """The choices of one guard."""

    flash: FlashAttention = FlashAttention.AUTO
    kv_type: KvType = KvType.F16

    @property
    def complaint(self) -> str | None:
        """Why they do not go together, and what would; None: they do."""
        if self.kv_type.quantised and self.flash is FlashAttention.OFF:
            # llama-context.cpp: "quantized V cache requires flash_attn to be enabled"
            return (
                f"{self.kv_type} needs flash attention, the only way in which llama.cpp reads a quantised cache: "
                "set flash_attention to auto or on, or kv_type to f16, bf16 or f32"
            )
        if self.kv_type is KvType.F32 and self.flash is not FlashAttention.OFF:
            # llama-graph.cpp, build_attn_mha: casts keys and values to F16
            return (
                "f32 needs flash_attention off: with it llama.cpp rounds the numbers to f16 each time, so that they take twice "
                "the memory and say no more; set flash_attention to off, or kv_type to f16"
            )
        return None

    def __str__(self) -> str:
        return f"kv_type {self.kv_type}, flash_attention {self.flash}"


DEFAULT_ATTENTION = Attention()

"""What a configured guard is: the plain values from which engines are built, on either side of the process boundary."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from models.attention import FlashAttention, KvType
from models.engine import Canary, Effort

ARCHITECTURES = {"encoder": "bert", "llama": "gpt-oss"}
"""What each engine runs, as GGUF files name it (``general.architecture``)."""


@dataclass(frozen=True, slots=True)
class LocalSpec:
    """A guard that runs in its own process on this machine through llama.cpp."""

    name: str
    """The guard's name in the configuration."""
    engine: str
    """``encoder`` or ``llama``."""
    model: str
    """A name of `models.catalog`, ``embedded``, or a path to a ``.gguf``."""
    lora: str | None = None
    """For ``llama``: path of a LoRA adapter (GGUF) that is laid over the model; None: none."""
    effort: Effort = Effort.LOW
    """For ``llama``: how long the model may reason."""
    reason_band: tuple[float, float] = (0.0, 1.0)
    """For ``llama``: direct scores in this range, ends included, are reasoned about."""
    reason_tokens: int | None = None
    """For ``llama``: longest trace; None: what ``effort`` says."""
    reason_s: float | None = None
    """For ``llama``: longest time to the end of a trace; None: what the deadline allows."""
    gpu_layers: int | None = None
    """Layers to put on the GPU; None: all that fit."""
    n_ctx: int = 8192
    """Tokens that one sequence may have: policy, content window and trace together (``llama``)."""
    threads: int | None = None
    """Threads for inference; None: half of the cores that this process may use, at least one."""
    batch_tokens: int = 512
    """For ``llama``: tokens of one native call."""
    flash_attention: FlashAttention = FlashAttention.AUTO
    """For ``llama``: how attention is computed."""
    kv_type: KvType = KvType.F16
    """For ``llama``: type of the numbers in the KV cache."""
    timeout_s: float = 30.0
    """Longest time for one call of `Engine.judge`; the request's own deadline may be sooner."""
    max_queue: int = 256
    """Calls that may wait; one more is `EngineOverloaded`, unless who asks has less than its share (`models.shared`)."""
    n_at_once: int = 1
    """Calls that the process takes at once: ``llama`` judges them together, ``encoder`` in turns."""
    layout: str = "auto"
    """For ``llama``: ``contexts``, ``streams`` or ``auto`` (`models.layouts`)."""
    max_policies: int = 8
    """For ``llama``: policies that are kept ready, each in a cache of its own."""
    n_policies: int | None = None
    """For ``llama``: policies that will be asked about, as far as is known; no more contexts will be made."""
    max_sequences: int = 8
    """For ``llama``: contents that are read against one policy at once."""
    max_kept: int = 8
    """For ``llama``: contents that stay in a policy's cache for those that go on."""
    kv_tokens: int | None = None
    """For ``llama``: tokens of each policy's cache; None: ``n_ctx``."""
    prefix_cache: str | None = None
    """For ``llama``: folder for policies that were read; None: they are read again after a restart."""
    max_content_tokens: int = 32768
    """More than this is `ContentTooLong`: the proxy does not judge what it could not finish."""
    sha256: str | None = None
    """Hash that the model file must have; None: the one recorded beside the file, if any."""
    check_memory: bool = True
    """Whether a model that needs more memory than there is gets refused before it is loaded."""


@dataclass(frozen=True, slots=True)
class RemoteSpec:
    """A guard behind an OpenAI-compatible ``/chat/completions``, or a classifier behind ``/moderations``."""

    name: str
    base_url: str
    model: str
    api: Literal["chat", "moderations"] = "chat"
    api_key: str | None = field(default=None, repr=False)
    timeout_s: float = 5.0
    max_connections: int = 64
    max_queue: int = 256
    """Calls that may be under way besides ``max_connections``; one more is `EngineOverloaded`."""
    max_content_chars: int = 400_000


GuardSpec = LocalSpec | RemoteSpec


@dataclass(frozen=True, slots=True)
class GuardPlan:
    """What a configuration wants of a guard: what it is, and what may change while it runs."""

    spec: GuardSpec
    canaries: tuple[Canary, ...] = field(default=(), repr=False)
    """What it has to get right before it is ready."""
    cache_entries: int = 0
    """Verdicts to remember; 0: there is no cache."""
    files: tuple[tuple[str, object], ...] = field(default=(), repr=False)
    """The files that hold its model, and what tells one state of each from another; of a server's model none are known."""

    def is_met_by(self, other: GuardPlan) -> bool:
        """Whether a guard that runs by another plan can go on by this one, with its model, its caches and its process."""
        is_same = _lasting(self.spec) == _lasting(other.spec) and self.files == other.files
        return is_same and bool(self.cache_entries) == bool(other.cache_entries)


def _lasting(spec: GuardSpec) -> GuardSpec:
    """A spec without what may change while the guard runs."""
    match spec:
        case LocalSpec():  # not max_queue: the process of a `llama` guard was told how much it takes
            return replace(spec, n_policies=None, timeout_s=1.0, check_memory=True)
        case RemoteSpec():
            return replace(spec, timeout_s=1.0, max_queue=1)

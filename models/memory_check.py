"""Whether a configured guard fits into the memory that there is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from models import catalog
from models.attention import FlashAttention, native_sequences
from models.available_memory import available_bytes, built_for_gpu, may_have_gpu
from models.errors import ModelLoadError
from models.gguf_header import HeaderError, read_header
from models.memory import VOCABULARY_BYTES, Estimate, Layout, Shape, estimate, read_shape, show_bytes
from models.specs import LocalSpec


@dataclass(frozen=True, slots=True)
class Need:
    """What a guard needs, and what there is."""

    estimate: Estimate
    available: int | None
    """In bytes; None: not known, so nothing is refused."""

    @property
    def fits(self) -> bool:
        """Whether it fits, as far as can be known."""
        return self.available is None or self.estimate.total <= self.available

    @property
    def available_text(self) -> str:
        """For people."""
        return "unknown" if self.available is None else show_bytes(self.available)

    def complaint(self, guard: str) -> str:
        """One line for a guard that does not fit."""
        return (
            f"guard {guard} needs {self.estimate} of memory, and {self.available_text} are available: "
            "take a smaller model, n_ctx, kv_tokens or max_policies, put layers on a GPU, or set check_memory to false"
        )


def look(spec: LocalSpec, path: Path) -> Need:
    """Estimate what a guard needs and look at what there is.

    Args:
        spec: How it is configured.
        path: First file of its model.

    Raises:
        models.gguf_header.HeaderError: The file's head cannot be understood.
        ModelLoadError: A file cannot be read.
    """
    shape = read_shape(read_header(path))
    try:
        weights = sum(part.stat().st_size for part in catalog.parts(path))
        second = catalog.pair_path(path)
        if has_second := spec.engine == "encoder" and second.is_file():
            weights += second.stat().st_size
        weights += Path(spec.lora).stat().st_size if spec.lora is not None else 0
    except OSError as error:
        raise ModelLoadError(f"cannot read model file {error.filename or path}: {type(error).__name__}") from None
    # a number of layers is believed, also where no GPU is seen; but without a build for one they all stay here
    share = gpu_share(spec.gpu_layers, shape.n_layers, may_use_gpu()) if built_for_gpu() else 0.0
    layout = layout_of(spec, shape)
    if has_second:
        layout = replace(layout, n_contexts=2 * layout.n_contexts)
    estimated = estimate(shape, weights, layout, gpu_share=share)
    if has_second:
        estimated = replace(estimated, process=estimated.process + VOCABULARY_BYTES * shape.n_vocab)
    return Need(estimated, available_bytes())


def more_policies(spec: LocalSpec, n_policies: int) -> str | None:
    """Why a guard that runs cannot be asked about more policies than it was loaded for; None: it can, as far as is known.

    Args:
        spec: How it runs.
        n_policies: How many it is to be asked about.
    """
    if spec.n_policies is None or n_policies <= spec.n_policies:
        return None
    try:
        path = catalog.resolve(spec.model)
        now, then = look(spec, path), look(replace(spec, n_policies=n_policies), path)
    except (HeaderError, ModelLoadError):  # it runs nevertheless
        return None
    more = then.estimate.total - now.estimate.total
    if then.available is None or more <= then.available:
        return None
    return (
        f"guard {spec.name} needs {show_bytes(more)} more memory for {n_policies} policies, and {then.available_text} are "
        "available: take a smaller n_ctx, kv_tokens or max_policies, or set check_memory to false"
    )


def layout_of(spec: LocalSpec, shape: Shape) -> Layout:
    """The contexts that a guard makes (`models.safeguard`, `models.encoder`)."""
    if spec.engine == "encoder":
        return Layout(n_cells=shape.n_ctx_train, n_sequences=1, n_batch=shape.n_ctx_train)
    n_cells = max(min(spec.n_ctx, shape.n_ctx_train), spec.kv_tokens or 0)
    on_gpu = spec.gpu_layers != 0 and may_use_gpu()
    same = Layout(
        n_cells=n_cells,
        n_sequences=native_sequences(spec.max_sequences + spec.max_kept + 1),  # and the policy's
        n_batch=spec.batch_tokens,
        kv_type=spec.kv_type,
        flash_attention=spec.flash_attention is not FlashAttention.OFF,
    )
    if spec.layout == "streams" or (spec.layout == "auto" and on_gpu):
        return replace(same, n_cells=spec.max_policies * n_cells, n_sequences=spec.max_policies, unified=False)
    return replace(same, n_contexts=min(spec.max_policies, spec.n_policies or spec.max_policies))


def may_use_gpu() -> bool:
    """Whether layers may come to lie on a GPU: there is one, and llama.cpp was built for some."""
    return may_have_gpu() and built_for_gpu()


def gpu_share(gpu_layers: int | None, n_layers: int, has_gpu: bool) -> float:
    """Part of the layers that will lie on a GPU; the output counts as one more, as llama.cpp counts.

    Args:
        gpu_layers: As configured; None: all, if there is a GPU.
        n_layers: Of the model.
        has_gpu: Whether there is one, as far as can be known.
    """
    if gpu_layers is None:
        return 1.0 if has_gpu else 0.0
    return min(gpu_layers, n_layers + 1) / (n_layers + 1)

"""Loads what a guard is configured to be. Runs in the guard process only: this is where llama.cpp comes in."""

from __future__ import annotations

import os
from pathlib import Path

from models import catalog
from models.attention import Attention
from models.encoder import EncoderJudge
from models.errors import ModelLoadError
from models.judge import InTurns, SteppedJudge
from models.safeguard import SafeguardJudge
from models.specs import LocalSpec


def load_judge(spec: LocalSpec, path: Path) -> SteppedJudge:
    """Load a model.

    Args:
        spec: How.
        path: First file of the model; its hash was verified, if one is known.

    Raises:
        ModelLoadError: It cannot be opened, is of the wrong architecture, or its metadata does not fit.
    """
    n_threads = spec.threads if spec.threads is not None else default_threads()
    if n_threads < 1 or spec.n_ctx < 1:
        raise ModelLoadError(f"guard {spec.name}: threads ({n_threads}) and n_ctx ({spec.n_ctx}) must be positive")
    name = display_name(spec, path)
    match spec.engine:
        case "encoder":
            encoder = EncoderJudge(
                path,
                name=name,
                n_threads=n_threads,
                max_content_tokens=spec.max_content_tokens,
                gpu_layers=spec.gpu_layers,
            )
            return InTurns(encoder)  # larger batches of an encoder are slower on a CPU
        case "llama":
            return SafeguardJudge(
                path,
                name=name,
                lora=Path(spec.lora) if spec.lora is not None else None,
                effort=spec.effort,
                reason_band=spec.reason_band,
                reason_tokens=spec.reason_tokens,
                reason_s=spec.reason_s,
                n_ctx=spec.n_ctx,
                n_threads=n_threads,
                max_content_tokens=spec.max_content_tokens,
                gpu_layers=spec.gpu_layers,
                layout=spec.layout,
                max_policies=spec.max_policies,
                max_sequences=spec.max_sequences,
                max_kept=spec.max_kept,
                n_cells=spec.kv_tokens,
                max_jobs=spec.n_at_once,
                batch_tokens=spec.batch_tokens,
                attention=Attention(spec.flash_attention, spec.kv_type),
                prefix_cache=Path(spec.prefix_cache) if spec.prefix_cache is not None else None,
                identity=_identity(spec, path),
            )
        case engine:
            raise ModelLoadError(f"guard {spec.name}: there is no engine {engine!r}, use encoder or llama")


def _identity(spec: LocalSpec, path: Path) -> str:
    """What identifies the model on this machine: the hash of its first file, and which state all its files are in."""
    if spec.prefix_cache is None:
        return ""
    known = spec.sha256 or catalog.recorded_sha256(path) or catalog.sha256_of(path)
    files = sorted(path.parent.glob(f"{path.stem.partition('-00001-of-')[0]}*.gguf"))
    if spec.lora is not None:
        known = f"{known} {catalog.sha256_of(Path(spec.lora))}"
    return f"{known} " + " ".join(f"{f.name} {f.stat().st_size} {f.stat().st_mtime_ns}" for f in files)


def default_threads() -> int:
    """Half of the cores that this process may use, at least one: a busy neighbour makes more threads slower, not faster."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // 2)


def display_name(spec: LocalSpec, path: Path) -> str:
    """Name and revision for the record, of an adapter too; the revision is the beginning of the file's SHA-256."""
    name = path.stem if spec.model.endswith(".gguf") else spec.model
    shown = _revised(name, path, spec.sha256 or catalog.recorded_sha256(path))
    return shown if spec.lora is None else f"{shown}+{_revised(Path(spec.lora).stem, Path(spec.lora), None)}"


def _revised(name: str, path: Path, known: str | None) -> str:
    try:
        return f"{name}@{catalog.revision(known or catalog.sha256_of(path))}"
    except OSError as error:
        raise ModelLoadError(f"cannot read model file {path}: {type(error).__name__}") from None

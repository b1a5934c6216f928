"""Which models there are, where their files lie, and whether a file is what it should be.

A model is named three ways, everywhere the same: ``embedded`` (ships with the product), a name of `HUB_MODELS`, or the
path of a ``.gguf``. Nothing is ever downloaded while serving: `pull` is the only way files come here.

llama.cpp accepts a GGUF with flipped weight bytes without a word, so the SHA-256 is the only check that counts. The
hash that a file must have is the one in the configuration or the one recorded beside it when it was pulled
(``<file>.sha256``, the format of ``sha256sum``).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import ModelLoadError
from models.gguf_header import architecture_of
from models.specs import ARCHITECTURES, GuardSpec, LocalSpec

EMBEDDED = "embedded"
EMBEDDED_PATH = Path(__file__).parent / "weights" / "embedded.gguf"
PAIR = "pair"
"""Name of the encoder's output that judges a policy without category and a content together."""

_MAGIC = b"GGUF"
_CHUNK_BYTES = 1 << 20
_REVISION_CHARS = 12
_SHARD = re.compile(r"^(?P<stem>.+)-(?P<part>\d{5})-of-(?P<parts>\d{5})\.gguf$")
_SHA256 = re.compile(r"^[0-9a-f]{64}$")


@dataclass(frozen=True, slots=True)
class HubModel:
    """A model on the Hugging Face hub."""

    name: str
    repo: str
    patterns: tuple[str, ...]
    """Globs over the repository's file names, the first that matches wins: names are looked up, not assumed."""
    description: str


HUB_MODELS: dict[str, HubModel] = {
    model.name: model
    for model in (
        # Repository and `…-Q4_K_M.gguf` are pinned in several public projects; the hub itself was not reachable when
        # this was written, so neither the list of files nor a download was tried.
        HubModel(
            "gpt-oss-safeguard-20b",
            "unsloth/gpt-oss-safeguard-20b-GGUF",
            ("*Q4_K_M*.gguf", "*MXFP4*.gguf", "*mxfp4*.gguf", "*F16*.gguf"),
            "OpenAI's open safeguard model, 21 B parameters, about 12 GB; needs 16 GB of memory",
        ),
        # Public projects serve `gpt-oss-safeguard-120b-MXFP4-00001-of-00002.gguf` of this repository (about 59 GiB in
        # two files). Not tried either, for the same reason.
        HubModel(
            "gpt-oss-safeguard-120b",
            "lmstudio-community/gpt-oss-safeguard-120b-GGUF",
            ("*MXFP4*.gguf", "*mxfp4*.gguf", "*Q4_K_M*.gguf"),
            "OpenAI's open safeguard model, 117 B parameters, about 60 GB; needs an 80 GB GPU",
        ),
    )
}


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """One line of ``safeguard models list``."""

    name: str
    description: str
    path: Path | None
    """First file, or None where the model is not here."""
    size_bytes: int
    recorded_sha256: str | None
    """Of the first file."""


@dataclass(frozen=True, slots=True)
class Verified:
    """A file whose content was hashed."""

    path: Path
    sha256: str
    recorded: bool
    """Whether there was a hash to compare with; False says only what the file's hash is."""


def models_dir() -> Path:
    """Where pulled models lie: ``SAFEGUARD_MODELS_DIR``, else ``safeguard/models`` in the user's cache."""
    if configured := os.environ.get("SAFEGUARD_MODELS_DIR"):
        return Path(configured).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME", "")  # "all paths must be absolute, otherwise ignored" (XDG base directory)
    return (Path(cache) if os.path.isabs(cache) else Path.home() / ".cache") / "safeguard" / "models"


def resolve(name_or_path: str) -> Path:
    """Find the file of a model; for a split model, its first.

    Raises:
        ModelLoadError: It is not here. The message says what to do.
    """
    if name_or_path == EMBEDDED:
        if not EMBEDDED_PATH.is_file():
            raise ModelLoadError(f"the embedded guard is missing from this installation ({EMBEDDED_PATH})")
        return EMBEDDED_PATH
    if name_or_path.endswith(".gguf"):
        path = Path(name_or_path).expanduser()
        if not path.is_file():
            raise ModelLoadError(f"model file {path} does not exist")
        _complete(path)
        return path
    if name_or_path not in HUB_MODELS:
        known = ", ".join([EMBEDDED, *HUB_MODELS])
        raise ModelLoadError(f"unknown model {name_or_path!r}: use one of {known}, or the path of a .gguf file")
    if (found := _find(name_or_path)) is None:
        raise ModelLoadError(
            f"model {name_or_path} is not in {models_dir()}: run `safeguard models pull {name_or_path}`"
        )
    _complete(found)
    return found


def check_engine(path: Path, engine: str) -> None:
    """Whether a model is one that an engine runs, by what its file says of itself.

    Raises:
        ModelLoadError: It is not, or the file is no GGUF.
    """
    check_architecture(path, architecture_of(path), engine)


def check_architecture(path: Path, found: str, engine: str) -> None:
    """The same for a model whose architecture is known.

    Raises:
        ModelLoadError: It is not one that the engine runs.
    """
    if found != ARCHITECTURES[engine]:
        raise ModelLoadError(f"{path} is a {found} model: engine {engine} runs {ARCHITECTURES[engine]} models only")


def outputs_of(path: Path) -> tuple[str, ...] | None:
    """What the JSON beside an encoder calls its outputs, with `PAIR` where a second file has that one; None: it does not say.

    Raises:
        ModelLoadError: The JSON cannot be read.
    """
    fields = _beside(path)
    labels = fields.get("labels")
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        return None
    return (*labels, *([PAIR] if fields.get("pair_sha256") else []))


def output_for(category: str | None, outputs: Collection[str]) -> str | None:
    """The output of an encoder that judges a policy; None: it has none. `PAIR` is no category that a policy can name."""
    label = PAIR if category is None else category
    return label if label in outputs and category != PAIR else None


def files_of(spec: GuardSpec) -> list[Path]:
    """The files that somebody else may put another model into: not the embedded guard's, which are this program's own.

    With an encoder's go the JSON beside it, which says what its outputs are and below which score a cascade lets content pass,
    and its second file; neither need be there.

    Raises:
        ModelLoadError: A model is not here.
    """
    if not isinstance(spec, LocalSpec) or spec.model == EMBEDDED:
        return []
    path = resolve(spec.model)
    beside = [path.with_suffix(".json"), pair_path(path)] if spec.engine == "encoder" else []
    return [*parts(path), *beside, *([] if spec.lora is None else [Path(spec.lora).expanduser()])]


def parts(path: Path) -> list[Path]:
    """All files of a model: one, or the numbered ones of a split model (``…-00001-of-00003.gguf``)."""
    match = _SHARD.match(path.name)
    if match is None:
        return [path]
    n_parts = int(match["parts"])
    names = (f"{match['stem']}-{part:05}-of-{n_parts:05}.gguf" for part in range(1, n_parts + 1))
    return [path.with_name(name) for name in names]


def pair_path(path: Path) -> Path:
    """Where the second file of an encoder lies, for custom policies; it has one if its JSON says so (``pair_sha256``)."""
    return path.with_name(f"{path.stem}-pair.gguf")


def recorded_sha256(path: Path) -> str | None:
    """The hash recorded beside a file.

    Raises:
        ModelLoadError: There is a record that cannot be read: it must not count as none.
    """
    record = path.with_name(path.name + ".sha256")
    try:
        words = record.read_text("ascii").split()
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ModelLoadError(f"cannot read the recorded hash {record}: {type(error).__name__}") from None
    if not words or not _SHA256.match(words[0].lower()):
        raise ModelLoadError(f"the recorded hash {record} is not a SHA-256")
    return words[0].lower()


def record_sha256(path: Path, sha256: str) -> None:
    """Record a file's hash beside it."""
    record = path.with_name(path.name + ".sha256")
    partial = record.with_name(record.name + ".partial")
    partial.write_text(f"{sha256}  {path.name}\n", "ascii")
    partial.replace(record)


def revision(sha256: str) -> str:
    """What stands for a file in the names of models on record: the beginning of its hash."""
    return sha256[:_REVISION_CHARS].lower()


def sha256_of(path: Path) -> str:
    """Hash a file, in lower-case hexadecimal. Takes about a second for each gigabyte."""
    hashed = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            hashed.update(chunk)
    return hashed.hexdigest()


def verify(name_or_path: str) -> list[Verified]:
    """Hash all files of a model and compare with what was recorded.

    Raises:
        ModelLoadError: A file is missing, is not a GGUF or has another hash.
    """
    first = resolve(name_or_path)
    named = _named_beside(first)
    return [_verify(path, recorded_sha256(path) or named.get(path)) for path in _all_files(first, named)]


def check(path: Path, sha256: str | None, *, verified: str | None = None) -> str:
    """Verify a model right before it is loaded; called in the guard process.

    Args:
        path: First file of the model.
        sha256: Hash that it must have; None: the recorded one, if any.
        verified: What an earlier call returned: files that did not change since are not hashed again.

    Returns:
        The state of the files (inode, size, time of change), for the next call.

    Raises:
        ModelLoadError: A file is missing, is not a GGUF or has another hash.
    """
    try:
        state = ";".join(_states(path))
        if state != verified:
            for part in parts(path):
                _verify(part, sha256.lower() if sha256 is not None and part == path else recorded_sha256(part))
    except OSError as error:
        raise ModelLoadError(f"cannot read model file {path}: {type(error).__name__}") from None
    return state


def list_models() -> list[ModelStatus]:
    """Every model that has a name, here or not."""
    statuses = []
    for name in (EMBEDDED, *HUB_MODELS):
        if name == EMBEDDED:
            description, found = "small guard that ships with the product", EMBEDDED_PATH
            path = found if found.is_file() else None
        else:
            description, path = HUB_MODELS[name].description, _find(name)
        files = [file for file in _all_files(path, _named_beside(path)) if file.is_file()] if path is not None else []
        size = sum(file.stat().st_size for file in files)
        statuses.append(ModelStatus(name, description, path, size, recorded_sha256(path) if path else None))
    return statuses


def pull(name: str, *, progress: bool = True) -> Path:
    """Download a model from the hub; see `models.download.pull`."""
    from models.download import pull as pull_from_hub  # kept apart: the proxy and the guard process never download

    return pull_from_hub(name, progress=progress)


def _all_files(path: Path, named: Mapping[Path, str]) -> list[Path]:
    """All parts of a model, and an encoder's second file where its JSON names one."""
    second = pair_path(path)
    return [*parts(path), *([second] if second in named else [])]


def _named_beside(path: Path) -> dict[Path, str]:
    """The hashes that the JSON beside an encoder gives for its files.

    Raises:
        ModelLoadError: The JSON cannot be read: it must not count as none.
    """
    given = _beside(path)
    hashes = {path: given.get("sha256"), pair_path(path): given.get("pair_sha256")}
    return {file: sha256.lower() for file, sha256 in hashes.items() if isinstance(sha256, str)}


def _beside(path: Path) -> dict[str, Any]:
    """What stands in the JSON beside an encoder; empty if there is none.

    Raises:
        ModelLoadError: It cannot be read: it must not count as none.
    """
    beside = path.with_suffix(".json")
    try:
        fields = json.loads(beside.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ModelLoadError(f"cannot read {beside}: {type(error).__name__}") from None
    return fields if isinstance(fields, dict) else {}


def _find(name: str) -> Path | None:
    """The first file of a pulled model."""
    files = sorted((models_dir() / name).glob("*.gguf"))
    firsts = {parts(file)[0] for file in files}
    if len(firsts) > 1:
        names = ", ".join(sorted(first.name for first in firsts))
        raise ModelLoadError(f"{models_dir() / name} holds several models ({names}): give the path of one")
    return firsts.pop() if firsts else None


def _complete(path: Path) -> None:
    missing = [part.name for part in parts(path) if not part.is_file()]
    if missing:
        raise ModelLoadError(f"model {path} is split and lacks {', '.join(missing)}")


def _states(path: Path) -> Iterator[str]:
    for part in parts(path):
        stat = part.stat()
        yield f"{stat.st_dev}:{stat.st_ino}:{stat.st_size}:{stat.st_mtime_ns}:{stat.st_ctime_ns}"


def _verify(path: Path, expected: str | None) -> Verified:
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise ModelLoadError(f"{path} is not a GGUF file")
    actual = sha256_of(path)
    if expected is not None and actual != expected:
        raise ModelLoadError(f"{path} has SHA-256 {actual}, expected {expected}: pull it again or correct the record")
    return Verified(path, actual, expected is not None)

"""Pulling models from the Hugging Face hub.

The file names come from the hub's own listing, and so do the SHA-256 that it keeps for large files (Git LFS); a pulled
file is hashed and compared before it gets its name. ``HF_ENDPOINT``, ``HF_TOKEN`` and the rest of `huggingface_hub`'s
settings apply.

A download that was cut off is taken up where it ended. ``hf_hub_download`` cannot do that any more (as of 2.x it writes
to a file of its own per process and deletes it on failure), hence the partial file here and ``http_get``, the function
under it, which also retries within one call and draws the progress bar.
"""

from __future__ import annotations

import contextlib
import fcntl
import fnmatch
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from models import catalog
from models.catalog import HUB_MODELS, HubModel
from models.errors import ModelLoadError

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo, RepoSibling

log = structlog.get_logger()


def pull(name: str, *, progress: bool = True) -> Path:
    """Download a model into `catalog.models_dir`, or complete a download; nothing happens if it is here already.

    Args:
        name: One of `catalog.HUB_MODELS`.
        progress: Draw a progress bar on standard error.

    Returns:
        The (first) file.

    Raises:
        ModelLoadError: Unknown name, no room, the hub cannot be reached, it has no matching file, or what came has not
            the hash that the hub announced.
    """
    if name == catalog.EMBEDDED:
        return catalog.resolve(name)
    if name not in HUB_MODELS:
        raise ModelLoadError(f"unknown model {name!r}: the models that can be pulled are {', '.join(HUB_MODELS)}")
    model = HUB_MODELS[name]
    folder = catalog.models_dir() / name
    with _in_words(f"cannot pull {name} from {model.repo}"):
        folder.mkdir(parents=True, exist_ok=True)
        with _lock(folder):
            info = _model_info(model)
            files = choose_files(model, [sibling.rfilename for sibling in info.siblings or ()])
            siblings = {sibling.rfilename: sibling for sibling in info.siblings or ()}
            pulled = [_pull_file(model, info.sha or "main", siblings[file], folder, progress) for file in files]
    return pulled[0]


def choose_files(model: HubModel, names: Sequence[str]) -> list[str]:
    """Which files of a repository make up the model, in order.

    Raises:
        ModelLoadError: None matches, or the first pattern that matches means several models.
    """
    for pattern in model.patterns:
        matching = sorted(name for name in names if fnmatch.fnmatchcase(name.rpartition("/")[2], pattern))
        firsts = sorted({str(catalog.parts(Path(name))[0]) for name in matching})
        if len(firsts) > 1:
            raise ModelLoadError(f"{model.repo} has several files like {pattern}: {', '.join(firsts)}")
        if firsts:
            wanted = [str(part) for part in catalog.parts(Path(firsts[0]))]
            if missing := sorted(set(wanted) - set(matching)):
                raise ModelLoadError(f"{model.repo} lacks {', '.join(missing)}")
            return wanted
    raise ModelLoadError(f"{model.repo} has no file like {' or '.join(model.patterns)}")


def _endpoint() -> str | None:
    """`huggingface_hub` reads the variable once, at import; a command may be told later."""
    return os.environ.get("HF_ENDPOINT", "").rstrip("/") or None


def _model_info(model: HubModel) -> ModelInfo:
    from huggingface_hub import HfApi

    return HfApi(endpoint=_endpoint()).model_info(model.repo, files_metadata=True)


def _pull_file(model: HubModel, revision: str, file: RepoSibling, folder: Path, progress: bool) -> Path:
    """Download one file, hash it, compare, and only then give it its name."""
    target = folder / Path(file.rfilename).name
    announced = file.lfs.sha256.lower() if file.lfs is not None else None
    if target.is_file() and announced is not None and catalog.sha256_of(target) == announced:
        catalog.record_sha256(target, announced)
        return target
    # Named by hash and revision: a file that has changed on the hub must not be continued with other bytes.
    partial = folder / f"{target.name}.{(announced or revision)[:16]}.partial"
    _check_room(folder, (file.size or 0) - (partial.stat().st_size if partial.exists() else 0))
    _fetch(model, revision, file, partial, progress)
    actual = catalog.sha256_of(partial)
    if announced is not None and actual != announced:
        partial.unlink()
        raise ModelLoadError(f"{file.rfilename} came with SHA-256 {actual}, the hub announced {announced}; deleted")
    if announced is None:
        log.warning("model_hash_not_announced", model=model.name, file=target.name, sha256=actual)
    catalog.record_sha256(target, actual)
    partial.replace(target)
    return target


def _fetch(model: HubModel, revision: str, file: RepoSibling, partial: Path, progress: bool) -> None:
    from huggingface_hub import hf_hub_url, utils
    from huggingface_hub.file_download import http_get

    build_headers = utils.build_hf_headers  # type: ignore[attr-defined] # exported by a module-level __getattr__
    bar: Any = utils.tqdm  # type: ignore[attr-defined] # likewise

    class Silent(bar):  # type: ignore[misc] # the base is Any: tqdm brings no types
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **{**kwargs, "disable": True})

    with partial.open("ab") as opened:
        if file.size is not None and opened.tell() > file.size:
            opened.seek(opened.truncate(0))
        http_get(
            hf_hub_url(model.repo, file.rfilename, revision=revision, endpoint=_endpoint()),
            opened,
            resume_size=opened.tell(),
            # identity: a compressed answer could not be continued
            headers={**build_headers(), "Accept-Encoding": "identity"},
            expected_size=file.size,
            displayed_filename=file.rfilename,
            tqdm_class=None if progress else Silent,
        )


def _check_room(folder: Path, n_bytes: int) -> None:
    free = shutil.disk_usage(folder).free
    if n_bytes > free:
        raise ModelLoadError(f"{folder} has {free / 1e9:.1f} GB free, {n_bytes / 1e9:.1f} GB are needed")


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Only one pull of a model at a time: two would write into one partial file."""
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ModelLoadError(f"another pull into {folder} is running") from None
        yield


@contextlib.contextmanager
def _in_words(what: str) -> Iterator[None]:
    """Turn what `huggingface_hub`, its HTTP client and the file system raise into one line."""
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        yield
    except RepositoryNotFoundError:
        raise ModelLoadError(f"{what}: the hub has no such repository, or it needs a token (HF_TOKEN)") from None
    except ModelLoadError:
        raise
    except Exception as error:  # the HTTP client under huggingface_hub is another one in each major version
        reason = str(error).strip().partition("\n")[0]
        raise ModelLoadError(f"{what}: {type(error).__name__}: {reason}; run it again to continue") from None

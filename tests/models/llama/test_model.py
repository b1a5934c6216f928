from __future__ import annotations

from pathlib import Path

import pytest

from models.errors import ModelLoadError
from models.llama.context import Context
from models.llama.model import Model
from tests.models.gguf_fixtures import N_POSITIONS
from tests.models.llama.conftest import TINY


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"not a model at all", id="no-magic"),
        pytest.param(b"GGUF\xff\xfe\xfd" + b"\x80" * 500, id="garbage-that-is-not-utf-8"),
        pytest.param(TINY.read_bytes()[:100_000], id="cut-off"),
    ],
)
def test_a_broken_file_is_a_load_error_that_says_why(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(content)
    with pytest.raises(ModelLoadError, match=r"broken.gguf: .*load"):
        Model(path)


def test_loading_is_silent(capfd: pytest.CaptureFixture[str]) -> None:
    Model(TINY).close()
    assert capfd.readouterr() == ("", "")


def test_a_model_says_what_it_is(model: Model, bert: Model) -> None:
    assert (model.architecture, model.is_classifier, model.labels) == ("gpt-oss", False, ())
    assert (bert.architecture, bert.is_classifier, bert.labels) == ("bert", True, ("hate", "violence", "pair"))
    assert bert.n_ctx_train == N_POSITIONS


def test_a_closed_model_is_not_used_again() -> None:
    loaded = Model(TINY)
    loaded.close()
    loaded.close()
    with pytest.raises(ValueError, match="closed"):
        Context(loaded, n_cells=64, n_sequences=1, n_threads=1)

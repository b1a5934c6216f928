from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from models.llama.model import Model
from models.llama.vocabulary import Vocabulary
from tests.models.gguf_fixtures import write_bert

TINY = Path(__file__).parents[2] / "data" / "tiny-gpt-oss.gguf"


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    loaded = Model(TINY)
    yield loaded
    loaded.close()


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    loaded = Model(write_bert(tmp_path_factory.mktemp("bert") / "bert.gguf"))
    yield loaded
    loaded.close()


@pytest.fixture
def vocabulary(model: Model) -> Vocabulary:
    return model.vocabulary


def after(n_questions: int) -> Callable[[], bool]:
    """A stop that says no so many times."""
    left = iter(range(n_questions))
    return lambda: next(left, None) is None

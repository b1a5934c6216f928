from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from llama_cpp import llama_cpp as native

from models.catalog import EMBEDDED_PATH
from models.errors import ModelLoadError
from models.llama.classifier import Classifier
from models.llama.errors import DecodeStopped
from models.llama.model import Model
from tests.models.gguf_fixtures import N_POSITIONS, write_bert
from tests.models.llama.conftest import after


def test_a_classifier_gives_one_number_per_label(bert: Model) -> None:
    classifier = Classifier(bert, n_tokens=32, n_threads=1)
    first, other = classifier.logits([2, 6, 3]), classifier.logits([2, 7, 3])
    np.testing.assert_array_equal(classifier.logits([2, 6, 3]), first)
    assert first.shape == (3,)
    assert not np.allclose(first, other)
    classifier.close()


@pytest.mark.parametrize("tokens", [[], [5] * 33, [-1], [10**6]], ids=["none", "too-many", "negative", "beyond"])
def test_what_a_classifier_would_choke_on_never_reaches_it(bert: Model, tokens: list[int]) -> None:
    classifier = Classifier(bert, n_tokens=32, n_threads=1)
    with pytest.raises(ValueError, match="token"):
        classifier.logits(tokens)
    classifier.close()


def test_a_stopped_classifier_is_right_the_next_time(bert: Model) -> None:
    classifier = Classifier(bert, n_tokens=32, n_threads=1)
    right = classifier.logits([2, 6, 3])
    for n_questions in (0, 1, 2):
        with pytest.raises(DecodeStopped):
            classifier.logits([2, 7, 3], after(n_questions))
    np.testing.assert_array_equal(classifier.logits([2, 6, 3]), right)
    classifier.close()


def test_only_classifiers_classify(model: Model, tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="head"):
        Classifier(model, n_tokens=32, n_threads=1)
    pooled = Model(write_bert(tmp_path / "mean.gguf", pooling=gguf.PoolingType.MEAN))
    with pytest.raises(ModelLoadError, match="head"):
        Classifier(pooled, n_tokens=32, n_threads=1)
    pooled.close()


def test_a_classifier_reads_no_further_than_its_positions(bert: Model) -> None:
    with pytest.raises(ModelLoadError, match="reads up to"):
        Classifier(bert, n_tokens=N_POSITIONS + 1, n_threads=1)


@pytest.mark.skipif(not EMBEDDED_PATH.is_file(), reason="models/weights/embedded.gguf is not here")
@pytest.mark.parametrize(("n_tokens", "n_computed"), [(35, 35), (36, 64), (63, 64), (64, 64), (65, 65)])
def test_an_encoder_reads_short_texts_without_flash_attention_and_fills_up_what_is_nearly_a_tile(
    monkeypatch: pytest.MonkeyPatch, n_tokens: int, n_computed: int
) -> None:
    sizes: list[int] = []
    contexts: list[Any] = []
    encode = native.llama_encode

    def counting(context: Any, batch: Any) -> int:
        sizes.append(batch.n_tokens)
        contexts.append(context)
        return int(encode(context, batch))

    monkeypatch.setattr(native, "llama_encode", counting)
    model = Model(EMBEDDED_PATH)
    text = (
        "The garden behind the old mill was full of pears, and nobody in the village picked a single one of them. " * 4
    )
    tokens = [101, *model.vocabulary.encode_text(text)[: n_tokens - 2], 102]
    small, classifier = (Classifier(model, n_tokens=n, n_threads=1) for n in (max(n_tokens, 63), 256))
    found = classifier.logits(tokens)
    assert sizes == [n_computed]
    assert classifier._short is not None
    assert contexts == [(classifier._short if n_tokens < 36 else classifier)._pointer]
    np.testing.assert_array_equal(classifier.logits(tokens), found)
    small._fills = False
    assert np.abs(small.logits(tokens) - found).max() < 0.2
    for handle in (small, classifier, model):
        handle.close()

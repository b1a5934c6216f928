from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from llama_cpp import llama_cpp as native

from models.engine import Effort
from models.errors import EngineTimeout, ModelLoadError
from models.labels import Float32Array
from models.llama.context import Context, Part
from models.llama.errors import ContextFull, DecodeStopped
from models.llama.model import Model
from models.llama.vocabulary import Vocabulary
from models.prompt import ASSISTANT, FORCED_FINAL, prefix_pieces
from tests.models.llama.conftest import after


@pytest.fixture
def context(model: Model) -> Iterator[Context]:
    made = Context(model, n_cells=1024, n_sequences=3, n_threads=1, n_batch=128)
    yield made
    made.close()


def read(context: Context, tokens: list[int], sequence: int) -> Float32Array:
    logits = context.decode(tokens, sequence, want_logits=True)
    assert logits is not None
    return logits


def prompt(vocabulary: Vocabulary, text: str) -> list[int]:
    return vocabulary.encode([*prefix_pieces("No cats.", Effort.NONE), text, *ASSISTANT, *FORCED_FINAL])


def test_a_copied_prefix_gives_the_logits_of_a_fresh_sequence(context: Context, vocabulary: Vocabulary) -> None:
    whole = prompt(vocabulary, "Hello there")
    cut = context.n_batch  # the same batches, so that also the rounding is the same
    fresh = read(context, whole, 0)
    context.decode(whole[:cut], 1, want_logits=False)
    for _ in range(3):
        context.remove(2)
        context.copy(1, 2)
        np.testing.assert_array_equal(read(context, whole[cut:], 2), fresh)


def test_tokens_may_come_in_any_portions(context: Context, vocabulary: Vocabulary) -> None:
    whole = prompt(vocabulary, "Hello there")
    at_once = read(context, whole, 0)
    context.decode(whole[:7], 1, want_logits=False)
    context.decode(whole[7:-1], 1, want_logits=False)
    in_parts = read(context, whole[-1:], 1)
    context.decode(whole[:7], 2, want_logits=False)
    with_a_gap = read(context, whole[-8:], 2)
    assert context.length(0) == context.length(1) == len(whole)
    assert 5 * np.abs(in_parts - at_once).max() < np.abs(with_a_gap - at_once).max()


def test_a_full_cache_is_an_error_and_leaves_the_others_alone(context: Context, vocabulary: Vocabulary) -> None:
    whole = prompt(vocabulary, "Hello")
    before = read(context, whole, 0)
    n_free = context.n_free
    with pytest.raises(ContextFull):
        context.decode([5] * (n_free + 1), 1, want_logits=False)
    assert (context.length(1), context.n_free) == (0, n_free)
    context.decode([5] * n_free, 1, want_logits=False)
    assert context.n_free == 0
    context.remove(1)
    context.remove(0)
    np.testing.assert_array_equal(read(context, whole, 0), before)


@pytest.mark.parametrize(
    "tokens", [[], [-1], [10**6], [5, 5, 2**31 - 1]], ids=["none", "negative", "beyond", "far-beyond"]
)
def test_tokens_that_llama_cpp_would_choke_on_never_reach_it(context: Context, tokens: list[int]) -> None:
    with pytest.raises(ValueError, match="token"):
        context.decode(tokens, 0, want_logits=True)
    assert context.length(0) == 0


@pytest.mark.parametrize("sequence", [-1, 3, 500])
def test_sequences_that_do_not_exist_never_reach_it(context: Context, sequence: int) -> None:
    with pytest.raises(ValueError, match="sequence"):
        context.decode([5], sequence, want_logits=False)
    with pytest.raises(ValueError, match="sequence"):
        context.remove(sequence)
    with pytest.raises(ValueError, match="sequence"):
        context.copy(0, sequence)


def test_a_copy_onto_something_never_reaches_it(context: Context) -> None:
    context.decode([5, 6], 0, want_logits=False)
    context.decode([5, 6], 1, want_logits=False)
    with pytest.raises(ValueError, match="not empty"):
        context.copy(0, 1)


def test_a_stopped_decode_leaves_its_sequence_empty_and_the_prefix_whole(
    context: Context, vocabulary: Vocabulary
) -> None:
    whole = prompt(vocabulary, "Hello there")
    context.decode(whole[:150], 1, want_logits=False)
    context.copy(1, 0)
    right = read(context, whole[150:], 0)
    for n_questions in (0, 1, 10):
        context.remove(0)
        context.copy(1, 0)
        with pytest.raises(EngineTimeout):
            context.decode([7] * 400, 0, want_logits=True, stop=after(n_questions))
        assert (context.length(0), context.length(1)) == (0, 150)
    context.copy(1, 0)
    np.testing.assert_array_equal(read(context, whole[150:], 0), right)


def test_a_stop_is_asked_in_the_middle_of_a_batch(context: Context) -> None:
    n_asked = 0

    def stop() -> bool:
        nonlocal n_asked
        n_asked += 1
        return False

    context.decode([7] * 100, 0, want_logits=False, stop=stop)
    assert n_asked > 10


def test_streams_are_not_stopped_in_the_middle_of_a_batch(model: Model) -> None:
    """After an abort llama.cpp writes a stream's tokens where another stream's place was: over what stands there."""
    streams = Context(model, n_cells=3 * 1024, n_sequences=3, n_threads=1, unified=False)
    try:
        for sequence in range(3):
            streams.decode([7] * 200, sequence, want_logits=False)
        parts = [Part(0, [8] * 300, True), Part(2, [8] * 60, True)]
        with pytest.raises(DecodeStopped):
            streams.decode_together(parts, after(0))
        assert [streams.length(sequence) for sequence in range(3)] == [200] * 3
        assert len(streams.decode_together(parts, after(1))) == 2
        for _ in range(120):
            streams.decode([9], 2, want_logits=True)
        streams.cut(2, 200)
    finally:
        streams.close()


def test_sequences_that_are_decoded_together_do_not_see_each_other(context: Context, vocabulary: Vocabulary) -> None:
    texts = [prompt(vocabulary, text)[-30:] for text in ("A pear and a plum", "The tram was late today")]
    alone = [read(context, tokens, sequence) for sequence, tokens in enumerate(texts)]
    for sequence in range(2):
        context.remove(sequence)
    parts = [Part(sequence, tokens, True) for sequence, tokens in enumerate(texts)]
    both = context.decode_together([*parts, Part(2, [5, 6], False)], lambda: False)
    assert [context.length(sequence) for sequence in range(3)] == [len(texts[0]), len(texts[1]), 2]
    for one, other in zip(alone, both, strict=True):
        assert np.abs(one - other).max() < 0.2 * np.abs(alone[0] - alone[1]).max()


def test_a_batch_that_was_stopped_leaves_all_its_sequences_as_they_were(
    context: Context, vocabulary: Vocabulary
) -> None:
    whole = prompt(vocabulary, "Hello there")
    context.decode(whole[:100], 0, want_logits=False)
    context.copy(0, 1)
    parts = [Part(1, whole[100:150], True), Part(2, whole[:60], True)]
    right = [row.copy() for row in context.decode_together(parts, lambda: False)]
    for n_questions in (0, 1, 10):
        context.cut(1, 100)
        context.cut(2, 0)
        with pytest.raises(DecodeStopped):
            context.decode_together(parts, after(n_questions))
        assert [context.length(sequence) for sequence in range(3)] == [100, 100, 0]
    for logits, again in zip(right, context.decode_together(parts, lambda: False), strict=True):
        np.testing.assert_array_equal(again, logits)


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param([], id="none"),
        pytest.param([Part(0, [], True)], id="no-tokens"),
        pytest.param([Part(0, [5], True), Part(0, [6], True)], id="a-sequence-twice"),
        pytest.param([Part(0, [5] * 100, True), Part(1, [5] * 29, True)], id="too-many-tokens"),
        pytest.param([Part(3, [5], True)], id="no-such-sequence"),
        pytest.param([Part(0, [5], True), Part(1, [10**6], True)], id="no-such-token"),
    ],
)
def test_batches_that_llama_cpp_would_choke_on_never_reach_it(context: Context, parts: list[Part]) -> None:
    with pytest.raises(ValueError, match=r"token|sequence"):
        context.decode_together(parts, lambda: False)
    assert [context.length(sequence) for sequence in range(3)] == [0, 0, 0]


def test_a_batch_for_which_there_are_not_enough_cells_changes_nothing(context: Context) -> None:
    context.decode([5] * (context.n_free - 10), 0, want_logits=False)
    with pytest.raises(ContextFull):
        context.decode_together([Part(1, [5] * 6, False), Part(2, [5] * 6, False)], lambda: False)
    assert context.n_free == 10


def test_a_restored_sequence_goes_on_exactly_like_the_saved_one(
    model: Model, context: Context, vocabulary: Vocabulary
) -> None:
    whole = prompt(vocabulary, "Hello there")
    context.decode(whole[:200], 0, want_logits=False)
    state = context.save(0)
    right = read(context, whole[200:], 0)
    other = Context(model, n_cells=1024, n_sequences=3, n_threads=1, n_batch=128)
    assert other.restore(1, state, 200)
    other.copy(1, 2)
    np.testing.assert_array_equal(read(other, whole[200:], 2), right)
    with pytest.raises(ValueError, match="not empty"):
        other.restore(1, state, 200)
    other.close()


@pytest.mark.parametrize("damage", ["empty", "cut-off", "longer", "header", "length"])
def test_a_state_that_does_not_fit_is_not_restored(context: Context, vocabulary: Vocabulary, damage: str) -> None:
    context.decode(prompt(vocabulary, "Hello there")[:200], 0, want_logits=False)
    state = context.save(0)
    broken = {
        "empty": b"",
        "cut-off": state[:-100],
        "longer": state + b"x" * 100,
        "header": bytes([state[0] ^ 1]) + state[1:],
        "length": state,
    }[damage]
    assert not context.restore(1, broken, 199 if damage == "length" else 200)
    assert (context.length(1), context.n_free) == (0, 1024 - 200)
    assert context.restore(1, state, 200)


@pytest.mark.parametrize(("n_cells", "n_sequences", "n_threads"), [(0, 1, 1), (64, 0, 1), (64, 100_000, 1), (64, 1, 0)])
def test_an_impossible_context_is_an_error(model: Model, n_cells: int, n_sequences: int, n_threads: int) -> None:
    with pytest.raises(ModelLoadError):
        Context(model, n_cells=n_cells, n_sequences=n_sequences, n_threads=n_threads)


def test_a_closed_context_is_not_used_again(model: Model) -> None:
    context = Context(model, n_cells=64, n_sequences=1, n_threads=1)
    context.close()
    context.close()
    with pytest.raises(ValueError, match="closed"):
        context.decode([5], 0, want_logits=False)


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Tokens of each native call."""
    sizes: list[int] = []
    decode = native.llama_decode

    def counted(context: Any, batch: Any) -> Any:
        sizes.append(batch.n_tokens)
        return decode(context, batch)

    monkeypatch.setattr(native, "llama_decode", counted)
    return sizes


@pytest.mark.parametrize(("n_tokens", "n_computed"), [(47, 47), (48, 64), (63, 64), (64, 64)])
def test_a_batch_that_is_nearly_a_tile_is_filled_up_and_nothing_of_that_stays(
    model: Model, computed: list[int], n_tokens: int, n_computed: int
) -> None:
    tokens = list(range(100, 100 + n_tokens))
    plain, filling = (
        Context(model, n_cells=1024, n_sequences=3, n_threads=1, n_batch=128, keeps=keeps) for keeps in (False, True)
    )
    (expected,) = plain.decode_together([Part(1, tokens, want_logits=True)], lambda: False)
    before = model.usage.n_tokens
    (logits,) = filling.decode_together([Part(1, tokens, want_logits=True)], lambda: False)
    assert (model.usage.n_tokens - before, computed[-1]) == (n_tokens, n_computed)
    assert (filling.length(1), filling.n_free) == (n_tokens, 1024 - n_tokens)
    assert np.abs(logits - expected).max() < 0.5
    assert logits.argmax() == expected.argmax()
    filling.decode_together([Part(2, tokens, want_logits=False, lasting=True)], lambda: False)
    rest = [7] * (1024 - 2 * n_tokens)
    assert filling.decode(rest, 0, want_logits=True) is not None  # all other cells are free
    plain.close()
    filling.close()


def test_a_batch_is_not_filled_where_there_is_no_room_for_it(model: Model, computed: list[int]) -> None:
    full = Context(model, n_cells=256, n_sequences=2, n_threads=1, n_batch=256, keeps=True)
    full.decode(list(range(100, 300)), 0, want_logits=False)
    full.decode(list(range(100, 156)), 1, want_logits=True)
    assert (computed, full.n_free) == ([200, 56], 0)
    full.close()

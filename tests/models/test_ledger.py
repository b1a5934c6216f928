from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.ledger import KvLedger


def test_a_copy_costs_nothing_and_keeps_its_cells_when_the_source_goes() -> None:
    ledger = KvLedger(100, 3)
    ledger.append(1, 40)
    ledger.copy(1, 0, 40)
    ledger.append(0, 10)
    assert (ledger.length(0), ledger.length(1), ledger.n_free) == (50, 40, 50)
    ledger.clear(1)
    assert (ledger.length(0), ledger.length(1), ledger.n_free) == (50, 0, 50)
    ledger.clear(0)
    assert ledger.n_free == 100


def test_a_copy_does_not_grow_with_its_source() -> None:
    ledger = KvLedger(100, 2)
    ledger.append(0, 5)
    ledger.copy(0, 1, 5)
    ledger.append(0, 5)
    assert (ledger.length(0), ledger.length(1), ledger.n_free) == (10, 5, 90)


@pytest.mark.parametrize("sequence", [-1, 2, 99])
def test_a_sequence_that_does_not_exist_is_refused(sequence: int) -> None:
    ledger = KvLedger(10, 2)
    for call in (ledger.length, ledger.clear, lambda s: ledger.append(s, 1), lambda s: ledger.copy(0, s, 0)):
        with pytest.raises(ValueError, match="sequence"):
            call(sequence)


def test_a_copy_over_another_sequence_is_refused() -> None:
    ledger = KvLedger(10, 2)
    ledger.append(0, 1)
    ledger.append(1, 1)
    for target in (0, 1):
        with pytest.raises(ValueError, match="not empty"):
            ledger.copy(0, target, 1)


def test_a_cut_goes_back_to_an_earlier_end_and_leaves_copies_whole() -> None:
    ledger = KvLedger(100, 2)
    ledger.append(0, 10)
    ledger.append(0, 5)
    ledger.copy(0, 1, 15)
    ledger.append(0, 20)
    ledger.cut(0, 10)
    assert (ledger.length(0), ledger.length(1), ledger.n_free) == (10, 15, 85)
    ledger.clear(1)
    assert ledger.n_free == 90


def test_a_copy_of_a_beginning_shares_just_that() -> None:
    ledger = KvLedger(100, 3)
    ledger.append(0, 10)
    ledger.copy(0, 1, 4)
    ledger.copy(0, 2, 7)
    ledger.cut(0, 0)
    assert (ledger.length(1), ledger.length(2), ledger.n_free) == (4, 7, 93)
    ledger.cut(2, 2)
    assert (ledger.length(1), ledger.length(2), ledger.n_free) == (4, 2, 96)
    ledger.clear(1)
    assert ledger.n_free == 98


@pytest.mark.parametrize("n_tokens", [-1, 16])
def test_a_sequence_is_not_cut_or_copied_beyond_its_ends(n_tokens: int) -> None:
    ledger = KvLedger(100, 2)
    ledger.append(0, 10)
    ledger.append(0, 5)
    with pytest.raises(ValueError, match="15 tokens"):
        ledger.cut(0, n_tokens)
    with pytest.raises(ValueError, match="15 tokens"):
        ledger.copy(0, 1, n_tokens)
    assert (ledger.length(0), ledger.n_free) == (15, 85)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 30)), max_size=40))
def test_the_books_agree_with_sets_of_cells(script: list[tuple[int, int, int]]) -> None:
    ledger, cells, fresh = KvLedger(10_000, 4), [list[int]() for _ in range(4)], itertools.count()
    for a, b, n in script:
        if a != b and not cells[b] and n <= len(cells[a]):
            ledger.copy(a, b, n)
            cells[b] = cells[a][:n]
        elif a == b and n <= len(cells[a]):
            ledger.cut(a, n)
            del cells[a][n:]
        elif n:
            ledger.append(a, n)
            cells[a] += [next(fresh) for _ in range(n)]
        assert [ledger.length(i) for i in range(4)] == [len(held) for held in cells]
        assert ledger.n_cells - ledger.n_free == len(set().union(*cells))

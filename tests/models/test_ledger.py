from __future__ import annotations

import pytest

from models.ledger import KvLedger


def test_a_copy_costs_nothing_and_keeps_its_cells_when_the_source_goes() -> None:
    ledger = KvLedger(100, 3)
    ledger.append(1, 40)
    ledger.copy(1, 0)
    ledger.append(0, 10)
    assert (ledger.length(0), ledger.length(1), ledger.n_free) == (50, 40, 50)
    ledger.clear(1)
    assert (ledger.length(0), ledger.length(1), ledger.n_free) == (50, 0, 50)
    ledger.clear(0)
    assert ledger.n_free == 100


def test_a_copy_does_not_grow_with_its_source() -> None:
    ledger = KvLedger(100, 2)
    ledger.append(0, 5)
    ledger.copy(0, 1)
    ledger.append(0, 5)
    assert (ledger.length(0), ledger.length(1), ledger.n_free) == (10, 5, 90)


@pytest.mark.parametrize("sequence", [-1, 2, 99])
def test_a_sequence_that_does_not_exist_is_refused(sequence: int) -> None:
    ledger = KvLedger(10, 2)
    for call in (ledger.length, ledger.clear, lambda s: ledger.append(s, 1), lambda s: ledger.copy(0, s)):
        with pytest.raises(ValueError, match="sequence"):
            call(sequence)


def test_a_copy_over_another_sequence_is_refused() -> None:
    ledger = KvLedger(10, 2)
    ledger.append(0, 1)
    ledger.append(1, 1)
    for target in (0, 1):
        with pytest.raises(ValueError, match="not empty"):
            ledger.copy(0, target)


def test_a_cut_goes_back_to_an_earlier_end_and_leaves_copies_whole() -> None:
    ledger = KvLedger(100, 2)
    ledger.append(0, 10)
    ledger.append(0, 5)
    ledger.copy(0, 1)
    ledger.append(0, 20)
    ledger.cut(0, 10)
    assert (ledger.length(0), ledger.length(1), ledger.n_free) == (10, 15, 85)
    ledger.clear(1)
    assert ledger.n_free == 90


@pytest.mark.parametrize("n_tokens", [-1, 3, 16])
def test_a_cut_elsewhere_is_refused_and_changes_nothing(n_tokens: int) -> None:
    ledger = KvLedger(100, 1)
    ledger.append(0, 10)
    ledger.append(0, 5)
    with pytest.raises(ValueError, match="border"):
        ledger.cut(0, n_tokens)
    assert (ledger.length(0), ledger.n_free) == (15, 85)

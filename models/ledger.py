"""Our own books of a KV cache: who holds how many cells, so that a native call that cannot fit is never made.

In a unified cache a copied sequence shares the cells of its source, and a cell is free when the last sequence lets go
of it. llama.cpp does not say how many cells are free, and answers some wrong calls with an assertion that ends the
process; the ledger is asked first.
"""

from __future__ import annotations


class _Run:
    """Cells that were decoded together; shared by every sequence that was copied afterwards."""

    def __init__(self, n_tokens: int) -> None:
        self.n_tokens = n_tokens


class KvLedger:
    """Counts the cells of one unified cache.

    Args:
        n_cells: Size of the cache.
        n_sequences: Sequence ids are ``0 … n_sequences - 1``.
    """

    def __init__(self, n_cells: int, n_sequences: int) -> None:
        self.n_cells = n_cells
        self._runs: list[list[_Run]] = [[] for _ in range(n_sequences)]

    @property
    def n_free(self) -> int:
        """Cells that no sequence holds."""
        held = {id(run): run.n_tokens for runs in self._runs for run in runs}
        return self.n_cells - sum(held.values())

    @property
    def n_sequences(self) -> int:
        """How many sequences there may be."""
        return len(self._runs)

    def length(self, sequence: int) -> int:
        """Tokens of a sequence, which is also its next position."""
        return sum(run.n_tokens for run in self._runs[self.checked(sequence)])

    def checked(self, sequence: int) -> int:
        """The id itself.

        Raises:
            ValueError: There is no such sequence.
        """
        if not 0 <= sequence < len(self._runs):
            raise ValueError(f"sequence {sequence} is not one of {len(self._runs)}")
        return sequence

    def append(self, sequence: int, n_tokens: int) -> None:
        """Note tokens that were decoded at the end of a sequence."""
        self._runs[self.checked(sequence)].append(_Run(n_tokens))

    def copy(self, source: int, target: int) -> None:
        """Note that an empty sequence became a copy of another.

        Raises:
            ValueError: The target is not empty, or is the source.
        """
        if source == target or self._runs[self.checked(target)]:
            raise ValueError(f"sequence {target} is not empty")
        self._runs[target] = list(self._runs[self.checked(source)])

    def clear(self, sequence: int) -> None:
        """Note that a sequence was removed; cells that others share stay."""
        self._runs[self.checked(sequence)] = []

"""Our own books of a KV cache: who holds how many cells, so that a native call that cannot fit is never made.

In a unified cache a copied sequence shares the cells of its source, and a cell is free when the last sequence lets go
of it. llama.cpp does not say how many cells are free, and answers some wrong calls with an assertion that ends the
process; the ledger is asked first.
"""

from __future__ import annotations


class _Run:
    """Cells that lie together in every sequence that holds them."""

    def __init__(self, n_tokens: int, n_holders: int = 1) -> None:
        self.n_tokens = n_tokens
        self.n_holders = n_holders


class KvLedger:
    """Counts the cells of one unified cache.

    Args:
        n_cells: Size of the cache.
        n_sequences: Sequence ids are ``0 … n_sequences - 1``.
    """

    def __init__(self, n_cells: int, n_sequences: int) -> None:
        self.n_cells = n_cells
        self._runs: list[list[_Run]] = [[] for _ in range(n_sequences)]
        self._lengths = [0] * n_sequences
        self._n_held = 0

    @property
    def n_free(self) -> int:
        """Cells that no sequence holds."""
        return self.n_cells - self._n_held

    @property
    def n_sequences(self) -> int:
        """How many sequences there may be."""
        return len(self._runs)

    def length(self, sequence: int) -> int:
        """Tokens of a sequence, which is also its next position."""
        return self._lengths[self.checked(sequence)]

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
        runs = self._runs[self.checked(sequence)]
        if runs and runs[-1].n_holders == 1:
            runs[-1].n_tokens += n_tokens
        else:
            runs.append(_Run(n_tokens))
        self._lengths[sequence] += n_tokens
        self._n_held += n_tokens

    def copy(self, source: int, target: int, n_tokens: int) -> None:
        """Note that an empty sequence became a copy of the first tokens of another.

        Raises:
            ValueError: The target is not empty, or is the source, or the source is shorter.
        """
        if source == target or self._runs[self.checked(target)]:
            raise ValueError(f"sequence {target} is not empty")
        self._runs[target] = self._runs[source][: self._border(source, n_tokens)]
        self._lengths[target] = n_tokens
        for run in self._runs[target]:
            run.n_holders += 1

    def clear(self, sequence: int) -> None:
        """Note that a sequence was removed; cells that others share stay."""
        self.cut(sequence, 0)

    def cut(self, sequence: int, n_tokens: int) -> None:
        """Note that a sequence was shortened to its first tokens; cells that others share stay.

        Raises:
            ValueError: It is shorter.
        """
        n_kept = self._border(sequence, n_tokens)
        runs = self._runs[sequence]
        for run in runs[n_kept:]:
            run.n_holders -= 1
            self._n_held -= 0 if run.n_holders else run.n_tokens
        del runs[n_kept:]
        self._lengths[sequence] = n_tokens

    def _border(self, sequence: int, n_tokens: int) -> int:
        """How many runs make up the first tokens of a sequence; a run is split where they end within it."""
        runs, length = self._runs[self.checked(sequence)], self._lengths[sequence]
        if not 0 <= n_tokens <= length:
            raise ValueError(f"sequence {sequence} has {length} tokens, not {n_tokens}")
        n_before = len(runs)
        while length > n_tokens:
            n_before -= 1
            length -= runs[n_before].n_tokens
        if length == n_tokens:
            return n_before
        self._split(runs[n_before], n_tokens - length)
        return n_before + 1

    def _split(self, run: _Run, n_tokens: int) -> None:
        rest = _Run(run.n_tokens - n_tokens, run.n_holders)
        run.n_tokens = n_tokens
        for runs in self._runs:
            if run in runs:
                runs.insert(runs.index(run) + 1, rest)

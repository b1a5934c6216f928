"""Policies kept ready: each prefix is read once, and every verdict continues a copy of it.

The layout, and the only place that knows it: one unified KV cache. Sequence 0 is the branch that reads a content; the
others hold one policy each and are never extended or cut back. A branch shares its policy's cells, so it costs nothing
to make. The least recently used policy goes when cells or sequences run short.

With several policies this layout is slower per verdict than a cache for each of them (0.71 of it with six policies of
512 tokens, measured on a small model: attention walks over all used cells), but it needs far less memory. Batching
will want another layout: it belongs here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from models.labels import Float32Array
from models.llama import Context, DecodeFailed

_BRANCH = 0


@dataclass(frozen=True, slots=True)
class Prefix:
    """A policy that was read."""

    sequence: int
    n_tokens: int


class PrefixCache:
    """Prefixes by key, and one branch at a time.

    Args:
        context: Owned: closed with the cache.
        n_cells: Tokens that all prefixes may have together; the rest of the context is for the branch.
        n_prefixes: How many prefixes; the context has one sequence more.
    """

    def __init__(self, context: Context, n_cells: int, n_prefixes: int) -> None:
        self._context = context
        self._n_cells = n_cells
        self._known: OrderedDict[Hashable, Prefix] = OrderedDict()
        self._free = list(range(n_prefixes, 0, -1))

    def __contains__(self, key: Hashable) -> bool:
        """Whether this prefix would cost nothing."""
        return key in self._known

    def open(self, key: Hashable, make_tokens: Callable[[], Sequence[int]], stop: Callable[[], bool]) -> Prefix:
        """Find a prefix, or read it.

        Args:
            key: What identifies its tokens.
            make_tokens: Makes them, if they are not known.
            stop: When to give up reading.

        Raises:
            DecodeFailed: It is longer than all cells for prefixes, or llama.cpp failed.
            DecodeStopped: ``stop`` said so.
        """
        if key in self._known:
            self._known.move_to_end(key)
            return self._known[key]
        tokens = make_tokens()
        if len(tokens) > self._n_cells:
            raise DecodeFailed(f"the policy has {len(tokens)} tokens, more than {self._n_cells}")
        while not self._free or self._n_used + len(tokens) > self._n_cells:
            self._forget(next(iter(self._known)))
        self._context.remove(_BRANCH)  # an old branch may hold cells of prefixes that are gone
        self._context.decode(tokens, self._free[-1], want_logits=False, stop=stop)
        prefix = self._known[key] = Prefix(self._free.pop(), len(tokens))
        return prefix

    def branch(self, prefix: Prefix) -> None:
        """Begin anew right behind a prefix."""
        self._context.remove(_BRANCH)
        self._context.copy(prefix.sequence, _BRANCH)

    def read(self, tokens: Sequence[int], stop: Callable[[], bool]) -> Float32Array:
        """Extend the branch.

        Returns:
            The logits after the last token.

        Raises:
            EngineError: As `Context.decode`; the branch is gone, prefixes are not.
        """
        logits = self._context.decode(tokens, _BRANCH, want_logits=True, stop=stop)
        assert logits is not None
        return logits

    def close(self) -> None:
        """Free the context."""
        self._context.close()

    @property
    def _n_used(self) -> int:
        return sum(prefix.n_tokens for prefix in self._known.values())

    def _forget(self, key: Hashable) -> None:
        prefix = self._known.pop(key)
        self._context.remove(prefix.sequence)
        self._free.append(prefix.sequence)

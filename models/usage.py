"""What a loaded model has computed so far; counted in the guard process, reported with its answers, shown in metrics."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Usage:
    """Counters that only grow."""

    n_calls: int = 0
    """Calls of llama.cpp …"""
    n_tokens: int = 0
    """… and the tokens that were in them, without those that only fill a batch up."""
    seconds: float = 0.0
    """Inside of llama.cpp, aborted and failed calls included."""

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.n_calls + other.n_calls, self.n_tokens + other.n_tokens, self.seconds + other.seconds)

    def follows(self, earlier: Usage) -> bool:
        """Whether this can be what ``earlier`` has become: nothing is less."""
        return self.n_calls >= earlier.n_calls and self.n_tokens >= earlier.n_tokens and self.seconds >= earlier.seconds

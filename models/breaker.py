"""A circuit breaker: a server that fails again and again is left alone for a while. Sans-I/O."""

from __future__ import annotations

import time
from collections.abc import Callable


class Breaker:
    """Closed until ``failures`` in a row; then open for ``open_s`` seconds; then one probe decides.

    The use of it: ask `allow`, and if it says yes, report exactly one of `succeeded`, `failed` and `undecided`.
    """

    def __init__(self, failures: int = 5, open_s: float = 5.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = failures
        self._open_s = open_s
        self._clock = clock
        self._failures = 0
        self._open_until = 0.0
        self._probing = False

    @property
    def closed(self) -> bool:
        """Whether a call would be allowed now."""
        return self._failures < self._limit or (self._clock() >= self._open_until and not self._probing)

    def allow(self) -> bool:
        """Whether to make a call now. Where the circuit was open, a yes makes the caller the probe."""
        if not self.closed:
            return False
        self._probing = self._failures >= self._limit
        return True

    def succeeded(self) -> None:
        """The server works."""
        self._failures = 0
        self._probing = False

    def failed(self) -> None:
        """The server could not be reached, or could not serve."""
        self._failures += 1
        self._probing = False
        if self._failures >= self._limit:
            self._open_until = self._clock() + self._open_s

    def undecided(self) -> None:
        """The call ended for a reason that says nothing about the server: the asker left, the content was refused."""
        self._probing = False

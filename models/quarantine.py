"""Contents that were being judged when a guard process died.

A text that makes the native library abort would otherwise take the guard down as often as somebody sends it, and with
it everybody else's verdicts (attacks I08). So a content whose guard died gets one more try, in case it was not to
blame; if the guard dies again, the content is refused for a while without being tried.

Where several contents were under judgement at once, none of them is blamed: all are suspects, and a suspect is judged
alone. The one that kills the guard then is the one.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

from models.engine import Passage
from models.errors import EngineError

MAX_DEATHS = 2
"""The first try and one more."""


class Quarantined(EngineError):
    """The guard process died each time it judged this content; it is not tried again for now."""

    code = "quarantined"


def digest(passages: Sequence[Passage]) -> bytes:
    """Identity of a content.

    Raises:
        UnicodeEncodeError: A text holds lone surrogates. The exception quotes it: do not let it out.
    """
    hashed = hashlib.sha256()
    for passage in passages:
        text = passage.text.encode()
        hashed.update(f"{passage.surface}\0{passage.context}\0{len(text)}\0".encode())
        hashed.update(text)
    return hashed.digest()


class Quarantine:
    """Counts deaths by content; forgets the oldest beyond ``size`` contents and all after ``forget_after_s``."""

    def __init__(
        self, size: int = 1024, forget_after_s: float = 3600.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._size = size
        self._forget_after_s = forget_after_s
        self._clock = clock
        self._deaths: OrderedDict[bytes, tuple[int, float]] = OrderedDict()

    def refuses(self, content: bytes) -> bool:
        """Whether a content has had its tries."""
        deaths, when = self._deaths.get(content, (0, self._clock()))
        if self._clock() - when > self._forget_after_s:
            del self._deaths[content]
            return False
        return deaths >= MAX_DEATHS

    def suspects(self, content: bytes) -> bool:
        """Whether a content is to be judged alone: the guard died while it judged it, and not yet lived through it."""
        return content in self._deaths

    def died(self, content: bytes, *, alone: bool = True) -> None:
        """The guard died, or had to be killed, while it judged this content, alone or among others."""
        deaths, _ = self._deaths.pop(content, (0, 0.0))
        self._deaths[content] = (deaths + alone, self._clock())
        while len(self._deaths) > self._size:
            self._deaths.popitem(last=False)

    def survived(self, content: bytes) -> None:
        """The guard judged this content and lives."""
        self._deaths.pop(content, None)

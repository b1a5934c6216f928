"""Calls whose content is not tokenised yet.

A hostile content takes seconds to tokenise (`models.llama.vocabulary`), so it is done in turns of a few milliseconds
(`models.turns`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from models.engine import Passage
from models.gathering import Call
from models.llama.vocabulary import Tokenising


@dataclass(slots=True, eq=False)
class Arrival:
    """A call that came."""

    job_id: int
    key: str
    """Who is asking."""
    passages: Sequence[Passage] = field(repr=False)
    call: Call
    content: Tokenising | None = None
    """None: it had no turn yet."""
    had_s: float = 0.0
    """Seconds of its turns."""

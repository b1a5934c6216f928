"""Windows over a content whose messages have header lines: each begins with one, and those with nothing to judge are left out.

The content is tokenised as one text, so that it is the same tokens however it is cut. Tokens of a byte-level vocabulary join to
the bytes of the text; that tells which token lies in which message. Without its header a message of which a window holds only
the end would be nobody's, and context would be judged.

Where a window begins depends on what stands before it and on ``size`` only: a conversation that grows has the same ones again.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from models.errors import EngineError
from models.llama.vocabulary import Vocabulary
from models.prompt import BETWEEN, Block

LEAST_WINDOW = 64
"""Least tokens of a window. A header has 29 at most (one for each byte), so that there is always more text than overlap."""
_OVERLAP = 8
"""Windows share one part in so many."""


class Transcript:
    """A content, as tokens and as the blocks that it was made of.

    Args:
        ids: Tokens of the blocks, joined.
        blocks: At least one.
        vocabulary: Made the tokens; byte-level.

    Raises:
        EngineError: The tokens are not those of the blocks: nobody knows what is to be judged.
    """

    def __init__(self, ids: Sequence[int], blocks: Sequence[Block], vocabulary: Vocabulary) -> None:
        self._ids = ids
        self._blocks = blocks
        self._vocabulary = vocabulary
        sizes = [[_n_bytes(block.header), _n_bytes(block.body), _n_bytes(BETWEEN)] for block in blocks]
        borders = np.cumsum([0, *np.ravel(sizes)])
        begins = np.concatenate(([0], np.cumsum(vocabulary.n_bytes[list(ids)])))  # of the tokens; then the end
        if begins[-1] != borders[-2]:
            raise EngineError(f"{len(ids)} tokens hold {begins[-1]} bytes of a content of {borders[-2]}")
        holding = np.searchsorted(begins, borders, "right") - 1
        self._headers: npt.NDArray[np.intp] = holding[:-1:3]
        """For each block the token in which its header begins …"""
        self._bodies: npt.NDArray[np.intp] = np.searchsorted(begins, borders[1::3])
        """… and the first that begins behind it."""
        self._judged = np.zeros(len(ids), np.bool_)
        """Tokens in which there is something to judge."""
        for block, first, end in zip(blocks, holding[1::3], np.searchsorted(begins, borders[2::3]), strict=True):
            if block.body and not block.context:
                self._judged[first:end] = True

    def windows(self, size: int) -> list[list[int]]:
        """Token lists that together hold every token that is to be judged.

        Each begins with a header: one of the content, or else that of the message in which it begins, once more. A lone user
        message has none.

        Args:
            size: Most tokens of each; at least `LEAST_WINDOW`.

        Returns:
            At least one.
        """
        found: list[list[int]] = []
        header: list[int] = []
        start = end = 0
        while end < len(self._ids):
            if end:
                start, header = self._next(end - size // _OVERLAP)
            end = min(start + size - len(header), len(self._ids))
            if self._judged[start:end].any():
                found.append([*header, *self._ids[start:end]])
        return found or [[*header, *self._ids[start:end]]]

    def _next(self, start: int) -> tuple[int, list[int]]:
        """Where a window that should begin at a token begins, and the header that it lacks there."""
        number = int(np.searchsorted(self._headers, start, "right")) - 1
        if start < self._bodies[number]:  # within a header
            return int(self._headers[number]), []
        return start, self._vocabulary.encode_text(self._blocks[number].header)


def _n_bytes(text: str) -> int:
    return len(text.encode("utf-8", "replace"))

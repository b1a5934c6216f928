"""The tokeniser of a model: texts of others become token ids that have no power, control tokens come by name."""

from __future__ import annotations

import ctypes
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from llama_cpp import llama_cpp as native

from models.cutting import TextCutter
from models.errors import ContentTooLong, EngineError, ModelLoadError
from models.llama.arrays import Int32Array, int32_pointer
from models.llama.errors import DecodeStopped, ForgedControl
from models.prompt import Control, Piece

_KNOWN_PIECES = 512
"""Of texts that were tokenised before; each has at most `models.cutting.MAX_PIECE_CHARS`."""


class Vocabulary:
    """The tokeniser of a model; valid as long as the model is.

    Attributes:
        n_tokens: Size of the vocabulary; ids are ``0 … n_tokens - 1``.
        special: For each id whether text must never become it (control, user-defined and unknown tokens).
        special_spellings: How those are spelled.
        n_bytes: For each id how many bytes of text it is.
    """

    def __init__(self, pointer: Any) -> None:
        self._pointer = pointer
        self.n_tokens = int(native.llama_vocab_n_tokens(pointer))
        mask = native.LLAMA_TOKEN_ATTR_CONTROL | native.LLAMA_TOKEN_ATTR_USER_DEFINED | native.LLAMA_TOKEN_ATTR_UNKNOWN
        attributes = (native.llama_vocab_get_attr(pointer, token) for token in range(self.n_tokens))
        self.special: npt.NDArray[np.bool_] = np.fromiter((bool(a & mask) for a in attributes), np.bool_, self.n_tokens)
        texts = [native.llama_vocab_get_text(pointer, int(token)) or b"" for token in np.flatnonzero(self.special)]
        self.special_spellings = tuple(text.decode("utf-8", "replace") for text in texts)
        lengths = (native.llama_token_to_piece(pointer, token, None, 0, 0, True) for token in range(self.n_tokens))
        # without room for it the answer is minus the length
        self.n_bytes: npt.NDArray[np.int64] = np.fromiter((-n for n in lengths), np.int64, self.n_tokens)
        self._cutter = TextCutter(self.special_spellings)
        self._known: OrderedDict[str, list[int]] = OrderedDict()
        self._forbidden = self.special
        if native.llama_vocab_type(pointer) == native.LLAMA_VOCAB_TYPE_WPM:
            # A BERT tokeniser answers [UNK] to characters that it does not know; that token gives no power.
            self._forbidden = self.special.copy()
            self._forbidden[self._encode("[UNK]", parse_special=True)] = False

    def encode_text(
        self, text: str, *, max_tokens: int | None = None, stop: Callable[[], bool] | None = None
    ) -> list[int]:
        """Tokenise text that others wrote; whatever it spells, no id is a control token.

        Args:
            text: Any text; lone surrogates become ``?``.
            max_tokens: Most that there may be.
            stop: Asked before each piece: a text full of forged control tokens can take seconds.

        Raises:
            ContentTooLong: There are more than ``max_tokens``.
            DecodeStopped: ``stop`` said so.
            ForgedControl: An id is a control token all the same.
        """
        ids = Tokenising(self, text, max_tokens).go_on(stop)
        if ids is None:
            raise DecodeStopped("the deadline passed while the content was tokenised")
        return ids

    def control(self, spelling: str) -> int:
        """The id of a control token.

        Raises:
            ModelLoadError: The vocabulary has no such control token.
        """
        ids = self._encode(spelling, parse_special=True)
        if len(ids) != 1 or not self.special[ids[0]]:
            raise ModelLoadError(f"the model's vocabulary has no control token {spelling}")
        return int(ids[0])

    def encode(self, pieces: Sequence[Piece]) -> list[int]:
        """Tokenise a prompt: control tokens by name, text as text."""
        ids: list[int] = []
        for piece in pieces:
            ids += [self.control(piece.spelling)] if isinstance(piece, Control) else self.encode_text(piece)
        return ids

    def text(self, ids: Sequence[int]) -> str:
        """The text of tokens, control tokens left out; broken UTF-8 becomes ``�``."""
        # llama_detokenize would write out user-defined ones, and with them most of harmony's.
        plain = np.array([token for token in ids if not self.special[self._checked(token)]], np.int32)
        room = 16 * len(plain) + 16
        while True:
            buffer = ctypes.create_string_buffer(room)
            n = native.llama_detokenize(
                self._pointer,
                int32_pointer(plain),
                len(plain),
                ctypes.cast(buffer, ctypes.c_char_p),
                room,
                False,
                False,
            )
            if n >= 0:
                return buffer.raw[:n].decode("utf-8", "replace")
            room = -n

    def is_end(self, token: int) -> bool:
        """Whether the model ends its answer with this token."""
        return bool(native.llama_vocab_is_eog(self._pointer, self._checked(token)))

    def _encode_piece(self, piece: str) -> list[int]:
        """Tokenise a piece of a text that others wrote; the whole is for `_refuse_forged` to look at."""
        # each call compiles a regular expression (0.7 ms): repeats are free, and what a text that grew began with
        if (ids := self._known.get(piece)) is None:
            ids = self._known[piece] = self._encode(piece, parse_special=False).tolist()
            if len(self._known) > _KNOWN_PIECES:
                self._known.popitem(last=False)
        self._known.move_to_end(piece)
        return ids

    def _refuse_forged(self, ids: Sequence[int]) -> None:
        if ids and self._forbidden[ids].any():
            raise ForgedControl("the content contains a control token that could not be taken apart")

    def _checked(self, token: int) -> int:
        if not 0 <= token < self.n_tokens:
            raise ValueError(f"token {token} is not one of {self.n_tokens}")
        return token

    def _encode(self, text: str, *, parse_special: bool) -> Int32Array:
        raw = text.encode("utf-8", "replace")
        ids = np.empty(len(raw) + 8, np.int32)
        n = native.llama_tokenize(self._pointer, raw, len(raw), int32_pointer(ids), len(ids), False, parse_special)
        if n < 0:
            raise EngineError(f"llama.cpp could not tokenise {len(raw)} bytes ({n})")
        return ids[:n]


class Tokenising:
    """A text of others on its way to token ids, which can be left and gone on with; nothing is done twice.

    What it holds grows up to ``max_tokens``. After an error there is no going on.

    Args:
        vocabulary: The tokeniser.
        text: See `Vocabulary.encode_text`.
        max_tokens: Most that there may be; None: any number.
    """

    def __init__(self, vocabulary: Vocabulary, text: str, max_tokens: int | None) -> None:
        self._vocabulary = vocabulary
        self._pieces = vocabulary._cutter.pieces(text)
        self._max_tokens = max_tokens
        self._ids: list[int] = []

    def go_on(self, stop: Callable[[], bool] | None = None) -> list[int] | None:
        """Go on where it was left.

        Args:
            stop: Asked before each piece, of which one can take some milliseconds.

        Returns:
            The ids of the whole text; None: ``stop`` said so, and there may be more to do.

        Raises:
            ContentTooLong: There are more than ``max_tokens``, as soon as that is known.
            ForgedControl: An id is a control token all the same.
        """
        while stop is None or not stop():
            piece = next(self._pieces, None)
            if piece is None:
                self._vocabulary._refuse_forged(self._ids)
                return self._ids
            self._ids += self._vocabulary._encode_piece(piece)
            if self._max_tokens is not None and len(self._ids) > self._max_tokens:
                raise ContentTooLong(
                    f"the content has more than {self._max_tokens} tokens, the most that this guard reads"
                )
        return None

"""Policies and contents of an exact number of tokens, never the same twice: random words that are one token each."""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Sequence

from load import BenchError

from models.engine import Effort, GuardPolicy, Passage
from models.llama.vocabulary import Vocabulary
from models.prompt import ASSISTANT, FORCED_FINAL, prefix_pieces, render_content


class Texts:
    """Writes texts for one vocabulary; the same seed gives the same ones.

    Attributes:
        suffix: Tokens between a content and its verdict (tier *direct*).
    """

    def __init__(self, vocabulary: Vocabulary, seed: int) -> None:
        self._vocabulary = vocabulary
        self._random = random.Random(seed)
        ordinary = (token for token in range(vocabulary.n_tokens) if not vocabulary.special[token])
        spelled = (vocabulary.text([token]) for token in ordinary)
        self._words = [
            w for w in spelled if len(w) > 3 and w.isascii() and w[0] == " " and w[1:].islower() and w[1:].isalpha()
        ]
        self._openings = itertools.cycle(self._random.sample(self._words, k=len(self._words)))
        self.suffix = vocabulary.encode([*ASSISTANT, *FORCED_FINAL])

    def words(self, n_tokens: int) -> str:
        """Words with a space before each: they stay ``n_tokens`` tokens behind any other words."""
        return "".join(self._random.choices(self._words, k=n_tokens))

    def content(self, n_tokens: int) -> str:
        """A content of a user. None begins like those before it, so that nobody can save anything by that."""
        text = next(self._openings) + self.words(n_tokens - 1)
        if (found := len(self.content_ids(text))) != n_tokens:
            raise BenchError(f"a content has {found} tokens, not {n_tokens}")
        return text

    def policy(self, name: str, n_tokens: int) -> GuardPolicy:
        """A policy of so many tokens.

        Raises:
            BenchError: It cannot be done.
        """
        text = f"Policy {name}: content is a violation if it names any of these."
        text += self.words(n_tokens - len(self._vocabulary.encode_text(text)))
        if (found := len(self._vocabulary.encode_text(text))) != n_tokens:
            raise BenchError(f"a policy has {found} tokens, not {n_tokens}")
        return GuardPolicy(name, hashlib.sha256(text.encode()).hexdigest()[:12], text)

    def prefix(self, policy: GuardPolicy) -> list[int]:
        """The tokens of a policy's prefix."""
        return self._vocabulary.encode(prefix_pieces(policy.text, Effort.NONE))

    def content_ids(self, content: str | Sequence[Passage]) -> list[int]:
        """The tokens of a content, as the guard reads it."""
        passages = [Passage("user", content)] if isinstance(content, str) else content
        return self._vocabulary.encode_text(render_content(passages))

    def prompt(self, policy: GuardPolicy, content: str) -> list[int]:
        """The whole prompt of one verdict."""
        return [*self.prefix(policy), *self.content_ids(content), *self.suffix]

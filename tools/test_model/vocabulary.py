"""The vocabulary of the test model: a part of o200k_base, then harmony's control tokens in their real order.

The ranks come from the npm package ``js-tiktoken`` (MIT). A byte-pair vocabulary lists its tokens in the order in which
they were merged, so any first part of it is a complete smaller vocabulary: both halves of every token have lower ranks.
The merges themselves are not listed; the two halves of a token are what the vocabulary below its rank makes of it.
Tokens of higher ranks may be kept too, if the tokens that they are merged from are kept with them: every merge on the
way to a token of o200k is one of those, and a smaller vocabulary only offers fewer wrong turns.
"""

from __future__ import annotations

import base64
import itertools
import re
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tokenizers import Regex, Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split

RANKS_PACKAGE = "js-tiktoken@1.0.21"

FIRST_CONTROL = 199_998
"""Id of the first control token in the real vocabulary; ours keep their order and their distance from it."""

NAMED_CONTROLS = {
    199_998: "<|startoftext|>",
    199_999: "<|endoftext|>",
    200_002: "<|return|>",
    200_003: "<|constrain|>",
    200_005: "<|channel|>",
    200_006: "<|start|>",
    200_007: "<|end|>",
    200_008: "<|message|>",
    200_012: "<|call|>",
    200_018: "<|endofprompt|>",
}
N_CONTROLS = 22
"""200019 is the last one that we take; the real vocabulary goes on with reserved ones up to 201087."""

CONTROLS = tuple(
    NAMED_CONTROLS.get(number, f"<|reserved_{number}|>") for number in range(FIRST_CONTROL, FIRST_CONTROL + N_CONTROLS)
)

_SPELLED_CONTROL = re.compile("|".join(re.escape(spelling) for spelling in CONTROLS))


def _printable_bytes() -> dict[int, str]:
    """GPT-2's table from bytes to printable characters, the spelling that GGUF uses for tokens."""
    kept = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    table = {byte: chr(byte) for byte in kept}
    others = (byte for byte in range(256) if byte not in table)
    return table | {byte: chr(256 + n) for n, byte in enumerate(others)}


@dataclass(frozen=True)
class Vocabulary:
    """A trimmed o200k vocabulary with harmony's control tokens behind it.

    Attributes:
        tokens: Spelling of every token, ordinary ones in GPT-2's printable form, then `CONTROLS`.
        merges: Two halves of every ordinary token that is not a byte, in rank order.
        pattern: o200k's regular expression that cuts text into words.
    """

    tokens: tuple[str, ...]
    merges: tuple[tuple[str, str], ...]
    pattern: str

    @property
    def n_ordinary(self) -> int:
        """How many tokens are ordinary text; every id from here on is a control token."""
        return len(self.tokens) - N_CONTROLS

    def control(self, spelling: str) -> int:
        """The id of a control token."""
        return self.n_ordinary + CONTROLS.index(spelling)

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        ids = {token: number for number, token in enumerate(self.tokens[: self.n_ordinary])}
        tokenizer = Tokenizer(BPE(ids, list(self.merges)))
        cut = Split(Regex(self.pattern), behavior="isolated")
        tokenizer.pre_tokenizer = Sequence([cut, ByteLevel(add_prefix_space=False, use_regex=False)])
        tokenizer.decoder = ByteLevelDecoder()
        return tokenizer

    def decode(self, ids: list[int]) -> str:
        """The text of ordinary tokens."""
        return str(self._tokenizer.decode(ids))

    def encode(self, text: str) -> tuple[list[int], list[int]]:
        """Tokenise text so that nothing in it becomes a control token.

        Spelled control tokens are cut after their first character and the pieces tokenised separately, the way the
        engine does it (llama.cpp would otherwise turn some of them into control tokens even if told not to).

        Returns:
            The token ids, and for each the position in ``text`` where it ends.
        """
        ids: list[int] = []
        ends: list[int] = []
        cuts = [0, *(match.start() + 1 for match in _SPELLED_CONTROL.finditer(text)), len(text)]
        for start, end in itertools.pairwise(cuts):
            encoding = self._tokenizer.encode(text[start:end], add_special_tokens=False)
            ids += encoding.ids
            ends += [start + stop for _, stop in encoding.offsets]
        return ids, ends


def load_vocabulary(n_first: int, wanted: Iterable[str] = (), ranks: Path | None = None) -> Vocabulary:
    """Build the trimmed vocabulary.

    Args:
        n_first: How many of the first ranks to keep, at least the 256 bytes.
        wanted: Texts that shall stay one token if they are one in o200k; what they are merged from is kept with them.
        ranks: js-tiktoken's ``o200k_base.js``; None: ask npm for it.

    Raises:
        subprocess.CalledProcessError: npm could not fetch the package.
    """
    script = ranks.read_text(encoding="utf-8") if ranks else _fetch_ranks()
    pattern = re.search(r'"pat_str":"((?:[^"\\]|\\.)*)"', script)
    listed = re.search(r'"bpe_ranks":"((?:[^"\\]|\\.)*)"', script)
    assert pattern, "not js-tiktoken's rank file"
    assert listed, "not js-tiktoken's rank file"
    by_rank: list[bytes] = []
    for line in listed[1].replace("\\n", "\n").splitlines():
        _, first_rank, *encoded = line.split(" ")
        assert int(first_rank) == len(by_rank), "ranks are not contiguous"
        by_rank += map(base64.b64decode, encoded)
    rank_of = {token: rank for rank, token in enumerate(by_rank)}

    kept = set(by_rank[:n_first])
    unsorted = [token for text in wanted if (token := text.encode()) in rank_of]
    while unsorted:
        token = unsorted.pop()
        if token not in kept:
            kept.add(token)
            unsorted += _halves(token, rank_of)
    ordinary = sorted(kept, key=rank_of.__getitem__)
    printable = _printable_bytes()

    def spell(token: bytes) -> str:
        return "".join(printable[byte] for byte in token)

    halves = [_halves(token, rank_of) for token in ordinary if len(token) > 1]
    return Vocabulary(
        tokens=(*map(spell, ordinary), *CONTROLS),
        merges=tuple((spell(left), spell(right)) for left, right in halves),
        pattern=pattern[1].replace("\\\\", "\\"),
    )


def _halves(token: bytes, rank_of: dict[bytes, int]) -> tuple[bytes, bytes]:
    """What byte-pair merging makes of a token with only the ranks below its own: always two pieces."""
    own = rank_of[token]
    pieces = [token[i : i + 1] for i in range(len(token))]
    while len(pieces) > 2:
        ranks = [rank_of.get(left + right, own) for left, right in itertools.pairwise(pieces)]
        lowest = min(range(len(ranks)), key=ranks.__getitem__)
        assert ranks[lowest] < own, f"rank {own} is not made of lower ranks"
        pieces[lowest : lowest + 2] = [pieces[lowest] + pieces[lowest + 1]]
    return pieces[0], pieces[1]


def _fetch_ranks() -> str:
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["npm", "pack", "--silent", RANKS_PACKAGE], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        with tarfile.open(next(Path(folder).glob("*.tgz"))) as package:
            member = package.extractfile("package/dist/ranks/o200k_base.js")
            assert member is not None
            return member.read().decode("utf-8")

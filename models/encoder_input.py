"""What the encoder reads: contents and policies as sequences of token ids. One place, for judging and for tuning.

One sequence is ``[CLS] content [SEP]``, or ``[CLS] policy [SEP] content [SEP]`` for a policy without category. Text and policy
are tokenised apart and put together as ids, so a literal ``[SEP]`` in a content stays text. Words that would be unknown for
what is glued to them are read (`models.readable`).

What the file's outputs mean stands in ``<stem>.json`` beside it (`Metadata`); without that file, in the GGUF itself. The
output for policies without category may have a file of its own, ``<stem>-pair.gguf``: what serves to read a content alone is
not what serves to hold it against a policy, and a small network has no room for both.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from models.catalog import PAIR, output_for, pair_path, revision, sha256_of
from models.condensing import condense
from models.engine import GuardPolicy
from models.errors import ContentTooLong, EngineError, ModelLoadError
from models.labels import Float32Array
from models.llama.model import Model
from models.llama.vocabulary import Vocabulary
from models.readable import known, readable
from models.windows import windows

READING = 3
"""How texts and policies become sequences (this module, `models.condensing`, `models.readable`); counts up where a change moves
scores."""

_KNOWN_POLICIES = 256
_OVERLAP = 4
"""Windows share one part in so many, where the metadata does not say."""

Window = tuple[int, ...]


class Calibration(BaseModel):
    """Maps an output to a probability: ``sigmoid(a * logit + b)``."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    a: FiniteFloat = Field(gt=0)
    b: FiniteFloat


class Metadata(BaseModel):
    """What stands beside the GGUF; other keys are for people."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    labels: tuple[str, ...] = Field(min_length=1)
    """The file's outputs, in their order."""
    pair_sha256: str | None = None
    """SHA-256 of the second file, whose one output is `PAIR`; None: there is no such file."""
    unions: dict[str, Annotated[tuple[str, ...], Field(min_length=1)]] = {}
    """Outputs that stand for several categories together, and which these are (`joined`)."""
    max_tokens: int = Field(ge=16)
    """Tokens that one pass reads, control tokens included."""
    stride_tokens: int = Field(ge=1)
    sha256: str | None = None
    calibration: dict[str, Calibration] = {}
    pass_below: dict[str, Annotated[FiniteFloat, Field(ge=0, le=1)]] = {}
    """Per output, the score under which hardly a violation was seen (`models.engine.Score.pass_below`)."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """Those of both files."""
        return self.labels if self.pair_sha256 is None else (*self.labels, PAIR)

    @property
    def digest(self) -> str:
        """Six hexadecimal digits over what moves a score besides the weights."""
        moves = self.model_dump(include={"labels", "unions", "max_tokens", "stride_tokens", "calibration"})
        return hashlib.sha256(json.dumps([READING, moves], sort_keys=True).encode()).hexdigest()[:6]

    def joined(self, logits: Float32Array) -> Float32Array:
        """Logits as they count: to a union's own the highest of its categories' is added.

        The output by itself knows the kind of texts that it was trained on. On others the categories rank better, each of which
        had to tell harm of one kind from all else, and the sum of both better still (model card).

        Args:
            logits: Of the first file, shape ``(..., n_outputs)``.

        Returns:
            The same shape.
        """
        result = logits.copy()
        for union, parts in self.unions.items():
            columns = [self.labels.index(label) for label in parts]
            result[..., self.labels.index(union)] += logits[..., columns].max(axis=-1)
        return result


def name_of(first: str, metadata: Metadata) -> str:
    """What a guard is called on record: whatever moves a score is in it.

    Args:
        first: Name and revision of its file.
        metadata: What stands beside it.

    Returns:
        ``NAME@REVISION``, ``+pair@REVISION`` if it has a second file, and ``~`` with `Metadata.digest`.
    """
    second = "" if metadata.pair_sha256 is None else f"+{PAIR}@{revision(metadata.pair_sha256)}"
    return f"{first}{second}~{metadata.digest}"


def policy_room(max_tokens: int) -> int:
    """Most tokens of a policy in a sequence of so many: half of them, the rest is for the content."""
    return max_tokens // 2 - 2


class EncoderInput:
    """Makes sequences of texts and policies.

    Args:
        vocabulary: The model's tokeniser.
        metadata: Says how long a sequence is, and which outputs there are.
        max_content_tokens: More is `ContentTooLong`.

    Raises:
        ModelLoadError: The vocabulary lacks a control token.
    """

    def __init__(self, vocabulary: Vocabulary, metadata: Metadata, max_content_tokens: int) -> None:
        self._vocabulary = vocabulary
        self._metadata = metadata
        self._max_content_tokens = max_content_tokens
        self._begin, self._end = vocabulary.control("[CLS]"), vocabulary.control("[SEP]")
        self._unknown = vocabulary.control("[UNK]")
        self._policies: dict[tuple[str, str | None], list[int]] = {}

    def output(self, policy: GuardPolicy, model: str) -> str:
        """The label of the output that judges a policy.

        Raises:
            EngineError: The model, named in the message, has none.
        """
        if (label := output_for(policy.category, self._metadata.outputs)) is not None:
            return label
        if policy.category is None:
            raise EngineError(f"{model} has no output for custom policies: policy {policy.name} needs another guard")
        raise EngineError(f"{model} has no category {policy.category!r}, which policy {policy.name} names")

    def encode(self, texts: Sequence[str], stop: Callable[[], bool] | None = None) -> list[list[int]]:
        """Tokenise the passages of a content.

        Raises:
            ContentTooLong: Together they have too many tokens.
            EngineError: There are none, or ``stop`` said so.
        """
        if not texts:
            raise EngineError("there is nothing to judge: every passage is context")
        encoded, room = [], self._max_content_tokens
        for text in texts:
            try:
                encoded.append(self._ids(text, room, stop))
            except ContentTooLong:
                most = self._max_content_tokens
                raise ContentTooLong(
                    f"the content has more than {most} tokens, the most that this guard reads"
                ) from None
            room -= len(encoded[-1])
        return encoded

    def policy(self, policy: GuardPolicy) -> list[int] | None:
        """A policy as the pair output reads it: its summary, or what it forbids, up to half of the window.

        None for a policy with a category: its output reads the content alone.
        """
        if policy.category is not None:
            return None
        key = (policy.text, policy.summary)
        if key not in self._policies:
            if len(self._policies) >= _KNOWN_POLICIES:
                self._policies.clear()
            room = policy_room(self._metadata.max_tokens)
            self._policies[key] = (
                condense(policy.text, room, self._ids) if policy.summary is None else self._ids(policy.summary)[:room]
            )
        return self._policies[key]

    def _ids(self, text: str, max_tokens: int | None = None, stop: Callable[[], bool] | None = None) -> list[int]:
        return known(self._vocabulary.encode_text(readable(text), max_tokens=max_tokens, stop=stop), self._unknown)

    def sequences(self, texts: Sequence[list[int]], policy: list[int] | None) -> list[Window]:
        """All that is read of a content.

        Args:
            texts: Ids of its passages.
            policy: What `policy` said.
        """
        head = [self._begin] if policy is None else [self._begin, *policy, self._end]
        size = self._metadata.max_tokens - len(head) - 1
        stride = max(1, size * self._metadata.stride_tokens // self._metadata.max_tokens)
        return [(*head, *part, self._end) for part in _parts(texts, size, stride)]


def _parts(texts: Sequence[list[int]], size: int, stride: int) -> Iterator[list[int]]:
    """Windows over each text, then those over all of them together that cross a border (line ends are no tokens)."""
    for text in texts:
        for start, end in windows(len(text), size, stride):
            yield text[start:end]
    joined = [token for text in texts for token in text]
    borders = list(accumulate(map(len, texts)))[:-1]
    for start, end in windows(len(joined), size, stride):
        if any(start < border < end for border in borders):
            yield joined[start:end]


def read_metadata(path: Path, model: Model) -> Metadata:
    """Read what stands beside a GGUF.

    Args:
        path: The GGUF.
        model: What was loaded from it.

    Raises:
        ModelLoadError: It cannot be read, or does not fit the file.
    """
    beside = path.with_suffix(".json")
    try:
        raw = beside.read_bytes()
    except FileNotFoundError:
        if pair_path(path).is_file():
            raise ModelLoadError(
                f"cannot read {beside}: there is none, though {pair_path(path).name} lies beside {path.name}: it says what "
                "their outputs mean"
            ) from None
        longest = model.n_ctx_train
        return Metadata(labels=model.labels, max_tokens=longest, stride_tokens=longest - longest // _OVERLAP)
    except OSError as error:
        raise ModelLoadError(f"cannot read {beside}: {type(error).__name__}") from None
    try:
        metadata = Metadata.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise ModelLoadError(f"{beside}: {where}: {first['msg']}") from None
    if len(metadata.labels) != len(model.labels) or len(set(metadata.labels)) != len(metadata.labels):
        raise ModelLoadError(f"{beside} names {len(metadata.labels)} labels, the model has {len(model.labels)} outputs")
    if metadata.stride_tokens > metadata.max_tokens:
        raise ModelLoadError(
            f"{beside}: stride_tokens is greater than max_tokens: text between windows would be skipped"
        )
    if metadata.sha256 is not None and sha256_of(path) != metadata.sha256.lower():
        raise ModelLoadError(f"{beside} describes another file than {path.name}: the SHA-256 differs")
    for union, parts in metadata.unions.items():
        if unknown := {union, *parts} - (set(metadata.labels) - {PAIR}):
            raise ModelLoadError(f"{beside}: unions.{union}: {min(unknown)} is none of its categories")
        if not metadata.unions.keys().isdisjoint(parts):
            raise ModelLoadError(f"{beside}: unions.{union}: its categories are no unions themselves")
    for section in ("calibration", "pass_below"):
        if unknown := getattr(metadata, section).keys() - set(metadata.outputs):
            raise ModelLoadError(f"{beside}: {section}.{min(unknown)}: is none of its labels")
    if metadata.pair_sha256 is not None:
        _check_second(beside, metadata.labels, pair_path(path), metadata.pair_sha256)
    return metadata


def _check_second(beside: Path, labels: Sequence[str], second: Path, sha256: str) -> None:
    if PAIR in labels:
        raise ModelLoadError(f"{beside}: pair_sha256: there can be no second file, {PAIR} is one of the labels")
    try:
        actual = sha256_of(second)
    except OSError as error:
        raise ModelLoadError(
            f"cannot read {second}, which {beside.name} names as the file for custom policies (pair_sha256): "
            f"{type(error).__name__}"
        ) from None
    if actual != sha256.lower():
        raise ModelLoadError(
            f"{beside}: pair_sha256: {second.name} is another file: its SHA-256 is {actual}, not {sha256}"
        )

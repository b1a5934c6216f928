"""Engine ``encoder``: a small classifier with one output per built-in category, and one for any other policy.

One pass over ``[CLS] content [SEP]`` serves every policy that names a *category*. A policy without one is judged as a
pair, ``[CLS] policy [SEP] content [SEP]``, by the output `PAIR`; that is one pass per policy. Text and policy are
tokenised apart and put together as ids, so a literal ``[SEP]`` in a content stays text.

Nothing of a content is cut: it is scored in overlapping windows and the highest score counts. Each passage is scored
alone, so that a long harmless one beside it cannot drown it, and windows across their borders are scored too, so that
a text split over two messages is seen whole. Passages marked as context are not scored: the encoder cannot read one
text in the light of another, it could only judge the context itself, which was judged when it was new.

What the file's outputs mean stands in ``<stem>.json`` beside it (`Metadata`); without that file, in the GGUF itself.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from models.catalog import sha256_of
from models.engine import GuardPolicy, Passage, Score, Tier
from models.errors import ContentTooLong, EngineError, ModelLoadError, VerdictError
from models.evidence import Evidence
from models.judge import Stop
from models.labels import Float32Array
from models.llama import Classifier, Model
from models.odds import sigmoid
from models.usage import Usage
from models.windows import windows

PAIR = "pair"
"""Name of the output that judges a policy and a content together."""

_ARCHITECTURE = "bert"
_REMEMBERED = 4096
_OVERLAP = 4
"""Windows share one part in so many, where the metadata does not say."""

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\s*\n\s*")

_Window = tuple[int, ...]


class Calibration(BaseModel):
    """Maps an output to a probability: ``sigmoid(a * logit + b)``."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    a: FiniteFloat = Field(gt=0)
    b: FiniteFloat


class Metadata(BaseModel):
    """What stands beside the GGUF; other keys are for people."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    labels: tuple[str, ...] = Field(min_length=1)
    max_tokens: int = Field(ge=16)
    """Tokens that one pass reads, control tokens included."""
    stride_tokens: int = Field(ge=1)
    sha256: str | None = None
    calibration: dict[str, Calibration] = {}
    pass_below: dict[str, Annotated[FiniteFloat, Field(ge=0, le=1)]] = {}
    """Per output, the score under which hardly a violation was seen (`models.engine.Score.pass_below`)."""


class EncoderJudge:
    """A loaded classifier that judges.

    Args:
        path: The GGUF.
        name: What `model` returns: the model's name and revision.
        n_threads: Threads for inference.
        max_content_tokens: More is `ContentTooLong`.
        gpu_layers: Layers to put on the GPU; None: all of them, if there is one.

    Raises:
        ModelLoadError: The file cannot be loaded, is not such a classifier, or its metadata does not fit.
    """

    def __init__(
        self, path: Path, *, name: str, n_threads: int, max_content_tokens: int, gpu_layers: int | None = None
    ) -> None:
        self._name = name
        self._max_content_tokens = max_content_tokens
        self._loaded = Model(path, gpu_layers)
        try:
            if self._loaded.architecture != _ARCHITECTURE or not self._loaded.is_classifier:
                raise ModelLoadError(
                    f"{path} is a {self._loaded.architecture} model"
                    f"{'' if self._loaded.is_classifier else ' without classification head'}: "
                    f"engine encoder runs {_ARCHITECTURE} classifiers (rank pooling) only"
                )
            self._metadata = _metadata(path, self._loaded)
            self._outputs = {label: i for i, label in enumerate(self._metadata.labels)}
            self._vocabulary = self._loaded.vocabulary
            self._begin, self._end = self._vocabulary.control("[CLS]"), self._vocabulary.control("[SEP]")
            classifier = Classifier(self._loaded, n_tokens=self._metadata.max_tokens, n_threads=n_threads)
        except EngineError:
            self._loaded.close()
            raise
        self._passes = _Passes(classifier)

    @property
    def model(self) -> str:
        """Name and revision of what is loaded."""
        return self._name

    @property
    def usage(self) -> Usage:
        """What was computed so far."""
        return self._loaded.usage

    def judge(
        self, passages: Sequence[Passage], policies: Sequence[GuardPolicy], stop: Stop
    ) -> list[Score | EngineError]:
        """Score one content against several policies; see `LocalJudge`.

        ``n_tokens`` and ``latency_ms`` of a category's score are those of the pass that all categories share.
        """
        try:
            texts = self._encode([passage.text for passage in passages if not passage.context], stop)
        except EngineError as error:
            return [error] * len(policies)
        categories: _Outcome | EngineError | None = None
        entries: list[Score | EngineError] = []
        for policy in policies:
            try:
                label = self._label(policy)
                if policy.category is None:
                    entries.append(self._score(label, self._read(texts, self._policy_ids(policy), stop)))
                    continue
                if categories is None:
                    try:
                        categories = self._read(texts, None, stop)
                    except EngineError as error:
                        categories = error
                entries.append(categories if isinstance(categories, EngineError) else self._score(label, categories))
            except EngineError as error:
                entries.append(error)
        return entries

    def close(self) -> None:
        """Free the model."""
        self._passes.close()
        self._loaded.close()

    def _encode(self, texts: Sequence[str], stop: Stop) -> list[list[int]]:
        if not texts:
            raise EngineError("there is nothing to judge: every passage is context")
        encoded, room = [], self._max_content_tokens
        for text in texts:
            try:
                encoded.append(self._vocabulary.encode_text(text, max_tokens=room, stop=stop))
            except ContentTooLong:
                most = self._max_content_tokens
                raise ContentTooLong(
                    f"the content has more than {most} tokens, the most that this guard reads"
                ) from None
            room -= len(encoded[-1])
        return encoded

    def _label(self, policy: GuardPolicy) -> str:
        label = PAIR if policy.category is None else policy.category
        if label in self._outputs and (policy.category is None or label != PAIR):
            return label
        if policy.category is None:
            raise EngineError(
                f"{self._name} has no output for custom policies: policy {policy.name} needs another guard"
            )
        raise EngineError(f"{self._name} has no category {policy.category!r}, which policy {policy.name} names")

    def _policy_ids(self, policy: GuardPolicy) -> list[int]:
        """The policy as the pair output reads it: its summary, or its first sentences, up to a third of the window."""
        room = self._metadata.max_tokens // 3
        if policy.summary is not None:
            return self._vocabulary.encode_text(policy.summary)[:room]
        ids: list[int] = []
        for sentence in _SENTENCE_END.split(policy.text.strip()):
            more = self._vocabulary.encode_text(sentence)
            if ids and len(ids) + len(more) > room:
                break
            ids += more
        return ids[:room]

    def _read(self, texts: Sequence[list[int]], policy: list[int] | None, stop: Stop) -> _Outcome:
        head = [self._begin] if policy is None else [self._begin, *policy, self._end]
        size = self._metadata.max_tokens - len(head) - 1
        stride = max(1, size * self._metadata.stride_tokens // self._metadata.max_tokens)
        return self._passes.read([(*head, *part, self._end) for part in _parts(texts, size, stride)], stop)

    def _score(self, label: str, outcome: _Outcome) -> Score:
        logit = float(outcome.highest[self._outputs[label]])
        fitted = self._metadata.calibration.get(label)
        return Score(
            value=sigmoid(logit) if fitted is None else sigmoid(fitted.a * logit + fitted.b),
            tier=Tier.ENCODER,
            # the pair's map was fitted over many policies at once: of any one of them it says little
            calibrated=fitted is not None and label != PAIR,
            n_tokens=outcome.n_tokens,
            latency_ms=outcome.latency_ms,
            evidence=Evidence(logit=logit),
            pass_below=self._metadata.pass_below.get(label),
        )


class _Outcome:
    """Highest logit of each output over some windows, and what they cost."""

    def __init__(self, highest: Float32Array, n_tokens: int, latency_ms: float) -> None:
        self.highest = highest
        self.n_tokens = n_tokens
        self.latency_ms = latency_ms


class _Passes:
    """Runs windows through the classifier, and remembers the last ones: a chat repeats its earlier turns.

    Remembered are hashes and outputs, no tokens.
    """

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier
        self._remembered: OrderedDict[bytes, Float32Array] = OrderedDict()

    def read(self, parts: Sequence[_Window], stop: Callable[[], bool]) -> _Outcome:
        started, n_tokens = time.perf_counter(), 0
        outputs = []
        for part in parts:
            key = hashlib.blake2b(np.array(part, np.int32).tobytes(), digest_size=16).digest()
            if (logits := self._remembered.get(key)) is None:
                logits = self._classifier.logits(part, stop)
                if not np.isfinite(logits).all():
                    raise VerdictError("the model's outputs are not finite numbers")
                n_tokens += len(part)
                self._remembered[key] = logits
            self._remembered.move_to_end(key)
            outputs.append(logits)
        while len(self._remembered) > _REMEMBERED:
            self._remembered.popitem(last=False)
        return _Outcome(np.max(outputs, axis=0), n_tokens, (time.perf_counter() - started) * 1000)

    def close(self) -> None:
        self._classifier.close()


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


def _metadata(path: Path, model: Model) -> Metadata:
    beside = path.with_suffix(".json")
    try:
        raw = beside.read_bytes()
    except FileNotFoundError:
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
    if unknown := metadata.pass_below.keys() - set(metadata.labels):
        raise ModelLoadError(f"{beside}: pass_below.{min(unknown)}: is none of its labels")
    return metadata

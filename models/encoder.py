"""Engine ``encoder``: a small classifier with one output per built-in category, and one for any other policy.

One pass over ``[CLS] content [SEP]`` serves every policy that names a *category*; a category that is the union of
others takes their outputs in (`models.encoder_input.Metadata.joined`). A policy without one is judged as a
pair, ``[CLS] policy [SEP] content [SEP]``, by the output `PAIR`; that is one pass per policy (`models.encoder_input`). The
output may be one of the file's, or have a second file of its own.

Nothing of a content is cut: it is scored in overlapping windows and the highest score counts. Each passage is scored
alone, so that a long harmless one beside it cannot drown it, and windows across their borders are scored too, so that
a text split over two messages is seen whole. Passages marked as context are not scored: the encoder cannot read one
text in the light of another, it could only judge the context itself, which was judged when it was new.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np

from models.catalog import PAIR, pair_path
from models.encoder_input import EncoderInput, Window, name_of, read_metadata
from models.engine import GuardPolicy, Passage, Score, Tier
from models.errors import EngineError, ModelLoadError, VerdictError
from models.evidence import Evidence
from models.judge import Stop, Work
from models.labels import Float32Array
from models.llama.classifier import Classifier
from models.llama.model import Model
from models.odds import sigmoid
from models.specs import ARCHITECTURES
from models.usage import Usage

_REMEMBERED = 4096


class EncoderJudge:
    """A loaded classifier that judges.

    Args:
        path: The GGUF.
        name: Of the model, with its revision; `model` adds what else moves its scores (`models.encoder_input.name_of`).
        n_threads: Threads for inference.
        max_content_tokens: More is `ContentTooLong`.
        gpu_layers: Layers to put on the GPU; None: all of them, if there is one.

    Raises:
        ModelLoadError: The file cannot be loaded, is not such a classifier, or its metadata does not fit.
    """

    def __init__(
        self, path: Path, *, name: str, n_threads: int, max_content_tokens: int, gpu_layers: int | None = None
    ) -> None:
        self._models: list[Model] = []
        with ExitStack() as stack:
            loaded = self._load(path, gpu_layers, stack)
            self._metadata = read_metadata(path, loaded)
            self._outputs = {label: i for i, label in enumerate(self._metadata.labels)}
            self._input = EncoderInput(loaded.vocabulary, self._metadata, max_content_tokens)
            self._name = name_of(name, self._metadata)
            size = self._metadata.max_tokens
            self._alone = self._pairs = _Passes(loaded, size, n_threads, self._metadata.joined, stack)
            if self._metadata.pair_sha256 is not None:
                second = self._load(pair_path(path), gpu_layers, stack)
                _check_second(pair_path(path), second, loaded)
                self._outputs[PAIR] = 0
                self._pairs = _Passes(second, size, n_threads, lambda logits: logits, stack)
            self._owned = stack.pop_all()

    def _load(self, path: Path, gpu_layers: int | None, stack: ExitStack) -> Model:
        model = stack.enter_context(closing(Model(path, gpu_layers)))
        if model.architecture != ARCHITECTURES["encoder"] or not model.is_classifier:
            raise ModelLoadError(
                f"{path} is a {model.architecture} model"
                f"{'' if model.is_classifier else ' without classification head'}: "
                f"engine encoder runs {ARCHITECTURES['encoder']} classifiers (rank pooling) only"
            )
        self._models.append(model)
        return model

    @property
    def model(self) -> str:
        """Name and revision of what is loaded."""
        return self._name

    @property
    def usage(self) -> Usage:
        """What was computed so far."""
        return sum((model.usage for model in self._models), Usage())

    def judge(
        self, passages: Sequence[Passage], policies: Sequence[GuardPolicy], stop: Stop
    ) -> list[Score | EngineError]:
        """Score one content against several policies while nothing else is under way; see `LocalJudge.work`."""
        work = self.work(passages, policies, stop)
        while True:
            try:
                next(work)
            except StopIteration as end:
                entries: list[Score | EngineError] = end.value
                return entries

    def work(self, passages: Sequence[Passage], policies: Sequence[GuardPolicy], stop: Stop) -> Work:
        """Score one content against several policies, with a turn for each pass; see `LocalJudge.work`.

        ``n_tokens`` and ``latency_ms`` of a category's score are those of the passes that all categories share.
        """
        try:
            texts = self._input.encode([passage.text for passage in passages if not passage.context], stop)
        except EngineError as error:
            return [error] * len(policies)
        categories: _Outcome | EngineError | None = None
        entries: list[Score | EngineError] = []
        for policy in policies:
            try:
                label = self._input.output(policy, self._name)
                if policy.category is None:
                    pairs = self._input.sequences(texts, self._input.policy(policy))
                    entries.append(self._score(label, (yield from self._pairs.read(pairs, stop))))
                    continue
                if categories is None:
                    try:
                        categories = yield from self._alone.read(self._input.sequences(texts, None), stop)
                    except EngineError as error:
                        categories = error
                entries.append(categories if isinstance(categories, EngineError) else self._score(label, categories))
            except EngineError as error:
                entries.append(error)
        return entries

    def close(self) -> None:
        """Free everything."""
        self._owned.close()

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


def _check_second(path: Path, second: Model, first: Model) -> None:
    if len(second.labels) != 1:
        raise ModelLoadError(f"{path} has {len(second.labels)} outputs: a file for custom policies has one")
    if second.vocabulary.n_tokens != first.vocabulary.n_tokens:
        raise ModelLoadError(
            f"{path} has {second.vocabulary.n_tokens} word pieces, the file beside it {first.vocabulary.n_tokens}: "
            "texts are cut into pieces once, for both"
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

    Args:
        model: Stays loaded as long as this lives.
        n_tokens: Longest window.
        n_threads: Threads for inference.
        joined: Makes of the file's outputs what counts.
        stack: What is to be closed goes there.
    """

    def __init__(
        self,
        model: Model,
        n_tokens: int,
        n_threads: int,
        joined: Callable[[Float32Array], Float32Array],
        stack: ExitStack,
    ) -> None:
        self._joined = joined
        self._classifier = stack.enter_context(closing(Classifier(model, n_tokens=n_tokens, n_threads=n_threads)))
        self._remembered: OrderedDict[bytes, Float32Array] = OrderedDict()

    def read(self, parts: Sequence[Window], stop: Callable[[], bool]) -> Generator[None, None, _Outcome]:
        """Run windows; yields before each that has to be computed."""
        seconds, n_tokens = 0.0, 0
        outputs = []
        for part in parts:
            key = hashlib.blake2b(np.array(part, np.int32).tobytes(), digest_size=16).digest()
            if (logits := self._remembered.get(key)) is None:
                yield
                started = time.perf_counter()
                logits = self._classifier.logits(part, stop)
                if not np.isfinite(logits).all():
                    raise VerdictError("the model's outputs are not finite numbers")
                n_tokens += len(part)
                seconds += time.perf_counter() - started
                logits = self._remembered[key] = self._joined(logits)
                while len(self._remembered) > _REMEMBERED:
                    self._remembered.popitem(last=False)
            else:
                self._remembered.move_to_end(key)
            outputs.append(logits)
        return _Outcome(np.max(outputs, axis=0), n_tokens, seconds * 1000)

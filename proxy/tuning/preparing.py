"""From contents to what a network is trained on: the sequences that the guard would read, and what must not be forgotten."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from models.catalog import PAIR, pair_path
from models.encoder_input import EncoderInput, Metadata, read_metadata
from models.engine import GuardPolicy
from models.errors import ModelLoadError
from models.llama.model import Model
from models.tuning.records import MAX_SEQUENCES, Example, Rehearsed
from proxy.config_error import ConfigError
from proxy.evaluation.judging import Subject
from proxy.tuning.splitting import Content
from rules.policy import SHIPPED, Policy, text_policy


@dataclass(frozen=True, slots=True)
class Trainee:
    """A guard's file that is to be trained.

    Attributes:
        path: Where it lies.
        outputs: Labels of its outputs, in their order.
        other: The guard's other file, which stays as it is; None: there is none.
    """

    path: Path
    outputs: tuple[str, ...]
    other: Path | None

    @property
    def is_second(self) -> bool:
        """Whether it is the second file of a guard that has two, the one for policies without category."""
        return self.other is not None and self.outputs == (PAIR,)


class Reader:
    """Reads as a file's guard does; holds the file's tokeniser until it is closed.

    Args:
        path: The GGUF.
        name: What messages call it.
        max_content_tokens: More cannot be judged.

    Raises:
        ModelLoadError: It is no encoder that can be used.
    """

    def __init__(self, path: Path, name: str, max_content_tokens: int) -> None:
        self._path, self._name = path, name
        self._model = Model(path, 0)
        try:
            if not self._model.is_classifier:
                raise ModelLoadError(f"{path} has no classification head: it is no encoder")
            self.metadata: Metadata = read_metadata(path, self._model)
            self._input = EncoderInput(self._model.vocabulary, self.metadata, max_content_tokens)
        except ModelLoadError:
            self.close()
            raise

    def close(self) -> None:
        """Free the model."""
        self._model.close()

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """See `EncoderInput.encode`."""
        return self._input.encode(texts)

    def output(self, policy: GuardPolicy) -> str:
        """See `EncoderInput.output`."""
        return self._input.output(policy, self._name)

    def trainee(self, subjects: Sequence[Subject]) -> Trainee:
        """The file whose outputs judge the policies.

        Raises:
            ConfigError: Its two files do: one run trains one file.
        """
        if self.metadata.pair_sha256 is None:
            return Trainee(self._path, self.metadata.labels, None)
        second = pair_path(self._path)
        own = [s.policy.name for s in subjects if s.policy.category is None]
        others = [s.policy.name for s in subjects if s.policy.category is not None]
        if own and others:
            raise ConfigError(
                f"--policy: {self._name} judges {own[0]} by {second.name} and {others[0]}, which has a category, by "
                f"{self._path.name}: tune them in two runs, the second one beginning with what the first has made"
            )
        return Trainee(second, (PAIR,), self._path) if own else Trainee(self._path, self.metadata.labels, second)

    def examples(
        self, contents: Sequence[Content], subjects: Sequence[Subject], outputs: Sequence[str]
    ) -> list[Example]:
        """What can be trained on: an example for each content and policy with a label, too long contents left out.

        Args:
            contents: They.
            subjects: The policies.
            outputs: Of the file that is trained.
        """
        made = []
        for subject in subjects:
            policy = subject.policy.for_guard()
            output, ids = outputs.index(self.output(policy)), self._input.policy(policy)
            for content in contents:
                if subject.label not in content.labels:
                    continue
                sequences = self._input.sequences(content.texts, ids)
                if len(sequences) <= MAX_SEQUENCES:
                    made.append(Example(sequences, output, content.labels[subject.label], subject.policy.name))
        return made

    def rehearsed(
        self,
        contents: Sequence[Content],
        subjects: Sequence[Subject],
        policies: Sequence[Policy],
        outputs: Sequence[str],
        seed: int,
    ) -> list[Rehearsed]:
        """Sequences on which answers must stay what they are: each content alone, and beside a policy that is not trained.

        Args:
            contents: Some; of a long one the first window.
            subjects: What is trained.
            policies: What else may be judged with the pair output; a content gets one of them.
            outputs: Of the file that is trained.
            seed: Deals them out.
        """
        trained = {self.output(subject.policy.for_guard()) for subject in subjects}
        alone = tuple(i for i, label in enumerate(outputs) if label != PAIR and label not in trained)
        pair = (outputs.index(PAIR),) if PAIR in outputs else ()
        heads = [self._input.policy(policy.for_guard()) for policy in policies] if pair else []
        rng = random.Random(seed)
        made = []
        for content in contents:
            if alone:
                made.append(Rehearsed(self._input.sequences(content.texts, None)[0], alone))
            if heads:
                made.append(Rehearsed(self._input.sequences(content.texts, rng.choice(heads))[0], pair))
        return made


def other_policies(configured: Mapping[str, Policy], subjects: Sequence[Subject]) -> list[Policy]:
    """Policies that the pair output must go on to know: those of the configuration and the shipped ones, not those trained."""
    shipped = [text_policy(path.stem, path.read_text(encoding="utf-8")) for path in sorted(SHIPPED.glob("*.md"))]
    trained = {subject.policy.text for subject in subjects}
    found = {p.text: p for p in (*shipped, *configured.values()) if p.detector is None and p.text not in trained}
    # without their category, so that it is the pair output that judges them
    return [replace(policy, category=None) for policy in found.values()]

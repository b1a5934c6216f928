"""What `safeguard tune` has come to: everything that its files and its last words tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from models.catalog import revision
from models.encoder_input import Metadata, name_of
from models.tuning.records import Parity, Settings, Trained
from proxy.evaluation.judging import Subject
from proxy.evaluation.metrics import known
from proxy.tuning.measuring import Answer, Comparison, Drift, Options
from proxy.tuning.splitting import Content, Contents, Part, count


@dataclass(frozen=True, slots=True)
class Base:
    """The guard that is tuned.

    Attributes:
        guard: Its name in the configuration.
        path: Its GGUF.
        sha256: Of that file.
        max_content_tokens: Longer contents cannot be judged.
    """

    guard: str
    path: Path
    sha256: str
    max_content_tokens: int


@dataclass(frozen=True, slots=True)
class Fit:
    """How training went.

    Attributes:
        settings: How it was to be done.
        trained: Its epochs.
        n_examples: Contents and policies that were trained on.
        n_too_long: Those that were not, because they have too many windows.
        n_rehearsed: Sequences on which answers were to stay.
        parity: Of the written file with torch.
        drift: How far other answers have gone; None where there are none.
        device: Where it was done.
        torch: Version.
        seconds: How long it took.
    """

    settings: Settings
    trained: Trained
    n_examples: int
    n_too_long: int
    n_rehearsed: int
    parity: Parity
    drift: Drift | None
    device: str
    torch: str
    seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class Tuned:
    """All of it.

    Attributes:
        name: Of the new model.
        folder: Where it lies, as the configuration would say it.
        metadata: What stands beside the new GGUF, its hash and that of its second file among it.
        base: What it was made of.
        data: Files of rows.
        subjects: The policies.
        hashes: Of the rows and labels, by name of the policy.
        contents: What the rows say, each once.
        parts: The same, dealt out.
        fit: How training went.
        comparisons: Tuned against base, by name of the policy.
        options: How they were measured.
    """

    name: str
    folder: Path
    metadata: Metadata
    base: Base
    data: Sequence[Path]
    subjects: Sequence[Subject]
    hashes: Mapping[str, str]
    contents: Contents
    parts: Mapping[Part, Sequence[Content]] = field(repr=False)
    fit: Fit
    comparisons: Mapping[str, Comparison]
    options: Options

    @property
    def sha256(self) -> str:
        """Of the new GGUF."""
        assert self.metadata.sha256 is not None
        return self.metadata.sha256

    @property
    def model(self) -> str:
        """What verdicts call it (`models.encoder.EncoderJudge.model`)."""
        return name_of(f"{self.name}@{revision(self.sha256)}", self.metadata)

    @property
    def is_better(self) -> bool:
        """Whether it is, on every policy."""
        return all(c.answer is Answer.BETTER for c in self.comparisons.values())

    def counts(self, subject: Subject) -> Mapping[Part, tuple[int, int]]:
        """Violations and others in each part."""
        return {part: count(those, subject.label) for part, those in self.parts.items()}

    def record(self) -> dict[str, Any]:
        """Everything but the rows, as JSON."""
        fit = self.fit
        return {
            "name": self.name,
            "model": self.model,
            "sha256": self.sha256,
            "pair_sha256": self.metadata.pair_sha256,
            "base": {"guard": self.base.guard, "file": self.base.path.name, "sha256": self.base.sha256},
            "data": [path.name for path in self.data],
            "contents": {
                "used": len(self.contents.kept),
                "repeated_rows": self.contents.n_repeated,
                "contradicting_rows": list(self.contents.contradicting),
                "unreadable_rows": list(self.contents.unreadable),
                "too_long_to_train_on": fit.n_too_long,
            },
            "training": {
                **asdict(fit.settings),
                "device": fit.device,
                "torch": fit.torch,
                "seconds": round(fit.seconds, 1),
                "examples": fit.n_examples,
                "rehearsed": fit.n_rehearsed,
                "best_epoch": fit.trained.best,
                "by_epoch": [
                    {
                        "epoch": e.number,
                        "training_loss": known(e.training_loss),
                        "validation_loss": known(e.validation_loss),
                        "rehearsal_loss": known(e.rehearsal_loss),
                    }
                    for e in fit.trained.epochs
                ],
            },
            "parity": {**asdict(fit.parity)},
            "drift": None if fit.drift is None else fit.drift.record(),
            "measured": asdict(self.options),
            "policies": {
                s.policy.name: {
                    "revision": s.policy.revision,
                    "label": s.label,
                    "category": s.policy.category,
                    "data_sha256": self.hashes[s.policy.name],
                    "parts": {
                        part.value: {"violations": n, "others": others} for part, (n, others) in self.counts(s).items()
                    },
                    **self.comparisons[s.policy.name].record(),
                }
                for s in self.subjects
            },
        }

"""The model card of tuned weights: what they were made of and how good they are, for people."""

from __future__ import annotations

import math
from collections.abc import Iterator

from proxy.evaluation import report
from proxy.evaluation.judging import Subject
from proxy.evaluation.metrics import Interval
from proxy.tuning.measuring import Answer
from proxy.tuning.outcome import Tuned
from proxy.tuning.splitting import Part

_FAR = 0.02
"""Share of answers about other policies that moved by more than 0.1, from which on it is said."""


def warnings(tuned: Tuned) -> list[str]:
    """What speaks against using it; each one line."""
    found = []
    for name, comparison in tuned.comparisons.items():
        gain = comparison.gains["auprc"]
        if comparison.answer is not Answer.BETTER:
            auroc = comparison.measured[-1].figures["auroc"]
            chance = "" if auroc.low > 0.5 else f"; its AUROC of {_figure(auroc)} may be chance"
            found.append(
                f"{name}: the tuned guard is {comparison.answer.value} than its base on the held-out rows "
                f"(AUPRC {_signed(gain)}{chance})"
            )
        found += [f"{name}: not calibrated: {problem}" for problem in comparison.judged.problems]
    drift = tuned.fit.drift
    if drift is not None and drift.far > _FAR:
        found.append(
            f"{drift.far:.1%} of the answers about other policies differ from the base's by more than 0.1; "
            "raise --rehearsal, or keep the base as a guard of its own for those policies"
        )
    if tuned.contents.contradicting:
        found.append(
            f"{len(tuned.contents.contradicting)} rows were left out: the same content has both labels (their ids: "
            "contradicting_rows in evaluation.json)"
        )
    return found


def configuration(tuned: Tuned) -> str:
    """The lines with which it is used."""
    folder = tuned.folder
    policies = [
        f"  {name}: {{…, calibration: {folder / calibration_name(name)}}}"
        for name, comparison in tuned.comparisons.items()
        if comparison.judged.calibrations
    ]
    lines = ["guards:", f"  {tuned.name}: {{engine: encoder, model: {folder / tuned.name}.gguf}}"]
    return "\n".join([*lines, *(["policies:", *policies] if policies else [])]) + "\n"


def calibration_name(policy: str) -> str:
    """The file with the calibration of a policy."""
    return f"{policy.replace('/', '-')}.calibration.json"


def card(tuned: Tuned) -> str:
    """The whole card, Markdown."""
    return "\n".join([*_head(tuned), *_data(tuned), *_figures(tuned), *_training(tuned)]) + "\n"


def _head(tuned: Tuned) -> Iterator[str]:
    yield f"# Model card: {tuned.name}"
    yield ""
    yield (
        f"`{tuned.name}.gguf` (SHA-256 `{tuned.sha256}`) is `{tuned.base.path.name}` (SHA-256 `{tuned.base.sha256}`), "
        f"trained further by `safeguard tune` on labelled rows for {_listed(tuned)}."
    )
    yield "The limits of the base hold for it too: a small encoder reacts to words; it is a first filter, not a judge."
    yield ""
    for warning in warnings(tuned):
        yield f"**Warning: {warning}.**"
        yield ""
    yield "It is used like this:"
    yield ""
    yield "```yaml"
    yield configuration(tuned).rstrip("\n")
    yield "```"
    yield ""
    yield (
        f"Verdicts name it `{tuned.model}`, and the calibrations hold for exactly this name, these weights "
        "and these revisions of the policies. Calibrations of the base do not hold for it."
    )
    yield ""


def _listed(tuned: Tuned) -> str:
    return ", ".join(f"`{s.policy.name}` (revision {s.policy.revision}, {_output(s)})" for s in tuned.subjects)


def _output(subject: Subject) -> str:
    category = subject.policy.category
    return "the output for custom policies" if category is None else f"the output `{category}`"


def _data(tuned: Tuned) -> Iterator[str]:
    contents = tuned.contents
    yield "## Data"
    yield ""
    yield f"Rows of {', '.join(f'`{path.name}`' for path in tuned.data)}. Violations / other contents:"
    yield ""
    yield f"| policy | SHA-256 of contents and labels | {' | '.join(part.value for part in Part)} |"
    yield f"|---|---|{'---|' * len(Part)}"
    for subject in tuned.subjects:
        counts = tuned.counts(subject)
        cells = " | ".join("{} / {}".format(*counts[part]) for part in Part)
        yield f"| {subject.policy.name} | `{tuned.hashes[subject.policy.name]}` | {cells} |"
    yield ""
    yield (
        f"{len(contents.kept)} contents, each once: {contents.n_repeated} rows repeat another (as the encoder reads them: case "
        f"and spaces do not count). Left out: {len(contents.contradicting)} rows whose content has both labels, "
        f"{len(contents.unreadable)} that the guard cannot read, and from training alone {tuned.fit.n_too_long} too long ones."
    )
    yield (
        "The parts were dealt out by content and label. Contents that resemble each other without being the same, e.g. "
        "from one template, can lie in several parts and make the figures better than they will be on new traffic."
    )
    yield ""


def _figures(tuned: Tuned) -> Iterator[str]:
    options = tuned.options
    yield "## Held-out rows"
    yield ""
    yield (
        "Both guards judged them as they serve, through llama.cpp. *base* has the calibration that it came with or was "
        "configured with; *base, calibrated* and *tuned* each a new one, fitted on the validation rows. Intervals: 95 %, "
        f"{options.n_bootstrap} resamples. One training run: the spread between runs is not in them."
    )
    yield ""
    for name, comparison in tuned.comparisons.items():
        yield f"### {name}"
        yield ""
        yield f"| | {' | '.join(m.column.guard for m in comparison.measured)} |"
        yield f"|---|{'---|' * len(comparison.measured)}"
        for line in report.lines(comparison.measured):
            cells = " | ".join(c.text + (f" ({c.interval})" if c.interval else "") for c in line.cells)
            yield f"| {line.name} | {cells} |"
        yield ""
        for note in report.notes(comparison.measured):
            yield note
            yield ""
        gains = "; ".join(f"{_NAMES[key]} {_signed(gain)}" for key, gain in comparison.gains.items())
        yield f"Tuned less base, on the same resamples: {gains}. So it is {comparison.answer.value}."
        fitting = comparison.judged.fitting
        if fitting is not None and fitting.calibrations:
            yield ""
            yield "| threshold for (validation rows, out of fold) | at | precision | recall | false alarms per 1,000 |"
            yield "|---|---|---|---|---|"
            for p in fitting.proposals:
                at = "none does it" if p.threshold is None else f"{p.threshold:g}"
                figures = " | ".join(
                    _figure(f, digits) for f, digits in ((p.precision, 3), (p.recall, 3), (p.per_1000, 1))
                )
                yield f"| {p.target} | {at} | {figures} |"
        yield ""
    drift = tuned.fit.drift
    if drift is not None:
        yield "### Other policies"
        yield ""
        yield (
            f"Answers about policies that were not trained, on held-out contents ({drift.n} answers): they differ from the "
            f"base's by {drift.mean:.4f} on average and {drift.most:.3f} at most; {drift.far:.2%} by more than 0.1."
        )
        yield "Whether they are still right was not measured: there are no labels for them."
        yield ""


_NAMES = {
    "auprc": "AUPRC",
    "auroc": "AUROC",
    "recall_at_1": "recall at 1 % alarms",
    "recall_at_5": "recall at 5 % alarms",
}


def _training(tuned: Tuned) -> Iterator[str]:
    fit = tuned.fit
    s = fit.settings
    yield "## Training"
    yield ""
    yield (
        f"At most {s.epochs} epochs, patience {s.patience}, learning rate {s.rate:g}, {s.batch} rows a step, seed {s.seed}, "
        f"torch {fit.torch} on {fit.device}, {fit.seconds:.0f} s. {fit.n_examples} examples; "
        + (
            f"beside them {fit.n_rehearsed} sequences on which other answers were held to the base's (weight {s.rehearsal:g})."
            if s.rehearsal and fit.n_rehearsed
            else "other answers were not held to the base's."
        )
    )
    yield ""
    yield "| epoch | training loss | validation loss | distance from the base's other answers |"
    yield "|---|---|---|---|"
    for e in fit.trained.epochs:
        kept = " (kept)" if e.number == fit.trained.best else " (base)" if e.number == 0 else ""
        cells = " | ".join(_loss(v) for v in (e.training_loss, e.validation_loss, e.rehearsal_loss))
        yield f"| {e.number}{kept} | {cells} |"
    yield ""
    yield (
        f"The written file gives the same logits in llama.cpp as in torch, but for rounding: {fit.parity.n_sequences} held-out "
        f"sequences, differences up to {fit.parity.most:.3f}, {fit.parity.mean:.4f} on average."
    )


def _loss(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.4f}"


def _figure(f: Interval, digits: int = 3) -> str:
    value, interval = f.shown(digits)
    return f"{value} ({interval})" if interval else value


def _signed(f: Interval) -> str:
    return f"{f.value:+.3f} ({f.low:+.3f} to {f.high:+.3f})"

"""Tunes an encoder, step by step: rows, parts, training, the file, the figures. Needs the extra ``tune``."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from models import catalog
from models.calibration import write_calibration
from models.catalog import PAIR, pair_path
from models.labels import Float32Array
from models.specs import LocalSpec
from models.tuning.network import Network, logits
from models.tuning.parity import compare as compare_with_native
from models.tuning.records import MAX_SEQUENCES, Epoch, Example, Settings
from models.tuning.training import n_steps, train
from models.tuning.weights import check_writable, load_network, write_like
from proxy.config import EncoderGuard
from proxy.config_error import ConfigError
from proxy.evaluation.judging import Subject, data_hash, judging
from proxy.evaluation.rows import Row, read_rows
from proxy.evaluation.subjects import read_subjects
from proxy.loading.policies import load_policies
from proxy.loading.single_guard import find_guard
from proxy.progress import progress
from proxy.tuning import files
from proxy.tuning.card import calibration_name
from proxy.tuning.measuring import Comparison, Judged, Options, compare, drift, judge_policy
from proxy.tuning.outcome import Base, Fit, Tuned
from proxy.tuning.preparing import Reader, Trainee, other_policies
from proxy.tuning.splitting import Content, Part, check_counts, split, unique_contents
from rules.policy import Policy
from rules.rule import Stage

_N_PARITY = 64
_N_DRIFT = 300

Parts = Mapping[Part, Sequence[Content]]


def run(path: Path, args: argparse.Namespace) -> Tuned:
    """Do everything but to say what came out.

    Args:
        path: The configuration.
        args: Options of the command.

    Raises:
        ConfigError: Something is wrong with options, configuration or rows. As do the errors of what is called.
    """
    _see_device(args)
    rows = read_rows(args.data, stage=Stage(args.stage), names=args.fields)
    config, policies = load_policies(path)
    subjects = read_subjects(path, config, policies, args.policy, rows)
    base = _base(path, args.guard, len(subjects))
    files.check_free(args.output, args.name, subjects, force=args.force)
    reader = Reader(base.path, base.guard, base.max_content_tokens)
    try:
        trained_labels = {reader.output(subject.policy.for_guard()) for subject in subjects}
        trainee = reader.trainee(subjects)
        contents = unique_contents(rows, [s.label for s in subjects], reader.encode)
        shares = {"validation": args.validation, "held_out": args.held_out}
        parts = split(contents.kept, **shares, seed=args.seed)
        check_counts(args.data, [s.label for s in subjects], parts, **shares)
        files.make_folder(args.output)
        with files.alone_in(args.output), files.made_apart(args.output) as folder:
            files.check_free(args.output, args.name, subjects, force=args.force)  # now that nobody else can write there
            gguf = folder / f"{args.name}.gguf"
            fit = _fit(args, trainee, reader, subjects, other_policies(policies, subjects), parts, gguf)
            metadata = files.write_metadata(base.path, gguf, reader.metadata, trained_labels - {PAIR})
            options = Options(args.threshold, args.bootstrap, args.seed, args.timeout_s)
            comparisons = asyncio.run(_measure(path, base, gguf, subjects, parts, options))
            tuned = Tuned(
                name=args.name,
                folder=_beside(path, args.output),
                metadata=metadata,
                base=base,
                data=args.data,
                subjects=subjects,
                hashes={s.policy.name: data_hash(rows, s) for s in subjects},
                contents=contents,
                parts=parts,
                fit=fit,
                comparisons=comparisons,
                options=options,
            )
            for name, comparison in comparisons.items():
                for calibration in comparison.judged.calibrations:
                    write_calibration(folder / calibration_name(name), calibration)
            files.write_reports(folder, tuned)
            files.publish(folder, args.output)
    finally:
        reader.close()
    return tuned


def _beside(config: Path, output: Path) -> Path:
    """A folder as the configuration would name it: paths in it begin where it lies."""
    absolute, start = output.resolve(), config.resolve().parent
    return absolute.relative_to(start) if absolute.is_relative_to(start) else absolute


def _see_device(args: argparse.Namespace) -> None:
    """Before rows are read: whether torch can use the device."""
    try:
        torch.zeros(1, device=args.device).cpu()  # there are devices that take numbers, and give none back
    except (RuntimeError, AssertionError) as e:
        raise ConfigError(f"--device {args.device}: {str(e).splitlines()[0]}") from None
    if args.threads is not None:
        torch.set_num_threads(args.threads)


def _base(path: Path, name: str | None, n_policies: int) -> Base:
    found = find_guard(path, name, n_policies)
    guard, spec = found.config, found.spec
    if not isinstance(guard, EncoderGuard) or not isinstance(spec, LocalSpec):
        raise ConfigError(
            f"{path}: guards.{found.name}: its engine is {guard.engine}, only encoders can be tuned; name one with --guard"
        )
    file = catalog.resolve(spec.model)
    catalog.check(file, spec.sha256)
    return Base(found.name, file, catalog.sha256_of(file), guard.max_content_tokens)


def _fit(
    args: argparse.Namespace,
    trainee: Trainee,
    reader: Reader,
    subjects: Sequence[Subject],
    others: Sequence[Policy],
    parts: Parts,
    gguf: Path,
) -> Fit:
    """Train, write the new weights, and see that they are what was trained.

    The guard's other file, if it has two, is copied.
    """
    network = load_network(trainee.path).to(args.device)
    check_writable(trainee.path)
    outputs = trainee.outputs
    settings = Settings(args.epochs, args.patience, args.rate, args.batch, args.rehearsal, args.seed)
    examples = reader.examples(parts[Part.TRAINING], subjects, outputs)
    validation = reader.examples(parts[Part.VALIDATION], subjects, outputs)
    held_out = reader.examples(parts[Part.HELD_OUT], subjects, outputs)
    _check_kinds(args.data, subjects, examples, validation)
    rehearsed = reader.rehearsed(parts[Part.TRAINING], subjects, others, outputs, args.seed) if args.rehearsal else []
    watched = reader.rehearsed(parts[Part.HELD_OUT][:_N_DRIFT], subjects, others, outputs, args.seed)
    before = logits(network, [r.sequence for r in watched])
    started = time.monotonic()
    with progress("steps", n_steps(examples, settings)) as shown:
        trained = train(network, examples, validation, rehearsed, settings, on_step=shown.one_more, on_epoch=_say_epoch)
    seconds = time.monotonic() - started
    if trained.best == 0:
        raise ConfigError(f"--rate {args.rate:g}: the loss is no number after any epoch; a lower rate may do")
    written = gguf
    if trainee.other is not None:
        written, copy = (pair_path(gguf), gguf) if trainee.is_second else (gguf, pair_path(gguf))
        shutil.copyfile(trainee.other, copy)
    write_like(trainee.path, written, _changed(load_network(trainee.path), network))
    sequences = [e.sequences[0] for e in held_out][:_N_PARITY]
    parity = compare_with_native(written, sequences)
    if not parity.holds:
        raise ConfigError(
            f"the new weights give other logits in llama.cpp than in torch (by up to {parity.most:.3f}, "
            f"{parity.mean:.4f} on average): nothing was written"
        )
    n_labelled = sum(s.label in content.labels for s in subjects for content in parts[Part.TRAINING])
    return Fit(
        settings=settings,
        trained=trained,
        n_examples=len(examples),
        n_too_long=n_labelled - len(examples),
        n_rehearsed=len(rehearsed),
        parity=parity,
        drift=drift(
            watched, before, logits(load_network(written), [r.sequence for r in watched]), outputs, reader.metadata
        ),
        device=args.device,
        torch=torch.__version__,
        seconds=seconds,
    )


def _check_kinds(data: Sequence[Path], subjects: Sequence[Subject], *parts: Sequence[Example]) -> None:
    """Whether both kinds of every policy are left after long contents are gone."""
    for group in sorted(subject.policy.name for subject in subjects):
        if any(len({e.violates for e in part if e.group == group}) < 2 for part in parts):
            raise ConfigError(
                f"{', '.join(map(str, data))}: policy {group}: all contents of one kind have more than {MAX_SEQUENCES} "
                "windows and are too long to train on: label shorter ones"
            )


def _say_epoch(epoch: Epoch) -> None:
    what = "the base" if epoch.number == 0 else f"epoch {epoch.number}"
    sys.stderr.write(f"{what}: validation loss {epoch.validation_loss:.4f}\n")


def _changed(base: Network, network: Network) -> dict[str, Float32Array]:
    """The tensors that training has changed."""
    old = base.state_dict()
    new = {name: value.detach().float().cpu() for name, value in network.state_dict().items()}
    return {name: value.numpy() for name, value in new.items() if not torch.equal(value, old[name])}


async def _measure(
    path: Path, base: Base, gguf: Path, subjects: Sequence[Subject], parts: Parts, options: Options
) -> dict[str, Comparison]:
    """Both guards on validation and held-out rows, one after the other, so that one has the machine for itself."""
    judged: dict[str, list[Judged]] = {subject.policy.name: [] for subject in subjects}
    for weights in (None, gguf):
        async with judging(path, base.guard, len(subjects), weights=weights) as judge:
            for subject in subjects:
                validation, held_out = (_rows(parts[part], subject) for part in (Part.VALIDATION, Part.HELD_OUT))
                judged[subject.policy.name].append(await judge_policy(judge, subject, validation, held_out, options))
    return {name: compare(before, after, options) for name, (before, after) in judged.items()}


def _rows(contents: Sequence[Content], subject: Subject) -> list[Row]:
    return [content.row for content in contents if subject.label in content.labels]

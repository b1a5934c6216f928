"""Labelled rows: what is judged, and what is right.

They come as JSON lines or CSV (also ``.gz``), one row each::

    {"id": "t-1", "text": "…", "stage": "input", "label": 1}
    {"id": "t-2", "messages": [{"role": "user", "content": "…"}], "labels": {"hate": 0, "fraud": 1}}

What is judged comes in one of the forms of `proxy.samples`: ``text``, ``messages``, or ``prompt`` and ``completion``. ``stage``
is ``input`` unless given. ``label`` is for every policy, ``labels`` by name of
the policy, one that is missing is unknown; in CSV ``labels.hate`` is a column. An ``id`` that is left out is the line.
Other fields are allowed: files carry more than one reader needs.

Every complaint names file and line, and quotes nothing.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models.engine import Passage
from proxy.samples import read_sample
from proxy.schema import Misfit
from proxy.strict_json import JsonError, dump_json, parse_json
from rules.errors import TooMuchToDecode
from rules.rule import Stage

_TRUE, _FALSE = ("1", "true"), ("0", "false")


class RowError(ValueError):
    """A row cannot be used; the message is one line with file, line and reason."""


@dataclass(frozen=True, slots=True)
class Row:
    """One content and what is right.

    Attributes:
        id: Unique among the rows.
        stage: Which way the content goes.
        passages: As a guard is shown it, the same way as the proxy does it.
        label: Whether it violates, for every policy; None where that is not known.
        labels: The same by name of the policy; wins over ``label``.
        key: Hash of the content and its stage.
    """

    id: str
    stage: Stage
    passages: tuple[Passage, ...] = field(repr=False)
    label: bool | None
    labels: Mapping[str, bool]
    key: str

    def violates(self, policy: str) -> bool | None:
        """Whether it violates a policy; None where that is not known."""
        return self.labels.get(policy, self.label)


@dataclass(frozen=True, slots=True)
class Record:
    """One line of a file as it stands there."""

    where: str
    """File and line."""
    fields: Mapping[str, Any] = field(repr=False)

    def error(self, reason: str) -> RowError:
        """A complaint about this line."""
        return RowError(f"{self.where}: {' '.join(reason.split())}")


def read_rows(
    paths: Sequence[Path], *, stage: Stage = Stage.INPUT, names: Mapping[str, str] | None = None
) -> list[Row]:
    """Read files of rows.

    Args:
        paths: The files, each by its suffix: ``.csv``, else JSON lines; ``.gz`` on top.
        stage: Of rows that do not say.
        names: Field of the file in place of one of ours, e.g. ``{"text": "user_input"}``.

    Raises:
        RowError: A row cannot be used, two have the same id, or there are none.
    """
    rows: list[Row] = []
    seen: dict[str, str] = {}
    for path in paths:
        for record in read_records(path, names or {}):
            row = read_row(record, stage)
            if row.id in seen:
                raise record.error(f"id: the same as in {seen[row.id]}")
            seen[row.id] = record.where
            rows.append(row)
    if not rows:
        raise RowError(f"{', '.join(map(str, paths))}: no rows")
    return rows


def read_records(path: Path, names: Mapping[str, str]) -> Iterator[Record]:
    """The lines of a file; empty ones are left out.

    Raises:
        RowError: The file cannot be read, or a line is not what its suffix says.
    """
    try:
        data = path.read_bytes()
        plain = path
        if path.suffix == ".gz":
            data, plain = gzip.decompress(data), path.with_suffix("")
    except (OSError, EOFError, zlib.error) as e:
        raise RowError(f"{path}: cannot be read: {getattr(e, 'strerror', None) or 'not a whole gzip file'}") from None
    reader = _csv_records if plain.suffix == ".csv" else _json_records
    for record in reader(path, data.removeprefix(b"\xef\xbb\xbf")):
        yield Record(record.where, {**record.fields, **_renamed(record, names)})


def _renamed(record: Record, names: Mapping[str, str]) -> dict[str, Any]:
    for field_name in names.values():
        if field_name not in record.fields:
            raise record.error(f"{field_name}: missing; --fields names it")
    return {ours: record.fields[theirs] for ours, theirs in names.items()}


def _json_records(path: Path, data: bytes) -> Iterator[Record]:
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line.strip():
            continue
        record = Record(f"{path}:{number}", {})
        try:
            fields = parse_json(line.strip())
        except JsonError as e:
            raise record.error(str(e).replace("the body", "the line")) from None
        if not isinstance(fields, dict):
            raise record.error("not a JSON object")
        yield Record(record.where, fields)


def _csv_records(path: Path, data: bytes) -> Iterator[Record]:
    try:
        text = data.decode()
    except UnicodeDecodeError as e:
        raise RowError(f"{path}: not UTF-8 (byte {e.start})") from None
    csv.field_size_limit(2**31 - 1)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] | None = None
    while True:
        number = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as e:
            raise RowError(f"{path}:{number}: not CSV: {e}") from None
        if cells is None:
            return
        if not cells:
            continue
        if header is None:
            header = [name.strip() for name in cells]
            if len(set(header)) < len(header):
                raise RowError(f"{path}:{number}: two columns have the same name")
            continue
        record = Record(f"{path}:{number}", {})
        if len(cells) != len(header):
            raise record.error(f"{len(cells)} cells, the header has {len(header)}")
        fields: dict[str, Any] = {name: cell for name, cell in zip(header, cells, strict=True) if cell != ""}
        labels = {name.removeprefix("labels."): cell for name, cell in fields.items() if name.startswith("labels.")}
        yield Record(record.where, {**fields, "labels": labels} if labels else fields)


def read_row(record: Record, stage: Stage) -> Row:
    """Read one row.

    Raises:
        RowError: It cannot be used.
    """
    fields = record.fields
    if (given := fields.get("stage")) is not None:
        if given not in list(Stage):
            raise record.error(f"stage: must be one of {', '.join(Stage)}")
        stage = Stage(given)
    labels = fields.get("labels", {})
    if not isinstance(labels, dict):
        raise record.error("labels: must be an object of policy names and 0 or 1")
    passages = _passages(record, stage)
    content = [[p.surface, p.text, p.context] for p in passages]
    return Row(
        id=_id(record),
        stage=stage,
        passages=tuple(passages),
        label=None if fields.get("label") is None else truth(record, "label", fields["label"]),
        labels={str(name): truth(record, f"labels.{name}", value) for name, value in labels.items()},
        key=hashlib.sha256(dump_json([stage.value, content])).hexdigest()[:32],
    )


def _id(record: Record) -> str:
    given = record.fields.get("id", record.where.rpartition(":")[2])
    if isinstance(given, bool) or not isinstance(given, (str, int)) or not str(given).strip():
        raise record.error("id: must be a text or a whole number")
    if not str(given).isprintable():
        raise record.error("id: must be printable")
    return str(given)


def truth(record: Record, name: str, value: Any) -> bool:
    """A label as a truth value.

    Raises:
        RowError: It is neither 0 nor 1, nor false or true.
    """
    if value is True or value is False or (type(value) is int and value in (0, 1)):
        return bool(value)
    if isinstance(value, str) and value.strip().casefold() in (*_TRUE, *_FALSE):
        return value.strip().casefold() in _TRUE
    raise record.error(f"{name}: must be 0 or 1")


def _passages(record: Record, stage: Stage) -> list[Passage]:
    """The content as guards are shown it."""
    try:
        sample = read_sample(record.fields, stage)
        if sample.content.opaque:
            raise Misfit(sample.content.opaque[0], "cannot be read by any guard here")
        judged = sample.content.passages()
    except Misfit as e:
        raise record.error(e.said()) from None
    except TooMuchToDecode:
        raise record.error("holds more encoded text than is decoded") from None
    if not judged:
        raise record.error("there is nothing to judge")
    return [*sample.context, *judged]

"""Rows of JSON lines or CSV.

What is no row is a row with a problem, which says why without quoting anything. Only where nobody could say where the next row
begins (CSV with an open quote) does the whole input end with `InputError`: one text with everything behind it would be
judged as something that nobody wrote.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO

from proxy.samples import FORMS, Sample, read_sample
from proxy.schema import Misfit
from rules.rule import Stage

_BOM = b"\xef\xbb\xbf"
_MAX_ID_CHARS = 200
_SHOWN_PROBLEMS = 5
_SHOWN_COLUMNS = 12


class InputError(ValueError):
    """The input cannot be read any further; the message is one line without content."""


class Format(StrEnum):
    """How rows are written down."""

    JSONL = "jsonl"
    CSV = "csv"


@dataclass(frozen=True, slots=True)
class Reading:
    """How to read an input.

    Attributes:
        format: How its rows are written down.
        stage: At which they are judged.
        text_field: The field or column that is judged; None: the forms of `proxy.samples`.
        id_field: The field or column that names a row.
        max_row_bytes: Longer rows cannot be read; a route's ``max_body_bytes``.
        screen_unknown: See `proxy.samples.read_sample`.
    """

    format: Format
    stage: Stage
    text_field: str | None = None
    id_field: str = "id"
    max_row_bytes: int = 10 * 1024 * 1024
    screen_unknown: bool = True


@dataclass(frozen=True, slots=True)
class Row:
    """One row; it has either a sample or a problem.

    Attributes:
        number: The first row is 1.
        line: Where it begins; the first line is 1.
        id: What it calls itself.
        sample: What is judged.
        given: The fields that it was read from.
        problem: Why it cannot be judged.
    """

    number: int
    line: int
    id: str | int | None = None
    sample: Sample | None = field(default=None, repr=False)
    given: Mapping[str, Any] = field(default_factory=dict, repr=False)
    problem: str | None = None

    @property
    def size(self) -> int:
        """Characters that are judged or shown."""
        if self.sample is None:
            return 0
        return self.sample.content.n_chars + sum(len(passage.text) for passage in self.sample.context)


@dataclass(frozen=True, slots=True)
class Survey:
    """What an input is, before anything of it is judged.

    Attributes:
        sha256: Of the whole file.
        n_rows: How many there are.
        n_bad: Rows with a problem.
        bad: Line and problem of the first of them.
    """

    sha256: str
    n_rows: int
    n_bad: int
    bad: tuple[tuple[int, str], ...]


class Source:
    """An input that is read once, row by row.

    Args:
        file: Its bytes.
        how: How they are read.
    """

    def __init__(self, file: BinaryIO, how: Reading) -> None:
        self._file = file
        self._how = how
        self._hash = hashlib.sha256()
        self._line = 0

    @property
    def sha256(self) -> str:
        """Of what was read so far."""
        return self._hash.hexdigest()

    def rows(self, *, after: int = 0) -> Iterator[Row]:
        """The rows, in order.

        Args:
            after: The number of the last row that is not wanted; those up to it are counted, but not made.

        Raises:
            InputError: The input cannot be read any further.
        """
        fields: Iterator[tuple[int, dict[str, Any] | bytes | str]]
        fields = self._objects() if self._how.format is Format.JSONL else self._records()
        for number, (line, given) in enumerate(fields, start=1):
            if number > after:
                yield _row(number, line, given, self._how)

    def _objects(self) -> Iterator[tuple[int, bytes | str]]:
        """Lines of JSON: the number of the line, and what stands there or a problem."""
        for line in self._lines():
            if line is None:
                yield self._line, f"is longer than {self._how.max_row_bytes} bytes"
            elif line.strip():
                yield self._line, line

    def _records(self) -> Iterator[tuple[int, dict[str, Any] | str]]:
        """Records of CSV: the number of the line on which one begins, and its columns or a problem."""
        csv.field_size_limit(self._how.max_row_bytes)
        reader = csv.reader(self._texts(), strict=True)
        try:
            header = next(reader, None)
            if not header:
                raise InputError("has no header line that names its columns")
            self._check(header)
            begin = reader.line_num + 1
            for record in reader:
                line, begin = begin, reader.line_num + 1
                if not record:
                    continue
                if len(record) != len(header):
                    yield line, f"has {len(record)} columns, the header has {len(header)}"
                    continue
                given = dict(zip(header, record, strict=True))
                if any(_is_undecoded(given.get(name, "")) for name in (*FORMS, self._how.text_field or "text")):
                    yield line, "is not UTF-8"
                    continue
                yield line, given
        except csv.Error as e:
            raise InputError(f"line {reader.line_num}: not CSV: {e}") from None

    def _texts(self) -> Iterator[str]:
        for line in self._lines():
            if line is None:
                raise InputError(f"line {self._line}: is longer than {self._how.max_row_bytes} bytes")
            yield line.decode("utf-8", "surrogateescape")

    def _check(self, header: list[str]) -> None:
        """Whether the columns can be what is asked for."""
        wanted = [self._how.text_field] if self._how.text_field is not None else FORMS
        if any(_is_undecoded(name) or "\0" in name for name in header):
            raise InputError("is not UTF-8")
        present = [name for name in wanted if name in header]
        twice = [name for name in (*present, self._how.id_field) if header.count(name) > 1]
        if twice:
            raise InputError(f"column {twice[0]!r} stands twice")
        if not present:
            columns = ", ".join(name[:40] for name in header[:_SHOWN_COLUMNS]) + ", …" * (len(header) > _SHOWN_COLUMNS)
            raise InputError(
                f"has no column {' or '.join(map(repr, wanted))}; --text-field names the one to judge (columns: {columns})"
            )

    def _lines(self) -> Iterator[bytes | None]:
        """Lines with their ends; None for one that is too long."""
        limit = self._how.max_row_bytes
        while line := self._file.readline(limit + 1):
            self._line += 1
            self._hash.update(line)
            if self._line == 1:
                line = line.removeprefix(_BOM)  # as spreadsheets write it
            if len(line) <= limit or line.endswith(b"\n"):
                yield line
                continue
            while line and not line.endswith(b"\n"):
                line = self._file.readline(1 << 16)
                self._hash.update(line)
            yield None


def survey(path: Path, how: Reading) -> Survey:
    """Read a whole file without judging it.

    Raises:
        InputError: It cannot be read to its end.
        OSError: It cannot be opened or read.
    """
    n_rows = n_bad = 0
    bad: list[tuple[int, str]] = []
    with path.open("rb") as file:
        source = Source(file, how)
        for row in source.rows():
            n_rows += 1
            if row.problem is not None:
                n_bad += 1
                if len(bad) < _SHOWN_PROBLEMS:
                    bad.append((row.line, row.problem))
    return Survey(source.sha256, n_rows, n_bad, tuple(bad))


def _row(number: int, line: int, given: dict[str, Any] | bytes | str, how: Reading) -> Row:
    if isinstance(given, bytes):
        given = _parse(given)
    if isinstance(given, str):
        return Row(number, line, problem=given)
    name = given.get(how.id_field)
    if name is not None and not _is_id(name):
        return Row(
            number,
            line,
            problem=f"{how.id_field}: must be a text of at most {_MAX_ID_CHARS} characters or a whole number",
        )
    fields = {field: given[field] for field in FORMS if given.get(field) is not None}
    if how.text_field is not None:
        if how.text_field not in given:
            return Row(number, line, name, problem=f"has no field {how.text_field!r}")
        fields = {"text": given[how.text_field]}
    try:
        sample = read_sample(fields, how.stage, screen_unknown=how.screen_unknown)
    except Misfit as e:
        return Row(number, line, name, problem=f"{how.text_field}: {e}" if how.text_field is not None else e.said())
    return Row(number, line, name, sample, fields)


def _is_id(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= _MAX_ID_CHARS and not _is_undecoded(value)
    return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**64


def _is_undecoded(text: str) -> bool:
    """Whether a text holds what is no UTF-8, or what UTF-8 cannot say."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _parse(line: bytes) -> dict[str, Any] | str:
    """One JSON object, or what is wrong with it.

    Stricter than most parsers, because two of them would judge and use different texts: no key stands twice. Not as strict as
    `proxy.strict_json`: nothing of a row goes on to another parser, and data have large numbers.
    """
    try:
        value = json.loads(line.rstrip(b"\r\n").decode(), object_pairs_hook=_object, parse_constant=_no_number)
    except UnicodeDecodeError as e:
        return f"is not UTF-8 (byte {e.start})"
    except json.JSONDecodeError as e:
        return f"is not JSON: {e.msg} (column {e.colno})"
    except RecursionError:
        return "is nested too deeply"
    except _OddJsonError as e:
        return f"is not JSON: {e}"
    except ValueError:
        return "has a number of too many digits"
    return value if isinstance(value, dict) else "must be a JSON object"


class _OddJsonError(ValueError):
    """JSON that another parser may read otherwise."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise _OddJsonError("a key stands twice")
    return value


def _no_number(word: str) -> Any:
    raise _OddJsonError(f"{word} is no number")

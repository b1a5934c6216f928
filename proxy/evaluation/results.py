"""Verdicts on labelled rows, kept in a file that only grows, so that an evaluation goes on where it was killed.

One JSON object per line, one line per row, guard and policy::

    {"row": …, "judge": …, "revision": …, "score": 0.31, "tier": "encoder", "evidence": {…}, "n_tokens": 9, "ms": 2.1}
    {"row": …, "judge": …, "revision": …, "error": "timeout"}

The three first are the key: hash of the content, hash of the guard with everything that can change its verdicts, revision
of the policy. No content, no rationale. A line is written whole with one call, and a line that a ``kill -9`` cut off is
dropped at the next start. Errors are asked again then; of two lines with the same key the later one counts.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson

from models.engine import Score, Tier
from models.errors import EngineError
from models.wire import read_evidence

Key = tuple[str, str, str]
"""Row, judge, revision."""

_BEGINNING = b'{"row":"'


class ResultsError(ValueError):
    """The file of results cannot be used; the message is one line with file and line."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a guard said to one row and policy: a score, or the code of an error; before any calibration."""

    score: Score | None
    error: str | None = None


def outcome(entry: Score | EngineError) -> Outcome:
    """What an engine answered. A score that is no probability is an error, as it is in the proxy."""
    if isinstance(entry, EngineError):
        return Outcome(None, entry.code)
    if not 0.0 <= entry.value <= 1.0:
        return Outcome(None, EngineError.code)
    return Outcome(replace(entry, rationale=None, cached=False))


class Results:
    """An open file of results; nobody else may have it open.

    Args:
        path: The file; made where there is none. None: results are kept in memory only.

    Raises:
        ResultsError: It cannot be opened, another process has it, or a line in it is not a result.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._by_key: dict[Key, Outcome] = {}
        self._file: int | None = None
        if path is None:
            return
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            data = path.read_bytes()
        except BlockingIOError:
            self.close()
            raise ResultsError(f"{path}: another evaluation is writing to it") from None
        except OSError as e:
            self.close()
            raise ResultsError(f"{path}: cannot be opened: {e.strerror}") from None
        *lines, cut_off = data.split(b"\n")
        for number, line in enumerate(lines, 1):
            self._load(line, number)
        if cut_off:  # by a kill, unless this is no file of ours
            if not _BEGINNING.startswith(cut_off[: len(_BEGINNING)]):
                raise self._not_ours(len(lines) + 1)
            os.ftruncate(self._file, len(data) - len(cut_off))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._by_key)

    @property
    def by_key(self) -> Mapping[Key, Outcome]:
        """All results."""
        return self._by_key

    def settled(self, key: Key) -> bool:
        """Whether there is a score; an error is worth another try."""
        return key in self._by_key and self._by_key[key].error is None

    def add(self, key: Key, result: Outcome) -> None:
        """Keep one result. It is in the file when this returns.

        Raises:
            ResultsError: It cannot be written.
        """
        self._by_key[key] = result
        if self._file is None:
            return
        line = orjson.dumps(_fields(key, result)) + b"\n"
        try:
            if os.write(self._file, line) != len(line):
                raise ResultsError(f"{self._path}: the disk is full")
        except OSError as e:
            raise ResultsError(f"{self._path}: cannot be written: {e.strerror}") from None

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _load(self, line: bytes, number: int) -> None:
        try:
            fields = orjson.loads(line)
            key = (fields["row"], fields["judge"], fields["revision"])
            if not all(type(part) is str for part in key):
                raise TypeError
            self._by_key[key] = _read(fields)
        except (ValueError, TypeError, KeyError):
            raise self._not_ours(number) from None

    def _not_ours(self, number: int) -> ResultsError:
        self.close()
        return ResultsError(f"{self._path}:{number}: is not a result; name another file with --results")


def _fields(key: Key, result: Outcome) -> dict[str, Any]:
    row, judge, revision = key
    fields: dict[str, Any] = {"row": row, "judge": judge, "revision": revision}
    if result.score is None:
        return fields | {"error": result.error}
    score = result.score
    return fields | {
        "score": score.value,
        "tier": score.tier,
        "calibrated": score.calibrated,
        "evidence": None if score.evidence is None else asdict(score.evidence),
        "n_tokens": score.n_tokens,
        "ms": round(score.latency_ms, 3),
        **({} if score.pass_below is None else {"pass_below": score.pass_below}),
    }


def _read(fields: Mapping[str, Any]) -> Outcome:
    if "error" in fields:
        if type(fields["error"]) is not str:
            raise TypeError
        return Outcome(None, fields["error"])
    value, n_tokens, ms, calibrated = (fields[name] for name in ("score", "n_tokens", "ms", "calibrated"))
    if type(value) not in (float, int) or not 0.0 <= value <= 1.0 or type(calibrated) is not bool:
        raise ValueError
    evidence = fields["evidence"]
    limit = fields.get("pass_below")
    if limit is not None and (type(limit) is not float or not 0.0 <= limit <= 1.0):
        raise ValueError
    return Outcome(
        Score(
            float(value),
            Tier(fields["tier"]),
            calibrated,
            None,
            int(n_tokens),
            float(ms),
            evidence=read_evidence(evidence and {"cut": False, **evidence}),  # files that are older than `cut` lack it
            pass_below=limit,
        )
    )

"""From a guard's evidence to a probability: small monotone maps that were fitted on labelled data, and their files.

A map adds up one curve for each *feature* of the evidence and takes the logistic function of the sum. Features are turned
so that more of one speaks more for a violation, and curves never fall. So whatever the labels were, more evidence never
lowers a score::

    logit            what the model itself says (see `models.evidence`), within ±20
    trace            `models.trace.length_score`: the verdict, and how sure the length of the trace makes it, in [0, 1]
    second_opinion   the logit of another guard about the same content and policy, within ±20

A map holds for one revision of a policy, one model (name and hash), one tier and one effort, and for nothing else: another
text, other weights or more room to think give other evidence. (A direct verdict's logit is the same whether or not
uncertain ones are reasoned about, so its map has no effort.)

The second opinion of a small classifier is worth its few milliseconds: on 2,000 recorded answers of gpt-oss-safeguard-20b for
each of three policies (ToxicChat), the shipped encoder's output `any` beside the trace lifts, out of fold, the recall at 1 %
false alarms from 0.47 to 0.69, average precision from 0.78 to 0.86 and AUROC from 0.979 to 0.984 (means of three).

A file holds the maps of one policy, beside the policy's text (`path_beside`); `safeguard calibrate` writes it, with hash
and size of the data and with figures that were measured out of fold.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from models.engine import Tier
from models.evidence import Evidence
from models.odds import sigmoid
from models.trace import length_score

MAX_LOGIT = 20.0
"""Beyond it a logit says no more; a float rounds to certainty at 37."""

Finite = Annotated[float, Field(allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class CalibrationError(ValueError):
    """A file of calibrations cannot be used; the message is one line with file, field and reason."""


class Unmappable(Exception):
    """The evidence lacks what a map was fitted on."""


def _logit(evidence: Evidence | None) -> float:
    if evidence is None or evidence.logit is None:
        raise Unmappable
    return min(MAX_LOGIT, max(-MAX_LOGIT, evidence.logit))


FeatureName = Literal["logit", "trace", "second_opinion"]

FEATURES: Mapping[FeatureName, Callable[[Evidence, Evidence | None], float]] = {
    "logit": lambda own, _: _logit(own),
    "trace": lambda own, _: length_score(own.leans_to_violation, own.n_chars),
    "second_opinion": lambda _, other: _logit(other),
}
"""What a map may weigh, of the guard's own evidence and the second opinion. Raises `Unmappable` where that is not there."""


def _rising(points: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
    for (x, y), (next_x, next_y) in pairwise(points):
        if next_x <= x:
            raise ValueError("points must be in order, each at another place")
        if next_y < y:
            raise ValueError("must not fall: more evidence would lower the score")
    return points


Curve = Annotated[tuple[tuple[Finite, Finite], ...], Field(min_length=2), AfterValidator(_rising)]
"""Points of a function that never falls: straight between them, level beyond them."""


def height(curve: Sequence[tuple[float, float]], x: float) -> float:
    """The value of a curve at a place."""
    for (left, low), (right, high) in pairwise(curve):
        if x < right:
            return low if x <= left else low + (high - low) * (x - left) / (right - left)
    return curve[-1][1]


class _Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Data(_Closed):
    """What a map was fitted on."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Of the rows' contents and labels, in no order."""
    rows: Annotated[int, Field(ge=1)]
    violations: Annotated[int, Field(ge=1)]


class PassBelow(_Closed):
    """Where the guard may let content pass as an earlier one of a cascade, measured out of fold with the map."""

    score: Share
    """What scores lower passes; on the scale of the map."""
    recall: Share
    """The share of the violations that must not pass."""


class Calibration(_Closed):
    """One map, and what it holds for."""

    policy: str
    revision: str
    model: str
    """Name and revision of the guard's model."""
    tier: Tier
    effort: str | None = None
    """For how long the model could think, in the guard's own words; None where it did not, or nobody here knows."""
    second_opinion: str | None = None
    """Name and revision of the model whose opinion is weighed beside it; None: none is."""
    intercept: Finite
    """Log-odds to which the curves add."""
    curves: Annotated[dict[FeatureName, Curve], Field(min_length=1)]
    data: Data
    pass_below: PassBelow | None = None
    """None: nobody measured it."""
    figures: dict[str, Finite]
    """Measured out of fold, for people."""

    @model_validator(mode="after")
    def _says_whose_opinion(self) -> Calibration:
        if ("second_opinion" in self.curves) is (self.second_opinion is None):
            raise ValueError("second_opinion must name a model if, and only if, there is a curve for it")
        return self

    def probability(self, evidence: Evidence, second: Evidence | None = None) -> float:
        """The probability of a violation. Takes microseconds.

        Args:
            evidence: The guard's own.
            second: The second opinion, for a map that weighs one.

        Raises:
            Unmappable: The evidence lacks what the map weighs.
        """
        heights = (height(curve, FEATURES[name](evidence, second)) for name, curve in self.curves.items())
        return sigmoid(self.intercept + sum(heights))

    def holds_for(self, revision: str, model: str, tier: Tier, effort: str | None) -> bool:
        """Whether it was fitted for exactly this."""
        return (self.revision, self.model, self.tier, self.effort) == (revision, model, tier, effort)


class _File(_Closed):
    format: Literal[1] = 1
    calibrations: tuple[Calibration, ...]


def path_beside(policy_file: Path) -> Path:
    """Where the calibrations of a policy file lie: ``hate.calibration.json`` beside ``hate.md``."""
    return policy_file.with_name(policy_file.stem + ".calibration.json")


def read_calibrations(path: Path) -> tuple[Calibration, ...]:
    """Read a file of calibrations.

    Raises:
        CalibrationError: It cannot be read, or a field of it is not what it must be.
        FileNotFoundError: There is none.
    """
    try:
        return _File.model_validate_json(path.read_bytes()).calibrations
    except FileNotFoundError:
        raise
    except OSError as e:
        raise CalibrationError(f"{path}: cannot be read: {e.strerror}") from None
    except ValidationError as e:
        first = e.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise CalibrationError(f"{path}: {where}: {first['msg']}") from None


def write_calibration(path: Path, new: Calibration) -> None:
    """Put a map into a file, in place of the one that holds for the same, if there is one.

    Raises:
        CalibrationError: What is in the file already cannot be used: it is not overwritten.
        OSError: The file cannot be written.
    """
    path = path.resolve()  # a link stays one
    try:
        old = read_calibrations(path)
    except FileNotFoundError:
        old = ()
    same = (new.revision, new.model, new.tier, new.effort)
    kept = [c for c in old if not c.holds_for(*same)]
    file = _File(calibrations=tuple(sorted([*kept, new], key=lambda c: (c.model, c.tier, c.effort or "", c.revision))))
    partial = path.with_name(path.name + f".{os.getpid()}.partial")
    try:
        partial.write_text(file.model_dump_json(indent=2) + "\n", encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)

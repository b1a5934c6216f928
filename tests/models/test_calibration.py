"""Maps from evidence to probability, and their files."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.calibration import (
    Calibration,
    CalibrationError,
    Data,
    Unmappable,
    height,
    path_beside,
    read_calibrations,
    write_calibration,
)
from models.engine import Tier
from models.evidence import Evidence, Kind

LOGIT = {"logit": ((-20.0, 0.0), (20.0, 40.0))}
TRACE = {"trace": ((0.0, 0.0), (0.35, 6.0), (1.0, 8.0))}
DATA = Data(sha256="0" * 64, rows=40, violations=20)


def calibration(**changes: Any) -> Calibration:
    fields: dict[str, Any] = {
        "policy": "fruit",
        "revision": "r1",
        "model": "embedded@1b2c",
        "tier": Tier.ENCODER,
        "intercept": -20.0,
        "curves": LOGIT,
        "data": DATA,
        "figures": {"auroc": 0.9},
    }
    return Calibration(**{**fields, **changes})


def test_the_probability_is_the_logistic_function_of_the_curves_sum() -> None:
    assert calibration().probability(Evidence(logit=0.0)) == pytest.approx(0.5)
    assert calibration().probability(Evidence(logit=1.0)) == pytest.approx(0.731059, abs=1e-6)
    both = calibration(intercept=-22.0, curves=LOGIT | TRACE)
    sure = Evidence(logit=0.0, violates=True, n_chars=60)
    assert both.probability(sure) == pytest.approx(0.997527, abs=1e-6)  # -22 + 20 + 8 = 6


@pytest.mark.parametrize(
    ("x", "y"), [(-1.0, 0.0), (0.0, 0.0), (0.175, 3.0), (0.35, 6.0), (0.675, 7.0), (1.0, 8.0), (9.0, 8.0)]
)
def test_a_curve_is_straight_between_its_points_and_level_beyond_them(x: float, y: float) -> None:
    assert height(TRACE["trace"], x) == pytest.approx(y)


def test_evidence_without_what_the_map_weighs_has_no_probability() -> None:
    with pytest.raises(Unmappable):
        calibration().probability(Evidence(violates=True, n_chars=100))


_POINTS = st.lists(
    st.tuples(st.floats(-30, 30, allow_nan=False), st.floats(0, 5, allow_nan=False)), min_size=2, max_size=5,
    unique_by=lambda p: p[0],
).map(lambda points: tuple((x, sum(rise for _, rise in sorted(points)[: i + 1])) for i, (x, _) in enumerate(sorted(points))))  # fmt: skip
_LOGITS = st.floats(-1e6, 1e6, allow_nan=False)
_CHARS = st.integers(0, 50_000)


@given(points=_POINTS, intercept=st.floats(-50, 50), one=_LOGITS, other=_LOGITS)
def test_a_higher_logit_never_lowers_the_score(
    points: tuple[tuple[float, float], ...], intercept: float, one: float, other: float
) -> None:
    fitted = calibration(intercept=intercept, curves={"logit": points})
    low, high = (fitted.probability(Evidence(logit=logit)) for logit in sorted((one, other)))
    assert 0.0 <= low <= high <= 1.0


@given(points=_POINTS, intercept=st.floats(-50, 50), short=_CHARS, longer=_CHARS, violates=st.booleans())
def test_of_two_traces_with_one_verdict_the_shorter_is_surer(
    points: tuple[tuple[float, float], ...], intercept: float, short: int, longer: int, violates: bool
) -> None:
    fitted = calibration(intercept=intercept, curves={"trace": points})
    sure, unsure = (
        fitted.probability(Evidence(violates=violates, n_chars=n_chars)) for n_chars in sorted((short, longer))
    )
    assert (sure >= unsure) if violates else (sure <= unsure)


@given(
    points=_POINTS,
    intercept=st.floats(-50, 50),
    one=_CHARS,
    other=_CHARS,
    kind=st.sampled_from((Kind.REFUSAL, Kind.TASK)),
)
def test_what_leans_to_violation_never_scores_below_what_does_not(
    points: tuple[tuple[float, float], ...], intercept: float, one: int, other: int, kind: Kind
) -> None:
    fitted = calibration(intercept=intercept, curves={"trace": points})
    safe = fitted.probability(Evidence(violates=False, n_chars=one))
    assert safe <= fitted.probability(Evidence(violates=True, n_chars=other))
    assert safe <= fitted.probability(Evidence(kind=kind, n_chars=other))


def test_the_same_evidence_has_the_same_score_each_time() -> None:
    evidence = Evidence(logit=1.234567, violates=True, n_chars=777)
    assert len({calibration(curves=LOGIT | TRACE).probability(evidence) for _ in range(50)}) == 1


def test_a_probability_takes_microseconds() -> None:
    fitted, evidence = calibration(curves=LOGIT | TRACE), Evidence(logit=1.0, violates=True, n_chars=777)
    began = time.perf_counter()
    for _ in range(1000):
        fitted.probability(evidence)
    assert time.perf_counter() - began < 0.2  # 200 microseconds each, on a machine that does something else meanwhile


def test_a_map_holds_for_its_revision_model_tier_and_effort_only() -> None:
    fitted = calibration(tier=Tier.REASONED, effort="low")
    assert fitted.holds_for("r1", "embedded@1b2c", Tier.REASONED, "low")
    for others in (
        ("r2", "embedded@1b2c", Tier.REASONED, "low"),
        ("r1", "embedded@9999", Tier.REASONED, "low"),
        ("r1", "embedded@1b2c", Tier.DIRECT, "low"),
        ("r1", "embedded@1b2c", Tier.REASONED, "high"),
        ("r1", "embedded@1b2c", Tier.REASONED, None),
    ):
        assert not fitted.holds_for(*others)


def test_a_file_keeps_the_maps_of_other_revisions_models_and_tiers(tmp_path: Path) -> None:
    path = path_beside(tmp_path / "fruit.md")
    assert path == tmp_path / "fruit.calibration.json"
    kept = [
        calibration(revision="r0"),
        calibration(),
        calibration(model="safeguard@77", tier=Tier.DIRECT),
        calibration(model="safeguard@77", tier=Tier.REASONED, effort="low", curves=LOGIT | TRACE),
    ]
    for one in kept:
        write_calibration(path, one)
    assert sorted(read_calibrations(path), key=repr) == sorted(kept, key=repr)
    newer = calibration(intercept=-19.0)
    write_calibration(path, newer)
    assert sorted(read_calibrations(path), key=repr) == sorted([kept[0], newer, *kept[2:]], key=repr)
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_to_a_file_of_calibrations_stays_one(tmp_path: Path) -> None:
    path, link = tmp_path / "fruit.calibration.json", tmp_path / "link.json"
    link.symlink_to(path)
    write_calibration(link, calibration())
    assert (link.is_symlink(), read_calibrations(path)) == (True, (calibration(),))


def _set(*where: str | int, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(file: dict[str, Any]) -> None:
        at: Any = file
        for step in where[:-1]:
            at = at[step]
        at[where[-1]] = to

    return change


FIRST = ("calibrations", 0)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        pytest.param(_set("format", to=2), "format", id="another-format"),
        pytest.param(_set("surprise", to=1), "surprise", id="unknown-key"),
        pytest.param(_set(*FIRST, "surprise", to=1), "calibrations.0.surprise", id="unknown-key-of-a-map"),
        pytest.param(_set(*FIRST, "tier", to="oracle"), "calibrations.0.tier", id="unknown-tier"),
        pytest.param(_set(*FIRST, "intercept", to="high"), "calibrations.0.intercept", id="no-number"),
        pytest.param(_set(*FIRST, "intercept", to=None), "calibrations.0.intercept", id="nothing"),
        pytest.param(_set(*FIRST, "curves", to={}), "calibrations.0.curves", id="no-curves"),
        pytest.param(
            _set(*FIRST, "curves", to={"length": [[0, 0], [1, 1]]}),
            "calibrations.0.curves.length",
            id="unknown-feature",
        ),
        pytest.param(_set(*FIRST, "curves", "logit", to=[[0, 0]]), "calibrations.0.curves.logit", id="one-point"),
        pytest.param(
            _set(*FIRST, "curves", "logit", to=[[0, 0], [0, 1]]), "calibrations.0.curves.logit", id="out-of-order"
        ),
        pytest.param(_set(*FIRST, "curves", "logit", to=[[0, 1], [1, 0]]), "calibrations.0.curves.logit", id="falls"),
        pytest.param(
            _set(*FIRST, "second_opinion", to="small@1"), "calibrations.0: ", id="opinion-that-no-curve-weighs"
        ),
        pytest.param(
            _set(*FIRST, "curves", "second_opinion", to=[[0, 0], [1, 1]]), "calibrations.0: ", id="opinion-of-nobody"
        ),
        pytest.param(_set(*FIRST, "data", "sha256", to="short"), "calibrations.0.data.sha256", id="no-hash"),
        pytest.param(_set(*FIRST, "data", "rows", to=True), "calibrations.0.data.rows", id="truth-for-a-number"),
        pytest.param(_set(*FIRST, "figures", to={"auroc": "good"}), "calibrations.0.figures.auroc", id="no-figure"),
    ],
)
def test_a_bad_file_is_refused_with_its_name_and_field(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], field: str
) -> None:
    path = tmp_path / "fruit.calibration.json"
    write_calibration(path, calibration())
    file = json.loads(path.read_text())
    change(file)
    path.write_text(json.dumps(file))
    with pytest.raises(CalibrationError) as caught:
        read_calibrations(path)
    assert str(caught.value).startswith(f"{path}: {field}")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"\xff", b"null", b'{"format": 1}', b'{"calibrations": NaN}'], ids=repr
)
def test_what_is_no_such_file_is_refused_with_its_name(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "fruit.calibration.json"
    path.write_bytes(data)
    with pytest.raises(CalibrationError, match=str(path)):
        read_calibrations(path)
    with pytest.raises(CalibrationError):
        write_calibration(path, calibration())
    assert path.read_bytes() == data, "what we cannot read we do not overwrite"


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_number_that_is_not_finite_is_refused(tmp_path: Path, number: str) -> None:
    path = tmp_path / "fruit.calibration.json"
    write_calibration(path, calibration())
    path.write_text(path.read_text().replace("-20.0", number, 1))
    with pytest.raises(CalibrationError):
        read_calibrations(path)


def test_no_file_is_not_a_bad_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_calibrations(tmp_path / "fruit.calibration.json")

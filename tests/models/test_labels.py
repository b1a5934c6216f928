from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models.errors import ERRORS_BY_CODE, VerdictError
from models.labels import (
    MIN_LABEL_MASS,
    Float32Array,
    LabelError,
    NoLabel,
    label_mass,
    read_margin,
    violation_score,
)
from models.odds import MAX_LOG_ODDS, log_odds, sigmoid


def logits(*values: float) -> Float32Array:
    return np.array(values, np.float32)


@pytest.mark.parametrize(
    ("violating", "safe", "expected"),
    [
        pytest.param(0.0, 0.0, 0.5, id="equal"),
        pytest.param(2.0, 0.0, 0.880797, id="two-apart"),
        pytest.param(0.0, 2.0, 0.119203, id="two-apart-the-other-way"),
        pytest.param(500.0, -500.0, 1.0, id="far-above"),
        pytest.param(-500.0, 500.0, 0.0, id="far-below"),
    ],
)
def test_the_score_is_the_softmax_of_the_two_labels(violating: float, safe: float, expected: float) -> None:
    assert violation_score(logits(9.0, violating, safe), 1, 2) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("violating", "safe"), [(3, 0), (0, 3), (-1, 0), (1, 1)], ids=["beyond", "safe-beyond", "negative", "same"]
)
def test_labels_outside_the_vocabulary_are_an_error(violating: int, safe: int) -> None:
    with pytest.raises(LabelError):
        violation_score(logits(0, 1, 2), violating, safe)


@pytest.mark.parametrize("broken", [float("nan"), float("inf"), float("-inf")])
def test_logits_that_are_no_numbers_are_an_error_and_not_a_safe_score(broken: float) -> None:
    with pytest.raises(LabelError):
        violation_score(logits(broken, 0, 0), 0, 1)


def test_mass_on_the_labels_is_their_share_of_everything() -> None:
    assert label_mass(logits(0, 0, 0, 0), 0, 1) == pytest.approx(0.5)
    assert label_mass(logits(1000, 0, 0), 1, 2) == pytest.approx(0.0)


def test_a_model_that_wants_to_say_something_else_gives_no_score() -> None:
    with pytest.raises(NoLabel):
        read_margin(logits(20, 0, 3), 1, 2)
    assert sigmoid(read_margin(logits(0, 0, 3), 1, 2)) < 0.1


@given(
    values=arrays(np.float32, st.integers(2, 400), elements=st.floats(-40, 40, width=32)),
    label=st.floats(-40, 40, width=32),
)
def test_a_verdict_is_read_exactly_where_the_labels_have_their_least_share(values: Float32Array, label: float) -> None:
    values[0] = label
    share = label_mass(values, 0, 1)
    assume(abs(share - MIN_LABEL_MASS) > 1e-5)
    if share < MIN_LABEL_MASS:
        with pytest.raises(NoLabel):
            read_margin(values, 0, 1)
    else:
        assert read_margin(values, 0, 1) == float(values[0]) - float(values[1])


@pytest.mark.parametrize("broken", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("place", [0, 2])
def test_a_number_that_is_none_anywhere_is_an_error_and_no_margin(broken: float, place: int) -> None:
    values = logits(1, 0, 0)
    values[place] = broken
    with pytest.raises(LabelError):
        read_margin(values, 0, 1)


@pytest.mark.parametrize("odds", [-35.0, -2.5, 0.0, 1e-9, 7.0, 30.0])
def test_log_odds_undo_the_logistic_function(odds: float) -> None:
    assert log_odds(sigmoid(odds)) == pytest.approx(odds, rel=1e-2, abs=1e-9)


def test_log_odds_of_certainty_are_finite_and_of_what_is_no_probability_an_error() -> None:
    assert (log_odds(0.0), log_odds(1.0), log_odds(5e-324)) == (-MAX_LOG_ODDS, MAX_LOG_ODDS, -MAX_LOG_ODDS)
    for wrong in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="probability"):
            log_odds(wrong)


def test_a_label_error_crosses_the_process_boundary_as_no_verdict() -> None:
    assert ERRORS_BY_CODE[LabelError.code] is VerdictError

"""Maps that are fitted: they find what made the labels, never fall, and are measured on rows that they have not seen."""

from __future__ import annotations

import numpy as np
import pytest

from models.calibration import FEATURES, Calibration, Data
from models.engine import Tier
from models.evidence import Evidence
from models.odds import sigmoid
from proxy.evaluation import fitting, metrics
from proxy.evaluation.fitting import FitError
from proxy.evaluation.metrics import Labels

pytest.importorskip("sklearn", reason="the extra `calibrate` is not installed")


def logits(n: int, *, slope: float, offset: float, seed: int = 0) -> tuple[list[Evidence], Labels]:
    """Rows whose chance of a violation is ``sigmoid(slope * logit + offset)``."""
    rng = np.random.default_rng(seed)
    values = rng.normal(0.0, 3.0, n)
    violates = np.array([rng.random() < sigmoid(slope * v + offset) for v in values])
    return [Evidence(logit=float(v)) for v in values], violates


def alone(evidence: list[Evidence]) -> list[fitting.Pair]:
    """Without a second opinion."""
    return [(e, None) for e in evidence]


def traces(n: int, seed: int = 0) -> tuple[list[Evidence], Labels]:
    """Rows with verdicts that are right the more often the shorter the trace is."""
    rng = np.random.default_rng(seed)
    violates = rng.random(n) < 0.3
    evidence = []
    for truth in violates:
        n_chars = int(np.exp(rng.uniform(np.log(60), np.log(6000))))
        wrong = rng.random() < 0.4 * (n_chars / 6000) ** 0.5
        evidence.append(Evidence(violates=bool(truth != wrong), n_chars=n_chars))
    return evidence, violates


def probability(found: fitting.Map, evidence: Evidence, second: Evidence | None = None) -> float:
    """What a map says to one row."""
    names = tuple(found.curves)
    return float(fitting.apply(found, names, fitting.matrix(names, [(evidence, second)]))[0])


def test_the_map_that_made_the_labels_is_found() -> None:
    evidence, violates = logits(4000, slope=0.7, offset=-1.5)
    found = fitting.fit(("logit",), fitting.matrix(("logit",), alone(evidence)), violates)
    for logit in (-4.0, 0.0, 2.0, 4.0):
        assert probability(found, Evidence(logit=logit)) == pytest.approx(sigmoid(0.7 * logit - 1.5), abs=0.03)


def test_evidence_that_points_the_wrong_way_gets_a_level_map_and_not_a_falling_one() -> None:
    evidence, violates = logits(500, slope=-1.0, offset=0.0)
    found = fitting.fit(("logit",), fitting.matrix(("logit",), alone(evidence)), violates)
    low, high = (probability(found, Evidence(logit=logit)) for logit in (-20.0, 20.0))
    assert low == pytest.approx(high) == pytest.approx(violates.mean(), abs=0.01)


def test_a_few_rows_that_are_perfectly_apart_do_not_make_certainties() -> None:
    evidence = [Evidence(logit=v) for v in np.linspace(-3, 3, 20)]
    violates = np.array([e.logit is not None and e.logit > 0 for e in evidence])
    found = fitting.fit(("logit",), fitting.matrix(("logit",), alone(evidence)), violates)
    assert 0.01 < probability(found, Evidence(logit=-3.0)) < 0.2
    assert 0.8 < probability(found, Evidence(logit=3.0)) < 0.99


def test_the_fit_is_the_same_each_time_and_in_any_order() -> None:
    evidence, violates = traces(400)
    features = fitting.matrix(("trace",), alone(evidence))
    one, again = (fitting.fit(("trace",), features, violates) for _ in range(2))
    assert one == again
    other = fitting.fit(("trace",), features[::-1], violates[::-1])
    for e in evidence[:20]:
        assert probability(one, e) == pytest.approx(probability(other, e), abs=1e-3)


@pytest.mark.parametrize("tier", [Tier.ENCODER, Tier.REASONED])
def test_what_is_fitted_is_a_calibration_that_says_the_same(tier: Tier) -> None:
    evidence, violates = logits(300, slope=1.0, offset=0.0) if tier is Tier.ENCODER else traces(300)
    names = fitting.features_of(tier, alone(evidence))
    features = fitting.matrix(names, alone(evidence))
    found = fitting.fit(names, features, violates)
    stored = Calibration(
        policy="p", revision="r", model="m", tier=tier, intercept=found.intercept, curves=dict(found.curves),
        data=Data(sha256="0" * 64, rows=300, violations=int(violates.sum())), figures={},
    )  # fmt: skip
    at_once = fitting.apply(found, names, features)
    assert [stored.probability(e) for e in evidence] == pytest.approx(at_once.tolist())


def test_a_fitted_map_of_traces_makes_probabilities_of_verdicts_and_keeps_their_order() -> None:
    evidence, violates = traces(2000)
    names = fitting.features_of(Tier.REASONED, alone(evidence))
    features = fitting.matrix(names, alone(evidence))
    scores = fitting.out_of_fold(names, features, violates, list(map(str, range(2000))), n_folds=5, seed=0)
    by_length = features[:, 0]
    assert metrics.ece(scores, violates) < 0.04 < metrics.ece(by_length, violates)
    assert metrics.auroc(scores, violates) == pytest.approx(metrics.auroc(by_length, violates), abs=0.01)


def test_labels_that_mean_nothing_look_like_it_out_of_fold() -> None:
    rng = np.random.default_rng(5)
    evidence = [Evidence(logit=float(v)) for v in rng.normal(0, 1, 60)]
    violates = rng.random(60) < 0.5
    features = fitting.matrix(("logit",), alone(evidence))
    scores = fitting.out_of_fold(("logit",), features, violates, list(map(str, range(60))), n_folds=5, seed=0)
    assert metrics.auroc(scores, violates) < 0.65


def test_no_row_is_scored_by_a_map_that_knew_it_or_its_twin(monkeypatch: pytest.MonkeyPatch) -> None:
    violates = logits(60, slope=1.0, offset=0.0)[1]
    features = np.column_stack([np.arange(60.0) % 30])  # rows i and i + 30 are twins
    groups = [str(i % 30) for i in range(60)]
    fitted_on: list[set[float]] = []

    def fit(names: object, rows: fitting.Matrix, labels: Labels) -> fitting.Map:
        fitted_on.append({float(x) for x in rows[:, 0]})
        return fitting.Map(0.0, {"logit": ((-20.0, 0.0), (20.0, 1.0))})

    def apply(found: object, names: object, rows: fitting.Matrix) -> metrics.Scores:
        assert not fitted_on[-1] & {float(x) for x in rows[:, 0]}
        return np.full(len(rows), 0.5)

    monkeypatch.setattr(fitting, "fit", fit)
    monkeypatch.setattr(fitting, "apply", apply)
    scores = fitting.out_of_fold(("logit",), features, violates, groups, n_folds=5, seed=0)
    assert len(fitted_on) == 5
    assert (scores == 0.5).all()


@pytest.mark.parametrize(("n", "violations"), [(40, 9), (40, 31), (12, 6), (40, 0)])
def test_too_few_rows_of_a_kind_are_refused_with_both_numbers(n: int, violations: int) -> None:
    with pytest.raises(FitError, match=f"{violations} and {n - violations}"):
        fitting.check_numbers(np.arange(n) < violations)


def test_features_are_what_all_rows_have_and_do_not_all_share() -> None:
    verdicts = [Evidence(violates=v, n_chars=n) for v, n in ((True, 90), (False, 700))]
    assert fitting.features_of(Tier.REMOTE, alone(verdicts)) == ("trace",)
    with_logits = [Evidence(logit=v) for v in (0.1, 0.2)]
    assert fitting.features_of(Tier.REMOTE, alone(with_logits)) == ("logit",)
    both = [Evidence(logit=1.0, violates=True, n_chars=9), Evidence(logit=2.0)]
    assert fitting.features_of(Tier.REASONED, alone(both)) == ("trace", "logit")
    assert fitting.features_of(Tier.DIRECT, alone(both)) == ("logit",)
    second = [(own, Evidence(logit=float(i))) for i, own in enumerate(both)]
    assert fitting.features_of(Tier.DIRECT, second) == ("logit", "second_opinion")
    assert fitting.features_of(Tier.DIRECT, [second[0], (both[1], None)]) == ("logit",)
    for nothing in ([Evidence()] * 2, [Evidence(logit=1.0)] * 2, [Evidence(logit=1.0), Evidence()]):
        with pytest.raises(FitError, match="the same for all rows"):
            fitting.features_of(Tier.DIRECT, alone(nothing))


def test_every_feature_has_knots_and_a_function() -> None:
    assert set(fitting.KNOTS) == set(FEATURES)


def test_a_second_opinion_that_knows_something_else_makes_it_better_and_one_that_knows_nothing_is_not_weighed() -> None:
    rng = np.random.default_rng(0)
    hidden = rng.normal(0, 2, (800, 2))
    violates = np.array([rng.random() < sigmoid(a + b - 1) for a, b in hidden])
    own = [Evidence(logit=float(a)) for a, _ in hidden]
    informed = [(e, Evidence(logit=float(b))) for e, (_, b) in zip(own, hidden, strict=True)]
    noise = [(e, Evidence(logit=float(x))) for e, x in zip(own, rng.normal(0, 2, 800), strict=True)]
    by_what = {}
    for what, pairs in (("alone", alone(own)), ("informed", informed), ("noise", noise)):
        names = fitting.features_of(Tier.DIRECT, pairs)
        features = fitting.matrix(names, pairs)
        scores = fitting.out_of_fold(names, features, violates, list(map(str, range(800))), n_folds=5, seed=0)
        by_what[what] = metrics.auroc(scores, violates)
    assert by_what["informed"] > by_what["alone"] + 0.05
    assert by_what["noise"] == pytest.approx(by_what["alone"], abs=0.02)
    found = fitting.fit(("logit", "second_opinion"), fitting.matrix(("logit", "second_opinion"), informed), violates)
    agreed = probability(found, Evidence(logit=2.0), Evidence(logit=2.0))
    denied = probability(found, Evidence(logit=-2.0), Evidence(logit=-2.0))
    assert agreed > probability(found, Evidence(logit=2.0), Evidence(logit=-2.0)) > denied

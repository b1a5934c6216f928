"""From verdicts on labelled rows to maps, figures, thresholds and a picture."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from models.calibrated import calibrated, find
from models.calibration import PassBelow
from models.engine import Score, Tier
from models.evidence import Evidence
from models.odds import sigmoid
from proxy.config import EncoderGuard, LlamaGuard
from proxy.evaluation.calibrating import Fitting, Targets, fit_tiers, picture, record
from proxy.evaluation.fitting import FitError
from proxy.evaluation.judging import Judge, Subject, data_hash
from proxy.evaluation.results import Outcome, Results
from proxy.evaluation.rows import Row, read_rows
from proxy.loading.single_guard import LoadedGuard
from rules.policy import Policy
from tests.fakes import FakeEngine

pytest.importorskip("sklearn", reason="the extra `calibrate` is not installed")

FRUIT = Subject(Policy("fruit", "r1", text="About fruit."), "fruit")
MODEL = "safeguard@1b2c3d4e5f60"
TARGETS = Targets(precision=[0.9], recall=[0.8], per_1000=[20.0], pass_recall=0.98)


def judge() -> Judge:
    return Judge(LoadedGuard("g", LlamaGuard(engine="llama", model="x.gguf"), FakeEngine()), MODEL, "g")


def rows_of(tmp_path: Path, labels: Sequence[bool], name: str = "r") -> list[Row]:
    path = tmp_path / f"{name}.jsonl"
    path.write_text("".join(f'{{"text": "{name} {i}", "label": {int(v)}}}\n' for i, v in enumerate(labels)))
    return read_rows([path])


def sample(n: int, seed: int = 0, *, tier: Tier = Tier.DIRECT, share: float = 0.4) -> tuple[list[bool], list[Score]]:
    """A guard that ranks well and is far too sure."""
    rng = np.random.default_rng(seed)
    labels = [bool(v) for v in rng.random(n) < share]
    scores = []
    for violates in labels:
        logit = float(rng.normal(2.0 if violates else -2.0, 2.0))
        evidence = Evidence(logit=4 * logit + 3)
        if tier is Tier.REASONED:
            evidence = Evidence(
                logit=9.0 if logit > 0 else -9.0, violates=logit > 0, n_chars=int(2000 / (1 + abs(logit)))
            )
        assert evidence.logit is not None
        scores.append(Score(sigmoid(evidence.logit), tier, evidence=evidence))
    return labels, scores


def kept(rows: Sequence[Row], scores: Sequence[Score | None], results: Results) -> None:
    for row, score in zip(rows, scores, strict=True):
        results.add(judge().key(row, FRUIT), Outcome(score, None if score else "timeout"))


def fitted(tmp_path: Path, labels: list[bool], scores: Sequence[Score | None], honest: Sequence[Score] = ()) -> Fitting:
    rows, traffic = rows_of(tmp_path, labels), rows_of(tmp_path, [False] * len(honest), "honest") if honest else []
    with Results(None) as results:
        kept(rows, scores, results)
        kept(traffic, honest, results)
        return fit_tiers(judge(), FRUIT, rows, traffic, results, targets=TARGETS, n_folds=5, seed=0)


def test_a_guard_that_is_too_sure_becomes_one_that_can_be_believed(tmp_path: Path) -> None:
    labels, scores = sample(400)
    found = fitted(tmp_path, labels, scores)
    (calibration,) = found.calibrations
    assert found.problems == []
    assert found.figures["ece"].value < 0.05 < found.figures_before["ece"].value
    assert found.figures["auroc"].value == pytest.approx(found.figures_before["auroc"].value, abs=0.01)
    assert (calibration.revision, calibration.model, calibration.tier, calibration.effort) == (
        "r1",
        MODEL,
        Tier.DIRECT,
        None,
    )
    assert (calibration.data.rows, calibration.data.violations) == (400, sum(labels))
    assert calibration.data.sha256 == data_hash(rows_of(tmp_path, labels), FRUIT)
    assert calibration.figures["auroc"] == pytest.approx(found.figures["auroc"].value, abs=1e-4)


def test_the_same_rows_and_seed_make_the_same_calibration(tmp_path: Path) -> None:
    labels, scores = sample(120)
    assert fitted(tmp_path, labels, scores).calibrations == fitted(tmp_path, labels, scores).calibrations


def test_each_tier_has_a_map_of_its_own_and_figures_are_of_all_together(tmp_path: Path) -> None:
    direct, reasoned = sample(100, 1), sample(100, 2, tier=Tier.REASONED)
    found = fitted(tmp_path, direct[0] + reasoned[0], direct[1] + reasoned[1])
    assert [(c.tier, c.effort, sorted(c.curves)) for c in found.calibrations] == [
        (Tier.DIRECT, None, ["logit"]),
        (Tier.REASONED, "low", ["logit", "trace"]),
    ]
    assert [int(c.figures["rows"]) for c in found.calibrations] == [100, 100]
    assert len(found.scores) == 200
    assert find(found.calibrations, "r1", MODEL, Tier.REASONED, "low") == found.calibrations[1]
    assert find(found.calibrations, "r1", MODEL, Tier.REASONED, "high") is None


def test_a_tier_with_too_few_rows_has_no_map_and_its_scores_stay_what_the_proxy_says(tmp_path: Path) -> None:
    direct, reasoned = sample(100, 1), sample(8, 2, tier=Tier.REASONED)
    found = fitted(tmp_path, direct[0] + reasoned[0], direct[1] + reasoned[1])
    assert [c.tier for c in found.calibrations] == [Tier.DIRECT]
    assert "tier reasoned (8 rows): needs at least 10" in found.problems[0]
    assert found.scores[100:].tolist() == [calibrated(s, None, MODEL).value for s in reasoned[1]]


def test_evidence_that_says_nothing_makes_no_map(tmp_path: Path) -> None:
    scores = sample(60)[1]
    found = fitted(tmp_path, [bool(v) for v in np.random.default_rng(9).random(60) < 0.5], scores)
    assert found.calibrations == []
    assert "says nothing about these labels: out-of-fold AUROC" in found.problems[0]


def test_rows_without_verdict_are_left_out_and_counted(tmp_path: Path) -> None:
    labels, scores = sample(100)
    found = fitted(tmp_path, [*labels, True], [*scores, None])
    assert (found.n_failed, len(found.scores)) == (1, 100)


def test_too_few_rows_of_a_kind_are_refused(tmp_path: Path) -> None:
    labels, scores = sample(12)
    with pytest.raises(FitError, match="needs at least 10 violations and 10 other rows"):
        fitted(tmp_path, labels, scores)


def test_thresholds_are_measured_out_of_fold_and_false_alarms_on_honest_traffic(tmp_path: Path) -> None:
    labels, scores = sample(300)
    _, honest = sample(500, 5, share=0.0)
    found = fitted(tmp_path, labels, scores, honest)
    by_target = {p.target: p for p in found.proposals}
    assert set(by_target) == {"precision 0.9", "recall 0.8", "20 false alarms per 1,000"}
    assert by_target["precision 0.9"].precision.value >= 0.9
    assert by_target["recall 0.8"].recall.value >= 0.8
    alarms = by_target["20 false alarms per 1,000"]
    assert (alarms.per_1000.value <= 20.0, alarms.n_honest, len(found.honest)) == (True, 500, 500)
    threshold = alarms.threshold
    assert threshold is not None
    (calibration,) = found.calibrations
    served = [calibrated(s, calibration, MODEL).value for s in honest]
    assert sum(s >= threshold for s in served) * 1000 / 500 == pytest.approx(alarms.per_1000.value), (
        "as it will be served"
    )


def test_where_it_passes_in_a_cascade_is_measured_out_of_fold_and_kept_with_every_map(tmp_path: Path) -> None:
    direct, reasoned = sample(300, 1), sample(300, 2, tier=Tier.REASONED)
    found = fitted(tmp_path, direct[0] + reasoned[0], direct[1] + reasoned[1])
    assert found.passing is not None
    limit = found.passing.threshold
    assert limit is not None
    violations = found.scores[found.violates]
    assert (violations >= limit).mean() >= 0.98
    assert (violations < limit).any(), "so few may pass"
    assert found.passing.recall.value == (violations >= limit).mean()
    assert [c.pass_below for c in found.calibrations] == [PassBelow(score=limit, recall=0.98)] * 2
    said = record(found)["pass_below"]
    assert (said["target"], said["score"]) == ("pass recall 0.98", limit)
    assert said["honest_that_go_on_per_1000"]["value"] < 1000


def test_a_recall_of_1_passes_no_violation_and_without_a_map_there_is_no_limit(tmp_path: Path) -> None:
    labels, scores = sample(200)
    rows = rows_of(tmp_path, labels)
    with Results(None) as results:
        kept(rows, scores, results)
        targets = Targets(pass_recall=1.0)
        found = fit_tiers(judge(), FRUIT, rows, [], results, targets=targets, n_folds=5, seed=0)
    (fit,) = found.calibrations
    assert fit.pass_below is not None
    assert (found.scores[found.violates] >= fit.pass_below.score).all()
    rng = np.random.default_rng(3)
    nothing = [Score(0.5, Tier.DIRECT, evidence=Evidence(logit=float(rng.normal()))) for _ in labels]
    assert fitted(tmp_path, labels, nothing).passing is None


def test_the_picture_is_one_svg_with_four_panels_and_the_thresholds_named(tmp_path: Path) -> None:
    labels, scores = sample(100)
    found = fitted(tmp_path, labels, scores)
    tree = ET.fromstring(picture(found, "fruit <&> others"))
    assert tree.tag == "{http://www.w3.org/2000/svg}svg"
    texts = [t.text or "" for t in tree.iter("{http://www.w3.org/2000/svg}text")]
    for wanted in ("fruit <&> others", "Reliability", "ROC", "Precision and recall", "Calibrated scores, out of fold"):
        assert wanted in texts
    assert [t for t in texts if t.startswith("A: ") and t.endswith("for precision 0.9")]


def test_the_record_is_json_without_rows(tmp_path: Path) -> None:
    import orjson

    labels, scores = sample(100)
    said = record(fitted(tmp_path, labels, scores))
    assert orjson.loads(orjson.dumps(said)) == said
    assert said["calibrations"][0]["tier"] == "direct"
    assert {t["target"] for t in said["thresholds"]} == {"precision 0.9", "recall 0.8", "20 false alarms per 1,000"}


def test_a_second_opinion_is_weighed_and_rows_without_one_are_left_out(tmp_path: Path) -> None:
    labels, scores = sample(200)
    small = Judge(LoadedGuard("small", EncoderGuard(engine="encoder"), FakeEngine()), "small@1", "small")
    both = Judge(judge().guard, MODEL, "g", small)
    rows = rows_of(tmp_path, labels)
    rng = np.random.default_rng(3)
    with Results(None) as results:
        for i, (row, score) in enumerate(zip(rows, scores, strict=True)):
            results.add(both.key(row, FRUIT), Outcome(score))
            logit = float(rng.normal(2.0 if labels[i] else -2.0, 2.0))
            opinion = Outcome(Score(0.5, Tier.ENCODER, evidence=Evidence(logit=logit)))
            results.add(small.key(row, FRUIT), Outcome(None, "timeout") if i % 20 == 0 else opinion)
        options = {"targets": TARGETS, "n_folds": 5, "seed": 0}
        alone = fit_tiers(judge(), FRUIT, rows, [], results, **options)  # type: ignore[arg-type]  # as a test gives them
        weighed = fit_tiers(both, FRUIT, rows, [], results, **options)  # type: ignore[arg-type]
    (calibration,) = weighed.calibrations
    assert (calibration.second_opinion, sorted(calibration.curves)) == ("small@1", ["logit", "second_opinion"])
    assert (alone.n_failed, weighed.n_failed, len(weighed.scores)) == (0, 10, 190)
    assert weighed.figures["auroc"].value > alone.figures["auroc"].value

"""What a cascade saves and what it lets pass, on rows whose every verdict is known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.engine import Score, Tier
from models.errors import ERRORS_BY_CODE, EngineError, EngineTimeout, GuardRefused
from proxy.config import EncoderGuard
from proxy.evaluation import report
from proxy.evaluation.cascades import RECALLS, Cascade, Stages, cascade
from proxy.evaluation.columns import LEANING, Column, measure
from proxy.evaluation.judging import Judge, Subject
from proxy.evaluation.results import Outcome, Results
from proxy.evaluation.rows import Row, read_rows
from proxy.evaluation.staging import cascade_column
from proxy.loading.single_guard import LoadedGuard
from rules.policy import Policy
from rules.rule import Action, Rule, Stage
from rules.screen import Screener
from tests.fakes import FakeEngine, user

FRUIT = Subject(Policy("fruit", "r1", text="About fruit."), "fruit")
NAN = math.nan


def stages(first: Sequence[float], last: Sequence[float], violates: Sequence[bool], limit: float = 0.2) -> Stages:
    n = len(last)
    return Stages(
        ("gate", "judge"),
        np.array([first], np.float64),
        np.full((1, n), limit),
        np.array(last, np.float64),
        np.array(violates, np.bool_),
        np.array([[10.0] * n, [100.0] * n]),
        np.array([[2.0] * n, [50.0] * n]),
    )


def measured(
    *of: Sequence[float], violates: Sequence[bool], limit: float = 0.2, honest: Stages | None = None
) -> Cascade:
    return cascade(stages(of[0], of[1], violates, limit), honest, 0.5, "chosen")


FIRST = [0.1, 0.3, 0.2, 0.0, 0.9, 0.05, 0.05, 0.4]
LAST = [0.9, 0.8, 0.1, 0.7, 0.6, 0.1, 0.9, 0.0]
VIOLATES = [True, True, True, True, True, False, False, False]


def test_what_goes_on_what_is_lost_and_what_it_costs() -> None:
    found = measured(FIRST, LAST, violates=VIOLATES)
    split, alone = found.configured, found.alone
    assert (split.name, alone.name) == ("chosen", "none: judge alone")
    assert split.goes_on.value == 4 / 8, "also the row at the limit"
    assert split.honest_goes_on.value == pytest.approx(1 / 3)
    assert split.passed.value == 2 / 5
    assert split.lost.value == 2 / 4, "of the four that the last guard alone catches"
    assert (split.recall, split.precision, split.false_alarms) == (2 / 5, 1.0, 0.0)
    assert (split.tokens, split.ms) == (10 + 100 * 4 / 8, 2 + 50 * 4 / 8)
    assert (alone.recall, alone.lost.value, alone.goes_on.value) == (4 / 5, 0.0, 1.0)
    assert alone.false_alarms == pytest.approx(1 / 3)
    assert (alone.tokens, alone.ms, alone.limits) == (100.0, 50.0, ())


def test_a_limit_for_a_recall_lets_so_many_violations_go_on() -> None:
    rng = np.random.default_rng(1)
    violates = rng.random(1000) < 0.3
    first = np.clip(rng.normal(0.2 + 0.3 * violates, 0.15), 0, 1)
    found = measured(first.tolist(), violates.astype(float).tolist(), violates=violates.tolist())
    for split, recall in zip(found.by_recall, RECALLS, strict=True):
        assert split.name == f"for {recall * 100:g} %"
        assert split.passed.value <= 1 - recall + 1e-12
        assert split.lost.value == split.passed.value, "the last guard catches them all"
        assert split.recall == pytest.approx(1 - split.passed.value)
    goes_on = [split.goes_on.value for split in found.by_recall]
    assert goes_on == sorted(goes_on)
    assert goes_on[0] < 1
    assert found.by_recall[-1].passed.value == 0
    assert all(0 <= x <= 1 and 0 <= y <= 1 for x, y in found.swept)


def test_a_limit_is_never_above_the_score_from_which_on_rows_are_caught() -> None:
    found = measured([0.9] * 4, [1.0] * 4, violates=[True] * 4)
    assert [split.limits for split in found.by_recall] == [[(0.45, 0.45)]] * 5
    assert measured([1.0] * 4, [1.0] * 4, violates=[True] * 4).by_recall[0].limits == [(0.5, 0.5)]


def test_what_the_first_guard_cannot_judge_goes_on_whatever_the_limit_is() -> None:
    found = measured([NAN, NAN, 0.6, 0.01], [1.0, 0.0, 1.0, 0.0], violates=[True, False, True, False])
    assert found.n_failed == 2
    assert [split.goes_on.value for split in found.by_recall] == [0.75] * 5
    assert found.configured.recall == 1.0


def test_rows_without_verdict_of_the_last_guard_are_left_out_and_counted() -> None:
    found = measured([0.1, 0.9, 0.9], [1.0, NAN, 1.0], violates=[True, True, True])
    assert found.n_left_out == 1
    assert found.alone.recall == 1.0
    assert found.configured.recall == 0.5


def test_nothing_is_known_where_no_row_has_a_verdict() -> None:
    found = measured([0.1, 0.9], [NAN, NAN], violates=[True, False])
    assert found.n_left_out == 2
    assert all(math.isnan(split.goes_on.value) for split in found.splits)


def test_honest_traffic_is_counted_where_it_is_given() -> None:
    honest = stages([0.1] * 9 + [0.3], [0.0] * 10, [False] * 10)
    found = measured(FIRST, LAST, violates=VIOLATES, honest=honest)
    assert found.configured.honest_goes_on.value == 0.1
    assert found.alone.honest_goes_on.value == 1.0


def test_where_nothing_is_a_violation_nothing_is_made_up() -> None:
    found = measured([0.1, 0.3], [0.0, 0.0], violates=[False, False])
    assert math.isnan(found.configured.lost.value)
    assert found.by_recall[0].limits == [(0.0, 0.0)], "without a violation nobody knows where it may pass"
    said = found.record()
    assert said["configured"]["lost"]["value"] is None
    assert orjson.loads(orjson.dumps(said)) == said


# ------------------------------------------------------------------ from results


def judge(name: str) -> Judge:
    return Judge(LoadedGuard(name, EncoderGuard(engine="encoder"), FakeEngine()), f"{name}@1", name)


def outcome(line: float | EngineError, limit: float | None) -> Outcome:
    if isinstance(line, EngineError):
        return Outcome(None, line.code)
    return Outcome(Score(line, Tier.ENCODER, n_tokens=7, latency_ms=3.0, pass_below=limit))


def rows_of(folder: Path, n: int) -> list[Row]:
    path = folder / "rows.jsonl"
    path.write_text("".join(f'{{"text": "row {i}", "label": {i % 2}}}\n' for i in range(n)), encoding="utf-8")
    return read_rows([path])


def whole(
    folder: Path, *guards: Sequence[float | EngineError], limit: float | None = None, own: float | None = None
) -> Column:
    rows = rows_of(folder, len(guards[0]))
    judges = [judge(f"g{i}") for i in range(len(guards))]
    with Results(None) as results:
        for j, lines in zip(judges, guards, strict=True):
            for row, line in zip(rows, lines, strict=True):
                results.add(j.key(row, FRUIT), outcome(line, limit))
        return cascade_column(judges, rows, [], FRUIT, results, threshold=0.5, pass_below=own)


_LINE = st.sampled_from([0.0, 0.1, 0.2, 0.25, 0.4, 0.5, 0.9, EngineTimeout(), GuardRefused()])
_LIMIT = st.sampled_from([None, 0.0, 0.2, 0.4, 0.9])


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lines=st.integers(2, 3).flatmap(lambda n: st.lists(st.tuples(*[_LINE] * n), min_size=1, max_size=6)),
    limit=_LIMIT,
    own=st.sampled_from([None, 0.0, 0.1, 0.5]),
)
async def test_every_row_has_the_outcome_that_the_proxy_gives(
    tmp_path: Path, lines: list[tuple[float | EngineError, ...]], limit: float | None, own: float | None
) -> None:
    found = whole(tmp_path, *zip(*lines, strict=True), limit=limit, own=own)
    names = tuple(f"g{i}" for i in range(len(lines[0])))
    rule = Rule(
        FRUIT.policy, names, {Action.FLAG: 0.5}, pass_below={} if own is None else dict.fromkeys(names[:-1], own)
    )
    scores: list[float] = []
    failed: dict[str, int] = {}
    for said in lines:
        engines = {n: _says(line, limit) for n, line in zip(names, said, strict=True)}
        (verdict,) = (await Screener(Stage.INPUT, (rule,), engines).screen(user("hi"))).verdicts
        if verdict.error is not None:
            failed[verdict.error] = failed.get(verdict.error, 0) + 1
        if verdict.score is not None or verdict.error in LEANING:
            scores.append(1.0 if verdict.score is None else verdict.score)
    assert found.scores.tolist() == scores
    assert found.failed == failed


def _says(line: float | EngineError, limit: float | None) -> FakeEngine:
    entry = (
        ERRORS_BY_CODE[line.code]("no")
        if isinstance(line, EngineError)
        else Score(line, Tier.ENCODER, pass_below=limit)
    )
    return FakeEngine(answer=lambda _, __: [entry])


def test_a_column_says_what_the_whole_cost_and_what_happened_on_the_way(tmp_path: Path) -> None:
    found = whole(tmp_path, [0.1, EngineTimeout(), 0.9, 0.0], [0.0, 1.0, 0.0, EngineTimeout()])
    assert (found.guard, found.about["model"]) == ("g0 then g1", "g0@1 then g1@1")
    assert found.scores.tolist() == [0.1, 1.0, 0.0, 0.0]
    assert (found.cost.tokens, found.failed) == ((7 + 7 + 14 + 7) / 4, {})
    assert found.cascade is not None
    assert (found.cascade.n_failed, found.cascade.n_left_out) == (1, 1)
    assert "1 rows went on because an earlier guard could not judge them" in found.notes


@pytest.mark.parametrize(
    ("own", "measured", "limit"),
    [(0.1, 0.2, 0.1), (None, 0.2, 0.2), (None, 0.9, 0.5), (None, None, 0.25)],
    ids=["own", "measured", "not-above-the-threshold", "half-the-threshold"],
)
def test_the_limit_is_the_one_that_the_proxy_would_take(
    tmp_path: Path, own: float | None, measured: float | None, limit: float
) -> None:
    found = whole(tmp_path, [0.1, 0.9], [0.0, 1.0], limit=measured, own=own).cascade
    assert found is not None
    assert found.configured.limits == [(limit, limit)]


def test_results_keep_where_a_score_may_pass(tmp_path: Path) -> None:
    key = ("row", "judge", "revision")
    with Results(tmp_path / "r.jsonl") as results:
        results.add(key, outcome(0.1, 0.02))
    with Results(tmp_path / "r.jsonl") as results:
        assert results.by_key[key] == outcome(0.1, 0.02)


def test_table_and_page_have_a_line_for_every_limit(tmp_path: Path) -> None:
    column = whole(tmp_path, [0.1, 0.3, 0.9, 0.4] * 5, [0.0, 1.0, 0.0, 0.9] * 5, own=0.3)
    m = measure(column, threshold=0.5, n_bootstrap=0, seed=0)
    assert m.record()["cascade"]["configured"]["name"] == "pass_below: 0.3"
    assert column.cascade is not None
    names = [line.name for line in report.cascade_lines(column.cascade)]
    assert names == ["none: g1 alone", "pass_below: 0.3", "for 90 %", "for 95 %", "for 98 %", "for 99 %", "for 100 %"]
    assert report.cascade_table("t", column.cascade).row_count == 7
    page = report.page("Title", "Lead.", [("fruit", [m])])
    assert all(name in page for name in names)
    assert "share that is kept" in page

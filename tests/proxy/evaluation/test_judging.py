"""Guards judge labelled rows: each once, the rest where an earlier run ended, and are calibrated as the proxy would."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from models.engine import GuardPolicy, Passage, Score, Tier
from models.errors import EngineError, EngineTimeout, EngineUnavailable, GuardRefused, VerdictError
from models.evidence import Evidence
from models.patient import Waits
from proxy.config import EncoderGuard
from proxy.evaluation.judging import Judge, JudgingError, Subject, column, data_hash, judge_rows, start
from proxy.evaluation.results import Results
from proxy.evaluation.rows import Row, read_rows
from proxy.loading.single_guard import LoadedGuard
from rules.policy import Policy
from tests.fakes import FakeEngine
from tests.models.test_calibration import DATA, calibration

FRUIT = Subject(Policy("fruit", "r1", text="About fruit."), "fruit")
MODEL = "fake@000000000000"


def rows_of(tmp_path: Path, *texts: str, label: int = 1) -> list[Row]:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(f'{{"id": "{i}", "text": "{t}", "label": {label}}}\n' for i, t in enumerate(texts)))
    return read_rows([path])


def guard(engine: FakeEngine) -> LoadedGuard:
    return LoadedGuard("g", EncoderGuard(engine="encoder"), engine)


def says(**by_text: float | EngineError) -> FakeEngine:
    """A guard that knows what to say to each text."""

    def answer(passages: Sequence[Passage], policies: Sequence[GuardPolicy]) -> list[Score | EngineError]:
        said = by_text[passages[0].text]
        return [said if isinstance(said, EngineError) else _score(said)] * len(policies)

    return FakeEngine(answer=answer)


def _score(logit: float) -> Score:
    value = 0.9 if logit > 0 else 0.1
    return Score(value, Tier.ENCODER, n_tokens=5, latency_ms=2.0, evidence=Evidence(logit=logit))


async def judged(engine: FakeEngine, rows: list[Row], results: Results, subject: Subject = FRUIT, **more: Any) -> Judge:
    judge = await start(guard(engine))
    await judge_rows(judge, rows, subject, results, **{"at_once": 2, "timeout_s": 5.0, **more})
    return judge


async def test_each_content_is_judged_once_and_an_earlier_run_is_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    first, second = says(a=1.0, b=-1.0), says(a=1.0, b=-1.0, c=2.0)
    with Results(path) as results:
        await judged(first, rows_of(tmp_path, "a", "b", "a"), results)
    assert sorted(call.texts[0] for call in first.calls) == ["a", "b"]
    with Results(path) as results:
        judge = await judged(second, rows_of(tmp_path, "a", "b", "c", "a"), results)
        found = column(judge, rows_of(tmp_path, "a", "b", "c", "a"), [], FRUIT, results)
    assert [call.texts[0] for call in second.calls] == ["c"]
    assert (found.ids, found.scores.tolist()) == (["0", "1", "2", "3"], [0.9, 0.1, 0.9, 0.9])


async def test_another_policy_model_setting_or_stage_is_judged_anew(tmp_path: Path) -> None:
    engine = says(a=1.0)
    rows = rows_of(tmp_path, "a")
    with Results(None) as results:
        await judged(engine, rows, results)
        await judged(engine, rows, results, Subject(Policy("fruit", "r2", text="About fruit."), "fruit"))
        banded = Policy("fruit", "r1", text="About fruit.", reason_band=(0.2, 0.8))
        await judged(engine, rows, results, Subject(banded, "fruit"))
        engine.name = "other"
        await judged(engine, rows, results)
        other = LoadedGuard("g", EncoderGuard(engine="encoder", max_content_tokens=64), engine)
        await judge_rows(await start(other), rows, FRUIT, results, at_once=1, timeout_s=5)
        assert len(results) == len(engine.calls) == 5
        timed = LoadedGuard("h", EncoderGuard(engine="encoder", timeout_s=1, threads=1), engine)
        await judge_rows(await start(timed), rows, FRUIT, results, at_once=1, timeout_s=5)
        assert len(engine.calls) == 5, "how long a guard may take changes no verdict"


async def test_errors_are_asked_again_by_the_next_run(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, "a", "b")
    with Results(None) as results:
        await judged(says(a=1.0, b=VerdictError("no")), rows, results)
        again = says(b=-1.0)
        judge = await judged(again, rows, results)
        assert column(judge, rows, [], FRUIT, results).failed == {}
    assert [call.texts[0] for call in again.calls] == ["b"]


async def test_refusals_count_as_caught_and_other_errors_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, "a", "b", "c")
    with Results(None) as results:
        judge = await judged(says(a=-1.0, b=GuardRefused("no"), c=VerdictError("no")), rows, results)
        found = column(judge, rows, [], FRUIT, results)
    assert (found.ids, found.scores.tolist()) == (["0", "1"], [0.1, 1.0])
    assert found.failed == {"guard_refused": 1, "no_verdict": 1}
    assert found.notes == ["1 rows without verdict left out, 1 refused by the guard and counted as caught"]


async def test_a_guard_that_has_gone_for_good_ends_it_and_what_was_judged_is_kept(tmp_path: Path) -> None:
    waits = Waits(first_pause_s=0.001, longest_pause_s=0.001, n_gone=3, patience_s=0.01)
    rows = rows_of(tmp_path, "a", "b")
    with Results(None) as results:
        with pytest.raises(JudgingError, match="guard g judges nothing any more"):
            await judged(says(a=1.0, b=EngineUnavailable("gone")), rows, results, at_once=1, waits=waits)
        assert [o.error for o in results.by_key.values()] == [None]


async def test_a_row_that_takes_too_long_is_an_error_and_the_others_are_judged(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, "a", "b")
    with Results(None) as results:
        judge = await judged(says(a=EngineTimeout("late"), b=1.0), rows, results)
        assert column(judge, rows, [], FRUIT, results).failed == {"timeout": 1}


async def test_a_guard_that_cannot_be_loaded_is_named_with_its_reason() -> None:
    engine = FakeEngine(ready=False, last_error="the file is missing")
    with pytest.raises(JudgingError, match="guard g is not ready: the file is missing"):
        await start(guard(engine))


async def test_a_column_is_calibrated_as_the_proxy_would_and_says_if_it_was_fitted_on_these_rows(
    tmp_path: Path,
) -> None:
    rows = rows_of(tmp_path, "a", "b")
    fitted = calibration(model=MODEL)
    with Results(None) as results:
        judge = await judged(says(a=1.0, b=-1.0), rows, results)
        found = column(judge, rows, rows[:1], Subject(FRUIT.policy, "fruit", (fitted,)), results)
        assert found.scores.tolist() == pytest.approx([0.731059, 0.268941], abs=1e-6)
        assert found.benign.tolist() == pytest.approx([0.731059], abs=1e-6)
        assert (found.about["calibrated"], found.notes) == (1.0, [])
        assert (found.cost.tokens, found.cost.ms_p50) == (5.0, 2.0)
        known = fitted.model_copy(update={"data": DATA.model_copy(update={"sha256": data_hash(rows, FRUIT)})})
        found = column(judge, rows, [], Subject(FRUIT.policy, "fruit", (known,)), results)
        assert found.notes == ["in-sample: the calibration was fitted on these rows"]
        stale = fitted.model_copy(update={"revision": "r0"})
        found = column(judge, rows, [], Subject(FRUIT.policy, "fruit", (stale,)), results)
        assert (found.scores.tolist(), found.about["calibrated"]) == ([0.9, 0.1], 0.0)


def test_the_hash_of_the_data_is_of_contents_and_labels_in_no_order(tmp_path: Path) -> None:
    one, other = rows_of(tmp_path, "a", "b"), rows_of(tmp_path, "b", "a")
    assert data_hash(one, FRUIT) == data_hash(other, FRUIT)
    assert data_hash(one, FRUIT) != data_hash(rows_of(tmp_path, "a", "b", label=0), FRUIT)
    assert data_hash(one, FRUIT) != data_hash(rows_of(tmp_path, "a", "c"), FRUIT)


async def test_a_map_that_weighs_a_second_opinion_has_it_from_the_other_guards_results(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, "a", "b")
    small = says(a=0.0, b=VerdictError("no"))
    small.name = "small"
    second = await start(LoadedGuard("small", EncoderGuard(engine="encoder"), small))
    main = await start(guard(says(a=1.0, b=1.0)), second)
    curves = {"logit": ((-20.0, 0.0), (20.0, 40.0)), "second_opinion": ((-20.0, 0.0), (20.0, 40.0))}
    fitted = calibration(model=MODEL, second_opinion="small@000000000000", intercept=-40.0, curves=curves)
    with Results(None) as results:
        await judge_rows(main, rows, FRUIT, results, at_once=1, timeout_s=5)
        assert sorted(call.texts[0] for call in small.calls) == ["a", "b"]
        found = column(main, rows, [], Subject(FRUIT.policy, "fruit", (fitted,)), results)
    assert found.scores.tolist() == pytest.approx([0.731059], abs=1e-6)
    assert found.failed == {"no_verdict": 1}, "without the second opinion there is no score"

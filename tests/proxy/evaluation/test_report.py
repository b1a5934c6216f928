"""Figures side by side: the table, the record, the page and its plots."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import numpy as np
import orjson

from proxy.evaluation import plots, report
from proxy.evaluation.columns import FIGURES, Column, Cost, Measured, measure


def column(guard: str = "g", *, n: int = 60, seed: int = 0, **more: object) -> Column:
    rng = np.random.default_rng(seed)
    violates = rng.random(n) < 0.4
    return Column(
        guard=guard,
        policy="fruit",
        ids=[f"row-{i}" for i in range(n)],
        scores=np.clip(rng.normal(0.3 + 0.4 * violates, 0.2), 0, 1),
        violates=violates,
        **more,  # type: ignore[arg-type]  # what a test gives
    )


def measured(guard: str = "g", **more: object) -> Measured:
    return measure(column(guard, **more), threshold=0.5, n_bootstrap=20, seed=0)  # type: ignore[arg-type]


def test_the_record_has_every_figure_with_its_interval_and_is_json() -> None:
    m = measured(benign=np.array([0.1, 0.6]), cost=Cost(12.0, 3.0, 9.0), failed={"timeout": 2})
    said = m.record()
    assert orjson.loads(orjson.dumps(said)) == said
    assert set(said["figures"]) == set(FIGURES)
    assert said["figures"]["benign"]["value"] == 0.5
    assert said["figures"]["ece"]["low"] is None
    assert said["figures"]["auroc"]["low"] < said["figures"]["auroc"]["value"] < said["figures"]["auroc"]["high"]
    assert (said["rows"], said["violations"], said["failed"]) == (60, int(m.column.violates.sum()), {"timeout": 2})
    assert said["cost"] == {"tokens_per_row": 12.0, "ms_p50": 3.0, "ms_p95": 9.0}


def test_examples_of_mistakes_are_named_by_id_the_worst_first() -> None:
    c = Column("g", "p", ["a", "b", "c", "d"], np.array([0.1, 0.4, 0.9, 0.6]), np.array([True, True, False, False]))
    m = measure(c, threshold=0.5, n_bootstrap=0, seed=0)
    assert list(m.missed) == [("a", 0.1), ("b", 0.4)]
    assert list(m.false_alarms) == [("c", 0.9), ("d", 0.6)]


def test_the_table_marks_the_best_and_shows_no_figure_that_nobody_knows() -> None:
    good, bad = measured("good"), measured("bad", seed=3)
    found = {line.name: line.cells for line in report.lines([good, bad])}
    assert "ms, median" not in found
    assert "without verdict" not in found
    cells = found["AUROC"]
    best = max(range(2), key=lambda i: (good, bad)[i].figures["auroc"].value)
    assert [c.best for c in cells] == [i == best for i in range(2)]
    least = min(range(2), key=lambda i: (good, bad)[i].figures["ece"].value)
    assert [c.best for c in found["ECE"]] == [i == least for i in range(2)]


def test_many_columns_become_lines_so_that_they_can_be_read() -> None:
    few, many = [measured(f"guard-{i}", seed=i) for i in range(2)], [measured(f"guard-{i}", seed=i) for i in range(6)]
    assert [len(report.table("t", those).columns) for those in (few, many)] == [3, len(list(report.lines(many))) + 1]
    assert report.table("t", many).row_count == 6


def test_a_share_of_calibrated_scores_is_said() -> None:
    found = {
        line.name: line.cells for line in report.lines([measured(about={"calibrated": c}) for c in (0.0, 0.97, 1.0)])
    }
    assert [cell.text for cell in found["calibrated"]] == ["no", "97%", "yes"]


def test_a_column_without_violations_has_dashes_and_false_alarms() -> None:
    c = Column("g", "p", ["a", "b"], np.array([0.1, 0.7]), np.array([False, False]))
    found = {line.name: line.cells[0].text for line in report.lines([measure(c, threshold=0.5, n_bootstrap=5, seed=0)])}
    assert "AUROC" not in found
    assert found["false alarms at 0.5"] == "0.500"


class _Page(HTMLParser):
    """Collects what a page could fetch or run."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.references: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.references += [
            a for a in attrs if a[0] in ("src", "href", "action", "data", "srcset") or a[0].startswith("on")
        ]


def test_the_page_needs_nothing_else_runs_nothing_and_escapes_names() -> None:
    wicked = "<script>alert(1)</script>"
    m = measure(column(wicked, notes=[wicked], failed={wicked: 1}), threshold=0.5, n_bootstrap=5, seed=0)
    text = report.page(wicked, wicked, [(wicked, [m, measured("b")])])
    page = _Page()
    page.feed(text)
    assert "script" not in page.tags
    assert page.references == []
    assert page.tags.count("svg") == 5
    assert "http" not in text.replace("http-equiv", "")


def test_plots_are_well_formed_and_thin_long_curves() -> None:
    rng = np.random.default_rng(0)
    long = plots.Scored("a <b>", rng.random(20_000), rng.random(20_000) < 0.5, [(0.5, "A&B")])
    for panel in (plots.roc([long]), plots.precision_recall([long]), plots.reliability([long]), plots.histogram(long)):
        drawn = plots.inline(panel)
        ET.fromstring(drawn)
        assert len(drawn) < 20_000


def test_a_curve_without_violations_can_be_drawn() -> None:
    empty = plots.Scored("x", np.array([0.2, 0.4]), np.array([False, False]), [(0.3, "A")])
    for panel in (plots.roc([empty]), plots.precision_recall([empty]), plots.histogram(empty)):
        drawn = plots.inline(panel)
        assert "nan" not in drawn
        assert "circle" not in drawn, "a point that nobody knows is not drawn"
    assert math.isnan(measure(column(), threshold=0.5, n_bootstrap=0, seed=0).figures["auroc"].low)

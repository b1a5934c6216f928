"""Figures of several columns side by side: a table, JSON, or a page that needs nothing else."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup
from rich.table import Table
from rich.text import Text

from proxy.evaluation import plots
from proxy.evaluation.cascades import Cascade
from proxy.evaluation.columns import FIGURES, Measured
from proxy.evaluation.metrics import Interval

MOST_COLUMNS = 4
"""That stand side by side on a terminal."""

_LESS_IS_BETTER = frozenset({"ece", "false_alarms", "benign"})


@dataclass(frozen=True, slots=True)
class Cell:
    """One figure of one column."""

    text: str
    interval: str = ""
    best: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """One figure of all columns."""

    name: str
    cells: Sequence[Cell]


def lines(measured: Sequence[Measured]) -> Iterator[Line]:
    """The table, figure by figure."""
    yield Line(
        "rows (violations)", [Cell(f"{len(m.column.scores)} ({int(m.column.violates.sum())})") for m in measured]
    )
    if any(m.column.failed for m in measured):
        yield Line("without verdict", [Cell(_failed(m)) for m in measured])
    yield Line("calibrated", [Cell(_share(m.column.about.get("calibrated", 0.0))) for m in measured])
    for name, text in FIGURES.items():
        figures = [m.figures.get(name) for m in measured]
        if all(f is None or math.isnan(f.value) for f in figures):
            continue
        at = f" at {measured[0].threshold:g}" if name in ("f1", "precision", "recall", "false_alarms", "benign") else ""
        yield Line(text + at, _cells(name, figures))
    for text, values in (
        ("tokens per row", [m.column.cost.tokens for m in measured]),
        ("ms, median", [m.column.cost.ms_p50 for m in measured]),
        ("ms, 95th percentile", [m.column.cost.ms_p95 for m in measured]),
    ):
        if not all(map(math.isnan, values)):
            yield Line(text, [Cell("–" if math.isnan(v) else f"{v:.1f}") for v in values])


def _share(share: float) -> str:
    return {0.0: "no", 1.0: "yes"}.get(share, f"{share:.0%}")


def _failed(m: Measured) -> str:
    return ", ".join(f"{n} {code}" for code, n in sorted(m.column.failed.items())) or "0"


def _cells(name: str, figures: Sequence[Interval | None]) -> list[Cell]:
    known = [f.value for f in figures if f is not None and not math.isnan(f.value)]
    best = (min if name in _LESS_IS_BETTER else max)(known) if len(known) > 1 else None
    return [Cell("–") if f is None else Cell(*f.shown(), best=f.value == best) for f in figures]


def table(title: str, measured: Sequence[Measured]) -> Table:
    """For a terminal. Intervals of 95 % stand in brackets; many columns become lines, without them."""
    if len(measured) > MOST_COLUMNS:
        return _lying(title, measured)
    out = Table("", title=Text(title))
    for m in measured:
        out.add_column(Text(m.column.title.replace(" / ", "\n", 1)), justify="right")
    for line in lines(measured):
        cells = [
            Text(c.text + (f" ({c.interval})" if c.interval else ""), style="bold" if c.best else "")
            for c in line.cells
        ]
        out.add_row(Text(line.name), *cells)
    return out


def _lying(title: str, measured: Sequence[Measured]) -> Table:
    found = list(lines(measured))
    out = Table(title=Text(title))
    out.add_column("", no_wrap=True)
    for line in found:
        out.add_column(Text(line.name), justify="right", overflow="fold")
    for i, name in enumerate(_names(measured)):
        cells = [Text(line.cells[i].text, style="bold" if line.cells[i].best else "") for line in found]
        out.add_row(Text(name), *cells)
    return out


def _names(measured: Sequence[Measured]) -> list[str]:
    """What tells the columns apart: the guard, and the policy where there are several."""
    many = len({m.column.policy for m in measured}) > 1
    return [m.column.title if many else m.column.guard for m in measured]


CASCADE = (
    "limit", "passes below", "goes on", "honest go on", "violations passed", "lost", "recall", "precision",
    "false alarms", "tokens", "ms",
)  # fmt: skip
"""What is said about each choice of limits."""


def cascade_notes(cascade: Cascade) -> list[str]:
    """How to read the table of a cascade."""
    last = cascade.guards[-1]
    notes = [
        f"goes on: share of the rows that {last} is asked about; lost: of what {last} alone catches at "
        f"{cascade.threshold:g}, the share that passes before it; tokens and ms: per row, mean",
        "for 98 %: so many of these very rows' violations go on; no limit is above the score from which on rows are caught",
    ]
    if cascade.n_left_out:
        notes.append(f"{cascade.n_left_out} rows without verdict of {last} are left out of the table")
    return notes


def cascade_lines(cascade: Cascade) -> list[Line]:
    """One line for each choice of limits."""
    return [
        Line(
            split.name,
            [
                Cell(", ".join(_range(*limit) for limit in split.limits) or "–"),
                *(Cell(*share.shown()) for share in (split.goes_on, split.honest_goes_on, split.passed, split.lost)),
                *(Cell(_known(v, 3)) for v in (split.recall, split.precision, split.false_alarms)),
                *(Cell(_known(v, 1)) for v in (split.tokens, split.ms)),
            ],
        )
        for split in cascade.splits
    ]


def _range(low: float, high: float) -> str:
    return f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"


def _known(value: float, digits: int) -> str:
    return "–" if math.isnan(value) else f"{value:.{digits}f}"


def cascade_table(title: str, cascade: Cascade) -> Table:
    """For a terminal; intervals are in the JSON and on the page."""
    out = Table(title=Text(title), caption=Text(". ".join(cascade_notes(cascade)) + "."))
    for i, name in enumerate(CASCADE):
        out.add_column(Text(name), justify="right" if i else "left", overflow="fold")
    for line in cascade_lines(cascade):
        out.add_row(Text(line.name), *(Text(cell.text) for cell in line.cells))
    return out


def page(title: str, lead: str, groups: Sequence[tuple[str, Sequence[Measured]]]) -> str:
    """A page with tables and plots. No scripts, nothing from elsewhere, no content: rows are named by their ids.

    Args:
        title: Heading.
        lead: What was measured on what.
        groups: Columns that belong side by side, with a heading.
    """
    environment = Environment(
        loader=PackageLoader("proxy.evaluation", "."),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    sections = [_section(heading, measured) for heading, measured in groups]
    return environment.get_template("report.html").render(
        title=title, lead=lead, sections=sections, style=Markup(plots.STYLE)
    )


def _section(heading: str, measured: Sequence[Measured]) -> dict[str, Any]:
    names = _names(measured)
    named = [plots.Scored(name, m.column.scores, m.column.violates) for name, m in zip(names, measured, strict=True)]
    panels = [plots.roc(named), plots.precision_recall(named), plots.reliability(named)]
    panels += [
        plots.histogram(plots.Scored(s.name, s.scores, s.violates, [(m.threshold, f"{m.threshold:g}")]), title=s.name)
        for m, s in zip(measured, named, strict=True)
    ]
    lists = []
    for m, s in zip(measured, named, strict=True):
        for text, rows in (("missed", m.missed), ("false alarms", m.false_alarms)):
            if rows:
                lists.append({"title": f"{s.name}: {text}", "items": [f"{i} {score:.3f}" for i, score in rows]})
    found = list(lines(measured))
    if len(measured) > MOST_COLUMNS:
        head = [line.name for line in found]
        body = [Line(name, [line.cells[i] for line in found]) for i, name in enumerate(names)]
    else:
        head, body = names, found
    cascades = []
    for m, s in zip(measured, named, strict=True):
        if (cascade := m.column.cascade) is not None:
            panels.append(_curve(s.name, cascade))
            cascades.append({"title": s.name, "lines": cascade_lines(cascade), "notes": cascade_notes(cascade)})
    return {
        "title": heading,
        "cascades": cascades,
        "cascade_columns": CASCADE,
        "columns": head,
        "rows": body,
        "notes": notes(measured),
        "plots": [Markup(plots.inline(panel)) for panel in panels],
        "lists": lists,
    }


def _curve(name: str, cascade: Cascade) -> plots.Panel:
    """What is kept of what the last guard catches, over the share of the rows that it is asked about."""
    x, y = np.array(cascade.swept, np.float64).T
    marks = [
        plots.Mark(s.goes_on.value, 1 - s.lost.value, s.name, i)
        for i, splits in enumerate((cascade.by_recall, [cascade.configured]))
        for s in splits
        if not math.isnan(s.lost.value)
    ]
    return plots.Panel(f"{name}: kept", "share that goes on", "share that is kept", [plots.Line(x, y), *marks])


def notes(measured: Sequence[Measured]) -> list[str]:
    """What a reader must know, each once."""
    by_note: dict[str, list[str]] = {}
    for name, m in zip(_names(measured), measured, strict=True):
        for note in m.column.notes:
            by_note.setdefault(note, []).append(name)
    return [f"{', '.join(names)}: {note}." for note, names in by_note.items()]

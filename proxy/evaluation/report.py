"""Figures of several columns side by side: a table, JSON, or a page that needs nothing else."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup
from rich.table import Table
from rich.text import Text

from proxy.evaluation import plots
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
    return {
        "title": heading,
        "columns": head,
        "rows": body,
        "notes": notes(measured),
        "plots": [Markup(plots.inline(panel)) for panel in panels],
        "lists": lists,
    }


def notes(measured: Sequence[Measured]) -> list[str]:
    """What a reader must know, each once."""
    by_note: dict[str, list[str]] = {}
    for name, m in zip(_names(measured), measured, strict=True):
        for note in m.column.notes:
            by_note.setdefault(note, []).append(name)
    return [f"{', '.join(names)}: {note}." for note, names in by_note.items()]

"""Small plots as SVG, made by hand: lines, bars and marks on two axes. Pure.

A plotting library would bring a dozen packages for what are four kinds of shapes. Colours are classes, so that a page or
a picture by itself can follow light and dark (`STYLE`). Every text is escaped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape

import numpy as np

from proxy.evaluation import metrics
from proxy.evaluation.metrics import Labels, Scores

WIDTH, HEIGHT = 380, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 14, 34, 46
N_COLOURS = 8
MOST_INSIDE = 3
"""Lines of a legend that stand inside the plot; more stand below it."""
MAX_POINTS = 400
"""A curve of more points is thinned: no eye sees the difference at this size."""

STYLE = """
svg { font: 12px system-ui, sans-serif; --ink: #1c2430; --faint: #8a94a3; --grid: #e4e8ee; --paper: #ffffff;
  --c0: #1f6feb; --c1: #d1242f; --c2: #1a7f37; --c3: #9a6700; --c4: #8250df; --c5: #0e7c86; --c6: #bf3989; --c7: #57606a }
@media (prefers-color-scheme: dark) {
  svg { --ink: #e6edf3; --faint: #8d96a0; --grid: #2a313b; --paper: #0d1117;
    --c0: #58a6ff; --c1: #ff7b72; --c2: #56d364; --c3: #e3b341; --c4: #bc8cff; --c5: #39c5cf; --c6: #f778ba; --c7: #b1bac4 }
}
svg .paper { fill: var(--paper) } svg text { fill: var(--ink) } svg .faint { fill: var(--faint) }
svg .title { font-weight: 600; font-size: 13px } svg .tick { font-size: 11px; fill: var(--faint) }
svg .grid { stroke: var(--grid); stroke-width: 1 } svg .axis { stroke: var(--faint); stroke-width: 1 }
svg .line { fill: none; stroke-width: 1.8 } svg .dashed { stroke-dasharray: 5 4 } svg .bar { opacity: .55 }
"""
STYLE += "\n".join(
    f"svg .s{i} {{ stroke: var(--c{i}) }} svg .f{i} {{ fill: var(--c{i}) }}" for i in range(N_COLOURS)
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """Points joined in order."""

    x: Scores
    y: Scores
    colour: int = 0
    dashed: bool = False
    dots: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Bars:
    """Heights over edges; one edge more than heights."""

    edges: Scores
    heights: Scores
    colour: int = 0


@dataclass(frozen=True, slots=True)
class Mark:
    """A point with a word beside it; or a vertical line, if it has no height."""

    x: float
    y: float | None
    text: str
    colour: int = 7


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """One plot. The x axis and, unless ``top`` says otherwise, the y axis run from 0 to 1; the legend is below or above."""

    title: str
    x_label: str
    y_label: str
    shapes: Sequence[Line | Bars | Mark]
    legend: Sequence[tuple[str, int]] = ()
    top: float = 1.0
    legend_above: bool = False
    y_ticks: Sequence[tuple[float, str]] = field(default=tuple((i / 5, f"{i / 5:g}") for i in range(6)))


def figure(panels: Sequence[Panel], *, columns: int = 2, heading: str, lines: Sequence[str] = ()) -> str:
    """A picture by itself, with its style inside, a heading and some lines below that."""
    rows = -(-len(panels) // columns)
    above = 34 + 17 * len(lines)
    width, height = WIDTH * columns, HEIGHT * rows + above
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">',
        f"<style>{STYLE}</style>",
        f'<rect class="paper" width="{width}" height="{height}"/>',
    ]
    parts.append(f'<text class="title" x="14" y="24">{escape(heading)}</text>')
    parts += [f'<text x="14" y="{43 + 17 * i}">{escape(line)}</text>' for i, line in enumerate(lines)]
    for i, panel in enumerate(panels):
        parts.append(
            f'<g transform="translate({i % columns * WIDTH} {i // columns * HEIGHT + above})">{draw(panel)}</g>'
        )
    return "\n".join((*parts, "</svg>\n"))


def inline(panel: Panel) -> str:
    """A picture for a page that has the style."""
    label = escape(panel.title, quote=True)
    below = 15 * len(panel.legend) + 6 if len(panel.legend) > MOST_INSIDE else 0
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT + below}" role="img" aria-label="{label}">{draw(panel)}</svg>'


def draw(panel: Panel) -> str:
    """The inside of a picture."""
    right, bottom = WIDTH - _RIGHT, HEIGHT - _BOTTOM

    def px(x: float) -> float:
        return round(_LEFT + min(1.0, max(0.0, x)) * (right - _LEFT), 1)

    def py(y: float) -> float:
        return round(bottom - min(1.0, max(0.0, y / panel.top)) * (bottom - _TOP), 1)

    out = [f'<text class="title" x="{_LEFT}" y="20">{escape(panel.title)}</text>']
    for i in range(6):
        x = px(i / 5)
        out.append(f'<line class="grid" x1="{x}" y1="{_TOP}" x2="{x}" y2="{bottom}"/>')
        out.append(f'<text class="tick" x="{x}" y="{bottom + 15}" text-anchor="middle">{i / 5:g}</text>')
    for value, text in panel.y_ticks:
        y = py(value)
        out.append(f'<line class="grid" x1="{_LEFT}" y1="{y}" x2="{right}" y2="{y}"/>')
        out.append(f'<text class="tick" x="{_LEFT - 6}" y="{y + 4}" text-anchor="end">{escape(text)}</text>')
    out.append(f'<path class="axis" fill="none" d="M{_LEFT} {_TOP}V{bottom}H{right}"/>')
    middle_x, middle_y = (_LEFT + right) / 2, (_TOP + bottom) / 2
    out.append(
        f'<text class="faint" x="{middle_x}" y="{HEIGHT - 12}" text-anchor="middle">{escape(panel.x_label)}</text>'
    )
    out.append(
        f'<text class="faint" transform="translate(14 {middle_y}) rotate(-90)" text-anchor="middle">'
        f"{escape(panel.y_label)}</text>"
    )
    for shape in panel.shapes:
        match shape:
            case Line():
                points = [
                    (px(x), py(y)) for x, y in zip(shape.x, shape.y, strict=True) if np.isfinite(x) and np.isfinite(y)
                ]
                path = "".join(f"{'L' if i else 'M'}{x} {y}" for i, (x, y) in enumerate(points))
                out.append(f'<path class="line s{shape.colour}{" dashed" if shape.dashed else ""}" d="{path}"/>')
                if shape.dots:
                    out += [f'<circle class="f{shape.colour}" cx="{x}" cy="{y}" r="3"/>' for x, y in points]
            case Bars():
                for left, end, height in zip(shape.edges[:-1], shape.edges[1:], shape.heights, strict=True):
                    x, y = px(left), py(height)
                    out.append(
                        f'<rect class="bar f{shape.colour}" x="{x}" y="{y}" '
                        f'width="{round(px(end) - x, 1)}" height="{round(bottom - y, 1)}"/>'
                    )
            case Mark():
                x, side = px(shape.x), "end" if shape.x > 0.9 else "start"
                beside = x - 6 if side == "end" else x + 6
                y = _TOP + 12.0 if shape.y is None else py(shape.y) + 4
                if shape.y is None:
                    out.append(f'<path class="line dashed s{shape.colour}" d="M{x} {_TOP}V{bottom}"/>')
                else:
                    out.append(f'<circle class="f{shape.colour}" cx="{x}" cy="{y - 4}" r="4"/>')
                out.append(f'<text x="{beside}" y="{y}" text-anchor="{side}">{escape(shape.text)}</text>')
    for i, (text, colour) in enumerate(panel.legend):
        if len(panel.legend) > MOST_INSIDE:
            y = HEIGHT + 8 + 15 * i
        else:
            y = _TOP + 14 + 15 * i if panel.legend_above else bottom - 8 - 15 * (len(panel.legend) - 1 - i)
        out.append(f'<rect class="f{colour}" x="{right - 12}" y="{y - 9}" width="10" height="10"/>')
        out.append(f'<text class="tick" x="{right - 17}" y="{y}" text-anchor="end">{escape(text)}</text>')
    return "".join(out)


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """What curves are drawn of."""

    name: str
    scores: Scores
    violates: Labels
    thresholds: Sequence[tuple[float, str]] = ()
    """To be marked, with a word."""


def roc(series: Sequence[Scored]) -> Panel:
    """Recall over false alarms."""
    shapes: list[Line | Bars | Mark] = [Line(np.array([0.0, 1.0]), np.array([0.0, 1.0]), 7, dashed=True)]
    for i, s in enumerate(series):
        points = metrics.curve(s.scores, s.violates)
        x, y = np.append(0.0, points.false_alarms), np.append(0.0, points.recall)
        shapes.append(Line(*_thinned(x, y), i % N_COLOURS))
        shapes += _marks(s, i, metrics.false_alarms, metrics.recall)
    return Panel("ROC", "false alarms", "recall", shapes, _legend(series))


def precision_recall(series: Sequence[Scored]) -> Panel:
    """Precision over recall."""
    shapes: list[Line | Bars | Mark] = []
    for i, s in enumerate(series):
        points = metrics.curve(s.scores, s.violates)
        shapes.append(Line(*_thinned(points.recall, points.precision), i % N_COLOURS))
        shapes += _marks(s, i, metrics.recall, metrics.precision)
    return Panel("Precision and recall", "recall", "precision", shapes, _legend(series))


def reliability(series: Sequence[Scored]) -> Panel:
    """Share of violations over mean score, in ten bins: on the diagonal a score is a probability."""
    shapes: list[Line | Bars | Mark] = [Line(np.array([0.0, 1.0]), np.array([0.0, 1.0]), 7, dashed=True)]
    for i, s in enumerate(series):
        bins = metrics.reliability(s.scores, s.violates)
        x, y = np.array([b.score for b in bins]), np.array([b.violations for b in bins])
        shapes.append(Line(x, y, i % N_COLOURS, dots=True))
    return Panel("Reliability", "mean score", "share of violations", shapes, _legend(series))


def histogram(scored: Scored, *, title: str = "Scores") -> Panel:
    """How many rows have which score, violations and others, on a logarithmic axis."""
    edges = np.linspace(0.0, 1.0, 21)
    counts = [np.histogram(scored.scores[which], edges)[0] for which in (~scored.violates, scored.violates)]
    most = max(1, *(int(c.max(initial=0)) for c in counts))
    decades = [10**k for k in range(8) if 10**k <= most]
    shapes: list[Line | Bars | Mark] = [Bars(edges, np.log10(c + 1.0), i) for i, c in enumerate(counts)]
    shapes += [Mark(t, None, text) for t, text in scored.thresholds]
    ticks = [(0.0, "0"), *((float(np.log10(n + 1)), f"{n:,}") for n in decades)]
    legend = (("others", 0), ("violations", 1))
    return Panel(title, "score", "rows", shapes, legend, float(np.log10(most + 1)) * 1.25, True, ticks)


def _marks(
    scored: Scored, i: int, x: Callable[[Scores, Labels, float], float], y: Callable[[Scores, Labels, float], float]
) -> list[Mark]:
    """Where the thresholds lie; those of which nobody knows are left out."""
    places = [
        (x(scored.scores, scored.violates, t), y(scored.scores, scored.violates, t), w) for t, w in scored.thresholds
    ]
    return [
        Mark(at, height, word, i % N_COLOURS) for at, height, word in places if np.isfinite(at) and np.isfinite(height)
    ]


def _legend(series: Sequence[Scored]) -> list[tuple[str, int]]:
    return [(s.name, i % N_COLOURS) for i, s in enumerate(series)] if len(series) > 1 else []


def _thinned(x: Scores, y: Scores) -> tuple[Scores, Scores]:
    if len(x) <= MAX_POINTS:
        return x, y
    keep = np.unique(np.linspace(0, len(x) - 1, MAX_POINTS).astype(np.int64))
    return x[keep], y[keep]

"""Figures as inline SVG: lines over steps, dots with intervals, bars. Colours are variables of the style sheet.

Text that needs translating stands in HTML beside the SVG, never in it. Rows of dots and bars give their positions in
per cent, so that they fit any width and their text keeps its size.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

WIDTH, HEIGHT = 440, 210
LEFT, RIGHT, TOP, BOTTOM = 50, 12, 10, 26  # margins of a line chart, in units of its view box
MOST_POINTS = 300


@dataclass(frozen=True, slots=True)
class Line:
    """A series of (x, y); `bars` are the ends of an interval at each point."""

    name: str
    points: Sequence[tuple[float, float]]
    bars: Sequence[tuple[float, float]] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a dot or bar chart: label, value as text, place, a `mark` beside it, a class of the style sheet."""

    label: Markup
    value: str
    mean: float
    low: float | None = None
    high: float | None = None
    mark: float | None = None
    tone: str = ""


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers from `low` to `high`, at most `most`, in steps of 1, 2, 2.5 or 5 times a power of ten."""
    if high <= low:
        return [low]
    rough = (high - low) / (most - 1)
    step = _round_step(rough)
    first = math.ceil(low / step - 1e-9)
    return [round(index * step, 12) for index in range(first, math.floor(high / step + 1e-9) + 1)]


def outward_ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Ticks of which the first is at most `low` and the last at least `high`."""
    step = _round_step(max(high - low, 1e-9) / (most - 1))
    return [round(index * step, 12) for index in range(math.floor(low / step), math.ceil(high / step) + 1)]


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * 0.999)


def thin(points: Sequence[tuple[float, float]], most: int = MOST_POINTS) -> list[tuple[float, float]]:
    """At most `most` points: the means of equal runs of neighbours. The first and the last point stay."""
    if len(points) <= most:
        return list(points)
    inner = points[1:-1]
    size = -(-len(inner) // (most - 2))
    runs = [inner[start:start + size] for start in range(0, len(inner), size)]
    means = [(sum(x for x, _ in run) / len(run), sum(y for _, y in run) / len(run)) for run in runs]
    return [points[0], *means, points[-1]]


def line_chart(lines: Sequence[Line], marked: float | None = None) -> Markup:
    """Lines over a common axis; `marked` is an x that a dot stands out at, on the first line."""
    xs = [x for line in lines for x, _ in line.points]
    ys = [y for line in lines for _, y in line.points] + [end for line in lines for bar in line.bars for end in bar]
    frame = _Frame(min(xs), max(xs), *_padded(min(ys), max(ys)))
    parts = [frame.grid()]
    for order, line in enumerate(lines):
        parts += [f'<line class="bar tone-{order}" x1="{frame.x(x)}" x2="{frame.x(x)}" y1="{frame.y(low)}" '
                  f'y2="{frame.y(high)}"/>' for (x, _), (low, high) in zip(line.points, line.bars)]
        path = " ".join(f"{frame.x(x)},{frame.y(y)}" for x, y in thin(line.points))
        title = f"<title>{escape(line.name)}</title>"
        parts.append(f'<polyline class="line tone-{order}" points="{path}">{title}</polyline>')
        if len(line.points) <= 24:
            parts += [f'<circle class="dot tone-{order}{" marked" if order == 0 and x == marked else ""}" '
                      f'cx="{frame.x(x)}" cy="{frame.y(y)}" r="{5 if order == 0 and x == marked else 2.5}"/>'
                      for x, y in line.points]
    names = escape(", ".join(line.name for line in lines))
    return Markup(f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{names}">'
                  + "".join(parts) + "</svg>")


def scatter_chart(points: Mapping[str, tuple[float, float]], line: Sequence[str]) -> Markup:
    """A dot with its name for each point; `line` are the names that a line goes through, in order."""
    xs, ys = zip(*points.values(), strict=True)
    frame = _Frame(*_padded(min(xs), max(xs)), *_padded(min(ys), max(ys)))
    parts, taken = [frame.grid()], []
    path = " ".join(f"{frame.x(points[name][0])},{frame.y(points[name][1])}" for name in line)
    parts.append(f'<polyline class="line tone-1" points="{path}"/>')
    for name, (x, y) in points.items():
        left, top = frame.x(x), frame.y(y)
        at_end = left > WIDTH - RIGHT - 90
        label = top - 8
        while any(abs(label - other) < 12 and abs(left - near) < 90 for near, other in taken):
            label += 12 if top < HEIGHT / 2 else -12
        taken.append((left, label))
        parts.append(f'<circle class="dot tone-{1 if name in line else 0}" cx="{left}" cy="{top}" r="4"/>'
                     f'<text x="{left}" y="{label:.1f}" text-anchor="{"end" if at_end else "start"}">'
                     f'{escape(name)}</text>')
    return Markup(f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
                  f'aria-label="{escape(", ".join(points))}">' + "".join(parts) + "</svg>")


def _padded(low: float, high: float) -> tuple[float, float]:
    room = (high - low) * 0.05 or abs(high) * 0.1 or 1.0
    return low - room, high + room


@dataclass(frozen=True, slots=True)
class _Frame:
    """Maps data to the view box of a line chart."""

    x_low: float
    x_high: float
    y_low: float
    y_high: float

    def x(self, value: float) -> float:
        span = self.x_high - self.x_low or 1.0
        return round(LEFT + (value - self.x_low) / span * (WIDTH - LEFT - RIGHT), 1)

    def y(self, value: float) -> float:
        return round(HEIGHT - BOTTOM - (value - self.y_low) / (self.y_high - self.y_low) * (HEIGHT - TOP - BOTTOM), 1)

    def grid(self) -> str:
        parts = []
        for value in ticks(self.y_low, self.y_high):
            y = self.y(value)
            parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>'
                         f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick_text(value)}</text>')
        for value in ticks(self.x_low, self.x_high):
            parts.append(f'<text x="{self.x(value)}" y="{HEIGHT - 8}" text-anchor="middle">{tick_text(value)}</text>')
        return "".join(parts)


def tick_text(value: float) -> str:
    """A tick's number, short: `0.05`, `2.5`, `20k`."""
    if abs(value) >= 10_000:
        return f"{value / 1000:g}k"
    return (f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}").replace("-", "−")


def dot_chart(rows: Sequence[Row], at: Sequence[float], *, reference: float | None = None,
              as_percent: bool = False) -> Markup:
    """A dot for each row's mean with a line over its interval. The axis has its ticks `at`, and ends with them;
    `reference` is a dashed line across the rows."""
    low, high = at[0], at[-1]

    def place(value: float) -> str:
        return f"{2 + 96 * (min(max(value, low), high) - low) / (high - low):.2f}%"

    drawn = []
    for row in rows:
        parts = [] if reference is None else [_vertical("reference", place(reference))]
        if row.mark is not None:
            parts.append(_vertical("mark", place(row.mark), 3))
        if row.low is not None and row.high is not None:
            parts.append(f'<line class="span" x1="{place(row.low)}" x2="{place(row.high)}" y1="11" y2="11"/>')
        parts.append(f'<circle cx="{place(row.mean)}" cy="11" r="5"/>')
        drawn.append(_row(row, "".join(parts)))
    labels = "".join(f'<text x="{place(value)}" y="13" text-anchor="middle">'
                     f'{f"{100 * value:g} %" if as_percent else tick_text(value)}</text>' for value in at)
    axis = Markup('<div class="row axis"><div class="label"></div><svg class="track" aria-hidden="true">{}</svg>'
                  '<div class="value"></div></div>').format(Markup(labels))
    return Markup('<div class="rows">{}{}</div>').format(Markup("").join(drawn), axis)


def bar_chart(rows: Sequence[Row]) -> Markup:
    """A bar from 0 to each row's mean; the longest fills the width."""
    longest = max(row.mean for row in rows) or 1.0
    drawn = [_row(row, f'<rect x="0" y="4" height="14" rx="2" width="{max(100 * row.mean / longest, 0.3):.2f}%"/>')
             for row in rows]
    return Markup('<div class="rows">{}</div>').format(Markup("").join(drawn))


def _vertical(kind: str, x: str, inset: int = 0) -> str:
    return f'<line class="{kind}" x1="{x}" x2="{x}" y1="{inset}" y2="{22 - inset}"/>'


def _row(row: Row, drawing: str) -> Markup:
    return Markup('<div class="row {}"><div class="label">{}</div><svg class="track" aria-hidden="true">{}</svg>'
                  '<div class="value">{}</div></div>').format(row.tone, row.label, Markup(drawing), row.value)

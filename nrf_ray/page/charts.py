"""Charts as inline SVG: a dot with its interval for every number of a table, scatters, learning curves.

What is drawn has classes and no colours: the page's style gives them theirs, in light and dark. Every chart has a
title and a description for those who cannot see it, every mark its own words on hover.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nrf_ray.display.printing import Estimate, ResultTable
from nrf_ray.display.svg import ticks
from nrf_ray.graph.canonical import digest
from nrf_ray.page.html import Html, el, join
from nrf_ray.page.snapshot import Curve, Scatter

MOST_ROWS = 60
MOST_PANELS = 4
SERIES = 7
"""Lines that are told apart by colour; further ones share the last."""

WIDTH = 976.0
"""Pixels of a chart of dots on a large screen."""


def estimates(table: ResultTable, column: int) -> dict[int, Estimate]:
    """Return the numbers of a column by row."""
    cells = ((i, row[column]) for i, row in enumerate(table.rows))
    return {i: cell for i, cell in cells if isinstance(cell, Estimate)}


def charted(table: ResultTable) -> list[int]:
    """Return the columns of a table that its chart shows: those with intervals, or else all decimals."""
    found = {column: estimates(table, column) for column in range(table.names, len(table.columns))}
    decimals = [column for column in found if 0 < len(found[column]) == sum(bool(row[column]) for row in table.rows)]
    sure = [column for column in decimals if any(number.ends for number in found[column].values())]
    return (sure or decimals)[:MOST_PANELS]


def family(name: str) -> str:
    """Return how the mark of a row looks: original data, control (without any adversarial feature), or constructed."""
    if name.startswith("leak_"):
        return "control"
    return "original" if re.match(r"d \(|d$", name) else "constructed"


@dataclass(frozen=True, kw_only=True)
class Scale:
    """From values to pixels, along one axis."""

    low: float
    high: float
    start: float
    """Pixel of `low`."""
    end: float
    """Pixel of `high`."""

    def __call__(self, value: float) -> float:
        """Return the pixel of a value; of one that is out of range, that of the nearest end."""
        inside = min(max(value, self.low), self.high)
        return round(self.start + (inside - self.low) / (self.high - self.low) * (self.end - self.start), 1)

    def ticks(self) -> list[float]:
        """Return round values on the axis."""
        return ticks(self.low, self.high)


def bounds(numbers: Iterable[Estimate]) -> tuple[float, float]:
    """Return the range of an axis: 0 to 1 for shares, else what holds all numbers and intervals with a little room.

    Of differences of shares, intervals that leave the possible range of -1 to 1 are cut there.
    """
    found = list(numbers)
    values = [number.value for number in found]
    if min(values) >= 0 and max(values) <= 1:
        return 0.0, 1.0
    ends = [end for number in found for end in number.ends or ()]
    if min(values) >= -1 and max(values) <= 1:
        ends = [min(max(end, -1.0), 1.0) for end in ends]
    low, high = min(*values, *ends, values[0]), max(*values, *ends, values[0])
    room = 0.08 * (high - low) or 1.0
    return (0.0 if low >= 0 else low - room), high + room


def dots(table: ResultTable) -> Html | None:
    """Return a chart of a table, a panel a column and a dot with its interval a row; None where it has no numbers."""
    columns, rows = charted(table), table.texts[:MOST_ROWS]
    if not columns or not rows:
        return None
    names = [" ".join(part for part in row[: table.names] if part) for row in rows]
    left, gap, top, step = 14 + 6.4 * max(map(len, names)), 34.0, 34.0, 22.0
    wide = min(320.0, max(150.0, (WIDTH - left - 14) / len(columns) - gap))
    bottom = top + step * len(rows)
    parts = []
    for i, name in enumerate(names):
        y = top + step * (i + 0.5)
        parts.append(el("text", name, x=left - 12, y=round(y + 4, 1), text_anchor="end", cls="name"))
        parts.append(_line(left, y, left + len(columns) * (wide + gap) - gap, y, "rule"))
    for position, column in enumerate(columns):
        start = left + position * (wide + gap)
        shown = {i: number for i, number in estimates(table, column).items() if i < len(rows)}
        low, high = bounds(shown.values())
        scale = Scale(low=low, high=high, start=start, end=start + wide)
        parts.append(_panel(table.columns[column], scale, top, bottom))
        for i, number in shown.items():
            words = f"{names[i]}, {table.columns[column]}: {_cell(table, rows[i], column)}"
            parts.append(_estimate(number, scale, top + step * (i + 0.5), family(rows[i][0]), words))
    size = left + len(columns) * (wide + gap) - gap + 14, bottom + 26
    return chart(size, table.title, _say(table, columns, rows), parts)


def _cell(table: ResultTable, row: tuple[str, ...], column: int) -> str:
    """Return a number with its interval, as the table has them."""
    beside = column + 1 < len(row) and "95%" in table.columns[column + 1] and row[column + 1]
    return f"{row[column]} [{row[column + 1]}]" if beside else row[column]


def _panel(title: str, scale: Scale, top: float, bottom: float) -> Html:
    grid = [
        join(
            (
                _line(scale(tick), top, scale(tick), bottom, "zero" if tick == 0 > scale.low else "grid"),
                el("text", _tick(tick), x=scale(tick), y=bottom + 16, text_anchor="middle", cls="tick"),
            )
        )
        for tick in scale.ticks()
    ]
    return el("g", el("text", title, x=scale.start, y=top - 14, cls="panel"), *grid)


def _estimate(found: Estimate, scale: Scale, y: float, kind: str, words: str) -> Html:
    x = scale(found.value)
    interval = None
    if found.ends is not None:
        interval = _line(scale(found.ends[0]), y, scale(found.ends[1]), y, "interval")
    shape = {
        "original": el("rect", x=x - 4, y=y - 4, width=8, height=8),
        "control": el("circle", cx=x, cy=y, r=4),
        "constructed": el("circle", cx=x, cy=y, r=4.5),
    }[kind]
    return el("g", el("title", words), interval, shape, cls=kind)


def _say(table: ResultTable, columns: Sequence[int], rows: Sequence[tuple[str, ...]]) -> str:
    """Return in words what a chart of dots shows."""
    parts = []
    for column in columns:
        numbers = {i: number.value for i, number in estimates(table, column).items() if i < len(rows)}
        lowest, highest = (rows[end(numbers, key=lambda i: numbers[i])] for end in (min, max))
        ends = (
            f"{_cell(table, row, column)} ({' '.join(filter(None, row[: table.names]))})" for row in (lowest, highest)
        )
        parts.append(f"{table.columns[column]} from {' to '.join(ends)}")
    return f"{len(rows)} rows, one dot with its interval each: {'; '.join(parts)}. The table has every number."


MARKS = (
    "M-5,0a5,5 0 1 0 10,0a5,5 0 1 0 -10,0Z",
    "M-4.5,-4.5H4.5V4.5H-4.5Z",
    "M0,-6L6,0L0,6L-6,0Z",
    "M0,-6L5.5,4.5H-5.5Z",
    "M0,6L5.5,-4.5H-5.5Z",
    "M-2,-5.5H2V-2H5.5V2H2V5.5H-2V2H-5.5V-2H-2Z",
    "M-5.5,-2.5H5.5V2.5H-5.5Z",
)
"""Outlines of the marks of the series, around (0, 0): disc, square, diamond, two triangles, cross, bar."""


def mark(series: int, x: float, y: float, words: str = "") -> Html:
    """Return the mark of a series; colour and shape both tell it."""
    number = min(series, SERIES - 1)
    title = el("title", words) if words else None
    return el("path", title, d=MARKS[number], transform=f"translate({x:g} {y:g})", cls=f"mark series{number}")


def scatter(shown: Scatter, series: Sequence[str]) -> Html:
    """Return a scatter; a point looks as its name's place in `series` says."""
    x = Scale(**_near(spot.x for spot in shown.spots), start=46, end=428)
    y = Scale(**_near(spot.y for spot in shown.spots), start=216, end=30)
    parts = _axes(x, y, marks=y.ticks())
    parts.append(el("text", shown.x, x=237, y=252, text_anchor="middle", cls="tick"))
    parts.append(el("text", shown.y, x=4, y=16, cls="tick"))
    whiskers, marks = [], []
    for spot in shown.spots:
        number, across, up = series.index(spot.name), x(spot.x.value), y(spot.y.value)
        kind = f"whisker series{min(number, SERIES - 1)}"
        if spot.x.ends:
            whiskers.append(_line(x(spot.x.ends[0]), up, x(spot.x.ends[1]), up, kind))
        if spot.y.ends:
            whiskers.append(_line(across, y(spot.y.ends[0]), across, y(spot.y.ends[1]), kind))
        marks.append(mark(number, across, up, f"{spot.name}: {_with_ends(spot.x)}, {_with_ends(spot.y)}"))
    said = "; ".join(f"{spot.name} at {_with_ends(spot.x)}, {_with_ends(spot.y)}" for spot in shown.spots)
    description = f"{shown.y} over {shown.x}. {said}. {shown.note}"
    return chart((440, 260), shown.title, description, [*parts, *whiskers, *marks], fluid=True)


def _with_ends(number: Estimate) -> str:
    ends = f" [{number.ends[0]:.3f}, {number.ends[1]:.3f}]" if number.ends else ""
    return f"{number.value:.3f}{ends}"


def curves(title: str, quantity: str, lines: Sequence[tuple[int, Curve]], shares: bool) -> Html:
    """Return the curves of a group of trainings; `lines` have the number of their series, `shares` end at 1."""
    last = max(curve.points[-1][0] for _, curve in lines)
    first = min(curve.points[0][0] for _, curve in lines)
    values = [value for _, curve in lines for _, value in curve.points]
    low, high = (0.0, 1.0) if shares else (0.0, max(values) * 1.05 or 1.0)
    x = Scale(low=first, high=max(last, first + 1), start=34, end=252)
    y = Scale(low=low, high=high, start=112, end=12)
    parts = _axes(x, y, marks=(0.0, 0.5, 1.0) if shares else y.ticks()[::2], steps=True)
    for series, curve in lines:
        path = "M" + "L".join(f"{x(step):g},{y(value):g}" for step, value in curve.points)
        end_step, end_value = curve.points[-1]
        words = el("title", f"{curve.title}: {end_value:.3f} at epoch {end_step}")
        parts.append(el("path", words, d=path, cls=f"curve series{min(series, SERIES - 1)}"))
        if len(curve.points) == 1:
            parts.append(
                el("circle", words, cx=x(end_step), cy=y(end_value), r=3, cls=f"end series{min(series, SERIES - 1)}")
            )
    ends = sorted(curve.points[-1][1] for _, curve in lines)
    said = f"{quantity} over {last} epochs of {len(lines)} trainings, ending between {ends[0]:.3f} and {ends[-1]:.3f}."
    return chart((264, 134), title, said, parts, fluid=True)


def _axes(x: Scale, y: Scale, *, marks: Sequence[float], steps: bool = False) -> list[Html]:
    """Return lines and numbers at the `marks` of the y axis, and numbers on the x axis: of `steps` only whole ones."""
    across = [
        join(
            (
                _line(x.start, y(tick), x.end, y(tick), "grid"),
                el("text", _tick(tick), x=x.start - 6, y=y(tick) + 4, text_anchor="end", cls="tick"),
            )
        )
        for tick in marks
    ]
    under = [
        el("text", _tick(tick), x=x(tick), y=y.start + 16, text_anchor="middle", cls="tick")
        for tick in x.ticks()
        if not steps or tick == int(tick)
    ]  # fmt: skip
    return [*across, *under]


def _near(shares: Iterable[Estimate]) -> dict[str, float]:
    """Return the part of an axis of shares that holds all of `shares` and their intervals, with a little room."""
    found = [end for share in shares for end in (share.value, *(share.ends or ()))]
    low, high = max(0.0, min(found)), min(1.0, max(found))
    room = 0.15 * (high - low) or 0.05
    return {"low": low - room, "high": high + room}


def _tick(value: float) -> str:
    text = f"{value:g}"
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Html:
    return el("line", x1=round(x1, 1), y1=round(y1, 1), x2=round(x2, 1), y2=round(y2, 1), cls=kind)


def chart(
    size: tuple[float, float], title: str, description: str, parts: Sequence[str], *, fluid: bool = False
) -> Html:
    """Return an SVG with its title and description; a `fluid` one is as wide as its place allows."""
    width, height = (round(length) for length in size)
    name = f"chart-{digest(''.join((title, description, *parts)).encode())[:10]}"
    return el(
        "svg",
        el("title", title, id=f"{name}-title"),
        el("desc", description, id=f"{name}-description"),
        *parts,
        viewBox=f"0 0 {width} {height}",
        width=None if fluid else width,
        height=None if fluid else height,
        role="img",
        aria_labelledby=f"{name}-title",
        aria_describedby=f"{name}-description",
        cls="chart",
    )

"""Charts as inline SVG: a dot with its interval for every number of a table, scatter plots, learning curves.

SVG elements have CSS classes instead of colours; the page's style sheet sets the colours for light and dark mode. Every
chart has a title and a description for screen readers, and every mark has a tooltip.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nrf_ray.attacks import trust
from nrf_ray.display.printing import Cell, Estimate, ResultTable, SetKind, SetName
from nrf_ray.display.svg import ticks
from nrf_ray.graph.canonical import digest
from nrf_ray.page.html import Html, el, join
from nrf_ray.page.snapshot import Curve, Scatter

MOST_ROWS = 60
MOST_PANELS = 4
MOST_MARKS = 12
"""Points of a curve up to which each has a mark."""
SERIES = 7
"""Number of series with a colour of their own; further series share the last one."""

WIDTH = 976.0
"""Width of a dot chart on a large screen, in pixels."""
LETTER = 7.4
"""Width that a letter of a row's name has in the widest of usual fonts, in pixels."""


def estimates(table: ResultTable, column: int) -> dict[int, Estimate]:
    """Return the numbers of a column by row index."""
    cells = ((i, row[column]) for i, row in enumerate(table.rows))
    return {i: cell for i, cell in cells if isinstance(cell, Estimate)}


def charted(table: ResultTable) -> list[int]:
    """Return the columns that a table's chart shows: those with intervals or, if none has any, all decimal columns."""
    found = {column: estimates(table, column) for column in range(table.names, len(table.columns))}
    decimals = [column for column in found if 0 < len(found[column]) == sum(bool(row[column]) for row in table.rows)]
    sure = [column for column in decimals if any(number.ends for number in found[column].values())]
    return (sure or decimals)[:MOST_PANELS]


def kind_of(row: Sequence[Cell]) -> SetKind:
    """Return the kind of the training set that a row names, which sets its mark; constructed if it names none."""
    return next((cell.kind for cell in row if isinstance(cell, SetName)), "constructed")


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Linear map from values to pixels along one axis."""

    low: float
    high: float
    start: float
    """Pixel of `low`."""
    end: float
    """Pixel of `high`."""

    def __call__(self, value: float) -> float:
        """Return the pixel of a value; a value out of range gets the pixel of the nearest end."""
        inside = min(max(value, self.low), self.high)
        return round(self.start + (inside - self.low) / (self.high - self.low) * (self.end - self.start), 1)

    def ticks(self) -> list[float]:
        """Return round tick values in the range of the axis."""
        return ticks(self.low, self.high)


def bounds(numbers: Iterable[Estimate]) -> tuple[float, float]:
    """Return the range of an axis: 0 to 1 for shares, otherwise all numbers and intervals, with a margin.

    For differences of shares, intervals are cut at -1 and 1, the ends of the possible range.
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
    """Return a chart of a table: one panel per column, one dot with interval per row; None if it has no numbers."""
    columns, rows = charted(table), table.texts[:MOST_ROWS]
    if not columns or not rows:
        return None
    names = [" ".join(part for part in row[: table.names] if part) for row in rows]
    left, gap, top, step = 14 + LETTER * max(map(len, names)), 34.0, 34.0, 22.0
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
            parts.append(_estimate(number, scale, top + step * (i + 0.5), kind_of(table.rows[i]), words))
    size = left + len(columns) * (wide + gap) - gap + 14, bottom + 26
    return chart(size, table.title, _say(table, columns, rows), parts)


def _cell(table: ResultTable, row: tuple[str, ...], column: int) -> str:
    """Return a number with its interval, as printed in the table."""
    beside = column + 1 < len(row) and "95%" in table.columns[column + 1] and row[column + 1]
    return f"{row[column]} [{row[column + 1].strip('[]')}]" if beside else row[column]


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
    """Return a description of a dot chart in words."""
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
"""SVG paths of the marks of the series, centred at (0, 0): disc, square, diamond, two triangles, cross, bar."""


def mark(series: int, x: float, y: float, words: str = "") -> Html:
    """Return the mark of a series, which both its colour and its shape identify."""
    number = min(series, SERIES - 1)
    title = el("title", words) if words else None
    return el("path", title, d=MARKS[number], transform=f"translate({x:g} {y:g})", cls=f"mark series{number}")


def scatter(shown: Scatter, series: Sequence[str]) -> Html:
    """Return a scatter plot; the index of a point's name in `series` sets its colour and shape."""
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
    """Return a chart of the curves of a group of trainings.

    `lines` are pairs of series index and curve. With `shares`, the y axis is from 0 to 1.
    """
    last = max(curve.points[-1][0] for _, curve in lines)
    first = min(curve.points[0][0] for _, curve in lines)
    values = [value for _, curve in lines for _, value in curve.points]
    low, high = (0.0, 1.0) if shares else (0.0, max(values) * 1.05 or 1.0)
    x = Scale(low=first, high=max(last, first + 1), start=34, end=252)
    y = Scale(low=low, high=high, start=112, end=12)
    parts = _axes(x, y, marks=(0.0, 0.5, 1.0) if shares else y.ticks()[::2], steps=True)
    for series, curve in lines:
        end_step, end_value = curve.points[-1]
        words = el("title", f"{curve.title}: {end_value:.3f} at epoch {end_step}")
        parts.append(_path(curve.points, x, y, series, words))
        if len(curve.points) == 1:
            parts.append(
                el("circle", words, cx=x(end_step), cy=y(end_value), r=3, cls=f"end series{min(series, SERIES - 1)}")
            )
    ends = sorted(curve.points[-1][1] for _, curve in lines)
    said = f"{quantity} over {last} epochs of {len(lines)} trainings, ending between {ends[0]:.3f} and {ends[-1]:.3f}."
    return chart((264, 134), title, said, parts, fluid=True)


def profile(shown: trust.Curve, title: str) -> Html:
    """Return a chart of what a check of an attack saw over the attack's effort or radius, with a mark at few points."""
    (first, _), (last, end) = shown.points[0], shown.points[-1]
    values = [value for _, value in shown.points]
    shares = shown.quantity == "accuracy"
    room = 0.08 * (max(values) - min(values)) or 1.0
    low, high = (0.0, 1.0) if shares else (min(values) - room, max(values) + room)
    x = Scale(low=first, high=last if last > first else first + 1, start=46, end=428)
    y = Scale(low=low, high=high, start=216, end=30)
    whole = all(point == int(point) for point, _ in shown.points)
    parts = _axes(x, y, marks=y.ticks(), steps=whole)
    parts.append(el("text", shown.over, x=237, y=252, text_anchor="middle", cls="tick"))
    parts.append(el("text", shown.quantity, x=4, y=16, cls="tick"))
    words = el("title", f"{shown.quantity} {end:.3f} at {shown.over} {last:g}")
    parts.append(_path(shown.points, x, y, 0, words))
    if len(shown.points) <= MOST_MARKS:
        parts += [
            mark(0, x(point), y(value), f"{shown.quantity} {value:.3f} at {shown.over} {point:g}")
            for point, value in shown.points
        ]
    lowest, highest = (extreme(shown.points, key=lambda point: point[1]) for extreme in (min, max))
    said = (
        f"{shown.quantity} from {values[0]:.3f} at {shown.over} {first:g} to {values[-1]:.3f} at {last:g}; lowest "
        f"{lowest[1]:.3f} at {lowest[0]:g}, highest {highest[1]:.3f} at {highest[0]:g}. The table has every point."
    )
    return chart((440, 260), title, said, parts, fluid=True)


def _path(points: Sequence[tuple[float, float]], x: Scale, y: Scale, series: int, words: Html) -> Html:
    """Return the line of a series through `points`, with its tooltip `words`."""
    path = "M" + "L".join(f"{x(along):g},{y(value):g}" for along, value in points)
    return el("path", words, d=path, cls=f"curve series{min(series, SERIES - 1)}")


def _axes(x: Scale, y: Scale, *, marks: Sequence[float], steps: bool = False) -> list[Html]:
    """Return grid lines and labels at `marks` of the y axis, and labels of the x axis: with `steps`, integers only."""
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
    """Return the ends of an axis that contains all `shares` and their intervals, with a margin."""
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
    """Return an SVG with its title and description; if `fluid`, it fills the width of its container."""
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

"""Pictures as SVG text: points, curves and text in panels with axes.

The pictures of the theory consist of dots, ellipses and lines. As SVG text they need no plotting library, have the
same bytes on every machine, as everything in a store must, and are sharp at any size.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

Point = tuple[float, float]

FONT = "Helvetica, Arial, sans-serif"
TITLE, TEXT = 15, 12
INK = "#333333"


@dataclass(frozen=True, kw_only=True)
class Panel:
    """Rectangle with its own coordinates; the two axes may have different scales."""

    left: float
    """Pixels from the picture's left side to the panel."""
    top: float
    """Pixels from the picture's top to the panel."""
    width: float
    """Pixels."""
    height: float
    """Pixels."""
    x: tuple[float, float]
    """Lowest and highest x shown."""
    y: tuple[float, float]
    """Lowest and highest y shown."""
    title: str
    """Text above the panel."""
    note: str = ""
    """Text below the panel."""
    x_names: Sequence[tuple[float, str]] = ()
    """Ticks of the x axis with their text; round numbers if empty."""
    y_names: Sequence[tuple[float, str]] = ()
    """Ticks of the y axis with their text; round numbers if empty."""
    marks: list[str] = field(default_factory=list)
    """SVG elements drawn so far, the lowest first."""

    def at(self, point: Point) -> str:
        """Return the pixel coordinates of a point of the panel."""
        x = self.left + (point[0] - self.x[0]) / (self.x[1] - self.x[0]) * self.width
        y = self.top + (self.y[1] - point[1]) / (self.y[1] - self.y[0]) * self.height
        return f"{x:.1f},{y:.1f}"

    def dots(self, points: Iterable[Point], *, colour: str) -> None:
        """Draw points as small pale discs, without those outside the panel."""
        discs = []
        for point in points:
            if self.x[0] <= point[0] <= self.x[1] and self.y[0] <= point[1] <= self.y[1]:
                x, y = self.at(point).split(",")
                discs.append(f'<circle cx="{x}" cy="{y}" r="1.3"/>')
        self.marks.append(f'<g fill="{colour}" fill-opacity="0.35">{"".join(discs)}</g>')

    def curve(self, points: Sequence[Point], *, colour: str, width: float = 1.5, closed: bool = False) -> None:
        """Draw straight lines from point to point."""
        path = "M" + " L".join(map(self.at, points)) + ("Z" if closed else "")
        self.marks.append(f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="{width:g}"/>')

    def band(self, points: Sequence[Point], *, colour: str, opacity: float = 0.2) -> None:
        """Fill the polygon with these corners."""
        path = "M" + " L".join(map(self.at, points)) + "Z"
        self.marks.append(f'<path d="{path}" fill="{colour}" fill-opacity="{opacity:g}"/>')

    def word(self, point: Point, text: str) -> None:
        """Write a text centred at a point."""
        x, y = self.at(point).split(",")
        self.marks.append(_text(x, f"{float(y) + TEXT / 3:.1f}", text))

    def to_svg(self, clip: str) -> str:
        """Return the panel as SVG; `clip` is the id of its clip path, unique in the picture."""
        box = f'x="{self.left:g}" y="{self.top:g}" width="{self.width:g}" height="{self.height:g}"'
        middle = self.left + self.width / 2
        parts = [f'<clipPath id="{clip}"><rect {box}/></clipPath>']
        parts += [f'<g clip-path="url(#{clip})">', *self.marks, "</g>"]
        parts.append(f'<rect {box} fill="none" stroke="{INK}"/>')
        for place, name in self.x_names or _numbers(self.x):
            x, y = self.at((place, self.y[0])).split(",")
            parts.append(_text(x, f"{float(y) + 16:.1f}", name))
        for place, name in self.y_names or _numbers(self.y):
            x, y = self.at((self.x[0], place)).split(",")
            parts.append(_text(f"{float(x) - 5:.1f}", f"{float(y) + 4:.1f}", name, anchor="end"))
        parts.append(_text(f"{middle:.1f}", f"{self.top - 10:.1f}", self.title, size=TITLE))
        parts.append(_text(f"{middle:.1f}", f"{self.top + self.height + 36:.1f}", self.note))
        return "\n".join(parts)


def picture(
    panels: Sequence[Panel], *, title: str, width: float, height: float, legend: Sequence[tuple[str, str]]
) -> bytes:
    """Return a scalable SVG file of `panels`; `title` is for readers who cannot see it.

    `legend` has pairs of colour and meaning, written in one row at the bottom.
    """
    body = [panel.to_svg(f"panel{i}") for i, panel in enumerate(panels)]
    for i, (colour, meaning) in enumerate(legend):
        x, y = 40 + i * (width - 40) / len(legend), height - 14
        body.append(f'<rect x="{x:.1f}" y="{y - 9:.1f}" width="18" height="9" fill="{colour}"/>')
        body.append(_text(f"{x + 24:.1f}", f"{y:.1f}", meaning, anchor="start"))
    size = f'width="{width:g}" height="{height:g}" viewBox="0 0 {width:g} {height:g}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="{FONT}">'
    return "\n".join(
        [head, f"<title>{escape(title)}</title>", '<rect width="100%" height="100%" fill="white"/>', *body, "</svg>\n"]
    ).encode()


def ticks(low: float, high: float) -> list[float]:
    """Return three to seven round numbers from low to high."""
    rough = (high - low) / 5
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 10) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _numbers(ends: tuple[float, float]) -> list[tuple[float, str]]:
    return [(tick, f"{tick:g}") for tick in ticks(*ends)]


def ellipse(centre: Point, axes: Sequence[Point], *, corners: int = 96) -> list[Point]:
    """Return points on the ellipse centre + cos(t) axes[0] + sin(t) axes[1]."""
    turns = [(math.cos(2 * math.pi * i / corners), math.sin(2 * math.pi * i / corners)) for i in range(corners)]
    (a, b), (c, d) = axes
    return [(centre[0] + cos * a + sin * c, centre[1] + cos * b + sin * d) for cos, sin in turns]


def _text(x: str, y: str, text: str, *, size: int = TEXT, anchor: str = "middle") -> str:
    return f'<text x="{x}" y="{y}" font-size="{size}" fill="{INK}" text-anchor="{anchor}">{escape(text)}</text>'

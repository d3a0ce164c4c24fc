"""README's picture: accuracy of students of each constructed set and of its control, from a table of results.

    python analysis/picture.py runs/sweeps/transfer_grid/results.parquet analysis/transfer_grid.svg

One line per training set: mean accuracy on untouched test images over architectures, then over seeds, with the 95% t
interval over seeds. The picture is SVG text, so the same table gives the same bytes. It contains a description in
words, which is also printed: README's alternative text, which tests compare with it.
"""

import argparse
import math
import re
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

import pandas as pd

from nrf_ray.constructions.spec import CONSTRUCTIONS, ORIGINAL
from nrf_ray.display.printing import share_text
from nrf_ray.errors import ConfigError
from nrf_ray.statistics import Interval, over_seeds

SETS = {
    "d_other": "t: any wrong class",
    "d_det": "t = y + 1",
    "d_rand": "t: any class, y too",
}
"""Constructions of the picture, and how their labels are drawn."""
SET, CONTROL, INK = "#0072B2", "#E69F00", "#333333"
"""Colours that colour-blind people can distinguish; the marks differ too."""
LEFT, WIDTH, ROW, TOP = 270, 430, 24, 64
"""Pixels: width of the names and of the scale from 0 to 1, height of one line and of the heading."""


def lines(results: pd.DataFrame) -> list[tuple[str, bool, Interval]]:
    """Return name, whether it is a control, and accuracy of each line of the picture, from the top.

    Raises ConfigError if rows differ in more than their sets, radii, architectures and seeds.
    """
    for column in ("dataset", "norm", "storage", "mode"):
        if len(found := sorted(results[column].dropna().unique())) > 1:
            raise ConfigError(f"the table has more than one {column} ({', '.join(found)}); keep the rows of one")
    victims = results[(results["construction"] == ORIGINAL) & (results["role"] == "victim")]
    found = [("the original data", False, over_seeds(victims, "clean_accuracy"))]
    students = results[results["role"] == "student"]
    for construction, rule in SETS.items():
        for epsilon in sorted(students["epsilon"].dropna().unique()):
            for name, is_control in ((construction, False), (CONSTRUCTIONS[construction].control, True)):
                cells = students[(students["construction"] == name) & (students["epsilon"] == epsilon)]
                if len(cells):
                    what = f"{name}, its control" if is_control else f"{name} ({rule})"
                    found.append((f"{what}, eps {epsilon:g}", is_control, over_seeds(cells, "clean_accuracy")))
    return found


def told(shown: Sequence[tuple[str, bool, Interval]]) -> str:
    """Return what `lines` show in words, for screen readers: only the means, as printed in the picture, by radius."""
    means: dict[str, list[str]] = {}
    for name, _, accuracy in shown:
        named, _, radius = name.partition(", eps ")
        means.setdefault(radius, []).append(f"{re.split(r' [(]|,', named)[0]} {share_text(accuracy.estimate)}")
    words = [
        (f"at eps {radius}: " if radius else "") + ", ".join(means[radius])
        for radius in sorted(means, key=lambda radius: float(radius or 0))
    ]
    return "Share of untouched test images that are right, by training set (leak_...: controls): " + "; ".join(words)


def draw(results: pd.DataFrame) -> str:
    """Return the picture as SVG."""
    shown = lines(results)
    seeds, n = results["seed"].nunique(), int(results["n"].iloc[0])
    height = TOP + ROW * len(shown) + 54
    words = f"{results['dataset'].iloc[0]}: right on untouched test images, by what a student was trained on"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 120} {height}" font-size="13" '
        'font-family="Helvetica, Arial, sans-serif">',
        f"<title>{escape(words)}</title>",
        f"<desc>{escape(told(shown))}</desc>",
        '<rect width="100%" height="100%" fill="white"/>',
        _text(16, 24, words, size=15),
        _text(16, 44, f"mean over architectures, 95% t interval over {seeds} seeds, n = {n} images; dashed: chance"),
    ]
    for tick in (0, 0.25, 0.5, 0.75, 1):
        parts.append(_line(tick, TOP - 6, tick, height - 48, "#dddddd"))
        parts.append(_text(_x(tick), height - 30, f"{tick:g}", anchor="middle"))
    parts.append(_line(0.1, TOP - 6, 0.1, height - 48, "#888888", dashes="4 3"))
    parts.append(_text(LEFT + WIDTH / 2, height - 10, "share of test images", anchor="middle"))
    for row, (name, is_control, accuracy) in enumerate(shown):
        parts += _row(TOP + ROW * row + ROW / 2, name, is_control, accuracy)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _row(y: float, name: str, is_control: bool, accuracy: Interval) -> list[str]:
    colour, mean = CONTROL if is_control else SET, accuracy.estimate
    text = share_text(mean)
    parts = [_text(LEFT - 12, y + 4, name, anchor="end")]
    if not math.isnan(accuracy.low):
        text = f"{text} ± {share_text(accuracy.high - mean)}"
        parts.append(_line(max(0.0, accuracy.low), y, min(1.0, accuracy.high), y, colour, width=2))
    mark = f'x="{_x(mean) - 5:.1f}" y="{y - 5:.1f}" width="10" height="10"'
    circle = f'<circle cx="{_x(mean):.1f}" cy="{y:.1f}" r="5.5" fill="{colour}"/>'
    parts.append(f'<rect {mark} fill="white" stroke="{colour}" stroke-width="2"/>' if is_control else circle)
    return [*parts, _text(LEFT + WIDTH + 14, y + 4, text)]


def _x(share: float) -> float:
    return LEFT + WIDTH * share


def _line(left: float, top: float, right: float, bottom: float, colour: str, width: int = 1, dashes: str = "") -> str:
    ends = f'x1="{_x(left):.1f}" y1="{top:.1f}" x2="{_x(right):.1f}" y2="{bottom:.1f}"'
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    return f'<line {ends} stroke="{colour}" stroke-width="{width}"{dashed}/>'


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 13) -> str:
    return f'<text x="{x:g}" y="{y:g}" font-size="{size}" fill="{INK}" text-anchor="{anchor}">{escape(text)}</text>'


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path, help="results.parquet of the transfer grid, one dataset")
    parser.add_argument("picture", type=Path, help="the SVG file to write")
    chosen = parser.parse_args()
    table = pd.read_parquet(chosen.results)
    chosen.picture.write_text(draw(table), encoding="utf-8")
    print(told(lines(table)))

"""Style of figures: colours that colour-blind people can distinguish, plain axes, a footnote with n and interval."""

import textwrap
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILION, PURPLE, GREY = "#0072B2", "#D55E00", "#CC79A7", "#767676"
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILION, BLACK)
"""Okabe and Ito (2008), without yellow; markers differ too."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

INCH_A_CHARACTER = 0.062
"""Width of a character of a footnote in inches."""


def blank(width: float, height: float, *, rows: int = 1, columns: int = 1, **options: Any) -> tuple[Figure, list[Axes]]:
    """Return a figure of `width` x `height` inches and its axes, row by row, without a window or global state."""
    figure = Figure(figsize=(width, height), layout="constrained", dpi=110)
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    return figure, list(np.ravel(axes))


def quiet(ax: Axes, *, grid: str) -> None:
    """Remove the top and right border, and draw a pale grid along `grid` ("x", "y" or "both")."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis=grid, color="#dddddd", linewidth=0.8)  # type: ignore[arg-type]
    ax.set_axisbelow(True)


def shares(ax: Axes, axis: str, label: str) -> None:
    """Scale an axis to shares from 0 to 1 with a small margin, and label it."""
    getattr(ax, f"set_{axis}lim")(-0.02, 1.02)
    getattr(ax, f"set_{axis}label")(label)


def footnote(figure: Figure, text: str) -> None:
    """Write an explanation of the numbers under a figure: n, intervals, sources."""
    width = int(figure.get_figwidth() / INCH_A_CHARACTER)
    figure.supxlabel("\n".join(textwrap.wrap(text, width)), x=0.01, ha="left", fontsize=8, color="#444444")


def nothing(message: str) -> Figure:
    """Return a figure that says why there is nothing to draw."""
    figure, (ax,) = blank(7, 1)
    ax.set_axis_off()
    ax.text(0.0, 0.5, "\n".join(textwrap.wrap(message, 90)), va="center", color=GREY)
    return figure


def outside_legend(figure: Figure, ax: Axes) -> None:
    """Put a legend above the axes, every name once, so that it hides nothing."""
    handles, labels = ax.get_legend_handles_labels()
    first = {label: handle for handle, label in reversed(list(zip(handles, labels, strict=True)))}
    names = list(dict.fromkeys(labels))
    shown = [first[name] for name in names]
    figure.legend(shown, names, loc="outside upper left", ncols=max(1, min(4, len(names))), frameon=False, fontsize=9)

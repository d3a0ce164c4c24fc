"""Every chart of the notebooks as a function from a table to a figure; galleries are in `gallery`, costs in `cost`.

The tables are those of `nrf_ray.tables.contrasts`, with the paper's numbers beside them (`paper.beside`). Lines through
points are intervals, hollow diamonds are published numbers, and the footnote says what each is. A table without rows
gives a figure that says so.
"""

import textwrap
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import BboxBase

from nrf_ray.statistics import regression
from nrf_ray.sweep.wording import ball_text
from nrf_ray.tables.recipe_search import KNOBS, RULES, chosen
from style import (
    BLACK,
    BLUE,
    COLOURS,
    GREEN,
    GREY,
    MARKERS,
    ORANGE,
    SKY,
    blank,
    footnote,
    nothing,
    outside_legend,
    quiet,
    shares,
)

Array = npt.NDArray[np.float64]

LABEL_WIDTH = 44
"""Maximum number of characters in a line of a label."""

HATCHES = ("", "//", "..")
"""Hatches of bars: the next one is used after all colours."""

NAME_OFFSET = (-6.0, 2.0)
"""Offset from a published point of Figure 3 to the end of its name, in points."""

EMPTY = "There are no rows to draw; see above which command makes the table."


def dots(table: pd.DataFrame, *, title: str, xlabel: str, note: str, chance: float | None = None) -> Figure:
    """Draw one line per `label`: `mean`, an interval from `low` to `high`, and `paper` if there is one.

    Rows of the same label and different `series` are drawn below each other in different colours. `chance` is marked by
    a dashed line.
    """
    if table.empty:
        return nothing(EMPTY)
    labels, kinds = list(dict.fromkeys(table["label"])), list(dict.fromkeys(table["series"]))
    figure, (ax,) = blank(8, 1.6 + len(labels) * (0.12 + 0.15 * len(kinds)))
    for index, kind in enumerate(kinds):
        rows = table[table["series"] == kind]
        y = np.array([labels.index(label) for label in rows["label"]]) + _offset(index, len(kinds))
        colour, marker = COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]
        ax.errorbar(
            rows["mean"], y, xerr=_arms(rows), fmt=marker, color=colour, elinewidth=1.5, capsize=2, label=str(kind)
        )
        known = rows["paper"].notna().to_numpy() if "paper" in rows else np.zeros(len(rows), bool)
        if known.any():
            ax.plot(rows["paper"][known], y[known], "D", mfc="none", mec=BLACK, ms=8, linestyle="none", label="paper")
    if chance is not None:
        ax.axvline(chance, color=GREY, linestyle="--", linewidth=1, label=f"chance, {chance:g}")
    ax.set_yticks(range(len(labels)), map(_wrapped, labels))
    ax.set_ylim(len(labels) - 0.5, -0.5)
    shares(ax, "x", xlabel)
    quiet(ax, grid="x")
    return _finished(figure, ax, title, note)


def bars(table: pd.DataFrame, *, title: str, ylabel: str, note: str) -> Figure:
    """Draw Figure 2: one group per `label`, one bar per `series`, with intervals and published numbers."""
    if table.empty:
        return nothing(EMPTY)
    labels, kinds = list(dict.fromkeys(table["label"])), list(dict.fromkeys(table["series"]))
    figure, (ax,) = blank(max(6, 1.5 * len(labels)), 4.4)
    width = 0.8 / len(kinds)
    for index, kind in enumerate(kinds):
        rows = table[table["series"] == kind]
        x = np.array([labels.index(label) for label in rows["label"]]) + _offset(index, len(kinds))
        colour, hatch = COLOURS[index % len(COLOURS)], HATCHES[index // len(COLOURS) % len(HATCHES)]
        ax.bar(x, rows["mean"], width * 0.92, color=colour, hatch=hatch, edgecolor="white", label=str(kind))
        ax.errorbar(x, rows["mean"], yerr=_arms(rows), fmt="none", ecolor=BLACK, elinewidth=1, capsize=2)
        known = rows["paper"].notna().to_numpy()
        if known.any():
            ax.plot(x[known], rows["paper"][known], "D", mfc="white", mec=BLACK, ms=5, linestyle="none", label="paper")
    ax.set_xticks(range(len(labels)), ["\n".join(label.split(" ", 1)) for label in labels], fontsize=9)
    shares(ax, "y", ylabel)
    ax.set_ylim(0, 1.02)
    quiet(ax, grid="y")
    return _finished(figure, ax, title, note)


def differences(table: pd.DataFrame, *, title: str, note: str) -> Figure:
    """Draw what students learn from each set beyond its control: t interval thin, bootstrap thick, filled if shown.

    A set without any partner has no difference to draw; `conclusions.of_contrasts` names it.
    """
    table = table.dropna(subset="difference")
    if table.empty:
        return nothing(EMPTY)
    figure, (ax,) = blank(8, 1.6 + 0.38 * len(table))
    for y, row in enumerate(table.to_dict("records")):
        ax.plot([row["low"], row["high"]], [y, y], color=BLUE, linewidth=1.2, label="t interval" if y == 0 else "")
        thick = [row["bootstrap_low"], row["bootstrap_high"]]
        ax.plot(thick, [y, y], color=SKY, linewidth=5, alpha=0.8, label="BCa bootstrap" if y == 0 else "", zorder=1)
        face = BLUE if row["shown"] else "white"
        ax.plot(row["difference"], y, "o", color=BLUE, mfc=face, ms=7, zorder=3)
    ax.axvline(0, color=GREY, linewidth=1)
    pairs = [f"{row['label']} - {row['against']}" for row in table.to_dict("records")]
    ax.set_yticks(range(len(table)), pairs)
    ax.set_ylim(len(table) - 0.5, -0.5)
    ax.set_xlabel("difference in accuracy on (x, y), share of test images")
    quiet(ax, grid="x")
    return _finished(figure, ax, title, note)


def learning_and_transfer(
    points: pd.DataFrame, correlations: pd.DataFrame, *, published: pd.DataFrame, title: str, note: str
) -> Figure:
    """Draw Figure 3 or 13: what architectures learn from D_det against how often they are fooled.

    `points` are rows of `nrf_ray.tables.contrasts.learnt_and_fooled` of one set and one attack. `correlations` are rows
    of `figure_3` for the same tables: r comes from there, and without a row for the set no line is drawn. `published`
    has the paper's `arch`, `learnt` and `fooled`. Raises ValueError if points are of several sets or attacks.
    """
    points = points.dropna(subset=["learnt", "fooled"])
    if points.empty:
        return nothing(EMPTY)
    of, *others = (points["d_det"] + ", " + points["attack"]).unique()
    if others:
        raise ValueError(f"no line fits the points of {'; '.join([of, *others])} together: draw one of them at a time")
    figure, (ax,) = blank(6.5, 5.2)
    title += f": d_det {of}"
    same = (correlations["d_det"] == points["d_det"].iloc[0]) & (correlations["attack"] == points["attack"].iloc[0])
    for found in correlations[same].to_dict("records"):
        x = points["learnt"]
        line = regression(x, points["fooled"], at=np.linspace(x.min(), x.max(), 40))
        ax.fill_between(line.x, line.low, line.high, color=SKY, alpha=0.3, linewidth=0, label="95% bootstrap band")
        ax.plot(line.x, line.y, color=BLUE, linewidth=1.5, label=f"slope {line.slope.estimate:.2f}")
        title += f"\nr = {found['r']:.2f} [{found['low']:.2f}, {found['high']:.2f}] over {found['archs']} architectures"
    for index, row in enumerate(points.to_dict("records")):
        colour, marker = COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]
        across, up = (_arms(points[index : index + 1], of=name) for name in ("learnt", "fooled"))
        ax.errorbar(
            row["learnt"], row["fooled"], xerr=across, yerr=up, fmt=marker, color=colour, ms=7, elinewidth=0.8,
            label=row["arch"],
        )  # fmt: skip
    if len(published):
        ax.plot(published["learnt"], published["fooled"], "D", mfc="none", mec=BLACK, linestyle="none", label="paper")
    ax.margins(0.12)
    for limit, (low, high) in ((ax.set_xlim, ax.get_xlim()), (ax.set_ylim, ax.get_ylim())):
        limit(max(low, -0.05), min(high, 1.05))
    ax.set_xlabel("accuracy on (x, y) after training on D_det, share")
    ax.set_ylabel("adversarial images that transfer, share")
    quiet(ax, grid="both")
    _finished(figure, ax, title, note)
    _name_apart(figure, ax, published)
    return figure


def spread_of_seeds(table: pd.DataFrame, *, title: str, note: str) -> Figure:
    """Draw, for each `label`, the standard deviation between seeds beside that of the test set alone."""
    table = table.dropna(subset="seed_std")
    if table.empty:
        return nothing("A spread between seeds needs two seeds or more.")
    figure, (ax,) = blank(8, 1.6 + 0.36 * len(table))
    y = np.arange(len(table))
    for offset, column, colour, label in (
        (-0.2, "seed_std", BLUE, "between seeds"),
        (0.2, "test_std", ORANGE, "test images resampled (binomial)"),
    ):
        ax.barh(y + offset, table[column], 0.36, color=colour, label=label)
    ax.set_yticks(y, list(table["label"]))
    ax.invert_yaxis()
    ax.set_xlabel("standard deviation of an accuracy, share of test images")
    quiet(ax, grid="x")
    return _finished(figure, ax, title, note)


def stacked(table: pd.DataFrame, parts: Mapping[str, str], *, title: str, xlabel: str, note: str) -> Figure:
    """Draw one bar per `label`, stacked from the shares in the columns of `parts`, which has their names in words."""
    if table.empty:
        return nothing(EMPTY)
    figure, (ax,) = blank(8, 1.6 + 0.36 * len(table))
    left = np.zeros(len(table))
    for (column, words), colour in zip(parts.items(), (GREEN, ORANGE, GREY), strict=True):
        ax.barh(range(len(table)), table[column], left=left, color=colour, label=words)
        left = left + table[column].to_numpy()
    ax.set_yticks(range(len(table)), map(_wrapped, table["label"]), fontsize=9)
    ax.set_ylim(len(table) - 0.5, -0.5)
    shares(ax, "x", xlabel)
    ax.set_xlim(0, 1)
    quiet(ax, grid="x")
    return _finished(figure, ax, title, note)


def recipes(table: pd.DataFrame, *, title: str, note: str) -> Figure:
    """Draw the test accuracy of each recipe, one line per constructed set, and which recipe each rule chooses."""
    if table.empty:
        return nothing(EMPTY)
    groups = list(table.groupby(["construction", "norm", "epsilon", "student_arch"]))
    figure, (ax,) = blank(8, 1.8 + 0.5 * len(groups))
    for y, (_, trials) in enumerate(groups):
        means = trials.groupby(KNOBS, as_index=False)[list(RULES.values())].mean()
        ax.plot(means["test_accuracy"], np.full(len(means), y), "o", color=GREY, mfc="none", ms=5, label="a recipe")
        for index, (rule, column) in enumerate(RULES.items()):
            best = float(chosen(means, column)["test_accuracy"])
            ax.plot([best], [y - 0.15 * (index + 1)], MARKERS[index + 1], color=COLOURS[index], label=f"by {rule}")
    names = [f"{made}, {ball_text(norm, epsilon)}, {arch}" for (made, norm, epsilon, arch), _ in groups]
    ax.set_yticks(range(len(groups)), names)
    ax.set_ylim(len(groups) - 0.5, -0.7)
    shares(ax, "x", "accuracy on untouched test images, share")
    quiet(ax, grid="x")
    return _finished(figure, ax, title, note)


def statement_margins(theory: pd.DataFrame, *, title: str, note: str) -> Figure:
    """Draw the error of every statement of the theory on every instance against its tolerance, on a log axis.

    Statements without a tolerance (>= and >) are drawn at the error of rounding or above.
    """
    if theory.empty:
        return nothing(EMPTY)
    names = list(dict.fromkeys(theory["statement"]))
    figure, (ax,) = blank(8, 1.6 + 0.3 * len(names))
    floor = 1e-17
    for y, name in enumerate(names):
        rows = theory[theory["statement"] == name]
        holds = rows["holds"].astype(bool)
        for kept, colour, marker in ((holds, BLUE, "o"), (~holds, ORANGE, "X")):
            values = rows[kept]["error"].clip(lower=floor)
            ax.plot(values, np.full(len(values), y), marker, color=colour, alpha=0.6, ms=4, linestyle="none")
        tolerance = rows["tolerance"].max()
        if tolerance > 0:
            ax.plot([tolerance], [y], "|", color=BLACK, ms=14, label="tolerance" if y == 0 else "")
    ax.set_xscale("log")
    ax.set_yticks(range(len(names)), names)
    ax.invert_yaxis()
    ax.set_xlabel("how far a statement is missed (0 is drawn at 1e-17)")
    quiet(ax, grid="x")
    return _finished(figure, ax, title, note)


def robust_gaussians(theory: pd.DataFrame, *, title: str, note: str) -> Figure:
    """Draw Figure 4 in numbers: the condition number of Sigma_r and the boundary's slope at each radius."""
    curves = {name: figure_4_curve(theory, name) for name in ("condition", "boundary")}
    if any(curve.empty for curve in curves.values()):
        return nothing(EMPTY)
    figure, axes = blank(8, 3.6, columns=2)
    labels = {"condition": "condition number of $\\Sigma_r$", "boundary": "slope of the decision boundary"}
    for ax, (name, curve), colour in zip(axes, curves.items(), (BLUE, ORANGE), strict=True):
        ax.plot(curve["epsilon"], curve["value"], "o-", color=colour)
        ax.set_xlabel("radius $\\varepsilon$ of the adversary, units of x")
        ax.set_ylabel(labels[name])
        quiet(ax, grid="both")
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    footnote(figure, note)
    return figure


def figure_4_curve(theory: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return `epsilon` and `value` of one curve of Figure 4 from the statements that compare neighbouring radii."""
    rows = theory[theory["statement"] == f"figure_4_{name}"].sort_values("epsilon")
    if rows.empty:
        return pd.DataFrame(columns=["epsilon", "value"])
    before, here = ("lhs", "rhs") if name == "condition" else ("rhs", "lhs")
    values = [rows[before].iloc[0], *rows[here]]
    return pd.DataFrame({"epsilon": [0.0, *rows["epsilon"]], "value": values})


def _arms(rows: pd.DataFrame, of: str = "") -> Array:
    """Return the lengths of the arms of intervals, [2, n], cut at 0 and 1; 0 if there is no interval."""
    names = (of, f"{of}_low", f"{of}_high") if of else ("mean", "low", "high")
    middle, low, high = (rows[name].to_numpy(float) for name in names)
    arms = np.stack([middle - np.clip(low, 0, 1), np.clip(high, 0, 1) - middle])
    found: Array = np.clip(np.nan_to_num(arms), 0, None)
    return found


def _name_apart(figure: Figure, ax: Axes, published: pd.DataFrame) -> None:
    """Write the names of published points on their left, each raised above names below that it would hide.

    Overlaps are known only after the layout of the rest of the figure, which the names do not change.
    """
    figure.draw_without_rendering()
    points_a_pixel = 72 / figure.dpi
    placed: list[BboxBase] = []
    for row in published.sort_values(["fooled", "learnt"]).to_dict("records"):
        name = ax.annotate(
            row["arch"], (row["learnt"], row["fooled"]), xytext=NAME_OFFSET, textcoords="offset points", ha="right",
            fontsize=7, color=GREY, in_layout=False,
        )  # fmt: skip
        while hidden := [below for below in placed if below.overlaps(name.get_window_extent())]:
            left, up = name.xyann
            rise = max(below.y1 for below in hidden) - name.get_window_extent().y0
            name.xyann = (left, up + (rise + 1) * points_a_pixel)
        placed.append(name.get_window_extent())


def _wrapped(label: str) -> str:
    return "\n".join(textwrap.wrap(label, LABEL_WIDTH))


def _offset(index: int, count: int) -> float:
    return 0.8 * ((index + 0.5) / count - 0.5)


def _finished(figure: Figure, ax: Axes, title: str, note: str) -> Figure:
    outside_legend(figure, ax)
    ax.set_title(title, loc="left", fontsize=11)
    footnote(figure, note)
    return figure

"""Every figure by what is drawn in it: positions of points, lengths of bars, ends of intervals, words under it."""

import math
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from matplotlib.container import BarContainer
from matplotlib.figure import Figure

import cost
import figures
import style

SUMMARY = pd.DataFrame(
    {
        "label": ["d_det", "d_rand", "d_det"],
        "series": ["on y", "on y", "on y + 1"],
        "mean": [0.3, 0.6, 0.5],
        "low": [0.2, math.nan, -0.1],
        "high": [0.4, math.nan, 1.2],
        "paper": [0.437, math.nan, math.nan],
    }
)
WORDS = {"title": "a title", "note": "n = 360 test images, 95% t interval over 3 seeds"}


def line_data(ax):
    """Return every line's points by its label; intervals and unnamed lines begin with an underscore."""
    return {line.get_label(): np.column_stack(line.get_data()).tolist() for line in ax.lines}


def points(ax):
    """Return the centres of everything drawn with errorbars, in the order of drawing."""
    return [np.column_stack(box.lines[0].get_data()).tolist() for box in ax.containers if hasattr(box, "lines")]


def intervals(ax):
    """Return the ends of every errorbar's interval."""
    return [
        segment.tolist()
        for box in ax.containers
        if hasattr(box, "lines")
        for c in box.lines[2]
        for segment in c.get_segments()
    ]


def widths(ax):
    return [[bar.get_width() for bar in box] for box in ax.containers if isinstance(box, BarContainer)]


def heights(ax):
    return [[bar.get_height() for bar in box] for box in ax.containers if isinstance(box, BarContainer)]


def words(figure):
    """Return all that is written: title, labels, legend and footnote."""
    ax = figure.axes[0]
    legends = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    ticks = [text.get_text() for text in (*ax.get_xticklabels(), *ax.get_yticklabels())]
    return [ax.get_title(loc="left"), ax.get_xlabel(), ax.get_ylabel(), *legends, *ticks, figure.get_supxlabel()]


def test_dots_are_means_with_their_intervals_cut_at_0_and_1():
    figure = figures.dots(SUMMARY, xlabel="accuracy, share", chance=0.1, **WORDS)
    ax = figure.axes[0]
    on_y, on_next = points(ax)
    assert [x for x, _ in on_y] == [0.3, 0.6]
    assert [x for x, _ in on_next] == [0.5]
    assert on_y[0][1] < 0 < on_next[0][1], "two series of one label stand one under the other around its tick"
    ends = [[x for x, _ in interval] for interval in intervals(ax)]
    assert ends == [pytest.approx([0.2, 0.4]), pytest.approx([0.6, 0.6]), pytest.approx([0.0, 1.0])]
    assert line_data(ax)["paper"][0] == pytest.approx([0.437, on_y[0][1]])
    assert line_data(ax)["chance, 0.1"] == [[0.1, 0.0], [0.1, 1.0]]
    assert ax.get_ylim() == (1.5, -0.5), "the first row is at the top"


def test_a_figure_says_what_it_shows():
    written = words(figures.dots(SUMMARY, xlabel="accuracy, share", **WORDS))
    assert {"a title", "accuracy, share", "on y", "on y + 1", "paper", "d_det", "d_rand"} <= set(written)
    assert written[-1] == WORDS["note"]


def test_what_nobody_published_has_no_diamond():
    assert "paper" not in words(figures.dots(SUMMARY.assign(paper=math.nan), xlabel="x", **WORDS))


def test_bars_are_means_by_group_and_series():
    figure = figures.bars(SUMMARY, ylabel="accuracy, share", **WORDS)
    ax = figure.axes[0]
    assert heights(ax) == [[0.3, 0.6], [0.5]]
    assert [y for _, y in intervals(ax)[0]] == pytest.approx([0.2, 0.4])
    assert ax.get_ylim()[0] == 0, "bars begin at nothing"
    assert line_data(ax)["paper"][0][1] == 0.437


def test_bars_beyond_the_colours_are_hatched():
    many = pd.concat([SUMMARY[:1].assign(series=f"attack {i}") for i in range(9)])
    drawn = figures.bars(many, ylabel="accuracy, share", **WORDS).axes[0].patches
    assert len({(bar.get_facecolor(), bar.get_hatch()) for bar in drawn}) == 9


def test_differences_show_both_intervals_and_are_filled_where_shown():
    table = pd.DataFrame(
        {
            "label": ["d_det", "d_other"], "against": ["leak_det", "leak_other"], "difference": [0.3, 0.1],
            "low": [0.1, -0.2], "high": [0.5, 0.4], "bootstrap_low": [0.2, -0.1], "bootstrap_high": [0.4, 0.3],
            "shown": [True, False],
        }
    )  # fmt: skip
    figure = figures.differences(table, **WORDS)
    ax = figure.axes[0]
    drawn = [np.column_stack(line.get_data()).tolist() for line in ax.lines]
    assert drawn[:3] == [[[0.1, 0], [0.5, 0]], [[0.2, 0], [0.4, 0]], [[0.3, 0]]]
    assert [ax.lines[i].get_markerfacecolor() for i in (2, 5)] == [style.BLUE, "white"]
    assert ax.get_ylim() == (1.5, -0.5), "marks of the first and of the last row are whole"
    assert {"d_det - leak_det", "d_other - leak_other", "t interval", "BCa bootstrap"} <= set(words(figure))


POINTS = pd.DataFrame(
    {
        "arch": ["a", "b", "c"], "d_det": "l2 1", "attack": "targeted l2 1",
        "learnt": [0.2, 0.3, 0.4], "learnt_low": [0.1, 0.2, math.nan],
        "learnt_high": [0.3, 0.4, math.nan], "fooled": [0.5, 0.7, 0.9], "fooled_low": 0.4, "fooled_high": 0.95,
    }
)  # fmt: skip
PAPER = pd.DataFrame({"arch": ["VGG-16"], "learnt": [0.279], "fooled": [0.657]})
FOUND = pd.DataFrame(
    {"d_det": ["l2 1", "l2 1"], "attack": ["targeted l2 1", "targeted l2 2"], "r": [0.77, 0.1], "low": [0.5, 0.0],
     "high": [0.9, 0.2], "archs": 3}
)  # fmt: skip
"""As of `evidence.figure_3`, but with an r that is not that of the points: the figure has to take it from here."""


def test_figure_3_is_a_point_an_architecture_with_both_intervals_and_the_regression():
    figure = figures.learning_and_transfer(POINTS, FOUND, published=PAPER, **WORDS)
    ax = figure.axes[0]
    assert [place for (place,) in points(ax)] == [[0.2, 0.5], [0.3, 0.7], [0.4, 0.9]]
    assert intervals(ax)[:2] == [
        pytest.approx(np.array([[0.1, 0.5], [0.3, 0.5]])),
        pytest.approx(np.array([[0.2, 0.4], [0.2, 0.95]])),
    ]
    line = line_data(ax)["slope 2.00"]
    assert line[0] == pytest.approx([0.2, 0.5])
    assert line[-1] == pytest.approx([0.4, 0.9])
    assert line_data(ax)["paper"] == [[0.279, 0.657]]
    assert words(figure)[0] == "a title: d_det l2 1, targeted l2 1\nr = 0.77 [0.50, 0.90] over 3 architectures"
    assert {"a", "b", "c"} <= set(words(figure))


def test_no_line_goes_through_the_points_of_two_sets():
    mixed = pd.concat([POINTS, POINTS.assign(d_det="linf 1")])
    with pytest.raises(ValueError, match="l2 1, targeted l2 1; linf 1, targeted l2 1"):
        figures.learning_and_transfer(mixed, FOUND, published=PAPER, **WORDS)


@pytest.mark.parametrize("names", [2, 3, 7])
@pytest.mark.parametrize("apart", [0.0, 0.004], ids=["one place", "one height"])
def test_any_number_of_published_names_do_not_hide_each_other_and_shares_end_at_1(tmp_path, names, apart):
    """On the positions at which they are drawn, in the end: a legend and a footnote took their place before."""
    near = pd.DataFrame({"arch": [f"ResNet-{i}" for i in range(names)], "learnt": 0.35, "fooled": 0.8})
    near["learnt"] += apart * np.arange(names)
    figure = figures.learning_and_transfer(POINTS.assign(fooled_high=1.0), FOUND, published=near, **WORDS)
    ax = figure.axes[0]
    before = [text.get_window_extent().bounds for text in ax.texts]
    figure.savefig(tmp_path / "drawn.png")
    boxes = [text.get_window_extent() for text in ax.texts]
    assert [box.bounds for box in boxes] == [pytest.approx(bounds, abs=0.5) for bounds in before]
    assert len(boxes) == names
    assert not [(a, b) for a, b in combinations(boxes, 2) if a.overlaps(b)]
    point = ax.transData.transform((0.35, 0.8))
    assert boxes[0].y0 <= point[1] + 2 <= boxes[0].y1, "the lowest is beside its point"
    assert boxes[0].x1 < point[0]
    assert ax.get_ylim()[1] <= 1.05


def test_what_figure_3_has_no_correlation_of_has_no_line_and_missing_victims_no_point():
    ax = figures.learning_and_transfer(POINTS, FOUND[1:], published=PAPER[:0], **WORDS).axes[0]
    assert not any(name.startswith("slope") for name in line_data(ax))
    assert ax.get_title(loc="left") == "a title: d_det l2 1, targeted l2 1"
    assert "paper" not in line_data(ax)
    missing = POINTS.assign(fooled=[0.5, None, None])
    assert len(points(figures.learning_and_transfer(missing, FOUND[:0], published=PAPER, **WORDS).axes[0])) == 1


def test_the_spread_of_seeds_stands_beside_that_of_the_test_set():
    table = pd.DataFrame({"label": ["a", "b"], "seed_std": [0.03, math.nan], "test_std": [0.01, 0.02]})
    ax = figures.spread_of_seeds(table, **WORDS).axes[0]
    assert widths(ax) == [[0.03], [0.01]], "one seed has no spread"


PARTS = {"robust": "robust", "useful_non_robust": "useful, not robust", "useless": "useless"}


def test_stacked_shares_add_up():
    table = pd.DataFrame({"label": ["a"], "robust": [0.5], "useful_non_robust": [0.3], "useless": [0.2]})
    figure = figures.stacked(table, PARTS, xlabel="units, share", **WORDS)
    ax = figure.axes[0]
    assert widths(ax) == [pytest.approx([share]) for share in (0.5, 0.3, 0.2)]
    assert [bar.get_x() for box in ax.containers for bar in box] == pytest.approx([0.0, 0.5, 0.8])
    assert set(PARTS.values()) <= set(words(figure))


def recipe(lr, constructed, clean, test):
    return {
        "construction": "d_rand", "norm": "l2", "epsilon": 1.0, "student_arch": "a", "seed": 0, "batch_size": 128,
        "lr_drop": True, "augmented": False, "lr": lr, "constructed_validation": constructed,
        "clean_validation": clean, "test_accuracy": test,
    }  # fmt: skip


def test_every_recipe_is_a_dot_and_every_rule_points_at_its_choice():
    table = pd.DataFrame([recipe(0.1, 0.9, 0.2, 0.3), recipe(0.01, 0.5, 0.8, 0.7), recipe(0.05, 0.4, 0.1, 0.75)])
    drawn = line_data(figures.recipes(table, **WORDS).axes[0])
    assert sorted(x for x, _ in drawn["a recipe"]) == [0.3, 0.7, 0.75]
    rules = {"constructed validation": 0.3, "clean validation": 0.7, "test oracle": 0.75}
    assert {rule: drawn[f"by {rule}"][0][0] for rule in rules} == rules


THEORY = pd.DataFrame(
    [
        ("theorem_1", 0.5, 0.0, 0.0, 1e-3, 4e-3, True),
        ("theorem_1", 0.5, 0.0, 0.0, 9e-3, 4e-3, False),
        ("figure_4_condition", 1.0, 50.0, 20.0, 0.0, 0.0, True),
        ("figure_4_condition", 10.0, 20.0, 3.0, 0.0, 0.0, True),
        ("figure_4_boundary", 10.0, 6.0, 1.0, 0.0, 0.0, True),
        ("figure_4_boundary", 1.0, 1.0, 0.2, 0.0, 0.0, True),
    ],
    columns=["statement", "epsilon", "lhs", "rhs", "error", "tolerance", "holds"],
)


def test_the_margins_of_the_theory_are_errors_and_failures_are_crosses():
    ax = figures.statement_margins(THEORY, **WORDS).axes[0]
    drawn = [(line.get_marker(), np.column_stack(line.get_data()).tolist()) for line in ax.lines]
    assert drawn[:3] == [("o", [[1e-3, 0.0]]), ("X", [[9e-3, 0.0]]), ("|", [[4e-3, 0.0]])]
    assert [1e-17, 1.0] in drawn[3][1], "no error at all is drawn at the floor"


def test_figure_4_in_numbers_begins_at_radius_0():
    condition, slope = figures.robust_gaussians(THEORY, **WORDS).axes
    assert np.column_stack(condition.lines[0].get_data()).tolist() == [[0, 50], [1, 20], [10, 3]]
    assert np.column_stack(slope.lines[0].get_data()).tolist() == [[0, 0.2], [1, 1.0], [10, 6.0]]


def stage(key, kind, seconds, inputs="", started="2026-01-01T00:00:00+00:00", state="done"):
    return {
        "key": key, "stage": kind, "label": f"stage {key}", "seconds": seconds, "inputs": inputs, "started": started,
        "state": state,
    }  # fmt: skip


STAGES = pd.DataFrame(
    [
        stage("s", "train", 10.0),
        stage("j", "train", 4.0),
        stage("c", "construct", 3.0, "s", "2026-01-01T00:00:10+00:00"),
        stage("v", "judge", 1.0, "c j", "2026-01-01T00:00:13+00:00"),
        stage("t", "train", 2.0, "c", "2026-01-01T00:00:13+00:00"),
        stage("x", "train", math.nan, "t", None, "failed"),
    ]
)


def test_costs_are_added_up_by_kind_and_what_failed_is_left_out():
    kinds = cost.by_kind(STAGES)
    assert kinds[["stage", "stages", "seconds"]].to_numpy().tolist() == [
        ["train", 3, 16.0],
        ["construct", 1, 3.0],
        ["judge", 1, 1.0],
    ]
    assert kinds["share"].sum() == pytest.approx(1)
    assert widths(cost.costs(kinds, **WORDS).axes[0]) == [[16.0, 3.0, 1.0]]


def test_the_critical_path_is_the_longest_chain():
    path = cost.critical_path(STAGES)
    assert path["key"].tolist() == ["s", "c", "t"]
    assert path["ends"].tolist() == [10.0, 13.0, 15.0]
    bars = [(bar.get_x(), bar.get_width()) for bar in cost.chain(path, **WORDS).axes[0].patches]
    assert bars == [(0.0, 10.0), (10.0, 3.0), (13.0, 2.0)]


def test_the_timeline_puts_what_overlaps_into_lanes():
    bars = {
        (bar.get_x(), bar.get_width(), bar.get_y() + bar.get_height() / 2)
        for bar in cost.timeline(STAGES, **WORDS).axes[0].patches
    }
    assert bars == {(0, 10, 0), (0, 4, 1), (10, 3, 1), (13, 1, 0), (13, 2, 1)}


EMPTY = {
    "dots": lambda: figures.dots(SUMMARY[:0], xlabel="x", **WORDS),
    "bars": lambda: figures.bars(SUMMARY[:0], ylabel="y", **WORDS),
    "differences": lambda: figures.differences(pd.DataFrame({"difference": [math.nan]}), **WORDS),
    "learning and transfer": lambda: figures.learning_and_transfer(POINTS[:0], FOUND, published=PAPER, **WORDS),
    "spread": lambda: figures.spread_of_seeds(pd.DataFrame({"seed_std": [math.nan]}), **WORDS),
    "stacked": lambda: figures.stacked(pd.DataFrame(), PARTS, xlabel="x", **WORDS),
    "recipes": lambda: figures.recipes(pd.DataFrame(), **WORDS),
    "margins": lambda: figures.statement_margins(THEORY[:0], **WORDS),
    "figure 4": lambda: figures.robust_gaussians(THEORY[:0], **WORDS),
    "costs": lambda: cost.costs(cost.by_kind(STAGES[:0]), **WORDS),
    "timeline": lambda: cost.timeline(STAGES[:0], **WORDS),
    "chain": lambda: cost.chain(cost.critical_path(STAGES[:0]), **WORDS),
}


@pytest.mark.parametrize("draw", EMPTY.values(), ids=EMPTY)
def test_nothing_to_draw_is_said(draw):
    figure = draw()
    assert isinstance(figure, Figure)
    (said,) = [text.get_text() for text in figure.axes[0].texts]
    assert said.endswith(".")


def test_every_figure_can_be_rendered(tmp_path):
    for index, figure in enumerate((figures.dots(SUMMARY, xlabel="x", **WORDS), cost.timeline(STAGES, **WORDS))):
        figure.savefig(tmp_path / f"{index}.png")
        assert (tmp_path / f"{index}.png").stat().st_size > 5000


def test_colours_are_those_of_okabe_and_ito():
    known = {"#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7"}
    assert set(style.COLOURS) < known
    assert len(style.COLOURS) == len(set(style.COLOURS)) == len(set(style.MARKERS))

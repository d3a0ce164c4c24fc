"""Charts: what is drawn where, against positions computed by hand."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nrf_ray.display.printing import Estimate, SetName, share
from nrf_ray.page.charts import Scale, bounds, charted, curves, dots, estimates, kind_of, scatter
from nrf_ray.page.flow import flow, graph_of
from nrf_ray.page.snapshot import Curve, Scatter, Spot, Standing
from tests.page.known import FACTS, FAILED, TABLE


def test_an_interval_may_stand_in_the_next_column() -> None:
    """As those of Pearson's r, and of Wilson."""
    table = replace(
        TABLE,
        columns=("d_det", "attack", "r", "95%"),
        rows=(("l2 1", "targeted", share(0.715, -0.869, 1.0), "-.869, 1.00"), ("l2 1", "untargeted", share(0.914), "")),
    )
    assert estimates(table, 2) == {0: Estimate(0.715, (-0.869, 1.0), ".715"), 1: Estimate(0.914, None, ".914")}
    assert charted(table) == [2]
    drawn = dots(table)
    assert drawn is not None
    assert "l2 1 targeted, r: .715 [-.869, 1.00]" in drawn


def test_columns_with_intervals_are_charted_or_else_all_decimals() -> None:
    assert charted(TABLE) == [3, 5]
    plain = replace(TABLE, rows=tuple((*row[:3], share(0.989), *row[4:]) for row in TABLE.rows[:1]))
    assert charted(plain) == [3]
    assert charted(replace(TABLE, rows=())) == []


def test_the_mark_of_a_row_is_that_of_the_set_it_names_and_not_of_a_word() -> None:
    assert [kind_of(row) for row in TABLE.rows] == ["original", "constructed", "control"]
    assert kind_of(("linear", SetName("mine", "control"), share(0.5))) == "control"
    assert kind_of(("leak_rate", share(0.5))) == kind_of(("d", "d (of freedom)")) == "constructed"


def test_dots_lie_where_their_numbers_are() -> None:
    """Accuracies have an axis from 0 to 1; its width is what two panels leave each other of the whole."""
    drawn = dots(TABLE)
    assert drawn is not None
    groups = re.findall(r'<g class="(original|control|constructed)">(.*?)</g>', drawn)
    assert [kind for kind, _ in groups] == ["original", "constructed", "control", "constructed"]
    assert ["<title>d_det l2 1, clean: .086 ± .039</title>" in group for _, group in groups].count(True) == 1
    left = 14 + 7.4 * len("leak_det l2 1")
    wide = min(320, (976 - left - 14) / 2 - 34)
    for (_, group), value, half in zip(groups[:3], (0.989, 0.086, 0.016), (0.002, 0.039, 0.027), strict=True):
        x1, x2 = map(float, re.findall(r'x[12]="([\d.]+)"', group))
        # Ends outside of the axis lie on its ends.
        assert x1 == pytest.approx(left + wide * max(0, value - half), abs=0.11)
        assert x2 == pytest.approx(left + wide * min(1, value + half), abs=0.11)
    (middle,) = re.findall(r'cx="([\d.]+)"', groups[1][1])
    assert float(middle) == pytest.approx(left + wide * 0.086, abs=0.11)
    description = "clean from .016 ± .027 (leak_det l2 1) to .989 ± .002 (d (source))"
    assert description in drawn


def test_a_table_without_numbers_has_no_chart() -> None:
    assert dots(replace(TABLE, rows=())) is None
    assert dots(replace(TABLE, names=6)) is None


@given(st.lists(st.floats(-1e3, 1e3), min_size=1), st.floats(-1e3, 1e3))
def test_a_scale_holds_its_values_and_clips_others(values: list[float], other: float) -> None:
    low, high = bounds(Estimate(value, None) for value in values)
    scale = Scale(low=low, high=high, start=10, end=110)
    assert low <= min(values) <= max(values) <= high
    assert 10 <= scale(other) <= 110
    assert (scale(low), scale(high)) == (10, 110)


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ([Estimate(0.2, (-0.1, 0.5)), Estimate(0.4, None)], (0, 1)),
        ([Estimate(-0.1, None), Estimate(0.1, None)], (-0.116, 0.116)),
        ([Estimate(-0.1, (-0.2, 0.0)), Estimate(0.1, (-0.1, 0.3))], (-0.24, 0.34)),
        ([Estimate(-0.1, (-9.0, 9.0))], (-1.16, 1.16)),
        ([Estimate(3.0, None), Estimate(5.0, None)], (0, 5.16)),
        ([Estimate(-1.0, None)], (-2.0, 0.0)),
    ],
    ids=["shares", "differences", "with intervals", "wide intervals", "positive", "one number"],
)
def test_an_axis_holds_what_is_possible(numbers: list[Estimate], expected: tuple[float, float]) -> None:
    assert bounds(numbers) == pytest.approx(expected)


def test_a_scatter_has_a_point_an_architecture() -> None:
    shown = Scatter(
        title="t",
        x="x",
        y="y",
        note="n",
        spots=(
            Spot(name="a", x=Estimate(0.0, (-0.1, 0.1)), y=Estimate(1.0, None)),
            Spot(name="b", x=Estimate(1.0, None), y=Estimate(0.0, None)),
        ),
    )
    drawn = scatter(shown, ["a", "b"])
    # 15% room on both sides of the range from 0 to 1, on axes from 46 to 428 and from 216 up to 30.
    marks = re.findall(r'translate\(([\d.]+) ([\d.]+)\)" class="mark series(\d)"><title>(\w)', drawn)
    found = {name: (float(x), float(y)) for x, y, _, name in marks}
    assert [(name, series) for _, _, series, name in marks] == [("a", "0"), ("b", "1")]
    assert found["a"] == pytest.approx((46 + 382 * 0.15 / 1.3, 216 - 186 * 1.15 / 1.3), abs=0.06)
    assert found["b"] == pytest.approx((46 + 382 * 1.15 / 1.3, 216 - 186 * 0.15 / 1.3), abs=0.06)
    assert "a at 0.000 [-0.100, 0.100], 1.000; b at 1.000, 0.000. n" in drawn
    assert drawn.count("whisker") == 1


def test_a_curve_goes_through_its_points() -> None:
    curve = Curve(group="g", line="a", title="t", quantity="train/accuracy", points=((1, 0.0), (2, 0.5), (3, 1.0)))
    drawn = curves("g", "train/accuracy", [(0, curve), (9, curve)], True)
    paths = re.findall(r'<path d="M([^"]*)" class="curve (series\d)"', drawn)
    assert paths == [("34,112L143,62L252,12", "series0"), ("34,112L143,62L252,12", "series6")]
    assert "over 3 epochs of 2 trainings, ending between 1.000 and 1.000" in drawn
    single = curves("g", "q", [(0, replace(curve, points=((1, 2.0),)))], False)
    assert 'class="end series0"' in single


def test_the_graph_counts_stages_and_what_they_need() -> None:
    graph = graph_of(FAILED)
    found = {(node.level, node.kind): (node.held, node.total, node.mood) for node in graph.nodes}
    assert found == {
        (0, "train"): (1, 1, "done"),
        (1, "construct"): (1, 1, "done"),
        (1, "attack"): (0, 1, "failed"),
        (2, "train"): (0, 2, "running"),
        (2, "transfer"): (0, 1, "blocked"),
        (3, "evaluate"): (0, 1, "waiting"),
    }
    order = [(node.level, node.kind) for node in graph.nodes]
    edges = {(order[start], order[end]): number for (start, end), number in graph.edges.items()}
    assert edges == {
        ((0, "train"), (1, "construct")): 1,
        ((0, "train"), (1, "attack")): 1,
        ((1, "construct"), (2, "train")): 2,
        ((1, "attack"), (2, "transfer")): 1,
        ((2, "train"), (3, "evaluate")): 1,
    }


def test_every_line_of_the_graph_goes_to_the_right() -> None:
    drawn = flow(graph_of(FACTS))
    lines = re.findall(r'd="M([\d.]+),[\d.]+C[^"]* ([\d.]+),[\d.]+"', drawn)
    assert len(lines) == 3
    assert all(float(start) < float(end) for start, end in lines)
    assert drawn.count('class="box"') == 4
    assert all(standing.value for standing in Standing)

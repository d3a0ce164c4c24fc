"""The debate in the notebooks: both sides of every contrast are drawn, and the tables alone give a verdict."""

import pandas as pd
import pytest

import figures
import views
from nrf_ray.tables import conclusions
from nrf_ray.tables.debate import DEBATE
from tests.frames import filled

BASE = {
    "sweep": "just_bugs", "dataset": "digits", "contrast": "a - b", "primary": True, "subject": "resnet_s", "n": 360,
    "norm": "l2", "epsilon": 1.5, "key": "k",
}  # fmt: skip


def debate(differences, **changes):
    """Return a table with one contrast, whose control is .2, and its differences by seed."""
    rows = [
        {"seed": seed, "claimed": 0.2 + gap, "control": 0.2, "difference": gap} for seed, gap in enumerate(differences)
    ]
    return filled(DEBATE, rows, BASE | changes)


ABOVE = debate([0.3, 0.31, 0.29, 0.3, 0.32, 0.28])
OPEN = debate([0.1, -0.1], contrast="c - d", primary=False, norm=None, epsilon=None)


def test_both_sides_of_a_contrast_are_dots_of_one_line():
    figure = figures.dots(views.debated(ABOVE, OPEN), title="t", xlabel="x", note="n")
    ax = figure.axes[0]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["a - b, digits, l2 1.5", "c - d, digits"]
    claimed, control = (
        [[float(x) for x in line.get_xdata()] for line in ax.get_lines() if line.get_label() == side]
        or [[float(x) for x in box.lines[0].get_xdata()] for box in ax.containers if box.get_label() == side]
        for side in ("claimed", "control")
    )
    assert claimed[0] == pytest.approx([0.5, 0.2])
    assert control[0] == pytest.approx([0.2, 0.2])


def test_the_verdict_of_a_contrast_is_stated_with_interval_and_seeds():
    first, second = conclusions.of_debate(pd.concat([OPEN, ABOVE])).splitlines()
    assert first == "- **a - b** (digits, l2 1.5; primary): difference .300 [.285, .315] over 6 seeds, as claimed."
    assert second == "- **c - d** (digits): difference .000 [-1.27, 1.27] over 2 seeds, undecided."


def test_without_tables_there_is_nothing_to_state_or_draw():
    empty = debate([])
    assert conclusions.of_debate(pd.concat([empty, empty])) == conclusions.NOTHING
    assert views.debated(empty, empty).empty

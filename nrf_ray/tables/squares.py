"""Adversarial squares: networks that are fooled by less than a hundredth of what a linear rule withstands."""

from collections.abc import Iterator

from nrf_ray.display.printing import ResultTable, over_seeds
from nrf_ray.graph.stage import Stage
from nrf_ray.stages.squares import SquaresSpec
from nrf_ray.sweep.columns import N_COLUMN, SWEEP_COLUMN
from nrf_ray.sweep.table import Column, Frames, Measure, Row, Table, key_of, measured, shows

SQUARES = Table(
    "squares",
    "one network trained on plain squares (Nakkiran 2019)",
    (
        SWEEP_COLUMN,
        Column("pixel_noise", "float64", "half-width of the uniform noise of each pixel", "pixels in [-1, 1]"),
        Column("label_noise", "float64", "share of images with the wrong label", "share"),
        Column("epsilon", "float64", "radius of the attack in linf", "pixels in [-1, 1]"),
        Column("seed", "int64", "seed of images and weights"),
        measured(
            "train_accuracy", "float64", "accuracy on its training labels, wrong ones included", "share", of_n=False
        ),
        measured("accuracy", "float64", "accuracy on test squares, by the sign that they show", "share"),
        measured("flipped", "float64", "test squares whose prediction the attack changes", "share"),
        measured(
            "rule_radius",
            "float64",
            "radius in linf within which the sign of the mean pixel is constant on every test square",
            "pixels in [-1, 1]",
        ),
        N_COLUMN,
        key_of("stage that measured it"),
    ),
)


def squares_row(sweep: str, stage: Stage) -> Row:
    """Return the row of a `squares` stage."""
    config: SquaresSpec = stage.config
    names = ("train_accuracy", "accuracy", "flipped", "rule_radius", "n")
    return Row(
        table=SQUARES,
        facts={
            "sweep": sweep,
            "pixel_noise": config.noise,
            "label_noise": config.label_noise,
            "epsilon": config.eps,
            "seed": config.seed,
            "key": stage.key,
        },
        measures={name: Measure(stage, name) for name in names},
    )


@shows(SQUARES, by_dataset=False)
def show_squares(dataset: str, frames: Frames) -> Iterator[ResultTable]:
    """Yield a table with one row for each kind of noise."""
    frame, rows = frames[SQUARES.name], []
    columns = ("train_accuracy", "accuracy", "flipped", "rule_radius")
    for (pixels, labels, epsilon), cells in frame.groupby(["pixel_noise", "label_noise", "epsilon"]):
        named = f"{pixels:g}", f"{labels:g}", f"linf {epsilon:g}"
        rows.append((*named, str(len(cells)), *over_seeds(cells, *columns)))
    yield ResultTable(
        title=f"adversarial squares (n = {frame['n'].iloc[0]} test images)",
        columns=("pixel noise", "label noise", "eps", "networks", "train", "accuracy", "flipped", "rule"),
        names=3,
        rows=tuple(rows),
        notes=(
            "train: accuracy on the training labels; accuracy: on test squares, by their sign; flipped: share of test "
            "squares whose prediction an attack within eps changes; rule: radius within which the sign of the mean "
            "pixel changes on none. Mean ± 95% t interval over seeds.",
        ),
    )

"""Constructed sets: how their images were changed, and what models predict for them."""

from collections.abc import Iterator

from nrf_ray.data.catalogue import DatasetInfo
from nrf_ray.display.printing import ResultTable, over_seeds, share
from nrf_ray.graph.stage import Stage
from nrf_ray.stages.judge import JudgeSpec, judge
from nrf_ray.sweep.columns import (
    CONSTRUCTION_COLUMN,
    CRAFT_MODE_COLUMN,
    DATASET_COLUMN,
    NORM_COLUMN,
    SEED_COLUMN,
    SOURCE_COLUMNS,
    START_COLUMN,
    STORAGE_COLUMN,
    SWEEP_COLUMN,
)
from nrf_ray.sweep.models_and_sets import ConstructedSet, Model
from nrf_ray.sweep.row_facts import origin
from nrf_ray.sweep.table import Column, Frames, Measure, Row, Table, key_of, measured, shows
from nrf_ray.sweep.wording import ORIGIN, ball_text, modes_text, set_name

DATASETS = Table(
    "datasets",
    "one constructed set",
    (
        SWEEP_COLUMN,
        DATASET_COLUMN,
        CONSTRUCTION_COLUMN,
        NORM_COLUMN,
        Column("epsilon", "float64", "radius of the construction; null for D_R, D_NR", "pixels in [0, 1]"),
        START_COLUMN,
        *SOURCE_COLUMNS,
        STORAGE_COLUMN,
        CRAFT_MODE_COLUMN,
        SEED_COLUMN,
        measured("n", "int64", "images in the set", "images"),
        measured(
            "share_target_is_label",
            "float64",
            "rows whose new label t equals the true label y",
            "share",
        ),
        measured(
            "fooling_rate",
            "float64",
            "rows that the source of this seed classifies as t, as stored",
            "share",
        ),
        measured(
            "second_seed_says_target",
            "float64",
            "rows that a second model classifies as t: a standard one of the source's architecture in the preset and "
            "another seed, or the first given victim",
            "share",
        ),
        measured("judge_says_label", "float64", "rows that the robust judge classifies as y", "share"),
        measured("judge_says_target", "float64", "rows that the robust judge classifies as t", "share"),
        measured(
            "mean_loss",
            "float64",
            "mean over the stored images of the source's cross-entropy towards t; for D_R, D_NR of the relative "
            "distance of the representations; null for controls",
            "nats, or share",
        ),
        measured(
            "mean_norm",
            "float64",
            "mean distance of a stored image from its start (D_R, D_NR: l2)",
            "pixels in [0, 1]",
        ),
        measured(
            "max_norm",
            "float64",
            "largest stored perturbation; may exceed epsilon a little because of 8-bit rounding",
            "pixels in [0, 1]",
        ),
        measured("norm_histogram", "int64s", "images in each of 20 equal parts of the range 0 to max_norm", "images"),
        measured(
            "mean_distance",
            "float64",
            "mean distance of a stored image from its original; equal to mean_norm, except for D_R, D_NR",
            "pixels in [0, 1]",
        ),
        measured(
            "share_unmoved",
            "float64",
            "rows equal to their start at 8 bits (zero gradient, or left clean)",
            "share",
        ),
        measured(
            "gradients",
            "int64",
            "cost of making the set, the same on every machine",
            "image gradients of the source",
        ),
        measured("rows_sha256", "string", "one digest over all rows: equal for equal sets, in however many files"),
        key_of("construct stage"),
    ),
)


def dataset_row(
    sweep: str, dataset: DatasetInfo, made: ConstructedSet, *, source: Model, second: Model, judge: Model
) -> Row:
    """Return the row of one constructed set: how its images were changed, and what models predict for them.

    `source` is the standard source of the seed, with which a control was not made; `second` is a standard model of the
    same architecture and another seed; `judge` is a robust model.
    """
    by_judge, by_second = _verdict("robust judge", made, judge), _verdict("second seed's view", made, second)
    if made.source and not made.construct.config.is_control:
        fooling = Measure(made.construct, "fooling_rate")
    else:
        fooling = Measure(_verdict("source's view", made, source), "says_target")
    own = (
        "n", "share_target_is_label", "mean_loss", "mean_norm", "max_norm", "norm_histogram", "mean_distance",
        "share_unmoved", "gradients", "rows_sha256",
    )  # fmt: skip
    return Row(
        table=DATASETS,
        facts={
            "sweep": sweep,
            "dataset": dataset.ref.name,
            **origin(made),
            "seed": made.seed,
            "key": made.construct.key,
        },
        measures={
            **{name: Measure(made.construct, name) for name in own},
            "fooling_rate": fooling,
            "second_seed_says_target": Measure(by_second, "says_target"),
            "judge_says_label": Measure(by_judge, "says_label"),
            "judge_says_target": Measure(by_judge, "says_target"),
        },
    )


def _verdict(whose: str, made: ConstructedSet, model: Model) -> Stage:
    return judge(JudgeSpec(), data=made.construct, model=model.train).named(f"{whose}: {made.construct.label}")


@shows(DATASETS)
def show_datasets(dataset: str, frames: Frames) -> Iterator[ResultTable]:
    """Yield a table with one row for each way in which a set was made."""
    datasets, rows = frames[DATASETS.name], []
    shares = ("fooling_rate", "second_seed_says_target", "judge_says_label", "judge_says_target")
    for (construction, norm, epsilon, *how), cells in datasets.groupby(ORIGIN, dropna=False):
        rows.append(
            (
                set_name(construction, *how),
                ball_text(norm, epsilon),
                share(float(cells["share_target_is_label"].mean())),
                *over_seeds(cells, *shares),
                share(float(cells["mean_norm"].mean())),
                share(float(cells["mean_distance"].mean())),
            )
        )
    yield ResultTable(
        title=f"{dataset}: constructed sets",
        columns=(
            "set", "eps", "t = y", "fools source", "second seed", "judge: y", "judge: t", "norm", "distance",
        ),
        names=2,
        rows=tuple(rows),
        notes=(
            "shares of images, as stored; mean ± 95% t interval over seeds. fools source: the standard source (of "
            "d_..., the model it was made with) predicts t; second seed: a standard model of the source's architecture "
            "and another seed predicts t. The judge is an adversarially trained model: if it predicts t, robust "
            "content may have been changed (see its own robust accuracy below). norm: mean distance from the image's "
            f"start; distance: mean distance from its original. {modes_text(datasets['craft_mode'])}",
        ),
    )  # fmt: skip

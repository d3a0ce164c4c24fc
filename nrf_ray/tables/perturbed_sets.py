"""Perturbed sets of the debate: how far the perturbation reaches, and what a student learns."""

from collections.abc import Iterator

from nrf_ray.data.catalogue import DatasetInfo
from nrf_ray.display.printing import ResultTable, over_seeds
from nrf_ray.graph.stage import Stage
from nrf_ray.stages.judge import JudgeSpec, judge
from nrf_ray.sweep.columns import DATASET_COLUMN, N_COLUMN, SEED_COLUMN, SWEEP_COLUMN
from nrf_ray.sweep.models_and_sets import Model
from nrf_ray.sweep.table import Column, Frames, Measure, Row, Table, key_of, measured, shows
from nrf_ray.sweep.wording import ball_text

PERTURBED = Table(
    "perturbed_sets",
    "one student of one perturbed set",
    (
        SWEEP_COLUMN,
        DATASET_COLUMN,
        Column("set", "string", "what is perturbed, how, and how it is labelled; the sweep file explains the names"),
        Column("norm", "string", "norm of the perturbations"),
        Column("epsilon", "float64", "radius of the perturbations", "pixels in [0, 1]"),
        Column("student_arch", "string", "architecture of the student"),
        SEED_COLUMN,
        measured("success_rate", "float64", "images of the set that the source classifies as the target", "share"),
        measured(
            "transfer_rate",
            "float64",
            "the same of a model that took no part; null if none was asked",
            "share",
            of_n=False,
        ),
        measured("judge_says_label", "float64", "the robust judge predicts y; null if not asked", "share", of_n=False),
        measured(
            "judge_says_target",
            "float64",
            "the robust judge predicts the set's label; null if not asked",
            "share",
            of_n=False,
        ),
        measured("clean_accuracy", "float64", "accuracy of the student on the test set (x, y)", "share"),
        measured("relabelled_accuracy", "float64", "accuracy of the student on (x, y + 1)", "share"),
        N_COLUMN,
        key_of("stage that made the images"),
    ),
)

JUDGED = {"judge_says_label": "says_label", "judge_says_target": "says_target"}
"""Columns of the judge, and the metrics of the stage `judge`: y is the label, the set's label the target."""


def perturbed_row(
    sweep: str,
    dataset: DatasetInfo,
    how: str,
    made: Stage,
    student: Stage,
    arch: str,
    seed: int,
    *,
    judge: Model | None = None,
) -> Row:
    """Return the row of a `perturbed` set called `how`, and of its student, an `evaluate` stage."""
    threat = made.config.attack.threat
    asked = judged(made, judge) if judge else {}
    return Row(
        table=PERTURBED,
        facts={
            "sweep": sweep,
            "dataset": dataset.ref.name,
            "set": how,
            "norm": threat.norm,
            "epsilon": threat.eps,
            "student_arch": arch,
            "seed": seed,
            "key": made.key,
        },
        measures={
            "success_rate": Measure(made, "success_rate"),
            "transfer_rate": Measure(made, "transfer_rate"),
            **asked,
            **{name: Measure(student, name) for name in ("clean_accuracy", "relabelled_accuracy", "n")},
        },
        derive=lambda values: {} if asked else dict.fromkeys(JUDGED),
    )


def judged(made: Stage, model: Model) -> dict[str, Measure]:
    """Return what `model` predicts for the images of the set."""
    stage = judge(JudgeSpec(), data=made, model=model.train).named(f"judge on {made.label}")
    return {column: Measure(stage, metric) for column, metric in JUDGED.items()}


@shows(PERTURBED)
def show_perturbed(dataset: str, frames: Frames) -> Iterator[ResultTable]:
    """Yield a table with one row for each kind of set: reach of the perturbation, judge, and what students learn."""
    frame, rows = frames[PERTURBED.name], []
    columns = ("success_rate", "transfer_rate", *JUDGED, "clean_accuracy", "relabelled_accuracy")
    for (norm, epsilon, how), cells in frame.groupby(["norm", "epsilon", "set"], sort=False):
        rows.append((str(how), ball_text(norm, epsilon), str(len(cells)), *over_seeds(cells, *columns)))
    yield ResultTable(
        title=f"{dataset}: perturbed sets and their students (n = {frame['n'].iloc[0]} test images)",
        columns=("set", "eps", "students", "source", "fresh", "judge: y", "judge: label", "clean", "as y + 1"),
        names=2,
        rows=tuple(rows),
        notes=(
            "source, fresh: share of the set that the source, and a model that took no part, classify as the target; "
            "judge: share for which the robust judge predicts y, and the set's label. clean, as y + 1: accuracy of the "
            "students on untouched test images, and on these relabelled. Mean ± 95% t interval over seeds.",
        ),
    )

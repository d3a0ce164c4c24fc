"""Usefulness and robust usefulness of the penultimate units of a model."""

from collections.abc import Iterator

from nrf_ray.attacks.specs import Attack
from nrf_ray.data.catalogue import DatasetInfo
from nrf_ray.display.printing import ResultTable, over_seeds, share_text
from nrf_ray.stages.usefulness import UsefulnessSpec, usefulness
from nrf_ray.sweep.columns import DATASET_COLUMN, MODE_COLUMN, N_COLUMN, ORIGIN_COLUMNS, SEED_COLUMN, SWEEP_COLUMN
from nrf_ray.sweep.models_and_sets import Model
from nrf_ray.sweep.row_facts import origin
from nrf_ray.sweep.table import Column, Frames, Measure, Row, Table, key_of, measured, shows
from nrf_ray.sweep.wording import ORIGIN, ball_text, trained_on
from nrf_ray.tables import sentences

USEFULNESS = Table(
    "usefulness",
    "the penultimate units of one model, on the test set; the stage's units.parquet has one row per unit",
    (
        SWEEP_COLUMN,
        DATASET_COLUMN,
        *ORIGIN_COLUMNS,
        Column("student_arch", "string", "architecture of the model"),
        Column("role", "string", "source, judge, victim or student"),
        Column("training", "string", "standard or adversarial"),
        MODE_COLUMN,
        SEED_COLUMN,
        Column("ball_norm", "string", "norm of the ball of robust usefulness"),
        Column("ball_epsilon", "float64", "radius of that ball", "pixels in [0, 1]"),
        Column("attack", "string", "attack that seeks the infimum; gamma is an upper bound", ""),
        Column("useful_from", "float64", "least rho of a unit that counts as useful"),
        measured("units", "int64", "units of the penultimate layer: the four kinds together", "units"),
        measured("robust", "int64", "rho >= useful_from and gamma > 0", "units"),
        measured("useful_non_robust", "int64", "rho >= useful_from and gamma <= 0", "units"),
        measured("useless", "int64", "rho < useful_from", "units"),
        measured("constant", "int64", "no variance on the training set: not a feature", "units"),
        measured(
            "mean_rho",
            "float64",
            "mean usefulness E[y f(x)] over units that vary",
            "standard deviations",
        ),
        measured(
            "mean_gamma",
            "float64",
            "mean robust usefulness over units that vary",
            "standard deviations",
        ),
        measured(
            "gradient_alignment",
            "float64",
            "mean cosine between input gradient and difference of class means",
        ),
        measured("input_gradient", "float64", "mean over pixels of |mean(gradient * pixel)|", "nats"),
        N_COLUMN,
        key_of("training stage"),
    ),
)


USEFUL = 0.1
"""Least rho of a useful unit."""


def usefulness_row(
    sweep: str, dataset: DatasetInfo, model: Model, attack: Attack, *, examples: int | None = None
) -> Row:
    """Return the row of one model's penultimate units in the ball of `attack`."""
    ball = attack.threat
    stage = usefulness(
        UsefulnessSpec(dataset=dataset.ref, attack=attack, useful_from=USEFUL, examples=examples), model=model.train
    ).named(f"units in {ball.norm} {ball.eps:g}: {model.train.label}")
    names = (
        "units", "robust", "useful_non_robust", "useless", "constant", "mean_rho", "mean_gamma", "gradient_alignment",
        "input_gradient", "n",
    )  # fmt: skip
    return Row(
        table=USEFULNESS,
        facts={
            "sweep": sweep,
            "dataset": dataset.ref.name,
            **origin(model.made_from),
            "student_arch": model.arch,
            "role": model.role,
            "training": model.training,
            "mode": model.mode,
            "seed": model.seed,
            "ball_norm": ball.norm,
            "ball_epsilon": ball.eps,
            "attack": attack.name,
            "useful_from": USEFUL,
            "key": model.train.key,
        },
        measures={name: Measure(stage, name) for name in names},
    )


@shows(USEFULNESS, say=sentences.of_usefulness)
def show_usefulness(dataset: str, frames: Frames) -> Iterator[ResultTable]:
    """Yield a table with one row for each kind of model and ball: its shares of penultimate units of each kind."""
    frame, rows = frames[USEFULNESS.name], []
    keys = ["role", "training", "mode", "ball_norm", "ball_epsilon", *ORIGIN]
    for key, cells in frame.groupby(keys, dropna=False):
        role, training, mode, ball, radius, construction, norm, epsilon, *how = key
        shown = {kind: cells[kind] / cells["units"] for kind in ("robust", "useful_non_robust", "useless")}
        shown |= {name: cells[name] for name in ("mean_rho", "mean_gamma", "gradient_alignment")}
        shown["input_gradient"] = 1000 * cells["input_gradient"]
        rows.append(
            (
                trained_on(role, training, mode, construction, *how),
                ball_text(norm, epsilon),
                ball_text(ball, radius),
                str(len(cells)),
                *over_seeds(cells.assign(**shown), *shown),
            )
        )
    yield ResultTable(
        title=f"{dataset}: penultimate units",
        columns=(
            "trained on", "eps", "ball", "models", "robust", "non-robust", "useless", "rho", "gamma", "alignment",
            "grad x input",
        ),
        names=3,
        rows=tuple(rows),
        notes=(
            "robust, non-robust (useful but not robust), useless: shares of units; useful from rho "
            f"{share_text(float(frame['useful_from'].iloc[0]))}, robust if gamma > 0. rho = E[y f(x)], gamma = "
            "E[inf y f(x + delta)] for one class against the rest, by PGD, so an upper bound. grad x input: mean over "
            "pixels of |mean(gradient x pixel)|, thousandths of a nat; a weak measure that knows no radius. Mean ± 95% "
            "t interval over seeds.",
        ),
    )  # fmt: skip

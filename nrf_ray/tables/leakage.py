"""Leakage: accuracy that a set teaches through features that are meant to be robust."""

from collections.abc import Iterator
from dataclasses import replace

from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.data.catalogue import DatasetInfo
from nrf_ray.display.printing import Cell, ResultTable, over_seeds, share
from nrf_ray.graph.stage import Stage
from nrf_ray.stages.leakage import LinearLeakageSpec, NetworkLeakageSpec, linear_leakage, network_leakage
from nrf_ray.sweep.columns import DATASET_COLUMN, INTERVAL_COLUMNS, N_COLUMN, ORIGIN_COLUMNS, SEED_COLUMN, SWEEP_COLUMN
from nrf_ray.sweep.models_and_sets import ConstructedSet, Model
from nrf_ray.sweep.row_facts import origin, wilson
from nrf_ray.sweep.table import Column, Frames, Measure, Row, Table, key_of, measured, shows
from nrf_ray.sweep.wording import ORIGIN, ball_text, mode_text, set_name

LEAKAGE = Table(
    "leakage",
    "one linear classifier that sees only the features of an adversarially trained model, trained on one set",
    (
        SWEEP_COLUMN,
        DATASET_COLUMN,
        *ORIGIN_COLUMNS,
        SEED_COLUMN,
        Column(
            "features", "string", "linear (an adversarially trained classifier's logits) or penultimate (a network's)"
        ),
        Column("mode", "string", "how the network of the features was trained: faithful or fast; null for linear"),
        Column("feature_norm", "string", "norm that the features were trained against"),
        Column("feature_epsilon", "float64", "radius that the features were trained against", "pixels in [0, 1]"),
        measured("units", "int64", "number of features", "features"),
        measured("accuracy", "float64", "accuracy on the test set (x, y); chance is 1 / k", "share"),
        *INTERVAL_COLUMNS,
        measured("source_accuracy", "float64", "accuracy of the model whose features these are", "share"),
        Column("ball_epsilon", "float64", "radius of the certificates; null unless linear", "pixels in [0, 1]"),
        measured(
            "certified",
            "float64",
            "test images on which that model's prediction is constant in the ball; null unless linear",
            "share",
        ),
        measured(
            "lowest_gamma",
            "float64",
            "least gamma, in the ball, of the features for their own classes; null unless linear",
        ),
        measured("meets_spec", "bool", "certified >= .8 and lowest_gamma > 0 (Goh 2019); null unless linear"),
        N_COLUMN,
        key_of("stage that measured it"),
    ),
)


CERTIFICATES = ("certified", "lowest_gamma", "meets_spec")
"""Columns that only linear features have."""


def linear_leakage_row(
    sweep: str,
    dataset: DatasetInfo,
    train_threat: ThreatModel,
    ball: ThreatModel,
    seed: int,
    made: ConstructedSet | None = None,
) -> Row:
    """Return the row of a set's leakage through a linear classifier trained in `train_threat`, certified in `ball`."""
    spec = LinearLeakageSpec(dataset=dataset.ref, train_threat=train_threat, ball=ball)
    stage = linear_leakage(spec, data=made.construct if made else None)
    trained_at = f"{train_threat.norm} {train_threat.eps:g}, ball {ball.eps:g}"
    label = f"linear leakage at {trained_at}: {made.construct.label if made else dataset.ref.name}"
    row = _leakage_row(sweep, dataset, "linear", train_threat, seed, made, stage.named(label))
    measures = {name: Measure(row.measures["n"].stage, name) for name in CERTIFICATES}
    return replace(
        row, facts={**row.facts, "mode": None, "ball_epsilon": ball.eps}, measures={**row.measures, **measures}
    )


def network_leakage_row(sweep: str, dataset: DatasetInfo, model: Model, made: ConstructedSet | None = None) -> Row:
    """Return the row of a set's leakage through the penultimate units of an adversarially trained `model`."""
    threat: ThreatModel = model.train.config.recipe.adversary.threat
    stage = network_leakage(
        NetworkLeakageSpec(dataset=dataset.ref), model=model.train, data=made.construct if made else None
    )
    label = f"network leakage at {threat.norm} {threat.eps:g}: {made.construct.label if made else dataset.ref.name}"
    row = _leakage_row(sweep, dataset, "penultimate", threat, model.seed, made, stage.named(label))
    return replace(row, facts={**row.facts, "mode": model.mode, "ball_epsilon": None, **dict.fromkeys(CERTIFICATES)})


def _leakage_row(
    sweep: str,
    dataset: DatasetInfo,
    features: str,
    threat: ThreatModel,
    seed: int,
    made: ConstructedSet | None,
    stage: Stage,
) -> Row:
    return Row(
        table=LEAKAGE,
        facts={
            "sweep": sweep,
            "dataset": dataset.ref.name,
            **origin(made),
            "seed": seed,
            "features": features,
            "feature_norm": threat.norm,
            "feature_epsilon": threat.eps,
            "key": stage.key,
        },
        measures={name: Measure(stage, name) for name in ("accuracy", "source_accuracy", "units", "n")},
        derive=lambda values: wilson(values["accuracy"], values["n"]),
    )


@shows(LEAKAGE)
def show_leakage(dataset: str, frames: Frames) -> Iterator[ResultTable]:
    """Yield a table with one row for each set and kind of features: accuracy through them, and their certificates."""
    frame, rows = frames[LEAKAGE.name], []
    keys = ["features", "mode", "feature_norm", "feature_epsilon", "ball_epsilon", *ORIGIN]
    for key, cells in frame.groupby(keys, dropna=False):
        features, mode, ball, radius, certified, construction, norm, epsilon, *how = key
        certificate: tuple[Cell, ...] = ("", "", "", "")
        if features == "linear":
            least = (share(float(cells[name].min())) for name in ("certified", "lowest_gamma"))
            certificate = (ball_text(ball, certified), *least, "meets" if cells["meets_spec"].all() else "misses")
        rows.append(
            (
                str(features) if features == "linear" else f"{features}{mode_text(mode)}",
                ball_text(ball, radius),
                set_name(construction, *how),
                ball_text(norm, epsilon),
                *over_seeds(cells, "accuracy"),
                share(float(cells["ci_low"].min())),
                share(float(cells["ci_high"].max())),
                *certificate,
            )
        )
    yield ResultTable(
        title=f"{dataset}: leakage through adversarially trained features (n = {frame['n'].iloc[0]})",
        columns=(
            "features", "trained at", "set", "eps", "accuracy", "lowest 95%", "highest 95%", "certified in",
            "certified", "gamma >=", "spec",
        ),
        names=4,
        rows=tuple(rows),
        notes=(
            "accuracy on the untouched test set of a linear classifier that sees only these features of the set; mean "
            "± 95% t interval over seeds, then the extremes of the 95% Wilson intervals. certified: share of test "
            "images on which the classifier that the features come from is constant in the ball. spec (Goh 2019): "
            "certified >= .8 and gamma > 0; only features that meet it are robust, and penultimate units have no "
            "certificate. Goh on CIFAR-10: d_rand .235, d_det .068 (chance .1).",
        ),
    )  # fmt: skip

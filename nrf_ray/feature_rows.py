"""From trained models and constructed sets to the rows that say how robust their features are."""

from dataclasses import replace

from nrf_ray.attacks.specs import Attack
from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.cells import ConstructedSet, Model
from nrf_ray.data.catalogue import DatasetInfo
from nrf_ray.graph.stage import Stage
from nrf_ray.rows import origin, wilson
from nrf_ray.stages.leakage import LinearLeakageSpec, NetworkLeakageSpec, linear_leakage, network_leakage
from nrf_ray.stages.usefulness import UsefulnessSpec, usefulness
from nrf_ray.tables import Measure, Row
from nrf_ray.theory_tables import LEAKAGE, USEFULNESS

USEFUL = 0.1
"""Least rho of a useful unit."""
CERTIFICATES = ("certified", "lowest_gamma", "meets_spec")
"""What is known of linear features alone."""


def usefulness_row(
    sweep: str, dataset: DatasetInfo, model: Model, attack: Attack, *, examples: int | None = None
) -> Row:
    """Return the row of one model's penultimate units in the ball of `attack`."""
    ball = attack.threat
    measured = usefulness(
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
        measures={name: Measure(measured, name) for name in names},
    )


def linear_leakage_row(
    sweep: str,
    dataset: DatasetInfo,
    train_threat: ThreatModel,
    ball: ThreatModel,
    seed: int,
    made: ConstructedSet | None = None,
) -> Row:
    """Return what a set teaches through a linear classifier trained in `train_threat` and certified in `ball`."""
    spec = LinearLeakageSpec(dataset=dataset.ref, train_threat=train_threat, ball=ball)
    measured = linear_leakage(spec, data=made.construct if made else None)
    trained_at = f"{train_threat.norm} {train_threat.eps:g}, ball {ball.eps:g}"
    label = f"linear leakage at {trained_at}: {made.construct.label if made else dataset.ref.name}"
    row = _leakage_row(sweep, dataset, "linear", train_threat, seed, made, measured.named(label))
    measures = {name: Measure(row.measures["n"].stage, name) for name in CERTIFICATES}
    return replace(
        row, facts={**row.facts, "mode": None, "ball_epsilon": ball.eps}, measures={**row.measures, **measures}
    )


def network_leakage_row(sweep: str, dataset: DatasetInfo, model: Model, made: ConstructedSet | None = None) -> Row:
    """Return what a set teaches through the penultimate units of an adversarially trained `model`."""
    threat: ThreatModel = model.train.config.recipe.adversary.threat
    measured = network_leakage(
        NetworkLeakageSpec(dataset=dataset.ref), model=model.train, data=made.construct if made else None
    )
    label = f"network leakage at {threat.norm} {threat.eps:g}: {made.construct.label if made else dataset.ref.name}"
    row = _leakage_row(sweep, dataset, "penultimate", threat, model.seed, made, measured.named(label))
    return replace(row, facts={**row.facts, "mode": model.mode, "ball_epsilon": None, **dict.fromkeys(CERTIFICATES)})


def _leakage_row(
    sweep: str,
    dataset: DatasetInfo,
    features: str,
    threat: ThreatModel,
    seed: int,
    made: ConstructedSet | None,
    measured: Stage,
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
            "key": measured.key,
        },
        measures={name: Measure(measured, name) for name in ("accuracy", "source_accuracy", "units", "n")},
        derive=lambda values: wilson(values["accuracy"], values["n"]),
    )

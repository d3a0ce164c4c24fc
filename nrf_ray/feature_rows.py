"""From trained models and constructed sets to the rows that say how robust their features are."""

from dataclasses import replace

from nrf_ray.cells import ConstructedSet, Model
from nrf_ray.data.catalogue import DatasetInfo
from nrf_ray.graph.stage import Stage
from nrf_ray.rows import origin, wilson
from nrf_ray.specs import Attack
from nrf_ray.stages.leakage import LinearLeakageSpec, NetworkLeakageSpec, linear_leakage, network_leakage
from nrf_ray.stages.usefulness import UsefulnessSpec, usefulness
from nrf_ray.tables import Measure, Row
from nrf_ray.theory_tables import LEAKAGE, USEFULNESS
from nrf_ray.threat import ThreatModel

USEFUL = 0.1
"""Least rho of a useful unit."""


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
    sweep: str, dataset: DatasetInfo, threat: ThreatModel, seed: int, made: ConstructedSet | None = None
) -> Row:
    """Return what a set teaches through the features of a linear classifier that is robust in `threat`."""
    spec = LinearLeakageSpec(dataset=dataset.ref, threat=threat)
    measured = linear_leakage(spec, data=made.construct if made else None)
    label = f"linear leakage at {threat.norm} {threat.eps:g}: {made.construct.label if made else dataset.ref.name}"
    row = _leakage_row(sweep, dataset, "linear", threat, seed, made, measured.named(label))
    measures = {name: Measure(row.measures["n"].stage, name) for name in ("certified", "lowest_gamma")}
    return replace(row, measures={**row.measures, **measures})


def network_leakage_row(sweep: str, dataset: DatasetInfo, model: Model, made: ConstructedSet | None = None) -> Row:
    """Return what a set teaches through the penultimate units of an adversarially trained `model`."""
    threat: ThreatModel = model.train.config.recipe.adversary.threat
    measured = network_leakage(
        NetworkLeakageSpec(dataset=dataset.ref), model=model.train, data=made.construct if made else None
    )
    label = f"network leakage at {threat.norm} {threat.eps:g}: {made.construct.label if made else dataset.ref.name}"
    row = _leakage_row(sweep, dataset, "penultimate", threat, model.seed, made, measured.named(label))
    return replace(row, facts={**row.facts, "certified": None, "lowest_gamma": None})


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

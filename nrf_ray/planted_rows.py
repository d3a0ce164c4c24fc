"""From models of planted sets to the rows that say which part they use, and which part an attack on them changes."""

from collections.abc import Mapping
from typing import Any

from nrf_ray.attacks.specs import Attack
from nrf_ray.cells import Model
from nrf_ray.data.planted import parse_planted
from nrf_ray.graph.stage import Stage
from nrf_ray.planted_cells import PlantedModel
from nrf_ray.planted_tables import FOOTPRINT, PLANTED
from nrf_ray.rows import wilson
from nrf_ray.stages.reliance import FootprintSpec, RelianceSpec, footprint, reliance
from nrf_ray.stages.robustness import RobustnessSpec, robustness
from nrf_ray.tables import Measure, Row

READS = ("clean_accuracy", "human_alone", "noise_alone", "follows_human", "follows_noise", "score_human", "score_noise")
CHANGES = ("energy_human", "energy_noise", "energy_rest", "human_kept", "noise_kept", "attacked")


def reliance_of(trained: PlantedModel) -> Stage:
    """Return the stage that says which part a model uses."""
    train = trained.model.train
    return reliance(RelianceSpec(dataset=trained.dataset.ref), model=train).named(f"reliance: {train.label}")


def planted_row(sweep: str, trained: PlantedModel) -> Row:
    """Return the row of one model: what it says without a part, and where the parts contradict."""
    measured, train, relabelled = reliance_of(trained), trained.model.train, trained.relabelled
    odds = parse_planted(trained.dataset.ref.name).odds
    facts = {
        **_about(sweep, trained),
        "bayes": odds.bayes,
        "bayes_human": odds.bayes_human,
        "bayes_noise": odds.bayes_noise,
        "chance": 1 / trained.dataset.num_classes,
    }
    measures = {name: Measure(measured, name) for name in (*READS, "n")}
    measures["train_accuracy"] = Measure(train, "train_accuracy")
    if relabelled is None:
        facts["label_agreement"] = None
    else:
        measures["label_agreement"] = Measure(relabelled, "agreement")
    return Row(table=PLANTED, facts=facts, measures=measures, derive=_nonrobustness)


def footprint_row(sweep: str, trained: PlantedModel, attack: Attack, reader: Model) -> Row:
    """Return the row of one model under one attack; `reader` says what can be read in an adversarial example."""
    train, ref, ball = trained.model.train, trained.dataset.ref, attack.threat
    under = f"{attack.name} {ball.norm} {ball.eps:g}: {train.label}"
    changed = footprint(FootprintSpec(dataset=ref, attack=attack), model=train, reader=reader.train)
    changed = changed.named(f"footprint {under}")
    robust = robustness(RobustnessSpec(dataset=ref, attack=attack), model=train).named(f"robustness {under}")
    return Row(
        table=FOOTPRINT,
        facts={
            **_about(sweep, trained),
            "attack": attack.name,
            "steps": attack.steps,
            "norm": ball.norm,
            "epsilon": ball.eps,
            "chance": 1 / trained.dataset.num_classes,
        },
        measures={
            **{name: Measure(robust, name) for name in ("clean_accuracy", "robust_accuracy", "n")},
            **{name: Measure(changed, name) for name in CHANGES},
        },
        derive=lambda values: wilson(values["robust_accuracy"], values["n"]),
    )


def _about(sweep: str, trained: PlantedModel) -> dict[str, Any]:
    """Return the facts that say which model of which set a row is about."""
    model, spec = trained.model, parse_planted(trained.dataset.ref.name)
    adversary = model.adversary
    return {
        "sweep": sweep,
        "modality": spec.modality,
        "label": spec.label,
        "p_human": spec.p_human,
        "p_noise": spec.p_noise,
        "correlation": spec.correlation,
        "human_norm": spec.human,
        "noise_norm": spec.noise,
        "dataset": trained.dataset.ref.name,
        "labels": f"read by {trained.relabelled.config.by}" if trained.relabelled else "planted",
        "student_arch": model.arch,
        "role": model.role,
        "training": model.training,
        "adversary": adversary.name if adversary else None,
        "adversary_norm": adversary.threat.norm if adversary else None,
        "adversary_epsilon": adversary.threat.eps if adversary else None,
        "mode": model.mode,
        "seed": model.seed,
        "key": model.train.key,
    }


def _nonrobustness(values: Mapping[str, Any]) -> Mapping[str, Any]:
    whole = values["score_human"] + values["score_noise"]
    return {"nonrobustness": values["score_noise"] / whole if whole else None}

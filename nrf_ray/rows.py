"""From trained models and constructed sets to the rows that report them.

Each function takes stages, adds the stages that measure them, and returns the row. Sweep files are made of these.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nrf_ray.data.catalogue import DatasetInfo
from nrf_ray.graph.stage import Stage
from nrf_ray.specs import Attack, construction_named, pgd_attack
from nrf_ray.stages.evaluate import EvaluateSpec, evaluate
from nrf_ray.stages.judge import JudgeSpec, judge
from nrf_ray.stages.robustness import RobustnessSpec, robustness
from nrf_ray.stages.transfer import TransferSpec, transfer
from nrf_ray.tables import DATASETS, RESULTS, ROBUSTNESS, TRANSFER, Measure, Row
from nrf_ray.threat import ThreatModel


@dataclass(frozen=True, kw_only=True)
class Model:
    """A trained model and what it is for."""

    train: Stage
    """Its `train` stage."""
    role: str
    """source, judge, victim or student."""
    seed: int
    """Seed of the replicate that it belongs to."""


@dataclass(frozen=True, kw_only=True)
class ConstructedSet:
    """A constructed set, and the source of its seed (which a control was not made with)."""

    construct: Stage
    """Its `construct` stage."""
    source: Stage
    """The `train` stage of the seed's source model."""
    seed: int
    """Seed of the replicate that it belongs to."""

    @property
    def threat(self) -> ThreatModel:
        """The threat model of its perturbations."""
        threat: ThreatModel = self.construct.config.attack.threat
        return threat

    @property
    def name(self) -> str:
        """Name of the construction."""
        return str(self.construct.config.construction)

    @property
    def source_arch(self) -> str | None:
        """Architecture whose features it was made with; None for a control."""
        return self.source.config.arch if construction_named(self.name).needs_source else None


def result_row(sweep: str, dataset: DatasetInfo, model: Model, made_from: ConstructedSet | None = None) -> Row:
    """Return the row of one trained model: what it was trained on, and its accuracy."""
    accuracy = evaluate(EvaluateSpec(dataset=dataset.ref), model=model.train).named(f"accuracy: {model.train.label}")
    return Row(
        table=RESULTS,
        facts={
            "sweep": sweep,
            "dataset": dataset.ref.name,
            "construction": made_from.name if made_from else "d",
            "norm": made_from.threat.norm if made_from else None,
            "epsilon": made_from.threat.eps if made_from else None,
            "source_arch": made_from.source_arch if made_from else None,
            "student_arch": model.train.config.arch,
            "role": model.role,
            "training": model.train.config.recipe.training,
            "seed": model.seed,
            "precision": "fp32",
            "key": model.train.key,
        },
        measures={
            "clean_accuracy": Measure(accuracy, "clean_accuracy"),
            "relabelled_accuracy": Measure(accuracy, "relabelled_accuracy"),
            "train_accuracy": Measure(model.train, "train_accuracy"),
            "n": Measure(accuracy, "n"),
            "parameters": Measure(model.train, "parameters"),
        },
    )


def dataset_row(sweep: str, dataset: DatasetInfo, made: ConstructedSet, judge_model: Stage) -> Row:
    """Return the row of one constructed set: how far it fools its source, and what the robust judge says of it."""
    label = made.construct.label
    verdict = judge(JudgeSpec(), data=made.construct, model=judge_model).named(f"robust judge: {label}")
    if made.source_arch:
        fooling = Measure(made.construct, "fooling_rate")
    else:
        by_source = judge(JudgeSpec(), data=made.construct, model=made.source).named(f"source's view: {label}")
        fooling = Measure(by_source, "says_target")
    return Row(
        table=DATASETS,
        facts={
            "sweep": sweep,
            "dataset": dataset.ref.name,
            "construction": made.name,
            "norm": made.threat.norm,
            "epsilon": made.threat.eps,
            "source_arch": made.source_arch,
            "seed": made.seed,
            "key": made.construct.key,
        },
        measures={
            "n": Measure(made.construct, "n"),
            "share_target_is_label": Measure(made.construct, "share_target_is_label"),
            "fooling_rate": fooling,
            "judge_says_label": Measure(verdict, "says_label"),
            "judge_says_target": Measure(verdict, "says_target"),
            "mean_norm": Measure(made.construct, "mean_norm"),
            "max_norm": Measure(made.construct, "max_norm"),
            "share_unmoved": Measure(made.construct, "share_unmoved"),
        },
    )


def robustness_row(sweep: str, dataset: DatasetInfo, model: Model, threat: ThreatModel, steps: int) -> Row:
    """Return the row of one model, trained on the original data, under untargeted PGD."""
    attack = pgd_attack(threat.norm, threat.eps, steps=steps)
    measured = robustness(RobustnessSpec(dataset=dataset.ref, attack=attack), model=model.train).named(
        f"robustness {threat.norm} {threat.eps:g}: {model.train.label}"
    )
    return Row(
        table=ROBUSTNESS,
        facts={
            "sweep": sweep,
            "dataset": dataset.ref.name,
            "construction": "d",
            "training": model.train.config.recipe.training,
            "student_arch": model.train.config.arch,
            "role": model.role,
            "seed": model.seed,
            "attack": attack.name,
            "norm": threat.norm,
            "epsilon": threat.eps,
            "trust_level": "L0",
            "key": model.train.key,
        },
        measures={
            "robust_accuracy": Measure(measured, "robust_accuracy"),
            "n": Measure(measured, "n"),
        },
        derive=lambda values: wilson(values["robust_accuracy"], values["n"]),
    )


def transfer_row(sweep: str, dataset: DatasetInfo, source: Model, victim: Model, adversarial: Stage) -> Row:
    """Return the row of one victim on the adversarial test images of one source."""
    attack: Attack = adversarial.config.attack
    tried = transfer(TransferSpec(targeted=attack.targeted), victim=victim.train, adversarial=adversarial).named(
        f"transfer to {victim.train.label}: {adversarial.label}"
    )
    return Row(
        table=TRANSFER,
        facts={
            "sweep": sweep,
            "dataset": dataset.ref.name,
            "source_arch": source.train.config.arch,
            "victim_arch": victim.train.config.arch,
            "norm": attack.threat.norm,
            "epsilon": attack.threat.eps,
            "targeted": attack.targeted,
            "seed": victim.seed,
            "key": victim.train.key,
        },
        measures={
            "success_rate": Measure(tried, "success_rate"),
            "source_success_rate": Measure(adversarial, "success_rate"),
            "n": Measure(tried, "n"),
        },
    )


def wilson(share: float, n: int) -> Mapping[str, Any]:
    """Return the 95% Wilson interval of a share of n examples as ci_low and ci_high."""
    from scipy.stats import binomtest

    interval = binomtest(round(share * n), n).proportion_ci(method="wilson")
    return {"ci_low": float(interval.low), "ci_high": float(interval.high)}

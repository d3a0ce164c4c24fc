"""From trained models and constructed sets to the rows that report them.

Each function takes stages, adds the stages that measure them, and returns the row. Sweep files are made of these.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from nrf_ray.attacks.specs import Attack, AutoAttack, Substitution, attack_named, pgd_attack
from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.attacks.trust import trust_level
from nrf_ray.cells import ConstructedSet, Model
from nrf_ray.data.catalogue import DatasetInfo, DatasetRef, dataset_named
from nrf_ray.data.extra import extra_test_sets
from nrf_ray.errors import ConfigError
from nrf_ray.graph.stage import Stage
from nrf_ray.presets import Preset
from nrf_ray.stages.evaluate import EvaluateSpec, evaluate
from nrf_ray.stages.judge import JudgeSpec, judge
from nrf_ray.stages.robustness import RobustnessSpec, robustness
from nrf_ray.stages.train import TrainSpec
from nrf_ray.stages.transfer import TransferSpec, transfer
from nrf_ray.stages.trust import TrustSpec, trust
from nrf_ray.stages.validate import ValidateSpec, validate
from nrf_ray.sweep import Grid
from nrf_ray.tables import DATASETS, EXTRA, RECIPES, RESULTS, ROBUSTNESS, TRANSFER, Measure, Row
from nrf_ray.training.recipes import Augmentation, StepSchedule


def result_row(sweep: str, dataset: DatasetInfo, model: Model) -> Row:
    """Return the row of one trained model: what it was trained on, and its accuracy."""
    accuracy = evaluate(EvaluateSpec(dataset=dataset.ref), model=model.train).named(f"accuracy: {model.train.label}")
    return Row(
        table=RESULTS,
        facts={**_facts(sweep, dataset, model), "precision": "bf16" if model.mode == "fast" else "fp32"},
        measures={
            "clean_accuracy": Measure(accuracy, "clean_accuracy"),
            "relabelled_accuracy": Measure(accuracy, "relabelled_accuracy"),
            "train_accuracy": Measure(model.train, "train_accuracy"),
            "train_examples": Measure(model.train, "train_examples"),
            "n": Measure(accuracy, "n"),
            "parameters": Measure(model.train, "parameters"),
            "macs": Measure(model.train, "macs"),
        },
    )


def extra_row(sweep: str, dataset: DatasetInfo, model: Model, name: str, test: DatasetRef) -> Row:
    """Return the row of one model on one extra test set, as CIFAR-10.1 (paper D.7)."""
    stage = evaluate(EvaluateSpec(dataset=test), model=model.train).named(f"{name}: {model.train.label}")
    return Row(
        table=EXTRA,
        facts={
            **_facts(sweep, dataset, model),
            "test_set": name,
        },
        measures={"clean_accuracy": Measure(stage, "clean_accuracy"), "n": Measure(stage, "n")},
        derive=lambda values: wilson(values["clean_accuracy"], values["n"]),
    )


def recipe_row(sweep: str, dataset: DatasetInfo, model: Model, made: ConstructedSet) -> Row:
    """Return the row of one recipe: the accuracies that it could be chosen by."""
    spec: TrainSpec = model.train.config
    recipe, label = spec.recipe, model.train.label
    assert isinstance(recipe.schedule, StepSchedule), "the paper's recipes have a step schedule"
    validation = ValidateSpec(dataset=dataset.ref, holdout=spec.holdout)
    held = validate(validation, model=model.train, data=made.construct).named(f"kept out: {label}")
    accuracy = evaluate(EvaluateSpec(dataset=dataset.ref), model=model.train).named(f"accuracy: {label}")
    facts = origin(made)
    return Row(
        table=RECIPES,
        facts={
            "sweep": sweep,
            "dataset": dataset.ref.name,
            **{name: facts[name] for name in ("construction", "norm", "epsilon", "source_arch", "craft_mode")},
            "student_arch": model.arch,
            "seed": model.seed,
            "lr": recipe.lr,
            "batch_size": recipe.batch_size,
            "lr_drop": recipe.schedule.drop_every > 0,
            "augmented": recipe.augmentation != Augmentation(),
            "epochs": recipe.epochs,
            "mode": recipe.mode,
            "key": model.train.key,
        },
        measures={
            "constructed_validation": Measure(held, "constructed_validation"),
            "clean_validation": Measure(held, "clean_validation"),
            "validation_examples": Measure(held, "validation_examples"),
            "test_accuracy": Measure(accuracy, "clean_accuracy"),
            "n": Measure(accuracy, "n"),
        },
    )


def dataset_row(
    sweep: str, dataset: DatasetInfo, made: ConstructedSet, *, source: Model, second: Model, judge: Model
) -> Row:
    """Return the row of one constructed set: what was done to its images, and what models say of them.

    `source` is the standard source of the seed, which a control was not made with; `second` is a standard model of the
    same architecture and another seed; `judge` is a robust model.
    """
    by_judge, by_second = _verdict("robust judge", made, judge), _verdict("second seed's view", made, second)
    if made.source and not made.construct.config.is_control:
        fooling = Measure(made.construct, "fooling_rate")
    else:
        fooling = Measure(_verdict("source's view", made, source), "says_target")
    own = (
        "n", "share_target_is_label", "mean_loss", "mean_norm", "max_norm", "norm_histogram", "mean_distance",
        "share_unmoved", "gradients",
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


def _facts(sweep: str, dataset: DatasetInfo, model: Model, of_ball: str = "") -> dict[str, Any]:
    """Return the facts that say which model a row is about; for `of_ball` see `origin`."""
    adversary = model.adversary
    return {
        "sweep": sweep,
        "dataset": dataset.ref.name,
        **origin(model.made_from, of_ball),
        "student_arch": model.arch,
        "role": model.role,
        "seed": model.seed,
        "key": model.train.key,
        "training": model.training,
        "mode": model.mode,
        "adversary": adversary.name if adversary else None,
        "adversary_norm": adversary.threat.norm if adversary else None,
        "adversary_epsilon": adversary.threat.eps if adversary else None,
    }


def origin(made: ConstructedSet | None, of_ball: str = "") -> dict[str, Any]:
    """Return the facts that say how a training set was made; all null but the name for the original data.

    `of_ball` comes before the names of norm and epsilon, where a row has those of an attack too.
    """
    source = made.source if made else None
    norm, eps = made.bound if made else (None, None)
    return {
        "construction": made.construction.name if made else "d",
        f"{of_ball}norm": norm,
        f"{of_ball}epsilon": eps,
        "start": made.start if made else None,
        "craft_mode": made.mode if made else None,
        "source_arch": source.arch if source else None,
        "source_training": source.training if source else None,
        "storage": made.construct.config.storage if made else None,
    }


def robustness_rows(sweep: str, grid: Grid, dataset: DatasetInfo, model: Model, threat: ThreatModel) -> Iterator[Row]:
    """Yield the row of one model under each attack of the grid."""
    for name in grid.attacks:
        attack = attack_named(name, threat, grid.preset.attack_steps, grid.preset.mode)
        yield robustness_row(sweep, dataset, model, threat, grid.preset, attack=attack)


def extra_rows(sweep: str, grid: Grid, dataset: DatasetInfo, model: Model) -> Iterator[Row]:
    """Yield the row of one model on each extra test set: those of the dataset that are here, those of the grid."""
    for info in map(dataset_named, grid.extra_tests):
        if (info.shape, info.num_classes) != (dataset.shape, dataset.num_classes):
            raise ConfigError(
                f"extra test set {info.ref.name} has {info.num_classes} classes of {info.shape} images, and "
                f"{dataset.ref.name} {dataset.num_classes} of {dataset.shape}: it cannot be tested on"
            )
    named = {info.ref.name: info.ref for info in map(dataset_named, grid.extra_tests)}
    for name, test in {**extra_test_sets(dataset), **named}.items():
        yield extra_row(sweep, dataset, model, name, test)


def robustness_row(
    sweep: str,
    dataset: DatasetInfo,
    model: Model,
    threat: ThreatModel,
    preset: Preset,
    *,
    attack: Attack | AutoAttack | None = None,
    tested_on: ConstructedSet | None = None,
) -> Row:
    """Return the row of one model under an untargeted attack, by default one run of the preset's PGD.

    It is attacked on test images, or on those of the constructed set `tested_on`. The checks are of PGD on this model.
    """
    pgd = pgd_attack(threat.norm, threat.eps, steps=preset.attack_steps, mode=preset.mode)
    attack = attack or pgd
    spec = RobustnessSpec(dataset=dataset.ref, attack=attack, examples=preset.test_examples)
    measured = robustness(spec, model=model.train, data=tested_on.construct if tested_on else None).named(
        f"robustness {attack.name} {threat.norm} {threat.eps:g}: {model.train.label}"
        + (f", on {tested_on.construct.label}" if tested_on else "")
    )
    checked = trust_checks(dataset, model, attack if isinstance(attack, Attack) else pgd, preset.check_examples)
    return Row(
        table=ROBUSTNESS,
        facts={
            **_facts(sweep, dataset, model, "trained_"),
            "tested_on": f"{tested_on.construction.name} ({tested_on.construct.config.split})" if tested_on else "test",
            "attack": attack.name,
            "steps": attack.steps,
            "restarts": attack.restarts,
            "norm": attack.threat.norm,
            "epsilon": attack.threat.eps,
        },
        measures={
            "clean_accuracy": Measure(measured, "clean_accuracy"),
            "robust_accuracy": Measure(measured, "robust_accuracy"),
            "n": Measure(measured, "n"),
            "checks": Measure(checked, "checks"),
        },
        derive=lambda values: {
            **wilson(values["robust_accuracy"], values["n"]),
            "trust_level": trust_level(attack, values["checks"]),
        },
    )


def substitution_row(
    sweep: str, dataset: DatasetInfo, model: Model, substitution: Substitution, examples: int | None
) -> Row:
    """Return the row of one model of texts when a few words are replaced.

    Its norm is "words", its epsilon the number of words that may be others, and its steps are that number too. The
    checks are of attacks that follow a gradient in a ball, so there are none.
    """
    spec = RobustnessSpec(dataset=dataset.ref, attack=substitution, examples=examples)
    measured = robustness(spec, model=model.train).named(f"robustness {substitution.name}: {model.train.label}")
    return Row(
        table=ROBUSTNESS,
        facts={
            **_facts(sweep, dataset, model, "trained_"),
            "tested_on": "test",
            "attack": substitution.name,
            "steps": substitution.steps,
            "restarts": substitution.restarts,
            "norm": "words",
            "epsilon": float(substitution.budget),
            "checks": None,
            "trust_level": trust_level(substitution, None),
        },
        measures={name: Measure(measured, name) for name in ("clean_accuracy", "robust_accuracy", "n")},
        derive=lambda values: wilson(values["robust_accuracy"], values["n"]),
    )


def trust_checks(dataset: DatasetInfo, model: Model, attack: Attack, examples: int) -> Stage:
    """Return the stage that checks whether `attack` works on `model`, on its first `examples` right test images."""
    threat = attack.threat
    return trust(TrustSpec(dataset=dataset.ref, attack=attack, examples=examples), model=model.train).named(
        f"trust {attack.name} {threat.norm} {threat.eps:g}: {model.train.label}"
    )


def transfer_row(sweep: str, dataset: DatasetInfo, source: Model, victim: Model, adversarial: Stage) -> Row:
    """Return the row of one victim on the adversarial test images of one source: a cell of a transfer matrix."""
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
            "construction": victim.made_from.construction.name if victim.made_from else "d",
            "mode": victim.mode,
            "source_mode": source.mode,
            "attack": attack.name,
            "steps": attack.steps,
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
        derive=lambda values: wilson(values["success_rate"], values["n"]),
    )


def wilson(share: float, n: int) -> Mapping[str, Any]:
    """Return the 95% Wilson interval of a share of n examples as ci_low and ci_high."""
    from nrf_ray.statistics import wilson_interval

    interval = wilson_interval(share, n)
    return {"ci_low": interval.low, "ci_high": interval.high}

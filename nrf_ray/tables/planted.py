"""Planted sets: which part models use, and which part an attack on them changes."""

from collections.abc import Iterator, Mapping
from typing import Any

from nrf_ray.attacks.specs import Attack
from nrf_ray.data.planted import parse_planted
from nrf_ray.display.printing import Estimate, ResultTable, over_seeds
from nrf_ray.graph.stage import Stage
from nrf_ray.stages.reliance import FootprintSpec, RelianceSpec, footprint, reliance
from nrf_ray.stages.robustness import RobustnessSpec, robustness
from nrf_ray.sweep.columns import (
    ATTACK_COLUMN,
    DATASET_COLUMN,
    SEED_COLUMN,
    STEPS_COLUMN,
    SWEEP_COLUMN,
    TRAINING_COLUMNS,
)
from nrf_ray.sweep.models_and_sets import Model
from nrf_ray.sweep.planted_models import PlantedModel
from nrf_ray.sweep.row_facts import wilson
from nrf_ray.sweep.table import Column, Frames, Measure, Row, Table, key_of, measured, shows

ABOUT = (
    SWEEP_COLUMN,
    Column("modality", "string", "image, colour or text"),
    Column("label", "string", "what the label follows: human, noise, both or conflict (see nrf_ray.data.planted)"),
    Column("p_human", "float64", "examples whose human part shows the label", "share"),
    Column("p_noise", "float64", "examples whose noise part shows the label", "share"),
    Column("correlation", "float64", "of two events: human part shows the label, noise part shows the label", "1"),
    Column(
        "human_norm", "float64", "l2 norm of the human part: of an image, of each word's vector", "pixels in [0, 1]"
    ),
    Column(
        "noise_norm", "float64", "l2 norm of the noise part: of an image, of each word's vector", "pixels in [0, 1]"
    ),
    DATASET_COLUMN,
    Column("labels", "string", "labels trained on: planted, or read from one part (the noise part by a linear model)"),
    Column("student_arch", "string", "architecture of the model"),
    Column("role", "string", "source (trained on the set), reader (on human parts alone) or student (on labels read)"),
    *TRAINING_COLUMNS,
    SEED_COLUMN,
)


PLANTED = Table(
    "planted",
    "one model trained on a planted set, and which part of the examples it uses",
    (
        *ABOUT,
        measured("clean_accuracy", "float64", "accuracy on the test set", "share"),
        Column("bayes", "float64", "best possible accuracy, closed form", "share"),
        Column("bayes_human", "float64", "best possible accuracy by the human part alone, closed form", "share"),
        Column("bayes_noise", "float64", "best possible accuracy by the noise part alone, closed form", "share"),
        measured("human_alone", "float64", "noise part removed: classified as the human part's class", "share"),
        measured("noise_alone", "float64", "human part removed: classified as the noise part's class", "share"),
        measured(
            "follows_human",
            "float64",
            "parts of different classes: classified as the human part's class",
            "share",
        ),
        measured(
            "follows_noise",
            "float64",
            "parts of different classes: classified as the noise part's class",
            "share",
        ),
        measured(
            "score_human",
            "float64",
            "|E[gradient . human part]|: input-gradient score of the part",
            "nats",
        ),
        measured(
            "score_noise",
            "float64",
            "|E[gradient . noise part]|: input-gradient score of the part",
            "nats",
        ),
        measured(
            "nonrobustness",
            "float64",
            "non-robustness score: score_noise / (score_human + score_noise)",
            "share",
            of_n=False,
        ),
        Column("chance", "float64", "1 / k", "share"),
        measured(
            "train_accuracy",
            "float64",
            "accuracy on its own training set during the last epoch",
            "share",
            of_n=False,
        ),
        measured(
            "label_agreement",
            "float64",
            "labels read that equal the class shown; null for planted labels",
            "share",
            of_n=False,
        ),
        measured("n", "int64", "number of test examples behind each share of this row", "examples"),
        key_of("training stage"),
    ),
)


FOOTPRINT = Table(
    "footprint",
    "one model under one attack, and which part of the examples the attack changes",
    (
        *ABOUT,
        ATTACK_COLUMN,
        STEPS_COLUMN,
        Column("norm", "string", "norm of the attack"),
        Column("epsilon", "float64", "radius of the attack", "pixels in [0, 1]"),
        measured("clean_accuracy", "float64", "accuracy on the same test examples without the attack", "share"),
        measured(
            "robust_accuracy",
            "float64",
            "test examples that stay correctly classified under the attack: an upper bound",
            "share",
        ),
        measured("ci_low", "float64", "lower end of the 95% Wilson interval over test examples", "share"),
        measured("ci_high", "float64", "upper end of the 95% Wilson interval over test examples", "share"),
        Column("chance", "float64", "1 / k", "share"),
        measured(
            "energy_human",
            "float64",
            "share of the perturbation's squared l2 norm along human parts",
            "share",
            of_n=False,
        ),
        measured(
            "energy_noise",
            "float64",
            "share of the perturbation's squared l2 norm along noise parts",
            "share",
            of_n=False,
        ),
        measured(
            "energy_rest",
            "float64",
            "share of the perturbation's squared l2 norm along neither",
            "share",
            of_n=False,
        ),
        measured(
            "human_kept",
            "float64",
            "attacked examples whose human part a label reader classifies as before",
            "share",
            of_n=False,
        ),
        measured(
            "noise_kept",
            "float64",
            "attacked examples whose noise part is nearest to the same class as before",
            "share",
            of_n=False,
        ),
        measured(
            "attacked",
            "int64",
            "test examples that were correctly classified when clean, and so attacked",
            "examples",
        ),
        measured("n", "int64", "test examples behind the accuracies", "examples"),
        key_of("training stage"),
    ),
)


READS = ("clean_accuracy", "human_alone", "noise_alone", "follows_human", "follows_noise", "score_human", "score_noise")


CHANGES = ("energy_human", "energy_noise", "energy_rest", "human_kept", "noise_kept", "attacked")


def reliance_of(trained: PlantedModel) -> Stage:
    """Return the stage that measures which part a model uses."""
    train = trained.model.train
    return reliance(RelianceSpec(dataset=trained.dataset.ref), model=train).named(f"reliance: {train.label}")


def planted_row(sweep: str, trained: PlantedModel) -> Row:
    """Return the row of one model: its predictions without a part, and if the parts contradict."""
    stage, train, relabelled = reliance_of(trained), trained.model.train, trained.relabelled
    odds = parse_planted(trained.dataset.ref.name).odds
    facts = {
        **_about(sweep, trained),
        "bayes": odds.bayes,
        "bayes_human": odds.bayes_human,
        "bayes_noise": odds.bayes_noise,
        "chance": 1 / trained.dataset.num_classes,
    }
    measures = {name: Measure(stage, name) for name in (*READS, "n")}
    measures["train_accuracy"] = Measure(train, "train_accuracy")
    if relabelled is None:
        facts["label_agreement"] = None
    else:
        measures["label_agreement"] = Measure(relabelled, "agreement")
    return Row(table=PLANTED, facts=facts, measures=measures, derive=_nonrobustness)


def footprint_row(sweep: str, trained: PlantedModel, attack: Attack, reader: Model) -> Row:
    """Return the row of one model under one attack; `reader` reads the human parts of adversarial examples."""
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


SET = ["modality", "label", "p_human", "p_noise", "noise_norm"]
MODEL = ["labels", "training", "student_arch"]


@shows(PLANTED, by_dataset=False)
def show_planted(dataset: str, frames: Frames) -> Iterator[ResultTable]:
    """Yield a table with one row for each planted set and kind of model: which part it uses."""
    planted, rows = frames[PLANTED.name], []
    for (modality, label, p_human, p_noise, norm, labels, training, arch), cells in planted.groupby(SET + MODEL):
        clean, *others = over_seeds(
            cells, "clean_accuracy", "human_alone", "noise_alone", "follows_human", "follows_noise", "nonrobustness"
        )
        named = f"{modality}, by {label}", f"{p_human:g}", f"{p_noise:g}", f"{norm:g}", str(labels)
        rows.append((*named, f"{training} {arch}", str(len(cells)), clean, _round(cells["bayes"].iloc[0]), *others))
    n = ", ".join(map(str, sorted(set(planted["n"]))))
    yield ResultTable(
        title="planted sets: what models use",
        columns=(
            "set", "human", "noise", "norm", "labels", "training", "models", "clean", "Bayes", "human alone",
            "noise alone", "follows human", "follows noise", "score",
        ),
        names=6,
        rows=tuple(rows),
        notes=(
            f"shares of n = {n} test examples; mean ± 95% t interval over seeds. human, noise: how often each part "
            "shows the label; norm: of the noise part. human alone, noise alone: the other part is removed, and the "
            "model predicts the class of the remaining part. follows human, follows noise: the parts show different "
            "classes, and the model predicts that of the human or of the noise part. score: the noise part's share of "
            "the input-gradient score. labels: planted, or read from one part: the noise part by a linear model, the "
            "human part by another model.",
        ),
    )  # fmt: skip


@shows(FOOTPRINT, by_dataset=False)
def show_footprint(dataset: str, frames: Frames) -> Iterator[ResultTable]:
    """Yield a table with one row for each planted set, kind of model and attack: robust accuracy and parts changed."""
    footprint, rows = frames[FOOTPRINT.name], []
    keys = [*SET, *MODEL, "attack", "norm", "epsilon"]
    for (modality, label, _, _, noise, labels, training, arch, attack, norm, epsilon), cells in footprint.groupby(keys):
        clean, robust, *others = over_seeds(
            cells,
            "clean_accuracy",
            "robust_accuracy",
            "energy_human",
            "energy_noise",
            "energy_rest",
            "human_kept",
            "noise_kept",
        )
        named = f"{modality}, by {label}", f"{noise:g}", str(labels), f"{training} {arch}"
        chance = _round(cells["chance"].iloc[0])
        rows.append((*named, f"{attack} {norm} {epsilon:g}", str(len(cells)), clean, robust, chance, *others))
    yield ResultTable(
        title="planted sets: what attacks change",
        columns=(
            "set", "norm", "labels", "training", "attack", "models", "clean", "robust", "chance", "energy: human",
            "noise", "neither", "human kept", "noise kept",
        ),
        names=5,
        rows=tuple(rows),
        notes=(
            "robust: test examples that stay correctly classified, an upper bound. energy: shares of the "
            "perturbation's squared l2 norm along human parts, noise parts and neither, on the examples that were "
            "correctly classified when clean (an isotropic perturbation has .25, .25 and .5 in an image; half and half "
            "in the words of a text). kept: of the attacked examples, those whose human part a label reader classifies "
            "as before, and those whose noise part is nearest to the same class as before.",
        ),
    )  # fmt: skip


def _round(value: float) -> Estimate:
    """Return an exactly known number, with no more digits than it needs."""
    return Estimate(value, None, f"{value:.3g}")

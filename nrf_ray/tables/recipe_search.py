"""Recipe search: the recipe that each selection rule chooses, and its accuracy on the test set."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nrf_ray.data.catalogue import DatasetInfo
from nrf_ray.display.printing import Cell, ResultTable, share
from nrf_ray.stages.evaluate import EvaluateSpec, evaluate
from nrf_ray.stages.train import TrainSpec
from nrf_ray.stages.validate import ValidateSpec, validate
from nrf_ray.sweep.columns import (
    CONSTRUCTION_COLUMN,
    CRAFT_MODE_COLUMN,
    DATASET_COLUMN,
    MODE_COLUMN,
    N_COLUMN,
    NORM_COLUMN,
    SEED_COLUMN,
    SWEEP_COLUMN,
)
from nrf_ray.sweep.models_and_sets import ConstructedSet, Model
from nrf_ray.sweep.row_facts import origin
from nrf_ray.sweep.table import Column, Frames, Measure, Row, Table, key_of, measured, shows
from nrf_ray.sweep.wording import ball_text
from nrf_ray.training.recipes import Augmentation, StepSchedule

if TYPE_CHECKING:
    import pandas as pd


RECIPES = Table(
    "recipes",
    "one training recipe on one constructed set",
    (
        SWEEP_COLUMN,
        DATASET_COLUMN,
        CONSTRUCTION_COLUMN,
        NORM_COLUMN,
        Column("epsilon", "float64", "radius of the construction", "pixels in [0, 1]"),
        Column("source_arch", "string", "architecture whose features the set was made with"),
        CRAFT_MODE_COLUMN,
        Column("student_arch", "string", "architecture of the trained model"),
        SEED_COLUMN,
        Column("lr", "float64", "learning rate at the start", "1"),
        Column("batch_size", "int64", "examples per step", "images"),
        Column("lr_drop", "bool", "whether the learning rate is divided by 10 at regular intervals"),
        Column("augmented", "bool", "whether the training images are augmented"),
        Column("epochs", "int64", "passes over the training set", "epochs"),
        MODE_COLUMN,
        measured(
            "constructed_validation",
            "float64",
            "accuracy towards t on held-out constructed rows",
            "share",
            of_n=False,
        ),
        measured(
            "clean_validation",
            "float64",
            "accuracy towards y on the originals of the same rows",
            "share",
            of_n=False,
        ),
        measured("validation_examples", "int64", "rows held out of training", "images"),
        measured(
            "test_accuracy",
            "float64",
            "accuracy on the untouched test set; choosing by it is an oracle",
            "share",
        ),
        N_COLUMN,
        key_of("training stage"),
    ),
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


RULES = {
    "constructed validation": "constructed_validation",
    "clean validation": "clean_validation",
    "test oracle": "test_accuracy",
}
"""Selection rules, and the column that each of them maximises."""

KNOBS = ["lr", "batch_size", "lr_drop", "augmented"]


@shows(RECIPES)
def show_recipes(dataset: str, frames: Frames) -> Iterator[ResultTable]:
    """Yield a table with one row for each set and selection rule."""
    keys = ["construction", "norm", "epsilon", "student_arch"]
    rows: list[tuple[Cell, ...]] = []
    for (construction, norm, epsilon, _), trials in frames[RECIPES.name].groupby(keys):
        means = trials.groupby(KNOBS, as_index=False)[list(RULES.values())].mean()
        for rule, column in RULES.items():
            best = chosen(means, column)
            numbers = float(best[column]), float(best["test_accuracy"]), float(means["test_accuracy"].min())
            named = (str(construction), ball_text(norm, epsilon), rule, recipe_text(best))
            rows.append((*named, *(share(number) for number in numbers)))
    yield ResultTable(
        title=f"{dataset}: which recipe would be chosen",
        columns=("set", "eps", "chosen by", "recipe", "its score", "test", "worst"),
        names=4,
        rows=tuple(rows),
        notes=(
            "score: what the rule maximises, mean over seeds. On rows held out of training, constructed validation is "
            "accuracy towards t on constructed images, clean validation is accuracy towards y on their originals. "
            "test: accuracy of the chosen recipe on the untouched test set; worst: the lowest of all recipes there. "
            "The test oracle chooses by the test set, so it is not a result.",
        ),
    )


def chosen(trials: "pd.DataFrame", column: str) -> "pd.Series":
    """Return the trial with the highest `column`; of equal trials the first by the order of `KNOBS`."""
    return trials.sort_values([column, *KNOBS], ascending=[False] + [True] * len(KNOBS)).iloc[0]


def recipe_text(trial: "pd.Series") -> str:
    """Return a recipe in a few words."""
    drop = "drop" if trial["lr_drop"] else "no drop"
    views = "augmented" if trial["augmented"] else "as they are"
    return f"lr {trial['lr']:g}, batch {trial['batch_size']}, {drop}, {views}"

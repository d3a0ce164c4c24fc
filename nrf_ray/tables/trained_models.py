"""Trained models: their training sets, and their accuracy, also on extra test sets."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nrf_ray.constructions.spec import CONSTRUCTIONS
from nrf_ray.data.catalogue import DatasetInfo, DatasetRef, dataset_named
from nrf_ray.data.extra import check_same_classes, extra_test_sets
from nrf_ray.display.printing import Cell, ResultTable, mean, over_seeds, share_text
from nrf_ray.errors import ConfigError
from nrf_ray.stages.evaluate import EvaluateSpec, evaluate
from nrf_ray.sweep.columns import (
    DATASET_COLUMN,
    INTERVAL_COLUMNS,
    MODEL_COLUMN,
    N_COLUMN,
    ORIGIN_COLUMNS,
    SEED_COLUMN,
    SWEEP_COLUMN,
    TRAINING_COLUMNS,
)
from nrf_ray.sweep.grid import Grid
from nrf_ray.sweep.models_and_sets import Model
from nrf_ray.sweep.row_facts import model_facts, wilson
from nrf_ray.sweep.table import Column, Frames, Measure, Row, Table, key_of, measured, shows
from nrf_ray.sweep.wording import ORIGIN, ball_text, modes_text, trained_on
from nrf_ray.tables import sentences

if TYPE_CHECKING:
    import pandas as pd


RESULTS = Table(
    "results",
    "one trained model",
    (
        SWEEP_COLUMN,
        DATASET_COLUMN,
        *ORIGIN_COLUMNS,
        Column("student_arch", "string", "architecture of this model"),
        Column(
            "role", "string", "source, judge, victim (standard model on d), weak (picks rows of a control) or student"
        ),
        *TRAINING_COLUMNS,
        MODEL_COLUMN,
        SEED_COLUMN,
        Column("precision", "string", "arithmetic of the training: fp32, or bf16 in the fast mode"),
        measured("clean_accuracy", "float64", "accuracy on the test set (x, y)", "share"),
        measured(
            "relabelled_accuracy",
            "float64",
            "accuracy on the test set relabelled (x, y + 1), paper D.6",
            "share",
        ),
        measured(
            "train_accuracy",
            "float64",
            "accuracy on its own training set during the last epoch; null if imported",
            "share",
            of_n=False,
        ),
        measured("train_examples", "int64", "images in its training set; null if imported", "images"),
        N_COLUMN,
        measured("shared_rows", "int64", "test images that are training images of the dataset too", "images"),
        measured("parameters", "int64", "trainable parameters of the model", "numbers"),
        measured(
            "macs",
            "int64",
            "work of one forward pass of one image: convolutions and matrix products; a FLOP count is twice this",
            "multiply-adds",
        ),
        key_of("training stage"),
    ),
)


EXTRA = Table(
    "extra_tests",
    "one model on one extra test set",
    (
        SWEEP_COLUMN,
        DATASET_COLUMN,
        Column("test_set", "string", "other images of the same classes, such as cifar10.1 (paper D.7)"),
        *ORIGIN_COLUMNS,
        Column("student_arch", "string", "architecture of this model"),
        Column("role", "string", "source, judge, victim, weak or student"),
        *TRAINING_COLUMNS,
        MODEL_COLUMN,
        SEED_COLUMN,
        measured("clean_accuracy", "float64", "accuracy on the extra test set", "share"),
        *INTERVAL_COLUMNS,
        N_COLUMN,
        key_of("training stage"),
    ),
)


def result_row(sweep: str, dataset: DatasetInfo, model: Model) -> Row:
    """Return the row of one trained model: its training set and its accuracy."""
    accuracy = evaluate(EvaluateSpec(dataset=dataset.ref), model=model.train).named(f"accuracy: {model.train.label}")
    return Row(
        table=RESULTS,
        facts={**model_facts(sweep, dataset, model), "precision": "bf16" if model.mode == "fast" else "fp32"},
        measures={
            "clean_accuracy": Measure(accuracy, "clean_accuracy"),
            "relabelled_accuracy": Measure(accuracy, "relabelled_accuracy"),
            "train_accuracy": Measure(model.train, "train_accuracy"),
            "train_examples": Measure(model.train, "train_examples"),
            "n": Measure(accuracy, "n"),
            "shared_rows": Measure(accuracy, "shared_rows", later=True),
            "parameters": Measure(model.train, "parameters"),
            "macs": Measure(model.train, "macs"),
        },
    )


def extra_row(sweep: str, dataset: DatasetInfo, model: Model, name: str, test: DatasetRef) -> Row:
    """Return the row of one model on one extra test set, such as CIFAR-10.1 (paper D.7)."""
    stage = evaluate(EvaluateSpec(dataset=test), model=model.train).named(f"{name}: {model.train.label}")
    return Row(
        table=EXTRA,
        facts={
            **model_facts(sweep, dataset, model),
            "test_set": name,
        },
        measures={"clean_accuracy": Measure(stage, "clean_accuracy"), "n": Measure(stage, "n")},
        derive=lambda values: wilson(values["clean_accuracy"], values["n"]),
    )


def extra_rows(sweep: str, grid: Grid, dataset: DatasetInfo, model: Model) -> Iterator[Row]:
    """Yield the row of one model on each extra test set: the dataset's own on this machine, and the grid's."""
    for info in map(dataset_named, grid.extra_tests):
        check_same_classes(dataset, info)
        if (info.shape, info.num_classes) != (dataset.shape, dataset.num_classes):
            raise ConfigError(
                f"extra test set {info.ref.name} has {info.num_classes} classes of {info.shape} images, and models of "
                f"{dataset.ref.name} need {dataset.num_classes} of {dataset.shape}; choose another test set"
            )
    named = {info.ref.name: info.ref for info in map(dataset_named, grid.extra_tests)}
    for name, test in {**extra_test_sets(dataset), **named}.items():
        yield extra_row(sweep, dataset, model, name, test)


@shows(RESULTS, say=sentences.of_trained_models)
def show_results(dataset: str, frames: Frames) -> Iterator[ResultTable]:
    """Yield a table with one row for each kind of model: its accuracy, and the difference from its control."""
    results, rows = frames[RESULTS.name], []
    for (role, training, mode, *origin), cells in results.groupby(["role", "training", "mode", *ORIGIN], dropna=False):
        construction, norm, epsilon, *how = origin
        accuracy = cells["clean_accuracy"]
        rows.append(
            (
                trained_on(role, training, mode, construction, *how),
                ball_text(norm, epsilon),
                str(len(cells)),
                *over_seeds(cells, "clean_accuracy", "relabelled_accuracy"),
                f"{share_text(accuracy.min())}, {share_text(accuracy.max())}",
                _minus_control(results, cells, str(construction)),
            )
        )
    yield ResultTable(
        title=f"{dataset}: accuracy on the untouched test set (n = {results['n'].iloc[0]})",
        columns=("trained on", "eps", "models", "clean", "as y + 1", "range", "- control"),
        names=2,
        rows=tuple(rows),
        notes=(
            "clean: accuracy on (x, y); as y + 1: on the same images relabelled. Mean over architectures, then mean ± "
            "95% t interval over seeds; range: lowest and highest model. leak_...: control sets without any "
            "adversarial feature; - control: the difference in clean accuracy, same architectures and seeds. Weights "
            f"after the last epoch, none selected. {modes_text(results['mode'])}",
        ),
    )


def _minus_control(results: "pd.DataFrame", cells: "pd.DataFrame", construction: str) -> Cell:
    """Return the paired difference between a construction and its control; empty if there are no pairs."""
    from nrf_ray.tables.contrasts import differences

    made = CONSTRUCTIONS.get(construction)
    found = differences(cells, results[results["construction"] == (made.control if made else "")])
    return mean(found) if len(found) else ""


@shows(EXTRA)
def show_extra(dataset: str, frames: Frames) -> Iterator[ResultTable]:
    """Yield a table with one row for each kind of model and extra test set."""
    keys, rows = ["test_set", "role", "training", "mode", *ORIGIN], []
    for (test_set, role, training, mode, *origin), cells in frames[EXTRA.name].groupby(keys, dropna=False):
        construction, norm, epsilon, *how = origin
        name = trained_on(role, training, mode, construction, *how)
        named = (name, ball_text(norm, epsilon), str(test_set))
        rows.append((*named, str(cells["n"].iloc[0]), str(len(cells)), *over_seeds(cells, "clean_accuracy")))
    yield ResultTable(
        title=f"{dataset}: extra test sets",
        columns=("trained on", "eps", "test set", "n", "models", "right"),
        names=3,
        rows=tuple(rows),
        notes=("right: accuracy on other images of the same classes; mean ± 95% t interval over seeds.",),
    )

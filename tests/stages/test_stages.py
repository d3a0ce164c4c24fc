"""Stages, run in this process: every kind once, and what they measure held against each other."""

import importlib
import os
import pkgutil
from dataclasses import replace

import pytest
import torch

import nrf_ray.stages
from nrf_ray.attacks.robustness import robust_accuracy
from nrf_ray.attacks.specs import n_fgsm
from nrf_ray.attacks.threat import perturbation_norm
from nrf_ray.attacks.trust import checks_of, read_checks
from nrf_ray.constructions.stored_set import constructed_rows, constructed_set
from nrf_ray.data.images import as_float, holdout, some
from nrf_ray.data.shards import read_shard
from nrf_ray.engine.predict import accuracy, predict, share
from nrf_ray.engine.runtime import prepare
from nrf_ray.errors import ClusterError, ConfigError
from nrf_ray.graph.execute import execute, run_inline
from nrf_ray.graph.stage import Resources, StageKind, walk
from nrf_ray.graph.store import Store, place_of
from nrf_ray.stages import attack as attack_stage
from nrf_ray.stages.robustness import RobustnessSpec
from nrf_ray.stages.train import TrainSpec
from nrf_ray.stages.trust import TrustSpec
from nrf_ray.stages.validate import ValidateSpec
from nrf_ray.stages.weights import FILE
from nrf_ray.training.recipes import Recipe
from tests.goals import (
    ATTACKED,
    CHANGED_ONLY,
    CHECKED,
    D_OTHER,
    DIGITS,
    EVALUATED,
    FEW,
    GOALS,
    JUDGE,
    KEPT_OUT,
    LEAK_RAND,
    ROBUST,
    SOURCE,
    STUDENT,
    TARGETED,
    TRANSFERRED,
    UNTARGETED,
    VALIDATED,
    metrics,
    model_of,
    trained_on,
)


def test_every_kind_of_stage_is_run_here():
    modules = [
        importlib.import_module(f"nrf_ray.stages.{found.name}")
        for found in pkgutil.iter_modules(nrf_ray.stages.__path__)
    ]
    kinds = {value.name for module in modules for value in vars(module).values() if isinstance(value, StageKind)}
    elsewhere = {
        "import_weights": "test_importing",
        **dict.fromkeys(("gaussian_theory", "figure_4", "figure_14"), "test_theory_sweeps"),
        **dict.fromkeys(("usefulness", "linear_leakage", "network_leakage"), "test_theory_sweeps"),
        **dict.fromkeys(
            ("errors_of", "labelled_by", "perturbed", "shuffled", "squares", "wrong_points"), "test_debate"
        ),
        **dict.fromkeys(("reliance", "footprint", "relabel", "phase_diagram"), "test_planted"),
    }
    assert {stage.kind.name for stage in walk(GOALS)} | set(elsewhere) == kinds


@pytest.mark.parametrize("stage", list(walk(GOALS)), ids=lambda stage: stage.title)
def test_every_stage_has_a_positive_cost_and_finite_metrics(store, stage):
    assert stage.cost() > 0
    values = [value for value in metrics(store, stage).values() if isinstance(value, int | float | list)]
    numbers = [number for value in values for number in (value if isinstance(value, list) else [value])]
    assert numbers
    assert all(value == value and abs(value) < 1e9 for value in numbers)


def test_the_same_training_gives_the_same_bytes_in_another_store(store, tmp_path):
    other = Store.open(str(tmp_path / "other"), create=True)
    assert run_inline([STUDENT, JUDGE], other).errors == {}
    for stage in (SOURCE, JUDGE, D_OTHER, STUDENT):
        left, right = store.artifact(stage).record, other.artifact(stage).record
        assert left.files == right.files, stage.title
        assert left.metrics == right.metrics, stage.title


def test_evaluation_measures_what_the_model_shows(store, digits):
    model, test = model_of(store, SOURCE), digits[1]
    measured = metrics(store, EVALUATED)
    assert measured["clean_accuracy"] == accuracy(model, test.images, test.labels) > 0.8
    assert measured["relabelled_accuracy"] == accuracy(model, test.images, (test.labels + 1) % 10)
    assert measured["n"] == 360


def test_robust_accuracy_is_below_clean_accuracy_and_over_all_images(store):
    measured = metrics(store, ROBUST)
    assert 0 <= measured["robust_accuracy"] < metrics(store, EVALUATED)["clean_accuracy"]
    assert measured["n"] == 360


def test_robust_accuracy_of_some_images_alone(store, digits):
    few = digits[1].rows(some(360, 100))
    measured = metrics(store, FEW)
    assert measured["robust_accuracy"] == robust_accuracy(model_of(store, SOURCE), few, UNTARGETED)
    assert measured["clean_accuracy"] == accuracy(model_of(store, SOURCE), few.images, few.labels)
    assert measured["n"] == 100


def test_the_checks_of_an_attack_are_one_text_and_their_numbers(store):
    measured = metrics(store, CHECKED)
    verdicts = read_checks(measured["checks"])
    assert list(verdicts) == checks_of("cheap")
    assert set(verdicts.values()) <= {"PASS", "WARN", "FAIL"}
    assert (verdicts["logits"], verdicts["gradients"]) == ("PASS", "PASS")
    assert measured["n"] == 48
    assert 0 < measured["images/fooled"] <= 1


@pytest.mark.parametrize("kind", [RobustnessSpec, TrustSpec])
@pytest.mark.parametrize(
    "change",
    [{"attack": TARGETED}, {"attack": n_fgsm("linf", 0.1)}, {"examples": 0}],
    ids=["targeted", "leaves the ball", "no examples"],
)
def test_what_measures_no_robust_accuracy_is_refused(kind, change):
    with pytest.raises(ConfigError, match=r"untargeted|leaves the ball|examples >= 1"):
        kind(**{"dataset": DIGITS, "attack": UNTARGETED, **change})


@pytest.mark.parametrize("targeted", [True, False], ids=["targeted", "untargeted"])
def test_attacked_images_are_near_the_test_images_and_their_success_is_counted(store, digits, targeted):
    shard = read_shard(store.artifact(ATTACKED[targeted]).read(attack_stage.FILE))
    test, columns = digits[1], shard.columns
    assert shard.key == ATTACKED[targeted].key
    assert list(columns) == ["index", "label", "target", "prediction"]
    assert columns["index"].tolist() == list(range(360))
    assert torch.equal(columns["label"], test.labels)
    assert (columns["target"] != test.labels).all()
    assert perturbation_norm(as_float(shard.images) - test.images, "l2").max() <= 1.0 + 8 / 510 + 1e-5
    assert torch.equal(predict(model_of(store, SOURCE), shard.images), columns["prediction"])
    hits = columns["prediction"] == columns["target"] if targeted else columns["prediction"] != test.labels
    assert metrics(store, ATTACKED[targeted]) == {"success_rate": share(hits), "n": 360}
    assert share(hits) > 0.2


@pytest.mark.parametrize("targeted", [True, False], ids=["targeted", "untargeted"])
def test_transfer_to_the_source_itself_is_the_attacks_own_success(store, targeted):
    own = metrics(store, ATTACKED[targeted])["success_rate"]
    assert metrics(store, TRANSFERRED[SOURCE.key, targeted])["success_rate"] == own
    assert metrics(store, TRANSFERRED[STUDENT.key, targeted])["success_rate"] != own


def test_the_source_makes_its_own_mistakes_and_a_students_are_split_into_two_kinds(store):
    own, other = (metrics(store, TRANSFERRED[victim.key, False]) for victim in (SOURCE, STUDENT))
    assert own["same_mistake_rate"] == own["success_rate"]
    assert own["different_mistake_rate"] == 0
    assert 0 < own["same_by_chance"] <= own["same_mistake_rate"]
    assert other["same_mistake_rate"] + other["different_mistake_rate"] == pytest.approx(other["success_rate"])
    assert 0 < other["same_mistake_rate"] < other["success_rate"]


def test_untargeted_success_and_robust_accuracy_are_two_views_of_one_attack(store):
    """They differ by 8-bit storage, and by which batch an image is in."""
    success = metrics(store, ATTACKED[False])["success_rate"]
    assert success == pytest.approx(1 - metrics(store, ROBUST)["robust_accuracy"], abs=4 / 360)


def test_a_student_can_be_trained_on_the_changed_rows_alone(store):
    columns = constructed_rows(store.artifact(LEAK_RAND)).columns
    changed = int((columns["label"] != columns["true_label"]).sum())
    assert metrics(store, CHANGED_ONLY)["train_examples"] == changed < 1437


def test_a_training_that_was_killed_goes_on_from_its_last_checkpoint(store, tmp_path, monkeypatch):
    """The resumed run does only the epochs that were missing, and its weights are the same bytes."""
    monkeypatch.setattr("nrf_ray.stages.train.CHECKPOINT_SECONDS", 0.0)
    stage, other = trained_on(epochs=4), Store.open(str(tmp_path / "other"), create=True)
    seen = []

    def killed_after_two(epoch, values):
        seen.append(epoch)
        if epoch == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        execute(stage, other, report=killed_after_two)
    assert [name for name in os.listdir(other.blobs.root / "train" / stage.key) if "checkpoint-00000002" in name]
    resumed = execute(stage, other, report=lambda epoch, values: seen.append(epoch))
    assert seen == [1, 2, 3, 3, 4]
    assert [name for name in os.listdir(other.blobs.root / "train" / stage.key) if "checkpoint" in name] == []
    whole = execute(stage, Store.open(str(tmp_path / "whole"), create=True))
    assert (resumed.files, resumed.metrics) == (whole.files, whole.metrics)


def test_a_training_by_several_workers_is_refused_in_a_single_process(store):
    stage = replace(SOURCE, config=replace(SOURCE.config, recipe=replace(SOURCE.config.recipe, workers=2)))
    assert stage.key != SOURCE.key
    with pytest.raises(ConfigError, match="needs 2 processes at once, and this is only one"):
        execute(stage, store)


def test_a_student_learns_the_new_labels(store):
    data = constructed_set(store.artifact(D_OTHER))
    assert torch.equal(data.labels, constructed_rows(store.artifact(D_OTHER)).columns["label"])
    assert metrics(store, STUDENT)["train_examples"] == 1437
    assert metrics(store, STUDENT)["train_accuracy"] > 0.15
    assert model_of(store, STUDENT).head.in_features == 128


def test_training_reports_every_epoch(store):
    seen = []
    other = replace(SOURCE, config=replace(SOURCE.config, seed=99))
    execute(other, store, report=lambda step, values: seen.append((step, sorted(values))))
    assert seen == [(epoch, ["train/accuracy", "train/loss"]) for epoch in (1, 2)]
    assert store.has(other)
    assert store.artifact(other).names() == [FILE]
    assert place_of(other) != place_of(SOURCE)


def test_rows_kept_out_are_measured_as_constructed_and_as_they_were(store, digits):
    rows, (kept, held) = constructed_rows(store.artifact(D_OTHER)), holdout(1437, 0.2)
    assert sorted([*kept.tolist(), *held.tolist()]) == list(range(1437))
    assert metrics(store, KEPT_OUT)["train_examples"] == len(kept) == 1150
    measured, model = metrics(store, VALIDATED), model_of(store, KEPT_OUT)
    assert measured["validation_examples"] == len(held) == 287
    assert measured["constructed_validation"] == accuracy(model, rows.images[held], rows.columns["label"][held])
    assert measured["clean_validation"] == accuracy(model, digits[0].images[held], digits[0].labels[held])


def test_a_holdout_that_leaves_nothing_or_too_little_is_refused():
    with pytest.raises(ConfigError, match="0 <= holdout < 1, of all rows, not 1 of"):
        TrainSpec(arch="vgg_s", dataset=DIGITS, recipe=Recipe(epochs=1, lr=0.1), holdout=1.0, seed=0)
    with pytest.raises(ConfigError, match="0 < holdout < 1, not 0"):
        ValidateSpec(dataset=DIGITS, holdout=0.0)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_torch_does_not_see_is_said_and_never_replaced_by_the_cpu():
    with pytest.raises(ClusterError, match=r"was given 0.5 GPUs on .*, but torch .* sees none there"):
        prepare(Resources(gpus=0.5))

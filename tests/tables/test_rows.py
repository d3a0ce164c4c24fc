"""Rows of robustness and transfer: what they say of the attack, the checks and the victim, before anything runs."""

from dataclasses import replace

import pytest

from nrf_ray.attacks.specs import Attack, AutoAttack, pgd_attack
from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.attacks.trust import checks_of, checks_text
from nrf_ray.data.catalogue import dataset_named
from nrf_ray.presets import PRESETS
from nrf_ray.stages.robustness import robustness
from nrf_ray.stages.train import TrainSpec, train
from nrf_ray.sweep.flags import Options
from nrf_ray.sweep.models_and_sets import Model
from nrf_ray.tables.robustness import ROBUSTNESS, robustness_row, trust_checks
from nrf_ray.training.recipes import Recipe
from tests.sweeps import robust_features

DIGITS = dataset_named("digits")
THREAT = ThreatModel(norm="l2", eps=0.5)
STRONG = pgd_attack("l2", 0.5, steps=50, restarts=10)
LAPTOP = PRESETS["laptop"]
MODEL = Model(
    train=train(TrainSpec(arch="resnet_s", dataset=DIGITS.ref, recipe=Recipe(epochs=1, lr=0.1), seed=0)),
    role="victim",
    seed=0,
)
PASSED = checks_text(dict.fromkeys(checks_of("full"), "PASS"))
BY_ITSELF = "gap:PASS square:WARN"
METRICS = {"robust_accuracy": 0.5, "clean_accuracy": 0.9, "under_pgd": 0.5, "n": 100, "checks": PASSED}


def metrics_of(stage):
    if stage.kind is robustness and isinstance(stage.config.attack, AutoAttack):
        return METRICS | {"checks": BY_ITSELF}
    return METRICS


def filled(preset=LAPTOP, **more):
    values = robustness_row("s", DIGITS, MODEL, THREAT, preset, **more).fill(metrics_of)
    assert set(values) == set(ROBUSTNESS.column_names())
    return values


def test_a_row_without_more_is_one_run_of_the_presets_pgd_at_the_lowest_level():
    row = filled()
    assert (row["attack"], row["steps"], row["restarts"]) == ("pgd-20", 20, 1)
    assert (row["trust_level"], row["checks"], row["construction"]) == ("L0", PASSED, "d")
    assert row["ci_low"] < 0.5 < row["ci_high"]


def test_the_level_rises_with_the_attack_where_checks_pass():
    assert trust_checks(DIGITS, MODEL, STRONG, STRONG, 64).config.examples == 64
    row = filled(attack=STRONG)
    assert (row["attack"], row["restarts"], row["trust_level"], row["checks"]) == ("pgd-50x10", 10, "L1", PASSED)


def test_autoattack_takes_the_place_of_pgd_and_has_the_checks_of_pgd():
    row = filled(attack=AutoAttack(threat=THREAT, version="apgd"))
    assert (row["attack"], row["norm"], row["epsilon"], row["trust_level"]) == ("apgd-ce+t", "l2", 0.5, "L2")
    assert (row["checks"], row["checks_n"], row["autoattack_checks"]) == (PASSED, 100, BY_ITSELF)


@pytest.mark.parametrize(
    ("attack", "found", "lowest", "by"),
    [
        (STRONG, {}, 0.5, "pgd-50x10"),
        (STRONG, {"noise/only_other": 0.0}, 0.5, "pgd-50x10"),
        (STRONG, {"noise/only_other": 0.1, "black-box/only_other": 0.2}, 0.5 - 0.9 * 0.2, "with black-box"),
        (STRONG, {"noise/only_other": 0.9}, 0.0, "with noise"),
        (AutoAttack(threat=THREAT), {"under_pgd": 0.4}, 0.4, "pgd-20"),
        (AutoAttack(threat=THREAT), {"under_pgd": 0.6, "noise/only_other": 0.1}, 0.5, "autoattack"),
        (AutoAttack(threat=THREAT), {"under_pgd": 0.6, "noise/only_other": 0.2}, 0.6 - 0.9 * 0.2, "with noise"),
    ],
)
def test_the_least_that_anything_found_is_in_the_row_with_the_name_of_what_found_it(attack, found, lowest, by):
    """What a check's attack adds is a share of the correctly classified images, .9 of all."""
    row = robustness_row("s", DIGITS, MODEL, THREAT, LAPTOP, attack=attack).fill(lambda stage: METRICS | found)
    assert (row["lowest"], row["lowest_by"]) == (pytest.approx(lowest), by)
    assert row["robust_accuracy"] == 0.5
    assert set(row) == set(ROBUSTNESS.column_names())


def test_a_level_asks_for_its_checks_and_another_model_only_where_it_counts():
    other = replace(MODEL, train=train(replace(MODEL.train.config, seed=1)), seed=1)
    weak, pgd = pgd_attack("l2", 0.5, steps=20), pgd_attack("l2", 0.5, steps=20)
    for attack, battery in ((weak, "cheap"), (STRONG, "required"), (AutoAttack(threat=THREAT), "full")):
        stage = trust_checks(DIGITS, MODEL, attack, pgd, 100, other)
        assert stage.config.battery == battery
        assert stage.inputs.get("other") is (None if battery == "cheap" else other.train)
        assert stage.config.attack == (pgd if battery == "full" else attack)
        assert "other" not in trust_checks(DIGITS, MODEL, attack, pgd, 100, MODEL).inputs


def test_fgsm_at_linf_a_hundredth_is_one_flag_each_and_measures_every_model():
    grid = Options(preset="laptop", norm="linf", epsilon="0.01", attack="fgsm").grid(robust_features.axes)
    rows = [row for row in robust_features.robust_features(grid).rows if row.table == ROBUSTNESS]
    on_tests = [row for row in rows if row.facts["tested_on"] == "test"]
    assert {(row.facts["attack"], row.facts["norm"], row.facts["epsilon"]) for row in on_tests} == {
        ("fgsm", "linf", 0.01)
    }
    specs = {row.measures["robust_accuracy"].stage.config.attack for row in on_tests}
    assert specs == {Attack(threat=ThreatModel(norm="linf", eps=0.01), steps=1, step_size=0.01)}
    models = [row for row in robust_features.robust_features(grid).rows if row.table.name == "results"]
    assert [row.facts["key"] for row in on_tests] == [row.facts["key"] for row in models]


def test_the_number_of_images_is_part_of_what_is_asked_for():
    few, whole = (robustness_row("s", DIGITS, MODEL, THREAT, replace(LAPTOP, test_examples=n)) for n in (100, None))
    assert few.measures["n"].stage.key != whole.measures["n"].stage.key
    assert few.measures["n"].stage.cost() < whole.measures["n"].stage.cost()

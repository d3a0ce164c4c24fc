"""Rows of robustness and transfer: what they say of the attack, the checks and the victim, before anything runs."""

from nrf_ray.data.catalogue import dataset_named
from nrf_ray.rows import Model, robustness_row, trust_checks
from nrf_ray.specs import AutoAttack, Recipe, pgd_attack
from nrf_ray.stages.train import TrainSpec, train
from nrf_ray.tables import ROBUSTNESS
from nrf_ray.threat import ThreatModel
from nrf_ray.trust import CHECKS, checks_text

DIGITS = dataset_named("digits")
THREAT = ThreatModel(norm="l2", eps=0.5)
STRONG = pgd_attack("l2", 0.5, steps=50, restarts=10)
MODEL = Model(
    train=train(TrainSpec(arch="resnet_s", dataset=DIGITS.ref, recipe=Recipe(epochs=1, lr=0.1), seed=0)),
    role="victim",
    seed=0,
)
PASSED = checks_text(dict.fromkeys(CHECKS, "PASS"))
METRICS = {"robust_accuracy": 0.5, "clean_accuracy": 0.9, "n": 100, "checks": PASSED}


def filled(**more):
    values = robustness_row("s", DIGITS, MODEL, THREAT, 20, **more).fill(lambda stage: METRICS)
    assert set(values) == set(ROBUSTNESS.column_names())
    return values


def test_a_row_without_more_is_one_run_of_pgd_at_the_lowest_level():
    row = filled()
    assert (row["attack"], row["steps"], row["restarts"]) == ("pgd-20", 20, 1)
    assert (row["trust_level"], row["checks"], row["construction"]) == ("L0", None, "d")
    assert row["ci_low"] < 0.5 < row["ci_high"]


def test_the_level_rises_with_checks_that_pass():
    checked = trust_checks(DIGITS, MODEL, STRONG, examples=64)
    assert checked.config.examples == 64
    row = filled(attack=STRONG, checked=checked)
    assert (row["attack"], row["restarts"], row["trust_level"], row["checks"]) == ("pgd-50x10", 10, "L1", PASSED)
    assert filled(attack=STRONG)["trust_level"] == "L0"


def test_autoattack_takes_the_place_of_pgd():
    row = filled(attack=AutoAttack(threat=THREAT, version="apgd"), examples=100)
    assert (row["attack"], row["norm"], row["epsilon"], row["trust_level"]) == ("apgd-ce+t", "l2", 0.5, "L2")


def test_the_number_of_images_is_part_of_what_is_asked_for():
    few, whole = (robustness_row("s", DIGITS, MODEL, THREAT, 20, examples=n) for n in (100, None))
    assert few.measures["n"].stage.key != whole.measures["n"].stage.key
    assert few.measures["n"].stage.cost() < whole.measures["n"].stage.cost()

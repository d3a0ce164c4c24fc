"""Building blocks: a set is made with the source that its name promises, and a sweep refuses what it has no use for."""

import math

import pytest

from nrf_ray.attacks.specs import pgd_attack
from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.constructions.matching import Matching
from nrf_ray.constructions.spec import construction_named
from nrf_ray.data.catalogue import dataset_named
from nrf_ray.errors import ConfigError
from nrf_ray.presets import PRESETS
from nrf_ray.sweep.models_and_sets import constructed, crafted_by, shard_rows, trained
from nrf_ray.tables.trained_models import extra_rows
from tests.data.files import labels_of, pixels, write_parquet
from tests.sweeps import nonrobust_features, recipe_search, robust_features, transfer_grid

DIGITS, LAPTOP = dataset_named("digits"), PRESETS["laptop"]
THREAT = ThreatModel(norm="l2", eps=1.0)
STANDARD = trained(DIGITS, "resnet_b", LAPTOP.matching_source, "source", 0)
ROBUST = trained(DIGITS, "resnet_b", LAPTOP.matching_robust_source, "source", 0)
WEAK = trained(DIGITS, "resnet_s", LAPTOP.weak, "weak", 0)


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [("d_robust", ROBUST, STANDARD), ("d_nonrobust", STANDARD, ROBUST), ("leak_weak", WEAK, STANDARD)],
    ids=["d_robust", "d_nonrobust", "leak_weak"],
)
def test_a_set_is_made_with_the_source_that_its_name_promises(name, right, wrong):
    craft = crafted_by(LAPTOP, construction_named(name), THREAT)
    made = constructed(DIGITS, name, craft, right, 0)
    assert made.construct.inputs["source"].key == right.train.key
    for source in (wrong, None):
        with pytest.raises(ConfigError, match=name):
            constructed(DIGITS, name, craft, source, 0)


def test_the_same_model_in_another_role_is_another_training():
    assert trained(DIGITS, "resnet_b", LAPTOP.matching_source, "victim", 0).train.key != STANDARD.train.key
    assert trained(DIGITS, "resnet_b", LAPTOP.matching_source, "source", 0).train.key == STANDARD.train.key
    assert (STANDARD.adversary, ROBUST.adversary.threat.eps) == (None, 1.0)


@pytest.mark.parametrize(
    ("craft", "images", "rows"),
    [
        (pgd_attack("l2", 1.0, steps=7, targeted=True), 16_384, 16_384),
        (pgd_attack("l2", 1.0, steps=7, targeted=True), 16_385, 4096),
        (pgd_attack("l2", 1.0, steps=122, targeted=True), 16_384, 16_384),
        (pgd_attack("l2", 1.0, steps=100, targeted=True), 50_000, 768),
        (Matching(steps=1000, step_size=0.1), 2000, 16_384),
        (Matching(steps=1000, step_size=0.1), 2001, 512),
        (THREAT, 1_281_167, 4096),
    ],
)
def test_a_small_set_is_one_file_and_a_large_one_is_many_of_whole_batches(craft, images, rows):
    assert shard_rows(craft, images) == rows
    assert rows % 256 == 0


@pytest.mark.parametrize("gpus", [2, 8, 16])
def test_a_pool_of_gpus_has_work_to_the_end_of_the_papers_largest_set(gpus):
    """D_R of CIFAR-10, 1000 steps: the actors of a pool are idle for at most an eighth of the time."""
    files = math.ceil(50_000 / shard_rows(Matching(steps=1000, step_size=0.1), 50_000))
    assert files / (math.ceil(files / gpus) * gpus) >= 0.875


@pytest.mark.parametrize(
    ("build", "change", "said"),
    [
        (transfer_grid.transfer_grid, {"constructions": ("d_robust",)}, ", not d_robust"),
        (transfer_grid.transfer_grid, {"constructions": ("leak_weak",)}, ", not leak_weak"),
        (transfer_grid.transfer_grid, {"extra_tests": ("cifar10.1",)}, "does not use extra tests"),
        (robust_features.robust_features, {"constructions": ("d_rand",)}, ", not d_rand"),
        (robust_features.robust_features, {"extra_tests": ("cifar10.1",)}, "does not use extra tests"),
        (nonrobust_features.nonrobust_features, {"constructions": ("d_robust",)}, ", not d_robust"),
        (recipe_search.recipe_search, {"constructions": ("leak_det",)}, ", not leak_det"),
        (recipe_search.recipe_search, {"storages": ("float32",)}, "does not use storages"),
        (recipe_search.recipe_search, {"attacks": ("fgsm",)}, "does not use attacks"),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_a_sweep_refuses_what_it_has_no_use_for(make_grid, build, change, said):
    axes = {"constructions": ("d_rand",), **change}
    if build is robust_features.robust_features and "constructions" not in change:
        axes["constructions"] = ("d_robust",)
    with pytest.raises(ConfigError, match=said):
        build(make_grid(PRESETS["smoke"], **axes))


def test_an_extra_test_set_has_to_fit(make_grid, tmp_path):
    path = write_parquet(tmp_path / "other.parquet", pixels(30), labels_of(30))
    grid = make_grid(PRESETS["smoke"], extra_tests=(f"parquet:{path}",))
    with pytest.raises(ConfigError, match=r"other has 3 classes of \(3, 8, 8\) images, and models of digits need 10"):
        list(extra_rows("s", grid, DIGITS, STANDARD))


def test_recipes_are_told_apart_by_name(make_grid):
    sweep = recipe_search.recipe_search(make_grid(PRESETS["smoke"], constructions=("d_rand",)))
    students = [stage.label for stage in sweep.stages() if stage.label.startswith("student")]
    assert len(set(students)) == len(students) == 24


def test_students_of_every_construction_are_attacked(make_grid):
    sweep = nonrobust_features.nonrobust_features(make_grid(PRESETS["smoke"]))
    attacked = {row.facts["construction"] for row in sweep.rows if row.table.name == "robustness"}
    assert attacked == {"d", "d_other", "leak_other"}

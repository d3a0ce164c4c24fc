"""The presets for GPUs hold the paper's hyperparameters, number by number (Ilyas et al. 2019, C.2 to C.5)."""

from dataclasses import replace

import pytest

from nrf_ray.attacks.named import attack_named
from nrf_ray.attacks.specs import pgd_attack
from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.constructions.spec import construction_named
from nrf_ray.presets import PRESETS
from nrf_ray.training.recipes import StepSchedule
from tests.sweeps import recipe_search, robust_features

CIFAR, IMAGENET = PRESETS["cifar10"], PRESETS["restricted-imagenet"]
DROPS, NONE = 50, 0


def knobs(recipe):
    augmented = recipe.augmentation.flip
    return recipe.lr, recipe.batch_size, recipe.schedule.drop_every, augmented, recipe.momentum, recipe.weight_decay


@pytest.mark.parametrize(
    ("preset", "construction", "expected"),
    [
        (CIFAR, "d_robust", (0.1, 128, DROPS, True, 0.9, 5e-4)),
        (CIFAR, "d_nonrobust", (0.1, 128, DROPS, True, 0.9, 5e-4)),
        (CIFAR, "d_rand", (0.01, 128, DROPS, True, 0.9, 5e-4)),
        (CIFAR, "d_det", (0.1, 128, DROPS, False, 0.9, 5e-4)),
        (IMAGENET, "d_robust", (0.01, 128, NONE, True, 0.9, 5e-4)),
        (IMAGENET, "d_rand", (0.01, 256, NONE, False, 0.9, 5e-4)),
        (IMAGENET, "d_det", (0.05, 256, NONE, False, 0.9, 5e-4)),
    ],
    ids=lambda value: value if isinstance(value, str) else getattr(value, "name", ""),
)
def test_students_are_trained_as_in_table_3(preset, construction, expected):
    matched = construction_named(construction).features == "matched"
    recipe = preset.matched_student if matched else preset.student_of(construction)
    assert knobs(recipe) == expected
    assert not recipe.nesterov
    assert recipe.training == "standard"


@pytest.mark.parametrize(
    ("preset", "steps", "step_size", "from_noise"), [(CIFAR, 1000, 0.1, 10_000), (IMAGENET, 2000, 1.0, 2000)]
)
def test_images_are_matched_as_in_table_5_and_footnote_16(preset, steps, step_size, from_noise):
    for matching, count, start in ((preset.matching, steps, "image"), (preset.noise_matching, from_noise, "noise")):
        assert (matching.steps, matching.step_size, matching.start) == (count, step_size, start)
        assert matching.lengths() == [step_size] * count, "no decay"


@pytest.mark.parametrize(("preset", "eps"), [(CIFAR, 0.5), (IMAGENET, 3.0)])
def test_images_are_attacked_as_in_table_6(preset, eps):
    assert preset.epsilons == (eps,)
    assert preset.norms == ("l2",)
    assert (preset.craft_steps, preset.craft_step) == (100, 0.1)


@pytest.mark.parametrize(("preset", "eps", "step_size"), [(CIFAR, 0.5, 0.1), (IMAGENET, 3.0, 0.6)])
def test_robust_sources_are_trained_as_in_c_3(preset, eps, step_size):
    for recipe in (preset.robust_source, preset.matching_robust_source):
        adversary = recipe.adversary
        assert adversary.threat == ThreatModel(norm="l2", eps=eps)
        assert (adversary.steps, adversary.step_size, adversary.start) == (7, pytest.approx(step_size), "image")
        assert adversary.returns == "last"


@pytest.mark.parametrize("preset", [CIFAR, IMAGENET], ids=lambda preset: preset.name)
def test_models_are_attacked_with_seven_steps_of_a_fifth_of_eps(preset):
    for eps in (*preset.radii, *preset.epsilons):
        attack = preset.pgd(ThreatModel(norm="l2", eps=eps))
        assert (attack.steps, attack.step_size, attack.start) == (7, pytest.approx(eps / 5), "image")
        assert attack_named("pgd-margin", attack) == replace(attack, loss="margin")
    assert preset.within("linf", (0.1,)).pgd(ThreatModel(norm="linf", eps=0.1)).step_size == pytest.approx(0.02)


@pytest.mark.parametrize("name", ["laptop", "cifar10-small", "text"])
def test_other_presets_take_steps_of_two_and_a_half_radii_together(name):
    attack = PRESETS[name].pgd(ThreatModel(norm="l2", eps=0.5))
    assert attack == pgd_attack("l2", 0.5, steps=PRESETS[name].attack_steps)


def test_architectures_and_radii_are_those_of_the_paper():
    assert CIFAR.source_arch == CIFAR.matching_arch == IMAGENET.source_arch == "resnet50"
    assert set(CIFAR.archs) == {"vgg16", "inception_v3", "resnet18", "resnet50", "densenet121"}, "Figure 3"
    assert CIFAR.radii == (0.25, 0.5), "Table 7"
    assert CIFAR.test_examples is None, "the whole test set"


def test_sources_are_trained_as_in_the_authors_library():
    assert knobs(CIFAR.source) == (0.1, 128, DROPS, True, 0.9, 5e-4)
    assert knobs(IMAGENET.source) == (0.1, 256, DROPS, True, 0.9, 1e-4)
    assert CIFAR.source.epochs == IMAGENET.source.epochs == 150
    views = CIFAR.source.augmentation
    assert (views.pad, views.flip, views.jitter, views.rotation) == (4, True, 0.25, 2.0)


def test_the_recipe_search_is_the_grid_of_table_3():
    recipes = recipe_search.recipes(CIFAR)
    found = {(r.lr, r.batch_size, r.schedule != StepSchedule(), r.augmentation.flip) for r in recipes}
    expected = {
        (lr, batch, drop, views)
        for lr in (0.1, 0.01, 0.05)
        for batch in (128, 256)
        for drop in (True, False)
        for views in (True, False)
    }
    assert found == expected
    assert len(recipes) == 24
    assert {recipe.schedule.drop_every for recipe in recipes} == {0, 50}


def test_another_adversary_keeps_norm_and_radius_and_is_named_for_what_it_is():
    for name in ("fgsm-rs", "n-fgsm"):
        changed = CIFAR.trained_against(name)
        for recipe in (changed.robust_source, changed.judge, changed.matching_robust_source):
            assert recipe.adversary.name == name
            assert recipe.adversary.threat == CIFAR.robust_source.adversary.threat
    assert replace(CIFAR.trained_against("pgd-7"), adversary="") == CIFAR
    assert pgd_attack("l2", 0.5, steps=7) != CIFAR.robust_source.adversary, "2.5 eps / steps is another rule"


def test_the_paper_matches_from_images_and_from_noise():
    assert CIFAR.starts == ("image", "noise")
    assert robust_features.axes(CIFAR)["constructions"] == ("d_robust", "d_nonrobust")

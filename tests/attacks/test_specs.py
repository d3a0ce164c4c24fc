"""Descriptions: what cannot be meant is refused in one line, and what is equal has an equal key."""

import dataclasses
import math
import typing

import pytest

from nrf_ray.attacks import specs
from nrf_ray.attacks.losses import LOSSES
from nrf_ray.attacks.named import strong_pgd
from nrf_ray.attacks.specs import Attack, AutoAttack, fgsm, fgsm_rs, n_fgsm, pgd_attack
from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.constructions.spec import CONSTRUCTIONS, TargetRule, construction_named
from nrf_ray.errors import ConfigError, Registry
from nrf_ray.graph.canonical import canonical_json
from nrf_ray.presets import PRESETS
from nrf_ray.sweep.grid import Grid
from nrf_ray.training.recipes import Augmentation, LinearSchedule, Recipe, StepSchedule

THREAT = ThreatModel(norm="l2", eps=1.0)


def refused(error, *words):
    """Assert that an error is one line that holds all `words`."""
    text = str(error.value)
    assert "\n" not in text
    assert all(word in text for word in words), text


def test_pgd_comes_in_the_usual_proportions():
    attack = pgd_attack("linf", 0.1, steps=25, targeted=True)
    assert attack.threat == ThreatModel(norm="linf", eps=0.1)
    assert attack.step_size == pytest.approx(0.01)
    assert (attack.steps, attack.targeted) == (25, True)
    assert attack.name == "pgd-25"
    assert not pgd_attack("l2", 1.0).targeted


@pytest.mark.parametrize(
    ("steps", "step_size"),
    [(0, 0.1), (-1, 0.1), (5, 0.0), (5, -0.1), (5, math.nan), (5, math.inf)],
    ids=["no steps", "negative steps", "zero size", "negative size", "NaN size", "infinite size"],
)
def test_an_attack_without_steps_or_with_no_step_size_is_refused(steps, step_size):
    with pytest.raises(ConfigError) as error:
        Attack(threat=THREAT, steps=steps, step_size=step_size)
    refused(error, "steps >= 1", "step_size")


@pytest.mark.parametrize("steps", [0, -3])
def test_pgd_attack_without_steps_is_refused_like_any_other(steps):
    with pytest.raises(ConfigError) as error:
        pgd_attack("l2", 1.0, steps=steps)
    refused(error, "steps >= 1")


@pytest.mark.parametrize(
    "change",
    [
        {"epochs": 0},
        {"batch_size": 0},
        {"lr": 0.0},
        {"lr": -0.1},
        {"lr": math.nan},
        {"lr": math.inf},
        {"momentum": 1.0},
        {"weight_decay": -1e-4},
        {"mode": "quick"},
        {"workers": 0},
        {"workers": 3},
    ],
    ids=lambda change: " ".join(f"{name}={value}" for name, value in change.items()),
)
def test_a_recipe_that_cannot_train_is_refused(change):
    with pytest.raises(ConfigError) as error:
        Recipe(**{"epochs": 1, "lr": 0.1, **change})
    refused(error, next(iter(change)))


@pytest.mark.parametrize("warmup", [1.0, -0.1, math.nan])
def test_a_warmup_that_never_ends_or_begins_is_refused(warmup):
    with pytest.raises(ConfigError) as error:
        LinearSchedule(warmup=warmup)
    refused(error, "warmup")


def test_a_negative_number_of_epochs_between_drops_is_refused():
    with pytest.raises(ConfigError) as error:
        StepSchedule(drop_every=-1)
    refused(error, "drop_every")


@pytest.mark.parametrize(
    "change",
    [{"pad": -1}, {"min_area": 0.0}, {"min_area": 1.5}, {"jitter": 1.0}, {"rotation": -1.0}, {"lighting": math.inf}],
    ids=str,
)
def test_views_that_cannot_be_are_refused(change):
    with pytest.raises(ConfigError) as error:
        Augmentation(**change)
    refused(error, f"not {next(iter(change))} = ")


def test_adversarial_training_against_a_targeted_attack_is_refused():
    with pytest.raises(ConfigError) as error:
        Recipe(epochs=1, lr=0.1, adversary=pgd_attack("l2", 1.0, targeted=True))
    refused(error, "untargeted")


def test_the_kind_of_training_follows_from_the_adversary():
    assert Recipe(epochs=1, lr=0.1).training == "standard"
    assert Recipe(epochs=1, lr=0.1, adversary=pgd_attack("l2", 1.0)).training == "adversarial"


def test_every_set_of_the_paper_has_its_control():
    for name, construction in CONSTRUCTIONS.items():
        assert construction_named(name) is construction
        assert construction.name == name
        assert construction.targets in typing.get_args(TargetRule)
        assert construction.description
    for name in ("d_rand", "d_det", "d_other"):
        control = CONSTRUCTIONS[name.replace("d_", "leak_", 1)]
        assert control.targets == CONSTRUCTIONS[name].targets
        assert not control.needs_source


def test_what_a_construction_needs_follows_from_its_features():
    assert {name for name, made in CONSTRUCTIONS.items() if not made.needs_source} == {
        "leak_rand", "leak_det", "leak_other",
    }  # fmt: skip
    assert [name for name, made in CONSTRUCTIONS.items() if made.targets == "same"] == ["d_robust", "d_nonrobust"]
    assert CONSTRUCTIONS["d_rand_changed"].made_as in CONSTRUCTIONS


def test_an_unknown_construction_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError) as error:
        construction_named("d_best")
    refused(error, "'d_best'", *CONSTRUCTIONS)


@pytest.mark.parametrize("preset", PRESETS.values(), ids=lambda preset: preset.name)
def test_every_preset_is_a_grid_as_it_stands(preset):
    axes = {name: getattr(preset, name) for name in Grid.__dataclass_fields__ if hasattr(preset, name)}
    assert Grid(preset=preset, **axes | {"datasets": ("digits",)}).archs == preset.archs
    assert PRESETS[preset.name] is preset
    assert set(preset.control_archs) & set(preset.archs)
    assert preset.judge.training == "adversarial"
    assert {preset.source.training, preset.victim.training, preset.student.training} == {"standard"}


def test_laptop_is_the_default():
    assert next(iter(PRESETS)) == "laptop"


def test_equal_descriptions_have_equal_text_and_every_field_counts():
    recipe = Recipe(epochs=3, lr=0.05, adversary=pgd_attack("l2", 1))
    assert canonical_json(recipe) == canonical_json(Recipe(lr=0.05, epochs=3, adversary=pgd_attack("l2", 1.0)))
    changes = {
        "epochs": 4,
        "lr": 0.1,
        "batch_size": 64,
        "momentum": 0.8,
        "weight_decay": 1e-4,
        "schedule": StepSchedule(drop_every=5),
        "nesterov": False,
        "augmentation": Augmentation(pad=1),
        "adversary": None,
        "mode": "fast",
        "workers": 2,
    }
    assert set(changes) == {field.name for field in dataclasses.fields(Recipe)}
    texts = {canonical_json(dataclasses.replace(recipe, **{name: value})) for name, value in changes.items()}
    assert len(texts | {canonical_json(recipe)}) == len(changes) + 1


@pytest.mark.parametrize(
    ("attack", "name"),
    [
        (pgd_attack("l2", 1.0), "pgd-20"),
        (pgd_attack("l2", 1.0, steps=50, restarts=10), "pgd-50x10"),
        (strong_pgd(THREAT), "pgd-50x10-alternating"),
        (pgd_attack("l2", 1.0, start="uniform"), "pgd-20-rs"),
        (pgd_attack("l2", 1.0, loss="margin"), "pgd-20-margin"),
        (dataclasses.replace(pgd_attack("l2", 1.0), returns="worst_loss"), "pgd-20-worst"),
        (pgd_attack("l2", 1.0, steps=1), "pgd-1"),
        (fgsm("linf", 0.1), "fgsm"),
        (fgsm_rs("linf", 0.1), "fgsm-rs"),
        (n_fgsm("linf", 0.1), "n-fgsm"),
        (pgd_attack("l2", 1.0, mode="fast"), "pgd-20-fast"),
        (pgd_attack("l2", 1.0, loss="margin", mode="fast"), "pgd-20-margin-fast"),
        (AutoAttack(threat=THREAT), "autoattack"),
        (AutoAttack(threat=THREAT, version="apgd"), "apgd-ce+t"),
        (AutoAttack(threat=THREAT, version="few-classes"), "apgd-ce+margin+square"),
    ],
)
def test_every_attack_is_named_for_what_it_is(attack, name):
    assert attack.name == name


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"restarts": 0}, ["restarts >= 1"]),
        ({"restarts": 3}, ["3 restarts", "uniform"]),
        ({"start": "far"}, ["'far'", "image, uniform, wide"]),
        ({"start": "wide"}, ["N-FGSM", "20"]),
        ({"loss": "dlr"}, ["'dlr'", "margin"]),
        ({"loss": "alternating"}, ["restart to restart", "restarts > 1"]),
        ({"returns": "best"}, ["'best'", "worst_loss"]),
    ],
)
def test_an_attack_that_means_nothing_is_refused(change, words):
    with pytest.raises(ConfigError) as error:
        dataclasses.replace(pgd_attack("l2", 1.0), **change)
    refused(error, *words)


def test_adversarial_training_with_restarts_is_refused():
    with pytest.raises(ConfigError) as error:
        Recipe(epochs=1, lr=0.1, adversary=pgd_attack("l2", 1.0, restarts=2))
    refused(error, "2 restarts")


def test_a_radius_of_mere_rounding_is_refused():
    """At 1e-46, which float32 rounds to zero, projecting divides zero by zero."""
    for eps in (1e-46, 9e-7):
        with pytest.raises(ConfigError) as error:
            ThreatModel(norm="l2", eps=eps)
        refused(error, "32-bit")


def test_a_registered_loss_can_be_named_by_an_attack(monkeypatch) -> None:
    losses = Registry("loss", LOSSES)
    monkeypatch.setattr(specs, "LOSSES", losses)
    with pytest.raises(ConfigError, match="unknown loss 'label_logit' of an attack; known: cross_entropy, margin"):
        pgd_attack("l2", 1.0, loss="label_logit")
    losses.register("label_logit")(lambda logits, labels: -logits.gather(1, labels.unsqueeze(1)).squeeze(1))
    assert pgd_attack("l2", 1.0, loss="label_logit").name == "pgd-20-label_logit"

"""Attacks of one's own: they join the axis of attacks, and count for what the model says of their verified images."""

import random
from dataclasses import replace

import numpy as np
import pytest
import torch

from nrf_ray.attacks.functions import FUNCTIONS
from nrf_ray.attacks.named import ATTACKS, attack_function, attack_named
from nrf_ray.attacks.robustness import against, robust_accuracy
from nrf_ray.attacks.run import run_attack
from nrf_ray.attacks.run_function import run_function
from nrf_ray.attacks.specs import FunctionAttack, check_measures, pgd_attack
from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.attacks.trust import battery_for, checks_text, trust_level
from nrf_ray.data.catalogue import dataset_named
from nrf_ray.data.images import LabelledImages
from nrf_ray.engine.predict import predict
from nrf_ray.errors import ConfigError
from nrf_ray.graph.canonical import canonical_json
from nrf_ray.graph.execute import run_inline
from nrf_ray.graph.store import Store
from nrf_ray.presets import PRESETS
from nrf_ray.sweep.models_and_sets import trained as trained_model
from nrf_ray.tables.robustness import robustness_rows
from nrf_ray.training.recipes import Recipe
from tests.networks import optimum, two_classes
from tests.small import grid_of

EPS = 0.15
THREAT = ThreatModel(norm="linf", eps=EPS)


@pytest.fixture(scope="module")
def planted():
    """Return a linear network of two classes, 64 images that it labels itself, and which of them can be fooled."""
    model, images, labels, fooled = two_classes(64, EPS)
    return model, LabelledImages(images=images, labels=labels), fooled


@pytest.fixture
def own():
    """Return the decorator that registers an attack for one test."""
    before = set(ATTACKS)
    yield attack_function
    for name in set(ATTACKS) - before:
        ATTACKS.forget(name)
        FUNCTIONS.forget(name)


def spec(name):
    return FunctionAttack(threat=THREAT, function=name)


def test_a_function_is_an_attack_by_its_name(own):
    own("best", passes=7)(optimum)
    attack = attack_named("best", pgd_attack("linf", EPS))
    assert attack == spec("best")
    assert (attack.name, attack.passes, attack.steps, attack.restarts) == ("best", 7, 7, 1)
    assert canonical_json(attack) == (
        '{"function":"best","threat":{"eps":0.15,"norm":"linf","type":"ThreatModel"},"type":"FunctionAttack"}'
    )
    check_measures(attack)
    assert battery_for(attack) == "full"
    assert trust_level(attack, checks_text({"images": "PASS"})) == "L0"
    with pytest.raises(ConfigError, match="unknown attack function 'other'; known: best"):
        spec("other")
    with pytest.raises(ConfigError, match="there is another attack called 'best'"):
        own("best")(lambda *given: given[1])
    with pytest.raises(ConfigError, match="there is another attack called 'pgd'"):
        own("pgd")(optimum)
    with pytest.raises(ConfigError, match="the attack none needs passes >= 1, not 0"):
        own("none", passes=0)


def test_the_optimum_of_a_linear_network_leaves_what_the_closed_form_says(own, planted):
    model, data, fooled = planted
    own("best")(optimum)
    found = against(model, data, spec("best"), seed=3)
    robust = float((~fooled).double().mean())
    assert 0 < robust < 1
    assert found.shares == {"robust_accuracy": robust, "under_pgd": robust, "outside": 0.0}
    assert found.verdicts == {"adaptive": "PASS"}
    assert robust_accuracy(model, data, spec("best"), seed=3) == robust
    images = run_attack(spec("best"), model, data.images, data.labels)
    assert torch.equal(predict(model, images) != data.labels, fooled)


def beyond(*given):
    return given[1] + 2 * (optimum(*given) - given[1])


@pytest.mark.parametrize(
    ("function", "outside", "verdict"),
    [
        (beyond, 1.0, "FAIL"),
        (lambda *given: optimum(*given) * torch.nan, 1.0, "FAIL"),
        (lambda *given: given[1], 0.0, "WARN"),
    ],
    ids=["beyond the ball", "not finite", "idle"],
)
def test_what_breaks_the_rules_or_does_nothing_fools_nobody(own, planted, function, outside, verdict):
    model, data, _ = planted
    own("bad")(function)
    found = against(model, data, spec("bad"))
    assert (found.robust_accuracy, found.outside, found.verdict) == (1.0, outside, verdict)
    assert torch.equal(run_attack(spec("bad"), model, data.images, data.labels), data.images), "the originals"


def test_everything_that_draws_begins_at_the_seed_and_this_process_draws_on_as_before(planted):
    model, data, _ = planted
    drawn = []

    def drawing(model, images, labels, threat, generator):
        drawn.append((torch.rand(1).item(), np.random.rand(), random.random(), torch.rand(1, generator=generator)))  # noqa: NPY002
        return images.requires_grad_(True) * 1.0

    def after():
        return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002

    before = after()
    for seed in (1, 1, 2):
        with torch.no_grad():
            run_function(drawing, model, data.images, data.labels, THREAT, seed=seed)
    assert after() == before
    assert drawn[0] == drawn[1]
    assert all(first != second for first, second in zip(drawn[0], drawn[2], strict=True))


def test_images_that_are_not_in_the_box_are_refused_before_the_function_runs(planted):
    model, data, _ = planted
    with pytest.raises(ConfigError, match="an attack takes images in"):
        run_function(optimum, model, data.images * 2, data.labels, THREAT, seed=0)


def test_no_image_that_is_right_gives_no_robust_accuracy_and_no_praise(own, planted):
    model, data, _ = planted
    own("best")(optimum)
    wrong = replace(data, labels=1 - data.labels)
    found = against(model, wrong, spec("best"))
    assert (found.robust_accuracy, found.verdict) == (0.0, "WARN")


def test_a_row_has_its_number_its_check_and_all_checks_of_pgd_on_the_model(own, tmp_path):
    def noise(model, images, labels, threat, generator):
        return threat.random_start(images, generator)

    own("noise", passes=1)(noise)
    preset = replace(PRESETS["smoke"], check_examples=8, test_examples=24, attack_steps=3)
    grid, digits = grid_of(preset, attacks=("noise",)), dataset_named("digits")
    model = trained_model(digits, "vgg_s", Recipe(epochs=1, lr=0.05), "source", 0)
    (row,) = robustness_rows("test", grid, digits, model, ThreatModel(norm="l2", eps=0.5))
    store = Store.open(str(tmp_path), create=True)
    assert run_inline(row.stages(), store).errors == {}
    values = row.fill(lambda stage: store.artifact(stage).record.metrics)
    assert (values["attack"], values["steps"], values["restarts"], values["n"]) == ("noise", 1, 1, 24)
    assert values["trust_level"] == "L0"
    assert values["autoattack_checks"] in ("adaptive:PASS", "adaptive:WARN")
    assert {"black-box", "transfer", "surrogate", "binarization"} <= {
        part.partition(":")[0] for part in values["checks"].split()
    }
    assert values["lowest"] <= values["robust_accuracy"] <= values["clean_accuracy"]

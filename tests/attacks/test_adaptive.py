"""An adaptive attack of the user's: it counts where it keeps the rules, and nowhere else."""

import pytest
import torch

from nrf_ray.attacks.adaptive import beside, run_adaptive
from nrf_ray.attacks.subject import Check
from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.engine.predict import predict
from nrf_ray.errors import ConfigError
from tests.networks import optimum, two_classes

EPS = 0.15
THREAT = ThreatModel(norm="linf", eps=EPS)


@pytest.fixture(scope="module")
def planted():
    """Return a linear network of two classes, 16 grey images that it labels itself, and which can be fooled."""
    return two_classes(16, EPS)


def run(attack, planted):
    model, images, labels, _ = planted
    return run_adaptive(attack, model, images, labels, THREAT, seed=3)


def test_what_it_fools_is_the_closed_form(planted):
    check = run(optimum, planted)
    fooled = planted[3]
    assert 0 < int(fooled.sum()) < 16
    assert torch.equal(check.fooled, fooled)
    assert (check.verdict, check.numbers) == ("PASS", {"fooled": int(fooled.sum()) / 16, "outside": 0.0})


def beyond(images):
    return images.clone().add_(2 * EPS)


def spoilt(images, value):
    images[0, 0, 0, 0] = value
    return images


@pytest.mark.parametrize(
    ("spoil", "outside"),
    [
        (lambda images: images.flip(0) * 0 + torch.nan, 16),
        (lambda images: spoilt(images, torch.nan), 1),
        (lambda images: spoilt(images, torch.inf), 1),
        (lambda images: spoilt(images, -0.01), 1),
        (lambda images: spoilt(images, 1.01), 1),
        (lambda images: images * 0, 16),
        (beyond, 16),
    ],
)
def test_images_that_break_the_rules_fail_and_fool_nobody(spoil, outside, planted):
    honest = run(optimum, planted)
    check = run(lambda *given: spoil(optimum(*given)), planted)
    assert (check.verdict, check.numbers["outside"]) == ("FAIL", outside / 16)
    assert not check.fooled[:outside].any()
    assert torch.equal(check.fooled[outside:], honest.fooled[outside:])


def test_it_cannot_change_what_it_is_judged_by(planted):
    model, images, labels, fooled = planted
    before = images.clone()

    def cheating(model, images, labels, threat, generator):
        found = optimum(model, images, labels, threat, generator)
        images.zero_()
        labels.zero_()
        return found

    assert torch.equal(run(cheating, planted).fooled, fooled)
    assert torch.equal(images, before)
    assert torch.equal(labels, predict(model, before))


def test_its_random_numbers_are_those_of_the_seed_and_the_network_is_left_as_it_was(planted):
    seen = []

    def noisy(model, images, labels, threat, generator):
        assert not model.training
        assert not any(parameter.requires_grad for parameter in model.parameters())
        seen.append(torch.rand(3, generator=generator).tolist())
        return images

    planted[0].train()
    run(noisy, planted)
    run(noisy, planted)
    assert seen[0] == seen[1]
    assert planted[0].training
    assert all(parameter.requires_grad for parameter in planted[0].parameters())


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (None, "returned a NoneType; it must return one tensor of images"),
        (torch.zeros(3), r"returned torch.float32 of shape \(3,\) for images of shape \(16, 1, 4, 4\)"),
        (torch.zeros(16, 1, 4, 4).byte(), "returned torch.uint8 of shape"),
    ],
)
def test_what_is_no_images_is_refused(made, said, planted):
    with pytest.raises(ConfigError, match=said):
        run(lambda *given: made, planted)


@pytest.mark.parametrize(
    ("verdict", "missed", "now"), [("PASS", 0, "PASS"), ("PASS", 1, "PASS"), ("PASS", 4, "WARN"), ("FAIL", 4, "FAIL")]
)
def test_an_adaptive_attack_that_a_plain_one_beats_is_doubted(verdict, missed, now):
    """Of 100 images, the plain attack fools the first ten, and the adaptive one misses some of these."""
    rival, fooled = torch.arange(100) < 10, torch.arange(100) >= missed
    check = beside(Check(verdict=verdict, numbers={"outside": 0.0}, fooled=fooled), rival)
    assert (check.verdict, check.numbers) == (now, {"outside": 0.0, "missed": missed / 100})

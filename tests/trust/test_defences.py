"""Broken defences: each answers as its truth does, and the truth can be attacked at least as well."""

import pytest
import torch

from nrf_ray.attacks.run import run_attack
from nrf_ray.attacks.specs import pgd_attack
from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.errors import ConfigError
from tests.trust.answers import answers, made, true, true_answers
from tests.trust.defence import GRAIN, digest, noise_of, put, turned
from tests.trust.defences import DEFENCES
from tests.trust.networks import examples, networks
from tests.trust.stateful import Aware, Crowded, Remembering, Tiring

AGREEING = 0.8
"""Least share of images on which a defence by noise answers as its expectation does. Noise that changed more answers
would cost the defence its clean accuracy, and nobody would take it for robust."""


@pytest.fixture(scope="module")
def nets():
    return networks()


def test_there_are_at_least_forty_and_names_are_unique():
    from tests.trust import gradients, masked, purifiers, randomised, shattered, stateful

    listed = (
        *(*gradients.GRADIENTS, *masked.MASKED, *purifiers.PURIFIERS),
        *(*randomised.RANDOMISED, *shattered.SHATTERED, *stateful.STATEFUL),
    )
    assert len(DEFENCES) == len(listed) >= 40
    assert all(defence.why for defence in listed)


@pytest.mark.parametrize("name", DEFENCES)
def test_a_defence_answers_as_its_truth_does(name, nets):
    defence, data = DEFENCES[name], examples(300)
    near = ThreatModel(norm="l2", eps=0.6).random_start(data.images, torch.Generator().manual_seed(1))
    for images in (data.images, near):
        agree = float((answers(defence, nets, images) == true_answers(defence, nets, images)).double().mean())
        assert agree >= (AGREEING if defence.expected else 1.0)
    assert float((answers(defence, nets, data.images) == data.labels).double().mean()) > 0.8


@pytest.mark.parametrize("name", DEFENCES)
def test_an_attack_through_the_truth_fools_no_fewer_images(name, nets):
    """Four of 100 images are left to chance: the expectation over noise is not the noise."""
    defence, data, spec = DEFENCES[name], examples(100), pgd_attack("l2", 0.6, steps=20, loss="margin")
    right = answers(defence, nets, data.images) == data.labels
    robust = {}
    for way, module in {"truth": true(defence, nets), "defence": made(defence, nets)}.items():
        try:
            found = run_attack(spec, module, data.images, data.labels)
        except ConfigError as error:  # the outputs of some defences have no gradient at all
            if way == "truth" or "have no gradient" not in str(error):
                raise
            found = data.images
        robust[way] = int((right & (answers(defence, nets, found) == data.labels)).sum())
    assert robust["truth"] <= robust["defence"] + 4, robust


def test_a_digest_depends_on_the_content_alone():
    images = examples(50).images
    order = torch.randperm(50, generator=torch.Generator().manual_seed(0))
    found = digest(images)
    assert len(found.unique()) == 50
    assert torch.equal(digest(images[order]), found[order])
    assert torch.equal(noise_of(images.contiguous(memory_format=torch.channels_last)), noise_of(images))
    moved = images.clone()
    moved[:, 0, 3, 3] += 1 / GRAIN
    assert (digest(moved) != found).all()
    assert (digest(images, salt=1) != found).all()


def test_noise_of_content_is_uniform():
    noise = noise_of(examples(360).images)
    assert noise.min() >= -1
    assert noise.max() < 1
    # 23,040 numbers: the standard errors of mean and variance are .004 and .002
    assert abs(float(noise.mean())) < 0.02
    assert abs(float(noise.var()) - 1 / 3) < 0.01


def test_put_gives_one_value_and_the_gradient_of_another():
    x = torch.tensor([0.25, 0.75], requires_grad=True)
    result = put((3 * x).round(), 5 * x)
    result.sum().backward()
    assert result.tolist() == [1.0, 2.0]
    assert x.grad.tolist() == [5.0, 5.0]


def test_a_turned_gradient_leaves_the_value_alone():
    x = torch.tensor([0.25, 0.75], requires_grad=True)
    result = turned(torch.neg)(x)
    result.sum().backward()
    assert result.tolist() == [0.25, 0.75]
    assert x.grad.tolist() == [-1.0, -1.0]


def test_a_memory_gives_an_old_answer_to_a_near_image_and_a_new_one_to_a_far_image(nets):
    image = examples(1).images
    remembering = Remembering(nets.base, 1.5, quiet=False)
    with torch.no_grad():
        first = remembering(image)
        assert torch.equal(remembering(image + 0.1), first)  # .8 away
        assert not torch.equal(remembering(image + 0.5), first)  # 4 away
    quiet = Remembering(nets.base, 1.5, quiet=True)
    with torch.no_grad():
        first = quiet(image)
    assert torch.equal(quiet(image + 0.1), nets.base(image + 0.1))


def test_defences_that_notice_an_attack_show_it_another_network(nets):
    images = examples(40).images
    aware = Aware(nets.base, nets.robust)
    assert torch.equal(aware(images), nets.robust(images))
    with torch.no_grad():
        assert torch.equal(aware(images), nets.base(images))

    def gradient(module, images):
        tracked = images.clone().requires_grad_(True)
        return torch.autograd.grad(module(tracked).amax(1).sum(), tracked)[0]

    tiring = Tiring(nets.base, nets.robust, 2)
    found = [gradient(tiring, images) for _ in range(3)]
    assert torch.equal(found[1], gradient(nets.base, images))
    assert not torch.allclose(found[2], found[1])
    crowded = Crowded(nets.base, nets.robust, 32)
    assert torch.equal(gradient(crowded, images[:32]), gradient(nets.base, images[:32]))
    assert not torch.allclose(gradient(crowded, images), gradient(nets.base, images))

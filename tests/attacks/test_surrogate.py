"""The surrogate learns a model's answers, and its adversarial images fool the model."""

import torch

from nrf_ray.attacks.run import run_attack
from nrf_ray.attacks.specs import pgd_attack
from nrf_ray.attacks.surrogate import distilled
from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.engine.predict import predict

THREAT = ThreatModel(norm="l2", eps=1.0)


def test_it_answers_as_the_model_does_and_its_images_fool_it(trained, digits):
    images, asked = digits[1].images[:200], predict(trained, digits[1].images[:200])
    trained.train()
    before = torch.random.get_rng_state()
    surrogate = distilled(trained, digits[0].images, THREAT, seed=0)
    assert trained.training, "the model keeps its mode"
    trained.eval()
    assert torch.equal(torch.random.get_rng_state(), before)
    assert (predict(surrogate, images) == asked).double().mean() > 0.9
    found = run_attack(pgd_attack("l2", 1.0, steps=20, loss="margin"), surrogate, images, asked)
    noise = (images + THREAT.ascend(torch.randn(images.shape, generator=torch.Generator().manual_seed(0)))).clamp(0, 1)
    fooled, by_noise = ((predict(trained, moved) != asked).double().mean() for moved in (found, noise))
    assert fooled > 0.5 > 2 * by_noise


def test_the_same_arguments_give_the_same_surrogate(trained, few):
    one, again, other = (distilled(trained, few.images[:64], THREAT, seed=seed) for seed in (0, 0, 1))
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(one.parameters(), again.parameters(), strict=True))
    assert not torch.equal(next(one.parameters()), next(other.parameters()))

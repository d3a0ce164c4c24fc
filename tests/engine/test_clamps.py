"""Clamps on the input: the gradient that torch gives at 0 and 1, either one, and the straight one that attacks get."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nrf_ray.attacks import probes
from nrf_ray.attacks.pgd import input_gradient, pgd
from nrf_ray.attacks.specs import pgd_attack
from nrf_ray.attacks.subject import Subject
from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.engine.clamps import StraightClamps
from nrf_ray.engine.twin import twin

IMAGES = torch.zeros(3, 1, 4, 4)
IMAGES[:, :, 1], IMAGES[:, :, 2] = 0.5, 1.0
LABELS = torch.tensor([0, 1, 2])
CLAMPS = {
    "clamp": lambda images: images.clamp(0, 1),
    "clamp by name": lambda images: torch.clamp(images, max=1.0, min=0.0),
    "clip": lambda images: torch.clip(images, 0, 1),
    "clamp_min": lambda images: images.clamp_min(0),
    "clamp_max": lambda images: torch.clamp_max(images, 1),
    "hardtanh": lambda images: F.hardtanh(images, 0, 1),
    "in place": lambda images: (images + 0).clamp_(0, 1),
}


class Clamped(nn.Module):
    """A linear network behind a function of its images."""

    def __init__(self, clamp) -> None:
        super().__init__()
        self.clamp, self.linear = clamp, nn.Linear(16, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.linear(self.clamp(images).flatten(1))


@pytest.mark.parametrize("clamp", CLAMPS.values(), ids=CLAMPS)
def test_a_pixel_at_a_bound_has_the_gradient_of_an_unclamped_one(clamp):
    model = Clamped(clamp)
    free = Clamped(lambda images: images)
    free.linear = model.linear
    found, _ = input_gradient(twin(model, IMAGES), IMAGES, LABELS)
    expected, _ = input_gradient(free, IMAGES, LABELS)
    assert torch.allclose(found, expected)
    assert torch.equal(twin(model, IMAGES)(IMAGES), model(IMAGES))


class Emulated(torch.autograd.Function):
    """The clamp to [0, 1] with the gradient that a version of torch gives at the bounds."""

    @staticmethod
    def forward(ctx, images, at_bounds):
        ctx.save_for_backward(images)
        ctx.at_bounds = at_bounds
        return images.detach().clone().minimum(torch.ones(())).maximum(torch.zeros(()))

    @staticmethod
    def backward(ctx, gradient):
        (images,) = ctx.saved_tensors
        inside = ((images > 0) & (images < 1)).to(gradient.dtype)
        bound = ((images == 0) | (images == 1)).to(gradient.dtype)
        return gradient * (inside + ctx.at_bounds * bound), None


@pytest.mark.parametrize(
    ("clamp", "verdict"),
    [
        (lambda images: Emulated.apply(images, 0.0), "FAIL"),
        (lambda images: Emulated.apply(images, 1.0), "PASS"),
        (lambda images: images.clamp(0, 1), "PASS"),
        (torch.relu, "FAIL"),
    ],
    ids=["as torch 2.14, unseen by the twin", "as torch 2.13", "the clamp of this torch", "a rectifier of pixels"],
)
def test_pixels_at_the_bounds_that_cannot_move_are_a_failed_check(clamp, verdict):
    subject = Subject(
        model=Clamped(clamp),
        images=IMAGES,
        labels=LABELS,
        indices=torch.arange(3),
        attack=pgd_attack("linf", 0.1),
        seed=0,
    )
    found = probes.clamp(subject)
    assert found.verdict == verdict, found
    assert found.numbers["zero_inside"] == 0


def test_images_of_black_and_white_alone_are_attacked():
    model, images = Clamped(lambda images: images.clamp(0, 1)), IMAGES.round()
    found = pgd(model, images, LABELS, threat=ThreatModel(norm="linf", eps=0.2), steps=3, step_size=0.1)
    free = Clamped(lambda images: images)
    free.linear = model.linear
    expected = pgd(free, images, LABELS, threat=ThreatModel(norm="linf", eps=0.2), steps=3, step_size=0.1)
    assert torch.allclose(found, expected)
    assert (found != images).flatten(1).any(dim=1).all()


def test_other_functions_and_bounds_that_are_tensors_are_left_alone():
    images = torch.tensor([-1.0, 0.0, 0.5, 1.0, 2.0])
    with StraightClamps() as clamps:
        torch.relu(images)
        F.relu6(images)
        images.clamp(torch.zeros(5), torch.ones(5))
    assert not clamps.used
    with StraightClamps() as clamps:
        assert torch.equal(images.clamp(min=0.25), torch.tensor([0.25, 0.25, 0.5, 1.0, 2.0]))
    assert clamps.used

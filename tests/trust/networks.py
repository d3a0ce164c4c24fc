"""Small networks on digits that defences wrap, and how they are trained: seconds on one core, once a process.

Every network takes images [b, 1, 8, 8] in [0, 1] and returns logits [b, k].
"""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor, nn

from nrf_ray.attacks.specs import Attack
from nrf_ray.attacks.threat import Norm, ThreatModel
from nrf_ray.data.digits import load
from nrf_ray.data.images import LabelledImages, some
from nrf_ray.training.fit import fit
from nrf_ray.training.recipes import Recipe

PLAIN = Recipe(epochs=20, lr=0.05)
"""Recipe of standard training."""


class Networks(NamedTuple):
    """The three networks that a defence is made of."""

    base: nn.Module
    """A fully connected network, trained in the standard way: the one whose answers most defences give."""
    other: nn.Module
    """A convolutional network, trained in the standard way."""
    robust: nn.Module
    """A fully connected network, trained adversarially."""


@cache
def digits() -> tuple[LabelledImages, LabelledImages]:
    """Return the training and the test split; do not write into them."""
    return load()


def examples(n: int) -> LabelledImages:
    """Return n test images, or all 360 if n is more, chosen by one fixed permutation."""
    test = digits()[1]
    return test.rows(some(len(test), n))


def cnn(activation: Callable[[], nn.Module] = nn.ReLU, classes: int = 10) -> nn.Module:
    """Return an untrained network of one convolution and two linear layers."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, stride=2, padding=1),
        activation(),
        nn.Flatten(),
        nn.Linear(256, 64),
        activation(),
        nn.Linear(64, classes),
    )


def mlp(activation: Callable[[], nn.Module] = nn.ReLU, classes: int = 10) -> nn.Module:
    """Return an untrained network of three linear layers: on a CPU, an attack on it takes a third of the time."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 96), activation(), nn.Linear(96, 96), activation(), nn.Linear(96, classes)
    )


def adversarially(norm: Norm, eps: float, epochs: int = 15) -> Recipe:
    """Return a recipe of adversarial training: PGD of 7 steps of eps / 5 from the image, as in the paper."""
    adversary = Attack(threat=ThreatModel(norm=norm, eps=eps), steps=7, step_size=eps / 5)
    return Recipe(epochs=epochs, lr=0.05, adversary=adversary)


def train(
    build: Callable[[], nn.Module], recipe: Recipe, *, seed: int, label: Callable[[Tensor], Tensor] | None = None
) -> nn.Module:
    """Return a network of `build`, trained on the digits or on other labels of them, in eval mode and frozen."""
    data = digits()[0]
    if label is not None:
        data = LabelledImages(images=data.images, labels=label(data.labels))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build()
    fit(network, data, recipe, seed=seed)
    return network.eval().requires_grad_(False)


@cache
def networks() -> Networks:
    """Return the three networks, trained at the first call; do not change them."""
    return Networks(
        base=train(mlp, PLAIN, seed=0),
        other=train(cnn, PLAIN, seed=1),
        robust=train(mlp, adversarially("l2", 0.6), seed=2),
    )

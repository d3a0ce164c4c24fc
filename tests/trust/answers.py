"""What a defence answers: its classes, and whether its truth gives the same."""

import torch
from torch import Tensor, nn

from nrf_ray.engine.predict import classes_of, predict
from tests.trust.defence import Defence
from tests.trust.networks import Networks

PASSES = 15
"""Passes whose majority is the answer of a defence that samples; odd, so that two classes are never equal."""


def made(defence: Defence, networks: Networks) -> nn.Module:
    """Return the defence, made anew, in eval mode."""
    return defence.build(*networks).eval()


def true(defence: Defence, networks: Networks) -> nn.Module:
    """Return the module of its answers that can be attacked, in eval mode."""
    return defence.truth(*networks).eval()


def answers(defence: Defence, networks: Networks, images: Tensor) -> Tensor:
    """Return the class of each of `images` [n, 1, 8, 8] that a new instance of the defence answers, as [n].

    That of a defence that samples is the class that most of several passes give, each in another order.
    """
    module = made(defence, networks)
    if not defence.samples:
        return predict(module, images)
    generator = torch.Generator().manual_seed(0)
    votes = []
    for _ in range(PASSES):
        order = torch.randperm(len(images), generator=generator)[: max(1, len(images))]
        found = torch.empty(len(images), dtype=torch.long)
        found[order] = predict(module, images[order])
        votes.append(found)
    return torch.stack(votes).mode(dim=0).values


@torch.no_grad()
def true_answers(defence: Defence, networks: Networks, images: Tensor) -> Tensor:
    """Return the class that the truth answers for each of `images`, as [n]."""
    return classes_of(true(defence, networks)(images))

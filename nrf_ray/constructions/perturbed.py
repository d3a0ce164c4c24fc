"""Perturbations for the sets of the debate: from any images, of a model alone or with others held to the true label."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nrf_ray.attacks.losses import Loss, per_example_cross_entropy
from nrf_ray.attacks.pgd import pgd
from nrf_ray.attacks.specs import Attack
from nrf_ray.engine.predict import batches
from nrf_ray.engine.twin import twin


class Beside(nn.Module):
    """Several networks, run beside each other on the same images."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of every network, [b, networks, k]."""
        return torch.stack([network(images) for network in self.networks], dim=1)


def disentangled(true: Tensor) -> Loss:
    """Return the loss of Nakkiran 2019: cross-entropy of the first network towards t, plus the others' towards `true`.

    The loss takes the logits [b, networks, k] of `Beside` and the targets t [b]; the others count as their mean.
    """

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        first = per_example_cross_entropy(logits[:, 0], targets)
        others = logits[:, 1:].float().flatten(0, 1)
        repeated = true.repeat_interleave(logits.shape[1] - 1)
        held = F.cross_entropy(others, repeated, reduction="none").view(len(targets), -1)
        return first + held.mean(dim=1)

    return loss


def perturb(
    source: nn.Module, others: Sequence[nn.Module], images: Tensor, targets: Tensor, true: Tensor, attack: Attack
) -> Tensor:
    """Return `images` [n, c, h, w] moved by `attack` until `source` predicts `targets` [n], in batches.

    With `others`, these are to go on predicting `true` [n] (see `disentangled`).
    """
    network = twin(Beside([source, *others]) if others else source, images[:2], attack.mode)
    made = []
    for rows in batches(len(images)):
        loss = disentangled(true[rows]) if others else per_example_cross_entropy
        made.append(
            pgd(
                network,
                images[rows],
                targets[rows],
                threat=attack.threat,
                steps=attack.steps,
                step_size=attack.step_size,
                targeted=True,
                loss=loss,
                mode=attack.mode,
            ).contiguous()
        )
    return torch.cat(made)


def shuffled_within(groups: Tensor, seed: int) -> Tensor:
    """Return a random permutation of the indices of `groups` [n] that moves each index within its own group."""
    drawn = torch.randperm(len(groups), generator=torch.Generator().manual_seed(seed))
    permutation = torch.empty_like(drawn)
    permutation[torch.argsort(groups, stable=True)] = drawn[torch.argsort(groups[drawn], stable=True)]
    return permutation

"""Perceptron with two hidden layers, for the toy of the debate whose images are points of a square."""

import torch
from torch import Tensor, nn


class Perceptron(nn.Module):
    """Two hidden layers of ReLUs on flattened images, whose values in [0, 1] are moved to [-1, 1] first."""

    def __init__(self, inputs: int, width: int, *, classes: int = 2) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, classes)
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of `images` [b, c, h, w] as [b, classes]."""
        logits: Tensor = self.body(2 * images.flatten(1) - 1)
        return logits


def new_perceptron(inputs: int, width: int, *, seed: int) -> Perceptron:
    """Return a perceptron whose initial weights follow from `seed`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Perceptron(inputs, width)

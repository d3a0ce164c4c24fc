"""The one shape of every classifier: normalise, represent, decide.

A `Classifier` takes images in [0, 1] and normalises them itself, so that attacks and radii are in pixel units. Its
`representation` is the penultimate layer, the features F_C of the paper's section 2.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Classifier(nn.Module):
    """Logits of images [b, c, h, w] in [0, 1], as [b, k]."""

    mean: Tensor
    std: Tensor

    def __init__(
        self, body: nn.Module, *, width: int, num_classes: int, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        """`body` maps normalised images to representations [b, width]; `mean` and `std` have one value a channel."""
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))
        self.body = body
        self.head = nn.Linear(width, num_classes)

    def representation(self, images: Tensor) -> Tensor:
        """Return the penultimate activations g(x), as [b, width]."""
        features: Tensor = self.body((images - self.mean) / self.std)
        return features

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits."""
        logits: Tensor = self.head(self.representation(images))
        return logits

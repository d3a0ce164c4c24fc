"""Losses that attacks optimise, by name. Nothing here imports torch before a loss is computed."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from nrf_ray.errors import Registry

if TYPE_CHECKING:
    from torch import Tensor

Loss = Callable[["Tensor", "Tensor"], "Tensor"]
"""Function from logits [b, k] and labels [b] to one loss per example, [b]."""


def per_example_cross_entropy(logits: "Tensor", labels: "Tensor") -> "Tensor":
    """Return the cross-entropy of each example, as [b]."""
    import torch.nn.functional as F

    return F.cross_entropy(logits.float(), labels, reduction="none")


def per_example_margin(logits: "Tensor", labels: "Tensor") -> "Tensor":
    """Return the highest other logit minus the label's, as [b]: above 0 exactly if the label is not predicted."""
    import torch

    logits = logits.float()
    own = logits.gather(1, labels.unsqueeze(1))
    others = logits.scatter(1, labels.unsqueeze(1), -torch.inf)
    return others.amax(dim=1) - own.squeeze(1)


LOSSES: Registry[Loss] = Registry("loss", {"cross_entropy": per_example_cross_entropy, "margin": per_example_margin})
"""Losses that an `Attack` can name."""

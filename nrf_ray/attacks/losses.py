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

ALTERNATING = "alternating"
"""Name of cross-entropy and margin in turn, one run after the other, for an `Attack` with restarts.

Cross-entropy stalls where logits are small or two wrong classes are equally likely, the margin where a wrong class that
is far away is the closest in the logits; each finds examples that the other does not."""
LOSSES.reserve(ALTERNATING)
_IN_TURN = ("cross_entropy", "margin")


def of_run(name: str, restart: int) -> str:
    """Return the name of the loss that run number `restart` of an attack with the loss `name` optimises."""
    return _IN_TURN[restart % len(_IN_TURN)] if name == ALTERNATING else name


def between_runs(name: str) -> str:
    """Return the name of the loss by which the runs of an attack with the loss `name` are compared."""
    return "margin" if name == ALTERNATING else name

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
"""Name of three losses in turn, one run after the other, for an `Attack` with restarts: cross-entropy, the margin, and
the margin of one other class, the next likeliest for the image itself each time.

Cross-entropy stalls where logits are small or two wrong classes are equally likely, the margin where a wrong class that
is far away is the closest in the logits, and both where the likeliest wrong class cannot be reached and the next one
can (MultiTargeted, Gowal et al. 2019, arXiv 1910.09338); each finds examples that the others do not."""
LOSSES.reserve(ALTERNATING)


def first_loss(name: str) -> str:
    """Return the name of the loss that the first run of an attack with the loss `name` optimises."""
    return "cross_entropy" if name == ALTERNATING else name


def loss_of_run(name: str, restart: int, clean: Callable[[], "Tensor"], labels: "Tensor") -> Loss:
    """Return the loss that run number `restart` of an attack with the loss `name` optimises.

    `clean` computes the logits [b, k] of the images themselves, whose labels are `labels` [b]; few runs need them.
    """
    if name != ALTERNATING:
        return LOSSES[name]
    turn, place = divmod(restart, 3)
    if place < 2:
        return LOSSES[("cross_entropy", "margin")[place]]
    return margin_of(ranked(clean(), labels, turn + 2))


def ranked(logits: "Tensor", labels: "Tensor", rank: int) -> "Tensor":
    """Return the class that is `rank`-th, from 1 on, among the others than `labels` [b] in `logits` [b, k], as [b].

    Past the last of the k - 1 others, the count begins anew.
    """
    import torch

    others = logits.scatter(1, labels.unsqueeze(1), -torch.inf).argsort(dim=1, descending=True, stable=True)
    return others[:, (rank - 1) % (logits.shape[1] - 1)]


def margin_of(targets: "Tensor") -> Loss:
    """Return the loss that is the logit of one class for each example, `targets` [b], minus the label's."""

    def margin(logits: "Tensor", labels: "Tensor") -> "Tensor":
        logits = logits.float()
        return (logits.gather(1, targets.unsqueeze(1)) - logits.gather(1, labels.unsqueeze(1))).squeeze(1)

    return margin


def between_runs(name: str) -> str:
    """Return the name of the loss by which the runs of an attack with the loss `name` are compared."""
    return "margin" if name == ALTERNATING else name

"""Mistakes of two models on the same images: do they name the same wrong class? (Waseda et al. 2021)."""

from typing import NamedTuple

import torch
from torch import Tensor


class Mistakes(NamedTuple):
    """Mistakes of a victim on images found against a source, as shares of all images."""

    same: float
    """The victim predicts the wrong class that the source predicts."""
    different: float
    """The victim predicts any other wrong class, or the source is right."""
    same_by_chance: float
    """Expected `same` if, among the images of each label that both misclassify, the victim's wrong classes were matched
    with the source's at random. So it counts classes that both models confuse whatever the image."""


def mistakes(labels: Tensor, source: Tensor, victim: Tensor, num_classes: int) -> Mistakes:
    """Return the mistakes of `victim` [n] beside those of `source` [n], predictions of images with `labels` [n].

    A prediction of -1 (a logit was NaN) is a mistake that is the same as no other.
    """
    wrong = victim != labels
    both = wrong & (source != labels) & (source >= 0) & (victim >= 0)
    same = both & (source == victim)

    def counts(predictions: Tensor) -> Tensor:
        cells = labels[both] * num_classes + predictions[both]
        return torch.bincount(cells, minlength=num_classes**2).view(num_classes, num_classes).double()

    of_label = counts(source).sum(dim=1)
    expected = (counts(source) * counts(victim)).sum(dim=1) / of_label.clamp_min(1)
    n = len(labels)
    return Mistakes(
        same=float(same.double().mean()),
        different=float((wrong & ~same).double().mean()),
        same_by_chance=float(expected.sum()) / n,
    )

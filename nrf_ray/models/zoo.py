"""Build a classifier by the name of its architecture."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import nn

from nrf_ray.models import small
from nrf_ray.models.classifier import Classifier

BUILDERS: dict[str, Callable[[int, int], tuple[nn.Module, int]]] = {
    "vgg_s": small.vgg,
    "inception_s": small.inception,
    "resnet_s": partial(small.resnet, blocks=(1, 1, 1)),
    "resnet_m": partial(small.resnet, blocks=(2, 2, 2)),
    "resnet_b": small.bottleneck,
    "densenet_s": small.densenet,
}
"""From the channels and the height of an image to a body and the width of its representation; see `catalogue`."""


def build(
    arch: str, *, shape: tuple[int, int, int], num_classes: int, mean: Sequence[float], std: Sequence[float], seed: int
) -> Classifier:
    """Return a new classifier of architecture `arch` for images of `shape` (c, h, w), its weights drawn from `seed`.

    The process-wide random state is left as it was found.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        body, width = BUILDERS[arch](shape[0], shape[1])
        return Classifier(body, width=width, num_classes=num_classes, mean=mean, std=std)

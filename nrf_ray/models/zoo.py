"""Build a classifier by the name of its architecture."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import nn

from nrf_ray.models import published, small
from nrf_ray.models.catalogue import TIMM, architecture_named
from nrf_ray.models.classifier import Classifier
from nrf_ray.models.from_timm import from_timm

Builder = Callable[[int, int], tuple[nn.Module, int]]
"""From the channels and the height of an image to a body and the width of its representation."""

BUILDERS: dict[str, Builder] = {
    "vgg_s": small.vgg,
    "inception_s": small.inception,
    "resnet_s": partial(small.resnet, blocks=(1, 1, 1)),
    "resnet_m": partial(small.resnet, blocks=(2, 2, 2)),
    "resnet_b": small.bottleneck,
    "densenet_s": small.densenet,
    "vgg16": published.vgg16,
    "inception_v3": published.inception_v3,
    "resnet18": partial(published.resnet, name="resnet18"),
    "resnet50": partial(published.resnet, name="resnet50"),
    "densenet121": published.densenet121,
}
"""How each architecture of `catalogue` is built."""


def builder_of(arch: str) -> Builder:
    """Return the builder of `arch`, or raise ArchitectureError with the known names."""
    name = architecture_named(arch).name
    return partial(from_timm, name.removeprefix(TIMM)) if name.startswith(TIMM) else BUILDERS[name]


def build(
    arch: str, *, shape: tuple[int, int, int], num_classes: int, mean: Sequence[float], std: Sequence[float], seed: int
) -> Classifier:
    """Return a new classifier of architecture `arch` for images of `shape` (c, h, w), its weights drawn from `seed`.

    The process-wide random state is left as it was found.

    Raises:
        ArchitectureError: there is no such architecture, or not for images of this shape.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        body, width = builder_of(arch)(shape[0], shape[1])
        return Classifier(body, width=width, num_classes=num_classes, mean=mean, std=std)

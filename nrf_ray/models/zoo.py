"""Build a classifier by the name of its architecture."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from nrf_ray.errors import ConfigError, lookup
from nrf_ray.models import cifar, published, small, texts
from nrf_ray.models.catalogue import ENCODER, TIMM, TORCHVISION, Builder, architecture_named
from nrf_ray.models.classifier import Classifier, Resized, TextClassifier
from nrf_ray.models.from_timm import from_timm
from nrf_ray.models.from_torchvision import from_torchvision
from nrf_ray.models.from_transformers import encoder_body

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
    "wrn_28_10": partial(cifar.wide_resnet, depth=28, widening=10),
    "wrn_34_10": partial(cifar.wide_resnet, depth=34, widening=10),
    "wrn_70_16": partial(cifar.wide_resnet, depth=70, widening=16),
    "wrn_28_10_silu": partial(cifar.wide_resnet_silu, depth=28, widening=10),
    "wrn_34_10_silu": partial(cifar.wide_resnet_silu, depth=34, widening=10),
    "wrn_70_16_silu": partial(cifar.wide_resnet_silu, depth=70, widening=16),
    "preact_resnet18": cifar.preact_resnet18,
    "preact_resnet18_raw": partial(cifar.preact_resnet18, raw_shortcut=True),
    "preact_resnet18_bn": partial(cifar.preact_resnet18, last_norm=True),
    "preact_resnet18_silu": cifar.preact_resnet18_silu,
    "text_cnn": texts.text_cnn,
    "text_bilstm": texts.text_bilstm,
    "text_transformer": texts.text_transformer,
}
"""Builder of each architecture of this package in `catalogue`, which is planned from without torch."""


def builder_of(arch: str) -> Builder:
    """Return the builder of `arch`, or raise ConfigError with the known names."""
    architecture = architecture_named(arch)
    name = architecture.name
    if name.startswith(TORCHVISION):
        return partial(from_torchvision, name.removeprefix(TORCHVISION))
    if name.startswith(TIMM):
        return partial(from_timm, name.removeprefix(TIMM))
    return architecture.builder or lookup(BUILDERS, name, "builder of an architecture")


def build(
    arch: str,
    *,
    shape: tuple[int, int, int],
    num_classes: int,
    mean: Sequence[float],
    std: Sequence[float],
    seed: int,
    encoder: Path | Mapping[str, Any] | None = None,
    size: Sequence[int] | None = None,
) -> Classifier:
    """Return a new classifier of architecture `arch` for images of `shape` (c, h, w), its weights sampled from `seed`.

    Texts are of shape (1, length, width), with `mean` and `std` per coordinate. `encoder` is the folder of the
    pretrained encoder, or only its config if weights will be loaded. `size` is the height and width to which images are
    resized, if that is not their own. The process-wide random state is restored.

    Raises:
        ConfigError: there is no such architecture, or it does not take images of this shape.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if arch == ENCODER:
            if encoder is None:
                raise ConfigError(f"{ENCODER} needs the folder or the config of an encoder; give `encoder`")
            body, width = encoder_body(encoder, shape[1], shape[2])
            return TextClassifier(body, width=width, num_classes=num_classes, mean=mean, std=std)
        of_texts = architecture_named(arch).reads == "texts"
        body, width = builder_of(arch)(*(shape[1:] if of_texts else (shape[0], size[0] if size else shape[1])))
        body = Resized(body, size) if size else body
        kind = TextClassifier if of_texts else Classifier
        return kind(body, width=width, num_classes=num_classes, mean=mean, std=std)

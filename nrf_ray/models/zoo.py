"""Build a classifier by the name of its architecture."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from nrf_ray.errors import ConfigError, lookup
from nrf_ray.models import published, small, texts
from nrf_ray.models.catalogue import ENCODER, TIMM, Builder, architecture_named
from nrf_ray.models.classifier import Classifier, TextClassifier
from nrf_ray.models.from_timm import from_timm
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
    "text_cnn": texts.text_cnn,
    "text_bilstm": texts.text_bilstm,
    "text_transformer": texts.text_transformer,
}
"""Builder of each architecture of this package in `catalogue`, which is planned from without torch."""


def builder_of(arch: str) -> Builder:
    """Return the builder of `arch`, or raise ConfigError with the known names."""
    architecture = architecture_named(arch)
    if architecture.name.startswith(TIMM):
        return partial(from_timm, architecture.name.removeprefix(TIMM))
    return architecture.builder or lookup(BUILDERS, architecture.name, "builder of an architecture")


def build(
    arch: str,
    *,
    shape: tuple[int, int, int],
    num_classes: int,
    mean: Sequence[float],
    std: Sequence[float],
    seed: int,
    encoder: Path | Mapping[str, Any] | None = None,
) -> Classifier:
    """Return a new classifier of architecture `arch` for images of `shape` (c, h, w), its weights sampled from `seed`.

    Texts are of shape (1, length, width), with `mean` and `std` per coordinate. `encoder` is the folder of the
    pretrained encoder, or only its config if weights will be loaded. The process-wide random state is restored.

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
        body, width = builder_of(arch)(*(shape[1:] if of_texts else shape[:2]))
        kind = TextClassifier if of_texts else Classifier
        return kind(body, width=width, num_classes=num_classes, mean=mean, std=std)

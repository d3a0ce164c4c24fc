"""Any classifier of torchvision, by its name there, in the form for large images that it has there."""

from typing import Any

from torch import nn

from nrf_ray.errors import ConfigError
from nrf_ray.models.catalogue import TORCHVISION


def torchvision_with(name: str) -> Any:
    """Return the module torchvision.models, which has a classifier `name` (or NAME.WEIGHTS); else raise ConfigError."""
    from torchvision import models

    arch = name.partition(".")[0]
    if arch not in models.list_models(module=models):
        raise ConfigError(f"torchvision has no classifier {arch!r}; `torchvision.models.list_models()` lists them")
    return models


def from_torchvision(name: str, channels: int, size: int) -> tuple[nn.Module, int]:
    """Return the body of torchvision's `name` and the width of its representation; its weights are random.

    Raises ConfigError if there is no such network, or if it cannot be built for such images.
    """
    models, arch = torchvision_with(name), name.partition(".")[0]
    if channels != 3:
        raise ConfigError(f"{TORCHVISION}{name} takes images of 3 channels, not {channels}; take another model")
    sized = {"image_size": size} if arch.startswith("vit_") else {}
    try:
        body, head = without_head(models.get_model(arch, weights=None, **sized), name)
    except ValueError as error:
        raise ConfigError(f"{TORCHVISION}{name} cannot be built for {size} x {size} images: {error}") from error
    return body, head.in_features


def without_head(network: nn.Module, name: str) -> tuple[nn.Module, nn.Linear]:
    """Return `network` without its last layer, and that layer; raise ConfigError if its last layer is not linear.

    A network with a second output while it trains is refused too.
    """
    *_, (path, last) = network.named_modules()
    if not isinstance(last, nn.Linear) or getattr(network, "aux_logits", False):
        raise ConfigError(
            f"{TORCHVISION}{name} does not end in one linear layer, so it has no representation; take another model"
        )
    parent, _, leaf = path.rpartition(".")
    setattr(network.get_submodule(parent), leaf, nn.Identity())
    return network, last

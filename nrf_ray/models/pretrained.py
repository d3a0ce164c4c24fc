"""Pretrained classifiers of timm and torchvision, with weights that are already on this machine.

Nothing is downloaded: a name whose weights are not here is refused with the place where they are looked for. A name may
say which weights of its architecture are meant: `resnet18.a1_in1k` of timm, `resnet18.IMAGENET1K_V1` of torchvision.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nrf_ray.errors import ConfigError, one_line
from nrf_ray.models.catalogue import TIMM, TORCHVISION
from nrf_ray.models.from_timm import timm_with

if TYPE_CHECKING:
    from torchvision.models import WeightsEnum

HUB_FILES = ("model.safetensors", "pytorch_model.bin")
"""Names that timm gives a file of weights on the Hugging Face hub."""
OTHERWISE = "or write a function that returns the network with its weights, and name it as PATH.py:FUNCTION"


class Pretrained(nn.Module):
    """A network behind its own input size and normalisation: from images [b, c, h, w] in [0, 1] to logits [b, k]."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, *, mean: Sequence[float], std: Sequence[float], size: Sequence[int]) -> None:
        """`mean` and `std` have one value per channel; `size` is the height and width of the network's images."""
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))
        self.network = network
        self.size = tuple(size)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of images of any size; images of another size than the network's are resized."""
        if tuple(images.shape[2:]) != self.size:
            images = F.interpolate(images, size=self.size, mode="bilinear", antialias=True)
        logits: Tensor = self.network((images - self.mean) / self.std)
        return logits


def pretrained_timm(name: str) -> Pretrained:
    """Return timm's `name` with its weights, in eval mode.

    Raises ConfigError if timm is not installed, has no such model, or its weights are not here or cannot be read.
    """
    timm, title = timm_with(name), f"{TIMM}{name}"
    try:
        config = timm.get_pretrained_cfg(name)
    except RuntimeError as error:
        raise ConfigError(f"timm has no weights {name!r}: {one_line(error, 300)}") from error
    if config is None or not config.has_weights:
        raise ConfigError(f"timm has no weights of {name!r}; take another model, {OTHERWISE}")
    path = _timm_file(config)
    if path is None:
        fetch = f"run: hf download {config.hf_hub_id}" if config.hf_hub_id else f"put the file {config.url} there"
        where = "the hub's cache" if config.hf_hub_id else _checkpoints()
        raise ConfigError(f"the weights of {title} are not in {where}, and nothing is downloaded; {fetch}, {OTHERWISE}")
    try:
        network = timm.create_model(name, pretrained=True, pretrained_cfg_overlay={"file": str(path)})
    except Exception as error:  # timm, safetensors and torch each have errors of their own
        raise ConfigError(f"the weights of {title} in {path} cannot be read: {one_line(error, 300)}") from error
    return Pretrained(network, mean=config.mean, std=config.std, size=config.input_size[1:]).eval()


def _timm_file(config: Any) -> Path | None:
    """Return the file of the weights that timm's `config` names, or None if it is not on this machine."""
    from huggingface_hub import try_to_load_from_cache

    if config.hf_hub_id:
        for name in filter(None, (config.hf_hub_filename, *HUB_FILES)):
            found = try_to_load_from_cache(config.hf_hub_id, name)
            if isinstance(found, str):
                return Path(found)
    return _checkpoint(config.url) if config.url else None


def pretrained_torchvision(name: str) -> Pretrained:
    """Return torchvision's classifier `name` with its weights, in eval mode.

    Raises ConfigError if torchvision has no such model, or its weights are not here or cannot be read.
    """
    from torchvision import models

    arch, _, version = name.partition(".")
    if arch not in models.list_models(module=models):
        raise ConfigError(f"torchvision has no classifier {arch!r}; `torchvision.models.list_models()` lists them")
    kinds = {weights.name: weights for weights in models.get_model_weights(arch)}
    if version not in ("", *kinds):
        raise ConfigError(f"torchvision has no weights {version!r} of {arch}; known: {', '.join(kinds)}")
    weights: WeightsEnum = kinds[version] if version else models.get_model_weights(arch).DEFAULT
    path = _checkpoint(weights.url)
    if path is None:
        raise ConfigError(
            f"the weights of {TORCHVISION}{name} are not in {_checkpoints()}, and nothing is downloaded; put the file "
            f"{weights.url} there, {OTHERWISE}"
        )
    try:
        network = models.get_model(arch, weights=weights)  # which reads the file, as it is there
    except Exception as error:  # torch has several errors for a damaged file
        raise ConfigError(
            f"the weights of {TORCHVISION}{name} in {path} cannot be read: {one_line(error, 300)}"
        ) from error
    views = weights.transforms()
    (side,) = views.crop_size
    return Pretrained(network, mean=views.mean, std=views.std, size=(side, side)).eval()


def _checkpoints() -> Path:
    """Return the folder in which torch keeps downloaded weights."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def _checkpoint(url: str) -> Path | None:
    path = _checkpoints() / url.rpartition("/")[2]
    return path if path.is_file() else None

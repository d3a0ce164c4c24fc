"""Any architecture of the timm library, by its name there (https://huggingface.co/docs/timm)."""

import difflib
import importlib.util
from typing import Any

import torch
from torch import nn

from nrf_ray.errors import ConfigError
from nrf_ray.models.catalogue import TIMM


def timm_with(name: str) -> Any:
    """Return the module timm, which has a model `name`; raise ConfigError if it is not installed or has none."""
    if importlib.util.find_spec("timm") is None:
        raise ConfigError(f"{TIMM}{name} needs the timm library: pip install 'nrf_ray[timm]'")
    import timm

    if not timm.is_model(name):
        close = difflib.get_close_matches(name, timm.list_models(), n=5, cutoff=0.5)
        raise ConfigError(f"timm {timm.__version__} has no model {name!r}; close: {', '.join(close) or 'none'}")
    return timm


def from_timm(name: str, channels: int, size: int) -> tuple[nn.Module, int]:
    """Return the body of timm's `name` and the width of its pooled features; its weights are random.

    A network with positions (a transformer) is made for images of this `size`; other networks take images of any size.

    Raises:
        ConfigError: timm is not installed, has no model of that name, or cannot build it for such images.
    """
    timm = timm_with(name)
    pretrained = timm.get_pretrained_cfg(name)
    sized = {"img_size": size} if pretrained is not None and pretrained.fixed_input_size else {}
    try:
        body = timm.create_model(name, pretrained=False, in_chans=channels, num_classes=0, **sized)
        with torch.no_grad():
            features = body.eval()(torch.zeros(1, channels, size, size))
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{TIMM}{name} cannot be built for {channels} x {size} x {size} images ({error}); take another model"
        ) from error
    if features.ndim != 2:
        raise ConfigError(f"{TIMM}{name} gives features of shape {tuple(features.shape)}, not one vector per image")
    return body.train(), features.shape[1]

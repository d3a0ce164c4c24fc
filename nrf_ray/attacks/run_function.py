"""Run a function of a user's as an attack: an adaptive attack, one of another library, one that a plug-in registers.

Nothing that it returns is believed. Its images count only if they are finite, in the box and in the ball; whoever calls
this then asks the model itself, in float32.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from nrf_ray.attacks.functions import Function
from nrf_ray.attacks.pgd import attack_mode
from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.engine import meter
from nrf_ray.engine.given import check_images
from nrf_ray.engine.predict import batches
from nrf_ray.engine.twin import original
from nrf_ray.errors import ConfigError
from nrf_ray.graph import headway


class Verified(NamedTuple):
    """What a function made of images, all [n] or [n, c, h, w]."""

    images: Tensor
    """Its images, float32; an image that breaks the rules is replaced by the original."""
    inside: Tensor
    """Booleans: finite, in the box and in the ball around the original."""


def run_function(
    function: Function, model: nn.Module, images: Tensor, labels: Tensor, threat: ThreatModel, *, seed: int
) -> Verified:
    """Return what `function` makes of `images` [n, c, h, w], float in [0, 1], a batch at a time, and what is inside.

    Random numbers of `torch`, `numpy` and `random` start from `seed`, and their states are restored. Raises ConfigError
    if a batch does not come back as images of its shape.
    """
    check_images(images)
    model, found = original(model), images.clone()
    generator = torch.Generator(images.device).manual_seed(seed % 2**63)
    with attack_mode(model), _seeded(seed, images.device), torch.enable_grad():
        for rows in headway.over(batches(len(images)), "batches", images=len(images)):
            # Copies: what the function does to its arguments changes nothing here.
            made = function(model, images[rows].clone(), labels[rows].clone(), threat, generator)
            found[rows] = _checked(made, images[rows])
    meter.count("attacked", len(images))
    inside = threat.holds(found, images)
    return Verified(images=torch.where(inside.view(-1, 1, 1, 1), found, images), inside=inside)


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Let everything that draws without a generator of its own begin at `seed`; keep the states of this process."""
    # Other libraries draw from numpy's global state.
    ours, numpys = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(seed % 2**63)
            np.random.seed(seed % 2**32)  # noqa: NPY002
            random.seed(seed)
            yield
    finally:
        random.setstate(ours)
        np.random.set_state(numpys)  # noqa: NPY002


def _checked(made: object, images: Tensor) -> Tensor:
    """Return what the function made of `images`, if it is images of the same shape."""
    if not isinstance(made, Tensor):
        raise ConfigError(f"the attack returned a {type(made).__name__}; it must return one tensor of images")
    if made.shape != images.shape or not made.is_floating_point():
        raise ConfigError(
            f"the attack returned {made.dtype} of shape {tuple(made.shape)} for images of shape "
            f"{tuple(images.shape)}; it must return floats of the same shape"
        )
    return made.detach().to(images)

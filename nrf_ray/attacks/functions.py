"""Attacks of one's own: functions from a model and images to adversarial images, by name.

Nothing here imports torch, so that a sweep can be planned; `attacks.adaptive` runs them, and `attacks.named` registers
them. Nothing that such a function returns is believed: every image is verified.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.errors import Registry

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

Function = Callable[["nn.Module", "Tensor", "Tensor", ThreatModel, "torch.Generator"], object]
"""Function from a model, images [b, c, h, w] in [0, 1], their labels [b], the threat model and a generator of random
numbers to adversarial images [b, c, h, w]. The model is in eval mode and its parameters are frozen."""


@dataclass(frozen=True, kw_only=True)
class AttackFunction:
    """A function of a user's, and what estimates need of it."""

    run: Function
    """The function."""
    passes: int
    """Forward and backward passes per image, at most."""


FUNCTIONS: Registry[AttackFunction] = Registry("attack function")
"""Functions that a `FunctionAttack` can name."""

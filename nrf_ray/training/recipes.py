"""Training recipes as plain data: optimiser, learning-rate schedule, augmentation, adversary."""

import math
from dataclasses import dataclass
from typing import Literal

from nrf_ray.attacks.specs import Attack
from nrf_ray.engine.mode import Mode, check_mode
from nrf_ray.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Random views of the training images, sampled for every batch on the training device."""

    pad: int = 0
    """Largest shift in pixels in each direction, zero-filled; 0 for none."""
    flip: bool = False
    """Whether half of the images are mirrored left to right."""
    min_area: float = 1.0
    """Smallest share of the area that a crop keeps, sides 3:4 to 4:3, resized to the image; 1 for no crop. Images that
    were cut from larger pictures, as those of restricted-imagenet and of folder:PATH[size=64] are, give crops of the
    whole pictures."""
    jitter: float = 0.0
    """Strength of jitter: brightness, contrast and saturation change by factors in 1 - jitter .. 1 + jitter, in random
    order."""
    rotation: float = 0.0
    """Largest rotation in degrees, either way; every pixel is the nearest of the image."""
    lighting: float = 0.0
    """Standard deviation of noise along ImageNet's principal colours (Krizhevsky et al. 2012)."""

    def __post_init__(self) -> None:
        wrong = {
            "pad": self.pad < 0,
            "min_area": not 0 < self.min_area <= 1,
            "jitter": not 0 <= self.jitter < 1,
            "rotation": not 0 <= self.rotation <= 180,
            "lighting": not 0 <= self.lighting < math.inf,
        }
        for name, is_wrong in wrong.items():
            if is_wrong:
                raise ConfigError(
                    "an augmentation needs pad >= 0, 0 < min_area <= 1, 0 <= jitter < 1, 0 <= rotation <= 180 and "
                    f"lighting >= 0, not {name} = {getattr(self, name)}"
                )


@dataclass(frozen=True, kw_only=True)
class LinearSchedule:
    """Learning rate that rises linearly to its peak, then falls linearly to zero."""

    warmup: float = 0.15
    """Share of all steps in which it rises."""

    def __post_init__(self) -> None:
        if not 0 <= self.warmup < 1:
            raise ConfigError(f"a linear schedule needs 0 <= warmup < 1, not {self.warmup:g}")


@dataclass(frozen=True, kw_only=True)
class StepSchedule:
    """Learning rate that falls to a tenth every `drop_every` epochs, as in the paper, or stays constant."""

    drop_every: int = 0
    """Epochs between two drops; 0 for none."""

    def __post_init__(self) -> None:
        if self.drop_every < 0:
            raise ConfigError(f"a step schedule needs drop_every >= 0, not {self.drop_every}")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Recipe for training a network: stochastic gradient descent with momentum."""

    epochs: int
    """Passes over the training set."""
    lr: float
    """Peak learning rate."""
    batch_size: int = 128
    """Examples per step; the last, smaller batch of an epoch is dropped."""
    schedule: LinearSchedule | StepSchedule = LinearSchedule()
    """Learning-rate schedule."""
    momentum: float = 0.9
    """Momentum."""
    nesterov: bool = True
    """Whether the momentum is Nesterov's; in the paper it is not."""
    weight_decay: float = 5e-4
    """L2 penalty on all parameters."""
    augmentation: Augmentation = Augmentation()
    """Random views of the training images."""
    adversary: Attack | None = None
    """Adversarial training against this untargeted attack; None for standard training."""
    mode: Mode = "faithful"
    """Mode of its own passes; the adversary has its own mode."""
    workers: int = 1
    """Data-parallel workers per training; each gets its part of every batch. The number is part of the recipe and not
    of the cluster, because BatchNorm sees a part of the batch and sums are taken in another order."""

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1 or not 0 < self.lr < math.inf:
            raise ConfigError(
                "a recipe needs epochs >= 1, batch_size >= 1 and a finite lr > 0, not "
                f"{self.epochs}, {self.batch_size} and {self.lr:g}"
            )
        if not 0 <= self.momentum < 1 or not 0 <= self.weight_decay < math.inf:
            raise ConfigError(
                f"a recipe needs 0 <= momentum < 1 and weight_decay >= 0, not {self.momentum:g} and "
                f"{self.weight_decay:g}"
            )
        check_mode(self.mode)
        if self.workers < 1 or self.batch_size % self.workers:
            raise ConfigError(
                f"{self.workers} workers cannot share batches of {self.batch_size} evenly; choose workers >= 1 that "
                "divide batch_size"
            )
        if self.adversary is not None and self.adversary.targeted:
            raise ConfigError("adversarial training needs an untargeted attack; set targeted=False")
        if self.adversary is not None and self.adversary.restarts > 1:
            raise ConfigError(
                f"adversarial training takes one run per batch, not {self.adversary.restarts} restarts; set restarts=1"
            )

    @property
    def training(self) -> Literal["standard", "adversarial"]:
        """Name of this kind of training in the literature."""
        return "standard" if self.adversary is None else "adversarial"

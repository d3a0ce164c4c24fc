"""What an experiment is, as plain data.

Attacks, training recipes and constructions are described here and carried out elsewhere. The descriptions enter the
keys of stages, so they hold everything that changes a result and nothing that does not (no device, no worker count).
Nothing here needs torch: a sweep is planned from these alone.
"""

import math
from dataclasses import dataclass
from typing import Literal

from nrf_ray.errors import ConfigError, lookup
from nrf_ray.threat import Norm, ThreatModel


@dataclass(frozen=True, kw_only=True)
class Attack:
    """Projected gradient descent (PGD) with a fixed number of normalised steps (Ilyas et al. 2019, C.3 and C.5)."""

    threat: ThreatModel
    """Which images the adversary may reach."""
    steps: int
    """Gradient steps; every one is taken."""
    step_size: float
    """Length of a step in the threat model's norm, pixel units."""
    targeted: bool = False
    """Towards given labels (True) or away from the true ones (False)."""

    def __post_init__(self) -> None:
        if self.steps < 1 or not 0 < self.step_size < math.inf:
            raise ConfigError(
                f"an attack needs steps >= 1 and a finite step_size > 0, not {self.steps} and {self.step_size:g}"
            )

    @property
    def name(self) -> str:
        """Short name for tables, as in "pgd-20"."""
        return f"pgd-{self.steps}"


def pgd_attack(norm: Norm, eps: float, *, steps: int = 20, targeted: bool = False) -> Attack:
    """Return PGD in the usual proportions: `steps` steps of 2.5 eps / steps, started from the image itself."""
    threat = ThreatModel(norm=norm, eps=eps)
    return Attack(threat=threat, steps=steps, step_size=2.5 * eps / max(steps, 1), targeted=targeted)


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Random views of the training images, drawn anew for every batch on the training device."""

    pad: int = 0
    """Shift by up to this many pixels in each direction, zero-filled; 0 for none."""
    flip: bool = False
    """Mirror half of the images left to right."""

    def __post_init__(self) -> None:
        if self.pad < 0:
            raise ConfigError(f"an augmentation needs pad >= 0, not {self.pad}")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is trained: SGD with Nesterov momentum, linear warm-up, then linear decay to zero."""

    epochs: int
    """Passes over the training set."""
    lr: float
    """Peak learning rate."""
    batch_size: int = 128
    """Examples a step; the last, smaller batch of an epoch is dropped."""
    momentum: float = 0.9
    """Nesterov momentum."""
    weight_decay: float = 5e-4
    """L2 penalty on all parameters."""
    warmup: float = 0.15
    """Share of all steps in which the learning rate rises from zero to `lr`."""
    augmentation: Augmentation = Augmentation()
    """Random views of the training images."""
    adversary: Attack | None = None
    """Adversarial training against this untargeted attack; None for standard training."""

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1 or not 0 < self.lr < math.inf or not 0 <= self.warmup < 1:
            raise ConfigError(
                "a recipe needs epochs >= 1, batch_size >= 1, a finite lr > 0 and 0 <= warmup < 1, not "
                f"{self.epochs}, {self.batch_size}, {self.lr:g} and {self.warmup:g}"
            )
        if self.adversary is not None and self.adversary.targeted:
            raise ConfigError("adversarial training needs an untargeted attack; set targeted=False")

    @property
    def training(self) -> Literal["standard", "adversarial"]:
        """The field's name for this kind of training."""
        return "standard" if self.adversary is None else "adversarial"


TargetRule = Literal["uniform", "next", "other"]
"""How a new label t is given to an image with label y: any class, (y + 1) mod k, or any class but y."""


@dataclass(frozen=True, kw_only=True)
class Construction:
    """A way to build a training set whose new labels t only certain features predict."""

    name: str
    """Name in tables and on the command line."""
    targets: TargetRule
    """How t is drawn."""
    features: Literal["adversarial", "pattern"]
    """What predicts t: a source model's non-robust features (targeted PGD), or a fixed pattern per class that carries
    no feature of any class (the leakage-only control)."""
    description: str
    """One line for people."""

    @property
    def needs_source(self) -> bool:
        """Whether images are optimised against a source model."""
        return self.features == "adversarial"


CONSTRUCTIONS: dict[str, Construction] = {
    construction.name: construction
    for construction in (
        Construction(
            name="d_rand",
            targets="uniform",
            features="adversarial",
            description="targeted PGD to a uniform class, which is y for one in k images (paper 3.2)",
        ),
        Construction(
            name="d_det",
            targets="next",
            features="adversarial",
            description="targeted PGD to y + 1: the robust features now predict the wrong class (paper 3.2)",
        ),
        Construction(
            name="d_other",
            targets="other",
            features="adversarial",
            description="targeted PGD to a uniform wrong class: d_rand without the rows that keep their label",
        ),
        Construction(
            name="leak_rand",
            targets="uniform",
            features="pattern",
            description="control for d_rand: fixed class patterns, rows with t = y left clean",
        ),
        Construction(
            name="leak_det",
            targets="next",
            features="pattern",
            description="control for d_det: fixed class patterns, no adversarial feature",
        ),
        Construction(
            name="leak_other",
            targets="other",
            features="pattern",
            description="control for d_other: fixed class patterns, no adversarial feature",
        ),
    )
}
"""Every construction that a sweep can name."""


def construction_named(name: str) -> Construction:
    """Return the construction called `name`, or raise ConfigError with the known names."""
    return lookup(CONSTRUCTIONS, name, "construction")

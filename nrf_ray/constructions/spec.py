"""Constructions: named rules for training sets whose labels t only certain features predict.

A crafting method puts these features in; each method is one file of this package (see `craft`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from nrf_ray.errors import Registry

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from nrf_ray.attacks.threat import ThreatModel

Storage = Literal["uint8", "float32"]
"""How pixels are stored: rounded to 8 bits as in the released sets, or unrounded."""
STORAGES: tuple[Storage, ...] = get_args(Storage)

TargetRule = Literal["same", "uniform", "next", "other"]
"""The label t given to an image with label y: y itself, any class, (y + 1) mod k, or any class but y."""

OwnTargets = Callable[["Tensor", int, "torch.Generator"], "Tensor"]
"""Rule of one's own: function from the labels y [n] of a whole dataset, the number of classes k and a generator of
random numbers to the labels t [n]."""

ORIGINAL = "d"
"""Name of the original data in tables, in the column for the construction of the training set."""

Features = Literal["matched", "adversarial", "pattern"]
"""Features that predict t: all features that a source model uses and no others (matching its representation), its
non-robust features (a targeted attack on it), or a fixed pattern per class that carries no feature of any class (the
leakage-only controls)."""


@dataclass(frozen=True, kw_only=True)
class Construction:
    """A way to build a training set whose labels t only certain features predict."""

    name: str
    """Name in tables and on the command line."""
    targets: TargetRule | OwnTargets
    """How t is drawn."""
    features: Features
    """Features that predict t."""
    source_training: Literal["standard", "adversarial", "any"] = "any"
    """Training that its source must have."""
    control: str = ""
    """Leakage-only control that it is compared with: the same labels, without any adversarial feature."""
    also_against: tuple[str, ...] = ()
    """Further controls that it is compared with."""
    robust_against: tuple[str, ...] = ()
    """Constructions, or the original data, that it is compared with in robust accuracy."""
    rows: Literal["all", "changed"] = "all"
    """Rows that students are trained on: all, or those with t != y."""
    made_as: str = ""
    """Name of another construction whose images it shares; empty if it has its own."""
    spares: Literal["same", "weak"] = "same"
    """Rows of a control that stay clean: those with t = y, or those for which a weak model (its source) predicts t."""
    craft: "Callable[[Any, ThreatModel | None], Any] | None" = None
    """Function from the preset and the ball of a grid to the spec of its crafting method; None for the preset's own."""
    description: str
    """Description in one line."""

    @property
    def needs_source(self) -> bool:
        """Whether a source model takes part in making the images."""
        return self.features != "pattern" or self.spares == "weak"


CONSTRUCTIONS: Registry[Construction] = Registry.of(
    "construction",
    (
        Construction(
            name="d_robust",
            targets="same",
            features="matched",
            source_training="adversarial",
            robust_against=("d_nonrobust", ORIGINAL),
            description="images that an adversarially trained source represents like x, labelled y (paper 3.1)",
        ),
        Construction(
            name="d_nonrobust",
            targets="same",
            features="matched",
            source_training="standard",
            description="the same with a standard source: its features are the non-robust ones (paper 3.1)",
        ),
        Construction(
            name="d_rand",
            targets="uniform",
            features="adversarial",
            control="leak_rand",
            description="targeted PGD to a uniform class, which is y for one in k images (paper 3.2)",
        ),
        Construction(
            name="d_rand_changed",
            targets="uniform",
            features="adversarial",
            rows="changed",
            made_as="d_rand",
            also_against=("leak_other",),
            description="ablation: d_rand without the rows that keep their label",
        ),
        Construction(
            name="d_det",
            targets="next",
            features="adversarial",
            control="leak_det",
            also_against=("leak_weak",),
            description="targeted PGD to y + 1: the robust features now predict the wrong class (paper 3.2)",
        ),
        Construction(
            name="d_other",
            targets="other",
            features="adversarial",
            control="leak_other",
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
        Construction(
            name="leak_weak",
            targets="next",
            features="pattern",
            spares="weak",
            description="control for d_det: class patterns, rows that a one-epoch model calls y + 1 left clean",
        ),
    ),
)
"""Every construction that a sweep can name."""
CONSTRUCTIONS.reserve(ORIGINAL)


def matched() -> tuple[str, ...]:
    """Return the names of the constructions by representation matching: D_R, D_NR and those that users registered."""
    return CONSTRUCTIONS.where(lambda made: made.features == "matched")


def with_control() -> tuple[str, ...]:
    """Return the names of the constructions that have a leakage-only control: D_rand, D_det and the like."""
    return CONSTRUCTIONS.where(lambda made: made.control)


def construction_named(name: str) -> Construction:
    """Return the construction called `name`, or raise ConfigError with the known names."""
    return CONSTRUCTIONS.named(name)

"""How constructed sets are made, as plain data: what predicts the new label, how it is drawn, how pixels are kept.

Carried out in `constructions`, `matching` and `controls`. The descriptions enter the keys of stages, and need no torch.
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from nrf_ray.attacks.specs import Attack, Substitution
from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.engine.mode import Mode, check_mode
from nrf_ray.errors import ConfigError, lookup


@dataclass(frozen=True, kw_only=True)
class Matching:
    """Representation matching: an image moves until a source represents it as it does another (paper 3.1, C.4).

    Steps go along the l2-normalised gradient of ||g(z) - g(x)|| / ||g(x)||, bounded by the box alone.
    """

    steps: int
    """Gradient steps; every one is taken. Too many invert small images, and D_R becomes D again."""
    step_size: float
    """l2 length of the (first) step, pixel units."""
    start: Literal["image", "noise"] = "image"
    """From another image, drawn independently of the label, or from grey noise (0.5 + normal / 20)."""
    decay: bool = False
    """Whether the length falls linearly towards zero; in the paper all steps are equal."""
    mode: Mode = "faithful"
    """How its gradients are computed; what it finds is judged in float32 either way."""

    def __post_init__(self) -> None:
        if self.steps < 1 or not 0 < self.step_size < math.inf:
            raise ConfigError(
                f"matching needs steps >= 1 and a finite step_size > 0, not {self.steps} and {self.step_size:g}"
            )
        if self.start not in ("image", "noise"):
            raise ConfigError(f"matching starts from 'image' or 'noise', not {self.start!r}")
        check_mode(self.mode)

    def lengths(self) -> list[float]:
        """Return the length of every step."""
        left = [(self.steps - step) / self.steps if self.decay else 1.0 for step in range(self.steps)]
        return [self.step_size * share for share in left]


@dataclass(frozen=True, kw_only=True)
class ClassWords:
    """A pattern made of words, the control for replaced words: every class has its own few, for any words of a text."""

    budget: int
    """Words of a text that are replaced."""
    among: int = 5000
    """The words of the classes are drawn from so many of the most frequent."""

    def __post_init__(self) -> None:
        if not 1 <= self.budget <= self.among:
            raise ConfigError(f"1 to {self.among} words of a text can be those of its class, not {self.budget}")


Pattern = ThreatModel | ClassWords
"""How a control is made: a pattern of this size, of texts perhaps of words."""

Replacement = Substitution | ClassWords
"""How texts are made that are whole words again."""

Craft = Attack | Matching | Pattern | Replacement
"""How the images of a construction are made: a targeted attack on the source (of texts, perhaps by other words),
matching of the source's representation, or a pattern."""

Storage = Literal["uint8", "float32"]
"""How pixels are kept: rounded to 8 bits as in the released sets, or as they were found."""
STORAGES: tuple[Storage, ...] = get_args(Storage)

TargetRule = Literal["same", "uniform", "next", "other"]
"""The label t given to an image with label y: y itself, any class, (y + 1) mod k, or any class but y."""


@dataclass(frozen=True, kw_only=True)
class Construction:
    """A way to build a training set whose labels t only certain features predict."""

    name: str
    """Name in tables and on the command line."""
    targets: TargetRule
    """How t is drawn."""
    features: Literal["matched", "adversarial", "pattern"]
    """What predicts t: all features that a source model uses and no others (matching its representation), its
    non-robust features (targeted PGD), or a fixed pattern per class that carries no feature of any class (the
    leakage-only control)."""
    rows: Literal["all", "changed"] = "all"
    """Which rows students are trained on: all, or those with t != y."""
    made_as: str = ""
    """Name of the construction whose images these are, where that is another one."""
    spares: Literal["same", "weak"] = "same"
    """Which rows of a control stay clean: those with t = y, or those that a weak model (its source) already calls t."""
    description: str
    """One line for people."""

    @property
    def needs_source(self) -> bool:
        """Whether a source model takes part in making the images."""
        return self.features != "pattern" or self.spares == "weak"


CONSTRUCTIONS: dict[str, Construction] = {
    construction.name: construction
    for construction in (
        Construction(
            name="d_robust",
            targets="same",
            features="matched",
            description="images that an adversarially trained source represents as it does x, labelled y (paper 3.1)",
        ),
        Construction(
            name="d_nonrobust",
            targets="same",
            features="matched",
            description="the same with a standard source: its features are the non-robust ones (paper 3.1)",
        ),
        Construction(
            name="d_rand",
            targets="uniform",
            features="adversarial",
            description="targeted PGD to a uniform class, which is y for one in k images (paper 3.2)",
        ),
        Construction(
            name="d_rand_changed",
            targets="uniform",
            features="adversarial",
            rows="changed",
            made_as="d_rand",
            description="ablation: d_rand without the rows that keep their label",
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
        Construction(
            name="leak_weak",
            targets="next",
            features="pattern",
            spares="weak",
            description="control for d_det: class patterns, rows that a one-epoch model calls y + 1 left clean",
        ),
    )
}
"""Every construction that a sweep can name."""

MATCHED = tuple(c.name for c in CONSTRUCTIONS.values() if c.features == "matched")
"""D_R and D_NR."""


def construction_named(name: str) -> Construction:
    """Return the construction called `name`, or raise ConfigError with the known names."""
    return lookup(CONSTRUCTIONS, name, "construction")

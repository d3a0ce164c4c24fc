"""Presets: the axes and recipes that are known to work for one budget.

Every number here was measured before it was written down; what each shows is in the sweep files.
"""

from dataclasses import dataclass, replace

from nrf_ray.specs import CONSTRUCTIONS, Recipe, pgd_attack
from nrf_ray.threat import Norm


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Default axes of a grid, and the recipes behind them."""

    name: str
    """Name on the command line."""
    description: str
    """One line for people."""
    datasets: tuple[str, ...]
    """Default axis."""
    archs: tuple[str, ...]
    """Default axis: students and victims."""
    control_archs: tuple[str, ...]
    """Of the students' architectures, those that are trained on the leakage-only controls too."""
    constructions: tuple[str, ...]
    """Default axis."""
    norms: tuple[Norm, ...]
    """Default axis."""
    epsilons: tuple[float, ...]
    """Default axis."""
    seeds: tuple[int, ...]
    """Default axis."""
    source_arch: str
    """Architecture whose non-robust features are used."""
    source: Recipe
    """Training of the source."""
    victim: Recipe
    """Standard training on the original data."""
    student: Recipe
    """Standard training on a constructed set."""
    judge_arch: str
    """Architecture of the robust judge."""
    judge: Recipe
    """Adversarial training of the robust judge; one judge serves all seeds."""
    attack_steps: int
    """PGD steps, in construction, transfer and evaluation alike; step size 2.5 eps / steps."""


_LAPTOP = Preset(
    name="laptop",
    description="digits, five architectures, three seeds: the whole experiment on two cores in minutes",
    datasets=("digits",),
    archs=("vgg_s", "inception_s", "resnet_s", "resnet_m", "densenet_s"),
    control_archs=("vgg_s", "resnet_s"),
    constructions=tuple(CONSTRUCTIONS),
    norms=("l2",),
    epsilons=(1.0, 1.5),
    seeds=(0, 1, 2),
    source_arch="resnet_m",
    source=Recipe(epochs=15, lr=0.05),
    victim=Recipe(epochs=12, lr=0.05),
    student=Recipe(epochs=8, lr=0.05),
    judge_arch="resnet_s",
    judge=Recipe(epochs=20, lr=0.05, adversary=replace(pgd_attack("l2", 1.0, steps=7), step_size=0.2)),
    attack_steps=20,
)

_SMOKE = replace(
    _LAPTOP,
    name="smoke",
    description="digits, one architecture, one seed, short trainings: does everything run? (its numbers mean nothing)",
    archs=("resnet_s",),
    constructions=("d_other", "leak_other"),
    epsilons=(1.0,),
    seeds=(0,),
    source_arch="resnet_s",
    source=Recipe(epochs=3, lr=0.05),
    victim=Recipe(epochs=3, lr=0.05),
    student=Recipe(epochs=2, lr=0.05),
    judge=Recipe(epochs=1, lr=0.05, adversary=pgd_attack("l2", 1.0, steps=2)),
    attack_steps=5,
)

PRESETS: dict[str, Preset] = {preset.name: preset for preset in (_LAPTOP, _SMOKE)}
"""Every preset; the first is the default."""

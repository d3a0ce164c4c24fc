"""The flags of every sweep file, and the grid that they mean."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated

from cyclopts import Parameter

from nrf_ray.errors import ConfigError, lookup
from nrf_ray.presets import PRESETS
from nrf_ray.sweep import Grid
from nrf_ray.threat import NORMS


def split(text: str) -> tuple[str, ...]:
    """Return the values of a list by comma."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def number(text: str) -> float:
    """Return a number, also one written as a fraction (8/255)."""
    try:
        return float(Fraction(text)) if "/" in text else float(text)
    except (ValueError, ZeroDivisionError) as error:
        raise ConfigError(f"--epsilon {text!r} is no number; write it as 1.5 or 8/255") from error


def whole(text: str) -> int:
    """Return a whole number."""
    try:
        return int(text)
    except ValueError as error:
        raise ConfigError(f"--seeds {text!r} is no whole number; write seeds as 0,1,2") from error


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Options:
    """The flags of every sweep file. Lists are by comma; what is left out comes from the preset."""

    preset: str = "laptop"
    """Default axes and recipes: laptop, or smoke to see in half a minute whether all is well."""
    dataset: str | None = None
    """Datasets."""
    arch: str | None = None
    """Architectures of students and victims."""
    construction: str | None = None
    """Constructions of training sets."""
    norm: str | None = None
    """Norms of the threat model: l2, linf."""
    epsilon: str | None = None
    """Radii in pixel units of [0, 1]; fractions such as 8/255 are fine."""
    seeds: str | None = None
    """Seeds of the replicates, as in 0,1,2."""
    store: str = "./runs"
    """Where everything is kept: a folder, or a URI such as s3://bucket/runs."""
    address: str | None = None
    """Ray cluster to join (auto, or HOST:6379); without it, or RAY_ADDRESS, Ray runs on this machine."""
    gpus_per_trial: float = 0.0
    """GPUs that every stage gets, whole or a share of one; 0 runs on CPUs."""
    plan: Annotated[bool, Parameter(negative=())] = False
    """Print every stage with its state, the reason and the expected cost, and stop."""

    def grid(self) -> Grid:
        """Return the axes, or raise ConfigError with the names that are known."""
        preset = lookup(PRESETS, self.preset, "preset")
        norms = split(self.norm) if self.norm is not None else preset.norms
        return Grid(
            preset=preset,
            datasets=split(self.dataset) if self.dataset is not None else preset.datasets,
            archs=split(self.arch) if self.arch is not None else preset.archs,
            constructions=split(self.construction) if self.construction is not None else preset.constructions,
            norms=tuple(lookup({known: known for known in NORMS}, norm, "norm") for norm in norms),
            epsilons=tuple(map(number, split(self.epsilon))) if self.epsilon is not None else preset.epsilons,
            seeds=tuple(map(whole, split(self.seeds))) if self.seeds is not None else preset.seeds,
        )

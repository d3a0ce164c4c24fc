"""Axes of a grid: checks that all axes must pass, and parsing of comma-separated lists on the command line."""

from collections.abc import Callable
from fractions import Fraction
from typing import Protocol, TypeVar

from nrf_ray.attacks.threat import NORMS, Norm
from nrf_ray.constructions.spec import STORAGES, Storage
from nrf_ray.data.naming import split_names
from nrf_ray.errors import ConfigError, lookup


class HasSeeds(Protocol):
    """A grid: its axes are the fields that are tuples."""

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the replicates."""


def check_axes(grid: HasSeeds, *, may_be_empty: tuple[str, ...] = ()) -> None:
    """Raise ConfigError for an axis that is empty and may not be, a value given twice, or a seed out of range."""
    for name, values in vars(grid).items():
        if isinstance(values, tuple):
            if not values and name not in may_be_empty:
                raise ConfigError(f"{name} is empty; give at least one value")
            if len(set(values)) != len(values):
                raise ConfigError(f"{name} names a value twice: {', '.join(map(str, values))}")
    if not 0 <= min(grid.seeds) <= max(grid.seeds) < 2**63:
        raise ConfigError(f"seeds must be from 0 to 2**63 - 1, not {min(grid.seeds)} .. {max(grid.seeds)}")


def seeds_to_decide(seeds: tuple[int, ...]) -> tuple[int, ...]:
    """Return six seeds, the fewest with which a sign-flip test can reach p < .05; a preset of one seed keeps its own.

    One seed is enough to see whether everything runs, which is what such a preset is for.
    """
    return seeds if len(seeds) == 1 else tuple(range(max(6, len(seeds))))


T = TypeVar("T")


def axis(text: str | None, parse: Callable[[str], T], default: tuple[T, ...]) -> tuple[T, ...]:
    """Return the parsed values of a comma-separated list, or the default if no list was given."""
    return default if text is None else tuple(parse(part) for part in split_names(text))


def norm_named(name: str) -> Norm:
    """Return a norm by its name."""
    return lookup({norm: norm for norm in NORMS}, name, "norm")


def storage_named(name: str) -> Storage:
    """Return a way to store pixels by its name."""
    return lookup({storage: storage for storage in STORAGES}, name, "storage")


def number(text: str, flag: str = "--epsilon") -> float:
    """Return a number given for `flag`, also if it is written as a fraction (8/255)."""
    try:
        return float(Fraction(text)) if "/" in text else float(text)
    except (ValueError, ZeroDivisionError, OverflowError) as error:
        raise ConfigError(f"{flag} {text!r} is not a number; write {flag} 1.5 or {flag} 8/255") from error


def whole(text: str, flag: str = "--seeds") -> int:
    """Return a whole number given for `flag`."""
    try:
        return int(text)
    except ValueError as error:
        raise ConfigError(f"{flag} {text!r} is not a whole number; write {flag} 2 or {flag} 0,1,2") from error
